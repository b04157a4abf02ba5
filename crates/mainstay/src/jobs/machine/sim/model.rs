//! The store as the machine may rely on it: each verb of the port, as its documentation promises and no better.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_domain::{
    JobId, TenantId, Timestamp,
    jobs::{
        Attempt, AttemptStart, Checkpoint, Cursor, Discovery, JobRef, Lane, LineEnd, Loss, Outcome,
        QueueNumber, QueueTally, Signal, SignalKind, TallyRecord,
        breaker::{Breaker, Dependency},
    },
};

use super::{
    super::{
        After, Batch, BatchResult, JobAt, Legacy, Refill, SettleResult, Settlement, Started,
        TallyBody, Truth, Turns, Unfinished, WindowId, deadline::EXPIRED, fail_fast::BREAKER_OPEN,
        held::due_key,
    },
    line::{Lines, Order, Planted},
    plan::BUILTIN,
    world::is_shared,
};

/// What a commit left for discovery to find.
#[derive(Debug, Clone, Copy)]
pub(super) enum News {
    Job(JobId),
    Wish(Signal),
}

/// A unique key was taken.
#[derive(Debug, PartialEq, Eq)]
struct Taken;

/// A job.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) job: JobRef,
    inserted_at: usize,
    /// Made to wait for its turn: the engine does not read it.
    behind: bool,
    /// Where the last news about it stands.
    pub(super) found_at: usize,
    attempts: Vec<Attempt>,
}

impl Row {
    pub(super) fn last(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    pub(super) fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The job as it is to be tried again.
    pub(super) fn next(&self) -> Option<JobRef> {
        let last = self.last()?;
        Some(JobRef {
            due: Some(last.next_at?),
            attempt: last.attempt,
            tries: last.tries,
            loss: Loss::of(last.code.as_deref()),
            ..self.job
        })
    }
}

/// The committed state.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) news: Vec<News>,
    pub(super) lines: Lines,
    pub(super) jobs: BTreeMap<JobId, Row>,
    /// The jobs that have not ended.
    pub(super) open: BTreeSet<JobId>,
    starts: BTreeMap<(JobId, i32), AttemptStart>,
    tallies: BTreeMap<i64, String>,
    checkpoint: Option<Checkpoint>,
    breakers: BTreeMap<Dependency, Breaker>,
    /// The built-in jobs whose effect was committed.
    pub(super) effects: BTreeSet<JobId>,
}

impl Model {
    // What people and intake do.

    pub(super) fn job_insert(&mut self, job: JobRef, order: Option<Order>) {
        let behind = order.is_some_and(|order| self.lines.join(&job, order));
        let row = Row {
            job,
            inserted_at: self.news.len(),
            behind: behind && self.lines.planted != Planted::SeenTooEarly,
            found_at: self.news.len(),
            attempts: Vec::new(),
        };
        self.jobs.insert(job.job, row);
        self.open.insert(job.job);
        self.news.push(News::Job(job.job));
    }

    /// A person's row under the next number, if the job is in a state in which it is allowed.
    pub(super) fn wish(&mut self, job: JobId, outcome: Outcome, now: Timestamp) -> bool {
        let of = self.jobs[&job].job;
        let last = self.last(job).cloned();
        let dead = last
            .as_ref()
            .is_some_and(|last| last.outcome == Outcome::Dead);
        let ended = last.as_ref().is_some_and(|last| last.outcome.ends());
        let (allowed, kind) = match outcome {
            Outcome::Cancelled => (!ended, SignalKind::Cancelled),
            Outcome::Requeued => (dead, SignalKind::Requeued),
            _ => (dead, SignalKind::Discarded),
        };
        if !allowed {
            return false;
        }
        let attempt = Attempt {
            attempt: last.map_or(0, |last| last.attempt) + 1,
            tries: 0,
            outcome,
            next_at: match outcome {
                Outcome::Requeued => self.line_return(job, now),
                _ => None,
            },
            ..blank(&of, now)
        };
        self.record(attempt);
        if outcome == Outcome::Requeued
            && let Some(row) = self.jobs.get_mut(&job)
        {
            row.job.deadline = None;
        }
        self.signal(Signal {
            tenant: of.tenant,
            job,
            queue: of.queue,
            kind,
        });
        if outcome != Outcome::Requeued {
            self.line_left(job, now);
        }
        true
    }

    // What the engine reads.

    pub(super) fn discover(&self, cursor: &Cursor, recovering: bool, limit: usize) -> Discovery {
        let mut found = Discovery::default();
        let mut created: BTreeMap<QueueNumber, i64> = BTreeMap::new();
        let mut position = position(cursor);
        for news in &self.news[position..] {
            if created.values().sum::<i64>() as usize >= limit {
                found.more = true;
                break;
            }
            position += 1;
            match news {
                News::Wish(signal) => found.signals.push(*signal),
                News::Job(job) => {
                    let job = self.jobs[job].job;
                    *created.entry(job.queue).or_default() += 1;
                    let tried = self.last(job.job).is_some();
                    let behind = self.jobs[&job.job].behind;
                    if !(behind || recovering && tried) {
                        found.jobs.push(job);
                    }
                }
            }
        }
        found.created = created.into_iter().collect();
        found.cursor = Cursor(position.to_string());
        found
    }

    pub(super) fn refill(&self, refill: &Refill) -> Vec<JobRef> {
        let seen = position(&refill.seen);
        let open = self.open.iter().map(|job| &self.jobs[job]);
        let never_tried =
            open.filter(|row| row.attempts.is_empty() && !row.behind && row.inserted_at < seen);
        let never_tried = never_tried.map(|row| &row.job);
        let mut jobs: Vec<JobRef> = match (refill.window, refill.after) {
            (WindowId::Lane(lane), After::Job(after)) => never_tried
                .filter(|job| lane_of(job) == lane && job.due.is_none() && job.job > after)
                .copied()
                .collect(),
            (WindowId::Delayed(queue), After::Due(after)) => never_tried
                .filter(|job| job.queue == queue && job.due.is_some() && due_key(job) > after)
                .copied()
                .collect(),
            (WindowId::DelayedOf(queue, tenant), After::Due(after)) => never_tried
                .filter(|job| (job.queue, job.tenant) == (queue, tenant))
                .filter(|job| job.due.is_some() && due_key(job) > after)
                .copied()
                .collect(),
            (WindowId::Retries(queue), After::Due(after)) => {
                let next = self.open.iter().filter_map(|job| self.jobs[job].next());
                next.filter(|job| job.queue == queue && due_key(job) > after)
                    .collect()
            }
            (WindowId::RetriesOf(queue, tenant), After::Due(after)) => {
                let next = self.open.iter().filter_map(|job| self.jobs[job].next());
                next.filter(|job| (job.queue, job.tenant) == (queue, tenant))
                    .filter(|job| due_key(job) > after)
                    .collect()
            }
            other => panic!("a refill of {other:?}"),
        };
        match refill.window {
            WindowId::Lane(_) => jobs.sort_by_key(|job| job.job),
            _ => jobs.sort_by_key(due_key),
        }
        jobs.truncate(refill.limit);
        jobs
    }

    pub(super) fn unfinished(
        &self,
        since: Timestamp,
        long: &[(TenantId, JobId, i32)],
    ) -> Vec<Unfinished> {
        let open = self.starts.values().filter(|start| {
            let named = long.contains(&(start.tenant, start.job, start.attempt));
            (start.at >= since || named)
                && self.last(start.job).map_or(0, |last| last.attempt) < start.attempt
        });
        open.map(|start| Unfinished {
            start: *start,
            before: self.loss(start.job),
        })
        .collect()
    }

    fn loss(&self, job: JobId) -> Loss {
        Loss::of(self.last(job).and_then(|last| last.code.as_deref()))
    }

    pub(super) fn inspect(&self, at: JobAt) -> Truth {
        let attempt = self.last(at.job).map_or(0, |last| last.attempt);
        Truth {
            at,
            attempt,
            next: self.jobs[&at.job].next(),
            start: self.starts.get(&(at.job, attempt + 1)).copied(),
            loss: self.loss(at.job),
        }
    }

    // What the engine writes.

    pub(super) fn start(&mut self, start: AttemptStart) -> Started {
        let key = (start.job, start.attempt);
        let last = self.last(start.job).map_or(0, |last| last.attempt);
        if last >= start.attempt || self.starts.contains_key(&key) {
            return Started::Refused;
        }
        assert_eq!(last + 1, start.attempt, "attempts are contiguous");
        self.lines.check_runs(start.job);
        self.starts.insert(key, start);
        Started::Go
    }

    pub(super) fn settle(&mut self, epoch: i64, settlement: &Settlement) -> (SettleResult, Turns) {
        if self.settle_rows(&settlement.attempts, &settlement.tally) == Err(Taken) {
            let why = self.why(epoch, settlement.tally.sequence);
            return (why, Turns::Unknown);
        }
        for (dependency, breaker) in &settlement.breakers {
            self.breakers.insert(dependency.clone(), breaker.clone());
        }
        // Waiting behind a breaker is no attempt: each has a start.
        for attempt in &settlement.attempts {
            let failed_fast = attempt.code.as_deref() == Some(BREAKER_OPEN);
            assert!(
                !failed_fast || !is_shared(attempt.queue),
                "it was to wait: {attempt:?}"
            );
            let began = self.is_started(attempt.job, attempt.attempt);
            let expired = attempt.code.as_deref() == Some(EXPIRED);
            let deadline = self.jobs[&attempt.job].job.deadline;
            assert!(
                !expired || began || deadline.is_some_and(|at| at <= attempt.finished_at),
                "it had time: {attempt:?}"
            );
            assert!(
                failed_fast || expired || attempt.queue == BUILTIN || began,
                "nothing began: {attempt:?}"
            );
        }
        let mut ends = settlement.ends.clone();
        if self.lines.planted == Planted::TurnAtRetry {
            let failed = settlement.attempts.iter();
            ends.extend(
                failed
                    .filter(|one| one.next_at.is_some())
                    .map(|one| LineEnd {
                        tenant: one.tenant,
                        job: one.job,
                        dead: false,
                        at: one.finished_at,
                    }),
            );
        }
        let turns = self.line_leave(&ends);
        (SettleResult::Committed, Turns::Known(turns))
    }

    pub(super) fn run_batch(
        &mut self,
        epoch: i64,
        batch: &Batch,
        now: Timestamp,
    ) -> (BatchResult, Turns) {
        let rows: Vec<Attempt> = batch
            .jobs
            .iter()
            .map(|job| Attempt {
                outcome: Outcome::Succeeded,
                attempt: job.attempt + 1,
                tries: job.tries + 1,
                ..blank(job, now)
            })
            .collect();
        if self.settle_rows(&rows, &batch.tally) == Err(Taken) {
            let result = match self.why(epoch, batch.tally.sequence) {
                SettleResult::Committed => BatchResult::Committed,
                SettleResult::Replaced => BatchResult::Replaced,
                SettleResult::Conflict | SettleResult::Unavailable => BatchResult::Conflict,
            };
            return (result, Turns::Unknown);
        }
        for job in &batch.jobs {
            self.lines.check_runs(job.job);
            let first = self.effects.insert(job.job);
            assert!(first, "the effect of {} happens once", job.job);
        }
        let turns = self.line_leave(&batch.ends(now));
        (BatchResult::Committed, Turns::Known(turns))
    }

    /// All rows or none.
    fn settle_rows(&mut self, attempts: &[Attempt], tally: &TallyRecord) -> Result<(), Taken> {
        let included = self.checkpoint.as_ref().map_or(0, |last| last.sequence);
        if tally.sequence <= included || self.tallies.contains_key(&tally.sequence) {
            return Err(Taken);
        }
        let mut seen = BTreeSet::new();
        for attempt in attempts {
            assert!(
                seen.insert(attempt.job),
                "a job is settled once in a settlement"
            );
            if self
                .last(attempt.job)
                .is_some_and(|last| last.attempt >= attempt.attempt)
            {
                return Err(Taken);
            }
        }
        for attempt in attempts {
            self.record(attempt.clone());
        }
        self.tallies.insert(tally.sequence, tally.body.clone());
        Ok(())
    }

    pub(super) fn record(&mut self, attempt: Attempt) {
        if attempt.outcome.ends() {
            self.open.remove(&attempt.job);
        } else {
            self.open.insert(attempt.job);
        }
        let rows = &mut self.row(attempt.job).attempts;
        let last = rows.last().map_or(0, |last| last.attempt);
        assert_eq!(last + 1, attempt.attempt, "attempts are contiguous");
        rows.push(attempt);
    }

    pub(super) fn row(&mut self, job: JobId) -> &mut Row {
        self.jobs.get_mut(&job).expect("the job exists")
    }

    /// What the driver finds out about a refused transaction.
    fn why(&self, epoch: i64, sequence: i64) -> SettleResult {
        if self
            .checkpoint
            .as_ref()
            .is_some_and(|last| last.epoch > epoch)
        {
            return SettleResult::Replaced;
        }
        let Some(body) = self.tallies.get(&sequence) else {
            return SettleResult::Conflict;
        };
        let body: TallyBody = serde_json::from_str(body).expect("a tally record is readable");
        assert!(
            body.epoch >= epoch,
            "nobody commits after the fence of a later owner"
        );
        if body.epoch == epoch {
            SettleResult::Committed
        } else {
            SettleResult::Replaced
        }
    }

    pub(super) fn checkpoint_save(&mut self, checkpoint: &Checkpoint) -> SettleResult {
        if self
            .checkpoint
            .as_ref()
            .is_some_and(|last| last.epoch > checkpoint.epoch)
        {
            return SettleResult::Conflict;
        }
        self.tallies
            .retain(|sequence, _| *sequence > checkpoint.sequence);
        self.checkpoint = Some(checkpoint.clone());
        SettleResult::Committed
    }

    /// A new owner fences its predecessor off and reads what it left, in one transaction.
    pub(super) fn take_over(&mut self, epoch: i64) -> Legacy {
        let since = self.checkpoint.as_ref().map_or(0, |last| last.sequence);
        let tallies = self
            .tallies
            .range(since + 1..)
            .map(|(sequence, body)| TallyRecord {
                sequence: *sequence,
                body: body.clone(),
            });
        let legacy = Legacy {
            checkpoint: self.checkpoint.clone(),
            tallies: tallies.collect(),
            breakers: self.breakers.clone().into_iter().collect(),
        };
        for sequence in legacy.fence() {
            let record = Legacy::fence_record(sequence, epoch);
            self.tallies.insert(sequence, record.body);
        }
        let claimed = self.checkpoint_save(&legacy.claim(epoch));
        assert_eq!(claimed, SettleResult::Committed);
        legacy
    }

    // What the checks ask.

    /// Whether the start of this attempt is recorded.
    pub(super) fn is_started(&self, job: JobId, attempt: i32) -> bool {
        self.starts.contains_key(&(job, attempt))
    }

    /// The outcome of this attempt.
    pub(super) fn outcome(&self, job: JobId, attempt: i32) -> Option<&Attempt> {
        let row = self.jobs.get(&job)?;
        row.attempts.iter().find(|one| one.attempt == attempt)
    }

    fn last(&self, job: JobId) -> Option<&Attempt> {
        self.jobs[&job].last()
    }

    /// The counters as the rows themselves say.
    pub(super) fn counted(&self, queue: QueueNumber) -> QueueTally {
        let mut tally = QueueTally::default();
        for row in self.jobs.values().filter(|row| row.job.queue == queue) {
            tally.created += 1;
            for attempt in &row.attempts {
                match attempt.outcome {
                    Outcome::Succeeded => tally.done += 1,
                    Outcome::Failed | Outcome::Lost => tally.failed += 1,
                    Outcome::Dead => tally.dead += 1,
                    Outcome::Requeued if attempt.code.is_some() => {}
                    Outcome::Requeued => tally.revived += 1,
                    Outcome::Cancelled => tally.cancelled += 1,
                    Outcome::Discarded => {
                        tally.dead -= 1;
                        tally.cancelled += 1;
                    }
                    Outcome::Unknown => {}
                }
            }
        }
        tally
    }

    /// Whose commit used this number, if it is used.
    pub(super) fn settled_by(&self, sequence: i64) -> Option<i64> {
        let body: TallyBody = serde_json::from_str(self.tallies.get(&sequence)?).ok()?;
        Some(body.epoch)
    }
}

pub(super) fn blank(job: &JobRef, now: Timestamp) -> Attempt {
    Attempt {
        tenant: job.tenant,
        job: job.job,
        attempt: 0,
        tries: 0,
        queue: job.queue,
        outcome: Outcome::Succeeded,
        started_at: now,
        finished_at: now,
        next_at: None,
        category: None,
        code: None,
        error: None,
        status: None,
        exchange: None,
        by: None,
    }
}

fn lane_of(job: &JobRef) -> Lane {
    Lane {
        queue: job.queue,
        band: job.band,
        tenant: job.tenant,
    }
}

/// Where a cursor stands in the news.
pub(super) fn position(cursor: &Cursor) -> usize {
    if cursor.0.is_empty() {
        return 0;
    }
    cursor.0.parse().expect("a cursor of the model's")
}

/// The tenant of this number.
pub(super) fn tenant(number: u64) -> TenantId {
    TenantId::from_uuid(uuid::Uuid::from_u128(u128::from(number) + 1))
}
