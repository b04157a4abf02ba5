//! The owner's desk for workers: what they call goes into the machine, what it decides comes back as answers.

use std::{collections::HashMap, sync::Arc};

use mainstay_domain::{
    JobId, StoreResult,
    jobs::{AttemptStart, JobBody},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    Shared,
    owner::Owner,
    work::{load, own_policy},
};
use crate::{
    jobs::{
        machine::{End, Input, Machine, Poll, PollId, Report, Standing},
        workers::{Call, Handed, InHand, Pull, Taken, Told, Worker, unreadable},
    },
    vault::own_payload,
};

/// Calls that one step takes in at the most.
const CALLS_MAX: usize = 256;
/// The lease that is told where a start says none: of a job whose queue was another's when it was started.
const LEASE_MS: i32 = 30_000;

/// Which attempt.
type Token = (JobId, i32);

/// What workers wait for.
pub(super) struct Desk {
    shared: Arc<Shared>,
    calls: mpsc::UnboundedReceiver<Call>,
    /// To be called by what is under way.
    back: mpsc::UnboundedSender<Call>,
    taken: Vec<Call>,
    polls: HashMap<PollId, Waiting>,
    reports: HashMap<Token, oneshot::Sender<Told>>,
}

/// A worker that waits for jobs.
struct Waiting {
    worker: Worker,
    answer: oneshot::Sender<Taken>,
    jobs: Vec<(AttemptStart, Option<JobBody>)>,
}

impl Desk {
    /// From now on workers are heard.
    pub(super) fn open(shared: &Arc<Shared>) -> Self {
        let (back, calls) = mpsc::unbounded_channel();
        shared.workers.open(back.clone());
        Self {
            shared: Arc::clone(shared),
            calls,
            back,
            taken: Vec::new(),
            polls: HashMap::new(),
            reports: HashMap::new(),
        }
    }

    /// Waits until somebody calls. Losing the race with something else loses no call.
    pub(super) async fn called(&mut self) {
        if self.taken.is_empty() && self.calls.recv_many(&mut self.taken, CALLS_MAX).await == 0 {
            // Nobody can: this desk holds a sender itself.
            std::future::pending::<()>().await;
        }
    }

    /// Puts an attempt with what a poll is answered.
    pub(super) fn hand(&mut self, poll: PollId, start: AttemptStart, body: Option<JobBody>) {
        if let Some(waiting) = self.polls.get_mut(&poll) {
            let workers = &self.shared.workers;
            workers.taken(start.job, start.attempt, &waiting.worker);
            waiting.jobs.push((start, body));
        }
    }

    /// What a worker reported is recorded, or counts for nothing.
    pub(super) fn reported(&mut self, token: Token, recorded: bool) {
        if let Some(answer) = self.reports.remove(&token) {
            let _ = answer.send(match recorded {
                true => Told::Recorded,
                false => Told::Ended,
            });
        }
    }

    /// Forgets what is in nobody's hands any more.
    pub(super) fn tidy(&self, machine: &Machine) {
        let workers = &self.shared.workers;
        workers.retain(|job, attempt| machine.is_in_hand(job, attempt));
    }
}

impl Owner {
    pub(super) fn take_calls(&mut self, batch: &mut Vec<Input>) {
        let calls = std::mem::take(&mut self.desk.taken);
        for call in calls {
            self.take_call(call, batch);
        }
    }

    fn take_call(&mut self, call: Call, batch: &mut Vec<Input>) {
        match call {
            Call::Pull { poll, pull, answer } => batch.push(self.polled(poll, pull, answer)),
            Call::Close(poll) => batch.push(Input::PollClosed { poll }),
            Call::Beat {
                worker,
                beats,
                answer,
            } => {
                let now = self.shared.clock.now();
                let mut standings = Vec::with_capacity(beats.len());
                for beat in beats {
                    let standing = self.machine.beat(now, beat.job, beat.attempt);
                    if standing == Standing::InHand {
                        self.shared.workers.lives(&worker, &beat);
                    }
                    standings.push(standing);
                }
                let _ = answer.send(standings);
            }
            Call::Report {
                job,
                attempt,
                end,
                policy,
                answer,
            } => {
                let now = self.shared.clock.now();
                let standing = self.machine.report(now, job, attempt, end, policy);
                let Some(answer) = answer else { return };
                let told = match standing {
                    Standing::InHand => {
                        self.desk.reports.insert((job, attempt), answer);
                        return;
                    }
                    Standing::Cancelled => Told::Cancelled,
                    Standing::NotYet => Told::NotYet,
                    Standing::Ended => Told::Ended,
                };
                let _ = answer.send(told);
            }
        }
    }

    fn polled(&mut self, poll: PollId, pull: Pull, answer: oneshot::Sender<Taken>) -> Input {
        let waiting = Waiting {
            worker: pull.worker,
            answer,
            jobs: Vec::new(),
        };
        self.desk.polls.insert(poll, waiting);
        Input::Polled(Poll {
            poll,
            queues: pull.queues,
            places: pull.places,
            lease_ms: pull.lease_ms,
            at_once: pull.at_once,
        })
    }

    /// Answers a poll with the jobs that were put there for it, their payloads opened.
    pub(super) fn answer_poll(&mut self, poll: PollId) {
        let Some(waiting) = self.desk.polls.remove(&poll) else {
            return;
        };
        let (shared, back) = (Arc::clone(&self.shared), self.desk.back.clone());
        self.tasks.spawn(async move {
            let mut jobs = Vec::with_capacity(waiting.jobs.len());
            for (start, body) in waiting.jobs {
                match shared.handed(start, body).await {
                    Ok(handed) => jobs.push(handed),
                    Err(end) => {
                        let _ = back.send(Call::Report {
                            job: start.job,
                            attempt: start.attempt,
                            end: *end,
                            policy: None,
                            answer: None,
                        });
                    }
                }
            }
            // Where nobody waits any more they go back by being dropped.
            drop(waiting.answer.send(Taken::new(jobs, back)));
        });
    }

    /// Ends an attempt whose lease has run out.
    pub(super) fn end_lease(&mut self, start: AttemptStart) {
        let (shared, answers) = (Arc::clone(&self.shared), self.answers.clone());
        let held = shared.workers.holder(start.job, start.attempt);
        self.tasks.spawn(async move {
            let policy = load(&shared, start)
                .await
                .and_then(|body| own_policy(&body));
            let exchange = shared.lost_exchange(start, held).await;
            let exchange = exchange.inspect_err(|error| {
                tracing::warn!(job = %start.job, %error, "a lost attempt is recorded without what was known of it");
            });
            let _ = answers.send(Input::Ended {
                job: start.job,
                end: End::LeaseEnded {
                    exchange: exchange.ok(),
                },
                policy,
            });
        });
    }
}

impl Shared {
    /// A job as its worker gets it; else how its attempt ends.
    async fn handed(&self, start: AttemptStart, body: Option<JobBody>) -> Result<Handed, Box<End>> {
        let body = match body {
            Some(body) => Some(body),
            None => load(self, start).await,
        };
        // It went while its start was recorded. The next start will say so.
        let body = body.ok_or_else(|| Box::new(End::Interrupted))?;
        let payload = match &body.payload {
            Some(payload) => match own_payload(&*self.store, &body, payload).await {
                Ok(payload) => Some(payload),
                Err(error) => {
                    let report = Report::Failure(unreadable(&error));
                    return Err(Box::new(End::Reported(report)));
                }
            },
            None => None,
        };
        Ok(Handed {
            tenant: start.tenant,
            job: start.job,
            attempt: start.attempt,
            tries: start.tries + 1,
            queue: start.queue,
            kind: body.kind,
            payload,
            lease_ms: start.lease_ms.unwrap_or(LEASE_MS),
            deadline: body.deadline,
            created_at: body.created_at,
        })
    }

    async fn lost_exchange(
        &self,
        start: AttemptStart,
        held: Option<InHand>,
    ) -> StoreResult<String> {
        let key = (start.tenant, start.job, start.attempt);
        let (worker, progress) = match held {
            Some(held) => (Some(held.worker.name), held.progress),
            None => (None, None),
        };
        self.workers
            .exchange(key, worker.as_deref(), progress.as_ref(), None)
            .await
    }
}
