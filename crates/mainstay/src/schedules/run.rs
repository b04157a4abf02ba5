//! Who looks: the node that owns the engine, when the next tick is due and at least once a second, since a clock may jump.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mainstay_domain::{
    Clock, JobId, Random, ScheduleId, Scope, Store, StoreError, StoreExt, StoreResult, Timestamp,
    jobs::{JobState, NewJob},
    schedules::{
        Overlap, Schedule, ScheduleStep, ScheduleTick, TickOutcome,
        due::{Decision, Question, due_at},
        rule::Rule,
    },
};
use tokio::sync::{Notify, watch};

use super::{begin, job, row, rule};

/// The longest between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// The shortest between two rounds.
const BREATH: Duration = Duration::from_millis(10);
/// Schedules that are looked at together, and written in one commit.
const PAGE: i64 = 100;
/// Looks of one round: then it is seen again whether this node is still the one to look.
const LOOKS_MAX: usize = 1_000;
/// Jobs of one commit, unless a single schedule has more.
const JOBS_MAX: usize = 500;
/// Schedules that are read together when all are looked through.
const SWEEP: i64 = 500;
/// A clock that went back by less goes unheeded, in milliseconds.
const BACK_MS: i64 = 1_000;
/// How long a schedule that cannot be used is left alone, in milliseconds.
const UNUSABLE_MS: i64 = 60_000;
const SCOPE: Scope = Scope::System("schedules");

/// Makes the jobs of schedules.
pub struct Schedules {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    due: Notify,
    /// The time of the last round; none: this node has only begun to look.
    seen: Mutex<Option<Timestamp>>,
}

/// Looks, again and again, while `owner` says that this node is the one to do it.
pub(crate) async fn run(
    schedules: Arc<Schedules>,
    owner: impl Fn() -> bool + Send + Sync,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let stopped = stop.clone();
        let go_on = || owner() && !*stopped.borrow();
        let mut pause = PAUSE;
        if go_on() {
            match schedules.round(go_on).await {
                Ok(next) => pause = next,
                Err(error) => {
                    tracing::warn!(%error, "schedules could not be looked at; trying again in a second");
                }
            }
        } else {
            schedules.rest();
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = schedules.due.notified() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// A schedule that is due.
struct Due {
    schedule: Schedule,
    /// Whether the job of its last run has not ended.
    busy: bool,
}

/// What one look at a schedule makes.
struct Planned {
    due: Due,
    step: ScheduleStep,
    jobs: Vec<NewJob>,
}

impl Schedules {
    /// On this store.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self {
            store,
            clock,
            random,
            due: Notify::new(),
            seen: Mutex::default(),
        }
    }

    /// Tells whoever looks that there may be something to see.
    pub fn soon(&self) {
        self.due.notify_one();
    }

    /// Somebody else looks now.
    fn rest(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Makes the jobs of all ticks that are due, as long as `go_on` says so. Answers how long there is nothing to do.
    pub async fn round(&self, go_on: impl Fn() -> bool + Send + Sync) -> StoreResult<Duration> {
        self.sweep_if_due(&go_on).await?;
        for _ in 0..LOOKS_MAX {
            if !go_on() {
                break;
            }
            let now = self.clock.now();
            let due = self.due(now).await?;
            if due.is_empty() {
                break;
            }
            self.look(due, now).await?;
        }
        let next = self
            .store
            .read(SCOPE, |tx| {
                Box::pin(async move { tx.schedule_next_at().await })
            })
            .await?;
        Ok(next.map_or(PAUSE, |at| {
            let ms = at.ms_since(self.clock.now()).max(0).unsigned_abs();
            Duration::from_millis(ms + 1).clamp(BREATH, PAUSE)
        }))
    }

    async fn due(&self, now: Timestamp) -> StoreResult<Vec<Due>> {
        self.store
            .read(SCOPE, move |tx| {
                Box::pin(async move {
                    let schedules = tx.schedule_due(now, PAGE).await?;
                    let asked: Vec<_> = schedules
                        .iter()
                        .filter(|one| one.policy.overlap != Overlap::Allow)
                        .filter_map(|one| Some((one.tenant, one.last_job?)))
                        .collect();
                    let busy: HashSet<JobId> = match asked.is_empty() {
                        true => HashSet::new(),
                        false => {
                            let states = tx.job_states(&asked).await?;
                            let going = states.into_iter().filter(|(_, state)| !ended(*state));
                            going.map(|(job, _)| job).collect()
                        }
                    };
                    let due = schedules.into_iter().map(|schedule| Due {
                        busy: schedule.last_job.is_some_and(|job| busy.contains(&job)),
                        schedule,
                    });
                    Ok(due.collect())
                })
            })
            .await
    }

    /// Decides about each, and writes what was decided, many in one commit.
    async fn look(&self, due: Vec<Due>, now: Timestamp) -> StoreResult<()> {
        let (mut together, mut jobs) = (Vec::new(), 0);
        for due in due {
            let planned = self.plan(due, &[], now)?;
            jobs += planned.jobs.len();
            together.push(planned);
            if jobs >= JOBS_MAX {
                self.write(std::mem::take(&mut together), now).await?;
                jobs = 0;
            }
        }
        self.write(together, now).await
    }

    async fn write(&self, together: Vec<Planned>, now: Timestamp) -> StoreResult<()> {
        if together.is_empty() {
            return Ok(());
        }
        match self.commit(&together).await {
            Err(StoreError::Conflict { .. }) => {}
            done => return done,
        }
        // A tick has a row already: a clock was put back. Each alone, by what is known of its ticks.
        for planned in together {
            let schedule = &planned.due.schedule;
            let (tenant, id) = (schedule.tenant, schedule.id);
            let from = schedule.next_tick.unwrap_or(now);
            let known = self
                .store
                .read(SCOPE, move |tx| {
                    Box::pin(async move { tx.tick_known(tenant, id, from, now).await })
                })
                .await?;
            let alone = self.plan(planned.due, &known, now)?;
            match self.commit(std::slice::from_ref(&alone)).await {
                // Somebody else was faster: another node, or a person.
                Ok(()) | Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn commit(&self, together: &[Planned]) -> StoreResult<()> {
        let mut steps: Vec<ScheduleStep> = together.iter().map(|one| one.step.clone()).collect();
        // Whoever locks several does it in this order.
        steps.sort_by_key(|step| (step.schedule.tenant, step.schedule.id));
        let jobs: Vec<NewJob> = together.iter().flat_map(|one| one.jobs.clone()).collect();
        let (steps, jobs): (Arc<[ScheduleStep]>, Arc<[NewJob]>) = (steps.into(), jobs.into());
        let made = !jobs.is_empty();
        self.store
            .transact(SCOPE, move |tx| {
                let (steps, jobs) = (Arc::clone(&steps), Arc::clone(&jobs));
                Box::pin(async move { tx.schedule_step(&steps, &jobs).await })
            })
            .await?;
        if made {
            self.store.wake();
        }
        Ok(())
    }

    fn plan(&self, due: Due, known: &[Timestamp], now: Timestamp) -> StoreResult<Planned> {
        let mut schedule = due.schedule.clone();
        let rule = match rule(&schedule) {
            Ok(rule) => rule,
            Err(error) => {
                tracing::error!(schedule = %schedule.id, name = %schedule.name, zone = %schedule.zone, %error,
                    "a schedule cannot be used; trying again in a minute");
                schedule.next_at = Some(now.plus_ms(UNUSABLE_MS));
                return Ok(Planned {
                    due,
                    step: ScheduleStep {
                        schedule,
                        ticks: Vec::new(),
                    },
                    jobs: Vec::new(),
                });
            }
        };
        let decision = Question {
            rule: &rule,
            policy: schedule.policy,
            schedule: schedule.id,
            next_tick: schedule.next_tick.unwrap_or(now),
            now,
            busy: due.busy,
            known,
        }
        .decide();
        let (ticks, jobs) = self.made(&schedule, &rule, &decision, now)?;
        schedule.next_tick = decision.next_tick;
        schedule.next_at = decision.next_at;
        if let Some(last) = jobs.last() {
            schedule.last_job = Some(last.id);
            schedule.last_tick = decision.run.last().copied();
        }
        Ok(Planned {
            due,
            step: ScheduleStep { schedule, ticks },
            jobs,
        })
    }

    /// The rows and jobs of a decision.
    fn made(
        &self,
        schedule: &Schedule,
        rule: &Rule,
        decision: &Decision,
        now: Timestamp,
    ) -> StoreResult<(Vec<ScheduleTick>, Vec<NewJob>)> {
        let (mut ticks, mut jobs) = (Vec::new(), Vec::new());
        for (place, tick) in (0..).zip(&decision.run) {
            // A microsecond apart: jobs of one time come in any order, and these come in that of their ticks.
            let at = Timestamp::from_micros(now.micros() + place);
            let made = job(schedule, rule, *tick, false, at, &*self.random)?;
            ticks.push(ScheduleTick {
                job: Some(made.id),
                ..row(schedule, *tick, now)
            });
            jobs.push(made);
        }
        ticks.extend(decision.overlapped.iter().map(|tick| ScheduleTick {
            outcome: TickOutcome::Overlapped,
            ..row(schedule, *tick, now)
        }));
        ticks.extend(decision.missed.map(|missed| ScheduleTick {
            outcome: TickOutcome::Missed,
            since: Some(missed.first),
            count: missed.count,
            ..row(schedule, missed.last, now)
        }));
        Ok((ticks, jobs))
    }

    /// Looks through all schedules where this node has only begun to look, or its clock was put back: what is next was
    /// reckoned by another clock, or by another table of zones. Ticks that have a row stay done.
    async fn sweep_if_due(&self, go_on: &(impl Fn() -> bool + Sync)) -> StoreResult<()> {
        let now = self.clock.now();
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_none_or(|seen| seen.ms_since(now) > BACK_MS) {
            self.sweep(now, go_on).await?;
        }
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(())
    }

    async fn sweep(&self, now: Timestamp, go_on: &(impl Fn() -> bool + Sync)) -> StoreResult<()> {
        let mut after = ScheduleId::NIL;
        while go_on() {
            let page = self
                .store
                .read(SCOPE, move |tx| {
                    Box::pin(async move { tx.schedule_after(after, SWEEP).await })
                })
                .await?;
            let Some(last) = page.last() else {
                break;
            };
            after = last.id;
            let mended: Vec<Planned> = page
                .into_iter()
                .filter_map(|one| mended(one, now))
                .collect();
            if !mended.is_empty() {
                tracing::info!(
                    schedules = mended.len(),
                    "the next ticks of schedules were reckoned anew"
                );
                match self.commit(&mended).await {
                    Ok(()) | Err(StoreError::Conflict { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

/// A schedule whose next tick is not what its rule says by now.
fn mended(schedule: Schedule, now: Timestamp) -> Option<Planned> {
    let rule = rule(&schedule).ok()?;
    let mut anew = schedule.clone();
    match schedule.next_tick {
        _ if schedule.paused => return None,
        // What is due is looked at anyway, unless somebody put it off by a clock that was ahead.
        Some(tick) if tick <= now => {
            let put_off = now.plus_ms(UNUSABLE_MS + schedule.policy.jitter_ms);
            schedule.next_at.filter(|at| *at > put_off)?;
            anew.next_at = Some(due_at(&rule, schedule.policy.jitter_ms, schedule.id, tick));
        }
        _ => begin(&mut anew, &rule, now),
    }
    let changed = (anew.next_tick, anew.next_at) != (schedule.next_tick, schedule.next_at);
    changed.then_some(Planned {
        due: Due {
            schedule,
            busy: false,
        },
        step: ScheduleStep {
            schedule: anew,
            ticks: Vec::new(),
        },
        jobs: Vec::new(),
    })
}

const fn ended(state: JobState) -> bool {
    matches!(state, JobState::Done | JobState::Dead | JobState::Cancelled)
}
