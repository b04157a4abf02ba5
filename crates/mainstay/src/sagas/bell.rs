//! How the runs of sagas hear of the ends of their jobs: in the transaction that records an end the run that waits for it is
//! marked as due, and whoever looks is told after the commit.

use std::sync::atomic::{AtomicBool, Ordering};

use mainstay_domain::{JobId, StoreResult, TenantId, Timestamp, Tx};
use tokio::sync::Notify;

/// Between the engine, which records ends, and whoever looks at the runs.
#[derive(Debug)]
pub struct Bell {
    /// Whether a run may wait for a job. While none does, nobody is asked.
    open: AtomicBool,
    rung: Notify,
}

impl Default for Bell {
    /// Open, until somebody has looked whether it need be.
    fn default() -> Self {
        Self {
            open: AtomicBool::new(true),
            rung: Notify::new(),
        }
    }
}

impl Bell {
    /// Marks the runs that wait for one of these jobs, in the transaction in which they end. Answers how many that were.
    pub(crate) async fn mark(
        &self,
        tx: &mut dyn Tx,
        ended: &[(TenantId, JobId)],
        now: Timestamp,
    ) -> StoreResult<i64> {
        if ended.is_empty() || !self.is_open() {
            return Ok(0);
        }
        tx.saga_run_wake(ended, now).await
    }

    /// Tells whoever looks that there may be something to see.
    pub fn ring(&self) {
        self.rung.notify_one();
    }

    pub(super) async fn rung(&self) {
        self.rung.notified().await;
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    /// Only whoever makes the jobs of runs says so: before it makes one, and when no run is left.
    pub(super) fn set(&self, open: bool) {
        self.open.store(open, Ordering::SeqCst);
    }
}
