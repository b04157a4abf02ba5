//! One open transaction: its scope and the connection that it runs on.

use std::{sync::Arc, time::Duration};

use mainstay_domain::{
    Scope, StoreResult,
    store::{BoxFuture, Erased},
    vault::{DataKey, Vault},
};

use crate::{postgres::PgConn, sql::Conn, sqlite::SqliteConn};

/// What the verbs of every area are implemented for.
pub(crate) struct SqlTx<'a> {
    /// Whose rows it may touch.
    pub(crate) scope: Scope,
    /// Where it runs.
    pub(crate) conn: Dialect<'a>,
    /// What values are sealed and opened with.
    pub(crate) vault: Arc<Vault>,
    /// Keys that this transaction read or made, and nobody else may know of.
    pub(crate) keys: Vec<Arc<DataKey>>,
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

    /// Another limit than the default for the statements of this transaction, and of no other (TMO-06).
    pub(crate) async fn statement_timeout(&mut self, limit: Duration) -> StoreResult<()> {
        match &self.conn {
            Dialect::Sqlite(conn) => {
                conn.statement_timeout(limit);
                Ok(())
            }
            Dialect::Postgres(conn) => conn.statement_timeout(limit).await,
        }
    }
}

/// A transaction's body over the store's own transaction: the port's [`mainstay_domain::store::Work`], or one of the
/// store's own (leases). Runs once or more; only its last run counts.
pub(crate) type Body =
    Arc<dyn for<'t, 'c> Fn(&'t mut SqlTx<'c>) -> BoxFuture<'t, StoreResult<Erased>> + Send + Sync>;

/// Erases the result of a body of the store's own.
pub(crate) fn body<T, F>(work: F) -> Body
where
    T: Send + 'static,
    F: for<'t, 'c> Fn(&'t mut SqlTx<'c>) -> BoxFuture<'t, StoreResult<T>> + Send + Sync + 'static,
{
    Arc::new(move |tx| {
        let typed = work(tx);
        Box::pin(async move { typed.await.map(|value| Box::new(value) as Erased) })
    })
}

/// The typed result of a body made by [`body`].
pub(crate) fn answer<T: 'static>(erased: Erased) -> StoreResult<T> {
    erased.downcast::<T>().map(|value| *value).map_err(|_| {
        mainstay_domain::StoreError::Bug("a transaction answered with another type".into())
    })
}

/// The port's work over the store's own transaction.
pub(crate) fn port(work: mainstay_domain::store::Work) -> Body {
    Arc::new(move |tx| work(tx))
}
