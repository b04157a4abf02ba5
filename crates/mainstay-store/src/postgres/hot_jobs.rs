//! The hot path of jobs on PostgreSQL.

use bytes::Bytes;
use futures_util::future::try_join;
use mainstay_domain::{
    EndpointId, EventId, JobId, ReceiptId, StoreError, StoreResult, TenantId, Timestamp,
    intake::Blob,
    jobs::{
        Attempt, AttemptStart, Cursor, Discovery, DueKey, EventBody, JobBody, JobRef, Lane,
        LaneJobs, Loss, NewJob, QueueNumber, Signal, Standing, TallyRecord, line::TURN,
    },
};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{
    conn::PgConn,
    rows::Rows,
    sized::{Sized, sized},
};
use crate::{
    jobs::cursor::{PgCursor, Reached, Window},
    jobs::signal_kind,
    verbs::created,
};

macro_rules! insert {
    () => {
        "INSERT INTO job (tenant_id, id, queue, band, kind, event_id, binding_id, replay_id, endpoint_id, run_at,
            created_at, retry, payload, deadline)
        SELECT * FROM unnest($1::job_deadline_row[])"
    };
}

/// Jobs that cannot be there yet: half again as fast as with a conflict to look for.
pub(super) const JOB_INSERT: &str = insert!();
const JOB_INSERT_UNLESS: &str = concat!(
    insert!(),
    " ON CONFLICT (tenant_id, event_id, binding_id, replay_id) WHERE event_id <> id DO NOTHING"
);

/// The snapshot of now; which cluster counted it; whether rows are from a future that only a restore can bring.
const NOW: &str = "
    SELECT pg_current_snapshot()::text,
        (SELECT system_identifier::text FROM pg_control_system()),
        EXISTS (SELECT 1 FROM job WHERE xid >= pg_snapshot_xmax(pg_current_snapshot()))
        OR EXISTS (SELECT 1 FROM signal WHERE xid >= pg_snapshot_xmax(pg_current_snapshot()))";
/// Rows that were copied from a cluster that had counted further become rows of this transaction.
const JOBS_RESTAMP: &str = "
    UPDATE job SET xid = pg_current_xact_id() WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())";
const SIGNALS_RESTAMP: &str = "
    UPDATE signal SET xid = pg_current_xact_id() WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())";

/// Once after a restore, and only for the counters: whatever was counted was counted by another cluster's numbers.
const STANDING: &str = "
    SELECT j.queue, count(*) FILTER (WHERE a.outcome IS NULL OR a.outcome NOT IN (0, 2, 5, 7)),
        count(*) FILTER (WHERE a.outcome = 2)
    FROM job AS j
    LEFT JOIN LATERAL (
        SELECT l.outcome FROM attempt AS l WHERE l.tenant_id = j.tenant_id AND l.job_id = j.id
        ORDER BY l.attempt DESC LIMIT 1
    ) AS a ON true
    WHERE pg_visible_in_snapshot(j.xid, $1::text::pg_snapshot)
    GROUP BY j.queue ORDER BY j.queue";

/// `$1` is the snapshot of the last look and `$2` that of this one; `$3` and `$4` the last row that was read. Rows of
/// transactions that were under way then come first: their numbers are lower than all others. The others begin at
/// whichever is later, that row or the end of the last look: one bound, since of two the index takes the one that is
/// compared as a row, however far back it lies.
macro_rules! window {
    ($table:literal, $key:literal, $key_type:literal, $nil:literal, $columns:literal) => {
        sized!(
            concat!(
                "WITH b AS MATERIALIZED (
                    SELECT $1::text::pg_snapshot AS seen, $2::text::pg_snapshot AS now
                ), a AS MATERIALIZED (
                    SELECT greatest($3::text::xid8, pg_snapshot_xmax(seen)) AS xid,
                        CASE WHEN $3::text::xid8 < pg_snapshot_xmax(seen) THEN ", $nil, " ELSE $4::", $key_type, " END AS key
                    FROM b
                ), w AS (
                    (SELECT o.* FROM unnest(ARRAY(SELECT pg_snapshot_xip(seen) FROM b)) AS i (xid)
                    CROSS JOIN LATERAL (
                        SELECT r.* FROM ", $table, " AS r
                        WHERE r.xid = i.xid AND (r.xid, r.", $key, ") > ($3::text::xid8, $4::", $key_type, ")
                            AND pg_visible_in_snapshot(r.xid, (SELECT now FROM b))
                        ORDER BY r.xid, r.", $key, " LIMIT "
            ),
            concat!(
                ") AS o ORDER BY o.xid, o.", $key, " LIMIT "
            ),
            concat!(
                ") UNION ALL (
                    SELECT r.* FROM ", $table, " AS r
                    WHERE (r.xid, r.", $key, ") > ((SELECT xid FROM a), (SELECT key FROM a))
                        AND r.xid < (SELECT pg_snapshot_xmax(now) FROM b)
                        AND pg_visible_in_snapshot(r.xid, (SELECT now FROM b))
                    ORDER BY r.xid, r.", $key, " LIMIT "
            ),
            concat!(
                ")) SELECT w.xid::text, w.", $key, ", ", $columns, " FROM w ORDER BY w.xid, w.", $key, " LIMIT "
            ),
            ""
        )
    };
}

static DISCOVER: Sized = window!(
    "job",
    "id",
    "uuid",
    "'00000000-0000-0000-0000-000000000000'::uuid",
    "w.tenant_id, w.queue, w.band, w.run_at, false, w.order_key IS NOT NULL, w.deadline"
);
/// A job that was started and has no outcome is found: its attempt is a dead owner's, and nobody else would load it.
static DISCOVER_RECOVERING: Sized = window!(
    "job",
    "id",
    "uuid",
    "'00000000-0000-0000-0000-000000000000'::uuid",
    "w.tenant_id, w.queue, w.band, w.run_at,
        (SELECT a.attempt FROM attempt AS a WHERE a.tenant_id = w.tenant_id AND a.job_id = w.id LIMIT 1) IS NOT NULL,
        w.order_key IS NOT NULL, w.deadline"
);
static SIGNALS: Sized = window!(
    "signal",
    "seq",
    "bigint",
    "0",
    "w.tenant_id, w.job_id, w.queue, w.kind"
);

/// Without an outcome. One that was started is found too: whoever starts it again learns of it. Looked up one by one:
/// no plan ever reads all attempts to join them.
macro_rules! fresh {
    () => {
        " AND (SELECT a.attempt FROM attempt AS a WHERE a.tenant_id = j.tenant_id AND a.job_id = j.id LIMIT 1) IS NULL"
    };
}

macro_rules! lane {
    ($columns:literal) => {
        sized!(
            concat!(
                "SELECT j.id, j.order_key IS NOT NULL, j.deadline", $columns, " FROM job AS j
                WHERE j.tenant_id = $1 AND j.queue = $2 AND j.band = $3 AND j.run_at IS NULL AND j.id > $4
                    AND j.id <= $9 AND (pg_visible_in_snapshot(j.xid, (SELECT $5::text::pg_snapshot))
                        OR (pg_visible_in_snapshot(j.xid, (SELECT $6::text::pg_snapshot))
                            AND (j.xid, j.id) <= ($7::text::xid8, $8)))",
                fresh!(),
                " ORDER BY j.id LIMIT "
            ),
            ""
        )
    };
}

static LANE: Sized = lane!("");
/// The row is read in any case: a small body comes along for a tenth of what it costs to find it again.
static LANE_BODIES: Sized = lane!(
    ", CASE WHEN j.event_id IS NULL AND coalesce(octet_length(j.payload), 0) <= 512 THEN j.kind END,
        j.endpoint_id, CASE WHEN octet_length(j.payload) <= 512 THEN j.payload END, j.retry, j.created_at"
);
macro_rules! delayed {
    ($after:literal, $order:literal) => {
        sized!(
            concat!(
                "SELECT j.tenant_id, j.id, j.queue, j.band, j.run_at, 0, 0, j.order_key IS NOT NULL, j.deadline FROM job AS j
                WHERE j.queue = $1 AND j.run_at IS NOT NULL AND ", $after, " AND j.run_at <= $9
                    AND (pg_visible_in_snapshot(j.xid, (SELECT $5::text::pg_snapshot))
                        OR (pg_visible_in_snapshot(j.xid, (SELECT $6::text::pg_snapshot))
                            AND (j.xid, j.id) <= ($7::text::xid8, $8)))",
                fresh!(),
                " ORDER BY ", $order, " LIMIT "
            ),
            ""
        )
    };
}

macro_rules! retries {
    ($after:literal, $order:literal) => {
        sized!(
            concat!(
                "SELECT a.tenant_id, a.job_id, a.queue, j.band, a.next_at, a.attempt, a.tries, j.order_key IS NOT NULL,
                    j.deadline, a.code
                FROM attempt AS a
                LEFT JOIN LATERAL (
                    SELECT job.band, job.order_key, job.deadline FROM job WHERE job.tenant_id = a.tenant_id AND job.id = a.job_id LIMIT 1
                ) AS j ON true
                WHERE a.queue = $1 AND a.next_at IS NOT NULL AND ", $after, " AND a.next_at <= $5
                    AND (SELECT l.attempt FROM attempt AS l WHERE l.tenant_id = a.tenant_id AND l.job_id = a.job_id
                        AND l.attempt > a.attempt LIMIT 1) IS NULL
                ORDER BY ", $order, " LIMIT "
            ),
            ""
        )
    };
}

static DELAYED: Sized = delayed!(
    "(j.run_at, j.tenant_id, j.id) > ($2, $3, $4)",
    "j.run_at, j.tenant_id, j.id"
);
static DELAYED_OF: Sized = delayed!(
    "j.tenant_id = $3 AND (j.run_at, j.id) > ($2, $4)",
    "j.run_at, j.id"
);
static RETRIES: Sized = retries!(
    "(a.next_at, a.tenant_id, a.job_id) > ($2, $3, $4)",
    "a.next_at, a.tenant_id, a.job_id"
);
static RETRIES_OF: Sized = retries!(
    "a.tenant_id = $3 AND (a.next_at, a.job_id) > ($2, $4)",
    "a.next_at, a.job_id"
);

const BODIES: &str = "
    SELECT j.tenant_id, j.id, j.kind, j.endpoint_id, j.payload, j.retry, j.created_at, e.id, e.provider_id, e.kind,
        (SELECT s.name FROM source AS s WHERE s.number = e.source_number),
        e.received_at, e.occurred_at, e.payload_zstd, e.payload,
        CASE WHEN $3 THEN coalesce(e.headers_zstd, r.headers_zstd) END,
        CASE WHEN $3 THEN coalesce(e.headers, r.headers) END, coalesce(e.receipt_id, e.id), j.deadline
    FROM unnest($1::uuid[], $2::uuid[]) AS k (tenant_id, id)
    CROSS JOIN LATERAL (SELECT * FROM job WHERE job.tenant_id = k.tenant_id AND job.id = k.id LIMIT 1) AS j
    LEFT JOIN LATERAL (
        SELECT * FROM event WHERE event.tenant_id = j.tenant_id AND event.id = j.event_id LIMIT 1
    ) AS e ON true
    LEFT JOIN LATERAL (
        SELECT * FROM receipt
        WHERE receipt.id = CASE WHEN $3 AND e.headers IS NULL THEN coalesce(e.receipt_id, e.id) END LIMIT 1
    ) AS r ON true";
const START: &str = "
    INSERT INTO attempt_start (tenant_id, job_id, attempt, queue, tries, at, lease_ms)
    SELECT n.* FROM unnest($1::attempt_start_lease_row[]) AS n
    WHERE (SELECT a.attempt FROM attempt AS a WHERE a.tenant_id = n.tenant_id AND a.job_id = n.job_id
        AND a.attempt >= n.attempt LIMIT 1) IS NULL
    ON CONFLICT (tenant_id, job_id, attempt) DO NOTHING
    RETURNING tenant_id, job_id, attempt";
/// Nothing but the fence looks for conflicts: whoever comes second fails.
const SETTLE: &str = "
    INSERT INTO attempt (tenant_id, job_id, attempt, tries, queue, outcome, started_at, finished_at, next_at, category,
        code, error, status, exchange, by_whom)
    SELECT * FROM unnest($1::attempt_row[])";
const TALLY: &str = "INSERT INTO tally (sequence, body) VALUES ($1, $2)";

/// Every text of this file.
#[cfg(test)]
pub(crate) fn texts() -> Vec<&'static str> {
    let sized = [
        &DISCOVER,
        &DISCOVER_RECOVERING,
        &SIGNALS,
        &LANE,
        &LANE_BODIES,
        &DELAYED,
        &DELAYED_OF,
        &RETRIES,
        &RETRIES_OF,
    ];
    let sized = sized
        .into_iter()
        .flat_map(|sized| sized.0)
        .map(|(_, text)| text);
    let plain = [
        JOB_INSERT,
        JOB_INSERT_UNLESS,
        NOW,
        JOBS_RESTAMP,
        SIGNALS_RESTAMP,
        STANDING,
        BODIES,
        START,
        SETTLE,
        TALLY,
    ];
    plain.into_iter().chain(sized).collect()
}

pub(super) fn job_rows<'a>(jobs: impl Iterator<Item = &'a NewJob>) -> Rows {
    let mut rows = Rows::default();
    for job in jobs {
        rows.push(|row| {
            row.put(job.tenant.uuid()).put(job.id.uuid());
            row.put(job.queue).put(job.band).put(&*job.kind);
            row.put(job.event.map(|id| id.uuid()));
            row.put(job.binding.map_or(Uuid::nil(), |id| id.uuid()));
            row.put(job.replay.map_or(Uuid::nil(), |id| id.uuid()));
            row.put(job.endpoint.map(|id| id.uuid()));
            row.put(job.run_at.map(Timestamp::micros));
            row.put(job.created_at.micros());
            row.put(job.retry.as_deref()).put(job.payload.as_deref());
            row.put(job.deadline.map(Timestamp::micros));
        });
    }
    rows
}

impl PgConn<'_> {
    pub(crate) async fn job_insert(&self, jobs: &[NewJob]) -> StoreResult<i64> {
        let unique = job_rows(jobs.iter().filter(|job| job.event.is_some()));
        let plain = job_rows(jobs.iter().filter(|job| job.event.is_none()));
        let (unique, plain) = try_join(
            self.rows_insert(JOB_INSERT_UNLESS, &unique, &[]),
            self.rows_insert(JOB_INSERT, &plain, &[]),
        )
        .await?;
        Ok(unique + plain)
    }

    /// Inserts rows, the statement's first parameter; answers how many there are now that were not there before.
    pub(super) async fn rows_insert(
        &self,
        text: &'static str,
        rows: &Rows,
        more: &[&(dyn ToSql + Sync)],
    ) -> StoreResult<i64> {
        if rows.is_empty() {
            return Ok(0);
        }
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![rows];
        params.extend_from_slice(more);
        Ok(self.run(text, &params).await? as i64)
    }

    pub(crate) async fn job_discover(
        &self,
        cursor: &Cursor,
        recovering: bool,
        limit: i64,
    ) -> StoreResult<Discovery> {
        let before = cursor;
        let (_, mut cursor) = try_join(self.in_order_of_indexes(), self.window(before)).await?;
        let Some(mut window) = cursor.window.take() else {
            let restored = cursor == PgCursor::foreign();
            return Ok(Discovery {
                more: restored,
                again: restored,
                cursor: cursor.write(),
                ..Discovery::default()
            });
        };
        let begins = PgCursor::read(before).is_none_or(|before| before.window.is_none());
        let standing = match window.recovering && begins {
            true => Some(self.standing(&window.end).await?),
            false => None,
        };
        let again = window.recovering;
        let text = if recovering || window.recovering {
            &DISCOVER_RECOVERING
        } else {
            &DISCOVER
        };
        let (jobs_text, jobs_max) = text.of(limit);
        let (signals_text, signals_max) = SIGNALS.of(limit);
        for text in [jobs_text, signals_text] {
            self.prepare(text).await?;
        }
        let (mut jobs, mut signals) = try_join(
            self.window_rows(jobs_text, &cursor.seen, &window.end, &window.jobs),
            self.window_rows(signals_text, &cursor.seen, &window.end, &window.signals),
        )
        .await?;
        jobs.truncate(jobs_max);
        let last = jobs.iter().map(|row| row.get(1)).max();
        cursor.last = cursor.last.max(last.unwrap_or_default());
        signals.truncate(signals_max);
        window.jobs = reached(&jobs, jobs_max, window.jobs);
        window.signals = reached(&signals, signals_max, window.signals);
        let more = window.jobs != Reached::End || window.signals != Reached::End;
        match more {
            true => cursor.window = Some(window),
            false => cursor.seen = window.end,
        }
        let queues = jobs.iter().map(|row| row.get::<_, i32>(3));
        Ok(Discovery {
            created: match again {
                true => Vec::new(),
                false => created(queues),
            },
            again,
            standing,
            jobs: jobs
                .iter()
                .filter(|row| !row.get::<_, bool>(6))
                .map(discovered)
                .filter(|job| job.due != Some(TURN))
                .collect(),
            signals: signals.iter().map(signal).collect(),
            cursor: cursor.write(),
            more,
        })
    }

    /// The window to go on with: the one that is being read, else the one from the last look to now. None when nothing
    /// was committed since.
    async fn window(&self, cursor: &Cursor) -> StoreResult<PgCursor> {
        let now = self.now().await?;
        if now.restored {
            self.restamp().await?;
            return Ok(PgCursor::foreign());
        }
        // A cursor of another database or cluster, or from a future of this one: everything is looked at again.
        let known = PgCursor::read(cursor).filter(|known| {
            cursor.0.is_empty()
                || (known.cluster == now.cluster && xmax(known.latest()) <= xmax(&now.snapshot))
        });
        if let Some(known) = known.as_ref().filter(|known| known.window.is_some()) {
            return Ok(known.clone());
        }
        let recovering = known.is_none();
        let PgCursor { seen, last, .. } = known.unwrap_or_else(PgCursor::foreign);
        let window = (seen != now.snapshot).then(|| Window {
            end: now.snapshot,
            jobs: Reached::begin(Uuid::nil()),
            signals: Reached::begin(0),
            recovering,
        });
        Ok(PgCursor {
            cluster: now.cluster,
            seen,
            last,
            window,
        })
    }

    async fn now(&self) -> StoreResult<Now> {
        let rows = self.rows(NOW, &[]).await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Bug("no snapshot".into()))?;
        Ok(Now {
            snapshot: row.get(0),
            cluster: row.get(1),
            restored: row.get(2),
        })
    }

    /// After a restore into a cluster that had counted less far. Needs a transaction that writes. The rows can be seen
    /// when it has committed: the next look finds them.
    async fn restamp(&self) -> StoreResult<()> {
        self.run(JOBS_RESTAMP, &[]).await?;
        self.run(SIGNALS_RESTAMP, &[]).await?;
        tracing::warn!("jobs that were restored from another cluster are discovered again");
        Ok(())
    }

    async fn standing(&self, end: &str) -> StoreResult<Vec<Standing>> {
        let rows = self.rows(STANDING, &[&end]).await?;
        let standing = rows.iter().map(|row| Standing {
            queue: row.get(0),
            unfinished: row.get(1),
            dead: row.get(2),
        });
        Ok(standing.collect())
    }

    async fn window_rows<K>(
        &self,
        text: &'static str,
        seen: &str,
        end: &str,
        after: &Reached<K>,
    ) -> StoreResult<Vec<Row>>
    where
        K: ToSql + Sync,
    {
        match after {
            Reached::Row(xid, key) => self.rows(text, &[&seen, &end, xid, key]).await,
            Reached::End => Ok(Vec::new()),
        }
    }

    pub(crate) async fn lane_refill(
        &self,
        lane: Lane,
        after: JobId,
        seen: &Cursor,
        limit: i64,
        bodies: bool,
    ) -> StoreResult<LaneJobs> {
        let Some(cursor) = PgCursor::read(seen) else {
            return Ok(LaneJobs::default());
        };
        let (all, some, xid, id) = cursor.covers();
        let text = if bodies { &LANE_BODIES } else { &LANE };
        let (text, most) = text.of(limit);
        let (tenant, after) = (lane.tenant.uuid(), after.uuid());
        let rows = self
            .rows(
                text,
                &[
                    &tenant,
                    &lane.queue,
                    &lane.band,
                    &after,
                    &all,
                    &some,
                    &xid,
                    &id,
                    &cursor.last,
                ],
            )
            .await?;
        let rows = &rows[..most.min(rows.len())];
        let with_body = rows.iter().filter(|_| bodies);
        Ok(LaneJobs {
            jobs: rows.iter().map(|row| lane_job(lane, row)).collect(),
            bodies: with_body
                .filter_map(|row| small_body(lane.tenant, row))
                .collect(),
        })
    }

    pub(crate) async fn delayed_refill(
        &self,
        queue: QueueNumber,
        of: Option<TenantId>,
        after: DueKey,
        until: Timestamp,
        seen: &Cursor,
        limit: i64,
    ) -> StoreResult<Vec<JobRef>> {
        let Some(cursor) = PgCursor::read(seen) else {
            return Ok(Vec::new());
        };
        let (all, some, xid, id) = cursor.covers();
        let (text, most) = of.map_or(&DELAYED, |_| &DELAYED_OF).of(limit);
        let tenant = of.unwrap_or(after.tenant).uuid();
        let (due, job) = (after.due.micros(), after.job.uuid());
        let rows = self
            .rows(
                text,
                &[
                    &queue,
                    &due,
                    &tenant,
                    &job,
                    &all,
                    &some,
                    &xid,
                    &id,
                    &until.micros(),
                ],
            )
            .await?;
        Ok(rows.iter().take(most).filter_map(job_ref).collect())
    }

    pub(crate) async fn retry_refill(
        &self,
        queue: QueueNumber,
        of: Option<TenantId>,
        after: DueKey,
        until: Timestamp,
        limit: i64,
    ) -> StoreResult<Vec<JobRef>> {
        let (text, most) = of.map_or(&RETRIES, |_| &RETRIES_OF).of(limit);
        let tenant = of.unwrap_or(after.tenant).uuid();
        let (due, job) = (after.due.micros(), after.job.uuid());
        let rows = self
            .rows(text, &[&queue, &due, &tenant, &job, &until.micros()])
            .await?;
        Ok(rows.iter().take(most).filter_map(retry_ref).collect())
    }

    pub(crate) async fn job_bodies(
        &self,
        jobs: &[(TenantId, JobId)],
        headers: bool,
    ) -> StoreResult<Vec<JobBody>> {
        let (tenants, ids): (Vec<Uuid>, Vec<Uuid>) = jobs
            .iter()
            .map(|(tenant, job)| (tenant.uuid(), job.uuid()))
            .unzip();
        let rows = self.rows(BODIES, &[&tenants, &ids, &headers]).await?;
        Ok(rows.iter().map(body).collect())
    }

    pub(crate) async fn attempt_start(&self, starts: &[AttemptStart]) -> StoreResult<Vec<bool>> {
        let mut rows = Rows::default();
        for start in starts {
            rows.push(|row| {
                row.put(start.tenant.uuid()).put(start.job.uuid());
                row.put(start.attempt).put(start.queue).put(start.tries);
                row.put(start.at.micros()).put(start.lease_ms);
            });
        }
        let rows = self.rows(START, &[&rows]).await?;
        let mut started: std::collections::HashSet<(Uuid, Uuid, i32)> = rows
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect();
        // Taken out, so that a start that was given twice goes on once.
        let go_on = |start: &AttemptStart| {
            started.remove(&(start.tenant.uuid(), start.job.uuid(), start.attempt))
        };
        Ok(starts.iter().map(go_on).collect())
    }

    pub(crate) async fn attempt_settle(
        &self,
        attempts: &[Attempt],
        tally: Option<&TallyRecord>,
    ) -> StoreResult<()> {
        try_join(self.attempts_insert(attempts), self.tally_insert(tally))
            .await
            .map(|_| ())
    }

    async fn tally_insert(&self, tally: Option<&TallyRecord>) -> StoreResult<()> {
        let Some(tally) = tally else { return Ok(()) };
        self.run(TALLY, &[&tally.sequence, &tally.body])
            .await
            .map(|_| ())
    }

    async fn attempts_insert(&self, attempts: &[Attempt]) -> StoreResult<()> {
        let mut rows = Rows::default();
        for one in attempts {
            rows.push(|row| {
                row.put(one.tenant.uuid()).put(one.job.uuid());
                row.put(one.attempt).put(one.tries).put(one.queue);
                row.put(one.outcome as i16).put(one.started_at.micros());
                row.put(one.finished_at.micros());
                row.put(one.next_at.map(Timestamp::micros));
                row.put(one.category.map(|category| category as i16));
                row.put(one.code.as_deref()).put(one.error.as_deref());
                row.put(one.status).put(one.exchange.as_deref());
                row.put(one.by.as_deref());
            });
        }
        self.rows_insert(SETTLE, &rows, &[]).await.map(|_| ())
    }
}

struct Now {
    snapshot: String,
    cluster: String,
    restored: bool,
}

/// The second number of `xmin:xmax:xip,…`.
fn xmax(snapshot: &str) -> u64 {
    snapshot
        .split(':')
        .nth(1)
        .and_then(|number| number.parse().ok())
        .unwrap_or(u64::MAX)
}

/// How far a window has been read after these rows. Fewer than were asked for are the last.
fn reached<K>(rows: &[Row], asked: usize, before: Reached<K>) -> Reached<K>
where
    K: for<'r> tokio_postgres::types::FromSql<'r>,
{
    match (before, rows.last()) {
        (Reached::Row(..), Some(last)) if rows.len() == asked => {
            Reached::Row(last.get(0), last.get(1))
        }
        (before, None) if asked == 0 => before,
        _ => Reached::End,
    }
}

fn discovered(row: &Row) -> JobRef {
    JobRef {
        tenant: TenantId::from_uuid(row.get(2)),
        job: JobId::from_uuid(row.get(1)),
        queue: row.get(3),
        band: row.get(4),
        due: row.get::<_, Option<i64>>(5).map(Timestamp::from_micros),
        deadline: row.get::<_, Option<i64>>(8).map(Timestamp::from_micros),
        attempt: 0,
        tries: 0,
        loss: Loss::None,
        ordered: row.get(7),
    }
}

fn signal(row: &Row) -> Signal {
    Signal {
        tenant: TenantId::from_uuid(row.get(2)),
        job: JobId::from_uuid(row.get(3)),
        queue: row.get(4),
        kind: signal_kind(row.get::<_, i16>(5).into()),
    }
}

fn lane_job(lane: Lane, row: &Row) -> JobRef {
    JobRef {
        tenant: lane.tenant,
        job: JobId::from_uuid(row.get(0)),
        queue: lane.queue,
        band: lane.band,
        due: None,
        deadline: row.get::<_, Option<i64>>(2).map(Timestamp::from_micros),
        attempt: 0,
        tries: 0,
        loss: Loss::None,
        ordered: row.get(1),
    }
}

/// `None` for one that is to be read when it is needed.
fn small_body(tenant: TenantId, row: &Row) -> Option<JobBody> {
    Some(JobBody {
        tenant,
        job: JobId::from_uuid(row.get(0)),
        kind: row.get::<_, Option<String>>(3)?,
        event: None,
        endpoint: row.get::<_, Option<Uuid>>(4).map(EndpointId::from_uuid),
        payload: bytes(row, 5),
        retry: row.get(6),
        deadline: row.get::<_, Option<i64>>(2).map(Timestamp::from_micros),
        created_at: Timestamp::from_micros(row.get(7)),
    })
}

/// `None` for a job that is gone.
fn job_ref(row: &Row) -> Option<JobRef> {
    Some(JobRef {
        tenant: TenantId::from_uuid(row.get(0)),
        job: JobId::from_uuid(row.get(1)),
        queue: row.get(2),
        band: row.get::<_, Option<i16>>(3)?,
        due: row.get::<_, Option<i64>>(4).map(Timestamp::from_micros),
        deadline: row.get::<_, Option<i64>>(8).map(Timestamp::from_micros),
        attempt: row.get(5),
        tries: row.get(6),
        loss: Loss::None,
        ordered: row.get(7),
    })
}

/// The same with the code of the last attempt.
fn retry_ref(row: &Row) -> Option<JobRef> {
    Some(JobRef {
        loss: Loss::of(row.get(9)),
        ..job_ref(row)?
    })
}

fn bytes(row: &Row, column: usize) -> Option<Bytes> {
    row.get::<_, Option<&[u8]>>(column)
        .map(Bytes::copy_from_slice)
}

fn body(row: &Row) -> JobBody {
    JobBody {
        tenant: TenantId::from_uuid(row.get(0)),
        job: JobId::from_uuid(row.get(1)),
        kind: row.get(2),
        endpoint: row.get::<_, Option<Uuid>>(3).map(EndpointId::from_uuid),
        payload: bytes(row, 4),
        retry: row.get(5),
        deadline: row.get::<_, Option<i64>>(18).map(Timestamp::from_micros),
        created_at: Timestamp::from_micros(row.get(6)),
        event: row
            .get::<_, Option<Uuid>>(7)
            .map(|id| event_body(row, EventId::from_uuid(id))),
    }
}

fn event_body(row: &Row, id: EventId) -> EventBody {
    let blob = |first| {
        Some(Blob {
            zstd: row.get::<_, Option<bool>>(first)?,
            bytes: bytes(row, first + 1)?,
        })
    };
    EventBody {
        id,
        provider_id: row.get(8),
        kind: row.get(9),
        source_name: row.get::<_, Option<String>>(10).unwrap_or_default(),
        received_at: Timestamp::from_micros(row.get(11)),
        occurred_at: row.get::<_, Option<i64>>(12).map(Timestamp::from_micros),
        payload: blob(13).unwrap_or(Blob {
            zstd: false,
            bytes: Bytes::new(),
        }),
        receipt: row
            .get::<_, Option<Uuid>>(17)
            .map_or(ReceiptId::NIL, ReceiptId::from_uuid),
        headers: blob(15),
    }
}
