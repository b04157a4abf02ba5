//! PostgreSQL: pools of connections by role, transactions that are run again when the server asks for it, waking.

mod conn;
mod error;
mod value;

pub(crate) use conn::PgConn;
