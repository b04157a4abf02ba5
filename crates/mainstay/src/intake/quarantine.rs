//! Brings the quarantine back within its bounds. What is kept is read apart from the writer; what has to go goes in small
//! steps, so that no webhook waits for it.

use mainstay_domain::{
    ReceiptId, Scope, SourceId, Store, StoreExt, StoreResult,
    intake::quarantine::{Amount, Bounds, Kept, amount, surplus},
};
use tokio::sync::watch;

use crate::clean::{BREATH, STEP};

/// Requests beyond its share that are looked at in one go of each source. Where there are more, it is looked again.
const BEYOND: i64 = 5_000;
const SCOPE: Scope = Scope::System("quarantine");

/// Drops what is too much: first what a source has beyond its own share, then, if all together have too much, what those
/// have that have the most.
pub async fn trim(
    store: &dyn Store,
    bounds: Bounds,
    stop: &watch::Receiver<bool>,
) -> StoreResult<()> {
    let (mut taken, mut after) = (Vec::new(), SourceId::NIL);
    while let Some(source) = next(store, after).await? {
        taken.push((
            source,
            trim_source(store, source, bounds.source, stop).await?,
        ));
        after = source;
        if *stop.borrow() {
            return Ok(());
        }
    }
    let amounts: Vec<Amount> = taken.iter().map(|(_, amount)| *amount).collect();
    let level = bounds.level(&amounts);
    for (source, amount) in taken {
        if !amount.within(level) {
            trim_source(store, source, level, stop).await?;
        }
    }
    Ok(())
}

/// Answers what is left.
async fn trim_source(
    store: &dyn Store,
    source: SourceId,
    share: Amount,
    stop: &watch::Receiver<bool>,
) -> StoreResult<Amount> {
    loop {
        let mut kept = list(store, source, share.rows + BEYOND).await?;
        let gone = surplus(&kept, share);
        for step in gone.chunks(STEP as usize) {
            if *stop.borrow() {
                return Ok(amount(&kept));
            }
            drop_step(store, step).await?;
            tokio::time::sleep(BREATH).await;
        }
        if (kept.len() as i64) < share.rows + BEYOND {
            let gone: std::collections::HashSet<ReceiptId> = gone.into_iter().collect();
            kept.retain(|one| !gone.contains(&one.id));
            return Ok(amount(&kept));
        }
    }
}

async fn next(store: &dyn Store, after: SourceId) -> StoreResult<Option<SourceId>> {
    store
        .read(SCOPE, move |tx| {
            Box::pin(async move { tx.quarantine_source(after).await })
        })
        .await
}

async fn list(store: &dyn Store, source: SourceId, limit: i64) -> StoreResult<Vec<Kept>> {
    store
        .read(SCOPE, move |tx| {
            Box::pin(async move { tx.quarantine_list(source, limit).await })
        })
        .await
}

async fn drop_step(store: &dyn Store, step: &[ReceiptId]) -> StoreResult<i64> {
    let step = step.to_vec();
    store
        .transact(SCOPE, move |tx| {
            let step = step.clone();
            Box::pin(async move { tx.quarantine_drop(&step).await })
        })
        .await
}
