//! The port on PostgreSQL.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use deadpool_postgres::Pool;
use mainstay_domain::{
    EventId, NodeId, Scope, Store, StoreError, StoreExt, StoreResult,
    intake::{Appended, Arrival},
    store::{BoxFuture, Database, Erased, Lease, Table, Work, each},
    vault::Vault,
};
use tokio::sync::RwLock;

use super::{
    append::append_new,
    conn::PgConn,
    connect::{check_server, connect_plain},
    pool::{ROLE_APP, ROLE_SYSTEM, Taken, pool},
    statement,
    url::PostgresUrl,
    wake::Wake,
};
use crate::{
    migrate::Migrator,
    setup::SetupResult,
    tx::{Body, Dialect, SqlTx, answer, body, port},
};

/// How often a transaction is run when the server gives up on it because of others.
const RUNS_MAX: u32 = 5;

/// Whoever only reads asks whether the server is the primary: on a standby this divides by zero. A writer is told when
/// it writes.
const PRIMARY: &str = "1 / (NOT pg_is_in_recovery())::int";

/// Address, sizes and limits.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// The server, as a user who is a member of both roles.
    pub url: PostgresUrl,
    /// Connections for tenants' transactions.
    pub pool_app: usize,
    /// Connections for the system's transactions.
    pub pool_system: usize,
    /// How long one statement may take.
    pub statement_timeout: Duration,
    /// How long a person's own statement may take.
    pub query_timeout: Duration,
    /// How long a statement may wait for a lock.
    pub lock_timeout: Duration,
    /// How long a transaction may do nothing.
    pub idle_in_transaction_timeout: Duration,
}

impl PostgresOptions {
    /// The defaults for this address.
    pub fn new(url: PostgresUrl) -> Self {
        Self {
            url,
            pool_app: 8,
            pool_system: 8,
            statement_timeout: Duration::from_secs(30),
            query_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(5),
            idle_in_transaction_timeout: Duration::from_secs(60),
        }
    }
}

/// The store on PostgreSQL. Any number of processes.
pub struct PostgresStore {
    app: Pool,
    system: Pool,
    wake: Arc<Wake>,
    query_timeout: Duration,
    /// Held for reading by every transaction; closing waits for them.
    open: RwLock<()>,
    vault: Arc<Vault>,
}

/// How one run of a transaction ended.
enum Ran {
    Answer(StoreResult<Erased>),
    /// Nothing stays of it and it was not its fault.
    Again(StoreError),
}

impl PostgresStore {
    /// Connects to a database that has been migrated; refuses a server that can lose what it has acknowledged.
    pub async fn connect(options: PostgresOptions) -> SetupResult<Self> {
        Self::connect_at(options, Migrator::embedded()).await
    }

    /// The same, for a database that has these migrations.
    pub(crate) async fn connect_at(
        options: PostgresOptions,
        migrator: Migrator,
    ) -> SetupResult<Self> {
        let client = connect_plain(&options.url).await?;
        check_server(&client).await?;
        migrator.check_postgres(&client).await?;
        let store = Self {
            app: pool(&options, ROLE_APP, options.pool_app)?,
            system: pool(&options, ROLE_SYSTEM, options.pool_system)?,
            wake: Wake::start(&options.url)?,
            query_timeout: options.query_timeout,
            open: RwLock::new(()),
            vault: Vault::off(),
        };
        // Both roles can be taken, or the operator learns of it now.
        for pool in [&store.app, &store.system] {
            Taken::from(pool).await?.give_back();
        }
        Ok(store)
    }

    /// Seals and opens values with these keys.
    pub fn with_vault(mut self, vault: Arc<Vault>) -> Self {
        self.vault = vault;
        self
    }

    /// Runs a body in a transaction that reads and writes.
    pub(crate) async fn write(&self, scope: Scope, body: Body) -> StoreResult<Erased> {
        self.run(scope, "BEGIN", None, body).await
    }

    /// Runs a body in a read-only snapshot.
    pub(crate) async fn read(&self, scope: Scope, body: Body) -> StoreResult<Erased> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        self.run(scope, begin, Some(PRIMARY), body).await
    }

    fn pool(&self, scope: Scope) -> &Pool {
        match scope {
            Scope::Tenant(_) => &self.app,
            Scope::System(_) => &self.system,
        }
    }

    async fn run(
        &self,
        scope: Scope,
        begin: &str,
        check: Option<&str>,
        body: Body,
    ) -> StoreResult<Erased> {
        let _open = self.open.read().await;
        // A UUID has no characters that would need quoting.
        let tenant = scope
            .tenant()
            .map(|tenant| format!("set_config('mainstay.tenant', '{}', true)", tenant.uuid()));
        let first: Vec<&str> = tenant.as_deref().into_iter().chain(check).collect();
        let begin = match first.is_empty() {
            true => begin.to_owned(),
            false => format!("{begin}; SELECT {}", first.join(", ")),
        };
        let mut runs = 1;
        loop {
            match self.once(scope, &begin, &body).await? {
                Ran::Answer(result) => return result,
                Ran::Again(error) if runs == RUNS_MAX => return Err(error),
                Ran::Again(error) => {
                    tracing::debug!(%error, runs, "a transaction is run again");
                    tokio::time::sleep(pause(runs)).await;
                    runs += 1;
                }
            }
        }
    }

    async fn once(&self, scope: Scope, begin: &str, body: &Body) -> StoreResult<Ran> {
        let taken = Taken::from(self.pool(scope)).await?;
        let client = taken.client()?;
        let conn = PgConn::new(client, begin.to_owned());
        let mut tx = SqlTx {
            scope,
            conn: Dialect::Postgres(conn),
            vault: Arc::clone(&self.vault),
            keys: Vec::new(),
        };
        let result = body(&mut tx).await;
        let Dialect::Postgres(conn) = tx.conn else {
            return Err(StoreError::Bug("the connection was exchanged".into()));
        };
        if !conn.has_begun() && !conn.failed() {
            taken.give_back();
            return Ok(Ran::Answer(result));
        }
        let result = match result {
            Ok(_) if conn.failed() => Err(StoreError::Bug(
                "a transaction went on after a statement had failed".into(),
            )),
            // The empty SELECT fails when the transaction has failed without our noticing: a bare COMMIT would then
            // roll back and say nothing.
            Ok(value) => match client.batch_execute("SELECT; COMMIT").await {
                Ok(()) => {
                    taken.give_back();
                    return Ok(Ran::Answer(Ok(value)));
                }
                Err(error) => Err(conn.error(&error)),
            },
            Err(error) => Err(error),
        };
        let again = conn.again();
        if !conn.broken() && client.batch_execute("ROLLBACK").await.is_ok() {
            taken.give_back();
        }
        Ok(match result {
            Err(error) if again => Ran::Again(error),
            result => Ran::Answer(result),
        })
    }

    /// Appends the short way. Answers which events are committed; what is not among them is to go the long way.
    async fn append_new(
        &self,
        config_version: i64,
        arrivals: &[Arrival],
    ) -> StoreResult<HashSet<EventId>> {
        let _open = self.open.read().await;
        let taken = Taken::from(&self.system).await?;
        let client = taken.client()?;
        let conn = PgConn::begun(client);
        let result = append_new(client, &conn, config_version, arrivals).await;
        let (again, broken) = (conn.again(), conn.broken());
        if result.is_ok() || !broken && client.batch_execute("ROLLBACK").await.is_ok() {
            taken.give_back();
        }
        match result {
            Err(error) if again => {
                tracing::debug!(%error, "an append takes the long way");
                Ok(HashSet::new())
            }
            result => result,
        }
    }

    /// Appends in a transaction of its own whatever it is.
    async fn append_long(
        &self,
        config_version: i64,
        arrivals: Arc<[Arrival]>,
    ) -> StoreResult<Vec<Vec<Appended>>> {
        self.transact(Scope::System("intake"), move |tx| {
            let arrivals = Arc::clone(&arrivals);
            Box::pin(async move { tx.event_append(config_version, &arrivals).await })
        })
        .await
    }

    async fn statement(&self, statement: &str, rows_max: usize) -> StoreResult<Table> {
        let _open = self.open.read().await;
        // Never given back: whatever the statement did to its session ends with the connection.
        let taken = Taken::from(&self.system).await?;
        statement::run(taken.client()?, statement, rows_max, self.query_timeout).await
    }
}

/// Longer each time, and never the same for two transactions that are in each other's way.
fn pause(runs: u32) -> Duration {
    let most_us = 10_000_u64 << runs;
    Duration::from_micros(RandomState::new().hash_one(runs) % most_us)
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.wake.close();
    }
}

impl Store for PostgresStore {
    fn database(&self) -> Database {
        Database::Postgres
    }

    fn transact_erased(&self, scope: Scope, work: Work) -> BoxFuture<'_, StoreResult<Erased>> {
        Box::pin(self.write(scope, port(work)))
    }

    fn append(
        &self,
        config_version: i64,
        arrivals: Arc<[Arrival]>,
    ) -> BoxFuture<'_, Vec<StoreResult<Vec<Appended>>>> {
        Box::pin(async move {
            let new = match self.append_new(config_version, &arrivals).await {
                Ok(new) => new,
                Err(error) => return each(arrivals.len(), Err(error)),
            };
            let known = |arrival: &Arrival| match &arrival.events[..] {
                [event] if new.contains(&event.id) => Some(vec![Appended::New(event.id)]),
                _ => None,
            };
            let rest: Arc<[Arrival]> = arrivals
                .iter()
                .filter(|arrival| known(arrival).is_none())
                .cloned()
                .collect();
            let mut rest = match rest.len() {
                0 => Vec::new(),
                count => each(count, self.append_long(config_version, rest).await),
            }
            .into_iter();
            let missing = || Err(StoreError::Bug("an arrival without an answer".into()));
            let answers = arrivals.iter().map(|arrival| match known(arrival) {
                Some(appended) => Ok(appended),
                None => rest.next().unwrap_or_else(missing),
            });
            answers.collect()
        })
    }

    fn read_erased(&self, scope: Scope, work: Work) -> BoxFuture<'_, StoreResult<Erased>> {
        Box::pin(self.read(scope, port(work)))
    }

    fn query(
        &self,
        scope: Scope,
        statement: String,
        rows_max: usize,
    ) -> BoxFuture<'_, StoreResult<Table>> {
        Box::pin(async move {
            // A person's own statement can change the setting that row-level security looks at.
            if scope.tenant().is_some() {
                return Err(StoreError::OutOfScope);
            }
            self.statement(&statement, rows_max).await
        })
    }

    fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    fn wake(&self) {
        self.wake.wake();
    }

    fn woken(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.wake.woken())
    }

    fn lease_take(
        &self,
        name: &'static str,
        holder: NodeId,
        ttl: Duration,
    ) -> BoxFuture<'_, StoreResult<Option<Lease>>> {
        let take = body(move |tx| Box::pin(tx.lease_take(name, holder, ttl)));
        Box::pin(async move { answer(self.write(Scope::System("lease"), take).await?) })
    }

    fn lease_release(&self, name: &'static str, holder: NodeId) -> BoxFuture<'_, StoreResult<()>> {
        let release = body(move |tx| Box::pin(tx.lease_release(name, holder)));
        Box::pin(async move { answer(self.write(Scope::System("lease"), release).await?) })
    }

    fn lease_given_up(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.wake.lease_given_up())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let _all = self.open.write().await;
            self.wake.close();
            self.app.close();
            self.system.close();
        })
    }
}
