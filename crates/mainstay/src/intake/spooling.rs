//! Intake with the database gone: what was verified goes into the spool and is answered as ever.

use mainstay_domain::{
    EventId, ReceiptId, SecretId, StoreError, StoreResult,
    intake::{Appended, Arrival, Verdict},
};
use tokio::time::timeout;

use super::{
    Answer, Door, Ids, Inbound, Intake,
    batch::BatchError,
    compress, headers_json,
    spool::{Offer, Record, SpoolStatus},
};

/// How an append ended.
pub(super) enum Committed {
    /// It is committed.
    Appended(Vec<Appended>),
    /// It was matched with a configuration that has been replaced.
    ConfigChanged(Option<Record>),
    /// It is not committed, or nobody knows. The record is there where there is a spool.
    Failed(Option<Record>, StoreError),
    /// Too many are waiting.
    Full,
}

/// Whether it was not for want of a database that this failed: then it would fail again.
pub(super) const fn available(error: &StoreError) -> bool {
    !matches!(
        error,
        StoreError::Unavailable(_) | StoreError::Timeout | StoreError::Full
    )
}

impl Intake {
    /// How the spool stands; `None`: there is none.
    pub fn spool_status(&self) -> Option<SpoolStatus> {
        Some(self.spool.as_ref()?.status())
    }

    /// The ids of a request that brings so many events.
    pub(super) fn ids(&self, inbound: &Inbound, events: usize) -> Ids {
        let at = inbound.received_at;
        let receipt = ReceiptId::new(at, &*self.random);
        // One id for both: the store keeps the request within the event.
        let events = match events {
            1 => vec![EventId::from_uuid(receipt.uuid())],
            _ => (0..events)
                .map(|_| EventId::new(at, &*self.random))
                .collect(),
        };
        Ids { receipt, events }
    }

    /// What is to be spooled of a request; `None`: there is no spool.
    pub(super) fn record(
        &self,
        door: &Door,
        inbound: &Inbound,
        secret: Option<SecretId>,
        ids: &Ids,
    ) -> Option<Record> {
        self.spool.as_ref()?;
        Some(Record {
            receipt: ids.receipt,
            source: door.source.id,
            secret,
            received_at: inbound.received_at,
            remote: inbound.remote.clone(),
            headers: headers_json(&inbound.headers, door.credential_header()),
            body: compress(&inbound.body),
            events: ids.events.clone(),
            tried: false,
            unconfirmed: self.away,
        })
    }

    /// The same of one that is about to be appended, before it is sealed: the spool seals with a key that lasts.
    pub(super) fn spool_record(&self, arrival: &Arrival) -> Option<Record> {
        self.spool.as_ref()?;
        Some(Record {
            unconfirmed: self.away,
            ..Record::of(arrival)?
        })
    }

    /// A record as it is written: sealed, where anything is. `None`: it cannot be.
    fn record_sealed(&self, record: &Record) -> Option<Record> {
        let (headers, body) = (record.headers.clone(), Some(record.body.clone()));
        let (headers, body) = self.nobodys(record.receipt.uuid(), headers, body)?;
        Some(Record {
            headers,
            body: body?,
            ..record.clone()
        })
    }

    /// Waits for the store; with a spool no longer than that lets it.
    pub(super) async fn patiently<T>(
        &self,
        work: impl Future<Output = StoreResult<T>>,
    ) -> StoreResult<T> {
        match &self.spool {
            None => work.await,
            Some(spool) => timeout(spool.patience(), work)
                .await
                .unwrap_or(Err(StoreError::Timeout)),
        }
    }

    /// Appends a request. With a spool it waits for no longer than that lets it.
    /// `untried` is what is spooled of it otherwise.
    pub(super) async fn commit(
        &self,
        arrival: Arrival,
        untried: Option<Record>,
        config_version: i64,
    ) -> Committed {
        let Some(spool) = &self.spool else {
            return match self.batcher.append(arrival, config_version).await {
                Ok(appended) => Committed::Appended(appended),
                Err(BatchError::Full) => Committed::Full,
                Err(BatchError::Store(StoreError::ConfigChanged)) => Committed::ConfigChanged(None),
                Err(BatchError::Store(error)) => Committed::Failed(None, error),
                Err(BatchError::Withdrawn) => Committed::Failed(None, withdrawn()),
            };
        };
        let tried = |record: Option<Record>| {
            record.map(|record| Record {
                tried: true,
                ..record
            })
        };
        let append = self.batcher.append(arrival, config_version);
        match timeout(spool.patience(), append).await {
            Ok(Ok(appended)) => Committed::Appended(appended),
            Ok(Err(BatchError::Store(StoreError::ConfigChanged))) => {
                Committed::ConfigChanged(untried)
            }
            Ok(Err(BatchError::Store(error))) => Committed::Failed(tried(untried), error),
            Ok(Err(BatchError::Full | BatchError::Withdrawn)) => {
                Committed::Failed(untried, withdrawn())
            }
            Err(_) => {
                // It may be under way, but nothing that only waits stays behind it.
                self.batcher.withdraw();
                Committed::Failed(tried(untried), StoreError::Timeout)
            }
        }
    }

    /// Puts a request behind those that wait in the spool; `None`: none does.
    pub(super) async fn spool_behind(
        &self,
        door: &Door,
        inbound: &Inbound,
        secret: Option<SecretId>,
        ids: &Ids,
    ) -> Option<Answer> {
        self.spool.as_ref().filter(|spool| spool.taking())?;
        let record = self.record(door, inbound, secret, ids)?;
        self.spool_put(door, inbound, &record, false).await
    }

    /// Puts a request into the spool that the database did not take, where there is one and the error is of the kind.
    pub(super) async fn spool_instead(
        &self,
        door: &Door,
        inbound: &Inbound,
        record: Option<Record>,
        error: &StoreError,
    ) -> Answer {
        let Some(record) = record.filter(|_| !available(error)) else {
            return self.unavailable(door, error);
        };
        match self.spool_put(door, inbound, &record, true).await {
            Some(answer) => answer,
            None => self.unavailable(door, error),
        }
    }

    async fn spool_put(
        &self,
        door: &Door,
        inbound: &Inbound,
        record: &Record,
        failed: bool,
    ) -> Option<Answer> {
        let spool = self.spool.as_ref()?;
        let Some(record) = self.record_sealed(record) else {
            return Some(self.sent_away());
        };
        match spool.offer(&record, self.clock.now(), failed) {
            Offer::Pass => None,
            Offer::Full => Some(self.sent_away()),
            Offer::Taken { written, began } => {
                if began {
                    tracing::warn!("the database takes no commits: intake goes on into the spool");
                    self.batcher.withdraw();
                }
                if written.await != Ok(true) {
                    return Some(self.sent_away());
                }
                // Whether it is a duplicate is known when it is stored; either way its provider has done its part.
                let settings = door.settings.answer.as_ref();
                let answer = Answer::accepted(settings, &record.events, Verdict::Accepted);
                Some(self.answer(door, inbound, answer))
            }
        }
    }

    /// Neither database nor spool take it.
    fn sent_away(&self) -> Answer {
        self.refusing.refused(self.clock.now());
        Answer::unavailable()
    }

    /// Whether requests are taken: by the store, or by the spool.
    pub(super) async fn takes(&self) -> StoreResult<()> {
        match &self.spool {
            Some(spool) if spool.has_room() => Ok(()),
            _ => self.ping().await,
        }
    }
}

fn withdrawn() -> StoreError {
    StoreError::Unavailable("the commit did not begin".into())
}
