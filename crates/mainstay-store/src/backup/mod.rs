//! Backups, plain and whole: one file and a manifest beside it, verified after writing, verified again before use.
//!
//! Rows are counted in the snapshot that is copied, so the manifest can be compared with the copy now, and with the
//! restored database later.

mod file;
mod postgres;
mod sqlite;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use mainstay_domain::{StoreError, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    migrate::{Migrator, Mode, Place, Step},
    setup::{SetupError, SetupResult, file_error},
};

/// Rows by table.
pub type Counts = BTreeMap<String, i64>;

/// How far a backup or restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, where that is known.
    pub total: Option<u64>,
}

/// Hears of progress, some times a second.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// What a backup is: stands beside it as `<file>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The manifest's own version.
    pub format: u32,
    /// `sqlite` or `postgres`.
    pub database: String,
    /// The backup's file name.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// The last migration that the database had.
    pub schema_version: u32,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// Rows by table.
    pub counts: Counts,
}

/// What this program writes and reads.
const FORMAT: u32 = 1;

/// Tables that have rows before anybody has used the database, or because a server has merely been started.
const BOOKKEEPING: [&str; 11] = [
    "audit_head",
    "checkpoint",
    "config_version",
    "lease",
    "object_index",
    "queue",
    "retention",
    "schema_migration",
    "server",
    "tally",
    "vault_state",
];

/// Writes a backup to `target`, which must not exist, and verifies it. The store may be running.
pub async fn backup(
    place: Place<'_>,
    target: &Path,
    now: Timestamp,
    progress: OnProgress,
) -> SetupResult<Manifest> {
    if target.exists() {
        return Err(SetupError::Exists(target.display().to_string()));
    }
    let partial = file::beside(target, ".partial");
    file::remove(&partial)?;
    file::private_make(&partial)?;
    let status = Migrator::embedded().status(place).await?;
    let (database, counts) = match place {
        Place::Sqlite(directory) => {
            let (source, copy) = (directory.database(), partial.clone());
            let copied = blocking(move || sqlite::copy(&source, &copy, &progress)).await?;
            ("sqlite", copied)
        }
        Place::Postgres(url) => ("postgres", postgres::dump(url, &partial, &progress).await?),
    };
    let manifest = Manifest {
        format: FORMAT,
        database: database.to_owned(),
        file: file::name(target),
        bytes: file::size(&partial)?,
        sha256: file::sha256(partial.clone()).await?,
        schema_version: status.applied.last().map_or(0, |last| last.version),
        taken_at: now,
        counts,
    };
    file::write_synced(&manifest_path(target), &json(&manifest)?)?;
    file::rename_synced(&partial, target)?;
    verify(target).await
}

/// Reads a backup from end to end and compares it with its manifest.
pub async fn verify(backup: &Path) -> SetupResult<Manifest> {
    let manifest = manifest_read(backup)?;
    let doubt = |problem: String| SetupError::Backup {
        path: backup.to_owned(),
        problem,
    };
    if manifest.bytes != file::size(backup)? {
        return Err(doubt("its size is not what the manifest says".into()));
    }
    if manifest.sha256 != file::sha256(backup.to_owned()).await? {
        return Err(doubt("its checksum is not what the manifest says".into()));
    }
    match manifest.database.as_str() {
        "sqlite" => {
            let path = backup.to_owned();
            let counts = blocking(move || sqlite::check(&path)).await;
            let counts = counts.map_err(|error| doubt(error.to_string()))?;
            compare(&manifest, &counts).map_err(doubt)?;
        }
        "postgres" => postgres::check(backup).await?,
        other => return Err(doubt(format!("it is of an unknown kind, {other}"))),
    }
    Ok(manifest)
}

/// Restores a verified backup and counts what arrived. Refused when the place holds data, unless `force`: then what it
/// holds is replaced.
pub async fn restore(
    place: Place<'_>,
    backup: &Path,
    force: bool,
    progress: OnProgress,
) -> SetupResult<Manifest> {
    restore_at(Migrator::embedded(), place, backup, force, progress).await
}

/// The same for a program with these migrations.
pub(crate) async fn restore_at(
    migrator: Migrator,
    place: Place<'_>,
    backup: &Path,
    force: bool,
    progress: OnProgress,
) -> SetupResult<Manifest> {
    place.require_alone()?;
    let manifest = verify(backup).await?;
    let wanted = migrator.version();
    if manifest.schema_version > wanted {
        let found = manifest.schema_version;
        return Err(SetupError::Newer { found, wanted });
    }
    if !force && holds_data(place).await? {
        return Err(SetupError::NotEmpty(shown(place)));
    }
    let counts = match (place, manifest.database.as_str()) {
        (Place::Sqlite(directory), "sqlite") => {
            let (source, target) = (backup.to_owned(), directory.database_prepare()?);
            blocking(move || sqlite::put(&source, &target, &progress)).await?
        }
        (Place::Postgres(url), "postgres") => postgres::put(url, backup, &progress).await?,
        (_, other) => {
            return Err(SetupError::Backup {
                path: backup.to_owned(),
                problem: format!("it is one of {other}, which this database is not"),
            });
        }
    };
    compare(&manifest, &counts).map_err(|problem| SetupError::Backup {
        path: backup.to_owned(),
        problem,
    })?;
    Ok(manifest)
}

/// Migrates up; before that, a database that holds data and lacks a migration is backed up into `directory`.
/// Answers the backup, if one was taken, and what was applied.
pub async fn migrate_with_backup(
    place: Place<'_>,
    directory: &Path,
    now: Timestamp,
    progress: OnProgress,
) -> SetupResult<(Option<PathBuf>, Vec<Step>)> {
    migrate_with_backup_at(Migrator::embedded(), place, directory, now, progress).await
}

/// The same for a program with these migrations.
pub(crate) async fn migrate_with_backup_at(
    migrator: Migrator,
    place: Place<'_>,
    directory: &Path,
    now: Timestamp,
    progress: OnProgress,
) -> SetupResult<(Option<PathBuf>, Vec<Step>)> {
    let status = migrator.status(place).await?;
    let mut taken = None;
    if !status.pending.is_empty() && !status.applied.is_empty() && holds_data(place).await? {
        file::directory_make(directory)?;
        let version = status.applied.len();
        let name = format!("before-migration-from-{version}-{}.backup", now.micros());
        let target = directory.join(name);
        backup(place, &target, now, progress).await?;
        taken = Some(target);
    }
    let steps = migrator.up(place, Mode::Apply, now).await?;
    Ok((taken, steps))
}

/// Whether there is anything in it that a person would miss.
pub async fn holds_data(place: Place<'_>) -> SetupResult<bool> {
    let counts = match place {
        Place::Sqlite(directory) => {
            let path = directory.database_prepare()?;
            blocking(move || sqlite::counts_at(&path)).await?
        }
        Place::Postgres(url) => postgres::counts_at(url).await?,
    };
    Ok(counts
        .iter()
        .any(|(table, rows)| *rows > 0 && !BOOKKEEPING.contains(&table.as_str())))
}

fn compare(manifest: &Manifest, counts: &Counts) -> Result<(), String> {
    let tables = manifest.counts.keys().chain(counts.keys());
    for table in tables {
        let (said, found) = (manifest.counts.get(table), counts.get(table));
        if said != found {
            let number = |rows: Option<&i64>| rows.map_or("no table".into(), ToString::to_string);
            return Err(format!(
                "{table}: the manifest says {}, found {}",
                number(said),
                number(found)
            ));
        }
    }
    Ok(())
}

fn shown(place: Place<'_>) -> String {
    match place {
        Place::Sqlite(directory) => directory.path().display().to_string(),
        Place::Postgres(url) => url.to_string(),
    }
}

/// Where a backup's manifest stands.
pub fn manifest_path(backup: &Path) -> PathBuf {
    file::beside(backup, ".json")
}

fn manifest_read(backup: &Path) -> SetupResult<Manifest> {
    let path = manifest_path(backup);
    let text = std::fs::read(&path).map_err(file_error("cannot read the manifest", &path))?;
    let manifest = serde_json::from_slice::<Manifest>(&text);
    match manifest {
        Ok(manifest) if manifest.format == FORMAT => Ok(manifest),
        Ok(_) => Err(SetupError::Backup {
            path: backup.to_owned(),
            problem: "its manifest is of a newer format".into(),
        }),
        Err(error) => Err(SetupError::Backup {
            path: backup.to_owned(),
            problem: format!("its manifest cannot be read: {error}"),
        }),
    }
}

fn json(manifest: &Manifest) -> SetupResult<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(manifest)
        .map_err(|error| StoreError::Bug(format!("a manifest cannot be written: {error}")))?;
    text.push(b'\n');
    Ok(text)
}

/// Runs what waits for the disk away from the runtime's own threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> SetupResult<T> + Send + 'static,
) -> SetupResult<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StoreError::Bug(format!("a thread ended early: {error}")))?
}
