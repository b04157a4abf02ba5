//! The providers' schemes through the API and the door.

use mainstay_domain::intake::{
    scheme::{Message, Scheme, Secret, generate_secret, sign_to},
    settings::SourceSettings,
};
use serde_json::{Value, json};

use crate::{
    client::{Answer, Caller, text},
    on_both_servers,
    server::{Server, Settings},
};

const PUBLIC: &str = "https://hooks.example.test";

fn public() -> Settings {
    Settings {
        env: vec![("MAINSTAY_PUBLIC_URL", PUBLIC.into())],
        ..Settings::default()
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A source and what its provider signs with.
struct Provider {
    name: &'static str,
    scheme: Scheme,
    secret: Secret,
}

impl Provider {
    async fn make(owner: &Caller, name: &'static str, settings: Value) -> Self {
        let told: SourceSettings = serde_json::from_value(settings.clone()).expect("settings");
        let scheme = Scheme::from_settings(name, &told).expect("a scheme");
        let secret = generate_secret(&scheme, &[7; 32]);
        let mut new = json!({ "name": name, "scheme": name, "settings": settings });
        if !scheme.needs_no_secret() {
            new["secret"] = secret.as_str().into();
        }
        let made = owner.post("/v1/sources", &new).await.ok();
        assert_eq!(text(&made, "/source/scheme"), name);
        Self {
            name,
            scheme,
            secret: Secret::new(secret),
        }
    }

    fn headers(&self, id: &str, kind: &str, body: &str) -> Vec<(String, String)> {
        let message = Message {
            id,
            kind,
            timestamp_secs: now(),
            body: body.as_bytes(),
        };
        let url = format!("{PUBLIC}/in/{}", self.name);
        sign_to(&self.scheme, &self.secret, &url, &message).expect("signed")
    }

    async fn send(&self, caller: &Caller, id: &str, kind: &str, body: &str) -> Answer {
        let headers = self.headers(id, kind, body);
        caller.inbound(self.name, headers, body.to_owned()).await
    }
}

on_both_servers!(
    every_provider_s_webhook_is_taken_once_with_its_id_and_type,
    public(),
    |server| async {
        let (owner, nobody) = (Caller::owner(server), Caller::nobody(server));
        let event = json!({ "id": { "pointer": "/id" }, "type": { "header": "X-Event" } });
        for (name, settings, body, id, kind) in [
            ("shopify", json!({}), r#"{"a":1}"#, "w1", "orders/paid"),
            (
                "slack",
                json!({}),
                r#"{"type":"event_callback","event_id":"Ev1","event":{"type":"app_mention"}}"#,
                "Ev1",
                "app_mention",
            ),
            (
                "paddle",
                json!({}),
                r#"{"event_id":"evt_1","event_type":"transaction.paid"}"#,
                "evt_1",
                "transaction.paid",
            ),
            (
                "whop",
                json!({}),
                r#"{"type":"payment.succeeded"}"#,
                "msg_1",
                "payment.succeeded",
            ),
            (
                "twilio",
                json!({}),
                "MessageStatus=delivered&MessageSid=SM1&To=%2B1500",
                "SM1:delivered",
                "message.delivered",
            ),
            (
                "bearer",
                json!({ "event": event, "bearer": { "header": "X-Token" } }),
                r#"{"id":7}"#,
                "7",
                "push",
            ),
            (
                "address",
                json!({ "event": event, "allow": ["127.0.0.0/8", "::1"] }),
                r#"{"id":8}"#,
                "8",
                "push",
            ),
        ] {
            let provider = Provider::make(&owner, name, settings).await;
            let taken = provider.send(&nobody, id, kind, body).await.ok();
            assert_eq!(taken["status"], "queued", "{name}");
            let found = text(&taken, "/event_ids/0");
            let event = owner.get(&format!("/v1/events/{found}")).await.ok();
            assert_eq!(
                (text(&event, "/provider_id"), text(&event, "/type")),
                (id.to_owned(), kind.to_owned()),
                "{name}"
            );
            let again = provider.send(&nobody, id, kind, body).await.ok();
            assert_eq!(again["status"], "duplicate", "{name}");
            if !provider.scheme.needs_no_secret() {
                let forger = Provider {
                    secret: Secret::new(generate_secret(&provider.scheme, &[8; 32])),
                    ..provider
                };
                let refused = forger.send(&nobody, "x", kind, body).await;
                assert_eq!(refused.problem(), (401, "signature_wrong".into()), "{name}");
            }
        }
    }
);

on_both_servers!(
    slack_s_question_is_answered_when_it_is_signed,
    Settings::default(),
    |server| async {
        let (owner, nobody) = (Caller::owner(server), Caller::nobody(server));
        let slack = Provider::make(&owner, "slack", json!({})).await;
        let question = r#"{"token":"x","challenge":"3eZbrw1aBm2","type":"url_verification"}"#;
        let answer = slack.send(&nobody, "", "", question).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "3eZbrw1aBm2"));
        assert!(answer.header("content-type").starts_with("text/plain"));
        let events = owner.get("/v1/events?source=slack").await.ok();
        assert_eq!(events["items"], json!([]));
        let forged = nobody.inbound("slack", Vec::new(), question.into()).await;
        assert_eq!(forged.problem(), (400, "signature_missing".into()));
    }
);

on_both_servers!(
    a_token_is_never_kept_with_the_request_that_it_came_with,
    Settings::default(),
    |server| async {
        let (owner, nobody) = (Caller::owner(server), Caller::nobody(server));
        let settings = json!({ "bearer": { "header": "X-Token" } });
        let provider = Provider::make(&owner, "bearer", settings).await;
        let taken = provider.send(&nobody, "", "", r#"{"a":1}"#).await.ok();
        let event = text(&taken, "/event_ids/0");
        let event = owner.get(&format!("/v1/events/{event}")).await.ok();
        let headers = event["headers"].as_object().expect("headers");
        assert!(
            headers.contains_key("host") && !headers.contains_key("x-token"),
            "{headers:?}"
        );
        let near = vec![("x-token".to_owned(), "nearly-right".to_owned())];
        let refused = nobody.inbound("bearer", near, "{}".into()).await;
        assert_eq!(refused.problem(), (401, "signature_wrong".into()));
        assert!(!refused.text.contains("nearly-right"));
    }
);

on_both_servers!(
    an_address_that_is_not_on_the_list_is_refused_whatever_it_signs,
    Settings::default(),
    |server| async {
        let (owner, nobody) = (Caller::owner(server), Caller::nobody(server));
        let settings = json!({ "allow": ["192.0.2.0/24"] });
        let provider = Provider::make(&owner, "paddle", settings).await;
        let body = r#"{"event_id":"evt_1","event_type":"transaction.paid"}"#;
        let refused = provider.send(&nobody, "", "", body).await;
        assert_eq!(refused.problem(), (403, "address_not_allowed".into()));
        let sources = owner.get("/v1/sources").await.ok();
        let mut all = sources["items"].as_array().expect("a list").iter();
        let paddle = all
            .find(|one| one["name"] == "paddle")
            .expect("it is there");
        let id = text(paddle, "/id");
        let open = json!({ "settings": { "allow": ["127.0.0.1", "::1"] } });
        owner.patch(&format!("/v1/sources/{id}"), &open).await.ok();
        provider.send(&nobody, "", "", body).await.ok();
    }
);

on_both_servers!(
    what_cannot_be_a_source_is_refused_with_its_place,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        for (scheme, more, pointer) in [
            ("address", json!({}), "/settings/allow"),
            (
                "address",
                json!({ "secret": "s", "settings": { "allow": ["192.0.2.1"] } }),
                "/secret",
            ),
            (
                "stripe",
                json!({ "settings": { "allow": ["x"] } }),
                "/settings/allow",
            ),
            (
                "stripe",
                json!({ "settings": { "event": {} } }),
                "/settings/event",
            ),
            (
                "bearer",
                json!({ "settings": { "bearer": { "header": "a b" } } }),
                "/settings/bearer/header",
            ),
            (
                "twilio",
                json!({ "settings": { "url": "https://a/b?c" } }),
                "/settings/url",
            ),
            (
                "standard_webhooks",
                json!({ "secret": "whsk_xaqN9D+fg3vtt0QvMdy3sWbThTUHbwlLhc46LgtEWPc=" }),
                "/secret",
            ),
        ] {
            let mut new = json!({ "name": "x", "scheme": scheme });
            for (key, value) in more.as_object().expect("an object") {
                new[key] = value.clone();
            }
            let answer = owner.post("/v1/sources", &new).await;
            assert_eq!(answer.problem().0, 400, "{scheme} {}", answer.text);
            assert_eq!(
                text(&answer.json(), "/errors/0/pointer"),
                pointer,
                "{}",
                answer.text
            );
        }
    }
);
