//! The engine's driver: owns the lease, runs the machine, and does what it asks for against the store.
//!
//! One task owns the machine and feeds it; everything that waits (for the store, for an endpoint) is a task of its own
//! and answers with an input. The machine decides, the driver never does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mainstay_domain::{
    Clock, NodeId, Random, Scope, Store, StoreExt, StoreResult,
    jobs::{Flow, QueueNumber},
    store::Lease,
};
use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
};

mod batch;
mod configure;
mod owner;
mod perform;
mod read_along;
mod settle;
mod work;
mod workers;

use super::{
    handler::{Announcer, Registry},
    machine::{CheckpointBody, EngineSnapshot, Limits, PaceSnapshot, QueueMark, QueueSnapshot},
    workers::Workers,
};
use crate::{sagas::Bell, watch::Samples};
use owner::{Over, Owner};
use read_along::ReadAlong;
pub(super) use work::own_policy;

/// The lease that makes a node the owner.
const LEASE: &str = "engine";
/// How long the lease lasts unless it is renewed; a third of that is the time between renewals.
const LEASE_TTL: Duration = Duration::from_secs(6);

/// What the engine is told at the start.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// This process.
    pub node: NodeId,
    /// The machine's bounds.
    pub limits: Limits,
    /// How long the lease lasts: for so long a dead owner's jobs wait.
    pub lease_ttl: Duration,
    /// By which the runs of sagas hear of the ends of their jobs.
    pub bell: Arc<Bell>,
}

impl EngineOptions {
    /// The defaults for this node.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            limits: Limits::default(),
            lease_ttl: LEASE_TTL,
            bell: Arc::default(),
        }
    }

    /// How often the lease is renewed.
    fn lease_renew(&self) -> Duration {
        self.lease_ttl / 3
    }

    /// For how long after it asked for the lease an owner acts: it stops well before another could take over.
    fn lease_acts(&self) -> Duration {
        self.lease_ttl - self.lease_ttl / 6
    }

    /// How often a node that stands by asks for the lease.
    fn stand_by(&self) -> Duration {
        self.lease_ttl / 6
    }
}

/// What every part of the driver shares.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) registry: Registry,
    pub(crate) announcer: Arc<dyn Announcer>,
    pub(crate) samples: Arc<Samples>,
    pub(crate) options: EngineOptions,
    pub(crate) workers: Arc<Workers>,
    read_along: ReadAlong,
    snapshot: watch::Sender<Arc<EngineSnapshot>>,
}

/// Starts engines.
pub struct Engine;

/// A running engine.
pub struct EngineHandle {
    stop: watch::Sender<bool>,
    snapshot: watch::Receiver<Arc<EngineSnapshot>>,
    workers: Arc<Workers>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Starts the engine of this node: it owns the jobs, or stands by until it does.
    pub fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        registry: Registry,
        announcer: Arc<dyn Announcer>,
        samples: Arc<Samples>,
        options: EngineOptions,
    ) -> EngineHandle {
        let (snapshot, seen) = watch::channel(Arc::default());
        let (stop, stopped) = watch::channel(false);
        let workers = Workers::new(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&samples));
        let workers = Arc::new(workers);
        let shared = Arc::new(Shared {
            store,
            clock,
            random,
            registry,
            announcer,
            samples,
            options,
            workers: Arc::clone(&workers),
            read_along: ReadAlong::default(),
            snapshot,
        });
        let task = tokio::spawn(shared.run(stopped));
        EngineHandle {
            stop,
            snapshot: seen,
            workers,
            task: Mutex::new(Some(task)),
        }
    }
}

impl EngineHandle {
    /// How everything stands, a moment ago at most.
    pub fn snapshot(&self) -> Arc<EngineSnapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// Tells of every new snapshot.
    pub fn changed(&self) -> watch::Receiver<Arc<EngineSnapshot>> {
        self.snapshot.clone()
    }

    /// The door for workers: open while this node owns the engine.
    pub fn workers(&self) -> &Arc<Workers> {
        &self.workers
    }

    /// Stops: nothing more is started, what runs is finished within a bound, everything is written down.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let Some(task) = self.task.lock().await.take() else {
            return;
        };
        if let Err(error) = task.await {
            tracing::error!(%error, "the engine ended in a panic");
        }
    }
}

impl Drop for EngineHandle {
    /// Without a stop it ends like a process that is killed: nothing is written down, the lease runs out by itself.
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().take() {
            task.abort();
        }
    }
}

impl Shared {
    async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            if *stop.borrow() {
                return;
            }
            let asked = Instant::now();
            match self.take_lease().await {
                Ok(Some(lease)) => {
                    if self.own(lease, asked, &mut stop).await {
                        return;
                    }
                }
                Ok(None) => self.stand_by().await,
                Err(error) => tracing::warn!(%error, "the engine's lease could not be asked for"),
            }
            tokio::select! {
                () = tokio::time::sleep(self.options.stand_by()) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn take_lease(&self) -> StoreResult<Option<Lease>> {
        self.store
            .lease_take(LEASE, self.options.node, self.options.lease_ttl)
            .await
    }

    /// Owns the engine until it is stopped (true) or must give up (false).
    async fn own(
        self: &Arc<Self>,
        lease: Lease,
        asked: Instant,
        stop: &mut watch::Receiver<bool>,
    ) -> bool {
        tracing::info!(epoch = lease.epoch, "this node owns the engine");
        let over = match Owner::recover(Arc::clone(self), lease).await {
            Ok(owner) => owner.run(asked, stop).await,
            Err(error) => {
                tracing::error!(%error, "the engine could not begin where its predecessor stopped; trying again");
                Over::Failed
            }
        };
        self.workers.close();
        self.snapshot.send_replace(Arc::default());
        match over {
            Over::Stopped => {
                if let Err(error) = self.store.lease_release(LEASE, self.options.node).await {
                    tracing::debug!(%error, "the lease could not be given up; it runs out by itself");
                }
                true
            }
            Over::Replaced => {
                tracing::warn!("another node has taken the engine over");
                false
            }
            Over::Failed => false,
        }
    }

    /// What a node that stands by shows: the figures that the owner wrote down last.
    async fn stand_by(&self) {
        let loaded = self
            .store
            .read(Scope::System("standing by"), |tx| {
                Box::pin(async move { tx.checkpoint_load().await })
            })
            .await;
        let Ok(Some(checkpoint)) = loaded else { return };
        let Ok(body) = serde_json::from_str::<CheckpointBody>(&checkpoint.body) else {
            return;
        };
        let queues = body
            .queues
            .into_iter()
            .map(|(queue, mark)| written_down(queue, &mark))
            .collect();
        let snapshot = EngineSnapshot {
            owner: false,
            running: false,
            at: checkpoint.at,
            held: 0,
            queues,
        };
        self.snapshot.send_replace(Arc::new(snapshot));
    }
}

fn written_down(queue: QueueNumber, mark: &QueueMark) -> QueueSnapshot {
    let tally = mark.tally;
    let dead = tally.dead - tally.revived;
    QueueSnapshot {
        queue,
        waiting: (tally.created - tally.done - tally.cancelled - dead).max(0),
        running: 0,
        retrying: 0,
        scheduled: 0,
        dead,
        oldest_waiting: None,
        tally,
        breaker: None,
        pace: PaceSnapshot::default(),
        pressure: mark.pressure,
        flow: Flow::Running,
        limited: 0,
        drained: None,
        tenants: Vec::new(),
    }
}
