//! Who looks: the node that owns the engine, when a run is due and at least once a second, since another node may have begun
//! one.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use mainstay_domain::{
    Clock, JobId, Random, SagaRunId, Scope, Store, StoreError, StoreExt, StoreResult, Timestamp,
    Tx,
    jobs::{DeadLetterFilter, NewJob},
    sagas::{Decision, DueRun, Fact, Look, RunState, SagaRun, SagaVersion, StepState},
};
use tokio::sync::watch;

use super::{BY, Bell, cancel, fact, job};
use crate::{
    jobs::{Announcement, Announcer, dead_letter},
    watch::Samples,
};

/// The longest between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// The shortest between two rounds.
const BREATH: Duration = Duration::from_millis(5);
/// Runs that are read together.
const PAGE: i64 = 200;
/// Runs that are looked at beside each other: their commits are one on SQLite.
const BESIDE: usize = 16;
/// Pages of one round: then it is seen again whether this node is still the one to look.
const PAGES_MAX: usize = 500;
/// How often a decision is written again because the configuration changed while it was to be told of.
const TELL_TRIES: usize = 5;
/// Before every run that is due.
const FIRST: DueRun = (Timestamp::EPOCH, SagaRunId::NIL);
const SCOPE: Scope = Scope::System("sagas");

/// Carries on the runs of sagas.
pub struct Sagas {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    announcer: Arc<dyn Announcer>,
    samples: Arc<Samples>,
    bell: Arc<Bell>,
    /// Whether this node has looked through all runs since it began to look.
    swept: AtomicBool,
    ended: Mutex<Ended>,
    looks: AtomicU64,
}

/// How runs ended that this node carried to their end, or to where a person is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    /// All steps are done.
    pub done: u64,
    /// What was done is undone.
    pub compensated: u64,
    /// Something could not be undone.
    pub failed: u64,
}

/// Looks, again and again, while `owner` says that this node is the one to do it.
pub(crate) async fn run(
    sagas: Arc<Sagas>,
    owner: impl Fn() -> bool + Send + Sync,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let stopped = stop.clone();
        let go_on = || owner() && !*stopped.borrow();
        let mut pause = PAUSE;
        if go_on() {
            match sagas.round(go_on).await {
                Ok(next) => pause = next,
                Err(error) => {
                    tracing::warn!(%error, "the runs of sagas could not be looked at; trying again in a second");
                }
            }
        } else {
            sagas.rest();
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = sagas.bell.rung() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// A run as it was read, with all that is decided by.
struct Found {
    run: SagaRun,
    saga: String,
    version: SagaVersion,
    fact: Option<Fact>,
}

impl Sagas {
    /// On this store. `bell` is the one that the engine marks runs by.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        announcer: Arc<dyn Announcer>,
        samples: Arc<Samples>,
        bell: Arc<Bell>,
    ) -> Self {
        Self {
            store,
            clock,
            random,
            announcer,
            samples,
            bell,
            swept: AtomicBool::new(false),
            ended: Mutex::default(),
            looks: AtomicU64::new(0),
        }
    }

    /// Tells whoever looks that there may be something to see.
    pub fn soon(&self) {
        self.bell.ring();
    }

    /// How runs ended on this node since it was started.
    pub fn ended(&self) -> Ended {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often a run was looked at on this node.
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    /// Somebody else looks now. What becomes of its jobs here is marked in any case.
    fn rest(&self) {
        self.bell.set(true);
        self.swept.store(false, Ordering::Relaxed);
    }

    /// Carries on all runs that are due, as long as `go_on` says so. Answers how long there is nothing to do.
    pub async fn round(&self, go_on: impl Fn() -> bool + Send + Sync) -> StoreResult<Duration> {
        if !self.swept.load(Ordering::Relaxed) {
            self.sweep(&go_on).await?;
            self.swept.store(true, Ordering::Relaxed);
        }
        let (mut seen, mut after) = (HashSet::new(), FIRST);
        for _ in 0..PAGES_MAX {
            let due = self.due(after, PAGE).await?;
            let Some(last) = due.last().filter(|_| go_on()) else {
                break;
            };
            after = *last;
            self.bell.set(true);
            let due: Vec<SagaRunId> = due.into_iter().map(|(_, run)| run).collect();
            self.look_at(&due).await?;
            seen.extend(due);
        }
        // One that could not be carried on holds up nobody, and is tried again after a pause.
        let left = self.due(FIRST, 1).await?;
        let stuck = left.iter().any(|(_, run)| seen.contains(run));
        self.close_or_sweep(&go_on).await?;
        let next = self
            .read(|tx| Box::pin(async move { tx.saga_run_next_at().await }))
            .await?;
        Ok(next.filter(|_| !stuck).map_or(PAUSE, |at| {
            let ms = at.ms_since(self.clock.now()).max(0).unsigned_abs();
            Duration::from_millis(ms + 1).clamp(BREATH, PAUSE)
        }))
    }

    async fn due(&self, after: DueRun, limit: i64) -> StoreResult<Vec<DueRun>> {
        let now = self.clock.now();
        self.read(move |tx| Box::pin(async move { tx.saga_run_due(now, after, limit).await }))
            .await
    }

    /// While no run is left nobody need ask whose a job is that ended. One that appears without having been due here was
    /// carried on by a node that had not noticed yet that it is not the one to look: all are looked at then.
    async fn close_or_sweep(&self, go_on: &(impl Fn() -> bool + Sync)) -> StoreResult<()> {
        let left = self
            .read(|tx| Box::pin(async move { tx.saga_run_unfinished(SagaRunId::NIL, 1).await }))
            .await?;
        match (left.is_empty(), self.bell.is_open()) {
            (true, open) => {
                if open {
                    self.bell.set(false);
                }
                Ok(())
            }
            (false, true) => Ok(()),
            (false, false) => self.sweep(go_on).await,
        }
    }

    /// Looks at all runs that have not ended.
    async fn sweep(&self, go_on: &(impl Fn() -> bool + Sync)) -> StoreResult<()> {
        self.bell.set(true);
        let mut after = SagaRunId::NIL;
        while go_on() {
            let page = self
                .read(move |tx| Box::pin(async move { tx.saga_run_unfinished(after, PAGE).await }))
                .await?;
            let Some(last) = page.last() else { break };
            after = *last;
            self.look_at(&page).await?;
        }
        Ok(())
    }

    async fn look_at(&self, runs: &[SagaRunId]) -> StoreResult<()> {
        for beside in runs.chunks(BESIDE) {
            let looked = join_all(beside.iter().map(|run| self.look(*run))).await;
            for (run, looked) in beside.iter().zip(looked) {
                match looked {
                    Ok(()) => {}
                    Err(error) if error.retryable() => return Err(error),
                    Err(error) => {
                        tracing::error!(%run, %error, "a run of a saga cannot be carried on; trying again");
                    }
                }
            }
        }
        Ok(())
    }

    /// One look at a run: what is decided is written, or somebody else was faster.
    async fn look(&self, id: SagaRunId) -> StoreResult<()> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let Some(found) = self.found(id).await? else {
            return Ok(());
        };
        let now = self.clock.now();
        let look = Look {
            saga: &found.saga,
            definition: &found.version.definition,
            run: &found.run,
            fact: found.fact.as_ref(),
            now,
        };
        let Some(decision) = look.decide(|| JobId::new(now, &*self.random)) else {
            return Ok(());
        };
        match self.write_and_tell(&found, &decision, now).await {
            Ok(()) => {}
            Err(StoreError::Conflict { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.count(&found.run, &decision.run);
        self.samples.changed("saga_run", &[id]);
        if decision.made.is_some() || decision.cancel.is_some() {
            self.store.wake();
        }
        Ok(())
    }

    async fn found(&self, id: SagaRunId) -> StoreResult<Option<Found>> {
        self.read(move |tx| {
            Box::pin(async move {
                let Some(run) = tx.saga_run_get(id).await? else {
                    return Ok(None);
                };
                let saga = tx.saga_get(run.saga).await?;
                let version = tx
                    .saga_version_get(run.tenant, run.saga, run.version)
                    .await?;
                let (Some(saga), Some(version)) = (saga, version) else {
                    return Err(StoreError::Corrupt(format!("{id} is of no saga")));
                };
                let fact = match run.job {
                    Some(job) => Some(fact(tx, job).await?),
                    None => None,
                };
                Ok(Some(Found {
                    run,
                    saga: saga.name,
                    version,
                    fact,
                }))
            })
        })
        .await
    }

    /// Writes a decision and tells of it; what happened matters more than that somebody is told.
    async fn write_and_tell(
        &self,
        found: &Found,
        decision: &Decision,
        now: Timestamp,
    ) -> StoreResult<()> {
        let told = news(found, decision);
        for _ in 0..TELL_TRIES {
            match self.write(decision, told.clone(), now).await {
                Err(StoreError::ConfigChanged) => self.announcer.refresh().await?,
                other => return other,
            }
        }
        tracing::error!(run = %decision.run.id, "nobody could be told of a run: the configuration changes again and again");
        self.write(decision, None, now).await
    }

    async fn write(
        &self,
        decision: &Decision,
        told: Option<Announcement>,
        now: Timestamp,
    ) -> StoreResult<()> {
        let made = decision.made.as_ref();
        let job: Option<NewJob> = made.map(|made| job(&decision.run, made, now)).transpose()?;
        let (decision, announcer) = (decision.clone(), Arc::clone(&self.announcer));
        self.store
            .transact(SCOPE, move |tx| {
                let (decision, job, told) = (decision.clone(), job.clone(), told.clone());
                let announcer = Arc::clone(&announcer);
                Box::pin(async move {
                    // First: from here on the run waits for nothing that is cancelled or taken off the list below.
                    tx.saga_run_step(&decision.run, job.as_slice()).await?;
                    let reason = decision.run.error.as_deref().unwrap_or("its run goes on");
                    if let Some(job) = decision.cancel {
                        cancel(tx, decision.run.tenant, job, reason, now).await?;
                    }
                    if let Some(job) = decision.discard {
                        discard(tx, job, reason, now).await?;
                    }
                    match told {
                        Some(told) => tell(tx, &*announcer, &told).await,
                        None => Ok(()),
                    }
                })
            })
            .await
    }

    fn count(&self, before: &SagaRun, after: &SagaRun) {
        if before.state == after.state {
            return;
        }
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        match after.state {
            RunState::Done => ended.done += 1,
            RunState::Compensated => ended.compensated += 1,
            RunState::Failed => ended.failed += 1,
            RunState::Running | RunState::Waiting | RunState::Compensating => {}
        }
    }

    fn read<T, F>(&self, work: F) -> impl Future<Output = StoreResult<T>> + Send
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut dyn Tx) -> mainstay_domain::store::BoxFuture<'t, StoreResult<T>>
            + Send
            + Sync
            + 'static,
    {
        self.store.read(SCOPE, work)
    }
}

/// What a person should be told of a decision.
fn news(found: &Found, decision: &Decision) -> Option<Announcement> {
    let state = decision.run.state;
    let told = matches!(state, RunState::Failed | RunState::Waiting);
    // Of two approvals one after the other the second waits for somebody else.
    let waits = |run: &SagaRun| {
        let steps = run.steps.iter();
        steps
            .clone()
            .position(|step| step.state == StepState::Running)
    };
    let other = found.run.state != state || waits(&found.run) != waits(&decision.run);
    (told && other).then(|| Announcement::Run {
        run: Box::new(decision.run.clone()),
        saga: found.saga.clone(),
    })
}

/// As the engine does with dead letters: matched with bindings before, checked in the transaction.
async fn tell(tx: &mut dyn Tx, announcer: &dyn Announcer, told: &Announcement) -> StoreResult<()> {
    let known = announcer.config_version();
    let arrival = announcer.announce(told);
    let current = tx.config_version().await?;
    if known.is_some_and(|known| known != current) {
        return Err(StoreError::ConfigChanged);
    }
    match arrival {
        Some(arrival) => tx.event_append(current, &[arrival]).await.map(|_| ()),
        None => Ok(()),
    }
}

/// Takes a dead letter off the list: what it was to do is not wanted any more. Conflict when it is none.
async fn discard(tx: &mut dyn Tx, job: JobId, reason: &str, now: Timestamp) -> StoreResult<()> {
    let filter = DeadLetterFilter {
        jobs: vec![job],
        ..DeadLetterFilter::default()
    };
    let letters = tx.dead_letter_list(&filter, 1).await?;
    let end = dead_letter::End::Discard(format!("its saga's run takes it back: {reason}"));
    let attempts: Vec<_> = letters
        .iter()
        .map(|letter| dead_letter::attempt(letter, &end, BY, now))
        .collect();
    match tx.dead_letter_end(&attempts).await? {
        0 => Err(StoreError::Conflict { what: "run" }),
        _ => Ok(()),
    }
}
