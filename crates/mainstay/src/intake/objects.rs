//! The index of objects: which customers, payments, repositories … events are about, found again by any of their ids.
//!
//! Off the hot path: one node looks once a second at what was committed since, reads the payloads by the rules of their
//! sources and writes what it found, in short commits that hold only if nobody else has written. While webhooks are being
//! committed it takes a tenth of the time at the most.
//!
//! Nothing is passed over, in whatever order commits come. A look goes a little further back than where the last one
//! ended. Every time is looked at once more when it is [`SETTLE_MS`] old and no transaction is under way that had begun
//! before that. Whatever is committed later than that says so in its own commit, or beside it before it is forgotten: events
//! that waited for their tenant, released requests, the spool. What is indexed already costs one probe.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use mainstay_domain::{
    Clock, EventId, Scope, SourceId, Store, StoreError, StoreExt, StoreResult, TenantId, Timestamp,
    intake::{
        Appended, Arrival, Source,
        objects::{
            IndexCommit, IndexState, Indexed, ObjectId, ObjectRules, SourceIndex, Unindexed, Walk,
        },
        settings::SourceSettings,
    },
};
use tokio::sync::watch;

use super::{Intake, decompress, follow::Tender};

/// How often it is looked for what is new.
const PAUSE: Duration = Duration::from_secs(1);
/// The same while somebody waits for it.
const PAUSE_FOLLOWED: Duration = Duration::from_millis(250);
/// Events of one commit.
const STEP: i64 = 100;
/// How far before the end of the last look the next one begins.
const OVERLAP_MS: i64 = 3_000;
/// How old a time is when it is looked at for the last time: longer than a webhook can wait for its commit.
pub const SETTLE_MS: i64 = 10 * 60 * 1_000;
/// How much time is looked at at once for what was committed late.
const SETTLE_STEP_MS: i64 = 10_000;
/// From when on an index is far behind, and goes from event to event instead of through all the time.
const FAR_MS: i64 = 60_000;
/// The time that a look at what is far behind takes in, at first; more where there is little in it.
const WINDOW_MS: i64 = 60_000;
const WINDOW_MS_MAX: i64 = 24 * 60 * 60 * 1_000;
/// Events of a window that are many.
const WINDOW_EVENTS: usize = 20_000;
/// How long one round looks at what is new, before the other work has its turn.
const ROUND: Duration = Duration::from_secs(5);
/// Steps of second looks in one round.
const WALK_STEPS: usize = 20;
/// How often a state is written down that says nothing new.
const REMEMBER_MS: i64 = 10_000;
/// The same while somebody waits for how far it is.
const REMEMBER_FOLLOWED_MS: i64 = 500;
/// Commits that the indexer rests for after its own, while webhooks are being committed.
const RESTS: u32 = 9;
const REST_MAX: Duration = Duration::from_secs(1);
const SCOPE: Scope = Scope::System("objects");

/// Keeps the index.
pub struct Objects {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    intake: Arc<Intake>,
    rules: Mutex<Arc<Rules>>,
    window_ms: AtomicI64,
    indexed: AtomicI64,
    lag_ms: AtomicI64,
    owner: AtomicBool,
    tender: Tender,
    followed: AtomicBool,
}

/// What the index is doing, as this node knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectsStatus {
    /// Whether this node is the one that keeps it.
    pub owner: bool,
    /// Events that it has indexed since it started.
    pub indexed: i64,
    /// How far it is behind.
    pub lag_ms: i64,
}

/// The rules of all sources, as of one version of the configuration.
#[derive(Default)]
struct Rules {
    version: i64,
    sources: HashMap<SourceId, (TenantId, Option<ObjectRules>)>,
}

impl Rules {
    fn new(version: i64, sources: Vec<Source>) -> Self {
        let of = |source: &Source| {
            let settings: SourceSettings = serde_json::from_str(&source.settings).ok()?;
            ObjectRules::of(&source.scheme, settings.objects.as_ref()).ok()
        };
        let sources = sources
            .into_iter()
            .map(|source| (source.id, (source.tenant, of(&source))));
        Self {
            version,
            sources: sources.collect(),
        }
    }

    /// None: a source that is gone, or one whose settings a newer program wrote.
    fn of(&self, source: SourceId) -> Option<&ObjectRules> {
        self.sources.get(&source)?.1.as_ref()
    }
}

/// Keeps the index, again and again, while `owner` says that this node is the one to do it.
pub(crate) async fn run(
    objects: Arc<Objects>,
    owner: impl Fn() -> bool + Send + Sync,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let stopped = stop.clone();
        let go_on = || owner() && !*stopped.borrow();
        objects.owner.store(go_on(), Ordering::Relaxed);
        let mut rest = match objects.followed.load(Ordering::Relaxed) {
            true => PAUSE_FOLLOWED,
            false => PAUSE,
        };
        if go_on() {
            let begin = Instant::now();
            match objects.round(&go_on).await {
                // However many tenants there are to ask, it asks a small part of the time.
                Ok(()) => rest = rest.max(begin.elapsed() * 4),
                // Another node was faster.
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => {
                    tracing::warn!(%error, "events could not be indexed; trying again in a second");
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

impl Objects {
    /// Of this intake's events.
    pub fn new(intake: &Arc<Intake>) -> Self {
        Self {
            store: Arc::clone(&intake.store),
            clock: Arc::clone(&intake.clock),
            intake: Arc::clone(intake),
            rules: Mutex::default(),
            window_ms: AtomicI64::new(WINDOW_MS),
            indexed: AtomicI64::new(0),
            lag_ms: AtomicI64::new(0),
            owner: AtomicBool::new(false),
            tender: Tender::default(),
            followed: AtomicBool::new(false),
        }
    }

    /// What it is doing.
    pub fn status(&self) -> ObjectsStatus {
        let owner = self.owner.load(Ordering::Relaxed);
        ObjectsStatus {
            owner,
            indexed: self.indexed.load(Ordering::Relaxed),
            lag_ms: if owner {
                self.lag_ms.load(Ordering::Relaxed)
            } else {
                0
            },
        }
    }

    /// Indexes what is new, what came late and what is to be looked at once more, as long as `go_on` says so.
    pub async fn round(&self, go_on: impl Fn() -> bool + Send + Sync) -> StoreResult<()> {
        self.rules_load().await?;
        let (mut state, span) = self
            .store
            .read(SCOPE, |tx| {
                Box::pin(async move { Ok((tx.object_state().await?, tx.follow_span().await?)) })
            })
            .await?;
        let now = self.clock.now();
        let followed = self.tender.tend(&self.store, span, now).await?;
        self.followed.store(followed, Ordering::Relaxed);
        self.noted(&mut state).await?;
        let sure = self.sure(&mut state).await?;
        self.newest(&mut state, sure, &go_on).await?;
        if go_on() {
            self.settle(&mut state, sure, &go_on).await?;
        }
        if go_on() {
            self.sources(&mut state, &go_on).await?;
        }
        Ok(())
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&lock(&self.rules))
    }

    async fn rules_load(&self) -> StoreResult<()> {
        let before = self.rules().version;
        let loaded = self
            .store
            .read(SCOPE, move |tx| {
                Box::pin(async move {
                    let version = tx.config_version().await?;
                    if version == before {
                        return Ok(None);
                    }
                    Ok(Some((version, tx.source_list().await?)))
                })
            })
            .await?;
        if let Some((version, sources)) = loaded {
            *lock(&self.rules) = Arc::new(Rules::new(version, sources));
        }
        Ok(())
    }

    /// Up to when everything is committed that does not say itself that it came late: so long ago that nothing waits since
    /// then, and no transaction is under way from then. None: it is not known now.
    async fn sure(&self, state: &mut IndexState) -> StoreResult<Option<Timestamp>> {
        let now = self.clock.now();
        let horizon = self
            .store
            .read(SCOPE, |tx| {
                Box::pin(async move { tx.object_horizon().await })
            })
            .await?;
        // After a restore into another cluster it counts from elsewhere.
        let strange = horizon.next < state.mark;
        let passed = !strange && horizon.oldest >= state.mark && state.mark_at != Timestamp::EPOCH;
        let sure = passed.then(|| state.mark_at.minus_ms(SETTLE_MS));
        let fresh = now.ms_since(state.mark_at) < REMEMBER_MS;
        if strange || state.mark_at == Timestamp::EPOCH || (passed && !fresh) {
            state.mark_at = now;
            state.mark = horizon.next;
            self.write(state, Vec::new(), Vec::new(), None).await?;
        }
        Ok(sure)
    }

    /// Events that say that they came late.
    async fn noted(&self, state: &mut IndexState) -> StoreResult<()> {
        loop {
            let (noted, events) = self
                .store
                .read(SCOPE, |tx| {
                    Box::pin(async move {
                        let noted = tx.object_noted(STEP).await?;
                        let events = tx.object_events(&noted).await?;
                        Ok((noted, events))
                    })
                })
                .await?;
            if noted.is_empty() {
                return Ok(());
            }
            let many = noted.len() as i64 >= STEP;
            let events = self.read(events).await?;
            self.write(state, events, noted, None).await?;
            if !many {
                return Ok(());
            }
        }
    }

    /// What was received since the last look.
    async fn newest(
        &self,
        state: &mut IndexState,
        sure: Option<Timestamp>,
        go_on: &(impl Fn() -> bool + Sync),
    ) -> StoreResult<()> {
        let begin = Instant::now();
        while go_on() {
            let now = self.clock.now();
            // What was received within this millisecond too.
            let end = now.plus_ms(1);
            let far = end.ms_since(state.until) > FAR_MS;
            let (mut from, mut to) = (state.until.minus_ms(OVERLAP_MS), end);
            if far {
                let window = self.window_ms.load(Ordering::Relaxed);
                if let Some(next) = self.next(state.until).await? {
                    from = from.max(next.minus_ms(OVERLAP_MS));
                    to = end.min(next.max(state.until).plus_ms(window));
                }
            }
            self.lag_ms.store(
                if far { end.ms_since(state.until) } else { 0 },
                Ordering::Relaxed,
            );
            let (indexed, whole) = self.span(state, from, to, go_on).await?;
            if !whole {
                return Ok(());
            }
            if far {
                self.window_fit(indexed);
            }
            if state.settled >= state.until && sure.is_some_and(|sure| to <= sure) {
                state.settled = to;
            }
            let remember = match self.followed.load(Ordering::Relaxed) {
                true => REMEMBER_FOLLOWED_MS,
                false => REMEMBER_MS,
            };
            let remembered = to.ms_since(state.until) < remember;
            state.until = to;
            if indexed > 0 || !remembered {
                self.write(state, Vec::new(), Vec::new(), None).await?;
            }
            if to >= end || begin.elapsed() > ROUND {
                break;
            }
        }
        Ok(())
    }

    /// What was committed long after it was received.
    async fn settle(
        &self,
        state: &mut IndexState,
        sure: Option<Timestamp>,
        go_on: &(impl Fn() -> bool + Sync),
    ) -> StoreResult<()> {
        let Some(sure) = sure else { return Ok(()) };
        let target = sure.min(state.until);
        let (begin, before) = (Instant::now(), state.settled);
        while state.settled < target && go_on() && begin.elapsed() < ROUND {
            let next = self.next(state.settled).await?;
            let from = next.map_or(target, |next| next.clamp(state.settled, target));
            let to = target.min(from.plus_ms(SETTLE_STEP_MS));
            let (_, whole) = self.span(state, from, to, go_on).await?;
            if !whole {
                break;
            }
            state.settled = to;
        }
        match state.settled.ms_since(before) < REMEMBER_MS {
            true => Ok(()),
            false => self.write(state, Vec::new(), Vec::new(), None).await,
        }
    }

    async fn next(&self, from: Timestamp) -> StoreResult<Option<Timestamp>> {
        self.store
            .read(SCOPE, move |tx| {
                Box::pin(async move { tx.object_next(from).await })
            })
            .await
    }

    /// As much time at once as has some thousand events in it.
    fn window_fit(&self, indexed: usize) {
        let window = self.window_ms.load(Ordering::Relaxed);
        let fit = match indexed {
            0..1_000 => (window * 2).min(WINDOW_MS_MAX),
            WINDOW_EVENTS.. => (window / 2).max(1_000),
            _ => window,
        };
        self.window_ms.store(fit, Ordering::Relaxed);
    }

    /// Everything of this time that is not indexed: how many, and whether it was all.
    async fn span(
        &self,
        state: &mut IndexState,
        from: Timestamp,
        to: Timestamp,
        go_on: &(impl Fn() -> bool + Sync),
    ) -> StoreResult<(usize, bool)> {
        let tenants = self
            .store
            .read(SCOPE, move |tx| {
                Box::pin(async move { tx.object_tenants(from, to).await })
            })
            .await?;
        let mut indexed = 0;
        for tenant in tenants {
            // Where the next page begins: what is before is indexed.
            let mut page_from = from;
            loop {
                if !go_on() {
                    return Ok((indexed, false));
                }
                let begin = Instant::now();
                let missing = self
                    .store
                    .read(SCOPE, move |tx| {
                        Box::pin(
                            async move { tx.object_missing(tenant, page_from, to, STEP).await },
                        )
                    })
                    .await?;
                let many = missing.len() as i64 >= STEP;
                if let Some(last) = missing.last() {
                    page_from = time_of(last.id).max(from);
                    indexed += missing.len();
                    let events = self.read(missing).await?;
                    self.write(state, events, Vec::new(), None).await?;
                }
                if !many {
                    break;
                }
                self.rest(begin.elapsed()).await;
            }
        }
        Ok((indexed, true))
    }

    /// Whoever waits for the writer, or for a core, gets it.
    async fn rest(&self, took: Duration) {
        let rest = match self.intake.committing() {
            true => took * RESTS,
            false => took / 2,
        };
        tokio::time::sleep(rest.min(REST_MAX)).await;
    }

    /// The ids in these events, by the rules of now.
    async fn read(&self, events: Vec<Unindexed>) -> StoreResult<Vec<Indexed>> {
        let mut rules = self.rules();
        let strange = |event: &Unindexed| !rules.sources.contains_key(&event.source);
        if events.iter().any(strange) {
            // A source that was made since.
            self.rules_load().await?;
            rules = self.rules();
        }
        let mut indexed = Vec::with_capacity(events.len());
        for event in events {
            // Webhooks that come meanwhile have their turn.
            tokio::task::yield_now().await;
            indexed.push(Indexed {
                objects: found(&rules, &event),
                tenant: event.tenant,
                id: event.id,
                source: event.source,
                kind: event.kind,
                before: event.objects,
            });
        }
        Ok(indexed)
    }

    /// Begins second looks where rules have changed, and takes some of their steps.
    async fn sources(
        &self,
        state: &mut IndexState,
        go_on: &(impl Fn() -> bool + Sync),
    ) -> StoreResult<()> {
        let known = self
            .store
            .read(SCOPE, |tx| {
                Box::pin(async move { tx.object_sources().await })
            })
            .await?;
        let mut known: HashMap<SourceId, SourceIndex> =
            known.into_iter().map(|one| (one.source, one)).collect();
        let rules = self.rules();
        for (source, (tenant, of)) in &rules.sources {
            let Some(of) = of else { continue };
            let fingerprint = of.fingerprint();
            if known
                .get(source)
                .is_some_and(|one| one.rules == fingerprint)
            {
                continue;
            }
            let source = *source;
            let total = self
                .store
                .read(SCOPE, move |tx| {
                    Box::pin(async move { tx.object_count(source).await })
                })
                .await?;
            let index = SourceIndex {
                tenant: *tenant,
                source,
                rules: fingerprint,
                walk: (total > 0).then(|| Walk::begin(total)),
            };
            match self.source_write(state, index.clone(), Vec::new()).await {
                Ok(()) => drop(known.insert(source, index)),
                // It is gone.
                Err(StoreError::Reference { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let mut steps = 0..WALK_STEPS;
        for index in known.into_values() {
            let mut index = Some(index);
            while let Some(at) = index.take_if(|one| one.walk.is_some()) {
                if !go_on() || steps.next().is_none() {
                    return Ok(());
                }
                index = self.walk_on(state, at).await?;
            }
        }
        Ok(())
    }

    /// One step of a second look. None: the source is gone.
    async fn walk_on(
        &self,
        state: &mut IndexState,
        mut index: SourceIndex,
    ) -> StoreResult<Option<SourceIndex>> {
        let Some(walk) = index.walk.clone() else {
            return Ok(None);
        };
        let begin = Instant::now();
        let (source, from) = (index.source, walk.clone());
        let (places, events) = self
            .store
            .read(SCOPE, move |tx| {
                let from = from.clone();
                Box::pin(async move {
                    let places = tx.object_walk(source, &from, STEP).await?;
                    let named = places.iter().map(|(tenant, _, id)| (*tenant, *id));
                    let named: Vec<_> = named.collect();
                    let events = tx.object_events(&named).await?;
                    Ok((places, events))
                })
            })
            .await?;
        let looked = places.len() as i64;
        index.walk = places.into_iter().last().map(|(tenant, kind, event)| Walk {
            tenant,
            kind,
            event,
            done: walk.done + looked,
            total: walk.total.max(walk.done + looked),
        });
        let events = self.read(events).await?;
        match self.source_write(state, index.clone(), events).await {
            Ok(()) => {}
            Err(StoreError::Reference { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
        self.rest(begin.elapsed()).await;
        Ok(Some(index))
    }

    async fn source_write(
        &self,
        state: &mut IndexState,
        index: SourceIndex,
        events: Vec<Indexed>,
    ) -> StoreResult<()> {
        self.write(state, events, Vec::new(), Some(index)).await
    }

    /// One commit.
    async fn write(
        &self,
        state: &mut IndexState,
        events: Vec<Indexed>,
        noted: Vec<(TenantId, EventId)>,
        source: Option<SourceIndex>,
    ) -> StoreResult<()> {
        let new = events.iter().filter(|event| event.before.is_none()).count();
        let commit = Arc::new(IndexCommit {
            state: state.clone(),
            events,
            noted,
            source,
        });
        self.store
            .transact(SCOPE, move |tx| {
                let commit = Arc::clone(&commit);
                Box::pin(async move { tx.object_commit(&commit).await })
            })
            .await?;
        state.revision += 1;
        self.indexed.fetch_add(new as i64, Ordering::Relaxed);
        Ok(())
    }
}

/// When it was received, to the millisecond: what its id was made from.
fn time_of(event: EventId) -> Timestamp {
    let ms = event.uuid().as_u128() >> 80;
    Timestamp::from_micros(ms as i64 * 1_000)
}

/// The ids in an event, by the rules of its source. Where there are none, or it cannot be read, it has none.
fn found(rules: &Rules, event: &Unindexed) -> Vec<ObjectId> {
    let (Some(rules), Some(payload)) = (rules.of(event.source), &event.payload) else {
        return Vec::new();
    };
    match decompress(payload) {
        // What was indexed of it before stays.
        Err(StoreError::Erased) => Vec::new(),
        Ok(bytes) => rules.find(&event.kind, &bytes),
        Err(error) => {
            tracing::error!(event = %event.id, %error, "an event cannot be indexed");
            Vec::new()
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The new ones of these that have a tenant, to be noted where they come late.
pub(super) fn new_events(
    arrivals: &[Arrival],
    appended: &[Vec<Appended>],
) -> impl Iterator<Item = (TenantId, EventId)> {
    let events = arrivals.iter().flat_map(|arrival| &arrival.events);
    let appended = appended.iter().flatten();
    events
        .zip(appended)
        .filter(|(event, appended)| {
            matches!(appended, Appended::New(_)) && event.waits_for.is_empty()
        })
        .map(|(event, _)| (event.tenant, event.id))
}
