//! What the store keeps of keys, and what it does with them.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{key::MasterId, seal::Place};
use crate::{error::StoreResult, id::TenantId, intake::Blob, time::Timestamp};

/// A data key as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKeyRow {
    /// What sealed values name it by.
    pub number: i32,
    /// Whose data it seals; nil: what belongs to nobody.
    pub tenant: TenantId,
    /// The key, wrapped; none once it is destroyed.
    pub wrapped: Option<Vec<u8>>,
    /// The master key that wrapped it.
    pub master: MasterId,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when nothing is sealed with it.
    pub retired_at: Option<Timestamp>,
    /// Since when nothing that it sealed can be read.
    pub destroyed_at: Option<Timestamp>,
}

impl std::fmt::Debug for DataKeyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataKeyRow")
            .field("number", &self.number)
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

/// How a data key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataKeyState {
    /// It seals.
    Current,
    /// It opens what it sealed, and seals nothing more.
    Retired,
    /// It is gone.
    Destroyed,
}

impl DataKeyRow {
    /// How it stands.
    pub const fn state(&self) -> DataKeyState {
        match (self.destroyed_at, self.retired_at) {
            (Some(_), _) => DataKeyState::Destroyed,
            (None, Some(_)) => DataKeyState::Retired,
            (None, None) => DataKeyState::Current,
        }
    }
}

/// How many data keys a master key wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySummary {
    /// The master key.
    pub master: MasterId,
    /// Those that seal.
    pub current: i64,
    /// Those that only open.
    pub retired: i64,
}

/// What a rotation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Wraps every data key with the newest master key.
    Master,
    /// The same, and seals what is not sealed yet.
    Seal,
    /// The same, with new data keys: everything is sealed again, and the old keys are removed.
    Data,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Master, Self::Seal, Self::Data];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Seal => "seal",
            Self::Data => "data",
        }
    }
}

/// How far a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Data keys are wrapped anew.
    Wrap,
    /// Until nobody seals with the old keys any more.
    Settle,
    /// Values are sealed.
    Seal,
    /// It is over.
    Done,
}

impl Phase {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wrap => "wrap",
            Self::Settle => "settle",
            Self::Seal => "seal",
            Self::Done => "done",
        }
    }
}

/// The key of a row of the walk: ids as they are, nil and 0 where a table's key has fewer parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RowKey {
    /// The first part, often a tenant.
    pub first: [u8; 16],
    /// The second.
    pub second: [u8; 16],
    /// The third.
    pub third: i64,
}

/// A rotation: what was asked for, and how far it is. One at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// What it does.
    pub mode: Mode,
    /// How far it is.
    pub phase: Phase,
    /// Who asked for it.
    pub by: String,
    /// When.
    pub started_at: Timestamp,
    /// Nothing is looked at before.
    pub settled_at: Timestamp,
    /// The table that is looked at, by its place in the order of the walk.
    pub table: usize,
    /// After which row of it.
    pub after: Option<RowKey>,
    /// Data keys wrapped anew.
    pub wrapped: i64,
    /// Rows looked at.
    pub looked: i64,
    /// Values sealed.
    pub sealed: i64,
    /// Values whose key is gone, or that were changed: they stay as they are.
    pub unreadable: i64,
    /// Old data keys removed.
    pub removed: i64,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
}

impl Rotation {
    /// Nothing is done yet.
    pub fn new(mode: Mode, by: String, at: Timestamp, settled_at: Timestamp) -> Self {
        Self {
            mode,
            phase: Phase::Wrap,
            by,
            started_at: at,
            settled_at,
            table: 0,
            after: None,
            wrapped: 0,
            looked: 0,
            sealed: 0,
            unreadable: 0,
            removed: 0,
            ended_at: None,
        }
    }
}

/// What changes rarely about keys, and the rotation of now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VaultState {
    /// How often keys were retired or destroyed.
    pub changes: i64,
    /// Grows with every change of the rotation: whoever steps from an older one has lost.
    pub revision: i64,
    /// Whether everything is sealed: from the beginning, or since a rotation saw to it.
    pub whole: bool,
    /// The rotation, also one that is over.
    pub rotation: Option<Rotation>,
}

/// What one step looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Walked {
    /// Rows.
    pub looked: i64,
    /// Values sealed.
    pub sealed: i64,
    /// Values that cannot be opened.
    pub unreadable: i64,
    /// The last row; none: there was none more in the table.
    pub last: Option<RowKey>,
}

/// The store's verbs of keys.
#[async_trait]
pub trait VaultTx: Send {
    /// The key that this tenant's values are sealed with, made where there is none. `None` while the vault is off. The
    /// caller takes it in when this is committed.
    async fn data_key_ensure(
        &mut self,
        tenant: TenantId,
        at: Timestamp,
    ) -> StoreResult<Option<DataKeyRow>>;
    /// A value, opened. One whose key is destroyed says so ([`Blob::is_erased`]).
    async fn blob_open(&mut self, place: &Place, blob: Blob) -> StoreResult<Blob>;
    /// Data keys after this number, in the order of numbers, only those of a tenant where one is named. System scope.
    async fn data_key_list(
        &mut self,
        tenant: Option<TenantId>,
        after: i32,
        limit: i64,
    ) -> StoreResult<Vec<DataKeyRow>>;
    /// How many keys each master key wraps, without those that are destroyed. System scope.
    async fn data_key_masters(&mut self) -> StoreResult<Vec<KeySummary>>;
    /// Wraps at most `limit` data keys with the newest master key. Answers how many. System scope.
    async fn data_key_rewrap(&mut self, limit: i64) -> StoreResult<i64>;
    /// From now on nothing is sealed with the keys of now. Counts as a change of the configuration. System scope.
    async fn data_key_retire(&mut self, at: Timestamp) -> StoreResult<i64>;
    /// Destroys all keys of a tenant. Counts as a change of the configuration. Answers how many. System scope.
    async fn data_key_destroy(&mut self, tenant: TenantId, at: Timestamp) -> StoreResult<i64>;
    /// Removes the keys of tenants that were retired until then. System scope.
    async fn data_key_remove(&mut self, until: Timestamp, at: Timestamp) -> StoreResult<i64>;
    /// How the vault stands. System scope.
    async fn vault_state(&mut self) -> StoreResult<VaultState>;
    /// Notes that everything is sealed; at the start only where there is nothing yet. System scope.
    async fn vault_whole(&mut self, at_start: bool) -> StoreResult<()>;
    /// Writes the rotation down, if nobody did since this revision was read. System scope.
    async fn rotation_save(&mut self, revision: i64, rotation: &Rotation) -> StoreResult<()>;
    /// Seals what is not sealed with the key of now, in at most `limit` rows of the table at this place of the walk, after
    /// this row. `None`: there is no such table, the walk is over. System scope.
    async fn vault_walk(
        &mut self,
        table: usize,
        after: Option<RowKey>,
        at: Timestamp,
        limit: i64,
    ) -> StoreResult<Option<Walked>>;
}
