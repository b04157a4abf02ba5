//! Group commit for arrivals: requests that are being verified at the same time are committed together.
//!
//! No timer: while one commit is under way the next batch gathers, so that an idle door answers at once and a busy
//! one fills its batches. A batch that fails is run again one by one, so that no request fails for its neighbour.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mainstay_domain::{
    Scope, Store, StoreError, StoreExt, StoreResult,
    intake::{Appended, Arrival},
};
use tokio::sync::{Notify, oneshot};

/// Arrivals in one commit: beyond this a larger batch gains nothing and makes its first member wait.
const BATCH_MAX: usize = 256;
/// Arrivals that may wait for a commit; above it the door answers 503.
const WAITING_MAX: usize = 8_192;
/// Commits under way at once. PostgreSQL overlaps them; on SQLite they queue up at the one writer.
const COMMITTERS: usize = 2;

struct Waiting {
    arrival: Arrival,
    config_version: i64,
    answer: oneshot::Sender<StoreResult<Vec<Appended>>>,
}

/// Why an arrival was not committed.
#[derive(Debug)]
pub(crate) enum BatchError {
    /// Too many are waiting already.
    Full,
    /// The store said no.
    Store(StoreError),
}

/// Gathers arrivals and commits them.
pub(crate) struct Batcher {
    waiting: Mutex<VecDeque<Waiting>>,
    ready: Notify,
    store: Arc<dyn Store>,
}

impl Batcher {
    /// Starts the committers. They run as long as the runtime: idle ones cost nothing.
    pub(crate) fn start(store: Arc<dyn Store>) -> Arc<Self> {
        let batcher = Arc::new(Self {
            waiting: Mutex::new(VecDeque::new()),
            ready: Notify::new(),
            store,
        });
        for _ in 0..COMMITTERS {
            let batcher = Arc::clone(&batcher);
            tokio::spawn(async move {
                loop {
                    let batch = batcher.next_batch().await;
                    commit(&*batcher.store, batch).await;
                }
            });
        }
        batcher
    }

    /// Commits one arrival, together with whatever else is waiting.
    pub(crate) async fn append(
        &self,
        arrival: Arrival,
        config_version: i64,
    ) -> Result<Vec<Appended>, BatchError> {
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.lock();
            if waiting.len() >= WAITING_MAX {
                return Err(BatchError::Full);
            }
            waiting.push_back(Waiting {
                arrival,
                config_version,
                answer,
            });
        }
        self.ready.notify_one();
        match answered.await {
            Ok(result) => result.map_err(BatchError::Store),
            Err(_) => Err(BatchError::Store(StoreError::Unavailable(
                "the committer has stopped".into(),
            ))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn next_batch(&self) -> Vec<Waiting> {
        loop {
            let (batch, more) = self.take();
            if more {
                self.ready.notify_one();
            }
            if !batch.is_empty() {
                return batch;
            }
            self.ready.notified().await;
        }
    }

    /// The longest run of arrivals from the front that were matched with the same configuration.
    fn take(&self) -> (Vec<Waiting>, bool) {
        let mut waiting = self.lock();
        let Some(version) = waiting.front().map(|first| first.config_version) else {
            return (Vec::new(), false);
        };
        let count = waiting
            .iter()
            .take(BATCH_MAX)
            .take_while(|next| next.config_version == version)
            .count();
        let batch = waiting.drain(..count).collect();
        (batch, !waiting.is_empty())
    }
}

async fn commit(store: &dyn Store, batch: Vec<Waiting>) {
    let version = batch.first().map_or(0, |first| first.config_version);
    let (arrivals, answers): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|one| (one.arrival, one.answer))
        .unzip();
    let arrivals: Arc<[Arrival]> = arrivals.into();
    match append(store, version, Arc::clone(&arrivals)).await {
        Ok(all) => {
            store.wake();
            for (answer, appended) in answers.into_iter().zip(all) {
                // A client that has gone away will send again and find a duplicate.
                let _ = answer.send(Ok(appended));
            }
        }
        Err(error) if arrivals.len() > 1 && !error.retryable() => {
            tracing::warn!(%error, arrivals = arrivals.len(), "a batch of arrivals failed; committing them one by one");
            for (answer, arrival) in answers.into_iter().zip(arrivals.iter()) {
                let alone = append(store, version, Arc::new([arrival.clone()])).await;
                store.wake();
                let _ = answer.send(alone.map(|mut all| all.pop().unwrap_or_default()));
            }
        }
        Err(error) => {
            for answer in answers {
                let _ = answer.send(Err(again(&error)));
            }
        }
    }
}

async fn append(
    store: &dyn Store,
    version: i64,
    arrivals: Arc<[Arrival]>,
) -> StoreResult<Vec<Vec<Appended>>> {
    store
        .transact(Scope::System("intake"), move |tx| {
            let arrivals = Arc::clone(&arrivals);
            Box::pin(async move { tx.event_append(version, &arrivals).await })
        })
        .await
}

/// The same error for each member of a batch.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::ConfigChanged => StoreError::ConfigChanged,
        StoreError::Timeout => StoreError::Timeout,
        StoreError::Full => StoreError::Full,
        StoreError::Bug(text) => StoreError::Bug(text.clone()),
        other => StoreError::Unavailable(other.to_string()),
    }
}
