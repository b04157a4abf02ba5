//! Why a request is refused: a stable code, a sentence, and the status that it is answered with.

use std::borrow::Cow;

/// Why a request is not accepted. Nothing in it shows a secret or what the right signature would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The source has no signing secret yet.
    #[error("the source has no signing secret, so nothing can be verified")]
    SecretMissing,
    /// No signature came.
    #[error("the header {header} is missing")]
    SignatureMissing {
        /// The header that should carry it.
        header: Cow<'static, str>,
    },
    /// What came cannot be a signature of the scheme.
    #[error("the header {header} does not have the form {expected}")]
    SignatureMalformed {
        /// The header.
        header: Cow<'static, str>,
        /// The form that it should have.
        expected: Cow<'static, str>,
    },
    /// No secret makes this signature of this body.
    #[error("the signature matches none of the source's secrets")]
    SignatureWrong,
    /// The scheme signs a time and none came.
    #[error("the time of the signature is missing from {header}")]
    TimestampMissing {
        /// The header that should carry it.
        header: Cow<'static, str>,
    },
    /// The time is not a number of seconds.
    #[error("the time in {header} is not one number of whole seconds since 1970")]
    TimestampMalformed {
        /// The header.
        header: Cow<'static, str>,
    },
    /// Rightly signed, but long ago: a replay, a long delay or a wrong clock.
    #[error("signed {age_secs} seconds ago, and at most {tolerance_secs} are allowed")]
    TimestampTooOld {
        /// How long ago by our clock.
        age_secs: i64,
        /// How long is allowed.
        tolerance_secs: i64,
    },
    /// Rightly signed, but later than now: one of the clocks is wrong.
    #[error("signed {ahead_secs} seconds in the future, and at most {tolerance_secs} are allowed")]
    TimestampInFuture {
        /// How far ahead of our clock.
        ahead_secs: i64,
        /// How far is allowed.
        tolerance_secs: i64,
    },
    /// A header that the scheme needs beside the signature.
    #[error("the header {header} is missing")]
    HeaderMissing {
        /// The header.
        header: Cow<'static, str>,
    },
    /// A header that cannot be read.
    #[error("the header {header} {problem}")]
    HeaderMalformed {
        /// The header.
        header: Cow<'static, str>,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The body is not what the scheme sends.
    #[error("the body {problem}")]
    BodyMalformed {
        /// What is wrong with it.
        problem: String,
    },
    /// There is no id to tell a duplicate by.
    #[error("the provider's event id is missing from {place}")]
    ProviderIdMissing {
        /// Where it should stand.
        place: Cow<'static, str>,
    },
    /// What stands where the id should is no id.
    #[error("the provider's event id in {place} {problem}")]
    ProviderIdMalformed {
        /// Where it stands.
        place: Cow<'static, str>,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The certificate that the request names was not brought along.
    #[error("the certificate that the signature is to be judged by is not at hand")]
    CertificateUnknown,
    /// Nobody who is trusted vouches for the certificate that the request names.
    #[error("the certificate that the request names is not to be trusted")]
    CertificateUntrusted,
    /// It comes from an address that is not on the source's list.
    #[error("requests of this source are not taken from this address")]
    AddressNotAllowed,
    /// Meta's question whether the URL is ours was not asked with our verify token.
    #[error("{problem}")]
    ChallengeRefused {
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Refusal {
    /// The stable code, e.g. `signature_wrong`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::SecretMissing => "secret_missing",
            Self::SignatureMissing { .. } => "signature_missing",
            Self::SignatureMalformed { .. } => "signature_malformed",
            Self::SignatureWrong => "signature_wrong",
            Self::TimestampMissing { .. } => "timestamp_missing",
            Self::TimestampMalformed { .. } => "timestamp_malformed",
            Self::TimestampTooOld { .. } => "timestamp_too_old",
            Self::TimestampInFuture { .. } => "timestamp_in_future",
            Self::HeaderMissing { .. } => "header_missing",
            Self::HeaderMalformed { .. } => "header_malformed",
            Self::BodyMalformed { .. } => "body_malformed",
            Self::ProviderIdMissing { .. } => "provider_id_missing",
            Self::ProviderIdMalformed { .. } => "provider_id_malformed",
            Self::CertificateUnknown => "certificate_unknown",
            Self::CertificateUntrusted => "certificate_untrusted",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::ChallengeRefused { .. } => "challenge_refused",
        }
    }

    /// The HTTP status: 401 where the signature or its time does not convince, 403 for a challenge and for
    /// an address that is not let in, 400 for what is missing or malformed. Never 5xx: the same bytes will not be better next time.
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::SecretMissing
            | Self::SignatureWrong
            | Self::CertificateUnknown
            | Self::CertificateUntrusted
            | Self::TimestampTooOld { .. }
            | Self::TimestampInFuture { .. } => 401,
            Self::AddressNotAllowed | Self::ChallengeRefused { .. } => 403,
            _ => 400,
        }
    }

    pub(super) fn body(problem: impl Into<String>) -> Self {
        Self::BodyMalformed {
            problem: problem.into(),
        }
    }
}
