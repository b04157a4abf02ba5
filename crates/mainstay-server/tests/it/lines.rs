//! Ordered delivery over HTTP: declared, parked, shown, and let go on.

use serde_json::{Value, json};

use crate::{
    client::{Caller, World, text},
    on_both_servers,
    server::{Server, Settings},
};

on_both_servers!(
    an_order_is_checked_when_it_is_declared,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let path = format!("/v1/bindings/{}", world.binding);
        for (wrong, place) in [
            (json!({ "key": "data" }), "/ordering/key"),
            (json!({ "key": "/a~2" }), "/ordering/key"),
            (
                json!({ "key": "/a", "fallback": "b" }),
                "/ordering/fallback",
            ),
        ] {
            let answer = owner.patch(&path, &json!({ "ordering": wrong })).await;
            assert_eq!(answer.problem(), (400, "validation_failed".into()));
            assert!(answer.text.contains(place), "{}", answer.text);
        }
        let order = json!({ "key": "/data/of", "fallback": "/id", "on_dead": "continue" });
        let changed = owner.patch(&path, &json!({ "ordering": order })).await.ok();
        assert_eq!(changed["ordering"], order);
        let changed = owner.patch(&path, &json!({ "enabled": true })).await.ok();
        assert_eq!(changed["ordering"], order, "what is not named stays");
        let none = json!({ "ordering": { "key": "" } });
        let changed = owner.patch(&path, &none).await.ok();
        assert_eq!(changed["ordering"], Value::Null);
        let job = json!({ "kind": "noop", "ordering_key": "a", "run_at": "2030-01-01T00:00:00Z" });
        let refused = owner.post("/v1/jobs", &job).await;
        assert_eq!(refused.problem(), (400, "validation_failed".into()));
    }
);

on_both_servers!(
    a_parked_key_is_shown_with_who_waits_and_goes_on_when_it_is_released,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make_whole(&owner, "a").await;
        let line = format!("/v1/lines/{}", world.line);
        let send = |id: &'static str| {
            let body = json!({ "type": "order.made", "data": { "of": "a" } });
            let (owner, world) = (&owner, &world);
            async move {
                let accepted = owner
                    .webhook(&world.source_name, &world.secret, id, &body)
                    .await
                    .ok();
                let event = text(&accepted, "/event_ids/0");
                let jobs = owner.get(&format!("/v1/jobs?event={event}")).await.ok();
                text(&jobs, "/items/0/id")
            }
        };
        let (second, third) = (send("msg_second").await, send("msg_third").await);
        let shown = owner.get(&line).await.ok();
        assert_eq!(shown["waiting_job_ids"], json!([second, third]));
        let seen = [&shown["state"], &shown["key"], &shown["endpoint_name"]];
        assert_eq!(seen, ["parked", "a", "app"]);
        let waiting = owner.get(&format!("/v1/jobs/{second}")).await.ok();
        assert_eq!(
            (&waiting["state"], &waiting["order"]["waits"]),
            (&json!("waiting"), &json!(true))
        );
        assert_eq!(waiting["line"]["head_job_id"], shown["head_job_id"]);
        let overview = owner.get("/v1/overview").await.ok();
        assert_eq!(overview["lines_parked"], 1);
        assert_eq!(overview["jobs_parked"], 2);
        let metrics = owner.get("/metrics").await;
        assert!(metrics.text.contains("mainstay_lines_parked 1"));

        // Nobody listens: each one whose turn comes dies in its turn.
        let released = owner.post(&format!("{line}/release"), &json!({})).await;
        assert_eq!(released.ok()["passed_job_id"], shown["head_job_id"]);
        let next = owner.until(&line, |line| {
            line["state"] == "parked" && line["head_job_id"] == second.as_str()
        });
        assert_eq!(next.await["waiting"], 1);
        let discard = json!({
            "selection": { "job_ids": [second] }, "reason": "a test", "plan": false,
        });
        owner.post("/v1/dead-letters/discard", &discard).await.ok();
        let last = owner.until(&line, |line| {
            line["state"] == "parked" && line["head_job_id"] == third.as_str()
        });
        last.await;
        owner
            .post(&format!("{line}/release"), &json!({}))
            .await
            .ok();
        assert_eq!(owner.get(&line).await.problem(), (404, "not_found".into()));
        let audit = owner.get("/v1/audit").await;
        assert!(audit.text.contains("line.release"), "{}", audit.text);
    }
);
