//! WhatsApp Cloud API: messages from people and statuses of messages sent to them, several in one request.

use serde_json::{Value, json};

use super::{Message, Provider, text};
use crate::{dice::Dice, story::Told};

const ACCOUNT: &str = "102290129340398";

pub(super) fn message(dice: &Dice, now: i64) -> Message {
    let changes: Vec<Value> = (0..dice.range(1, 3)).map(|_| change(dice, now)).collect();
    let body = json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": ACCOUNT, "changes": changes }],
    });
    let mut message = Message::new(Provider::Whatsapp, "messages", dice.uuid(), &body);
    message.headers = vec![("user-agent", "facebookexternalua".to_owned())];
    message
}

/// A message that was sent, on its way to being read.
pub(crate) fn story(dice: &Dice, now: i64) -> Vec<Told> {
    let mut one = status(dice, now);
    let wamid = one["id"].as_str().unwrap_or_default().to_owned();
    let told = ["sent", "delivered", "read"].map(|word| {
        one["status"] = json!(word);
        let value = json!({
            "messaging_product": "whatsapp",
            "metadata": { "display_phone_number": "15550783881", "phone_number_id": "106540352242922" },
            "statuses": [one],
        });
        let body = json!({
            "object": "whatsapp_business_account",
            "entry": [{ "id": ACCOUNT, "changes": [{ "field": "messages", "value": value }] }],
        });
        let mut told = Told::new(
            &format!("statuses.{word}"),
            format!("{wamid}:{word}"),
            &body,
        );
        told.headers = vec![("user-agent", "facebookexternalua".to_owned())];
        told
    });
    told.into()
}

fn change(dice: &Dice, now: i64) -> Value {
    let mut value = json!({
        "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": "15550783881", "phone_number_id": "106540352242922" },
    });
    if dice.chance(0.5) {
        let from = format!("4917{}", dice.digits(8));
        value["contacts"] =
            json!([{ "profile": { "name": dice.pick(&["Mira", "Jon", "Zoë"]) }, "wa_id": from }]);
        value["messages"] = (0..dice.range(1, 3))
            .map(|_| incoming(dice, &from, now))
            .collect();
    } else {
        value["statuses"] = (0..dice.range(1, 4)).map(|_| status(dice, now)).collect();
    }
    json!({ "field": "messages", "value": value })
}

fn wamid(dice: &Dice) -> String {
    format!("wamid.HBgL{}", dice.id(40))
}

fn incoming(dice: &Dice, from: &str, now: i64) -> Value {
    let words = dice.pick(&[
        "Is my order on its way?",
        "Danke! 👍",
        "Please cancel the table for two",
        "Où est ma facture ?",
    ]);
    json!({ "from": from, "id": wamid(dice), "timestamp": now.to_string(), "type": "text", "text": { "body": words } })
}

fn status(dice: &Dice, now: i64) -> Value {
    let recipient = format!("4917{}", dice.digits(8));
    json!({
        "id": wamid(dice), "status": dice.pick(&["sent", "delivered", "read"]), "timestamp": now.to_string(),
        "recipient_id": recipient, "pricing": { "billable": true, "category": "utility", "pricing_model": "CBP" },
    })
}

/// Finds messages and statuses at any depth: a payload may hold the whole request or one event of it.
pub(super) fn marks(payload: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(payload, &mut found);
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let id = text(&value["id"]).filter(|id| id.starts_with("wamid."));
            if let Some(id) = id {
                found.push(match value["status"].as_str() {
                    Some(status) => format!("{id}:{status}"),
                    None => id,
                });
                return;
            }
            fields.values().for_each(|field| collect(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}
