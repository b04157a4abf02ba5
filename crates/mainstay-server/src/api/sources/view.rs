//! Sources and their settings as the API shows them and takes them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mainstay_domain::{
    Random, SecretId, SourceId, TenantId,
    intake::{
        OWN_SOURCE, Source,
        settings::{
            AnswerSettings, BODY_LIMIT_BYTES, RateSettings, SourceSettings, TOLERANCE_SECS,
        },
    },
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rules::{BearerRule, EventRule, ExpectRule, HmacRule, ObjectRule, TenantRule};
use crate::{
    stats::{Counted, Figures},
    time::Time,
};

/// Makes both enums of one list: what can be declared, and what there is.
macro_rules! schemes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// How a provider signs its webhooks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum Scheme {
            $($(#[$doc])* $variant,)*
        }

        /// How what comes in by a source is signed.
        #[derive(Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        #[expect(dead_code, reason = "only described: the store has the name")]
        pub(crate) enum SourceScheme {
            $($(#[$doc])* $variant,)*
            /// Our own events, which no request can bring.
            Mainstay,
        }

        impl Scheme {
            /// All of them.
            const ALL: &[Self] = &[$(Self::$variant,)*];

            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

schemes! {
    /// `Stripe-Signature`.
    Stripe = "stripe",
    /// Standard Webhooks, and Svix.
    StandardWebhooks = "standard_webhooks",
    /// `X-Hub-Signature-256`, as GitHub sends it.
    Github = "github",
    /// WhatsApp, Messenger, Instagram.
    Meta = "meta",
    /// `X-Shopify-Hmac-SHA256`.
    Shopify = "shopify",
    /// `X-Slack-Signature`. Slack's challenge is answered.
    Slack = "slack",
    /// Paddle Billing, `Paddle-Signature`.
    Paddle = "paddle",
    /// Whop: Standard Webhooks keyed with the secret's text, and the older `X-Whop-Signature`.
    Whop = "whop",
    /// PayPal: a signature that is judged by PayPal's certificate. The secret is the webhook's id.
    Paypal = "paypal",
    /// `X-Twilio-Signature`, over the URL and a form, or the URL with the digest of the body.
    Twilio = "twilio",
    /// A token in a header; `settings.bearer` says where.
    Bearer = "bearer",
    /// Nothing but the address that it comes from: `settings.allow`.
    Address = "address",
    /// Any HMAC, described by `settings.hmac`.
    Hmac = "hmac",
}

impl Scheme {
    /// The one of this name; none for our own source's.
    pub(super) fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|scheme| scheme.as_str() == name)
    }

    /// A fresh secret, where it is ours to choose.
    pub(super) fn secret(self, random: &dyn Random) -> Option<String> {
        let mut bytes = [0; 32];
        match self {
            Self::StandardWebhooks => {
                random.fill(&mut bytes);
                Some(format!("whsec_{}", STANDARD.encode(bytes)))
            }
            Self::Github | Self::Bearer => Some(crate::time::random_hex(random, 32)),
            Self::Stripe
            | Self::Meta
            | Self::Shopify
            | Self::Slack
            | Self::Paddle
            | Self::Whop
            | Self::Paypal
            | Self::Twilio
            | Self::Address
            | Self::Hmac => None,
        }
    }
}

/// What a source can be told beside its scheme.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = SourceSettings)]
pub(crate) struct SettingsView {
    /// How old, and how far in the future, a signature's time may be, in seconds.
    #[schema(minimum = 1, maximum = 86400)]
    tolerance_secs: i64,
    /// The largest body, in bytes.
    #[schema(minimum = 1, maximum = 16777216)]
    body_limit_bytes: usize,
    /// The rule of the scheme `hmac`: required there, refused elsewhere.
    #[schema(value_type = Option<HmacRule>)]
    hmac: Option<serde_json::Value>,
    /// The scheme `bearer`: where the token stands.
    #[schema(value_type = Option<BearerRule>)]
    bearer: Option<serde_json::Value>,
    /// The schemes `bearer` and `address`: where the event's parts stand.
    #[schema(value_type = Option<EventRule>)]
    event: Option<serde_json::Value>,
    /// The addresses and ranges, such as `192.0.2.0/24`, that requests may come from; empty: from anywhere. Required by
    /// the scheme `address`, and an addition to any other.
    #[schema(max_items = 256)]
    allow: Vec<String>,
    /// The scheme `twilio`: the URL as Twilio has it, without its query, where that is not the server's public URL.
    #[schema(max_length = 2048)]
    url: Option<String>,
    /// What an accepted request is answered with, where the provider reads it.
    answer: Option<AnswerView>,
    /// How the tenant of each event is found; null: it is the source's own. Not for keys that are bound to a tenant.
    #[schema(value_type = Option<TenantRule>)]
    tenant: Option<serde_json::Value>,
    /// Where the ids of objects stand in events, for timelines; null: where those of the scheme do.
    #[schema(value_type = Option<Vec<ObjectRule>>, max_items = 32)]
    objects: Option<serde_json::Value>,
    /// What must come after what.
    #[schema(value_type = Vec<ExpectRule>, max_items = 20)]
    expect: Vec<serde_json::Value>,
    /// How much its provider sends at the most; null: as much as it likes. Not for the schemes `github` and `twilio`,
    /// whose providers send nothing again.
    rate: Option<RateView>,
}

impl Default for SettingsView {
    fn default() -> Self {
        Self {
            tolerance_secs: TOLERANCE_SECS,
            body_limit_bytes: BODY_LIMIT_BYTES,
            hmac: None,
            bearer: None,
            event: None,
            allow: Vec::new(),
            url: None,
            answer: None,
            tenant: None,
            objects: None,
            expect: Vec::new(),
            rate: None,
        }
    }
}

/// How much a source's provider sends at the most, on each node. What is over is told to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SourceRate)]
pub(crate) struct RateView {
    /// Requests that prove genuine in a second.
    #[schema(minimum = 1, maximum = 100000)]
    per_second: u32,
    /// How many of them may come at once; null: ten seconds' worth.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1000000)]
    burst: Option<u32>,
}

/// The answer to an accepted request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SourceAnswer)]
pub(crate) struct AnswerView {
    /// 200 to 299: anything else would make the provider send again.
    #[schema(minimum = 200, maximum = 299)]
    status: u16,
    #[serde(default = "plain_text")]
    #[schema(min_length = 1, max_length = 128, pattern = "^[ -~]+$")]
    content_type: String,
    #[serde(default)]
    #[schema(max_length = 4096)]
    body: String,
}

fn plain_text() -> String {
    "text/plain; charset=utf-8".into()
}

impl SettingsView {
    fn of(settings: SourceSettings) -> Self {
        Self {
            tolerance_secs: settings.tolerance_secs,
            body_limit_bytes: settings.body_limit_bytes,
            hmac: settings.hmac,
            bearer: settings.bearer,
            event: settings.event,
            allow: settings.allow,
            url: settings.url,
            answer: settings.answer.map(|answer| AnswerView {
                status: answer.status,
                content_type: answer.content_type,
                body: answer.body,
            }),
            tenant: settings.tenant,
            objects: settings.objects,
            expect: settings.expect,
            rate: settings.rate.map(|rate| RateView {
                per_second: rate.per_second,
                burst: rate.burst,
            }),
        }
    }

    pub(super) fn settings(self, verify_token: Option<String>) -> SourceSettings {
        SourceSettings {
            tolerance_secs: self.tolerance_secs,
            body_limit_bytes: self.body_limit_bytes,
            hmac: self.hmac,
            bearer: self.bearer,
            event: self.event,
            allow: self.allow,
            url: self.url,
            verify_token,
            tenant: self.tenant,
            objects: self.objects,
            expect: self.expect,
            rate: self.rate.map(|rate| RateSettings {
                per_second: rate.per_second,
                burst: rate.burst,
            }),
            answer: self.answer.map(|answer| AnswerSettings {
                status: answer.status,
                content_type: answer.content_type,
                body: answer.body,
            }),
        }
    }
}

/// A signing secret, without itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SourceSecret)]
pub(crate) struct SecretView {
    #[schema(value_type = String)]
    id: SecretId,
    /// The last four characters.
    hint: String,
    created_at: Time,
    /// When it last matched, to the minute.
    last_used_at: Option<Time>,
}

/// The last four characters, of a secret that is long enough to lose them.
pub(crate) fn hint(secret: &str) -> String {
    let count = secret.chars().count();
    let shown = if count >= 12 { 4 } else { 0 };
    let tail: String = secret.chars().skip(count - shown).collect();
    format!("…{tail}")
}

/// Counts of the last 24 hours.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SourceStats {
    /// Requests in all.
    received: i64,
    /// Requests that brought something new.
    events: i64,
    /// Requests that brought nothing new.
    duplicates: i64,
    /// Requests that were refused.
    refused: i64,
    /// Those of them that were only counted, since more came than the quarantine takes.
    refused_not_kept: i64,
    /// The first minute in which one was only counted; null when all were kept.
    refused_not_kept_since: Option<Time>,
    /// Genuine requests that were told to come again, since more came than `settings.rate`.
    rate_exceeded: i64,
    /// Requests that were turned away unread, since too many of their address had failed.
    turned_away: i64,
    /// Events that came again with other content.
    conflicts: i64,
    /// The last minute in which something new came; null when none did in these 24 hours.
    last_event_at: Option<Time>,
    /// How good the data of new events is.
    quality: Quality,
}

/// How good the data of a source is, by the new events of the last 24 hours.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Quality {
    /// Events that lack nothing that their schema requires, of those that were checked.
    completeness: Score,
    /// Events that violate their schema in nothing, of those that were checked.
    accuracy: Score,
    /// Events that came within 5 minutes of when they happened, of those of which that is known.
    freshness: Score,
}

/// A share, and what it is of.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = QualityScore)]
pub(crate) struct Score {
    /// `numerator` / `denominator`, from 0 to 1; null where there was nothing to judge.
    score: Option<f64>,
    numerator: i64,
    denominator: i64,
}

impl Score {
    fn of(numerator: i64, denominator: i64) -> Self {
        // Two counts of a moment that is being written may be read in between.
        let numerator = numerator.clamp(0, denominator.max(0));
        Self {
            score: (denominator > 0).then(|| numerator as f64 / denominator as f64),
            numerator,
            denominator,
        }
    }
}

impl Quality {
    fn of(counted: &Counted) -> Self {
        let checked = counted.schema_checked;
        Self {
            completeness: Score::of(checked - counted.schema_incomplete, checked),
            accuracy: Score::of(checked - counted.schema_violated, checked),
            freshness: Score::of(counted.fresh, counted.dated),
        }
    }
}

/// A named door for inbound webhooks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Source)]
pub(crate) struct SourceView {
    #[schema(value_type = String)]
    id: SourceId,
    name: String,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    #[schema(value_type = SourceScheme)]
    scheme: String,
    /// Whether requests are taken. While it is not, providers are asked to send again later.
    enabled: bool,
    /// Where the provider sends to; empty for our own events, which no request can reach.
    url: String,
    settings: SettingsView,
    /// Newest first. Any of them may match: that is how one is rotated.
    secrets: Vec<SecretView>,
    created_at: Time,
    updated_at: Time,
    stats: SourceStats,
}

impl SourceView {
    pub(crate) fn of(source: Source, figures: &Figures) -> Self {
        let counted = figures.of(source.id.uuid());
        let settings: SourceSettings = serde_json::from_str(&source.settings).unwrap_or_default();
        Self {
            id: source.id,
            url: if source.scheme == OWN_SOURCE {
                String::new()
            } else {
                format!("/in/{}", source.name)
            },
            name: source.name,
            tenant_id: source.tenant,
            scheme: source.scheme,
            enabled: source.enabled,
            settings: SettingsView::of(settings),
            secrets: source
                .secrets
                .iter()
                .map(|secret| SecretView {
                    id: secret.id,
                    hint: hint(&secret.secret),
                    created_at: secret.created_at.into(),
                    last_used_at: secret.last_used_at.map(Into::into),
                })
                .collect(),
            created_at: source.created_at.into(),
            updated_at: source.updated_at.into(),
            stats: SourceStats {
                received: counted.received + counted.duplicates + counted.refused,
                events: counted.received,
                duplicates: counted.duplicates,
                refused: counted.refused,
                refused_not_kept: counted.refused_not_kept,
                refused_not_kept_since: counted.not_kept_since.map(Into::into),
                rate_exceeded: counted.rate_exceeded,
                turned_away: counted.turned_away,
                conflicts: counted.conflicts,
                last_event_at: counted.received_at.map(Into::into),
                quality: Quality::of(&counted),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_described_schemes_are_the_domains_own() {
        let names: Vec<&str> = Scheme::ALL.iter().map(|scheme| scheme.as_str()).collect();
        assert_eq!(names, mainstay_domain::intake::scheme::Scheme::NAMES);
    }

    #[test]
    fn a_score_of_nothing_is_none_and_every_other_says_what_it_is_of() {
        let nothing = Quality::of(&Counted::default());
        for score in [nothing.completeness, nothing.accuracy, nothing.freshness] {
            assert_eq!(
                score,
                Score {
                    score: None,
                    numerator: 0,
                    denominator: 0
                }
            );
        }
        let counted = Counted {
            schema_checked: 8,
            schema_violated: 4,
            schema_incomplete: 2,
            dated: 10,
            fresh: 9,
            ..Counted::default()
        };
        let quality = Quality::of(&counted);
        assert_eq!(
            quality.completeness,
            Score {
                score: Some(0.75),
                numerator: 6,
                denominator: 8
            }
        );
        assert_eq!(
            quality.accuracy,
            Score {
                score: Some(0.5),
                numerator: 4,
                denominator: 8
            }
        );
        assert_eq!(
            quality.freshness,
            Score {
                score: Some(0.9),
                numerator: 9,
                denominator: 10
            }
        );
    }

    #[test]
    fn a_hint_never_gives_much_of_a_secret_away() {
        assert_eq!(hint("whsec_abcdefgh1234"), "…1234");
        assert_eq!(hint("short"), "…");
        assert_eq!(hint(""), "…");
    }
}
