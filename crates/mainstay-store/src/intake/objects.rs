//! The index of objects: which events an id stands in, and the order of a source's events.
//!
//! The indexer reads without a lock and writes in short commits, each of which holds only if nobody has written since.
//! Retention holds the same row while it removes events, so that nothing is written about an event that goes.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use mainstay_domain::{
    EventId, SourceId, StoreError, StoreResult, TenantId, Timestamp,
    intake::{
        Receipt,
        drift::Drift,
        objects::{
            Horizon, IndexCommit, IndexState, Indexed, MentionFilter, ObjectId, ObjectsTx,
            PAYLOAD_BYTES_MAX, SourceIndex, Unindexed, Walk,
        },
    },
    vault::{self, Column},
};
use uuid::Uuid;

use super::{
    blob_some,
    drift::{self, queries::drift_columns},
    receipts::{receipt, requests_all, requests_own},
};
use crate::{
    built::Built,
    sql::{Row, Value},
    tx::{Dialect, SqlTx},
    verbs::{bounded, id_floor, reference, values},
};

/// Events named in one statement.
const NAMED: usize = 200;

pub(crate) mod queries {
    //! The statements of objects.

    use crate::queries;

    /// An event with what is indexed of it, `$1` being its tenant and `$2` the largest payload that is read. The look into
    /// the index is a scalar: a plan that joins might read all of it.
    macro_rules! event_with_objects {
        () => {
            "SELECT e.id, e.source_id, e.kind,
                CASE WHEN e.payload_bytes <= $2 THEN e.payload_zstd END,
                CASE WHEN e.payload_bytes <= $2 THEN e.payload END,
                (SELECT x.objects FROM object_event AS x
                    WHERE x.tenant_id = $1 AND x.source_id = e.source_id AND x.kind = e.kind AND x.event_id = e.id)
            FROM event AS e WHERE e.tenant_id = $1"
        };
    }

    queries! {
        OBJECT_STATE: Platform = "SELECT revision, until, settled, mark_at, mark FROM object_index WHERE id = 1";
        /// Counts nothing: it holds the row, so that the indexer and retention have their turns.
        OBJECT_HOLD: Platform = "UPDATE object_index SET revision = revision WHERE id = 1";
        OBJECT_STEP: Platform = "
            UPDATE object_index SET revision = revision + 1, until = $2, settled = $3, mark_at = $4, mark = $5
            WHERE id = 1 AND revision = $1 RETURNING followed_until > 0";

        OBJECT_NEXT: System = "
            SELECT min(first.at) FROM (
                SELECT (SELECT e.received_at FROM event AS e WHERE e.tenant_id = t.id AND e.id >= $1 ORDER BY e.id LIMIT 1)
                    AS at
                FROM tenant AS t) AS first";
        OBJECT_TENANTS: System = "
            SELECT t.id FROM tenant AS t
            WHERE (SELECT e.id FROM event AS e WHERE e.tenant_id = t.id AND e.id >= $1 AND e.id < $2 ORDER BY e.id LIMIT 1)
                IS NOT NULL
            ORDER BY t.id";
        OBJECT_MISSING: Tenant = concat!(event_with_objects!(), "
            AND e.id >= $3 AND e.id < $4
            AND (SELECT x.event_id FROM object_event AS x
                WHERE x.tenant_id = $1 AND x.source_id = e.source_id AND x.kind = e.kind AND x.event_id = e.id) IS NULL
            ORDER BY e.id LIMIT $5");
        OBJECT_EVENT: Tenant = concat!(event_with_objects!(), " AND e.id = $3");

        OBJECT_NOTED: System = "SELECT n.tenant_id, n.event_id FROM object_note AS n ORDER BY n.tenant_id, n.event_id LIMIT $1";
        OBJECT_NOTE_DONE: Tenant = "DELETE FROM object_note WHERE tenant_id = $1 AND event_id = $2";

        OBJECT_SOURCES: System = "SELECT s.tenant_id, s.source_id, s.rules, s.walk FROM object_source AS s";
        OBJECT_SOURCES_OWN: Tenant = "
            SELECT s.tenant_id, s.source_id, s.rules, s.walk FROM object_source AS s WHERE s.tenant_id = $1";
        OBJECT_SOURCE_PUT: Tenant = "
            INSERT INTO object_source (tenant_id, source_id, rules, walk) VALUES ($1, $2, $3, $4)
            ON CONFLICT (tenant_id, source_id) DO UPDATE SET rules = excluded.rules, walk = excluded.walk";
        /// For a progress bar: of many, not all.
        OBJECT_COUNT: System = "
            SELECT CAST(coalesce(sum(one.count), 0) AS bigint) FROM (
                SELECT (SELECT count(*) FROM (
                    SELECT x.event_id FROM object_event AS x WHERE x.tenant_id = t.id AND x.source_id = $1
                    LIMIT 100000) AS few) AS count
                FROM tenant AS t) AS one";
        OBJECT_WALK: Tenant = "
            SELECT x.kind, x.event_id FROM object_event AS x
            WHERE x.tenant_id = $1 AND x.source_id = $2 AND (x.kind, x.event_id) > ($3, $4)
            ORDER BY x.kind, x.event_id LIMIT $5";
        OBJECT_WALK_TENANT: System = "
            SELECT t.id FROM tenant AS t
            WHERE t.id > $1
                AND (SELECT x.event_id FROM object_event AS x WHERE x.tenant_id = t.id AND x.source_id = $2 LIMIT 1)
                    IS NOT NULL
            ORDER BY t.id LIMIT 1";

        OBJECT_EVENT_SET: Tenant = "
            UPDATE object_event SET objects = $5
            WHERE tenant_id = $1 AND source_id = $2 AND kind = $3 AND event_id = $4";
        OBJECT_EVENT_GONE: Tenant = "
            DELETE FROM object_event WHERE tenant_id = $1 AND source_id = $2 AND kind = $3 AND event_id = $4";

        MENTIONS_NEWEST: Tenant = "
            SELECT m.event_id FROM object_mention AS m WHERE m.tenant_id = $1 AND m.object = $2 AND m.event_id < $3
            ORDER BY m.event_id DESC LIMIT $4";
        MENTIONS_OLDEST: Tenant = "
            SELECT m.event_id FROM object_mention AS m WHERE m.tenant_id = $1 AND m.object = $2 AND m.event_id > $3
            ORDER BY m.event_id LIMIT $4";
        MENTION_TENANTS: System = "
            SELECT t.id FROM tenant AS t
            WHERE (SELECT m.event_id FROM object_mention AS m WHERE m.tenant_id = t.id AND m.object = $1 LIMIT 1)
                IS NOT NULL";

        BEHIND_OWN: Tenant = "SELECT e.id FROM event AS e WHERE e.tenant_id = $1 AND e.id >= $2 ORDER BY e.id LIMIT 1";
        BEHIND: System = "
            SELECT t.id FROM tenant AS t
            WHERE (SELECT e.id FROM event AS e WHERE e.tenant_id = t.id AND e.id >= $1 ORDER BY e.id LIMIT 1) IS NOT NULL
            LIMIT 1";

        /// The sources that a tenant's events are of, as far as they are indexed, each found from the one before: no plan reads
        /// the whole index.
        SOURCES: Tenant = "
            WITH RECURSIVE known (source_id) AS (
                SELECT (SELECT x.source_id FROM object_event AS x WHERE x.tenant_id = $1 ORDER BY x.source_id LIMIT 1)
                UNION ALL
                SELECT (SELECT x.source_id FROM object_event AS x
                    WHERE x.tenant_id = $1 AND x.source_id > known.source_id ORDER BY x.source_id LIMIT 1)
                FROM known WHERE known.source_id IS NOT NULL
            )
            SELECT source_id FROM known WHERE source_id IS NOT NULL LIMIT $2";
        /// The types of a source's events likewise.
        KINDS: Tenant = "
            WITH RECURSIVE known (kind) AS (
                SELECT (SELECT min(x.kind) FROM object_event AS x WHERE x.tenant_id = $1 AND x.source_id = $2)
                UNION ALL
                SELECT (SELECT min(x.kind) FROM object_event AS x
                    WHERE x.tenant_id = $1 AND x.source_id = $2 AND x.kind > known.kind)
                FROM known WHERE known.kind IS NOT NULL
            )
            SELECT kind FROM known WHERE kind IS NOT NULL LIMIT $3";
    }
}
use queries as q;

#[async_trait]
impl ObjectsTx for SqlTx<'_> {
    async fn object_state(&mut self) -> StoreResult<IndexState> {
        let read = |row: &Row| {
            Ok(IndexState {
                revision: row.get(0)?,
                until: row.get(1)?,
                settled: row.get(2)?,
                mark_at: row.get(3)?,
                mark: row.get(4)?,
            })
        };
        let state = self.first(&q::OBJECT_STATE, &[], read).await?;
        state.ok_or_else(|| StoreError::Corrupt("the index of objects has no state".into()))
    }

    async fn object_horizon(&mut self) -> StoreResult<Horizon> {
        self.system()?;
        match &self.conn {
            // One writer: what has not ended has not begun.
            Dialect::Sqlite(_) => Ok(Horizon { oldest: 0, next: 0 }),
            Dialect::Postgres(conn) => conn.horizon().await,
        }
    }

    async fn object_next(&mut self, from: Timestamp) -> StoreResult<Option<Timestamp>> {
        self.system()?;
        let first = self
            .first(&q::OBJECT_NEXT, values![id_floor(from)], |row| row.get(0))
            .await?;
        Ok(first.flatten())
    }

    async fn object_tenants(
        &mut self,
        from: Timestamp,
        to: Timestamp,
    ) -> StoreResult<Vec<TenantId>> {
        self.system()?;
        let params = values![id_floor(from), id_floor(to)];
        self.list(&q::OBJECT_TENANTS, params, |row| row.get(0))
            .await
    }

    async fn object_missing(
        &mut self,
        tenant: TenantId,
        from: Timestamp,
        to: Timestamp,
        limit: i64,
    ) -> StoreResult<Vec<Unindexed>> {
        self.system()?;
        let params = values![
            tenant,
            PAYLOAD_BYTES_MAX,
            id_floor(from),
            id_floor(to),
            bounded(limit)
        ];
        self.in_order_of_indexes().await?;
        let found = self
            .list(&q::OBJECT_MISSING, params, |row| unindexed(row, tenant))
            .await?;
        self.unindexed_opened(found).await
    }

    async fn object_note(&mut self, events: &[(TenantId, EventId)]) -> StoreResult<()> {
        self.system()?;
        let mut by_tenant: BTreeMap<TenantId, Vec<EventId>> = BTreeMap::new();
        for (tenant, event) in events {
            by_tenant.entry(*tenant).or_default().push(*event);
        }
        for (tenant, mut events) in by_tenant {
            // In one order everywhere, so that two who note the same wait for each other and never in a circle.
            events.sort_unstable();
            for events in events.chunks(NAMED) {
                let built = notes_insert(tenant, events);
                self.conn().query_built(&built.text, &built.params).await?;
            }
        }
        Ok(())
    }

    async fn object_noted(&mut self, limit: i64) -> StoreResult<Vec<(TenantId, EventId)>> {
        self.system()?;
        let read = |row: &Row| Ok((row.get(0)?, row.get(1)?));
        self.list(&q::OBJECT_NOTED, values![bounded(limit)], read)
            .await
    }

    async fn object_events(
        &mut self,
        events: &[(TenantId, EventId)],
    ) -> StoreResult<Vec<Unindexed>> {
        self.system()?;
        let mut found = Vec::with_capacity(events.len());
        for (tenant, event) in events {
            let params = values![*tenant, PAYLOAD_BYTES_MAX, *event];
            let read = |row: &Row| unindexed(row, *tenant);
            found.extend(self.first(&q::OBJECT_EVENT, params, read).await?);
        }
        self.unindexed_opened(found).await
    }

    async fn object_sources(&mut self) -> StoreResult<Vec<SourceIndex>> {
        match self.scope.tenant() {
            Some(own) => {
                self.list(&q::OBJECT_SOURCES_OWN, values![own], source_index)
                    .await
            }
            None => self.list(&q::OBJECT_SOURCES, &[], source_index).await,
        }
    }

    async fn object_count(&mut self, source: SourceId) -> StoreResult<i64> {
        self.system()?;
        let count = self
            .first(&q::OBJECT_COUNT, values![source], |row| row.get(0))
            .await?;
        Ok(count.unwrap_or_default())
    }

    async fn object_walk(
        &mut self,
        source: SourceId,
        after: &Walk,
        limit: i64,
    ) -> StoreResult<Vec<(TenantId, String, EventId)>> {
        self.system()?;
        let (mut tenant, mut kind, mut event) = (after.tenant, after.kind.clone(), after.event);
        loop {
            if !tenant.uuid().is_nil() {
                let params = values![tenant, source, &*kind, event, bounded(limit)];
                let read = |row: &Row| Ok((tenant, row.get(0)?, row.get(1)?));
                let places = self.list(&q::OBJECT_WALK, params, read).await?;
                if !places.is_empty() {
                    return Ok(places);
                }
            }
            let next = self
                .first(&q::OBJECT_WALK_TENANT, values![tenant, source], |row| {
                    row.get(0)
                })
                .await?;
            let Some(next) = next else {
                return Ok(Vec::new());
            };
            (tenant, kind, event) = (next, String::new(), EventId::NIL);
        }
    }

    async fn object_commit(&mut self, commit: &IndexCommit) -> StoreResult<()> {
        self.system()?;
        let state = &commit.state;
        let params = values![
            state.revision,
            state.until,
            state.settled,
            state.mark_at,
            state.mark
        ];
        let stepped = self.first(&q::OBJECT_STEP, params, |row| row.get::<bool>(0));
        let followed = stepped
            .await?
            .ok_or(StoreError::Conflict { what: "index" })?;
        let list = followed.then_some(state.revision + 1);
        let mut by_tenant: BTreeMap<TenantId, Vec<&Indexed>> = BTreeMap::new();
        for event in &commit.events {
            by_tenant.entry(event.tenant).or_default().push(event);
        }
        for (tenant, events) in by_tenant {
            for events in events.chunks(NAMED) {
                self.objects_put(tenant, events, list).await?;
            }
        }
        for (tenant, event) in &commit.noted {
            self.execute(&q::OBJECT_NOTE_DONE, values![*tenant, *event])
                .await?;
        }
        if let Some(source) = &commit.source {
            let walk = source.walk.as_ref().map(serde_json::to_string).transpose();
            let walk = walk
                .map_err(|error| StoreError::Bug(format!("a walk cannot be written: {error}")))?;
            let params = values![source.tenant, source.source, &*source.rules, walk];
            reference(self.execute(&q::OBJECT_SOURCE_PUT, params).await, "source")?;
        }
        Ok(())
    }

    async fn object_mentions(
        &mut self,
        filter: &MentionFilter,
        limit: i64,
    ) -> StoreResult<Vec<(TenantId, EventId)>> {
        let tenants = match (self.scope.tenant(), filter.tenant) {
            (Some(own), Some(asked)) if own != asked => return Ok(Vec::new()),
            (Some(own), _) => vec![own],
            (None, Some(asked)) => vec![asked],
            (None, None) => {
                self.list(&q::MENTION_TENANTS, values![&*filter.object], |row| {
                    row.get(0)
                })
                .await?
            }
        };
        self.in_order_of_indexes().await?;
        let limit = bounded(limit);
        let mut found: Vec<(TenantId, EventId)> = Vec::new();
        for tenant in tenants {
            let (sql, beyond) = match filter.oldest_first {
                true => (&q::MENTIONS_OLDEST, Uuid::nil()),
                false => (&q::MENTIONS_NEWEST, Uuid::max()),
            };
            let beyond = filter.after.map_or(beyond, EventId::uuid);
            let params = values![tenant, &*filter.object, beyond, limit];
            found.extend(
                self.list(sql, params, |row| Ok((tenant, row.get(0)?)))
                    .await?,
            );
        }
        self.in_any_order().await?;
        found.sort_by(|(_, a), (_, b)| match filter.oldest_first {
            true => a.cmp(b),
            false => b.cmp(a),
        });
        found.truncate(usize::try_from(limit).unwrap_or_default());
        Ok(found)
    }

    async fn object_of(
        &mut self,
        tenant: TenantId,
        events: &[EventId],
    ) -> StoreResult<HashMap<EventId, Vec<ObjectId>>> {
        self.scope.admit(tenant)?;
        let mut found = HashMap::with_capacity(events.len());
        for events in events.chunks(NAMED) {
            for (_, _, event, objects) in self.objects_of(tenant, events).await? {
                if let Some(objects) = objects {
                    found.insert(event, objects);
                }
            }
        }
        Ok(found)
    }

    async fn object_behind(&mut self, from: Timestamp) -> StoreResult<bool> {
        let rows = match self.scope.tenant() {
            Some(own) => {
                self.rows(&q::BEHIND_OWN, values![own, id_floor(from)])
                    .await?
            }
            None => self.rows(&q::BEHIND, values![id_floor(from)]).await?,
        };
        Ok(!rows.is_empty())
    }

    async fn object_findings(&mut self, events: &[EventId]) -> StoreResult<Vec<Drift>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let built = findings(self.scope.tenant(), events);
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        rows.iter().map(drift::drift).collect()
    }

    async fn object_requests(
        &mut self,
        tenant: TenantId,
        events: &[EventId],
    ) -> StoreResult<Vec<Receipt>> {
        self.scope.admit(tenant)?;
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let limit = events.len() as i64;
        let built = match self.scope.tenant() {
            Some(_) => requests_own(tenant, None, None, None, events, limit),
            None => requests_all(tenant, None, None, None, events, limit),
        };
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        let receipts: StoreResult<Vec<Receipt>> = rows.iter().map(receipt).collect();
        self.receipts_opened(receipts?).await
    }
}

/// An event's place in the index, and what is indexed of it.
type Place = (SourceId, String, EventId, Option<Vec<ObjectId>>);

impl SqlTx<'_> {
    async fn unindexed_opened(
        &mut self,
        mut events: Vec<Unindexed>,
    ) -> StoreResult<Vec<Unindexed>> {
        for event in &mut events {
            let place = vault::Place::new(Column::Body, event.id.uuid()).of(event.tenant);
            event.payload = self.opened_some(&place, event.payload.take()).await?;
        }
        Ok(events)
    }

    /// Writes what was found in events of one tenant; lists those that are new under this commit, if somebody follows.
    async fn objects_put(
        &mut self,
        tenant: TenantId,
        events: &[&Indexed],
        list: Option<i64>,
    ) -> StoreResult<()> {
        let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        let built = there(tenant, &ids);
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        let there: StoreResult<HashSet<EventId>> = rows.iter().map(|row| row.get(0)).collect();
        // What retention has removed since it was read stays gone.
        let there = there?;
        let (mut new, mut mentions) = (Vec::new(), Vec::new());
        for event in events.iter().filter(|event| there.contains(&event.id)) {
            let added: Vec<&ObjectId> = match &event.before {
                None => {
                    new.push(*event);
                    event.objects.iter().collect()
                }
                Some(before) if *before == event.objects => continue,
                Some(before) => {
                    let kept: HashSet<&str> =
                        event.objects.iter().map(|one| one.id.as_str()).collect();
                    let gone: Vec<&str> = before
                        .iter()
                        .map(|one| one.id.as_str())
                        .filter(|id| !kept.contains(id))
                        .collect();
                    self.mentions_remove(tenant, event.id, &gone).await?;
                    let params = values![
                        tenant,
                        event.source,
                        &*event.kind,
                        event.id,
                        objects_json(&event.objects)?
                    ];
                    self.execute(&q::OBJECT_EVENT_SET, params).await?;
                    event.objects.iter().collect()
                }
            };
            mentions.extend(added.into_iter().map(|one| (one.id.as_str(), event.id)));
        }
        if !new.is_empty() {
            let built = events_insert(tenant, &new)?;
            self.conn().query_built(&built.text, &built.params).await?;
            if let Some(revision) = list {
                self.follow_add(tenant, revision, &new).await?;
            }
        }
        if !mentions.is_empty() {
            // In the order of the key: neighbours are written together.
            mentions.sort_unstable();
            let built = mentions_insert(tenant, &mentions);
            self.conn().query_built(&built.text, &built.params).await?;
        }
        Ok(())
    }

    async fn mentions_remove(
        &mut self,
        tenant: TenantId,
        event: EventId,
        ids: &[&str],
    ) -> StoreResult<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let built = mentions_remove(tenant, event, ids);
        self.conn()
            .query_built(&built.text, &built.params)
            .await
            .map(drop)
    }

    async fn objects_of(
        &mut self,
        tenant: TenantId,
        events: &[EventId],
    ) -> StoreResult<Vec<Place>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let built = objects_of(tenant, events);
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        rows.iter()
            .map(|row| {
                let objects: Option<String> = row.get(3)?;
                let objects = objects.as_deref().map(objects_read).transpose()?;
                Ok((row.get(1)?, row.get(2)?, row.get(0)?, objects))
            })
            .collect()
    }

    /// Until [`Self::in_any_order`]: the order of an index is the order that is asked for, and nothing has to be read
    /// whole and sorted, whatever the planner knows of a table that grows.
    pub(super) async fn in_order_of_indexes(&mut self) -> StoreResult<()> {
        match &self.conn {
            Dialect::Sqlite(_) => Ok(()),
            Dialect::Postgres(conn) => conn.in_order_of_indexes().await,
        }
    }

    /// For statements that name their rows, and for whoever goes on in this transaction.
    pub(super) async fn in_any_order(&mut self) -> StoreResult<()> {
        match &self.conn {
            Dialect::Sqlite(_) => Ok(()),
            Dialect::Postgres(conn) => conn.in_any_order().await,
        }
    }

    /// From here to the end of the transaction the indexer writes nothing.
    pub(super) async fn objects_hold(&mut self) -> StoreResult<()> {
        self.execute(&q::OBJECT_HOLD, &[]).await.map(drop)
    }

    /// Removes what is indexed of events that go; before they go, since they say where it stands.
    pub(super) async fn objects_let_go(
        &mut self,
        tenant: TenantId,
        events: &[EventId],
    ) -> StoreResult<()> {
        for events in events.chunks(NAMED) {
            for (source, kind, event, objects) in self.objects_of(tenant, events).await? {
                let Some(objects) = objects else { continue };
                let ids: Vec<&str> = objects.iter().map(|one| one.id.as_str()).collect();
                self.mentions_remove(tenant, event, &ids).await?;
                let params = values![tenant, source, &*kind, event];
                self.execute(&q::OBJECT_EVENT_GONE, params).await?;
            }
        }
        Ok(())
    }
}

/// Notes events that were committed late.
pub(crate) fn notes_insert(tenant: TenantId, events: &[EventId]) -> Built {
    let mut built = Built::new(
        "INSERT INTO object_note (tenant_id, event_id) VALUES",
        Vec::new(),
    );
    let rows = events.iter().map(|event| [tenant.into(), (*event).into()]);
    built
        .bind_rows::<2>(rows)
        .push(" ON CONFLICT (tenant_id, event_id) DO NOTHING");
    built
}

/// Which of these events there are.
pub(crate) fn there(tenant: TenantId, events: &[EventId]) -> Built {
    let mut built = Built::new(
        "SELECT e.id FROM event AS e WHERE e.tenant_id = $1",
        vec![tenant.into()],
    );
    built.bind_list(" AND e.id IN", events.iter().copied());
    built
}

/// What is indexed of these events.
pub(crate) fn objects_of(tenant: TenantId, events: &[EventId]) -> Built {
    let mut built = Built::new(
        "SELECT e.id, e.source_id, e.kind,
            (SELECT x.objects FROM object_event AS x
                WHERE x.tenant_id = $1 AND x.source_id = e.source_id AND x.kind = e.kind AND x.event_id = e.id)
        FROM event AS e WHERE e.tenant_id = $1",
        vec![tenant.into()],
    );
    built.bind_list(" AND e.id IN", events.iter().copied());
    built
}

/// What was found in these events. There are few findings: those of a tenant are looked through.
pub(crate) fn findings(tenant: Option<TenantId>, events: &[EventId]) -> Built {
    let mut built = match tenant {
        Some(tenant) => Built::new(
            concat!(drift_columns!(), " WHERE d.tenant_id = $1"),
            vec![tenant.into()],
        ),
        None => Built::new(concat!(drift_columns!(), " WHERE TRUE"), Vec::new()),
    };
    built
        .bind_list(" AND d.event_id IN", events.iter().copied())
        .push(" ORDER BY d.id LIMIT 1000");
    built
}

/// Adds events to the index.
pub(crate) fn events_insert(tenant: TenantId, events: &[&Indexed]) -> StoreResult<Built> {
    let rows: StoreResult<Vec<[Value; 5]>> = events
        .iter()
        .map(|event| {
            Ok([
                tenant.into(),
                event.source.into(),
                (&*event.kind).into(),
                event.id.into(),
                objects_json(&event.objects)?.into(),
            ])
        })
        .collect();
    let mut built = Built::new(
        "INSERT INTO object_event (tenant_id, source_id, kind, event_id, objects) VALUES",
        Vec::new(),
    );
    built
        .bind_rows(rows?)
        .push(" ON CONFLICT (tenant_id, source_id, kind, event_id) DO NOTHING");
    Ok(built)
}

/// Adds ids with the events that they stand in.
pub(crate) fn mentions_insert(tenant: TenantId, mentions: &[(&str, EventId)]) -> Built {
    let mut built = Built::new(
        "INSERT INTO object_mention (tenant_id, object, event_id) VALUES",
        Vec::new(),
    );
    let rows = mentions
        .iter()
        .map(|(object, event)| [tenant.into(), (*object).into(), (*event).into()]);
    built
        .bind_rows::<3>(rows)
        .push(" ON CONFLICT (tenant_id, object, event_id) DO NOTHING");
    built
}

/// Removes ids of one event.
pub(crate) fn mentions_remove(tenant: TenantId, event: EventId, ids: &[&str]) -> Built {
    let mut built = Built::new(
        "DELETE FROM object_mention WHERE tenant_id = $1 AND event_id = $2",
        vec![tenant.into(), event.into()],
    );
    built.bind_list(" AND object IN", ids.iter().copied());
    built
}

/// Pairs, since the names of members would be most of it.
fn objects_json(objects: &[ObjectId]) -> StoreResult<String> {
    let pairs: Vec<(&str, &str)> = objects.iter().map(|one| (&*one.name, &*one.id)).collect();
    serde_json::to_string(&pairs)
        .map_err(|error| StoreError::Bug(format!("objects cannot be written: {error}")))
}

fn objects_read(text: &str) -> StoreResult<Vec<ObjectId>> {
    let pairs: Vec<(String, String)> = serde_json::from_str(text)
        .map_err(|_| StoreError::Corrupt("the objects of an event cannot be read".into()))?;
    Ok(pairs
        .into_iter()
        .map(|(name, id)| ObjectId { name, id })
        .collect())
}

fn unindexed(row: &Row, tenant: TenantId) -> StoreResult<Unindexed> {
    let objects: Option<String> = row.get(5)?;
    Ok(Unindexed {
        tenant,
        id: row.get(0)?,
        source: row.get(1)?,
        kind: row.get(2)?,
        payload: blob_some(row, 3)?,
        objects: objects.as_deref().map(objects_read).transpose()?,
    })
}

fn source_index(row: &Row) -> StoreResult<SourceIndex> {
    let walk: Option<String> = row.get(3)?;
    let walk = walk.as_deref().map(serde_json::from_str).transpose();
    Ok(SourceIndex {
        tenant: row.get(0)?,
        source: row.get(1)?,
        rules: row.get(2)?,
        walk: walk.map_err(|_| StoreError::Corrupt("a walk cannot be read".into()))?,
    })
}
