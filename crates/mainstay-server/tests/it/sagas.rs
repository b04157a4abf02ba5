//! Sagas through the real server: steps of an endpoint and of a worker, undone in reverse order, whenever the process dies.

use mainstay_domain::intake::scheme::{Request, Route, Scheme, Secret, verify};
use serde_json::{Value, json};

use crate::{
    client::{Caller, text},
    on_both_servers,
    receiver::Receiver,
    server::{Server, Settings},
};

async fn endpoint(owner: &Caller, url: &str) -> String {
    let new = json!({ "name": "bank", "url": url });
    text(&owner.post("/v1/endpoints", &new).await.ok(), "/secret")
}

/// A worker reserves, the endpoint charges, a worker sends.
fn steps() -> Value {
    let once = json!({ "strategy": "schedule", "attempts_max": 1, "delays_ms": [0] });
    let work = |kind: &str| json!({ "queue": "stock", "kind": kind });
    let mut reserve = work("stock.reserve");
    reserve["name"] = "reserve".into();
    reserve["input"] = json!({ "item": { "$": "/input/item" } });
    reserve["compensation"] = json!({
        "queue": "stock", "kind": "stock.release",
        "input": { "reservation": { "$": "/steps/reserve/id" } },
    });
    let charge = json!({
        "name": "charge", "endpoint": "bank", "retry": once,
        "input": { "amount": { "$": "/input/amount" }, "for": { "$": "/steps/reserve/id" } },
        "compensation": { "endpoint": "bank", "input": { "refund": true } },
    });
    let mut send = work("stock.send");
    send["name"] = "send".into();
    json!([reserve, charge, send])
}

async fn saga(owner: &Caller) -> Value {
    let new = json!({ "name": "order", "steps": steps() });
    let made = owner.post("/v1/sagas", &new).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.json()
}

async fn begin(owner: &Caller, key: &str) -> String {
    let body = json!({ "input": { "item": "lamp", "amount": 7 }, "key": key });
    let begun = owner.post("/v1/sagas/order/runs", &body).await;
    assert_eq!(begun.status, 201, "{}", begun.text);
    text(&begun.json(), "/id")
}

/// The one job that a worker is handed; a server that has just begun is asked again.
async fn pull(owner: &Caller) -> Value {
    let asked = json!({ "worker": "w", "queues": ["stock"], "max": 1, "wait_secs": 30 });
    loop {
        let answer = owner.post("/v1/workers/pull", &asked).await;
        if answer.status == 503 {
            continue;
        }
        let answer = answer.ok();
        if let Some(job) = answer["jobs"].as_array().and_then(|jobs| jobs.first()) {
            return job.clone();
        }
    }
}

async fn tell(owner: &Caller, job: &Value, result: Value) {
    let outcome = json!({ "token": job["token"], "outcome": "completed", "result": result });
    let told = json!({ "worker": "w", "outcomes": [outcome] });
    loop {
        let answer = owner.post("/v1/workers/report", &told).await;
        // Just after a start nobody knows yet what is in whose hands.
        if answer.status != 503 {
            assert_eq!(answer.ok()["outcomes"][0]["recorded"], true);
            return;
        }
    }
}

async fn until(owner: &Caller, run: &str, state: &str) -> Value {
    let path = format!("/v1/saga-runs/{run}");
    owner.until(&path, |run| run["state"] == state).await
}

fn restart(server: &mut Server) -> Caller {
    server.kill();
    server.start_again();
    Caller::owner(server)
}

on_both_servers!(
    a_run_goes_to_its_end_over_an_endpoint_and_a_worker_and_back_whenever_the_server_dies,
    Settings::default(),
    |server| async { through_deaths(server).await }
);

async fn through_deaths(server: &mut Server) {
    let owner = Caller::owner(server);
    let receiver = Receiver::answering(200);
    let secret = endpoint(&owner, &receiver.url).await;
    saga(&owner).await;
    let run = begin(&owner, "order-1").await;
    let job = pull(&owner).await;
    let told = &job["payload"];
    assert_eq!(
        (&job["kind"], &told["part"], &told["input"]),
        (
            &json!("stock.reserve"),
            &json!("step"),
            &json!({ "item": "lamp" })
        )
    );
    let step_key = format!("{run}:reserve");
    assert_eq!(told["idempotency_key"], json!(step_key));
    let owner = restart(server);
    tell(&owner, &job, json!({ "id": "res_1" })).await;

    let push = receiver.next();
    let body: Value = serde_json::from_slice(&push.body).expect("it is JSON");
    assert_eq!(body["input"], json!({ "amount": 7, "for": "res_1" }));
    assert_eq!(push.header("idempotency-key"), format!("{run}:charge"));
    assert_eq!(push.header("mainstay-saga-run-id"), run);
    assert_eq!(push.header("mainstay-saga"), "order");
    assert_eq!(push.header("mainstay-saga-step"), "charge");
    let request = Request {
        headers: &push.headers,
        body: &push.body,
        now_secs: push.header("webhook-timestamp").parse().expect("seconds"),
        route: Route::default(),
    };
    let secrets = [Secret::from(secret.as_str())];
    verify(&Scheme::StandardWebhooks, &secrets, 300, &request).expect("it is signed");
    let job = pull(&owner).await;
    assert_eq!(job["kind"], "stock.send");
    tell(&owner, &job, json!(null)).await;
    let done = until(&owner, &run, "done").await;
    assert_eq!(done["outputs"]["reserve"], json!({ "id": "res_1" }));

    // The endpoint refuses: what was reserved is released.
    receiver.answer(422);
    let run = begin(&owner, "order-2").await;
    let job = pull(&owner).await;
    tell(&owner, &job, json!({ "id": "res_2" })).await;
    let push = receiver.next();
    assert_eq!(push.header("idempotency-key"), format!("{run}:charge"));
    let undo = pull(&owner).await;
    let owner = restart(server);
    let told = &undo["payload"];
    assert_eq!(
        (
            &undo["kind"],
            &told["part"],
            &told["outcome"],
            &told["output"]
        ),
        (
            &json!("stock.release"),
            &json!("compensation"),
            &json!("done"),
            &json!({ "id": "res_2" })
        )
    );
    assert_eq!(told["input"], json!({ "reservation": "res_2" }));
    assert_eq!(
        told["idempotency_key"],
        json!(format!("{run}:reserve:undo"))
    );
    tell(&owner, &undo, json!(null)).await;
    let back = until(&owner, &run, "compensated").await;
    let states: Vec<&Value> = back["steps"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["state"])
        .collect();
    assert_eq!(states, ["compensated", "failed", "skipped"]);
    assert!(receiver.is_quiet(), "what was refused is not undone");
    let letters = owner.get("/v1/dead-letters").await.ok();
    assert_eq!(
        letters["items"],
        json!([]),
        "nobody is asked to run again what is taken back"
    );
    let jobs = "SELECT count(*) FROM job WHERE kind <> 'stock.send'";
    let count = owner
        .post("/v1/sql", &json!({ "statement": jobs }))
        .await
        .ok();
    assert_eq!(count["rows"], json!([[5]]), "each part is one job");
}

on_both_servers!(
    runs_end_with_the_version_that_they_began_with,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let approval = |name: &str| json!({ "name": name, "approval": {} });
        let new = json!({ "name": "order", "steps": [approval("look")] });
        let made = owner.post("/v1/sagas", &new).await.ok();
        let path = format!("/v1/sagas/{}", text(&made, "/id"));
        let old = begin(&owner, "old").await;
        until(&owner, &old, "waiting").await;
        let versions = format!("{path}/versions");
        let same = owner
            .post(&versions, &json!({ "steps": [approval("look")] }))
            .await;
        assert_eq!((same.status, &same.json()["version"]), (200, &json!(1)));
        let next = json!({ "steps": [approval("look"), approval("sign")] });
        let next = owner.post(&versions, &next).await;
        assert_eq!((next.status, &next.json()["version"]), (201, &json!(2)));
        let new = begin(&owner, "new").await;
        until(&owner, &new, "waiting").await;
        for run in [&old, &new] {
            let decide = format!("/v1/saga-runs/{run}/decide");
            let look = json!({ "step": "look", "approved": true, "reason": "seen" });
            owner.post(&decide, &look).await.ok();
            let late = owner.post(&decide, &look).await;
            assert_eq!(late.problem(), (409, "state_conflict".into()));
        }
        let old = until(&owner, &old, "done").await;
        assert_eq!(
            (&old["version"], old["steps"].as_array().map(Vec::len)),
            (&json!(1), Some(1))
        );
        assert_eq!(old["steps"][0]["verdict"]["reason"], "seen");
        let path = format!("/v1/saga-runs/{new}");
        let second = |run: &Value| run["steps"][1]["state"] == "running";
        owner.until(&path, second).await;
        let refused = owner
            .delete(&format!("/v1/sagas/{}", text(&made, "/id")))
            .await;
        assert_eq!(refused.problem(), (409, "state_conflict".into()));
        let cancel = json!({ "reason": "changed my mind" });
        owner.post(&format!("{path}/cancel"), &cancel).await.ok();
        let back = until(&owner, &new, "compensated").await;
        assert!(text(&back, "/error").ends_with("changed my mind"), "{back}");
        let log = owner.get("/v1/audit").await.text;
        for action in [
            "saga.create",
            "saga.version",
            "saga_run.create",
            "saga_run.approve",
            "saga_run.cancel",
        ] {
            assert!(log.contains(action), "{action}");
        }
        let again = json!({ "input": null, "key": "old" });
        let known = owner.post("/v1/sagas/order/runs", &again).await;
        assert_eq!((known.status, &known.json()["id"]), (200, &old["id"]));
    }
);

on_both_servers!(
    a_person_helps_a_run_on_whose_step_cannot_be_undone,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let receiver = Receiver::answering(200);
        endpoint(&owner, &receiver.url).await;
        let once = json!({ "strategy": "schedule", "attempts_max": 1, "delays_ms": [0] });
        let charge = json!({
            "name": "charge", "endpoint": "bank",
            "compensation": { "endpoint": "bank", "retry": once },
        });
        let steps = json!([charge, { "name": "look", "approval": { "deadline_secs": 3600 } }]);
        let new = json!({ "name": "order", "steps": steps });
        owner.post("/v1/sagas", &new).await.ok();
        let run = begin(&owner, "one").await;
        receiver.next();
        until(&owner, &run, "waiting").await;
        receiver.answer(500);
        let reject = json!({ "step": "look", "approved": false });
        owner
            .post(&format!("/v1/saga-runs/{run}/decide"), &reject)
            .await
            .ok();
        let failed = until(&owner, &run, "failed").await;
        assert!(
            text(&failed, "/error").contains("could not be undone"),
            "{failed}"
        );
        assert_eq!(
            receiver.next().header("idempotency-key"),
            format!("{run}:charge:undo")
        );
        let metrics = owner.get("/metrics").await.text;
        assert!(
            metrics.contains("mainstay_saga_runs_open{state=\"failed\"} 1"),
            "{metrics}"
        );
        receiver.answer(200);
        let helped = server.json(&["saga", "retry", &run]);
        assert_eq!(helped["id"], json!(run));
        assert_eq!(
            receiver.next().header("idempotency-key"),
            format!("{run}:charge:undo")
        );
        until(&owner, &run, "compensated").await;
        let shown = server.run(&["saga", "run", &run]);
        assert!(shown.out.contains("compensated  charge"), "{}", shown.out);
    }
);

on_both_servers!(
    what_a_definition_says_wrongly_is_said_by_place,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let made = |steps: Value| json!({ "name": "order", "steps": steps });
        for (steps, place) in [
            (json!([]), "/steps"),
            (json!([{ "name": "a", "kind": "nobody" }]), "/steps/0/kind"),
            (
                json!([{ "name": "a", "endpoint": "nobody" }]),
                "/steps/0/endpoint",
            ),
            (json!([{ "name": "a" }]), "/steps/0/endpoint"),
            (
                json!([{ "name": "a", "kind": "noop", "approval": {} }]),
                "/steps/0/approval",
            ),
            (
                json!([{ "name": "a", "kind": "noop", "timeout_secs": 0 }]),
                "/steps/0/timeout_secs",
            ),
            (
                json!([{ "name": "a", "kind": "noop", "input": { "$": "/steps/b" } }]),
                "/steps/0/input",
            ),
            (
                json!([{ "name": "a", "kind": "noop", "compensation": { "queue": "default", "kind": "x" } }]),
                "/steps/0/compensation/queue",
            ),
        ] {
            let refused = owner.post("/v1/sagas", &made(steps)).await;
            assert_eq!(
                refused.problem(),
                (400, "validation_failed".into()),
                "{place}"
            );
            assert_eq!(
                text(&refused.json(), "/errors/0/pointer"),
                place,
                "{}",
                refused.text
            );
        }
    }
);
