//! SQLite: one writer thread with group commit, reader threads, checkpoints on a thread of their own.

mod conn;
mod error;

pub(crate) use conn::SqliteConn;
pub(crate) use error::map_error;
