//! How providers sign their webhooks: verifying a request, and reading which events it brings.
//!
//! Pure rules: the request, the secrets and the time are arguments, so `mainstay verify`, the tests and the
//! door itself run the same code. A source is prepared once ([`PreparedScheme`]: keys are set up and the rule is
//! checked); what is signed with an HMAC over headers and body is then verified without allocating.
//!
//! What holds for every scheme that signs: the signature covers the raw bytes of the body (PayPal's a checksum of
//! them, Twilio's the fields of a form); any of several secrets may match, and the answer says which; a signed time
//! must be neither too old nor too far in the future. And for every scheme: a comparison with a secret takes constant
//! time; no input of any shape makes it panic.
//!
//! To add one: a rule with a name in `preset`, or a file of its own; then [`Scheme`], and what the compiler asks for.

mod bearer;
mod challenge;
mod diagnose;
mod event_rule;
mod explain;
mod extracted;
mod form;
mod github;
mod header;
mod hmac_rule;
mod hmac_verify;
mod instant;
mod json;
mod key;
mod mac;
mod meta;
mod paypal;
mod pointer;
mod preset;
mod reading;
mod reformat;
mod refusal;
mod secret;
mod sign;
mod slack;
mod standard_webhooks;
mod stripe;
mod template;
mod tenant_rule;
mod twilio;
mod whop;

use std::net::IpAddr;

use aws_lc_rs::hmac;
use serde::Deserialize;

pub use bearer::BearerRule;
pub use challenge::challenge;
pub use diagnose::{Cause, Diagnosis, diagnose};
pub use event_rule::EventRule;
pub use explain::{Check, Explained, Explanation, Outcome, explain};
pub use extracted::{Extracted, PROVIDER_ID_BYTES_MAX, Payload, UNTYPED, dedup_key};
pub(super) use form::lenient as form_fields;
pub use header::{Headers, Request, Route};
pub use hmac_rule::{HeaderParts, HmacAlgorithm, HmacRule, KeyEncoding, SignatureEncoding};
pub use paypal::CertificateNeeded;
pub use pointer::JsonPointer;
pub use reading::{IdFrom, KindFrom, TimeFrom};
pub use refusal::Refusal;
pub use secret::Secret;
pub use sign::{Message, generate_secret, sign, sign_to};
pub use template::Template;
pub(super) use tenant_rule::value_at;
pub use tenant_rule::{TENANT_PLACES_MAX, TenantFrom, TenantRule};

use super::settings::{SettingProblem, SourceSettings};
use crate::cidr::Cidr;
use key::Key;

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
    /// `X-Shopify-Hmac-SHA256` over the body; id and topic stand in headers that nobody signed.
    Shopify,
    /// `X-Slack-Signature`; events, slash commands and interactions. Its challenge is answered.
    Slack,
    /// Paddle Billing: `Paddle-Signature: ts=…;h1=…`.
    Paddle,
    /// Standard Webhooks keyed with the secret's text, and the older `X-Whop-Signature`.
    Whop,
    /// `PAYPAL-TRANSMISSION-SIG`, made with the key of a certificate that the request names.
    Paypal,
    /// `X-Twilio-Signature` over the URL and the fields of a form, or over the URL with a digest of the body.
    Twilio,
    /// A token in a header; nothing is signed.
    Bearer {
        /// Where the token stands.
        #[serde(default)]
        bearer: BearerRule,
        /// Where the event's parts stand.
        #[serde(default)]
        event: Box<EventRule>,
    },
    /// Nothing but the address that it comes from, which the source's `allow` names.
    Address {
        /// Where the event's parts stand.
        #[serde(default)]
        event: Box<EventRule>,
    },
    /// Any other provider that signs with an HMAC, described by a rule.
    Hmac(Box<HmacRule>),
}

/// How a scheme does its work: by code of its own, or by a rule.
enum How<'a> {
    Stripe,
    StandardWebhooks,
    Hub,
    Whop,
    Paypal,
    Twilio,
    Bearer(&'a BearerRule),
    Address,
    Rule(&'a HmacRule),
}

impl Scheme {
    /// The names of all schemes, as in settings and the API.
    pub const NAMES: [&'static str; 13] = [
        "stripe",
        "standard_webhooks",
        "github",
        "meta",
        "shopify",
        "slack",
        "paddle",
        "whop",
        "paypal",
        "twilio",
        "bearer",
        "address",
        "hmac",
    ];

    /// Its name in settings and the API.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::StandardWebhooks => "standard_webhooks",
            Self::Github => "github",
            Self::Meta { .. } => "meta",
            Self::Shopify => "shopify",
            Self::Slack => "slack",
            Self::Paddle => "paddle",
            Self::Whop => "whop",
            Self::Paypal => "paypal",
            Self::Twilio => "twilio",
            Self::Bearer { .. } => "bearer",
            Self::Address { .. } => "address",
            Self::Hmac(_) => "hmac",
        }
    }

    /// The scheme of this name with what a source's settings say about it; what belongs to another scheme is
    /// refused. Everything that can be wrong with a rule is found here.
    pub fn from_settings(name: &str, settings: &SourceSettings) -> Result<Self, SettingProblem> {
        settings.check_belongs(name)?;
        let event = || -> Result<Box<EventRule>, SettingProblem> {
            let event: EventRule = parsed("event", settings.event.as_ref())?;
            event.check()?;
            Ok(Box::new(event))
        };
        match name {
            "stripe" => Ok(Self::Stripe),
            "standard_webhooks" => Ok(Self::StandardWebhooks),
            "github" => Ok(Self::Github),
            "meta" => Ok(Self::Meta {
                verify_token: settings.verify_token.clone().map(Secret::new),
            }),
            "shopify" => Ok(Self::Shopify),
            "slack" => Ok(Self::Slack),
            "paddle" => Ok(Self::Paddle),
            "whop" => Ok(Self::Whop),
            "paypal" => Ok(Self::Paypal),
            "twilio" => Ok(Self::Twilio),
            "bearer" => {
                let bearer: BearerRule = parsed("bearer", settings.bearer.as_ref())?;
                bearer.check()?;
                let event = event()?;
                Ok(Self::Bearer { bearer, event })
            }
            "address" => event().map(|event| Self::Address { event }),
            "hmac" => {
                let rule = settings
                    .hmac
                    .as_ref()
                    .ok_or_else(|| problem("hmac", "is required by the scheme hmac"))?;
                let rule = HmacRule::deserialize(rule)
                    .map_err(|error| problem("hmac", error.to_string()))?;
                rule.check()?;
                Ok(Self::Hmac(Box::new(rule)))
            }
            _ => {
                let words = format!("must be one of {}", Self::NAMES.join(", "));
                Err(problem("scheme", words))
            }
        }
    }

    /// Whether this can be a secret of a source with the scheme; catches what is usually pasted by mistake.
    pub fn check_secret(&self, secret: &Secret) -> Result<(), SettingProblem> {
        if matches!(self, Self::StandardWebhooks) {
            standard_webhooks::check_source_secret(secret.expose())?;
        }
        self.key(secret).map(drop)
    }

    /// Whether requests are let in without any secret.
    pub const fn needs_no_secret(&self) -> bool {
        matches!(self, Self::Address { .. })
    }

    /// The header that carries the secret itself, which must not be kept.
    pub fn credential_header(&self) -> Option<&str> {
        match self {
            Self::Bearer { bearer, .. } => Some(&bearer.header),
            _ => None,
        }
    }

    /// The URL that a request with this body is sent to, where the scheme writes something of the body into it.
    pub fn url_for(&self, url: &str, body: &[u8]) -> String {
        match self {
            Self::Twilio => twilio::url_for(url, body),
            _ => url.to_owned(),
        }
    }

    fn how(&self) -> How<'_> {
        match self {
            Self::Stripe => How::Stripe,
            Self::StandardWebhooks => How::StandardWebhooks,
            Self::Github | Self::Meta { .. } => How::Hub,
            Self::Whop => How::Whop,
            Self::Paypal => How::Paypal,
            Self::Twilio => How::Twilio,
            Self::Bearer { bearer, .. } => How::Bearer(bearer),
            Self::Address { .. } => How::Address,
            Self::Shopify => How::Rule(&preset::SHOPIFY),
            Self::Slack => How::Rule(&preset::SLACK),
            Self::Paddle => How::Rule(&preset::PADDLE),
            Self::Hmac(rule) => How::Rule(rule),
        }
    }

    /// The hash of its HMAC; none where it has no HMAC.
    fn algorithm(&self) -> Option<hmac::Algorithm> {
        match self.how() {
            How::Stripe | How::StandardWebhooks | How::Hub | How::Whop => Some(hmac::HMAC_SHA256),
            How::Twilio => Some(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            How::Rule(rule) => Some(rule.algorithm.hmac()),
            How::Paypal | How::Bearer(_) | How::Address => None,
        }
    }

    /// The key that a secret stands for.
    fn key(&self, secret: &Secret) -> Result<Key, SettingProblem> {
        secret.check()?;
        let text = secret.expose();
        match self.how() {
            How::StandardWebhooks => standard_webhooks::key(text),
            How::Rule(rule) => rule.key(text).map(Key::Hmac),
            How::Bearer(_) | How::Paypal => Ok(Key::Text(secret.clone())),
            How::Address => Err(problem("secret", "is not used by the scheme address")),
            How::Stripe | How::Hub | How::Whop | How::Twilio => {
                let algorithm = self.algorithm().unwrap_or(hmac::HMAC_SHA256);
                Ok(Key::Hmac(hmac::Key::new(algorithm, text.as_bytes())))
            }
        }
    }
}

/// A rule out of a source's settings; left out, it has its defaults.
fn parsed<'v, T: Deserialize<'v> + Default>(
    field: &'static str,
    value: Option<&'v serde_json::Value>,
) -> Result<T, SettingProblem> {
    value.map_or_else(
        || Ok(T::default()),
        |value| T::deserialize(value).map_err(|error| problem(field, error.to_string())),
    )
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
    keys: Vec<Key>,
    allow: Vec<Cidr>,
}

impl PreparedScheme {
    /// Checks the scheme and every secret, and sets up the keys. Secrets are tried in the order given, so the
    /// newest should come first. Without secrets every request is refused, unless the scheme needs none.
    pub fn new(scheme: Scheme, secrets: &[Secret]) -> Result<Self, SettingProblem> {
        match &scheme {
            Scheme::Hmac(rule) => rule.check()?,
            Scheme::Bearer { bearer, event } => {
                bearer.check()?;
                event.check()?;
            }
            Scheme::Address { event } => event.check()?,
            _ => {}
        }
        let keys = secrets
            .iter()
            .map(|secret| scheme.key(secret))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            scheme,
            keys,
            allow: Vec::new(),
        })
    }

    /// Lets requests in from these addresses alone; an empty list lets every address in, except where the scheme has
    /// nothing else to go by.
    #[must_use]
    pub fn allowing(self, allow: Vec<Cidr>) -> Self {
        Self { allow, ..self }
    }

    /// The scheme.
    pub const fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Verifies where the request comes from, its signature, then its time. The signature goes before the time: only
    /// then does "too old" mean a replay or a wrong clock and not just any stranger.
    ///
    /// `tolerance_secs` is how far the signed time may be from `request.now_secs`, both ways, inclusive.
    pub fn verify(&self, tolerance_secs: i64, request: &Request<'_>) -> Result<Verified, Refusal> {
        self.check_address(request)?;
        if self.keys.is_empty() && !self.scheme.needs_no_secret() {
            return Err(Refusal::SecretMissing);
        }
        let verified = match self.scheme.how() {
            How::Stripe => stripe::verify(&self.keys, request),
            How::StandardWebhooks => standard_webhooks::verify(&self.keys, request),
            How::Hub => github::verify(&self.keys, request),
            How::Whop => whop::verify(&self.keys, request),
            How::Paypal => paypal::verify(&self.keys, request),
            How::Twilio => twilio::verify(&self.keys, request),
            How::Bearer(rule) => rule.verify(&self.keys, request),
            How::Address => Ok(Verified {
                secret_index: 0,
                signed_at: None,
            }),
            How::Rule(rule) => rule.verify(&self.keys, request),
        }?;
        if let Some(signed_at) = verified.signed_at {
            header::check_time(signed_at, request.now_secs, tolerance_secs)?;
        }
        Ok(verified)
    }

    /// The certificate that a request wants to be judged by; none where the scheme has no such thing. Refuses what
    /// would be refused with any certificate, so that a stranger cannot make us fetch one for nothing.
    pub fn certificate_needed<'a>(
        &self,
        request: &Request<'a>,
    ) -> Result<Option<CertificateNeeded<'a>>, Refusal> {
        if !matches!(self.scheme, Scheme::Paypal) {
            return Ok(None);
        }
        self.check_address(request)?;
        if self.keys.is_empty() {
            return Err(Refusal::SecretMissing);
        }
        self.extract(request)?;
        paypal::certificate_needed(request).map(Some)
    }

    fn check_address(&self, request: &Request<'_>) -> Result<(), Refusal> {
        match self.allows(request.route.remote) {
            true => Ok(()),
            false => Err(Refusal::AddressNotAllowed),
        }
    }

    /// Whether requests from this address are taken. An unknown address is none of the list; a scheme that has nothing but
    /// the list lets nobody in without one.
    pub fn allows(&self, remote: Option<IpAddr>) -> bool {
        if self.allow.is_empty() && !self.scheme.needs_no_secret() {
            return true;
        }
        let allowed = |range: &Cidr| remote.is_some_and(|address| range.contains(address));
        self.allow.iter().any(allowed)
    }

    /// What a verified request is answered with that only asks whether the URL is ours; none for any other.
    pub fn challenge(&self, request: &Request<'_>) -> Option<String> {
        match &self.scheme {
            Scheme::Slack => slack::challenge(request),
            _ => None,
        }
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
            Scheme::Meta { .. } => return meta::extract(request),
            Scheme::Slack => return slack::extract(request),
            Scheme::Twilio => return twilio::extract(request),
            Scheme::Stripe => stripe::extract(request),
            Scheme::StandardWebhooks => standard_webhooks::extract(request),
            Scheme::Github => github::extract(request),
            Scheme::Shopify => preset::SHOPIFY.extract(request),
            Scheme::Paddle => preset::PADDLE.extract(request),
            Scheme::Whop => whop::extract(request),
            Scheme::Paypal => paypal::extract(request),
            Scheme::Bearer { event, .. } | Scheme::Address { event } => event.extract(request),
            Scheme::Hmac(rule) => rule.extract(request),
        }
        .map(|one| vec![one])
    }

    /// The time that the request claims to be signed at, believed by nobody yet.
    fn claimed_time(&self, request: &Request<'_>) -> Option<i64> {
        match self.scheme.how() {
            How::Stripe => stripe::claimed_time(request),
            How::StandardWebhooks => standard_webhooks::claimed_time(request),
            How::Whop => whop::claimed_time(request),
            How::Hub | How::Paypal | How::Twilio | How::Bearer(_) | How::Address => None,
            How::Rule(rule) => rule.claimed_time(request),
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
        allow: Vec::new(),
    };
    prepared.extract(request)
}

fn problem(field: &'static str, problem: impl Into<String>) -> SettingProblem {
    SettingProblem {
        field,
        problem: problem.into(),
    }
}
