//! The short way into PostgreSQL: requests with one event each that was never seen before, a whole transaction in one
//! round trip.
//!
//! One statement inserts the keys and, for those that nobody had, everything else. Which were new is known when it is
//! committed already: each request is whole by itself, and one whose key was taken has left nothing. It takes the long
//! way, [`PgConn::event_append`], like requests with several events or keys.

use std::collections::HashSet;

use deadpool_postgres::ClientWrapper;
use futures_util::future::join3;
use mainstay_domain::{
    EventId, StoreResult,
    intake::{Appended, Arrival, NewEvent},
};

use tokio_postgres::types::ToSql;

use super::{
    conn::PgConn,
    hot_intake::{dedup_put, event_put, receipt_put},
    hot_jobs::job_rows,
    rows::Rows,
};
use crate::intake::kept::Kept;

/// Nothing at all when the configuration has changed. The tests of membership are no joins, so that no plan compares
/// every row with every other.
macro_rules! append {
    ($receipts:literal) => {
        concat!(
            "
    WITH d AS (
        INSERT INTO dedup (source_number, key, event_id, body_hash, main_key, deliveries)
        SELECT n.*, 1 FROM unnest($1::dedup_key_row[]) AS n
        WHERE (SELECT version FROM config_version WHERE id = 1) = $4
        ON CONFLICT (source_number, key) DO NOTHING
        RETURNING event_id
    ), e AS (
        INSERT INTO event (tenant_id, id, source_number, dedup_key, provider_id, kind, received_at, occurred_at,
            receipt_id, payload_bytes, payload_zstd, payload, secret_id, remote, headers_zstd, headers)
        SELECT n.* FROM unnest($2::event_small_row[]) AS n
        WHERE (n.id IN (SELECT event_id FROM d)) IS TRUE
        RETURNING coalesce(receipt_id, id) AS receipt_id
    ), ",
            $receipts,
            "j AS (
        INSERT INTO job (tenant_id, id, queue, band, kind, event_id, binding_id, replay_id, endpoint_id, run_at,
            created_at, retry, payload, deadline)
        SELECT n.* FROM unnest($3::job_deadline_row[]) AS n
        WHERE (n.event_id IN (SELECT event_id FROM d)) IS TRUE
    )
    SELECT event_id FROM d"
        )
    };
}
const APPEND: &str = append!("");
/// With rows for those requests that are not within their event's.
const APPEND_RECEIPTS: &str = append!(
    "r AS (
        INSERT INTO receipt (id, source_id, received_at, verdict, events, secret_id, remote, body_bytes, event_id,
            headers_zstd, headers, body_zstd, body)
        SELECT n.* FROM unnest($5::receipt_row[]) AS n
        WHERE (n.id IN (SELECT receipt_id FROM e)) IS TRUE
    ), "
);

/// Begins, and holds up changes of the configuration until the end: the lock of [`super::hot_intake`].
const BEGIN: &str = "BEGIN; SELECT pg_advisory_xact_lock_shared(7236276601850232673)";

/// Every text of this file.
#[cfg(test)]
pub(crate) const TEXTS: &[&str] = &[APPEND, APPEND_RECEIPTS];

/// What a row takes beside its bytes, about.
const ROW_ROOM: usize = 384;

/// Rows of requests that may take the short way.
#[derive(Default)]
struct Short<'a> {
    events: Vec<(&'a Arrival, &'a NewEvent, &'a [u8; 16])>,
}

impl<'a> Short<'a> {
    /// Of requests with the same key the first, and none that has its key in common with a request that takes the long
    /// way: that may be the first of them. In the order of keys, so that appends of the same keys wait for each other
    /// and never in a circle.
    fn of(arrivals: &'a [Arrival]) -> Self {
        let mut events = Vec::with_capacity(arrivals.len());
        let mut long = HashSet::new();
        for arrival in arrivals {
            match alone(arrival) {
                Some((event, key)) => events.push((arrival, event, key)),
                None => long.extend(arrival.events.iter().flat_map(keys)),
            }
        }
        events.retain(|(_, event, key)| !long.contains(&(event.source_number, *key)));
        events.sort_by_key(|(_, event, key)| (event.source_number, *key));
        events.dedup_by_key(|(_, event, key)| (event.source_number, *key));
        Self { events }
    }

    fn dedups(&self) -> Rows {
        let mut rows = Rows::default();
        for (_, event, key) in &self.events {
            rows.push(|row| dedup_put(row, event, key, None));
        }
        rows
    }

    fn events(&self) -> Rows {
        let bytes = self.events.iter().map(|(arrival, event, _)| {
            event.payload.bytes.len() + arrival.receipt.headers.bytes.len() + ROW_ROOM
        });
        let mut rows = Rows::with_room(bytes.sum());
        for (arrival, event, key) in &self.events {
            rows.push(|row| event_put(row, event, arrival, key));
        }
        rows
    }

    fn receipts(&self) -> Rows {
        let mut rows = Rows::default();
        for (arrival, event, _) in &self.events {
            if let Some(kept) = Kept::of(arrival, &[Appended::New(event.id)]) {
                rows.push(|row| receipt_put(row, &arrival.receipt, &kept));
            }
        }
        rows
    }
}

/// The request's only event with its only key, if its tenant is known, nothing has to be said of it and its jobs keep
/// no order.
fn alone(arrival: &Arrival) -> Option<(&NewEvent, &[u8; 16])> {
    match &arrival.events[..] {
        [event] if event.waits_for.is_empty() && event.check.violation().is_none() => {
            match &event.dedup_keys[..] {
                [key] if event.jobs.iter().all(|job| job.order.is_none()) => Some((event, key)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn keys(event: &NewEvent) -> impl Iterator<Item = (i32, &[u8; 16])> {
    let keys = event.dedup_keys.iter();
    keys.map(|key| (event.source_number, key))
}

/// Commits what may take the short way and is new; answers which events those are. After an error none of them is
/// there, unless the connection is broken: then nobody knows.
pub(super) async fn append_new(
    client: &ClientWrapper,
    conn: &PgConn<'_>,
    config_version: i64,
    arrivals: &[Arrival],
) -> StoreResult<HashSet<EventId>> {
    let short = Short::of(arrivals);
    if short.events.is_empty() {
        return Ok(HashSet::new());
    }
    let (dedups, events, receipts) = (short.dedups(), short.events(), short.receipts());
    let jobs = job_rows(short.events.iter().flat_map(|(_, event, _)| &event.jobs));
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![&dedups, &events, &jobs, &config_version];
    let append = match receipts.is_empty() {
        true => APPEND,
        false => {
            params.push(&receipts);
            APPEND_RECEIPTS
        }
    };
    // Once prepared, they are sent in the order in which they stand below.
    conn.prepare(append).await?;
    let (begun, new, committed) = join3(
        client.batch_execute(BEGIN),
        conn.rows(append, &params),
        // After a statement that failed it rolls back and says nothing: the answers before it are looked at first.
        client.batch_execute("COMMIT"),
    )
    .await;
    begun.map_err(|error| conn.error(&error))?;
    let new = new?;
    committed.map_err(|error| conn.error(&error))?;
    Ok(new
        .iter()
        .map(|row| EventId::from_uuid(row.get(0)))
        .collect())
}
