//! One step of a replay: what became of its jobs, whether it goes on, and the jobs that come next.

use std::collections::HashMap;

use mainstay_domain::{
    EventId, JobId, Random, ReplayId, Scope, Store, StoreExt, StoreResult, TenantId, Timestamp, Tx,
    intake::{
        Event,
        ordering::Ordering,
        replay::{Replay, ReplayState},
    },
    jobs::{JobState, NewJob},
};
use serde_json::Value;

use super::{
    BAND, BY_FAILURES, Open, Progress, Terms, read,
    walk::{Goal, Ground, PAGE},
    written,
};
use crate::intake::{BuiltinQueues, blob::decompress, body_of};

/// Events that a step reads at the most, where few of them are wanted.
const SEEN_MAX: i64 = 2_000;
/// Pages that a step reads at the most, also of tenants without such events.
const PAGES_MAX: usize = 100;
/// The fewest events in a page.
const PAGE_MIN: i64 = 50;
/// What may be made at once after a pause: the jobs of so many microseconds.
const BURST: i64 = 1_000_000;
/// Jobs that the share of failures is taken of, the latest first.
const RECENT: usize = 100;
/// Fewer than these stop nothing.
const RECENT_MIN: usize = 20;

/// The same replay one step later, and the jobs that are to be written with it.
pub(super) async fn next(
    store: &dyn Store,
    now: Timestamp,
    random: &dyn Random,
    builtin: &BuiltinQueues,
    scope: Scope,
    replay: Replay,
) -> StoreResult<(Replay, Vec<NewJob>)> {
    let builtin = builtin.clone();
    let (replay, made) = store
        .read(scope, move |tx| {
            let (replay, builtin) = (replay.clone(), builtin.clone());
            Box::pin(async move {
                let mut step = Step {
                    terms: read(&replay.request)?,
                    progress: read(&replay.progress)?,
                    replay,
                    made: Vec::new(),
                    orderings: Vec::new(),
                };
                step.settle(tx).await?;
                if step.replay.state == ReplayState::Running {
                    step.judge(now);
                }
                if step.replay.state == ReplayState::Running {
                    step.make(tx, &builtin, now).await?;
                    step.order(tx).await?;
                }
                Ok((step.replay, (step.progress, step.made)))
            })
        })
        .await?;
    let (progress, made) = made;
    finish(replay, progress, made, now, random)
}

/// Gives the jobs their ids, and writes down where the replay is.
fn finish(
    mut replay: Replay,
    mut progress: Progress,
    made: Vec<NewJob>,
    now: Timestamp,
    random: &dyn Random,
) -> StoreResult<(Replay, Vec<NewJob>)> {
    let id: ReplayId = replay.id;
    let jobs: Vec<NewJob> = (0..)
        .zip(made)
        .map(|(place, job)| {
            // A microsecond apart: jobs of one time come in any order, and these come in that of their events.
            let at = Timestamp::from_micros(now.micros() + place);
            NewJob {
                id: JobId::new(at, random),
                replay: Some(id),
                created_at: at,
                ..job
            }
        })
        .collect();
    progress.open.extend(jobs.iter().map(|job| Open {
        tenant: job.tenant,
        job: job.id,
        failed: false,
    }));
    replay.counts.jobs += jobs.len() as i64;
    replay.counts.unfinished = progress.open.len() as i64;
    if progress.looked && matches!(replay.state, ReplayState::Running | ReplayState::Finishing) {
        replay.state = ReplayState::Finishing;
        if progress.open.is_empty() {
            replay.state = ReplayState::Done;
            replay.ended_at = Some(now);
        }
    }
    replay.progress = written(&progress)?;
    Ok((replay, jobs))
}

struct Step {
    replay: Replay,
    terms: Terms,
    progress: Progress,
    made: Vec<NewJob>,
    /// For each of them the order that its binding asks for.
    orderings: Vec<Option<Ordering>>,
}

impl Step {
    /// What became of the jobs that had not ended.
    async fn settle(&mut self, tx: &mut dyn Tx) -> StoreResult<()> {
        if self.progress.open.is_empty() {
            return Ok(());
        }
        let asked: Vec<(TenantId, JobId)> = self
            .progress
            .open
            .iter()
            .map(|open| (open.tenant, open.job))
            .collect();
        let states: HashMap<JobId, JobState> = tx.job_states(&asked).await?.into_iter().collect();
        let mut open = Vec::with_capacity(asked.len());
        for mut one in std::mem::take(&mut self.progress.open) {
            let counts = &mut self.replay.counts;
            match states.get(&one.job) {
                Some(JobState::Waiting | JobState::Scheduled | JobState::Running) => open.push(one),
                Some(JobState::Retrying) => {
                    if !one.failed {
                        self.progress.went('x');
                    }
                    one.failed = true;
                    open.push(one);
                }
                Some(JobState::Done) => {
                    counts.done += 1;
                    if !one.failed {
                        self.progress.went('o');
                    }
                }
                Some(JobState::Dead) => {
                    counts.dead += 1;
                    if !one.failed {
                        self.progress.went('x');
                    }
                }
                Some(JobState::Cancelled) => counts.cancelled += 1,
                // Retention removes what has ended.
                None => {}
            }
        }
        self.progress.open = open;
        Ok(())
    }

    /// Stops where too many of the latest jobs failed.
    fn judge(&mut self, now: Timestamp) {
        let recent = &self.progress.recent;
        let failed = recent.matches('x').count();
        let percent = usize::try_from(self.terms.stop_percent).unwrap_or_default();
        if percent > 0 && recent.len() >= RECENT_MIN && failed * 100 >= percent * recent.len() {
            self.stop(BY_FAILURES, now);
        }
    }

    fn stop(&mut self, reason: &str, now: Timestamp) {
        self.replay.state = ReplayState::Stopped;
        self.replay.reason = Some(reason.to_owned());
        self.replay.ended_at = Some(now);
    }

    /// The jobs of the next events, as many as the rate and the unfinished ones leave room for.
    async fn make(
        &mut self,
        tx: &mut dyn Tx,
        builtin: &BuiltinQueues,
        now: Timestamp,
    ) -> StoreResult<()> {
        let ground = Ground::load(tx, builtin, self.replay.target).await?;
        if let Some(reason) = ground.gone() {
            self.stop(reason, now);
            return Ok(());
        }
        let rate = self.terms.rate.max(1);
        let paid = self.progress.paid_until.micros().max(now.micros() - BURST);
        let by_rate = (now.micros() - paid).max(0) * rate / 1_000_000;
        let by_room = self.terms.unfinished_max - self.progress.open.len() as i64;
        let budget = by_rate.min(by_room);
        let (mut seen, mut pages) = (0, 0);
        while self.made_count() < budget && seen < SEEN_MAX && pages < PAGES_MAX {
            let limit = (budget - self.made_count()).clamp(PAGE_MIN, PAGE);
            let place = self.progress.place;
            let Some(page) = place.next(tx, &self.terms.filter, limit).await? else {
                self.progress.looked = true;
                break;
            };
            (seen, pages) = (seen + page.seen, pages + 1);
            let goals = ground.goals(tx, &page.events, self.terms.skip_done).await?;
            if self.take(&page.events, &goals, budget) {
                self.progress.place.pass(&page);
            }
        }
        // Known now rather than in the next step.
        if !self.progress.looked {
            let place = self.progress.place;
            self.progress.looked = place.is_end(tx, &self.terms.filter).await?;
        }
        if !self.made.is_empty() {
            let cost = self.made_count() * 1_000_000 / rate;
            self.progress.paid_until = Timestamp::from_micros(paid + cost);
        }
        Ok(())
    }

    /// Takes events while there is room; an event is taken whole. Answers whether all were.
    fn take(&mut self, events: &[Event], goals: &[Vec<Goal<'_>>], budget: i64) -> bool {
        for (event, goals) in events.iter().zip(goals) {
            if self.made_count() >= budget {
                return false;
            }
            for goal in goals {
                if goal.done && self.terms.skip_done {
                    self.replay.counts.skipped += 1;
                } else {
                    self.made.push(job(event, goal));
                    self.orderings.push(goal.ordering.cloned());
                }
            }
            self.replay.counts.events += 1;
            self.progress.place.pass_event(event);
        }
        true
    }

    /// Jobs of bindings that keep an order join the end of their lines, in the order of their events. They wait where
    /// the events that come in now wait: these may have to wait for them.
    async fn order(&mut self, tx: &mut dyn Tx) -> StoreResult<()> {
        let mut body: Option<(EventId, Option<Value>)> = None;
        for (job, ordering) in self.made.iter_mut().zip(&self.orderings) {
            let (Some(ordering), Some(event)) = (ordering, job.event) else {
                continue;
            };
            if body.as_ref().is_none_or(|(of, _)| *of != event) {
                let payload = tx.event_payload(event).await?;
                // What was erased is sent to nobody, in whatever order.
                let payload = payload.filter(|payload| !payload.is_erased());
                let payload = payload.map(|payload| decompress(&payload)).transpose()?;
                body = Some((event, payload.and_then(|payload| body_of(&payload))));
            }
            if let Some((_, Some(body))) = &body {
                job.order = ordering.of(body);
            }
            if job.order.is_some() {
                job.band = crate::intake::BAND;
            }
        }
        Ok(())
    }

    fn made_count(&self) -> i64 {
        self.made.len() as i64
    }
}

impl Progress {
    /// Notes how a job went the first time.
    fn went(&mut self, how: char) {
        if self.recent.len() >= RECENT {
            self.recent.remove(0);
        }
        self.recent.push(how);
    }
}

/// Still without an id.
fn job(event: &Event, goal: &Goal<'_>) -> NewJob {
    NewJob {
        id: JobId::NIL,
        tenant: event.tenant,
        queue: goal.queue,
        band: BAND,
        kind: goal.kind.to_owned(),
        event: Some(event.id),
        binding: goal.binding,
        replay: None,
        endpoint: goal.endpoint,
        payload: None,
        run_at: None,
        deadline: None,
        retry: None,
        order: None,
        created_at: event.received_at,
    }
}
