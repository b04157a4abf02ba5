//! Carrying attempts out: a panic of a handler's is a failure of its job and nothing else's.

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use mainstay_domain::{
    Category, Scope, StoreExt,
    jobs::{AttemptStart, JobBody, retry::RetryPolicy},
};

use super::Shared;
use crate::jobs::{
    handler::AttemptInfo,
    machine::{End, Failure, Report},
};

/// How long to wait before a body is asked for again.
const BODY_AGAIN: Duration = Duration::from_millis(200);

/// Carries an outbound attempt out. The policy is the job's own, if it has one.
pub(super) async fn work(
    shared: &Shared,
    body: Option<JobBody>,
    start: AttemptStart,
) -> (End, Option<Box<RetryPolicy>>) {
    let body = match body {
        Some(body) => Some(body),
        None => load(shared, start).await,
    };
    let Some(body) = body else {
        // It went while its start was recorded. The next start will say so.
        return (End::Interrupted, None);
    };
    let policy = own_policy(&body);
    let Some(handler) = shared.registry.find_outbound(&body.kind) else {
        let report = Report::Failure(unknown_kind(&body.kind));
        return (End::Reported(report), policy);
    };
    let info = AttemptInfo {
        attempt: start.attempt,
        tries: start.tries + 1,
    };
    let report = caught(handler.run(body, info)).await;
    let report = report.unwrap_or_else(Report::Failure);
    (End::Reported(report), policy)
}

/// Loads a body that did not come with the answer to its start, because that answer was lost.
pub(super) async fn load(shared: &Shared, start: AttemptStart) -> Option<JobBody> {
    loop {
        let read = shared.store.read(Scope::System("engine"), move |tx| {
            Box::pin(async move { tx.job_bodies(&[(start.tenant, start.job)], true).await })
        });
        match read.await {
            Ok(bodies) => return bodies.into_iter().next(),
            Err(error) => {
                tracing::warn!(%error, job = %start.job, "a job's body could not be read; trying again");
            }
        }
        tokio::time::sleep(BODY_AGAIN).await;
    }
}

/// The job's own retry policy.
pub(crate) fn own_policy(body: &JobBody) -> Option<Box<RetryPolicy>> {
    let text = body.retry.as_deref()?;
    match serde_json::from_str(text) {
        Ok(policy) => Some(Box::new(policy)),
        Err(error) => {
            tracing::error!(job = %body.job, %error, "a job's own retry policy cannot be read; using the queue's");
            None
        }
    }
}

/// Nobody in this process carries out jobs of this kind.
pub(super) fn unknown_kind(kind: &str) -> Failure {
    Failure::new(
        Category::Validation,
        "kind_unknown",
        format!("no handler carries out jobs of kind {kind}"),
    )
}

/// Runs a handler and turns a panic of its into a failure.
pub(super) async fn caught<T>(handler: impl Future<Output = T>) -> Result<T, Failure> {
    AssertUnwindSafe(handler)
        .catch_unwind()
        .await
        .map_err(|panic| {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no message".to_owned());
            tracing::error!(panic = text, "a handler panicked");
            Failure::new(
                Category::Bug,
                "handler_panicked",
                "the handler ended in a panic",
            )
        })
}
