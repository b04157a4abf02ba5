//! Test webhooks as each provider would shape them, for `mainstay send` without a body of its own.

use mainstay_domain::intake::scheme::{IdFrom, KindFrom, Scheme};
use serde_json::{Value, json};

/// What a made webhook says.
pub(super) struct Made<'a> {
    /// The provider's id of the event.
    pub(super) id: &'a str,
    /// The type.
    pub(super) kind: &'a str,
    /// When, in seconds since 1970.
    pub(super) at_secs: i64,
}

/// The type that is sent when none was asked for: one that the provider really has.
pub(super) const fn kind_default(scheme: &Scheme) -> &'static str {
    match scheme {
        Scheme::Stripe => "invoice.paid",
        Scheme::Github => "issues.opened",
        Scheme::Meta { .. } => "message.text",
        Scheme::Shopify => "orders/paid",
        Scheme::Slack => "app_mention",
        Scheme::Paddle => "transaction.paid",
        Scheme::Whop => "payment.succeeded",
        Scheme::Paypal => "PAYMENT.CAPTURE.COMPLETED",
        Scheme::Twilio => "message.delivered",
        Scheme::StandardWebhooks
        | Scheme::Bearer { .. }
        | Scheme::Address { .. }
        | Scheme::Hmac(_) => "test.sent",
    }
}

/// How the provider's ids begin.
pub(super) const fn id_prefix(scheme: &Scheme) -> &'static str {
    match scheme {
        Scheme::Stripe | Scheme::Paddle => "evt_",
        Scheme::Meta { .. } => "wamid.",
        Scheme::StandardWebhooks | Scheme::Whop => "msg_",
        Scheme::Slack => "Ev",
        Scheme::Paypal => "WH-",
        Scheme::Twilio => "SM",
        Scheme::Github
        | Scheme::Shopify
        | Scheme::Bearer { .. }
        | Scheme::Address { .. }
        | Scheme::Hmac(_) => "",
    }
}

/// The media type of a body: only Twilio's forms are not JSON.
pub(super) fn content_type(scheme: &Scheme, body: &[u8]) -> &'static str {
    let json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
    match scheme {
        Scheme::Twilio if !json => "application/x-www-form-urlencoded",
        _ => "application/json",
    }
}

/// The body.
pub(super) fn body(scheme: &Scheme, made: &Made<'_>) -> Vec<u8> {
    match scheme {
        Scheme::Twilio => twilio(made).into_bytes(),
        _ => json_body(scheme, made).to_string().into_bytes(),
    }
}

/// What Twilio tells of a message that was sent by its API.
fn twilio(made: &Made<'_>) -> String {
    let status = made.kind.strip_prefix("message.").unwrap_or(made.kind);
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair("AccountSid", "AC00000000000000000000000000000000")
        .append_pair("From", "+15005550006")
        .append_pair("MessageSid", made.id)
        .append_pair("MessageStatus", status)
        .append_pair("To", "+15005550010")
        .finish()
}

fn rfc3339(at_secs: i64) -> String {
    jiff::Timestamp::from_second(at_secs)
        .map(|at| at.to_string())
        .unwrap_or_default()
}

fn json_body(scheme: &Scheme, made: &Made<'_>) -> Value {
    match scheme {
        Scheme::Stripe => json!({
            "id": made.id,
            "object": "event",
            "api_version": "2025-09-30.clover",
            "created": made.at_secs,
            "livemode": false,
            "type": made.kind,
            "data": { "object": { "id": "in_test", "object": "invoice", "amount_paid": 2000, "currency": "usd" } },
        }),
        Scheme::StandardWebhooks | Scheme::Whop => json!({
            "type": made.kind,
            "timestamp": rfc3339(made.at_secs),
            "data": { "message": "sent by mainstay send" },
        }),
        Scheme::Github => json!({
            "action": made.kind.split_once('.').map_or("", |(_, action)| action),
            "issue": { "number": 1, "title": "sent by mainstay send" },
            "repository": { "full_name": "example/example" },
            "sender": { "login": "mainstay" },
        }),
        Scheme::Meta { .. } => meta(made),
        // The id and the topic are in headers: without a body of its own, two sends in a second would be one event.
        Scheme::Shopify => json!({
            "admin_graphql_api_id": format!("gid://shopify/Order/{}", made.id),
            "note": "sent by mainstay send",
            "total_price": "20.00",
            "currency": "USD",
        }),
        Scheme::Slack => json!({
            "type": "event_callback",
            "team_id": "T000TEST",
            "event_id": made.id,
            "event_time": made.at_secs,
            "event": { "type": made.kind, "user": "U000TEST", "text": "sent by mainstay send" },
        }),
        Scheme::Paddle => json!({
            "event_id": made.id,
            "event_type": made.kind,
            "occurred_at": rfc3339(made.at_secs),
            "notification_id": "ntf_test",
            "data": { "id": "txn_test", "status": "paid" },
        }),
        Scheme::Paypal => json!({
            "id": made.id,
            "event_type": made.kind,
            "create_time": rfc3339(made.at_secs),
            "resource": { "id": "test", "status": "COMPLETED" },
        }),
        Scheme::Bearer { event, .. } | Scheme::Address { event } => {
            by_rule(&event.id, event.kind.as_ref(), made)
        }
        Scheme::Hmac(rule) => by_rule(&rule.id, rule.kind.as_ref(), made),
        Scheme::Twilio => json!({}),
    }
}

fn meta(made: &Made<'_>) -> Value {
    let message = json!({
        "id": made.id,
        "from": "4915100000000",
        "timestamp": made.at_secs.to_string(),
        "type": "text",
        "text": { "body": "sent by mainstay send" },
    });
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": "4915100000001", "phone_number_id": "1000" },
        "contacts": [{ "wa_id": "4915100000000", "profile": { "name": "Test" } }],
        "messages": [message],
    });
    json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": "1000", "changes": [{ "field": "messages", "value": value }] }],
    })
}

/// Id and type stand where the rule will look for them.
fn by_rule(id: &IdFrom, kind: Option<&KindFrom>, made: &Made<'_>) -> Value {
    let mut body = json!({ "message": "sent by mainstay send", "at": made.at_secs });
    match id {
        IdFrom::Pointer(pointer) => set(&mut body, pointer.as_str(), made.id),
        IdFrom::Header(_) => {}
        // The digest of the body is the id: without this, two sends in a second would be one event.
        IdFrom::Digest => set(&mut body, "/id", made.id),
    }
    if let Some(KindFrom::Pointer(pointer)) = kind {
        set(&mut body, pointer.as_str(), made.kind);
    }
    body
}

/// Puts a text at a JSON pointer (RFC 6901), making objects on the way.
fn set(body: &mut Value, pointer: &str, text: &str) {
    let mut place = body;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[part];
    }
    *place = text.into();
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_domain::intake::{
        scheme::{self, Message, PreparedScheme, Request, Route, Secret},
        settings::SourceSettings,
    };

    /// What `send` makes is what the door of that scheme takes.
    fn accepted(name: &str, settings: &Value) -> (String, String) {
        let settings: SourceSettings = serde_json::from_value(settings.clone()).expect("settings");
        let scheme = Scheme::from_settings(name, &settings).expect("a scheme");
        let ranges = settings.ranges().expect("ranges");
        let secret = Secret::new(scheme::generate_secret(&scheme, &[7; 32]));
        let kind = kind_default(&scheme);
        let id = format!("{}12345", id_prefix(&scheme));
        let made = Made {
            id: &id,
            kind,
            at_secs: 1_800_000_000,
        };
        let body = body(&scheme, &made);
        let url = scheme.url_for("https://hooks.example.test/in/x", &body);
        let message = Message {
            id: &id,
            kind,
            timestamp_secs: made.at_secs,
            body: &body,
        };
        let headers = scheme::sign_to(&scheme, &secret, &url, &message).expect("signed");
        let request = Request {
            headers: &headers,
            body: &body,
            now_secs: made.at_secs,
            route: Route {
                url: &url,
                remote: "192.0.2.1".parse().ok(),
                certificate: None,
            },
        };
        let secrets = if scheme.needs_no_secret() {
            Vec::new()
        } else {
            vec![secret]
        };
        let prepared = PreparedScheme::new(scheme, &secrets)
            .expect("prepared")
            .allowing(ranges);
        prepared.verify(300, &request).expect("verified");
        let events = prepared.extract(&request).expect("events");
        let event = events.first().expect("one event");
        (event.provider_id.clone(), event.kind.clone())
    }

    #[test]
    fn a_made_webhook_is_accepted_with_its_id_and_type() {
        assert_eq!(
            accepted("stripe", &json!({})),
            ("evt_12345".into(), "invoice.paid".into())
        );
        assert_eq!(
            accepted("standard_webhooks", &json!({})),
            ("msg_12345".into(), "test.sent".into())
        );
        assert_eq!(
            accepted("github", &json!({})),
            ("12345".into(), "issues.opened".into())
        );
        assert_eq!(accepted("meta", &json!({})).0, "wamid.12345");
        for (name, expected) in [
            ("shopify", ("12345", "orders/paid")),
            ("slack", ("Ev12345", "app_mention")),
            ("paddle", ("evt_12345", "transaction.paid")),
            ("whop", ("msg_12345", "payment.succeeded")),
            ("twilio", ("SM12345:delivered", "message.delivered")),
        ] {
            let (id, kind) = accepted(name, &json!({}));
            assert_eq!((id.as_str(), kind.as_str()), expected, "{name}");
        }
        let event = json!({ "id": { "pointer": "/id" }, "type": { "header": "X-Type" } });
        for (name, settings) in [
            (
                "bearer",
                json!({ "event": event, "bearer": { "header": "X-Token" } }),
            ),
            (
                "address",
                json!({ "event": event, "allow": ["192.0.2.0/24"] }),
            ),
        ] {
            let (id, kind) = accepted(name, &settings);
            assert_eq!(
                (id.as_str(), kind.as_str()),
                ("12345", "test.sent"),
                "{name}"
            );
        }
        let slack = json!({
            "header": "X-Slack-Signature", "prefix": "v0=", "signed": "v0:{timestamp}:{body}",
            "timestamp_header": "X-Slack-Request-Timestamp",
            "id": { "pointer": "/event_id" }, "type": { "pointer": "/event/type" },
        });
        assert_eq!(
            accepted("hmac", &json!({ "hmac": slack })),
            ("12345".into(), "test.sent".into())
        );
    }

    #[test]
    fn a_pointer_makes_the_objects_that_it_needs() {
        let mut body = json!({ "a": 1 });
        set(&mut body, "/a/b~1c/d", "x");
        assert_eq!(body, json!({ "a": { "b/c": { "d": "x" } } }));
    }
}
