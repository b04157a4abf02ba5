//! What the machine asks for, done against the store. Every action ends in one input.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use mainstay_domain::{
    Category, JobId, Scope, StoreError, StoreExt, StoreResult, TenantId, Timestamp, Tx,
    jobs::{
        Attempt, AttemptStart, Checkpoint, DeadLetter, DueKey, JobBody, JobRef, Outcome,
        TallyRecord,
    },
    watch::Series,
};
use uuid::Uuid;

use super::{
    Shared,
    configure::Configured,
    work::{caught, own_policy, unknown_kind},
};
use crate::jobs::{
    handler::{Announcement, HandlerError},
    machine::{
        Action, After, Batch, BatchResult, Failed, Failure, Input, JobAt, Refill, SettleResult,
        Settlement, Started, Truth, Unfinished, WindowId,
    },
};

/// Starts without an outcome that one take-over reads: more than a predecessor can have had under way.
const UNFINISHED_MAX: i64 = 20_000;

type Bodies = Mutex<HashMap<JobId, JobBody>>;

impl Shared {
    pub(super) async fn perform(
        self: &Arc<Self>,
        action: Action,
        configured: &Arc<Configured>,
        bodies: &Bodies,
    ) -> Input {
        match action {
            Action::Configure { request } => match configured.load(self).await {
                Ok(queues) => Input::Configured { request, queues },
                Err(error) => {
                    failed("the queues' settings could not be loaded", &error);
                    Input::ConfigureFailed { request }
                }
            },
            Action::Discover {
                cursor,
                recovering,
                limit,
            } => {
                let read = self.store.read(Scope::System("engine"), move |tx| {
                    let cursor = cursor.clone();
                    Box::pin(
                        async move { tx.job_discover(&cursor, recovering, limit as i64).await },
                    )
                });
                Input::Discovered(
                    read.await
                        .map_err(|error| failed("news could not be read", &error)),
                )
            }
            Action::Refill(refill) => {
                let jobs = self.refill(refill.clone()).await;
                Input::Refilled {
                    refill,
                    jobs: jobs.map_err(|error| failed("a window could not be refilled", &error)),
                }
            }
            Action::FindUnfinished { since } => {
                let found = self.unfinished(since).await;
                Input::Unfinished(
                    found.map_err(|error| failed("unfinished attempts could not be found", &error)),
                )
            }
            Action::Start(starts) => {
                let answers = self.start(starts.clone(), bodies).await;
                let answers =
                    answers.map_err(|error| failed("starts could not be recorded", &error));
                Input::Started { starts, answers }
            }
            Action::RunBatch {
                sequence,
                again,
                batch,
            } => {
                let result = self.run_batch(sequence, again, &batch).await;
                Input::BatchEnded { sequence, result }
            }
            Action::Settle {
                sequence,
                settlement,
            } => {
                let result = self.settle(sequence, &settlement, configured).await;
                Input::Settled { sequence, result }
            }
            Action::Inspect(jobs) => {
                let truths = self.inspect(jobs).await;
                Input::Inspected(
                    truths.map_err(|error| failed("jobs could not be looked up", &error)),
                )
            }
            Action::SaveCheckpoint(checkpoint) => {
                Input::CheckpointSaved(self.save_checkpoint(*checkpoint).await)
            }
            // The owner keeps these to itself.
            Action::Run(_) | Action::Abort(_) | Action::Stopped | Action::Replaced => Input::Tick,
        }
    }

    async fn refill(&self, refill: Refill) -> StoreResult<Vec<JobRef>> {
        self.store
            .read(Scope::System("engine"), move |tx| {
                let refill = refill.clone();
                let limit = refill.limit as i64;
                Box::pin(async move {
                    match (refill.window, refill.after) {
                        (WindowId::Lane(lane), After::Job(after)) => {
                            tx.lane_refill(lane, after, &refill.seen, limit).await
                        }
                        (WindowId::Delayed(queue), After::Due(after)) => {
                            tx.delayed_refill(queue, after, Timestamp::MAX, &refill.seen, limit)
                                .await
                        }
                        (WindowId::Retries(queue), After::Due(after)) => {
                            tx.retry_refill(queue, after, Timestamp::MAX, limit).await
                        }
                        _ => Err(StoreError::Bug(
                            "a window was refilled by a key of another kind".into(),
                        )),
                    }
                })
            })
            .await
    }

    async fn unfinished(&self, since: Timestamp) -> StoreResult<Vec<Unfinished>> {
        self.store
            .read(Scope::System("engine"), move |tx| {
                Box::pin(async move {
                    let mut found = Vec::new();
                    for start in tx.attempt_unfinished(since, UNFINISHED_MAX).await? {
                        let (attempts, _) = tx.job_attempts(start.job).await?;
                        let lost = lost_in_a_row(&attempts);
                        found.push(Unfinished {
                            start,
                            lost,
                        });
                    }
                    Ok(found)
                })
            })
            .await
    }

    /// Records starts of the jobs whose bodies are there, and keeps the bodies of those that may go on.
    async fn start(&self, starts: Vec<AttemptStart>, kept: &Bodies) -> StoreResult<Vec<Started>> {
        let (answers, bodies) = self
            .store
            .transact(Scope::System("engine"), move |tx| {
                let starts = starts.clone();
                Box::pin(async move {
                    let keys: Vec<_> = starts
                        .iter()
                        .map(|start| (start.tenant, start.job))
                        .collect();
                    let bodies = tx.job_bodies(&keys).await?;
                    let there: HashSet<JobId> = bodies.iter().map(|body| body.job).collect();
                    let able: Vec<_> = starts
                        .iter()
                        .filter(|start| there.contains(&start.job))
                        .copied()
                        .collect();
                    let allowed = tx.attempt_start(&able).await?;
                    let allowed: HashMap<JobId, bool> =
                        able.iter().map(|start| start.job).zip(allowed).collect();
                    let answers: Vec<Started> = starts
                        .iter()
                        .map(|start| started(allowed.get(&start.job)))
                        .collect();
                    Ok((
                        answers,
                        bodies
                            .into_iter()
                            .filter(|body| allowed.get(&body.job) == Some(&true))
                            .collect::<Vec<_>>(),
                    ))
                })
            })
            .await?;
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(bodies.into_iter().map(|body| (body.job, body)));
        Ok(answers)
    }

    async fn run_batch(
        self: &Arc<Self>,
        sequence: i64,
        again: bool,
        batch: &Arc<Batch>,
    ) -> BatchResult {
        if again && let Some(known) = self.committed(sequence, &batch.tally).await {
            return match known {
                SettleResult::Committed => self.batch_committed(batch),
                SettleResult::Replaced => BatchResult::Replaced,
                SettleResult::Conflict | SettleResult::Unavailable => BatchResult::Unavailable,
            };
        }
        let broken: Arc<Mutex<Option<BatchResult>>> = Arc::default();
        let (shared, own, why) = (Arc::clone(self), Arc::clone(batch), Arc::clone(&broken));
        let ran = self
            .store
            .transact(Scope::System("engine"), move |tx| {
                let (shared, batch, why) =
                    (Arc::clone(&shared), Arc::clone(&own), Arc::clone(&why));
                Box::pin(async move {
                    match shared.batch_in(tx, &batch).await? {
                        None => Ok(()),
                        Some(result) => {
                            *why.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                            Err(rolled_back())
                        }
                    }
                })
            })
            .await;
        if let Some(result) = broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return result;
        }
        match ran {
            Ok(()) => self.batch_committed(batch),
            Err(error) => match self.refused(sequence, &batch.tally, &error).await {
                SettleResult::Committed => self.batch_committed(batch),
                SettleResult::Conflict => BatchResult::Conflict,
                SettleResult::Unavailable => BatchResult::Unavailable,
                SettleResult::Replaced => BatchResult::Replaced,
            },
        }
    }

    /// The effects of each job and the record of its success. `Some`: nothing of it may stay.
    async fn batch_in(&self, tx: &mut dyn Tx, batch: &Batch) -> StoreResult<Option<BatchResult>> {
        let keys: Vec<(TenantId, JobId)> =
            batch.jobs.iter().map(|job| (job.tenant, job.job)).collect();
        let bodies = tx.job_bodies(&keys).await?;
        if bodies.len() < keys.len() {
            let there: HashSet<JobId> = bodies.iter().map(|body| body.job).collect();
            let gone = keys
                .into_iter()
                .map(|(_, job)| job)
                .filter(|job| !there.contains(job))
                .collect();
            return Ok(Some(BatchResult::Gone(gone)));
        }
        for body in &bodies {
            if let Err(failure) = self.effects(tx, body).await? {
                let policy = own_policy(body);
                return Ok(Some(BatchResult::Failed {
                    job: body.job,
                    failure: Box::new(failure),
                    policy,
                }));
            }
        }
        let finished_at = self.clock.now();
        let attempts: Vec<Attempt> = batch
            .jobs
            .iter()
            .map(|job| success(job, batch.started_at, finished_at))
            .collect();
        tx.attempt_settle(&attempts, Some(&batch.tally)).await?;
        Ok(None)
    }

    /// The outer error is the transaction's: it goes on no further. The inner one is the job's.
    async fn effects(&self, tx: &mut dyn Tx, body: &JobBody) -> StoreResult<Result<(), Failure>> {
        let Some(builtin) = self.registry.find_builtin(&body.kind) else {
            return Ok(Err(unknown_kind(&body.kind)));
        };
        match caught(builtin.handler.run(tx, body)).await {
            Ok(Ok(())) => Ok(Ok(())),
            Ok(Err(HandlerError::Failure(failure))) => Ok(Err(*failure)),
            Ok(Err(HandlerError::Store(error))) if error.retryable() => Err(error),
            Ok(Err(HandlerError::Store(error))) => Ok(Err(Failure::new(
                error.category(),
                "store_refused",
                error.to_string(),
            ))),
            Err(failure) => Ok(Err(failure)),
        }
    }

    fn batch_committed(&self, batch: &Batch) -> BatchResult {
        let took = self.clock.now().ms_since(batch.started_at).max(0);
        let count = batch.jobs.len() as i64;
        self.samples.count(Series::Done, Uuid::nil(), count);
        self.samples
            .count(Series::DurationMs, Uuid::nil(), took * count);
        let ids: Vec<JobId> = batch.jobs.iter().take(32).map(|job| job.job).collect();
        self.samples.jobs_changed(&ids);
        BatchResult::Committed
    }

    async fn settle(
        self: &Arc<Self>,
        sequence: i64,
        settlement: &Arc<Settlement>,
        configured: &Arc<Configured>,
    ) -> SettleResult {
        let (shared, own, queues) = (
            Arc::clone(self),
            Arc::clone(settlement),
            Arc::clone(configured),
        );
        let settled = self
            .store
            .transact(Scope::System("engine"), move |tx| {
                let (shared, settlement, queues) =
                    (Arc::clone(&shared), Arc::clone(&own), Arc::clone(&queues));
                Box::pin(async move { shared.settle_in(tx, &settlement, &queues).await })
            })
            .await;
        let result = match settled {
            Ok(announced) => {
                if announced {
                    self.store.wake();
                }
                SettleResult::Committed
            }
            Err(error) => self.refused(sequence, &settlement.tally, &error).await,
        };
        if result == SettleResult::Committed {
            self.count_settled(settlement, configured);
        }
        result
    }

    /// Outcomes, dead letters, breakers, and what is told of them. True when something was told.
    async fn settle_in(
        &self,
        tx: &mut dyn Tx,
        settlement: &Settlement,
        configured: &Configured,
    ) -> StoreResult<bool> {
        tx.attempt_settle(&settlement.attempts, Some(&settlement.tally))
            .await?;
        let mut told = Vec::new();
        for attempt in settlement
            .attempts
            .iter()
            .filter(|attempt| attempt.outcome == Outcome::Dead)
        {
            if let Some(letter) = letter(tx, attempt).await? {
                tx.dead_letter_insert(&letter).await?;
                told.push(Announcement::Dead(letter));
            }
        }
        for (queue, breaker) in &settlement.breakers {
            tx.breaker_save(*queue, breaker).await?;
        }
        for turn in &settlement.turns {
            if let Some(endpoint) = configured.endpoint(turn.queue) {
                let error = turn.error.clone();
                told.push(Announcement::Breaker {
                    endpoint,
                    turn: turn.turn,
                    at: turn.at,
                    error,
                });
            }
        }
        let arrivals: Vec<_> = told
            .iter()
            .filter_map(|what| self.announcer.announce(what))
            .collect();
        if arrivals.is_empty() {
            return Ok(false);
        }
        // Our own events go by the configuration that this node knows: a binding made this moment may miss one.
        let version = tx.config_version().await?;
        tx.event_append(version, &arrivals).await?;
        Ok(true)
    }

    fn count_settled(&self, settlement: &Settlement, configured: &Configured) {
        for attempt in &settlement.attempts {
            let subject = configured
                .endpoint(attempt.queue)
                .map_or(Uuid::nil(), |endpoint| endpoint.uuid());
            match attempt.outcome {
                Outcome::Succeeded => {
                    self.samples.count(Series::Done, subject, 1);
                    let took = attempt.finished_at.ms_since(attempt.started_at).max(0);
                    self.samples.count(Series::DurationMs, subject, took);
                }
                Outcome::Failed | Outcome::Lost => self.samples.count(Series::Failed, subject, 1),
                Outcome::Dead => {
                    self.samples.count(Series::Dead, subject, 1);
                    self.samples.changed("dead_letter", &[attempt.job]);
                }
                Outcome::Unknown | Outcome::Cancelled | Outcome::Requeued | Outcome::Discarded => {}
            }
            if let (Some(at), Some(code)) = (attempt.next_at, &attempt.code) {
                // RTY-03: every retry is logged.
                tracing::info!(job = %attempt.job, tries = attempt.tries, code, delay_ms = at.ms_since(attempt.finished_at), "retry");
            }
        }
        let ids: Vec<JobId> = settlement
            .attempts
            .iter()
            .take(32)
            .map(|attempt| attempt.job)
            .collect();
        self.samples.jobs_changed(&ids);
        for turn in &settlement.turns {
            if let Some(endpoint) = configured.endpoint(turn.queue) {
                self.samples.changed("endpoint", &[endpoint]);
            }
        }
    }

    async fn inspect(&self, jobs: Vec<JobAt>) -> StoreResult<Vec<Truth>> {
        self.store
            .read(Scope::System("engine"), move |tx| {
                let jobs = jobs.clone();
                Box::pin(async move {
                    let mut truths = Vec::with_capacity(jobs.len());
                    for at in jobs {
                        truths.push(truth(tx, at).await?);
                    }
                    Ok(truths)
                })
            })
            .await
    }

    async fn save_checkpoint(&self, checkpoint: Checkpoint) -> SettleResult {
        let saved = self
            .store
            .transact(Scope::System("engine"), move |tx| {
                let checkpoint = checkpoint.clone();
                Box::pin(async move { tx.checkpoint_save(&checkpoint).await })
            })
            .await;
        match saved {
            Ok(()) => SettleResult::Committed,
            Err(StoreError::Conflict { .. }) => SettleResult::Replaced,
            Err(error) => {
                failed("a checkpoint could not be written", &error);
                SettleResult::Unavailable
            }
        }
    }

    /// Why a transaction under this number did not go through, or that it had gone through before.
    async fn refused(
        &self,
        sequence: i64,
        tally: &TallyRecord,
        error: &StoreError,
    ) -> SettleResult {
        let StoreError::Conflict { what } = error else {
            failed("outcomes could not be recorded", error);
            return SettleResult::Unavailable;
        };
        match self.committed(sequence, tally).await {
            Some(known) => known,
            None if *what == "tally record" => SettleResult::Replaced,
            None => SettleResult::Conflict,
        }
    }

    /// Whether this number is used: by us (`Committed`) or by a successor (`Replaced`); `None` when it is free.
    async fn committed(&self, sequence: i64, tally: &TallyRecord) -> Option<SettleResult> {
        let records = self
            .store
            .read(Scope::System("engine"), move |tx| {
                Box::pin(async move { tx.tally_since(sequence - 1).await })
            })
            .await;
        let records = match records {
            Ok(records) => records,
            Err(error) => {
                failed(
                    "it could not be found out whether outcomes are recorded",
                    &error,
                );
                return Some(SettleResult::Unavailable);
            }
        };
        let record = records
            .first()
            .filter(|record| record.sequence == sequence)?;
        Some(if record == tally {
            SettleResult::Committed
        } else {
            SettleResult::Replaced
        })
    }
}

fn failed(what: &'static str, error: &StoreError) -> Failed {
    tracing::warn!(%error, "{what}; trying again");
    Failed
}

/// Ends a transaction whose result is known already.
fn rolled_back() -> StoreError {
    StoreError::Conflict { what: "batch" }
}

const fn started(allowed: Option<&bool>) -> Started {
    match allowed {
        Some(true) => Started::Go,
        Some(false) => Started::Refused,
        None => Started::Gone,
    }
}

const fn success(job: &JobRef, started_at: Timestamp, finished_at: Timestamp) -> Attempt {
    Attempt {
        tenant: job.tenant,
        job: job.job,
        attempt: job.attempt + 1,
        tries: job.tries + 1,
        queue: job.queue,
        outcome: Outcome::Succeeded,
        started_at,
        finished_at,
        next_at: None,
        category: None,
        code: None,
        error: None,
        status: None,
        exchange: None,
        by: None,
    }
}

async fn letter(tx: &mut dyn Tx, attempt: &Attempt) -> StoreResult<Option<DeadLetter>> {
    let Some(job) = tx.job_get(attempt.job).await? else {
        return Ok(None);
    };
    let event_kind = match job.event {
        Some(event) => tx.event_get(event).await?.map(|event| event.kind),
        None => None,
    };
    Ok(Some(DeadLetter {
        job: job.id,
        tenant: job.tenant,
        attempt: attempt.attempt,
        queue: attempt.queue,
        kind: job.kind,
        endpoint: job.endpoint,
        event: job.event,
        event_kind,
        died_at: attempt.finished_at,
        category: attempt.category.unwrap_or(Category::Unknown),
        code: attempt.code.clone().unwrap_or_else(|| "unknown".to_owned()),
        error: attempt.error.clone().unwrap_or_default(),
        status: attempt.status,
    }))
}

async fn truth(tx: &mut dyn Tx, at: JobAt) -> StoreResult<Truth> {
    let (attempts, start) = tx.job_attempts(at.job).await?;
    let last = attempts.last();
    let lost = lost_in_a_row(&attempts);
    let next = match last.and_then(|last| last.next_at) {
        Some(due) => {
            let before = DueKey {
                due,
                tenant: at.tenant,
                job: just_before(at.job),
            };
            let found = tx.retry_refill(at.queue, before, due, 1).await?;
            found.into_iter().find(|job| job.job == at.job)
        }
        None => None,
    };
    Ok(Truth {
        at,
        attempt: last.map_or(0, |last| last.attempt),
        next,
        start,
        lost,
    })
}

fn just_before(job: JobId) -> JobId {
    JobId::from_uuid(Uuid::from_u128(job.uuid().as_u128().saturating_sub(1)))
}

/// How many of the last attempts, one after the other, died with their process.
fn lost_in_a_row(attempts: &[Attempt]) -> i32 {
    attempts
        .iter()
        .rev()
        .take_while(|attempt| attempt.outcome == Outcome::Lost)
        .count() as i32
}
