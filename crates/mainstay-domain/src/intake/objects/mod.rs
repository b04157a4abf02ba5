//! Objects: the customers, payments, repositories … that events are about, by the ids that stand in their payloads.
//!
//! A source says where such ids stand ([`ObjectRule`]); its scheme says it for sources that say nothing. What is found is
//! kept in an index beside the events, made in the background: nothing of this is on the way of a webhook.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Blob, Receipt, drift::Drift, settings::SettingProblem};
use crate::{
    error::StoreResult,
    id::{EventId, SourceId, TenantId},
    time::Timestamp,
};

mod preset;

pub use preset::rules_of;

/// The most rules of a source.
pub const RULES_MAX: usize = 32;
/// The most ids of one event that are indexed; of an event that has more, the first by the order of the rules.
pub const OBJECTS_MAX: usize = 16;
/// The most characters of an id; what is longer is not indexed.
pub const ID_CHARS_MAX: usize = 200;
/// The most characters of a rule's name.
pub const NAME_CHARS_MAX: usize = 40;
/// The largest payload that is looked into.
pub const PAYLOAD_BYTES_MAX: i64 = 1024 * 1024;
/// Steps of a pointer.
const STEPS_MAX: usize = 16;
/// Bytes of a pointer.
const POINTER_BYTES_MAX: usize = 512;
/// Changes when the same rules begin to find something else: then all events are looked at once more.
const READING: u32 = 1;

/// Where ids of one kind of object stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectRule {
    /// What they are ids of, e.g. `customer`.
    pub name: String,
    /// Where they stand in the payload: a JSON pointer; a step `*` stands for every element of a list.
    pub pointer: ObjectPointer,
    /// Of which types of events: exact, `prefix.*` or `*`.
    #[serde(default = "every", skip_serializing_if = "is_every")]
    pub types: String,
}

fn every() -> String {
    "*".to_owned()
}

fn is_every(types: &str) -> bool {
    types == "*"
}

impl ObjectRule {
    /// Whether it is about events of this type.
    pub fn matches(&self, kind: &str) -> bool {
        match self.types.strip_suffix('*') {
            Some(prefix) => kind.starts_with(prefix),
            None => self.types == kind,
        }
    }
}

/// A JSON pointer whose steps may be `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectPointer {
    text: String,
    steps: Vec<String>,
}

impl TryFrom<String> for ObjectPointer {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("a JSON pointer begins with /");
        };
        let steps: Vec<String> = rest
            .split('/')
            .map(|step| step.replace("~1", "/").replace("~0", "~"))
            .collect();
        if steps.len() > STEPS_MAX || text.len() > POINTER_BYTES_MAX {
            return Err("a JSON pointer may have at most 16 steps and 512 bytes");
        }
        Ok(Self { text, steps })
    }
}

impl From<ObjectPointer> for String {
    fn from(pointer: ObjectPointer) -> Self {
        pointer.text
    }
}

impl ObjectPointer {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A step that would be a place in a list, and is not written as RFC 6901 has it. Where there is one already it is
    /// read as it always was.
    fn misplaced(&self) -> Option<&str> {
        let wrong = |step: &&String| {
            let digits = step.strip_prefix('+').unwrap_or(step);
            let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            number && (digits.len() < step.len() || (digits.len() > 1 && digits.starts_with('0')))
        };
        self.steps.iter().find(wrong).map(String::as_str)
    }
}

/// An id that stands in an event, with what it is the id of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId {
    /// The name of the rule that found it, e.g. `customer`.
    pub name: String,
    /// The id as it stands there.
    pub id: String,
}

/// Whether a text can be an id: not empty, not too long, and without control characters.
pub fn is_id(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= ID_CHARS_MAX && !text.chars().any(char::is_control)
}

/// What the index leads to a tenant's events by, in place of an id that stands in them. It is kept in the store: its making must
/// never change. Two may meet, so whoever reads looks whether an event has the id.
pub fn mention_hash(tenant: TenantId, id: &str) -> i64 {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"mainstay.mention\0");
    context.update(tenant.uuid().as_bytes());
    context.update(id.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&context.finish().as_ref()[..8]);
    i64::from_be_bytes(first)
}

/// The rules of a source that are in force: its own where it has any, else those of its scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRules {
    rules: Vec<ObjectRule>,
}

impl ObjectRules {
    /// Of a source of this scheme with these settings.
    pub fn of(scheme: &str, settings: Option<&Value>) -> Result<Self, SettingProblem> {
        let rules = match settings {
            Some(settings) => parse(settings)?,
            None => rules_of(scheme),
        };
        Ok(Self { rules })
    }

    /// Refuses what is understood in rules that there are, and is not to be in new ones.
    pub fn check_new(&self) -> Result<(), SettingProblem> {
        let mut steps = self
            .rules
            .iter()
            .filter_map(|rule| rule.pointer.misplaced());
        match steps.next() {
            None => Ok(()),
            Some(step) => Err(SettingProblem {
                field: "objects",
                problem: format!(
                    "has a pointer with the step {step}: a place in a list is 0, or begins with 1 to 9"
                ),
            }),
        }
    }

    /// One by one, in the order in which ids are taken.
    pub fn rules(&self) -> &[ObjectRule] {
        &self.rules
    }

    /// A word that differs where other ids would be found.
    pub fn fingerprint(&self) -> String {
        let text = serde_json::to_string(&self.rules).unwrap_or_default();
        let text = format!("{READING} {text}");
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        let first = digest.as_ref().iter().take(12);
        first.map(|byte| format!("{byte:02x}")).collect()
    }

    /// The ids in a payload of an event of this type, each once, at most [`OBJECTS_MAX`]. What is neither JSON nor a
    /// form has none.
    pub fn find(&self, kind: &str, payload: &[u8]) -> Vec<ObjectId> {
        let mut found = Found::default();
        let mut body = None;
        for rule in self.rules.iter().filter(|rule| rule.matches(kind)) {
            let body = match &body {
                Some(body) => body,
                None => match read(payload) {
                    Some(value) => body.insert(value),
                    None => return Vec::new(),
                },
            };
            found.collect(rule, body, &rule.pointer.steps);
        }
        found.ids
    }
}

/// JSON, else the fields of a form: the payloads of Twilio, and some of Slack.
fn read(payload: &[u8]) -> Option<Value> {
    match serde_json::from_slice(payload) {
        Ok(body) => Some(body),
        Err(_) => {
            let fields = super::scheme::form_fields(payload)?;
            Some(Value::Object(
                fields
                    .into_iter()
                    .map(|(name, value)| (name, Value::String(value)))
                    .collect(),
            ))
        }
    }
}

#[derive(Default)]
struct Found {
    ids: Vec<ObjectId>,
}

impl Found {
    fn collect(&mut self, rule: &ObjectRule, value: &Value, steps: &[String]) {
        if self.ids.len() >= OBJECTS_MAX {
            return;
        }
        match (steps, value) {
            ([], value) => self.take(rule, value),
            ([step, rest @ ..], Value::Array(list)) if step == "*" => {
                for one in list {
                    self.collect(rule, one, rest);
                }
            }
            ([step, rest @ ..], Value::Array(list)) => {
                let at: Option<usize> = step.parse().ok();
                if let Some(one) = at.and_then(|at| list.get(at)) {
                    self.collect(rule, one, rest);
                }
            }
            ([step, rest @ ..], Value::Object(map)) => {
                if let Some(one) = map.get(step) {
                    self.collect(rule, one, rest);
                }
            }
            _ => {}
        }
    }

    /// A string or a whole number; of a list each of its elements; of an object, as providers write what they expand,
    /// its `id`.
    fn take(&mut self, rule: &ObjectRule, value: &Value) {
        match value {
            Value::String(id) => self.add(rule, id.clone()),
            Value::Number(number) if !number.is_f64() => self.add(rule, number.to_string()),
            Value::Array(list) => {
                for one in list {
                    if matches!(one, Value::String(_) | Value::Number(_) | Value::Object(_)) {
                        self.take(rule, one);
                    }
                }
            }
            Value::Object(map) => {
                if let Some(id @ (Value::String(_) | Value::Number(_))) = map.get("id") {
                    self.take(rule, id);
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, rule: &ObjectRule, id: String) {
        let known = self.ids.iter().any(|known| known.id == id);
        if self.ids.len() < OBJECTS_MAX && is_id(&id) && !known {
            self.ids.push(ObjectId {
                name: rule.name.clone(),
                id,
            });
        }
    }
}

fn parse(settings: &Value) -> Result<Vec<ObjectRule>, SettingProblem> {
    let fail = |problem: String| SettingProblem {
        field: "objects",
        problem,
    };
    let rules =
        Vec::<ObjectRule>::deserialize(settings).map_err(|error| fail(error.to_string()))?;
    if rules.len() > RULES_MAX {
        return Err(fail(format!("must have at most {RULES_MAX} rules")));
    }
    for rule in &rules {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if rule.name.is_empty() || rule.name.len() > NAME_CHARS_MAX || !rule.name.bytes().all(word)
        {
            return Err(fail(
                "has a name that is not 1 to 40 of a to z, 0 to 9 and _".to_owned(),
            ));
        }
        let types = rule.types.strip_suffix('*').unwrap_or(&rule.types);
        let bad = |char: char| char == '*' || char == ',' || char.is_control();
        if rule.types.is_empty() || rule.types.chars().count() > ID_CHARS_MAX || types.contains(bad)
        {
            return Err(fail(
                "has types that are not one type or, with a * at the end, those that begin alike"
                    .to_owned(),
            ));
        }
    }
    Ok(rules)
}

/// An event that is to be indexed.
#[derive(Debug, Clone, PartialEq)]
pub struct Unindexed {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its id.
    pub id: EventId,
    /// The door.
    pub source: SourceId,
    /// Its type.
    pub kind: String,
    /// Its payload; none where it is larger than is looked into.
    pub payload: Option<Blob>,
    /// The ids that are indexed of it; none: it is not indexed yet.
    pub objects: Option<Vec<ObjectId>>,
}

/// An event with what is found in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Indexed {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its id.
    pub id: EventId,
    /// The door.
    pub source: SourceId,
    /// Its type.
    pub kind: String,
    /// What is found.
    pub objects: Vec<ObjectId>,
    /// What was indexed of it so far; none: nothing.
    pub before: Option<Vec<ObjectId>>,
}

/// How far the index goes. One row; whoever writes names the revision that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexState {
    /// Grows with every commit of the indexer.
    pub revision: i64,
    /// Every event received before was looked at, as far as it was visible then.
    pub until: Timestamp,
    /// Every event received before is indexed, also one whose commit came late.
    pub settled: Timestamp,
    /// When the mark was made; see [`Horizon`].
    pub mark_at: Timestamp,
    /// The mark: transactions from this one on had not begun when it was made.
    pub mark: i64,
}

/// Which transactions there are, as the database counts them. Both are zero where there is one writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// The oldest that writes and has not ended.
    pub oldest: i64,
    /// The first that has not begun.
    pub next: i64,
}

/// How the events of a source were indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceIndex {
    /// The source's tenant.
    pub tenant: TenantId,
    /// The source.
    pub source: SourceId,
    /// The fingerprint of the rules that its events are indexed by.
    pub rules: String,
    /// While its events are looked at once more: the last one that was.
    pub walk: Option<Walk>,
}

/// How far a second look at all events of a source has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// The tenant of the last one.
    pub tenant: TenantId,
    /// Its type.
    pub kind: String,
    /// Its id.
    pub event: EventId,
    /// How many were looked at.
    pub done: i64,
    /// How many there were at the beginning.
    pub total: i64,
}

impl Walk {
    /// Nothing looked at of so many.
    pub const fn begin(total: i64) -> Self {
        Self {
            tenant: TenantId::NIL,
            kind: String::new(),
            event: EventId::NIL,
            done: 0,
            total,
        }
    }
}

/// What one commit of the indexer writes.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexCommit {
    /// What was read, with what is to be written in its place; its revision is the one that was read.
    pub state: IndexState,
    /// Events to index.
    pub events: Vec<Indexed>,
    /// Notes that are done with.
    pub noted: Vec<(TenantId, EventId)>,
    /// How a source's events are indexed from now on.
    pub source: Option<SourceIndex>,
}

/// Which events to look for by an id in them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MentionFilter {
    /// The id.
    pub object: String,
    /// Only this tenant's. In a tenant's scope restricted to it anyway.
    pub tenant: Option<TenantId>,
    /// The oldest first.
    pub oldest_first: bool,
    /// The last one of the page before.
    pub after: Option<EventId>,
}

/// The store's verbs of objects.
#[async_trait]
pub trait ObjectsTx: Send {
    /// How far the index goes.
    async fn object_state(&mut self) -> StoreResult<IndexState>;
    /// The transactions of now. System scope.
    async fn object_horizon(&mut self) -> StoreResult<Horizon>;
    /// When the first event at or after this time was received. System scope.
    async fn object_next(&mut self, from: Timestamp) -> StoreResult<Option<Timestamp>>;
    /// The tenants with an event that was received at or after `from` and before `to`. System scope.
    async fn object_tenants(
        &mut self,
        from: Timestamp,
        to: Timestamp,
    ) -> StoreResult<Vec<TenantId>>;
    /// A tenant's events of this time that are not indexed, oldest first, at most `limit`. System scope.
    async fn object_missing(
        &mut self,
        tenant: TenantId,
        from: Timestamp,
        to: Timestamp,
        limit: i64,
    ) -> StoreResult<Vec<Unindexed>>;
    /// Notes events whose commit came long after they were received, so that they are not overlooked. System scope.
    async fn object_note(&mut self, events: &[(TenantId, EventId)]) -> StoreResult<()>;
    /// Events that were noted, at most `limit`. System scope.
    async fn object_noted(&mut self, limit: i64) -> StoreResult<Vec<(TenantId, EventId)>>;
    /// Those of these events that there are. System scope.
    async fn object_events(
        &mut self,
        events: &[(TenantId, EventId)],
    ) -> StoreResult<Vec<Unindexed>>;
    /// How the events of all sources in the scope are indexed.
    async fn object_sources(&mut self) -> StoreResult<Vec<SourceIndex>>;
    /// How many events of a source are indexed. System scope.
    async fn object_count(&mut self, source: SourceId) -> StoreResult<i64>;
    /// The indexed events of a source after this one, by tenant, type and id, at most `limit`. System scope.
    async fn object_walk(
        &mut self,
        source: SourceId,
        after: &Walk,
        limit: i64,
    ) -> StoreResult<Vec<(TenantId, String, EventId)>>;
    /// Writes what was found. Conflict, and nothing is written, when another has written since the state was read.
    /// Events that are gone are left out. System scope.
    async fn object_commit(&mut self, commit: &IndexCommit) -> StoreResult<()>;
    /// The events that an id stands in, at most `limit`.
    async fn object_mentions(
        &mut self,
        filter: &MentionFilter,
        limit: i64,
    ) -> StoreResult<Vec<(TenantId, EventId)>>;
    /// The ids that stand in these events of one tenant; events that are not indexed are missing.
    async fn object_of(
        &mut self,
        tenant: TenantId,
        events: &[EventId],
    ) -> StoreResult<HashMap<EventId, Vec<ObjectId>>>;
    /// What their sources began to say with these events that they never said before.
    async fn object_findings(&mut self, events: &[EventId]) -> StoreResult<Vec<Drift>>;
    /// The requests that are kept within these events of one tenant, under the events' ids; of the others
    /// [`super::IntakeTx::event_receipts`] knows.
    async fn object_requests(
        &mut self,
        tenant: TenantId,
        events: &[EventId],
    ) -> StoreResult<Vec<Receipt>>;
    /// Whether there is an event in the scope that was received at or after this time.
    async fn object_behind(&mut self, from: Timestamp) -> StoreResult<bool>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rules(value: Value) -> ObjectRules {
        ObjectRules::of("stripe", Some(&value)).expect("rules")
    }

    fn found(rules: &ObjectRules, kind: &str, body: &str) -> Vec<(String, String)> {
        let found = rules.find(kind, body.as_bytes()).into_iter();
        found.map(|one| (one.name, one.id)).collect()
    }

    fn pair(name: &str, id: &str) -> (String, String) {
        (name.into(), id.into())
    }

    #[test]
    fn hashes_of_ids_are_the_same_for_ever_and_each_tenants_own() {
        // Golden values: the store holds such hashes. If this fails, the code is wrong, not the test.
        let tenant = |number: u128| TenantId::from_uuid(uuid::Uuid::from_u128(number));
        assert_eq!(mention_hash(tenant(1), "cus_1"), 1_988_166_489_504_874_311);
        assert_eq!(mention_hash(tenant(2), "cus_1"), -6_907_243_509_642_219_023);
    }

    #[test]
    fn ids_are_found_where_the_rules_say_in_their_order_each_once() {
        let rules = rules(json!([
            { "name": "order", "pointer": "/order" },
            { "name": "customer", "pointer": "/customer" },
            { "name": "line", "pointer": "/lines/*/id" },
            { "name": "first", "pointer": "/lines/0/sku" },
            { "name": "same", "pointer": "/customer/id" },
            { "name": "tag", "pointer": "/tags" },
        ]));
        let body = r#"{"order":9007199254740993,"customer":{"id":"cus_1","name":"x"},
            "lines":[{"id":"a","sku":"s"},{"id":"b"},{"id":"a"}],"tags":["t/1",true,1.5,null]}"#;
        assert_eq!(
            found(&rules, "any", body),
            [
                pair("order", "9007199254740993"),
                pair("customer", "cus_1"),
                pair("line", "a"),
                pair("line", "b"),
                pair("first", "s"),
                pair("tag", "t/1"),
            ]
        );
    }

    #[test]
    fn a_rule_is_about_its_types_alone() {
        let rules = rules(json!([
            { "name": "a", "pointer": "/a", "types": "invoice.*" },
            { "name": "b", "pointer": "/b", "types": "charge.paid" },
        ]));
        let body = r#"{"a":"1","b":"2"}"#;
        assert_eq!(found(&rules, "invoice.paid", body), [pair("a", "1")]);
        assert_eq!(found(&rules, "charge.paid", body), [pair("b", "2")]);
        assert_eq!(found(&rules, "charge.paid.late", body), []);
    }

    #[test]
    fn what_cannot_be_an_id_is_none_and_there_is_an_end_to_them() {
        let rules = rules(json!([{ "name": "a", "pointer": "/a/*" }]));
        let long = "x".repeat(ID_CHARS_MAX + 1);
        let body = json!({ "a": ["", "a\u{0}b", long, {}, [], "good"] }).to_string();
        assert_eq!(found(&rules, "t", &body), [pair("a", "good")]);
        let many: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let body = json!({ "a": many }).to_string();
        assert_eq!(found(&rules, "t", &body).len(), OBJECTS_MAX);
        for body in ["", "nothing at all", "[]", "1", "\u{0}"] {
            assert_eq!(found(&rules, "t", body), [], "{body}");
        }
    }

    #[test]
    fn a_form_has_ids_in_its_fields() {
        let twilio = ObjectRules::of("twilio", None).expect("rules");
        let body = "MessageSid=SM1&From=%2B4930&To=%2B4940&Body=hi";
        let ids = found(&twilio, "message", body);
        assert!(ids.contains(&pair("message", "SM1")), "{ids:?}");
        assert!(ids.contains(&pair("phone", "+4930")), "{ids:?}");
    }

    #[test]
    fn rules_that_cannot_be_are_refused() {
        for wrong in [
            json!({}),
            json!([{ "name": "a" }]),
            json!([{ "name": "A", "pointer": "/a" }]),
            json!([{ "name": "", "pointer": "/a" }]),
            json!([{ "name": "a", "pointer": "a" }]),
            json!([{ "name": "a", "pointer": "/a", "types": "" }]),
            json!([{ "name": "a", "pointer": "/a", "types": "a*b" }]),
            json!([{ "name": "a", "pointer": "/a", "types": "a,b" }]),
            json!([{ "name": "a", "pointer": "/a", "other": 1 }]),
            Value::Array(vec![json!({ "name": "a", "pointer": "/a" }); RULES_MAX + 1]),
        ] {
            let problem = ObjectRules::of("stripe", Some(&wrong)).expect_err("it is refused");
            assert_eq!(problem.field, "objects", "{wrong}");
        }
        let none = ObjectRules::of("stripe", Some(&json!([]))).expect("no rules at all");
        assert_eq!(none.rules(), []);
    }

    #[test]
    fn new_rules_name_places_in_lists_as_the_standard_does_and_old_ones_are_read() {
        for step in ["+1", "01", "00", "+0"] {
            let rules = rules(json!([{ "name": "a", "pointer": format!("/list/{step}/id") }]));
            let problem = rules.check_new().expect_err("it is refused");
            assert_eq!(problem.field, "objects");
            assert!(problem.problem.contains(step), "{problem:?}");
        }
        let old = rules(json!([{ "name": "a", "pointer": "/list/+1" }]));
        let body = r#"{"list":["x","y"]}"#;
        assert_eq!(found(&old, "any", body), [pair("a", "y")]);
        for step in ["0", "1", "10", "*", "-", "1a", "+", ""] {
            let rules = rules(json!([{ "name": "a", "pointer": format!("/list/{step}") }]));
            assert_eq!(rules.check_new(), Ok(()), "{step}");
        }
    }

    #[test]
    fn other_rules_have_another_fingerprint() {
        let one = rules(json!([{ "name": "a", "pointer": "/a" }]));
        let same = rules(json!([{ "types": "*", "pointer": "/a", "name": "a" }]));
        let other = rules(json!([{ "name": "a", "pointer": "/b" }]));
        assert_eq!(one.fingerprint(), same.fingerprint());
        assert_ne!(one.fingerprint(), other.fingerprint());
    }
}
