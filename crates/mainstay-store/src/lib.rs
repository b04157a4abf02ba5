//! The `Store` port on SQLite and on PostgreSQL.
//!
//! Two kinds of SQL. The hot path (append, discover, settle) has one hand-tuned implementation for each database.
//! Everything else is written once, in the common subset of both dialects, in the `queries` modules; tests PREPARE
//! every statement on both, and prove that each one over a tenant table carries the tenant.

mod access;
pub mod backup;
mod billing;
mod built;
pub mod enqueue;
pub mod examine;
mod hex;
mod intake;
mod jobs;
mod lease;
pub mod migrate;
pub mod moving;
mod nodes;
mod postgres;
mod sagas;
mod schedules;
mod setup;
pub mod sql;
mod sqlite;
#[cfg(test)]
mod tests;
mod thing;
mod tx;
mod vault;
mod verbs;
mod watch;

pub use postgres::{PostgresOptions, PostgresStore, PostgresUrl};
pub use setup::{SetupError, SetupResult};
pub use sqlite::{DataDirectory, SqliteOptions, SqliteStore};
