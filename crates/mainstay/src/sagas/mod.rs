//! Sagas: the engine's owner looks at the runs that are due, decides by a pure rule ([`mainstay_domain::sagas::decide`]) and
//! writes what it decided in one commit with the job that it makes. A run that waits for a job is due when that job has
//! ended: the end itself says so ([`Bell`]), in its own transaction. So a crash between any two steps, a second node and a
//! person who says something at the same moment change nothing: whoever acts on an older revision of the run has lost.

mod bell;
mod run;

use bytes::Bytes;
use mainstay_domain::{
    JobId, StoreError, StoreResult, TenantId, Timestamp, Tx,
    jobs::{Attempt, AttemptStart, NewJob, Outcome, settings::EndpointSettings},
    sagas::{Fact, Made, SagaRun},
};

pub use bell::Bell;
pub(crate) use run::run;
pub use run::{Ended, Sagas};

/// The band that the jobs of sagas wait in: that of the API's own.
const BAND: i16 = 1;
/// Who cancels and discards jobs of a run that does not want them any more.
const BY: &str = "saga";

/// The job of a decision.
fn job(run: &SagaRun, made: &Made, now: Timestamp) -> StoreResult<NewJob> {
    let bug = |error: serde_json::Error| StoreError::Bug(error.to_string());
    let payload = serde_json::to_vec(&made.told).map_err(bug)?;
    let retry = made.action.retry.as_ref().map(serde_json::to_string);
    Ok(NewJob {
        id: made.id,
        tenant: run.tenant,
        queue: made.action.queue,
        band: BAND,
        kind: made.action.kind.clone(),
        event: None,
        binding: None,
        replay: None,
        endpoint: made.action.endpoint,
        payload: Some(Bytes::from(payload)),
        run_at: made.run_at,
        deadline: None,
        retry: retry.transpose().map_err(bug)?,
        order: None,
        created_at: now,
    })
}

/// How the job stands that a run waits for.
async fn fact(tx: &mut dyn Tx, job: JobId) -> StoreResult<Fact> {
    let (attempts, started) = tx.job_attempts(job).await?;
    if attempts.is_empty() && started.is_none() && tx.job_get(job).await?.is_none() {
        return Ok(Fact::Cancelled {
            error: "it is gone".to_owned(),
            maybe: true,
            until: None,
        });
    }
    let until = cut_until(tx, job, &attempts).await?;
    Ok(Fact::of(&attempts, started.is_some(), until))
}

/// Until when an attempt may go on over which somebody has ended the job: a worker hears of it with its next sign of life, and a
/// request is broken off, but may have arrived.
async fn cut_until(
    tx: &mut dyn Tx,
    job: JobId,
    attempts: &[Attempt],
) -> StoreResult<Option<Timestamp>> {
    let Some(ended) = attempts.last().filter(|last| last.by.is_some()) else {
        return Ok(None);
    };
    let start = tx.attempt_start_last(job).await?;
    let Some(start) = start.filter(|start| start.attempt >= ended.attempt) else {
        return Ok(None);
    };
    let longest_ms = match start.lease_ms {
        Some(lease_ms) => i64::from(lease_ms),
        None => {
            let endpoint = match tx.job_get(job).await?.and_then(|job| job.endpoint) {
                Some(endpoint) => tx.endpoint_get(endpoint).await?,
                None => None,
            };
            let settings: Option<EndpointSettings> =
                endpoint.and_then(|endpoint| serde_json::from_str(&endpoint.settings).ok());
            let settings = settings.unwrap_or_default();
            i64::try_from(settings.timeout_ms).unwrap_or(i64::MAX)
        }
    };
    Ok(Some(ended.finished_at.plus_ms(longest_ms)))
}

/// Cancels a job that has not ended. Conflict when it has.
async fn cancel(
    tx: &mut dyn Tx,
    tenant: TenantId,
    job: JobId,
    reason: &str,
    now: Timestamp,
) -> StoreResult<()> {
    const ENDED: StoreError = StoreError::Conflict { what: "run" };
    let (attempts, started) = tx.job_attempts(job).await?;
    let found = tx.job_get(job).await?.ok_or(ENDED)?;
    let queue = tx.queue_ensure(&found.queue).await?;
    let attempt = Attempt {
        tenant,
        job,
        attempt: next(&attempts, started),
        tries: 0,
        queue,
        outcome: Outcome::Cancelled,
        started_at: now,
        finished_at: now,
        next_at: None,
        category: None,
        code: None,
        error: Some(reason.to_owned()),
        status: None,
        exchange: None,
        by: Some(BY.to_owned()),
    };
    match tx.job_cancel(&attempt).await? {
        true => Ok(()),
        false => Err(ENDED),
    }
}

/// The number that the next outcome is recorded under: an attempt that runs is fenced by taking its number.
fn next(attempts: &[Attempt], started: Option<AttemptStart>) -> i32 {
    let recorded = attempts.last().map_or(0, |last| last.attempt);
    started.map_or(recorded + 1, |start| start.attempt.max(recorded + 1))
}
