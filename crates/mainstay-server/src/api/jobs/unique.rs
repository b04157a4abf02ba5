//! Submitting a job that there is to be one of.

use mainstay_domain::{
    JobId, StoreResult, Timestamp, Tx,
    intake::ordering::key_of,
    jobs::{
        JobState, NewJob,
        unique::{
            IfTaken, Unique, UniqueHolder, UniqueKey, UniqueUntil, UniqueVerdict, WINDOW_MS_MAX,
        },
    },
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::act::{cancelled, next};
use crate::http::extract::Checks;

/// The longest window, in seconds.
const FOR_SECS_MAX: i64 = WINDOW_MS_MAX / 1_000;
/// Why a job was cancelled that another one has replaced.
const REPLACED: &str = "replaced by a later one with its key";

/// Until when an earlier job stands in the way.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UniqueUntilName {
    /// Until it has ended.
    #[default]
    Ended,
    /// Until it has been started for the first time.
    Started,
}

/// What becomes of a submission whose key is taken.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IfTakenName {
    /// The earlier job is the answer, with status 200.
    #[default]
    Keep,
    /// The earlier job is cancelled unless it was started, and this one takes its place.
    Replace,
}

/// One of its kind: what becomes of it when there is another with its key in its queue, of the same tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UniqueInput {
    /// What they share, e.g. `report:2026-11`. Only a digest of it is kept.
    #[schema(min_length = 1, max_length = 200)]
    key: String,
    /// Until when an earlier one stands in its way. Left out: `ended`.
    until: Option<UniqueUntilName>,
    /// And in any case for so long after it was submitted.
    #[schema(minimum = 1, maximum = 2_592_000)]
    for_secs: Option<i64>,
    /// Left out: `keep`.
    if_taken: Option<IfTakenName>,
    /// With `replace` and `run_at`: however often it is replaced, it runs no later than so long after the first one.
    #[schema(minimum = 1, maximum = 2_592_000)]
    at_latest_secs: Option<i64>,
}

impl UniqueInput {
    /// Says what is wrong with it; `at` points to where it stands in the request.
    pub(super) fn check(&self, checks: &mut Checks, at: &str, ordered: bool, timed: bool) {
        let place = |field: &str| format!("{at}/{field}");
        checks.text(&place("key"), &self.key, 200);
        let secs = |secs: Option<i64>| secs.is_none_or(|secs| (1..=FOR_SECS_MAX).contains(&secs));
        let bounds = format!("must be between 1 and {FOR_SECS_MAX}");
        checks.ensure(secs(self.for_secs), &place("for_secs"), &bounds);
        checks.ensure(secs(self.at_latest_secs), &place("at_latest_secs"), &bounds);
        let replaces = matches!(self.if_taken, Some(IfTakenName::Replace));
        checks.ensure(
            self.at_latest_secs.is_none() || (replaces && timed),
            &place("at_latest_secs"),
            "means something only with if_taken replace and a run_at",
        );
        checks.ensure(
            !(replaces && ordered),
            &place("if_taken"),
            "cannot be replace with an ordering_key: a line keeps its order",
        );
    }
}

impl From<UniqueInput> for Unique {
    fn from(input: UniqueInput) -> Self {
        Self {
            key: key_of(&input.key),
            until: match input.until.unwrap_or_default() {
                UniqueUntilName::Ended => UniqueUntil::Ended,
                UniqueUntilName::Started => UniqueUntil::Started,
            },
            for_ms: input.for_secs.map(|secs| secs.saturating_mul(1_000)),
            if_taken: match input.if_taken.unwrap_or_default() {
                IfTakenName::Keep => IfTaken::Keep,
                IfTakenName::Replace => IfTaken::Replace,
            },
            at_latest_ms: input.at_latest_secs.map(|secs| secs.saturating_mul(1_000)),
        }
    }
}

/// A job to submit, and what it says of others like it.
#[derive(Debug, Clone)]
pub(super) struct Submission {
    /// The job.
    pub(super) job: NewJob,
    /// Whether there is to be one of it.
    pub(super) unique: Option<Unique>,
}

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Submitted {
    /// The job: its own, or the one that has its key.
    pub(super) id: JobId,
    /// Whether it is the one that was there before.
    pub(super) existing: bool,
    /// The one that it has replaced.
    pub(super) replaced: Option<JobId>,
}

/// Submits a job, unless another one has its key.
pub(super) async fn submit(
    tx: &mut dyn Tx,
    submission: &Submission,
    by: &str,
    now: Timestamp,
) -> StoreResult<Submitted> {
    let mut job = submission.job.clone();
    let mut submitted = Submitted {
        id: job.id,
        existing: false,
        replaced: None,
    };
    if let Some(unique) = &submission.unique {
        let key = UniqueKey {
            tenant: job.tenant,
            queue: job.queue,
            key: &unique.key,
        };
        if let Some(holder) = tx.unique_take(key, job.id, now).await? {
            let found = tx.job_get(holder.job).await?;
            let state = found.map(|found| found.state);
            match unique.verdict(&holder, state, job.run_at, now) {
                UniqueVerdict::Keep(id) => {
                    (submitted.id, submitted.existing) = (id, true);
                    return Ok(submitted);
                }
                UniqueVerdict::Take => give(tx, key, job.id, now, now).await?,
                UniqueVerdict::Replace {
                    job: earlier,
                    run_at,
                    first_at,
                } => {
                    // One that ended or began meanwhile is not stopped; this one runs beside it.
                    if cancel(tx, earlier, by, now).await? {
                        (submitted.replaced, job.run_at) = (Some(earlier), run_at);
                        give(tx, key, job.id, now, first_at).await?;
                    } else {
                        give(tx, key, job.id, now, now).await?;
                    }
                }
            }
        }
        job.run_at = match submitted.replaced {
            Some(_) => job.run_at,
            None => unique.run_at(job.run_at, now),
        };
    }
    tx.job_insert(std::slice::from_ref(&job)).await?;
    Ok(submitted)
}

async fn give(
    tx: &mut dyn Tx,
    key: UniqueKey<'_>,
    job: JobId,
    at: Timestamp,
    first_at: Timestamp,
) -> StoreResult<()> {
    tx.unique_give(key, &UniqueHolder { job, at, first_at })
        .await
}

async fn cancel(tx: &mut dyn Tx, id: JobId, by: &str, now: Timestamp) -> StoreResult<bool> {
    let Some(job) = tx.job_get(id).await? else {
        return Ok(false);
    };
    let (attempts, running) = tx.job_attempts(id).await?;
    let untouched = matches!(job.state, JobState::Waiting | JobState::Scheduled);
    if !untouched || running.is_some() {
        return Ok(false);
    }
    let queue = tx.queue_ensure(&job.queue).await?;
    let why = Some(REPLACED.to_owned());
    let number = next(&attempts, running);
    let attempt = cancelled(&job, queue, number, by.to_owned(), why, now);
    tx.job_cancel(&attempt).await
}
