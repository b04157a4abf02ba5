//! The world around the machine: a store that loses transactions and answers, endpoints that are down for a while,
//! people, clocks that jump, processes that die, and owners that do not know that they were replaced.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mainstay_domain::{
    Category, JobId, Random, TenantId, Timestamp,
    jobs::{
        AttemptStart, Flow, JobRef, Loss, Outcome, QueueLimits, QueueNumber, QueueRules,
        breaker::{BreakerPolicy, BreakerState, Dependency, Forced, WhenOpen},
        rate::Rate,
        retry::RetryPolicy,
    },
    time::SeededRandom,
};

use super::{
    super::{
        Action, BatchResult, End, Failed, Failure, Guarded, Input, Limits, Machine, PollId,
        QueueSettings, Report, Runs, SettleResult, Started, Turns, held::Stage,
    },
    check,
    hands::{Deed, Hands},
    line::Order,
    model::{Model, tenant},
    plan::{BUILTIN, Plan, Poison},
};

pub(super) const MS: i64 = 1_000;
/// Simulated microseconds in which faults, people and new jobs happen.
const TROUBLE: i64 = 25_000 * MS;
/// By then everything must have ended.
const PATIENCE: i64 = TROUBLE + 4 * 3_600 * 1_000 * MS;
const QUEUES: QueueNumber = 6;
/// So many probes a breaker lets through at a time.
pub(super) const PROBES: u32 = 2;
/// No attempt takes longer, in milliseconds.
const ATTEMPT_MS: i64 = 15_000;
/// This one's endpoint has been removed: nobody has settings for it.
const ORPHANED: QueueNumber = 5;
/// This one's jobs are taken by workers.
pub(super) const WORKERS: QueueNumber = 6;

/// One process that believes, or believed, that it owns the engine.
pub(super) struct Owner {
    pub(super) machine: Machine,
    pub(super) epoch: i64,
    /// What it carries out, outside.
    pub(super) running: BTreeMap<JobId, AttemptStart>,
    /// What it is about to answer polls with.
    pub(super) handing: BTreeMap<PollId, Vec<AttemptStart>>,
    stop_sent: bool,
    pub(super) stopped: bool,
}

pub(super) enum Event {
    /// The store carries out what an owner asked for, unless the owner's process died and took it along.
    Apply(u64),
    /// The owner hears of it.
    Answer(u64),
    /// An attempt ends, outside.
    Ends { epoch: i64, start: AttemptStart },
    /// An owner's timer.
    Timer { epoch: i64, generation: u64 },
    /// Something commits a job whose id was made a while ago.
    JobCommits(JobRef, Option<Order>),
    /// The owner hears of other settings.
    Settings,
    /// Something happens to the world.
    Whim,
    /// The old owner's process dies at last.
    ZombieDies,
    /// A job kills the process that tries it.
    Kills { epoch: i64, job: JobId },
    /// The power goes.
    PowerCut,
    /// Somebody deals with the lines that are parked.
    Tidies,
    /// Something about workers.
    Worker(Deed),
}

struct Operation {
    epoch: i64,
    action: Action,
    answer: Option<Input>,
    fault: Fault,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// It does not happen, and the owner is told that it is not known.
    Lost,
    /// It happens, and the owner is told that it is not known.
    AnswerLost,
}

/// A whole simulated world.
pub(super) struct World {
    pub(super) random: Arc<SeededRandom>,
    /// Of deadlines alone, so that worlds without them are what they were.
    urgency: SeededRandom,
    pub(super) model: Model,
    pub(super) owner: Owner,
    pub(super) zombie: Option<Owner>,
    time: i64,
    /// What the wall clock is ahead of time.
    skew: i64,
    events: BTreeMap<(i64, u64), Event>,
    operations: BTreeMap<u64, Operation>,
    number: u64,
    generation: u64,
    epoch: i64,
    down: BTreeSet<QueueNumber>,
    disabled: BTreeSet<QueueNumber>,
    /// Queues that do not simply run, and since when.
    flows: BTreeMap<QueueNumber, (Flow, Timestamp)>,
    /// What is carried out somewhere, whoever asked for it.
    pub(super) outside: BTreeMap<(JobId, i32), AttemptStart>,
    /// Attempts that began as probes, whoever began them.
    pub(super) probes: BTreeSet<(JobId, i32)>,
    /// How a person holds the breaker that the first two queues share.
    forced: Option<Forced>,
    /// When jobs began, by the time that no clock shows.
    pub(super) begun: Vec<(i64, QueueNumber, TenantId)>,
    /// Of the settings.
    version: i64,
    pub(super) plan: Plan,
    pub(super) poison: BTreeMap<JobId, Poison>,
    pub(super) starts_sent: BTreeSet<(JobId, i32)>,
    pub(super) hands: Hands,
    pub(super) steps: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let random = Arc::new(SeededRandom::new(seed));
        let mut model = Model::default();
        let owner = take_over(&mut model, &random, 1, Timestamp::from_secs(1_800_000_000));
        let mut world = Self {
            urgency: SeededRandom::new(seed ^ 0x6465_6164),
            random,
            model,
            owner,
            zombie: None,
            time: 0,
            skew: 1_800_000_000 * 1_000 * MS,
            events: BTreeMap::new(),
            operations: BTreeMap::new(),
            number: 0,
            generation: 0,
            epoch: 1,
            down: BTreeSet::new(),
            disabled: BTreeSet::new(),
            flows: BTreeMap::new(),
            outside: BTreeMap::new(),
            probes: BTreeSet::new(),
            forced: None,
            begun: Vec::new(),
            version: 0,
            plan: Plan::of(seed),
            poison: BTreeMap::new(),
            starts_sent: BTreeSet::new(),
            hands: Hands::default(),
            steps: 0,
        };
        world.later(0, Event::Whim);
        world.later(0, Event::Worker(Deed::Poll));
        world.later(TROUBLE, Event::Tidies);
        if world.plan.power_cuts {
            world.later(world.power_lasts(), Event::PowerCut);
        }
        world.step_owner(1, vec![]);
        world
    }

    /// Runs until every job has ended, then stops cleanly and begins once more to see that nothing was forgotten.
    pub(super) fn run(&mut self) {
        while !self.is_quiet() {
            assert!(
                self.time < PATIENCE,
                "every job ends: {:?}",
                check::unfinished(self)
            );
            self.next();
        }
        self.step_owner(self.owner.epoch, vec![Input::Stop]);
        self.owner.stop_sent = true;
        while !self.owner.stopped {
            assert!(self.time < PATIENCE, "a stop comes to its end");
            self.next();
        }
        let deaths = self.owner.machine.caution.deaths_for_successor(true);
        self.replace();
        let after = self.owner.machine.caution.deaths_for_successor(true);
        assert_eq!(after, deaths, "a clean stop is no death");
        let until = self.time + 5_000 * MS;
        while self.time < until {
            self.next();
        }
        self.model.lines.check_order();
        check::counters(self);
        check::verdicts(self);
    }

    fn is_quiet(&self) -> bool {
        self.time > TROUBLE
            && self.zombie.is_none()
            && self.model.open.is_empty()
            && self.owner.machine.held.is_empty()
    }

    fn next(&mut self) {
        let ((time, _), event) = self.events.pop_first().expect("something always happens");
        self.time = time;
        match event {
            Event::Apply(number) => self.apply(number),
            Event::Answer(number) => self.answer(number),
            Event::Ends { epoch, start } => self.ends(epoch, start),
            Event::Timer { epoch, generation } => {
                if epoch != self.owner.epoch || generation == self.generation {
                    self.step_owner(epoch, vec![Input::Tick]);
                }
            }
            Event::JobCommits(job, order) => {
                self.model.job_insert(job, order);
                if self.chance(90) {
                    self.step_owner(self.owner.epoch, vec![Input::Woken]);
                }
            }
            Event::Settings => self.tell_settings(),
            Event::Whim => self.whim(),
            Event::ZombieDies => self.zombie = None,
            Event::Kills { epoch, job } => self.kills(epoch, job),
            Event::PowerCut => self.power_cut(),
            Event::Tidies => self.tidies(),
            Event::Worker(deed) => self.worker_does(deed),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.time + self.skew)
    }

    /// The clock of an owner. No two are alike to the microsecond: by the time of a start it is told whose it is.
    pub(super) fn now_of(&self, epoch: i64) -> Timestamp {
        Timestamp::from_micros(self.time + self.skew + epoch % 100)
    }

    pub(super) fn in_trouble(&self) -> bool {
        self.time <= TROUBLE
    }

    pub(super) fn chance(&self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    pub(super) fn later(&mut self, micros: i64, event: Event) {
        self.number += 1;
        self.events.insert((self.time + micros, self.number), event);
    }

    pub(super) fn between(&self, from: i64, to: i64) -> i64 {
        from + self.random.below((to - from) as u64) as i64
    }

    // The owners.

    pub(super) fn owner_of(&mut self, epoch: i64) -> Option<&mut Owner> {
        if self.owner.epoch == epoch {
            return Some(&mut self.owner);
        }
        self.zombie.as_mut().filter(|zombie| zombie.epoch == epoch)
    }

    pub(super) fn step_owner(&mut self, epoch: i64, inputs: Vec<Input>) {
        let now = self.now_of(epoch);
        let mut actions = Vec::new();
        let Some(owner) = self.owner_of(epoch) else {
            return;
        };
        if owner.stopped {
            return;
        }
        owner.machine.step(now, inputs, &mut actions);
        let wake = owner.machine.wake_at();
        assert!(
            wake.is_none_or(|wake| wake > now),
            "a machine that waits sleeps"
        );
        self.steps += 1;
        for action in actions {
            self.perform(epoch, action);
        }
        if epoch == self.owner.epoch {
            self.generation += 1;
            check::step(self);
        }
        if let Some(at) = wake {
            let wait = (at.micros() - now.micros()).max(1);
            let generation = self.generation;
            self.later(wait, Event::Timer { epoch, generation });
        }
    }

    fn perform(&mut self, epoch: i64, action: Action) {
        check::action(self, epoch, &action);
        self.note_begun(epoch, &action);
        match action {
            Action::Run(start) => {
                // What kills late lets another suspect begin beside it, and blurs the evidence.
                let late = self.chance(3);
                let blurs = self.plan.strict && self.poison.contains_key(&start.job);
                let takes = if late && !blurs {
                    ATTEMPT_MS * MS
                } else {
                    self.between(MS, 800 * MS)
                };
                if let Some(owner) = self.owner_of(epoch) {
                    owner.running.insert(start.job, start);
                }
                self.outside.insert((start.job, start.attempt), start);
                check::outside(self, start.queue);
                if self.is_probe(epoch, start.job) {
                    self.probes.insert((start.job, start.attempt));
                    check::probes_outside(self);
                }
                let ends = match self.poison.contains_key(&start.job) {
                    true => Event::Kills {
                        epoch,
                        job: start.job,
                    },
                    false => Event::Ends { epoch, start },
                };
                self.later(takes, ends);
            }
            Action::Abort(_) => {}
            Action::Hand { poll, start } => self.handed(epoch, poll, start),
            Action::Answer { poll } => self.poll_answered(epoch, poll),
            Action::Reported {
                job,
                attempt,
                recorded,
            } => self.report_answered(epoch, (job, attempt), recorded),
            Action::LeaseEnded(start) => {
                let takes = self.between(1, 50 * MS);
                self.later(takes, Event::Worker(Deed::Expires { epoch, start }));
            }
            Action::Stopped => {
                if let Some(owner) = self.owner_of(epoch) {
                    assert!(owner.stop_sent, "nobody stops by itself");
                    owner.stopped = true;
                }
            }
            Action::Replaced => {
                assert_ne!(
                    epoch, self.owner.epoch,
                    "the owner is not replaced by anybody"
                );
                self.zombie = None;
            }
            action => self.send(epoch, action),
        }
    }

    /// Takes note of jobs that begin, once for each attempt.
    fn note_begun(&mut self, epoch: i64, action: &Action) {
        let begun: Vec<(JobId, i32, QueueNumber, TenantId)> = match action {
            Action::Start { starts, .. } => starts
                .iter()
                .map(|start| (start.job, start.attempt, start.queue, start.tenant))
                .collect(),
            Action::RunBatch { batch, .. } => batch
                .jobs
                .iter()
                .map(|job| (job.job, job.attempt + 1, job.queue, job.tenant))
                .collect(),
            _ => return,
        };
        for (job, attempt, queue, tenant) in begun {
            if !self.starts_sent.insert((job, attempt)) {
                continue;
            }
            if epoch == self.owner.epoch {
                check::begins(self, job, queue);
                check::in_time(self, job);
                self.begun.push((self.time, queue, tenant));
                check::rates(self, queue, tenant);
            }
        }
    }

    fn send(&mut self, epoch: i64, action: Action) {
        let fault = match self.random.below(100) {
            _ if !self.in_trouble() => Fault::None,
            0..3 => Fault::Lost,
            3..6 => Fault::AnswerLost,
            _ => Fault::None,
        };
        let looks_back = self.plan.exact && matches!(action, Action::FindUnfinished { .. });
        let slow = self.chance(if looks_back { 50 } else { 3 });
        let takes = if self.in_trouble() && slow {
            self.between(500 * MS, 4_000 * MS)
        } else {
            self.between(MS / 2, 20 * MS)
        };
        self.number += 1;
        let number = self.number;
        let operation = Operation {
            epoch,
            action,
            answer: None,
            fault,
        };
        self.operations.insert(number, operation);
        self.later(takes, Event::Apply(number));
    }

    fn apply(&mut self, number: u64) {
        let Some(mut operation) = self.operations.remove(&number) else {
            return;
        };
        if let Some(job) = self.poison_in(&operation.action) {
            self.kills(operation.epoch, job);
            return;
        }
        let answer = self.carry_out(&operation);
        operation.answer = Some(match operation.fault {
            Fault::None => answer,
            Fault::Lost | Fault::AnswerLost => failed(&operation.action),
        });
        self.operations.insert(number, operation);
        let takes = self.between(1, 10 * MS);
        self.later(takes, Event::Answer(number));
    }

    /// What the driver does with an action, and what it answers when all goes well.
    fn carry_out(&mut self, operation: &Operation) -> Input {
        let (epoch, now) = (operation.epoch, self.now());
        let lost = operation.fault == Fault::Lost;
        match &operation.action {
            Action::Configure { request } => Input::Configured {
                request: *request,
                version: self.version,
                queues: self.settings(),
            },
            Action::Discover {
                cursor,
                recovering,
                limit,
            } => Input::Discovered(Ok(self.model.discover(cursor, *recovering, *limit))),
            Action::Refill(refill) => Input::Refilled {
                refill: refill.clone(),
                jobs: Ok(self.model.refill(refill)),
            },
            Action::FindUnfinished { since, long } => {
                Input::Unfinished(Ok(self.model.unfinished(*since, long)))
            }
            Action::Inspect(jobs) => {
                Input::Inspected(Ok(jobs.iter().map(|at| self.model.inspect(*at)).collect()))
            }
            _ if lost => Input::Tick,
            Action::Start { version, starts } => Input::Started {
                version: *version,
                starts: starts.clone(),
                answers: Ok(self.start(*version, starts)),
            },
            Action::RunBatch {
                sequence, batch, ..
            } => {
                let failing = batch.jobs.iter().find(|_| self.chance(4));
                let (result, turns) = match failing {
                    Some(job) => {
                        let failed = BatchResult::Failed {
                            job: job.job,
                            failure: Box::new(self.failure(Category::Database)),
                            policy: None,
                        };
                        (failed, Turns::Unknown)
                    }
                    None => self.model.run_batch(epoch, batch, now),
                };
                // A batch that is sent again may be committed already: then no handler's failure counts.
                let result = match (result, self.model.settled_by(*sequence)) {
                    (BatchResult::Failed { .. }, Some(by)) if by == epoch => BatchResult::Committed,
                    (BatchResult::Failed { .. }, Some(_)) => BatchResult::Replaced,
                    (result, _) => result,
                };
                Input::BatchEnded {
                    sequence: *sequence,
                    result,
                    turns,
                }
            }
            Action::Settle {
                sequence,
                settlement,
            } => {
                let (result, turns) = self.model.settle(epoch, settlement);
                Input::Settled {
                    sequence: *sequence,
                    result,
                    turns,
                }
            }
            Action::SaveCheckpoint(checkpoint) => {
                Input::CheckpointSaved(self.model.checkpoint_save(checkpoint))
            }
            _ => Input::Tick,
        }
    }

    /// Nothing starts by settings that are not in force any more.
    fn start(&mut self, version: i64, starts: &[AttemptStart]) -> Vec<Started> {
        if version != self.version {
            self.later(0, Event::Settings);
            return vec![Started::Refused; starts.len()];
        }
        let held_open = self
            .forced
            .is_some_and(|forced| forced.open && forced.until.is_none());
        let start = |start: &AttemptStart| {
            assert!(
                !(held_open && is_shared(start.queue)),
                "nothing starts behind a breaker that a person holds open"
            );
            assert!(
                !self.disabled.contains(&start.queue),
                "nothing starts in a queue that is disabled"
            );
            let paused = self.flows.get(&start.queue);
            assert!(
                paused.is_none_or(|(flow, _)| *flow != Flow::Paused),
                "nothing starts in a queue that is paused"
            );
            self.model.start(*start)
        };
        starts.iter().map(start).collect()
    }

    fn answer(&mut self, number: u64) {
        let Some(operation) = self.operations.remove(&number) else {
            return;
        };
        if let Some(input) = operation.answer {
            self.step_owner(operation.epoch, vec![input]);
        }
    }

    fn ends(&mut self, epoch: i64, start: AttemptStart) {
        self.outside.remove(&(start.job, start.attempt));
        let up = !self.down.contains(&start.queue);
        let luck = self.random.below(100);
        let report = match luck {
            _ if start.queue == ORPHANED => Report::Failure(self.failure(Category::Validation)),
            _ if !up => Report::Failure(self.failure(Category::Network)),
            0..4 => Report::Failure(self.failure(Category::Validation)),
            4..12 => Report::Failure(self.failure(Category::Provider)),
            _ => Report::Success {
                status: Some(200),
                exchange: None,
            },
        };
        let Some(owner) = self.owner_of(epoch) else {
            return;
        };
        if owner.running.remove(&start.job).is_some() {
            let input = Input::Ended {
                job: start.job,
                end: End::Reported(report),
                policy: None,
            };
            self.step_owner(epoch, vec![input]);
        }
    }

    pub(super) fn failure(&self, category: Category) -> Failure {
        Failure {
            status: (category == Category::Validation).then_some(422),
            retry_after_ms: self.chance(10).then(|| self.between(0, 20_000)),
            ..Failure::new(category, "simulated", "simulated")
        }
    }

    fn settings(&self) -> Vec<(QueueNumber, QueueSettings)> {
        (1..=QUEUES)
            .filter(|queue| *queue != ORPHANED)
            .map(|queue| {
                let outbound = queue <= 3;
                let rules = self.rules(queue);
                let settings = QueueSettings {
                    attempt_ms: ATTEMPT_MS,
                    flow: Flow::Running,
                    held_from: None,
                    limits: QueueLimits::default(),
                    runs: match queue {
                        WORKERS => Runs::Worker,
                        _ if outbound => Runs::Outbound,
                        _ => Runs::Builtin,
                    },
                    enabled: !self.disabled.contains(&queue),
                    max_in_flight: 3,
                    retry: RetryPolicy::FullJitter {
                        attempts_max: 8,
                        base_ms: 1_000,
                        max_ms: 30_000,
                    },
                    breaker: outbound.then(|| Guarded {
                        dependency: dependency_of(queue),
                        policy: BreakerPolicy {
                            failures_to_open: 3,
                            failed_percent: Some(60),
                            calls_min: 5,
                            window_ms: 5_000,
                            pause_ms: 1_000,
                            pause_max_ms: 10_000,
                            probes: PROBES,
                            when_open: match is_shared(queue) {
                                true => WhenOpen::Wait,
                                false => WhenOpen::Fail,
                            },
                            ..BreakerPolicy::default()
                        },
                        forced: self.forced.filter(|_| is_shared(queue)),
                    }),
                };
                (queue, settings.with(&rules))
            })
            .collect()
    }

    /// What teams say of a queue: of some they have limited this, of others that.
    fn rules(&self, queue: QueueNumber) -> QueueRules {
        let (flow, flow_at) = self
            .flows
            .get(&queue)
            .copied()
            .unwrap_or((Flow::Running, self.now()));
        QueueRules {
            queue,
            flow,
            flow_at,
            limits: limits_of(queue),
            updated_at: flow_at,
        }
    }

    // Whims of the world.

    fn whim(&mut self) {
        if !self.in_trouble() {
            self.down.clear();
            self.disabled.clear();
            self.flows.clear();
            self.forced = None;
            self.version += 1;
            self.tell_settings();
            if self.zombie.is_some() {
                self.later(0, Event::ZombieDies);
            }
            return;
        }
        match self.random.below(100) {
            0..50 => self.jobs_arrive(),
            50..62 => self.person_acts(),
            62..70 => self.endpoint_turns(),
            70..74 if self.plan.bad_luck => self.crash(),
            74..77 if self.plan.exact => self.crash(),
            74..77 if self.plan.bad_luck => self.lose_lease(),
            77..80 if self.plan.clock_jumps => self.clock_jumps(),
            80..85 => self.queue_turns(),
            85..88 => self.person_forces(),
            _ => {}
        }
        let wait = self.between(10 * MS, 900 * MS);
        self.later(wait, Event::Whim);
    }

    fn jobs_arrive(&mut self) {
        let (queue, tenants) = (
            1 + self.random.below(QUEUES as u64),
            1 + self.random.below(3),
        );
        let count = if self.chance(10) {
            30
        } else {
            1 + self.random.below(5)
        };
        for _ in 0..count {
            let made = self.now();
            let order = self.chance(40).then(|| Order {
                key: self.random.below(3) as u8,
                parks: self.chance(70),
            });
            let due = (order.is_none() && self.chance(15))
                .then(|| made.plus_ms(self.between(-500, 20_000)));
            let job = JobRef {
                tenant: tenant(self.random.below(tenants)),
                job: JobId::new(made, &*self.random),
                queue: queue as QueueNumber,
                band: self.random.below(2) as i16,
                due,
                deadline: self.deadline(made),
                attempt: 0,
                tries: 0,
                loss: Loss::None,
                ordered: order.is_some(),
            };
            let mut job = job;
            let runs_here = queue < ORPHANED as u64;
            if self.poison.len() < self.plan.poison && runs_here && self.chance(5) {
                self.poison.insert(job.job, Poison::default());
                job.deadline = None;
            }
            let wait = if self.chance(20) {
                self.between(0, 3_000 * MS)
            } else {
                self.between(0, 5 * MS)
            };
            self.later(wait, Event::JobCommits(job, order));
        }
    }

    /// Of every third job where jobs have any: some before they are even committed, some after all trouble.
    fn deadline(&self, made: Timestamp) -> Option<Timestamp> {
        if !self.plan.deadlines || self.urgency.below(3) > 0 {
            return None;
        }
        let most = if self.urgency.below(4) == 0 {
            60_000
        } else {
            3_000
        };
        Some(made.plus_ms(self.urgency.below(most) as i64))
    }

    fn person_acts(&mut self) {
        let jobs: Vec<JobId> = self.model.jobs.keys().copied().collect();
        if jobs.is_empty() {
            return;
        }
        for _ in 0..=self.random.below(8) {
            let job = jobs[self.random.below(jobs.len() as u64) as usize];
            if self.poison.contains_key(&job) {
                continue;
            }
            if self.chance(30) {
                for key in self.model.lines.parked() {
                    self.model.line_release(key, self.now());
                }
            }
            let wish = match self.random.below(4) {
                0 => Outcome::Cancelled,
                1 => Outcome::Discarded,
                _ => Outcome::Requeued,
            };
            self.model.wish(job, wish, self.now());
            // Whoever is told to stop stops.
            self.outside.retain(|(one, _), _| *one != job);
        }
        self.step_owner(self.owner.epoch, vec![Input::Woken]);
    }

    /// After the trouble no line stays parked.
    fn tidies(&mut self) {
        let parked = self.model.lines.parked();
        for key in &parked {
            self.model.line_release(*key, self.now());
        }
        if !parked.is_empty() {
            self.step_owner(self.owner.epoch, vec![Input::Woken]);
        }
        if !self.model.open.is_empty() {
            self.later(5_000 * MS, Event::Tidies);
        }
    }

    fn endpoint_turns(&mut self) {
        let queue = 1 + self.random.below(3) as QueueNumber;
        if !self.down.remove(&queue) {
            self.down.insert(queue);
        }
    }

    fn queue_turns(&mut self) {
        let queue = 1 + self.random.below(4) as QueueNumber;
        if self.chance(50) {
            let flow = Flow::ALL[self.random.below(3) as usize];
            self.flows.insert(queue, (flow, self.now()));
        } else if !self.disabled.remove(&queue) {
            self.disabled.insert(queue);
        }
        self.version += 1;
        let wait = self.between(0, 1_000 * MS);
        self.later(wait, Event::Settings);
    }

    /// A person holds a breaker, or lets go of it.
    fn person_forces(&mut self) {
        let until = self.chance(50).then(|| {
            let ms = self.between(200, 3_000);
            self.now().plus_ms(ms)
        });
        let open = self.chance(60);
        self.forced = self.chance(60).then_some(Forced { open, until });
        self.version += 1;
        let wait = self.between(0, 1_000 * MS);
        self.later(wait, Event::Settings);
    }

    /// Whether an attempt that is carried out is a probe.
    fn is_probe(&mut self, epoch: i64, job: JobId) -> bool {
        let held = self
            .owner_of(epoch)
            .and_then(|owner| owner.machine.held.get(&job));
        held.is_some_and(|held| matches!(held.stage, Stage::Running(slot) if slot.probe))
    }

    fn tell_settings(&mut self) {
        let zombie = self.zombie.as_ref().map(|zombie| zombie.epoch);
        for epoch in zombie.into_iter().chain([self.owner.epoch]) {
            let input = Input::Configured {
                request: 0,
                version: self.version,
                queues: self.settings(),
            };
            self.step_owner(epoch, vec![input]);
        }
    }

    fn clock_jumps(&mut self) {
        let range = if self.chance(20) { 3_600_000 } else { 120_000 };
        self.skew += self.between(-range, range) * MS;
        self.step_owner(self.owner.epoch, vec![Input::Tick]);
    }

    /// The job among those of a batch that kills its process.
    fn poison_in(&self, action: &Action) -> Option<JobId> {
        let Action::RunBatch { batch, .. } = action else {
            return None;
        };
        let mut jobs = batch.jobs.iter().map(|job| job.job);
        jobs.find(|job| self.poison.contains_key(job))
    }

    /// A job kills the process that tries it.
    fn kills(&mut self, epoch: i64, job: JobId) {
        if self.owner_of(epoch).is_none() {
            return;
        }
        self.outside.retain(|(one, _), _| *one != job);
        if let Some(poison) = self.poison.get_mut(&job) {
            poison.deaths += 1;
        }
        if epoch == self.owner.epoch {
            self.crash();
        } else {
            self.zombie = None;
        }
    }

    fn power_cut(&mut self) {
        if self.in_trouble() {
            self.crash();
            self.later(self.power_lasts(), Event::PowerCut);
        }
    }

    /// Until the next power cut.
    fn power_lasts(&self) -> i64 {
        self.between(20 * MS, limits().suspect_ms * MS)
    }

    /// The owner's process dies. What it had sent may still be carried out.
    fn crash(&mut self) {
        let epoch = self.owner.epoch;
        let sent: Vec<u64> = self.operations.keys().copied().collect();
        for number in sent {
            let of_dead = self.operations[&number].epoch == epoch;
            if of_dead && self.chance(50) {
                self.operations.remove(&number);
            }
        }
        self.replace();
    }

    /// The owner's lease ends without its noticing: for a while there are two.
    fn lose_lease(&mut self) {
        if self.zombie.is_some() {
            return;
        }
        let old = self.replace();
        self.zombie = Some(old);
        let wait = self.between(0, 8_000 * MS);
        self.later(wait, Event::ZombieDies);
    }

    fn replace(&mut self) -> Owner {
        self.epoch += 1;
        let now = self.now();
        let owner = take_over(&mut self.model, &self.random, self.epoch, now);
        let old = std::mem::replace(&mut self.owner, owner);
        self.step_owner(self.epoch, vec![]);
        old
    }
}

fn take_over(model: &mut Model, random: &Arc<SeededRandom>, epoch: i64, now: Timestamp) -> Owner {
    let legacy = model.take_over(epoch);
    let random: Arc<dyn Random> = Arc::clone(random) as Arc<dyn Random>;
    let machine = Machine::new(limits(), random, now, epoch, legacy);
    Owner {
        machine: machine.expect("what a predecessor wrote is readable"),
        epoch,
        running: BTreeMap::new(),
        handing: BTreeMap::new(),
        stop_sent: false,
        stopped: false,
    }
}

/// What teams have limited of a queue.
pub(super) fn limits_of(queue: QueueNumber) -> QueueLimits {
    let rate = |count, per_ms, burst| {
        Some(Rate {
            count,
            per_ms,
            burst,
        })
    };
    match queue {
        1 => QueueLimits {
            max_in_flight: Some(2),
            rate: rate(4, 1_000, 2),
            ..QueueLimits::default()
        },
        2 => QueueLimits {
            tenant_max_in_flight: Some(1),
            tenant_rate: rate(3, 1_000, 2),
            ..QueueLimits::default()
        },
        // Without a rate, which would keep a new owner from beginning too much at once.
        3 => QueueLimits {
            max_in_flight: Some(2),
            tenant_max_in_flight: Some(1),
            ..QueueLimits::default()
        },
        BUILTIN => QueueLimits {
            rate: rate(12, 1_000, 5),
            tenant_max_in_flight: Some(2),
            tenant_rate: rate(8, 1_000, 3),
            ..QueueLimits::default()
        },
        _ => QueueLimits::default(),
    }
}

/// So small that every bound is met all the time.
pub(super) fn limits() -> Limits {
    Limits {
        window: 10,
        reserve: 2,
        held_max: 30,
        discover_batch: 5,
        refill_batch: 4,
        refills_max: 2,
        batch_max: 4,
        batches_max: 3,
        starts_max: 3,
        outbound_max: 7,
        workers_max: 5,
        settle_batch: 3,
        settles_max: 2,
        inspect_batch: 3,
        inspect_max: 4,
        long_ms: 1_000,
        long_max: 2,
        ..Limits::default()
    }
}

/// What an owner is told when an answer is lost.
fn failed(action: &Action) -> Input {
    match action {
        Action::Configure { request } => Input::ConfigureFailed { request: *request },
        Action::Discover { .. } => Input::Discovered(Err(Failed)),
        Action::Refill(refill) => Input::Refilled {
            refill: refill.clone(),
            jobs: Err(Failed),
        },
        Action::FindUnfinished { .. } => Input::Unfinished(Err(Failed)),
        Action::Start { version, starts } => Input::Started {
            version: *version,
            starts: starts.clone(),
            answers: Err(Failed),
        },
        Action::RunBatch { sequence, .. } => Input::BatchEnded {
            sequence: *sequence,
            result: BatchResult::Unavailable,
            turns: Turns::Unknown,
        },
        Action::Settle { sequence, .. } => Input::Settled {
            sequence: *sequence,
            result: SettleResult::Unavailable,
            turns: Turns::Unknown,
        },
        Action::Inspect(_) => Input::Inspected(Err(Failed)),
        Action::SaveCheckpoint(_) => Input::CheckpointSaved(SettleResult::Unavailable),
        _ => Input::Tick,
    }
}

/// Whether a queue's breaker lets nothing through.
pub(super) fn is_shut(owner: &Owner, queue: QueueNumber) -> bool {
    let guard = owner.machine.guard_of(queue);
    guard.is_some_and(|guard| guard.breaker.stands() == BreakerState::Open)
}

/// Whether a queue's jobs go where those of another go as well.
pub(super) fn is_shared(queue: QueueNumber) -> bool {
    queue <= 2
}

/// Where a queue's jobs go.
fn dependency_of(queue: QueueNumber) -> Dependency {
    let name = match is_shared(queue) {
        true => "shared".to_owned(),
        false => format!("of {queue}"),
    };
    Dependency {
        tenant: tenant(0),
        name,
    }
}
