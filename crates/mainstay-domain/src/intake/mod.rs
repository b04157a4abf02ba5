//! Intake: sources, receipts, events, bindings, and what the store does with them.

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    error::StoreResult,
    id::{BindingId, EndpointId, EventId, ReceiptId, SecretId, SourceId, TenantId},
    jobs::{Endpoint, NewJob},
    time::Timestamp,
};

pub mod certificates;
pub mod conflicts;
pub mod drift;
pub mod expect;
pub mod follow;
pub mod links;
pub mod objects;
pub mod ordering;
pub mod quarantine;
pub mod rate;
pub mod replay;
pub mod rhythm;
pub mod schemas;
pub mod scheme;
pub mod settings;

use conflicts::Conflict;
use quarantine::Kept;
use schemas::{EventSchema, SchemaCheck, Violation};

/// The source that carries Mainstay's own events (a dead letter, an endpoint down and back, intake refusing).
pub const OWN_SOURCE: &str = "mainstay";

/// A named door for inbound webhooks.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Its id.
    pub id: SourceId,
    /// A small number, unique for ever: what deduplication records carry instead of the id.
    pub number: i32,
    /// Whose events come in here.
    pub tenant: TenantId,
    /// The name in `POST /in/{name}`; unique on the whole installation.
    pub name: String,
    /// The provider's signature scheme, e.g. `stripe`; `mainstay` for the source of our own events.
    pub scheme: String,
    /// What the scheme and the door can be told: JSON, checked before it is stored.
    pub settings: String,
    /// Whether requests are taken.
    pub enabled: bool,
    /// The signing secrets, newest first. Any of them may match: that is how one is rotated.
    pub secrets: Vec<SourceSecret>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// One signing secret of a source.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceSecret {
    /// Its id.
    pub id: SecretId,
    /// The secret itself, as the provider shows it.
    pub secret: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it last matched, to the minute; so that a rotation can be ended with confidence.
    pub last_used_at: Option<Timestamp>,
}

impl std::fmt::Debug for SourceSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceSecret")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A rule that turns events into jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Its id.
    pub id: BindingId,
    /// Whose rule it is: the source's tenant.
    pub tenant: TenantId,
    /// A name for people.
    pub name: String,
    /// Which source's events.
    pub source: SourceId,
    /// Which types: exact, `prefix.*` or `*`, several separated by commas.
    pub type_pattern: String,
    /// Which of these, by what they say: an expression, read by the engine; none: all.
    pub filter: Option<String>,
    /// Which of its jobs keep an order, and by what; none: they run beside one another.
    pub ordering: Option<ordering::Ordering>,
    /// The deadline of its jobs: so many seconds after they are made; none: they have none.
    pub expires_in_secs: Option<i64>,
    /// What carries the jobs out.
    pub handler: HandlerRef,
    /// Whether it makes jobs.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Binding {
    /// Whether an event of this type makes a job, as far as its type goes.
    pub fn matches(&self, kind: &str) -> bool {
        type_matches(&self.type_pattern, kind)
    }
}

/// Whether a pattern means this type: one of several with commas between them, each exact or, with a trailing `*`, how
/// types begin.
pub fn type_matches(pattern: &str, kind: &str) -> bool {
    pattern
        .split(',')
        .map(str::trim)
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => kind.starts_with(prefix),
            None => pattern == kind,
        })
}

/// What carries out the jobs of a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandlerRef {
    /// A push to the team's own URL.
    Endpoint(EndpointId),
    /// A built-in handler, by its job kind, e.g. `billing.record`.
    Builtin(String),
}

/// Everything that intake needs to know to accept a request: all sources, bindings, schemas and endpoints.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Grows with every change to a source, a binding, a schema or an endpoint.
    pub version: i64,
    /// All sources.
    pub sources: Vec<Source>,
    /// All bindings.
    pub bindings: Vec<Binding>,
    /// All schemas in force.
    pub schemas: Vec<EventSchema>,
    /// All endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// How a request was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Verified, and at least one event in it was new.
    Accepted,
    /// Verified; every event in it is known, with the same content.
    Duplicate,
    /// Verified; an event in it is known, but with other content. Shown, never swallowed.
    Conflict,
    /// Not verified; nothing in it was processed.
    Refused,
}

impl Verdict {
    /// In the order in which the store numbers them.
    pub const ALL: [Self; 4] = [
        Self::Accepted,
        Self::Duplicate,
        Self::Conflict,
        Self::Refused,
    ];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
        }
    }
}

/// One HTTP request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReceipt {
    /// Its id. Of a request with one event it may be the event's: then the store keeps one row for both where it can.
    pub id: ReceiptId,
    /// The door.
    pub source: SourceId,
    /// When the last byte arrived.
    pub received_at: Timestamp,
    /// The address it came from (the client's own, when a trusted proxy named it).
    pub remote: String,
    /// The headers as a JSON object, without credentials; compressed like a body.
    pub headers: Blob,
    /// The body. Of a verified request the store keeps it only where no event holds the very same bytes.
    pub body: Option<Blob>,
    /// How many bytes the body had.
    pub body_bytes: i64,
    /// The secret that matched.
    pub secret: Option<SecretId>,
    /// For a refused request: the stable code of the reason, e.g. `signature_wrong`.
    pub refusal: Option<String>,
}

/// Bytes as the store keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Whether `bytes` is packed: a zstd frame, or sealed ([`crate::vault`]); the first byte says which.
    pub zstd: bool,
    /// The bytes.
    pub bytes: Bytes,
}

/// What stands in the place of bytes whose key is destroyed; neither a zstd frame nor sealed.
const ERASED: &[u8] = &[2];

impl Blob {
    /// In the place of bytes that nobody can read any more.
    pub const fn erased() -> Self {
        Self {
            zstd: true,
            bytes: Bytes::from_static(ERASED),
        }
    }

    /// Whether nobody can read it any more.
    pub fn is_erased(&self) -> bool {
        self.zstd && self.bytes == ERASED
    }
}

/// A digest of a payload, to tell a duplicate from a conflict. Kept for ever: its making must never change.
pub fn payload_digest(payload: &[u8]) -> [u8; 8] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, payload);
    let mut short = [0; 8];
    short.copy_from_slice(&digest.as_ref()[..8]);
    short
}

/// An event that intake would like to append.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// Its id, if it turns out to be new.
    pub id: EventId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The door.
    pub source: SourceId,
    /// The door's number.
    pub source_number: i32,
    /// The provider's own id.
    pub provider_id: String,
    /// The provider's type, e.g. `invoice.paid`.
    pub kind: String,
    /// When the provider says that it happened.
    pub occurred_at: Option<Timestamp>,
    /// Any of these known for this source makes it a duplicate. One or two 16-byte digests.
    pub dedup_keys: Vec<[u8; 16]>,
    /// A digest of the payload, to tell a duplicate from a conflict.
    pub body_hash: [u8; 8],
    /// The payload.
    pub payload: Blob,
    /// How many bytes the payload has, uncompressed.
    pub payload_bytes: i64,
    /// The jobs that its bindings make, inserted only if the event is new.
    pub jobs: Vec<NewJob>,
    /// The values that its tenant was looked for by and not found: it is kept to wait for one of them, without jobs, and
    /// `tenant` is nil. Empty: the tenant is known.
    pub waits_for: Vec<String>,
    /// What the schema of its type says of it. It is appended all the same.
    pub check: SchemaCheck,
}

/// A verified request: its receipt and its events (none to many).
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// The request.
    pub receipt: NewReceipt,
    /// What it says.
    pub events: Vec<NewEvent>,
}

/// What became of one event of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is new and committed, with its jobs.
    New(EventId),
    /// It is known under this id, with the same content.
    Duplicate(EventId),
    /// It is known under this id, with other content.
    Conflict(EventId),
}

impl Appended {
    /// The event's id in the store.
    pub const fn id(self) -> EventId {
        match self {
            Self::New(id) | Self::Duplicate(id) | Self::Conflict(id) => id,
        }
    }

    /// The verdict on a request that brought these events.
    pub fn verdict(of: &[Self]) -> Verdict {
        if of.iter().any(|one| matches!(one, Self::Conflict(_))) {
            Verdict::Conflict
        } else if of.is_empty() || of.iter().any(|one| matches!(one, Self::New(_))) {
            Verdict::Accepted
        } else {
            Verdict::Duplicate
        }
    }
}

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The door.
    pub source: SourceId,
    /// The door's name.
    pub source_name: String,
    /// The provider's own id.
    pub provider_id: String,
    /// The provider's type.
    pub kind: String,
    /// When the request that brought it first arrived.
    pub received_at: Timestamp,
    /// When the provider says that it happened.
    pub occurred_at: Option<Timestamp>,
    /// The request that brought it first.
    pub receipt: ReceiptId,
    /// Bytes of the payload, uncompressed.
    pub payload_bytes: i64,
    /// How often the provider delivered it.
    pub deliveries: i64,
    /// How its jobs stand.
    pub jobs: JobTally,
    /// What it had otherwise than the schema of its type said when it came in.
    pub violation: Option<Violation>,
    /// How often it came again with other content, as far as that is kept.
    pub conflicts: i64,
}

/// How many jobs of an event are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobTally {
    /// All of them.
    pub total: i64,
    /// Neither started nor to be retried.
    pub waiting: i64,
    /// Started, without an outcome yet.
    pub running: i64,
    /// Failed, to be tried again.
    pub retrying: i64,
    /// Done.
    pub done: i64,
    /// Dead letters.
    pub dead: i64,
    /// Cancelled, or discarded by a person.
    pub cancelled: i64,
}

/// The one status vocabulary of events (IDM-07).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    /// No job has been tried yet.
    Pending,
    /// Some job is running or to be retried, or some are done and some wait.
    Processing,
    /// Every job is done (or cancelled by a person).
    Success,
    /// Some job is a dead letter.
    Error,
    /// No binding made a job of it. It is kept all the same (INT-13).
    Unhandled,
}

impl EventStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Processing,
        Self::Success,
        Self::Error,
        Self::Unhandled,
    ];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Success => "success",
            Self::Error => "error",
            Self::Unhandled => "unhandled",
        }
    }

    /// The status of an event whose jobs stand like this.
    pub const fn of(jobs: JobTally) -> Self {
        if jobs.total == 0 {
            Self::Unhandled
        } else if jobs.dead > 0 {
            Self::Error
        } else if jobs.done + jobs.cancelled == jobs.total {
            Self::Success
        } else if jobs.waiting == jobs.total {
            Self::Pending
        } else {
            Self::Processing
        }
    }
}

/// A receipt as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its id.
    pub id: ReceiptId,
    /// The door.
    pub source: SourceId,
    /// The door's name.
    pub source_name: String,
    /// When it arrived.
    pub received_at: Timestamp,
    /// The address it came from.
    pub remote: String,
    /// Its headers: a JSON object.
    pub headers: Blob,
    /// How it was judged.
    pub verdict: Verdict,
    /// Why it was refused.
    pub refusal: Option<String>,
    /// The secret that matched.
    pub secret: Option<SecretId>,
    /// Bytes of its body.
    pub body_bytes: i64,
}

/// A refused request with what is needed to look at it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedReceipt {
    /// The request.
    pub receipt: Receipt,
    /// Its body, unless it was too large to be kept.
    pub body: Option<Blob>,
}

/// Which events to list, newest first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    /// Only this tenant's. Lists in a tenant's scope are restricted to it anyway.
    pub tenant: Option<TenantId>,
    /// Only from this door.
    pub source: Option<SourceId>,
    /// Only this type, or with a trailing `*` types that begin so.
    pub kind: Option<String>,
    /// Only with this status.
    pub status: Option<EventStatus>,
    /// Only those that violate the schema of their type.
    pub violates: bool,
    /// Only those that came again with other content.
    pub conflicts: bool,
    /// Only the one with this provider's id.
    pub provider_id: Option<String>,
    /// Only these.
    pub ids: Vec<EventId>,
    /// Only those that this id of an object stands in, as far as they are indexed.
    pub object: Option<String>,
    /// Received at or after.
    pub from: Option<Timestamp>,
    /// Received before.
    pub to: Option<Timestamp>,
    /// Only older than this one, by (received_at, id): the cursor.
    pub before: Option<(Timestamp, EventId)>,
}

/// Events that a look found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EventsFound {
    /// Newest first.
    pub events: Vec<Event>,
    /// Where to go on: nothing before this one was looked at. None: there are no more.
    pub looked_to: Option<EventId>,
}

/// The store's verbs of intake.
#[async_trait]
pub trait IntakeTx: Send {
    /// The version of sources, bindings, schemas and endpoints.
    async fn config_version(&mut self) -> StoreResult<i64>;
    /// All sources, bindings, schemas and endpoints, with their version. System scope.
    async fn config_load(&mut self) -> StoreResult<Config>;

    /// Adds a source with its secrets; the store gives it its number. Conflict when the name is taken.
    async fn source_insert(&mut self, source: &Source) -> StoreResult<i32>;
    /// Changes name, settings and whether it is enabled.
    async fn source_update(&mut self, source: &Source) -> StoreResult<bool>;
    /// Removes a source; refused as a reference while a binding names it. Its events stay.
    async fn source_delete(&mut self, tenant: TenantId, id: SourceId) -> StoreResult<bool>;
    /// One source.
    async fn source_get(&mut self, id: SourceId) -> StoreResult<Option<Source>>;
    /// All sources in the scope, by name.
    async fn source_list(&mut self) -> StoreResult<Vec<Source>>;
    /// Lets nobody else change the configuration until the end of this transaction, nor append events. For changes that
    /// are made from what was read in it before.
    async fn config_hold(&mut self) -> StoreResult<()>;
    /// Adds a secret.
    async fn source_secret_insert(
        &mut self,
        source: SourceId,
        secret: &SourceSecret,
    ) -> StoreResult<()>;
    /// Removes a secret.
    async fn source_secret_delete(
        &mut self,
        source: SourceId,
        secret: SecretId,
    ) -> StoreResult<bool>;
    /// Notes when secrets last matched. Does not count as a change of the configuration.
    async fn source_secret_touch(&mut self, used: &[(SecretId, Timestamp)]) -> StoreResult<()>;

    /// Adds a binding.
    async fn binding_insert(&mut self, binding: &Binding) -> StoreResult<()>;
    /// Changes name, pattern, handler and whether it is enabled.
    async fn binding_update(&mut self, binding: &Binding) -> StoreResult<bool>;
    /// Removes a binding. Its jobs go on.
    async fn binding_delete(&mut self, tenant: TenantId, id: BindingId) -> StoreResult<bool>;
    /// All bindings in the scope.
    async fn binding_list(&mut self) -> StoreResult<Vec<Binding>>;

    /// Appends verified requests: receipts, events that are new, their jobs and deduplication records, all at once.
    /// Answers, per arrival and event, what became of it. Fails with `ConfigChanged` when `config_version` is no
    /// longer the store's, so that no event is matched with bindings that were replaced. The hot path.
    async fn event_append(
        &mut self,
        config_version: i64,
        arrivals: &[Arrival],
    ) -> StoreResult<Vec<Vec<Appended>>>;
    /// Keeps requests that were refused.
    async fn receipt_append(&mut self, refused: &[NewReceipt]) -> StoreResult<()>;
    /// A source's refused requests with their bodies, oldest first, after this one, at most `limit`. System scope.
    async fn receipt_refused(
        &mut self,
        source: SourceId,
        after: Option<ReceiptId>,
        limit: i64,
    ) -> StoreResult<Vec<RefusedReceipt>>;
    /// Takes refused receipts away, to be appended as verified under the same ids in this transaction. Answers those
    /// that were still refused: the others are somebody else's, or gone. System scope.
    async fn receipt_release(&mut self, refused: &[ReceiptId]) -> StoreResult<Vec<ReceiptId>>;
    /// Which of these requests are kept in rows of their own. One that is within its event can be appended once more:
    /// nothing comes of it. System scope.
    async fn receipt_known(&mut self, ids: &[ReceiptId]) -> StoreResult<Vec<ReceiptId>>;
    /// One event.
    async fn event_get(&mut self, id: EventId) -> StoreResult<Option<Event>>;
    /// What came again under its id with other content, the first first.
    async fn event_conflicts(&mut self, id: EventId) -> StoreResult<Vec<Conflict>>;
    /// Its payload.
    async fn event_payload(&mut self, id: EventId) -> StoreResult<Option<Blob>>;
    /// Events, newest first. Fails with `Timeout` where few of very many are wanted and looking for them takes too long.
    async fn event_list(&mut self, filter: &EventFilter, limit: i64) -> StoreResult<Vec<Event>>;
    /// The same, as far as looking at about `most` events gets, and for a fraction of a second at the longest: fewer than
    /// `limit` are all there are only if `looked_to` is none. Each look comes further than the one before.
    async fn event_look(
        &mut self,
        filter: &EventFilter,
        limit: i64,
        most: i64,
    ) -> StoreResult<EventsFound>;
    /// The requests that brought an event, oldest first, at most `limit`.
    async fn event_receipts(&mut self, id: EventId, limit: i64) -> StoreResult<Vec<Receipt>>;
    /// Requests of a source (or of all), newest first. System scope, or sources of the scope's tenant.
    async fn receipt_list(
        &mut self,
        source: Option<SourceId>,
        verdict: Option<Verdict>,
        before: Option<(Timestamp, ReceiptId)>,
        limit: i64,
    ) -> StoreResult<Vec<Receipt>>;
    /// One request. System scope, or a source of the scope's tenant.
    async fn receipt_get(&mut self, id: ReceiptId) -> StoreResult<Option<Receipt>>;
    /// A receipt's own body, where it was kept apart.
    async fn receipt_body(&mut self, id: ReceiptId) -> StoreResult<Option<Blob>>;

    /// Removes, tenant by tenant and each tenant's oldest first, at most `limit` finished events received before
    /// `until`, with their jobs, attempts and receipts, and jobs without an event that have ended. Events with
    /// unfinished jobs or dead letters stay; deduplication records stay for ever. Answers how many went; fewer than
    /// `limit` when nothing more is to be found for now.
    async fn event_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64>;
    /// Removes, oldest first, at most `limit` refused receipts received before `until`.
    async fn receipt_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64>;
    /// The first source after this one that refused receipts are kept of, also one that there is no more. System scope.
    async fn quarantine_source(&mut self, after: SourceId) -> StoreResult<Option<SourceId>>;
    /// What is kept of a source's refused requests, newest first, at most `limit`. System scope.
    async fn quarantine_list(&mut self, source: SourceId, limit: i64) -> StoreResult<Vec<Kept>>;
    /// Drops refused receipts; any that is refused no longer stays. Answers how many went. System scope.
    async fn quarantine_drop(&mut self, refused: &[ReceiptId]) -> StoreResult<i64>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(pattern: &str) -> Binding {
        Binding {
            id: BindingId::NIL,
            tenant: TenantId::NIL,
            name: String::new(),
            source: SourceId::NIL,
            type_pattern: pattern.into(),
            filter: None,
            ordering: None,
            expires_in_secs: None,
            handler: HandlerRef::Builtin("billing.record".into()),
            enabled: true,
            created_at: Timestamp::EPOCH,
        }
    }

    #[test]
    fn a_pattern_matches_exactly_by_prefix_or_everything() {
        assert!(binding("*").matches("anything"));
        assert!(binding("invoice.*").matches("invoice.paid"));
        assert!(!binding("invoice.*").matches("invoice"));
        assert!(!binding("invoice.paid").matches("invoice.paid.late"));
        assert!(binding("charge.refunded, invoice.*").matches("invoice.created"));
    }

    #[test]
    fn an_event_without_jobs_is_unhandled_and_one_dead_letter_makes_an_error() {
        assert_eq!(EventStatus::of(JobTally::default()), EventStatus::Unhandled);
        let jobs = JobTally {
            total: 2,
            done: 1,
            dead: 1,
            ..JobTally::default()
        };
        assert_eq!(EventStatus::of(jobs), EventStatus::Error);
        let jobs = JobTally {
            total: 2,
            done: 1,
            cancelled: 1,
            ..JobTally::default()
        };
        assert_eq!(EventStatus::of(jobs), EventStatus::Success);
    }
}
