//! Keeps requests that were refused, as evidence, so that nobody can fill the disk with them or slow genuine requests
//! down: they are taken at a rate of their source, into a short queue beside the hot path that no source can fill for the
//! others. What is not kept is counted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mainstay_domain::{
    Scope, SourceId, Store, StoreExt,
    intake::{
        NewReceipt,
        quarantine::{Bounds, Door, kind},
    },
    watch::Series,
};
use tokio::sync::mpsc;

use crate::watch::Samples;

/// Refused requests that may wait to be written.
const WAITING_MAX: usize = 256;
/// Places beside them for the first request of a source: with them at most 32 MiB of bodies wait.
const FIRST_MAX: usize = 256;
/// Written in one commit.
const BATCH_MAX: usize = 64;
/// The largest body that is kept of a refused request.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The queue of refused requests.
pub(crate) struct Refused {
    queue: mpsc::Sender<NewReceipt>,
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    samples: Arc<Samples>,
    state: Mutex<State>,
}

struct State {
    door: Door,
    /// How many wait, by source; no source without any.
    waiting: HashMap<SourceId, usize>,
    /// How many were only counted since this process started, by source: as many entries as there are sources.
    not_kept: HashMap<SourceId, i64>,
}

impl Refused {
    /// Starts the writer; it ends when this is dropped.
    pub(crate) fn start(store: Arc<dyn Store>, samples: Arc<Samples>, bounds: Bounds) -> Self {
        let (queue, mut receiver) = mpsc::channel(WAITING_MAX + FIRST_MAX);
        let shared = Arc::new(Shared {
            store,
            samples,
            state: Mutex::new(State {
                door: Door::new(bounds),
                waiting: HashMap::new(),
                not_kept: HashMap::new(),
            }),
        });
        let writer = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(BATCH_MAX);
            while receiver.recv_many(&mut batch, BATCH_MAX).await > 0 {
                writer.write(std::mem::take(&mut batch)).await;
            }
        });
        Self { queue, shared }
    }

    /// Keeps a request, unless more come than the quarantine takes.
    pub(crate) fn keep(&self, mut receipt: NewReceipt) {
        if receipt
            .body
            .as_ref()
            .is_some_and(|body| body.bytes.len() > BODY_BYTES_MAX)
        {
            receipt.body = None;
        }
        let source = receipt.source;
        if !self.shared.admit(&receipt) {
            self.shared.not_kept(source, 1);
        } else if self.queue.try_send(receipt).is_err() {
            self.shared.lock().written(source);
            self.shared.not_kept(source, 1);
        }
    }
}

impl Refused {
    /// How many were only counted since this process started, by source; those that are gone are forgotten.
    pub(crate) fn not_kept(&self, is_there: impl Fn(SourceId) -> bool) -> Vec<(SourceId, i64)> {
        let mut state = self.shared.lock();
        state.not_kept.retain(|source, _| is_there(*source));
        state
            .not_kept
            .iter()
            .map(|(source, count)| (*source, *count))
            .collect()
    }
}

impl Shared {
    fn admit(&self, receipt: &NewReceipt) -> bool {
        let body = receipt.body.as_ref().map_or(0, |body| body.bytes.len());
        let bytes = (receipt.headers.bytes.len() + body) as i64;
        let refusal = receipt.refusal.as_deref().unwrap_or_default();
        let kind = kind(&receipt.remote, refusal);
        let mut state = self.lock();
        let admitted = state.room(receipt.source)
            && state
                .door
                .admit(receipt.source, &kind, bytes, receipt.received_at);
        if admitted {
            *state.waiting.entry(receipt.source).or_default() += 1;
        }
        admitted
    }

    fn not_kept(&self, source: SourceId, count: i64) {
        self.samples
            .count(Series::RefusedNotKept, source.uuid(), count);
        *self.lock().not_kept.entry(source).or_default() += count;
    }

    async fn write(&self, batch: Vec<NewReceipt>) {
        let batch: Arc<[NewReceipt]> = batch.into();
        let again = Arc::clone(&batch);
        let written = self
            .store
            .transact(Scope::System("intake"), move |tx| {
                let batch = Arc::clone(&again);
                Box::pin(async move { tx.receipt_append(&batch).await })
            })
            .await;
        if let Err(error) = &written {
            tracing::warn!(%error, "refused requests could not be kept");
        }
        for receipt in &*batch {
            self.lock().written(receipt.source);
            if written.is_err() {
                self.not_kept(receipt.source, 1);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Of one source as many may wait as there are places left, so that none has them all; and the first one of each
    /// finds a place even where a few that are flooded have used them up.
    fn room(&self, source: SourceId) -> bool {
        let all: usize = self.waiting.values().sum();
        match self.waiting.get(&source) {
            Some(waiting) => *waiting < WAITING_MAX.saturating_sub(all),
            None => all < WAITING_MAX + FIRST_MAX,
        }
    }

    fn written(&mut self, source: SourceId) {
        if let Some(waiting) = self.waiting.get_mut(&source) {
            *waiting = waiting.saturating_sub(1);
            if *waiting == 0 {
                self.waiting.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn source(number: u128) -> SourceId {
        SourceId::from_uuid(Uuid::from_u128(number))
    }

    #[test]
    fn however_many_sources_are_flooded_another_one_finds_a_place() {
        let mut state = State {
            door: Door::new(Bounds::default()),
            waiting: HashMap::new(),
            not_kept: HashMap::new(),
        };
        for number in 1..=200 {
            while state.room(source(number)) {
                *state.waiting.entry(source(number)).or_default() += 1;
            }
        }
        let all: usize = state.waiting.values().sum();
        assert!(all <= WAITING_MAX + FIRST_MAX, "{all}");
        assert_eq!(state.waiting.len(), 200);
        assert!(state.room(source(201)));
        assert!(!state.room(source(1)), "it had half of what was left");
        for number in 1..=200 {
            for _ in 0..WAITING_MAX {
                state.written(source(number));
            }
        }
        assert!(state.waiting.is_empty(), "{:?}", state.waiting);
    }
}
