//! What the team's own application gets, byte for byte.

use mainstay_domain::intake::scheme::{Message, Request, Route, Scheme, Secret, sign, verify};
use serde_json::{Value, json};

use crate::{
    client::{Caller, text},
    on_both_servers,
    receiver::{Received, Receiver},
    server::{Server, Settings},
};

const SECRET: &str = "It's a Secret to Everybody";
const FORM: &str = "application/x-www-form-urlencoded";

fn as_github_sends_it(id: &str, body: &str) -> Vec<(String, String)> {
    let message = Message {
        id,
        kind: "issues",
        timestamp_secs: 0,
        body: body.as_bytes(),
    };
    let secret = Secret::from(SECRET);
    let mut headers = sign(&Scheme::Github, &secret, &message).expect("the secret is good");
    headers.push(("content-type".into(), FORM.into()));
    headers
}

/// Whether the provider's own signature proves what arrived.
fn proven(received: &Received) -> bool {
    let request = Request {
        headers: &received.headers,
        body: &received.body,
        now_secs: 0,
        route: Route::default(),
    };
    verify(&Scheme::Github, &[Secret::from(SECRET)], 300, &request).is_ok()
}

/// An endpoint with a binding to all events of the source.
async fn endpoint(owner: &Caller, name: &str, receiver: &Receiver, signing: &str) {
    let new = json!({ "name": name, "url": receiver.url, "signing": signing });
    let made = owner.post("/v1/endpoints", &new).await.ok();
    let id = text(&made, "/endpoint/id");
    let new = json!({ "source": "code", "endpoint_id": id, "type_pattern": "issues.*" });
    owner.post("/v1/bindings", &new).await.ok();
}

on_both_servers!(
    a_form_of_github_is_delivered_as_json_or_as_it_came,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let new = json!({ "name": "code", "scheme": "github", "secret": SECRET });
        owner.post("/v1/sources", &new).await.ok();
        let (plain, original) = (Receiver::answering(200), Receiver::answering(200));
        endpoint(&owner, "plain", &plain, "standard_webhooks").await;
        endpoint(&owner, "original", &original, "original").await;
        let inside = json!({ "action": "opened", "issue": { "title": "1+1=2 & more" } });
        let form = format!(
            "payload={}",
            url::form_urlencoded::byte_serialize(inside.to_string().as_bytes()).collect::<String>()
        );
        let accepted = owner
            .inbound("code", as_github_sends_it("72d3162e", &form), form.clone())
            .await
            .ok();
        let event = text(&accepted, "/event_ids/0");
        let payload = owner.get(&format!("/v1/events/{event}/payload")).await;
        assert_eq!(payload.json(), inside);

        let got = plain.next();
        assert_eq!(got.header("content-type"), "application/json");
        assert_eq!(got.header("mainstay-event-type"), "issues.opened");
        assert_eq!(got.body, inside.to_string().as_bytes());

        let got = original.next();
        assert_eq!(got.header("content-type"), FORM);
        assert_eq!(got.body, form.as_bytes());
        assert!(proven(&got), "{got:?}");

        let again = owner
            .inbound("code", as_github_sends_it("72d3162e", &form), form)
            .await
            .ok();
        assert_eq!(text(&again, "/event_ids/0"), event);
    }
);

/// The times of an endpoint's answers, once there are any.
async fn times(owner: &Caller) -> (i64, i64) {
    let some = |list: &Value| list["items"][0]["stats"]["p50_ms"].is_i64();
    let list = owner.until("/v1/endpoints", some).await;
    let stats = &list["items"][0]["stats"];
    let ms = |name: &str| stats[name].as_i64().expect("a number");
    (ms("p50_ms"), ms("p99_ms"))
}

on_both_servers!(
    how_long_an_endpoint_takes_is_known_after_a_restart_too,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let new = json!({ "name": "code", "scheme": "github", "secret": SECRET });
        owner.post("/v1/sources", &new).await.ok();
        let receiver = Receiver::answering(200);
        endpoint(&owner, "app", &receiver, "standard_webhooks").await;
        let body = "payload=%7B%22action%22%3A%22opened%22%7D";
        let headers = as_github_sends_it("72d3162e", body);
        owner.inbound("code", headers, body.into()).await.ok();
        receiver.next();
        let (p50, p99) = times(&owner).await;
        assert!((0..60_000).contains(&p50) && p50 <= p99, "{p50} {p99}");
        let metrics = owner.get("/metrics").await.text;
        let counted = metrics.lines().find(|line| {
            line.starts_with("mainstay_delivery_duration_seconds_count{") && line.ends_with("} 1")
        });
        assert!(counted.is_some(), "{metrics}");
        assert_eq!(server.stop(), Some(0));
        server.start_again();
        assert_eq!(times(&Caller::owner(server)).await, (p50, p99));
    }
);
