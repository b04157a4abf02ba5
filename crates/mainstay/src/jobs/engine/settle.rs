//! Outcomes are written down: attempt rows, dead letters, breakers, and our own events about them, in one transaction.

use std::sync::Arc;

use mainstay_domain::{
    Category, EndpointId, JobId, Scope, StoreError, StoreExt, StoreResult, Tx,
    jobs::{
        Attempt, DeadLetter, JobRef, Outcome, TallyRecord,
        breaker::{BreakerChange, BreakerState},
    },
    watch::Series,
};
use uuid::Uuid;

use super::{Shared, configure::Configured, perform::failed};
use crate::jobs::{
    handler::Announcement,
    machine::{BreakerTurn, SettleResult, Settlement, TallyBody, Turns},
};

/// Ids of jobs that those who watch are told of, for each settlement.
const SHOWN_MAX: usize = 32;

/// Endpoints behind one dependency of which it is told that they are down or back.
const TOLD_MAX: usize = 100;

/// How often an outcome is written again because the configuration changed while it was to be told of. After that the
/// machine tries again, later.
const ANNOUNCE_TRIES: usize = 5;

/// Whether anybody is told of dead letters and breakers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Announce {
    Yes,
    No,
}

impl Shared {
    pub(super) async fn settle(
        self: &Arc<Self>,
        settlement: &Arc<Settlement>,
        configured: &Arc<Configured>,
    ) -> (SettleResult, Turns) {
        let mut settled = self.settle_and_tell(settlement, configured).await;
        if let Err(error) = &settled
            && is_about_telling(error)
        {
            // What happened matters more than that somebody is told of it.
            tracing::error!(%error, "nobody could be told of dead letters or breakers");
            settled = self.try_settle(settlement, configured, Announce::No).await;
        }
        let (result, turns) = match settled {
            Ok(turns) => (SettleResult::Committed, Turns::Known(turns)),
            Err(error) => {
                let result = self.refused(&settlement.tally, &error).await;
                (result, Turns::Unknown)
            }
        };
        if result == SettleResult::Committed {
            self.count_settled(settlement, configured);
        }
        (result, turns)
    }

    /// Our own events are matched with bindings before the transaction and checked in it, as intake does it.
    async fn settle_and_tell(
        self: &Arc<Self>,
        settlement: &Arc<Settlement>,
        configured: &Arc<Configured>,
    ) -> StoreResult<Vec<JobRef>> {
        for _ in 1..ANNOUNCE_TRIES {
            match self.try_settle(settlement, configured, Announce::Yes).await {
                Err(StoreError::ConfigChanged) => self.announcer.refresh().await?,
                other => return other,
            }
        }
        self.try_settle(settlement, configured, Announce::Yes).await
    }

    async fn try_settle(
        self: &Arc<Self>,
        settlement: &Arc<Settlement>,
        configured: &Arc<Configured>,
        announce: Announce,
    ) -> StoreResult<Vec<JobRef>> {
        let (shared, own) = (Arc::clone(self), Arc::clone(settlement));
        let configured = Arc::clone(configured);
        let settled = self.store.transact(Scope::System("engine"), move |tx| {
            let (shared, own) = (Arc::clone(&shared), Arc::clone(&own));
            let configured = Arc::clone(&configured);
            Box::pin(async move {
                let told = shared.settle_in(tx, &own, &configured, announce).await?;
                let ended = own.attempts.iter().filter(|one| one.outcome.ends());
                let ended: Vec<_> = ended.map(|one| (one.tenant, one.job)).collect();
                let now = shared.clock.now();
                let marked = shared.options.bell.mark(tx, &ended, now).await?;
                // Last: whoever waits for a line holds nothing that others take before theirs.
                let turns = match own.ends.is_empty() {
                    true => Vec::new(),
                    false => tx.line_leave(&own.ends).await?,
                };
                Ok((told, marked, turns))
            })
        });
        let (told, marked, turns) = settled.await?;
        if told {
            self.store.wake();
        }
        if marked > 0 {
            self.options.bell.ring();
        }
        Ok(turns)
    }

    /// True when events of our own were appended.
    async fn settle_in(
        &self,
        tx: &mut dyn Tx,
        settlement: &Settlement,
        configured: &Configured,
        announce: Announce,
    ) -> StoreResult<bool> {
        let attempts = &settlement.attempts;
        tx.attempt_settle(attempts, Some(&settlement.tally)).await?;
        for (dependency, breaker) in &settlement.breakers {
            tx.breaker_save(dependency, breaker).await?;
        }
        for turn in &settlement.turns {
            tx.breaker_change_insert(&change(turn)).await?;
        }
        let mut told = turns(settlement, configured);
        let dead = attempts.iter().filter(|one| one.outcome == Outcome::Dead);
        for attempt in dead {
            if let Some(letter) = letter(tx, attempt).await? {
                tx.dead_letter_insert(&letter).await?;
                told.push(Announcement::Dead(letter));
            }
        }
        if told.is_empty() || announce == Announce::No {
            return Ok(false);
        }
        // Before anything is matched: what is learned meanwhile counts as a change.
        let known = self.announcer.config_version();
        let arrivals = told.iter().filter_map(|what| self.announcer.announce(what));
        let arrivals: Vec<_> = arrivals.collect();
        // Also where nobody is told: a binding that is not known yet may want to be.
        let current = tx.config_version().await?;
        if known.is_some_and(|known| known != current) {
            return Err(StoreError::ConfigChanged);
        }
        if arrivals.is_empty() {
            return Ok(false);
        }
        tx.event_append(current, &arrivals).await?;
        Ok(true)
    }

    fn count_settled(&self, settlement: &Settlement, configured: &Configured) {
        for attempt in &settlement.attempts {
            let endpoint = configured.endpoint(attempt.queue);
            self.count(
                attempt,
                endpoint.map_or(Uuid::nil(), |endpoint| endpoint.uuid()),
            );
            if let Some(endpoint) = endpoint.filter(|_| is_answer(attempt)) {
                self.samples
                    .answered(attempt.queue, endpoint, took_ms(attempt));
            }
            log_failure(attempt);
        }
        let shown = settlement.attempts.iter().take(SHOWN_MAX);
        let shown: Vec<JobId> = shown.map(|attempt| attempt.job).collect();
        self.samples.jobs_changed(&shown);
        for turn in &settlement.turns {
            log_turn(turn);
            for endpoint in endpoints(turn, configured) {
                self.samples.changed("endpoint", &[endpoint]);
            }
        }
    }

    fn count(&self, attempt: &Attempt, subject: Uuid) {
        match attempt.outcome {
            Outcome::Succeeded => {
                self.samples.count(Series::Done, subject, 1);
                self.samples
                    .count(Series::DurationMs, subject, took_ms(attempt));
            }
            Outcome::Failed | Outcome::Lost => self.samples.count(Series::Failed, subject, 1),
            Outcome::Dead => {
                self.samples.count(Series::Dead, subject, 1);
                self.samples.changed("dead_letter", &[attempt.job]);
            }
            Outcome::Unknown | Outcome::Cancelled | Outcome::Requeued | Outcome::Discarded => {}
        }
    }

    /// Why a transaction with this tally record did not go through, or that it had gone through before.
    pub(super) async fn refused(&self, tally: &TallyRecord, error: &StoreError) -> SettleResult {
        let StoreError::Conflict { what } = error else {
            failed("outcomes could not be recorded", error);
            return SettleResult::Unavailable;
        };
        match self.known(tally).await {
            Some(known) => known,
            // The number is used, and its record is gone with a checkpoint that is not ours.
            None if *what == "tally record" => SettleResult::Replaced,
            None => SettleResult::Conflict,
        }
    }

    /// Whether a number is used: by this very record, or by a successor's; `None` when it is free.
    pub(super) async fn known(&self, tally: &TallyRecord) -> Option<SettleResult> {
        let before = tally.sequence - 1;
        let found = self.store.read(Scope::System("engine"), move |tx| {
            Box::pin(async move {
                let checkpoint = tx.checkpoint_load().await?;
                let records = tx.tally_since(before).await?;
                Ok((checkpoint, records.into_iter().next()))
            })
        });
        let (checkpoint, record) = match found.await {
            Ok(found) => found,
            Err(error) => {
                failed(
                    "it could not be found out whether outcomes are recorded",
                    &error,
                );
                return Some(SettleResult::Unavailable);
            }
        };
        let owner = checkpoint.map_or(0, |checkpoint| checkpoint.epoch);
        if TallyBody::epoch_of(tally).is_some_and(|epoch| epoch < owner) {
            return Some(SettleResult::Replaced);
        }
        let record = record.filter(|record| record.sequence == tally.sequence)?;
        Some(if record == *tally {
            SettleResult::Committed
        } else {
            SettleResult::Replaced
        })
    }
}

/// Whether the endpoint answered, whatever it said, or was waited for until the timeout.
fn is_answer(attempt: &Attempt) -> bool {
    attempt.status.is_some() || attempt.category == Some(Category::Timeout)
}

fn took_ms(attempt: &Attempt) -> i64 {
    attempt.finished_at.ms_since(attempt.started_at).max(0)
}

/// Neither the fence nor a line that changed meanwhile nor the store's being away: what is left is what was to be told.
fn is_about_telling(error: &StoreError) -> bool {
    match error {
        StoreError::Conflict { what } => !["attempt", "tally record", "line"].contains(what),
        other => !other.retryable(),
    }
}

fn turns(settlement: &Settlement, configured: &Configured) -> Vec<Announcement> {
    let told = settlement.turns.iter().filter_map(|turn| {
        let told = turn.turn.told()?;
        Some(
            endpoints(turn, configured).map(move |endpoint| Announcement::Breaker {
                endpoint,
                told,
                at: turn.at,
                error: turn.error.clone(),
            }),
        )
    });
    told.flatten().collect()
}

/// The endpoints behind the dependency of a breaker that changed.
fn endpoints<'a>(
    turn: &'a BreakerTurn,
    configured: &'a Configured,
) -> impl Iterator<Item = EndpointId> + 'a {
    let queues = turn.queues.iter().take(TOLD_MAX);
    queues.filter_map(|queue| configured.endpoint(*queue))
}

fn change(turn: &BreakerTurn) -> BreakerChange {
    BreakerChange {
        id: turn.id,
        dependency: turn.dependency.clone(),
        at: turn.at,
        turn: turn.turn,
        error: turn.error.clone(),
        by: None,
        reason: None,
        until: None,
    }
}

/// CBK-05: every change of a breaker is logged.
fn log_turn(changed: &BreakerTurn) {
    let (dependency, tenant) = (&changed.dependency.name, changed.dependency.tenant);
    let turn = &changed.turn;
    let (why, count, calls) = (turn.why.as_str(), turn.count, turn.calls);
    match turn.to {
        BreakerState::Open => {
            let error = changed.error.as_deref().unwrap_or_default();
            tracing::warn!(dependency, %tenant, why, count, calls, error, "a breaker opened");
        }
        BreakerState::HalfOpen => {
            tracing::info!(dependency, %tenant, why, "a breaker is half open: probes go through");
        }
        BreakerState::Closed => {
            tracing::info!(dependency, %tenant, why, count, "a breaker closed: its dependency is back");
        }
    }
}

/// Every retry is logged, and that there is none any more (RTY-03, RTY-08).
fn log_failure(attempt: &Attempt) {
    let code = attempt.code.as_deref().unwrap_or_default();
    if let Some(at) = attempt.next_at {
        let delay_ms = at.ms_since(attempt.finished_at);
        tracing::info!(job = %attempt.job, tries = attempt.tries, code, delay_ms, "retry");
    } else if attempt.outcome == Outcome::Dead {
        tracing::warn!(job = %attempt.job, tenant = %attempt.tenant, tries = attempt.tries, code, "dead letter");
    }
}

async fn letter(tx: &mut dyn Tx, attempt: &Attempt) -> StoreResult<Option<DeadLetter>> {
    let Some(job) = tx.job_get(attempt.job).await? else {
        return Ok(None);
    };
    let event_kind = match job.event {
        Some(event) => tx.event_get(event).await?.map(|event| event.kind),
        None => None,
    };
    Ok(Some(DeadLetter {
        job: job.id,
        tenant: job.tenant,
        attempt: attempt.attempt,
        queue: attempt.queue,
        kind: job.kind,
        endpoint: job.endpoint,
        event: job.event,
        event_kind,
        died_at: attempt.finished_at,
        category: attempt.category.unwrap_or(Category::Unknown),
        code: attempt.code.clone().unwrap_or_else(|| "unknown".to_owned()),
        error: attempt.error.clone().unwrap_or_default(),
        status: attempt.status,
    }))
}
