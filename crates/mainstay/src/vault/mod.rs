//! Encryption at rest, as far as the engine has to do with it: what comes in is sealed on the request's own thread, what
//! is read for a job is opened by whoever carries it out, and a rotation goes on step by step ([`rotate`]).

mod rotate;

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use mainstay_domain::{
    JobId, Store, StoreError, StoreResult, TenantId, Timestamp, Tx,
    intake::{Arrival, Blob, NewReceipt},
    jobs::{EventBody, JobBody},
    store::VaultExt,
    vault::{Column, DataKey, Place, SEALED, is_sealed},
};

use crate::intake::Intake;

pub(crate) use rotate::run;
pub use rotate::{RotateError, Rotations, SETTLE_MS};

/// Why packed bytes are no zstd frame, where they are none.
pub(crate) fn unreadable(blob: &Blob) -> Option<StoreError> {
    if blob.is_erased() {
        return Some(StoreError::Erased);
    }
    is_sealed(blob).then(|| StoreError::Bug("a sealed value was read without its key".into()))
}

impl Intake {
    /// A request, sealed: to be appended.
    pub(crate) async fn sealed(&self, mut arrival: Arrival) -> StoreResult<Arrival> {
        let vault = self.store().vault();
        if !vault.on() {
            return Ok(arrival);
        }
        let mut keys: HashMap<TenantId, Arc<DataKey>> = HashMap::new();
        for tenant in arrival.owners() {
            let at = arrival.receipt.received_at;
            if let Some(key) = self.store().data_key(tenant, at).await? {
                keys.insert(tenant, key);
            }
        }
        arrival.seal(|tenant| keys.get(&tenant).cloned())?;
        Ok(arrival)
    }

    /// A refused request, sealed with the key of what belongs to nobody. Where that is not at hand, which it is from the
    /// start on, nothing of it is kept but that it came.
    pub(crate) fn refused_sealed(&self, mut receipt: NewReceipt) -> NewReceipt {
        let body = receipt.body.take();
        let sealed = self.nobodys(receipt.id.uuid(), receipt.headers, body);
        (receipt.headers, receipt.body) = sealed.unwrap_or_else(|| {
            tracing::error!("a refused request is kept without what it said: it cannot be sealed");
            let empty = Blob {
                zstd: false,
                bytes: Bytes::from_static(b"{}"),
            };
            (empty, None)
        });
        receipt
    }

    /// Headers and body of a request, sealed with the key of what belongs to nobody; as they are while nothing is sealed.
    /// `None`: the key is not at hand.
    pub(crate) fn nobodys(
        &self,
        id: uuid::Uuid,
        headers: Blob,
        body: Option<Blob>,
    ) -> Option<(Blob, Option<Blob>)> {
        let vault = self.store().vault();
        if !vault.on() {
            return Some((headers, body));
        }
        let key = vault.current(TenantId::NIL)?;
        let place = Place::new(Column::Headers, id);
        let headers = key.seal(&place, &headers).ok()?;
        let body = match body {
            Some(body) => Some(key.seal(&Place::new(Column::Body, id), &body).ok()?),
            None => None,
        };
        Some((headers, body))
    }
}

/// A job with its event's payload opened, for a handler that reads it inside the transaction.
pub(crate) async fn event_opened(tx: &mut dyn Tx, job: &JobBody) -> StoreResult<JobBody> {
    let mut job = job.clone();
    if let Some(event) = &job.event {
        let place = payload_place(&job, event);
        let payload = tx.blob_open(&place, event.payload.clone()).await?;
        if let Some(event) = &mut job.event {
            event.payload = payload;
        }
    }
    Ok(job)
}

/// Where an event's payload stands.
pub(crate) fn payload_place(job: &JobBody, event: &EventBody) -> Place {
    Place::new(Column::Body, event.id.uuid()).of(job.tenant)
}

/// Where the headers of the request behind an event stand.
pub(crate) fn headers_place(event: &EventBody) -> Place {
    Place::new(Column::Headers, event.receipt.uuid())
}

/// A job's own payload, opened.
pub(crate) async fn own_payload(
    store: &dyn Store,
    job: &JobBody,
    payload: &Bytes,
) -> StoreResult<Bytes> {
    if payload.first() != Some(&SEALED) {
        return Ok(payload.clone());
    }
    let sealed = Blob {
        zstd: true,
        bytes: payload.clone(),
    };
    let place = Place::new(Column::JobPayload, job.job.uuid()).of(job.tenant);
    let opened = store.opened(place, &sealed).await?;
    match unreadable(&opened) {
        Some(error) => Err(error),
        None => Ok(opened.bytes),
    }
}

/// What was sent in an attempt, and answered, sealed.
pub(crate) async fn exchange_sealed(
    store: &dyn Store,
    tenant: TenantId,
    job: JobId,
    attempt: i32,
    exchange: String,
    at: Timestamp,
) -> StoreResult<String> {
    let Some(key) = store.data_key(tenant, at).await? else {
        return Ok(exchange);
    };
    let place = Place::new(Column::Exchange, job.uuid()).part(attempt);
    Ok(key.seal_text(&place, &exchange)?)
}
