//! Appending events on PostgreSQL: a few statements over arrays, sent together where none needs another's answer.
//!
//! Keys are inserted first, in one order everywhere, so that appends of the same keys wait for each other and never in
//! a circle. Whose key was taken is looked up; receipts, events and jobs follow once it is known.

use std::collections::HashMap;

use futures_util::future::{try_join_all, try_join3, try_join4};
use mainstay_domain::{
    EventId, StoreError, StoreResult, Timestamp,
    intake::{Appended, Arrival, NewEvent, NewReceipt},
};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{conn::PgConn, hot_jobs::JobArrays};
use crate::intake::kept::Kept;

/// Held by appends together, by changes of the configuration alone, until the end of the transaction: no event is
/// committed that was matched with a configuration which was replaced before. In memory: nothing is written for it.
const CONFIG_SHARED: &str = "SELECT pg_advisory_xact_lock_shared(7236276601850232673)";
const CONFIG_ALONE: &str = "SELECT pg_advisory_xact_lock(7236276601850232673)";
/// A statement of its own: its snapshot must be newer than the lock.
const CONFIG_VERSION: &str = "SELECT version FROM config_version WHERE id = 1";
const DEDUP_INSERT: &str = "
    INSERT INTO dedup (source_number, key, tenant_id, event_id, body_hash, deliveries, main_key)
    SELECT n.source_number, n.key, n.tenant_id, n.event_id, n.body_hash, 1, n.main_key
    FROM unnest($1::integer[], $2::bytea[], $3::uuid[], $4::uuid[], $5::bytea[], $6::bytea[])
        AS n (source_number, key, tenant_id, event_id, body_hash, main_key)
    ON CONFLICT (source_number, key) DO NOTHING";
/// One by one: no plan ever reads the whole table to join it.
const DEDUP_GET: &str = "
    SELECT d.source_number, d.key, d.event_id, d.body_hash, d.main_key
    FROM unnest($1::integer[], $2::bytea[]) AS k (source_number, key)
    CROSS JOIN LATERAL (
        SELECT * FROM dedup WHERE dedup.source_number = k.source_number AND dedup.key = k.key LIMIT 1
    ) AS d";
const DEDUP_AGAIN: &str = "
    UPDATE dedup SET deliveries = deliveries + $3 WHERE source_number = $1 AND key = $2";
const DEDUP_POINT: &str = "
    UPDATE dedup SET event_id = $3, body_hash = $4, main_key = $5 WHERE source_number = $1 AND key = $2";
const EVENT_INSERT: &str = "
    INSERT INTO event (tenant_id, id, source_id, source_number, dedup_key, provider_id, kind, received_at,
        occurred_at, receipt_id, payload_bytes, payload_zstd, payload, config_version)
    SELECT n.*, $14::bigint
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::integer[], $5::bytea[], $6::text[], $7::text[], $8::bigint[],
        $9::bigint[], $10::uuid[], $11::bigint[], $12::boolean[], $13::bytea[]) AS n";
const RECEIPT_INSERT: &str = "
    INSERT INTO receipt (id, source_id, received_at, verdict, events, secret_id, remote, body_bytes, event_id,
        headers_zstd, headers, body_zstd, body)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::smallint[], $5::smallint[], $6::uuid[], $7::text[],
        $8::bigint[], $9::uuid[], $10::boolean[], $11::bytea[], $12::boolean[], $13::bytea[])";

/// Every text of this file.
#[cfg(test)]
pub(crate) const TEXTS: &[&str] = &[
    CONFIG_SHARED,
    CONFIG_ALONE,
    CONFIG_VERSION,
    DEDUP_INSERT,
    DEDUP_GET,
    DEDUP_AGAIN,
    DEDUP_POINT,
    EVENT_INSERT,
    RECEIPT_INSERT,
];

type Key = (i32, [u8; 16]);

/// One event of the batch that no earlier one of the batch is the same as.
struct Root<'a> {
    event: &'a NewEvent,
    receipt: &'a NewReceipt,
    /// Its own keys and those of its duplicates in the batch.
    keys: Vec<[u8; 16]>,
    /// Deliveries beyond the first in this batch.
    again: i32,
    /// What is known of it in the store; `None`: it is new.
    known: Option<Known>,
}

#[derive(Clone, Copy)]
struct Known {
    event: EventId,
    body_hash: [u8; 8],
    /// The key whose record counts.
    main: [u8; 16],
}

/// The events of a batch, sorted out among themselves.
struct Batch<'a> {
    roots: Vec<Root<'a>>,
    /// For each event in the order of the arrivals: its root, and whether it is the root itself.
    events: Vec<(usize, bool)>,
}

impl<'a> Batch<'a> {
    fn new(arrivals: &'a [Arrival]) -> StoreResult<Self> {
        let mut batch = Self {
            roots: Vec::with_capacity(arrivals.len()),
            events: Vec::with_capacity(arrivals.len()),
        };
        let mut by_key: HashMap<Key, usize> = HashMap::with_capacity(arrivals.len());
        for arrival in arrivals {
            for event in &arrival.events {
                batch.add(event, &arrival.receipt, &mut by_key)?;
            }
        }
        Ok(batch)
    }

    fn add(
        &mut self,
        event: &'a NewEvent,
        receipt: &'a NewReceipt,
        by_key: &mut HashMap<Key, usize>,
    ) -> StoreResult<()> {
        if event.dedup_keys.is_empty() {
            return Err(StoreError::Bug("an event without a key".into()));
        }
        let key = |key: &[u8; 16]| (event.source_number, *key);
        let known = event
            .dedup_keys
            .iter()
            .find_map(|one| by_key.get(&key(one)).copied());
        let index = known.unwrap_or(self.roots.len());
        if known.is_none() {
            self.roots.push(Root {
                event,
                receipt,
                keys: Vec::with_capacity(2),
                again: 0,
                known: None,
            });
        }
        let root = &mut self.roots[index];
        root.again += i32::from(known.is_some());
        for one in &event.dedup_keys {
            if by_key
                .insert(key(one), by_key.get(&key(one)).copied().unwrap_or(index))
                .is_none()
            {
                root.keys.push(*one);
            }
        }
        self.events.push((index, known.is_none()));
        Ok(())
    }

    /// What became of each event, by arrival.
    fn appended(&self, arrivals: &[Arrival]) -> Vec<Vec<Appended>> {
        let mut events = self.events.iter();
        let mut next = |event: &NewEvent| {
            let Some((root, is_root)) = events.next() else {
                return Appended::New(event.id);
            };
            let root = &self.roots[*root];
            let (known, hash) = match &root.known {
                Some(known) => (known.event, known.body_hash),
                None if *is_root => return Appended::New(event.id),
                None => (root.event.id, root.event.body_hash),
            };
            match hash == event.body_hash {
                true => Appended::Duplicate(known),
                false => Appended::Conflict(known),
            }
        };
        arrivals
            .iter()
            .map(|arrival| arrival.events.iter().map(&mut next).collect())
            .collect()
    }
}

impl PgConn<'_> {
    /// Waits for appends under way and holds up further ones until the end of the transaction.
    pub(crate) async fn config_lock(&self) -> StoreResult<()> {
        self.rows(CONFIG_ALONE, &[]).await.map(|_| ())
    }

    pub(crate) async fn event_append(
        &self,
        config_version: i64,
        arrivals: &[Arrival],
    ) -> StoreResult<Vec<Vec<Appended>>> {
        let mut batch = Batch::new(arrivals)?;
        // Once prepared, statements are sent in the order in which they stand below.
        for text in [
            CONFIG_SHARED,
            CONFIG_VERSION,
            DEDUP_INSERT,
            EVENT_INSERT,
            RECEIPT_INSERT,
        ] {
            self.prepare(text).await?;
        }
        self.keys_take(config_version, &mut batch).await?;
        let appended = batch.appended(arrivals);
        let receipts = ReceiptArrays::new(arrivals, &appended);
        let events = EventArrays::new(&batch.roots);
        let new = batch.roots.iter().filter(|root| root.known.is_none());
        let jobs = JobArrays::new(new.flat_map(|root| &root.event.jobs));
        try_join4(
            self.receipts_insert(&receipts),
            self.events_insert(&events, config_version),
            self.jobs_insert_new(&jobs),
            self.deliveries_count(&batch.roots),
        )
        .await?;
        Ok(appended)
    }

    /// Inserts the keys and finds out which were there.
    async fn keys_take(&self, config_version: i64, batch: &mut Batch<'_>) -> StoreResult<()> {
        let mut rows: Vec<(Key, usize)> = Vec::with_capacity(batch.roots.len());
        for (index, root) in batch.roots.iter().enumerate() {
            rows.extend(
                root.keys
                    .iter()
                    .map(|key| ((root.event.source_number, *key), index)),
            );
        }
        rows.sort_unstable();
        let numbers: Vec<i32> = rows.iter().map(|((number, _), _)| *number).collect();
        let keys: Vec<&[u8]> = rows.iter().map(|((_, key), _)| &key[..]).collect();
        let roots = &batch.roots;
        let each = || rows.iter().map(|((_, key), index)| (key, &roots[*index]));
        let tenants: Vec<Uuid> = each().map(|(_, root)| root.event.tenant.uuid()).collect();
        let events: Vec<Uuid> = each().map(|(_, root)| root.event.id.uuid()).collect();
        let hashes: Vec<&[u8]> = each().map(|(_, root)| &root.event.body_hash[..]).collect();
        let mains: Vec<Option<&[u8]>> = each()
            .map(|(key, root)| (*key != root.keys[0]).then_some(&root.keys[0][..]))
            .collect();
        let insert: [&(dyn ToSql + Sync); 6] =
            [&numbers, &keys, &tenants, &events, &hashes, &mains];
        let (_, version, inserted) = try_join3(
            self.rows(CONFIG_SHARED, &[]),
            self.rows(CONFIG_VERSION, &[]),
            self.run(DEDUP_INSERT, &insert),
        )
        .await?;
        if version.first().map(|row| row.get::<_, i64>(0)) != Some(config_version) {
            return Err(StoreError::ConfigChanged);
        }
        if inserted == rows.len() as u64 {
            return Ok(());
        }
        // A statement of its own: it sees what the insert had to wait for.
        let found = self.rows(DEDUP_GET, &[&numbers, &keys]).await?;
        let mut known: HashMap<Key, Known> = HashMap::with_capacity(found.len());
        for row in &found {
            let key: [u8; 16] = fixed(row.get(1))?;
            let main = row.get::<_, Option<&[u8]>>(4).map_or(Ok(key), fixed)?;
            let one = Known {
                event: EventId::from_uuid(row.get(2)),
                body_hash: fixed(row.get(3))?,
                main,
            };
            known.insert((row.get(0), key), one);
        }
        self.keys_point(&mut batch.roots, &known).await
    }

    /// An event with a key that was there is a duplicate of what that key leads to, and so are its other keys.
    async fn keys_point(
        &self,
        roots: &mut [Root<'_>],
        found: &HashMap<Key, Known>,
    ) -> StoreResult<()> {
        for root in roots {
            let number = root.event.source_number;
            let of = |key: &[u8; 16]| {
                found
                    .get(&(number, *key))
                    .filter(|known| known.event != root.event.id)
            };
            root.known = root.keys.iter().find_map(of).copied();
            let Some(known) = root.known else { continue };
            for key in root.keys.iter().filter(|key| of(key).is_none()) {
                let event = known.event.uuid();
                let (key, hash, main) = (&key[..], &known.body_hash[..], &known.main[..]);
                self.run(DEDUP_POINT, &[&number, &key, &event, &hash, &main])
                    .await?;
            }
        }
        Ok(())
    }

    /// Counts deliveries beyond the first, in one order everywhere.
    async fn deliveries_count(&self, roots: &[Root<'_>]) -> StoreResult<()> {
        let mut counts: HashMap<Key, i32> = HashMap::new();
        for root in roots {
            let more = root.again + i32::from(root.known.is_some());
            if more > 0 {
                let main = root.known.map_or(root.keys[0], |known| known.main);
                *counts.entry((root.event.source_number, main)).or_default() += more;
            }
        }
        if counts.is_empty() {
            return Ok(());
        }
        let mut counts: Vec<(Key, i32)> = counts.into_iter().collect();
        counts.sort_unstable();
        self.prepare(DEDUP_AGAIN).await?;
        let count = |((number, key), more): (Key, i32)| async move {
            self.run(DEDUP_AGAIN, &[&number, &&key[..], &more]).await
        };
        try_join_all(counts.into_iter().map(count))
            .await
            .map(|_| ())
    }

    async fn events_insert(
        &self,
        events: &EventArrays<'_>,
        config_version: i64,
    ) -> StoreResult<()> {
        if events.ids.is_empty() {
            return Ok(());
        }
        let EventArrays {
            tenants,
            ids,
            sources,
            numbers,
            keys,
            provider_ids,
            kinds,
            received,
            occurred,
            receipts,
            sizes,
            zstd,
            payloads,
        } = events;
        self.run(
            EVENT_INSERT,
            &[
                tenants,
                ids,
                sources,
                numbers,
                keys,
                provider_ids,
                kinds,
                received,
                occurred,
                receipts,
                sizes,
                zstd,
                payloads,
                &config_version,
            ],
        )
        .await
        .map(|_| ())
    }

    async fn receipts_insert(&self, receipts: &ReceiptArrays<'_>) -> StoreResult<()> {
        let ReceiptArrays {
            ids,
            sources,
            received,
            verdicts,
            events,
            secrets,
            remotes,
            sizes,
            again,
            headers_zstd,
            headers,
            body_zstd,
            bodies,
        } = receipts;
        self.run(
            RECEIPT_INSERT,
            &[
                ids,
                sources,
                received,
                verdicts,
                events,
                secrets,
                remotes,
                sizes,
                again,
                headers_zstd,
                headers,
                body_zstd,
                bodies,
            ],
        )
        .await
        .map(|_| ())
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> StoreResult<[u8; N]> {
    bytes
        .try_into()
        .map_err(|_| StoreError::Corrupt("a digest of another length".into()))
}

/// The columns of new events. Payloads are borrowed: they are copied once, onto the wire.
#[derive(Default)]
struct EventArrays<'a> {
    tenants: Vec<Uuid>,
    ids: Vec<Uuid>,
    sources: Vec<Uuid>,
    numbers: Vec<i32>,
    keys: Vec<&'a [u8]>,
    provider_ids: Vec<&'a str>,
    kinds: Vec<&'a str>,
    received: Vec<i64>,
    occurred: Vec<Option<i64>>,
    receipts: Vec<Uuid>,
    sizes: Vec<i64>,
    zstd: Vec<bool>,
    payloads: Vec<&'a [u8]>,
}

impl<'a> EventArrays<'a> {
    fn new(roots: &'a [Root<'a>]) -> Self {
        let mut arrays = Self::default();
        for root in roots.iter().filter(|root| root.known.is_none()) {
            let event = root.event;
            arrays.tenants.push(event.tenant.uuid());
            arrays.ids.push(event.id.uuid());
            arrays.sources.push(event.source.uuid());
            arrays.numbers.push(event.source_number);
            arrays.keys.push(&root.keys[0]);
            arrays.provider_ids.push(&event.provider_id);
            arrays.kinds.push(&event.kind);
            arrays.received.push(root.receipt.received_at.micros());
            arrays
                .occurred
                .push(event.occurred_at.map(Timestamp::micros));
            arrays.receipts.push(root.receipt.id.uuid());
            arrays.sizes.push(event.payload_bytes);
            arrays.zstd.push(event.payload.zstd);
            arrays.payloads.push(&event.payload.bytes);
        }
        arrays
    }
}

/// The columns of receipts.
#[derive(Default)]
struct ReceiptArrays<'a> {
    ids: Vec<Uuid>,
    sources: Vec<Uuid>,
    received: Vec<i64>,
    verdicts: Vec<i16>,
    events: Vec<i16>,
    secrets: Vec<Option<Uuid>>,
    remotes: Vec<&'a str>,
    sizes: Vec<i64>,
    again: Vec<Option<Uuid>>,
    headers_zstd: Vec<bool>,
    headers: Vec<&'a [u8]>,
    body_zstd: Vec<Option<bool>>,
    bodies: Vec<Option<&'a [u8]>>,
}

impl<'a> ReceiptArrays<'a> {
    fn new(arrivals: &'a [Arrival], appended: &[Vec<Appended>]) -> Self {
        let mut arrays = Self::default();
        for (arrival, appended) in arrivals.iter().zip(appended) {
            let receipt = &arrival.receipt;
            let kept = Kept::of(arrival, appended);
            arrays.ids.push(receipt.id.uuid());
            arrays.sources.push(receipt.source.uuid());
            arrays.received.push(receipt.received_at.micros());
            arrays.verdicts.push(kept.verdict as i16);
            arrays.events.push(kept.events);
            arrays.secrets.push(receipt.secret.map(|id| id.uuid()));
            arrays.remotes.push(&receipt.remote);
            arrays.sizes.push(receipt.body_bytes);
            arrays.again.push(kept.again.map(|id| id.uuid()));
            arrays.headers_zstd.push(receipt.headers.zstd);
            arrays.headers.push(&receipt.headers.bytes);
            arrays.body_zstd.push(kept.body.map(|body| body.zstd));
            arrays.bodies.push(kept.body.map(|body| &body.bytes[..]));
        }
        arrays
    }
}
