//! Replays over the API: a plan, one that goes on by itself, and what a person can do about it meanwhile.

use serde_json::{Value, json};

use crate::{
    client::{Caller, World, text},
    on_both_servers,
    receiver::Receiver,
    server::{Server, Settings},
};

/// A world with so many events more.
async fn with_events(owner: &Caller, name: &str, more: usize) -> World {
    let world = World::make(owner, name).await;
    for number in 0..more {
        let body = json!({ "type": "order.made", "data": { "number": number } });
        let id = format!("msg_{name}_{number}");
        owner
            .webhook(&world.source_name, &world.secret, &id, &body)
            .await
            .ok();
    }
    world
}

async fn sandbox(owner: &Caller, tenant: &str, url: &str) -> String {
    let new = json!({ "name": "sandbox", "url": url, "tenant_id": tenant });
    let made = owner.post("/v1/endpoints", &new).await.ok();
    text(&made, "/endpoint/id")
}

on_both_servers!(
    a_replay_to_a_sandbox_does_what_was_planned,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = with_events(&owner, "a", 2).await;
        let receiver = Receiver::answering(200);
        let endpoint = sandbox(&owner, &world.tenant, &receiver.url).await;
        let mut asked = json!({
            "selection": { "tenant": world.tenant, "type": "order.*" },
            "endpoint_id": endpoint,
            "rate_per_second": 1,
            "plan": true,
        });
        let plan = owner.post("/v1/replays", &asked).await.ok();
        assert_eq!(
            plan,
            json!({
                "events": 3, "jobs": 3, "already_done": 0, "at_least": false,
                "rate_per_second": 1, "duration_secs": 3, "effects": null,
                "goals": [{ "binding_id": null, "name": "sandbox", "jobs": 3, "already_done": 0 }],
            })
        );
        asked["plan"] = json!(false);
        let begun = owner.post("/v1/replays", &asked).await;
        assert_eq!(begun.status, 202, "{}", begun.text);
        let begun = begun.json();
        assert_eq!(
            (&begun["state"], &begun["jobs"]),
            (&json!("running"), &json!(1))
        );
        let path = format!("/v1/replays/{}", text(&begun, "/id"));
        let ended = owner.until(&path, |found| found["state"] == "done").await;
        assert_eq!((&ended["jobs"], &ended["done"]), (&json!(3), &json!(3)));
        assert_eq!(ended["selected"], 3);
        asked["skip_done"] = json!(true);
        asked["plan"] = json!(true);
        let plan = owner.post("/v1/replays", &asked).await.ok();
        assert_eq!(
            (&plan["jobs"], &plan["already_done"]),
            (&json!(0), &json!(3))
        );
    }
);

on_both_servers!(
    a_dry_run_shows_what_a_built_in_handler_would_change,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let record = json!({
            "source": world.source_name, "type_pattern": "*",
            "handler": { "kind": "builtin", "name": "billing.record" },
        });
        let binding = text(&owner.post("/v1/bindings", &record).await.ok(), "/id");
        let asked = |plan: bool| {
            json!({
                "selection": { "event_ids": [world.event] }, "plan": plan, "effects": true,
            })
        };
        let plan = owner.post("/v1/replays", &asked(true)).await.ok();
        let jobs = plan["effects"]["jobs"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let of = |one: &str| jobs.iter().find(|job| job["binding_id"] == one).cloned();
        let recorded = of(&binding).expect("it is tried");
        assert_eq!(recorded["changes"][0]["before"], Value::Null);
        assert_eq!(
            recorded["changes"][0]["after"]["event_id"],
            json!(world.event)
        );
        // What it says comes out of the payload: who was told is on record.
        let told = "SELECT action, subject FROM audit WHERE action = 'replay.dry_run'";
        let told = owner.post("/v1/sql", &json!({ "statement": told })).await;
        assert_eq!(told.ok()["rows"], json!([["replay.dry_run", world.event]]));
        let pushed = of(&world.binding).expect("it is listed");
        assert_eq!(pushed["changes"], Value::Null, "a push leaves the process");
        assert_eq!(
            owner.post("/v1/replays", &asked(false)).await.problem(),
            (400, "validation_failed".into())
        );
    }
);

on_both_servers!(
    what_the_list_of_events_finds_a_replay_selects,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = with_events(&owner, "a", 2).await;
        let source = &world.source_name;
        let made = json!({ "type": "order.made", "data": { "customer": "cus_ada" } });
        let sent = owner.webhook(source, &world.secret, "msg_ada", &made).await;
        let ada = text(&sent.ok(), "/event_ids/0");
        let other = json!({ "type": "order.made", "data": { "number": 100 } });
        let sent = owner
            .webhook(source, &world.secret, "msg_a_0", &other)
            .await;
        assert_eq!(sent.ok()["status"], "conflict");
        let timeline = "/v1/events?object=cus_ada";
        owner
            .until(timeline, |found| found["items"][0]["id"] == ada)
            .await;
        for (query, selection) in [
            ("q=cus_ada", json!({ "q": "cus_ada" })),
            ("object=cus_ada", json!({ "object": "cus_ada" })),
            ("q=msg_ada", json!({ "q": "msg_ada" })),
            ("conflicts=true", json!({ "conflicts": true })),
            ("violates=true", json!({ "violates": true })),
            (
                "conflicts=true&object=cus_ada",
                json!({ "conflicts": true, "object": "cus_ada" }),
            ),
        ] {
            let listed = owner.get(&format!("/v1/events?{query}")).await.ok();
            let listed = listed["items"].as_array().map(Vec::len);
            let asked = json!({ "selection": selection, "plan": true });
            let plan = owner.post("/v1/replays", &asked).await.ok();
            assert_eq!(plan["events"].as_u64(), listed.map(|n| n as u64), "{query}");
            let some = !query.contains("violates") && !query.contains('&');
            assert_eq!(plan["events"], u64::from(some), "{query}");
        }
        let asked = json!({ "selection": { "q": "cus_ada", "violates": false }, "plan": false });
        let begun = owner.post("/v1/replays", &asked).await.json();
        assert_eq!(begun["selection"]["object"], "cus_ada");
    }
);

on_both_servers!(
    a_person_pauses_resumes_and_stops_a_replay,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = with_events(&owner, "a", 1).await;
        let asked = json!({
            "selection": { "tenant": world.tenant }, "rate_per_second": 1, "unfinished_max": 1,
            "binding_id": world.binding, "plan": false,
        });
        // Nothing is pushed, so the first job holds up the second.
        let off = json!({ "enabled": false });
        let endpoint = format!("/v1/endpoints/{}", world.endpoint);
        owner.patch(&endpoint, &off).await.ok();
        let begun = owner.post("/v1/replays", &asked).await.json();
        let path = format!("/v1/replays/{}", text(&begun, "/id"));
        let wish = |word: &'static str| {
            let (owner, path) = (&owner, format!("{path}/{word}"));
            async move { owner.post(&path, &json!({})).await }
        };
        for _ in 0..2 {
            assert_eq!(wish("pause").await.ok()["state"], "paused");
        }
        assert_eq!(wish("resume").await.ok()["state"], "running");
        assert_eq!(wish("stop").await.ok()["state"], "stopped");
        assert_eq!(
            wish("resume").await.problem(),
            (409, "state_conflict".into())
        );
        let found = owner.get("/v1/replays?state=stopped").await.ok();
        assert_eq!(found["items"][0]["id"], begun["id"]);
        assert_eq!(found["items"][0]["reason"], "person");
        let told = "SELECT action FROM audit WHERE action LIKE 'replay.%' ORDER BY id";
        let told = owner.post("/v1/sql", &json!({ "statement": told })).await;
        let told = told.ok()["rows"].clone();
        assert_eq!(
            told,
            json!([["replay.pause"], ["replay.resume"], ["replay.stop"]])
        );
    }
);

on_both_servers!(
    a_replay_goes_nowhere_that_its_caller_cannot_see,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let (own, other) = (
            World::make(&owner, "own").await,
            World::make(&owner, "other").await,
        );
        let key = json!({ "name": "own", "role": "owner", "tenant_id": own.tenant });
        let bound = owner.key(key).await;
        let ask = |field: &str, id: &str| {
            let mut body = json!({ "selection": { "event_ids": [own.event] }, "plan": false });
            body[field] = json!(id);
            let bound = &bound;
            async move { bound.post("/v1/replays", &body).await.problem() }
        };
        for (field, id) in [
            ("binding_id", &other.binding),
            ("endpoint_id", &other.endpoint),
        ] {
            assert_eq!(ask(field, id).await, (404, "not_found".into()));
        }
        // Nor does one of the whole platform bring an event to a neighbour.
        let crossed = json!({
            "selection": { "event_ids": [own.event] }, "endpoint_id": other.endpoint, "plan": true,
        });
        let plan = owner.post("/v1/replays", &crossed).await.ok();
        assert_eq!((&plan["events"], &plan["jobs"]), (&json!(1), &json!(0)));
    }
);

on_both_servers!(
    what_is_asked_of_a_replay_has_bounds,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        for (field, wrong) in [
            ("rate_per_second", json!(0)),
            ("rate_per_second", json!(501)),
            ("unfinished_max", json!(0)),
            ("stop_on_failures_percent", json!(101)),
            ("endpoint_id", json!(world.endpoint)),
        ] {
            let mut body = json!({
                "selection": { "tenant": world.tenant }, "binding_id": world.binding, "plan": true,
            });
            body[field] = wrong;
            let answer = owner.post("/v1/replays", &body).await;
            let pointers: Vec<Value> = answer.json()["errors"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|error| error["pointer"].clone())
                .collect();
            assert_eq!(pointers, [format!("/{field}")], "{}", answer.text);
        }
    }
);
