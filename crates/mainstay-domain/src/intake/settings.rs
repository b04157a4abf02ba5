//! What a source can be told beside its scheme: the JSON in [`super::Source::settings`], and its bounds.

use serde::{Deserialize, Serialize};

/// How old, and how far in the future, a signature's time may be: what Stripe and Standard Webhooks use.
pub const TOLERANCE_SECS: i64 = 300;
/// The largest body that is taken unless the source says otherwise.
pub const BODY_LIMIT_BYTES: usize = 1024 * 1024;
/// The largest body that a source can be told to take.
pub const BODY_LIMIT_BYTES_MAX: usize = 16 * 1024 * 1024;

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
    /// What an accepted request is answered with, where the provider reads it.
    pub answer: Option<AnswerSettings>,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self {
            tolerance_secs: TOLERANCE_SECS,
            body_limit_bytes: BODY_LIMIT_BYTES,
            hmac: None,
            verify_token: None,
            answer: None,
        }
    }
}

impl std::fmt::Debug for SourceSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceSettings")
            .field("tolerance_secs", &self.tolerance_secs)
            .field("body_limit_bytes", &self.body_limit_bytes)
            .field("hmac", &self.hmac)
            .field("answer", &self.answer)
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
}
