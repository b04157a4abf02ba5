//! A worker asks for jobs, and may say in the same request how others went.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State};
use mainstay::jobs::workers::{Handed, Pull};
use mainstay_domain::{JobId, TenantId, jobs::QueueNumber};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    outcome::{self, OutcomeInput, OutcomeView},
    problem,
    token::Token,
    worker,
};
use crate::{
    access::Caller,
    http::{
        Problem,
        extract::{Checks, Input},
    },
    limits,
    state::App,
    time::Time,
};

/// Jobs that are asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PullInput {
    /// The name that the worker gives itself: of its own, since it is listed under it.
    #[schema(min_length = 1, max_length = 100)]
    worker: String,
    /// The queues whose jobs it takes. One that there is not yet is made.
    #[schema(min_items = 1, max_items = 10)]
    queues: Vec<String>,
    /// How many jobs at the most.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 100, default = 1)]
    max: u32,
    /// For how many seconds it holds each without a sign of life.
    #[serde(default = "lease")]
    #[schema(minimum = 5, maximum = 3600, default = 30)]
    lease_secs: i32,
    /// For how many seconds to wait for the first. Left out: 20, and not at all where outcomes are told.
    #[schema(minimum = 0, maximum = 30)]
    wait_secs: Option<u64>,
    /// How other jobs went: recorded first.
    #[serde(default)]
    #[schema(max_items = 100)]
    outcomes: Vec<OutcomeInput>,
}

const fn one() -> u32 {
    1
}

const fn lease() -> i32 {
    30
}

/// A job in a worker's hands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PulledJob {
    /// What to show when speaking of this attempt.
    token: String,
    #[schema(value_type = String)]
    id: JobId,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    queue: String,
    /// What is to be done.
    kind: String,
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// Greater each time that the job is handed out: who keeps the greatest can refuse what comes late.
    attempt: i32,
    /// Which try it is since the job was made or run again, from 1.
    tries: i32,
    /// For how many seconds it is held without a sign of life.
    lease_secs: i32,
    /// Nobody holds it any longer: whatever is told of it afterwards counts for nothing.
    deadline: Option<Time>,
    created_at: Time,
}

/// The jobs that there were.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pulled {
    jobs: Vec<PulledJob>,
    /// What became of the outcomes that were told, in the same order.
    outcomes: Vec<OutcomeView>,
}

/// Ask for jobs
///
/// Answers as soon as there is at least one, and with none after the time to wait. What is handed out is under a lease:
/// without a sign of life for as long as that it is handed to another.
#[utoipa::path(post, path = "/v1/workers/pull", tag = "jobs", request_body = PullInput,
    responses((status = 200, body = Pulled)))]
pub(super) async fn worker_pull(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<PullInput>,
) -> Result<Json<Pulled>, Problem> {
    caller.everywhere()?;
    let input = input.value;
    let mut checks = Checks::default();
    let worker = worker(&caller, input.worker, &mut checks);
    let count = input.queues.len();
    checks.ensure(
        (1..=10).contains(&count),
        "/queues",
        "must have 1 to 10 names",
    );
    for (index, queue) in input.queues.iter().enumerate().take(10) {
        checks.slug(&format!("/queues/{index}"), queue);
    }
    let max = (1..=100).contains(&input.max);
    checks.ensure(max, "/max", "must be 1 to 100");
    let lease = (5..=3600).contains(&input.lease_secs);
    checks.ensure(lease, "/lease_secs", "must be 5 to 3600");
    let longest = limits::POLL_WAIT_MAX.as_secs();
    let wait_secs = input.wait_secs.unwrap_or(match input.outcomes.is_empty() {
        true => limits::POLL_WAIT.as_secs(),
        false => 0,
    });
    let waits = wait_secs <= longest;
    checks.ensure(waits, "/wait_secs", &format!("must be 0 to {longest}"));
    let outcomes = outcome::checked(input.outcomes, &mut checks);
    checks.done()?;
    let queues = numbers(&app, &caller, &input.queues).await?;
    let open = app.workers.poll(caller.id())?;
    let outcomes = outcome::tell(&app, &worker, outcomes).await?;
    let pull = Pull {
        worker,
        queues: queues.clone(),
        places: input.max,
        lease_ms: input.lease_secs * 1_000,
        at_once: wait_secs == 0,
    };
    let wait = Duration::from_secs(wait_secs).min(app.limits.request_timeout);
    let enough = enough(&app, wait);
    let taken = app.mainstay.engine.workers().pull(pull, enough).await;
    drop(open);
    let jobs = taken.map_err(problem)?.take();
    let named = |number: QueueNumber| {
        let mut all = queues.iter().zip(&input.queues);
        all.find(|(own, _)| **own == number)
            .map(|(_, name)| name.clone())
    };
    let jobs = jobs.into_iter().map(|job| {
        let name = named(job.queue).unwrap_or_default();
        pulled(job, name)
    });
    Ok(Json(Pulled {
        jobs: jobs.collect(),
        outcomes,
    }))
}

/// Until the worker has waited long enough, or this server stops.
fn enough(app: &App, wait: Duration) -> impl Future<Output = ()> + Send + use<> {
    let mut stop = app.stop.clone();
    // One that does not wait is answered by the owner at once.
    let wait = wait.max(limits::POLL_AT_ONCE);
    async move {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}

fn pulled(job: Handed, queue: String) -> PulledJob {
    let token = Token {
        tenant: job.tenant,
        job: job.job,
        attempt: job.attempt,
    };
    PulledJob {
        token: token.encode(),
        id: job.job,
        tenant_id: job.tenant,
        queue,
        kind: job.kind,
        payload: job
            .payload
            .and_then(|payload| serde_json::from_slice(&payload).ok()),
        attempt: job.attempt,
        tries: job.tries,
        lease_secs: job.lease_ms / 1_000,
        deadline: job.deadline.map(Into::into),
        created_at: job.created_at.into(),
    }
}

async fn numbers(
    app: &App,
    caller: &Caller,
    names: &[String],
) -> Result<Vec<QueueNumber>, Problem> {
    let mut numbers = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let at = format!("/queues/{index}");
        let number = app.workers.number(app, caller, name, &at).await?;
        if app.mainstay.builtin.values().any(|own| *own == number) {
            return Err(Problem::field(
                at,
                "is a queue of built-in jobs: no worker takes them",
            ));
        }
        numbers.push(number);
    }
    Ok(numbers)
}
