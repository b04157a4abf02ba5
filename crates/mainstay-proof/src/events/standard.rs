//! A sender that follows Standard Webhooks: the made-up accounts service of the demo.

use serde_json::{Value, json};

use super::{Message, Provider, text};
use crate::dice::Dice;

pub(super) fn message(dice: &Dice, now: i64) -> Message {
    let kind = if dice.chance(0.015) {
        "session.revoked"
    } else {
        *dice.pick(&[
            "user.created",
            "user.updated",
            "user.deleted",
            "team.member_added",
        ])
    };
    let at = jiff::Timestamp::from_second(now).map_or_else(|_| String::new(), |at| at.to_string());
    let body = json!({
        "type": kind,
        "timestamp": at,
        "data": {
            "id": format!("user_{}", dice.id(24)),
            "email": format!("{}@example.com", dice.id(8).to_lowercase()),
            "name": dice.pick(&["Ada", "Grace", "Radia", "Barbara", "Margaret"]),
            "team": dice.pick(&["support", "billing", "harbour"]),
            "plan": dice.pick(&["free", "team", "fleet"]),
        },
    });
    Message::new(
        Provider::Standard,
        kind,
        format!("msg_{}", dice.id(27)),
        &body,
    )
}

pub(super) fn mark(payload: &Value) -> Option<String> {
    let user = text(&payload["data"]["id"]).filter(|id| id.starts_with("user_"))?;
    Some(format!("{user}:{}", payload["type"].as_str()?))
}
