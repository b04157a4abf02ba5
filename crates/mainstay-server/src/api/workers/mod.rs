//! Workers: processes of the team's own that ask for jobs, hold them under a lease, and say how they went.
//!
//! What they do is in the histories of jobs, under their names; the audit log has who submits, cancels and runs again. A
//! key that is bound to one tenant cannot work: a queue holds the jobs of all tenants.

use std::{collections::HashSet, sync::Arc};

use axum::{Json, extract::State};
use mainstay::jobs::workers::{Worker, WorkerError};
use mainstay_domain::{JobId, jobs::QueueNumber};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

mod beat;
mod desk;
mod outcome;
mod pull;
mod token;

pub(crate) use desk::Desk;

use crate::{
    access::Caller,
    http::{Problem, extract::Checks},
    nodes,
    state::App,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(worker_list))
        .routes(routes!(pull::worker_pull))
        .routes(routes!(beat::worker_heartbeat))
        .routes(routes!(outcome::worker_report))
}

/// A process that takes jobs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Worker)]
pub(crate) struct WorkerView {
    /// The name that it gives itself.
    name: String,
    /// By which key it works, e.g. `key:deploy`.
    by: String,
    /// The queues that it asked for last.
    queues: Vec<String>,
    /// When it was last heard of.
    last_seen_at: Time,
    /// The jobs in its hands.
    #[schema(value_type = Vec<String>)]
    job_ids: Vec<JobId>,
}

/// The workers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerList {
    items: Vec<WorkerView>,
}

/// List workers
///
/// Those that were heard of in the last ten minutes, or have a job in hand, by name.
#[utoipa::path(get, path = "/v1/workers", tag = "jobs", responses((status = 200, body = WorkerList)))]
async fn worker_list(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<WorkerList>, Problem> {
    caller.everywhere()?;
    let seen = app.mainstay.engine.workers().list().map_err(problem)?;
    let wanted: HashSet<QueueNumber> = seen.iter().flat_map(|one| one.queues.clone()).collect();
    let names = app.workers.names(&app, &wanted).await?;
    let items = seen.into_iter().map(|one| WorkerView {
        name: one.worker.name,
        by: one.worker.by,
        queues: one
            .queues
            .iter()
            .filter_map(|queue| names.get(queue).cloned())
            .collect(),
        last_seen_at: one.seen_at.into(),
        job_ids: one.jobs,
    });
    Ok(Json(WorkerList {
        items: items.collect(),
    }))
}

/// Whoever calls, under the name that it gives itself.
fn worker(caller: &Caller, name: String, checks: &mut Checks) -> Worker {
    checks.text("/worker", &name, 100);
    Worker {
        name,
        by: caller.actor(),
    }
}

fn problem(error: WorkerError) -> Problem {
    match error {
        WorkerError::NotTheOwner => nodes::not_the_owner(),
        WorkerError::Store(error) => error.into(),
    }
}
