//! The side that is moved from: read in one snapshot, on a thread that may wait for the disk.
//!
//! What was copied before the server was stopped is read once more when it is, in the pieces that it was copied in:
//! only pieces that have changed are sent again.

use std::{mem, path::Path};

use bytes::{Bytes, BytesMut};
use mainstay_domain::StoreResult;
use rusqlite::Connection;
use tokio::sync::mpsc::Sender;

use super::{
    plan::{Table, quoted},
    row::{self, Adding, Key, Sum},
};
use crate::{
    setup::SetupResult,
    sqlite::{map_error, open_reader},
};

/// Pages that reading holds in memory, in KiB.
pub(super) const CACHE_KIB: u32 = 16 * 1_024;
/// What is sent together is over when it has reached this size.
const PIECE_BYTES: usize = 256 * 1_024;
/// A piece that is remembered is over with so many rows: of a table in no order of time, such as the one of deduplication, each
/// new row makes a piece another one. A remembered piece takes about a hundred bytes of memory.
const PIECE_ROWS: u64 = 256;

/// A table to read.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) table: Table,
    pub(super) reading: As,
}

/// How a table is read.
#[derive(Debug, Clone)]
pub(super) enum As {
    /// From end to end.
    Whole,
    /// The same, and its pieces are remembered.
    Pieces,
    /// Compared with the pieces that it was copied in before.
    Against(Vec<Piece>),
}

/// Rows that were sent together: those after the piece before, up to this key.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    last: Key,
    bytes: usize,
    sha256: [u8; 32],
}

/// What is read, table by table.
#[derive(Debug)]
pub(super) enum Part {
    /// So many rows.
    Rows(Bytes, u64),
    /// So many rows are as they were copied before.
    Same(u64),
    /// These are not.
    Changed(Change),
    /// The table was read to its end, in these pieces.
    End(Sum, Vec<Piece>),
}

/// Rows that take the place of what was copied before.
#[derive(Debug)]
pub(super) struct Change {
    /// What goes first: the rows after the first key, where there is one, up to the second.
    pub(super) clear: Option<(Option<Key>, Key)>,
    /// The first and the last row's key; none: nothing comes instead.
    pub(super) ends: Option<(Key, Key)>,
    pub(super) bytes: Bytes,
    pub(super) rows: u64,
}

/// Nobody listens any more.
struct Deaf;

/// Reads all of these tables. Ends early where nobody listens any more.
pub(super) fn read(path: &Path, tasks: &[Task], parts: &Sender<Part>) -> SetupResult<()> {
    let connection = open_reader(path, CACHE_KIB)?;
    connection.execute_batch("BEGIN").map_err(map_error)?;
    for Task { table, reading } in tasks {
        let reader = Reader {
            parts,
            adding: Adding::new(),
            open: Open::default(),
            remembers: matches!(reading, As::Pieces),
            pieces: Vec::new(),
        };
        let heard = match reading {
            As::Whole | As::Pieces => reader.whole(&connection, table)?,
            As::Against(before) => reader.against(&connection, table, before)?,
        };
        if heard.is_err() {
            break;
        }
    }
    Ok(())
}

/// Rows that are not sent yet.
#[derive(Default)]
struct Open {
    bytes: BytesMut,
    rows: u64,
    ends: Option<(Key, Key)>,
    /// Whether what they take the place of was cleared with rows before them.
    cleared: bool,
}

impl Open {
    fn add(&mut self, table: &Table, row: &rusqlite::Row<'_>, key: Key) -> SetupResult<()> {
        row::write(table, row, &mut self.bytes)?;
        self.rows += 1;
        match &mut self.ends {
            Some((_, last)) => *last = key,
            none => *none = Some((key.clone(), key)),
        }
        Ok(())
    }
}

/// Reads one table.
struct Reader<'p> {
    parts: &'p Sender<Part>,
    adding: Adding,
    open: Open,
    remembers: bool,
    pieces: Vec<Piece>,
}

impl Reader<'_> {
    fn send(&self, part: Part) -> Result<(), Deaf> {
        self.parts.blocking_send(part).map_err(|_| Deaf)
    }

    fn end(self) -> Result<(), Deaf> {
        let Self {
            parts,
            adding,
            pieces,
            ..
        } = self;
        let end = Part::End(adding.sum(), pieces);
        parts.blocking_send(end).map_err(|_| Deaf)
    }

    /// Takes out what is open, added up.
    fn taken(&mut self) -> (Bytes, u64, Option<(Key, Key)>) {
        let Open {
            mut bytes,
            rows,
            ends,
            ..
        } = mem::take(&mut self.open);
        let bytes = bytes.split().freeze();
        self.adding.add(&bytes, rows);
        (bytes, rows, ends)
    }

    fn whole(mut self, connection: &Connection, table: &Table) -> SetupResult<Result<(), Deaf>> {
        let mut statement = connection
            .prepare(&table.select_sqlite())
            .map_err(map_error)?;
        let mut rows = statement.query([]).map_err(map_error)?;
        while let Some(row) = rows.next().map_err(map_error)? {
            let key = row::key(table, row)?;
            self.open.add(table, row, key)?;
            let over = self.open.bytes.len() >= PIECE_BYTES
                || self.remembers && self.open.rows >= PIECE_ROWS;
            if over && self.piece().is_err() {
                return Ok(Err(Deaf));
            }
        }
        if self.open.rows > 0 && self.piece().is_err() {
            return Ok(Err(Deaf));
        }
        Ok(self.end())
    }

    fn piece(&mut self) -> Result<(), Deaf> {
        let (bytes, rows, ends) = self.taken();
        if let (true, Some((_, last))) = (self.remembers, ends) {
            self.pieces.push(Piece {
                last,
                bytes: bytes.len(),
                sha256: row::digest(&bytes),
            });
        }
        self.send(Part::Rows(bytes, rows))
    }

    fn against(
        mut self,
        connection: &Connection,
        table: &Table,
        before: &[Piece],
    ) -> SetupResult<Result<(), Deaf>> {
        let mut statement = connection
            .prepare(&table.select_sqlite())
            .map_err(map_error)?;
        let mut rows = statement.query([]).map_err(map_error)?;
        let mut at = 0;
        loop {
            let row = rows.next().map_err(map_error)?;
            let key = row.map(|row| row::key(table, row)).transpose()?;
            // The pieces that end before this row are over.
            while let Some(piece) = before.get(at) {
                if key.as_ref().is_some_and(|key| *key <= piece.last) {
                    break;
                }
                if self.close(before, at).is_err() {
                    return Ok(Err(Deaf));
                }
                at += 1;
            }
            let (Some(row), Some(key)) = (row, key) else {
                break;
            };
            self.open.add(table, row, key)?;
            // Whatever is longer than the piece was is another one.
            let bound = before.get(at).map_or(0, |piece| piece.bytes);
            if self.open.bytes.len() > bound.max(PIECE_BYTES) {
                if self.changed(before, at).is_err() {
                    return Ok(Err(Deaf));
                }
                self.open.cleared = true;
            }
        }
        if self.open.rows > 0 && self.changed(before, at).is_err() {
            return Ok(Err(Deaf));
        }
        Ok(self.end())
    }

    /// The rows of a piece are all there.
    fn close(&mut self, before: &[Piece], at: usize) -> Result<(), Deaf> {
        let same = !self.open.cleared
            && self.open.rows > 0
            && before
                .get(at)
                .is_some_and(|piece| piece.sha256 == row::digest(&self.open.bytes));
        match same {
            true => {
                let (_, rows, _) = self.taken();
                self.send(Part::Same(rows))
            }
            false => self.changed(before, at),
        }
    }

    /// What is open takes the place of a piece, or comes behind all of them.
    fn changed(&mut self, before: &[Piece], at: usize) -> Result<(), Deaf> {
        let piece = before.get(at).filter(|_| !self.open.cleared);
        let clear = piece.map(|piece| {
            let after = at.checked_sub(1).and_then(|at| before.get(at));
            (after.map(|piece| piece.last.clone()), piece.last.clone())
        });
        let (bytes, rows, ends) = self.taken();
        self.send(Part::Changed(Change {
            clear,
            ends,
            bytes,
            rows,
        }))
    }
}

/// The rows of all of these tables.
pub(super) fn count<'t>(path: &Path, tables: impl Iterator<Item = &'t Table>) -> StoreResult<u64> {
    let connection = open_reader(path, CACHE_KIB)?;
    let mut all = 0;
    for table in tables {
        let count = format!("SELECT count(*) FROM {}", quoted(&table.name));
        let rows: i64 = connection
            .query_row(&count, [], |row| row.get(0))
            .map_err(map_error)?;
        all += u64::try_from(rows).unwrap_or(0);
    }
    Ok(all)
}
