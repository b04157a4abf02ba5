//! Lists of events, newest first: what leads to them, and how far one look goes.
//!
//! What is asked for decides what leads there: the id of an object, dead letters, findings, the index of types, or else time
//! alone. What that brings is looked at in steps, oldest last, so that a list of what few events have ends after a bounded
//! time too, and says how far it came.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use mainstay_domain::{
    EventId, StoreError, StoreResult, TenantId, Timestamp,
    intake::{Event, EventFilter, EventStatus, EventsFound, objects::mention_hash},
};
use uuid::Uuid;

use super::{events::narrow, listed::Span, objects::queries as oq, queries as q};
use crate::{
    built::Built,
    sql::Row,
    tx::SqlTx,
    verbs::{LOOK_MAX, bounded, id_floor, values},
};

/// How long a look goes on before it says how far it came. A step and the rows of a page come on top.
const LOOK_TIME: Duration = Duration::from_millis(150);
/// Events that are named in one statement.
const NAMED_STEP: i64 = 500;
/// Events that are passed in one step where a statement can tell by their rows alone whether they are wanted.
const PASSED_STEP: i64 = 5_000;
/// Entries of the index of types that are read for one step: of each type as many as the step is long.
const KINDS_READ: i64 = 20_000;
/// Events of the first step: what is wanted may be what there is.
const FIRST_STEP: i64 = 64;

/// What leads to a tenant's events.
#[derive(Debug)]
pub(crate) enum Way {
    /// Their own ids or the provider's: they are few.
    Named,
    /// The id of an object that stands in them.
    Object(String),
    /// That they came again with other content.
    Conflicts,
    /// Their dead letters.
    Letters,
    /// What they violate.
    Violations,
    /// The numbers of their types, by the index of objects; what is newer than this, which is its end, by time.
    Kinds(Vec<i32>, Timestamp),
    /// Time alone.
    Time,
}

impl Way {
    /// What leads straight to them; none where only their types or time do.
    pub(super) fn direct(filter: &EventFilter) -> Option<Self> {
        if !filter.ids.is_empty() || filter.provider_id.is_some() {
            Some(Self::Named)
        } else if let Some(object) = &filter.object {
            Some(Self::Object(object.clone()))
        } else if filter.conflicts {
            Some(Self::Conflicts)
        } else if filter.status == Some(EventStatus::Error) {
            Some(Self::Letters)
        } else {
            filter.violates.then_some(Self::Violations)
        }
    }

    /// What is left to be asked of events that this led to; whether there is anything.
    pub(crate) fn rest(&self, filter: &EventFilter) -> Option<EventFilter> {
        let mut rest = EventFilter {
            kind: filter.kind.clone().filter(|kind| kind != "*"),
            ..filter.clone()
        };
        // Nothing of an event's row says these.
        (rest.tenant, rest.status) = (None, None);
        (rest.from, rest.to, rest.before) = (None, None, None);
        match self {
            Self::Conflicts => rest.conflicts = false,
            Self::Violations => rest.violates = false,
            Self::Kinds(..) => (rest.source, rest.kind) = (None, None),
            // Hashes of ids may meet.
            Self::Object(_) | Self::Named | Self::Letters | Self::Time => {}
        }
        (rest != EventFilter::default()).then_some(rest)
    }
}

/// Which events come first.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    Newest,
    Oldest,
}

/// One tenant's events, as far as they were looked at.
struct Walk {
    tenant: TenantId,
    /// Everything from here on was looked at.
    before: Uuid,
    way: Option<Way>,
}

/// What one step came to.
struct Step {
    ids: Vec<EventId>,
    /// How many were looked at.
    looked: i64,
    /// Where the next step begins; none: there are no more.
    next: Option<Uuid>,
}

impl Step {
    /// Of ids in the order of time, at most so many: fewer are the last ones.
    fn of(ids: Vec<EventId>, most: i64, span: Span) -> Self {
        let looked = ids.len() as i64;
        let last = ids.last().map(|id| id.uuid());
        Self {
            next: last.filter(|last| looked >= most && *last > span.from),
            looked,
            ids,
        }
    }
}

/// How far a look may go.
#[derive(Clone, Copy)]
struct Most {
    events: i64,
    time: Duration,
}

impl SqlTx<'_> {
    /// A page; fails where it takes too long to find.
    pub(super) async fn events_list(
        &mut self,
        filter: &EventFilter,
        limit: i64,
    ) -> StoreResult<Vec<Event>> {
        let most = Most {
            events: i64::MAX,
            time: LOOK_MAX,
        };
        let limit = bounded(limit);
        let found = self.look(filter, limit, most).await?;
        match found.looked_to {
            Some(_) if (found.events.len() as i64) < limit => Err(StoreError::Timeout),
            _ => Ok(found.events),
        }
    }

    /// As much of a page as a look of this many events finds.
    pub(super) async fn events_look(
        &mut self,
        filter: &EventFilter,
        limit: i64,
        most: i64,
    ) -> StoreResult<EventsFound> {
        let most = Most {
            events: most,
            time: LOOK_TIME,
        };
        self.look(filter, bounded(limit), most).await
    }

    async fn look(
        &mut self,
        filter: &EventFilter,
        limit: i64,
        most: Most,
    ) -> StoreResult<EventsFound> {
        let begin = Instant::now();
        self.statement_timeout(LOOK_MAX).await?;
        let from = Span::of(filter).from;
        let mut walks = self.walks(filter).await?;
        let mut found: Vec<(EventId, TenantId)> = Vec::new();
        let enough = usize::try_from(limit).unwrap_or_default();
        let (mut looked, mut step_max, mut looked_to) = (0, limit.max(FIRST_STEP), None);
        // Always the tenant that was looked at least far: what was found since where it is, is the newest there is.
        while enough > 0
            && let Some(mut walk) = walks.pop()
        {
            let full = found
                .get(enough - 1)
                .is_some_and(|(id, _)| id.uuid() >= walk.before);
            // At least one step, so that each look comes further than the one before.
            let over = looked > 0 && (looked >= most.events || begin.elapsed() > most.time);
            if full || over {
                looked_to = Some(EventId::from_uuid(walk.before));
                break;
            }
            let step_most = step_max.min(most.events - looked).max(1);
            let step = self.step(&mut walk, filter, from, step_most).await?;
            looked += step.looked.max(1);
            step_max = step_max.saturating_mul(2);
            found.extend(step.ids.into_iter().map(|id| (id, walk.tenant)));
            found.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
            if let Some(next) = step.next {
                walk.before = next;
                let place = walks.partition_point(|one| one.before < next);
                walks.insert(place, walk);
            }
        }
        if let Some(end) = looked_to {
            // Before that, others may be newer.
            found.retain(|(id, _)| *id >= end);
        }
        if found.len() > enough || (found.len() == enough && looked_to.is_some()) {
            found.truncate(enough);
            looked_to = found.last().map(|(id, _)| *id);
        }
        Ok(EventsFound {
            events: self.events_found(&found).await?,
            looked_to,
        })
    }

    /// The tenants in question, the one with the newest event last.
    async fn walks(&mut self, filter: &EventFilter) -> StoreResult<Vec<Walk>> {
        let span = Span::of(filter);
        let walk = |(tenant, before)| Walk {
            tenant,
            before,
            way: None,
        };
        let one = match (self.scope.tenant(), filter.tenant) {
            (Some(own), Some(asked)) if own != asked => return Ok(Vec::new()),
            (Some(own), _) => Some(own),
            (None, asked) => asked,
        };
        if let Some(tenant) = one {
            return Ok(vec![walk((tenant, span.before))]);
        }
        let heads = match &filter.object {
            Some(object) => self.mention_heads(object, span).await?,
            None => {
                let heads = match filter {
                    _ if filter.conflicts => &q::CONFLICT_HEADS,
                    _ if filter.status == Some(EventStatus::Error) => &q::LETTER_HEADS,
                    _ if filter.violates => &q::VIOLATION_HEADS,
                    _ => &q::EVENT_HEADS,
                };
                self.in_order_of_indexes().await?;
                let heads = self.heads(heads, values![span.before]).await?;
                self.in_any_order().await?;
                heads
            }
        };
        // What is before this is all of a tenant's, its newest included.
        let after = |id: Uuid| Uuid::from_u128(id.as_u128().saturating_add(1));
        let walks = heads
            .into_iter()
            .rev()
            .filter(|(_, newest)| *newest >= span.from)
            .map(|(tenant, newest)| walk((tenant, after(newest).min(span.before))));
        Ok(walks.collect())
    }

    /// The tenants with an event that the object may stand in, the one with the newest first.
    async fn mention_heads(
        &mut self,
        object: &str,
        span: Span,
    ) -> StoreResult<Vec<(TenantId, Uuid)>> {
        let hash = |tenant| (tenant, mention_hash(tenant, object));
        let known = self.mention_tenants(hash).await?;
        let mut heads = Vec::with_capacity(known.len());
        self.in_order_of_indexes().await?;
        for (tenant, hash) in known {
            let params = values![hash, span.before, 1_i64];
            let newest = |row: &Row| row.get::<Uuid>(0);
            let newest = self.first(&oq::MENTIONS_NEWEST, params, newest).await?;
            heads.extend(newest.map(|newest| (tenant, newest)));
        }
        self.in_any_order().await?;
        heads.sort_by(|(_, a), (_, b)| b.cmp(a));
        Ok(heads)
    }

    async fn way(&mut self, tenant: TenantId, filter: &EventFilter) -> StoreResult<Way> {
        if let Some(way) = Way::direct(filter) {
            return Ok(way);
        }
        let kind = filter.kind.as_deref().filter(|kind| *kind != "*");
        if filter.source.is_none() && kind.is_none() {
            return Ok(Way::Time);
        }
        Ok(match self.kinds(tenant, filter.source, kind).await? {
            Some(kinds) => Way::Kinds(kinds, self.index_end().await?),
            None => Way::Time,
        })
    }

    async fn step(
        &mut self,
        walk: &mut Walk,
        filter: &EventFilter,
        from: Uuid,
        most: i64,
    ) -> StoreResult<Step> {
        let tenant = walk.tenant;
        let way = match &mut walk.way {
            Some(way) => way,
            none => none.insert(self.way(tenant, filter).await?),
        };
        let mut span = Span {
            from,
            before: walk.before,
        };
        let named = most.min(NAMED_STEP);
        let mut step = match way {
            Way::Named => {
                let built = ids(tenant, way.rest(filter).as_ref(), span, named);
                Step::of(self.ids(&built).await?, named, span)
            }
            Way::Kinds(_, end) if span.before > id_floor(*end) => {
                let end = id_floor(*end);
                let older = end > span.from;
                span.from = span.from.max(end);
                let mut step = self.passed(tenant, filter, span, most).await?;
                step.next = step.next.or(older.then_some(end));
                step
            }
            Way::Kinds(kinds, _) => {
                let named = named.min(FIRST_STEP.max(KINDS_READ / kinds.len().max(1) as i64));
                let ids = self.kinds_ids(kinds, span, named).await?;
                Step::of(ids, named, span)
            }
            Way::Time => self.passed(tenant, filter, span, most).await?,
            Way::Object(_) | Way::Conflicts | Way::Letters | Way::Violations => {
                let ids = self.led(tenant, way, span, Order::Newest, named).await?;
                let step = Step::of(ids, named, span);
                self.rest_of(tenant, step, way.rest(filter)).await?
            }
        };
        if let Some(status) = filter.status {
            step.ids = self.with_status(tenant, step.ids, status).await?;
        }
        Ok(step)
    }

    /// The events of a span of time that the filter wants by their rows.
    async fn passed(
        &mut self,
        tenant: TenantId,
        filter: &EventFilter,
        mut span: Span,
        most: i64,
    ) -> StoreResult<Step> {
        let rest = Way::Time.rest(filter);
        // Where jobs are looked at too, or no event is passed, it is that what takes its time.
        let most = match filter.status.is_some() || rest.is_none() {
            true => most.min(NAMED_STEP),
            false => most.saturating_mul(4).min(PASSED_STEP),
        };
        self.in_order_of_indexes().await?;
        let mut next = None;
        if rest.is_some() {
            let params = values![tenant, span.from, span.before, most - 1];
            let last = |row: &Row| row.get::<Uuid>(0);
            next = self.first(&q::EVENT_PLACE, params, last).await?;
            span.from = next.unwrap_or(span.from);
        }
        let found = self.ids(&ids(tenant, rest.as_ref(), span, most)).await?;
        self.in_any_order().await?;
        Ok(match rest {
            Some(_) => Step {
                ids: found,
                looked: most,
                next,
            },
            None => Step::of(found, most, span),
        })
    }

    async fn rest_of(
        &mut self,
        tenant: TenantId,
        mut step: Step,
        rest: Option<EventFilter>,
    ) -> StoreResult<Step> {
        if let Some(rest) = rest
            && !step.ids.is_empty()
        {
            let these = EventFilter {
                ids: std::mem::take(&mut step.ids),
                ..rest
            };
            step.ids = self.ids(&those(tenant, &these)).await?;
            step.ids.sort_unstable_by(|a, b| b.cmp(a));
        }
        Ok(step)
    }

    async fn with_status(
        &mut self,
        tenant: TenantId,
        mut ids: Vec<EventId>,
        status: EventStatus,
    ) -> StoreResult<Vec<EventId>> {
        let mut tallies = self.tallies(tenant, &ids).await?;
        ids.retain(|id| EventStatus::of(tallies.remove(id).unwrap_or_default()) == status);
        Ok(ids)
    }

    /// The events that this leads to in a span.
    pub(super) async fn led(
        &mut self,
        tenant: TenantId,
        way: &Way,
        span: Span,
        order: Order,
        most: i64,
    ) -> StoreResult<Vec<EventId>> {
        self.in_order_of_indexes().await?;
        let led = self.ids(&led(tenant, way, span, order, most)).await?;
        self.in_any_order().await?;
        Ok(led)
    }

    async fn ids(&mut self, built: &Built) -> StoreResult<Vec<EventId>> {
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The events themselves, newest first.
    async fn events_found(&mut self, found: &[(EventId, TenantId)]) -> StoreResult<Vec<Event>> {
        let mut tenants: BTreeMap<TenantId, Vec<EventId>> = BTreeMap::new();
        for (id, tenant) in found {
            tenants.entry(*tenant).or_default().push(*id);
        }
        let mut events = Vec::with_capacity(found.len());
        for (tenant, ids) in tenants {
            for ids in ids.chunks(NAMED_STEP as usize) {
                events.extend(self.events_of(tenant, ids).await?);
            }
        }
        events.sort_unstable_by_key(|event| std::cmp::Reverse(event.id));
        Ok(events)
    }
}

/// The ids of a tenant's events in a span that the rest of the filter wants, newest first.
pub(crate) fn ids(tenant: TenantId, rest: Option<&EventFilter>, span: Span, most: i64) -> Built {
    let mut built = Built::new(
        "SELECT e.id FROM event AS e WHERE e.tenant_id = $1",
        vec![tenant.into()],
    );
    if let Some(rest) = rest {
        narrow(&mut built, rest);
    }
    built
        .bind(" AND e.id >= ", span.from, "")
        .bind(" AND e.id < ", span.before, "")
        .bind(" ORDER BY e.id DESC LIMIT ", most, "");
    built
}

/// Those of a tenant's events that this filter names and wants, in no order: none could be had for less than sorting them.
pub(crate) fn those(tenant: TenantId, filter: &EventFilter) -> Built {
    let mut built = Built::new(
        "SELECT e.id FROM event AS e WHERE e.tenant_id = $1",
        vec![tenant.into()],
    );
    narrow(&mut built, filter);
    built
}

/// The events that this leads to in a span: what they violate, where it is nothing else. Hashes of ids may meet: of an object it
/// leads to a few others as well.
pub(crate) fn led(tenant: TenantId, way: &Way, span: Span, order: Order, most: i64) -> Built {
    let mut built = match way {
        Way::Conflicts => Built::new(
            "SELECT DISTINCT x.event_id FROM event_conflict AS x WHERE x.tenant_id = $1",
            vec![tenant.into()],
        ),
        Way::Letters => Built::new(
            "SELECT DISTINCT x.event_id FROM dead_letter AS x WHERE x.tenant_id = $1",
            vec![tenant.into()],
        ),
        Way::Object(object) => Built::new(
            "SELECT x.event_id FROM object_mention AS x WHERE x.hash = $1",
            vec![mention_hash(tenant, object).into()],
        ),
        _ => Built::new(
            "SELECT x.event_id FROM event_violation AS x WHERE x.tenant_id = $1",
            vec![tenant.into()],
        ),
    };
    built
        .bind(" AND x.event_id >= ", span.from, "")
        .bind(" AND x.event_id < ", span.before, "")
        .push(match order {
            Order::Newest => " ORDER BY x.event_id DESC",
            Order::Oldest => " ORDER BY x.event_id",
        })
        .bind(" LIMIT ", most, "");
    built
}
