//! A rate, and the bucket that keeps to it: a pure rule in whole numbers.
//!
//! The bucket is a debt of time. Each start owes what one start may take at the rate; time pays it off; nothing starts
//! while more is owed than the burst allows. So between any two moments there are at most `burst` starts and as many
//! more as the rate allows in between, and a bucket is two numbers, however high the rate.

use serde::{Deserialize, Serialize};

use super::settings::SettingError;
use crate::time::Timestamp;

const NANOS_PER_MS: i64 = 1_000_000;
const NANOS_PER_MICRO: i64 = 1_000;
/// The most that any part of a rate counts.
const COUNT_MAX: u32 = 1_000_000;
/// A day, in milliseconds.
const PER_MAX_MS: i64 = 86_400_000;
/// No bucket takes longer to fill than thirty days: its debt is a number of nanoseconds.
const FILL_MAX_MS: i64 = 30 * PER_MAX_MS;

/// How often something may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// So many,
    pub count: u32,
    /// in so many milliseconds.
    #[serde(default = "second")]
    pub per_ms: i64,
    /// So many may begin at once after a pause; 1: they are spread evenly.
    #[serde(default = "one")]
    pub burst: u32,
}

const fn second() -> i64 {
    1_000
}

const fn one() -> u32 {
    1
}

impl Rate {
    /// Refuses what could never let anything begin, or would take for ever to say so.
    pub fn check(&self, field: &'static str) -> Result<(), SettingError> {
        let refuse = |min, max| Err(SettingError { field, min, max });
        if !(1..=COUNT_MAX).contains(&self.count) || !(1..=COUNT_MAX).contains(&self.burst) {
            return refuse(1, i64::from(COUNT_MAX));
        }
        if !(1..=PER_MAX_MS).contains(&self.per_ms) {
            return refuse(1, PER_MAX_MS);
        }
        // More often than every microsecond is no limit that a clock of microseconds could keep.
        if i64::from(self.count) > self.per_ms * 1_000 {
            return refuse(1, (self.per_ms * 1_000).min(i64::from(COUNT_MAX)));
        }
        let most = (FILL_MAX_MS * NANOS_PER_MS / self.each()).min(i64::from(COUNT_MAX));
        if i64::from(self.burst) > most {
            return refuse(1, most);
        }
        Ok(())
    }

    /// What one start owes, in nanoseconds; rounded up, so that the rate is never exceeded.
    const fn each(&self) -> i64 {
        let per = self.per_ms * NANOS_PER_MS;
        let count = self.count as i64;
        (per + count - 1) / count
    }

    /// What may be owed at most, in nanoseconds.
    const fn most(&self) -> i64 {
        self.burst as i64 * self.each()
    }
}

/// What is left of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    at: Timestamp,
    /// Nanoseconds owed at that time.
    debt: i64,
}

impl Bucket {
    /// A bucket from which nothing was taken.
    pub const FULL: Self = Self {
        at: Timestamp::EPOCH,
        debt: 0,
    };

    /// A bucket from which everything had just been taken at this time. Whoever does not know what was taken before
    /// begins with it: then not even together is it more than the rate.
    pub const fn spent(rate: &Rate, at: Timestamp) -> Self {
        Self {
            at,
            debt: rate.most(),
        }
    }

    /// How many may begin now.
    pub fn available(&self, rate: &Rate, now: Timestamp) -> u32 {
        let free = rate.most() - self.owed(now);
        u32::try_from(free.max(0) / rate.each()).unwrap_or(u32::MAX)
    }

    /// Takes one. More than is available is owed all the same.
    pub fn take(&mut self, rate: &Rate, now: Timestamp) {
        self.debt = self.owed(now).saturating_add(rate.each());
        self.at = now;
    }

    /// When the next may begin; `None`: now.
    pub fn next_at(&self, rate: &Rate, now: Timestamp) -> Option<Timestamp> {
        let excess = self.owed(now) + rate.each() - rate.most();
        (excess > 0).then(|| {
            let micros = (excess + NANOS_PER_MICRO - 1) / NANOS_PER_MICRO;
            Timestamp::from_micros(now.micros().saturating_add(micros))
        })
    }

    /// Whether nothing is owed: such a bucket need not be kept.
    pub fn is_full(&self, now: Timestamp) -> bool {
        self.owed(now) == 0
    }

    /// The same under another rate: nobody waits longer than a spent one would.
    #[must_use]
    pub fn adapted(&self, rate: &Rate, now: Timestamp) -> Self {
        Self {
            at: now,
            debt: self.owed(now).min(rate.most()),
        }
    }

    /// The clock was set back: what is owed stays owed, from now on.
    pub fn clock_set_back(&mut self, now: Timestamp) {
        self.at = self.at.min(now);
    }

    /// What is owed at this time. A clock that was set back pays nothing off, and makes nobody wait longer.
    fn owed(&self, now: Timestamp) -> i64 {
        let passed = now.micros().saturating_sub(self.at.micros()).max(0);
        self.debt
            .saturating_sub(passed.saturating_mul(NANOS_PER_MICRO))
            .max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rates() -> impl Strategy<Value = Rate> {
        (1..2_000_u32, 1..120_000_i64, 1..50_u32)
            .prop_map(|(count, per_ms, burst)| Rate {
                count,
                per_ms,
                burst,
            })
            .prop_filter("a rate that is allowed", |rate| rate.check("rate").is_ok())
    }

    /// Takes whenever it is allowed, at these moments, and answers when.
    fn starts(rate: &Rate, mut bucket: Bucket, gaps: &[i64]) -> Vec<i64> {
        let mut now = 1_800_000_000_000_000;
        let mut taken = Vec::new();
        for gap in gaps {
            now += gap;
            while bucket.next_at(rate, Timestamp::from_micros(now)).is_none() {
                bucket.take(rate, Timestamp::from_micros(now));
                taken.push(now);
            }
        }
        taken
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_is_spread() {
        let rate = Rate {
            count: 2,
            per_ms: 1_000,
            burst: 3,
        };
        let mut bucket = Bucket::FULL;
        let now = Timestamp::from_secs(1_000);
        assert_eq!(bucket.available(&rate, now), 3);
        for _ in 0..3 {
            assert_eq!(bucket.next_at(&rate, now), None);
            bucket.take(&rate, now);
        }
        assert_eq!(bucket.available(&rate, now), 0);
        assert_eq!(bucket.next_at(&rate, now), Some(now.plus_ms(500)));
        assert_eq!(bucket.available(&rate, now.plus_ms(1_499)), 2);
        assert!(!bucket.is_full(now.plus_ms(1_499)));
        assert!(bucket.is_full(now.plus_ms(1_500)));
    }

    #[test]
    fn a_clock_that_was_set_back_blocks_for_no_longer_than_is_owed() {
        let rate = Rate {
            count: 1,
            per_ms: 1_000,
            burst: 1,
        };
        let mut bucket = Bucket::FULL;
        bucket.take(&rate, Timestamp::from_secs(100_000));
        let now = Timestamp::from_secs(50_000);
        assert_eq!(bucket.next_at(&rate, now), Some(now.plus_ms(1_000)));
        bucket.clock_set_back(now);
        assert_eq!(bucket.next_at(&rate, now.plus_ms(1_000)), None);
    }

    #[test]
    fn what_no_bucket_could_keep_is_refused() {
        let rate = |count, per_ms, burst| Rate {
            count,
            per_ms,
            burst,
        };
        for wrong in [
            rate(0, 1_000, 1),
            rate(1, 0, 1),
            rate(1, 1_000, 0),
            rate(2_000, 1, 1),
            rate(1, PER_MAX_MS, 31),
            rate(1_000_001, 1_000, 1),
            rate(1, PER_MAX_MS + 1, 1),
        ] {
            assert!(wrong.check("rate").is_err(), "{wrong:?}");
        }
        for right in [rate(1, PER_MAX_MS, 30), rate(1_000, 1, 1_000_000)] {
            assert!(right.check("rate").is_ok(), "{right:?}");
        }
    }

    proptest! {
        /// Whoever takes as soon and as much as it may: in no window more than the burst and what the rate allows.
        #[test]
        fn never_more_than_the_burst_and_the_rate_in_any_window(
            rate in rates(),
            gaps in proptest::collection::vec(0..3_000_000_i64, 1..120),
            spent in any::<bool>(),
        ) {
            let begin = Timestamp::from_micros(1_800_000_000_000_000);
            let bucket = match spent {
                true => Bucket::spent(&rate, begin),
                false => Bucket::FULL,
            };
            let taken = starts(&rate, bucket, &gaps);
            for (at, first) in taken.iter().enumerate() {
                for (ahead, last) in taken[at..].iter().enumerate() {
                    let count = ahead as i128 + 1;
                    let window = i128::from(last - first);
                    let allowed = i128::from(rate.burst)
                        + window * i128::from(rate.count) / (i128::from(rate.per_ms) * 1_000);
                    prop_assert!(count <= allowed, "{count} in {window} µs, {allowed} are allowed");
                }
            }
        }

        /// One that was replaced and the one that knows nothing of it: together no more than one alone.
        #[test]
        fn a_spent_bucket_makes_up_for_what_nobody_remembers(
            rate in rates(),
            before in proptest::collection::vec(0..500_000_i64, 1..40),
            after in proptest::collection::vec(0..500_000_i64, 1..40),
        ) {
            let mut taken = starts(&rate, Bucket::FULL, &before);
            let begin: i64 = 1_800_000_000_000_000 + before.iter().sum::<i64>();
            let mut now = begin;
            let mut bucket = Bucket::spent(&rate, Timestamp::from_micros(begin));
            for gap in after {
                now += gap;
                while bucket.next_at(&rate, Timestamp::from_micros(now)).is_none() {
                    bucket.take(&rate, Timestamp::from_micros(now));
                    taken.push(now);
                }
            }
            if let (Some(first), Some(last)) = (taken.first(), taken.last()) {
                let allowed = i128::from(rate.burst)
                    + i128::from(last - first) * i128::from(rate.count)
                        / (i128::from(rate.per_ms) * 1_000);
                prop_assert!(taken.len() as i128 <= allowed);
            }
        }

        /// It says when, and then it is so; a microsecond before it is not.
        #[test]
        fn what_it_says_is_when_it_may(
            rate in rates(),
            takes in proptest::collection::vec(0..200_000_i64, 1..60),
            back in 0..100_000_000_i64,
        ) {
            let mut now = 1_800_000_000_000_000;
            let mut bucket = Bucket::FULL;
            for gap in takes {
                now += gap;
                bucket.take(&rate, Timestamp::from_micros(now));
                now -= if gap % 7 == 0 { back } else { 0 };
                let at = Timestamp::from_micros(now);
                bucket.clock_set_back(at);
                match bucket.next_at(&rate, at) {
                    None => prop_assert!(bucket.available(&rate, at) > 0),
                    Some(next) => {
                        prop_assert_eq!(bucket.available(&rate, at), 0);
                        prop_assert!(bucket.available(&rate, next) > 0);
                        let before = Timestamp::from_micros(next.micros() - 1);
                        prop_assert_eq!(bucket.available(&rate, before), 0);
                    }
                }
            }
        }
    }
}
