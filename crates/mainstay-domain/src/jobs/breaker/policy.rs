//! When a breaker opens, and how it closes again.

use serde::{Deserialize, Serialize};

/// What becomes of jobs that could begin while a breaker is open by its own rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenOpen {
    /// They wait, and use up no try.
    #[default]
    Wait,
    /// They are dead letters at once. Nothing is sent.
    Fail,
}

/// When a breaker opens, and how it closes again. The defaults are those of the requirement (CBK-01): five failures one
/// after the other, a minute, three probes. The shares are off: they say something only of a dependency that is called often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerPolicy {
    /// Consecutive failures that open it.
    pub failures_to_open: u32,
    /// The share of the calls in the window that opens it when they failed, in percent; `None`: no share does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_percent: Option<u32>,
    /// A call that takes longer is slow, in milliseconds; `None`: none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_ms: Option<i64>,
    /// The share of the calls in the window that opens it when they were slow, in percent.
    pub slow_percent: u32,
    /// No share opens it before there were so many calls in the window.
    pub calls_min: u32,
    /// The window of the shares, in milliseconds.
    pub window_ms: i64,
    /// The first pause before probes, in milliseconds. It doubles each time that a probe fails.
    pub pause_ms: i64,
    /// No pause is longer than this, in milliseconds.
    pub pause_max_ms: i64,
    /// So many probes may be under way at a time, in the whole cluster, and so many must succeed.
    pub probes: u32,
    /// What becomes of jobs while it is open.
    pub when_open: WhenOpen,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            failures_to_open: 5,
            failed_percent: None,
            slow_ms: None,
            slow_percent: 80,
            calls_min: 20,
            window_ms: 60_000,
            pause_ms: 60_000,
            pause_max_ms: 300_000,
            probes: 3,
            when_open: WhenOpen::Wait,
        }
    }
}

impl BreakerPolicy {
    /// Whether a call that took so long was slow.
    pub fn is_slow(&self, took_ms: i64) -> bool {
        self.slow_ms.is_some_and(|slow_ms| took_ms > slow_ms)
    }

    /// Whether any share opens it, so that calls must be counted.
    pub const fn counts_calls(&self) -> bool {
        self.failed_percent.is_some() || self.slow_ms.is_some()
    }

    /// The pause after so many times that a probe failed, in milliseconds.
    pub fn pause_after(&self, probes_failed: u32) -> i64 {
        let doubled = self.pause_ms.saturating_mul(1 << probes_failed.min(20));
        doubled.min(self.pause_max_ms.max(self.pause_ms))
    }
}
