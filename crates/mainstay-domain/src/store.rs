//! The `Store` port: transactions in a scope, waking, leases.
//!
//! What belongs together runs in one [`StoreExt::transact`] closure. The closure may run more
//! than once (a lost batch, a serialization failure) and awaits nothing but the transaction's
//! own operations: on SQLite its future is polled once, and `Pending` is an error.
//! No network call ever happens inside one.

use std::{any::Any, future::Future, pin::Pin, sync::Arc, time::Duration};

use crate::{
    access::AccessTx,
    billing::BillingTx,
    error::{StoreError, StoreResult},
    id::{NodeId, TenantId},
    intake::{
        Appended, Arrival, Blob, IntakeTx, drift::DriftTx, expect::ExpectTx, follow::FollowTx,
        links::LinksTx, objects::ObjectsTx, replay::ReplayTx, rhythm::RhythmTx, schemas::SchemasTx,
    },
    jobs::JobsTx,
    nodes::NodesTx,
    sagas::SagasTx,
    schedules::SchedulesTx,
    time::Timestamp,
    vault::{DataKey, Known, Place, Vault, VaultTx},
    watch::WatchTx,
};

/// A boxed future that can be sent between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Which database is behind the port. For display and for `doctor`; never to branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// Embedded SQLite: one node.
    Sqlite,
    /// PostgreSQL: many nodes.
    Postgres,
}

impl Database {
    /// `sqlite` or `postgres`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// Whose data a transaction may touch (SEC-01..04).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One tenant's rows and nothing else.
    Tenant(TenantId),
    /// Everything. The reason is shown in logs.
    System(&'static str),
}

impl Scope {
    /// Fails unless rows of this tenant are inside the scope.
    pub fn admit(self, tenant: TenantId) -> StoreResult<()> {
        match self {
            Self::Tenant(own) if own != tenant => Err(StoreError::OutOfScope),
            Self::Tenant(_) | Self::System(_) => Ok(()),
        }
    }

    /// The one tenant that lists are restricted to; `None` for the system scope.
    pub const fn tenant(self) -> Option<TenantId> {
        match self {
            Self::Tenant(tenant) => Some(tenant),
            Self::System(_) => None,
        }
    }
}

/// The operations of one transaction: the domain's verbs, area by area.
pub trait Tx:
    IntakeTx
    + LinksTx
    + ReplayTx
    + SchemasTx
    + DriftTx
    + ObjectsTx
    + FollowTx
    + RhythmTx
    + ExpectTx
    + JobsTx
    + SagasTx
    + SchedulesTx
    + AccessTx
    + BillingTx
    + WatchTx
    + VaultTx
    + NodesTx
    + Send
{
}
impl<T> Tx for T where
    T: IntakeTx
        + LinksTx
        + ReplayTx
        + SchemasTx
        + DriftTx
        + ObjectsTx
        + FollowTx
        + RhythmTx
        + ExpectTx
        + JobsTx
        + SagasTx
        + SchedulesTx
        + AccessTx
        + BillingTx
        + WatchTx
        + VaultTx
        + NodesTx
        + Send
{
}

/// The type-erased result of a transaction.
pub type Erased = Box<dyn Any + Send>;
/// A transaction's body, type-erased. Runs once or more; only its last run counts.
pub type Work =
    Arc<dyn for<'t> Fn(&'t mut dyn Tx) -> BoxFuture<'t, StoreResult<Erased>> + Send + Sync>;

/// A lease that was taken: its holder may act until it must have been renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Grows by one whenever the holder changes.
    pub epoch: i64,
}

/// The port to the database. One implementation for SQLite, one for PostgreSQL, one suite for both.
pub trait Store: Send + Sync {
    /// Which database this is.
    fn database(&self) -> Database;

    /// Runs the work in one transaction that reads and writes. Prefer [`StoreExt::transact`].
    fn transact_erased(&self, scope: Scope, work: Work) -> BoxFuture<'_, StoreResult<Erased>>;

    /// Commits verified requests as [`IntakeTx::event_append`] does, in as many transactions as the database likes: each
    /// request in one of them, whole, with an answer of its own. Released after the last commit. The hot path.
    fn append(
        &self,
        config_version: i64,
        arrivals: Arc<[Arrival]>,
    ) -> BoxFuture<'_, Vec<StoreResult<Vec<Appended>>>> {
        let count = arrivals.len();
        let work = erase(move |tx: &mut dyn Tx| {
            let arrivals = Arc::clone(&arrivals);
            Box::pin(async move { tx.event_append(config_version, &arrivals).await })
        });
        let appended = self.transact_erased(Scope::System("intake"), work);
        Box::pin(async move { each(count, appended.await.and_then(recover)) })
    }

    /// Runs the work in one read-only snapshot. Prefer [`StoreExt::read`].
    fn read_erased(&self, scope: Scope, work: Work) -> BoxFuture<'_, StoreResult<Erased>>;

    /// Runs one read-only statement of a person's (`mainstay sql`), bounded in rows and time.
    fn query(
        &self,
        scope: Scope,
        statement: String,
        rows_max: usize,
    ) -> BoxFuture<'_, StoreResult<Table>>;

    /// The keys that values are sealed with on their way in, and opened with on their way out.
    fn vault(&self) -> &Arc<Vault>;

    /// Says that work has been committed which the engine, here or on another node, may want to see.
    /// Coalesced; never blocks.
    fn wake(&self);

    /// Resolves when [`Store::wake`] was called, here or on another node, since this last resolved.
    /// A wake can be lost (a broken connection): callers look again after a while anyway.
    fn woken(&self) -> BoxFuture<'_, ()>;

    /// Takes the named lease when it is free, expired or ours already; `None` while another holds it.
    /// The holder counts `ttl` from before this call on its own monotonic clock.
    fn lease_take(
        &self,
        name: &'static str,
        holder: NodeId,
        ttl: Duration,
    ) -> BoxFuture<'_, StoreResult<Option<Lease>>>;

    /// Gives the lease up, if it is still ours.
    fn lease_release(&self, name: &'static str, holder: NodeId) -> BoxFuture<'_, StoreResult<()>>;

    /// Resolves when another node gave a lease up since this last resolved. It can be lost, like a wake: whoever waits
    /// for a lease asks for it now and then anyway.
    fn lease_given_up(&self) -> BoxFuture<'_, ()>;

    /// Stops accepting work, finishes what was accepted, closes connections.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// What a person's read-only statement answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Column names.
    pub columns: Vec<String>,
    /// Rows of cells.
    pub rows: Vec<Vec<serde_json::Value>>,
    /// Whether there were more rows than were asked for.
    pub truncated: bool,
}

/// The typed face of [`Store`].
pub trait StoreExt: Store {
    /// Runs `work` in one transaction. Its result is released after the commit.
    fn transact<T, F>(&self, scope: Scope, work: F) -> impl Future<Output = StoreResult<T>> + Send
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut dyn Tx) -> BoxFuture<'t, StoreResult<T>> + Send + Sync + 'static,
    {
        let erased = self.transact_erased(scope, erase(work));
        async move { recover(erased.await?) }
    }

    /// Runs `work` in one read-only snapshot.
    fn read<T, F>(&self, scope: Scope, work: F) -> impl Future<Output = StoreResult<T>> + Send
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut dyn Tx) -> BoxFuture<'t, StoreResult<T>> + Send + Sync + 'static,
    {
        let erased = self.read_erased(scope, erase(work));
        async move { recover(erased.await?) }
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

/// Sealing and opening outside of a transaction.
pub trait VaultExt: Store {
    /// The key that this tenant's values are sealed with; made where there is none. `None` while the vault is off.
    fn data_key(
        &self,
        tenant: TenantId,
        at: Timestamp,
    ) -> impl Future<Output = StoreResult<Option<Arc<DataKey>>>> + Send {
        async move {
            let vault = self.vault();
            if !vault.on() {
                return Ok(None);
            }
            if let Some(key) = vault.current(tenant) {
                return Ok(Some(key));
            }
            loop {
                let (changes, row) = self
                    .transact(Scope::System("vault"), move |tx| {
                        Box::pin(async move {
                            let changes = tx.vault_state().await?.changes;
                            Ok((changes, tx.data_key_ensure(tenant, at).await?))
                        })
                    })
                    .await?;
                let Some(row) = row else { return Ok(None) };
                match vault.learn(changes, &row)? {
                    (Known::Key(key), true) => return Ok(Some(key)),
                    (Known::Destroyed, true) => return Err(StoreError::Erased),
                    // Keys were retired meanwhile.
                    (_, false) => {}
                }
            }
        }
    }

    /// A value, opened; its key is read where it is not at hand.
    fn opened(&self, place: Place, blob: &Blob) -> impl Future<Output = StoreResult<Blob>> + Send {
        let blob = blob.clone();
        async move {
            if let Some(opened) = self.vault().open_now(&place, &blob) {
                return Ok(opened?);
            }
            self.read(Scope::System("vault"), move |tx| {
                let blob = blob.clone();
                Box::pin(async move { tx.blob_open(&place, blob).await })
            })
            .await
        }
    }
}

impl<S: Store + ?Sized> VaultExt for S {}

/// The answers to requests that were appended together, one for each.
pub fn each<T>(count: usize, together: StoreResult<Vec<T>>) -> Vec<StoreResult<T>> {
    match together {
        Ok(all) => all.into_iter().map(Ok).collect(),
        Err(error) => (0..count).map(|_| Err(error.clone())).collect(),
    }
}

fn erase<T, F>(work: F) -> Work
where
    T: Send + 'static,
    F: for<'t> Fn(&'t mut dyn Tx) -> BoxFuture<'t, StoreResult<T>> + Send + Sync + 'static,
{
    Arc::new(move |tx| {
        let typed = work(tx);
        Box::pin(async move { typed.await.map(|value| Box::new(value) as Erased) })
    })
}

fn recover<T: 'static>(erased: Erased) -> StoreResult<T> {
    match erased.downcast::<T>() {
        Ok(value) => Ok(*value),
        Err(_) => Err(StoreError::Bug(
            "a transaction answered with another type".into(),
        )),
    }
}
