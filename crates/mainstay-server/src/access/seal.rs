//! Seals the audit log: every second, entries that are in no chain yet get their places at its end.
//!
//! Every node does so, and whoever is second by a moment looks again a second later: the store lets the end of the chain
//! move only from where it was read. What was written since the last look is the window in which an entry can still be
//! changed unseen. The end of the chain goes to the log once a day, where somebody else may keep it.

use std::{sync::Arc, time::Duration};

use mainstay_domain::{
    Scope, StoreError, StoreExt, StoreResult,
    access::{Head, chain},
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::export::hex;
use crate::{limits, state::App};

const SCOPE: Scope = Scope::System("audit seal");
/// How often the end of the chain is told to the log.
const TOLD_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Seals until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    let mut stop = app.stop.clone();
    let mut tick = interval(limits::SEAL_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: Option<Instant> = None;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        match all(&app).await {
            Ok(head) => {
                if told.is_none_or(|at| at.elapsed() >= TOLD_EVERY) {
                    told = Some(Instant::now());
                    tell(&head);
                }
            }
            // Another node was faster.
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => tracing::debug!(%error, "the audit log could not be sealed; it will be"),
        }
    }
}

/// Seals once more when nothing is written any more, and tells where the chain ends: nobody does so until the next start.
pub(crate) async fn last(app: &App) {
    match all(app).await {
        Ok(head) => tell(&head),
        Err(error) => tracing::debug!(%error, "the audit log is sealed at the next start"),
    }
}

/// Seals what there is; answers the end of the chain.
async fn all(app: &App) -> StoreResult<Head> {
    loop {
        let (head, open) = app
            .store
            .read(SCOPE, |tx| {
                Box::pin(async move {
                    Ok((
                        tx.audit_head().await?,
                        tx.audit_unsealed(limits::SEAL_STEP).await?,
                    ))
                })
            })
            .await?;
        let sealed = chain::seal(&head, open);
        if sealed.is_empty() {
            return Ok(head);
        }
        let now = app.clock.now();
        app.store
            .transact(SCOPE, move |tx| {
                let sealed = sealed.clone();
                Box::pin(async move { tx.audit_seal(&head, &sealed, now).await })
            })
            .await?;
    }
}

fn tell(head: &Head) {
    tracing::info!(
        position = head.position,
        hash = hex(&head.hash),
        "the audit log ends here: kept elsewhere, this line proves what stands in front of it"
    );
}
