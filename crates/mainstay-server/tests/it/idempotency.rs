//! Writes that are sent twice take effect once, on both databases.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    client::{Answer, Caller, World},
    on_both_servers,
    server::{Server, Settings},
};

async fn send(caller: &Caller, key: &str, path: &str, body: &Value) -> Answer {
    let request = caller
        .request(Method::POST, path)
        .header("idempotency-key", key)
        .json(body);
    caller.send(request).await
}

on_both_servers!(
    a_job_that_is_submitted_twice_is_one_job,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let job = json!({ "kind": "noop", "payload": { "n": 1 } });
        let first = send(&owner, "one", "/v1/jobs", &job).await;
        assert_eq!(
            (first.status, first.header("idempotency-replayed")),
            (201, "")
        );
        let again = send(&owner, "one", "/v1/jobs", &job).await;
        assert_eq!(
            (again.status, again.header("idempotency-replayed")),
            (201, "true")
        );
        assert_eq!(first.json(), again.json());
        assert_eq!(again.header("content-type"), "application/json");
        let other = send(
            &owner,
            "one",
            "/v1/jobs",
            &json!({ "kind": "noop", "payload": { "n": 2 } }),
        )
        .await;
        assert_eq!(other.problem(), (422, "idempotency_key_reused".into()));
        // Another caller's keys are another caller's.
        let second = owner
            .key(json!({ "name": "second", "role": "owner" }))
            .await;
        let theirs = send(&second, "one", "/v1/jobs", &job).await;
        assert_eq!(
            (theirs.status, theirs.header("idempotency-replayed")),
            (201, "")
        );
        assert_ne!(theirs.json()["id"], first.json()["id"]);
        let jobs = owner.get("/v1/jobs?kind=noop").await.ok();
        assert_eq!(jobs["items"].as_array().map(Vec::len), Some(2));
    }
);

on_both_servers!(
    many_at_the_same_moment_make_one_job,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let job = json!({ "kind": "noop", "payload": {} });
        let mut tasks = Vec::new();
        for _ in 0..20 {
            let (owner, job) = (owner.clone(), job.clone());
            tasks.push(tokio::spawn(async move {
                send(&owner, "race", "/v1/jobs", &job).await
            }));
        }
        let mut made = 0;
        for task in tasks {
            let answer = task.await.expect("the task ends");
            match answer.status {
                201 if answer.header("idempotency-replayed").is_empty() => made += 1,
                201 => {}
                _ => {
                    assert_eq!(answer.problem(), (409, "idempotency_in_progress".into()));
                    assert_eq!(answer.header("retry-after"), "1");
                }
            }
        }
        assert_eq!(made, 1);
        let jobs = owner.get("/v1/jobs?kind=noop").await.ok();
        assert_eq!(jobs["items"].as_array().map(Vec::len), Some(1));
    }
);

on_both_servers!(
    a_replay_and_a_bulk_retry_happen_once,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let plan = json!({ "selection": { "event_ids": [world.event] }, "plan": true });
        let planned = owner.post("/v1/replays", &plan).await;
        assert_eq!(
            (planned.status, planned.json()["jobs"].as_i64()),
            (200, Some(1))
        );
        let run = json!({ "selection": { "event_ids": [world.event] }, "plan": false });
        let first = send(&owner, "replay", "/v1/replays", &run).await;
        assert_eq!(
            (first.status, first.json()["jobs"].as_i64()),
            (202, Some(1)),
            "{}",
            first.text
        );
        let again = send(&owner, "replay", "/v1/replays", &run).await;
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!(first.json(), again.json());
        let dead = |count: usize| {
            move |found: &Value| found["items"].as_array().map(Vec::len) == Some(count)
        };
        owner.until("/v1/dead-letters", dead(2)).await;
        let event = owner.get(&format!("/v1/events/{}", world.event)).await.ok();
        assert_eq!(event["replays"].as_array().map(Vec::len), Some(1));
        assert_eq!(event["jobs"]["total"], 2);

        let plan = json!({ "selection": { "code": "connect_failed" }, "plan": true });
        let planned = owner.post("/v1/dead-letters/retry", &plan).await.ok();
        assert_eq!(
            (planned["matched"].as_i64(), planned["retried"].as_i64()),
            (Some(2), Some(0))
        );
        assert_eq!(planned["by_reason"][0]["count"], 2);
        let run = json!({ "selection": { "code": "connect_failed" }, "plan": false });
        let first = send(&owner, "retry", "/v1/dead-letters/retry", &run)
            .await
            .ok();
        assert_eq!(
            (first["matched"].as_i64(), first["retried"].as_i64()),
            (Some(2), Some(2))
        );
        let again = send(&owner, "retry", "/v1/dead-letters/retry", &run).await;
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!(again.json(), first);
        // They died again, and the repetition did not run them a third time.
        owner.until("/v1/dead-letters", dead(2)).await;
        let empty = json!({ "selection": { "job_ids": [] }, "plan": false });
        assert_eq!(
            owner
                .post("/v1/dead-letters/retry", &empty)
                .await
                .problem()
                .0,
            400
        );
        let discard = json!({ "selection": {}, "reason": "a test", "plan": false });
        let gone = send(&owner, "discard", "/v1/dead-letters/discard", &discard)
            .await
            .ok();
        assert_eq!(gone["discarded"], 2);
        let job = owner.get(&format!("/v1/jobs/{}", world.job)).await.ok();
        assert_eq!(job["state"], "cancelled");
        let last = job["attempts_list"]
            .as_array()
            .and_then(|list| list.last())
            .cloned()
            .expect("an attempt");
        assert_eq!(
            (last["outcome"].as_str(), last["error"].as_str()),
            (Some("discarded"), Some("a test"))
        );
        assert_eq!(last["by"], "key:local-cli");
    }
);

on_both_servers!(
    a_key_does_no_harm_where_an_answer_shows_a_secret,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let new = json!({ "name": "deploy", "role": "viewer" });
        let first = send(&owner, "key", "/v1/keys", &new).await;
        let again = send(&owner, "key", "/v1/keys", &new).await;
        assert_eq!((first.status, again.status), (201, 201));
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert!(first.json()["secret"].is_string());
        assert_eq!(again.json()["secret"], Value::Null, "it was shown before");
        assert_eq!(first.json()["key"], again.json()["key"], "there is one key");
        let other = json!({ "name": "deploy", "role": "owner" });
        let other = send(&owner, "key", "/v1/keys", &other).await;
        assert_eq!(other.problem(), (422, "idempotency_key_reused".into()));
        let statement = json!({ "statement": "SELECT key, body FROM idempotency" });
        let kept = owner.post("/v1/sql", &statement).await.ok();
        let kept = kept["rows"][0].to_string();
        assert!(!kept.contains("msk_"), "a secret is never kept: {kept}");
        assert!(!kept.contains("\"key\""), "nor is the key itself: {kept}");
        for wrong in ["", "a b", &"x".repeat(256)] {
            let answer = send(&owner, wrong, "/v1/tenants", &json!({ "name": "x" })).await;
            assert_eq!(answer.problem().0, 400, "{wrong}");
        }
    }
);
