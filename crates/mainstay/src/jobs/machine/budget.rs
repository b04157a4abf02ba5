//! The retry budget of a queue (RTY-06): of the tries begun in the last minute only a part may be retries.
//!
//! It bounds how much a failing dependency can multiply its own load. Retries beyond it wait; none is dropped.

use mainstay_domain::Timestamp;

const SLOTS: usize = 6;
const SLOT_SECS: i64 = 10;
/// Retries that may begin in a minute whatever else happens.
const RETRIES_FREE: u32 = 100;
/// One retry more for so many first tries.
const FIRST_TRIES_PER_RETRY: u32 = 5;

/// What began in the last minute, in slots of ten seconds.
#[derive(Debug, Default)]
pub(super) struct Budget {
    slot: i64,
    first: [u32; SLOTS],
    again: [u32; SLOTS],
}

impl Budget {
    /// Whether a retry may begin.
    pub(super) fn allows(&mut self, now: Timestamp) -> bool {
        self.turn(now);
        let first: u32 = self.first.iter().sum();
        let again: u32 = self.again.iter().sum();
        again < RETRIES_FREE + first / FIRST_TRIES_PER_RETRY
    }

    /// A try began.
    pub(super) fn spend(&mut self, now: Timestamp, again: bool) {
        self.turn(now);
        let slot = self.slot.rem_euclid(SLOTS as i64) as usize;
        let counts = if again {
            &mut self.again
        } else {
            &mut self.first
        };
        counts[slot] = counts[slot].saturating_add(1);
    }

    /// When more may be allowed than now.
    pub(super) fn next_at(&self) -> Timestamp {
        Timestamp::from_secs((self.slot + 1) * SLOT_SECS)
    }

    fn turn(&mut self, now: Timestamp) {
        let slot = now.secs().div_euclid(SLOT_SECS);
        // A clock that was set back starts a new slot of the same counts: the budget gets no larger by it.
        let passed = (slot - self.slot).clamp(0, SLOTS as i64);
        for step in 1..=passed {
            let index = (slot - passed + step).rem_euclid(SLOTS as i64) as usize;
            self.first[index] = 0;
            self.again[index] = 0;
        }
        self.slot = slot;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_bounded_by_first_tries_and_the_bound_moves_on_with_time() {
        let mut budget = Budget::default();
        let mut now = Timestamp::from_secs(1_000);
        for _ in 0..RETRIES_FREE {
            assert!(budget.allows(now));
            budget.spend(now, true);
        }
        assert!(!budget.allows(now));
        for _ in 0..FIRST_TRIES_PER_RETRY {
            budget.spend(now, false);
        }
        assert!(budget.allows(now));
        budget.spend(now, true);
        assert!(!budget.allows(now));
        now = now.plus_ms(60_000);
        assert!(budget.allows(now));
    }

    #[test]
    fn a_clock_set_back_does_not_block_it_for_ever() {
        let mut budget = Budget::default();
        for _ in 0..RETRIES_FREE {
            budget.spend(Timestamp::from_secs(100_000), true);
        }
        let now = Timestamp::from_secs(50_000);
        assert!(!budget.allows(now));
        assert!(budget.next_at() <= now.plus_ms(SLOT_SECS * 1_000));
        assert!(budget.allows(now.plus_ms(61_000)));
    }
}
