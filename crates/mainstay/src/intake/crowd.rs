//! Who waits for a commit, counted only while many do, so that no source and no tenant takes every place.
//!
//! A source, and a tenant over all of its sources, may have three times as many waiting as there are places left; and a
//! tenant within a source three times as many, less what the source has. So whoever is alone may have most of the places,
//! two who flood have fewer each, and for everybody else some are always left. The first of a source finds a place even so.

use std::{collections::HashMap, hash::Hash};

use mainstay_domain::{SourceId, TenantId, intake::Arrival};

/// So many times what is left is anybody's share.
const SHARE: usize = 3;

/// What waits, by whose it is; nothing without any. As many entries as there are places.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    sources: HashMap<SourceId, usize>,
    tenants: HashMap<TenantId, usize>,
    /// Of a source that brings events of many tenants.
    within: HashMap<(SourceId, TenantId), usize>,
}

/// The source, and whose the first event is; nil where that is not known.
fn whose(arrival: &Arrival) -> (SourceId, TenantId) {
    let first = arrival.events.first();
    (
        arrival.receipt.source,
        first.map_or(TenantId::NIL, |event| event.tenant),
    )
}

impl Crowd {
    /// Of everything that waits.
    pub(super) fn of<'a>(waiting: impl Iterator<Item = &'a Arrival>) -> Self {
        let mut crowd = Self::default();
        waiting.for_each(|arrival| crowd.joins(arrival));
        crowd
    }

    /// Whether there is a place for this one, where so many are left, and so many beside them for the first of a source.
    pub(super) fn room(&self, arrival: &Arrival, left: usize, first_left: usize) -> bool {
        let (source, tenant) = whose(arrival);
        let of_source = count(&self.sources, &source);
        if of_source == 0 {
            return left + first_left > 0;
        }
        let share = SHARE * left;
        of_source < share
            && count(&self.tenants, &tenant) < share
            && count(&self.within, &(source, tenant)) < share - of_source
    }

    /// It waits.
    pub(super) fn joins(&mut self, arrival: &Arrival) {
        let (source, tenant) = whose(arrival);
        *self.sources.entry(source).or_default() += 1;
        *self.tenants.entry(tenant).or_default() += 1;
        *self.within.entry((source, tenant)).or_default() += 1;
    }

    /// It waits no longer.
    pub(super) fn leaves(&mut self, arrival: &Arrival) {
        let (source, tenant) = whose(arrival);
        less(&mut self.sources, source);
        less(&mut self.tenants, tenant);
        less(&mut self.within, (source, tenant));
    }
}

fn count<K: Eq + Hash>(counts: &HashMap<K, usize>, key: &K) -> usize {
    counts.get(key).copied().unwrap_or_default()
}

fn less<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    let left = count(counts, &key).saturating_sub(1);
    match left {
        0 => drop(counts.remove(&key)),
        _ => drop(counts.insert(key, left)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mainstay_domain::{
        EventId, ReceiptId, Timestamp,
        intake::{Blob, NewEvent, NewReceipt, schemas::SchemaCheck},
    };
    use uuid::Uuid;

    use super::*;

    const PLACES: usize = 8_192;
    const FIRST: usize = 1_024;

    fn blob() -> Blob {
        Blob {
            zstd: false,
            bytes: Bytes::new(),
        }
    }

    fn arrival(source: u128, tenant: u128) -> Arrival {
        let source = SourceId::from_uuid(Uuid::from_u128(source));
        let event = NewEvent {
            id: EventId::from_uuid(Uuid::nil()),
            tenant: TenantId::from_uuid(Uuid::from_u128(tenant)),
            source,
            source_number: 1,
            provider_id: String::new(),
            kind: String::new(),
            occurred_at: None,
            dedup_keys: Vec::new(),
            body_hash: [0; 8],
            payload: blob(),
            payload_bytes: 0,
            jobs: Vec::new(),
            waits_for: Vec::new(),
            check: SchemaCheck::None,
        };
        let receipt = NewReceipt {
            id: ReceiptId::from_uuid(Uuid::nil()),
            source,
            received_at: Timestamp::EPOCH,
            remote: String::new(),
            headers: blob(),
            body: None,
            body_bytes: 0,
            secret: None,
            refusal: None,
        };
        Arrival {
            receipt,
            events: vec![event],
        }
    }

    /// Places, and who has them.
    #[derive(Default)]
    struct Places {
        crowd: Crowd,
        waiting: usize,
    }

    impl Places {
        fn join(&mut self, source: u128, tenant: u128) -> bool {
            let arrival = arrival(source, tenant);
            let left = PLACES.saturating_sub(self.waiting);
            let first = (PLACES + FIRST).saturating_sub(self.waiting.max(PLACES));
            let room = self.crowd.room(&arrival, left, first);
            if room {
                self.crowd.joins(&arrival);
                self.waiting += 1;
            }
            room
        }

        fn flood(&mut self, source: u128, tenant: u128) -> usize {
            let mut joined = 0;
            while self.join(source, tenant) {
                joined += 1;
            }
            joined
        }
    }

    #[test]
    fn a_source_that_floods_leaves_places_to_every_other_one() {
        let mut places = Places::default();
        let alone = places.flood(1, 1);
        assert!(alone > PLACES / 2, "{alone}");
        for source in 2..200 {
            assert!(places.flood(source, source) > 0, "source {source}");
        }
        assert!(places.waiting <= PLACES + FIRST, "{}", places.waiting);
        assert!(places.join(1_000, 1_000));
    }

    #[test]
    fn a_tenant_that_floods_the_door_of_many_leaves_places_to_the_others() {
        let mut places = Places::default();
        places.flood(1, 1);
        for tenant in 2..12 {
            assert!(places.join(1, tenant), "tenant {tenant}");
        }
    }

    #[test]
    fn a_tenant_gets_no_more_by_having_many_sources() {
        let mut places = Places::default();
        for source in 1..=20 {
            places.flood(source, 1);
        }
        let before = places.waiting;
        assert!(before < PLACES, "{before}");
        assert!(places.flood(100, 2) > 10);
    }

    #[test]
    fn nothing_is_remembered_of_who_has_left() {
        let mut places = Places::default();
        let all = places.flood(1, 1);
        for _ in 0..all {
            places.crowd.leaves(&arrival(1, 1));
        }
        let crowd = &places.crowd;
        assert!(crowd.sources.is_empty() && crowd.tenants.is_empty() && crowd.within.is_empty());
    }
}
