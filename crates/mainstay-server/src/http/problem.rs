//! Errors as RFC 9457 problems. The one place where a failure becomes an HTTP status.
//!
//! What a person can do about it goes into the answer; what an operator must know goes into the log, once, with the
//! request's id. `docs/errors.md` has a heading for every code.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use mainstay_domain::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

/// Where a code is explained.
const DOCS: &str = "/docs/errors#";

macro_rules! codes {
    ($($name:ident = $status:ident, $code:literal, $title:literal;)*) => {
        /// The stable codes of errors that the HTTP side itself answers; intake adds those of its refusals.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code { $(#[doc = $title] $name,)* }

        impl Code {
            /// All of them.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status that goes with it.
            pub(crate) const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// What it means, in a few words.
            pub(crate) const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    ValidationFailed = BAD_REQUEST, "validation_failed", "the request is not valid";
    RequestMalformed = BAD_REQUEST, "request_malformed", "the request cannot be read";
    StatementRefused = BAD_REQUEST, "statement_refused", "the database refused the statement";
    Unauthenticated = UNAUTHORIZED, "unauthenticated", "nobody is signed in";
    SignInFailed = UNAUTHORIZED, "sign_in_failed", "address or password is wrong";
    RoleForbidden = FORBIDDEN, "role_forbidden", "the role does not allow this";
    TenantForbidden = FORBIDDEN, "tenant_forbidden", "outside the tenant of this key";
    OriginForbidden = FORBIDDEN, "origin_forbidden", "the request comes from another site";
    NotFound = NOT_FOUND, "not_found", "there is no such thing";
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method_not_allowed", "the method is not allowed here";
    Erased = GONE, "erased", "it was erased";
    BodyTimeout = REQUEST_TIMEOUT, "body_timeout", "the body did not arrive in time";
    AlreadyExists = CONFLICT, "already_exists", "the name is taken";
    StillReferenced = CONFLICT, "still_referenced", "something still refers to it";
    StateConflict = CONFLICT, "state_conflict", "not possible in this state";
    JobCancelled = CONFLICT, "job_cancelled", "the job was cancelled";
    LeaseEnded = CONFLICT, "lease_ended", "the job is in this worker's hands no more";
    IdempotencyInProgress = CONFLICT, "idempotency_in_progress", "the first request with this key is still under way";
    BodyTooLarge = PAYLOAD_TOO_LARGE, "body_too_large", "the body is too large";
    MediaTypeUnsupported = UNSUPPORTED_MEDIA_TYPE, "media_type_unsupported", "the body must be JSON";
    IdempotencyKeyReused = UNPROCESSABLE_ENTITY, "idempotency_key_reused", "the key was used for another request";
    RateLimited = TOO_MANY_REQUESTS, "rate_limited", "too many attempts";
    QueueFull = TOO_MANY_REQUESTS, "queue_full", "so much waits in the queue that it takes no more";
    TooManyPolls = TOO_MANY_REQUESTS, "too_many_polls", "too many requests for jobs wait";
    Internal = INTERNAL_SERVER_ERROR, "internal", "something went wrong on our side";
    StoreUnavailable = SERVICE_UNAVAILABLE, "store_unavailable", "the database does not answer";
    Overloaded = SERVICE_UNAVAILABLE, "overloaded", "too much at once";
    NotTheOwner = SERVICE_UNAVAILABLE, "not_the_owner", "another node owns the jobs";
    OwnerStarting = SERVICE_UNAVAILABLE, "owner_starting", "the jobs have just got another owner";
    RequestTimeout = SERVICE_UNAVAILABLE, "request_timeout", "the request took too long";
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// A JSON pointer into the body (`/settings/tolerance_secs`), or `?name` for a parameter of the query.
    pub(crate) pointer: String,
    /// What is wrong with it.
    pub(crate) detail: String,
}

/// An error, as RFC 9457 wants it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// Where the code is explained.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference")]
    pub(crate) kind: String,
    /// What it means, in a few words.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What happened here, and what to do about it.
    pub(crate) detail: String,
    /// The stable code.
    pub(crate) code: String,
    /// Which fields are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(crate) errors: Vec<FieldError>,
}

/// An error on its way to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    retry_after_secs: Option<u64>,
}

impl Problem {
    /// An error with a sentence that a person can act on.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_secs: None,
        }
    }

    /// One field is wrong.
    pub(crate) fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::fields(vec![FieldError {
            pointer: pointer.into(),
            detail: detail.into(),
        }])
    }

    /// Fields are wrong.
    pub(crate) fn fields(errors: Vec<FieldError>) -> Self {
        let listed: Vec<String> = errors
            .iter()
            .map(|one| format!("{} {}", one.pointer, one.detail))
            .collect();
        Self {
            errors,
            ..Self::new(Code::ValidationFailed, listed.join("; "))
        }
    }

    /// There is nothing under this id, or nothing that the caller may see.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("no {what} of this id is in reach"))
    }

    /// A defect, told to the log and not to the caller.
    pub(crate) fn internal(problem: impl std::fmt::Display) -> Self {
        tracing::error!(error = %problem, "a request failed because of a defect");
        Self::new(
            Code::Internal,
            "the request failed because of a defect; its id is in the log",
        )
    }

    /// The same, with the time after which to try again.
    pub(crate) fn retry_after(self, secs: u64) -> Self {
        Self {
            retry_after_secs: Some(secs),
            ..self
        }
    }

    /// Its code.
    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    /// What happened.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The HTTP status.
    pub(crate) const fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The body of the answer.
    pub(crate) fn body(&self) -> ProblemBody {
        ProblemBody {
            kind: format!("{DOCS}{}", self.code.as_str()),
            title: self.code.title().to_owned(),
            status: self.code.status().as_u16(),
            detail: self.detail.clone(),
            code: self.code.as_str().to_owned(),
            errors: self.errors.clone(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { what } => {
                Self::new(Code::AlreadyExists, format!("{what} exists already"))
            }
            StoreError::Reference { what } => Self::new(
                Code::StillReferenced,
                format!("{what} is still referred to, or refers to something that is gone"),
            ),
            // Another tenant's: for this caller it does not exist.
            StoreError::OutOfScope => Self::new(Code::NotFound, "nothing of this id is in reach"),
            StoreError::Unavailable(_)
            | StoreError::Timeout
            | StoreError::Full
            | StoreError::ConfigChanged => {
                tracing::warn!(%error, "a request could not reach the store");
                Self::new(
                    Code::StoreUnavailable,
                    "the request was not carried out; send it again later",
                )
                .retry_after(5)
            }
            StoreError::Erased => Self::new(
                Code::Erased,
                "the key that it was sealed with has been destroyed: nobody can read it any more",
            ),
            StoreError::Corrupt(_) | StoreError::Bug(_) => Self::internal(error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.body()).unwrap_or_default();
        let mut response = (self.code.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(secs) = self.retry_after_secs {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        if self.code.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // What is left of a body that was too slow or too large is not worth reading; and behind a balancer of connections
        // it takes a new one to reach another node.
        let closes = [Code::BodyTimeout, Code::BodyTooLarge, Code::NotTheOwner];
        if closes.contains(&self.code) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_store_never_shows_its_detail() {
        let hidden = "SELECT secret FROM api_key";
        for error in [
            StoreError::Bug(hidden.into()),
            StoreError::Corrupt(hidden.into()),
            StoreError::Unavailable(hidden.into()),
        ] {
            let problem = Problem::from(error);
            assert!(problem.status().is_server_error());
            assert!(!format!("{:?}", problem.body()).contains("SELECT"));
        }
    }

    #[test]
    fn a_thing_outside_the_scope_looks_like_a_thing_that_is_not_there() {
        assert_eq!(
            Problem::from(StoreError::OutOfScope).status(),
            StatusCode::NOT_FOUND
        );
    }

    #[test]
    fn every_code_has_a_heading_in_the_documentation() {
        let docs = include_str!("../../../../docs/errors.md");
        for code in Code::ALL {
            let heading = format!("\n### `{}`\n", code.as_str());
            assert!(
                docs.contains(&heading),
                "{} is missing from docs/errors.md",
                code.as_str()
            );
        }
    }

    #[test]
    fn codes_are_unique() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
