//! The walk over the selected events, tenant by tenant, each tenant's oldest first; and where each event goes.

use std::collections::{HashMap, HashSet};

use mainstay_domain::{
    BindingId, EndpointId, EventId, SourceId, StoreResult, TenantId, Tx,
    intake::{
        Binding, Event, EventFilter, EventStatus, HandlerRef,
        ordering::Ordering,
        replay::{DoneJob, ReplayTarget},
    },
    jobs::{Endpoint, QueueNumber},
};
use serde::{Deserialize, Serialize};

use super::super::{BuiltinQueues, DELIVER, filtered::passing};

/// Events read at once.
pub(super) const PAGE: i64 = 250;

/// Where a walk is: after this event of this tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    tenant: TenantId,
    event: EventId,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            tenant: TenantId::NIL,
            event: EventId::NIL,
        }
    }
}

/// The next events.
pub(super) struct Page {
    tenant: TenantId,
    /// Those that are selected.
    pub(super) events: Vec<Event>,
    /// How many were read.
    pub(super) seen: i64,
    /// The last one that was read.
    end: EventId,
    /// Whether the tenant has no more.
    pub(super) last: bool,
}

impl Place {
    /// The events after it, of one tenant; some pages are empty. `None`: it is at the end.
    pub(super) async fn next(
        &self,
        tx: &mut dyn Tx,
        filter: &EventFilter,
        limit: i64,
    ) -> StoreResult<Option<Page>> {
        let Some((tenant, after)) = self.tenant(tx, filter).await? else {
            return Ok(None);
        };
        let read = tx.event_after(tenant, filter, after, limit).await?;
        let seen = read.len() as i64;
        Ok(Some(Page {
            tenant,
            seen,
            end: read.last().map_or(after, |event| event.id),
            last: seen < limit,
            events: read
                .into_iter()
                .filter(|event| {
                    filter
                        .status
                        .is_none_or(|status| EventStatus::of(event.jobs) == status)
                })
                .collect(),
        }))
    }

    /// The tenant whose events come next, and the event after which they do.
    async fn tenant(
        &self,
        tx: &mut dyn Tx,
        filter: &EventFilter,
    ) -> StoreResult<Option<(TenantId, EventId)>> {
        let passed = self.event == END;
        Ok(match filter.tenant {
            Some(_) if passed => None,
            Some(tenant) => Some((tenant, self.event)),
            None if passed || self.tenant == TenantId::NIL => tx
                .tenant_after(self.tenant)
                .await?
                .map(|tenant| (tenant, EventId::NIL)),
            None => Some((self.tenant, self.event)),
        })
    }

    /// Goes on behind a page.
    pub(super) fn pass(&mut self, page: &Page) {
        self.tenant = page.tenant;
        self.event = if page.last { END } else { page.end };
    }

    /// Goes on behind one event.
    pub(super) fn pass_event(&mut self, event: &Event) {
        self.tenant = event.tenant;
        self.event = event.id;
    }

    /// Whether it is known to be behind the last event.
    pub(super) async fn is_end(&self, tx: &mut dyn Tx, filter: &EventFilter) -> StoreResult<bool> {
        Ok(self.event == END && self.tenant(tx, filter).await?.is_none())
    }

    /// Whether anything may come after it.
    pub(super) async fn more(&self, tx: &mut dyn Tx, filter: &EventFilter) -> StoreResult<bool> {
        match self.next(tx, filter, 1).await? {
            Some(page) => Ok(page.seen > 0 || filter.tenant.is_none()),
            None => Ok(false),
        }
    }
}

/// Behind all events of a tenant.
const END: EventId = EventId::from_uuid(uuid::Uuid::max());

/// Where one event goes.
#[derive(Debug)]
pub(super) struct Goal<'a> {
    pub(super) binding: Option<BindingId>,
    pub(super) name: &'a str,
    pub(super) kind: &'a str,
    pub(super) endpoint: Option<EndpointId>,
    pub(super) queue: QueueNumber,
    /// The order that its jobs keep.
    pub(super) ordering: Option<&'a Ordering>,
    /// Whether the event has a job for it that is done.
    pub(super) done: bool,
}

/// Bindings and endpoints as they are now, and what is wished of them.
pub(super) struct Ground {
    target: ReplayTarget,
    bindings: Vec<Binding>,
    endpoints: HashMap<EndpointId, Endpoint>,
    builtin: BuiltinQueues,
    /// Whose each source is; only where an endpoint was chosen.
    owners: HashMap<SourceId, TenantId>,
}

impl Ground {
    pub(super) async fn load(
        tx: &mut dyn Tx,
        builtin: &BuiltinQueues,
        target: ReplayTarget,
    ) -> StoreResult<Self> {
        let owners = match target {
            ReplayTarget::Endpoint(_) => tx
                .source_list()
                .await?
                .into_iter()
                .map(|source| (source.id, source.tenant))
                .collect(),
            _ => HashMap::new(),
        };
        Ok(Self {
            target,
            bindings: tx.binding_list().await?,
            endpoints: tx
                .endpoint_list()
                .await?
                .into_iter()
                .map(|endpoint| (endpoint.id, endpoint))
                .collect(),
            builtin: builtin.clone(),
            owners,
        })
    }

    /// Why there is nowhere to go any more.
    pub(super) fn gone(&self) -> Option<&'static str> {
        match self.target {
            ReplayTarget::Binding(id) if !self.bindings.iter().any(|one| one.id == id) => {
                Some(super::BINDING_GONE)
            }
            ReplayTarget::Endpoint(id) if !self.endpoints.contains_key(&id) => {
                Some(super::ENDPOINT_GONE)
            }
            _ => None,
        }
    }

    /// For each of these events of one tenant, where it goes; whether that is done already only where it is asked.
    pub(super) async fn goals<'a>(
        &'a self,
        tx: &mut dyn Tx,
        events: &'a [Event],
        asks_done: bool,
    ) -> StoreResult<Vec<Vec<Goal<'a>>>> {
        let mut goals = match self.target {
            ReplayTarget::Endpoint(id) => events
                .iter()
                .map(|event| self.chosen(event, id).into_iter().collect())
                .collect(),
            _ => self.bound(tx, events).await?,
        };
        let (Some(first), true) = (events.first(), asks_done) else {
            return Ok(goals);
        };
        let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        let done: HashSet<DoneJob> = tx
            .event_done(first.tenant, &ids)
            .await?
            .into_iter()
            .map(|job| self.comparable(job))
            .collect();
        for (event, goals) in events.iter().zip(&mut goals) {
            for goal in goals {
                goal.done = done.contains(&self.comparable(DoneJob {
                    event: event.id,
                    binding: goal.binding,
                    endpoint: goal.endpoint,
                }));
            }
        }
        Ok(goals)
    }

    /// A binding's job is done whichever endpoint the binding had then.
    fn comparable(&self, job: DoneJob) -> DoneJob {
        DoneJob {
            endpoint: job.endpoint.filter(|_| job.binding.is_none()),
            ..job
        }
    }

    async fn bound<'a>(
        &'a self,
        tx: &mut dyn Tx,
        events: &'a [Event],
    ) -> StoreResult<Vec<Vec<Goal<'a>>>> {
        let goes = |event: &Event, binding: &Binding| match self.target {
            ReplayTarget::Binding(id) => binding.id == id && binding.source == event.source,
            _ => binding.enabled && binding.source == event.source && binding.matches(&event.kind),
        };
        let mut pairs: Vec<(&'a Event, &'a Binding)> = Vec::new();
        for event in events {
            let own = self.bindings.iter().filter(|one| goes(event, one));
            pairs.extend(own.map(|binding| (event, binding)));
        }
        if self.target == ReplayTarget::Bindings {
            pairs = passing(tx, pairs).await?;
        }
        let mut pairs = pairs.into_iter().peekable();
        Ok(events
            .iter()
            .map(|event| {
                let mut goals = Vec::new();
                while let Some((_, binding)) = pairs.next_if(|(of, _)| of.id == event.id) {
                    goals.extend(self.of_binding(binding));
                }
                goals
            })
            .collect())
    }

    /// Nothing where the endpoint or the built-in handler is not there.
    fn of_binding<'a>(&'a self, binding: &'a Binding) -> Option<Goal<'a>> {
        let (kind, endpoint, queue) = match &binding.handler {
            HandlerRef::Endpoint(id) => (DELIVER, Some(*id), self.endpoints.get(id)?.queue),
            HandlerRef::Builtin(kind) => (&**kind, None, *self.builtin.get(kind)?),
        };
        Some(Goal {
            binding: Some(binding.id),
            name: &binding.name,
            kind,
            endpoint,
            queue,
            ordering: binding.ordering.as_ref(),
            done: false,
        })
    }

    /// An event may go to an endpoint of its own tenant, or of the tenant whose source it came in by, who is given it by
    /// every binding of that source anyway.
    fn chosen(&self, event: &Event, id: EndpointId) -> Option<Goal<'_>> {
        let endpoint = self.endpoints.get(&id)?;
        let own = endpoint.tenant == event.tenant
            || self.owners.get(&event.source) == Some(&endpoint.tenant);
        own.then_some(Goal {
            binding: None,
            name: &endpoint.name,
            kind: DELIVER,
            endpoint: Some(id),
            queue: endpoint.queue,
            ordering: None,
            done: false,
        })
    }
}
