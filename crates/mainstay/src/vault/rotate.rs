//! A rotation: data keys are wrapped anew, and where that was asked for, everything is sealed anew.
//!
//! Its steps are short commits, each of which writes what it did together with how far it is, and holds only if nobody has
//! gone on since it was read. So two nodes, a crash and a second rotation can meet in any order: nothing is done twice or
//! left out. The engine's owner takes them, some a second.

use std::{sync::Arc, time::Duration};

use mainstay_domain::{
    Clock, Scope, Store, StoreError, StoreExt, StoreResult, TenantId, Timestamp, Tx,
    vault::{DataKeyRow, Mode, Phase, Rotation, VaultState},
};
use tokio::sync::watch;

use crate::intake::Intake;

/// After so long nobody uses a key any more that was retired: each node looks every [`PAUSE`], and no transaction and no
/// request lasts as long.
pub const SETTLE_MS: i64 = 120_000;
/// How often a node looks whether keys were retired or destroyed, and its owner whether there is a step to take.
const PAUSE: Duration = Duration::from_secs(2);
/// Between two steps, so that whoever waits for the writer gets it.
const BREATH: Duration = Duration::from_millis(10);
/// Data keys wrapped in one step.
const KEYS: i64 = 200;
/// Rows looked at in one step.
const ROWS: i64 = 200;
const SCOPE: Scope = Scope::System("vault");

/// Why a rotation cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// There is no master key.
    #[error("encryption at rest is off: no master key is configured")]
    Off,
    /// One is under way.
    #[error("a rotation is under way")]
    UnderWay,
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes the steps of rotations.
pub struct Rotations {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Rotations {
    /// Over this store.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Begins one, in a transaction of the caller's.
    pub async fn begin(
        tx: &mut dyn Tx,
        on: bool,
        mode: Mode,
        by: &str,
        at: Timestamp,
    ) -> Result<Rotation, RotateError> {
        if !on {
            return Err(RotateError::Off);
        }
        let state = tx.vault_state().await?;
        if state.rotation.is_some_and(|one| one.phase != Phase::Done) {
            return Err(RotateError::UnderWay);
        }
        let settled_at = match mode {
            Mode::Data => {
                tx.data_key_retire(at).await?;
                at.plus_ms(SETTLE_MS)
            }
            Mode::Master => at,
            // What is under way may still be written by a node that did not seal.
            Mode::Seal => at,
        };
        let rotation = Rotation::new(mode, by.to_owned(), at, settled_at);
        tx.rotation_save(state.revision, &rotation).await?;
        Ok(rotation)
    }

    /// Takes one step. `None`: there is none to take now.
    pub async fn step(&self) -> StoreResult<Option<Rotation>> {
        let now = self.clock.now();
        let taken = self
            .store
            .transact(SCOPE, move |tx| Box::pin(step(tx, now)))
            .await;
        match taken {
            // Somebody else took it.
            Err(StoreError::Conflict { what: "rotation" }) => Ok(None),
            other => other,
        }
    }

    /// Takes steps until there is none to take, as long as `go_on` says so.
    pub async fn work(&self, go_on: impl Fn() -> bool + Send + Sync) -> StoreResult<()> {
        while go_on() {
            match self.step().await? {
                None => return Ok(()),
                Some(rotation) if rotation.phase == Phase::Done => {
                    tracing::info!(
                        mode = rotation.mode.as_str(),
                        keys = rotation.wrapped,
                        sealed = rotation.sealed,
                        unreadable = rotation.unreadable,
                        removed = rotation.removed,
                        "the rotation is over"
                    );
                    return Ok(());
                }
                Some(_) => tokio::time::sleep(BREATH).await,
            }
        }
        Ok(())
    }
}

async fn step(tx: &mut dyn Tx, now: Timestamp) -> StoreResult<Option<Rotation>> {
    let VaultState {
        revision, rotation, ..
    } = tx.vault_state().await?;
    let Some(mut rotation) = rotation else {
        return Ok(None);
    };
    match rotation.phase {
        Phase::Done => return Ok(None),
        Phase::Wrap => {
            let wrapped = tx.data_key_rewrap(KEYS).await?;
            rotation.wrapped += wrapped;
            if wrapped < KEYS {
                rotation.phase = match rotation.mode {
                    Mode::Master => Phase::Done,
                    Mode::Seal | Mode::Data => Phase::Settle,
                };
            }
        }
        Phase::Settle if now < rotation.settled_at => return Ok(None),
        Phase::Settle => rotation.phase = Phase::Seal,
        Phase::Seal => walk(tx, &mut rotation, now).await?,
    }
    if rotation.phase == Phase::Done {
        rotation.ended_at = Some(now);
    }
    tx.rotation_save(revision, &rotation).await?;
    Ok(Some(rotation))
}

async fn walk(tx: &mut dyn Tx, rotation: &mut Rotation, now: Timestamp) -> StoreResult<()> {
    let walked = tx
        .vault_walk(rotation.table, rotation.after, now, ROWS)
        .await?;
    let Some(walked) = walked else {
        // All was looked at. What could not be opened keeps its key: it may be mended yet.
        if rotation.mode == Mode::Data && rotation.unreadable == 0 {
            rotation.removed = tx.data_key_remove(rotation.started_at, now).await?;
        }
        tx.vault_whole(false).await?;
        rotation.phase = Phase::Done;
        return Ok(());
    };
    rotation.looked += walked.looked;
    rotation.sealed += walked.sealed;
    rotation.unreadable += walked.unreadable;
    rotation.after = walked.last;
    if walked.last.is_none() {
        rotation.table += 1;
    }
    Ok(())
}

/// Keeps up with keys that were retired or destroyed, and takes the steps of rotations while this node is the one to do it.
pub(crate) async fn run(
    intake: Arc<Intake>,
    rotations: Arc<Rotations>,
    owner: impl Fn() -> bool + Send + Sync,
    mut stop: watch::Receiver<bool>,
) {
    let stopped = stop.clone();
    let go_on = || owner() && !*stopped.borrow();
    loop {
        if let Err(error) = intake.keys_refresh().await {
            tracing::debug!(%error, "whether keys changed could not be asked; trying again");
        }
        if go_on()
            && rotations.store.vault().on()
            && let Err(error) = rotations.work(go_on).await
        {
            tracing::warn!(%error, "the rotation could not go on; trying again");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

impl Intake {
    /// Drops the keys in memory when any were retired or destroyed, and has that at hand which seals what belongs to
    /// nobody: it is needed where nobody can ask the store.
    pub(crate) async fn keys_refresh(&self) -> StoreResult<()> {
        let store = self.store();
        if !store.vault().on() {
            return Ok(());
        }
        let (state, row) = {
            let asked = store.read(SCOPE, |tx| {
                Box::pin(async move {
                    let state = tx.vault_state().await?;
                    let keys = tx.data_key_list(Some(TenantId::NIL), 0, 1_000).await?;
                    let current = keys
                        .into_iter()
                        .find(|key| key.retired_at.is_none() && key.destroyed_at.is_none());
                    Ok((state, current))
                })
            });
            asked.await?
        };
        store.vault().forget(state.changes);
        let (changes, row) = match row {
            Some(row) => (state.changes, Some(row)),
            None => self.key_ensured().await?,
        };
        if let Some(row) = row {
            store.vault().learn(changes, &row)?;
        }
        Ok(())
    }

    /// The key of nobody's data, made in the store whatever is in memory: from a snapshot, or from before a backup was
    /// restored, one may be at hand that the store does not have, and what that sealed nobody could read after a restart.
    async fn key_ensured(&self) -> StoreResult<(i64, Option<DataKeyRow>)> {
        let now = self.now();
        let made = self.store().transact(SCOPE, move |tx| {
            Box::pin(async move {
                let changes = tx.vault_state().await?.changes;
                Ok((changes, tx.data_key_ensure(TenantId::NIL, now).await?))
            })
        });
        made.await
    }
}
