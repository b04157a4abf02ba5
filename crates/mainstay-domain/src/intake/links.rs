//! Links and what waits for them: which value of a provider's stands for which tenant, and the events whose tenant is
//! not known yet.

use async_trait::async_trait;

use super::{Blob, Receipt};
use crate::{
    error::StoreResult,
    id::{EventId, LinkId, ReceiptId, SourceId, TenantId},
    jobs::NewJob,
    time::Timestamp,
};

/// The longest value that a tenant can be known by, in characters.
pub const VALUE_CHARS_MAX: usize = 255;
/// The most links of one source.
pub const LINKS_MAX: i64 = 1_000_000;

/// Whether a text can be a value that a tenant is known by. The empty one stands for events in which no value is found.
pub fn is_value(text: &str) -> bool {
    text.chars().count() <= VALUE_CHARS_MAX && !text.chars().any(char::is_control)
}

/// A value of a provider's that stands for a tenant: `acct_123` is Acme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLink {
    /// Its id.
    pub id: LinkId,
    /// The source that the value comes in by.
    pub source: SourceId,
    /// The value; unique within the source.
    pub value: String,
    /// Whose events they are.
    pub tenant: TenantId,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which links to list, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkFilter {
    /// Of this source.
    pub source: SourceId,
    /// Only to this tenant.
    pub tenant: Option<TenantId>,
    /// Only this value.
    pub value: Option<String>,
    /// Only values that begin so.
    pub prefix: Option<String>,
    /// Only older than this one: the cursor.
    pub before: Option<LinkId>,
}

/// An event whose tenant is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingEvent {
    /// Its id, which it keeps when it is assigned.
    pub id: EventId,
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
    /// The values that its tenant was looked for by, in the order of the source's rule.
    pub values: Vec<String>,
}

/// Which waiting events to list, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WaitingFilter {
    /// Only from this door.
    pub source: Option<SourceId>,
    /// Only those that wait for this value.
    pub value: Option<String>,
    /// Only older than this one: the cursor.
    pub before: Option<EventId>,
}

/// How many events of a source wait for one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingValue {
    /// The value.
    pub value: String,
    /// How many events.
    pub events: i64,
    /// The one that has waited longest.
    pub oldest: EventId,
    /// When it was received.
    pub since: Timestamp,
}

/// The store's verbs of links and waiting events. All of them belong to the platform: system scope.
#[async_trait]
pub trait LinksTx: Send {
    /// The tenant that a value of this source is linked to; where it is linked to none and `direct` is set, the tenant
    /// whose slug or id it is.
    async fn tenant_find(
        &mut self,
        source: SourceId,
        value: &str,
        direct: bool,
    ) -> StoreResult<Option<TenantId>>;

    /// Adds links, and has the events that wait for their values looked at. Answers, for each, whether it is new; one
    /// that is there already for the same tenant is not. Conflict when a value is linked to another tenant. Counts as a
    /// change of the configuration: what is appended from now on was looked for with these links.
    async fn link_insert(&mut self, links: &[SourceLink]) -> StoreResult<Vec<bool>>;
    /// Removes a link. What was assigned by it stays; what comes from now on waits.
    async fn link_delete(&mut self, source: SourceId, id: LinkId) -> StoreResult<bool>;
    /// One link.
    async fn link_get(&mut self, source: SourceId, id: LinkId) -> StoreResult<Option<SourceLink>>;
    /// Links, newest first.
    async fn link_list(&mut self, filter: &LinkFilter, limit: i64) -> StoreResult<Vec<SourceLink>>;
    /// How many links a source has; `most` when there are more.
    async fn link_count(&mut self, source: SourceId, most: i64) -> StoreResult<i64>;

    /// One waiting event.
    async fn waiting_get(&mut self, id: EventId) -> StoreResult<Option<WaitingEvent>>;
    /// Its payload.
    async fn waiting_payload(&mut self, id: EventId) -> StoreResult<Option<Blob>>;
    /// The requests that brought it, oldest first, at most `limit`.
    async fn waiting_receipts(&mut self, id: EventId, limit: i64) -> StoreResult<Vec<Receipt>>;
    /// Waiting events, newest first.
    async fn waiting_list(
        &mut self,
        filter: &WaitingFilter,
        limit: i64,
    ) -> StoreResult<Vec<WaitingEvent>>;
    /// The values that events of a source wait for, in the order of their bytes, after this one.
    async fn waiting_values(
        &mut self,
        source: SourceId,
        after: Option<&str>,
        limit: i64,
    ) -> StoreResult<Vec<WaitingValue>>;
    /// How many events of each source wait, by the source's name.
    async fn waiting_counts(&mut self) -> StoreResult<Vec<(String, i64)>>;

    /// Values that may have become known, with the source that they wait at, after these: at most `limit`.
    async fn waiting_due(
        &mut self,
        source: SourceId,
        value: &str,
        limit: i64,
    ) -> StoreResult<Vec<(SourceId, String)>>;
    /// Events that wait for this value, oldest first, after this one, at most `limit`.
    async fn waiting_page(
        &mut self,
        source: SourceId,
        value: &str,
        after: EventId,
        limit: i64,
    ) -> StoreResult<Vec<WaitingEvent>>;
    /// Gives waiting events to their tenants: each becomes an event under its id, with its jobs, and waits no more, all
    /// at once. Answers those that still waited; of the others nothing is done. Fails with `ConfigChanged` when
    /// `config_version` is no longer the store's.
    async fn waiting_assign(
        &mut self,
        config_version: i64,
        events: &[(EventId, TenantId)],
        jobs: &[NewJob],
    ) -> StoreResult<Vec<EventId>>;
    /// Notes that everything that waits for this value was looked at. Fails with `ConfigChanged` when `config_version`
    /// is no longer the store's: then something may have to be looked at again.
    async fn waiting_done(
        &mut self,
        config_version: i64,
        source: SourceId,
        value: &str,
    ) -> StoreResult<()>;
    /// Removes, oldest first, at most `limit` waiting events received before `until`, with their receipts;
    /// deduplication records stay for ever. Answers how many went.
    async fn waiting_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64>;
}
