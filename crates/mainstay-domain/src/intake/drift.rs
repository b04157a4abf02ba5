//! Drift: what a provider's events begin to say that they never said before. Fields and their JSON types are learned
//! from samples of what comes in; what is new after a time of learning is a finding.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::StoreResult,
    id::{DriftId, EventId, SourceId, TenantId},
    time::Timestamp,
};

/// Fields of one type that are known at the most.
pub const FIELDS_MAX: usize = 500;
/// How deep fields are looked at.
pub const DEPTH_MAX: usize = 8;
/// Characters of a field's pointer, a type, and an API's version; what is longer is not learned.
pub const TEXT_CHARS_MAX: usize = 200;
/// Types of one source that are known at the most.
pub const TYPES_MAX: i64 = 500;
/// So many samples of a type are learned from before anything in it is a finding.
pub const LEARN_SAMPLES: i64 = 20;
/// For so long after the first sample of a type nothing in it is a finding, and after the first one of a source no type.
pub const LEARN_MS: i64 = 24 * 60 * 60 * 1_000;
/// Findings of one source that nobody has acknowledged, at the most; beyond it what is new is learned and not told.
pub const OPEN_MAX: i64 = 100;

/// What is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// A type of events that never came before.
    NewType,
    /// A field that no event of the type had before.
    NewField,
    /// A field that has another JSON type than it ever had before.
    FieldType,
    /// Another version of the provider's API.
    ApiVersion,
}

impl DriftKind {
    /// In the order in which the store numbers them.
    pub const ALL: [Self; 4] = [
        Self::NewType,
        Self::NewField,
        Self::FieldType,
        Self::ApiVersion,
    ];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewType => "new_type",
            Self::NewField => "new_field",
            Self::FieldType => "field_type",
            Self::ApiVersion => "api_version",
        }
    }
}

/// One thing that is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: DriftKind,
    /// The field: a JSON pointer with `*` for every place of a list; empty where it is about the whole.
    pub path: String,
    /// What was known before; empty: nothing.
    pub before: String,
    /// What came.
    pub after: String,
}

/// A finding as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Its id.
    pub id: DriftId,
    /// Whose it is: the source's tenant.
    pub tenant: TenantId,
    /// The source.
    pub source: SourceId,
    /// The type of the events.
    pub event_type: String,
    /// What is new.
    pub finding: Finding,
    /// An event that has it.
    pub event: EventId,
    /// When it was found.
    pub found_at: Timestamp,
    /// When somebody had seen it.
    pub acknowledged_at: Option<Timestamp>,
    /// Who.
    pub acknowledged_by: Option<String>,
}

/// What the events of a type have said so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Shape {
    /// When the first was looked at, in microseconds.
    pub since: i64,
    /// How many were looked at, counted while it is being learned.
    pub samples: i64,
    /// The version of the provider's API that came last.
    pub api_version: Option<String>,
    /// The fields, each with its JSON types, a bit for each.
    pub fields: BTreeMap<String, u8>,
}

const TYPES: [&str; 6] = ["null", "boolean", "number", "string", "array", "object"];
const NULL: u8 = 1;

fn type_of(value: &Value) -> u8 {
    let place = match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    };
    1 << place
}

fn type_names(types: u8) -> String {
    let named = TYPES.iter().enumerate();
    let named = named.filter(|(place, _)| types & (1 << place) != 0);
    let names: Vec<&str> = named.map(|(_, name)| *name).collect();
    names.join(" or ")
}

/// The fields of a payload with their types, as far as they are looked at.
pub fn fields_of(payload: &Value) -> BTreeMap<String, u8> {
    let mut found = BTreeMap::new();
    gather("", payload, 0, &mut found);
    found
}

fn gather(at: &str, value: &Value, depth: usize, found: &mut BTreeMap<String, u8>) {
    if !at.is_empty() {
        if at.chars().count() > TEXT_CHARS_MAX
            || (found.len() >= FIELDS_MAX && !found.contains_key(at))
        {
            return;
        }
        *found.entry(at.to_owned()).or_default() |= type_of(value);
    }
    if depth >= DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(named) => {
            // PostgreSQL has no text with a zero in it.
            for (name, inner) in named.iter().filter(|(name, _)| !name.contains('\0')) {
                let name = name.replace('~', "~0").replace('/', "~1");
                gather(&format!("{at}/{name}"), inner, depth + 1, found);
            }
        }
        Value::Array(list) => {
            // Items of a list are alike: the first few tell.
            for inner in list.iter().take(20) {
                gather(&format!("{at}/*"), inner, depth + 1, found);
            }
        }
        _ => {}
    }
}

impl Shape {
    /// Learns what a payload says. Answers what is new, unless it is still the time of learning, and whether anything
    /// was learned that has to be written down.
    pub fn learn(
        &mut self,
        fields: BTreeMap<String, u8>,
        api_version: Option<String>,
        quiet: bool,
    ) -> (Vec<Finding>, bool) {
        let mut findings = Vec::new();
        let mut changed = self.samples < LEARN_SAMPLES;
        let quiet = quiet || self.samples < LEARN_SAMPLES;
        self.samples += i64::from(changed);
        for (path, types) in fields {
            let Some(known) = self.fields.get_mut(&path) else {
                if self.fields.len() >= FIELDS_MAX {
                    continue;
                }
                // What is inside of a new field is no news beside it.
                let inside = findings.iter().any(|one: &Finding| {
                    one.kind == DriftKind::NewField && path.starts_with(&format!("{}/", one.path))
                });
                if !inside {
                    findings.push(Finding {
                        kind: DriftKind::NewField,
                        path: path.clone(),
                        before: String::new(),
                        after: type_names(types),
                    });
                }
                self.fields.insert(path, types);
                changed = true;
                continue;
            };
            let new = types & !*known;
            if new == 0 {
                continue;
            }
            // A field that can be null is the same field.
            if new & !NULL != 0 && *known & !NULL != 0 {
                findings.push(Finding {
                    kind: DriftKind::FieldType,
                    path,
                    before: type_names(*known & !NULL),
                    after: type_names(new & !NULL),
                });
            }
            *known |= types;
            changed = true;
        }
        if api_version.is_some() && api_version != self.api_version {
            if let (Some(before), Some(after)) = (&self.api_version, &api_version) {
                findings.push(Finding {
                    kind: DriftKind::ApiVersion,
                    path: String::new(),
                    before: before.clone(),
                    after: after.clone(),
                });
            }
            self.api_version = api_version;
            changed = true;
        }
        if quiet {
            findings.clear();
        }
        (findings, changed)
    }

    /// Adds what another node has learned.
    pub fn merge(&mut self, other: Self) {
        self.samples = self.samples.max(other.samples);
        self.since = self.since.min(other.since);
        for (path, types) in other.fields {
            if self.fields.len() < FIELDS_MAX || self.fields.contains_key(&path) {
                *self.fields.entry(path).or_default() |= types;
            }
        }
    }
}

/// The store's verbs of drift.
#[async_trait]
pub trait DriftTx: Send {
    /// What is known of a type of events.
    async fn shape_get(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        event_type: &str,
    ) -> StoreResult<Option<Shape>>;
    /// How many types of a source are known, and since when the first of them is.
    async fn shape_count(
        &mut self,
        tenant: TenantId,
        source: SourceId,
    ) -> StoreResult<(i64, Option<Timestamp>)>;
    /// Writes down what is known of a type of events. Fails as a reference when the source is gone.
    async fn shape_put(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        event_type: &str,
        shape: &Shape,
    ) -> StoreResult<()>;
    /// Keeps a finding; false where the same was found before.
    async fn drift_insert(&mut self, drift: &Drift) -> StoreResult<bool>;
    /// How many findings of a source nobody has acknowledged, at most `most`.
    async fn drift_open(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        most: i64,
    ) -> StoreResult<i64>;
    /// The findings of a source, newest first, acknowledged ones too if `all`.
    async fn drift_list(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        all: bool,
        before: Option<DriftId>,
        limit: i64,
    ) -> StoreResult<Vec<Drift>>;
    /// Notes that these findings of a source were seen, or all where none is named. Answers how many were new to it.
    async fn drift_acknowledge(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        ids: &[DriftId],
        at: Timestamp,
        by: &str,
    ) -> StoreResult<i64>;
    /// Removes findings that were acknowledged before `until`, at most `limit`. System scope.
    async fn drift_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64>;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn learned(payloads: &[Value]) -> Shape {
        let mut shape = Shape::default();
        for at in 0..LEARN_SAMPLES.max(payloads.len() as i64) {
            let payload = &payloads[at as usize % payloads.len()];
            let (found, changed) = shape.learn(fields_of(payload), None, false);
            assert_eq!(found, [], "nothing is found while it is learned");
            assert!(changed);
        }
        shape
    }

    fn found(shape: &mut Shape, payload: Value) -> Vec<(DriftKind, String, String, String)> {
        let (found, _) = shape.learn(fields_of(&payload), None, false);
        let found = found.into_iter();
        found
            .map(|one| (one.kind, one.path, one.before, one.after))
            .collect()
    }

    #[test]
    fn a_new_field_is_found_once_and_not_what_is_inside_of_it() {
        let mut shape = learned(&[json!({ "a": 1, "list": [{ "b": 1 }] })]);
        assert_eq!(found(&mut shape, json!({ "a": 2 })), []);
        let new = json!({ "a": 1, "list": [{ "b": 1 }, { "c": { "d": [1] } }] });
        let path = "/list/*/c".to_owned();
        let news = (DriftKind::NewField, path, String::new(), "object".into());
        assert_eq!(found(&mut shape, new.clone()), [news]);
        assert_eq!(found(&mut shape, new), []);
    }

    #[test]
    fn another_type_is_found_and_null_is_none() {
        let mut shape = learned(&[json!({ "a": 1, "b": null })]);
        assert_eq!(found(&mut shape, json!({ "a": null, "b": "x" })), []);
        let news = (
            DriftKind::FieldType,
            "/a".into(),
            "number".into(),
            "string".into(),
        );
        assert_eq!(found(&mut shape, json!({ "a": "1", "b": null })), [news]);
    }

    #[test]
    fn another_version_of_the_api_is_found() {
        let mut shape = learned(&[json!({})]);
        let version = |text: &str| Some(text.to_owned());
        assert_eq!(shape.learn(BTreeMap::new(), version("1"), false).0, []);
        let (found, _) = shape.learn(BTreeMap::new(), version("2"), false);
        assert_eq!(found[0].kind, DriftKind::ApiVersion);
        assert_eq!((&*found[0].before, &*found[0].after), ("1", "2"));
        // An event that does not say is no change.
        assert_eq!(
            shape.learn(BTreeMap::new(), None, false),
            (Vec::new(), false)
        );
    }

    #[test]
    fn what_is_learned_is_bounded() {
        let wide: serde_json::Map<_, _> = (0..5_000).map(|n| (format!("f{n}"), json!(n))).collect();
        let mut shape = learned(&[Value::Object(wide)]);
        assert_eq!(shape.fields.len(), FIELDS_MAX);
        assert_eq!(found(&mut shape, json!({ "other": 1 })), []);
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!({ "a": deep });
        }
        assert_eq!(fields_of(&deep).len(), DEPTH_MAX);
        assert!(fields_of(&json!({ "x".repeat(1_000): 1 })).is_empty());
    }
}
