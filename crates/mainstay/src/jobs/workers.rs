//! The door for workers: processes of the team's own that ask for jobs, hold them under a lease, and say how they went.
//!
//! It is open on the node that owns the engine. What is asked for here goes to the owner's task, and the machine decides.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use mainstay_domain::{
    Category, Clock, JobId, Scope, Store, StoreError, StoreExt, StoreResult, TenantId, Timestamp,
    jobs::{Attempt, Outcome, QueueNumber, retry::RetryPolicy},
};
use serde_json::{json, value::RawValue};
use tokio::sync::{mpsc, oneshot};

use super::machine::{End, Failure, PollId, Report, Returned, Standing};
use crate::{vault::exchange_sealed, watch::Samples};

/// How long a poll that is closed waits for jobs whose start is just being recorded.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);
/// Workers that are remembered.
const WORKERS_MAX: usize = 10_000;
/// A worker that was not heard of for so long, and holds nothing, is not listed any more, in milliseconds.
const FORGET_MS: i64 = 10 * 60 * 1_000;

/// Whether the jobs of a queue of this name are for workers, unless a built-in kind has it. Names of others have a colon in
/// them (`endpoint:…`), which nobody can give.
pub fn is_workers(queue: &str) -> bool {
    !queue.contains(':')
}

/// Who works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// The name that it gives itself.
    pub name: String,
    /// By which key, as histories name it.
    pub by: String,
}

/// A worker asks for jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Who.
    pub worker: Worker,
    /// Of which queues.
    pub queues: Vec<QueueNumber>,
    /// How many at the most.
    pub places: u32,
    /// For how long it holds each without a sign of life, in milliseconds.
    pub lease_ms: i32,
    /// Whether it is answered at once where there is nothing.
    pub at_once: bool,
}

/// A job in a worker's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which.
    pub job: JobId,
    /// Which attempt: greater each time that the job is handed out.
    pub attempt: i32,
    /// Which try it is since the job was made or run again, from 1.
    pub tries: i32,
    /// Where it waited.
    pub queue: QueueNumber,
    /// What is to be done.
    pub kind: String,
    /// With what: JSON.
    pub payload: Option<Bytes>,
    /// For how long it is held without a sign of life, in milliseconds.
    pub lease_ms: i32,
    /// It is held no longer than until then.
    pub deadline: Option<Timestamp>,
    /// When the job was made.
    pub created_at: Timestamp,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Hundredths that are done, 0 to 100.
    pub percent: Option<u8>,
    /// In words.
    pub note: Option<String>,
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Of which job.
    pub job: JobId,
    /// Of which attempt.
    pub attempt: i32,
    /// How far it is; `None`: as far as before.
    pub progress: Option<Progress>,
}

/// How an attempt went, as its worker says.
#[derive(Debug, Clone)]
pub struct WorkerReport {
    /// Who says so.
    pub worker: Worker,
    /// Whose job.
    pub tenant: TenantId,
    /// Which job.
    pub job: JobId,
    /// Which attempt.
    pub attempt: i32,
    /// How.
    pub how: How,
}

/// How an attempt went.
#[derive(Debug, Clone)]
pub enum How {
    /// It is done.
    Done {
        /// What came of it: JSON.
        result: Option<Box<RawValue>>,
    },
    /// It failed.
    Failed {
        /// Why.
        failure: Box<Failure>,
        /// Whether the job is not to be tried again, whatever its policy says.
        last: bool,
    },
    /// The worker gives it back; that uses up no try.
    Returned {
        /// Why.
        reason: Option<String>,
        /// How long it is to wait, in milliseconds; `None`: it is not to wait.
        delay_ms: Option<i64>,
    },
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is committed; maybe it was before.
    Recorded,
    /// A person has cancelled the job: it counts for nothing.
    Cancelled,
    /// The attempt was not in the worker's hands any more: it counts for nothing.
    Ended,
    /// It cannot be told yet: to be repeated.
    NotYet,
}

/// Why the door did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Another node owns the engine, or none yet.
    #[error("this node does not own the jobs")]
    NotTheOwner,
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A worker, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSeen {
    /// Who.
    pub worker: Worker,
    /// The queues that it asked for last.
    pub queues: Vec<QueueNumber>,
    /// When it was last heard of.
    pub seen_at: Timestamp,
    /// The jobs in its hands.
    pub jobs: Vec<JobId>,
}

/// An attempt in somebody's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InHand {
    /// Which attempt.
    pub attempt: i32,
    /// Who has it.
    pub worker: Worker,
    /// How far it is.
    pub progress: Option<Progress>,
}

/// What is told to the owner's task. Bounded by the requests that are under way.
pub(crate) enum Call {
    Pull {
        poll: PollId,
        pull: Pull,
        answer: oneshot::Sender<Taken>,
    },
    Close(PollId),
    Beat {
        worker: Worker,
        beats: Vec<Beat>,
        answer: oneshot::Sender<Vec<Standing>>,
    },
    Report {
        job: JobId,
        attempt: i32,
        end: End,
        policy: Option<Box<RetryPolicy>>,
        answer: Option<oneshot::Sender<Told>>,
    },
}

/// The jobs that answer a pull. Those that nobody takes out go back, and that uses up no try of theirs.
pub struct Taken {
    jobs: Vec<Handed>,
    back: Option<mpsc::UnboundedSender<Call>>,
}

impl Taken {
    pub(crate) fn new(jobs: Vec<Handed>, back: mpsc::UnboundedSender<Call>) -> Self {
        Self {
            jobs,
            back: Some(back),
        }
    }

    /// The jobs, to be sent.
    pub fn take(mut self) -> Vec<Handed> {
        std::mem::take(&mut self.jobs)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Some(back) = &self.back else { return };
        for handed in self.jobs.drain(..) {
            // Without an owner its successor waits for a lease's time.
            let _ = back.send(Call::Report {
                job: handed.job,
                attempt: handed.attempt,
                end: End::Interrupted,
                policy: None,
                answer: None,
            });
        }
    }
}

/// A poll that the owner knows of. Dropped, whoever asked waits no more.
struct OpenPoll {
    poll: PollId,
    calls: mpsc::UnboundedSender<Call>,
}

impl Drop for OpenPoll {
    fn drop(&mut self) {
        let _ = self.calls.send(Call::Close(self.poll));
    }
}

/// The door.
pub struct Workers {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    samples: Arc<Samples>,
    next_poll: AtomicU64,
    calls: Mutex<Option<mpsc::UnboundedSender<Call>>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    workers: BTreeMap<String, LastSeen>,
    in_hand: HashMap<JobId, InHand>,
}

struct LastSeen {
    by: String,
    queues: Vec<QueueNumber>,
    at: Timestamp,
}

impl Workers {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, samples: Arc<Samples>) -> Self {
        Self {
            store,
            clock,
            samples,
            next_poll: AtomicU64::new(1),
            calls: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// Asks for jobs, and waits for them until `enough` says so. Dropped meanwhile, nothing is handed out.
    pub async fn pull(
        &self,
        pull: Pull,
        enough: impl Future<Output = ()> + Send,
    ) -> Result<Taken, WorkerError> {
        let calls = self.calls()?;
        self.heard(&pull.worker, Some(&pull.queues));
        let poll = self.next_poll.fetch_add(1, Ordering::Relaxed);
        let (answer, mut answered) = oneshot::channel();
        let asked = calls.send(Call::Pull { poll, pull, answer });
        asked.map_err(|_| WorkerError::NotTheOwner)?;
        let open = OpenPoll { poll, calls };
        tokio::select! {
            taken = &mut answered => return taken.map_err(|_| WorkerError::NotTheOwner),
            () = enough => drop(open),
        }
        match tokio::time::timeout(CLOSE_PATIENCE, answered).await {
            Ok(taken) => taken.map_err(|_| WorkerError::NotTheOwner),
            // The database is away; whatever comes of it later goes back.
            Err(_) => Ok(Taken {
                jobs: Vec::new(),
                back: None,
            }),
        }
    }

    /// Gives signs of life, and answers how each attempt stands, in the same order.
    pub async fn beat(
        &self,
        worker: Worker,
        beats: Vec<Beat>,
    ) -> Result<Vec<Standing>, WorkerError> {
        let calls = self.calls()?;
        self.heard(&worker, None);
        let (answer, answered) = oneshot::channel();
        let asked = calls.send(Call::Beat {
            worker,
            beats,
            answer,
        });
        asked.map_err(|_| WorkerError::NotTheOwner)?;
        answered.await.map_err(|_| WorkerError::NotTheOwner)
    }

    /// Says how an attempt went, and answers once that is committed. The same may be said again.
    pub async fn report(&self, report: WorkerReport) -> Result<Told, WorkerError> {
        let calls = self.calls()?;
        self.heard(&report.worker, None);
        let (job, attempt) = (report.job, report.attempt);
        let policy = self.policy(&report).await?;
        let end = self.end(&report).await?;
        let (answer, answered) = oneshot::channel();
        let asked = calls.send(Call::Report {
            job,
            attempt,
            end,
            policy,
            answer: Some(answer),
        });
        asked.map_err(|_| WorkerError::NotTheOwner)?;
        match answered.await.map_err(|_| WorkerError::NotTheOwner)? {
            Told::Ended => Ok(self.found(&report).await?),
            told => Ok(told),
        }
    }

    /// Who was heard of lately, by name.
    pub fn list(&self) -> Result<Vec<WorkerSeen>, WorkerError> {
        self.calls()?;
        let seen = self.seen();
        let mut jobs: HashMap<&str, Vec<JobId>> = HashMap::new();
        for (job, held) in &seen.in_hand {
            jobs.entry(&held.worker.name).or_default().push(*job);
        }
        let since = self.clock.now().minus_ms(FORGET_MS);
        let listed = seen.workers.iter().map(|(name, last)| {
            let mut jobs = jobs.remove(name.as_str()).unwrap_or_default();
            jobs.sort();
            WorkerSeen {
                worker: Worker {
                    name: name.clone(),
                    by: last.by.clone(),
                },
                queues: last.queues.clone(),
                seen_at: last.at,
                jobs,
            }
        });
        Ok(listed
            .filter(|worker| worker.seen_at >= since || !worker.jobs.is_empty())
            .collect())
    }

    /// In whose hands an attempt is, as far as this node knows.
    pub fn holder(&self, job: JobId, attempt: i32) -> Option<InHand> {
        let seen = self.seen();
        let held = seen.in_hand.get(&job)?;
        (held.attempt == attempt).then(|| held.clone())
    }

    pub(super) fn open(&self, calls: mpsc::UnboundedSender<Call>) {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner) = Some(calls);
    }

    pub(super) fn close(&self) {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.seen() = Seen::default();
    }

    /// An attempt is in these hands.
    pub(super) fn taken(&self, job: JobId, attempt: i32, worker: &Worker) {
        let held = InHand {
            attempt,
            worker: worker.clone(),
            progress: None,
        };
        self.seen().in_hand.insert(job, held);
    }

    /// A sign of life of an attempt that is in hand.
    pub(super) fn lives(&self, worker: &Worker, beat: &Beat) {
        let mut seen = self.seen();
        let known = seen.in_hand.get(&beat.job);
        // After a take-over nobody has said yet who has it.
        if known.is_none_or(|held| held.attempt != beat.attempt) {
            let held = InHand {
                attempt: beat.attempt,
                worker: worker.clone(),
                progress: None,
            };
            seen.in_hand.insert(beat.job, held);
        }
        let Some(held) = seen.in_hand.get_mut(&beat.job) else {
            return;
        };
        if beat.progress.is_some() && held.progress != beat.progress {
            held.progress.clone_from(&beat.progress);
            drop(seen);
            self.samples.jobs_changed(&[beat.job]);
        }
    }

    /// Forgets attempts that are in hand no more.
    pub(super) fn retain(&self, in_hand: impl Fn(JobId, i32) -> bool) {
        self.seen()
            .in_hand
            .retain(|job, held| in_hand(*job, held.attempt));
    }

    /// What is kept with an attempt of a worker's, sealed.
    pub(super) async fn exchange(
        &self,
        (tenant, job, attempt): (TenantId, JobId, i32),
        worker: Option<&str>,
        progress: Option<&Progress>,
        result: Option<&RawValue>,
    ) -> StoreResult<String> {
        let progress = progress.map(|at| json!({ "percent": at.percent, "note": at.note }));
        let text = json!({ "worker": worker, "progress": progress, "result": result });
        let (store, at) = (&*self.store, self.clock.now());
        exchange_sealed(store, tenant, job, attempt, text.to_string(), at).await
    }

    fn calls(&self) -> Result<mpsc::UnboundedSender<Call>, WorkerError> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.clone().ok_or(WorkerError::NotTheOwner)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self, worker: &Worker, queues: Option<&[QueueNumber]>) {
        let now = self.clock.now();
        let mut seen = self.seen();
        if !seen.workers.contains_key(&worker.name) && seen.workers.len() >= WORKERS_MAX {
            let since = now.minus_ms(FORGET_MS);
            seen.workers.retain(|_, last| last.at >= since);
            if seen.workers.len() >= WORKERS_MAX {
                // It works all the same, and is not listed.
                return;
            }
        }
        let last = seen
            .workers
            .entry(worker.name.clone())
            .or_insert_with(|| LastSeen {
                by: worker.by.clone(),
                queues: Vec::new(),
                at: now,
            });
        last.at = now;
        last.by.clone_from(&worker.by);
        if let Some(queues) = queues {
            last.queues = queues.to_vec();
        }
    }

    async fn end(&self, report: &WorkerReport) -> StoreResult<End> {
        let key = (report.tenant, report.job, report.attempt);
        let worker = Some(report.worker.name.as_str());
        let held = self.holder(report.job, report.attempt);
        let progress = held.as_ref().and_then(|held| held.progress.as_ref());
        Ok(match &report.how {
            How::Done { result } => End::Reported(Report::Success {
                status: None,
                exchange: Some(
                    self.exchange(key, worker, progress, result.as_deref())
                        .await?,
                ),
            }),
            How::Failed { failure, .. } => End::Reported(Report::Failure(Failure {
                exchange: Some(self.exchange(key, worker, progress, None).await?),
                ..(**failure).clone()
            })),
            How::Returned { reason, delay_ms } => End::Returned(Returned {
                by: format!("worker:{}", report.worker.name),
                reason: reason.clone(),
                delay_ms: *delay_ms,
            }),
        })
    }

    /// What decides after a failure; `None`: the queue's policy.
    async fn policy(&self, report: &WorkerReport) -> StoreResult<Option<Box<RetryPolicy>>> {
        let How::Failed { last, .. } = &report.how else {
            return Ok(None);
        };
        if *last {
            return Ok(Some(Box::new(RetryPolicy::Schedule {
                attempts_max: 1,
                delays_ms: Vec::new(),
            })));
        }
        let key = (report.tenant, report.job);
        let bodies = self.store.read(Scope::System("workers"), move |tx| {
            Box::pin(async move { tx.job_bodies(&[key], false).await })
        });
        let body = bodies.await?.into_iter().next();
        Ok(body.and_then(|body| super::engine::own_policy(&body)))
    }

    /// What became of an attempt that is in nobody's hands: maybe this very report came through before.
    async fn found(&self, report: &WorkerReport) -> StoreResult<Told> {
        let job = report.job;
        let read = self.store.read(Scope::System("workers"), move |tx| {
            Box::pin(async move { tx.job_attempts(job).await })
        });
        let (attempts, _) = read.await?;
        let own = attempts
            .iter()
            .find(|one| one.attempt == report.attempt && one.tenant == report.tenant);
        Ok(match own {
            Some(attempt) if says_the_same(attempt, &report.how) => Told::Recorded,
            Some(attempt) if attempt.outcome == Outcome::Cancelled => Told::Cancelled,
            _ => Told::Ended,
        })
    }
}

fn says_the_same(attempt: &Attempt, how: &How) -> bool {
    let code = attempt.code.as_deref();
    match (attempt.outcome, how) {
        (Outcome::Succeeded, How::Done { .. }) => true,
        (Outcome::Failed | Outcome::Dead, How::Failed { failure, .. }) => {
            code == Some(&failure.code) && attempt.category == Some(failure.category)
        }
        (Outcome::Requeued, How::Returned { delay_ms, .. }) => {
            code == Some(match delay_ms {
                None => "released",
                Some(_) => "snoozed",
            })
        }
        _ => false,
    }
}

/// A job whose payload cannot be read. What was erased comes back by no retry.
pub(crate) fn unreadable(error: &StoreError) -> Failure {
    let (category, code) = match error {
        StoreError::Erased => (Category::Validation, "erased"),
        _ => (Category::Database, "payload_unreadable"),
    };
    Failure::new(category, code, error.to_string())
}
