//! Appending events on SQLite: the one writer decides row by row, with statements that stay prepared.

use std::collections::HashSet;

use mainstay_domain::{
    EventId, ReceiptId, StoreError, StoreResult,
    intake::{Appended, Arrival, NewEvent, NewReceipt, schemas::Violation},
};
use rusqlite::{CachedStatement, OptionalExtension, params};
use uuid::Uuid;

use super::{conn::SqliteConn, error::map_error, hot_jobs::JobInsert};
use crate::intake::{
    kept::{Kept, key_apart, receipt_apart, within_event},
    schemas::problems_json,
};

const CONFIG_VERSION: &str = "SELECT version FROM config_version WHERE id = 1";
const DEDUP_GET: &str =
    "SELECT event_id, body_hash, main_key FROM dedup WHERE source_number = ?1 AND key = ?2";
const DEDUP_INSERT: &str = "
    INSERT INTO dedup (source_number, key, event_id, body_hash, deliveries, main_key)
    VALUES (?1, ?2, ?3, ?4, 1, ?5) ON CONFLICT (source_number, key) DO NOTHING";
const DEDUP_AGAIN: &str =
    "UPDATE dedup SET deliveries = deliveries + 1 WHERE source_number = ?1 AND key = ?2";
const EVENT_INSERT: &str = "
    INSERT INTO event (tenant_id, id, source_number, dedup_key, provider_id, kind, received_at, occurred_at,
        receipt_id, payload_bytes, payload_zstd, payload, secret_id, remote, headers_zstd, headers)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
const WAITING_INSERT: &str = "
    INSERT INTO event_waiting (id, source_id, source_number, dedup_key, provider_id, kind, received_at, occurred_at,
        receipt_id, payload_bytes, payload_zstd, payload)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
const WAITING_VALUE_INSERT: &str =
    "INSERT INTO event_waiting_value (source_id, value, event_id, place) VALUES (?1, ?2, ?3, ?4)";
const VIOLATION_INSERT: &str = "
    INSERT INTO event_violation (tenant_id, event_id, schema_id, version, problems) VALUES (?1, ?2, ?3, ?4, ?5)";
const RECEIPT_INSERT: &str = "
    INSERT INTO receipt (id, source_id, received_at, verdict, events, refusal, secret_id, remote, body_bytes,
        event_id, headers_zstd, headers, body_zstd, body)
    VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

/// Every text of this file.
#[cfg(test)]
pub(crate) const TEXTS: &[&str] = &[
    CONFIG_VERSION,
    DEDUP_GET,
    DEDUP_INSERT,
    DEDUP_AGAIN,
    EVENT_INSERT,
    WAITING_INSERT,
    WAITING_VALUE_INSERT,
    VIOLATION_INSERT,
    RECEIPT_INSERT,
];

impl SqliteConn<'_> {
    /// What became of each event, and which of those whose jobs keep an order are made now.
    pub(crate) fn event_append(
        &self,
        config_version: i64,
        arrivals: &[Arrival],
    ) -> StoreResult<(Vec<Vec<Appended>>, HashSet<EventId>)> {
        let current: i64 = self
            .prepare_cached(CONFIG_VERSION)?
            .query_row([], |row| row.get(0))
            .map_err(map_error)?;
        if current != config_version {
            return Err(StoreError::ConfigChanged);
        }
        let mut append = Append::prepare(self)?;
        let appended: StoreResult<_> = arrivals
            .iter()
            .map(|arrival| append.arrival(arrival))
            .collect();
        Ok((appended?, append.made))
    }
}

struct Append<'c> {
    /// For what is rare: events whose tenant is not known yet, or that violate their schema.
    conn: &'c SqliteConn<'c>,
    dedup_get: CachedStatement<'c>,
    dedup_insert: CachedStatement<'c>,
    dedup_again: CachedStatement<'c>,
    event: CachedStatement<'c>,
    receipt: CachedStatement<'c>,
    job: JobInsert<'c>,
    /// The events whose jobs keep an order, and that were not there.
    made: HashSet<EventId>,
}

/// A deduplication record that was there.
struct Known {
    event: EventId,
    body_hash: [u8; 8],
    /// The record that counts.
    main: [u8; 16],
}

impl<'c> Append<'c> {
    fn prepare(conn: &'c SqliteConn<'_>) -> StoreResult<Self> {
        Ok(Self {
            conn,
            dedup_get: conn.prepare_cached(DEDUP_GET)?,
            dedup_insert: conn.prepare_cached(DEDUP_INSERT)?,
            dedup_again: conn.prepare_cached(DEDUP_AGAIN)?,
            event: conn.prepare_cached(EVENT_INSERT)?,
            receipt: conn.prepare_cached(RECEIPT_INSERT)?,
            job: JobInsert::prepare(conn)?,
            made: HashSet::new(),
        })
    }

    fn arrival(&mut self, arrival: &Arrival) -> StoreResult<Vec<Appended>> {
        let appended = arrival
            .events
            .iter()
            .map(|event| self.appended(event, arrival));
        let appended: Vec<Appended> = appended.collect::<StoreResult<_>>()?;
        self.receipt(arrival, &appended)?;
        Ok(appended)
    }

    fn appended(&mut self, event: &NewEvent, arrival: &Arrival) -> StoreResult<Appended> {
        let Some(known) = self.known(event)? else {
            match event.waits_for.is_empty() {
                true => self.event(event, arrival)?,
                false => self.waiting(event, &arrival.receipt)?,
            }
            // Those that keep an order are inserted with their lines.
            for job in &event.jobs {
                match job.order {
                    None => self.job.insert(job).map(drop)?,
                    Some(_) => drop(self.made.insert(event.id)),
                }
            }
            if let Some(violation) = event.check.violation() {
                self.violation(event, violation)?;
            }
            return Ok(Appended::New(event.id));
        };
        // The same request once more, whose answer was lost: all of it is there.
        if known.event == event.id {
            return Ok(Appended::New(event.id));
        }
        let again = params![event.source_number, &known.main[..]];
        self.dedup_again.execute(again).map_err(map_error)?;
        Ok(match known.body_hash == event.body_hash {
            true => Appended::Duplicate(known.event),
            false => Appended::Conflict(known.event),
        })
    }

    /// The event that any of the keys leads to. Keys that were not known lead to it from now on: to this event if
    /// none was.
    fn known(&mut self, event: &NewEvent) -> StoreResult<Option<Known>> {
        let main = *event
            .dedup_keys
            .first()
            .ok_or_else(|| StoreError::Bug("an event without a key".into()))?;
        let own = Known {
            event: event.id,
            body_hash: event.body_hash,
            main,
        };
        if event.dedup_keys.len() == 1 {
            return match self.remember(event, &main, &own)? {
                true => Ok(None),
                false => self.get(event.source_number, &main),
            };
        }
        let mut known = None;
        for key in &event.dedup_keys {
            if known.is_none() {
                known = self.get(event.source_number, key)?;
            }
        }
        for key in &event.dedup_keys {
            self.remember(event, key, known.as_ref().unwrap_or(&own))?;
        }
        Ok(known)
    }

    fn get(&mut self, source: i32, key: &[u8; 16]) -> StoreResult<Option<Known>> {
        let known = self.dedup_get.query_row(params![source, &key[..]], |row| {
            Ok(Known {
                event: EventId::from_uuid(Uuid::from_bytes(row.get(0)?)),
                body_hash: row.get(1)?,
                main: row.get::<_, Option<[u8; 16]>>(2)?.unwrap_or(*key),
            })
        });
        known.optional().map_err(map_error)
    }

    /// Whether the key was not known.
    fn remember(&mut self, event: &NewEvent, key: &[u8; 16], as_of: &Known) -> StoreResult<bool> {
        let main = (*key != as_of.main).then_some(&as_of.main[..]);
        let inserted = self.dedup_insert.execute(params![
            event.source_number,
            &key[..],
            &as_of.event.uuid().as_bytes()[..],
            &as_of.body_hash[..],
            main,
        ]);
        Ok(inserted.map_err(map_error)? == 1)
    }

    fn event(&mut self, event: &NewEvent, arrival: &Arrival) -> StoreResult<()> {
        let (receipt, within) = (&arrival.receipt, within_event(arrival));
        let main = event.dedup_keys[0];
        let inserted = self.event.execute(params![
            &event.tenant.uuid().as_bytes()[..],
            &event.id.uuid().as_bytes()[..],
            event.source_number,
            key_apart(event, &main),
            event.provider_id,
            event.kind,
            receipt.received_at.micros(),
            event.occurred_at.map(mainstay_domain::Timestamp::micros),
            receipt_apart(event, receipt).map(id),
            event.payload_bytes,
            event.payload.zstd,
            &event.payload.bytes[..],
            within.and_then(|request| Some(*request.secret?.uuid().as_bytes())),
            within.map(|request| &*request.remote),
            within.map(|request| request.headers.zstd),
            within.map(|request| &request.headers.bytes[..]),
        ]);
        inserted.map(|_| ()).map_err(map_error)
    }

    fn waiting(&self, event: &NewEvent, receipt: &NewReceipt) -> StoreResult<()> {
        let (event_id, source) = (event.id.uuid(), event.source.uuid());
        let inserted = self.conn.prepare_cached(WAITING_INSERT)?.execute(params![
            &event_id.as_bytes()[..],
            &source.as_bytes()[..],
            event.source_number,
            &event.dedup_keys[0][..],
            event.provider_id,
            event.kind,
            receipt.received_at.micros(),
            event.occurred_at.map(mainstay_domain::Timestamp::micros),
            id(receipt.id).as_slice(),
            event.payload_bytes,
            event.payload.zstd,
            &event.payload.bytes[..],
        ]);
        inserted.map_err(map_error)?;
        let mut value = self.conn.prepare_cached(WAITING_VALUE_INSERT)?;
        for (place, text) in (1_i64..).zip(&event.waits_for) {
            let params = params![
                &source.as_bytes()[..],
                text,
                &event_id.as_bytes()[..],
                place
            ];
            value.execute(params).map_err(map_error)?;
        }
        Ok(())
    }

    fn violation(&self, event: &NewEvent, violation: &Violation) -> StoreResult<()> {
        let inserted = self.conn.prepare_cached(VIOLATION_INSERT)?.execute(params![
            &event.tenant.uuid().as_bytes()[..],
            &event.id.uuid().as_bytes()[..],
            &violation.schema.uuid().as_bytes()[..],
            violation.version,
            problems_json(violation)?,
        ]);
        inserted.map(|_| ()).map_err(map_error)
    }

    fn receipt(&mut self, arrival: &Arrival, appended: &[Appended]) -> StoreResult<()> {
        let receipt = &arrival.receipt;
        let Some(Kept {
            verdict,
            events,
            again,
            body,
        }) = Kept::of(arrival, appended)
        else {
            return Ok(());
        };
        let inserted = self.receipt.execute(params![
            id(receipt.id).as_slice(),
            &receipt.source.uuid().as_bytes()[..],
            receipt.received_at.micros(),
            verdict as i64,
            events,
            receipt.secret.map(|secret| *secret.uuid().as_bytes()),
            receipt.remote,
            receipt.body_bytes,
            again.map(|event| *event.uuid().as_bytes()),
            receipt.headers.zstd,
            &receipt.headers.bytes[..],
            body.map(|body| body.zstd),
            body.map(|body| &body.bytes[..]),
        ]);
        inserted.map(|_| ()).map_err(map_error)
    }
}

fn id(receipt: ReceiptId) -> [u8; 16] {
    *receipt.uuid().as_bytes()
}
