//! What the verbs of all areas share: ids and enumerations as values, scopes, short calls.

use std::{collections::BTreeMap, time::Duration};

use mainstay_domain::{
    AuditId, BindingId, BreakerChangeId, Category, DriftId, EndpointId, EventId, ExpectationId,
    JobId, KeyId, LineId, LinkId, NodeId, Random, ReceiptId, ReplayId, RhythmSignalId, SagaId,
    SagaRunId, ScheduleId, SchemaId, SecretId, SessionId, SourceId, StoreError, StoreResult,
    TenantId, Timestamp, UserId, jobs::QueueNumber, uuid_v7,
};
use uuid::Uuid;

use crate::{
    sql::{Cell, Row, Sql, Value},
    tx::SqlTx,
};

macro_rules! ids {
    ($($id:ident),*) => {$(
        impl From<$id> for Value {
            fn from(id: $id) -> Self {
                Self::Uuid(id.uuid())
            }
        }

        impl Cell for $id {
            fn read(value: &Value) -> Option<Self> {
                Uuid::read(value).map(Self::from_uuid)
            }
        }
    )*};
}

ids!(
    AuditId,
    BindingId,
    BreakerChangeId,
    DriftId,
    EndpointId,
    EventId,
    ExpectationId,
    JobId,
    KeyId,
    LineId,
    LinkId,
    NodeId,
    ReceiptId,
    ReplayId,
    RhythmSignalId,
    SagaId,
    SagaRunId,
    ScheduleId,
    SchemaId,
    SecretId,
    SessionId,
    SourceId,
    TenantId,
    UserId
);

impl From<Category> for Value {
    fn from(category: Category) -> Self {
        Self::Int(category as i64)
    }
}

impl Cell for Category {
    fn read(value: &Value) -> Option<Self> {
        numbered(&Self::ALL, i64::read(value)?)
    }
}

/// The member of an enumeration that the store numbers by position.
pub(crate) fn numbered<T: Copy>(all: &[T], number: i64) -> Option<T> {
    usize::try_from(number)
        .ok()
        .and_then(|number| all.get(number))
        .copied()
}

/// The same for a cell that must hold one.
pub(crate) fn numbered_cell<T: Copy>(row: &Row, column: usize, all: &[T]) -> StoreResult<T> {
    numbered(all, row.get(column)?).ok_or_else(|| unknown(column))
}

/// The error of a cell whose text or number means nothing.
pub(crate) fn unknown(column: usize) -> StoreError {
    StoreError::Corrupt(format!("column {column} holds a word that nobody knows"))
}

/// Parameters of a statement.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        &[$($crate::sql::Value::from($value)),*]
    };
}
pub(crate) use values;

impl SqlTx<'_> {
    /// Fails in a tenant's scope.
    pub(crate) fn system(&self) -> StoreResult<()> {
        match self.scope.tenant() {
            Some(_) => Err(StoreError::OutOfScope),
            None => Ok(()),
        }
    }

    pub(crate) async fn execute(
        &mut self,
        sql: &'static Sql,
        params: &[Value],
    ) -> StoreResult<u64> {
        self.conn().execute(sql, params).await
    }

    /// Whether the statement changed a row.
    pub(crate) async fn changed(
        &mut self,
        sql: &'static Sql,
        params: &[Value],
    ) -> StoreResult<bool> {
        Ok(self.execute(sql, params).await? > 0)
    }

    pub(crate) async fn rows(
        &mut self,
        sql: &'static Sql,
        params: &[Value],
    ) -> StoreResult<Vec<Row>> {
        self.conn().query(sql, params).await
    }

    /// All rows, each read by `read`.
    pub(crate) async fn list<T>(
        &mut self,
        sql: &'static Sql,
        params: &[Value],
        read: impl Fn(&Row) -> StoreResult<T> + Send,
    ) -> StoreResult<Vec<T>> {
        self.rows(sql, params).await?.iter().map(read).collect()
    }

    /// The first row, read by `read`.
    pub(crate) async fn first<T>(
        &mut self,
        sql: &'static Sql,
        params: &[Value],
        read: impl Fn(&Row) -> StoreResult<T> + Send,
    ) -> StoreResult<Option<T>> {
        self.rows(sql, params).await?.first().map(read).transpose()
    }

    /// The tenant that rows are looked for in: the scope's own, else whatever `lookup` finds for this id.
    pub(crate) async fn tenant_of(
        &mut self,
        lookup: &'static Sql,
        id: Uuid,
    ) -> StoreResult<Option<TenantId>> {
        match self.scope.tenant() {
            Some(own) => Ok(Some(own)),
            None => self.first(lookup, values![id], |row| row.get(0)).await,
        }
    }
}

/// Says of a broken reference what it was about; SQLite cannot, PostgreSQL names the other side.
pub(crate) fn reference<T>(result: StoreResult<T>, what: &'static str) -> StoreResult<T> {
    result.map_err(|error| match error {
        StoreError::Reference { .. } => StoreError::Reference { what },
        other => other,
    })
}

struct Zeros;

impl Random for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// The lowest id that can be made at this time. Ids of receipts and events are made from the time they were received
/// at, so their order is the order of time and a bound on time is a bound on ids.
pub(crate) fn id_floor(at: Timestamp) -> Uuid {
    uuid_v7(at, &Zeros)
}

/// How long a list may look for a state that few have among all there are.
pub(crate) const LOOK_MAX: Duration = Duration::from_secs(10);

/// A limit that the store goes along with.
pub(crate) fn bounded(limit: i64) -> i64 {
    limit.clamp(0, 100_000)
}

/// How many jobs there are of each queue, by queue.
pub(crate) fn created(queues: impl Iterator<Item = QueueNumber>) -> Vec<(QueueNumber, i64)> {
    let mut counts: BTreeMap<QueueNumber, i64> = BTreeMap::new();
    for queue in queues {
        *counts.entry(queue).or_default() += 1;
    }
    counts.into_iter().collect()
}
