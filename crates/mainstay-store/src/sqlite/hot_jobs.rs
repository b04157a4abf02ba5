//! The hot path of jobs on SQLite.

use bytes::Bytes;
use mainstay_domain::{
    EndpointId, EventId, JobId, ReceiptId, StoreError, StoreResult, TenantId, Timestamp,
    intake::Blob,
    jobs::{
        Attempt, AttemptStart, Cursor, Discovery, DueKey, EventBody, JobBody, JobRef, Lane,
        LaneJobs, Loss, NewJob, QueueNumber, Signal, TallyRecord, line::TURN,
    },
};
use rusqlite::{CachedStatement, OptionalExtension, Params, Row, params};
use uuid::Uuid;

use super::{conn::SqliteConn, error::map_error};
use crate::{
    jobs::cursor::SqliteCursor,
    jobs::signal_kind,
    verbs::{bounded, created},
};

const JOB_INSERT: &str = "
    INSERT INTO job (tenant_id, id, queue, band, kind, event_id, binding_id, replay_id, endpoint_id, run_at,
        created_at, retry, payload, deadline)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
    ON CONFLICT (tenant_id, event_id, binding_id, replay_id) WHERE event_id <> id DO NOTHING";

const DISCOVER: &str = "
    SELECT seq, tenant_id, id, queue, band, run_at, order_key IS NOT NULL, deadline FROM job WHERE seq > ?1 ORDER BY seq LIMIT ?2";
/// A job that was started and has no outcome is found: its attempt is a dead owner's, and nobody else would load it.
const DISCOVER_RECOVERING: &str = "
    SELECT j.seq, j.tenant_id, j.id, j.queue, j.band, j.run_at, j.order_key IS NOT NULL, j.deadline,
        EXISTS (SELECT 1 FROM attempt AS a WHERE a.tenant_id = j.tenant_id AND a.job_id = j.id)
    FROM job AS j WHERE j.seq > ?1 ORDER BY j.seq LIMIT ?2";
const SIGNALS: &str = "
    SELECT seq, tenant_id, job_id, queue, kind FROM signal WHERE seq > ?1 ORDER BY seq LIMIT ?2";

/// Without an outcome. One that was started is found too: whoever starts it again learns of it.
macro_rules! fresh {
    () => {
        "AND NOT EXISTS (SELECT 1 FROM attempt AS a WHERE a.tenant_id = j.tenant_id AND a.job_id = j.id)"
    };
}

const LANE: &str = concat!(
    "SELECT j.tenant_id, j.id, j.queue, j.band, j.run_at, 0, 0, j.order_key IS NOT NULL, j.deadline FROM job AS j
    WHERE j.tenant_id = ?1 AND j.queue = ?2 AND j.band = ?3 AND j.run_at IS NULL AND j.id > ?4 AND j.seq <= ?5 ",
    fresh!(),
    " ORDER BY j.id LIMIT ?6"
);
const DELAYED: &str = concat!(
    "SELECT j.tenant_id, j.id, j.queue, j.band, j.run_at, 0, 0, j.order_key IS NOT NULL, j.deadline FROM job AS j
    WHERE j.queue = ?1 AND j.run_at IS NOT NULL AND (j.run_at, j.tenant_id, j.id) > (?2, ?3, ?4) AND j.run_at <= ?5
        AND j.seq <= ?6 ",
    fresh!(),
    " ORDER BY j.run_at, j.tenant_id, j.id LIMIT ?7"
);
const DELAYED_OF: &str = concat!(
    "SELECT j.tenant_id, j.id, j.queue, j.band, j.run_at, 0, 0, j.order_key IS NOT NULL, j.deadline FROM job AS j
    WHERE j.queue = ?1 AND j.run_at IS NOT NULL AND j.tenant_id = ?3 AND (j.run_at, j.id) > (?2, ?4) AND j.run_at <= ?5
        AND j.seq <= ?6 ",
    fresh!(),
    " ORDER BY j.run_at, j.id LIMIT ?7"
);

macro_rules! retries {
    ($after:literal, $order:literal) => {
        concat!(
            "SELECT a.tenant_id, a.job_id, a.queue, j.band, a.next_at, a.attempt, a.tries, j.order_key IS NOT NULL,
                j.deadline, a.code FROM attempt AS a
            CROSS JOIN job AS j ON j.tenant_id = a.tenant_id AND j.id = a.job_id
            WHERE a.queue = ?1 AND a.next_at IS NOT NULL AND ", $after, " AND a.next_at <= ?5
                AND NOT EXISTS (SELECT 1 FROM attempt AS l
                    WHERE l.tenant_id = a.tenant_id AND l.job_id = a.job_id AND l.attempt > a.attempt)
            ORDER BY ", $order, " LIMIT ?6"
        )
    };
}

const RETRIES: &str = retries!(
    "(a.next_at, a.tenant_id, a.job_id) > (?2, ?3, ?4)",
    "a.next_at, a.tenant_id, a.job_id"
);
const RETRIES_OF: &str = retries!(
    "a.tenant_id = ?3 AND (a.next_at, a.job_id) > (?2, ?4)",
    "a.next_at, a.job_id"
);

const BODY: &str = "
    SELECT j.kind, j.endpoint_id, j.payload, j.retry, j.created_at, e.id, e.provider_id, e.kind, s.name,
        e.received_at, e.occurred_at, e.payload_zstd, e.payload,
        CASE WHEN ?3 THEN coalesce(e.headers_zstd, r.headers_zstd) END,
        CASE WHEN ?3 THEN coalesce(e.headers, r.headers) END, coalesce(e.receipt_id, e.id), j.deadline
    FROM job AS j
    LEFT JOIN event AS e ON e.tenant_id = j.tenant_id AND e.id = j.event_id
    LEFT JOIN receipt AS r ON r.id = CASE WHEN ?3 AND e.headers IS NULL THEN coalesce(e.receipt_id, e.id) END
    LEFT JOIN source AS s ON s.number = e.source_number
    WHERE j.tenant_id = ?1 AND j.id = ?2";
const START: &str = "
    INSERT INTO attempt_start (tenant_id, job_id, attempt, queue, tries, at, lease_ms)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
    WHERE NOT EXISTS (SELECT 1 FROM attempt AS a WHERE a.tenant_id = ?1 AND a.job_id = ?2 AND a.attempt >= ?3)
    ON CONFLICT (tenant_id, job_id, attempt) DO NOTHING";
const SETTLE: &str = "
    INSERT INTO attempt (tenant_id, job_id, attempt, tries, queue, outcome, started_at, finished_at, next_at,
        category, code, error, status, exchange, by_whom)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
const TALLY: &str = "INSERT INTO tally (sequence, body) VALUES (?1, ?2)";

/// Every text of this file.
#[cfg(test)]
pub(crate) const TEXTS: &[&str] = &[
    JOB_INSERT,
    DISCOVER,
    DISCOVER_RECOVERING,
    SIGNALS,
    LANE,
    DELAYED,
    DELAYED_OF,
    RETRIES,
    RETRIES_OF,
    BODY,
    START,
    SETTLE,
    TALLY,
];

/// Inserts jobs one after the other.
pub(super) struct JobInsert<'c>(CachedStatement<'c>);

impl<'c> JobInsert<'c> {
    pub(super) fn prepare(conn: &'c SqliteConn<'_>) -> StoreResult<Self> {
        conn.prepare_cached(JOB_INSERT).map(Self)
    }

    /// Whether it was not there.
    pub(super) fn insert(&mut self, job: &NewJob) -> StoreResult<bool> {
        let inserted = self.0.execute(params![
            &job.tenant.uuid().as_bytes()[..],
            &job.id.uuid().as_bytes()[..],
            job.queue,
            job.band,
            job.kind,
            job.event.map(|id| *id.uuid().as_bytes()),
            &job.binding.map_or(Uuid::nil(), |id| id.uuid()).as_bytes()[..],
            &job.replay.map_or(Uuid::nil(), |id| id.uuid()).as_bytes()[..],
            job.endpoint.map(|id| *id.uuid().as_bytes()),
            job.run_at.map(Timestamp::micros),
            job.created_at.micros(),
            job.retry,
            job.payload.as_deref(),
            job.deadline.map(Timestamp::micros),
        ]);
        Ok(inserted.map_err(map_error)? == 1)
    }
}

impl SqliteConn<'_> {
    pub(crate) fn job_insert(&self, jobs: &[NewJob]) -> StoreResult<i64> {
        let mut insert = JobInsert::prepare(self)?;
        let mut inserted = 0;
        for job in jobs {
            inserted += i64::from(insert.insert(job)?);
        }
        Ok(inserted)
    }

    pub(crate) fn job_discover(
        &self,
        cursor: &Cursor,
        recovering: bool,
        limit: i64,
    ) -> StoreResult<Discovery> {
        let limit = bounded(limit);
        let known = SqliteCursor::read(cursor);
        // A cursor of another database: everything is looked at again.
        let recovering = recovering || known.is_none();
        let mut known = known.unwrap_or_default();
        let text = if recovering {
            DISCOVER_RECOVERING
        } else {
            DISCOVER
        };
        let found = self.read(text, params![known.job, limit], |row| {
            let tried = recovering && row.get(8)?;
            let job = JobRef {
                tenant: tenant(row, 1)?,
                job: job(row, 2)?,
                queue: row.get(3)?,
                band: row.get(4)?,
                due: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
                deadline: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_micros),
                attempt: 0,
                tries: 0,
                loss: Loss::None,
                ordered: row.get(6)?,
            };
            Ok((row.get::<_, i64>(0)?, tried, job))
        })?;
        let signals = self.read(SIGNALS, params![known.signal, limit], |row| {
            let signal = Signal {
                tenant: tenant(row, 1)?,
                job: job(row, 2)?,
                queue: row.get(3)?,
                kind: signal_kind(row.get(4)?),
            };
            Ok((row.get::<_, i64>(0)?, signal))
        })?;
        known.job = found.last().map_or(known.job, |(seq, ..)| *seq);
        known.signal = signals.last().map_or(known.signal, |(seq, _)| *seq);
        let more = found.len() as i64 == limit || signals.len() as i64 == limit;
        Ok(Discovery {
            created: created(found.iter().map(|(_, _, job)| job.queue)),
            jobs: found
                .into_iter()
                .filter(|(_, tried, job)| !tried && job.due != Some(TURN))
                .map(|(_, _, job)| job)
                .collect(),
            signals: signals.into_iter().map(|(_, signal)| signal).collect(),
            cursor: known.write(),
            more,
            // Rows keep their numbers in a backup, so a cursor means the same after a restore.
            ..Discovery::default()
        })
    }

    pub(crate) fn lane_refill(
        &self,
        lane: Lane,
        after: JobId,
        seen: &Cursor,
        limit: i64,
    ) -> StoreResult<LaneJobs> {
        let seen = SqliteCursor::read(seen).unwrap_or_default().job;
        let (tenant, after) = (lane.tenant.uuid(), after.uuid());
        let params = params![
            &tenant.as_bytes()[..],
            lane.queue,
            lane.band,
            &after.as_bytes()[..],
            seen,
            bounded(limit)
        ];
        Ok(LaneJobs {
            jobs: self.read(LANE, params, job_ref)?,
            bodies: Vec::new(),
        })
    }

    pub(crate) fn delayed_refill(
        &self,
        queue: QueueNumber,
        of: Option<TenantId>,
        after: DueKey,
        until: Timestamp,
        seen: &Cursor,
        limit: i64,
    ) -> StoreResult<Vec<JobRef>> {
        let seen = SqliteCursor::read(seen).unwrap_or_default().job;
        let text = of.map_or(DELAYED, |_| DELAYED_OF);
        let (tenant, job) = (of.unwrap_or(after.tenant).uuid(), after.job.uuid());
        let params = params![
            queue,
            after.due.micros(),
            &tenant.as_bytes()[..],
            &job.as_bytes()[..],
            until.micros(),
            seen,
            bounded(limit)
        ];
        self.read(text, params, job_ref)
    }

    pub(crate) fn retry_refill(
        &self,
        queue: QueueNumber,
        of: Option<TenantId>,
        after: DueKey,
        until: Timestamp,
        limit: i64,
    ) -> StoreResult<Vec<JobRef>> {
        let text = of.map_or(RETRIES, |_| RETRIES_OF);
        let (tenant, job) = (of.unwrap_or(after.tenant).uuid(), after.job.uuid());
        let params = params![
            queue,
            after.due.micros(),
            &tenant.as_bytes()[..],
            &job.as_bytes()[..],
            until.micros(),
            bounded(limit)
        ];
        self.read(text, params, |row| {
            Ok(JobRef {
                loss: Loss::of(row.get_ref(9)?.as_str_or_null()?),
                ..job_ref(row)?
            })
        })
    }

    pub(crate) fn job_bodies(
        &self,
        jobs: &[(TenantId, JobId)],
        headers: bool,
    ) -> StoreResult<Vec<JobBody>> {
        let mut statement = self.prepare_cached(BODY)?;
        let mut bodies = Vec::with_capacity(jobs.len());
        for (tenant, job) in jobs {
            let (tenant_id, job_id) = (tenant.uuid(), job.uuid());
            let key = params![&tenant_id.as_bytes()[..], &job_id.as_bytes()[..], headers];
            let body = statement
                .query_row(key, |row| body(row, *tenant, *job))
                .optional();
            bodies.extend(body.map_err(map_error)?);
        }
        Ok(bodies)
    }

    pub(crate) fn attempt_start(&self, starts: &[AttemptStart]) -> StoreResult<Vec<bool>> {
        let mut statement = self.prepare_cached(START)?;
        let mut go_on = Vec::with_capacity(starts.len());
        for start in starts {
            let inserted = statement.execute(params![
                &start.tenant.uuid().as_bytes()[..],
                &start.job.uuid().as_bytes()[..],
                start.attempt,
                start.queue,
                start.tries,
                start.at.micros(),
                start.lease_ms,
            ]);
            go_on.push(inserted.map_err(map_error)? == 1);
        }
        Ok(go_on)
    }

    pub(crate) fn attempt_settle(
        &self,
        attempts: &[Attempt],
        tally: Option<&TallyRecord>,
    ) -> StoreResult<()> {
        let mut statement = self.prepare_cached(SETTLE)?;
        for attempt in attempts {
            let inserted = statement.execute(params![
                &attempt.tenant.uuid().as_bytes()[..],
                &attempt.job.uuid().as_bytes()[..],
                attempt.attempt,
                attempt.tries,
                attempt.queue,
                attempt.outcome as i64,
                attempt.started_at.micros(),
                attempt.finished_at.micros(),
                attempt.next_at.map(Timestamp::micros),
                attempt.category.map(|category| category as i64),
                attempt.code,
                attempt.error,
                attempt.status,
                attempt.exchange,
                attempt.by,
            ]);
            inserted.map_err(map_error)?;
        }
        if let Some(tally) = tally {
            let mut insert = self.prepare_cached(TALLY)?;
            insert
                .execute(params![tally.sequence, tally.body])
                .map_err(map_error)?;
        }
        Ok(())
    }

    fn read<T>(
        &self,
        text: &'static str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> StoreResult<Vec<T>> {
        let mut statement = self.prepare_cached(text)?;
        let rows = statement
            .query_map(params, read)
            .and_then(Iterator::collect);
        rows.map_err(|error| match map_error(error) {
            StoreError::Bug(text) => StoreError::Corrupt(text),
            other => other,
        })
    }
}

fn tenant(row: &Row<'_>, column: usize) -> rusqlite::Result<TenantId> {
    row.get(column)
        .map(|bytes| TenantId::from_uuid(Uuid::from_bytes(bytes)))
}

fn job(row: &Row<'_>, column: usize) -> rusqlite::Result<JobId> {
    row.get(column)
        .map(|bytes| JobId::from_uuid(Uuid::from_bytes(bytes)))
}

fn job_ref(row: &Row<'_>) -> rusqlite::Result<JobRef> {
    Ok(JobRef {
        tenant: tenant(row, 0)?,
        job: job(row, 1)?,
        queue: row.get(2)?,
        band: row.get(3)?,
        due: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_micros),
        deadline: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_micros),
        attempt: row.get(5)?,
        tries: row.get(6)?,
        loss: Loss::None,
        ordered: row.get(7)?,
    })
}

fn body(row: &Row<'_>, tenant: TenantId, job: JobId) -> rusqlite::Result<JobBody> {
    let event = row.get::<_, Option<[u8; 16]>>(5)?;
    Ok(JobBody {
        tenant,
        job,
        kind: row.get(0)?,
        endpoint: row
            .get::<_, Option<[u8; 16]>>(1)?
            .map(|id| EndpointId::from_uuid(Uuid::from_bytes(id))),
        payload: row.get::<_, Option<Vec<u8>>>(2)?.map(Bytes::from),
        retry: row.get(3)?,
        deadline: row.get::<_, Option<i64>>(16)?.map(Timestamp::from_micros),
        created_at: Timestamp::from_micros(row.get(4)?),
        event: event
            .map(|id| event_body(row, EventId::from_uuid(Uuid::from_bytes(id))))
            .transpose()?,
    })
}

fn event_body(row: &Row<'_>, id: EventId) -> rusqlite::Result<EventBody> {
    let headers = match row.get::<_, Option<bool>>(13)? {
        Some(zstd) => Some(Blob {
            zstd,
            bytes: row.get::<_, Vec<u8>>(14)?.into(),
        }),
        None => None,
    };
    Ok(EventBody {
        id,
        provider_id: row.get(6)?,
        kind: row.get(7)?,
        source_name: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
        received_at: Timestamp::from_micros(row.get(9)?),
        occurred_at: row.get::<_, Option<i64>>(10)?.map(Timestamp::from_micros),
        payload: Blob {
            zstd: row.get(11)?,
            bytes: row.get::<_, Vec<u8>>(12)?.into(),
        },
        receipt: ReceiptId::from_uuid(Uuid::from_bytes(row.get(15)?)),
        headers,
    })
}
