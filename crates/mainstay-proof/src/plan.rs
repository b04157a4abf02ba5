//! What the sender plays: true events, the same again (some at once), out of order, and forged ones.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{
    dice::Dice,
    events::{Message, Provider, message},
    sign,
};

/// How a request departs from the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    /// Signed with a secret that nobody gave out.
    WrongSecret,
    /// A byte of the body was changed after signing.
    BodyChanged,
    /// Signed truly, but an hour ago: a replay. Only for schemes that sign the time.
    TooOld,
    /// No signature at all.
    Unsigned,
}

/// One request to send.
#[derive(Debug, Clone)]
pub struct Item {
    /// The message.
    pub message: Message,
    /// `None` for a true one.
    pub forgery: Option<Forgery>,
    /// Whether an earlier item carries the same message.
    pub duplicate: bool,
}

/// How much of what is played.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// The seed of everything.
    pub seed: u64,
    /// How many distinct true requests.
    pub requests: usize,
    /// When the events are said to happen, in seconds since 1970.
    pub now: i64,
    /// The share of true requests that are sent more than once.
    pub duplicates: f64,
    /// The share of forged requests among all.
    pub forged: f64,
}

/// The requests in the order in which they are sent.
pub fn plan(mix: Mix) -> Vec<Item> {
    let dice = Dice::new(mix.seed);
    let mut items = Vec::new();
    for _ in 0..mix.requests {
        let provider = *dice.pick(&[
            Provider::Stripe,
            Provider::Stripe,
            Provider::Github,
            Provider::Whatsapp,
            Provider::Standard,
        ]);
        push_true(&mut items, message(provider, &dice, mix.now), mix, &dice);
        if dice.chance(mix.forged) {
            let provider = *dice.pick(&Provider::ALL);
            items.push(forge(message(provider, &dice, mix.now), &dice));
        }
    }
    reorder(&mut items, &dice);
    mark_duplicates(&mut items);
    items
}

fn push_true(items: &mut Vec<Item>, message: Message, mix: Mix, dice: &Dice) {
    let item = Item {
        message,
        forgery: None,
        duplicate: false,
    };
    if dice.chance(mix.duplicates) {
        // Half of them at the same moment as the first (a neighbour on the plan), half of them after a while.
        items.push(item.clone());
        if dice.chance(0.5) {
            let back = dice.range(0, 60).min(items.len() as u64) as usize;
            items.insert(items.len() - back, item.clone());
        }
    }
    items.push(item);
}

fn forge(message: Message, dice: &Dice) -> Item {
    let signs_time = matches!(message.provider, Provider::Stripe | Provider::Standard);
    let mut forgery = *dice.pick(&[
        Forgery::WrongSecret,
        Forgery::BodyChanged,
        Forgery::TooOld,
        Forgery::Unsigned,
    ]);
    if forgery == Forgery::TooOld && !signs_time {
        forgery = Forgery::WrongSecret;
    }
    Item {
        message,
        forgery: Some(forgery),
        duplicate: false,
    }
}

/// Providers promise no order: neighbours change places within a few requests.
fn reorder(items: &mut [Item], dice: &Dice) {
    for at in 0..items.len() {
        if dice.chance(0.2) {
            let other = (at + dice.range(1, 12) as usize).min(items.len() - 1);
            items.swap(at, other);
        }
    }
}

fn mark_duplicates(items: &mut [Item]) {
    let mut seen = BTreeSet::new();
    for item in items.iter_mut() {
        item.duplicate = !seen.insert(item.message.marks.clone());
    }
}

impl Item {
    /// The headers and the body to send, signed (or not) at `at`, in seconds since 1970.
    pub fn signed(
        &self,
        secret: &str,
        at: i64,
    ) -> anyhow::Result<(Vec<(&'static str, String)>, Bytes)> {
        let message = &self.message;
        match self.forgery {
            None => Ok((sign::headers(message, secret, at)?, message.body.clone())),
            Some(Forgery::WrongSecret) => {
                let digits = "5ec4e7".repeat(11);
                let wrong = sign::secret(message.provider, &digits);
                Ok((sign::headers(message, &wrong, at)?, message.body.clone()))
            }
            Some(Forgery::BodyChanged) => {
                let mut body = message.body.to_vec();
                // A space after the opening brace: the same JSON, other bytes.
                body.insert(1, b' ');
                Ok((sign::headers(message, secret, at)?, Bytes::from(body)))
            }
            Some(Forgery::TooOld) => Ok((
                sign::headers(message, secret, at - 3_600)?,
                message.body.clone(),
            )),
            Some(Forgery::Unsigned) => {
                let mut headers = sign::headers(message, secret, at)?;
                headers.retain(|(name, _)| !name.contains("signature"));
                Ok((headers, message.body.clone()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIX: Mix = Mix {
        seed: 7,
        requests: 1_000,
        now: 1_790_000_000,
        duplicates: 0.15,
        forged: 0.03,
    };

    #[test]
    fn a_plan_holds_every_kind_of_trouble() {
        let items = plan(MIX);
        let count = |of: &dyn Fn(&Item) -> bool| items.iter().filter(|item| of(item)).count();
        let forged = count(&|item| item.forgery.is_some());
        assert_eq!(
            count(&|item| item.forgery.is_none() && !item.duplicate),
            MIX.requests
        );
        assert!(count(&|item| item.duplicate) > 100);
        assert!(forged > 10);
        for forgery in [
            Forgery::WrongSecret,
            Forgery::BodyChanged,
            Forgery::TooOld,
            Forgery::Unsigned,
        ] {
            assert!(
                count(&|item| item.forgery == Some(forgery)) > 0,
                "{forgery:?}"
            );
        }
    }

    #[test]
    fn a_forged_event_is_never_sent_truly() {
        let items = plan(MIX);
        let marks = |forged: bool| -> BTreeSet<&String> {
            items
                .iter()
                .filter(|item| item.forgery.is_some() == forged)
                .flat_map(|item| &item.message.marks)
                .collect()
        };
        assert!(marks(true).is_disjoint(&marks(false)));
    }
}
