//! Intake without a database: it knows its sources from a snapshot, and everything that it takes goes into the spool.

use std::{collections::HashMap, sync::Arc};

use mainstay_domain::{
    Clock, NodeId, Random, Scope, Store, StoreError, StoreResult,
    intake::certificates::Certificates,
    store::{BoxFuture, Database, Erased, Lease, Table, Work},
    vault::Vault,
};

use super::{
    super::{Beside, Intake, doors::Doors, spool::Spool},
    Snapshot, SnapshotError, SnapshotStatus,
};
use crate::watch::Samples;

/// What intake without a database is made from.
pub struct Away {
    /// Where requests go.
    pub spool: Arc<Spool>,
    /// The keys; the store that comes later has the same.
    pub vault: Arc<Vault>,
    /// Where "now" comes from.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub random: Arc<dyn Random>,
    /// Certificates that providers sign with.
    pub certificates: Arc<dyn Certificates>,
    /// How many requests of an address may fail in a minute before it is distrusted; 0: as many as like.
    pub failures_per_minute: u32,
}

impl Away {
    /// Takes requests into the spool, by what the snapshot says of the sources. Fails where the snapshot's key is not to
    /// be had.
    ///
    /// The spool is shared with the intake that comes when the database is back: while both take requests, each of them
    /// goes into the spool or into the database, and what is in the spool is stored by the other one.
    pub fn start(self, snapshot: &Snapshot) -> Result<Arc<Intake>, SnapshotError> {
        // So that what is spooled is sealed.
        self.vault.learn(0, &snapshot.key)?;
        self.spool.begin(self.clock.now());
        self.spool.snapshot_used(SnapshotStatus {
            taken_at: Some(snapshot.taken_at),
            used: true,
            failing: None,
        });
        let doors = Doors::new(snapshot.config(), &HashMap::new(), None);
        let store = Arc::new(Gone { vault: self.vault });
        let beside = Beside {
            spool: Some(self.spool),
            failures_per_minute: self.failures_per_minute,
            ..Beside::default()
        };
        let samples = Arc::new(Samples::default());
        Ok(Intake::assembled(
            store,
            self.clock,
            self.random,
            HashMap::new(),
            samples,
            self.certificates,
            beside,
            doors,
            true,
        ))
    }
}

/// The store of a process that has none yet: it holds the keys, and whatever is asked of it is to be had later.
struct Gone {
    vault: Arc<Vault>,
}

impl Gone {
    fn error() -> StoreError {
        StoreError::Unavailable("this process started without it".into())
    }
}

impl Store for Gone {
    fn database(&self) -> Database {
        Database::Postgres
    }

    fn transact_erased(&self, _: Scope, _: Work) -> BoxFuture<'_, StoreResult<Erased>> {
        Box::pin(async { Err(Self::error()) })
    }

    fn read_erased(&self, _: Scope, _: Work) -> BoxFuture<'_, StoreResult<Erased>> {
        Box::pin(async { Err(Self::error()) })
    }

    fn query(&self, _: Scope, _: String, _: usize) -> BoxFuture<'_, StoreResult<Table>> {
        Box::pin(async { Err(Self::error()) })
    }

    fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    fn wake(&self) {}

    fn woken(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    fn lease_take(
        &self,
        _: &'static str,
        _: NodeId,
        _: std::time::Duration,
    ) -> BoxFuture<'_, StoreResult<Option<Lease>>> {
        Box::pin(async { Err(Self::error()) })
    }

    fn lease_release(&self, _: &'static str, _: NodeId) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async { Err(Self::error()) })
    }

    fn lease_given_up(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
