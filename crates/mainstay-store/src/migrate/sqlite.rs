//! Running migrations on SQLite.

use mainstay_domain::{StoreError, StoreResult, Timestamp};
use rusqlite::Connection;

use super::{Applied, Direction, Migration, Mode, Run, Script, Step, step};
use crate::{
    setup::{SetupError, SetupResult},
    sqlite::{DataDirectory, map_error, open_writer},
};

const CACHE_KIB: u32 = 16 * 1_024;

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS schema_migration (
        version INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        checksum TEXT NOT NULL,
        applied_at INTEGER NOT NULL
    ) STRICT";

/// What the database in this directory has.
pub(super) fn applied(directory: &DataDirectory) -> SetupResult<Vec<Applied>> {
    applied_on(&open(directory)?)
}

pub(super) fn applied_on(connection: &Connection) -> SetupResult<Vec<Applied>> {
    Ok(read(connection)?)
}

fn open(directory: &DataDirectory) -> SetupResult<Connection> {
    Ok(open_writer(&directory.database_prepare()?, CACHE_KIB)?)
}

fn read(connection: &Connection) -> StoreResult<Vec<Applied>> {
    if !connection
        .table_exists(None, "schema_migration")
        .map_err(map_error)?
    {
        return Ok(Vec::new());
    }
    let mut statement = connection
        .prepare(
            "SELECT version, name, checksum, applied_at FROM schema_migration ORDER BY version",
        )
        .map_err(map_error)?;
    let rows = statement.query_map([], |row| {
        Ok(Applied {
            version: row.get(0)?,
            name: row.get(1)?,
            checksum: row.get(2)?,
            applied_at: Timestamp::from_micros(row.get(3)?),
        })
    });
    rows.and_then(Iterator::collect).map_err(map_error)
}

/// Runs migrations one by one until the goal is reached, or all of them in one transaction that is rolled back.
pub(super) fn run(directory: &DataDirectory, run: Run) -> SetupResult<Vec<Step>> {
    let connection = open(directory)?;
    // Tables are sometimes rebuilt; each migration is checked as a whole before it commits.
    batch(&connection, "PRAGMA foreign_keys = OFF")?;
    let mut steps = Vec::new();
    loop {
        if run.mode == Mode::Apply || steps.is_empty() {
            batch(&connection, "BEGIN EXCLUSIVE")?;
        }
        let next = next(&connection, run);
        match next {
            Ok(Some(migration)) => steps.push(step(migration)),
            other => {
                // Some failures have rolled back already.
                if !connection.is_autocommit() {
                    batch(&connection, "ROLLBACK")?;
                }
                return other.map(|_| steps);
            }
        }
        if run.mode == Mode::Apply {
            batch(&connection, "COMMIT")?;
        }
    }
}

fn next(connection: &Connection, run: Run) -> SetupResult<Option<&'static Migration>> {
    batch(connection, TABLE)?;
    let Some(migration) = run.next(&read(connection)?, script)? else {
        return Ok(None);
    };
    let done = one(connection, run, migration);
    done.map_err(|source| SetupError::Migration {
        version: migration.version,
        name: migration.name.to_owned(),
        source,
    })?;
    Ok(Some(migration))
}

fn script(migration: &Migration) -> Script {
    migration.sqlite
}

fn one(connection: &Connection, run: Run, migration: &Migration) -> StoreResult<()> {
    let script = migration.sqlite;
    match run.direction {
        Direction::Up => {
            batch(connection, script.up)?;
            let mark = "INSERT INTO schema_migration (version, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)";
            let row = (
                migration.version,
                migration.name,
                script.checksum(),
                run.now.micros(),
            );
            connection.execute(mark, row).map_err(map_error)?;
        }
        Direction::Down => {
            batch(connection, script.down)?;
            let unmark = "DELETE FROM schema_migration WHERE version = ?1";
            connection
                .execute(unmark, [migration.version])
                .map_err(map_error)?;
        }
    }
    references_check(connection)
}

fn references_check(connection: &Connection) -> StoreResult<()> {
    let dangling = connection
        .prepare("PRAGMA foreign_key_check")
        .and_then(|mut check| check.exists([]))
        .map_err(map_error)?;
    if dangling {
        return Err(StoreError::Bug(
            "it leaves references to rows that are gone".into(),
        ));
    }
    Ok(())
}

fn batch(connection: &Connection, text: &str) -> StoreResult<()> {
    connection.execute_batch(text).map_err(map_error)
}
