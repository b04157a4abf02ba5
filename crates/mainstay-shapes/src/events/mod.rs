//! Events as the providers send them, made up from a seed: the shapes are theirs, the words and numbers ours.
//!
//! Every event carries a *mark*, an identity that can be read from its payload wherever it turns up. The sender and
//! the receiver count marks, so that neither has to trust an id that Mainstay gave.

pub(crate) mod github;
pub(crate) mod standard;
pub(crate) mod stripe;
pub(crate) mod whatsapp;

use bytes::Bytes;
use serde_json::Value;

use crate::dice::Dice;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// Stripe.
    Stripe,
    /// GitHub.
    Github,
    /// WhatsApp, with Meta's signatures: several events in one request.
    Whatsapp,
    /// Any sender that follows Standard Webhooks.
    Standard,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Stripe, Self::Github, Self::Whatsapp, Self::Standard];

    /// The name of the source that the proofs declare for it.
    pub const fn source(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::Github => "github",
            Self::Whatsapp => "whatsapp",
            Self::Standard => "accounts",
        }
    }

    /// The scheme of that source.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::Github => "github",
            Self::Whatsapp => "meta",
            Self::Standard => "standard_webhooks",
        }
    }
}

/// One request of a provider, not yet signed.
#[derive(Debug, Clone)]
pub struct Message {
    /// Who sends it.
    pub provider: Provider,
    /// What the provider calls it, e.g. `invoice.paid`.
    pub kind: &'static str,
    /// The provider's id of the delivery, where it travels in a header (GitHub, Standard Webhooks).
    pub id: String,
    /// Headers beside the signature's.
    pub headers: Vec<(&'static str, String)>,
    /// The raw body.
    pub body: Bytes,
    /// The identity of every event in it.
    pub marks: Vec<String>,
}

impl Message {
    fn new(provider: Provider, kind: &'static str, id: String, body: &Value) -> Self {
        Self {
            provider,
            kind,
            id,
            headers: Vec::new(),
            marks: marks(body),
            body: Bytes::from(body.to_string()),
        }
    }

    /// How many of its events are billing's, which Mainstay records by itself.
    pub fn billing(&self) -> usize {
        usize::from(self.provider == Provider::Stripe)
    }
}

/// The next message of this provider. `now` is in seconds since 1970.
pub fn message(provider: Provider, dice: &Dice, now: i64) -> Message {
    match provider {
        Provider::Stripe => stripe::message(dice, now),
        Provider::Github => github::message(dice, now),
        Provider::Whatsapp => whatsapp::message(dice, now),
        Provider::Standard => standard::message(dice, now),
    }
}

/// The identities of the events in a payload, whoever sent it; empty when it is none of ours.
pub fn marks(payload: &Value) -> Vec<String> {
    if payload["object"] == "event" {
        return text(&payload["id"]).into_iter().collect();
    }
    if payload.get("repository").is_some() {
        return github::mark(payload).into_iter().collect();
    }
    let whatsapp = whatsapp::marks(payload);
    if !whatsapp.is_empty() {
        return whatsapp;
    }
    standard::mark(payload).into_iter().collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_plays_the_same_events_and_no_two_have_the_same_mark() {
        let play = || {
            let dice = Dice::new(11);
            (0..2_000)
                .map(|at| message(Provider::ALL[at % 4], &dice, 1_790_000_000 + at as i64))
                .collect::<Vec<_>>()
        };
        let (first, second) = (play(), play());
        assert!(first.iter().zip(&second).all(|(a, b)| a.body == b.body));
        let marks: Vec<&String> = first.iter().flat_map(|message| &message.marks).collect();
        assert!(first.iter().all(|message| !message.marks.is_empty()));
        let distinct: BTreeSet<&&String> = marks.iter().collect();
        assert_eq!(distinct.len(), marks.len());
    }

    #[test]
    fn whatsapp_brings_several_events_in_one_request() {
        let dice = Dice::new(3);
        let most = (0..100)
            .map(|_| {
                message(Provider::Whatsapp, &dice, 1_790_000_000)
                    .marks
                    .len()
            })
            .max();
        assert!(most > Some(2));
    }
}
