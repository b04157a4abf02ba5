//! What becomes of the ticks that are due: which run, which are left out, and when to look again. Pure: any node that asks
//! the same is answered the same.

use super::{Misfire, Overlap, Policy, rule::Rule};
use crate::{id::ScheduleId, time::Timestamp};

/// Ticks that one look takes in: more than twice what may be made up for.
pub const LOOK_MAX: usize = 2_000;
/// Ticks of which one look makes jobs, or that it leaves out one by one.
pub const RUN_MAX: usize = 200;
/// How soon it is looked whether the run has ended that a tick waits for, in milliseconds.
const AGAIN_MS: std::ops::RangeInclusive<i64> = 1_000..=60_000;

const _: () = assert!(LOOK_MAX as i64 >= 2 * super::CATCH_UP_MAX);

/// What is asked about one schedule.
#[derive(Debug)]
pub struct Question<'a> {
    /// What its expression names.
    pub rule: &'a Rule,
    /// What it wants to become of its ticks.
    pub policy: Policy,
    /// Which: its ticks are put off alike wherever this is asked.
    pub schedule: ScheduleId,
    /// The first tick that nothing is decided about.
    pub next_tick: Timestamp,
    /// Now.
    pub now: Timestamp,
    /// Whether the job of its last run has not ended.
    pub busy: bool,
    /// Ticks that have a row already, in order: after a clock was put back.
    pub known: &'a [Timestamp],
}

/// Ticks that were missed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// The first.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
    /// How many.
    pub count: i64,
}

/// What becomes of the ticks that are due.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// These run, oldest first.
    pub run: Vec<Timestamp>,
    /// These are left out, because the last run has not ended.
    pub overlapped: Vec<Timestamp>,
    /// These were missed.
    pub missed: Option<Missed>,
    /// The first tick that nothing is decided about. `None`: there will be none.
    pub next_tick: Option<Timestamp>,
    /// When to look again.
    pub next_at: Option<Timestamp>,
}

impl Decision {
    /// That nothing is decided, and when it is.
    fn look(&mut self, tick: Timestamp, at: Timestamp) {
        (self.next_tick, self.next_at) = (Some(tick), Some(at));
    }
}

/// When a tick's job is made: the tick, put off by a share of the jitter that is the tick's own. Never as late as the
/// next tick, so that ticks keep their order.
pub fn due_at(rule: &Rule, jitter_ms: i64, schedule: ScheduleId, tick: Timestamp) -> Timestamp {
    if jitter_ms <= 0 {
        return tick;
    }
    let room = rule
        .next(tick)
        .map_or(jitter_ms, |next| next.at.ms_since(tick) - 1);
    let span = jitter_ms.min(room).max(0);
    let share = spread(schedule, tick) % (span.unsigned_abs() + 1);
    tick.plus_ms(i64::try_from(share).unwrap_or(span))
}

/// A number that looks like chance and is the same everywhere (the finalizer of SplitMix64 over both).
fn spread(schedule: ScheduleId, tick: Timestamp) -> u64 {
    let (high, low) = schedule.uuid().as_u64_pair();
    [high, low, tick.micros().cast_unsigned()].into_iter().fold(
        0x9e37_79b9_7f4a_7c15,
        |state, word| {
            let mut z = state ^ word;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        },
    )
}

/// What the policy wants of one tick, were it alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Run,
    Miss,
    /// It may be one of the latest, which only the next look can tell.
    Later,
}

/// The ticks that are due, and the one after them.
struct Due {
    ticks: Vec<(Timestamp, Timestamp)>,
    /// How many of them are late: the first ones.
    late: usize,
    /// The first that is not among them.
    ahead: Option<(Timestamp, Timestamp)>,
    /// Whether that one is due as well.
    more: bool,
}

impl Question<'_> {
    /// Decides.
    pub fn decide(&self) -> Decision {
        let due = self.due();
        let mut decision = Decision::default();
        for (place, (tick, at)) in due.ticks.iter().copied().enumerate() {
            if self.known.binary_search(&tick).is_ok() {
                continue;
            }
            match self.wanted(&due, place) {
                Wanted::Later => {
                    decision.look(tick, at);
                    return decision;
                }
                Wanted::Miss => miss(&mut decision, tick),
                Wanted::Run => {
                    if !self.run(&mut decision, tick, at) {
                        return decision;
                    }
                }
            }
        }
        if let Some((tick, at)) = due.ahead {
            decision.look(tick, at);
        }
        decision
    }

    fn due(&self) -> Due {
        let (mut ticks, mut ahead, mut more) = (Vec::new(), None, false);
        let mut next = Some(self.next_tick);
        while let Some(tick) = next {
            let at = due_at(self.rule, self.policy.jitter_ms, self.schedule, tick);
            if at > self.now || ticks.len() == LOOK_MAX {
                more = at <= self.now;
                ahead = Some((tick, at));
                break;
            }
            ticks.push((tick, at));
            next = self.rule.next(tick).map(|next| next.at);
        }
        let late = ticks.partition_point(|(_, at)| self.now.ms_since(*at) > self.policy.grace_ms);
        Due {
            ticks,
            late,
            ahead,
            more,
        }
    }

    fn wanted(&self, due: &Due, place: usize) -> Wanted {
        if place >= due.late {
            return Wanted::Run;
        }
        let last = place + 1 == due.ticks.len() && !due.more;
        // Counted from the end of the late ones: 1 is the latest of them.
        let from_end = i64::try_from(due.late - place).unwrap_or(i64::MAX);
        match self.policy.misfire {
            Misfire::Skip => Wanted::Miss,
            Misfire::One if last => Wanted::Run,
            Misfire::One => Wanted::Miss,
            Misfire::All if from_end > self.policy.catch_up_max => Wanted::Miss,
            // Late ones may follow those that were looked at.
            Misfire::All if due.more && due.late == due.ticks.len() => Wanted::Later,
            Misfire::All => Wanted::Run,
        }
    }

    /// Runs a tick unless its schedule is busy. False: that is all for now.
    fn run(&self, decision: &mut Decision, tick: Timestamp, at: Timestamp) -> bool {
        let busy = self.busy || !decision.run.is_empty();
        let taken = match self.policy.overlap {
            Overlap::Wait if busy => {
                let waited = self.now.ms_since(at) / 10;
                let pause = waited.clamp(*AGAIN_MS.start(), *AGAIN_MS.end());
                decision.look(tick, self.now.plus_ms(pause));
                return false;
            }
            Overlap::Skip if busy => &mut decision.overlapped,
            _ => &mut decision.run,
        };
        if taken.len() == RUN_MAX {
            decision.look(tick, at);
            return false;
        }
        taken.push(tick);
        true
    }
}

fn miss(decision: &mut Decision, tick: Timestamp) {
    let missed = decision.missed.get_or_insert(Missed {
        first: tick,
        last: tick,
        count: 0,
    });
    missed.last = tick;
    missed.count += 1;
}
