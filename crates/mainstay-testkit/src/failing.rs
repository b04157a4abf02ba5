//! A store that fails on purpose: before a transaction, or after its commit, when only the answer is lost.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mainstay_domain::{
    NodeId, Scope, Store, StoreError, StoreResult,
    intake::{Appended, Arrival},
    store::{BoxFuture, Database, Erased, Lease, Table, Work, each},
};
use tokio::sync::watch;

#[derive(Debug, Default)]
struct Plan {
    /// Transactions so far.
    count: u64,
    before: Vec<u64>,
    after: Vec<u64>,
}

/// Passes everything on to a real store, except where it was told to fail. Transactions count from 1.
pub struct FailingStore {
    inner: Arc<dyn Store>,
    plan: Mutex<Plan>,
    down: AtomicBool,
    hung: watch::Sender<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Well,
    Before,
    After,
}

impl Fate {
    async fn befalls<T>(self, work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        if self == Self::Before {
            return Err(failed());
        }
        let result = work.await;
        if self == Self::After {
            return Err(failed());
        }
        result
    }
}

impl FailingStore {
    /// In front of this store.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            plan: Mutex::default(),
            down: AtomicBool::new(false),
            hung: watch::channel(false).0,
        }
    }

    /// The nth transaction from now does not happen.
    pub fn fail_before(&self, nth: u64) {
        let mut plan = self.plan();
        let at = plan.count + nth;
        plan.before.push(at);
    }

    /// The nth transaction from now commits, and its answer is lost.
    pub fn fail_after(&self, nth: u64) {
        let mut plan = self.plan();
        let at = plan.count + nth;
        plan.after.push(at);
    }

    /// Everything fails until this is taken back.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Nothing is answered until this is taken back; what was asked for meanwhile then goes on.
    pub fn set_hung(&self, hung: bool) {
        self.hung.send_replace(hung);
    }

    async fn answering(&self) {
        // The sender is our own: it cannot be gone.
        let _ = self.hung.subscribe().wait_for(|hung| !hung).await;
    }

    /// How many transactions were asked for.
    pub fn count(&self) -> u64 {
        self.plan().count
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self) -> Fate {
        let mut plan = self.plan();
        plan.count += 1;
        if self.is_down() || plan.before.contains(&plan.count) {
            Fate::Before
        } else if plan.after.contains(&plan.count) {
            Fate::After
        } else {
            Fate::Well
        }
    }

    fn is_down(&self) -> bool {
        self.down.load(Ordering::SeqCst)
    }

    fn up(&self) -> StoreResult<()> {
        if self.is_down() {
            return Err(failed());
        }
        Ok(())
    }
}

fn failed() -> StoreError {
    StoreError::Unavailable("failed on purpose".into())
}

impl Store for FailingStore {
    fn database(&self) -> Database {
        self.inner.database()
    }

    fn transact_erased(&self, scope: Scope, work: Work) -> BoxFuture<'_, StoreResult<Erased>> {
        let fate = self.fate();
        Box::pin(async move {
            self.answering().await;
            fate.befalls(self.inner.transact_erased(scope, work)).await
        })
    }

    fn append(
        &self,
        config_version: i64,
        arrivals: Arc<[Arrival]>,
    ) -> BoxFuture<'_, Vec<StoreResult<Vec<Appended>>>> {
        let (fate, count) = (self.fate(), arrivals.len());
        Box::pin(async move {
            self.answering().await;
            let appended = self.inner.append(config_version, arrivals);
            match fate.befalls(async { Ok(appended.await) }).await {
                Ok(answers) => answers,
                Err(error) => each(count, Err(error)),
            }
        })
    }

    fn read_erased(&self, scope: Scope, work: Work) -> BoxFuture<'_, StoreResult<Erased>> {
        Box::pin(async move {
            self.answering().await;
            self.up()?;
            self.inner.read_erased(scope, work).await
        })
    }

    fn query(
        &self,
        scope: Scope,
        statement: String,
        rows_max: usize,
    ) -> BoxFuture<'_, StoreResult<Table>> {
        Box::pin(async move {
            self.up()?;
            self.inner.query(scope, statement, rows_max).await
        })
    }

    fn vault(&self) -> &Arc<mainstay_domain::vault::Vault> {
        self.inner.vault()
    }

    fn wake(&self) {
        self.inner.wake();
    }

    fn woken(&self) -> BoxFuture<'_, ()> {
        self.inner.woken()
    }

    fn lease_take(
        &self,
        name: &'static str,
        holder: NodeId,
        ttl: Duration,
    ) -> BoxFuture<'_, StoreResult<Option<Lease>>> {
        Box::pin(async move {
            self.up()?;
            self.inner.lease_take(name, holder, ttl).await
        })
    }

    fn lease_release(&self, name: &'static str, holder: NodeId) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            self.up()?;
            self.inner.lease_release(name, holder).await
        })
    }

    fn lease_given_up(&self) -> BoxFuture<'_, ()> {
        self.inner.lease_given_up()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}
