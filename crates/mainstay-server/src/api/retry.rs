//! Retry policies in the API: the domain's own form, described.

use mainstay_domain::jobs::retry::RetryPolicy;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::Problem;

/// When to try again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "strategy", rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = RetryPolicy)]
pub(crate) enum Retry {
    /// Growing delays with a little jitter.
    Exponential {
        /// How often a job is tried in all.
        #[serde(default = "attempts_max")]
        #[schema(minimum = 1, maximum = 100)]
        attempts_max: i32,
        /// The first delay, in milliseconds.
        #[serde(default = "base_ms")]
        #[schema(minimum = 0, maximum = 604800000)]
        base_ms: i64,
        /// No delay is longer than this, in milliseconds.
        #[serde(default = "max_ms")]
        #[schema(minimum = 0, maximum = 604800000)]
        max_ms: i64,
        /// By what the delay grows.
        #[serde(default = "factor")]
        #[schema(minimum = 1, maximum = 10)]
        factor: f64,
        /// The whole width of the jitter as a share of the delay.
        #[serde(default = "jitter")]
        #[schema(minimum = 0, maximum = 1)]
        jitter: f64,
    },
    /// Growing delays, at a random point between nothing and the whole.
    FullJitter {
        /// How often a job is tried in all.
        #[schema(minimum = 1, maximum = 100)]
        attempts_max: i32,
        /// The first delay, in milliseconds.
        #[schema(minimum = 0, maximum = 604800000)]
        base_ms: i64,
        /// No delay is longer than this, in milliseconds.
        #[schema(minimum = 0, maximum = 604800000)]
        max_ms: i64,
    },
    /// These delays one after the other, the last one repeated.
    Schedule {
        /// How often a job is tried in all.
        #[schema(minimum = 1, maximum = 100)]
        attempts_max: i32,
        /// The delays, in milliseconds.
        #[schema(value_type = Vec<DelayMs>, min_items = 1, max_items = 100)]
        delays_ms: Vec<i64>,
    },
}

const fn attempts_max() -> i32 {
    5
}
const fn base_ms() -> i64 {
    1_000
}
const fn max_ms() -> i64 {
    300_000
}
const fn factor() -> f64 {
    2.0
}
const fn jitter() -> f64 {
    0.1
}

/// A delay as the document describes it, in milliseconds.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described, never made")]
#[schema(minimum = 0, maximum = 604800000)]
pub(crate) struct DelayMs(i64);

impl Retry {
    /// The policy, checked.
    pub(crate) fn policy(&self, pointer: &str) -> Result<RetryPolicy, Problem> {
        let policy: RetryPolicy = serde_json::to_value(self)
            .and_then(serde_json::from_value)
            .map_err(|error| Problem::field(pointer, error.to_string()))?;
        match policy.check() {
            Ok(()) => Ok(policy),
            Err(error) => Err(Problem::field(
                format!("{pointer}/{}", error.field),
                format!("must be between {} and {}", error.min, error.max),
            )),
        }
    }
}

impl From<&RetryPolicy> for Retry {
    fn from(policy: &RetryPolicy) -> Self {
        match policy.clone() {
            RetryPolicy::Exponential {
                attempts_max,
                base_ms,
                max_ms,
                factor,
                jitter,
            } => Self::Exponential {
                attempts_max,
                base_ms,
                max_ms,
                factor,
                jitter,
            },
            RetryPolicy::FullJitter {
                attempts_max,
                base_ms,
                max_ms,
            } => Self::FullJitter {
                attempts_max,
                base_ms,
                max_ms,
            },
            RetryPolicy::Schedule {
                attempts_max,
                delays_ms,
            } => Self::Schedule {
                attempts_max,
                delays_ms,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_described_form_is_the_domains_own() {
        for policy in [
            RetryPolicy::default(),
            RetryPolicy::endpoint(),
            RetryPolicy::inbound(),
        ] {
            let shown = Retry::from(&policy);
            assert_eq!(
                serde_json::to_value(&shown).ok(),
                serde_json::to_value(&policy).ok()
            );
            assert_eq!(shown.policy("/retry"), Ok(policy));
        }
        let defaults: Retry =
            serde_json::from_str(r#"{"strategy":"exponential"}"#).expect("all has a default");
        assert_eq!(defaults.policy("/retry"), Ok(RetryPolicy::default()));
    }
}
