//! What the machine asks for, done against the store. Every action ends in one input.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use mainstay_domain::{
    JobId, Scope, StoreError, StoreExt, StoreResult, TenantId, Timestamp, Tx,
    jobs::{
        Attempt, AttemptStart, Checkpoint, Cursor, Discovery, DueKey, JobBody, JobRef, LaneJobs,
        Loss, line::LAST,
    },
    store::BoxFuture,
};

use super::{Shared, configure::Configured};
use crate::jobs::machine::{
    Action, After, Failed, Input, JobAt, Key, Refill, SettleResult, Started, Truth, Unfinished,
    WindowId,
};

/// Starts that one look for those without an outcome goes through.
const LOOK_AT_STARTS: i64 = 10_000;
/// Attempts that the checkpoint names, looked up in one transaction.
const LOOK_AT_NAMED: usize = 200;

type Bodies = Mutex<HashMap<JobId, JobBody>>;

impl Shared {
    pub(super) async fn perform(
        self: &Arc<Self>,
        action: Action,
        configured: &Arc<Configured>,
        bodies: &Bodies,
    ) -> Vec<Input> {
        let answer = match action {
            Action::Start { version, starts } => {
                return self.start(version, starts, configured, bodies).await;
            }
            Action::Configure { request } => match configured.load(self).await {
                Ok(settings) => settings.answer(request),
                Err(error) => {
                    failed("the queues' settings could not be loaded", &error);
                    Input::ConfigureFailed { request }
                }
            },
            Action::Discover {
                cursor,
                recovering,
                limit,
            } => {
                let found = self.discover(cursor, recovering, limit).await;
                Input::Discovered(found.map_err(|error| failed("news could not be read", &error)))
            }
            Action::Refill(refill) => {
                let jobs = self.refill(refill.clone(), configured).await;
                Input::Refilled {
                    refill,
                    jobs: jobs.map_err(|error| failed("a window could not be refilled", &error)),
                }
            }
            Action::FindUnfinished { since, long } => {
                let found = self.unfinished(since, long).await;
                Input::Unfinished(
                    found.map_err(|error| failed("unfinished attempts could not be found", &error)),
                )
            }
            Action::RunBatch {
                sequence,
                again,
                batch,
            } => {
                let (result, turns) = self.run_batch(again, &batch).await;
                Input::BatchEnded {
                    sequence,
                    result,
                    turns,
                }
            }
            Action::Settle {
                sequence,
                settlement,
            } => {
                let (result, turns) = self.settle(&settlement, configured).await;
                Input::Settled {
                    sequence,
                    result,
                    turns,
                }
            }
            Action::Inspect(jobs) => {
                let truths = self.inspect(jobs).await;
                Input::Inspected(
                    truths.map_err(|error| failed("jobs could not be looked up", &error)),
                )
            }
            Action::SaveCheckpoint(checkpoint) => {
                Input::CheckpointSaved(self.save_checkpoint(*checkpoint).await)
            }
            // The owner keeps these to itself.
            Action::Run(_)
            | Action::Abort(_)
            | Action::Hand { .. }
            | Action::Answer { .. }
            | Action::Reported { .. }
            | Action::LeaseEnded(_)
            | Action::Stopped
            | Action::Replaced => Input::Tick,
        };
        vec![answer]
    }

    async fn discover(
        &self,
        cursor: Cursor,
        recovering: bool,
        limit: usize,
    ) -> StoreResult<Discovery> {
        let look = look(cursor, recovering, limit as i64);
        // The first looks may find that the database was restored, and mend what that broke.
        match recovering {
            true => self.store.transact(Scope::System("engine"), look).await,
            false => self.store.read(Scope::System("engine"), look).await,
        }
    }

    async fn refill(&self, refill: Refill, configured: &Configured) -> StoreResult<Vec<JobRef>> {
        let queue = match refill.window {
            WindowId::Lane(lane) => Some(lane.queue),
            _ => None,
        };
        let along = queue.is_some_and(|queue| configured.is_builtin(queue));
        let read = self
            .store
            .read(Scope::System("engine"), move |tx| {
                let refill = refill.clone();
                let limit = refill.limit as i64;
                Box::pin(async move {
                    match (refill.window, refill.after) {
                        (WindowId::Lane(lane), After::Job(after)) => {
                            tx.lane_refill(lane, after, &refill.seen, limit, along)
                                .await
                        }
                        (WindowId::Delayed(queue), After::Due(after)) => tx
                            .delayed_refill(queue, None, after, LAST, &refill.seen, limit)
                            .await
                            .map(only_jobs),
                        (WindowId::DelayedOf(queue, tenant), After::Due(after)) => {
                            let tenant = Some(tenant);
                            tx.delayed_refill(queue, tenant, after, LAST, &refill.seen, limit)
                                .await
                                .map(only_jobs)
                        }
                        (WindowId::Retries(queue), After::Due(after)) => tx
                            .retry_refill(queue, None, after, Timestamp::MAX, limit)
                            .await
                            .map(only_jobs),
                        (WindowId::RetriesOf(queue, tenant), After::Due(after)) => tx
                            .retry_refill(queue, Some(tenant), after, Timestamp::MAX, limit)
                            .await
                            .map(only_jobs),
                        _ => Err(StoreError::Bug(
                            "a window was refilled by a key of another kind".into(),
                        )),
                    }
                })
            })
            .await?;
        self.read_along.keep(read.bodies, self.clock.now());
        Ok(read.jobs)
    }

    /// Step by step, each in a transaction of its own: however much began, no statement takes long. There is no more to
    /// find than predecessors may have had under way at once.
    async fn unfinished(
        &self,
        since: Timestamp,
        long: Vec<(TenantId, JobId, i32)>,
    ) -> StoreResult<Vec<Unfinished>> {
        let mut found = Vec::new();
        for long in long.chunks(LOOK_AT_NAMED) {
            let long = long.to_vec();
            let look = self.store.read(Scope::System("engine"), move |tx| {
                let long = long.clone();
                Box::pin(async move {
                    let starts = tx.attempt_unfinished_among(&long).await?;
                    with_losses(tx, starts).await
                })
            });
            found.extend(look.await?);
        }
        let mut from = Some(since);
        while let Some(since) = from {
            let look = self.store.read(Scope::System("engine"), move |tx| {
                Box::pin(async move {
                    let (starts, next) = tx.attempt_unfinished(since, LOOK_AT_STARTS).await?;
                    Ok((with_losses(tx, starts).await?, next))
                })
            });
            let (some, next) = look.await?;
            found.extend(some);
            from = next;
        }
        Ok(found)
    }

    /// Records starts of the jobs whose bodies are there, and keeps the bodies of those that may go on.
    async fn start(
        &self,
        version: i64,
        starts: Vec<AttemptStart>,
        configured: &Configured,
        kept: &Bodies,
    ) -> Vec<Input> {
        let answers = match self.record_starts(version, starts.clone(), kept).await {
            Ok(Some(answers)) => Ok(answers),
            // Refused, and the settings to decide by are told first.
            Ok(None) => match configured.load(self).await {
                Ok(settings) => {
                    let answers = Ok(vec![Started::Refused; starts.len()]);
                    return vec![
                        settings.answer(0),
                        Input::Started {
                            version,
                            starts,
                            answers,
                        },
                    ];
                }
                Err(error) => Err(failed("the queues' settings could not be loaded", &error)),
            },
            Err(error) => Err(failed("starts could not be recorded", &error)),
        };
        vec![Input::Started {
            version,
            starts,
            answers,
        }]
    }

    /// `None`: the configuration is not of this version any more, and nothing is recorded.
    async fn record_starts(
        &self,
        version: i64,
        starts: Vec<AttemptStart>,
        kept: &Bodies,
    ) -> StoreResult<Option<Vec<Started>>> {
        let recorded = self
            .store
            .transact(Scope::System("engine"), move |tx| {
                let starts = starts.clone();
                Box::pin(async move {
                    if tx.config_version().await? != version {
                        return Ok(None);
                    }
                    let keys: Vec<_> = starts
                        .iter()
                        .map(|start| (start.tenant, start.job))
                        .collect();
                    let bodies = tx.job_bodies(&keys, true).await?;
                    let there: HashSet<JobId> = bodies.iter().map(|body| body.job).collect();
                    let able: Vec<_> = starts
                        .iter()
                        .filter(|start| there.contains(&start.job))
                        .copied()
                        .collect();
                    let allowed = tx.attempt_start(&able).await?;
                    let allowed: HashMap<JobId, bool> =
                        able.iter().map(|start| start.job).zip(allowed).collect();
                    let answers: Vec<Started> = starts
                        .iter()
                        .map(|start| started(allowed.get(&start.job)))
                        .collect();
                    let bodies = bodies
                        .into_iter()
                        .filter(|body| allowed.get(&body.job) == Some(&true));
                    Ok(Some((answers, bodies.collect::<Vec<_>>())))
                })
            })
            .await?;
        let Some((answers, bodies)) = recorded else {
            return Ok(None);
        };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(bodies.into_iter().map(|body| (body.job, body)));
        Ok(Some(answers))
    }

    async fn inspect(&self, jobs: Vec<JobAt>) -> StoreResult<Vec<Truth>> {
        self.store
            .read(Scope::System("engine"), move |tx| {
                let jobs = jobs.clone();
                Box::pin(async move {
                    let mut truths = Vec::with_capacity(jobs.len());
                    for at in jobs {
                        truths.push(truth(tx, at).await?);
                    }
                    Ok(truths)
                })
            })
            .await
    }

    async fn save_checkpoint(&self, checkpoint: Checkpoint) -> SettleResult {
        let saved = self
            .store
            .transact(Scope::System("engine"), move |tx| {
                let checkpoint = checkpoint.clone();
                Box::pin(async move { tx.checkpoint_save(&checkpoint).await })
            })
            .await;
        match saved {
            Ok(()) => SettleResult::Committed,
            Err(StoreError::Conflict { .. }) => SettleResult::Replaced,
            Err(error) => {
                failed("a checkpoint could not be written", &error);
                SettleResult::Unavailable
            }
        }
    }
}

fn look(
    cursor: Cursor,
    recovering: bool,
    limit: i64,
) -> impl for<'t> Fn(&'t mut dyn Tx) -> BoxFuture<'t, StoreResult<Discovery>> + Send + Sync {
    move |tx| {
        let cursor = cursor.clone();
        Box::pin(async move { tx.job_discover(&cursor, recovering, limit).await })
    }
}

pub(super) fn failed(what: &'static str, error: &StoreError) -> Failed {
    tracing::warn!(%error, "{what}; trying again");
    Failed
}

const fn started(allowed: Option<&bool>) -> Started {
    match allowed {
        Some(true) => Started::Go,
        Some(false) => Started::Refused,
        None => Started::Gone,
    }
}

async fn truth(tx: &mut dyn Tx, at: JobAt) -> StoreResult<Truth> {
    let (attempts, start) = tx.job_attempts(at.job).await?;
    let last = attempts.last();
    let next = match last.and_then(|last| last.next_at) {
        Some(due) => {
            let key = DueKey {
                due,
                tenant: at.tenant,
                job: at.job,
            };
            let tenant = Some(at.tenant);
            let found = tx
                .retry_refill(at.queue, tenant, key.before(), due, 1)
                .await?;
            found.into_iter().find(|job| job.job == at.job)
        }
        None => None,
    };
    Ok(Truth {
        at,
        attempt: last.map_or(0, |last| last.attempt),
        next,
        start,
        loss: loss(&attempts),
    })
}

/// Starts, with whether the attempts before them were lost as well.
async fn with_losses(tx: &mut dyn Tx, starts: Vec<AttemptStart>) -> StoreResult<Vec<Unfinished>> {
    let mut found = Vec::new();
    for start in starts {
        let before = match start.attempt {
            1 => Loss::None,
            _ => loss(&tx.job_attempts(start.job).await?.0),
        };
        found.push(Unfinished { start, before });
    }
    Ok(found)
}

/// Whether the last of these attempts were lost with their process.
fn loss(attempts: &[Attempt]) -> Loss {
    Loss::of(attempts.last().and_then(|last| last.code.as_deref()))
}

fn only_jobs(jobs: Vec<JobRef>) -> LaneJobs {
    LaneJobs {
        jobs,
        bodies: Vec::new(),
    }
}
