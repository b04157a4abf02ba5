//! What an endpoint can be told: the JSON in [`super::Endpoint::settings`], and its bounds.

use serde::{Deserialize, Serialize};

use super::{breaker::BreakerPolicy, retry::RetryPolicy};

/// How requests to an endpoint are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signing {
    /// The provider's payload, signed by us as Standard Webhooks asks.
    #[default]
    StandardWebhooks,
    /// The provider's own body and headers, unchanged, so that an existing handler works as it is.
    Original,
}

/// The settings of an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointSettings {
    /// How requests are signed.
    pub signing: Signing,
    /// Bound on connecting, TLS included.
    pub connect_timeout_ms: u64,
    /// Bound on the whole call.
    pub timeout_ms: u64,
    /// How many requests may be under way at once.
    pub max_in_flight: u32,
    /// When a job is tried again.
    pub retry: RetryPolicy,
    /// When the breaker opens.
    pub breaker: BreakerPolicy,
    /// The dependency whose breaker it shares; `None`: one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dependency: Option<String>,
}

impl Default for EndpointSettings {
    fn default() -> Self {
        Self {
            signing: Signing::default(),
            connect_timeout_ms: 5_000,
            timeout_ms: 15_000,
            max_in_flight: 16,
            retry: RetryPolicy::endpoint(),
            breaker: BreakerPolicy::default(),
            dependency: None,
        }
    }
}

/// A setting outside its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be between {min} and {max}")]
pub struct SettingError {
    /// The field.
    pub field: &'static str,
    /// The least that is allowed.
    pub min: i64,
    /// The most that is allowed.
    pub max: i64,
}

impl EndpointSettings {
    /// Refuses what could never work or never end.
    pub fn check(&self) -> Result<(), SettingError> {
        let within = |field, value: i64, min, max| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(SettingError { field, min, max })
            }
        };
        within(
            "connect_timeout_ms",
            self.connect_timeout_ms.min(i64::MAX as u64) as i64,
            100,
            60_000,
        )?;
        within(
            "timeout_ms",
            self.timeout_ms.min(i64::MAX as u64) as i64,
            100,
            120_000,
        )?;
        within("max_in_flight", self.max_in_flight.into(), 1, 1_000)?;
        let breaker = &self.breaker;
        let percent = |field, value: u32| within(field, value.into(), 1, 100);
        within(
            "breaker.failures_to_open",
            breaker.failures_to_open.into(),
            1,
            10_000,
        )?;
        if let Some(value) = breaker.failed_percent {
            percent("breaker.failed_percent", value)?;
        }
        if let Some(slow_ms) = breaker.slow_ms {
            within("breaker.slow_ms", slow_ms, 1, 120_000)?;
        }
        percent("breaker.slow_percent", breaker.slow_percent)?;
        within("breaker.calls_min", breaker.calls_min.into(), 1, 10_000)?;
        within("breaker.window_ms", breaker.window_ms, 1_000, 3_600_000)?;
        within("breaker.pause_ms", breaker.pause_ms, 10, 3_600_000)?;
        within("breaker.pause_max_ms", breaker.pause_max_ms, 10, 86_400_000)?;
        within("breaker.probes", breaker.probes.into(), 1, 100)?;
        self.retry.check().map_err(|error| SettingError {
            field: error.field,
            min: error.min,
            max: error.max,
        })
    }
}
