//! Rates: how much may come in, as one number that says when everything so far would have been due (the generic cell rate
//! algorithm). A bucket with tokens, without a bucket: what is kept is a time, so that one atomic number is all of it.

use crate::time::Timestamp;

/// The fastest rate that can be said, in a second.
pub const PER_SECOND_MAX: u32 = 100_000;
/// The largest burst that can be said.
pub const BURST_MAX: u32 = 1_000_000;

/// So many in a second, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    interval_nanos: i64,
    burst: i64,
}

/// When everything that was taken would have been due at the rate, in nanoseconds since 1970. 0: nothing was taken.
pub type Due = i64;

impl Rate {
    /// So many in a minute, and so many at once; at least one of each.
    pub fn per_minute(count: u32, burst: u32) -> Self {
        Self::every(60_000_000_000 / i64::from(count.max(1)), burst)
    }

    /// So many in a second, and so many at once; at least one of each.
    pub fn per_second(count: u32, burst: u32) -> Self {
        Self::every(1_000_000_000 / i64::from(count.max(1)), burst)
    }

    fn every(interval_nanos: i64, burst: u32) -> Self {
        Self {
            interval_nanos: interval_nanos.max(1),
            burst: i64::from(burst.max(1)),
        }
    }

    /// Takes one. Answers what is due then, or for how many nanoseconds there is none.
    pub fn take(self, due: Due, now: Timestamp) -> Result<Due, i64> {
        let now = nanos(now);
        let due = self.settled(due, now);
        match due - now - (self.burst - 1) * self.interval_nanos {
            wait if wait > 0 => Err(wait),
            _ => Ok(due + self.interval_nanos),
        }
    }

    /// For how many nanoseconds there is none; 0: there is.
    pub fn wait(self, due: Due, now: Timestamp) -> i64 {
        self.take(due, now).err().unwrap_or_default()
    }

    /// Takes one although there may be none; never more than all of the burst is owed, so that it ends in time.
    pub fn spend(self, due: Due, now: Timestamp) -> Due {
        let now = nanos(now);
        let most = now + self.burst * self.interval_nanos;
        (self.settled(due, now) + self.interval_nanos).min(most)
    }

    /// What is past is not owed, and nobody owes more than all at once: then the clock went back.
    fn settled(self, due: Due, now: i64) -> Due {
        match due - now {
            owed if owed > (self.burst + 1) * self.interval_nanos => now,
            owed if owed < 0 => now,
            _ => due,
        }
    }
}

/// The time in nanoseconds.
pub const fn nanos(at: Timestamp) -> i64 {
    at.micros().saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn taken(rate: Rate, due: &mut Due, now: Timestamp, tries: usize) -> usize {
        let took = |_: &usize| match rate.take(*due, now) {
            Ok(next) => {
                *due = next;
                true
            }
            Err(_) => false,
        };
        (0..tries).filter(took).count()
    }

    #[test]
    fn a_burst_passes_at_once_and_then_the_rate() {
        let (rate, mut due) = (Rate::per_second(10, 5), 0);
        assert_eq!(taken(rate, &mut due, START, 100), 5);
        assert_eq!(rate.take(due, START), Err(100_000_000));
        assert_eq!(taken(rate, &mut due, START.plus_ms(100), 100), 1);
        assert_eq!(taken(rate, &mut due, START.plus_ms(1_100), 100), 5);
    }

    #[test]
    fn what_is_spent_beyond_all_is_owed_once() {
        let (rate, mut due) = (Rate::per_minute(60, 3), 0);
        for _ in 0..1_000 {
            due = rate.spend(due, START);
        }
        assert!(rate.wait(due, START) > 0);
        assert_eq!(rate.wait(due, START.plus_ms(1_000)), 0);
    }

    #[test]
    fn a_clock_that_goes_back_locks_nobody_out() {
        let (rate, mut due) = (Rate::per_second(10, 5), 0);
        assert_eq!(taken(rate, &mut due, START, 100), 5);
        let before = START.minus_ms(3_600_000);
        assert_eq!(taken(rate, &mut due, before, 100), 5);
    }

    #[test]
    fn over_any_time_no_more_pass_than_the_rate_and_one_burst() {
        let (rate, mut due) = (Rate::per_second(50, 20), 0);
        let all: usize = (0..10_000)
            .map(|ms| taken(rate, &mut due, START.plus_ms(ms), 3))
            .sum();
        assert!((500..=520).contains(&all), "{all}");
    }
}
