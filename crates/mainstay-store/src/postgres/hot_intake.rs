//! Appending events on PostgreSQL inside a transaction: a few statements over arrays, sent together where none needs
//! another's answer. What comes in alone and for the first time, which is nearly everything, takes the shorter way of
//! [`super::append`].
//!
//! Keys are inserted first, in one order everywhere, so that appends of the same keys wait for each other and never in
//! a circle. Whose key was taken is looked up; receipts, events and jobs follow once it is known.

use std::collections::{HashMap, HashSet};

use futures_util::future::{try_join_all, try_join3, try_join4};
use mainstay_domain::{
    EventId, ReceiptId, StoreError, StoreResult, Timestamp,
    intake::{Appended, Arrival, NewEvent, NewReceipt, objects::Horizon},
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    conn::PgConn,
    hot_jobs::{JOB_INSERT, job_rows},
    rows::{RowWriter, Rows},
};
use crate::intake::{
    kept::{Kept, key_apart, receipt_apart, within_event},
    schemas::problems_json,
};

/// Held by appends together, by changes of the configuration alone, until the end of the transaction: no event is
/// committed that was matched with a configuration which was replaced before. In memory: nothing is written for it.
const CONFIG_SHARED: &str = "SELECT pg_advisory_xact_lock_shared(7236276601850232673)";
const CONFIG_ALONE: &str = "SELECT pg_advisory_xact_lock(7236276601850232673)";
/// Held by whoever counts expected events: each counts several in an order of its own, and these would wait in a circle.
/// A batch of them may take longer than others wait for a lock.
const TALLIES_ALONE: &str = "
    SELECT pg_advisory_xact_lock(7236276601850232674) FROM (SELECT set_config('lock_timeout', '30s', true)) AS longer";
/// A statement of its own: its snapshot must be newer than the lock.
const CONFIG_VERSION: &str = "SELECT version FROM config_version WHERE id = 1";
/// What has not ended, and what has not begun.
const HORIZON: &str = "
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
const DEDUP_INSERT: &str = "
    INSERT INTO dedup (source_number, key, event_id, body_hash, main_key, deliveries)
    SELECT n.*, 1 FROM unnest($1::dedup_key_row[]) AS n
    ON CONFLICT (source_number, key) DO NOTHING RETURNING source_number, key";
/// One by one: no plan ever reads the whole table to join it.
const DEDUP_GET: &str = "
    SELECT d.source_number, d.key, d.event_id, d.body_hash, d.main_key
    FROM unnest($1::integer[], $2::uuid[]) AS k (source_number, key)
    CROSS JOIN LATERAL (
        SELECT * FROM dedup WHERE dedup.source_number = k.source_number AND dedup.key = k.key LIMIT 1
    ) AS d";
const DEDUP_AGAIN: &str = "
    UPDATE dedup SET deliveries = deliveries + $3 WHERE source_number = $1 AND key = $2";
const DEDUP_POINT: &str = "
    UPDATE dedup SET event_id = $3, body_hash = $4, main_key = $5 WHERE source_number = $1 AND key = $2";
const EVENT_INSERT: &str = "
    INSERT INTO event (tenant_id, id, source_number, dedup_key, provider_id, kind, received_at, occurred_at,
        receipt_id, payload_bytes, payload_zstd, payload, secret_id, remote, headers_zstd, headers)
    SELECT n.* FROM unnest($1::event_small_row[]) AS n";
const WAITING_INSERT: &str = "
    INSERT INTO event_waiting (id, source_id, source_number, dedup_key, provider_id, kind, received_at, occurred_at,
        receipt_id, payload_bytes, payload_zstd, payload)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
const WAITING_VALUE_INSERT: &str = "
    INSERT INTO event_waiting_value (source_id, event_id, value, place)
    SELECT $1::uuid, $2::uuid, v.value, v.place::smallint
    FROM unnest($3::text[]) WITH ORDINALITY AS v (value, place)";
const VIOLATION_INSERT: &str = "
    INSERT INTO event_violation (tenant_id, event_id, schema_id, version, problems) VALUES ($1, $2, $3, $4, $5)";
const RECEIPT_INSERT: &str = "
    INSERT INTO receipt (id, source_id, received_at, verdict, events, secret_id, remote, body_bytes, event_id,
        headers_zstd, headers, body_zstd, body)
    SELECT * FROM unnest($1::receipt_row[])";

/// Every text of this file.
#[cfg(test)]
pub(crate) const TEXTS: &[&str] = &[
    CONFIG_SHARED,
    CONFIG_ALONE,
    TALLIES_ALONE,
    CONFIG_VERSION,
    HORIZON,
    DEDUP_INSERT,
    DEDUP_GET,
    DEDUP_AGAIN,
    DEDUP_POINT,
    EVENT_INSERT,
    WAITING_INSERT,
    WAITING_VALUE_INSERT,
    VIOLATION_INSERT,
    RECEIPT_INSERT,
];

type Key = (i32, [u8; 16]);

/// One event of the batch that no earlier one of the batch is the same as.
struct Root<'a> {
    event: &'a NewEvent,
    arrival: &'a Arrival,
    /// Its own keys and those of its duplicates in the batch.
    keys: Vec<[u8; 16]>,
    /// Deliveries beyond the first in this batch.
    again: i32,
    /// What is known of it in the store; `None`: it is new.
    known: Option<Known>,
    /// It is this very request once more, whose answer was lost: all of it is there.
    there: bool,
}

impl Root<'_> {
    const fn is_new(&self) -> bool {
        self.known.is_none() && !self.there
    }
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
                batch.add(event, arrival, &mut by_key)?;
            }
        }
        Ok(batch)
    }

    fn add(
        &mut self,
        event: &'a NewEvent,
        arrival: &'a Arrival,
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
                arrival,
                keys: Vec::with_capacity(2),
                again: 0,
                known: None,
                there: false,
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

    /// The transactions of now.
    pub(crate) async fn horizon(&self) -> StoreResult<Horizon> {
        let rows = self.rows(HORIZON, &[]).await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Corrupt("a snapshot without an answer".into()))?;
        Ok(Horizon {
            oldest: row.get(0),
            next: row.get(1),
        })
    }

    /// Holds up everybody else who counts expected events until the end of the transaction.
    pub(crate) async fn tallies_lock(&self) -> StoreResult<()> {
        self.rows(TALLIES_ALONE, &[]).await.map(|_| ())
    }

    /// Holds up changes of the configuration until the end of the transaction.
    pub(crate) async fn config_share(&self) -> StoreResult<()> {
        self.rows(CONFIG_SHARED, &[]).await.map(|_| ())
    }

    /// What became of each event, and which of those whose jobs keep an order are made now.
    pub(crate) async fn event_append(
        &self,
        config_version: i64,
        arrivals: &[Arrival],
    ) -> StoreResult<(Vec<Vec<Appended>>, HashSet<EventId>)> {
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
        let receipts = receipt_rows(arrivals, &appended);
        let events = event_rows(&batch.roots);
        let new = batch.roots.iter().filter(|root| root.is_new());
        let jobs = new.flat_map(|root| &root.event.jobs);
        // Those that keep an order are inserted with their lines.
        let jobs = job_rows(jobs.filter(|job| job.order.is_none()));
        try_join4(
            self.rows_insert(RECEIPT_INSERT, &receipts, &[]),
            self.rows_insert(EVENT_INSERT, &events, &[]),
            self.rows_insert(JOB_INSERT, &jobs, &[]),
            self.deliveries_count(&batch.roots),
        )
        .await?;
        self.waiting_insert(&batch.roots).await?;
        self.violations_insert(&batch.roots).await?;
        let ordered = |root: &&Root<'_>| root.event.jobs.iter().any(|job| job.order.is_some());
        let made = batch.roots.iter().filter(|root| root.is_new());
        let made = made.filter(ordered).map(|root| root.event.id).collect();
        Ok((appended, made))
    }

    /// What new events violate: rare, so one by one.
    async fn violations_insert(&self, roots: &[Root<'_>]) -> StoreResult<()> {
        for root in roots.iter().filter(|root| root.is_new()) {
            let event = root.event;
            let Some(violation) = event.check.violation() else {
                continue;
            };
            self.run(
                VIOLATION_INSERT,
                &[
                    &event.tenant.uuid(),
                    &event.id.uuid(),
                    &violation.schema.uuid(),
                    &violation.version,
                    &problems_json(violation)?,
                ],
            )
            .await?;
        }
        Ok(())
    }

    /// New events whose tenant is not known yet: rare, so one by one.
    async fn waiting_insert(&self, roots: &[Root<'_>]) -> StoreResult<()> {
        let waits = |root: &&Root<'_>| root.is_new() && !root.event.waits_for.is_empty();
        for root in roots.iter().filter(waits) {
            let (event, receipt) = (root.event, &root.arrival.receipt);
            let (id, source) = (event.id.uuid(), event.source.uuid());
            let occurred_at = event.occurred_at.map(Timestamp::micros);
            self.run(
                WAITING_INSERT,
                &[
                    &id,
                    &source,
                    &event.source_number,
                    &Uuid::from_bytes(root.keys[0]),
                    &event.provider_id,
                    &event.kind,
                    &receipt.received_at.micros(),
                    &occurred_at,
                    &receipt.id.uuid(),
                    &event.payload_bytes,
                    &event.payload.zstd,
                    &&event.payload.bytes[..],
                ],
            )
            .await?;
            self.run(WAITING_VALUE_INSERT, &[&source, &id, &event.waits_for])
                .await?;
        }
        Ok(())
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
        let mut records = Rows::default();
        for ((_, key), index) in &rows {
            let root = &batch.roots[*index];
            let main = (*key != root.keys[0]).then_some(&root.keys[0]);
            records.push(|row| dedup_put(row, root.event, key, main));
        }
        let (_, version, inserted) = try_join3(
            self.rows(CONFIG_SHARED, &[]),
            self.rows(CONFIG_VERSION, &[]),
            self.rows(DEDUP_INSERT, &[&records]),
        )
        .await?;
        if version.first().map(|row| row.get::<_, i64>(0)) != Some(config_version) {
            return Err(StoreError::ConfigChanged);
        }
        if inserted.len() == rows.len() {
            return Ok(());
        }
        let key = |row: &Row, column| row.get::<_, Uuid>(column).into_bytes();
        let inserted: HashSet<Key> = inserted
            .iter()
            .map(|row| (row.get(0), key(row, 1)))
            .collect();
        let numbers: Vec<i32> = rows.iter().map(|((number, _), _)| *number).collect();
        let keys: Vec<Uuid> = rows
            .iter()
            .map(|((_, key), _)| Uuid::from_bytes(*key))
            .collect();
        // A statement of its own: it sees what the insert had to wait for.
        let found = self.rows(DEDUP_GET, &[&numbers, &keys]).await?;
        let mut known: HashMap<Key, Known> = HashMap::with_capacity(found.len());
        for row in &found {
            let key = key(row, 1);
            let main = row.get::<_, Option<Uuid>>(4);
            let one = Known {
                event: EventId::from_uuid(row.get(2)),
                body_hash: row.get::<_, i64>(3).to_be_bytes(),
                main: main.map_or(key, Uuid::into_bytes),
            };
            known.insert((row.get(0), key), one);
        }
        for root in &mut batch.roots {
            let number = root.event.source_number;
            root.there = root.keys.iter().any(|key| {
                let key = (number, *key);
                let same = known
                    .get(&key)
                    .is_some_and(|one| one.event == root.event.id);
                same && !inserted.contains(&key)
            });
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
                let hash = i64::from_be_bytes(known.body_hash);
                let (key, main) = (Uuid::from_bytes(*key), Uuid::from_bytes(known.main));
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
            let key = Uuid::from_bytes(key);
            self.run(DEDUP_AGAIN, &[&number, &key, &more]).await
        };
        try_join_all(counts.into_iter().map(count))
            .await
            .map(|_| ())
    }
}

/// A row of [`DEDUP_INSERT`]; of a second key with the first.
pub(super) fn dedup_put(
    row: &mut RowWriter<'_>,
    event: &NewEvent,
    key: &[u8; 16],
    main: Option<&[u8; 16]>,
) {
    row.put(event.source_number).put(Uuid::from_bytes(*key));
    row.put(event.id.uuid());
    row.put(i64::from_be_bytes(event.body_hash));
    row.put(main.map(|main| Uuid::from_bytes(*main)));
}

/// The rows of new events.
fn event_rows(roots: &[Root<'_>]) -> Rows {
    let mut rows = Rows::default();
    let new = |root: &&Root<'_>| root.is_new() && root.event.waits_for.is_empty();
    for root in roots.iter().filter(new) {
        rows.push(|row| event_put(row, root.event, root.arrival, &root.keys[0]));
    }
    rows
}

/// A row of [`EVENT_INSERT`], with the key whose record counts the event's deliveries.
pub(super) fn event_put(
    row: &mut RowWriter<'_>,
    event: &NewEvent,
    arrival: &Arrival,
    key: &[u8; 16],
) {
    let (receipt, within) = (&arrival.receipt, within_event(arrival));
    row.put(event.tenant.uuid()).put(event.id.uuid());
    row.put(event.source_number);
    row.put(key_apart(event, key).map(Uuid::from_bytes));
    row.put(&*event.provider_id);
    row.put(&*event.kind).put(receipt.received_at.micros());
    row.put(event.occurred_at.map(Timestamp::micros));
    row.put(receipt_apart(event, receipt).map(ReceiptId::uuid));
    // A body is far below what this holds.
    row.put(i32::try_from(event.payload_bytes).unwrap_or(i32::MAX));
    row.put(event.payload.zstd).put(&event.payload.bytes[..]);
    row.put(within.and_then(|request| Some(request.secret?.uuid())));
    row.put(within.map(|request| &*request.remote));
    row.put(within.map(|request| request.headers.zstd));
    row.put(within.map(|request| &request.headers.bytes[..]));
}

fn receipt_rows(arrivals: &[Arrival], appended: &[Vec<Appended>]) -> Rows {
    let mut rows = Rows::default();
    for (arrival, appended) in arrivals.iter().zip(appended) {
        if let Some(kept) = Kept::of(arrival, appended) {
            rows.push(|row| receipt_put(row, &arrival.receipt, &kept));
        }
    }
    rows
}

/// A row of [`RECEIPT_INSERT`].
pub(super) fn receipt_put(row: &mut RowWriter<'_>, receipt: &NewReceipt, kept: &Kept<'_>) {
    row.put(receipt.id.uuid()).put(receipt.source.uuid());
    row.put(receipt.received_at.micros());
    row.put(kept.verdict as i16).put(kept.events);
    row.put(receipt.secret.map(|id| id.uuid()));
    row.put(&*receipt.remote).put(receipt.body_bytes);
    row.put(kept.again.map(|id| id.uuid()));
    row.put(receipt.headers.zstd)
        .put(&receipt.headers.bytes[..]);
    row.put(kept.body.map(|body| body.zstd));
    row.put(kept.body.map(|body| &body.bytes[..]));
}
