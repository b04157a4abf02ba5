//! Watch: the series behind charts, and what retention and health ask of the store.

use std::collections::HashMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

mod histogram;

pub use histogram::{BUCKETS, Histogram, bucket, bucket_start_ms};

use crate::{error::StoreResult, id::EndpointId, time::Timestamp};

/// A series of counts per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Series {
    /// Requests accepted with something new. Subject: the source.
    Received,
    /// Requests that brought nothing new. Subject: the source.
    Duplicates,
    /// Requests refused. Subject: the source.
    Refused,
    /// Jobs done. Subject: the endpoint, or nil.
    Done,
    /// Attempts that failed and are repeated. Subject: the endpoint, or nil.
    Failed,
    /// Jobs that died. Subject: the endpoint, or nil.
    Dead,
    /// Milliseconds that successful attempts took, added up. Subject: the endpoint, or nil.
    DurationMs,
    /// Events that a binding's filter could not be evaluated for. Subject: the binding.
    FilterFailed,
    /// Requests refused that were only counted: more came than the quarantine takes. Subject: the source.
    RefusedNotKept,
    /// New events that were checked against a schema. Subject: the schema, and its source as well.
    SchemaChecked,
    /// Those of them that violate it. Subject: the schema, and its source as well.
    SchemaViolated,
    /// Those of them that lack something that it requires. Subject: the schema, and its source as well.
    SchemaIncomplete,
    /// New events that were too large to be checked against it. Subject: the schema, and its source as well.
    SchemaUnchecked,
    /// New events of which it is known when they happened. Subject: the source.
    Dated,
    /// Those of them that came soon after. Subject: the source.
    Fresh,
    /// Genuine requests that were told to come again: more came than the source's rate. Subject: the source.
    RateExceeded,
    /// Requests that were turned away unread: too many of their address had failed. Subject: the source.
    TurnedAway,
    /// Events that came again with other content. Subject: the source.
    Conflicts,
}

impl Series {
    /// All of them, in the order in which the store numbers them.
    pub const ALL: [Self; 18] = [
        Self::Received,
        Self::Duplicates,
        Self::Refused,
        Self::Done,
        Self::Failed,
        Self::Dead,
        Self::DurationMs,
        Self::FilterFailed,
        Self::RefusedNotKept,
        Self::SchemaChecked,
        Self::SchemaViolated,
        Self::SchemaIncomplete,
        Self::SchemaUnchecked,
        Self::Dated,
        Self::Fresh,
        Self::RateExceeded,
        Self::TurnedAway,
        Self::Conflicts,
    ];
}

/// A count of one series in one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Which series.
    pub series: Series,
    /// The source, schema, endpoint or binding it is about; the nil id where there is none.
    pub subject: uuid::Uuid,
    /// The start of the minute.
    pub minute: Timestamp,
    /// How many.
    pub count: i64,
}

/// How many answers of an endpoint fell into one bucket of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationCount {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Which bucket; see [`bucket`].
    pub bucket: usize,
    /// How many.
    pub count: i64,
}

/// The store's verbs of watch.
#[async_trait]
pub trait WatchTx: Send {
    /// Adds to the series. System scope.
    async fn samples_add(&mut self, samples: &[Sample]) -> StoreResult<()>;
    /// The series from `from` on. System scope; callers pick what a tenant may see by subject.
    async fn samples_list(&mut self, from: Timestamp) -> StoreResult<Vec<Sample>>;
    /// Removes samples older than `until`.
    async fn samples_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64>;
    /// Adds to the durations of an hour, which is named by its start. System scope.
    async fn durations_add(&mut self, hour: Timestamp, counts: &[DurationCount])
    -> StoreResult<()>;
    /// The durations of each endpoint that has any, from the hour `from` on. System scope; callers pick what a tenant
    /// may see.
    async fn durations_list(
        &mut self,
        from: Timestamp,
    ) -> StoreResult<HashMap<EndpointId, Histogram>>;
    /// Removes durations of hours before `until`.
    async fn durations_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64>;
    /// A trivial statement, to see whether the database answers (HLT-03).
    async fn ping(&mut self) -> StoreResult<()>;
}
