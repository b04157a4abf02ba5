//! Which rule a refused request failed by: for an operator who looks at one, never for the door.
//!
//! What [`super::explain`] lists, this decides: one cause, the most telling that holds. It tries the secrets of other
//! sources as well, so that a provider which was given the wrong URL, or two secrets that were swapped, are told from a
//! forger. The work is bounded by the caller's body and list of sources; comparisons take constant time.

use aws_lc_rs::hmac;
use serde::Deserialize;

use super::{
    PreparedScheme, Refusal, Request, Scheme, Secret,
    explain::{other_bodies, other_keys, other_scheme, other_url},
    key::Key,
};

/// Why a request was refused, as far as it can be told from what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It would be let in now.
    Genuine,
    /// The source has no secret.
    SecretMissing,
    /// A header that the scheme needs did not come.
    HeaderMissing,
    /// What came cannot be read as the scheme's.
    Malformed,
    /// Rightly signed, but at a time too far from ours.
    ClockSkew,
    /// It comes from an address that is not on the source's list.
    AddressNotAllowed,
    /// It is to be judged by a certificate that is not at hand.
    CertificateMissing,
    /// What it must be judged by carries a credential, so that it is not kept.
    NotKept,
    /// Rightly signed, but the body is not what the scheme sends.
    BodyMalformed,
    /// It is signed with the secret of another source.
    OtherSource,
    /// The secret is right, but it is read as text where it is to be decoded, or the other way round.
    KeyEncoding,
    /// The secret is right, but the body was changed on its way.
    BodyAltered,
    /// The secret is right, but it was sent to the URL in another spelling than ours, and the URL is signed.
    UrlDiffers,
    /// Nothing matches, and the body says that it is an event of Stripe's test mode.
    TestMode,
    /// Nothing matches.
    WrongSecret,
}

impl Cause {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Genuine => "genuine",
            Self::SecretMissing => "secret_missing",
            Self::HeaderMissing => "header_missing",
            Self::Malformed => "malformed",
            Self::ClockSkew => "clock_skew",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::CertificateMissing => "certificate_missing",
            Self::NotKept => "not_kept",
            Self::BodyMalformed => "body_malformed",
            Self::OtherSource => "other_source",
            Self::KeyEncoding => "key_encoding",
            Self::BodyAltered => "body_altered",
            Self::UrlDiffers => "url_differs",
            Self::TestMode => "test_mode",
            Self::WrongSecret => "wrong_secret",
        }
    }
}

/// What can be said of a refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// The cause.
    pub cause: Cause,
    /// The same in a sentence, with neither secret nor signature in it.
    pub detail: String,
    /// For a clock: when it came less when it was signed, in seconds; positive when it was signed before.
    pub clock_difference_secs: Option<i64>,
    /// For another source: which, by its position in the list that was given.
    pub other: Option<usize>,
}

impl Diagnosis {
    fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self {
            cause,
            detail: detail.into(),
            clock_difference_secs: None,
            other: None,
        }
    }
}

/// Says why the request is refused by a source with this scheme and these secrets. `others` are further sources whose
/// secrets are tried; how many is the caller's bound on the work.
pub fn diagnose(
    prepared: &PreparedScheme,
    secrets: &[Secret],
    tolerance_secs: i64,
    request: &Request<'_>,
    others: &[&PreparedScheme],
) -> Diagnosis {
    let refusal = match prepared.verify(tolerance_secs, request) {
        Err(refusal) => refusal,
        Ok(_) => {
            return match prepared.extract(request) {
                Err(refusal) => Diagnosis::new(Cause::BodyMalformed, refusal.to_string()),
                Ok(_) => Diagnosis::new(
                    Cause::Genuine,
                    "with what the source knows now it would be let in: verify it again",
                ),
            };
        }
    };
    let said = refusal.to_string();
    match refusal {
        Refusal::SecretMissing => Diagnosis::new(Cause::SecretMissing, said),
        Refusal::TimestampTooOld { age_secs, .. } => skewed(said, age_secs),
        Refusal::TimestampInFuture { ahead_secs, .. } => skewed(said, ahead_secs.saturating_neg()),
        Refusal::AddressNotAllowed => Diagnosis::new(Cause::AddressNotAllowed, said),
        Refusal::CertificateUnknown | Refusal::CertificateUntrusted => {
            Diagnosis::new(Cause::CertificateMissing, said)
        }
        Refusal::BodyMalformed { .. } => Diagnosis::new(Cause::BodyMalformed, said),
        Refusal::SignatureWrong => other_source(prepared, request, others)
            .or_else(|| key_encoding(prepared, secrets, request))
            .or_else(|| body_altered(prepared, request))
            .or_else(|| url_differs(prepared, request))
            .unwrap_or_else(|| unknown_secret(prepared, request)),
        Refusal::SignatureMissing { .. }
        | Refusal::TimestampMissing { .. }
        | Refusal::HeaderMissing { .. }
        | Refusal::ProviderIdMissing { .. } => {
            let missing = || unreadable(Cause::HeaderMissing, said, prepared, request);
            not_kept(prepared, request)
                .or_else(|| other_source(prepared, request, others))
                .unwrap_or_else(missing)
        }
        _ => other_source(prepared, request, others)
            .unwrap_or_else(|| unreadable(Cause::Malformed, said, prepared, request)),
    }
}

fn skewed(said: String, difference_secs: i64) -> Diagnosis {
    Diagnosis {
        clock_difference_secs: Some(difference_secs),
        ..Diagnosis::new(Cause::ClockSkew, said)
    }
}

/// With the scheme whose header came instead, if there is one.
fn unreadable(
    cause: Cause,
    said: String,
    prepared: &PreparedScheme,
    request: &Request<'_>,
) -> Diagnosis {
    match other_scheme(prepared.scheme(), request) {
        Some(hint) => Diagnosis::new(cause, format!("{said}; {hint}")),
        None => Diagnosis::new(cause, said),
    }
}

fn not_kept(prepared: &PreparedScheme, request: &Request<'_>) -> Option<Diagnosis> {
    let header = prepared.scheme().credential_header()?;
    if request.headers.header(header).is_some() {
        return None;
    }
    let detail = format!("the header {header} carries the secret itself, so it is never kept");
    Some(Diagnosis::new(Cause::NotKept, detail))
}

/// Another source's secret: by that source's own scheme (the provider was given the wrong URL), or by this one's (two
/// secrets were swapped).
fn other_source(
    prepared: &PreparedScheme,
    request: &Request<'_>,
    others: &[&PreparedScheme],
) -> Option<Diagnosis> {
    let made = |other: &PreparedScheme| {
        let anywhere = PreparedScheme {
            allow: Vec::new(),
            ..other.clone()
        };
        anywhere.verify(i64::MAX, request).is_ok()
    };
    let at = others
        .iter()
        // An address alone proves nothing about a secret.
        .position(|other| {
            !other.scheme.needs_no_secret()
                && (made(other)
                    || other.scheme != prepared.scheme
                        && made(&PreparedScheme {
                            keys: other.keys.clone(),
                            ..prepared.clone()
                        }))
        })?;
    Some(Diagnosis {
        other: Some(at),
        ..Diagnosis::new(
            Cause::OtherSource,
            "it is signed with the secret of another source: the provider has the wrong URL, or the secrets are swapped",
        )
    })
}

fn key_encoding(
    prepared: &PreparedScheme,
    secrets: &[Secret],
    request: &Request<'_>,
) -> Option<Diagnosis> {
    let algorithm = prepared.scheme.algorithm()?;
    secrets.iter().enumerate().find_map(|(index, secret)| {
        let (words, _) = other_keys(secret.expose()).into_iter().find(|(_, bytes)| {
            let other = PreparedScheme {
                keys: vec![Key::Hmac(hmac::Key::new(algorithm, bytes))],
                ..prepared.clone()
            };
            other.verify(i64::MAX, request).is_ok()
        })?;
        let number = index + 1;
        let detail = format!("secret number {number} would match if it were {words}");
        Some(Diagnosis::new(Cause::KeyEncoding, detail))
    })
}

fn body_altered(prepared: &PreparedScheme, request: &Request<'_>) -> Option<Diagnosis> {
    let (words, _) = other_bodies(request.body).into_iter().find(|(_, body)| {
        let changed = Request { body, ..*request };
        body != request.body && prepared.verify(i64::MAX, &changed).is_ok()
    })?;
    let detail =
        format!("the body would match {words}: something between the provider and here changes it");
    Some(Diagnosis::new(Cause::BodyAltered, detail))
}

fn url_differs(prepared: &PreparedScheme, request: &Request<'_>) -> Option<Diagnosis> {
    let words = other_url(prepared, request)?;
    let detail = format!(
        "the URL would match {words}: the one that the provider has is signed, and not ours"
    );
    Some(Diagnosis::new(Cause::UrlDiffers, detail))
}

fn unknown_secret(prepared: &PreparedScheme, request: &Request<'_>) -> Diagnosis {
    /// What Stripe says of the mode. Nobody has signed for it.
    #[derive(Deserialize)]
    struct Mode {
        livemode: bool,
    }
    let mode = serde_json::from_slice::<Mode>(request.body).ok();
    if matches!(prepared.scheme, Scheme::Stripe) && mode.is_some_and(|mode| !mode.livemode) {
        return Diagnosis::new(
            Cause::TestMode,
            "no secret matches, and the body says that it is of Stripe's test mode, which has a secret of its own",
        );
    }
    Diagnosis::new(
        Cause::WrongSecret,
        "neither a secret of this source or of another, nor a usual change of the body matches: \
         the secret is missing here, or it is forged",
    )
}
