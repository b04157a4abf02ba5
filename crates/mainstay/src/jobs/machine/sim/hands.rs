//! Workers in the simulated world: they poll, hold jobs, give signs of life and report, through connections that break. They
//! go on when the server dies, and vanish when they like.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_domain::{
    Category, JobId, Random,
    jobs::{AttemptStart, Outcome},
};

use super::{
    super::{End, Input, Poll, PollId, Report, Returned, Standing},
    world::{Event, MS, WORKERS, World},
};

/// How long a job is in hand without a sign of life, in milliseconds.
const LEASE_MS: i32 = 3_000;

/// Which attempt of which job.
pub(super) type Token = (JobId, i32);

/// What a worker does, or what happens to it.
#[derive(Debug)]
pub(super) enum Deed {
    /// Somebody asks for jobs.
    Poll,
    /// Whoever asked has waited long enough, or is gone.
    PollEnds { epoch: i64, poll: PollId },
    /// Whoever holds this goes on with it.
    Works(Token),
    /// Whoever holds this says how it went.
    Tells(Token),
    /// The owner ends an attempt whose lease ran out.
    Expires { epoch: i64, start: AttemptStart },
}

/// What is in workers' hands, whatever owners believe.
#[derive(Debug, Default)]
pub(super) struct Hands {
    next_poll: PollId,
    held: BTreeMap<Token, Holding>,
    /// Outcomes that somebody was told are recorded.
    pub(super) recorded: BTreeSet<Token>,
}

#[derive(Debug)]
struct Holding {
    /// Signs of life that are still to come before it is done.
    beats: u64,
    /// How it ends; the same however often it is told.
    end: End,
}

impl World {
    pub(super) fn worker_does(&mut self, deed: Deed) {
        match deed {
            Deed::Poll => self.worker_polls(),
            Deed::PollEnds { epoch, poll } => {
                self.step_owner(epoch, vec![Input::PollClosed { poll }]);
            }
            Deed::Works(token) => self.worker_works(token),
            Deed::Tells(token) => self.worker_tells(token),
            Deed::Expires { epoch, start } => {
                let input = Input::Ended {
                    job: start.job,
                    end: End::LeaseEnded { exchange: None },
                    policy: None,
                };
                self.step_owner(epoch, vec![input]);
            }
        }
    }

    /// Whom a request reaches: mostly the owner.
    fn reached(&self) -> i64 {
        match &self.zombie {
            Some(zombie) if self.chance(30) => zombie.epoch,
            _ => self.owner.epoch,
        }
    }

    fn worker_polls(&mut self) {
        let epoch = self.reached();
        self.hands.next_poll += 1;
        let poll = self.hands.next_poll;
        let mut queues = vec![WORKERS];
        if self.chance(30) {
            // Nothing comes of a queue whose jobs are not for workers.
            queues.push(1);
        }
        let input = Input::Polled(Poll {
            poll,
            queues,
            places: 1 + self.random.below(4) as u32,
            lease_ms: LEASE_MS,
            at_once: self.chance(20),
        });
        self.step_owner(epoch, vec![input]);
        let lasts = self.between(MS, 1_500 * MS);
        self.later(lasts, Event::Worker(Deed::PollEnds { epoch, poll }));
        let pause = match self.in_trouble() {
            true => self.between(MS, 600 * MS),
            false => self.between(500 * MS, 4_000 * MS),
        };
        self.later(pause, Event::Worker(Deed::Poll));
    }

    /// The owner puts an attempt with what a poll is answered.
    pub(super) fn handed(&mut self, epoch: i64, poll: PollId, start: AttemptStart) {
        assert_eq!(start.queue, WORKERS, "only jobs for workers are handed out");
        assert!(
            self.model.is_started(start.job, start.attempt),
            "nothing is handed out without a recorded start"
        );
        let Some(owner) = self.owner_of(epoch) else {
            return;
        };
        assert_eq!(
            owner.machine.workers.leased(start.job),
            Some(start.attempt),
            "what is handed out is under a lease"
        );
        owner.handing.entry(poll).or_default().push(start);
    }

    pub(super) fn poll_answered(&mut self, epoch: i64, poll: PollId) {
        let Some(owner) = self.owner_of(epoch) else {
            return;
        };
        for start in owner.handing.remove(&poll).unwrap_or_default() {
            let token = (start.job, start.attempt);
            if self.in_trouble() && self.chance(5) {
                // Nobody was there any more, and the owner noticed.
                self.report(epoch, token, End::Interrupted);
                continue;
            }
            if self.in_trouble() && self.chance(5) {
                // The answer got lost, and nobody noticed.
                continue;
            }
            let end = self.how_it_ends();
            let beats = self.random.below(4);
            let taken = self.hands.held.insert(token, Holding { beats, end });
            assert!(taken.is_none(), "an attempt is handed out once");
            self.goes_on(token);
        }
    }

    fn how_it_ends(&self) -> End {
        match self.random.below(100) {
            0..5 => End::Reported(Report::Failure(self.failure(Category::Validation))),
            5..15 => End::Reported(Report::Failure(self.failure(Category::Provider))),
            15..25 => End::Returned(Returned {
                by: "worker:simulated".into(),
                reason: None,
                delay_ms: self.chance(50).then(|| self.between(1, 5_000)),
            }),
            _ => End::Reported(Report::Success {
                status: None,
                exchange: None,
            }),
        }
    }

    fn goes_on(&mut self, token: Token) {
        let pause = self.between(MS, 1_200 * MS);
        self.later(pause, Event::Worker(Deed::Works(token)));
    }

    fn worker_works(&mut self, token: Token) {
        if self.in_trouble() && self.chance(4) {
            // It vanishes with what it has.
            self.hands.held.remove(&token);
            return;
        }
        let Some(holding) = self.hands.held.get_mut(&token) else {
            return;
        };
        if holding.beats == 0 {
            self.worker_tells(token);
            return;
        }
        holding.beats -= 1;
        let epoch = self.reached();
        let now = self.now_of(epoch);
        let lost = self.in_trouble() && self.chance(10);
        if !lost && let Some(owner) = self.owner_of(epoch) {
            let standing = owner.machine.beat(now, token.0, token.1);
            self.step_owner(epoch, vec![]);
            if matches!(standing, Standing::Ended) && epoch == self.owner.epoch {
                self.hands.held.remove(&token);
                return;
            }
        }
        self.goes_on(token);
    }

    fn worker_tells(&mut self, token: Token) {
        let Some(holding) = self.hands.held.get(&token) else {
            return;
        };
        let (epoch, end) = (self.reached(), holding.end.clone());
        let again = self.between(50 * MS, 500 * MS);
        if self.in_trouble() && self.chance(10) {
            // The request got lost.
            self.later(again, Event::Worker(Deed::Tells(token)));
            return;
        }
        match self.report(epoch, token, end) {
            // Its answer comes, or gets lost: then it is told again.
            Some(Standing::InHand | Standing::NotYet) | None => {
                self.later(again, Event::Worker(Deed::Tells(token)));
            }
            Some(Standing::Ended | Standing::Cancelled) => drop(self.hands.held.remove(&token)),
        }
    }

    fn report(&mut self, epoch: i64, token: Token, end: End) -> Option<Standing> {
        let now = self.now_of(epoch);
        let owner = self.owner_of(epoch).filter(|owner| !owner.stopped)?;
        let standing = owner.machine.report(now, token.0, token.1, end, None);
        self.step_owner(epoch, vec![]);
        Some(standing)
    }

    pub(super) fn report_answered(&mut self, _: i64, token: Token, recorded: bool) {
        let row = self.model.outcome(token.0, token.1);
        if !recorded {
            return;
        }
        let row = row.expect("what is said to be recorded is");
        let told = matches!(
            row.outcome,
            Outcome::Succeeded
                | Outcome::Failed
                | Outcome::Dead
                | Outcome::Requeued
                | Outcome::Lost
        );
        assert!(told, "it is what a worker can tell: {row:?}");
        assert!(
            self.hands.recorded.insert(token),
            "an outcome is recorded once"
        );
        if self.in_trouble() && self.chance(10) {
            // The answer got lost.
            return;
        }
        self.hands.held.remove(&token);
    }
}
