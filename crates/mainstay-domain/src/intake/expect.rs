//! Expected events: after an event of one type, one of another type must come for the same object within a time. What
//! must still come is a row; what is fulfilled is only counted.

use std::collections::HashSet;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{
    links::is_value,
    scheme::{JsonPointer, value_at},
    settings::SettingProblem,
};
use crate::{
    error::StoreResult,
    id::{EventId, ExpectationId, SourceId, TenantId},
    time::Timestamp,
};

/// Rules of one source at the most.
pub const RULES_MAX: usize = 20;
/// Expectations of one rule and tenant at the most, missing ones among them; what is beyond is counted.
pub const PENDING_MAX: i64 = 20_000;
/// How often it is kept, of one rule and tenant, that the other event came for an object.
pub const MARKS_MAX: i64 = 20_000;
/// The shortest and the longest time that an event may take to come.
pub const WITHIN_SECS: std::ops::RangeInclusive<i64> = 1..=31 * 24 * 3_600;
/// The longest time that an event may come before the one that it must follow.
pub const BEFORE_SECS_MAX: i64 = 24 * 3_600;
/// The same unless the rule says otherwise: webhooks overtake each other by minutes.
pub const BEFORE_SECS: i64 = 600;
/// Beyond that time it is kept that an event came, for jobs that are behind.
pub const MARK_SPARE_MS: i64 = 3_600_000;

/// After an event of one type one of another must come for the same object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectRule {
    /// Its name, unique in the source.
    pub name: String,
    /// What begins it: events of this source.
    pub after: ExpectAfter,
    /// What must come.
    pub expect: ExpectThen,
    /// Within how many seconds.
    pub within_secs: i64,
    /// How many seconds before the other it may have come already.
    #[serde(default = "before_secs")]
    pub before_secs: i64,
}

const fn before_secs() -> i64 {
    BEFORE_SECS
}

/// The events that begin something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectAfter {
    /// Their type: one exactly, `prefix.*` or `*`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where the object's key stands in their payload.
    pub key: JsonPointer,
}

/// The events that must come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectThen {
    /// Their source's name, of the same tenant; none: the same source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Their type: one exactly, `prefix.*` or `*`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where the same key stands in their payload.
    pub key: JsonPointer,
}

/// Whether an event of this type is meant by a pattern.
pub fn type_matches(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => kind.starts_with(prefix),
        None => pattern == kind,
    }
}

/// Reads the rules from a source's settings; what cannot be one is refused.
pub fn rules_of(settings: &[serde_json::Value]) -> Result<Vec<ExpectRule>, SettingProblem> {
    let problem = |problem: String| SettingProblem {
        field: "expect",
        problem,
    };
    if settings.len() > RULES_MAX {
        return Err(problem(format!("must have at most {RULES_MAX} rules")));
    }
    let mut names = HashSet::new();
    let mut rules = Vec::with_capacity(settings.len());
    for (at, one) in settings.iter().enumerate() {
        let wrong = |what: &str| problem(format!("has a rule at {at} {what}"));
        let rule = ExpectRule::deserialize(one)
            .map_err(|error| wrong(&format!("that cannot be read: {error}")))?;
        let slug =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if !(1..=63).contains(&rule.name.len()) || !rule.name.bytes().all(slug) {
            return Err(wrong("whose name is not 1 to 63 of a-z, 0-9, - and _"));
        }
        if !names.insert(rule.name.clone()) {
            return Err(wrong("whose name another one has"));
        }
        if !is_pattern(&rule.after.kind) || !is_pattern(&rule.expect.kind) {
            return Err(wrong(
                "with a type that is neither one, nor prefix.*, nor *",
            ));
        }
        if !WITHIN_SECS.contains(&rule.within_secs) {
            return Err(wrong("whose within_secs is not between 1 and 2678400"));
        }
        if !(0..=BEFORE_SECS_MAX).contains(&rule.before_secs) {
            return Err(wrong("whose before_secs is not between 0 and 86400"));
        }
        if rule
            .expect
            .source
            .as_ref()
            .is_some_and(|name| !(1..=63).contains(&name.len()))
        {
            return Err(wrong("whose source is no source's name"));
        }
        rules.push(rule);
    }
    Ok(rules)
}

fn is_pattern(text: &str) -> bool {
    let star = text.find('*');
    (1..=200).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
        && star.is_none_or(|at| at + 1 == text.len() && (at == 0 || text[..at].ends_with('.')))
}

/// The key of the object that a payload is about; none: it has none that can be one.
pub fn key_of(payload: &[u8], pointer: &JsonPointer) -> Option<String> {
    value_at(payload, pointer).filter(|key| !key.is_empty() && is_value(key))
}

/// What one rule makes of one event: carried by the event's job, as the rule was when the event came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectPart {
    /// The source whose rule it is.
    pub source: SourceId,
    /// The rule's name.
    pub rule: String,
    /// Where the key stands.
    pub key: JsonPointer,
    /// What must come, where this event begins something; none: it is what must come.
    pub begins: Option<ExpectBegins>,
    /// How many seconds before the other it may have come already.
    pub before_secs: i64,
}

/// What an event begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectBegins {
    /// The type that must come.
    pub wanted: String,
    /// Within how many seconds.
    pub within_secs: i64,
}

/// An event that must be followed by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Its id.
    pub id: ExpectationId,
    /// The tenant of the event.
    pub tenant: TenantId,
    /// The source whose rule it is.
    pub source: SourceId,
    /// The rule's name.
    pub rule: String,
    /// The key of the object.
    pub object: String,
    /// The event that began it.
    pub event: EventId,
    /// The type that must come.
    pub wanted: String,
    /// When that event was received.
    pub began_at: Timestamp,
    /// Until when the other must have come.
    pub due_at: Timestamp,
    /// Whether that was found to be over.
    pub missing: bool,
    /// When somebody said that it is seen to.
    pub acknowledged_at: Option<Timestamp>,
    /// Who.
    pub acknowledged_by: Option<String>,
}

/// What became of a rule's expectations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExpectTally {
    /// The rule's name.
    pub rule: String,
    /// Those that are rows: what may still come and what is missing.
    pub pending: i64,
    /// Fulfilled by what was received in time.
    pub fulfilled: i64,
    /// Fulfilled by what was received after their time.
    pub late: i64,
    /// Found missing, all in all.
    pub missed: i64,
    /// Not watched, since there were too many.
    pub overflowed: i64,
}

/// Which expectations to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectState {
    /// Those that are missing and that nobody has acknowledged.
    Missing,
    /// All that are missing.
    MissingAll,
    /// Those that may still come.
    Waiting,
}

/// The store's verbs of expected events.
#[async_trait]
pub trait ExpectTx: Send {
    /// Waits for an event, unless it came already, `before` at the earliest. Once for each event and rule.
    async fn expect_begin(
        &mut self,
        expectation: &Expectation,
        before: Timestamp,
    ) -> StoreResult<()>;
    /// The event that is waited for came at `at` for an object: whatever was begun until `begun_until` is fulfilled, and
    /// that it came is kept until `keep_until`.
    async fn expect_meet(
        &mut self,
        of: (TenantId, SourceId),
        rule: &str,
        object: &str,
        at: Timestamp,
        begun_until: Timestamp,
        keep_until: Timestamp,
    ) -> StoreResult<()>;
    /// Those that should have been fulfilled before `at`, the oldest first, at most `limit`; `after` one by its time and id.
    /// System scope.
    async fn expect_due(
        &mut self,
        at: Timestamp,
        after: Option<(Timestamp, ExpectationId)>,
        limit: i64,
    ) -> StoreResult<Vec<Expectation>>;
    /// Finds one missing; false: it is fulfilled, or was found missing before. System scope.
    async fn expect_missing(&mut self, expectation: &Expectation) -> StoreResult<bool>;
    /// Waits for one no more, since its rule is gone. System scope.
    async fn expect_forget(&mut self, expectation: &Expectation) -> StoreResult<bool>;
    /// The expectations of a source's rules, newest first: of the scope's tenant, or of all.
    async fn expect_list(
        &mut self,
        source: SourceId,
        state: ExpectState,
        before: Option<ExpectationId>,
        limit: i64,
    ) -> StoreResult<Vec<Expectation>>;
    /// Notes that these missing ones of a source are seen to, or all where none is named: of the scope's tenant, or of all.
    /// Answers how many were new to it.
    async fn expect_acknowledge(
        &mut self,
        source: SourceId,
        ids: &[ExpectationId],
        at: Timestamp,
        by: &str,
    ) -> StoreResult<i64>;
    /// What became of the expectations of a source's rules: of the scope's tenant, or of all.
    async fn expect_tallies(&mut self, source: SourceId) -> StoreResult<Vec<ExpectTally>>;
    /// How many are missing that nobody has acknowledged, by source, at most `limit` sources: of the scope's tenant, or of
    /// all.
    async fn expect_missing_counts(&mut self, limit: i64) -> StoreResult<Vec<(SourceId, i64)>>;
    /// Removes what came before and is kept no longer, and expectations begun before `until` that are missing or that no
    /// source has a rule for. System scope.
    async fn expect_expire(
        &mut self,
        now: Timestamp,
        until: Timestamp,
        limit: i64,
    ) -> StoreResult<i64>;
}
