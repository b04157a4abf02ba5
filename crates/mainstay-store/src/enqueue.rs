//! Submitting jobs inside a transaction of the team's own, on both databases (TXN-01): the job is there when that
//! transaction commits, and not when it does not. No second system is asked, so nothing can be forgotten between the two.
//!
//! The server finds such a job by the order of commits, however long the transaction was open. It looks at least once a
//! second; on PostgreSQL a `NOTIFY mainstay_wake` after the commit makes it look at once. It must be a statement of its own:
//! inside transactions notifications make all commits of a database wait for each other.
//!
//! The payload stands in the database as it was given, also where encryption at rest is on: this side has no keys.

use std::str::FromStr;

use mainstay_domain::{JobId, Random, Timestamp, id::IdError};
use rusqlite::{OptionalExtension, params};
use tokio_postgres::GenericClient;

/// The drivers whose transactions are taken: the versions must be these.
pub use {rusqlite, tokio_postgres};

/// The most bytes of a payload.
const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// The band that submitted jobs wait in.
const BAND: i16 = 1;

/// A job to submit.
#[derive(Debug, Clone, Copy)]
pub struct Enqueue<'a> {
    /// Where it waits; a queue that there is.
    pub queue: &'a str,
    /// What is to be done.
    pub kind: &'a str,
    /// Handed to the handler: JSON.
    pub payload: Option<&'a str>,
    /// Whose it is, by slug; `None`: the tenant `default`.
    pub tenant: Option<&'a str>,
    /// Not before; `None`: at once.
    pub run_at: Option<Timestamp>,
}

/// Why a job was not submitted. On PostgreSQL the transaction is then aborted, as after every error.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// The job cannot be like this.
    #[error("{0}")]
    Refused(String),
    /// SQLite said no.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL said no; a job that cannot be like this as well.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    /// The function answered with something else than an id.
    #[error(transparent)]
    Id(#[from] IdError),
}

const POSTGRES: &str = "
    SELECT mainstay.enqueue(queue => $1, kind => $2, payload => $3::text::jsonb, tenant => coalesce($4, 'default'),
        run_at => to_timestamp($5::bigint::numeric / 1000000))";

const TENANT: &str = "SELECT id FROM tenant WHERE slug = ?1";
const QUEUE: &str = "SELECT number FROM queue WHERE name = ?1";
const INSERT: &str = "
    INSERT INTO job (tenant_id, id, queue, band, kind, binding_id, replay_id, run_at, created_at, payload)
    VALUES (?1, ?2, ?3, ?4, ?5, zeroblob(16), zeroblob(16), ?6, ?7, ?8)";

/// Every text of this file that SQLite reads.
#[cfg(test)]
pub(crate) const TEXTS: &[&str] = &[TENANT, QUEUE, INSERT];

/// Submits a job in a transaction on PostgreSQL. The user needs `EXECUTE` on the function `mainstay.enqueue`.
pub async fn postgres(
    transaction: &impl GenericClient,
    job: &Enqueue<'_>,
) -> Result<JobId, EnqueueError> {
    let run_at = job.run_at.map(Timestamp::micros);
    let row = transaction
        .query_one(
            POSTGRES,
            &[&job.queue, &job.kind, &job.payload, &job.tenant, &run_at],
        )
        .await?;
    Ok(JobId::from_str(row.get(0))?)
}

/// Submits a job in a transaction on SQLite, in the database of the same process: `now` and `random` make its id.
///
/// # Errors
///
/// Refused where there is no such queue or tenant, or where kind or payload cannot be; then nothing was written.
pub fn sqlite(
    transaction: &rusqlite::Transaction<'_>,
    job: &Enqueue<'_>,
    now: Timestamp,
    random: &dyn Random,
) -> Result<JobId, EnqueueError> {
    check(job)?;
    let slug = job.tenant.unwrap_or("default");
    let tenant = one::<Vec<u8>>(transaction, TENANT, slug)?;
    let tenant = tenant.ok_or_else(|| refused(format!("there is no tenant {slug:?}")))?;
    let queue = one::<i32>(transaction, QUEUE, job.queue)?;
    let queue = queue.ok_or_else(|| refused(format!("there is no queue {:?}", job.queue)))?;
    let id = JobId::new(now, random);
    transaction.prepare_cached(INSERT)?.execute(params![
        tenant,
        &id.uuid().as_bytes()[..],
        queue,
        BAND,
        job.kind,
        job.run_at.map(Timestamp::micros),
        now.micros(),
        job.payload.map(str::as_bytes),
    ])?;
    Ok(id)
}

fn one<T: rusqlite::types::FromSql>(
    transaction: &rusqlite::Transaction<'_>,
    text: &str,
    name: &str,
) -> rusqlite::Result<Option<T>> {
    let mut statement = transaction.prepare_cached(text)?;
    statement.query_row([name], |row| row.get(0)).optional()
}

/// What the function on PostgreSQL checks itself.
fn check(job: &Enqueue<'_>) -> Result<(), EnqueueError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let kind = job.kind.as_bytes();
    let named = kind.first().is_some_and(|first| plain(*first))
        && kind.len() <= 100
        && kind
            .iter()
            .all(|byte| plain(*byte) || b"_.-".contains(byte));
    if !named {
        return Err(refused(
            "the kind of a job has 1 to 100 small letters, digits, dots, dashes and underscores",
        ));
    }
    let Some(payload) = job.payload else {
        return Ok(());
    };
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(refused(format!(
            "the payload of a job has at most {PAYLOAD_BYTES_MAX} bytes"
        )));
    }
    let read: Result<serde::de::IgnoredAny, _> = serde_json::from_str(payload);
    read.map(|_| ())
        .map_err(|error| refused(format!("the payload of a job is JSON: {error}")))
}

fn refused(why: impl Into<String>) -> EnqueueError {
    EnqueueError::Refused(why.into())
}
