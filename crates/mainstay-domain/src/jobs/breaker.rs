//! The circuit breaker of one dependency: a pure rule over its own few numbers.
//!
//! Consecutive failures open it; while it is open nothing is started and no attempt is used up; after a pause one probe
//! at a time is let through; enough successes close it. Kept in the store over restarts.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// When a breaker opens, and how it closes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerPolicy {
    /// Consecutive failures that open it.
    pub failures_to_open: u32,
    /// The first pause before a probe, in milliseconds. It doubles with every probe that fails.
    pub pause_ms: i64,
    /// No pause is longer than this, in milliseconds.
    pub pause_max_ms: i64,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            failures_to_open: 10,
            pause_ms: 5_000,
            pause_max_ms: 300_000,
        }
    }
}

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Everything passes.
    #[default]
    Closed,
    /// Nothing passes until the probe is due.
    Open,
    /// One probe is under way.
    HalfOpen,
}

impl BreakerState {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// The circuit breaker of one dependency.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Breaker {
    /// Where it stands.
    pub state: BreakerState,
    /// Consecutive failures.
    pub failures: u32,
    /// Probes that failed since it opened.
    pub probes_failed: u32,
    /// When it opened.
    pub opened_at: Option<Timestamp>,
    /// When a probe is due.
    pub probe_at: Option<Timestamp>,
    /// What the last failure said.
    pub last_error: Option<String>,
}

/// What a breaker's owner must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It opened: the dependency is down.
    Opened,
    /// It closed: the dependency is back.
    Closed,
}

impl Breaker {
    /// How many attempts may be under way at `now`: `None` for no limit of the breaker's.
    pub fn allowance(&self, now: Timestamp) -> Option<u32> {
        match self.state {
            BreakerState::Closed => None,
            BreakerState::Open if self.probe_at.is_some_and(|at| at <= now) => Some(1),
            BreakerState::Open => Some(0),
            BreakerState::HalfOpen => Some(1),
        }
    }

    /// An attempt begins.
    pub fn started(&mut self) {
        if self.state == BreakerState::Open {
            self.state = BreakerState::HalfOpen;
        }
    }

    /// An attempt reached the dependency and was answered as it should.
    pub fn succeeded(&mut self) -> Option<Turn> {
        let was_closed = self.state == BreakerState::Closed;
        *self = Self::default();
        (!was_closed).then_some(Turn::Closed)
    }

    /// An attempt failed in a way that says something about the dependency.
    pub fn failed(&mut self, policy: &BreakerPolicy, now: Timestamp, error: &str) -> Option<Turn> {
        self.failures = self.failures.saturating_add(1);
        self.last_error = Some(error.to_owned());
        match self.state {
            BreakerState::Closed if self.failures < policy.failures_to_open.max(1) => None,
            BreakerState::Closed => {
                self.state = BreakerState::Open;
                self.opened_at = Some(now);
                self.probe_at = Some(now.plus_ms(policy.pause_ms));
                Some(Turn::Opened)
            }
            // Attempts that began before it opened end here as well: they must not push the probe away.
            BreakerState::Open => None,
            BreakerState::HalfOpen => {
                self.state = BreakerState::Open;
                self.probes_failed = self.probes_failed.saturating_add(1);
                let pause = policy
                    .pause_ms
                    .saturating_mul(1 << self.probes_failed.min(20))
                    .min(policy.pause_max_ms);
                self.probe_at = Some(now.plus_ms(pause));
                None
            }
        }
    }

    /// A probe ended without saying anything about the dependency (cancelled, its process died).
    pub fn abandoned(&mut self, now: Timestamp) {
        if self.state == BreakerState::HalfOpen {
            self.state = BreakerState::Open;
            self.probe_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: BreakerPolicy = BreakerPolicy {
        failures_to_open: 3,
        pause_ms: 1_000,
        pause_max_ms: 8_000,
    };

    fn open() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            breaker.failed(&POLICY, Timestamp::EPOCH, "refused");
        }
        breaker
    }

    #[test]
    fn consecutive_failures_open_it_and_a_success_between_does_not() {
        let mut breaker = Breaker::default();
        for _ in 0..2 {
            assert_eq!(breaker.failed(&POLICY, Timestamp::EPOCH, "refused"), None);
        }
        assert_eq!(breaker.succeeded(), None);
        for _ in 0..2 {
            assert_eq!(breaker.failed(&POLICY, Timestamp::EPOCH, "refused"), None);
        }
        assert_eq!(
            breaker.failed(&POLICY, Timestamp::EPOCH, "refused"),
            Some(Turn::Opened)
        );
        assert_eq!(breaker.allowance(Timestamp::EPOCH), Some(0));
    }

    #[test]
    fn after_the_pause_one_probe_passes_and_its_success_closes_it() {
        let mut breaker = open();
        assert_eq!(breaker.allowance(Timestamp::EPOCH.plus_ms(1_000)), Some(1));
        breaker.started();
        assert_eq!(breaker.state, BreakerState::HalfOpen);
        assert_eq!(breaker.succeeded(), Some(Turn::Closed));
        assert_eq!(breaker.allowance(Timestamp::EPOCH), None);
    }

    #[test]
    fn every_failed_probe_doubles_the_pause_up_to_its_bound() {
        let mut breaker = open();
        let mut now = Timestamp::EPOCH;
        let mut pauses = Vec::new();
        for _ in 0..5 {
            now = breaker.probe_at.expect("an open breaker has a probe");
            breaker.started();
            breaker.failed(&POLICY, now, "refused");
            pauses.push(breaker.probe_at.expect("open again").ms_since(now));
        }
        assert_eq!(pauses, [2_000, 4_000, 8_000, 8_000, 8_000]);
        assert!(breaker.allowance(now) == Some(0));
    }

    proptest! {
        #[test]
        fn a_breaker_that_is_not_closed_never_lets_two_through(steps in proptest::collection::vec(0..4_u8, 0..60)) {
            let mut breaker = Breaker::default();
            let mut now = Timestamp::EPOCH;
            for step in steps {
                match step {
                    0 => drop(breaker.failed(&POLICY, now, "refused")),
                    1 => drop(breaker.succeeded()),
                    2 => breaker.abandoned(now),
                    _ => now = now.plus_ms(700),
                }
                let allowance = breaker.allowance(now);
                prop_assert_eq!(breaker.state == BreakerState::Closed, allowance.is_none());
                prop_assert!(allowance.unwrap_or(0) <= 1);
                if allowance == Some(1) && breaker.state == BreakerState::Open {
                    breaker.started();
                }
            }
        }
    }
}
