//! Keeps requests that were refused, as evidence, bounded so that nobody can fill the disk with them or slow
//! genuine requests down: a short queue beside the hot path, dropped from when it is full.

use std::sync::Arc;

use mainstay_domain::{Scope, Store, StoreExt, intake::NewReceipt};
use tokio::sync::mpsc;

/// Refused requests that may wait to be written.
const WAITING_MAX: usize = 256;
/// Written in one commit.
const BATCH_MAX: usize = 64;
/// The largest body that is kept of a refused request.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The queue of refused requests.
pub(crate) struct Refused(mpsc::Sender<NewReceipt>);

impl Refused {
    /// Starts the writer; it ends when this is dropped.
    pub(crate) fn start(store: Arc<dyn Store>) -> Self {
        let (sender, mut receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(BATCH_MAX);
            while receiver.recv_many(&mut batch, BATCH_MAX).await > 0 {
                write(&*store, std::mem::take(&mut batch)).await;
            }
        });
        Self(sender)
    }

    /// Keeps a request, unless too many wait already; the counters have counted it either way.
    pub(crate) fn keep(&self, mut receipt: NewReceipt) {
        if receipt
            .body
            .as_ref()
            .is_some_and(|body| body.bytes.len() > BODY_BYTES_MAX)
        {
            receipt.body = None;
        }
        if self.0.try_send(receipt).is_err() {
            tracing::debug!("a refused request was counted but not kept: too many at once");
        }
    }
}

async fn write(store: &dyn Store, batch: Vec<NewReceipt>) {
    let batch: Arc<[NewReceipt]> = batch.into();
    let written = store
        .transact(Scope::System("intake"), move |tx| {
            let batch = Arc::clone(&batch);
            Box::pin(async move { tx.receipt_append(&batch).await })
        })
        .await;
    if let Err(error) = written {
        tracing::warn!(%error, "refused requests could not be kept");
    }
}
