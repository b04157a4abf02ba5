//! SQLite: one writer thread with group commit, reader threads, checkpoints on a thread of their own.

mod conn;
mod directory;
mod error;
pub(crate) mod hot_intake;
pub(crate) mod hot_jobs;
mod member;
mod open;
mod readers;
mod statement;
mod store;
mod wal;
mod writer;

use std::thread::{Builder, JoinHandle};

use mainstay_domain::{StoreError, StoreResult};

pub(crate) use conn::SqliteConn;
#[cfg(test)]
pub(crate) use conn::translate;
pub use directory::DataDirectory;
pub(crate) use directory::database_remove;
pub(crate) use error::map_error;
pub(crate) use open::{open_reader, open_writer};
pub use store::{SqliteOptions, SqliteStore};

/// Starts a named thread.
fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> StoreResult<JoinHandle<()>> {
    let started = Builder::new().name(name.to_owned()).spawn(run);
    started.map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))
}
