//! How fast a queue fills and empties: what was made and what came to an end in the last minute, as it is counted anyway.

use mainstay_domain::{Timestamp, jobs::QueueTally};
use serde::Serialize;

const SLOTS: usize = 6;
const SLOT_SECS: i64 = 10;

/// What was counted in the last minute, in slots of ten seconds.
#[derive(Debug, Default)]
pub(super) struct Pace {
    slot: i64,
    made: [i64; SLOTS],
    ended: [i64; SLOTS],
    made_before: i64,
    ended_before: i64,
    known: bool,
}

/// The pace of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PaceSnapshot {
    /// Jobs made,
    pub made: i64,
    /// and jobs that have come to an end,
    pub ended: i64,
    /// in so many milliseconds; 0 when there were none.
    pub over_ms: i64,
}

impl Pace {
    /// The counters as they are now, soon after they have changed.
    pub(super) fn note(&mut self, now: Timestamp, tally: &QueueTally) {
        let ended = tally.done + tally.cancelled + tally.dead - tally.revived;
        let (made, ended_now) = (tally.created - self.made_before, ended - self.ended_before);
        (self.made_before, self.ended_before) = (tally.created, ended);
        // What a predecessor has counted says nothing about now.
        if !std::mem::replace(&mut self.known, true) {
            return;
        }
        self.turn(now);
        let slot = index(self.slot);
        self.made[slot] += made.max(0);
        self.ended[slot] += ended_now.max(0);
    }

    /// The pace of the last minute, or of what of it there was anything to do.
    pub(super) fn shown(&self, now: Timestamp) -> PaceSnapshot {
        let current = now.secs().div_euclid(SLOT_SECS);
        let slots = (current - SLOTS as i64 + 1)..=current;
        let live = slots.filter(|slot| *slot <= self.slot && *slot > self.slot - SLOTS as i64);
        let busy = live.filter(|slot| self.made[index(*slot)] + self.ended[index(*slot)] > 0);
        let mut pace = PaceSnapshot::default();
        for slot in busy {
            if pace.over_ms == 0 {
                pace.over_ms = now.ms_since(Timestamp::from_secs(slot * SLOT_SECS)).max(1);
            }
            pace.made += self.made[index(slot)];
            pace.ended += self.ended[index(slot)];
        }
        pace
    }

    fn turn(&mut self, now: Timestamp) {
        let slot = now.secs().div_euclid(SLOT_SECS);
        let passed = slot - self.slot;
        if passed == 0 {
            return;
        }
        for at in 0..passed.unsigned_abs().min(SLOTS as u64) as i64 {
            let index = index(slot - at);
            (self.made[index], self.ended[index]) = (0, 0);
        }
        self.slot = slot;
    }
}

const fn index(slot: i64) -> usize {
    slot.rem_euclid(SLOTS as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(created: i64, done: i64) -> QueueTally {
        QueueTally {
            created,
            done,
            ..QueueTally::default()
        }
    }

    #[test]
    fn the_pace_is_that_of_the_last_minute_with_anything_to_do() {
        let mut pace = Pace::default();
        let at = |secs: i64| Timestamp::from_secs(1_000_000 + secs);
        pace.note(at(0), &tally(5_000, 4_000));
        assert_eq!(pace.shown(at(1)), PaceSnapshot::default());
        pace.note(at(100), &tally(5_100, 4_010));
        pace.note(at(105), &tally(5_100, 4_060));
        let seen = pace.shown(at(105));
        assert_eq!((seen.made, seen.ended, seen.over_ms), (100, 60, 5_000));
        pace.note(at(112), &tally(5_100, 4_100));
        let seen = pace.shown(at(115));
        assert_eq!((seen.made, seen.ended, seen.over_ms), (100, 100, 15_000));
        let seen = pace.shown(at(161));
        assert_eq!((seen.made, seen.ended), (0, 40));
        assert_eq!(pace.shown(at(500)), PaceSnapshot::default());
    }
}
