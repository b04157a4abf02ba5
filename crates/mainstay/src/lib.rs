//! Mainstay's engine and modules, as a library: give it a store, a clock, randomness and a way out, and it takes in
//! webhooks and carries out jobs.
//!
//! Data flows one way: intake → engine → handlers → effects. Nothing here knows HTTP servers, SQL or configuration files.
#![warn(missing_docs)]

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use mainstay_domain::{
    Clock, NodeId, Random, Scope, Store, StoreExt, StoreResult,
    intake::{certificates::Certificates, quarantine::Bounds},
    jobs::{http_out::HttpOut, retry::RetryPolicy},
};
use tokio::sync::watch as signal;

pub mod billing;
pub mod clean;
pub mod intake;
pub mod jobs;
pub mod nodes;
pub mod own;
pub mod sagas;
pub mod schedules;
pub mod vault;
pub mod watch;

use clean::Retention;
use intake::{Beside, BuiltinQueues, Intake, objects::Objects, replay::Replays, spool::Spool};
use jobs::{BuiltinHandlers, Engine, EngineHandle, EngineOptions, Registry};
use nodes::{Joining, Nodes};
use sagas::{Bell, Sagas};
use schedules::Schedules;
use vault::Rotations;
use watch::Samples;

/// How often counts are written down and those who watch are told.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// What Mainstay is built from.
pub struct Parts {
    /// Either database.
    pub store: Arc<dyn Store>,
    /// Where "now" comes from.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub random: Arc<dyn Random>,
    /// The way out, for pushes to endpoints.
    pub http_out: Arc<dyn HttpOut>,
    /// Certificates that providers sign with.
    pub certificates: Arc<dyn Certificates>,
    /// How long each kind of data is kept.
    pub retention: Retention,
    /// How much is kept of what was refused.
    pub quarantine: Bounds,
    /// Where requests go while the database does not take them; none: they are sent away.
    pub spool: Option<Arc<Spool>>,
    /// How many requests of an address may fail in a minute before it is distrusted; 0: as many as like.
    pub failures_per_minute: u32,
    /// How this process joins others on the same database; none: it is alone there.
    pub joining: Option<Joining>,
}

/// A running Mainstay: one node.
pub struct Mainstay {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Where "now" comes from.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub random: Arc<dyn Random>,
    /// Takes webhooks in.
    pub intake: Arc<Intake>,
    /// Takes the steps of replays.
    pub replays: Arc<Replays>,
    /// Makes the jobs of schedules.
    pub schedules: Arc<Schedules>,
    /// Carries on the runs of sagas.
    pub sagas: Arc<Sagas>,
    /// Keeps the index of objects.
    pub objects: Arc<Objects>,
    /// Takes the steps of rotations of keys.
    pub rotations: Arc<Rotations>,
    /// Carries jobs out.
    pub engine: Arc<EngineHandle>,
    /// The nodes on this database.
    pub nodes: Arc<Nodes>,
    /// Counts and what is live.
    pub samples: Arc<Samples>,
    /// The queues of built-in job kinds.
    pub builtin: Arc<BuiltinQueues>,
    /// The names of those queues.
    pub builtin_queues: Arc<BTreeSet<String>>,
    /// The handlers of built-in job kinds.
    pub handlers: Arc<BuiltinHandlers>,
    stop: signal::Sender<bool>,
    background: tokio::task::JoinSet<()>,
}

/// The modules: every built-in job kind with the queue that it waits in. Adding a capability adds a line here.
fn registry(clock: &Arc<dyn Clock>, random: &Arc<dyn Random>) -> Registry {
    let mut registry = Registry::default();
    registry.builtin(
        jobs::NOOP,
        jobs::NOOP_QUEUE,
        RetryPolicy::default(),
        Arc::new(jobs::Noop),
    );
    let record = billing::Record {
        clock: Arc::clone(clock),
    };
    registry.builtin(
        billing::RECORD,
        billing::QUEUE,
        RetryPolicy::inbound(),
        Arc::new(record),
    );
    let observe = intake::expect::Observe {
        clock: Arc::clone(clock),
        random: Arc::clone(random),
    };
    registry.builtin(
        intake::expect::OBSERVE,
        intake::expect::QUEUE,
        RetryPolicy::inbound(),
        Arc::new(observe),
    );
    registry
}

impl Mainstay {
    /// Starts everything. The store is migrated already.
    pub async fn start(parts: Parts) -> StoreResult<Self> {
        let Parts {
            store,
            clock,
            random,
            http_out,
            certificates,
            retention,
            quarantine,
            spool,
            failures_per_minute,
            joining,
        } = parts;
        let mut registry = registry(&clock, &random);
        let builtin = queues(&*store, &registry).await?;
        let handlers = Arc::new(registry.builtin_handlers());
        let named = registry.builtin_queues().into_iter();
        let builtin_queues = named.map(|(_, queue)| queue).collect();
        let samples = Arc::new(Samples::default());
        let intake = Intake::start(
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&random),
            builtin.clone(),
            Arc::clone(&samples),
            certificates,
            Beside {
                quarantine,
                spool,
                failures_per_minute,
            },
        )
        .await?;
        registry.outbound(
            intake::DELIVER,
            Arc::new(jobs::Deliver {
                intake: Arc::clone(&intake),
                store: Arc::clone(&store),
                http: http_out,
                clock: Arc::clone(&clock),
            }),
        );
        let announcer: Arc<dyn jobs::Announcer> = Arc::new(own::Own {
            intake: Arc::clone(&intake),
            clock: Arc::clone(&clock),
        });
        let bell = Arc::new(Bell::default());
        let id = match &joining {
            Some(joining) => joining.id,
            None => NodeId::new(clock.now(), &*random),
        };
        let nodes = Arc::new(Nodes::new(Arc::clone(&store), id, joining));
        // Whoever owns the engine is known by then.
        nodes.renew().await?;
        let options = EngineOptions {
            bell: Arc::clone(&bell),
            ..EngineOptions::new(id)
        };
        let sagas = Sagas::new(
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&random),
            Arc::clone(&announcer),
            Arc::clone(&samples),
            bell,
        );
        let engine = Engine::start(
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&random),
            registry,
            announcer,
            Arc::clone(&samples),
            options,
        );
        let builtin = Arc::new(builtin);
        let replays = Replays::new(
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&random),
            Arc::clone(&builtin),
        );
        let schedules = Schedules::new(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&random));
        let objects = Arc::new(Objects::new(&intake));
        let rotations = Rotations::new(Arc::clone(&store), Arc::clone(&clock));
        let rotations = Arc::new(rotations);
        let mut node = Self {
            store,
            clock,
            random,
            intake,
            replays: Arc::new(replays),
            schedules: Arc::new(schedules),
            sagas: Arc::new(sagas),
            objects,
            rotations,
            engine: Arc::new(engine),
            nodes,
            samples,
            builtin,
            builtin_queues: Arc::new(builtin_queues),
            handlers,
            stop: signal::channel(false).0,
            background: tokio::task::JoinSet::new(),
        };
        node.start_background(retention, quarantine);
        Ok(node)
    }

    /// Stops: the engine finishes what runs and writes down where it is, the last counts are written.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        self.engine.stop().await;
        self.nodes.leave().await;
        while self.background.join_next().await.is_some() {}
        if let Err(error) = self.samples.flush(&*self.store, self.clock.now()).await {
            tracing::warn!(%error, "the last counts could not be written");
        }
    }

    fn start_background(&mut self, retention: Retention, quarantine: Bounds) {
        let engine = Arc::clone(&self.engine);
        let owner = move || engine.snapshot().owner;
        self.background
            .spawn(nodes::run(Arc::clone(&self.nodes), self.stop.subscribe()));
        self.background.spawn(intake::assign::run(
            Arc::clone(&self.intake),
            owner.clone(),
            self.stop.subscribe(),
        ));
        self.background.spawn(intake::spool::run(
            Arc::clone(&self.intake),
            self.stop.subscribe(),
        ));
        self.background.spawn(intake::snapshot::run(
            Arc::clone(&self.intake),
            self.stop.subscribe(),
        ));
        self.background.spawn(intake::replay::run(
            Arc::clone(&self.replays),
            owner.clone(),
            self.stop.subscribe(),
        ));
        self.background.spawn(schedules::run(
            Arc::clone(&self.schedules),
            owner.clone(),
            self.stop.subscribe(),
        ));
        self.background.spawn(sagas::run(
            Arc::clone(&self.sagas),
            owner.clone(),
            self.stop.subscribe(),
        ));
        self.background.spawn(intake::objects::run(
            Arc::clone(&self.objects),
            owner.clone(),
            self.stop.subscribe(),
        ));
        self.background.spawn(vault::run(
            Arc::clone(&self.intake),
            Arc::clone(&self.rotations),
            owner.clone(),
            self.stop.subscribe(),
        ));
        self.background.spawn(intake::drift::run(
            Arc::clone(&self.intake),
            self.stop.subscribe(),
        ));
        let rhythms = intake::rhythm::Rhythms::new(Arc::clone(&self.intake));
        self.background.spawn(intake::rhythm::run(
            rhythms,
            owner.clone(),
            self.stop.subscribe(),
        ));
        let (engine, queue) = (
            Arc::clone(&self.engine),
            self.builtin.get(intake::expect::OBSERVE).copied(),
        );
        let caught_up = move || {
            let snapshot = engine.snapshot();
            let queue = queue.and_then(|queue| snapshot.queue(queue));
            queue.is_none_or(|queue| queue.waiting + queue.running + queue.retrying == 0)
        };
        self.background.spawn(intake::expect::run(
            Arc::clone(&self.intake),
            owner.clone(),
            caught_up,
            self.stop.subscribe(),
        ));
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        self.background.spawn(clean::run(
            store,
            clock,
            retention,
            quarantine,
            owner,
            self.stop.subscribe(),
        ));
        let (store, clock, samples) = (
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            Arc::clone(&self.samples),
        );
        let mut stop = self.stop.subscribe();
        self.background.spawn(async move {
            let mut every = tokio::time::interval(FLUSH_EVERY);
            loop {
                tokio::select! {
                    _ = every.tick() => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
                if let Err(error) = samples.flush(&*store, clock.now()).await {
                    tracing::warn!(%error, "counts could not be written; trying again in a second");
                }
            }
        });
    }
}

async fn queues(store: &dyn Store, registry: &Registry) -> StoreResult<BuiltinQueues> {
    let wanted: Vec<(String, String)> = registry.builtin_queues();
    store
        .transact(Scope::System("start"), move |tx| {
            let wanted = wanted.clone();
            Box::pin(async move {
                let mut numbers = HashMap::new();
                for (kind, queue) in wanted {
                    numbers.insert(kind, tx.queue_ensure(&queue).await?);
                }
                Ok(numbers)
            })
        })
        .await
}
