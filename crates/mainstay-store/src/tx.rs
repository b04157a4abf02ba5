//! One open transaction: its scope and the connection that it runs on.

use mainstay_domain::Scope;

use crate::{postgres::PgConn, sql::Conn, sqlite::SqliteConn};

/// What the verbs of every area are implemented for.
pub(crate) struct SqlTx<'a> {
    /// Whose rows it may touch.
    pub(crate) scope: Scope,
    /// Where it runs.
    pub(crate) conn: Dialect<'a>,
}

/// The connection, for verbs that are written once per dialect.
pub(crate) enum Dialect<'a> {
    /// SQLite: every call answers at once.
    Sqlite(SqliteConn<'a>),
    /// PostgreSQL: calls that do not depend on each other can be joined and travel together.
    Postgres(PgConn<'a>),
}

impl SqlTx<'_> {
    /// The connection, for statements of the common subset.
    pub(crate) fn conn(&mut self) -> &mut dyn Conn {
        match &mut self.conn {
            Dialect::Sqlite(conn) => conn,
            Dialect::Postgres(conn) => conn,
        }
    }
}
