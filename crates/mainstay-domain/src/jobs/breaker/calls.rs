//! The calls of the last while, counted in a ring of ten slots: the memory is the same however many there are.

use super::BreakerPolicy;
use crate::time::Timestamp;

const SLOTS: usize = 10;

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Calls.
    pub calls: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that were slow, failed or not.
    pub slow: u32,
}

/// The calls in the window of a breaker, to a tenth of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calls {
    slots: [Counted; SLOTS],
    slot: i64,
    slot_ms: i64,
}

impl Calls {
    /// One more.
    pub fn add(&mut self, policy: &BreakerPolicy, now: Timestamp, failed: bool, slow: bool) {
        self.turn(policy, now);
        let at = &mut self.slots[index(self.slot)];
        at.calls = at.calls.saturating_add(1);
        at.failed = at.failed.saturating_add(u32::from(failed));
        at.slow = at.slow.saturating_add(u32::from(slow));
    }

    /// All of the window.
    pub fn counted(&mut self, policy: &BreakerPolicy, now: Timestamp) -> Counted {
        self.turn(policy, now);
        let sum = |all: Counted, one: &Counted| Counted {
            calls: all.calls.saturating_add(one.calls),
            failed: all.failed.saturating_add(one.failed),
            slow: all.slow.saturating_add(one.slow),
        };
        self.slots.iter().fold(Counted::default(), sum)
    }

    /// Forgets what is older than the window. Another window, and a clock that was set back, begin anew.
    fn turn(&mut self, policy: &BreakerPolicy, now: Timestamp) {
        let slot_ms = (policy.window_ms / SLOTS as i64).max(1);
        let slot = now.micros().div_euclid(slot_ms.saturating_mul(1_000));
        let passed = slot.saturating_sub(self.slot);
        if slot_ms != self.slot_ms || passed < 0 || passed >= SLOTS as i64 {
            self.slots = Default::default();
        } else {
            for step in 1..=passed {
                self.slots[index(self.slot + step)] = Counted::default();
            }
        }
        self.slot = slot;
        self.slot_ms = slot_ms;
    }
}

fn index(slot: i64) -> usize {
    slot.rem_euclid(SLOTS as i64) as usize
}
