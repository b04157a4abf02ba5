//! Queues over HTTP: limits, pause and drain, and who may say so.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    client::{Caller, World},
    on_both_servers,
    server::{Server, Settings},
};

on_both_servers!(
    limits_are_set_kept_shown_and_taken_away,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let path = format!("/v1/queues/{}", world.queue());
        let weights = json!({ world.tenant.as_str(): 5 });
        let limits = json!({
            "max_in_flight": 4,
            "rate": { "count": 100, "per_ms": 60_000, "burst": 10 },
            "tenant_rate": { "count": 2 },
            "weights": weights,
        });
        let changed = owner.patch(&path, &limits).await.ok();
        let shown = owner.get(&path).await.ok();
        for queue in [&changed, &shown] {
            assert_eq!(queue["limits"]["rate"], limits["rate"]);
            assert_eq!(
                queue["limits"]["tenant_rate"],
                json!({ "count": 2, "per_ms": 1_000, "burst": 1 })
            );
            assert_eq!(queue["limits"]["weights"], weights);
            assert_eq!(queue["endpoint_name"], "app");
        }
        let less = json!({ "rate": null, "weights": { world.tenant.as_str(): null } });
        let changed = owner.patch(&path, &less).await.ok();
        assert_eq!(changed["limits"]["rate"], Value::Null);
        assert_eq!(changed["limits"]["weights"], json!({}));
        assert_eq!(
            changed["limits"]["max_in_flight"], 4,
            "what is not named stays"
        );
        for (wrong, place) in [
            (json!({ "max_in_flight": 0 }), "/max_in_flight"),
            (json!({ "rate": { "count": 0 } }), "/rate"),
            (
                json!({ "tenant_rate": { "count": 5_000, "per_ms": 1 } }),
                "/tenant_rate",
            ),
            (
                json!({ "weights": { world.tenant.as_str(): 1_001 } }),
                "/weights",
            ),
            (json!({ "speed": 1 }), "/speed"),
        ] {
            let answer = owner.patch(&path, &wrong).await;
            assert_eq!(
                answer.problem(),
                (400, "validation_failed".into()),
                "{wrong}"
            );
            assert!(answer.text.contains(place), "{}", answer.text);
        }
        let nowhere = owner.patch("/v1/queues/nowhere", &json!({})).await;
        assert_eq!(nowhere.problem(), (404, "not_found".into()));
        let audit = owner.get("/v1/audit").await;
        assert!(audit.text.contains("queue.update"), "{}", audit.text);
    }
);

on_both_servers!(
    a_paused_queue_starts_nothing_and_goes_on_when_it_is_resumed,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let queue = "/v1/queues/default";
        let job = json!({ "kind": "noop", "payload": {} });
        let is = |state: &'static str| move |job: &Value| job["state"] == state;
        let submit = async || {
            let made = owner.post("/v1/jobs", &job).await.ok();
            format!("/v1/jobs/{}", crate::client::text(&made, "/id"))
        };
        owner.until(&submit().await, is("done")).await;

        let paused = owner.post(&format!("{queue}/pause"), &json!({})).await.ok();
        assert_eq!(paused["flow"], "paused");
        let told = |queue: &Value| queue["flow"] == "paused" && queue["live"] == true;
        owner.until(queue, told).await;
        let metrics = "mainstay_queue_paused{queue=\"default\"} 1";
        owner
            .until_answer("/metrics", |answer| answer.text.contains(metrics))
            .await;
        let waits = submit().await;
        owner.until(queue, |queue| queue["waiting"] == 1).await;
        assert_eq!(owner.get(&waits).await.ok()["state"], "waiting");

        owner
            .post(&format!("{queue}/resume"), &json!({}))
            .await
            .ok();
        owner.until(&waits, is("done")).await;
        let audit = owner.get("/v1/audit").await;
        for action in ["queue.pause", "queue.resume"] {
            assert!(audit.text.contains(action), "{}", audit.text);
        }
    }
);

on_both_servers!(
    a_drained_queue_ends_what_it_has_and_keeps_what_comes,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let queue = "/v1/queues/default";
        let job = json!({ "kind": "noop", "payload": {} });
        let is = |state: &'static str| move |job: &Value| job["state"] == state;
        let submit = async || {
            let made = owner.post("/v1/jobs", &job).await.ok();
            format!("/v1/jobs/{}", crate::client::text(&made, "/id"))
        };
        let before = submit().await;
        owner.until(&before, is("done")).await;
        owner.post(&format!("{queue}/pause"), &json!({})).await.ok();
        let paused = "mainstay_queue_paused{queue=\"default\"} 1";
        owner
            .until_answer("/metrics", |answer| answer.text.contains(paused))
            .await;
        let was_there = submit().await;
        owner.until(queue, |queue| queue["waiting"] == 1).await;
        // The clock's next millisecond: ids tell no less apart.
        owner.until(queue, |queue| queue["flow"] == "paused").await;
        let drained = owner.post(&format!("{queue}/drain"), &json!({})).await.ok();
        assert_eq!(drained["flow"], "draining");
        owner.until(&was_there, is("done")).await;
        owner.until(queue, |queue| queue["drained"] == true).await;
        let comes_later = submit().await;
        owner.until(queue, |queue| queue["waiting"] == 1).await;
        let shown = owner.get(queue).await.ok();
        assert_eq!(
            (&shown["drained"], &shown["running"]),
            (&json!(true), &json!(0))
        );
        owner
            .post(&format!("{queue}/resume"), &json!({}))
            .await
            .ok();
        owner.until(&comes_later, is("done")).await;
    }
);

on_both_servers!(
    a_key_of_one_tenant_sees_and_limits_its_own_endpoints_queues,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let (own, other) = (
            World::make(&owner, "own").await,
            World::make(&owner, "other").await,
        );
        let key = json!({ "name": "own", "role": "admin", "tenant_id": own.tenant });
        let bound = owner.key(key).await;
        let listed = bound.get("/v1/queues").await.ok();
        let names: Vec<&Value> = listed["items"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|queue| &queue["name"])
            .collect();
        assert_eq!(names, [&json!(own.queue())]);
        let path = format!("/v1/queues/{}", own.queue());
        bound
            .patch(&path, &json!({ "max_in_flight": 2 }))
            .await
            .ok();
        assert_eq!(bound.get(&path).await.ok()["limits"]["max_in_flight"], 2);
        let path = format!("/v1/queues/{}", other.queue());
        for answer in [
            bound.get(&path).await,
            bound.patch(&path, &json!({ "max_in_flight": 2 })).await,
            bound.post(&format!("{path}/pause"), &json!({})).await,
            bound.get("/v1/queues/default").await,
        ] {
            assert_eq!(answer.problem(), (404, "not_found".into()));
        }
    }
);

on_both_servers!(
    a_queue_of_which_too_much_waits_takes_no_more_of_what_is_submitted_but_events,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let queue = "/v1/queues/letters";
        let job = json!({ "kind": "letter.print", "queue": "letters" });
        let keyed = || {
            let request = owner.request(Method::POST, "/v1/jobs").json(&job);
            owner.send(request.header("idempotency-key", "first"))
        };
        let made = keyed().await;
        assert_eq!(made.status, 201, "{}", made.text);
        owner.until(queue, |queue| queue["waiting"] == 1).await;
        let limits = owner.patch(queue, &json!({ "max_waiting": 2 })).await.ok();
        assert_eq!(limits["limits"]["max_waiting"], 2);
        owner.post("/v1/jobs", &job).await.ok();
        owner.until(queue, |queue| queue["full"] == true).await;
        let refused = owner.post("/v1/jobs", &job).await;
        assert_eq!(refused.problem(), (429, "queue_full".into()));
        for said in ["letters", "2 jobs wait", "max_waiting is 2"] {
            assert!(refused.text.contains(said), "{}", refused.text);
        }
        // Nothing ends: nobody knows better than to ask in five minutes.
        assert_eq!(refused.header("retry-after"), "300");
        let other = json!({ "kind": "letter.print", "queue": "others" });
        let many = json!({ "jobs": [other, job] });
        let refused = owner.post("/v1/jobs/bulk", &many).await;
        assert_eq!(refused.problem(), (429, "queue_full".into()));
        let others = owner.get("/v1/jobs?queue=others").await.ok();
        assert_eq!(others["items"], json!([]), "all of them or none");
        let again = keyed().await;
        assert_eq!(
            again.status, 201,
            "what was taken is answered: {}",
            again.text
        );
        assert_eq!(owner.post("/v1/jobs", &other).await.status, 201);

        // An event is kept, whatever its queue says.
        let path = format!("/v1/queues/{}", world.queue());
        owner.patch(&path, &json!({ "max_waiting": 1 })).await.ok();
        owner.post(&format!("{path}/pause"), &json!({})).await.ok();
        let body = json!({ "type": "order.made", "data": {} });
        for index in 0..3 {
            let id = format!("msg_{index}");
            let (source, secret) = (&world.source_name, &world.secret);
            owner.webhook(source, secret, &id, &body).await.ok();
        }
        let shown = owner.until(&path, |queue| queue["waiting"] == 3).await;
        assert_eq!(shown["full"], true);

        let none = json!({ "max_waiting": null, "max_age_secs": null });
        let limits = owner.patch(queue, &none).await.ok();
        assert_eq!(limits["limits"]["max_waiting"], Value::Null);
        owner.until(queue, |queue| queue["full"] == false).await;
        assert_eq!(owner.post("/v1/jobs", &job).await.status, 201);
        for (wrong, place) in [
            (json!({ "max_waiting": 0 }), "/max_waiting"),
            (json!({ "max_age_secs": 2_592_001 }), "/max_age_secs"),
        ] {
            let answer = owner.patch(queue, &wrong).await;
            assert_eq!(answer.problem(), (400, "validation_failed".into()));
            assert!(answer.text.contains(place), "{}", answer.text);
        }
    }
);
