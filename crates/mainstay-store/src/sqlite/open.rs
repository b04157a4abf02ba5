//! How connections are opened and set up.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use mainstay_domain::StoreResult;
use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::error::map_error;

/// How many steps of SQLite's machine pass between two looks at the clock: some tenths of a millisecond.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;
/// Statements that a connection keeps prepared. The hot path and the common verbs fit.
const STATEMENTS_PREPARED: usize = 256;
/// How long a connection waits for another one's lock: only a checkpoint or another process can hold it.
const BUSY: Duration = Duration::from_secs(5);

/// What must hold before the first table is made, and what every writing connection needs.
///
/// `synchronous = FULL` makes each commit wait for the disk. `wal_autocheckpoint = 0` because checkpoints have a
/// thread of their own. `temp_store = MEMORY` keeps savepoints' journals out of files. `journal_size_limit` is above
/// what the log reaches: the commit that starts it over would cut it, and take 35 ms for that.
const WRITER: &str = "
    PRAGMA page_size = 8192;
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA fullfsync = ON;
    PRAGMA checkpoint_fullfsync = ON;
    PRAGMA foreign_keys = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA journal_size_limit = 268435456;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
";

const READER: &str = "
    PRAGMA query_only = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;
";

/// Opens a connection that writes. `cache_kib` bounds the pages that it holds in memory.
///
/// The schema's triggers tell the audit log of changes that are made by hand, from other programs. Ours writes its
/// entries itself and has them switched off; references are no triggers in this sense.
pub(crate) fn open_writer(path: &Path, cache_kib: u32) -> StoreResult<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open(path, flags, WRITER, cache_kib)?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
        .map_err(map_error)?;
    Ok(connection)
}

/// Opens a connection that only reads.
pub(crate) fn open_reader(path: &Path, cache_kib: u32) -> StoreResult<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    open(path, flags, READER, cache_kib)
}

fn open(path: &Path, flags: OpenFlags, setup: &str, cache_kib: u32) -> StoreResult<Connection> {
    let connection = Connection::open_with_flags(path, flags).map_err(map_error)?;
    connection.busy_timeout(BUSY).map_err(map_error)?;
    connection.execute_batch(setup).map_err(map_error)?;
    let cache = format!("PRAGMA cache_size = -{cache_kib}");
    connection.execute_batch(&cache).map_err(map_error)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_PREPARED);
    Ok(connection)
}

/// The time by which a connection must be done; after it, SQLite interrupts the statement.
#[derive(Debug, Clone)]
pub(crate) struct Deadline {
    start: Instant,
    micros: Arc<AtomicU64>,
}

impl Deadline {
    /// Watches a connection.
    pub(crate) fn watch(connection: &mut Connection) -> StoreResult<Self> {
        let deadline = Self {
            start: Instant::now(),
            micros: Arc::new(AtomicU64::new(u64::MAX)),
        };
        let watched = deadline.clone();
        let hook = connection
            .progress_handler(STEPS_BETWEEN_LOOKS, Some(move || watched.passed()))
            .map_err(map_error);
        hook.map(|()| deadline)
    }

    /// Everything from now on must be done within this time.
    pub(crate) fn set(&self, limit: Duration) {
        let until = (self.start.elapsed() + limit).as_micros();
        let until = u64::try_from(until).unwrap_or(u64::MAX);
        self.micros.store(until, Ordering::Relaxed);
    }

    /// No bound until the next [`Deadline::set`].
    pub(crate) fn clear(&self) {
        self.micros.store(u64::MAX, Ordering::Relaxed);
    }

    fn passed(&self) -> bool {
        self.start.elapsed().as_micros() > u128::from(self.micros.load(Ordering::Relaxed))
    }
}
