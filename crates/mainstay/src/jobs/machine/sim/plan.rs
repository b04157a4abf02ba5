//! What kills processes in a world: nothing but bad luck, jobs, or both.

use mainstay_domain::jobs::QueueNumber;

/// The queue of built-in jobs.
pub(super) const BUILTIN: QueueNumber = 4;
/// Deaths by one job in a world in which evidence gets lost: clocks jump, owners are replaced while they live.
pub(super) const DEATHS_MAX: u32 = 12;

/// The kinds of worlds, by seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Jobs that kill the process that tries them.
    pub(super) poison: usize,
    /// Processes die, and leases end, for no reason of ours.
    pub(super) bad_luck: bool,
    /// The power goes again and again, and never stays for as long as a suspect has to wait.
    pub(super) power_cuts: bool,
    /// Some jobs have a deadline.
    pub(super) deadlines: bool,
    /// The clock is set.
    pub(super) clock_jumps: bool,
    /// What teams have limited is never exceeded, whatever happens: processes die, and nobody who was replaced goes on.
    pub(super) exact: bool,
    /// Nothing blurs the evidence: nobody innocent is isolated, and what kills is, after as many deaths as promised.
    pub(super) strict: bool,
}

/// A job that kills the process.
#[derive(Debug, Default)]
pub(super) struct Poison {
    /// How often it has.
    pub(super) deaths: u32,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let calm = Self {
            poison: 0,
            bad_luck: false,
            power_cuts: false,
            deadlines: seed / 6 % 3 == 1,
            clock_jumps: false,
            exact: false,
            strict: true,
        };
        let rough = Self {
            bad_luck: true,
            clock_jumps: true,
            strict: false,
            ..calm
        };
        match seed % 6 {
            0 | 1 => rough,
            2 => Self { poison: 2, ..rough },
            3 => Self { poison: 1, ..calm },
            4 => Self {
                bad_luck: true,
                exact: true,
                strict: false,
                ..calm
            },
            _ => Self {
                power_cuts: true,
                ..calm
            },
        }
    }
}
