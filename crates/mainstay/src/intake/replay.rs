//! Replay: events that are kept are given to bindings once more. First the plan, then the jobs.

use std::{collections::BTreeMap, sync::Arc};

use mainstay_domain::{
    BindingId, Clock, EventId, JobId, Random, ReplayId, Scope, Store, StoreExt, StoreResult,
    TenantId, Timestamp, Tx,
    intake::{Binding, Event, EventFilter, EventStatus, HandlerRef, Replay},
    jobs::{Endpoint, NewJob},
};

use super::{BAND, BuiltinQueues, DELIVER, filtered::passing};

/// Events that one replay may take: a larger selection is narrowed first.
pub const EVENTS_MAX: i64 = 10_000;

/// What a replay would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Events selected.
    pub events: i64,
    /// Jobs that would be made.
    pub jobs: i64,
    /// Selected events whose jobs are all done already.
    pub already_done: i64,
    /// The bindings that would make them, by name.
    pub bindings: Vec<String>,
    /// Whether there are more events than one replay may take.
    pub truncated: bool,
}

/// A replay as somebody asks for it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which events.
    pub filter: EventFilter,
    /// The one binding they go to, whatever its types and its filter; none: every enabled binding of their source that
    /// matches.
    pub binding: Option<BindingId>,
    /// Who asks.
    pub by: String,
}

/// What would happen.
pub async fn plan(store: &dyn Store, scope: Scope, request: Request) -> StoreResult<Plan> {
    store
        .read(scope, move |tx| {
            let request = request.clone();
            Box::pin(async move {
                let (events, truncated) = select(tx, &request.filter).await?;
                let bindings = tx.binding_list().await?;
                let selection = Selection::new(tx, &events, &bindings, &request).await?;
                Ok(selection.plan(truncated))
            })
        })
        .await
}

/// Makes the jobs, in one transaction of its own. Empty when nothing matches.
pub async fn run(
    store: &dyn Store,
    clock: &dyn Clock,
    random: Arc<dyn Random>,
    builtin: Arc<BuiltinQueues>,
    scope: Scope,
    request: Request,
) -> StoreResult<Vec<Replay>> {
    let now = clock.now();
    let replays = store
        .transact(scope, move |tx| {
            let (request, random, builtin) = (request.clone(), random.clone(), builtin.clone());
            Box::pin(async move { run_in(tx, now, &*random, &builtin, &request).await })
        })
        .await?;
    store.wake();
    Ok(replays)
}

/// Makes the jobs, in a transaction of the caller's, who has more to write in it and wakes the engine afterwards.
pub async fn run_in(
    tx: &mut dyn Tx,
    now: Timestamp,
    random: &dyn Random,
    builtin: &BuiltinQueues,
    request: &Request,
) -> StoreResult<Vec<Replay>> {
    let (events, _) = select(tx, &request.filter).await?;
    let bindings = tx.binding_list().await?;
    let endpoints = tx.endpoint_list().await?;
    let selection = Selection::new(tx, &events, &bindings, request).await?;
    let mut replays = Vec::new();
    // A replay belongs to one tenant; a selection over several makes one for each.
    for (tenant, pairs) in selection.by_tenant() {
        let id = ReplayId::new(now, random);
        let jobs: Vec<NewJob> = pairs
            .iter()
            .filter_map(|(event, binding)| {
                let job_id = JobId::new(now, random);
                job(event, binding, &endpoints, builtin, id, job_id, now)
            })
            .collect();
        let mut touched: Vec<EventId> = pairs.iter().map(|(event, _)| event.id).collect();
        touched.dedup();
        let replay = Replay {
            id,
            tenant,
            created_at: now,
            by: request.by.clone(),
            binding: request.binding,
            events: touched.len() as i64,
            jobs: jobs.len() as i64,
        };
        tx.replay_insert(&replay, &jobs).await?;
        replays.push(replay);
    }
    Ok(replays)
}

async fn select(tx: &mut dyn Tx, filter: &EventFilter) -> StoreResult<(Vec<Event>, bool)> {
    let mut events = tx.event_list(filter, EVENTS_MAX + 1).await?;
    let truncated = events.len() as i64 > EVENTS_MAX;
    events.truncate(EVENTS_MAX as usize);
    // Oldest first, so that the jobs are made in the order of the events.
    events.reverse();
    Ok((events, truncated))
}

struct Selection<'a> {
    events: &'a [Event],
    pairs: Vec<(&'a Event, &'a Binding)>,
}

impl<'a> Selection<'a> {
    async fn new(
        tx: &mut dyn Tx,
        events: &'a [Event],
        bindings: &'a [Binding],
        request: &Request,
    ) -> StoreResult<Self> {
        let goes = |event: &Event, binding: &Binding| match request.binding {
            Some(id) => binding.id == id && binding.source == event.source,
            None => {
                binding.enabled && binding.source == event.source && binding.matches(&event.kind)
            }
        };
        let mut pairs: Vec<(&Event, &Binding)> = events
            .iter()
            .flat_map(|event| {
                bindings
                    .iter()
                    .filter(move |binding| goes(event, binding))
                    .map(move |binding| (event, binding))
            })
            .collect();
        if request.binding.is_none() {
            pairs = passing(tx, pairs).await?;
        }
        Ok(Self { events, pairs })
    }

    fn plan(&self, truncated: bool) -> Plan {
        let mut bindings: Vec<String> = self
            .pairs
            .iter()
            .map(|(_, binding)| binding.name.clone())
            .collect();
        bindings.sort();
        bindings.dedup();
        let done = self
            .events
            .iter()
            .filter(|event| EventStatus::of(event.jobs) == EventStatus::Success);
        Plan {
            events: self.events.len() as i64,
            jobs: self.pairs.len() as i64,
            already_done: done.count() as i64,
            bindings,
            truncated,
        }
    }

    fn by_tenant(&self) -> BTreeMap<TenantId, Vec<(&'a Event, &'a Binding)>> {
        let mut groups: BTreeMap<TenantId, Vec<_>> = BTreeMap::new();
        for pair in &self.pairs {
            groups.entry(pair.0.tenant).or_default().push(*pair);
        }
        groups
    }
}

fn job(
    event: &Event,
    binding: &Binding,
    endpoints: &[Endpoint],
    builtin: &BuiltinQueues,
    replay: ReplayId,
    id: JobId,
    now: Timestamp,
) -> Option<NewJob> {
    let (kind, endpoint, queue) = match &binding.handler {
        HandlerRef::Endpoint(endpoint) => {
            let found = endpoints.iter().find(|one| one.id == *endpoint)?;
            (DELIVER.to_owned(), Some(*endpoint), found.queue)
        }
        HandlerRef::Builtin(kind) => (kind.clone(), None, *builtin.get(kind)?),
    };
    Some(NewJob {
        id,
        tenant: event.tenant,
        queue,
        band: BAND,
        kind,
        event: Some(event.id),
        binding: Some(binding.id),
        replay: Some(replay),
        endpoint,
        payload: None,
        run_at: None,
        retry: None,
        created_at: now,
    })
}
