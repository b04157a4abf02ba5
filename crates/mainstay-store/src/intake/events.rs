//! Events: one, and lists of them with how their jobs stand.

use std::collections::{BTreeMap, HashMap};

use mainstay_domain::{
    EventId, JobId, SourceId, StoreResult, TenantId,
    intake::{Event, EventFilter, JobTally, scheme},
};
use uuid::Uuid;

use super::{
    listed::Span,
    look::{Order, Way},
    objects::{kind_number, objects_part},
    queries::{self as q, event_columns},
};
use crate::{
    built::Built,
    jobs::list::of_jobs,
    sql::Row,
    tx::SqlTx,
    verbs::{id_floor, unknown, values},
};

/// Events whose jobs are counted by one statement.
const TALLIED: usize = 500;

impl SqlTx<'_> {
    pub(super) async fn events_get(&mut self, id: EventId) -> StoreResult<Option<Event>> {
        let Some(tenant) = self.tenant_of(&q::EVENT_TENANT, id.uuid()).await? else {
            return Ok(None);
        };
        let rows = self.rows(&q::EVENT_GET, values![tenant, id]).await?;
        let Some(mut found) = self.events_read(tenant, &rows).await?.pop() else {
            return Ok(None);
        };
        found.jobs = self
            .tallies(tenant, &[id])
            .await?
            .remove(&id)
            .unwrap_or_default();
        self.names_fill(std::slice::from_mut(&mut found)).await?;
        found.violation = self.violations(tenant, &[id]).await?.remove(&id);
        let conflicts = self.conflicts_count(tenant, &[id]).await?;
        found.conflicts = conflicts.get(&id).copied().unwrap_or_default();
        Ok(Some(found))
    }

    /// Tenants with their newest row before this id, the newest first.
    pub(crate) async fn heads(
        &mut self,
        sql: &'static crate::sql::Sql,
        params: &[crate::sql::Value],
    ) -> StoreResult<Vec<(TenantId, Uuid)>> {
        let read = |row: &Row| Ok((row.get::<TenantId>(0)?, row.get::<Option<Uuid>>(1)?));
        let heads = self.list(sql, params, read).await?.into_iter();
        let mut heads: Vec<_> = heads
            .filter_map(|(tenant, newest)| Some((tenant, newest?)))
            .collect();
        heads.sort_by(|(_, a), (_, b)| b.cmp(a));
        Ok(heads)
    }

    /// These events, with all that a list says of them.
    pub(super) async fn events_of(
        &mut self,
        tenant: TenantId,
        ids: &[EventId],
    ) -> StoreResult<Vec<Event>> {
        let mut events = self.events_rows(tenant, named(tenant, ids)).await?;
        self.names_fill(&mut events).await?;
        self.tallies_fill(tenant, &mut events).await?;
        let mut violations = self.violations(tenant, ids).await?;
        let conflicts = self.conflicts_count(tenant, ids).await?;
        for event in &mut events {
            event.violation = violations.remove(&event.id);
            event.conflicts = conflicts.get(&event.id).copied().unwrap_or_default();
        }
        Ok(events)
    }

    pub(super) async fn events_rows(
        &mut self,
        tenant: TenantId,
        built: Built,
    ) -> StoreResult<Vec<Event>> {
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        self.events_read(tenant, &rows).await
    }

    /// The events of these rows, with how often each came.
    async fn events_read(&mut self, tenant: TenantId, rows: &[Row]) -> StoreResult<Vec<Event>> {
        let mut events = Vec::with_capacity(rows.len());
        let mut records: BTreeMap<i32, Vec<(Uuid, usize)>> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            let event = event(row, tenant)?;
            let key = row.get::<Option<Uuid>>(10)?;
            let made = || Uuid::from_bytes(scheme::dedup_key(&event.provider_id));
            let key = key.unwrap_or_else(made);
            records.entry(row.get(9)?).or_default().push((key, at));
            events.push(event);
        }
        for (source, keys) in records {
            for keys in keys.chunks(TALLIED) {
                let built = deliveries(source, keys.iter().map(|(key, _)| *key));
                let counts: StoreResult<HashMap<Uuid, i64>> = self
                    .built(built)
                    .await?
                    .iter()
                    .map(|row| Ok((row.get(0)?, row.get(1)?)))
                    .collect();
                let counts = counts?;
                for (key, at) in keys {
                    if let Some(count) = counts.get(key) {
                        events[*at].deliveries = *count;
                    }
                }
            }
        }
        Ok(events)
    }

    /// With how their jobs stand only where the status is asked for.
    pub(super) async fn events_after(
        &mut self,
        tenant: TenantId,
        filter: &EventFilter,
        after: EventId,
        limit: i64,
    ) -> StoreResult<Vec<Event>> {
        let mut events = match Way::direct(filter) {
            None | Some(Way::Named) => {
                let built = page_after(tenant, filter, after, limit);
                self.events_rows(tenant, built).await?
            }
            Some(way) => self.led_after(tenant, way, filter, after, limit).await?,
        };
        self.names_fill(&mut events).await?;
        if filter.status.is_some() {
            self.tallies_fill(tenant, &mut events).await?;
        }
        Ok(events)
    }

    /// Where something leads to them, other events are not passed.
    async fn led_after(
        &mut self,
        tenant: TenantId,
        way: Way,
        filter: &EventFilter,
        after: EventId,
        limit: i64,
    ) -> StoreResult<Vec<Event>> {
        let mut events = Vec::new();
        let enough = usize::try_from(limit).unwrap_or_default();
        let mut span = Span::of(filter);
        let next = |after: EventId| Uuid::from_u128(after.uuid().as_u128().saturating_add(1));
        span.from = span.from.max(next(after));
        let rest = way.rest(filter).unwrap_or_default();
        while events.len() < enough {
            let most = TALLIED as i64;
            let ids = self.led(tenant, &way, span, Order::Oldest, most).await?;
            let Some(last) = ids.last().copied() else {
                break;
            };
            span.from = next(last);
            let full = ids.len() >= TALLIED;
            let these = EventFilter {
                ids,
                ..rest.clone()
            };
            let built = page_after(tenant, &these, after, limit);
            events.extend(self.events_rows(tenant, built).await?);
            if !full {
                break;
            }
        }
        events.truncate(enough);
        Ok(events)
    }

    /// The names of sources that are another tenant's. They are for the system's scope: a tenant sees its own.
    async fn names_fill(&mut self, events: &mut [Event]) -> StoreResult<()> {
        if self.scope.tenant().is_some() {
            return Ok(());
        }
        let mut names: HashMap<SourceId, String> = HashMap::new();
        for event in events.iter_mut().filter(|one| one.source_name.is_empty()) {
            let name = match names.get(&event.source) {
                Some(name) => name.clone(),
                None => {
                    let read = |row: &Row| row.get::<String>(0);
                    let found = values![event.source];
                    let found = self.first(&q::SOURCE_NAME, found, read).await?;
                    // One that was removed has no name any more.
                    found.unwrap_or_default()
                }
            };
            names.insert(event.source, name.clone());
            event.source_name = name;
        }
        Ok(())
    }

    async fn tallies_fill(&mut self, tenant: TenantId, events: &mut [Event]) -> StoreResult<()> {
        for events in events.chunks_mut(TALLIED) {
            let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
            let mut tallies = self.tallies(tenant, &ids).await?;
            for event in events {
                event.jobs = tallies.remove(&event.id).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// How the jobs of these events stand; events without jobs are missing.
    pub(super) async fn tallies(
        &mut self,
        tenant: TenantId,
        events: &[EventId],
    ) -> StoreResult<HashMap<EventId, JobTally>> {
        let mut tallies: HashMap<EventId, JobTally> = HashMap::new();
        if events.is_empty() {
            return Ok(tallies);
        }
        let jobs = self.jobs_of_events(tenant, events).await?;
        let built = tally(tenant, &jobs);
        for row in self.conn().query_built(&built.text, &built.params).await? {
            let tally = tallies.entry(row.get(0)?).or_default();
            add(tally, &row.get::<String>(1)?, row.get(2)?)?;
        }
        Ok(tallies)
    }
}

/// A tenant's events by their ids.
pub(crate) fn named(tenant: TenantId, ids: &[EventId]) -> Built {
    let mut built = Built::new(event_columns!(), vec![tenant.into()]);
    built
        .push(" FROM event AS e WHERE e.tenant_id = $1")
        .bind_list(" AND e.id IN", ids.iter().copied());
    built
}

/// A tenant's events after this one, whatever their status.
pub(crate) fn page_after(
    tenant: TenantId,
    filter: &EventFilter,
    after: EventId,
    limit: i64,
) -> Built {
    let mut built = Built::new(event_columns!(), vec![tenant.into()]);
    built.push(" FROM event AS e WHERE e.tenant_id = $1");
    narrow(&mut built, filter);
    built
        .bind(" AND e.id > ", after, "")
        .bind(" ORDER BY e.id LIMIT ", limit, "");
    built
}

/// What the row of an event says, and what is looked up for it, one by one: so that no plan ever reads a whole table to
/// join it.
pub(super) fn narrow(built: &mut Built, filter: &EventFilter) {
    built
        .bind_some(
            " AND e.source_number = (SELECT n.number FROM source_known AS n WHERE n.source_id = ",
            filter.source,
            ")",
        )
        .bind_some(" AND e.id >= ", filter.from.map(id_floor), "")
        .bind_some(" AND e.id < ", filter.to.map(id_floor), "");
    if filter.violates {
        built.push(
            " AND (SELECT v.event_id FROM event_violation AS v
                WHERE v.tenant_id = $1 AND v.event_id = e.id) IS NOT NULL",
        );
    }
    if filter.conflicts {
        built.push(
            " AND (SELECT c.event_id FROM event_conflict AS c
                WHERE c.tenant_id = $1 AND c.event_id = e.id LIMIT 1) IS NOT NULL",
        );
    }
    match filter
        .kind
        .as_deref()
        .map(|kind| kind.strip_suffix('*').ok_or(kind))
    {
        Some(Err(kind)) => built.bind(" AND e.kind = ", kind, ""),
        Some(Ok(prefix)) => {
            let chars = prefix.chars().count() as i64;
            built
                .bind(" AND substr(e.kind, 1, CAST(", chars, " AS INTEGER))")
                .bind(" = ", prefix, "")
        }
        None => built,
    };
    if let Some(provider_id) = &filter.provider_id {
        // The deduplication record leads to it.
        built
            .bind(" AND e.provider_id = ", &**provider_id, "")
            .bind(
                " AND e.id IN (SELECT k.event_id FROM dedup AS k WHERE k.key = ",
                Uuid::from_bytes(scheme::dedup_key(provider_id)),
                // Whichever source it came by: it may be another tenant's, which finds the tenant of each event.
                " AND k.source_number IN (
                WITH RECURSIVE number (n) AS (
                    SELECT 1 UNION ALL SELECT n + 1 FROM number
                    WHERE n < (SELECT c.source_number FROM config_version AS c WHERE c.id = 1)
                )
                SELECT n FROM number))",
            );
    }
    if let Some(object) = &filter.object {
        // Hashes may meet: it is the event that says what it is about.
        built
            .bind(
                " AND (SELECT replace(x.objects, ",
                objects_part(object),
                ", '') <> x.objects FROM object_event AS x WHERE x.event_id = e.id AND x.kind_number = ",
            )
            .push(kind_number!())
            .push(")");
    }
    if !filter.ids.is_empty() {
        built.bind_list(" AND e.id IN", filter.ids.iter().copied());
    }
}

/// How often what these keys of a source lead to came.
pub(crate) fn deliveries(source: i32, keys: impl Iterator<Item = Uuid>) -> Built {
    let mut built = Built::new(
        "SELECT d.key, d.deliveries FROM dedup AS d WHERE d.source_number = $1",
        vec![source.into()],
    );
    built.bind_list(" AND d.key IN", keys);
    built
}

/// The states of these jobs, counted by their events. Those of rules of expected events are nothing that an event asked for.
pub(crate) fn tally(tenant: TenantId, jobs: &[JobId]) -> Built {
    let mut built = Built::new(
        "SELECT j.event_id, j.state, count(*) FROM job_state AS j
            WHERE j.tenant_id = $1 AND j.kind <> 'expect.observe'",
        vec![tenant.into()],
    );
    of_jobs(&mut built, jobs).push(" GROUP BY j.event_id, j.state");
    built
}

fn add(tally: &mut JobTally, state: &str, count: i64) -> StoreResult<()> {
    let field = match state {
        "waiting" | "scheduled" => &mut tally.waiting,
        "running" => &mut tally.running,
        "retrying" => &mut tally.retrying,
        "done" => &mut tally.done,
        "dead" => &mut tally.dead,
        "cancelled" => &mut tally.cancelled,
        _ => return Err(unknown(1)),
    };
    *field += count;
    tally.total += count;
    Ok(())
}

fn event(row: &Row, tenant: TenantId) -> StoreResult<Event> {
    Ok(Event {
        id: row.get(0)?,
        tenant,
        source: row.get(1)?,
        // A source that was removed has no name any more.
        source_name: row.get::<Option<String>>(2)?.unwrap_or_default(),
        provider_id: row.get(3)?,
        kind: row.get(4)?,
        received_at: row.get(5)?,
        occurred_at: row.get(6)?,
        receipt: row.get(7)?,
        payload_bytes: row.get(8)?,
        deliveries: 1,
        jobs: JobTally::default(),
        violation: None,
        conflicts: 0,
    })
}
