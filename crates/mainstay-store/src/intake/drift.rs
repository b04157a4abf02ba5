//! What the events of a source have said so far, and what was new.

use async_trait::async_trait;
use mainstay_domain::{
    DriftId, SourceId, StoreError, StoreResult, TenantId, Timestamp,
    intake::drift::{Drift, DriftKind, DriftTx, Finding, Shape},
};
use uuid::Uuid;

use crate::{
    sql::Row,
    tx::SqlTx,
    verbs::{bounded, numbered_cell, reference, values},
};

pub(crate) mod queries {
    //! The statements of drift.

    use crate::queries;

    macro_rules! drift_columns {
        () => {
            "SELECT d.id, d.tenant_id, d.source_id, d.event_type, d.kind, d.path, d.before, d.after, d.event_id,
                d.found_at, d.acknowledged_at, d.acknowledged_by FROM source_drift AS d"
        };
    }
    pub(crate) use drift_columns;

    queries! {
        SHAPE_GET: Tenant = "
            SELECT shape FROM event_shape WHERE tenant_id = $1 AND source_id = $2 AND event_type = $3";
        /// There are a few hundred of one source at the most.
        SHAPE_COUNT: Tenant = "
            SELECT count(*), min(s.first_at) FROM event_shape AS s WHERE s.tenant_id = $1 AND s.source_id = $2";
        SHAPE_PUT: Tenant = "
            INSERT INTO event_shape (tenant_id, source_id, event_type, shape, first_at) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (tenant_id, source_id, event_type) DO UPDATE SET shape = excluded.shape";
        DRIFT_INSERT: Tenant = "
            INSERT INTO source_drift (tenant_id, id, source_id, event_type, kind, path, before, after, event_id, found_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
            ON CONFLICT (tenant_id, source_id, event_type, kind, path, after) DO NOTHING";
        DRIFT_OPEN: Tenant = "
            SELECT count(*) FROM (
                SELECT 1 FROM source_drift AS d
                WHERE d.tenant_id = $1 AND d.source_id = $2 AND d.acknowledged_at IS NULL LIMIT $3) AS few";
        DRIFT_LIST: Tenant = concat!(drift_columns!(), "
            WHERE d.tenant_id = $1 AND d.source_id = $2 AND d.id < $3 ORDER BY d.id DESC LIMIT $4");
        DRIFT_LIST_OPEN: Tenant = concat!(drift_columns!(), "
            WHERE d.tenant_id = $1 AND d.source_id = $2 AND d.id < $3 AND d.acknowledged_at IS NULL
            ORDER BY d.id DESC LIMIT $4");
        DRIFT_ACKNOWLEDGE: Tenant = "
            UPDATE source_drift SET acknowledged_at = $4, acknowledged_by = $5
            WHERE tenant_id = $1 AND source_id = $2 AND id = $3 AND acknowledged_at IS NULL";
        DRIFT_ACKNOWLEDGE_ALL: Tenant = "
            UPDATE source_drift SET acknowledged_at = $3, acknowledged_by = $4
            WHERE tenant_id = $1 AND source_id = $2 AND acknowledged_at IS NULL";
        DRIFT_EXPIRE: System = "
            DELETE FROM source_drift WHERE id IN (
                SELECT old.id FROM source_drift AS old WHERE old.acknowledged_at < $1 ORDER BY old.id LIMIT $2)";
    }
}
use queries as q;

#[async_trait]
impl DriftTx for SqlTx<'_> {
    async fn shape_get(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        event_type: &str,
    ) -> StoreResult<Option<Shape>> {
        self.scope.admit(tenant)?;
        let params = values![tenant, source, event_type];
        self.first(&q::SHAPE_GET, params, |row| {
            let text: String = row.get(0)?;
            serde_json::from_str(&text)
                .map_err(|_| StoreError::Corrupt("a shape of events cannot be read".into()))
        })
        .await
    }

    async fn shape_count(
        &mut self,
        tenant: TenantId,
        source: SourceId,
    ) -> StoreResult<(i64, Option<Timestamp>)> {
        self.scope.admit(tenant)?;
        let read = |row: &Row| Ok((row.get(0)?, row.get(1)?));
        let params = values![tenant, source];
        let known = self.first(&q::SHAPE_COUNT, params, read).await?;
        Ok(known.unwrap_or_default())
    }

    async fn shape_put(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        event_type: &str,
        shape: &Shape,
    ) -> StoreResult<()> {
        self.scope.admit(tenant)?;
        let text = serde_json::to_string(shape)
            .map_err(|error| StoreError::Bug(format!("a shape cannot be written: {error}")))?;
        let first_at = Timestamp::from_micros(shape.since);
        let params = values![tenant, source, event_type, &*text, first_at];
        reference(self.execute(&q::SHAPE_PUT, params).await, "source").map(drop)
    }

    async fn drift_insert(&mut self, drift: &Drift) -> StoreResult<bool> {
        self.scope.admit(drift.tenant)?;
        let params = values![
            drift.tenant,
            drift.id,
            drift.source,
            &*drift.event_type,
            drift.finding.kind as i64,
            &*drift.finding.path,
            &*drift.finding.before,
            &*drift.finding.after,
            drift.event,
            drift.found_at,
        ];
        reference(self.changed(&q::DRIFT_INSERT, params).await, "source")
    }

    async fn drift_open(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        most: i64,
    ) -> StoreResult<i64> {
        self.scope.admit(tenant)?;
        let params = values![tenant, source, most];
        let count = self.first(&q::DRIFT_OPEN, params, |row| row.get(0)).await?;
        Ok(count.unwrap_or_default())
    }

    async fn drift_list(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        all: bool,
        before: Option<DriftId>,
        limit: i64,
    ) -> StoreResult<Vec<Drift>> {
        self.scope.admit(tenant)?;
        let before = before.map_or(Uuid::max(), DriftId::uuid);
        let params = values![tenant, source, before, bounded(limit)];
        let sql = match all {
            true => &q::DRIFT_LIST,
            false => &q::DRIFT_LIST_OPEN,
        };
        self.list(sql, params, drift).await
    }

    async fn drift_acknowledge(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        ids: &[DriftId],
        at: Timestamp,
        by: &str,
    ) -> StoreResult<i64> {
        self.scope.admit(tenant)?;
        if ids.is_empty() {
            let params = values![tenant, source, at, by];
            return Ok(self.execute(&q::DRIFT_ACKNOWLEDGE_ALL, params).await? as i64);
        }
        let mut seen = 0;
        for id in ids {
            let params = values![tenant, source, *id, at, by];
            seen += self.execute(&q::DRIFT_ACKNOWLEDGE, params).await? as i64;
        }
        Ok(seen)
    }

    async fn drift_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64> {
        self.system()?;
        let params = values![until, bounded(limit)];
        Ok(self.execute(&q::DRIFT_EXPIRE, params).await? as i64)
    }
}

pub(super) fn drift(row: &Row) -> StoreResult<Drift> {
    Ok(Drift {
        id: row.get(0)?,
        tenant: row.get(1)?,
        source: row.get(2)?,
        event_type: row.get(3)?,
        finding: Finding {
            kind: numbered_cell(row, 4, &DriftKind::ALL)?,
            path: row.get(5)?,
            before: row.get(6)?,
            after: row.get(7)?,
        },
        event: row.get(8)?,
        found_at: row.get(9)?,
        acknowledged_at: row.get(10)?,
        acknowledged_by: row.get(11)?,
    })
}
