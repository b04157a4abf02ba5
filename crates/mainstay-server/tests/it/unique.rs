//! Jobs that there is to be one of.

use serde_json::{Value, json};

use crate::{
    client::{Answer, Caller, text},
    on_both_servers,
    server::{Server, Settings},
};

/// A job that nobody takes: no worker asks for this queue.
fn report(unique: Value) -> Value {
    json!({ "kind": "report.render", "queue": "reports", "unique": unique })
}

async fn submit(caller: &Caller, job: &Value) -> Answer {
    caller.post("/v1/jobs", job).await
}

async fn state_of(caller: &Caller, job: &str) -> String {
    text(&caller.get(&format!("/v1/jobs/{job}")).await.ok(), "/state")
}

on_both_servers!(
    of_jobs_with_one_key_there_is_one_until_it_has_ended,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let job = report(json!({ "key": "november" }));
        let first = submit(&owner, &job).await;
        assert_eq!(first.status, 201);
        let first = text(&first.json(), "/id");
        let again = submit(&owner, &job).await;
        assert_eq!(
            (again.status, text(&again.json(), "/id")),
            (200, first.clone())
        );
        // Another key, another queue: another job.
        let other = submit(&owner, &report(json!({ "key": "december" }))).await;
        assert_eq!(other.status, 201);
        let mut elsewhere = job.clone();
        elsewhere["queue"] = json!("others");
        assert_eq!(submit(&owner, &elsewhere).await.status, 201);
        owner
            .post(&format!("/v1/jobs/{first}/cancel"), &json!({}))
            .await
            .ok();
        let next = submit(&owner, &job).await;
        assert_eq!(next.status, 201, "the key is free again");
        // Unless it is to be once in a time, whatever became of it.
        let next = text(&next.json(), "/id");
        owner
            .post(&format!("/v1/jobs/{next}/cancel"), &json!({}))
            .await
            .ok();
        let hourly = report(json!({ "key": "november", "for_secs": 3600 }));
        let kept = submit(&owner, &hourly).await;
        assert_eq!((kept.status, text(&kept.json(), "/id")), (200, next));
    }
);

on_both_servers!(
    of_many_who_submit_at_once_one_makes_the_job,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let job = report(json!({ "key": "all at once" }));
        let all = (0..24).map(|_| submit(&owner, &job));
        let answers = futures_util::future::join_all(all).await;
        let made = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(made, 1);
        let first = text(&answers[0].json(), "/id");
        for answer in &answers {
            assert_eq!(text(&answer.json(), "/id"), first);
        }
    }
);

on_both_servers!(
    what_follows_takes_the_place_of_what_was_not_started_and_is_not_put_off_for_ever,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let debounced = |run_at: &str| {
            let mut job = report(
                json!({ "key": "sync", "if_taken": "replace", "at_latest_secs": 2_592_000 }),
            );
            job["run_at"] = json!(run_at);
            job
        };
        let mut last = None;
        for run_at in ["2999-01-01T00:00:00Z", "2999-01-02T00:00:00Z"] {
            let answer = submit(&owner, &debounced(run_at)).await;
            assert_eq!(answer.status, 201);
            let made = answer.json();
            // No later than 30 days after the first.
            assert!(text(&made, "/run_at").as_str() < "2999", "{made}");
            if let Some((earlier, at)) = last.replace((text(&made, "/id"), text(&made, "/run_at")))
            {
                assert_eq!(state_of(&owner, &earlier).await, "cancelled");
                assert_eq!(at, text(&made, "/run_at"), "counted from the first");
            }
        }
        let (job, _) = last.expect("there were two");
        assert_eq!(state_of(&owner, &job).await, "scheduled");
    }
);

on_both_servers!(
    many_jobs_at_once_say_which_of_them_were_there_before,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let once = report(json!({ "key": "once" }));
        let plain = json!({ "kind": "report.render", "queue": "reports" });
        let jobs = json!({ "jobs": [plain, once, once, plain] });
        let made = owner.post("/v1/jobs/bulk", &jobs).await.ok();
        let existing: Vec<bool> = made["items"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|item| item["existing"] == true)
            .collect();
        assert_eq!(existing, [false, false, true, false]);
        assert_eq!(made["items"][1]["id"], made["items"][2]["id"]);
    }
);

on_both_servers!(
    what_makes_no_sense_together_is_refused_field_by_field,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let mut ordered = report(json!({ "key": "a", "if_taken": "replace" }));
        ordered["ordering_key"] = json!("customer 7");
        for (job, field) in [
            (report(json!({ "key": "" })), "/unique/key"),
            (
                report(json!({ "key": "a", "for_secs": 0 })),
                "/unique/for_secs",
            ),
            (
                report(json!({ "key": "a", "at_latest_secs": 60 })),
                "/unique/at_latest_secs",
            ),
            (ordered, "/unique/if_taken"),
        ] {
            let refused = submit(&owner, &job).await;
            assert_eq!(refused.problem(), (400, "validation_failed".into()));
            assert_eq!(text(&refused.json(), "/errors/0/pointer"), field);
        }
    }
);
