//! Stories: what happens to one object, event by event, in the order in which it happened. Providers promise no order of
//! delivery, so this is the one thing that a receiver has to be right about whatever comes first.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    dice::Dice,
    events::{github, standard, stripe, whatsapp},
};

/// Who tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Teller {
    /// Stripe.
    Stripe,
    /// GitHub.
    Github,
    /// WhatsApp.
    Whatsapp,
    /// Any sender that follows Standard Webhooks.
    Standard,
    /// Shopify.
    Shopify,
    /// Slack.
    Slack,
    /// Paddle Billing.
    Paddle,
    /// Twilio.
    Twilio,
}

impl Teller {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Stripe,
        Self::Github,
        Self::Whatsapp,
        Self::Standard,
        Self::Shopify,
        Self::Slack,
        Self::Paddle,
        Self::Twilio,
    ];
}

/// One event of a story, not yet signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What the provider calls it, e.g. `invoice.paid`.
    pub kind: String,
    /// What tells it from every other event: the same when it is sent again.
    pub id: String,
    /// Headers beside the signature's and those of the id and the type.
    pub headers: Vec<(&'static str, String)>,
    /// The raw body.
    pub body: Bytes,
}

impl Told {
    pub(crate) fn new(kind: &str, id: impl Into<String>, body: &Value) -> Self {
        Self {
            kind: kind.to_owned(),
            id: id.into(),
            headers: Vec::new(),
            body: Bytes::from(body.to_string()),
        }
    }

    /// The body as JSON; none where it is a form.
    fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// The next story. `now` is in seconds since 1970.
pub fn story(teller: Teller, dice: &Dice, now: i64) -> Vec<Told> {
    match teller {
        Teller::Stripe => stripe::story(dice, now),
        Teller::Github => github::story(dice, now),
        Teller::Whatsapp => whatsapp::story(dice, now),
        Teller::Standard => standard::story(dice, now),
        Teller::Shopify => shopify(dice, now),
        Teller::Slack => slack(dice, now),
        Teller::Paddle => paddle(dice, now),
        Teller::Twilio => twilio(dice),
    }
}

/// The same event as another version of the provider's API would tell it: with what a receiver has never seen, and
/// nothing missing that it needs to know which event it is.
pub fn changed(teller: Teller, told: &Told) -> Told {
    let mut changed = told.clone();
    let Some(mut body) = told.json() else {
        changed.body = [&told.body[..], b"&ApiVersion=2031-04-01&NewField=new"]
            .concat()
            .into();
        return changed;
    };
    let news = json!({ "since": "2031-04-01", "items": [1, { "a": null }], "text": "neu ✓" });
    body["a_new_field"] = news.clone();
    let inner = match teller {
        Teller::Stripe => body.pointer_mut("/data/object"),
        Teller::Standard | Teller::Paddle => body.pointer_mut("/data"),
        Teller::Github => body.pointer_mut("/issue"),
        Teller::Slack => body.pointer_mut("/event"),
        Teller::Whatsapp => body.pointer_mut("/entry/0/changes/0/value"),
        Teller::Shopify | Teller::Twilio => None,
    };
    if let Some(inner @ Value::Object(_)) = inner {
        inner["a_new_field"] = news;
    }
    if teller == Teller::Stripe {
        body["api_version"] = json!("2031-04-01.estuary");
    }
    for (name, value) in &mut changed.headers {
        if *name == "x-shopify-api-version" {
            "2031-04".clone_into(value);
        }
    }
    changed.body = Bytes::from(body.to_string());
    changed
}

/// An event of a type that nobody has heard of yet: like this one, with another id.
pub fn unheard_of(teller: Teller, told: &Told, dice: &Dice) -> Told {
    let mut body = told.json().unwrap_or_default();
    let (kind, id) = match teller {
        Teller::Stripe => ("invoice.reimagined", format!("evt_1{}", dice.id(23))),
        Teller::Github => ("issues.reimagined", dice.uuid()),
        Teller::Whatsapp => ("statuses.reimagined", format!("wamid.HBgL{}", dice.id(40))),
        Teller::Standard => ("user.reimagined", format!("msg_{}", dice.id(27))),
        Teller::Shopify => ("orders/reimagined", dice.uuid()),
        Teller::Slack => ("reimagined", format!("Ev{}", dice.id(10).to_uppercase())),
        Teller::Paddle => (
            "transaction.reimagined",
            format!("evt_{}", dice.id(26).to_lowercase()),
        ),
        Teller::Twilio => return form("reimagined", &format!("SM{}", dice.hex(32))),
    };
    let name = match teller {
        Teller::Stripe => {
            body["id"] = json!(id);
            body["type"] = json!(kind);
            id
        }
        Teller::Paddle => {
            body["event_id"] = json!(id);
            body["event_type"] = json!(kind);
            id
        }
        Teller::Standard => {
            body["type"] = json!(kind);
            id
        }
        Teller::Github => {
            body["action"] = json!("reimagined");
            id
        }
        Teller::Slack => {
            body["event_id"] = json!(id);
            body["event"]["type"] = json!(kind);
            id
        }
        Teller::Whatsapp => {
            if let Some(status) = body.pointer_mut("/entry/0/changes/0/value/statuses/0") {
                status["id"] = json!(id);
                status["status"] = json!("reimagined");
            }
            format!("{id}:reimagined")
        }
        Teller::Shopify | Teller::Twilio => id,
    };
    Told {
        headers: told.headers.clone(),
        ..Told::new(kind, name, &body)
    }
}

pub(crate) fn rfc3339(secs: i64) -> String {
    jiff::Timestamp::from_second(secs).map_or_else(|_| String::new(), |at| at.to_string())
}

fn shopify(dice: &Dice, now: i64) -> Vec<Told> {
    let (id, number) = (
        dice.range(5_000_000_000_000, 6_000_000_000_000),
        dice.range(1_001, 9_999),
    );
    let total = format!("{}.{}", dice.range(10, 400), dice.digits(2));
    let email = format!("{}@example.com", dice.id(8).to_lowercase());
    let item = dice.range(1_000_000, 9_000_000);
    let steps = [
        ("orders/create", "pending", json!(null)),
        ("orders/updated", "authorized", json!(null)),
        ("orders/paid", "paid", json!(rfc3339(now))),
    ];
    let told = steps.into_iter().map(|(topic, status, processed)| {
        let body = json!({
            "id": id, "admin_graphql_api_id": format!("gid://shopify/Order/{id}"), "name": format!("#{number}"),
            "order_number": number, "created_at": rfc3339(now - 60), "updated_at": rfc3339(now),
            "processed_at": processed, "currency": "EUR", "financial_status": status, "fulfillment_status": null,
            "total_price": total, "subtotal_price": total, "email": email, "test": false, "tags": "",
            "line_items": [{ "id": item, "title": "A chart of the harbour", "quantity": 1, "price": total, "sku": "CHART-1" }],
        });
        let mut told = Told::new(topic, dice.uuid(), &body);
        told.headers = vec![
            ("user-agent", "Shopify-Captain-Hook".to_owned()),
            ("x-shopify-shop-domain", "saltmarsh.myshopify.com".to_owned()),
            ("x-shopify-api-version", "2026-10".to_owned()),
            ("x-shopify-event-id", dice.uuid()),
            ("x-shopify-triggered-at", rfc3339(now)),
        ];
        told
    });
    told.collect()
}

fn slack(dice: &Dice, now: i64) -> Vec<Told> {
    let id = |letter: &str| format!("{letter}{}", dice.id(10).to_uppercase());
    let (team, channel, user) = (id("T"), id("C"), id("U"));
    let at = format!("{now}.{}", dice.digits(6));
    let steps = [
        json!({ "type": "message", "channel": channel, "user": user, "text": "the tide is in", "ts": at,
            "channel_type": "channel" }),
        json!({ "type": "message", "subtype": "message_changed", "channel": channel, "ts": at,
            "message": { "type": "message", "user": user, "text": "the tide is out", "ts": at } }),
        json!({ "type": "reaction_added", "user": user, "reaction": "anchor", "event_ts": at,
            "item": { "type": "message", "channel": channel, "ts": at } }),
    ];
    let told = steps.into_iter().map(|event| {
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        let id = id("Ev");
        let body = json!({
            "token": dice.id(24), "team_id": team, "api_app_id": "A0HARBOUR1", "type": "event_callback",
            "event_id": id, "event_time": now, "event": event,
            "authorizations": [{ "team_id": team, "user_id": user, "is_bot": true }],
        });
        Told::new(&kind, id, &body)
    });
    told.collect()
}

fn paddle(dice: &Dice, now: i64) -> Vec<Told> {
    let id = |word: &str| format!("{word}_01{}", dice.id(24).to_lowercase());
    let (transaction, customer) = (id("txn"), id("ctm"));
    let total = dice.range(900, 99_000).to_string();
    let steps = [
        ("transaction.created", "draft"),
        ("transaction.paid", "paid"),
        ("transaction.completed", "completed"),
    ];
    let told = steps.into_iter().map(|(kind, status)| {
        let event = id("evt");
        let body = json!({
            "event_id": event, "event_type": kind, "occurred_at": rfc3339(now), "notification_id": id("ntf"),
            "data": { "id": transaction, "status": status, "customer_id": customer, "currency_code": "USD",
                "created_at": rfc3339(now - 60), "updated_at": rfc3339(now),
                "details": { "totals": { "total": total, "tax": "0", "currency_code": "USD" } }, "items": [] },
        });
        Told::new(kind, event, &body)
    });
    told.collect()
}

fn twilio(dice: &Dice) -> Vec<Told> {
    let message = format!("SM{}", dice.hex(32));
    let steps = ["queued", "sent", "delivered"];
    steps.map(|status| form(status, &message)).into()
}

/// What Twilio tells of a message that was sent by its API: a form, its fields in the order of their names.
fn form(status: &str, message: &str) -> Told {
    let fields = format!(
        "AccountSid=AC{:032}&From=%2B15005550006&MessageSid={message}&MessageStatus={status}&To=%2B15005550010",
        0
    );
    Told {
        kind: format!("message.{status}"),
        id: format!("{message}:{status}"),
        headers: Vec::new(),
        body: Bytes::from(fields),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const NOW: i64 = 1_790_000_000;

    #[test]
    fn a_seed_tells_the_same_stories_and_no_two_events_have_the_same_id() {
        for teller in Teller::ALL {
            let tell = || {
                let dice = Dice::new(5);
                let told = (0..50).flat_map(|_| story(teller, &dice, NOW));
                told.collect::<Vec<_>>()
            };
            let (first, second) = (tell(), tell());
            assert_eq!(first, second, "{teller:?}");
            let ids: BTreeSet<&String> = first.iter().map(|told| &told.id).collect();
            assert_eq!(ids.len(), first.len(), "{teller:?}");
            assert!(first.len() >= 150, "{teller:?}: a story has several events");
        }
    }

    #[test]
    fn what_a_newer_api_tells_is_the_same_event_in_another_body() {
        for teller in Teller::ALL {
            let dice = Dice::new(7);
            for told in story(teller, &dice, NOW) {
                let newer = changed(teller, &told);
                assert_eq!((&newer.id, &newer.kind), (&told.id, &told.kind));
                assert_ne!(newer.body, told.body, "{teller:?}");
                let text = String::from_utf8(newer.body.to_vec()).expect("text");
                assert!(
                    text.contains("a_new_field") || text.contains("NewField"),
                    "{text}"
                );
                let unheard = unheard_of(teller, &told, &dice);
                assert_ne!(unheard.id, told.id, "{teller:?}");
                assert!(unheard.kind.contains("reimagined"), "{teller:?}");
            }
        }
    }
}
