//! Built-in jobs: the effects of a batch and the record of its success are one transaction.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use mainstay_domain::{
    JobId, Scope, StoreError, StoreExt, StoreResult, TenantId, Timestamp, Tx,
    jobs::{Attempt, JobBody, JobRef, Outcome, retry::RetryPolicy},
    watch::Series,
};
use uuid::Uuid;

use super::{
    Shared,
    work::{caught, own_policy, unknown_kind},
};
use crate::jobs::{
    handler::HandlerError,
    machine::{Batch, BatchResult, Failure, SettleResult, Turns},
};

/// Ids of done jobs that those who watch are told of, for each batch.
const SHOWN_MAX: usize = 32;

impl Shared {
    pub(super) async fn run_batch(
        self: &Arc<Self>,
        again: bool,
        batch: &Arc<Batch>,
    ) -> (BatchResult, Turns) {
        let (result, turns) = self.try_batch(batch).await;
        // A batch that was sent before may be committed: then its handlers met their own effects.
        let result = match result {
            BatchResult::Failed { .. } | BatchResult::Gone(_) if again => {
                match self.known(&batch.tally).await {
                    None => result,
                    Some(known) => of_settle(known),
                }
            }
            result => result,
        };
        if matches!(result, BatchResult::Committed) {
            self.count_batch(batch);
        }
        (result, turns)
    }

    async fn try_batch(self: &Arc<Self>, batch: &Arc<Batch>) -> (BatchResult, Turns) {
        let undone: Arc<Mutex<Option<BatchResult>>> = Arc::default();
        let (shared, own, why) = (Arc::clone(self), Arc::clone(batch), Arc::clone(&undone));
        let ran = self.store.transact(Scope::System("engine"), move |tx| {
            let (shared, batch, why) = (Arc::clone(&shared), Arc::clone(&own), Arc::clone(&why));
            Box::pin(async move {
                let result = shared.batch_in(tx, &batch).await?;
                let rolled_back = result.is_some();
                *why.lock().unwrap_or_else(PoisonError::into_inner) = result;
                if rolled_back {
                    return Err(rolled_back_error());
                }
                let now = shared.clock.now();
                let ended: Vec<_> = batch.jobs.iter().map(|job| (job.tenant, job.job)).collect();
                let marked = shared.options.bell.mark(tx, &ended, now).await?;
                let ends = batch.ends(now);
                let turns = match ends.is_empty() {
                    true => Vec::new(),
                    false => tx.line_leave(&ends).await?,
                };
                Ok((marked, turns))
            })
        });
        let ran = ran.await;
        if let Some(result) = undone.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return (result, Turns::Unknown);
        }
        match ran {
            Ok((marked, turns)) => {
                if marked > 0 {
                    self.options.bell.ring();
                }
                (BatchResult::Committed, Turns::Known(turns))
            }
            Err(error) => {
                let refused = self.refused(&batch.tally, &error).await;
                (of_settle(refused), Turns::Unknown)
            }
        }
    }

    /// The effects of each job, then the record of their success. `Some`: nothing of it may stay.
    async fn batch_in(&self, tx: &mut dyn Tx, batch: &Batch) -> StoreResult<Option<BatchResult>> {
        let keys: Vec<(TenantId, JobId)> =
            batch.jobs.iter().map(|job| (job.tenant, job.job)).collect();
        let (mut bodies, others) = self.read_along.take(&keys, self.clock.now());
        if !others.is_empty() {
            bodies.extend(tx.job_bodies(&others, false).await?);
        }
        if bodies.len() < keys.len() {
            return Ok(Some(BatchResult::Gone(missing(&keys, &bodies))));
        }
        for body in &bodies {
            if let Err((failure, policy)) = self.effects(tx, body).await? {
                return Ok(Some(BatchResult::Failed {
                    job: body.job,
                    failure: Box::new(failure),
                    policy,
                }));
            }
        }
        let finished_at = self.clock.now();
        let success = |job| success(job, batch.started_at, finished_at);
        let attempts: Vec<Attempt> = batch.jobs.iter().map(success).collect();
        tx.attempt_settle(&attempts, Some(&batch.tally)).await?;
        Ok(None)
    }

    /// The outer error is the transaction's: it goes on no further. The inner one is the job's.
    async fn effects(&self, tx: &mut dyn Tx, body: &JobBody) -> StoreResult<Result<(), Refusal>> {
        let Some(builtin) = self.registry.find_builtin(&body.kind) else {
            return Ok(Err((unknown_kind(&body.kind), own_policy(body))));
        };
        let failure = match caught(builtin.handler.run(tx, body)).await {
            Ok(Ok(())) => return Ok(Ok(())),
            Ok(Err(HandlerError::Store(error))) if error.retryable() => return Err(error),
            Ok(Err(HandlerError::Store(error))) => {
                let code = match error {
                    StoreError::Erased => "erased",
                    _ => "store_refused",
                };
                Failure::new(error.category(), code, error.to_string())
            }
            Ok(Err(HandlerError::Failure(failure))) => *failure,
            Err(failure) => failure,
        };
        let policy = own_policy(body).unwrap_or_else(|| Box::new(builtin.retry.clone()));
        Ok(Err((failure, Some(policy))))
    }

    fn count_batch(&self, batch: &Batch) {
        let took = self.clock.now().ms_since(batch.started_at).max(0);
        let count = batch.jobs.len() as i64;
        let nobody = Uuid::nil();
        self.samples.count(Series::Done, nobody, count);
        self.samples.count(Series::DurationMs, nobody, took * count);
        let shown = batch.jobs.iter().take(SHOWN_MAX);
        let shown: Vec<JobId> = shown.map(|job| job.job).collect();
        self.samples.jobs_changed(&shown);
    }
}

/// Why a job's effects could not be, and what decides whether it is tried again.
type Refusal = (Failure, Option<Box<RetryPolicy>>);

fn missing(keys: &[(TenantId, JobId)], bodies: &[JobBody]) -> Vec<JobId> {
    let there: HashSet<JobId> = bodies.iter().map(|body| body.job).collect();
    let jobs = keys.iter().map(|(_, job)| *job);
    jobs.filter(|job| !there.contains(job)).collect()
}

fn of_settle(result: SettleResult) -> BatchResult {
    match result {
        SettleResult::Committed => BatchResult::Committed,
        SettleResult::Conflict => BatchResult::Conflict,
        SettleResult::Unavailable => BatchResult::Unavailable,
        SettleResult::Replaced => BatchResult::Replaced,
    }
}

/// Ends a transaction whose result is known already.
fn rolled_back_error() -> StoreError {
    StoreError::Conflict { what: "batch" }
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
