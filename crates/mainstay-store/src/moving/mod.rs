//! Growing up: a whole installation moves from SQLite to PostgreSQL.
//!
//! It is one transaction of the target: until it commits nobody sees anything there, and whatever ends it early leaves
//! nothing behind. Each table goes over as PostgreSQL's own binary rows, in the order of the target's key; afterwards
//! the target is read in the same form and order, and both must have the same number of rows and the same SHA-256. The
//! source is only read. When all is committed it gets a mark ([`Mark`]), by which this program refuses to serve it.
//!
//! Places in the order of commits are not translated. The engine's checkpoint brings a cursor of SQLite, which says
//! nothing on PostgreSQL, so that the first owner looks for everything that is unfinished, as after a restore.

mod mark;
mod plan;
mod row;
mod source;
mod target;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{Context, SHA256};
use mainstay_domain::{StoreError, Timestamp};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_postgres::Client;

pub use mark::{Mark, Since, mark, mark_remove, since};

use self::{plan::Table, row::Sum, source::Part};
use crate::{
    backup::{OnProgress, Progress, holds_data},
    hex,
    migrate::{Migrator, Mode, Place},
    postgres::{PostgresUrl, check_server, connect_plain, map_error},
    setup::{SetupError, SetupResult},
    sqlite::{DataDirectory, open_reader},
};

/// Batches of rows that wait for the target at most.
const PARTS_WAITING_MAX: usize = 8;

/// Whether it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Everything is copied and verified, then taken back. A server may be running on the source.
    Rehearse,
    /// It stays, and the source is marked.
    Move,
}

/// What was moved, or would be.
#[derive(Debug, Clone)]
pub struct Moved {
    /// The tables, parents first.
    pub tables: Vec<MovedTable>,
    /// SHA-256 over the names and checksums of all tables, in hexadecimal.
    pub digest: String,
    /// How long copying and verifying took: the pause, but for stopping and starting.
    pub took: Duration,
    /// Whether an earlier run had moved it already, and only the mark was missing.
    pub before: bool,
}

/// One table, the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedTable {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Its size in PostgreSQL's binary form, in bytes.
    pub bytes: u64,
    /// SHA-256 of its rows in that form, in the order of the key, in hexadecimal.
    pub sha256: String,
}

impl Moved {
    /// Rows in all.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// Bytes in all.
    pub fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.bytes).sum()
    }
}

/// Moves what `from` holds to the database at `to`, which must hold nothing; its schema is made where it is missing.
/// `to` is its owner's address. `progress` is told of rows: each is copied and then verified.
pub async fn to_postgres(
    from: &DataDirectory,
    to: &PostgresUrl,
    how: How,
    now: Timestamp,
    progress: OnProgress,
) -> SetupResult<Moved> {
    from.require_here()?;
    if how == How::Move {
        from.require_lock()?;
    }
    let migrator = Migrator::embedded();
    let source = from.database();
    migrator.check_sqlite(&open_reader(&source, source::CACHE_KIB)?)?;
    let client = connect_plain(to).await?;
    check_server(&client).await?;
    let place = Place::Postgres(to);
    let occupied = holds_data(place).await?;
    if !occupied {
        migrator.up(place, Mode::Apply, now).await?;
    }
    migrator.check_postgres(&client).await?;
    let tables = plan::tables(&open_reader(&source, source::CACHE_KIB)?, &client).await?;
    let begun = Instant::now();
    let mut moved = if occupied {
        known(&source, tables, &client, to, how).await?
    } else {
        let total = source::count(&source, &tables)?;
        let copied = copy(&source, tables, &client, &(progress, 2 * total)).await?;
        end(&client, &copied, how, now).await?;
        copied
    };
    moved.took = begun.elapsed();
    if how == How::Move {
        mark::write(from, to, now, &moved)?;
    }
    Ok(moved)
}

/// The target holds something. It is right where it is what an earlier run committed that ended before its mark, and
/// nobody has touched the source since.
async fn known(
    source: &Path,
    tables: Vec<Table>,
    client: &Client,
    to: &PostgresUrl,
    how: How,
) -> SetupResult<Moved> {
    let occupied = || SetupError::Occupied(to.to_string());
    if how == How::Rehearse {
        return Err(occupied());
    }
    let said = target::said(client).await?.ok_or_else(occupied)?;
    let mut reading = Reading::start(source, tables.clone());
    let mut sums = Vec::new();
    for _ in &tables {
        sums.push(reading.skip().await?);
    }
    let mut moved = Moved::of(&tables, sums);
    moved.before = true;
    match said == moved.digest {
        true => Ok(moved),
        false => Err(occupied()),
    }
}

async fn copy(
    source: &Path,
    tables: Vec<Table>,
    client: &Client,
    (progress, total): &(OnProgress, u64),
) -> SetupResult<Moved> {
    let mut done = 0;
    let mut told = |rows: u64| {
        done += rows;
        progress(Progress {
            done,
            total: Some(*total),
        });
    };
    target::begin(client).await?;
    let mut reading = Reading::start(source, tables.clone());
    let mut sums = Vec::new();
    for table in &tables {
        target::take(client, table).await?;
        let sum = target::put(client, table, &mut reading, &mut told).await?;
        let found = target::sum(client, table, &mut told).await?;
        compare(table, &sum, &found)?;
        target::leave(client, table).await?;
        sums.push(sum);
    }
    Ok(Moved::of(&tables, sums))
}

fn compare(table: &Table, sent: &Sum, found: &Sum) -> SetupResult<()> {
    if sent == found {
        return Ok(());
    }
    let problem = match sent.rows == found.rows {
        true => "the rows are as many, and their checksums differ".to_owned(),
        false => format!("{} rows were sent, {} are there", sent.rows, found.rows),
    };
    Err(SetupError::Differs {
        table: table.name.clone(),
        problem,
    })
}

async fn end(client: &Client, moved: &Moved, how: How, now: Timestamp) -> SetupResult<()> {
    match how {
        How::Rehearse => target::roll_back(client).await,
        How::Move => {
            target::tell(client, moved, now).await?;
            target::commit(client).await
        }
    }
}

impl Moved {
    fn of(tables: &[Table], sums: Vec<Sum>) -> Self {
        let mut context = Context::new(&SHA256);
        let mut listed = Vec::new();
        for (table, sum) in tables.iter().zip(sums) {
            context.update(table.name.as_bytes());
            context.update(&[0]);
            context.update(sum.sha256.as_bytes());
            listed.push(MovedTable {
                name: table.name.clone(),
                rows: sum.rows,
                bytes: sum.bytes,
                sha256: sum.sha256,
            });
        }
        Self {
            tables: listed,
            digest: hex::encode(context.finish().as_ref()),
            took: Duration::ZERO,
            before: false,
        }
    }
}

/// The source, read on a thread of its own.
struct Reading {
    parts: mpsc::Receiver<Part>,
    /// Why it ended, asked for once.
    thread: Option<JoinHandle<SetupResult<()>>>,
}

impl Reading {
    fn start(source: &Path, tables: Vec<Table>) -> Self {
        let (sender, parts) = mpsc::channel(PARTS_WAITING_MAX);
        let source = source.to_owned();
        let thread = tokio::task::spawn_blocking(move || source::read(&source, &tables, &sender));
        Self {
            parts,
            thread: Some(thread),
        }
    }

    /// What comes next; fails where nothing does, since each table has an end.
    async fn next(&mut self) -> SetupResult<Part> {
        if let Some(part) = self.parts.recv().await {
            return Ok(part);
        }
        if let Some(thread) = self.thread.take() {
            thread.await.map_err(|error| {
                StoreError::Bug(format!("the thread that reads ended early: {error}"))
            })??;
        }
        Err(StoreError::Bug("the source was read to its end too early".into()).into())
    }

    /// Reads one table for its sum alone.
    async fn skip(&mut self) -> SetupResult<Sum> {
        loop {
            if let Part::End(sum) = self.next().await? {
                return Ok(sum);
            }
        }
    }
}

fn failed(error: tokio_postgres::Error) -> StoreError {
    map_error(&error).error
}
