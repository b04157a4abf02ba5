//! How many events of each type a source brings in each hour, and what did not fit.

use async_trait::async_trait;
use mainstay_domain::{
    RhythmSignalId, SourceId, StoreResult, TenantId, Timestamp,
    intake::rhythm::{
        ALL_TYPES, HourCount, RhythmClock, RhythmKind, RhythmSignal, RhythmTx, SourceCounted,
        TypeCount, TypeKnown, hour_start,
    },
};
use uuid::Uuid;

use crate::{
    built::Built,
    sql::Row,
    tx::SqlTx,
    verbs::{bounded, id_floor, numbered_cell, reference, values},
};

pub(crate) mod queries {
    //! The statements of rhythm.

    use crate::queries;

    macro_rules! signal_columns {
        () => {
            "SELECT r.id, r.tenant_id, r.source_id, r.event_type, r.kind, r.since, r.expected_milli, r.actual,
                r.opened_at, r.ended_at FROM rhythm_signal AS r"
        };
    }

    queries! {
        RHYTHM_CLOCK: Platform = "
            SELECT counted_to, seen_at, resumed_at, quiet_until FROM rhythm_clock WHERE id = 1";
        RHYTHM_CLOCK_INSERT: Platform = "
            INSERT INTO rhythm_clock (id, counted_to, seen_at, resumed_at, quiet_until) VALUES (1, $1, $2, $3, $4)
            ON CONFLICT (id) DO NOTHING";
        RHYTHM_CLOCK_UPDATE: Platform = "
            UPDATE rhythm_clock SET counted_to = $1, seen_at = $2, resumed_at = $3, quiet_until = $4
            WHERE id = 1 AND counted_to = $5 AND seen_at = $6";
        RHYTHM_COUNT_WAITING: Platform = "
            SELECT w.source_id, w.kind, count(*), max(w.received_at) FROM event_waiting AS w
            WHERE w.id >= $1 AND w.id < $2 GROUP BY w.source_id, w.kind ORDER BY 3 DESC LIMIT $3";
        RHYTHM_TENANTS: System = "SELECT t.id FROM tenant AS t WHERE t.id > $1 ORDER BY t.id LIMIT $2";
        RHYTHM_COUNTED_ADD: Tenant = "
            INSERT INTO rhythm_counted (tenant_id, source_id, hour, counted_ms) VALUES ($1, $2, $3, $4)
            ON CONFLICT (tenant_id, source_id, hour)
            DO UPDATE SET counted_ms = rhythm_counted.counted_ms + excluded.counted_ms";
        RHYTHM_TYPE_SEEN: Tenant = "
            INSERT INTO rhythm_type (tenant_id, source_id, event_type, first_hour, last_at) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (tenant_id, source_id, event_type) DO UPDATE SET last_at = excluded.last_at";
        RHYTHM_HOUR_ADD: Tenant = "
            INSERT INTO rhythm_hour (tenant_id, source_id, event_type, hour, count) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (tenant_id, source_id, event_type, hour)
            DO UPDATE SET count = rhythm_hour.count + excluded.count";
        RHYTHM_TYPES: Tenant = "
            SELECT y.event_type, y.first_hour, y.last_at FROM rhythm_type AS y
            WHERE y.tenant_id = $1 AND y.source_id = $2 ORDER BY y.event_type";
        RHYTHM_HOURS: Tenant = "
            SELECT h.event_type, h.hour, h.count FROM rhythm_hour AS h
            WHERE h.tenant_id = $1 AND h.source_id = $2 AND h.hour >= $3";
        RHYTHM_COUNTED: Tenant = "
            SELECT c.hour, c.counted_ms FROM rhythm_counted AS c
            WHERE c.tenant_id = $1 AND c.source_id = $2 AND c.hour >= $3 ORDER BY c.hour";
        RHYTHM_SIGNAL_INSERT: Tenant = "
            INSERT INTO rhythm_signal (tenant_id, id, source_id, event_type, kind, since, expected_milli, actual, opened_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            ON CONFLICT DO NOTHING";
        RHYTHM_SIGNAL_END: Tenant = "
            UPDATE rhythm_signal SET ended_at = $3 WHERE tenant_id = $1 AND id = $2 AND ended_at IS NULL";
        RHYTHM_SIGNAL_LIST: Tenant = concat!(signal_columns!(), "
            WHERE r.tenant_id = $1 AND r.source_id = $2 AND r.id < $3 ORDER BY r.id DESC LIMIT $4");
        RHYTHM_SIGNAL_LIST_OPEN: Tenant = concat!(signal_columns!(), "
            WHERE r.tenant_id = $1 AND r.source_id = $2 AND r.id < $3 AND r.ended_at IS NULL
            ORDER BY r.id DESC LIMIT $4");
        RHYTHM_SIGNALS_OPEN: Tenant = concat!(signal_columns!(), "
            WHERE r.tenant_id = $1 AND r.ended_at IS NULL ORDER BY r.id DESC LIMIT $2");
        RHYTHM_SIGNALS_OPEN_ALL: System = concat!(signal_columns!(), "
            WHERE r.ended_at IS NULL ORDER BY r.id DESC LIMIT $1");
        RHYTHM_HOURS_EXPIRE: System = "
            DELETE FROM rhythm_hour WHERE (tenant_id, source_id, event_type, hour) IN (
                SELECT old.tenant_id, old.source_id, old.event_type, old.hour FROM rhythm_hour AS old
                WHERE old.hour < $1 ORDER BY old.hour LIMIT $2)";
        RHYTHM_COUNTED_EXPIRE: System = "
            DELETE FROM rhythm_counted WHERE (tenant_id, source_id, hour) IN (
                SELECT old.tenant_id, old.source_id, old.hour FROM rhythm_counted AS old
                WHERE old.hour < $1 ORDER BY old.hour LIMIT $2)";
        RHYTHM_TYPES_EXPIRE: System = "
            DELETE FROM rhythm_type WHERE (tenant_id, source_id, event_type) IN (
                SELECT old.tenant_id, old.source_id, old.event_type FROM rhythm_type AS old
                WHERE old.last_at < $1 AND old.event_type <> '' ORDER BY old.last_at LIMIT $2)";
        RHYTHM_SIGNALS_EXPIRE: System = "
            DELETE FROM rhythm_signal WHERE id IN (
                SELECT old.id FROM rhythm_signal AS old WHERE old.ended_at < $1 ORDER BY old.id LIMIT $2)";
    }
}
use queries as q;

#[async_trait]
impl RhythmTx for SqlTx<'_> {
    async fn rhythm_clock(&mut self) -> StoreResult<Option<RhythmClock>> {
        self.first(&q::RHYTHM_CLOCK, values![], |row| {
            Ok(RhythmClock {
                counted_to: row.get(0)?,
                seen_at: row.get(1)?,
                resumed_at: row.get(2)?,
                quiet_until: row.get(3)?,
            })
        })
        .await
    }

    async fn rhythm_clock_put(
        &mut self,
        known: Option<RhythmClock>,
        now: RhythmClock,
    ) -> StoreResult<bool> {
        self.system()?;
        let RhythmClock {
            counted_to,
            seen_at,
            resumed_at,
            quiet_until,
        } = now;
        match known {
            None => {
                let params = values![counted_to, seen_at, resumed_at, quiet_until];
                self.changed(&q::RHYTHM_CLOCK_INSERT, params).await
            }
            Some(known) => {
                let params = values![
                    counted_to,
                    seen_at,
                    resumed_at,
                    quiet_until,
                    known.counted_to,
                    known.seen_at
                ];
                self.changed(&q::RHYTHM_CLOCK_UPDATE, params).await
            }
        }
    }

    async fn rhythm_count(
        &mut self,
        tenants: &[TenantId],
        from: Timestamp,
        to: Timestamp,
        limit: i64,
    ) -> StoreResult<Vec<TypeCount>> {
        self.system()?;
        if tenants.is_empty() {
            return Ok(Vec::new());
        }
        let built = count(tenants, from, to, bounded(limit));
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        rows.iter().map(type_count).collect()
    }

    async fn rhythm_count_waiting(
        &mut self,
        from: Timestamp,
        to: Timestamp,
        limit: i64,
    ) -> StoreResult<Vec<TypeCount>> {
        self.system()?;
        let params = values![id_floor(from), id_floor(to), bounded(limit)];
        self.list(&q::RHYTHM_COUNT_WAITING, params, type_count)
            .await
    }

    async fn rhythm_tenants(&mut self, after: TenantId, limit: i64) -> StoreResult<Vec<TenantId>> {
        self.system()?;
        let params = values![after, bounded(limit)];
        self.list(&q::RHYTHM_TENANTS, params, |row| row.get(0))
            .await
    }

    async fn rhythm_add(&mut self, counted: &SourceCounted) -> StoreResult<()> {
        self.system()?;
        let SourceCounted {
            tenant,
            source,
            hour,
            counted_ms,
            types,
        } = counted;
        let params = values![*tenant, *source, *hour, *counted_ms];
        reference(self.execute(&q::RHYTHM_COUNTED_ADD, params).await, "source")?;
        for one in types {
            let params = values![*tenant, *source, &*one.event_type, *hour, one.last_at];
            self.execute(&q::RHYTHM_TYPE_SEEN, params).await?;
            let params = values![*tenant, *source, &*one.event_type, *hour, one.count];
            self.execute(&q::RHYTHM_HOUR_ADD, params).await?;
        }
        Ok(())
    }

    async fn rhythm_types(
        &mut self,
        tenant: TenantId,
        source: SourceId,
    ) -> StoreResult<Vec<TypeKnown>> {
        self.scope.admit(tenant)?;
        let params = values![tenant, source];
        self.list(&q::RHYTHM_TYPES, params, |row| {
            Ok(TypeKnown {
                event_type: row.get(0)?,
                first_hour: row.get(1)?,
                last_at: row.get(2)?,
            })
        })
        .await
    }

    async fn rhythm_hours(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        from: i64,
    ) -> StoreResult<Vec<HourCount>> {
        self.scope.admit(tenant)?;
        let params = values![tenant, source, from];
        self.list(&q::RHYTHM_HOURS, params, |row| {
            Ok(HourCount {
                event_type: row.get(0)?,
                hour: row.get(1)?,
                count: row.get(2)?,
            })
        })
        .await
    }

    async fn rhythm_counted(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        from: i64,
    ) -> StoreResult<Vec<(i64, i64)>> {
        self.scope.admit(tenant)?;
        let params = values![tenant, source, from];
        self.list(&q::RHYTHM_COUNTED, params, |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .await
    }

    async fn rhythm_signal_insert(&mut self, signal: &RhythmSignal) -> StoreResult<bool> {
        self.scope.admit(signal.tenant)?;
        let params = values![
            signal.tenant,
            signal.id,
            signal.source,
            &*signal.event_type,
            signal.kind as i64,
            signal.since,
            signal.expected_milli,
            signal.actual,
            signal.opened_at,
        ];
        reference(
            self.changed(&q::RHYTHM_SIGNAL_INSERT, params).await,
            "source",
        )
    }

    async fn rhythm_signal_end(
        &mut self,
        tenant: TenantId,
        id: RhythmSignalId,
        at: Timestamp,
    ) -> StoreResult<bool> {
        self.scope.admit(tenant)?;
        self.changed(&q::RHYTHM_SIGNAL_END, values![tenant, id, at])
            .await
    }

    async fn rhythm_signal_list(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        open: bool,
        before: Option<RhythmSignalId>,
        limit: i64,
    ) -> StoreResult<Vec<RhythmSignal>> {
        self.scope.admit(tenant)?;
        let before = before.map_or(Uuid::max(), RhythmSignalId::uuid);
        let params = values![tenant, source, before, bounded(limit)];
        let sql = match open {
            true => &q::RHYTHM_SIGNAL_LIST_OPEN,
            false => &q::RHYTHM_SIGNAL_LIST,
        };
        self.list(sql, params, signal).await
    }

    async fn rhythm_signals_open(&mut self, limit: i64) -> StoreResult<Vec<RhythmSignal>> {
        match self.scope.tenant() {
            Some(tenant) => {
                let params = values![tenant, bounded(limit)];
                self.list(&q::RHYTHM_SIGNALS_OPEN, params, signal).await
            }
            None => {
                let params = values![bounded(limit)];
                self.list(&q::RHYTHM_SIGNALS_OPEN_ALL, params, signal).await
            }
        }
    }

    async fn rhythm_expire(&mut self, hour: i64, limit: i64) -> StoreResult<i64> {
        self.system()?;
        let (limit, at) = (bounded(limit), hour_start(hour));
        let hours = self
            .execute(&q::RHYTHM_HOURS_EXPIRE, values![hour, limit])
            .await?;
        let counted = self
            .execute(&q::RHYTHM_COUNTED_EXPIRE, values![hour, limit])
            .await?;
        let types = self
            .execute(&q::RHYTHM_TYPES_EXPIRE, values![at, limit])
            .await?;
        let signals = self
            .execute(&q::RHYTHM_SIGNALS_EXPIRE, values![at, limit])
            .await?;
        Ok(hours.max(counted).max(types).max(signals) as i64)
    }
}

/// How many events of each source and type these tenants have between two times. Ids are in the order of receipt, so each
/// tenant's key leads to them.
pub(crate) fn count(tenants: &[TenantId], from: Timestamp, to: Timestamp, limit: i64) -> Built {
    let mut built = Built::new(
        "SELECT (SELECT n.source_id FROM source_known AS n WHERE n.number = e.source_number),
                e.kind, count(*), max(e.received_at) FROM event AS e
            WHERE e.id >= $1 AND e.id < $2 AND e.tenant_id IN",
        values![id_floor(from), id_floor(to)].to_vec(),
    );
    built
        .bind_list("", tenants.iter().copied())
        .push(" GROUP BY e.source_number, e.kind")
        .bind(" ORDER BY 3 DESC LIMIT ", limit, "");
    built
}

fn type_count(row: &Row) -> StoreResult<TypeCount> {
    Ok(TypeCount {
        source: row.get::<SourceId>(0)?,
        event_type: row.get(1)?,
        count: row.get(2)?,
        last_at: row.get(3)?,
    })
}

fn signal(row: &Row) -> StoreResult<RhythmSignal> {
    Ok(RhythmSignal {
        id: row.get(0)?,
        tenant: row.get(1)?,
        source: row.get(2)?,
        event_type: row.get(3)?,
        kind: numbered_cell(row, 4, &RhythmKind::ALL)?,
        since: row.get(5)?,
        expected_milli: row.get(6)?,
        actual: row.get(7)?,
        opened_at: row.get(8)?,
        ended_at: row.get(9)?,
    })
}

/// All types together are never forgotten while there is the source.
const _: () = assert!(ALL_TYPES.is_empty());
