//! What an operator should know about a database before it matters: `mainstay doctor`.

use std::path::PathBuf;

use mainstay_domain::{StoreError, Timestamp};
use rusqlite::Connection;
use tokio_postgres::Client;

use crate::{
    migrate::Place,
    postgres::{check_server, connect_plain},
    setup::{SetupError, SetupResult},
    sqlite::{map_error, open_reader},
};

const CACHE_KIB: u32 = 8 * 1_024;
/// A write-ahead log of more than this has not been checkpointed for a while.
const WAL_BYTES_DOUBTFUL: u64 = 512 * 1_024 * 1_024;

/// How good or bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// As it should be.
    Fine,
    /// It works, and somebody should know.
    Doubtful,
    /// It does not work, or loses data some day.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub subject: &'static str,
    /// How it is.
    pub grade: Grade,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub remedy: Option<&'static str>,
}

/// What was found out about a database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Examined {
    /// The time on the database's own clock, where it has one.
    pub clock: Option<Timestamp>,
    /// What was looked at.
    pub findings: Vec<Finding>,
}

impl Examined {
    fn add(&mut self, subject: &'static str, grade: Grade, detail: impl Into<String>) {
        self.findings.push(Finding {
            subject,
            grade,
            detail: detail.into(),
            remedy: None,
        });
    }

    fn remedy(&mut self, remedy: &'static str) {
        if let Some(last) = self.findings.last_mut()
            && last.grade != Grade::Fine
        {
            last.remedy = Some(remedy);
        }
    }
}

/// Looks at the database without changing it. A server may be running on it.
pub async fn examine(place: Place<'_>) -> SetupResult<Examined> {
    match place {
        Place::Sqlite(directory) => {
            let path = directory.database();
            tokio::task::spawn_blocking(move || sqlite(path))
                .await
                .map_err(|error| StoreError::Bug(error.to_string()))?
        }
        Place::Postgres(url) => postgres(&connect_plain(url).await?).await,
    }
}

fn sqlite(path: PathBuf) -> SetupResult<Examined> {
    let mut examined = Examined::default();
    if !path.exists() {
        examined.add(
            "database",
            Grade::Fine,
            "none yet; `mainstay serve` makes one",
        );
        return Ok(examined);
    }
    let connection = open_reader(&path, CACHE_KIB)?;
    let detail = format!("SQLite {}", rusqlite::version());
    examined.add("database", Grade::Fine, detail);
    let journal = pragma(&connection, "journal_mode")?;
    if journal == "wal" {
        examined.add(
            "durability",
            Grade::Fine,
            "write-ahead log, every commit is synced",
        );
    } else {
        examined.add(
            "durability",
            Grade::Doubtful,
            format!("journal mode {journal}"),
        );
        examined.remedy("start the server once: it sets the write-ahead log");
    }
    wal(&mut examined, &path);
    sizes(&mut examined, &table_sizes(&connection)?);
    let whole = pragma(&connection, "quick_check(1)")?;
    if whole == "ok" {
        examined.add("integrity", Grade::Fine, "every page is whole");
    } else {
        examined.add("integrity", Grade::Wrong, whole);
        examined.remedy("stop the server, keep a copy of the files, and restore the last backup");
    }
    Ok(examined)
}

/// Tables with their indexes, the largest first.
fn table_sizes(connection: &Connection) -> SetupResult<Vec<(String, i64)>> {
    let mut statement = connection
        .prepare(
            "SELECT coalesce(m.tbl_name, s.name), sum(s.pgsize)
             FROM dbstat AS s LEFT JOIN sqlite_master AS m ON m.name = s.name
             WHERE s.aggregate = TRUE GROUP BY 1 ORDER BY 2 DESC, 1",
        )
        .map_err(map_error)?;
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(map_error)?;
    Ok(rows.collect::<Result<_, _>>().map_err(map_error)?)
}

fn sizes(examined: &mut Examined, tables: &[(String, i64)]) {
    const NAMED: usize = 3;
    let mib = |bytes: i64| bytes / (1_024 * 1_024);
    let all: i64 = tables.iter().map(|(_, bytes)| bytes).sum();
    let largest: Vec<String> = tables
        .iter()
        .take(NAMED)
        .map(|(name, bytes)| format!("{name} {} MiB", mib(*bytes)))
        .collect();
    let detail = format!("{} MiB; the largest: {}", mib(all), largest.join(", "));
    examined.add("size", Grade::Fine, detail);
}

fn wal(examined: &mut Examined, path: &std::path::Path) {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    let bytes = std::fs::metadata(PathBuf::from(name)).map_or(0, |found| found.len());
    if bytes > WAL_BYTES_DOUBTFUL {
        let mib = bytes / (1_024 * 1_024);
        examined.add(
            "write-ahead log",
            Grade::Doubtful,
            format!("{mib} MiB not yet merged"),
        );
        examined.remedy("look for a program that holds the database open; restart the server");
    }
}

fn pragma(connection: &Connection, name: &str) -> SetupResult<String> {
    let value = connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0));
    Ok(value.map_err(map_error)?)
}

async fn postgres(client: &Client) -> SetupResult<Examined> {
    let mut examined = Examined::default();
    let row = client
        .query_one(
            "SELECT current_setting('server_version'), pg_database_size(current_database()) / 1048576,
                 (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
                 current_setting('synchronous_commit'), pg_is_in_recovery(),
                 current_setting('max_connections')::int8, (SELECT count(*) FROM pg_stat_activity),
                 (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::int8
                  FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())",
            &[],
        )
        .await
        .map_err(|error| crate::postgres::map_error(&error).error)?;
    let (version, mib): (&str, i64) = (row.get(0), row.get(1));
    examined.add(
        "database",
        Grade::Fine,
        format!("PostgreSQL {version}, {mib} MiB"),
    );
    examined.clock = Some(Timestamp::from_micros(row.get(2)));
    server(&mut examined, check_server(client).await, row.get(3));
    if row.get(4) {
        examined.add("primary", Grade::Wrong, "this server is a standby");
        examined.remedy("point the URL at the primary, or promote this one");
    }
    connections(&mut examined, row.get(6), row.get(5));
    let oldest_secs: i64 = row.get(7);
    let tables = client
        .query(
            "SELECT c.relname::text, pg_total_relation_size(c.oid) FROM pg_class AS c
             WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'm') ORDER BY 2 DESC, 1",
            &[],
        )
        .await
        .map_err(|error| crate::postgres::map_error(&error).error)?;
    let tables: Vec<(String, i64)> = tables.iter().map(|row| (row.get(0), row.get(1))).collect();
    sizes(&mut examined, &tables);
    if oldest_secs > 600 {
        let detail = format!("a transaction has been open for {oldest_secs} seconds");
        examined.add("transactions", Grade::Doubtful, detail);
        examined
            .remedy("end it: it keeps dead rows from being removed (pg_stat_activity shows it)");
    }
    Ok(examined)
}

fn server(examined: &mut Examined, checked: SetupResult<()>, synchronous_commit: &str) {
    match checked {
        Err(SetupError::Server(problem)) => {
            examined.add("durability", Grade::Wrong, problem);
            examined.remedy("change it in postgresql.conf and reload the server");
        }
        Err(error) => examined.add("durability", Grade::Wrong, error.to_string()),
        // Each connection of ours sets it for itself; a default that is off concerns whatever else is written there.
        Ok(()) if synchronous_commit == "off" => {
            examined.add(
                "durability",
                Grade::Doubtful,
                "fsync is on, synchronous_commit is off by default",
            );
            examined.remedy("ALTER SYSTEM SET synchronous_commit = 'on'");
        }
        Ok(()) => examined.add(
            "durability",
            Grade::Fine,
            format!(
                "fsync and full_page_writes are on, synchronous_commit is {synchronous_commit}"
            ),
        ),
    }
}

fn connections(examined: &mut Examined, used: i64, max: i64) {
    let detail = format!("{used} of {max} are in use");
    // A node of ours opens up to 16 and a few of its own.
    if max - used < 20 {
        examined.add("connections", Grade::Doubtful, detail);
        examined.remedy("raise max_connections, or close what is not needed");
    } else {
        examined.add("connections", Grade::Fine, detail);
    }
}

impl Place<'_> {
    /// Fails unless this process holds the data directory alone, and the data is still in it.
    pub(crate) fn require_alone(self) -> SetupResult<()> {
        match self {
            Self::Sqlite(directory) => directory
                .require_lock()
                .and_then(|()| directory.require_here()),
            Self::Postgres(_) => Ok(()),
        }
    }
}
