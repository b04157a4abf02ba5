//! The index of objects: which events an id stands in, and the order of a source's events.
//!
//! The indexer reads without a lock and writes in short commits, each of which holds only if nobody has written since.
//! Retention holds the same row while it removes events, so that nothing is written about an event that goes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use async_trait::async_trait;
use mainstay_domain::{
    EventId, SourceId, StoreError, StoreResult, TenantId, Timestamp,
    intake::{
        Receipt,
        drift::Drift,
        objects::{
            Horizon, IndexCommit, IndexState, Indexed, MentionFilter, ObjectId, ObjectsTx,
            PAYLOAD_BYTES_MAX, SourceIndex, Unindexed, Walk, mention_hash,
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
    sql::Row,
    tx::{Dialect, SqlTx},
    verbs::{bounded, id_floor, reference, values},
};

/// Events named in one statement.
const NAMED: usize = 200;
/// Hashes that are looked for in one statement.
const HASHES: usize = 500;

/// The number that stands for the type of an event `e`, `$1` being its tenant.
macro_rules! kind_number {
    () => {
        "(SELECT k.number FROM object_kind AS k
            WHERE k.tenant_id = $1 AND k.source_number = e.source_number AND k.kind = e.kind)"
    };
}
pub(crate) use kind_number;

/// What is indexed of an event `e`, empty where it has no ids; null: it is not indexed. The look into the index is a scalar: a
/// plan that joins might read all of it.
macro_rules! objects_of_event {
    () => {
        concat!(
            "(SELECT coalesce(x.objects, '') FROM object_event AS x WHERE x.event_id = e.id AND x.kind_number = ",
            $crate::intake::objects::kind_number!(),
            ")"
        )
    };
}

pub(crate) mod queries {
    //! The statements of objects.

    use crate::queries;

    use crate::intake::queries::source_of;

    /// An event with what is indexed of it, `$1` being its tenant and `$2` the largest payload that is read.
    macro_rules! event_with_objects {
        () => {
            concat!(
                "SELECT e.id, ",
                source_of!("e"),
                ", e.kind,
                CASE WHEN e.payload_bytes <= $2 THEN e.payload_zstd END,
                CASE WHEN e.payload_bytes <= $2 THEN e.payload END, ",
                objects_of_event!(),
                "
            FROM event AS e WHERE e.tenant_id = $1"
            )
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
            AND ", objects_of_event!(), " IS NULL
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
                    SELECT x.event_id FROM object_event AS x WHERE x.kind_number = k.number LIMIT 100000) AS few) AS count
                FROM object_kind AS k
                WHERE k.source_number = (SELECT n.number FROM source_known AS n WHERE n.source_id = $1)) AS one";
        OBJECT_WALK: Platform = "
            SELECT x.event_id FROM object_event AS x WHERE x.kind_number = $1 AND x.event_id > $2
            ORDER BY x.event_id LIMIT $3";
        OBJECT_WALK_KIND: Tenant = "
            SELECT k.number FROM object_kind AS k
            WHERE k.tenant_id = $1 AND k.kind = $2
                AND k.source_number = (SELECT n.number FROM source_known AS n WHERE n.source_id = $3)";
        OBJECT_WALK_NEXT: System = "
            SELECT k.tenant_id, k.kind, k.number FROM object_kind AS k
            WHERE (k.tenant_id, k.kind) > ($1, $2)
                AND k.source_number = (SELECT n.number FROM source_known AS n WHERE n.source_id = $3)
            ORDER BY k.tenant_id, k.kind LIMIT 1";

        OBJECT_KIND_NEXT: System = "SELECT coalesce(max(CAST(k.number AS bigint)), 0) + 1 FROM object_kind AS k";
        /// Where the largest number is taken: one that a type left.
        OBJECT_KIND_GAP: System = "
            SELECT min(CAST(k.number AS bigint)) + 1 FROM object_kind AS k
            WHERE NOT EXISTS (SELECT 1 FROM object_kind AS n WHERE n.number = CAST(k.number AS bigint) + 1)";
        OBJECT_KIND_ADD: Tenant = "
            INSERT INTO object_kind (tenant_id, source_number, kind, number) VALUES ($1, $2, $3, $4)";
        /// A type without events. Looked for at the newest: the oldest have just gone.
        OBJECT_KIND_GONE: Tenant = "
            DELETE FROM object_kind WHERE tenant_id = $1 AND number = $2
                AND (SELECT x.event_id FROM object_event AS x WHERE x.kind_number = $2
                    ORDER BY x.event_id DESC LIMIT 1) IS NULL";

        OBJECT_EVENT_SET: Platform = "UPDATE object_event SET objects = $3 WHERE kind_number = $1 AND event_id = $2";
        OBJECT_EVENT_GONE: Platform = "DELETE FROM object_event WHERE kind_number = $1 AND event_id = $2";

        MENTIONS_NEWEST: Platform = "
            SELECT m.event_id FROM object_mention AS m WHERE m.hash = $1 AND m.event_id < $2
            ORDER BY m.event_id DESC LIMIT $3";
        MENTIONS_OLDEST: Platform = "
            SELECT m.event_id FROM object_mention AS m WHERE m.hash = $1 AND m.event_id > $2
            ORDER BY m.event_id LIMIT $3";
        MENTION_TENANTS: System = "SELECT t.id FROM tenant AS t";

        BEHIND_OWN: Tenant = "SELECT e.id FROM event AS e WHERE e.tenant_id = $1 AND e.id >= $2 ORDER BY e.id LIMIT 1";
        BEHIND: System = "
            SELECT t.id FROM tenant AS t
            WHERE (SELECT e.id FROM event AS e WHERE e.tenant_id = t.id AND e.id >= $1 ORDER BY e.id LIMIT 1) IS NOT NULL
            LIMIT 1";
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
        let limit = bounded(limit);
        let mut places: Vec<(TenantId, String, EventId)> = Vec::new();
        let (mut tenant, mut kind, mut event) = (after.tenant, after.kind.clone(), after.event);
        let begun = self
            .first(
                &q::OBJECT_WALK_KIND,
                values![tenant, &*kind, source],
                |row| row.get::<i32>(0),
            )
            .await?;
        let mut number = begun;
        loop {
            if let Some(number) = number {
                let left = limit - places.len() as i64;
                let params = values![number, event, left];
                let read = |row: &Row| Ok((tenant, kind.clone(), row.get(0)?));
                places.extend(self.list(&q::OBJECT_WALK, params, read).await?);
                if places.len() as i64 >= limit {
                    return Ok(places);
                }
            }
            let read = |row: &Row| Ok((row.get(0)?, row.get::<String>(1)?, row.get::<i32>(2)?));
            let params = values![tenant, &*kind, source];
            let next = self.first(&q::OBJECT_WALK_NEXT, params, read).await?;
            let Some(next) = next else {
                return Ok(places);
            };
            (tenant, kind, number) = (next.0, next.1, Some(next.2));
            event = EventId::NIL;
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
        let asked = match (self.scope.tenant(), filter.tenant) {
            (Some(own), Some(asked)) if own != asked => return Ok(Vec::new()),
            (own, asked) => own.or(asked),
        };
        let hash = |tenant| (tenant, mention_hash(tenant, &filter.object));
        let seek = |(tenant, hash), beyond| Seek {
            tenant,
            hash,
            beyond,
        };
        let tenants = match asked {
            Some(tenant) => vec![hash(tenant)],
            None => self.mention_tenants(hash).await?,
        };
        let beyond = match filter.oldest_first {
            true => Uuid::nil(),
            false => Uuid::max(),
        };
        let beyond = filter.after.map_or(beyond, EventId::uuid);
        let limit = bounded(limit);
        let mut seeks: Vec<Seek> = tenants.into_iter().map(|one| seek(one, beyond)).collect();
        let mut found: Vec<(TenantId, EventId)> = Vec::new();
        while !seeks.is_empty() {
            let these = std::mem::take(&mut seeks);
            let pages = self.mention_pages(these, filter, limit).await?;
            for (of, page) in pages {
                let full = page.len() as i64 >= limit;
                let said = self.mentioned(of.tenant, &filter.object, &page).await?;
                // What only has the same hash leaves a gap, which the next ones fill.
                if full
                    && said.len() < page.len()
                    && let Some(last) = page.last()
                {
                    seeks.push(seek((of.tenant, of.hash), last.uuid()));
                }
                found.extend(said.into_iter().map(|event| (of.tenant, event)));
            }
        }
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
            let indexed = self.objects_of(tenant, events).await?;
            found.extend(indexed.into_iter().map(|one| (one.event, one.objects)));
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

/// An event that is indexed: its type's number, and its ids.
struct Listed {
    kind: i32,
    event: EventId,
    objects: Vec<ObjectId>,
}

/// From where on events are looked for by a hash.
struct Seek {
    tenant: TenantId,
    hash: i64,
    beyond: Uuid,
}

/// What an event's row says of its place in the index.
struct There {
    source: i32,
    kind: String,
    number: Option<i32>,
}

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
        // What retention has removed since it was read stays gone.
        let places = self.places(tenant, &ids).await?;
        let (mut new, mut listed, mut mentions) = (Vec::new(), Vec::new(), Vec::new());
        for event in events {
            let Some(kind) = places.get(&event.id).copied() else {
                continue;
            };
            let hash = |one: &ObjectId| mention_hash(tenant, &one.id);
            match &event.before {
                None => {
                    new.push(*event);
                    listed.push((kind, *event));
                }
                Some(before) if *before == event.objects => continue,
                Some(before) => {
                    let kept: HashSet<i64> = event.objects.iter().map(hash).collect();
                    let gone = before.iter().map(hash).filter(|hash| !kept.contains(hash));
                    let gone: Vec<i64> = gone.collect();
                    self.mentions_remove(event.id, &gone).await?;
                    let params = values![kind, event.id, objects_text(&event.objects)];
                    self.execute(&q::OBJECT_EVENT_SET, params).await?;
                }
            }
            mentions.extend(event.objects.iter().map(|one| (hash(one), event.id)));
        }
        if !listed.is_empty() {
            // In the order of the key: neighbours are written together.
            listed.sort_unstable_by_key(|(kind, event)| (*kind, event.id));
            self.built(events_insert(&listed)).await?;
            if let Some(revision) = list {
                self.follow_add(tenant, revision, &new).await?;
            }
        }
        if !mentions.is_empty() {
            mentions.sort_unstable();
            self.built(mentions_insert(&mentions)).await?;
        }
        Ok(())
    }

    /// The numbers of the types of those of these events that there are; a type that has none is given one.
    async fn places(
        &mut self,
        tenant: TenantId,
        events: &[EventId],
    ) -> StoreResult<HashMap<EventId, i32>> {
        let rows = self.built(there(tenant, events)).await?;
        let mut places = HashMap::with_capacity(rows.len());
        let mut added: HashMap<(i32, String), i32> = HashMap::new();
        for row in &rows {
            let at = There {
                source: row.get(1)?,
                kind: row.get(2)?,
                number: row.get(3)?,
            };
            let number = match at.number {
                Some(number) => number,
                None => match added.get(&(at.source, at.kind.clone())) {
                    Some(number) => *number,
                    None => {
                        let number = self.kind_add(tenant, at.source, &at.kind).await?;
                        added.insert((at.source, at.kind), number);
                        number
                    }
                },
            };
            places.insert(row.get(0)?, number);
        }
        Ok(places)
    }

    /// Whoever adds a type holds the row of `object_index`, and so does whoever removes one.
    async fn kind_add(&mut self, tenant: TenantId, source: i32, kind: &str) -> StoreResult<i32> {
        let next = self
            .first(&q::OBJECT_KIND_NEXT, &[], |row| row.get::<i64>(0))
            .await?;
        let number = match next.and_then(|next| i32::try_from(next).ok()) {
            Some(number) => number,
            None => {
                let gap = self
                    .first(&q::OBJECT_KIND_GAP, &[], |row| row.get::<i64>(0))
                    .await?;
                let gap = gap.and_then(|gap| i32::try_from(gap).ok());
                gap.ok_or_else(|| StoreError::Corrupt("no number is left for a type".into()))?
            }
        };
        let params = values![tenant, source, kind, number];
        self.execute(&q::OBJECT_KIND_ADD, params).await?;
        Ok(number)
    }

    /// The tenants with an event that something of the hash stands in.
    pub(super) async fn mention_tenants(
        &mut self,
        hash: impl Fn(TenantId) -> (TenantId, i64) + Send,
    ) -> StoreResult<Vec<(TenantId, i64)>> {
        let tenants: Vec<TenantId> = self
            .list(&q::MENTION_TENANTS, &[], |row| row.get(0))
            .await?;
        let all: Vec<(TenantId, i64)> = tenants.into_iter().map(hash).collect();
        let mut found = Vec::new();
        for some in all.chunks(HASHES) {
            let rows = self
                .built(hashes_known(some.iter().map(|(_, hash)| *hash)))
                .await?;
            let known: StoreResult<HashSet<i64>> = rows.iter().map(|row| row.get(0)).collect();
            let known = known?;
            found.extend(some.iter().filter(|(_, hash)| known.contains(hash)));
        }
        Ok(found)
    }

    /// A page of events by each hash, in the order that is asked for.
    async fn mention_pages(
        &mut self,
        seeks: Vec<Seek>,
        filter: &MentionFilter,
        limit: i64,
    ) -> StoreResult<Vec<(Seek, Vec<EventId>)>> {
        let sql = match filter.oldest_first {
            true => &q::MENTIONS_OLDEST,
            false => &q::MENTIONS_NEWEST,
        };
        self.in_order_of_indexes().await?;
        let mut pages = Vec::with_capacity(seeks.len());
        for seek in seeks {
            let params = values![seek.hash, seek.beyond, limit];
            let page = self.list(sql, params, |row| row.get(0)).await?;
            pages.push((seek, page));
        }
        self.in_any_order().await?;
        Ok(pages)
    }

    /// Those of these events that the id stands in, in their order.
    async fn mentioned(
        &mut self,
        tenant: TenantId,
        object: &str,
        events: &[EventId],
    ) -> StoreResult<Vec<EventId>> {
        let mut said: HashSet<EventId> = HashSet::with_capacity(events.len());
        for events in events.chunks(NAMED) {
            let indexed = self.objects_of(tenant, events).await?.into_iter();
            let with = indexed.filter(|one| one.objects.iter().any(|known| known.id == object));
            said.extend(with.map(|one| one.event));
        }
        let said = events.iter().copied().filter(|event| said.contains(event));
        Ok(said.collect())
    }

    async fn mentions_remove(&mut self, event: EventId, hashes: &[i64]) -> StoreResult<()> {
        if hashes.is_empty() {
            return Ok(());
        }
        self.built(mentions_remove(event, hashes)).await.map(drop)
    }

    /// What is indexed of these events; those that are not indexed are missing.
    async fn objects_of(
        &mut self,
        tenant: TenantId,
        events: &[EventId],
    ) -> StoreResult<Vec<Listed>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.built(objects_of(tenant, events)).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let (kind, objects): (Option<i32>, Option<String>) = (row.get(1)?, row.get(2)?);
            if let (Some(kind), Some(objects)) = (kind, objects) {
                found.push(Listed {
                    kind,
                    event: row.get(0)?,
                    objects: objects_read(&objects)?,
                });
            }
        }
        Ok(found)
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
        let mut kinds = BTreeSet::new();
        for events in events.chunks(NAMED) {
            for one in self.objects_of(tenant, events).await? {
                let hash = |object: &ObjectId| mention_hash(tenant, &object.id);
                let hashes: Vec<i64> = one.objects.iter().map(hash).collect();
                self.mentions_remove(one.event, &hashes).await?;
                let params = values![one.kind, one.event];
                self.execute(&q::OBJECT_EVENT_GONE, params).await?;
                kinds.insert(one.kind);
            }
        }
        for kind in kinds {
            self.execute(&q::OBJECT_KIND_GONE, values![tenant, kind])
                .await?;
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

/// Which of these events there are, with their source's number, their type and its number.
pub(crate) fn there(tenant: TenantId, events: &[EventId]) -> Built {
    let mut built = Built::new(
        concat!(
            "SELECT e.id, e.source_number, e.kind, ",
            kind_number!(),
            " FROM event AS e WHERE e.tenant_id = $1"
        ),
        vec![tenant.into()],
    );
    built.bind_list(" AND e.id IN", events.iter().copied());
    built
}

/// What is indexed of these events, each with its type's number.
pub(crate) fn objects_of(tenant: TenantId, events: &[EventId]) -> Built {
    let mut built = Built::new(
        concat!(
            "SELECT e.id, ",
            kind_number!(),
            ", ",
            objects_of_event!(),
            " FROM event AS e WHERE e.tenant_id = $1"
        ),
        vec![tenant.into()],
    );
    built.bind_list(" AND e.id IN", events.iter().copied());
    built
}

/// Which of these hashes lead anywhere: a probe for each.
pub(crate) fn hashes_known(hashes: impl Iterator<Item = i64>) -> Built {
    let mut built = Built::new("WITH one (hash) AS (VALUES ", Vec::new());
    for (at, hash) in hashes.enumerate() {
        let before = if at > 0 { ", (CAST(" } else { "(CAST(" };
        built.bind(before, hash, " AS bigint))");
    }
    built.push(
        ") SELECT one.hash FROM one
        WHERE (SELECT m.event_id FROM object_mention AS m WHERE m.hash = one.hash LIMIT 1) IS NOT NULL",
    );
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

/// Adds events to the index, each with the number of its type.
pub(crate) fn events_insert(events: &[(i32, &Indexed)]) -> Built {
    let rows = events.iter().map(|(kind, event)| {
        let objects = objects_text(&event.objects);
        [(*kind).into(), event.id.into(), objects.into()]
    });
    let mut built = Built::new(
        "INSERT INTO object_event (kind_number, event_id, objects) VALUES",
        Vec::new(),
    );
    built
        .bind_rows::<3>(rows)
        .push(" ON CONFLICT (kind_number, event_id) DO NOTHING");
    built
}

/// Adds hashes of ids with the events that they stand in.
pub(crate) fn mentions_insert(mentions: &[(i64, EventId)]) -> Built {
    let mut built = Built::new(
        "INSERT INTO object_mention (hash, event_id) VALUES",
        Vec::new(),
    );
    let rows = mentions
        .iter()
        .map(|(hash, event)| [(*hash).into(), (*event).into()]);
    built
        .bind_rows::<2>(rows)
        .push(" ON CONFLICT (hash, event_id) DO NOTHING");
    built
}

/// Removes hashes of ids of one event.
pub(crate) fn mentions_remove(event: EventId, hashes: &[i64]) -> Built {
    let mut built = Built::new(
        "DELETE FROM object_mention WHERE event_id = $1",
        vec![event.into()],
    );
    built.bind_list(" AND hash IN", hashes.iter().copied());
    built
}

/// A line for each, a name and an id, which holds no control characters; nothing where there are none.
fn objects_text(objects: &[ObjectId]) -> Option<String> {
    let lines = objects
        .iter()
        .map(|one| format!("{}\t{}\n", one.name, one.id));
    Some(lines.collect()).filter(|text: &String| !text.is_empty())
}

/// What stands in such lines where the id is in one of them, and nowhere else.
pub(crate) fn objects_part(object: &str) -> String {
    format!("\t{object}\n")
}

fn objects_read(text: &str) -> StoreResult<Vec<ObjectId>> {
    let object = |line: &str| {
        let (name, id) = line.split_once('\t')?;
        Some(ObjectId {
            name: name.to_owned(),
            id: id.to_owned(),
        })
    };
    let objects: Option<Vec<ObjectId>> = text.lines().map(object).collect();
    objects.ok_or_else(|| StoreError::Corrupt("the objects of an event cannot be read".into()))
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
