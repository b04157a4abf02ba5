//! Growing up: a whole installation moves from SQLite to PostgreSQL.
//!
//! It is one transaction of the target: until it commits nobody sees anything there, and whatever ends it early leaves
//! nothing behind. Each table goes over as PostgreSQL's own binary rows, in the order of the target's key; afterwards
//! the target is read in the same form and order, and both must have the same number of rows and the same SHA-256. What
//! grows can be copied while the source is still served; what has changed of it by the time when the server is stopped is found
//! by the checksums of its pieces and copied once more. The source is only read. When all is committed it gets a mark ([`Mark`]), by which this program refuses to serve it.
//!
//! Places in the order of commits are not translated. The engine's checkpoint brings a cursor of SQLite, which says
//! nothing on PostgreSQL, so that the first owner looks for everything that is unfinished, as after a restore.

mod mark;
mod plan;
mod row;
mod source;
mod target;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{Context, SHA256};
use mainstay_domain::{StoreError, Timestamp};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_postgres::Client;

pub use mark::{Mark, Since, mark, mark_remove, since};

use self::{
    plan::Table,
    row::Sum,
    source::{As, Part, Piece, Task},
};
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

/// How it is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Everything is copied and verified, then taken back. A server may be running on the source.
    Rehearse,
    /// It stays, and the source is marked. Nobody runs on the source.
    Move,
}

/// What was moved, or would be.
#[derive(Debug, Clone)]
pub struct Moved {
    /// The tables, parents first.
    pub tables: Vec<MovedTable>,
    /// SHA-256 over the names and checksums of all tables, in hexadecimal.
    pub digest: String,
    /// How long it took with nobody on the source: the pause, but for stopping and starting.
    pub took: Duration,
    /// What was done before the pause, where a part was.
    pub ahead: Option<Ahead>,
    /// Whether an earlier run had moved it already, and only the mark was missing.
    pub before: bool,
}

/// What was copied while the source was still served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// Rows that were copied and verified.
    pub rows: u64,
    /// How long that took.
    pub took: Duration,
    /// Rows that had changed, or stood among some that had, by the time of the pause.
    pub again: u64,
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
    if how == How::Move {
        from.require_lock()?;
    }
    let target = Target::open(from, to, now).await?;
    let begun = Instant::now();
    let mut moved = if target.occupied {
        target.known(from, how).await?
    } else {
        target::begin(&target.client).await?;
        let mut telling = Telling::new(&progress, target.total(from, |_| 2)?);
        let sums = target.copy(from, Pieces::new(), &mut telling).await?;
        Moved::of(&target.tables, sums)
    };
    moved.took = begun.elapsed();
    match how {
        How::Rehearse => target::roll_back(&target.client).await?,
        How::Move => target.finish(from, &moved, now).await?,
    }
    Ok(moved)
}

/// The same with a short pause: what grows with every webhook is copied and verified while the source at `path` is served.
/// Then `stopped` has the server stopped and answers the directory, locked; `now` is asked for the time of that. What has changed is copied
/// again, and the rest for the first time.
pub async fn to_postgres_live(
    path: &Path,
    to: &PostgresUrl,
    now: impl Fn() -> Timestamp,
    progress: OnProgress,
    stopped: impl AsyncFnOnce() -> SetupResult<DataDirectory>,
) -> SetupResult<Moved> {
    let from = DataDirectory::beside(path)?;
    let target = Target::open(&from, to, now()).await?;
    if target.occupied {
        return Err(SetupError::Occupied(to.to_string()));
    }
    target::begin(&target.client).await?;
    let begun = Instant::now();
    let total = target.total(&from, |table| 2 * u64::from(table.ahead()))?;
    let pieces = target
        .copy_ahead(&from, &mut Telling::new(&progress, total))
        .await?;
    let (rows, took) = (total / 2, begun.elapsed());
    let from = stopped().await?;
    let begun = Instant::now();
    from.require_lock()?;
    // Whoever served it meanwhile may have been another program.
    from.require_here()?;
    Migrator::embedded().check_sqlite(&open_reader(&from.database(), source::CACHE_KIB)?)?;
    let total = target.total(&from, |table| if table.ahead() { 1 } else { 2 })?;
    let mut telling = Telling::new(&progress, total);
    let sums = target.copy(&from, pieces, &mut telling).await?;
    let mut moved = Moved::of(&target.tables, sums);
    let again = telling.again;
    moved.ahead = Some(Ahead { rows, took, again });
    moved.took = begun.elapsed();
    target.finish(&from, &moved, now()).await?;
    Ok(moved)
}

/// Pieces of tables that were copied before, by name.
type Pieces = BTreeMap<String, Vec<Piece>>;

/// Says how far it is.
struct Telling<'p> {
    progress: &'p OnProgress,
    total: u64,
    done: u64,
    /// Rows that were copied once more.
    again: u64,
}

impl<'p> Telling<'p> {
    fn new(progress: &'p OnProgress, total: u64) -> Self {
        Self {
            progress,
            total,
            done: 0,
            again: 0,
        }
    }

    fn told(&mut self, rows: u64) {
        self.done += rows;
        (self.progress)(Progress {
            done: self.done,
            total: Some(self.total),
        });
    }
}

/// The database to move to, and what is to be moved.
struct Target<'u> {
    url: &'u PostgresUrl,
    client: Client,
    tables: Vec<Table>,
    /// Whether it holds something already.
    occupied: bool,
}

impl<'u> Target<'u> {
    async fn open(from: &DataDirectory, url: &'u PostgresUrl, now: Timestamp) -> SetupResult<Self> {
        from.require_here()?;
        let migrator = Migrator::embedded();
        let source = from.database();
        migrator.check_sqlite(&open_reader(&source, source::CACHE_KIB)?)?;
        let client = connect_plain(url).await?;
        check_server(&client).await?;
        let place = Place::Postgres(url);
        let occupied = holds_data(place).await?;
        if !occupied {
            migrator.up(place, Mode::Apply, now).await?;
        }
        // What holds something of another version is somebody else's, whatever it is.
        let current = migrator.check_postgres(&client).await;
        current.map_err(|error| match occupied {
            true => SetupError::Occupied(url.to_string()),
            false => error,
        })?;
        let tables = plan::tables(&open_reader(&source, source::CACHE_KIB)?, &client).await?;
        Ok(Self {
            url,
            client,
            tables,
            occupied,
        })
    }

    /// The rows of all tables, each so many times.
    fn total(&self, from: &DataDirectory, times: impl Fn(&Table) -> u64) -> SetupResult<u64> {
        let (source, mut total) = (from.database(), 0);
        for table in &self.tables {
            let times = times(table);
            if times > 0 {
                total += times * source::count(&source, std::iter::once(table))?;
            }
        }
        Ok(total)
    }

    /// The target holds something. It is right where it is what an earlier run committed that ended before its mark, and
    /// nobody has touched the source since.
    async fn known(&self, from: &DataDirectory, how: How) -> SetupResult<Moved> {
        let occupied = || SetupError::Occupied(self.url.to_string());
        if how == How::Rehearse {
            return Err(occupied());
        }
        let said = target::said(&self.client).await?.ok_or_else(occupied)?;
        let mut reading = Reading::start(from, self.tables.iter(), |_| As::Whole);
        let mut sums = Vec::new();
        for _ in &self.tables {
            sums.push(reading.skip().await?);
        }
        let mut moved = Moved::of(&self.tables, sums);
        moved.before = true;
        match said == moved.digest {
            true => Ok(moved),
            false => Err(occupied()),
        }
    }

    /// What can be copied while the source is served.
    async fn copy_ahead(
        &self,
        from: &DataDirectory,
        telling: &mut Telling<'_>,
    ) -> SetupResult<Pieces> {
        let tables = || self.tables.iter().filter(|table| table.ahead());
        let mut reading = Reading::start(from, tables(), |_| As::Pieces);
        let mut copied = Pieces::new();
        for table in tables() {
            let (_, pieces) = self.copy_whole(table, &mut reading, telling).await?;
            target::analyze(&self.client, table).await?;
            copied.insert(table.name.clone(), pieces);
        }
        Ok(copied)
    }

    /// All tables, but of those that were copied before only what has changed.
    async fn copy(
        &self,
        from: &DataDirectory,
        mut before: Pieces,
        telling: &mut Telling<'_>,
    ) -> SetupResult<Vec<Sum>> {
        let ahead: BTreeSet<String> = before.keys().cloned().collect();
        let how = |table: &Table| before.remove(&table.name).map_or(As::Whole, As::Against);
        let mut reading = Reading::start(from, self.tables.iter(), how);
        let mut sums = Vec::new();
        for table in &self.tables {
            let sum = if ahead.contains(&table.name) {
                let told = &mut |rows| telling.told(rows);
                let (sum, again) = target::mend(&self.client, table, &mut reading, told).await?;
                telling.again += again;
                sum
            } else {
                self.copy_whole(table, &mut reading, telling).await?.0
            };
            target::leave(&self.client, table).await?;
            sums.push(sum);
        }
        Ok(sums)
    }

    async fn copy_whole(
        &self,
        table: &Table,
        reading: &mut Reading,
        telling: &mut Telling<'_>,
    ) -> SetupResult<(Sum, Vec<Piece>)> {
        let told = &mut |rows| telling.told(rows);
        target::take(&self.client, table).await?;
        let (sent, pieces) = target::put(&self.client, table, reading, told).await?;
        let found = target::sum(&self.client, table, told).await?;
        compare(table, &sent, &found)?;
        Ok((sent, pieces))
    }

    async fn finish(&self, from: &DataDirectory, moved: &Moved, now: Timestamp) -> SetupResult<()> {
        if !moved.before {
            target::tell(&self.client, moved, now).await?;
            target::commit(&self.client).await?;
        }
        mark::write(from, self.url, now, moved)
    }
}

fn compare(table: &Table, sent: &Sum, found: &Sum) -> SetupResult<()> {
    if sent == found {
        return Ok(());
    }
    let problem = match sent.rows == found.rows {
        true => "the rows are as many, and their checksums differ".to_owned(),
        false => format!("{} rows were sent, {} are there", sent.rows, found.rows),
    };
    Err(target::differs(table, problem))
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
            ahead: None,
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
    fn start<'t>(
        from: &DataDirectory,
        tables: impl Iterator<Item = &'t Table>,
        mut how: impl FnMut(&Table) -> As,
    ) -> Self {
        let (sender, parts) = mpsc::channel(PARTS_WAITING_MAX);
        let source = from.database();
        let tasks: Vec<Task> = tables
            .map(|table| Task {
                table: table.clone(),
                reading: how(table),
            })
            .collect();
        let thread = tokio::task::spawn_blocking(move || source::read(&source, &tasks, &sender));
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
            if let Part::End(sum, _) = self.next().await? {
                return Ok(sum);
            }
        }
    }
}

fn failed(error: tokio_postgres::Error) -> StoreError {
    map_error(&error).error
}
