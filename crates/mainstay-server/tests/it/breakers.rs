//! Breakers over HTTP: shared dependencies, holding one by hand, and history.

use serde_json::{Value, json};

use crate::{
    client::{Caller, text},
    on_both_servers,
    receiver::Receiver,
    server::{Server, Settings},
};

/// A source whose every event is pushed to an endpoint, or to several.
struct Pushes {
    owner: Caller,
    receiver: Receiver,
    secret: String,
    endpoints: Vec<String>,
}

impl Pushes {
    /// With an endpoint for each name, all with the same breaker.
    async fn new(server: &Server, names: &[&str], breaker: Value) -> Self {
        let owner = Caller::owner(server);
        let receiver = Receiver::answering(200);
        let new = json!({ "name": "in", "scheme": "standard_webhooks" });
        let secret = text(&owner.post("/v1/sources", &new).await.ok(), "/secret");
        let mut endpoints = Vec::new();
        for name in names {
            let new = json!({
                "name": name,
                "url": receiver.url,
                "breaker_settings": breaker,
                "retry": { "strategy": "schedule", "attempts_max": 50, "delays_ms": [50] },
            });
            let made = owner.post("/v1/endpoints", &new).await.ok();
            let id = text(&made, "/endpoint/id");
            let kind = format!("{name}.*");
            let new = json!({ "source": "in", "endpoint_id": id, "type_pattern": kind });
            owner.post("/v1/bindings", &new).await.ok();
            endpoints.push(id);
        }
        Self {
            owner,
            receiver,
            secret,
            endpoints,
        }
    }

    /// An event for the endpoint of this name: the path of its job.
    async fn event(&self, id: &str, endpoint: &str) -> String {
        let body = json!({ "type": format!("{endpoint}.made"), "data": {} });
        let sent = self.owner.webhook("in", &self.secret, id, &body);
        sent.await.ok();
        let jobs = self.owner.get("/v1/jobs?limit=1").await.ok();
        format!("/v1/jobs/{}", text(&jobs, "/items/0/id"))
    }

    async fn whys(&self, name: &str) -> Vec<String> {
        let path = format!("/v1/breakers/{name}/history");
        let found = self.owner.get(&path).await.ok();
        let items = found["items"].as_array().expect("a list");
        items.iter().map(|change| text(change, "/why")).collect()
    }
}

fn state(wanted: &'static str) -> impl Fn(&Value) -> bool {
    move |found| found["state"] == wanted
}

on_both_servers!(
    endpoints_that_name_a_dependency_are_cut_off_together_and_it_is_told_why,
    Settings::default(),
    |server| async {
        let breaker = json!({
            "dependency": "crm", "failures_to_open": 2, "pause_ms": 300, "pause_max_ms": 300, "probes": 1,
        });
        let pushes = Pushes::new(server, &["one", "two"], breaker).await;
        let owner = &pushes.owner;
        pushes.receiver.answer(500);
        let first = pushes.event("msg_1", "one").await;
        let open = |found: &Value| found["opened_at"].is_string();
        let found = owner.until("/v1/breakers/crm", open).await;
        assert_eq!(found["endpoints"].as_array().map(Vec::len), Some(2));
        assert_eq!(found["shared"], true);
        let other = format!("/v1/endpoints/{}", pushes.endpoints[1]);
        let other = owner.get(&other).await.ok();
        assert_eq!(other["breaker"]["dependency"], "crm");
        // The other endpoint's job is the probe, or waits behind it.
        let second = pushes.event("msg_2", "two").await;
        pushes.receiver.answer(200);
        owner.until(&first, state("done")).await;
        owner.until(&second, state("done")).await;
        owner.until("/v1/breakers/crm", state("closed")).await;

        let whys = pushes.whys("crm").await;
        assert_eq!(whys.first().map(String::as_str), Some("probes_succeeded"));
        assert_eq!(whys.last().map(String::as_str), Some("failures"));
        assert!(whys.contains(&"pause_over".to_owned()), "{whys:?}");
        let page = owner.get("/v1/breakers/crm/history?limit=1").await.ok();
        let cursor = text(&page, "/next_cursor");
        let next = format!("/v1/breakers/crm/history?limit=1&cursor={cursor}");
        let next = owner.get(&next).await.ok();
        assert_eq!(text(&next, "/items/0/why"), whys[1]);
        let metrics = owner.get("/metrics").await.text;
        assert!(
            metrics.contains("mainstay_breaker_state{queue="),
            "{metrics}"
        );
    }
);

on_both_servers!(
    a_breaker_that_a_person_holds_open_lets_nothing_through_and_uses_no_try_up,
    Settings::default(),
    |server| async {
        let pushes = Pushes::new(server, &["app"], json!({})).await;
        let owner = &pushes.owner;
        let path = format!("/v1/breakers/{}", pushes.endpoints[0]);
        let viewer = json!({ "name": "viewer", "role": "viewer" });
        let viewer = owner.key(viewer).await;
        let why = json!({ "reason": "moving house" });
        let refused = viewer.post(&format!("{path}/open"), &why).await;
        assert_eq!(refused.problem(), (403, "role_forbidden".into()));

        let held = owner.post(&format!("{path}/open"), &why).await.ok();
        assert_eq!(
            (&held["state"], &held["name"]),
            (&json!("open"), &json!("app"))
        );
        assert_eq!(held["forced"]["reason"], "moving house");
        let job = pushes.event("msg_1", "app").await;
        let endpoint = format!("/v1/endpoints/{}", pushes.endpoints[0]);
        let waits =
            |found: &Value| found["breaker"]["forced"] == true && found["stats"]["waiting"] == 1;
        owner.until(&endpoint, waits).await;
        assert!(pushes.receiver.is_quiet());
        let shown = owner.get(&job).await.ok();
        assert_eq!(
            (&shown["state"], &shown["attempts"]),
            (&json!("waiting"), &json!(0))
        );

        let freed = owner.post(&format!("{path}/auto"), &json!({})).await.ok();
        assert_eq!(freed["forced"], Value::Null);
        owner.until(&job, state("done")).await;
        let whys = pushes.whys(&pushes.endpoints[0]).await;
        assert_eq!(whys[whys.len() - 2..], ["automatic", "forced_open"]);
        let audit = owner.get("/v1/audit").await.text;
        for told in ["breaker.open", "breaker.auto", "moving house"] {
            assert!(audit.contains(told), "{audit}");
        }
    }
);

on_both_servers!(
    where_a_team_wants_it_jobs_behind_an_open_breaker_fail_at_once,
    Settings::default(),
    |server| async {
        let breaker = json!({ "failures_to_open": 1, "pause_ms": 3_600_000, "when_open": "fail" });
        let pushes = Pushes::new(server, &["app"], breaker).await;
        let owner = &pushes.owner;
        pushes.receiver.answer(500);
        let first = pushes.event("msg_1", "app").await;
        let dead = owner.until(&first, state("dead")).await;
        let of_second = &dead["attempts_list"][1];
        assert_eq!(of_second["code"], "breaker_open", "{dead}");
        assert_eq!(of_second["category"], "provider");
        pushes.receiver.next();
        let second = pushes.event("msg_2", "app").await;
        owner.until(&second, state("dead")).await;
        assert!(pushes.receiver.is_quiet(), "nothing was sent");
        let letters = owner.get("/v1/dead-letters").await.ok();
        assert_eq!(letters["items"].as_array().map(Vec::len), Some(2));
    }
);

on_both_servers!(
    a_breaker_that_a_person_holds_closed_stays_closed_whatever_is_answered,
    Settings::default(),
    |server| async {
        let breaker = json!({ "failures_to_open": 2, "pause_ms": 60_000 });
        let pushes = Pushes::new(server, &["app"], breaker).await;
        let owner = &pushes.owner;
        let path = format!("/v1/breakers/{}", pushes.endpoints[0]);
        let why = json!({ "reason": "we know", "until": in_an_hour() });
        owner.post(&format!("{path}/close"), &why).await.ok();
        pushes.receiver.answer(500);
        let job = pushes.event("msg_1", "app").await;
        owner
            .until(&job, |job| job["attempts"].as_i64() >= Some(4))
            .await;
        assert_eq!(owner.get(&path).await.ok()["state"], "closed");
    }
);

on_both_servers!(
    what_cannot_be_held_or_named_so_is_refused,
    Settings::default(),
    |server| async {
        let pushes = Pushes::new(server, &["app"], json!({ "dependency": "crm" })).await;
        let owner = &pushes.owner;
        for (verb, body, place) in [
            ("open", json!({ "reason": "" }), "/reason"),
            (
                "open",
                json!({ "reason": "x", "until": "2001-01-01T00:00:00Z" }),
                "/until",
            ),
            (
                "close",
                json!({ "reason": "x", "until": "2999-01-01T00:00:00Z" }),
                "/until",
            ),
            ("close", json!({ "reason": "x" }), "until"),
        ] {
            let path = format!("/v1/breakers/crm/{verb}");
            let answer = owner.post(&path, &body).await;
            assert_eq!(
                answer.problem(),
                (400, "validation_failed".into()),
                "{body}"
            );
            assert!(answer.text.contains(place), "{}", answer.text);
        }
        let nowhere = owner.post("/v1/breakers/nowhere/auto", &json!({})).await;
        assert_eq!(nowhere.problem(), (404, "not_found".into()));
        let endpoint = format!("/v1/endpoints/{}", pushes.endpoints[0]);
        for name in ["", "CRM", "a b", pushes.endpoints[0].as_str()] {
            let change = json!({ "breaker_settings": { "dependency": name } });
            let answer = owner.patch(&endpoint, &change).await;
            assert_eq!(
                answer.problem(),
                (400, "validation_failed".into()),
                "{name}"
            );
            assert!(
                answer.text.contains("/breaker_settings/dependency"),
                "{}",
                answer.text
            );
        }
        let change = json!({ "breaker_settings": { "probes": 0 } });
        let answer = owner.patch(&endpoint, &change).await;
        assert!(
            answer.text.contains("/breaker_settings/probes"),
            "{}",
            answer.text
        );
    }
);

on_both_servers!(
    tenants_do_not_share_a_dependency_and_see_only_their_own,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let mut keys = Vec::new();
        for slug in ["north", "south"] {
            let new = json!({ "name": slug, "slug": slug });
            let tenant = text(&owner.post("/v1/tenants", &new).await.ok(), "/id");
            let new = json!({
                "name": "app", "url": "http://127.0.0.1:9/", "tenant_id": tenant,
                "breaker_settings": { "dependency": "crm" },
            });
            let made = owner.post("/v1/endpoints", &new).await.ok();
            let key = json!({ "name": slug, "role": "operator", "tenant_id": tenant });
            keys.push((owner.key(key).await, text(&made, "/endpoint/id")));
        }
        let ambiguous = owner.get("/v1/breakers/crm").await;
        assert_eq!(ambiguous.problem(), (409, "state_conflict".into()));
        let ((north, own), (south, others)) = (&keys[0], &keys[1]);
        let why = json!({ "reason": "moving house" });
        north.post("/v1/breakers/crm/open", &why).await.ok();
        assert_eq!(north.get("/v1/breakers/crm").await.ok()["state"], "open");
        assert_eq!(south.get("/v1/breakers/crm").await.ok()["state"], "closed");
        let by_endpoint = format!("/v1/breakers/{own}");
        assert_eq!(owner.get(&by_endpoint).await.ok()["state"], "open");
        let foreign = format!("/v1/breakers/{others}/open");
        let refused = north.post(&foreign, &why).await;
        assert_eq!(refused.problem(), (404, "not_found".into()));
        let listed = south.get("/v1/breakers").await.ok();
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
    }
);

/// A time to come.
pub(crate) fn in_an_hour() -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    at.to_string()
}
