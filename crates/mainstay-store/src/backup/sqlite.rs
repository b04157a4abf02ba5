//! Backups of SQLite through its own online backup.

use std::path::Path;

use mainstay_domain::{StoreError, StoreResult};
use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};

use super::{Counts, OnProgress, Progress, file};
use crate::{
    setup::SetupResult,
    sqlite::{database_remove, map_error, open_reader},
};

/// Pages copied between two reports.
const PAGES: i32 = 512;
const CACHE_KIB: u32 = 8 * 1_024;

/// Copies the database as it is now; answers the rows that the copied snapshot has.
///
/// The snapshot is held by an open transaction: without one, every commit would make the copy start over.
pub(super) fn copy(source: &Path, target: &Path, progress: &OnProgress) -> SetupResult<Counts> {
    let from = open_reader(source, CACHE_KIB)?;
    batch(&from, "BEGIN")?;
    let counts = counts(&from)?;
    pages_copy(&from, target, progress)?;
    batch(&from, "ROLLBACK")?;
    single_file(target)?;
    Ok(counts)
}

fn pages_copy(from: &Connection, target: &Path, progress: &OnProgress) -> StoreResult<()> {
    let size: i64 = from
        .query_row("PRAGMA page_size", [], |row| row.get(0))
        .map_err(map_error)?;
    let bytes = |pages: i32| u64::try_from(i64::from(pages) * size).unwrap_or(0);
    let mut to = open_plain(target)?;
    let backup = Backup::new(from, &mut to).map_err(map_error)?;
    loop {
        let step = backup.step(PAGES).map_err(map_error)?;
        let at = backup.progress();
        progress(Progress {
            done: bytes(at.pagecount - at.remaining),
            total: Some(bytes(at.pagecount)),
        });
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            // Nobody else knows the file that is written, and readers are never locked out of the other.
            _ => return Err(StoreError::Unavailable("the copy is locked".into())),
        }
    }
}

/// The copy has inherited the write-ahead log; a backup is one file.
fn single_file(path: &Path) -> StoreResult<()> {
    let connection = open_plain(path)?;
    batch(
        &connection,
        "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL",
    )
}

/// Whether the file is a whole database; answers its rows. Changes nothing.
pub(super) fn check(path: &Path) -> SetupResult<Counts> {
    let connection = open_reader(path, CACHE_KIB)?;
    let found: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(map_error)?;
    if found != "ok" {
        return Err(StoreError::Corrupt(found).into());
    }
    let dangling = connection
        .prepare("PRAGMA foreign_key_check")
        .and_then(|mut check| check.exists([]))
        .map_err(map_error)?;
    if dangling {
        return Err(StoreError::Corrupt("a row refers to one that is not there".into()).into());
    }
    Ok(counts(&connection)?)
}

/// Replaces the database at `target` with the backup; answers the rows that it has now.
pub(super) fn put(source: &Path, target: &Path, progress: &OnProgress) -> SetupResult<Counts> {
    let partial = file::beside(target, ".restoring");
    file::remove(&partial)?;
    file::private_make(&partial)?;
    let from = open_reader(source, CACHE_KIB)?;
    pages_copy(&from, &partial, progress)?;
    let counts = check(&partial)?;
    database_remove(target)?;
    file::rename_synced(&partial, target)?;
    Ok(counts)
}

/// The rows of the database at this path.
pub(super) fn counts_at(path: &Path) -> SetupResult<Counts> {
    Ok(counts(&open_reader(path, CACHE_KIB)?)?)
}

fn counts(connection: &Connection) -> StoreResult<Counts> {
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let mut statement = connection.prepare(tables).map_err(map_error)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0));
    let names: Vec<String> = names.and_then(Iterator::collect).map_err(map_error)?;
    let mut counts = Counts::new();
    for name in names {
        let count = format!("SELECT count(*) FROM \"{}\"", name.replace('"', "\"\""));
        let rows = connection.query_row(&count, [], |row| row.get(0));
        counts.insert(name, rows.map_err(map_error)?);
    }
    Ok(counts)
}

fn open_plain(path: &Path) -> StoreResult<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(map_error)
}

fn batch(connection: &Connection, text: &str) -> StoreResult<()> {
    connection.execute_batch(text).map_err(map_error)
}
