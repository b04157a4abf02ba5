//! Test webhooks as each provider would shape them, for `mainstay send` without a body of its own.

use mainstay_domain::intake::scheme::{HmacRule, IdFrom, KindFrom, Scheme};
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
        Scheme::StandardWebhooks | Scheme::Hmac(_) => "test.sent",
    }
}

/// How the provider's ids begin.
pub(super) const fn id_prefix(scheme: &Scheme) -> &'static str {
    match scheme {
        Scheme::Stripe => "evt_",
        Scheme::Meta { .. } => "wamid.",
        Scheme::StandardWebhooks => "msg_",
        Scheme::Github | Scheme::Hmac(_) => "",
    }
}

/// The body.
pub(super) fn body(scheme: &Scheme, made: &Made<'_>) -> Value {
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
        Scheme::StandardWebhooks => json!({
            "type": made.kind,
            "timestamp": jiff::Timestamp::from_second(made.at_secs).map(|at| at.to_string()).unwrap_or_default(),
            "data": { "message": "sent by mainstay send" },
        }),
        Scheme::Github => json!({
            "action": made.kind.split_once('.').map_or("", |(_, action)| action),
            "issue": { "number": 1, "title": "sent by mainstay send" },
            "repository": { "full_name": "example/example" },
            "sender": { "login": "mainstay" },
        }),
        Scheme::Meta { .. } => meta(made),
        Scheme::Hmac(rule) => by_rule(rule, made),
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
fn by_rule(rule: &HmacRule, made: &Made<'_>) -> Value {
    let mut body = json!({ "message": "sent by mainstay send", "at": made.at_secs });
    match &rule.id {
        IdFrom::Pointer(pointer) => set(&mut body, pointer.as_str(), made.id),
        IdFrom::Header(_) => {}
        // The digest of the body is the id: without this, two sends in a second would be one event.
        IdFrom::Digest => set(&mut body, "/id", made.id),
    }
    if let Some(KindFrom::Pointer(pointer)) = &rule.kind {
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
    use mainstay_domain::intake::scheme::{self, Message, Request, Secret};

    /// What `send` makes is what the door of that scheme takes.
    fn accepted(name: &str, rule: Option<&Value>) -> (String, String) {
        let scheme = Scheme::from_settings(name, rule, None).expect("a scheme");
        let secret = Secret::new(scheme::generate_secret(&scheme, &[7; 32]));
        let kind = kind_default(&scheme);
        let id = format!("{}12345", id_prefix(&scheme));
        let made = Made {
            id: &id,
            kind,
            at_secs: 1_800_000_000,
        };
        let body = body(&scheme, &made).to_string().into_bytes();
        let message = Message {
            id: &id,
            kind,
            timestamp_secs: made.at_secs,
            body: &body,
        };
        let headers = scheme::sign(&scheme, &secret, &message).expect("signed");
        let request = Request {
            headers: &headers,
            body: &body,
            now_secs: made.at_secs,
        };
        scheme::verify(&scheme, &[secret], 300, &request).expect("verified");
        let events = scheme::extract(&scheme, &request).expect("events");
        let event = events.first().expect("one event");
        (event.provider_id.clone(), event.kind.clone())
    }

    #[test]
    fn a_made_webhook_is_accepted_with_its_id_and_type() {
        assert_eq!(
            accepted("stripe", None),
            ("evt_12345".into(), "invoice.paid".into())
        );
        assert_eq!(
            accepted("standard_webhooks", None),
            ("msg_12345".into(), "test.sent".into())
        );
        assert_eq!(
            accepted("github", None),
            ("12345".into(), "issues.opened".into())
        );
        assert_eq!(accepted("meta", None).0, "wamid.12345");
        let slack = json!({
            "header": "X-Slack-Signature", "prefix": "v0=", "signed": "v0:{timestamp}:{body}",
            "timestamp_header": "X-Slack-Request-Timestamp",
            "id": { "pointer": "/event_id" }, "type": { "pointer": "/event/type" },
        });
        assert_eq!(
            accepted("hmac", Some(&slack)),
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
