//! A sender that follows Standard Webhooks: the made-up accounts service of the demo.

use serde_json::{Value, json};

use super::{Message, Provider, text};
use crate::{
    dice::Dice,
    story::{Told, rfc3339},
};

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
    let body = body(kind, &format!("user_{}", dice.id(24)), dice, now);
    Message::new(
        Provider::Standard,
        kind,
        format!("msg_{}", dice.id(27)),
        &body,
    )
}

/// A user from sign-up to the end.
pub(crate) fn story(dice: &Dice, now: i64) -> Vec<Told> {
    let user = format!("user_{}", dice.id(24));
    let told = (0..)
        .zip(["user.created", "user.updated", "user.deleted"])
        .map(|(at, kind)| {
            let body = body(kind, &user, dice, now - 30 + at);
            Told::new(kind, format!("msg_{}", dice.id(27)), &body)
        });
    told.collect()
}

fn body(kind: &str, user: &str, dice: &Dice, now: i64) -> Value {
    json!({
        "type": kind,
        "timestamp": rfc3339(now),
        "data": {
            "id": user,
            "email": format!("{}@example.com", dice.id(8).to_lowercase()),
            "name": dice.pick(&["Ada", "Grace", "Radia", "Barbara", "Margaret"]),
            "team": dice.pick(&["support", "billing", "harbour"]),
            "plan": dice.pick(&["free", "team", "fleet"]),
        },
    })
}

pub(super) fn mark(payload: &Value) -> Option<String> {
    let user = text(&payload["data"]["id"]).filter(|id| id.starts_with("user_"))?;
    Some(format!("{user}:{}", payload["type"].as_str()?))
}
