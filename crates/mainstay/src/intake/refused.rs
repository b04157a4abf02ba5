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

/// The queue of refused requests, each with its [`kind`].
pub(crate) struct Refused {
    queue: mpsc::Sender<(NewReceipt, String)>,
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    samples: Arc<Samples>,
    state: Mutex<State>,
}

struct State {
    door: Door,
    /// What waits, by source; no source without any.
    waiting: HashMap<SourceId, Waiting>,
    /// How many were only counted since this process started, by source: as many entries as there are sources.
    not_kept: HashMap<SourceId, i64>,
}

/// What waits of one source.
#[derive(Debug, Default)]
struct Waiting {
    all: usize,
    /// By kind; none without any.
    kinds: HashMap<String, usize>,
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
        let refusal = receipt.refusal.as_deref().unwrap_or_default();
        let kind = kind(&receipt.remote, refusal);
        if !self.shared.admit(&receipt, &kind) {
            self.shared.not_kept(source, 1);
        } else if let Err(error) = self.queue.try_send((receipt, kind)) {
            let (_, kind) = error.into_inner();
            self.shared.lock().written(source, &kind);
            self.shared.not_kept(source, 1);
        }
    }

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
    fn admit(&self, receipt: &NewReceipt, kind: &str) -> bool {
        let body = receipt.body.as_ref().map_or(0, |body| body.bytes.len());
        let bytes = (receipt.headers.bytes.len() + body) as i64;
        let mut state = self.lock();
        let admitted = state.room(receipt.source, kind)
            && state
                .door
                .admit(receipt.source, kind, bytes, receipt.received_at);
        if admitted {
            state.waits(receipt.source, kind);
        }
        admitted
    }

    fn not_kept(&self, source: SourceId, count: i64) {
        self.samples
            .count(Series::RefusedNotKept, source.uuid(), count);
        *self.lock().not_kept.entry(source).or_default() += count;
    }

    async fn write(&self, batch: Vec<(NewReceipt, String)>) {
        let (batch, kinds): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
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
        for (receipt, kind) in batch.iter().zip(&kinds) {
            self.lock().written(receipt.source, kind);
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
    /// finds a place even where a few that are flooded have used them up. Within a source it is the same with kinds.
    fn room(&self, source: SourceId, kind: &str) -> bool {
        let all: usize = self.waiting.values().map(|waiting| waiting.all).sum();
        let Some(waiting) = self.waiting.get(&source) else {
            return all < WAITING_MAX + FIRST_MAX;
        };
        let left = WAITING_MAX.saturating_sub(all);
        let of_kind = waiting.kinds.get(kind).copied().unwrap_or_default();
        waiting.all < left && of_kind < left - waiting.all
    }

    fn waits(&mut self, source: SourceId, kind: &str) {
        let waiting = self.waiting.entry(source).or_default();
        waiting.all += 1;
        match waiting.kinds.get_mut(kind) {
            Some(count) => *count += 1,
            None => {
                waiting.kinds.insert(kind.to_owned(), 1);
            }
        }
    }

    fn written(&mut self, source: SourceId, kind: &str) {
        let Some(waiting) = self.waiting.get_mut(&source) else {
            return;
        };
        waiting.all = waiting.all.saturating_sub(1);
        if let Some(count) = waiting.kinds.get_mut(kind) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                waiting.kinds.remove(kind);
            }
        }
        if waiting.all == 0 {
            self.waiting.remove(&source);
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

    fn empty() -> State {
        State {
            door: Door::new(Bounds::default()),
            waiting: HashMap::new(),
            not_kept: HashMap::new(),
        }
    }

    fn flood(state: &mut State, source: SourceId, kind: &str) {
        while state.room(source, kind) {
            state.waits(source, kind);
        }
    }

    #[test]
    fn however_many_sources_are_flooded_another_one_finds_a_place() {
        let mut state = empty();
        for number in 1..=200 {
            flood(&mut state, source(number), "a kind");
        }
        let all: usize = state.waiting.values().map(|waiting| waiting.all).sum();
        assert!(all <= WAITING_MAX + FIRST_MAX, "{all}");
        assert_eq!(state.waiting.len(), 200);
        assert!(state.room(source(201), "a kind"));
        assert!(
            !state.room(source(1), "a kind"),
            "it had half of what was left"
        );
        for number in 1..=200 {
            for _ in 0..WAITING_MAX {
                state.written(source(number), "a kind");
            }
        }
        assert!(state.waiting.is_empty(), "{:?}", state.waiting);
    }

    #[test]
    fn a_flood_of_one_kind_leaves_places_to_the_other_kinds_of_its_source() {
        let mut state = empty();
        flood(&mut state, source(1), "flood");
        for _ in 0..10 {
            assert!(state.room(source(1), "genuine"));
            state.waits(source(1), "genuine");
        }
        for kind in ["flood", "genuine"] {
            for _ in 0..WAITING_MAX {
                state.written(source(1), kind);
            }
        }
        assert!(state.waiting.is_empty(), "{:?}", state.waiting);
    }
}
