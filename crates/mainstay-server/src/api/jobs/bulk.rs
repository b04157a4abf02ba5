//! Many jobs in one request: all are submitted in one commit, or none.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use axum::{extract::State, http::StatusCode, response::Response};
use mainstay_domain::{
    JobId, StoreResult, TenantId, Timestamp, Tx, access::AuditEntry, jobs::NewJob,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    NewJobInput,
    full::full,
    new_job, resolve,
    unique::{Submission, submit},
};
use crate::{
    access::{
        Caller,
        idempotency::{Done, write},
    },
    http::{
        Problem,
        extract::{Checks, Input},
    },
    limits,
    state::App,
};

/// Jobs to submit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkInput {
    #[schema(min_items = 1, max_items = 1000)]
    jobs: Vec<NewJobInput>,
}

/// A job that was submitted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubmittedJob {
    #[schema(value_type = String)]
    id: JobId,
    /// Whether it is one that was there before, with the key of the one that was given.
    existing: bool,
}

/// The jobs that were submitted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkView {
    /// In the order in which they were given.
    items: Vec<SubmittedJob>,
}

/// Submit many jobs
///
/// All in one commit, or none of them: none where one of their queues takes no more (429, `queue_full`).
#[utoipa::path(post, path = "/v1/jobs/bulk", tag = "jobs", request_body = BulkInput,
    responses((status = 201, body = BulkView)))]
pub(super) async fn job_create_bulk(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<BulkInput>,
) -> Result<Response, Problem> {
    let mut checks = Checks::default();
    let (count, most) = (input.value.jobs.len(), limits::JOBS_AT_ONCE_MAX);
    let fits = (1..=most).contains(&count);
    checks.ensure(fits, "/jobs", &format!("must have 1 to {most} of them"));
    checks.done()?;
    let mut jobs = Vec::with_capacity(count);
    let mut tenants = HashMap::new();
    for (index, one) in input.value.jobs.into_iter().enumerate() {
        let tenant = match tenants.get(&one.tenant_id) {
            Some(tenant) => *tenant,
            None => resolve::tenant_for_new(&app, &caller, one.tenant_id).await?,
        };
        tenants.insert(one.tenant_id, tenant);
        jobs.push(new_job(&app, &caller, tenant, one, &format!("/jobs/{index}")).await?);
    }
    let full = full(&app, &jobs).await?;
    let ids: Vec<JobId> = jobs.iter().map(|one| one.job.id).collect();
    let (own, at) = (Arc::clone(&app), caller.clone());
    let jobs = Arc::new(jobs);
    let (by, now) = (caller.actor(), app.clock.now());
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (jobs, by) = (Arc::clone(&jobs), by.clone());
        let (own, at) = (Arc::clone(&own), at.clone());
        let full = full.clone();
        Box::pin(async move {
            if let Some(full) = full {
                return Ok(Err(full));
            }
            let items = submit_all(tx, &jobs, &by, now).await?;
            for entry in told(&own, &at, &jobs, &items) {
                tx.audit_insert(&entry).await?;
            }
            Done::json(StatusCode::CREATED, &BulkView { items }).map(Ok)
        })
    })
    .await?;
    app.store.wake();
    app.mainstay.samples.jobs_changed(&ids);
    Ok(done)
}

/// In the order in which they were given; those that there may be any number of together.
async fn submit_all(
    tx: &mut dyn Tx,
    all: &[Submission],
    by: &str,
    now: Timestamp,
) -> StoreResult<Vec<SubmittedJob>> {
    let plain = all.iter().filter(|one| one.unique.is_none());
    let plain: Vec<NewJob> = plain.map(|one| one.job.clone()).collect();
    tx.job_insert(&plain).await?;
    let mut items = Vec::with_capacity(all.len());
    for one in all {
        let (mut id, mut existing) = (one.job.id, false);
        if one.unique.is_some() {
            let submitted = submit(tx, one, by, now).await?;
            (id, existing) = (submitted.id, submitted.existing);
        }
        items.push(SubmittedJob { id, existing });
    }
    Ok(items)
}

/// An entry in the audit log for each tenant: how many, the first and the last.
fn told(
    app: &App,
    caller: &Caller,
    jobs: &[Submission],
    items: &[SubmittedJob],
) -> Vec<AuditEntry> {
    let made = || {
        let both = jobs.iter().zip(items);
        both.filter(|(_, item)| !item.existing)
            .map(|(one, _)| &one.job)
    };
    let tenants: BTreeSet<TenantId> = made().map(|job| job.tenant).collect();
    let entry = |tenant: TenantId| {
        let own: Vec<JobId> = made()
            .filter(|job| job.tenant == tenant)
            .map(|job| job.id)
            .collect();
        let detail = serde_json::json!({
            "jobs": own.len(),
            "first": own.first().map(ToString::to_string),
            "last": own.last().map(ToString::to_string),
        });
        let subject = own.first().map(ToString::to_string).unwrap_or_default();
        caller.audit(app, "job.create_bulk", subject, Some(detail), Some(tenant))
    };
    tenants.into_iter().map(entry).collect()
}
