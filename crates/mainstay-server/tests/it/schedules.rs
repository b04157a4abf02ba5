//! Schedules over the API: jobs that come by themselves, to an endpoint too, and what a person can see and do.

use mainstay_domain::intake::scheme::{Request, Route, Scheme, Secret, verify};
use serde_json::{Value, json};

use crate::{
    client::{Caller, text},
    on_both_servers,
    receiver::{Received, Receiver},
    server::{Server, Settings},
};

async fn endpoint(owner: &Caller, url: &str) -> (String, String) {
    let new = json!({ "name": "app", "url": url });
    let made = owner.post("/v1/endpoints", &new).await.ok();
    (text(&made, "/endpoint/id"), text(&made, "/secret"))
}

async fn make(owner: &Caller, body: &Value) -> Value {
    let made = owner.post("/v1/schedules", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.json()
}

fn path(schedule: &Value) -> String {
    format!("/v1/schedules/{}", text(schedule, "/id"))
}

on_both_servers!(
    a_schedule_of_every_second_pushes_its_ticks_signed_and_by_name,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let receiver = Receiver::answering(200);
        let (id, secret) = endpoint(&owner, &receiver.url).await;
        let made = make(
            &owner,
            &json!({
                "name": "every-second", "cron": "* * * * * *", "zone": "europe/berlin",
                "endpoint": "app", "payload": { "config": 7 },
            }),
        )
        .await;
        assert_eq!(
            (&made["zone"], &made["endpoint_id"], &made["kind"]),
            (
                &json!("Europe/Berlin"),
                &json!(id),
                &json!("endpoint.deliver")
            )
        );
        let (first, second) = (receiver.next(), receiver.next());
        owner
            .post(&format!("{}/pause", path(&made)), &json!({}))
            .await
            .ok();
        let mut ticks = Vec::new();
        for push in [&first, &second] {
            let body: Value = serde_json::from_slice(&push.body).expect("it is JSON");
            assert_eq!(body["payload"], json!({ "config": 7 }));
            assert_eq!(body["schedule"], "every-second");
            assert_eq!(body["schedule_id"], made["id"]);
            assert_eq!(push.header("mainstay-schedule-id"), text(&made, "/id"));
            assert_eq!(push.header("mainstay-schedule"), "every-second");
            assert_eq!(
                push.header("mainstay-scheduled-for"),
                text(&body, "/scheduled_for")
            );
            assert_eq!(push.header("mainstay-event-id"), "");
            assert!(proven(push, &secret), "it is signed");
            ticks.push(text(&body, "/scheduled_for"));
        }
        assert_ne!(ticks[0], ticks[1]);
        let shown = owner
            .until(&path(&made), |found| {
                let runs = found["runs"].as_array().cloned().unwrap_or_default();
                runs.len() >= 2 && runs.iter().all(|run| run["job_state"] == "done")
            })
            .await;
        let runs = shown["runs"].as_array().cloned().unwrap_or_default();
        let made_twice = format!(
            "SELECT count(*) FROM job WHERE kind = 'endpoint.deliver' AND event_id IS NULL HAVING count(*) <> {}",
            runs.len()
        );
        let found = owner
            .post("/v1/sql", &json!({ "statement": made_twice }))
            .await;
        assert_eq!(found.ok()["rows"], json!([]), "a job for each tick");
        assert!(shown["next_tick"].is_null() && shown["paused"] == true);
        assert_eq!(shown["next_ticks"].as_array().map(Vec::len), Some(10));
        // The job says what it was told.
        let job = owner
            .get(&format!("/v1/jobs/{}", text(&runs[0], "/job_id")))
            .await
            .ok();
        assert_eq!(job["payload"]["schedule_id"], made["id"]);
        assert_eq!(job["event_id"], Value::Null);
        let page = owner
            .get(&format!("{}/runs?limit=1", path(&made)))
            .await
            .ok();
        assert_eq!(page["items"][0]["tick"], runs[0]["tick"]);
        let cursor = text(&page, "/next_cursor");
        let page = owner
            .get(&format!("{}/runs?limit=1&cursor={cursor}", path(&made)))
            .await
            .ok();
        assert_eq!(page["items"][0]["tick"], runs[1]["tick"]);
    }
);

/// Whether an application that knows the secret takes the push for ours.
fn proven(push: &Received, secret: &str) -> bool {
    let timestamp = push.header("webhook-timestamp");
    let request = Request {
        headers: &push.headers,
        body: &push.body,
        now_secs: timestamp.parse().expect("seconds"),
        route: Route::default(),
    };
    let secrets = [Secret::from(secret)];
    verify(&Scheme::StandardWebhooks, &secrets, 300, &request).is_ok()
}

on_both_servers!(
    a_person_changes_pauses_runs_and_removes_a_schedule,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let new = json!({
            "name": "nightly", "cron": "0 2 * * *", "kind": "noop", "jitter_ms": 1000,
            "payload": { "a": 1 }, "retry": { "strategy": "exponential", "attempts_max": 2 },
        });
        let made = make(&owner, &new).await;
        assert_eq!(
            (&made["misfire"], &made["overlap"], &made["queue"]),
            (&json!("one"), &json!("allow"), &json!("default"))
        );
        let twice = owner.post("/v1/schedules", &new).await;
        assert_eq!(twice.problem(), (409, "already_exists".into()));
        let change = json!({
            "cron": "30 2 * * *", "zone": "Europe/Berlin", "payload": null, "overlap": "wait",
        });
        let changed = owner.patch(&path(&made), &change).await.ok();
        assert_eq!(
            (&changed["payload"], &changed["overlap"], &changed["queue"]),
            (&Value::Null, &json!("wait"), &json!("default"))
        );
        assert_ne!(changed["next_tick"], made["next_tick"]);
        for word in ["pause", "pause"] {
            let held = owner
                .post(&format!("{}/{word}", path(&made)), &json!({}))
                .await
                .ok();
            assert_eq!(
                (&held["paused"], &held["next_tick"]),
                (&json!(true), &Value::Null)
            );
        }
        let ran = owner
            .post(&format!("{}/run", path(&made)), &json!({}))
            .await;
        assert_eq!(ran.status, 201, "{}", ran.text);
        assert_eq!(ran.json()["outcome"], "by_hand");
        let job = format!("/v1/jobs/{}", text(&ran.json(), "/job_id"));
        let done = owner.until(&job, |job| job["state"] == "done").await;
        assert_eq!(
            (&done["payload"]["by_hand"], &done["max_attempts"]),
            (&json!(true), &json!(2))
        );
        let resumed = owner
            .post(&format!("{}/resume", path(&made)), &json!({}))
            .await
            .ok();
        assert_eq!(resumed["next_tick"], changed["next_tick"]);
        let listed = owner.get("/v1/schedules?name=nightly").await.ok();
        assert_eq!(listed["items"][0]["last_run"]["job_state"], "done");
        assert_eq!(owner.delete(&path(&made)).await.status, 204);
        assert_eq!(
            owner.get(&path(&made)).await.problem(),
            (404, "not_found".into())
        );
        let told = "SELECT action FROM audit WHERE action LIKE 'schedule.%' ORDER BY at, id";
        let told = owner
            .post("/v1/sql", &json!({ "statement": told }))
            .await
            .ok();
        assert_eq!(
            told["rows"],
            json!([
                ["schedule.create"],
                ["schedule.update"],
                ["schedule.pause"],
                ["schedule.run"],
                ["schedule.resume"],
                ["schedule.delete"]
            ])
        );
    }
);

on_both_servers!(
    what_is_wrong_with_a_schedule_is_said_where_it_is_wrong,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        for (field, wrong) in [
            ("cron", json!("0 2 * *")),
            ("cron", json!("0 0 30 2 *")),
            ("zone", json!("Berlin")),
            ("name", json!("Not A Name")),
            ("kind", json!("billing.record")),
            ("kind", json!("no.such")),
            ("grace_ms", json!(10)),
            ("jitter_ms", json!(3_600_001)),
            ("catch_up_max", json!(0)),
            ("payload", json!("x".repeat(16 * 1024))),
        ] {
            let mut body = json!({ "name": "one", "cron": "@daily", "kind": "noop" });
            body[field] = wrong;
            let answer = owner.post("/v1/schedules", &body).await;
            assert_eq!(answer.status, 400, "{}", answer.text);
            assert_eq!(
                answer.json()["errors"][0]["pointer"],
                format!("/{field}"),
                "{}",
                answer.text
            );
        }
        let neither = json!({ "name": "one", "cron": "@daily" });
        let answer = owner.post("/v1/schedules", &neither).await;
        assert_eq!(answer.problem(), (400, "validation_failed".into()));
        let nobodys = json!({ "name": "one", "cron": "@daily", "endpoint": "nobody" });
        let answer = owner.post("/v1/schedules", &nobodys).await;
        assert_eq!(answer.problem(), (404, "not_found".into()));
    }
);

on_both_servers!(
    a_preview_names_the_ticks_and_every_clock_change_that_concerns_them,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let viewer = owner
            .key(json!({ "name": "looks", "role": "viewer" }))
            .await;
        let asked = json!({
            "cron": "30 2 * * *", "zone": "Europe/Berlin", "after": "2027-03-27T12:00:00Z", "count": 2,
        });
        let told = viewer.post("/v1/schedules/preview", &asked).await.ok();
        assert_eq!(
            told["ticks"],
            json!([
                {
                    "at": "2027-03-28T01:00:00.000000Z", "local": "2027-03-28T03:00:00+02:00",
                    "note": "02:30:00 does not exist that day; it runs at the first moment after",
                },
                { "at": "2027-03-29T00:30:00.000000Z", "local": "2027-03-29T02:30:00+02:00", "note": null },
            ])
        );
        let effects: Vec<_> = told["clock_changes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|change| change["effect"].clone())
            .collect();
        assert_eq!(effects[..2], [json!("moved"), json!("first_of_two")]);
        let wrong = json!({ "cron": "61 * * * *" });
        let answer = viewer.post("/v1/schedules/preview", &wrong).await;
        assert_eq!(answer.json()["errors"][0]["pointer"], "/cron");
    }
);

on_both_servers!(
    an_endpoint_that_a_schedule_pushes_to_stays,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let (id, _) = endpoint(&owner, "http://127.0.0.1:9/").await;
        let made = make(
            &owner,
            &json!({ "name": "daily", "cron": "@daily", "endpoint": id }),
        )
        .await;
        let refused = owner.delete(&format!("/v1/endpoints/{id}")).await;
        assert_eq!(refused.problem(), (409, "still_referenced".into()));
        owner.delete(&path(&made)).await.ok();
        owner.delete(&format!("/v1/endpoints/{id}")).await.ok();
    }
);

/// A declaration of an endpoint and what is pushed to it.
fn declared(schedules: &Value) -> Value {
    json!({ "configuration": {
        "endpoints": [{ "name": "app", "url": "http://127.0.0.1:9/" }],
        "schedules": schedules,
    } })
}

fn changes(plan: &Value) -> Vec<(String, String)> {
    let changes = plan["changes"].as_array().cloned().unwrap_or_default();
    let of = |change: &Value| (text(change, "/action"), text(change, "/name"));
    changes.iter().map(of).collect()
}

fn one(action: &str, name: &str) -> (String, String) {
    (action.to_owned(), name.to_owned())
}

on_both_servers!(
    schedules_are_what_a_file_declares,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let apply = async |body: &Value| {
            let answer = owner.post("/v1/configuration/apply", body).await;
            answer.ok()
        };
        let mut body = declared(&json!([
            { "name": "daily", "cron": "0 2 * * *", "zone": "Europe/Berlin", "endpoint": "app", "payload": { "a": 1 } },
            { "name": "beat", "cron": "@hourly", "kind": "noop", "paused": true },
            { "name": "reports", "cron": "@weekly", "kind": "report.render", "queue": "reports" },
        ]));
        let made = apply(&body).await;
        assert_eq!(
            changes(&made),
            [
                one("create", "app"),
                one("create", "daily"),
                one("create", "beat"),
                one("create", "reports")
            ]
        );
        assert!(
            changes(&apply(&body).await).is_empty(),
            "it is as it is declared"
        );
        let exported = owner.get("/v1/configuration").await.ok();
        let again = json!({ "configuration": exported["configuration"], "prune": true });
        let again = apply(&again).await;
        assert!(changes(&again).is_empty(), "{again}");
        // What is left out has its default; what was changed by hand is changed back.
        let listed = owner.get("/v1/schedules?name=beat").await.ok();
        let beat = format!("/v1/schedules/{}", text(&listed, "/items/0/id"));
        owner
            .patch(&beat, &json!({ "overlap": "skip", "jitter_ms": 5 }))
            .await
            .ok();
        let back = apply(&body).await;
        let fields = back["changes"][0]["fields"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let fields: Vec<String> = fields.iter().map(|field| text(field, "/field")).collect();
        assert_eq!(fields, ["/jitter_ms", "/overlap"]);
        // A version that is no longer the one of the plan is refused: by hand counts.
        body["version"] = back["version"].clone();
        let refused = owner.post("/v1/configuration/apply", &body).await;
        assert_eq!(refused.problem(), (409, "state_conflict".into()));
        body["configuration"]["schedules"] = json!([]);
        (body["version"], body["prune"]) = (Value::Null, json!(true));
        let pruned = apply(&body).await;
        assert_eq!(changes(&pruned).len(), 3, "{pruned}");
        assert_eq!(owner.get("/v1/schedules").await.ok()["items"], json!([]));
    }
);

on_both_servers!(
    what_is_wrong_with_a_declared_schedule_is_said_at_its_place,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let body = declared(&json!([
            { "name": "a", "cron": "often", "kind": "noop" },
            { "name": "b", "kind": "noop" },
            { "name": "c", "cron": "@daily" },
            { "name": "d", "cron": "@daily", "endpoint": "nobody" },
            { "name": "a", "cron": "@daily", "kind": "noop" },
        ]));
        let refused = owner.post("/v1/configuration/apply", &body).await;
        let errors = refused.json()["errors"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let at: Vec<String> = errors.iter().map(|error| text(error, "/pointer")).collect();
        let at = |pointer: &str| {
            at.iter()
                .any(|found| found == &format!("/configuration/schedules/{pointer}"))
        };
        // The form is read first, and all that is wrong with it said.
        assert!(
            at("1/cron") && at("2/endpoint") && at("4/name"),
            "{}",
            refused.text
        );
        let body = declared(&json!([
            { "name": "a", "cron": "often", "kind": "noop" },
            { "name": "d", "cron": "@daily", "endpoint": "nobody" },
        ]));
        let refused = owner.post("/v1/configuration/apply", &body).await;
        let errors = refused.json()["errors"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let at: Vec<String> = errors.iter().map(|error| text(error, "/pointer")).collect();
        assert_eq!(
            at,
            [
                "/configuration/schedules/0/cron",
                "/configuration/schedules/1/endpoint"
            ]
        );
    }
);

on_both_servers!(
    a_schedule_makes_jobs_for_workers_of_a_queue_that_they_ask,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let made = make(
            &owner,
            &json!({
                "name": "reports", "cron": "@yearly", "kind": "report.render", "queue": "reports",
                "payload": { "report": 3 },
            }),
        )
        .await;
        assert_eq!(
            (&made["kind"], &made["queue"]),
            (&json!("report.render"), &json!("reports"))
        );
        owner
            .post(&format!("{}/run", path(&made)), &json!({}))
            .await
            .ok();
        let asked = json!({ "queues": ["reports"], "worker": "press", "max": 1, "wait_secs": 20 });
        let pulled = owner.post("/v1/workers/pull", &asked).await.ok();
        let job = &pulled["jobs"][0];
        assert_eq!(job["kind"], "report.render");
        assert_eq!(job["payload"]["payload"], json!({ "report": 3 }));
        assert_eq!(job["payload"]["schedule_id"], made["id"]);
        let outcome = json!({ "token": job["token"], "outcome": "completed" });
        let told = json!({ "worker": "press", "outcomes": [outcome] });
        owner.post("/v1/workers/report", &told).await.ok();
        owner
            .until(&path(&made), |found| {
                found["runs"][0]["job_state"] == "done"
            })
            .await;
        // It goes on to another queue, and to a built-in kind; what fits nowhere is said where it stands.
        let moved = json!({ "kind": "report.render", "queue": "slow-reports" });
        let moved = owner.patch(&path(&made), &moved).await.ok();
        assert_eq!(moved["queue"], "slow-reports");
        let builtin = owner.patch(&path(&made), &json!({ "kind": "noop" })).await;
        let noop = text(&builtin.ok(), "/queue");
        for (change, at) in [
            (json!({ "kind": "report.render" }), "/kind"),
            (json!({ "queue": "reports" }), "/queue"),
            (json!({ "kind": "noop", "queue": "reports" }), "/queue"),
            (json!({ "kind": "report.render", "queue": noop }), "/queue"),
            (json!({ "kind": "Report!", "queue": "reports" }), "/kind"),
            (
                json!({ "kind": "endpoint.deliver", "queue": "reports" }),
                "/kind",
            ),
        ] {
            let refused = owner.patch(&path(&made), &change).await;
            assert_eq!(refused.status, 400, "{change}: {}", refused.text);
            assert_eq!(text(&refused.json(), "/errors/0/pointer"), at, "{change}");
        }
    }
);
