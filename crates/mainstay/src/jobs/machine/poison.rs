//! What kills the process must not kill it for ever, and what was only there when it died must not be blamed.
//!
//! [`Loss`] is the rule about one job: two losses in a row make it a suspect, two more, while it was the suspect that
//! had begun last, convict it. Here is what makes a loss say something.
//!
//! - *Suspects run one at a time*, whatever else runs beside them, and only on an owner that has lived for
//!   [`Limits::suspect_ms`]: deaths soon after the start, however many, blame nobody. One that has run for so long keeps
//!   the next from starting no more; then it is the next one that a death speaks against.
//! - *Built-in jobs run without a recorded start*, so after a death nobody knows which were under way. Owners that took
//!   over from a dead one record the starts of their batches, for as many jobs as the dead one can have had under way.
//!   Should they die as well the jobs are known by name. The number doubles with each death, because turns begin anew
//!   with each owner and what killed the last one may come later than it did then. An owner that has lived for
//!   [`Limits::calm_ms`] ends that story.
//!
//! [`Loss`]: mainstay_domain::jobs::Loss

use mainstay_domain::{
    JobId, Timestamp,
    jobs::{Loss, QueueNumber},
};

use super::{
    Machine, Phase,
    dispatch::Rotation,
    limits::Limits,
    queue::Pick,
    words::{Action, Unfinished},
};

/// The number of jobs whose starts are recorded doubles so often at most.
const DOUBLED_MAX: u32 = 10;

/// How careful an owner must be.
#[derive(Debug)]
pub(super) struct Caution {
    /// Owners that died in a row, one after the other took over.
    deaths: u32,
    /// Built-in jobs that are still to be run with a recorded start.
    recorded: usize,
    /// When the deaths before are another story.
    calm_at: Timestamp,
    /// No suspect begins before.
    suspects_at: Timestamp,
    /// The suspect that began last, and when, until its outcome is recorded.
    suspect: Option<(JobId, Timestamp)>,
    /// Queues with a suspect that may begin, in turns.
    turns: Rotation,
}

impl Caution {
    /// Of an owner that takes over after so many deaths in a row.
    pub(super) fn new(deaths: u32, now: Timestamp, limits: &Limits) -> Self {
        let under_way = limits.batch_max * (limits.batches_max + 1);
        let doubled = deaths.saturating_sub(1).min(DOUBLED_MAX);
        let (recorded, wait_ms) = match deaths {
            0 => (0, 0),
            _ => (under_way << doubled, limits.suspect_ms),
        };
        Self {
            deaths,
            recorded,
            calm_at: now.plus_ms(limits.calm_ms),
            suspects_at: now.plus_ms(wait_ms),
            suspect: None,
            turns: Rotation::default(),
        }
    }

    /// The deaths in a row that a successor must reckon with: this owner's own among them, unless it stopped cleanly.
    pub(super) fn deaths_for_successor(&self, stopped: bool) -> u32 {
        match stopped {
            true => self.deaths,
            false => self.deaths.saturating_add(1),
        }
    }

    /// Whether starts of built-in jobs are recorded.
    pub(super) fn records(&self) -> bool {
        self.recorded > 0
    }

    /// So many built-in jobs have ended.
    pub(super) fn builtin_ended(&mut self, count: usize) {
        self.recorded = self.recorded.saturating_sub(count);
    }

    /// Takes a queue with suspects into the rotation, or out of it.
    pub(super) fn note(&mut self, queue: QueueNumber, runnable: bool) {
        self.turns.note(queue, runnable);
    }

    /// The outcome of a job's attempt is recorded.
    pub(super) fn released(&mut self, job: JobId) {
        self.suspect.take_if(|(suspect, _)| *suspect == job);
    }

    /// No pause is longer than it should be, whatever the clock does.
    pub(super) fn clock_set_back(&mut self, now: Timestamp, limits: &Limits) {
        self.calm_at = self.calm_at.min(now.plus_ms(limits.calm_ms));
        self.suspects_at = self.suspects_at.min(now.plus_ms(limits.suspect_ms));
        if let Some((_, at)) = &mut self.suspect {
            *at = now.min(*at);
        }
    }

    /// When the next suspect may begin.
    fn suspect_at(&self, limits: &Limits) -> Timestamp {
        let running = self.suspect.map(|(_, at)| at.plus_ms(limits.suspect_ms));
        running.map_or(self.suspects_at, |at| at.max(self.suspects_at))
    }
}

impl Machine {
    /// Forgets deaths that are long ago.
    pub(super) fn calm_down(&mut self) {
        if self.caution.deaths > 0 && self.caution.calm_at <= self.now {
            self.caution.deaths = 0;
            self.caution.recorded = 0;
            self.checkpoints.change();
        }
    }

    /// When caution wants to be looked at.
    pub(super) fn caution_at(&self) -> Option<Timestamp> {
        if self.phase != Phase::Running {
            return None;
        }
        let caution = &self.caution;
        let calm = (caution.deaths > 0).then_some(caution.calm_at);
        let suspect = (!caution.turns.is_empty()).then(|| caution.suspect_at(&self.limits));
        // One whose time has come waits for room, and room is an input.
        let suspect = suspect.filter(|at| *at > self.now);
        calm.into_iter().chain(suspect).min()
    }

    /// Starts the next suspect if it is time. They come before others of their queues: it is one at a time.
    pub(super) fn dispatch_suspect(&mut self, out: &mut Vec<Action>) {
        let wait = self.caution.suspect_at(&self.limits) > self.now || !self.all_lost_are_known();
        if wait || self.dispatch.outbound_open >= self.limits.outbound_max {
            return;
        }
        let Some(number) = self.caution.turns.next() else {
            return;
        };
        if let Some(start) = self.start_next(number, Pick::Suspect) {
            self.caution.suspect = Some((start.job, start.at));
            let version = self.configuring.version;
            let starts = vec![start];
            out.push(Action::Start { version, starts });
        }
        self.look_at_queue(number);
    }
}

/// The suspect among attempts without an outcome that had begun last. Two that began at once tell nothing, nor does one
/// that began by a clock that was set back since: it would count as the last for as long as it is open.
pub(super) fn last_suspect(found: &[Unfinished], now: Timestamp) -> Option<JobId> {
    let counts = |one: &&Unfinished| one.before.is_suspect() && one.start.at <= now;
    let suspects = || found.iter().filter(counts);
    let at = suspects().map(|one| one.start.at).max()?;
    let mut last = suspects().filter(|one| one.start.at == at);
    let job = last.next()?.start.job;
    last.next().is_none().then_some(job)
}

/// What an attempt that was lost says, by what became of its job.
pub(super) fn said_of(loss: Option<Loss>) -> &'static str {
    match loss {
        None => "its process died each time it was tried, twice while it was the only suspect",
        Some(Loss::Alone) => "its process died while it was the only suspect",
        Some(_) => "its process died before it could tell",
    }
}
