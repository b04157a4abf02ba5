//! A worker says how jobs went.

use std::sync::Arc;

use axum::{Json, extract::State};
use futures_util::future::join_all;
use mainstay::jobs::{
    Failure,
    workers::{How, Told, Worker, WorkerReport},
};
use mainstay_domain::Category;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{problem, token::Token, worker};
use crate::{
    access::Caller,
    http::{
        Code, Problem,
        extract::{Checks, Input},
    },
    limits,
    state::App,
};

/// How an attempt went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OutcomeWord {
    /// The job is done.
    Completed,
    /// It failed: `failure` says why.
    Failed,
    /// Given back, to be handed to another at once. That uses up no try.
    Released,
    /// Given back, to be handed out again in `delay_secs`. That uses up no try.
    Snoozed,
}

/// Why an attempt failed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailureInput {
    /// What kind of failure: it decides whether another try can help. Left out: `unknown`, which is tried again.
    category: Option<String>,
    /// A stable code of the team's own. Left out: `worker_failed`.
    #[schema(min_length = 1, max_length = 100)]
    code: Option<String>,
    /// What went wrong, in a sentence.
    #[schema(min_length = 1, max_length = 2000)]
    message: String,
    /// Not before so many seconds have passed.
    #[schema(minimum = 0, maximum = 2592000)]
    retry_after_secs: Option<i64>,
    /// False: the job is not tried again, whatever its policy says.
    retryable: Option<bool>,
}

/// How an attempt went.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutcomeInput {
    /// Of the attempt that was handed out with it.
    token: String,
    outcome: OutcomeWord,
    /// What came of it, if it is completed: JSON of at most 64 KiB, kept with the attempt.
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Box<RawValue>>,
    /// Why, if it failed.
    failure: Option<FailureInput>,
    /// How long it is to wait, if it is snoozed.
    #[schema(minimum = 1, maximum = 2592000)]
    delay_secs: Option<i64>,
    /// Why, if it is given back.
    #[schema(min_length = 1, max_length = 500)]
    reason: Option<String>,
}

/// What became of an outcome that was told.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OutcomeView {
    token: String,
    /// Whether it is recorded. The same can be told again.
    recorded: bool,
    /// Why not: `lease_ended` or `job_cancelled`.
    code: Option<&'static str>,
}

/// How jobs went.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportInput {
    /// The worker's name.
    #[schema(min_length = 1, max_length = 100)]
    worker: String,
    #[schema(min_items = 1, max_items = 100)]
    outcomes: Vec<OutcomeInput>,
}

/// What became of the outcomes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReportView {
    /// In the same order.
    outcomes: Vec<OutcomeView>,
}

/// Say how jobs went
///
/// Answers once it is committed, and may be repeated. 409 where none of them is recorded, because the attempts were in the
/// worker's hands no more: nothing has changed.
#[utoipa::path(post, path = "/v1/workers/report", tag = "jobs", request_body = ReportInput,
    responses((status = 200, body = ReportView),
        (status = 409, description = "None is recorded: the leases have ended, or the jobs were cancelled")))]
pub(super) async fn worker_report(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<ReportInput>,
) -> Result<Json<ReportView>, Problem> {
    caller.everywhere()?;
    let input = input.value;
    let mut checks = Checks::default();
    let worker = worker(&caller, input.worker, &mut checks);
    checks.ensure(
        !input.outcomes.is_empty(),
        "/outcomes",
        "must have at least one",
    );
    let outcomes = checked(input.outcomes, &mut checks);
    checks.done()?;
    let outcomes = tell(&app, &worker, outcomes).await?;
    if outcomes.iter().any(|one| one.recorded) {
        return Ok(Json(ReportView { outcomes }));
    }
    let cancelled = outcomes.iter().all(|one| one.code == Some(CANCELLED));
    Err(match cancelled {
        true => Problem::new(
            Code::JobCancelled,
            "the job was cancelled: nothing is recorded",
        ),
        false => Problem::new(
            Code::LeaseEnded,
            "the attempt was not in this worker's hands any more: nothing is recorded",
        ),
    })
}

const CANCELLED: &str = Code::JobCancelled.as_str();
const ENDED: &str = Code::LeaseEnded.as_str();

/// An outcome that can be told.
pub(super) struct Outcome {
    text: String,
    token: Token,
    how: How,
}

/// Outcomes, checked.
pub(super) fn checked(outcomes: Vec<OutcomeInput>, checks: &mut Checks) -> Vec<Outcome> {
    let most = limits::OUTCOMES_MAX;
    let fits = outcomes.len() <= most;
    checks.ensure(
        fits,
        "/outcomes",
        &format!("must have at most {most} of them"),
    );
    let mut read = Vec::with_capacity(outcomes.len().min(most));
    for (index, one) in outcomes.into_iter().enumerate().take(most) {
        let at = format!("/outcomes/{index}");
        let token = Token::decode(&one.token);
        let no_token = "is no token of a job in hand";
        checks.ensure(token.is_some(), &format!("{at}/token"), no_token);
        let text = one.token.clone();
        let how = how(one, &at, checks);
        if let (Some(token), Some(how)) = (token, how) {
            read.push(Outcome { text, token, how });
        }
    }
    read
}

fn how(input: OutcomeInput, at: &str, checks: &mut Checks) -> Option<How> {
    let word = input.outcome;
    let mut only = |given: bool, field: &str, of: OutcomeWord, needed: bool| {
        let place = format!("{at}/{field}");
        if word == of {
            checks.ensure(given || !needed, &place, "must be given");
        } else {
            checks.ensure(!given, &place, "means nothing for this outcome");
        }
    };
    only(
        input.result.is_some(),
        "result",
        OutcomeWord::Completed,
        false,
    );
    only(
        input.failure.is_some(),
        "failure",
        OutcomeWord::Failed,
        true,
    );
    only(
        input.delay_secs.is_some(),
        "delay_secs",
        OutcomeWord::Snoozed,
        true,
    );
    if let Some(reason) = &input.reason {
        checks.text(&format!("{at}/reason"), reason, 500);
        let back = matches!(word, OutcomeWord::Released | OutcomeWord::Snoozed);
        let place = format!("{at}/reason");
        checks.ensure(back, &place, "means nothing for this outcome");
    }
    match word {
        OutcomeWord::Completed => {
            let bytes = input.result.as_ref().map_or(0, |result| result.get().len());
            let most = limits::RESULT_BYTES_MAX;
            let place = format!("{at}/result");
            checks.ensure(
                bytes <= most,
                &place,
                &format!("must have at most {most} bytes"),
            );
            Some(How::Done {
                result: input.result,
            })
        }
        OutcomeWord::Failed => failed(input.failure?, &format!("{at}/failure"), checks),
        OutcomeWord::Released => Some(How::Returned {
            reason: input.reason,
            delay_ms: None,
        }),
        OutcomeWord::Snoozed => Some(How::Returned {
            reason: input.reason,
            delay_ms: Some(secs(
                input.delay_secs?,
                1,
                &format!("{at}/delay_secs"),
                checks,
            )),
        }),
    }
}

fn failed(input: FailureInput, at: &str, checks: &mut Checks) -> Option<How> {
    let category = match &input.category {
        None => Some(Category::Unknown),
        Some(name) => Category::ALL.into_iter().find(|one| one.as_str() == name),
    };
    let place = format!("{at}/category");
    checks.ensure(category.is_some(), &place, "is no category of failures");
    let category = category?;
    let hopeless = input.retryable == Some(true) && !category.retryable();
    checks.ensure(
        !hopeless,
        &format!("{at}/retryable"),
        "cannot be true: a failure of this category is never tried again",
    );
    checks.text(&format!("{at}/message"), &input.message, 2_000);
    if let Some(code) = &input.code {
        checks.text(&format!("{at}/code"), code, 100);
    }
    let place = format!("{at}/retry_after_secs");
    let retry_after_ms = input
        .retry_after_secs
        .map(|given| secs(given, 0, &place, checks));
    let code = input.code.unwrap_or_else(|| "worker_failed".to_owned());
    let mut failure = Failure::new(category, code, input.message);
    failure.retry_after_ms = retry_after_ms;
    Some(How::Failed {
        failure: Box::new(failure),
        last: input.retryable == Some(false),
    })
}

/// Seconds, up to thirty days, in milliseconds.
fn secs(given: i64, least: i64, at: &str, checks: &mut Checks) -> i64 {
    let most = limits::DELAY_SECS_MAX;
    let fits = (least..=most).contains(&given);
    checks.ensure(fits, at, &format!("must be {least} to {most}"));
    given.clamp(least, most) * 1_000
}

/// Tells outcomes, all at once, and answers what became of them in the same order.
pub(super) async fn tell(
    app: &App,
    worker: &Worker,
    outcomes: Vec<Outcome>,
) -> Result<Vec<OutcomeView>, Problem> {
    let workers = app.mainstay.engine.workers();
    let told = outcomes.into_iter().map(|outcome| async move {
        let report = WorkerReport {
            worker: worker.clone(),
            tenant: outcome.token.tenant,
            job: outcome.token.job,
            attempt: outcome.token.attempt,
            how: outcome.how,
        };
        let code = match workers.report(report).await.map_err(problem)? {
            Told::Recorded => None,
            Told::Cancelled => Some(CANCELLED),
            Told::Ended => Some(ENDED),
            Told::NotYet => {
                let detail = "the jobs have just got another owner: repeat the request";
                return Err(Problem::new(Code::OwnerStarting, detail).retry_after(1));
            }
        };
        Ok(OutcomeView {
            token: outcome.text,
            recorded: code.is_none(),
            code,
        })
    });
    join_all(told).await.into_iter().collect()
}
