//! The rule that describes any provider that signs with an HMAC, and what such a rule may not say.

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

use super::{
    extracted,
    mac::Encoding,
    problem,
    reading::{IdFrom, KindFrom, Reading, TimeFrom},
    template::Template,
};
use crate::intake::settings::SettingProblem;

/// How a provider signs. Only `header` is required; the rest defaults to lower-hex HMAC-SHA256 over the body, keyed
/// with the secret's text. How far a signed time may be off is the source's `tolerance_secs`.
///
/// Slack: `{"header":"X-Slack-Signature","prefix":"v0=","signed":"v0:{timestamp}:{body}",
/// "timestamp_header":"X-Slack-Request-Timestamp","id":{"pointer":"/event_id"},"type":{"pointer":"/event/type"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HmacRule {
    /// The header with the signature.
    pub header: String,
    /// The hash.
    #[serde(default)]
    pub algorithm: HmacAlgorithm,
    /// How the signature is written.
    #[serde(default)]
    pub encoding: SignatureEncoding,
    /// What stands before the signature, e.g. `sha256=`.
    #[serde(default)]
    pub prefix: String,
    /// For a header made of fields, such as `ts=…;h1=…`: which they are.
    #[serde(default)]
    pub parts: Option<HeaderParts>,
    /// What is signed.
    #[serde(default)]
    pub signed: Template,
    /// How the secret's text stands for the key.
    #[serde(default)]
    pub key_encoding: KeyEncoding,
    /// The header with the time of the signature, in seconds since 1970.
    #[serde(default)]
    pub timestamp_header: Option<String>,
    /// Where the event's id stands. Where it is absent from a request, a digest of the body takes its place.
    #[serde(default)]
    pub id: IdFrom,
    /// Where the event's type stands.
    #[serde(default, rename = "type")]
    pub kind: Option<KindFrom>,
    /// Where it stands when the event happened.
    #[serde(default)]
    pub occurred_at: Option<TimeFrom>,
}

/// The hash of an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HmacAlgorithm {
    /// SHA-1: still sound in an HMAC, and what some providers have.
    Sha1,
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureEncoding {
    /// Hexadecimal.
    #[default]
    Hex,
    /// Base64.
    Base64,
}

/// How the text of a secret stands for the key's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyEncoding {
    /// The text itself.
    #[default]
    Utf8,
    /// Base64.
    Base64,
    /// Hexadecimal.
    Hex,
}

/// The fields of a signature header like Stripe's or Paddle's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderParts {
    /// What stands between two fields.
    pub separator: char,
    /// The name of the field with the signature; it may stand there several times, and any may match.
    pub signature: String,
    /// The name of the field with the time.
    #[serde(default)]
    pub timestamp: Option<String>,
}

impl HmacRule {
    /// Refuses a rule that could not work or that would trust what nobody signed.
    pub fn check(&self) -> Result<(), SettingProblem> {
        let fail = |field, what: &str| Err(problem(field, what));
        let mut names = vec![("hmac.header", &self.header)];
        names.extend(
            self.timestamp_header
                .iter()
                .map(|name| ("hmac.timestamp_header", name)),
        );
        if let IdFrom::Header(name) = &self.id {
            names.push(("hmac.id", name));
        }
        if let Some(KindFrom::Header(name)) = &self.kind {
            names.push(("hmac.type", name));
        }
        if let Some(TimeFrom::Header(name)) = &self.occurred_at {
            names.push(("hmac.occurred_at", name));
        }
        if let Some((field, _)) = names.iter().find(|(_, name)| !is_header_name(name)) {
            return fail(field, "must be a header's name");
        }
        if let Some(KindFrom::Fixed(kind)) = &self.kind
            && extracted::kind(kind).is_none()
        {
            return fail("hmac.type", "must be an event type");
        }
        if self.prefix.len() > 64 || !self.prefix.is_ascii() {
            return fail("hmac.prefix", "must have at most 64 ASCII characters");
        }
        if let Some(parts) = &self.parts {
            self.check_parts(parts)?;
        }
        if self.signed.has_timestamp() != self.has_time() {
            return fail(
                "hmac.signed",
                "must have {timestamp} exactly when the rule says where the time stands: only a signed time means something",
            );
        }
        if self.signed.has_id() && !matches!(self.id, IdFrom::Header(_)) {
            return fail(
                "hmac.signed",
                "can have {id} only when the id stands in a header",
            );
        }
        Ok(())
    }

    /// Where the event's parts stand.
    pub(super) const fn reading(&self) -> Reading<'_> {
        Reading {
            id: &self.id,
            kind: self.kind.as_ref(),
            occurred_at: self.occurred_at.as_ref(),
        }
    }

    fn check_parts(&self, parts: &HeaderParts) -> Result<(), SettingProblem> {
        let fail = |what: &str| Err(problem("hmac.parts", what));
        if !matches!(parts.separator, ',' | ';' | ' ' | '&' | '|') {
            return fail("must be separated by one of , ; & | or a space");
        }
        if !self.prefix.is_empty() {
            return fail("cannot be combined with a prefix");
        }
        if parts.timestamp.is_some() && self.timestamp_header.is_some() {
            return fail("and timestamp_header both say where the time stands");
        }
        let name = |name: &str| {
            !name.is_empty()
                && name.len() <= 64
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if !name(&parts.signature) || !parts.timestamp.as_deref().is_none_or(name) {
            return fail("must have names of letters, digits, -, _ and .");
        }
        Ok(())
    }

    fn has_time(&self) -> bool {
        let in_parts = self
            .parts
            .as_ref()
            .is_some_and(|parts| parts.timestamp.is_some());
        in_parts || self.timestamp_header.is_some()
    }
}

impl HmacAlgorithm {
    pub(super) fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

impl From<SignatureEncoding> for Encoding {
    fn from(encoding: SignatureEncoding) -> Self {
        match encoding {
            SignatureEncoding::Hex => Self::Hex,
            SignatureEncoding::Base64 => Self::Base64,
        }
    }
}

pub(super) fn is_header_name(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.len() <= 128 && name.bytes().all(token)
}
