//! How many jobs there are, by queue.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use mainstay_domain::{StoreExt, jobs::QueueNumber};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{access::Caller, http::Problem, state::App, time::Time};

/// How many jobs of a queue are in which state.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct QueueCounts {
    /// Ready, or not due yet.
    waiting: i64,
    /// Under way.
    active: i64,
    /// Failed, to be tried again.
    retrying: i64,
    /// Done, since the beginning.
    completed: i64,
    /// Dead letters.
    failed: i64,
}

/// How many jobs there are, by queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobCounts {
    queues: BTreeMap<String, QueueCounts>,
    timestamp: Time,
}

/// Count jobs by queue
///
/// A key of one tenant sees the queues of its own endpoints.
#[utoipa::path(get, path = "/v1/job-counts", tag = "jobs", responses((status = 200, body = JobCounts)))]
pub(super) async fn job_counts(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<JobCounts>, Problem> {
    let own = own_queues(&app, &caller).await?;
    let queues = app.stats.queues(&app).await?;
    let seen = queues
        .into_iter()
        .filter(|queue| own.as_ref().is_none_or(|own| own.contains(&queue.number)));
    let counts = seen.map(|queue| {
        let counts = QueueCounts {
            waiting: queue.waiting + queue.scheduled,
            active: queue.running,
            retrying: queue.retrying,
            completed: queue.tally.done,
            failed: queue.dead,
        };
        (queue.name, counts)
    });
    Ok(Json(JobCounts {
        queues: counts.collect(),
        timestamp: app.clock.now().into(),
    }))
}

/// The queues that a bound caller may see: its own endpoints'. Others are shared with other tenants.
pub(crate) async fn own_queues(
    app: &App,
    caller: &Caller,
) -> Result<Option<Vec<QueueNumber>>, Problem> {
    if caller.tenant.is_none() {
        return Ok(None);
    }
    let endpoints = app
        .store
        .read(caller.scope(), |tx| {
            Box::pin(async move { tx.endpoint_list().await })
        })
        .await?;
    Ok(Some(
        endpoints
            .into_iter()
            .map(|endpoint| endpoint.queue)
            .collect(),
    ))
}
