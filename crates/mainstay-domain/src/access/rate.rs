//! How many requests a key may make: counted by what they do, each class for itself (RLM-02, RLM-03).

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What a request does, as far as limits go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateClass {
    /// Looks at something.
    Reads,
    /// Changes something.
    Writes,
    /// Buys something.
    Purchases,
    /// Buys credits: apart from other purchases, so that neither takes the other's room.
    CreditPurchases,
    /// What a team's programs do all day: they submit jobs and follow events. What bounds it is how much is waiting.
    Work,
}

impl RateClass {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Reads,
        Self::Writes,
        Self::Purchases,
        Self::CreditPurchases,
        Self::Work,
    ];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::Purchases => "purchases",
            Self::CreditPurchases => "credit_purchases",
            Self::Work => "work",
        }
    }

    /// What people call requests of it.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Reads => "requests that look",
            Self::Writes => "requests that change something",
            Self::Purchases => "purchases",
            Self::CreditPurchases => "purchases of credits",
            Self::Work => "requests of its work",
        }
    }
}

/// An administrator's word that a key may make more requests of a class, or fewer (RLM-05).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateOverride {
    /// Which requests.
    pub class: RateClass,
    /// How many in a minute.
    pub per_minute: u32,
    /// Until when; `None`: until it is changed.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: String,
    /// Who said so.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

impl RateOverride {
    /// Whether it holds now.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// What overrides say of a class now.
    pub fn of(overrides: &[Self], class: RateClass, now: Timestamp) -> Option<u32> {
        let mut holding = overrides
            .iter()
            .filter(|one| one.class == class && one.holds(now));
        holding.next().map(|one| one.per_minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(class: RateClass, per_minute: u32, until: Option<i64>) -> RateOverride {
        RateOverride {
            class,
            per_minute,
            until: until.map(Timestamp::from_secs),
            reason: "the yearly import".into(),
            by: "user:ada@example.com".into(),
            at: Timestamp::from_secs(1),
        }
    }

    #[test]
    fn an_override_holds_for_its_class_until_its_end() {
        let all = [
            says(RateClass::Writes, 300, Some(100)),
            says(RateClass::Work, 5, None),
        ];
        let (before, after) = (Timestamp::from_secs(99), Timestamp::from_secs(100));
        assert_eq!(RateOverride::of(&all, RateClass::Writes, before), Some(300));
        assert_eq!(RateOverride::of(&all, RateClass::Writes, after), None);
        assert_eq!(RateOverride::of(&all, RateClass::Reads, before), None);
        assert_eq!(RateOverride::of(&all, RateClass::Work, after), Some(5));
    }
}
