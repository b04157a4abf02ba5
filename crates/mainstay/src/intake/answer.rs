//! What a provider is answered. Each status makes it send again when, and only when, it should.

use bytes::Bytes;
use mainstay_domain::{
    EventId,
    intake::{Verdict, settings::AnswerSettings},
};

use super::scheme::Refusal;

/// How long a provider is asked to wait when we cannot commit, in seconds.
const RETRY_AFTER_SECS: u32 = 5;

/// Whole seconds to wait, one at least.
fn secs(wait_nanos: i64) -> u32 {
    let secs = wait_nanos.max(1).div_euclid(1_000_000_000) + 1;
    u32::try_from(secs).unwrap_or(u32::MAX)
}

/// An answer to a provider's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body's media type.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
    /// `Retry-After`, in seconds.
    pub retry_after_secs: Option<u32>,
    /// The stable code of a refusal; `None` on success.
    pub code: Option<&'static str>,
}

impl Answer {
    pub(super) fn accepted(
        settings: Option<&AnswerSettings>,
        ids: &[EventId],
        verdict: Verdict,
    ) -> Self {
        if let Some(settings) = settings {
            return Self {
                status: settings.status,
                content_type: settings.content_type.clone(),
                body: settings.body.clone().into(),
                retry_after_secs: None,
                code: None,
            };
        }
        let body = serde_json::json!({
            "received": true,
            "status": if verdict == Verdict::Accepted { "queued" } else { verdict.as_str() },
            "event_ids": ids,
        });
        Self::json(200, &body)
    }

    pub(super) fn verified() -> Self {
        Self::json(
            200,
            &serde_json::json!({ "received": true, "status": "verified" }),
        )
    }

    pub(super) fn challenge(text: &str) -> Self {
        Self {
            status: 200,
            content_type: "text/plain; charset=utf-8".into(),
            body: Bytes::copy_from_slice(text.as_bytes()),
            retry_after_secs: None,
            code: None,
        }
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        Self::problem(
            refusal.http_status(),
            refusal.code(),
            "the request was not accepted",
            &refusal.to_string(),
        )
    }

    pub(super) fn no_challenge() -> Self {
        Self::problem(
            405,
            "challenge_unsupported",
            "this source is not asked for challenges",
            "webhooks of this source are sent with POST; only the scheme meta asks with GET whether the URL is ours",
        )
    }

    /// There is no source of this name.
    pub fn unknown_source() -> Self {
        Self::problem(
            404,
            "source_unknown",
            "no such source",
            "no source of this name takes webhooks here",
        )
    }

    /// 503 and not 404: a source that is switched off for a while must not lose what is sent meanwhile.
    pub(super) fn disabled() -> Self {
        let detail = "the source is disabled; the request may be sent again later";
        Self {
            retry_after_secs: Some(60),
            ..Self::problem(503, "source_disabled", "the source is disabled", detail)
        }
    }

    /// 429 and not 503: it is this source alone. Whoever sends again does so after either.
    pub(super) fn rate_exceeded(wait_nanos: i64) -> Self {
        let detail =
            "the request is genuine, and more came than the source's rate; send it again later";
        Self {
            retry_after_secs: Some(secs(wait_nanos)),
            ..Self::problem(429, "rate_exceeded", "more than the source's rate", detail)
        }
    }

    pub(super) fn distrusted(wait_nanos: i64) -> Self {
        let detail =
            "too many requests from this address did not verify; send this one again later";
        Self {
            retry_after_secs: Some(secs(wait_nanos)),
            ..Self::problem(
                429,
                "address_distrusted",
                "too many requests of the address failed",
                detail,
            )
        }
    }

    pub(super) fn overloaded() -> Self {
        let detail = "too many requests are waiting to be stored; send this one again later";
        Self {
            retry_after_secs: Some(RETRY_AFTER_SECS),
            ..Self::problem(503, "overloaded", "intake is overloaded", detail)
        }
    }

    pub(super) fn unavailable() -> Self {
        let detail = "the request could not be stored; send it again later";
        Self {
            retry_after_secs: Some(RETRY_AFTER_SECS),
            ..Self::problem(503, "store_unavailable", "intake cannot store", detail)
        }
    }

    /// The provider's own servers did not give the certificate: another time they may.
    pub(super) fn certificate_unavailable() -> Self {
        let detail =
            "the certificate that the request names could not be fetched; send it again later";
        Self {
            retry_after_secs: Some(RETRY_AFTER_SECS),
            ..Self::problem(
                503,
                "certificate_unavailable",
                "no certificate to judge by",
                detail,
            )
        }
    }

    fn json(status: u16, body: &serde_json::Value) -> Self {
        Self {
            status,
            content_type: "application/json".into(),
            body: body.to_string().into(),
            retry_after_secs: None,
            code: None,
        }
    }

    fn problem(status: u16, code: &'static str, title: &str, detail: &str) -> Self {
        let body = serde_json::json!({
            "type": format!("/docs/errors#{code}"),
            "title": title,
            "status": status,
            "detail": detail,
            "code": code,
        });
        Self {
            content_type: "application/problem+json".into(),
            code: Some(code),
            ..Self::json(status, &body)
        }
    }
}
