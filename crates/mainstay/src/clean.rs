//! Retention: what is finished and old goes, by kind of data, in small steps that never hold anything up.
//!
//! Events go with their jobs, attempts and receipts; one with an unfinished job or a dead letter stays. Deduplication
//! records stay for ever, so that a late redelivery is still recognised. Events that wait for their tenant go by the
//! period of events, counted from when they were received; replays that are over, the ticks of schedules, the runs of sagas
//! that have ended and the history of breakers by the same period.

use std::{sync::Arc, time::Duration};

use mainstay_domain::{
    Clock, Scope, Store, StoreExt, StoreResult, Timestamp,
    intake::{
        quarantine::Bounds,
        rhythm::{HOUR_MS, HOURS_KEPT, hour_of},
    },
    jobs::unique::WINDOW_MS_MAX,
};
use tokio::sync::watch;

use crate::intake::quarantine;

/// Rows (events, receipts, …) that one step may remove.
pub(crate) const STEP: i64 = 200;
/// How often it is looked whether something is due.
const PAUSE: Duration = Duration::from_secs(60);
/// Between two steps, so that whoever waits for the writer gets it.
pub(crate) const BREATH: Duration = Duration::from_millis(20);
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// How long each kind of data is kept, in days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Events with their payloads, jobs, attempts and receipts.
    pub events_days: i64,
    /// Requests that were refused.
    pub refused_days: i64,
    /// The counts behind the charts.
    pub samples_days: i64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            events_days: 30,
            refused_days: 7,
            samples_days: 90,
        }
    }
}

/// Removes what is due, again and again, while `owner` says that this node is the one to do it.
pub(crate) async fn run(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    retention: Retention,
    bounds: Bounds,
    owner: impl Fn() -> bool + Send,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        if owner()
            && let Err(error) = clean(&*store, &*clock, retention, bounds, &stop).await
        {
            tracing::warn!(%error, "old data could not be removed; trying again in a minute");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

async fn clean(
    store: &dyn Store,
    clock: &dyn Clock,
    retention: Retention,
    bounds: Bounds,
    stop: &watch::Receiver<bool>,
) -> StoreResult<()> {
    let kinds = [
        Kind::Events,
        Kind::Waiting,
        Kind::Refused,
        Kind::Samples,
        Kind::Durations,
        Kind::Access,
        Kind::Drift,
        Kind::Replays,
        Kind::Ticks,
        Kind::Runs,
        Kind::Rhythm,
        Kind::Expected,
        Kind::Unique,
        Kind::Breakers,
    ];
    for kind in kinds {
        let until = kind.until(clock.now(), retention);
        let mut gone = 0;
        while !*stop.borrow() {
            let removed = step(store, kind, clock.now(), until).await?;
            gone += removed;
            if removed < STEP {
                break;
            }
            tokio::time::sleep(BREATH).await;
        }
        if gone > 0 && matches!(kind, Kind::Waiting) {
            tracing::warn!(
                events = gone,
                "events were removed whose tenant never became known"
            );
        }
    }
    quarantine::trim(store, bounds, stop).await
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Events,
    Waiting,
    Refused,
    Samples,
    Durations,
    Access,
    Drift,
    Replays,
    Ticks,
    Runs,
    Rhythm,
    Expected,
    Unique,
    Breakers,
}

impl Kind {
    const fn until(self, now: Timestamp, retention: Retention) -> Timestamp {
        match self {
            Self::Events
            | Self::Waiting
            | Self::Drift
            | Self::Replays
            | Self::Ticks
            | Self::Breakers
            | Self::Runs
            | Self::Expected => now.minus_ms(retention.events_days * DAY_MS),
            Self::Refused => now.minus_ms(retention.refused_days * DAY_MS),
            Self::Samples | Self::Durations => now.minus_ms(retention.samples_days * DAY_MS),
            Self::Access => now,
            Self::Unique => now.minus_ms(WINDOW_MS_MAX),
            Self::Rhythm => now.minus_ms(HOURS_KEPT * HOUR_MS),
        }
    }
}

async fn step(store: &dyn Store, kind: Kind, now: Timestamp, until: Timestamp) -> StoreResult<i64> {
    store
        .transact(Scope::System("retention"), move |tx| {
            Box::pin(async move {
                match kind {
                    Kind::Events => tx.event_expire(until, STEP).await,
                    Kind::Waiting => tx.waiting_expire(until, STEP).await,
                    Kind::Refused => tx.receipt_expire(until, STEP).await,
                    Kind::Samples => tx.samples_expire(until, STEP).await,
                    Kind::Durations => tx.durations_expire(until, STEP).await,
                    Kind::Access => tx.access_expire(until, STEP).await,
                    Kind::Drift => tx.drift_expire(until, STEP).await,
                    Kind::Rhythm => tx.rhythm_expire(hour_of(until), STEP).await,
                    Kind::Expected => tx.expect_expire(now, until, STEP).await,
                    Kind::Unique => tx.unique_expire(until, STEP).await,
                    Kind::Breakers => tx.breaker_change_expire(until, STEP).await,
                    Kind::Replays => tx.replay_expire(until, STEP).await,
                    Kind::Ticks => tx.tick_expire(until, STEP).await,
                    Kind::Runs => tx.saga_run_expire(until, STEP).await,
                }
            })
        })
        .await
}
