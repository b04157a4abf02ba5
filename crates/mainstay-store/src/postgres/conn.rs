//! A transaction's connection on PostgreSQL.

use std::{
    future::Future,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use deadpool_postgres::ClientWrapper;
use futures_util::future::join;
use mainstay_domain::{StoreError, StoreResult};
use tokio_postgres::{
    Statement,
    types::{ToSql, Type},
};

use super::{
    error::map_error,
    value::{row_of, type_of},
};
use crate::sql::{Conn, Row, Sql, Value};

/// The connection of one open transaction.
///
/// Its calls take `&self`: statements that do not depend on each other can be joined, and then travel together.
/// Whatever goes to the server goes through here or has its error mapped by [`PgConn::error`], because the
/// transaction must know when the server asked for another run.
pub(crate) struct PgConn<'a> {
    client: &'a ClientWrapper,
    /// What begins the transaction, until its first statement takes it along.
    begin: Mutex<Option<String>>,
    failed: AtomicBool,
    again: AtomicBool,
    broken: AtomicBool,
}

impl<'a> PgConn<'a> {
    /// For a transaction that begins with this text.
    pub(crate) fn new(client: &'a ClientWrapper, begin: String) -> Self {
        Self {
            begin: Mutex::new(Some(begin)),
            ..Self::begun(client)
        }
    }

    /// For a transaction that the caller begins and ends.
    pub(crate) fn begun(client: &'a ClientWrapper) -> Self {
        Self {
            client,
            begin: Mutex::new(None),
            failed: AtomicBool::new(false),
            again: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        }
    }

    /// The connection itself. Errors go through [`PgConn::error`].
    #[cfg(test)]
    pub(crate) fn client(&self) -> &'a ClientWrapper {
        self.client
    }

    /// The statement from this connection's cache. Only for texts that are known when the program is built.
    pub(crate) async fn prepare(&self, text: &'static str) -> StoreResult<Statement> {
        let prepared = self.client.prepare_cached(text).await;
        prepared.map_err(|error| {
            let mapped = self.error(&error);
            if self.broken() && !self.has_begun() {
                self.nothing_has_run();
            }
            mapped
        })
    }

    /// Sends a statement; with the first one goes what begins the transaction, without waiting for its answer.
    async fn send<T>(
        &self,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> StoreResult<T> {
        let begin = self.begin().take();
        let Some(begin) = begin else {
            return statement.await.map_err(|error| self.error(&error));
        };
        let (begun, answer) = join(self.client.batch_execute(&begin), statement).await;
        if let Err(error) = begun {
            match answer {
                Err(_) => self.nothing_has_run(),
                // BEGIN alone was called off from outside: the statement has run by itself, and must not run again.
                Ok(_) => self.broken.store(true, Ordering::Relaxed),
            }
            return Err(not_primary(&error, self.error(&error)));
        }
        answer.map_err(|error| self.error(&error))
    }

    /// Another connection may do better; this one is closed.
    fn nothing_has_run(&self) {
        self.again.store(true, Ordering::Relaxed);
        self.broken.store(true, Ordering::Relaxed);
    }

    fn begin(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.begin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the transaction has begun: there was a statement.
    pub(crate) fn has_begun(&self) -> bool {
        self.begin().is_none()
    }

    /// Runs a prepared statement of PostgreSQL's own dialect; answers how many rows it changed.
    pub(crate) async fn run(
        &self,
        text: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> StoreResult<u64> {
        let statement = self.prepare(text).await?;
        self.send(self.client.execute(&statement, params)).await
    }

    /// Runs a prepared statement of PostgreSQL's own dialect and reads all of its rows.
    pub(crate) async fn rows(
        &self,
        text: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> StoreResult<Vec<tokio_postgres::Row>> {
        let statement = self.prepare(text).await?;
        self.send(self.client.query(&statement, params)).await
    }

    /// How long each further statement of this transaction may take.
    pub(crate) async fn statement_timeout(&self, limit: Duration) -> StoreResult<()> {
        let text = format!("SET LOCAL statement_timeout = {}", limit.as_millis());
        self.send(self.client.batch_execute(&text)).await
    }

    /// From here on in the transaction, plans follow an index where there is one. For statements that read a few rows of
    /// very many in the order of an index: where statistics are old or bounds unknown, the planner takes few rows for
    /// granted and sorts all of them for each page. For others it is wrong: rows that are named one by one are fewer than
    /// what an index has to pass to give them in its order.
    pub(crate) async fn in_order_of_indexes(&self) -> StoreResult<()> {
        let text = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off";
        self.send(self.client.batch_execute(text)).await
    }

    /// From here on plans are the planner's choice again.
    pub(crate) async fn in_any_order(&self) -> StoreResult<()> {
        let text = "SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on; SET LOCAL enable_sort = on";
        self.send(self.client.batch_execute(text)).await
    }

    /// Maps an error, and remembers what it means for the transaction and for the connection.
    pub(crate) fn error(&self, error: &tokio_postgres::Error) -> StoreError {
        let mapped = map_error(error);
        self.failed.store(true, Ordering::Relaxed);
        if mapped.again {
            self.again.store(true, Ordering::Relaxed);
        }
        if mapped.broken {
            self.broken.store(true, Ordering::Relaxed);
        }
        mapped.error
    }

    /// Whether any statement failed: nothing of the transaction can be kept then.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether the server asked for the transaction to be run again.
    pub(crate) fn again(&self) -> bool {
        self.again.load(Ordering::Relaxed)
    }

    /// Whether the connection must be thrown away.
    pub(crate) fn broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Conn for PgConn<'_> {
    async fn execute(&mut self, sql: &'static Sql, params: &[Value]) -> StoreResult<u64> {
        self.run(sql.text, &references(params)).await
    }

    async fn query(&mut self, sql: &'static Sql, params: &[Value]) -> StoreResult<Vec<Row>> {
        let rows = self.rows(sql.text, &references(params)).await?;
        rows.iter().map(row_of).collect()
    }

    async fn query_built(&mut self, text: &str, params: &[Value]) -> StoreResult<Vec<Row>> {
        // Not prepared by name: there are more of them than a connection should remember.
        let typed: Vec<(&(dyn ToSql + Sync), Type)> = params
            .iter()
            .map(|value| (value as &(dyn ToSql + Sync), type_of(value)))
            .collect();
        let rows = self.send(self.client.query_typed(text, &typed)).await?;
        rows.iter().map(row_of).collect()
    }
}

/// A connection to a standby, or one that is gone, shows at the first statement.
fn not_primary(error: &tokio_postgres::Error, mapped: StoreError) -> StoreError {
    match error.code().map(tokio_postgres::error::SqlState::code) {
        Some("22012") => StoreError::Unavailable("the server is a standby".into()),
        _ => mapped,
    }
}

fn references(params: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    params
        .iter()
        .map(|value| value as &(dyn ToSql + Sync))
        .collect()
}
