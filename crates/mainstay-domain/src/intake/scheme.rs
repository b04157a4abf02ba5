//! How providers sign their webhooks: verifying a request, and reading which events it brings.
//!
//! Pure rules: the request, the secrets and the time are arguments, so `mainstay verify`, the tests and the
//! door itself run the same code. A source is prepared once ([`PreparedScheme`]: HMAC keys are set up and the
//! rule is checked) and then verifies without allocating.
//!
//! What holds for every scheme: the signature covers the raw bytes of the body; every comparison with a secret
//! takes constant time; any of several secrets may match, and the answer says which; a signed time must be
//! neither too old nor too far in the future; no input of any shape makes it panic.

mod challenge;
mod explain;
mod extracted;
mod form;
mod github;
mod header;
mod hmac_rule;
mod hmac_verify;
mod instant;
mod json;
mod mac;
mod meta;
mod pointer;
mod reformat;
mod refusal;
mod secret;
mod sign;
mod standard_webhooks;
mod stripe;
mod template;

use aws_lc_rs::hmac;
use serde::Deserialize;

pub use challenge::challenge;
pub use explain::{Check, Explained, Explanation, Outcome, explain};
pub use extracted::{Extracted, PROVIDER_ID_BYTES_MAX, Payload, UNTYPED, dedup_key};
pub use header::{Headers, Request};
pub use hmac_rule::{
    HeaderParts, HmacAlgorithm, HmacRule, IdFrom, KeyEncoding, KindFrom, SignatureEncoding,
};
pub use pointer::JsonPointer;
pub use refusal::Refusal;
pub use secret::Secret;
pub use sign::{Message, generate_secret, sign};
pub use template::Template;

use super::settings::SettingProblem;

/// How a source's provider signs. In JSON an object tagged `scheme`, e.g. `{"scheme":"stripe"}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "scheme", rename_all = "snake_case")]
pub enum Scheme {
    /// `Stripe-Signature: t=…,v1=…`; snapshot events and thin ones (`v2.core.event`).
    Stripe,
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature`, or the same with `svix-`.
    StandardWebhooks,
    /// `X-Hub-Signature-256` over the body; id and type stand in headers that nobody signed.
    Github,
    /// WhatsApp, Messenger, Instagram: `X-Hub-Signature-256` over the body, several events in one request.
    Meta {
        /// What Meta must send when it asks whether the URL is ours; see [`challenge`].
        #[serde(default)]
        verify_token: Option<Secret>,
    },
    /// Any other provider that signs with an HMAC, described by a rule.
    Hmac(Box<HmacRule>),
}

impl Scheme {
    /// The names of all schemes, as in settings and the API.
    pub const NAMES: [&'static str; 5] = ["stripe", "standard_webhooks", "github", "meta", "hmac"];

    /// Its name in settings and the API.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::StandardWebhooks => "standard_webhooks",
            Self::Github => "github",
            Self::Meta { .. } => "meta",
            Self::Hmac(_) => "hmac",
        }
    }

    /// The scheme of this name with what a source's settings say about it: `hmac` is required by that scheme and
    /// `verify_token` belongs to `meta` alone. Everything that can be wrong with a rule is found here.
    pub fn from_settings(
        name: &str,
        hmac: Option<&serde_json::Value>,
        verify_token: Option<&str>,
    ) -> Result<Self, SettingProblem> {
        if hmac.is_some() && name != "hmac" {
            return Err(problem("hmac", "belongs to the scheme hmac alone"));
        }
        if verify_token.is_some() && name != "meta" {
            return Err(problem("verify_token", "belongs to the scheme meta alone"));
        }
        match name {
            "stripe" => Ok(Self::Stripe),
            "standard_webhooks" => Ok(Self::StandardWebhooks),
            "github" => Ok(Self::Github),
            "meta" => Ok(Self::Meta {
                verify_token: verify_token.map(|token| Secret::new(token.to_owned())),
            }),
            "hmac" => {
                let rule = hmac.ok_or_else(|| problem("hmac", "is required by the scheme hmac"))?;
                let rule = HmacRule::deserialize(rule)
                    .map_err(|error| problem("hmac", error.to_string()))?;
                rule.check()?;
                Ok(Self::Hmac(Box::new(rule)))
            }
            _ => Err(problem(
                "scheme",
                "must be one of stripe, standard_webhooks, github, meta, hmac",
            )),
        }
    }

    /// Whether this can be a signing secret of the scheme; catches what is usually pasted by mistake.
    pub fn check_secret(&self, secret: &Secret) -> Result<(), SettingProblem> {
        self.key(secret).map(drop)
    }

    /// The HMAC key that a secret stands for.
    fn key(&self, secret: &Secret) -> Result<hmac::Key, SettingProblem> {
        secret.check()?;
        let text = secret.expose();
        match self {
            Self::Stripe | Self::Github | Self::Meta { .. } => {
                Ok(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()))
            }
            Self::StandardWebhooks => standard_webhooks::key(text),
            Self::Hmac(rule) => rule.key(text),
        }
    }
}

/// A request whose signature is right and fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Which of the secrets matched, by position.
    pub secret_index: usize,
    /// When the provider signed, in seconds since 1970, where it says so.
    pub signed_at: Option<i64>,
}

/// A scheme with its keys set up: what the door keeps for each source.
#[derive(Debug, Clone)]
pub struct PreparedScheme {
    scheme: Scheme,
    keys: Vec<hmac::Key>,
}

impl PreparedScheme {
    /// Checks the scheme and every secret, and sets up the keys. Secrets are tried in the order given, so the
    /// newest should come first. Without secrets every request is refused.
    pub fn new(scheme: Scheme, secrets: &[Secret]) -> Result<Self, SettingProblem> {
        if let Scheme::Hmac(rule) = &scheme {
            rule.check()?;
        }
        let keys = secrets
            .iter()
            .map(|secret| scheme.key(secret))
            .collect::<Result<_, _>>()?;
        Ok(Self { scheme, keys })
    }

    /// The scheme.
    pub const fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Verifies the signature, then its time. The signature goes first: only then does "too old" mean a replay
    /// or a wrong clock and not just any stranger.
    ///
    /// `tolerance_secs` is how far the signed time may be from `request.now_secs`, both ways, inclusive.
    pub fn verify(&self, tolerance_secs: i64, request: &Request<'_>) -> Result<Verified, Refusal> {
        if self.keys.is_empty() {
            return Err(Refusal::SecretMissing);
        }
        let verified = match &self.scheme {
            Scheme::Stripe => stripe::verify(&self.keys, request),
            Scheme::StandardWebhooks => standard_webhooks::verify(&self.keys, request),
            Scheme::Github | Scheme::Meta { .. } => github::verify(&self.keys, request),
            Scheme::Hmac(rule) => rule.verify(&self.keys, request),
        }?;
        if let Some(signed_at) = verified.signed_at {
            header::check_time(signed_at, request.now_secs, tolerance_secs)?;
        }
        Ok(verified)
    }

    /// Reads which events the request brings. Only for a request that [`Self::verify`] let pass.
    ///
    /// Types that nobody has heard of pass; a request can bring none (an empty batch of Meta's). The same event
    /// can stand in one request twice: deduplicating is the store's.
    pub fn extract(&self, request: &Request<'_>) -> Result<Vec<Extracted>, Refusal> {
        if request.body.is_empty() {
            return Err(Refusal::body("is empty"));
        }
        match &self.scheme {
            Scheme::Stripe => stripe::extract(request).map(|one| vec![one]),
            Scheme::StandardWebhooks => standard_webhooks::extract(request).map(|one| vec![one]),
            Scheme::Github => github::extract(request).map(|one| vec![one]),
            Scheme::Meta { .. } => meta::extract(request),
            Scheme::Hmac(rule) => rule.extract(request).map(|one| vec![one]),
        }
    }

    /// The time that the request claims to be signed at, believed by nobody yet.
    fn claimed_time(&self, request: &Request<'_>) -> Option<i64> {
        match &self.scheme {
            Scheme::Stripe => stripe::claimed_time(request),
            Scheme::StandardWebhooks => standard_webhooks::claimed_time(request),
            Scheme::Github | Scheme::Meta { .. } => None,
            Scheme::Hmac(rule) => rule.claimed_time(request),
        }
    }
}

/// Verifies once, without preparing. For tools and tests; the door prepares its sources.
///
/// A secret that cannot be one of the scheme's counts as one that does not match.
pub fn verify(
    scheme: &Scheme,
    secrets: &[Secret],
    tolerance_secs: i64,
    request: &Request<'_>,
) -> Result<Verified, Refusal> {
    PreparedScheme::new(scheme.clone(), secrets)
        .map_err(|_| Refusal::SignatureWrong)?
        .verify(tolerance_secs, request)
}

/// Reads the events of a verified request once, without preparing.
pub fn extract(scheme: &Scheme, request: &Request<'_>) -> Result<Vec<Extracted>, Refusal> {
    let prepared = PreparedScheme {
        scheme: scheme.clone(),
        keys: Vec::new(),
    };
    prepared.extract(request)
}

fn problem(field: &'static str, problem: impl Into<String>) -> SettingProblem {
    SettingProblem {
        field,
        problem: problem.into(),
    }
}
