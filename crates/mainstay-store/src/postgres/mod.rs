//! PostgreSQL: pools of connections by role, transactions that are run again when the server asks for it, waking.

pub(crate) mod append;
mod conn;
mod connect;
mod error;
pub(crate) mod hot_intake;
pub(crate) mod hot_jobs;
mod pool;
mod rows;
pub(crate) mod sized;
mod statement;
mod store;
mod tls;
mod url;
mod value;
mod wake;

pub(crate) use conn::PgConn;
pub(crate) use connect::{SCHEMA, SCHEMA_BEFORE, check_server, connect_plain, schema_of};
pub(crate) use error::map_error;
pub use store::{PostgresOptions, PostgresStore};
pub use url::PostgresUrl;
