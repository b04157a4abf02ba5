//! Retry policies: when a job is tried again, and when it is not.

use serde::{Deserialize, Serialize};

use crate::{
    error::Category,
    time::{Random, Timestamp},
};

/// How long a server may make us wait with `Retry-After`: longer than this is cut.
pub const RETRY_AFTER_MAX_MS: i64 = 24 * 60 * 60 * 1_000;

/// When to try again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "strategy", rename_all = "snake_case", deny_unknown_fields)]
pub enum RetryPolicy {
    /// Exponential with a little jitter (RTY-01, RTY-02); the default of built-in handlers.
    Exponential {
        /// How often a job is tried in all.
        #[serde(default = "defaults::attempts_max")]
        attempts_max: i32,
        /// The first delay, in milliseconds.
        #[serde(default = "defaults::base_ms")]
        base_ms: i64,
        /// No delay is longer than this (before jitter), in milliseconds.
        #[serde(default = "defaults::max_ms")]
        max_ms: i64,
        /// By what the delay grows from one try to the next.
        #[serde(default = "defaults::factor")]
        factor: f64,
        /// The whole width of the jitter as a share of the delay: 0.1 spreads by 5 % to either side.
        #[serde(default = "defaults::jitter")]
        jitter: f64,
    },
    /// Exponential, at a random point between nothing and the whole delay.
    FullJitter {
        /// How often a job is tried in all.
        attempts_max: i32,
        /// The first delay, in milliseconds.
        base_ms: i64,
        /// No delay is longer than this, in milliseconds.
        max_ms: i64,
    },
    /// These delays one after the other, the last one repeated, each spread by 10 % to either side.
    Schedule {
        /// How often a job is tried in all.
        attempts_max: i32,
        /// The delays, in milliseconds.
        delays_ms: Vec<i64>,
    },
}

mod defaults {
    pub(super) const fn attempts_max() -> i32 {
        5
    }
    pub(super) const fn base_ms() -> i64 {
        1_000
    }
    pub(super) const fn max_ms() -> i64 {
        300_000
    }
    pub(super) const fn factor() -> f64 {
        2.0
    }
    pub(super) const fn jitter() -> f64 {
        0.1
    }
}

impl Default for RetryPolicy {
    /// RTY-01: 5 tries, 1 s doubling to at most 5 min, jitter factor 0.1.
    fn default() -> Self {
        Self::Exponential {
            attempts_max: defaults::attempts_max(),
            base_ms: defaults::base_ms(),
            max_ms: defaults::max_ms(),
            factor: defaults::factor(),
            jitter: defaults::jitter(),
        }
    }
}

/// What is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be between {min} and {max}")]
pub struct PolicyError {
    /// The field.
    pub field: &'static str,
    /// The least that is allowed.
    pub min: i64,
    /// The most that is allowed.
    pub max: i64,
}

impl RetryPolicy {
    /// The default of endpoints: 5 s, 30 s, 2 min, 10 min, 30 min, 1 h, 2 h, 5 h, 10 h, then every 12 h for 3 days.
    pub fn endpoint() -> Self {
        const SECOND: i64 = 1_000;
        const MINUTE: i64 = 60 * SECOND;
        const HOUR: i64 = 60 * MINUTE;
        let delays_ms = vec![
            5 * SECOND,
            30 * SECOND,
            2 * MINUTE,
            10 * MINUTE,
            30 * MINUTE,
            HOUR,
            2 * HOUR,
            5 * HOUR,
            10 * HOUR,
            12 * HOUR,
        ];
        // Nine delays to reach the twelve-hourly rhythm, six of those in three days, and the first try.
        Self::Schedule {
            attempts_max: 16,
            delays_ms,
        }
    }

    /// The policy of the provider events' built-in handlers (INT-05): 3 tries, 2 s doubling.
    pub fn inbound() -> Self {
        Self::Exponential {
            attempts_max: 3,
            base_ms: 2_000,
            max_ms: 300_000,
            factor: 2.0,
            jitter: 0.1,
        }
    }

    /// How often a job is tried in all.
    pub const fn attempts_max(&self) -> i32 {
        match self {
            Self::Exponential { attempts_max, .. }
            | Self::FullJitter { attempts_max, .. }
            | Self::Schedule { attempts_max, .. } => *attempts_max,
        }
    }

    /// Refuses a policy that could never end or never begin (RTY-06: no unlimited retries).
    pub fn check(&self) -> Result<(), PolicyError> {
        const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
        let within = |field, value: i64, min, max| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(PolicyError { field, min, max })
            }
        };
        within("attempts_max", i64::from(self.attempts_max()), 1, 100)?;
        match self {
            Self::Exponential {
                base_ms,
                max_ms,
                factor,
                jitter,
                ..
            } => {
                within("base_ms", *base_ms, 0, 7 * DAY_MS)?;
                within("max_ms", *max_ms, 0, 7 * DAY_MS)?;
                if !(1.0..=10.0).contains(factor) {
                    return Err(PolicyError {
                        field: "factor",
                        min: 1,
                        max: 10,
                    });
                }
                if !(0.0..=1.0).contains(jitter) {
                    return Err(PolicyError {
                        field: "jitter",
                        min: 0,
                        max: 1,
                    });
                }
                Ok(())
            }
            Self::FullJitter {
                base_ms, max_ms, ..
            } => {
                within("base_ms", *base_ms, 0, 7 * DAY_MS)?;
                within("max_ms", *max_ms, 0, 7 * DAY_MS)
            }
            Self::Schedule { delays_ms, .. } => {
                within("delays_ms.length", delays_ms.len() as i64, 1, 100)?;
                delays_ms
                    .iter()
                    .try_for_each(|delay| within("delays_ms", *delay, 0, 7 * DAY_MS))
            }
        }
    }

    /// The delay after this many tries have failed (1 after the first), in milliseconds.
    pub fn delay_ms(&self, tries: i32, random: &dyn Random) -> i64 {
        let exponent = tries.max(1) - 1;
        match self {
            Self::Exponential {
                base_ms,
                max_ms,
                factor,
                jitter,
                ..
            } => {
                let grown = *base_ms as f64 * factor.powi(exponent);
                let capped = grown.min(*max_ms as f64);
                let spread = capped * jitter * (random.unit() - 0.5);
                (capped + spread).round().max(0.0) as i64
            }
            Self::FullJitter {
                base_ms, max_ms, ..
            } => {
                let grown = base_ms
                    .saturating_mul(1_i64 << exponent.min(32))
                    .min(*max_ms);
                random.below(grown.max(0) as u64 + 1) as i64
            }
            Self::Schedule { delays_ms, .. } => {
                let last = delays_ms.len().saturating_sub(1);
                let delay = delays_ms
                    .get((exponent as usize).min(last))
                    .copied()
                    .unwrap_or(0);
                let spread = delay as f64 * 0.2 * (random.unit() - 0.5);
                (delay as f64 + spread).round().max(0.0) as i64
            }
        }
    }
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again then.
    Retry(Timestamp),
    /// A dead letter.
    Dead,
}

/// Decides what follows a failed try. `tries` counts this one; `retry_after_ms` is what the other side asked for and
/// may only push the next try later (and not beyond a day).
pub fn decide(
    policy: &RetryPolicy,
    category: Category,
    tries: i32,
    retry_after_ms: Option<i64>,
    now: Timestamp,
    random: &dyn Random,
) -> Next {
    if !category.retryable() || tries >= policy.attempts_max() {
        return Next::Dead;
    }
    let own = policy.delay_ms(tries, random);
    let asked = retry_after_ms.unwrap_or(0).clamp(0, RETRY_AFTER_MAX_MS);
    Next::Retry(now.plus_ms(own.max(asked)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SeededRandom;
    use proptest::prelude::*;

    fn policies() -> impl Strategy<Value = RetryPolicy> {
        prop_oneof![
            Just(RetryPolicy::default()),
            Just(RetryPolicy::endpoint()),
            Just(RetryPolicy::inbound()),
            (1..100_i32, 0..100_000_i64, 0..10_000_000_i64).prop_map(
                |(attempts_max, base_ms, max_ms)| RetryPolicy::FullJitter {
                    attempts_max,
                    base_ms,
                    max_ms
                }
            ),
            (1..100_i32, proptest::collection::vec(0..100_000_i64, 1..20)).prop_map(
                |(attempts_max, delays_ms)| RetryPolicy::Schedule {
                    attempts_max,
                    delays_ms
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn every_policy_ends(policy in policies(), seed: u64) {
            prop_assert_eq!(policy.check(), Ok(()));
            let random = SeededRandom::new(seed);
            let mut tries = 0;
            let mut now = Timestamp::EPOCH;
            while tries < 1_000 {
                tries += 1;
                match decide(&policy, Category::Network, tries, None, now, &random) {
                    Next::Retry(at) => {
                        prop_assert!(at >= now);
                        now = at;
                    }
                    Next::Dead => break,
                }
            }
            prop_assert_eq!(tries, policy.attempts_max());
        }

        #[test]
        fn jitter_stays_within_five_percent(seed: u64, tries in 1..30_i32) {
            let random = SeededRandom::new(seed);
            let bare = (1_000.0 * 2_f64.powi(tries - 1)).min(300_000.0);
            let delay = RetryPolicy::default().delay_ms(tries, &random) as f64;
            prop_assert!((delay - bare).abs() <= bare * 0.05 + 1.0);
        }

        #[test]
        fn the_other_side_can_only_push_a_retry_later(seed: u64, asked in 0..200_000_000_i64) {
            let policy = RetryPolicy::default();
            let bare = decide(&policy, Category::RateLimited, 1, None, Timestamp::EPOCH, &SeededRandom::new(seed));
            let after =
                decide(&policy, Category::RateLimited, 1, Some(asked), Timestamp::EPOCH, &SeededRandom::new(seed));
            let (Next::Retry(bare), Next::Retry(after)) = (bare, after) else { panic!("both are retried") };
            prop_assert!(after >= bare);
            prop_assert!(after.ms_since(Timestamp::EPOCH) <= RETRY_AFTER_MAX_MS);
        }
    }

    #[test]
    fn input_that_is_wrong_is_not_tried_again() {
        let random = SeededRandom::new(7);
        let next = decide(
            &RetryPolicy::default(),
            Category::Validation,
            1,
            None,
            Timestamp::EPOCH,
            &random,
        );
        assert_eq!(next, Next::Dead);
    }

    #[test]
    fn the_default_of_endpoints_spans_about_four_days() {
        let random = SeededRandom::new(3);
        let policy = RetryPolicy::endpoint();
        let total: i64 = (1..policy.attempts_max())
            .map(|tries| policy.delay_ms(tries, &random))
            .sum();
        let hours = total as f64 / 3_600_000.0;
        assert!((78.0..102.0).contains(&hours), "{hours} h");
    }
}
