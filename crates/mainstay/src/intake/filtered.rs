//! Filters over events that are kept: what a replay, or somebody who tries an expression, lets them look at.

use std::collections::HashMap;

use bytes::Bytes;
use mainstay_domain::{
    BindingId, ReceiptId, StoreResult, Tx,
    intake::{Binding, Blob, Event, links::WaitingEvent},
};

use super::{
    blob::decompress,
    filter::{Filter, Filtered, Parts, Subject},
};

/// What filters see of an event that is kept: the same as when it came in.
pub struct Kept {
    payload: Bytes,
    headers: serde_json::Map<String, serde_json::Value>,
}

impl Kept {
    /// Reads it. None: there is no such event.
    pub async fn load(tx: &mut dyn Tx, event: &Event) -> StoreResult<Option<Self>> {
        let payload = tx.event_payload(event.id).await?;
        Self::of(tx, payload, event.receipt).await
    }

    /// The same of an event that waits for its tenant.
    pub(super) async fn load_waiting(
        tx: &mut dyn Tx,
        event: &WaitingEvent,
    ) -> StoreResult<Option<Self>> {
        let payload = tx.waiting_payload(event.id).await?;
        Self::of(tx, payload, event.receipt).await
    }

    async fn of(
        tx: &mut dyn Tx,
        payload: Option<Blob>,
        receipt: ReceiptId,
    ) -> StoreResult<Option<Self>> {
        // Of what was erased there is nothing to ask about.
        let Some(payload) = payload.filter(|payload| !payload.is_erased()) else {
            return Ok(None);
        };
        let receipt = tx.receipt_get(receipt).await?;
        let headers = match receipt {
            Some(receipt) if !receipt.headers.is_erased() => {
                serde_json::from_slice(&decompress(&receipt.headers)?).unwrap_or_default()
            }
            _ => serde_json::Map::new(),
        };
        Ok(Some(Self {
            payload: decompress(&payload)?,
            headers,
        }))
    }

    /// Its payload.
    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The event as filters see it.
    pub fn subject(&self, event: &Event) -> Subject {
        self.seen(&event.kind, &event.source_name, &event.provider_id)
    }

    /// The same of an event that waits for its tenant.
    pub(super) fn subject_waiting(&self, event: &WaitingEvent) -> Subject {
        self.seen(&event.kind, &event.source_name, &event.provider_id)
    }

    fn seen(&self, kind: &str, source: &str, provider_id: &str) -> Subject {
        Subject::new(&Parts {
            kind,
            source,
            provider_id,
            payload: &self.payload,
            headers: &self.headers,
        })
    }
}

/// Leaves the bindings' events that pass their filters, reading only those that one of the filters asks for.
pub(super) async fn passing<'a>(
    tx: &mut dyn Tx,
    pairs: Vec<(&'a Event, &'a Binding)>,
) -> StoreResult<Vec<(&'a Event, &'a Binding)>> {
    let filters: HashMap<BindingId, Option<Filter>> = pairs
        .iter()
        .filter_map(|(_, binding)| Some((binding.id, binding.filter.as_deref()?)))
        .collect::<HashMap<_, _>>()
        .into_iter()
        .map(|(id, text)| (id, Filter::new(text).ok()))
        .collect();
    if filters.is_empty() {
        return Ok(pairs);
    }
    let mut passed = Vec::with_capacity(pairs.len());
    for of_one in pairs.chunk_by(|one, other| one.0.id == other.0.id) {
        let Some((event, _)) = of_one.first() else {
            continue;
        };
        let asked = of_one
            .iter()
            .any(|(_, binding)| filters.contains_key(&binding.id));
        let kept = match asked {
            true => Kept::load(tx, event).await?,
            false => None,
        };
        let subject = kept.as_ref().map(|kept| kept.subject(event));
        passed.extend(of_one.iter().filter(|(_, binding)| {
            match (filters.get(&binding.id), &subject) {
                (None, _) => true,
                (Some(Some(filter)), Some(subject)) => filter.evaluate(subject) == Filtered::Passed,
                (Some(_), _) => false,
            }
        }));
    }
    Ok(passed)
}
