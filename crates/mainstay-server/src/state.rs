//! What every handler can reach.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use mainstay::{
    Mainstay,
    intake::{BuiltinQueues, Intake, replay::Replays},
    jobs::{BuiltinHandlers, EngineHandle},
    nodes::Nodes,
    sagas::Sagas,
    schedules::Schedules,
    watch::Samples,
};
use mainstay_domain::{Cidr, Clock, Random, Store};
use tokio::sync::watch;

use crate::{
    access::{
        idempotency::InProgress, keys::Keys, password::Passwords, rate::Rate, reads::Reads,
        throttle::Throttle,
    },
    config::{Config, Limits},
    metrics::Metrics,
    nodes::Door,
    stats::Stats,
    stream::Hub,
};

/// The running node, as handlers reach it; `serve` holds the whole, to stop it.
pub(crate) struct Node {
    /// Takes webhooks in.
    pub(crate) intake: Arc<Intake>,
    /// Carries jobs out.
    pub(crate) engine: Arc<EngineHandle>,
    /// Counts and what is live.
    pub(crate) samples: Arc<Samples>,
    /// Takes the steps of replays.
    pub(crate) replays: Arc<Replays>,
    /// Makes the jobs of schedules.
    pub(crate) schedules: Arc<Schedules>,
    /// Carries on the runs of sagas.
    pub(crate) sagas: Arc<Sagas>,
    /// The queues of built-in job kinds.
    pub(crate) builtin: Arc<BuiltinQueues>,
    /// The names of those queues.
    pub(crate) builtin_queues: Arc<BTreeSet<String>>,
    /// The nodes on this database.
    pub(crate) nodes: Arc<Nodes>,
    /// The handlers of built-in job kinds.
    pub(crate) handlers: Arc<BuiltinHandlers>,
}

/// The running server.
pub(crate) struct App {
    /// The engine and what belongs to it.
    pub(crate) mainstay: Node,
    /// The database.
    pub(crate) store: Arc<dyn Store>,
    /// Where "now" comes from.
    pub(crate) clock: Arc<dyn Clock>,
    /// Where ids and secrets come from.
    pub(crate) random: Arc<dyn Random>,
    /// API keys that were read a moment ago.
    pub(crate) keys: Keys,
    /// Hashing of passwords, a few at a time.
    pub(crate) passwords: Passwords,
    /// Failed sign-ins.
    pub(crate) throttle: Throttle,
    /// Requests of each caller in this minute.
    pub(crate) rate: Rate,
    /// Reads that wait for their audit entry.
    pub(crate) reads: Reads,
    /// Writes with an `Idempotency-Key` that are under way.
    pub(crate) in_progress: InProgress,
    /// The way to other nodes; none: there can be none.
    pub(crate) door: Option<Door>,
    /// What the node keeps for workers.
    pub(crate) workers: crate::api::workers::Desk,
    /// Counts of requests.
    pub(crate) metrics: Metrics,
    /// Figures of sources and endpoints, a moment old at most.
    pub(crate) stats: Stats,
    /// How much room the database takes, an hour old at most.
    pub(crate) sizes: crate::sizes::Sizes,
    /// What streams are told.
    pub(crate) hub: Hub,
    /// Whether intake can commit, a moment old at most.
    pub(crate) ready: crate::health::Ready,
    /// Bounds.
    pub(crate) limits: Limits,
    /// Proxies that are believed.
    pub(crate) trusted_proxies: Vec<Cidr>,
    /// Where the server listens, as a URL.
    pub(crate) address: String,
    /// How the server is reached.
    pub(crate) public_url: Option<String>,
    /// Whether browsers come over TLS.
    pub(crate) secure: bool,
    /// Whether this is the demo.
    pub(crate) demo: bool,
    /// When the process began to serve.
    pub(crate) started: Instant,
    /// Turns true when the server is to stop.
    pub(crate) stop: watch::Receiver<bool>,
}

impl App {
    /// Puts the parts together.
    pub(crate) fn new(
        mainstay: &Mainstay,
        config: &Config,
        door: Option<Door>,
        address: String,
        stop: watch::Receiver<bool>,
    ) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(&mainstay.store),
            clock: Arc::clone(&mainstay.clock),
            random: Arc::clone(&mainstay.random),
            mainstay: Node {
                intake: Arc::clone(&mainstay.intake),
                engine: Arc::clone(&mainstay.engine),
                samples: Arc::clone(&mainstay.samples),
                replays: Arc::clone(&mainstay.replays),
                schedules: Arc::clone(&mainstay.schedules),
                sagas: Arc::clone(&mainstay.sagas),
                builtin: Arc::clone(&mainstay.builtin),
                builtin_queues: Arc::clone(&mainstay.builtin_queues),
                nodes: Arc::clone(&mainstay.nodes),
                handlers: Arc::clone(&mainstay.handlers),
            },
            door,
            keys: Keys::default(),
            passwords: Passwords::default(),
            throttle: Throttle::default(),
            rate: Rate::default(),
            reads: Reads::default(),
            in_progress: InProgress::default(),
            workers: crate::api::workers::Desk::default(),
            metrics: Metrics::default(),
            stats: Stats::default(),
            sizes: crate::sizes::Sizes::default(),
            hub: Hub::default(),
            ready: crate::health::Ready::default(),
            limits: config.limits,
            trusted_proxies: config.trusted_proxies.clone(),
            address,
            public_url: config.public_url.clone(),
            secure: config.secure(),
            demo: config.demo,
            started: Instant::now(),
            stop,
        })
    }

    /// How people reach this server.
    pub(crate) fn url(&self) -> &str {
        self.public_url.as_deref().unwrap_or(&self.address)
    }

    /// Says that sources, bindings or endpoints changed: intake looks again, and whoever watches hears of it.
    pub(crate) async fn configured(&self, kind: &'static str, id: impl ToString + Send + Sync) {
        self.configured_all(&[(kind, id)]).await;
    }

    /// The same of several at once.
    pub(crate) async fn configured_all(&self, changed: &[(&'static str, impl ToString + Sync)]) {
        for (kind, id) in changed {
            self.mainstay.samples.changed(kind, &[id.to_string()]);
        }
        // Intake finds out by itself with the next request; this only spares that one a second look.
        if let Err(error) = self.mainstay.intake.refresh().await {
            tracing::debug!(%error, "the configuration could not be looked at again");
        }
        self.store.wake();
    }

    /// How long the server has been running.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
