//! Who takes the steps: the node that owns the engine, a step a second for each replay that there is something to do about.

use std::{sync::Arc, time::Duration};

use mainstay_domain::{
    AuditId, Clock, Random, ReplayId, Scope, Store, StoreError, StoreExt, StoreResult,
    access::AuditEntry,
    intake::replay::{Replay, ReplayState},
};
use tokio::sync::{Notify, watch};

use super::step;
use crate::intake::BuiltinQueues;

/// How often each replay takes a step.
const PAUSE: Duration = Duration::from_secs(1);
/// Replays read at once.
const PAGE: i64 = 20;
const SCOPE: Scope = Scope::System("replay");

/// Takes the steps of replays.
pub struct Replays {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    builtin: Arc<BuiltinQueues>,
    due: Notify,
}

/// Takes steps, again and again, while `owner` says that this node is the one to do it.
pub(crate) async fn run(
    replays: Arc<Replays>,
    owner: impl Fn() -> bool + Send + Sync,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let stopped = stop.clone();
        let go_on = || owner() && !*stopped.borrow();
        if go_on()
            && let Err(error) = replays.round(go_on).await
        {
            tracing::warn!(%error, "replays could not go on; trying again in a second");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = replays.due.notified() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

impl Replays {
    /// On this store, with the queues of built-in job kinds.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        builtin: Arc<BuiltinQueues>,
    ) -> Self {
        Self {
            store,
            clock,
            random,
            builtin,
            due: Notify::new(),
        }
    }

    /// Tells whoever takes the steps that there may be one to take.
    pub fn soon(&self) {
        self.due.notify_one();
    }

    /// One step for each replay that there is something to do about, as long as `go_on` says so, asked between them.
    pub async fn round(&self, go_on: impl Fn() -> bool + Send + Sync) -> StoreResult<()> {
        let (mut after, mut failed) = (ReplayId::NIL, Ok(()));
        while go_on() {
            let page = self
                .store
                .read(SCOPE, move |tx| {
                    Box::pin(async move { tx.replay_busy(after, PAGE).await })
                })
                .await?;
            let Some(last) = page.last() else {
                break;
            };
            after = last.id;
            for replay in page {
                if !go_on() {
                    break;
                }
                let id = replay.id;
                match self.step(replay).await {
                    // Somebody else was faster: another node, or a person.
                    Ok(()) | Err(StoreError::Conflict { .. }) => {}
                    // One that this program cannot read does not hold up the others.
                    Err(StoreError::Corrupt(error)) => {
                        tracing::error!(replay = %id, %error, "a replay cannot go on");
                    }
                    // Nor does one whose events take too long to find.
                    Err(error) => {
                        tracing::warn!(replay = %id, %error, "a replay could not take its step");
                        failed = Err(error);
                    }
                }
            }
        }
        failed
    }

    async fn step(&self, replay: Replay) -> StoreResult<()> {
        // It sees no more than who asked for it.
        let scope = match replay.tenant {
            Some(tenant) if replay.own => Scope::Tenant(tenant),
            _ => SCOPE,
        };
        let before = replay.clone();
        let (now, random) = (self.clock.now(), &*self.random);
        let (after, jobs) =
            step::next(&*self.store, now, random, &self.builtin, scope, replay).await?;
        if after == before {
            return Ok(());
        }
        let made = !jobs.is_empty();
        let told = self.stopped(&before, &after);
        self.store
            .transact(scope, move |tx| {
                let (after, jobs, told) = (after.clone(), jobs.clone(), told.clone());
                Box::pin(async move {
                    tx.replay_update(&after, &jobs).await?;
                    match told {
                        Some(told) => tx.audit_insert(&told).await,
                        None => Ok(()),
                    }
                })
            })
            .await?;
        if made {
            self.store.wake();
        }
        Ok(())
    }

    /// That it stopped by itself is on record like a person's stop.
    fn stopped(&self, before: &Replay, after: &Replay) -> Option<AuditEntry> {
        if after.state != ReplayState::Stopped || before.state == ReplayState::Stopped {
            return None;
        }
        let now = self.clock.now();
        let detail = serde_json::json!({ "reason": after.reason });
        Some(AuditEntry {
            id: AuditId::new(now, &*self.random),
            at: now,
            actor: "system:replay".into(),
            action: "replay.stop".into(),
            subject: after.id.to_string(),
            detail: Some(detail.to_string()),
            tenant: after.tenant,
        })
    }
}
