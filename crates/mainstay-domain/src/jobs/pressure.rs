//! When a queue has so much to do that who submits is told to come again later.
//!
//! It goes by what the engine counts anyway, as of a moment ago: what is submitted in that moment comes on top.

use serde::{Deserialize, Serialize};

use super::QueueLimits;
use crate::time::Timestamp;

/// Whoever was refused is told to come again after so many seconds at the least,
pub const RETRY_AFTER_SECS_MIN: i64 = 1;
/// and at the most.
pub const RETRY_AFTER_SECS_MAX: i64 = 300;

/// How a queue stands beside its limits on what may wait. Only of one that has such limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pressure {
    /// So many may wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_waiting: Option<i64>,
    /// So old may the oldest get that waits, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_secs: Option<i64>,
    /// Jobs that could be started.
    pub waiting: i64,
    /// When the oldest of them was made that was never tried and has no time of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
    /// So many came to an end,
    pub ended: i64,
    /// in so many milliseconds; 0 while nothing did.
    pub over_ms: i64,
}

/// Why a queue takes no more jobs of people for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Too many wait.
    Waiting {
        /// So many,
        waiting: i64,
        /// of so many.
        most: i64,
    },
    /// The oldest has waited for too long.
    Age {
        /// For so many seconds,
        secs: i64,
        /// of so many.
        most: i64,
    },
}

impl Pressure {
    /// How it is to be reckoned with, if the limits say so.
    pub fn of(limits: &QueueLimits, waiting: i64, oldest: Option<Timestamp>) -> Option<Self> {
        limits.bounds_waiting().then(|| Self {
            max_waiting: limits.max_waiting.map(i64::from),
            max_age_secs: limits.max_age_secs.map(i64::from),
            waiting,
            oldest,
            ..Self::default()
        })
    }

    /// Which limit is reached, if one is. The one on depth is named first.
    pub fn full(&self, now: Timestamp) -> Option<Full> {
        if let Some(most) = self.max_waiting
            && self.waiting >= most
        {
            let waiting = self.waiting;
            return Some(Full::Waiting { waiting, most });
        }
        let (most, secs) = (self.max_age_secs?, self.age_secs(now)?);
        (secs > most).then_some(Full::Age { secs, most })
    }

    /// When there is room again at the pace at which jobs end, in seconds.
    pub fn retry_after_secs(&self, full: Full, now: Timestamp) -> i64 {
        let excess = match full {
            Full::Waiting { waiting, most } => waiting.saturating_sub(most).saturating_add(1),
            // As if what waits had come evenly: the part of it that is too old.
            Full::Age { most, .. } => {
                let age = self.age_secs(now).unwrap_or_default().max(1);
                let part = self.waiting.max(1).saturating_mul((age - most).max(0)) / age;
                part.saturating_add(1)
            }
        };
        if self.ended <= 0 || self.over_ms <= 0 {
            return RETRY_AFTER_SECS_MAX;
        }
        let ms = excess.saturating_mul(self.over_ms) / self.ended;
        let secs = ms.saturating_add(999) / 1_000;
        secs.clamp(RETRY_AFTER_SECS_MIN, RETRY_AFTER_SECS_MAX)
    }

    /// For how long the oldest has waited, in seconds.
    pub fn age_secs(&self, now: Timestamp) -> Option<i64> {
        let oldest = self.oldest?;
        Some(now.ms_since(oldest).max(0) / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn limits(max_waiting: Option<u32>, max_age_secs: Option<u32>) -> QueueLimits {
        QueueLimits {
            max_waiting,
            max_age_secs,
            ..QueueLimits::default()
        }
    }

    fn pressure(max_waiting: Option<u32>, max_age_secs: Option<u32>, waiting: i64) -> Pressure {
        let oldest = Some(NOW.minus_ms(60_000));
        Pressure::of(&limits(max_waiting, max_age_secs), waiting, oldest).expect("a limit")
    }

    #[test]
    fn a_queue_without_such_limits_is_never_full() {
        assert_eq!(Pressure::of(&limits(None, None), i64::MAX, None), None);
    }

    #[test]
    fn a_queue_is_full_when_as_many_wait_as_may() {
        assert_eq!(pressure(Some(10), None, 9).full(NOW), None);
        let full = pressure(Some(10), None, 10).full(NOW);
        assert_eq!(
            full,
            Some(Full::Waiting {
                waiting: 10,
                most: 10
            })
        );
    }

    #[test]
    fn a_queue_is_full_when_the_oldest_has_waited_for_longer_than_it_may() {
        assert_eq!(pressure(None, Some(60), 1).full(NOW), None);
        let full = pressure(None, Some(59), 1).full(NOW);
        assert_eq!(full, Some(Full::Age { secs: 60, most: 59 }));
        let nothing = Pressure {
            oldest: None,
            ..pressure(None, Some(59), 0)
        };
        assert_eq!(nothing.full(NOW), None, "nothing waits");
    }

    #[test]
    fn the_pause_is_what_the_excess_takes_at_the_pace_of_late() {
        let busy = Pressure {
            ended: 600,
            over_ms: 60_000,
            ..pressure(Some(100), None, 199)
        };
        let full = busy.full(NOW).expect("full");
        assert_eq!(busy.retry_after_secs(full, NOW), 10, "100 at 10 a second");
        let old = Pressure {
            ended: 600,
            over_ms: 60_000,
            ..pressure(None, Some(30), 400)
        };
        let full = old.full(NOW).expect("full");
        assert_eq!(
            old.retry_after_secs(full, NOW),
            21,
            "half of 400 at 10 a second"
        );
        let idle = pressure(Some(100), None, 199);
        let full = idle.full(NOW).expect("full");
        assert_eq!(idle.retry_after_secs(full, NOW), RETRY_AFTER_SECS_MAX);
    }

    proptest! {
        #[test]
        fn the_pause_is_bounded_whatever_was_counted(
            waiting in any::<i64>(), most in any::<u32>(), age in any::<u32>(), ended in any::<i64>(), over_ms in any::<i64>(),
            oldest in any::<i64>(), now in any::<i64>(),
        ) {
            let now = Timestamp::from_micros(now);
            let oldest = Some(Timestamp::from_micros(oldest));
            let known = Pressure::of(&limits(Some(most), Some(age)), waiting, oldest).expect("limits");
            let known = Pressure { ended, over_ms, ..known };
            if let Some(full) = known.full(now) {
                let secs = known.retry_after_secs(full, now);
                prop_assert!((RETRY_AFTER_SECS_MIN..=RETRY_AFTER_SECS_MAX).contains(&secs));
            }
        }
    }
}
