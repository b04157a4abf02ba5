//! Workers over HTTP: what they ask for, what they are told, and what is left when a server dies.

use serde_json::{Value, json};

use crate::{
    client::{Answer, Caller, text},
    on_both_servers,
    server::{Server, Settings},
};

/// Submits a job for workers; answers its id.
async fn submit(owner: &Caller, payload: Value) -> String {
    let job = json!({ "kind": "letter.print", "queue": "letters", "payload": payload });
    text(&owner.post("/v1/jobs", &job).await.ok(), "/id")
}

async fn pull(owner: &Caller, name: &str, max: u32) -> Vec<Value> {
    let asked = json!({ "worker": name, "queues": ["letters"], "max": max, "wait_secs": 30 });
    let answer = owner.post("/v1/workers/pull", &asked).await.ok();
    answer["jobs"].as_array().expect("a list").clone()
}

async fn tell(owner: &Caller, name: &str, outcome: Value) -> Answer {
    let told = json!({ "worker": name, "outcomes": [outcome] });
    loop {
        let answer = owner.post("/v1/workers/report", &told).await;
        // Just after a start nobody knows yet what is in whose hands.
        if answer.status != 503 {
            return answer;
        }
        assert_eq!(answer.header("retry-after"), "1");
        assert!(["owner_starting", "not_the_owner"].contains(&answer.problem().1.as_str()));
    }
}

async fn beat(owner: &Caller, name: &str, token: &Value) -> String {
    let progress = json!({ "percent": 40, "note": "printing" });
    let beats = json!({ "worker": name, "beats": [{ "token": token, "progress": progress }] });
    let answer = owner.post("/v1/workers/heartbeat", &beats).await.ok();
    text(&answer, "/beats/0/state")
}

on_both_servers!(
    a_worker_takes_a_job_says_how_far_it_is_and_what_came_of_it,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let id = submit(&owner, json!({ "to": "you" })).await;
        let jobs = pull(&owner, "press-1", 5).await;
        assert_eq!(jobs.len(), 1);
        let job = &jobs[0];
        assert_eq!(
            (&job["id"], &job["kind"], &job["queue"], &job["payload"]),
            (
                &json!(id),
                &json!("letter.print"),
                &json!("letters"),
                &json!({ "to": "you" })
            )
        );
        assert_eq!(
            (&job["attempt"], &job["tries"], &job["lease_secs"]),
            (&json!(1), &json!(1), &json!(30))
        );
        assert_eq!(beat(&owner, "press-1", &job["token"]).await, "held");
        let path = format!("/v1/jobs/{id}");
        let shown = owner.get(&path).await.ok();
        let attempt = &shown["attempts_list"][0];
        assert_eq!(shown["state"], "running");
        assert_eq!(
            (&attempt["worker"], &attempt["progress"]["percent"]),
            (&json!("press-1"), &json!(40))
        );
        let listed = owner.get("/v1/workers").await.ok();
        let worker = &listed["items"][0];
        assert_eq!(
            (&worker["name"], &worker["queues"], &worker["job_ids"]),
            (&json!("press-1"), &json!(["letters"]), &json!([id]))
        );

        let done =
            json!({ "token": job["token"], "outcome": "completed", "result": { "pages": 3 } });
        let told = tell(&owner, "press-1", done.clone()).await.ok();
        assert_eq!(told["outcomes"][0]["recorded"], true);
        let again = tell(&owner, "press-1", done).await.ok();
        assert_eq!(
            again["outcomes"][0]["recorded"], true,
            "it may be told again"
        );
        let shown = owner.get(&path).await.ok();
        let attempt = &shown["attempts_list"][0];
        assert_eq!(
            (&shown["state"], &shown["attempts"]),
            (&json!("done"), &json!(1))
        );
        assert_eq!(
            (
                &attempt["worker"],
                &attempt["result"],
                &attempt["progress"]["note"]
            ),
            (
                &json!("press-1"),
                &json!({ "pages": 3 }),
                &json!("printing")
            )
        );
        let failed = json!({
            "token": job["token"], "outcome": "failed", "failure": { "message": "no" },
        });
        let refused = tell(&owner, "press-1", failed).await;
        assert_eq!(refused.problem(), (409, "lease_ended".into()));
        assert_eq!(beat(&owner, "press-1", &job["token"]).await, "ended");
    }
);

on_both_servers!(
    one_request_says_how_jobs_went_and_asks_for_the_next,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let new = |n: u32| json!({ "kind": "letter.print", "queue": "letters", "payload": n });
        let jobs: Vec<Value> = (0..30).map(new).collect();
        let made = owner
            .post("/v1/jobs/bulk", &json!({ "jobs": jobs }))
            .await
            .ok();
        assert_eq!(made["items"].as_array().map(Vec::len), Some(30));
        let mut held = Vec::new();
        while held.is_empty() {
            held = pull(&owner, "press-1", 10).await;
        }
        let mut done = 0;
        while done < 30 {
            let outcome = |job: &Value| json!({ "token": job["token"], "outcome": "completed" });
            let outcomes: Vec<Value> = held.iter().map(outcome).collect();
            let wait = u32::from(outcomes.is_empty());
            let both = json!({
                "worker": "press-1", "queues": ["letters", "others"], "max": 10, "outcomes": outcomes,
                "wait_secs": wait,
            });
            let answer = owner.post("/v1/workers/pull", &both).await.ok();
            let told = answer["outcomes"].as_array().expect("a list");
            assert!(told.iter().all(|one| one["recorded"] == true), "{answer}");
            done += told.len();
            held = answer["jobs"].as_array().expect("a list").clone();
        }
        // Counted a moment later.
        let counted = |counts: &Value| counts["queues"]["letters"]["completed"] == 30;
        owner.until("/v1/job-counts", counted).await;
        let log = owner.get("/v1/audit").await;
        assert!(log.text.contains("job.create_bulk"), "{}", log.text);
    }
);

on_both_servers!(
    a_failure_decides_whether_the_job_is_tried_again,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let id = submit(&owner, json!(1)).await;
        let job = pull(&owner, "press-1", 1).await.remove(0);
        let failed = json!({
            "token": job["token"], "outcome": "failed",
            "failure": {
                "category": "provider", "code": "jam", "message": "the paper is stuck", "retryable": false,
            },
        });
        tell(&owner, "press-1", failed).await.ok();
        let shown = owner.get(&format!("/v1/jobs/{id}")).await.ok();
        let attempt = &shown["attempts_list"][0];
        assert_eq!(shown["state"], "dead");
        assert_eq!(
            (&attempt["code"], &attempt["worker"]),
            (&json!("jam"), &json!("press-1"))
        );

        owner
            .post(&format!("/v1/jobs/{id}/retry"), &json!({}))
            .await
            .ok();
        let job = pull(&owner, "press-1", 1).await.remove(0);
        assert_eq!((&job["attempt"], &job["tries"]), (&json!(3), &json!(1)));
        let later = json!({
            "token": job["token"], "outcome": "snoozed", "delay_secs": 3600, "reason": "no paper",
        });
        tell(&owner, "press-1", later).await.ok();
        let shown = owner.get(&format!("/v1/jobs/{id}")).await.ok();
        let attempt = &shown["attempts_list"][2];
        assert_eq!(
            (&attempt["code"], &attempt["error"], &attempt["by"]),
            (
                &json!("snoozed"),
                &json!("no paper"),
                &json!("worker:press-1")
            )
        );
    }
);

on_both_servers!(
    a_worker_hears_that_its_job_was_cancelled_and_cannot_end_it_otherwise,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let id = submit(&owner, json!(1)).await;
        let job = pull(&owner, "press-1", 1).await.remove(0);
        owner
            .post(&format!("/v1/jobs/{id}/cancel"), &json!({}))
            .await
            .ok();
        loop {
            match beat(&owner, "press-1", &job["token"]).await.as_str() {
                "cancelled" => break,
                state => assert_eq!(state, "held"),
            }
        }
        let done = json!({ "token": job["token"], "outcome": "completed" });
        let refused = tell(&owner, "press-1", done).await;
        assert_eq!(refused.problem(), (409, "job_cancelled".into()));
    }
);

on_both_servers!(
    what_makes_no_sense_is_refused_with_a_pointer_to_it,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let token = "A".repeat(48);
        for (path, body, pointer) in [
            ("/v1/jobs", json!({ "kind": "letter.print" }), "/queue"),
            (
                "/v1/jobs",
                json!({ "kind": "Not A Kind", "queue": "letters" }),
                "/kind",
            ),
            (
                "/v1/jobs",
                json!({ "kind": "endpoint.deliver", "queue": "letters" }),
                "/kind",
            ),
            (
                "/v1/jobs",
                json!({ "kind": "letter.print", "queue": "default" }),
                "/queue",
            ),
            (
                "/v1/jobs",
                json!({ "kind": "noop", "queue": "letters" }),
                "/queue",
            ),
            (
                "/v1/jobs/bulk",
                json!({ "jobs": [{ "kind": "noop" }, { "kind": "letter.print" }] }),
                "/jobs/1/queue",
            ),
            ("/v1/jobs/bulk", json!({ "jobs": [] }), "/jobs"),
            (
                "/v1/workers/pull",
                json!({ "worker": "w", "queues": ["default"] }),
                "/queues/0",
            ),
            (
                "/v1/workers/pull",
                json!({ "worker": "w", "queues": ["a:b"] }),
                "/queues/0",
            ),
            (
                "/v1/workers/pull",
                json!({ "worker": "w", "queues": [] }),
                "/queues",
            ),
            (
                "/v1/workers/pull",
                json!({ "worker": "w", "queues": ["a"], "wait_secs": 31 }),
                "/wait_secs",
            ),
            (
                "/v1/workers/pull",
                json!({ "worker": "w", "queues": ["a"], "lease_secs": 1 }),
                "/lease_secs",
            ),
            (
                "/v1/workers/heartbeat",
                json!({ "worker": "w", "beats": [{ "token": "?" }] }),
                "/beats/0/token",
            ),
            (
                "/v1/workers/report",
                json!({ "worker": "w", "outcomes": [{ "token": token, "outcome": "failed" }] }),
                "/outcomes/0/failure",
            ),
            (
                "/v1/workers/report",
                json!({ "worker": "w", "outcomes": [{ "token": token, "outcome": "released", "result": 1 }] }),
                "/outcomes/0/result",
            ),
            (
                "/v1/workers/report",
                json!({ "worker": "w", "outcomes": [{
                    "token": token, "outcome": "completed", "result": "a".repeat(70_000),
                }] }),
                "/outcomes/0/result",
            ),
        ] {
            let answer = owner.post(path, &body).await;
            assert_eq!(
                answer.problem(),
                (400, "validation_failed".into()),
                "{body}"
            );
            let pointers = answer.json()["errors"].clone();
            let named = |one: &Value| one["pointer"] == pointer;
            let found = pointers.as_array().is_some_and(|all| all.iter().any(named));
            assert!(found, "{pointer}: {}", answer.text);
        }
        let unknown = json!({ "token": token, "outcome": "completed" });
        let refused = tell(&owner, "w", unknown).await;
        assert_eq!(refused.problem(), (409, "lease_ended".into()));
        let empty = json!({ "worker": "w", "queues": ["letters"], "wait_secs": 0 });
        let none = owner.post("/v1/workers/pull", &empty).await.ok();
        assert_eq!(none["jobs"], json!([]));
    }
);

async fn survives(server: &mut Server) {
    let owner = Caller::owner(server);
    let ids = [
        submit(&owner, json!(1)).await,
        submit(&owner, json!(2)).await,
    ];
    let mut jobs = Vec::new();
    while jobs.len() < 2 {
        jobs.extend(pull(&owner, "press-1", 2).await);
    }
    server.kill();
    server.start_again();
    let owner = Caller::owner(server);
    loop {
        match beat_when_there(&owner, &jobs[1]["token"]).await.as_str() {
            "held" => break,
            state => assert_eq!(state, "unknown"),
        }
    }
    for job in &jobs {
        let done =
            json!({ "token": job["token"], "outcome": "completed", "result": job["payload"] });
        tell(&owner, "press-1", done).await.ok();
    }
    for id in ids {
        let shown = owner.get(&format!("/v1/jobs/{id}")).await.ok();
        assert_eq!(
            (&shown["state"], &shown["attempts"]),
            (&json!("done"), &json!(1))
        );
    }
}

/// While the new server does not own the jobs yet, nobody can say.
async fn beat_when_there(owner: &Caller, token: &Value) -> String {
    let beats = json!({ "worker": "press-1", "beats": [{ "token": token }] });
    loop {
        let answer = owner.post("/v1/workers/heartbeat", &beats).await;
        if answer.status != 503 {
            return text(&answer.ok(), "/beats/0/state");
        }
        assert_eq!(answer.problem().1, "not_the_owner");
    }
}

#[tokio::test]
async fn on_sqlite_what_is_in_hand_stays_there_when_the_server_is_killed() {
    survives(&mut Server::sqlite()).await;
}

#[tokio::test]
async fn on_postgres_what_is_in_hand_stays_there_when_the_server_is_killed() {
    survives(&mut Server::postgres().await).await;
}

on_both_servers!(
    a_key_of_one_tenant_uses_the_queues_that_there_are_and_makes_none,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let tenants = owner.get("/v1/tenants").await.ok();
        let key = json!({
            "name": "theirs", "role": "admin", "tenant_id": tenants["items"][0]["id"],
        });
        let bound = owner.key(key).await;
        let job = json!({ "kind": "letter.print", "queue": "letters" });
        let jobs = json!({ "jobs": [job] });
        let schedule =
            json!({ "name": "a", "cron": "@daily", "kind": "letter.print", "queue": "letters" });
        let declared = json!({ "configuration": { "schedules": [schedule] } });
        let ways = [
            ("/v1/jobs", &job, "/queue"),
            ("/v1/jobs/bulk", &jobs, "/jobs/0/queue"),
            ("/v1/schedules", &schedule, "/queue"),
            (
                "/v1/configuration/apply",
                &declared,
                "/configuration/schedules/0/queue",
            ),
        ];
        for (path, body, at) in ways {
            let refused = bound.post(path, body).await;
            assert_eq!(refused.status, 400, "{path}: {}", refused.text);
            assert_eq!(
                text(&refused.json(), "/errors/0/pointer"),
                at,
                "{}",
                refused.text
            );
        }
        owner.post("/v1/jobs", &job).await.ok();
        for (path, body, _) in ways {
            let taken = bound.post(path, body).await;
            assert!(taken.status < 300, "{path}: {}", taken.text);
        }
    }
);
