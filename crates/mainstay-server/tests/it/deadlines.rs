//! Deadlines of jobs over HTTP.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::{
    client::{Caller, text},
    on_both_servers,
    server::{Server, Settings},
};

on_both_servers!(
    a_job_that_nobody_takes_in_time_is_a_dead_letter_and_runs_again_without_its_deadline,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let job = json!({ "kind": "letter.print", "queue": "letters", "expires_in_secs": 1 });
        let made = owner.post("/v1/jobs", &job).await.ok();
        assert!(made["deadline"].is_string(), "{made}");
        let path = format!("/v1/jobs/{}", text(&made, "/id"));
        let dead = owner.until(&path, |job| job["state"] == "dead").await;
        assert_eq!(dead["deadline"], made["deadline"]);
        let expired = "/v1/dead-letters?code=expired";
        let letters = owner.get(expired).await.ok();
        assert_eq!(letters["items"][0]["job_id"], made["id"]);

        let again = format!("{path}/retry");
        owner.post(&again, &json!({})).await.ok();
        let waits = owner.until(&path, |job| job["state"] == "retrying").await;
        assert_eq!(waits["deadline"], Value::Null);
        let pull = json!({ "worker": "anna", "queues": ["letters"] });
        let pulled = owner.post("/v1/workers/pull", &pull).await.ok();
        assert_eq!(pulled["jobs"][0]["id"], made["id"]);
        assert_eq!(pulled["jobs"][0]["deadline"], Value::Null);
    }
);

on_both_servers!(
    the_earliest_deadline_is_handed_out_first_and_says_so,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let job = |expires: Value| json!({ "kind": "letter.print", "queue": "letters", "expires_in_secs": expires });
        let jobs = json!({ "jobs": [job(Value::Null), job(json!(900)), job(json!(600))] });
        let made = owner.post("/v1/jobs/bulk", &jobs).await.ok();
        let queue = "/v1/queues/letters";
        owner.until(queue, |queue| queue["waiting"] == 3).await;
        let pull = json!({ "worker": "anna", "queues": ["letters"] });
        for wanted in [2, 1, 0] {
            let pulled = owner.post("/v1/workers/pull", &pull).await.ok();
            let job = &pulled["jobs"][0];
            assert_eq!(job["id"], made["items"][wanted]["id"]);
            assert_eq!(job["deadline"].is_string(), wanted > 0);
        }
    }
);

on_both_servers!(
    a_deadline_that_no_job_could_meet_is_refused,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let past = "2020-01-01T00:00:00Z";
        for (wrong, place) in [
            (json!({ "deadline": past }), "/deadline"),
            (json!({ "deadline": "soon" }), "deadline"),
            (json!({ "expires_in_secs": 0 }), "/expires_in_secs"),
            (json!({ "expires_in_secs": 31_536_001 }), "/expires_in_secs"),
            (
                json!({ "expires_in_secs": 60, "deadline": "2999-01-01T00:00:00Z" }),
                "/expires_in_secs",
            ),
            (
                json!({ "expires_in_secs": 60, "run_at": "2999-01-01T00:00:00Z" }),
                "/expires_in_secs",
            ),
        ] {
            let mut job = json!({ "kind": "letter.print", "queue": "letters" });
            for (name, value) in wrong.as_object().expect("fields") {
                job[name] = value.clone();
            }
            let answer = owner.post("/v1/jobs", &job).await;
            assert_eq!(answer.status, 400, "{}", answer.text);
            assert!(answer.text.contains(place), "{}", answer.text);
        }
    }
);

on_both_servers!(
    what_a_binding_makes_expires_also_while_an_endpoint_keeps_it_waiting,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let new = json!({ "name": "in", "scheme": "standard_webhooks" });
        let source = owner.post("/v1/sources", &new).await.ok();
        // Takes connections and never says a word.
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", silent.local_addr().expect("bound"));
        let endpoint = json!({ "name": "app", "url": url, "timeout_ms": 30_000 });
        let endpoint = owner.post("/v1/endpoints", &endpoint).await.ok();
        let id = text(&endpoint, "/endpoint/id");
        let new = json!({
            "source": "in", "type_pattern": "*", "endpoint_id": id, "expires_in_secs": 2,
        });
        let binding = owner.post("/v1/bindings", &new).await.ok();
        assert_eq!(binding["expires_in_secs"], 2);
        let (secret, body) = (text(&source, "/secret"), json!({ "type": "order.made" }));
        owner.webhook("in", &secret, "msg_1", &body).await.ok();
        let letters = "/v1/dead-letters";
        let count = |found: &Value| found["items"].as_array().map_or(0, Vec::len);
        let found = owner.until(letters, |found| count(found) == 1).await;
        let letter = &found["items"][0];
        // It says nothing about the endpoint.
        assert_eq!(letter["code"], "expired");
        assert_eq!(letter["category"], "unknown");
        let pause = format!("/v1/queues/endpoint:{id}/pause");
        owner.post(&pause, &json!({})).await.ok();
        owner.webhook("in", &secret, "msg_2", &body).await.ok();
        owner.until(letters, |found| count(found) == 2).await;

        let path = format!("/v1/bindings/{}", text(&binding, "/id"));
        let never = owner.patch(&path, &json!({ "expires_in_secs": 0 })).await;
        assert_eq!(never.ok()["expires_in_secs"], Value::Null);
        let wrong = owner.patch(&path, &json!({ "expires_in_secs": -1 })).await;
        assert_eq!(wrong.problem(), (400, "validation_failed".into()));
    }
);
