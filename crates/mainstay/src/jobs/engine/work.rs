//! Carrying attempts out: a panic of a handler's is a failure of its job and nothing else's.

use std::{future::Future, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use mainstay_domain::{
    Category,
    jobs::{AttemptStart, JobBody, retry::RetryPolicy},
};

use super::Shared;
use crate::jobs::{
    handler::AttemptInfo,
    machine::{Failure, Report},
};

/// Carries an outbound attempt out. The policy is the job's own, if it has one.
pub(super) async fn work(
    shared: &Shared,
    body: Option<JobBody>,
    start: AttemptStart,
) -> (Report, Option<Box<RetryPolicy>>) {
    let Some(body) = body else {
        let failure = Failure::new(
            Category::Bug,
            "body_missing",
            "the job's body was not loaded",
        );
        return (Report::Failure(failure), None);
    };
    let policy = own_policy(&body);
    let Some(handler) = shared.registry.find_outbound(&body.kind) else {
        return (Report::Failure(unknown_kind(&body.kind)), policy);
    };
    let info = AttemptInfo {
        attempt: start.attempt,
        tries: start.tries + 1,
    };
    let report = caught(handler.run(body, info))
        .await
        .unwrap_or_else(Report::Failure);
    (report, policy)
}

/// The job's own retry policy.
pub(super) fn own_policy(body: &JobBody) -> Option<Box<RetryPolicy>> {
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
