//! What a source can be told beside its scheme: the JSON in [`super::Source::settings`], and its bounds.

use serde::{Deserialize, Serialize};

use super::{
    expect::{ExpectRule, rules_of},
    objects::ObjectRules,
    rate::{BURST_MAX, PER_SECOND_MAX, Rate},
    scheme::TenantRule,
};
use crate::cidr::Cidr;

/// How old, and how far in the future, a signature's time may be: what Stripe and Standard Webhooks use.
pub const TOLERANCE_SECS: i64 = 300;
/// The largest body that is taken unless the source says otherwise.
pub const BODY_LIMIT_BYTES: usize = 1024 * 1024;
/// The largest body that a source can be told to take.
pub const BODY_LIMIT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The most ranges of addresses that a source can let in.
pub const ALLOW_MAX: usize = 256;

/// The settings of a source.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceSettings {
    /// How old, and how far in the future, a signature's time may be, in seconds.
    pub tolerance_secs: i64,
    /// The largest body.
    pub body_limit_bytes: usize,
    /// The rule of the `hmac` scheme, as JSON of that scheme; required there and refused elsewhere.
    pub hmac: Option<serde_json::Value>,
    /// Meta's verify token. A secret: never shown.
    pub verify_token: Option<String>,
    /// Where the token of the scheme `bearer` stands, as JSON of that scheme; refused elsewhere.
    pub bearer: Option<serde_json::Value>,
    /// Where the parts of an event stand, for the schemes `bearer` and `address`; refused elsewhere.
    pub event: Option<serde_json::Value>,
    /// The ranges of addresses that requests may come from; empty: from anywhere. Required by the scheme `address`.
    pub allow: Vec<String>,
    /// The scheme `twilio`: the URL as Twilio has it, without its query, where that is not our public one.
    pub url: Option<String>,
    /// What an accepted request is answered with, where the provider reads it.
    pub answer: Option<AnswerSettings>,
    /// How the tenant of each event is found, as JSON of [`TenantRule`]; none: the source's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<serde_json::Value>,
    /// Where the ids of objects stand in its events, as JSON of a list of [`super::objects::ObjectRule`]; none: where those
    /// of its scheme do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<serde_json::Value>,
    /// What must come after what, as JSON of [`ExpectRule`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<serde_json::Value>,
    /// How much its provider sends at the most; none: as much as it likes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateSettings>,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self {
            tolerance_secs: TOLERANCE_SECS,
            body_limit_bytes: BODY_LIMIT_BYTES,
            hmac: None,
            verify_token: None,
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

impl std::fmt::Debug for SourceSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceSettings")
            .field("tolerance_secs", &self.tolerance_secs)
            .field("body_limit_bytes", &self.body_limit_bytes)
            .field("hmac", &self.hmac)
            .field("bearer", &self.bearer)
            .field("event", &self.event)
            .field("allow", &self.allow)
            .field("url", &self.url)
            .field("answer", &self.answer)
            .field("tenant", &self.tenant)
            .field("objects", &self.objects)
            .field("expect", &self.expect)
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

/// The answer to an accepted request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerSettings {
    /// 200 to 299: anything else would make the provider send again.
    pub status: u16,
    /// The content type of the body.
    pub content_type: String,
    /// The body.
    pub body: String,
}

/// How much a source's provider sends at the most. What is over is told to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateSettings {
    /// Requests that prove genuine in a second, on each node.
    pub per_second: u32,
    /// How many of them may come at once; none: ten seconds' worth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

impl RateSettings {
    /// The rate that this says.
    pub fn rate(self) -> Rate {
        let burst = self.burst.unwrap_or(self.per_second.saturating_mul(10));
        Rate::per_second(self.per_second, burst)
    }
}

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct SettingProblem {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl SourceSettings {
    /// Refuses what is out of bounds.
    pub fn check(&self) -> Result<(), SettingProblem> {
        let fail = |field, problem: &str| {
            Err(SettingProblem {
                field,
                problem: problem.to_owned(),
            })
        };
        if !(1..=86_400).contains(&self.tolerance_secs) {
            return fail("tolerance_secs", "must be between 1 and 86400");
        }
        if !(1..=BODY_LIMIT_BYTES_MAX).contains(&self.body_limit_bytes) {
            return fail("body_limit_bytes", "must be between 1 and 16777216");
        }
        self.ranges()?;
        self.tenant_rule()?;
        if let Some(objects) = &self.objects {
            // The scheme does not matter where there are rules.
            ObjectRules::of("", Some(objects))?.check_new()?;
        }
        self.expect_rules()?;
        if let Some(rate) = &self.rate {
            if !(1..=PER_SECOND_MAX).contains(&rate.per_second) {
                return fail("rate.per_second", "must be between 1 and 100000");
            }
            if rate
                .burst
                .is_some_and(|burst| !(1..=BURST_MAX).contains(&burst))
            {
                return fail("rate.burst", "must be between 1 and 1000000");
            }
        }
        if let Some(url) = &self.url {
            let host = url
                .strip_prefix("https://")
                .or_else(|| url.strip_prefix("http://"));
            if url.len() > 2_048
                || host.is_none_or(|rest| rest.is_empty() || rest.starts_with(['/', ':']))
                || url.bytes().any(|byte| !byte.is_ascii_graphic())
                || url.contains(['?', '#'])
            {
                return fail("url", "must be an http or https URL without ? and #");
            }
        }
        let Some(answer) = &self.answer else {
            return Ok(());
        };
        if !(200..300).contains(&answer.status) {
            return fail("answer.status", "must be between 200 and 299");
        }
        if answer.body.len() > 4_096 {
            return fail("answer.body", "must have at most 4096 bytes");
        }
        let printable = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if answer.content_type.is_empty()
            || answer.content_type.len() > 128
            || !printable(&answer.content_type)
        {
            return fail("answer.content_type", "must be a media type");
        }
        Ok(())
    }

    /// How the tenant of each event is found; none: it is the source's own.
    pub fn tenant_rule(&self) -> Result<Option<TenantRule>, SettingProblem> {
        self.tenant
            .as_ref()
            .map(TenantRule::from_settings)
            .transpose()
    }

    /// What must come after what.
    pub fn expect_rules(&self) -> Result<Vec<ExpectRule>, SettingProblem> {
        rules_of(&self.expect)
    }

    /// The ranges that requests may come from.
    pub fn ranges(&self) -> Result<Vec<Cidr>, SettingProblem> {
        let fail = |problem| SettingProblem {
            field: "allow",
            problem,
        };
        if self.allow.len() > ALLOW_MAX {
            return Err(fail(format!("must have at most {ALLOW_MAX} ranges")));
        }
        let ranges = self.allow.iter().map(|text| text.parse());
        ranges
            .collect::<Result<_, _>>()
            .map_err(|error: crate::CidrError| fail(format!("has a range that is none: {error}")))
    }

    /// Refuses what says something about another scheme than the source's.
    pub(super) fn check_belongs(&self, scheme: &str) -> Result<(), SettingProblem> {
        let unsigned = matches!(scheme, "bearer" | "address");
        let table = [
            (
                "hmac",
                self.hmac.is_some() && scheme != "hmac",
                "belongs to the scheme hmac alone",
            ),
            (
                "verify_token",
                self.verify_token.is_some() && scheme != "meta",
                "belongs to the scheme meta alone",
            ),
            (
                "bearer",
                self.bearer.is_some() && scheme != "bearer",
                "belongs to the scheme bearer alone",
            ),
            (
                "event",
                self.event.is_some() && !unsigned,
                "belongs to the schemes bearer and address alone",
            ),
            (
                "url",
                self.url.is_some() && scheme != "twilio",
                "belongs to the scheme twilio alone",
            ),
            (
                "rate",
                self.rate.is_some() && matches!(scheme, "github" | "twilio"),
                "cannot be had by the schemes github and twilio: these providers send nothing again, so what is over would be lost",
            ),
            (
                "allow",
                self.allow.is_empty() && scheme == "address",
                "is required by the scheme address",
            ),
        ];
        match table.into_iter().find(|(_, wrong, _)| *wrong) {
            None => Ok(()),
            Some((field, _, problem)) => Err(SettingProblem {
                field,
                problem: problem.to_owned(),
            }),
        }
    }
}
