//! The mark that a moved data directory has, and what going back would lose.

use std::path::PathBuf;

use mainstay_domain::{StoreError, StoreResult, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Moved, failed};
use crate::{
    backup::file,
    postgres::{PostgresUrl, connect_plain},
    setup::{SetupError, SetupResult, file_error},
    sqlite::DataDirectory,
};

/// Stands in the data directory.
const FILE: &str = "moved.json";

/// Says that what the directory holds is old.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The database that has it now, without a password.
    pub to: String,
    /// When it was moved.
    pub at: Timestamp,
    /// The rows that were moved.
    pub rows: u64,
    /// The checksum over all of them; see [`Moved::digest`].
    pub digest: String,
}

/// What a database took since a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Since {
    /// Events that were received.
    pub events: i64,
    /// Jobs that were made.
    pub jobs: i64,
    /// Attempts that ended.
    pub attempts: i64,
    /// Dead letters.
    pub dead_letters: i64,
    /// Entries of the audit log: what people and programs changed or looked at.
    pub audit_entries: i64,
}

impl Since {
    /// Whether there is nothing to lose.
    pub fn is_empty(&self) -> bool {
        self.events + self.jobs + self.attempts + self.dead_letters + self.audit_entries == 0
    }
}

/// The directory's mark, where it has one.
pub fn mark(directory: &DataDirectory) -> SetupResult<Option<Mark>> {
    let path = path(directory);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_error("cannot read", &path)(error)),
    };
    let mark = serde_json::from_slice(&text).map_err(|error| {
        StoreError::Corrupt(format!("{} cannot be read: {error}", path.display()))
    })?;
    Ok(Some(mark))
}

/// Takes the mark away. The directory is locked.
pub fn mark_remove(directory: &DataDirectory) -> SetupResult<()> {
    directory.require_lock()?;
    file::remove_synced(&path(directory))
}

/// On the disk when it answers.
pub(super) fn write(
    directory: &DataDirectory,
    to: &PostgresUrl,
    at: Timestamp,
    moved: &Moved,
) -> SetupResult<()> {
    let mark = Mark {
        to: to.to_string(),
        at,
        rows: moved.rows(),
        digest: moved.digest.clone(),
    };
    let mut text = serde_json::to_vec_pretty(&mark)
        .map_err(|error| StoreError::Bug(format!("a mark cannot be written: {error}")))?;
    text.push(b'\n');
    file::write_synced(&path(directory), &text)
}

fn path(directory: &DataDirectory) -> PathBuf {
    directory.path().join(FILE)
}

/// What the database at this address, its owner's, took since a time. Reads whole tables.
pub async fn since(url: &PostgresUrl, at: Timestamp) -> SetupResult<Since> {
    let client = connect_plain(url).await?;
    let seen = client.batch_execute("SET ROLE mainstay_system").await;
    seen.map_err(failed)?;
    let count = async |text: &str| -> StoreResult<i64> {
        let row = client.query_one(text, &[&at.micros()]).await;
        Ok(row.map_err(failed)?.get(0))
    };
    Ok(Since {
        events: count(
            "SELECT (SELECT count(*) FROM event WHERE received_at >= $1)
                + (SELECT count(*) FROM event_waiting WHERE received_at >= $1)",
        )
        .await?,
        jobs: count("SELECT count(*) FROM job WHERE created_at >= $1").await?,
        attempts: count("SELECT count(*) FROM attempt WHERE finished_at >= $1").await?,
        dead_letters: count("SELECT count(*) FROM dead_letter WHERE died_at >= $1").await?,
        audit_entries: count("SELECT count(*) FROM audit WHERE at > $1").await?,
    })
}

impl DataDirectory {
    /// Fails where what it holds was moved away.
    pub(crate) fn require_here(&self) -> SetupResult<()> {
        match mark(self)? {
            None => Ok(()),
            Some(mark) => Err(SetupError::Moved {
                path: self.path().to_owned(),
                to: mark.to,
            }),
        }
    }
}
