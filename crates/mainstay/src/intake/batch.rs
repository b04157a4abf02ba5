//! Group commit for arrivals: requests that are being verified at the same time are committed together.
//!
//! No timer: while one commit is under way the next batch gathers, so that an idle door answers at once and a busy
//! one fills its batches. A second commit begins beside the first only once there is enough for it: what a commit
//! costs is shared by its members. A batch that fails is run again one by one, so that no request fails for its
//! neighbour. While many wait, no source and no tenant takes every place ([`Crowd`]). Where there is a spool, what waits here can be taken back into it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mainstay_domain::{
    Store, StoreError, StoreResult,
    intake::{Appended, Arrival},
    store::each,
};
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

use super::crowd::Crowd;

/// Arrivals in one commit: beyond this a larger batch gains nothing and makes its first member wait.
const BATCH_MAX: usize = 256;
/// Arrivals that may wait for a commit; above it the door answers 503.
const WAITING_MAX: usize = 8_192;
/// Places beside them for the first one of a source.
const FIRST_MAX: usize = 1_024;
/// From so many on it is counted whose they are.
const CROWDED: usize = 2_048;
/// Commits under way at once. PostgreSQL overlaps them; on SQLite they queue up at the one writer.
const COMMITTERS: usize = 2;
/// Arrivals that are worth a commit beside one that is under way.
const BESIDE_MIN: usize = 24;
/// How long a commit may take where nobody waits for it to the end, since its requests go into the spool before.
const SPOOLED_AFTER: Duration = Duration::from_secs(5);

struct Waiting {
    arrival: Arrival,
    config_version: i64,
    answer: oneshot::Sender<Result<Vec<Appended>, BatchError>>,
}

/// Why an arrival was not committed.
#[derive(Debug)]
pub(crate) enum BatchError {
    /// Too many are waiting already.
    Full,
    /// It was taken back before anything was done.
    Withdrawn,
    /// The store said no.
    Store(StoreError),
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Commits under way. Whoever has finished one looks again.
    committing: usize,
    /// Whose they are, while many wait.
    crowd: Option<Crowd>,
}

impl Queue {
    /// Whether there is a place for it.
    fn room(&mut self, arrival: &Arrival) -> bool {
        let waiting = self.waiting.len();
        if waiting < CROWDED {
            return true;
        }
        let all = self.waiting.iter().map(|one| &one.arrival);
        let crowd = self.crowd.get_or_insert_with(|| Crowd::of(all));
        let left = WAITING_MAX.saturating_sub(waiting);
        let first_left = (WAITING_MAX + FIRST_MAX).saturating_sub(waiting.max(WAITING_MAX));
        crowd.room(arrival, left, first_left)
    }

    fn join(&mut self, one: Waiting) {
        if let Some(crowd) = &mut self.crowd {
            crowd.joins(&one.arrival);
        }
        self.waiting.push_back(one);
    }

    /// The first so many.
    fn leave(&mut self, count: usize) -> Vec<Waiting> {
        let left: Vec<Waiting> = self.waiting.drain(..count).collect();
        // Half way back, so that it is not counted anew with every request.
        if self.waiting.len() < CROWDED / 2 {
            self.crowd = None;
        }
        if let Some(crowd) = &mut self.crowd {
            left.iter().for_each(|one| crowd.leaves(&one.arrival));
        }
        left
    }
}

/// A commit under way.
struct Committing<'a>(&'a Batcher);

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        self.0.lock().committing -= 1;
    }
}

/// Gathers arrivals and commits them.
pub(crate) struct Batcher {
    queue: Mutex<Queue>,
    ready: Notify,
    store: Arc<dyn Store>,
    /// How long a commit may take, beside what the store allows.
    limit: Option<Duration>,
}

impl Batcher {
    /// Starts the committers. They run as long as the runtime: idle ones cost nothing. `spooled`: there is a spool.
    pub(crate) fn start(store: Arc<dyn Store>, spooled: bool) -> Arc<Self> {
        let batcher = Arc::new(Self {
            queue: Mutex::default(),
            ready: Notify::new(),
            store,
            limit: spooled.then_some(SPOOLED_AFTER),
        });
        for _ in 0..COMMITTERS {
            let batcher = Arc::clone(&batcher);
            tokio::spawn(async move {
                loop {
                    let (batch, committing) = batcher.next_batch().await;
                    batcher.commit(batch).await;
                    drop(committing);
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
            let mut queue = self.lock();
            if !queue.room(&arrival) {
                return Err(BatchError::Full);
            }
            queue.join(Waiting {
                arrival,
                config_version,
                answer,
            });
        }
        self.ready.notify_one();
        match answered.await {
            Ok(result) => result,
            Err(_) => Err(BatchError::Store(StoreError::Unavailable(
                "the committer has stopped".into(),
            ))),
        }
    }

    /// Whether a commit is under way, or something waits for one.
    pub(crate) fn committing(&self) -> bool {
        let queue = self.lock();
        queue.committing > 0 || !queue.waiting.is_empty()
    }

    /// Takes back what no commit has taken up.
    pub(crate) fn withdraw(&self) {
        let waiting = {
            let mut queue = self.lock();
            queue.crowd = None;
            std::mem::take(&mut queue.waiting)
        };
        for one in waiting {
            let _ = one.answer.send(Err(BatchError::Withdrawn));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn next_batch(&self) -> (Vec<Waiting>, Committing<'_>) {
        loop {
            if let Some(batch) = self.take() {
                return batch;
            }
            self.ready.notified().await;
        }
    }

    /// The longest run of arrivals from the front that were matched with the same configuration, if they are to be
    /// committed now.
    fn take(&self) -> Option<(Vec<Waiting>, Committing<'_>)> {
        let mut queue = self.lock();
        let version = queue.waiting.front()?.config_version;
        if queue.committing > 0 && queue.waiting.len() < BESIDE_MIN {
            return None;
        }
        let count = queue
            .waiting
            .iter()
            .take(BATCH_MAX)
            .take_while(|next| next.config_version == version)
            .count();
        let batch = queue.leave(count);
        queue.committing += 1;
        if queue.waiting.len() >= BESIDE_MIN {
            self.ready.notify_one();
        }
        Some((batch, Committing(self)))
    }

    async fn commit(&self, batch: Vec<Waiting>) {
        let version = batch.first().map_or(0, |first| first.config_version);
        let (arrivals, answers): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|one| (one.arrival, one.answer))
            .unzip();
        let arrivals: Arc<[Arrival]> = arrivals.into();
        let appended = self.append_within(version, Arc::clone(&arrivals)).await;
        if appended.iter().any(Result::is_ok) {
            self.store.wake();
        }
        for ((answer, appended), arrival) in answers.into_iter().zip(appended).zip(arrivals.iter())
        {
            let appended = match appended {
                Err(error) if arrivals.len() > 1 && !error.retryable() => {
                    tracing::warn!(%error, "a batch of arrivals failed; committing this one by itself");
                    let alone = Arc::new([arrival.clone()]);
                    let alone = self.append_within(version, alone).await;
                    self.store.wake();
                    alone.into_iter().next().unwrap_or(Err(error))
                }
                appended => appended,
            };
            // A client that has gone away will send again and find a duplicate.
            let _ = answer.send(appended.map_err(BatchError::Store));
        }
    }

    async fn append_within(
        &self,
        version: i64,
        arrivals: Arc<[Arrival]>,
    ) -> Vec<StoreResult<Vec<Appended>>> {
        let count = arrivals.len();
        let append = self.store.append(version, arrivals);
        match self.limit {
            None => append.await,
            Some(limit) => timeout(limit, append)
                .await
                .unwrap_or_else(|_| each(count, Err(StoreError::Timeout))),
        }
    }
}
