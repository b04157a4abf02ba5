//! The task that owns the machine: takes inputs in, gives actions out, keeps the lease.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use mainstay_domain::{
    JobId, Scope, StoreError, StoreExt, StoreResult,
    jobs::{AttemptStart, JobBody},
    store::Lease,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::{AbortHandle, JoinSet},
};

use super::{Shared, configure::Configured, work::work, workers::Desk};
use crate::jobs::machine::{Action, End, Input, Legacy, Machine};

/// Inputs that one step takes in at most.
const INPUTS_MAX: usize = 1_024;
/// Jobs in one look at the news that are so many that the next look waits for more: many in one transaction cost a
/// fraction of what they cost one by one.
const GATHER_MIN: usize = 16;
/// How long it then waits.
const GATHER: Duration = Duration::from_millis(10);
/// How often pages and metrics get a new picture.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(250);
/// How often it is looked whether the configuration changed on another node.
const CONFIGURE_EVERY: Duration = Duration::from_secs(1);
/// How long running attempts may take when the engine stops.
const STOP_PATIENCE: Duration = Duration::from_secs(8);
/// How long a stop may take in all: a store that is away must not keep the process.
const STOP_MAX: Duration = Duration::from_secs(15);

/// Why an owner stopped owning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// It was asked to.
    Stopped,
    /// Its lease was taken, or ran out.
    Replaced,
    /// It could not begin.
    Failed,
}

/// An owner of the engine.
pub(super) struct Owner {
    pub(super) shared: Arc<Shared>,
    pub(super) machine: Machine,
    inputs: mpsc::UnboundedReceiver<Input>,
    /// Bounded by what the machine lets be under way.
    pub(super) answers: mpsc::UnboundedSender<Input>,
    /// Everything that waits for the store.
    pub(super) tasks: JoinSet<()>,
    /// Bodies of attempts that are about to run.
    bodies: Arc<Mutex<HashMap<JobId, JobBody>>>,
    running: HashMap<JobId, AbortHandle>,
    /// What workers ask for and are given.
    pub(super) desk: Desk,
    configured: Arc<Configured>,
    /// Whether the last look at the news brought many.
    gathers: bool,
    /// The store's waking is not passed on before this.
    gathers_until: Instant,
}

/// What [`Owner::perform`] says of an action that ends everything.
type Ended = Option<Over>;

impl Owner {
    /// Reads what a predecessor wrote down, and fences it, in one transaction.
    /// `asked` is when the lease was asked for, by the monotonic clock.
    pub(super) async fn recover(
        shared: Arc<Shared>,
        lease: Lease,
        asked: Instant,
    ) -> StoreResult<Self> {
        let epoch = lease.epoch;
        let legacy = shared
            .store
            .transact(Scope::System("engine take-over"), move |tx| {
                Box::pin(async move {
                    let checkpoint = tx.checkpoint_load().await?;
                    let base = checkpoint
                        .as_ref()
                        .map_or(0, |checkpoint| checkpoint.sequence);
                    let tallies = tx.tally_since(base).await?;
                    let breakers = tx.breaker_list().await?;
                    let legacy = Legacy {
                        checkpoint,
                        tallies,
                        breakers,
                    };
                    for number in legacy.fence() {
                        let record = Legacy::fence_record(number, epoch);
                        tx.attempt_settle(&[], Some(&record)).await?;
                    }
                    tx.checkpoint_save(&legacy.claim(epoch)).await?;
                    Ok(legacy)
                })
            })
            .await?;
        let limits = shared.options.limits.clone();
        let machine = Machine::new(
            limits,
            Arc::clone(&shared.random),
            shared.clock.now(),
            epoch,
            legacy,
        )
        .map_err(|error| {
            StoreError::Corrupt(format!("the engine's checkpoint cannot be read: {error}"))
        })?;
        let (answers, inputs) = mpsc::unbounded_channel();
        Ok(Self {
            desk: Desk::open(&shared, asked + shared.options.lease_acts()),
            configured: Arc::new(Configured::default()),
            shared,
            machine,
            inputs,
            answers,
            tasks: JoinSet::new(),
            bodies: Arc::default(),
            running: HashMap::new(),
            gathers: false,
            gathers_until: Instant::now(),
        })
    }

    /// Runs until it is stopped or replaced. `asked` is when the lease was asked for, by the monotonic clock.
    pub(super) async fn run(mut self, asked: Instant, stop: &mut watch::Receiver<bool>) -> Over {
        let woken = Arc::new(Notify::new());
        let mut beside = self.beside(&woken);
        let (lease, mut leased) = watch::channel(Some(asked));
        beside.spawn(keep_lease(Arc::clone(&self.shared), lease));
        let mut snapshots = tokio::time::interval(SNAPSHOT_EVERY);
        let mut stopping: Option<Instant> = None;
        let mut batch = vec![Input::Woken];
        let mut acts_until = asked;
        loop {
            let Some(renewed) = *leased.borrow_and_update() else {
                return Over::Replaced;
            };
            let deadline = renewed + self.shared.options.lease_acts();
            if Instant::now() >= deadline {
                return Over::Replaced;
            }
            if deadline != acts_until {
                acts_until = deadline;
                self.shared.workers.may_act(deadline);
            }
            if let Some(over) = self.step(&mut batch) {
                return over;
            }
            match stopping.map(|since| since.elapsed()) {
                Some(took) if took >= STOP_MAX => {
                    tracing::warn!(
                        "the engine could not write down where it is; its successor will find out"
                    );
                    return Over::Stopped;
                }
                Some(took) if took >= STOP_PATIENCE => self.interrupt_all(),
                _ => {}
            }
            let sleep = self.until_wake();
            let gathered = self.gathers_until;
            tokio::select! {
                biased;
                _ = snapshots.tick() => self.publish(),
                () = async {
                    tokio::time::sleep_until(gathered.into()).await;
                    woken.notified().await;
                } => batch.push(Input::Woken),
                received = self.inputs.recv_many(&mut batch, INPUTS_MAX) => {
                    if received == 0 {
                        return Over::Failed;
                    }
                }
                () = self.desk.called() => self.take_calls(&mut batch),
                () = sleep => batch.push(Input::Tick),
                _ = leased.changed() => {}
                () = tokio::time::sleep_until(deadline.into()) => {}
                _ = stop.wait_for(|stop| *stop), if stopping.is_none() => {
                    stopping = Some(Instant::now());
                    batch.push(Input::Stop);
                }
            }
            if self.reap() {
                return Over::Failed;
            }
        }
    }

    /// Tasks beside the machine: listening for wakes, and for changes of the configuration on other nodes.
    fn beside(&self, woken: &Arc<Notify>) -> JoinSet<()> {
        let mut beside = JoinSet::new();
        let (shared, woken) = (Arc::clone(&self.shared), Arc::clone(woken));
        beside.spawn(async move {
            loop {
                shared.store.woken().await;
                woken.notify_one();
            }
        });
        let (shared, configured, answers) = (
            Arc::clone(&self.shared),
            Arc::clone(&self.configured),
            self.answers.clone(),
        );
        beside.spawn(async move {
            let mut every = tokio::time::interval(CONFIGURE_EVERY);
            loop {
                every.tick().await;
                if let Ok(Some(settings)) = configured.load_if_changed(&shared).await {
                    let _ = answers.send(settings.answer(0));
                }
            }
        });
        beside
    }

    fn step(&mut self, batch: &mut Vec<Input>) -> Ended {
        let mut recorded = Vec::new();
        for input in batch.iter() {
            match input {
                Input::Ended { job, .. } => drop(self.running.remove(job)),
                Input::Discovered(Ok(news)) => {
                    self.gathers = news.jobs.len() >= GATHER_MIN && !news.more;
                }
                Input::Started { starts, .. } => {
                    recorded.extend(starts.iter().map(|start| start.job));
                }
                _ => {}
            }
        }
        let mut actions = Vec::new();
        let now = self.shared.clock.now();
        self.machine.step(now, batch.drain(..), &mut actions);
        let ended = actions.into_iter().find_map(|action| self.perform(action));
        self.forget_bodies(&recorded);
        ended
    }

    /// Those that were to run have taken their bodies by now; the others were cancelled meanwhile.
    fn forget_bodies(&self, jobs: &[JobId]) {
        if jobs.is_empty() {
            return;
        }
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        for job in jobs {
            bodies.remove(job);
        }
    }

    /// Takes note of tasks that have ended. One that panicked has left the machine without its answer: true.
    fn reap(&mut self) -> bool {
        let mut lost = false;
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a part of the engine panicked; it begins again");
                lost = true;
            }
        }
        lost
    }

    fn until_wake(&self) -> tokio::time::Sleep {
        let pause = match self.machine.wake_at() {
            Some(at) => {
                Duration::from_micros((at.micros() - self.shared.clock.now().micros()).max(0) as u64)
            }
            None => SNAPSHOT_EVERY,
        };
        tokio::time::sleep(pause)
    }

    fn publish(&self) {
        self.desk.tidy(&self.machine);
        let new = self.machine.snapshot();
        self.shared.snapshot.send_if_modified(|old| {
            let changed = !new.shows_the_same(old);
            if changed {
                *old = Arc::new(new);
            }
            changed
        });
    }

    fn perform(&mut self, action: Action) -> Ended {
        match action {
            Action::Stopped => return Some(Over::Stopped),
            Action::Replaced => return Some(Over::Replaced),
            Action::Run(start) => self.run_outbound(start),
            Action::Abort(job) => self.interrupt(job),
            Action::Hand { poll, start } => {
                let body = self.body(start.job);
                self.desk.hand(poll, start, body);
            }
            Action::Answer { poll } => self.answer_poll(poll),
            Action::Reported {
                job,
                attempt,
                recorded,
            } => self.desk.reported((job, attempt), recorded),
            Action::LeaseEnded(start) => self.end_lease(start),
            action => {
                if self.gathers && matches!(action, Action::Discover { .. }) {
                    self.gathers_until = Instant::now() + GATHER;
                }
                let (shared, configured, bodies) = (
                    Arc::clone(&self.shared),
                    Arc::clone(&self.configured),
                    Arc::clone(&self.bodies),
                );
                let answers = self.answers.clone();
                self.tasks.spawn(async move {
                    for input in shared.perform(action, &configured, &bodies).await {
                        // The owner may have stopped meanwhile.
                        let _ = answers.send(input);
                    }
                });
            }
        }
        None
    }

    fn body(&self, job: JobId) -> Option<JobBody> {
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.remove(&job)
    }

    fn run_outbound(&mut self, start: AttemptStart) {
        let body = self.body(start.job);
        let (shared, answers) = (Arc::clone(&self.shared), self.answers.clone());
        let handle = self.tasks.spawn(async move {
            let (end, policy) = work(&shared, body, start).await;
            let _ = answers.send(Input::Ended {
                job: start.job,
                end,
                policy,
            });
        });
        self.running.insert(start.job, handle);
    }

    fn interrupt(&mut self, job: JobId) {
        if let Some(handle) = self.running.remove(&job)
            && !handle.is_finished()
        {
            handle.abort();
            let _ = self.answers.send(Input::Ended {
                job,
                end: End::Interrupted,
                policy: None,
            });
        }
    }

    fn interrupt_all(&mut self) {
        let jobs: Vec<JobId> = self.running.keys().copied().collect();
        for job in jobs {
            self.interrupt(job);
        }
    }
}

/// Renews the lease; says when it was last asked for with success, or `None` once another has it.
async fn keep_lease(shared: Arc<Shared>, lease: watch::Sender<Option<Instant>>) {
    loop {
        tokio::time::sleep(shared.options.lease_renew()).await;
        let asked = Instant::now();
        match shared.take_lease().await {
            Ok(Some(_)) => drop(lease.send_replace(Some(asked))),
            Ok(None) => {
                lease.send_replace(None);
                return;
            }
            Err(error) => tracing::warn!(%error, "the engine's lease could not be renewed"),
        }
    }
}
