//! How what a request brings is sealed: before it is appended, on the request's own thread.

use std::sync::Arc;

use super::{
    key::{DataKey, KeyError},
    seal::{Column, Place, is_sealed},
};
use crate::{
    id::TenantId,
    intake::{Arrival, Blob},
};

impl Arrival {
    /// Whose data it brings; nil stands for what belongs to nobody yet.
    pub fn owners(&self) -> Vec<TenantId> {
        let mut owners: Vec<TenantId> = self.events.iter().map(|event| event.tenant).collect();
        if owners.is_empty() {
            owners.push(TenantId::NIL);
        }
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    /// Seals each event with its tenant's key, and the request itself with the keys of all of them, one around the other:
    /// when any is destroyed, nobody reads it any more.
    pub fn seal(&mut self, key: impl Fn(TenantId) -> Option<Arc<DataKey>>) -> Result<(), KeyError> {
        let key = |tenant| key(tenant).ok_or(KeyError::Seal);
        let owners = self.owners();
        let receipt = &mut self.receipt;
        let mut body_done = receipt.body.as_ref().is_none_or(is_sealed);
        for event in &mut self.events {
            if is_sealed(&event.payload) {
                continue;
            }
            let place = Place::new(Column::Body, event.id.uuid());
            let sealed = key(event.tenant)?.seal(&place, &event.payload)?;
            // The same bytes under the same id: sealed once, and still the same.
            if !body_done
                && owners.len() == 1
                && event.id.uuid() == receipt.id.uuid()
                && receipt.body.as_ref() == Some(&event.payload)
            {
                receipt.body = Some(sealed.clone());
                body_done = true;
            }
            event.payload = sealed;
        }
        if !is_sealed(&receipt.headers) {
            let place = Place::new(Column::Headers, receipt.id.uuid());
            receipt.headers = layered(&owners, &place, &receipt.headers, key)?;
        }
        if let Some(body) = receipt.body.as_mut().filter(|_| !body_done) {
            let place = Place::new(Column::Body, receipt.id.uuid());
            *body = layered(&owners, &place, body, key)?;
        }
        Ok(())
    }
}

fn layered(
    owners: &[TenantId],
    place: &Place,
    blob: &Blob,
    key: impl Fn(TenantId) -> Result<Arc<DataKey>, KeyError>,
) -> Result<Blob, KeyError> {
    let mut blob = blob.clone();
    for owner in owners {
        blob = key(*owner)?.seal(place, &blob)?;
    }
    Ok(blob)
}
