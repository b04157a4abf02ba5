//! The push of a job to an endpoint: one HTTP request, signed, bounded, and judged.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use mainstay_domain::{
    Category, Clock, Scope, Store, StoreError, StoreExt, StoreResult,
    intake::scheme::{Message, PreparedScheme, Scheme, Secret},
    jobs::{
        Endpoint, EventBody, JobBody,
        headers::is_hop,
        http_out::{HttpOut, OutAnswer, OutError, OutRequest},
        settings::{EndpointSettings, Signing},
    },
    sagas::{OUTPUT_BYTES_MAX, SagaTold},
    schedules::scheduled::Scheduled,
    store::VaultExt,
};
use serde_json::json;

#[cfg(test)]
mod fuzz;

use super::{AttemptInfo, Failure, Outbound, Report, machine::EXPIRED};
use crate::{
    intake::{Intake, decompress},
    vault::{exchange_sealed, headers_place, own_payload, payload_place},
};

/// Bytes of an answer's body that are kept with the attempt.
const EXCERPT_BYTES: usize = 4 * 1_024;
/// Headers of an answer that are kept with the attempt.
const ANSWER_HEADERS_MAX: usize = 32;
/// What stands in the place of a value that is not shown.
const HIDDEN: &str = "…";

/// Pushes jobs to endpoints.
pub(crate) struct Deliver {
    pub(crate) intake: Arc<Intake>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) http: Arc<dyn HttpOut>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait::async_trait]
impl Outbound for Deliver {
    async fn run(&self, job: JobBody, attempt: AttemptInfo) -> Report {
        let mut report = match self.deliver(&job, &attempt).await {
            Ok(report) => report,
            Err(failure) => Report::Failure(failure),
        };
        let (Report::Success { exchange, .. } | Report::Failure(Failure { exchange, .. })) =
            &mut report;
        if let Some(text) = exchange.take() {
            let at = self.clock.now();
            let sealed =
                exchange_sealed(&*self.store, job.tenant, job.job, attempt.attempt, text, at).await;
            *exchange = sealed
                .inspect_err(|error| {
                    tracing::warn!(job = %job.job, %error, "an attempt is recorded without what was sent: it cannot be sealed");
                })
                .ok();
        }
        report
    }
}

impl Deliver {
    async fn deliver(&self, job: &JobBody, attempt: &AttemptInfo) -> Result<Report, Failure> {
        let endpoint = match job.endpoint {
            Some(id) => self.intake.endpoint(id).await,
            None => None,
        };
        let Some(endpoint) = endpoint else {
            return Err(Failure::new(
                Category::Validation,
                "endpoint_gone",
                "the endpoint of this job does not exist",
            ));
        };
        let settings: EndpointSettings =
            serde_json::from_str(&endpoint.settings).map_err(|error| {
                Failure::new(Category::Bug, "settings_unreadable", error.to_string())
            })?;
        let body = self.body(job, settings.signing).await.map_err(unreadable)?;
        let headers = self.headers(job, settings.signing).await;
        let headers = headers.map_err(unreadable)?;
        let mut request = self.request(job, body, headers, attempt, &endpoint, &settings)?;
        let cut = self.cut(job, &mut request);
        let sent = json!({
            "method": "POST",
            "url": request.url,
            "headers": shown_without(&request.headers, &endpoint.headers),
            "bytes": request.body.len(),
        });
        match self.http.post(request).await {
            Ok(answer) => Ok(judge(&answer, &sent, self.clock.now().secs())),
            Err(error @ OutError::Timeout { .. }) if cut => Err(Failure {
                exchange: failed(&error, &sent).exchange,
                // It says nothing about the endpoint.
                ..Failure::new(
                    Category::Unknown,
                    EXPIRED,
                    "its deadline came before the endpoint had answered",
                )
            }),
            Err(error) => Err(failed(&error, &sent)),
        }
    }

    /// Leaves the request no more time than the job has; whether that is less than it would have.
    fn cut(&self, job: &JobBody, request: &mut OutRequest) -> bool {
        let Some(deadline) = job.deadline else {
            return false;
        };
        let left = deadline.ms_since(self.clock.now()).max(1).unsigned_abs();
        let cut = left < request.timeout_ms;
        request.timeout_ms = request.timeout_ms.min(left);
        request.connect_timeout_ms = request.connect_timeout_ms.min(left);
        cut
    }

    fn request(
        &self,
        job: &JobBody,
        body: Bytes,
        original: Option<Bytes>,
        attempt: &AttemptInfo,
        endpoint: &Endpoint,
        settings: &EndpointSettings,
    ) -> Result<OutRequest, Failure> {
        let id = job.job.to_string();
        let mut headers = match (settings.signing, &job.event) {
            (Signing::Original, Some(_)) => original_headers(original, &endpoint.headers),
            _ => vec![("content-type".to_owned(), "application/json".to_owned())],
        };
        // What no provider signed is signed by us in any case.
        if settings.signing == Signing::StandardWebhooks || job.event.is_none() {
            headers.extend(self.signature(endpoint, &id, &body)?);
        }
        headers.push((
            "user-agent".into(),
            concat!("Mainstay/", env!("CARGO_PKG_VERSION")).into(),
        ));
        headers.push(("mainstay-job-id".into(), id));
        headers.push(("mainstay-attempt".into(), attempt.tries.to_string()));
        let mut answer_bytes_max = EXCERPT_BYTES;
        if let Some(event) = &job.event {
            headers.push(("mainstay-event-id".into(), event.id.to_string()));
            headers.push(("mainstay-event-type".into(), event.kind.clone()));
            headers.push(("mainstay-source".into(), event.source_name.clone()));
        } else if let Some(scheduled) = Scheduled::read(&body) {
            let id = scheduled.schedule_id.to_string();
            headers.push(("mainstay-schedule-id".into(), id));
            headers.push(("mainstay-schedule".into(), scheduled.schedule));
            headers.push(("mainstay-scheduled-for".into(), scheduled.scheduled_for));
        } else if let Some(told) = SagaTold::read(&body) {
            // What it answers is what came of the step: one byte more tells that it was too long.
            answer_bytes_max = OUTPUT_BYTES_MAX + 1;
            headers.push(("idempotency-key".into(), told.idempotency_key));
            headers.push(("mainstay-saga".into(), told.saga));
            headers.push(("mainstay-saga-run-id".into(), told.saga_run_id.to_string()));
            headers.push(("mainstay-saga-step".into(), told.step));
            headers.push(("mainstay-saga-part".into(), told.part.as_str().into()));
        }
        headers.extend(endpoint.headers.clone());
        Ok(OutRequest {
            url: endpoint.url.clone(),
            headers,
            body,
            connect_timeout_ms: settings.connect_timeout_ms,
            timeout_ms: settings.timeout_ms,
            answer_bytes_max,
        })
    }
}

impl Deliver {
    async fn body(&self, job: &JobBody, signing: Signing) -> StoreResult<Bytes> {
        match (&job.payload, &job.event) {
            (Some(payload), _) => own_payload(&*self.store, job, payload).await,
            (None, Some(event)) if signing == Signing::Original => {
                self.original_body(job, event).await
            }
            (None, Some(event)) => self.payload(job, event).await,
            (None, None) => Ok(Bytes::new()),
        }
    }

    /// The bytes that the provider signed: kept with the request where they are not the event's own, because the
    /// event stood inside a form or was one of several.
    async fn original_body(&self, job: &JobBody, event: &EventBody) -> StoreResult<Bytes> {
        let receipt = event.receipt;
        let kept = self
            .store
            .read(Scope::System("deliver"), move |tx| {
                Box::pin(async move { tx.receipt_body(receipt).await })
            })
            .await?;
        match kept {
            Some(kept) => decompress(&kept),
            None => self.payload(job, event).await,
        }
    }

    /// The event's own bytes.
    async fn payload(&self, job: &JobBody, event: &EventBody) -> StoreResult<Bytes> {
        let place = payload_place(job, event);
        decompress(&self.store.opened(place, &event.payload).await?)
    }

    /// The provider's headers, where they go on with the request.
    async fn headers(&self, job: &JobBody, signing: Signing) -> StoreResult<Option<Bytes>> {
        let Some(event) = job.event.as_ref().filter(|_| signing == Signing::Original) else {
            return Ok(None);
        };
        let Some(kept) = &event.headers else {
            return Ok(None);
        };
        let opened = self.store.opened(headers_place(event), kept).await?;
        decompress(&opened).map(Some)
    }

    /// A signature of every secret in force, so that the receiver can change to a new one when it likes.
    fn signature(
        &self,
        endpoint: &Endpoint,
        id: &str,
        body: &[u8],
    ) -> Result<Vec<(String, String)>, Failure> {
        let now = self.clock.now();
        let secrets: Vec<Secret> = endpoint
            .secrets_in_force(now)
            .map(|one| Secret::from(one.secret.as_str()))
            .collect();
        let scheme =
            PreparedScheme::new(Scheme::StandardWebhooks, &secrets).map_err(|problem| {
                Failure::new(Category::Bug, "secret_unreadable", problem.to_string())
            })?;
        Ok(scheme.sign(&Message {
            id,
            kind: "",
            timestamp_secs: now.secs(),
            body,
        }))
    }
}

/// The provider's headers, but for those that the team sets itself.
fn original_headers(kept: Option<Bytes>, own: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let headers: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&kept.unwrap_or_default()).unwrap_or_default();
    headers
        .into_iter()
        .filter(|(name, _)| !is_hop(name) && !own.contains_key(name))
        .filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())))
        .collect()
}

/// What there is to send cannot be read. What was erased comes back by no retry.
fn unreadable(error: StoreError) -> Failure {
    match error {
        StoreError::Erased => Failure::new(Category::Validation, "erased", error.to_string()),
        error => Failure::new(Category::Database, "payload_unreadable", error.to_string()),
    }
}

/// The headers of a request as they are shown: a signature is worth nothing without the secret, and helps to debug.
fn shown(headers: &[(String, String)]) -> serde_json::Map<String, serde_json::Value> {
    headers
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect()
}

/// The same without the values that the team added, which are secrets.
fn shown_without(
    headers: &[(String, String)],
    own: &BTreeMap<String, String>,
) -> serde_json::Map<String, serde_json::Value> {
    let mut shown = shown(headers);
    for name in own.keys() {
        shown.insert(name.clone(), HIDDEN.into());
    }
    shown
}

fn exchange(sent: &serde_json::Value, answer: &OutAnswer) -> String {
    json!({
        "request": sent,
        "response": {
            "status": answer.status,
            "headers": shown(answer.headers.get(..ANSWER_HEADERS_MAX).unwrap_or(&answer.headers)),
            "excerpt": String::from_utf8_lossy(&answer.excerpt),
        },
    })
    .to_string()
}

/// What an answer means. 2xx is done; what says "wrong input" or "gone" is not tried again; the rest is.
fn judge(answer: &OutAnswer, sent: &serde_json::Value, now_secs: i64) -> Report {
    let exchange = exchange(sent, answer);
    let status = answer.status;
    let (category, code) = match status {
        200..=299 => {
            return Report::Success {
                status: Some(status.into()),
                exchange: Some(exchange),
            };
        }
        300..=399 => (Category::Provider, "redirected"),
        400 | 405 | 406 | 411 | 413..=417 | 422 => (Category::Validation, "rejected"),
        401 | 403 | 407 => (Category::Auth, "not_authorized"),
        408 => (Category::Timeout, "timed_out"),
        410 => (Category::Validation, "gone"),
        429 => (Category::RateLimited, "rate_limited"),
        500..=599 => (Category::Provider, "server_error"),
        _ => (Category::Provider, "unexpected_status"),
    };
    let mut failure = Failure::new(category, code, format!("the endpoint answered {status}"));
    failure.status = Some(status.into());
    failure.exchange = Some(exchange);
    failure.retry_after_ms = retry_after_ms(answer, now_secs);
    Report::Failure(failure)
}

fn failed(error: &OutError, sent: &serde_json::Value) -> Failure {
    let mut failure = Failure::new(error.category(), error.code(), error.to_string());
    failure.exchange = Some(json!({ "request": sent }).to_string());
    failure
}

/// `Retry-After` in either of its forms (RFC 9110, section 10.2.3).
fn retry_after_ms(answer: &OutAnswer, now_secs: i64) -> Option<i64> {
    let (_, value) = answer
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))?;
    let value = value.trim();
    if let Ok(secs) = value.parse::<u32>() {
        return Some(i64::from(secs) * 1_000);
    }
    let at = httpdate::parse_http_date(value).ok()?;
    let secs = at.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    Some((i64::try_from(secs).ok()? - now_secs).max(0) * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)]) -> OutAnswer {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        OutAnswer {
            status,
            headers,
            excerpt: Bytes::from_static(b"no"),
        }
    }

    fn judged(status: u16) -> Option<Category> {
        match judge(&answer(status, &[]), &json!({}), 0) {
            Report::Success { .. } => None,
            Report::Failure(failure) => Some(failure.category),
        }
    }

    #[test]
    fn only_answers_that_say_the_input_is_wrong_are_not_tried_again() {
        assert_eq!(judged(204), None);
        for status in [301, 404, 408, 409, 425, 429, 500, 503] {
            let category = judged(status).expect("a failure");
            assert!(category.retryable(), "{status} is tried again");
        }
        for status in [400, 401, 410, 422] {
            let category = judged(status).expect("a failure");
            assert!(!category.retryable(), "{status} is not tried again");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        assert_eq!(
            retry_after_ms(&answer(429, &[("Retry-After", "120")]), 0),
            Some(120_000)
        );
        let date = [("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert_eq!(
            retry_after_ms(&answer(503, &date), 784_111_777 - 10),
            Some(10_000)
        );
        assert_eq!(
            retry_after_ms(&answer(503, &date), 784_111_777 + 10),
            Some(0)
        );
        assert_eq!(
            retry_after_ms(&answer(503, &[("retry-after", "soon")]), 0),
            None
        );
    }
}
