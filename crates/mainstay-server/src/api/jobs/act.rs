//! What a person can do about a job: run it again, or stop it.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use mainstay::jobs::dead_letter;
use mainstay_domain::{
    JobId, Timestamp,
    jobs::{Attempt, AttemptStart, DeadLetterFilter, Job, JobState, Outcome, QueueNumber},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::JobStateName;
use crate::{
    access::{
        Caller,
        audit::in_tenant,
        idempotency::{Done, write},
    },
    http::{
        Code, Problem,
        extract::{Checks, Id, NoInput, OptionalInput},
        text::Name,
    },
    state::App,
};

/// What became of a job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobEnded {
    #[schema(value_type = String)]
    id: JobId,
    state: JobStateName,
}

/// Run a dead letter again
///
/// Its tries start from the beginning.
#[utoipa::path(post, path = "/v1/jobs/{id}/retry", tag = "jobs", params(("id" = String, Path, description = "`job_…`")),
    responses((status = 200, body = JobEnded)))]
pub(super) async fn job_retry(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<JobId>,
    input: NoInput,
) -> Result<Response, Problem> {
    let (by, now) = (caller.actor(), app.clock.now());
    let told = caller.audit(&app, "job.retry", id, None, None);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (told, by) = (told.clone(), by.clone());
        Box::pin(async move {
            let Some(job) = tx.job_get(id).await? else {
                return Ok(Err(Problem::not_found("job")));
            };
            let filter = DeadLetterFilter {
                jobs: vec![id],
                ..DeadLetterFilter::default()
            };
            let letters = tx.dead_letter_list(&filter, 1).await?;
            let attempts: Vec<Attempt> = letters
                .iter()
                .map(|letter| dead_letter::attempt(letter, &dead_letter::End::Retry, &by, now))
                .collect();
            if attempts.is_empty() || tx.dead_letter_end(&attempts).await? == 0 {
                let detail = format!(
                    "only a dead letter can be run again; this job is {}",
                    job.state.as_str()
                );
                return Ok(Err(Problem::new(Code::StateConflict, detail)));
            }
            tx.audit_insert(&in_tenant(told, job.tenant)).await?;
            Done::json(
                StatusCode::OK,
                &JobEnded {
                    id,
                    state: JobStateName::Retrying,
                },
            )
            .map(Ok)
        })
    })
    .await?;
    app.store.wake();
    app.mainstay.samples.jobs_changed(&[id]);
    app.mainstay.samples.changed("dead_letter", &[id]);
    Ok(done)
}

/// Why a job is stopped.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CancelInput {
    #[schema(value_type = Option<Name<500>>)]
    reason: Option<String>,
}

/// Cancel a job that has not ended
///
/// An attempt that is under way may still reach the endpoint; nothing is started any more.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", tag = "jobs",
    params(("id" = String, Path, description = "`job_…`")), request_body = CancelInput,
    responses((status = 200, body = JobEnded)))]
pub(super) async fn job_cancel(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<JobId>,
    input: OptionalInput<CancelInput>,
) -> Result<Response, Problem> {
    let reason = input.value.reason;
    if let Some(reason) = &reason {
        let mut checks = Checks::default();
        checks.text("/reason", reason, 500);
        checks.done()?;
    }
    let (by, now) = (caller.actor(), app.clock.now());
    let told = caller.audit(&app, "job.cancel", id, None, None);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (told, by, reason) = (told.clone(), by.clone(), reason.clone());
        Box::pin(async move {
            let Some(job) = tx.job_get(id).await? else {
                return Ok(Err(Problem::not_found("job")));
            };
            let ended = || {
                let detail = format!("this job has ended: it is {}", job.state.as_str());
                Ok(Err(Problem::new(Code::StateConflict, detail)))
            };
            if matches!(
                job.state,
                JobState::Done | JobState::Dead | JobState::Cancelled
            ) {
                return ended();
            }
            let queue = tx.queue_ensure(&job.queue).await?;
            let (attempts, running) = tx.job_attempts(id).await?;
            let attempt = cancelled(&job, queue, next(&attempts, running), by, reason, now);
            if !tx.job_cancel(&attempt).await? {
                return ended();
            }
            tx.audit_insert(&in_tenant(told, job.tenant)).await?;
            Done::json(
                StatusCode::OK,
                &JobEnded {
                    id,
                    state: JobStateName::Cancelled,
                },
            )
            .map(Ok)
        })
    })
    .await?;
    app.store.wake();
    app.mainstay.samples.jobs_changed(&[id]);
    Ok(done)
}

/// The number that the next outcome is recorded under: an attempt that runs is fenced by taking its number.
pub(super) fn next(attempts: &[Attempt], running: Option<AttemptStart>) -> i32 {
    let recorded = attempts.last().map_or(0, |last| last.attempt);
    running.map_or(recorded + 1, |start| start.attempt.max(recorded + 1))
}

pub(super) fn cancelled(
    job: &Job,
    queue: QueueNumber,
    attempt: i32,
    by: String,
    reason: Option<String>,
    now: Timestamp,
) -> Attempt {
    Attempt {
        tenant: job.tenant,
        job: job.id,
        attempt,
        tries: 0,
        queue,
        outcome: Outcome::Cancelled,
        started_at: now,
        finished_at: now,
        next_at: None,
        category: None,
        code: None,
        error: reason,
        status: None,
        exchange: None,
        by: Some(by),
    }
}

#[cfg(test)]
mod tests {
    use mainstay_domain::TenantId;

    use super::*;

    #[test]
    fn a_cancellation_takes_the_number_of_the_attempt_that_runs() {
        let start = AttemptStart {
            tenant: TenantId::NIL,
            job: JobId::NIL,
            queue: 1,
            attempt: 1,
            tries: 0,
            at: Timestamp::EPOCH,
            lease_ms: None,
        };
        assert_eq!(next(&[], None), 1);
        assert_eq!(next(&[], Some(start)), 1);
    }
}
