//! Pauses after the store failed, so that a store in trouble is not asked without end.

use mainstay_domain::Timestamp;

use super::limits::Limits;

/// Whether the store may be asked.
#[derive(Debug, Default)]
pub(super) struct Outage {
    failures: u32,
    until: Option<Timestamp>,
}

impl Outage {
    /// The store failed: nothing more is asked of it for a while, longer each time.
    pub(super) fn failed(&mut self, now: Timestamp, limits: &Limits) {
        let pause = limits
            .backoff_ms
            .saturating_mul(1 << self.failures.min(16))
            .min(limits.backoff_max_ms);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now.plus_ms(pause));
    }

    /// The store answered. What was asked before a failure may be answered after it: only time ends a pause.
    pub(super) fn answered(&mut self) {
        if self.until.is_none() {
            self.failures = 0;
        }
    }

    /// Whether the store must be left alone.
    pub(super) fn holds(&mut self, now: Timestamp) -> bool {
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
        }
        self.until.is_some()
    }

    /// When the pause ends.
    pub(super) fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// No pause is longer than the longest, whatever the clock does.
    pub(super) fn clock_set_back(&mut self, now: Timestamp, limits: &Limits) {
        let latest = now.plus_ms(limits.backoff_max_ms);
        self.until = self.until.map(|until| until.min(latest));
    }
}
