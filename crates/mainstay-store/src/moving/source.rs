//! The side that is moved from: read in one snapshot, on a thread that may wait for the disk.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use mainstay_domain::StoreResult;
use rusqlite::Connection;
use tokio::sync::mpsc::Sender;

use super::{
    plan::{Table, quoted},
    row::{self, Adding, Sum},
};
use crate::{
    setup::SetupResult,
    sqlite::{map_error, open_reader},
};

/// Pages that reading holds in memory, in KiB.
pub(super) const CACHE_KIB: u32 = 16 * 1_024;
/// A batch goes on when it has reached this size.
const BATCH_BYTES: usize = 256 * 1_024;

/// What is read, table by table.
#[derive(Debug)]
pub(super) enum Part {
    /// So many rows.
    Rows(Bytes, u64),
    /// The table was read to its end.
    End(Sum),
}

/// Reads all of these tables. Ends early where nobody listens any more.
pub(super) fn read(path: &Path, tables: &[Table], parts: &Sender<Part>) -> SetupResult<()> {
    let connection = open_reader(path, CACHE_KIB)?;
    connection.execute_batch("BEGIN").map_err(map_error)?;
    for table in tables {
        if !read_table(&connection, table, parts)? {
            break;
        }
    }
    Ok(())
}

/// Answers whether somebody still listens.
fn read_table(connection: &Connection, table: &Table, parts: &Sender<Part>) -> SetupResult<bool> {
    let mut statement = connection
        .prepare(&table.select_sqlite())
        .map_err(map_error)?;
    let mut rows = statement.query([]).map_err(map_error)?;
    let (mut adding, mut batch, mut count) = (Adding::new(), BytesMut::new(), 0);
    loop {
        let row = rows.next().map_err(map_error)?;
        let ended = row.is_none();
        if let Some(row) = row {
            row::write(table, row, &mut batch)?;
            count += 1;
        }
        if (ended && count > 0) || batch.len() >= BATCH_BYTES {
            let bytes = batch.split().freeze();
            adding.add(&bytes, count);
            if parts.blocking_send(Part::Rows(bytes, count)).is_err() {
                return Ok(false);
            }
            count = 0;
        }
        if ended {
            return Ok(parts.blocking_send(Part::End(adding.sum())).is_ok());
        }
    }
}

/// The rows of all of these tables.
pub(super) fn count(path: &Path, tables: &[Table]) -> StoreResult<u64> {
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
