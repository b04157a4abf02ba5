//! A clock that stands still until it is told.

use std::sync::atomic::{AtomicI64, Ordering};

use mainstay_domain::{Clock, Timestamp};

/// A clock that stands still until it is told. Shared as `Arc<TestClock>`.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    /// A clock that shows this.
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.micros()))
    }

    /// Sets it; also backwards, as real clocks are.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.micros(), Ordering::SeqCst);
    }

    /// Moves it on.
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms * 1_000, Ordering::SeqCst);
    }
}

impl Default for TestClock {
    /// A morning in 2026.
    fn default() -> Self {
        Self::at(Timestamp::from_secs(1_790_000_000))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}
