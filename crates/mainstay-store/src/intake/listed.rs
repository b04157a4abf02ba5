//! Lists of events and requests by what `event` itself has no index for: a source, a type, types that begin alike.
//!
//! The index of objects leads to them, type by type in the order of time, however rare they are among all events. It is
//! made in the background: what came since is looked for in the events themselves, which is little while it keeps up.

use std::time::Instant;

use mainstay_domain::{
    EventId, ReceiptId, SourceId, StoreError, StoreResult, TenantId, Timestamp,
    intake::{EventFilter, objects::ObjectsTx},
};
use uuid::Uuid;

use super::receipts::{requests_all, requests_own};
use crate::{
    built::Built,
    sql::Row,
    tx::SqlTx,
    verbs::{LOOK_MAX, bounded, id_floor},
};

/// Types that a list goes through one by one; where there are more, events are looked at themselves.
const KINDS_MAX: usize = 200;
/// Types that are looked at for those that are asked for.
const KINDS_LOOKED: i64 = 2_000;
/// Types in one statement.
const KINDS_STEP: usize = 40;
/// How far before the end of the index events are looked at themselves: what was committed in another order.
const OVERLAP_MS: i64 = 5_000;
/// Ids of requests that are looked at at once.
const REQUESTS_STEP: i64 = 200;

/// From where to where, by ids.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// At or after.
    pub(crate) from: Uuid,
    /// Before.
    pub(crate) before: Uuid,
}

impl Span {
    /// All time.
    #[cfg(test)]
    pub(crate) const ALL: Self = Self {
        from: Uuid::nil(),
        before: Uuid::max(),
    };

    pub(super) fn of(filter: &EventFilter) -> Self {
        let before = [
            filter.before.map(|(_, id)| id.uuid()),
            filter.to.map(id_floor),
        ];
        Self {
            from: filter.from.map_or(Uuid::nil(), id_floor),
            before: before.into_iter().flatten().min().unwrap_or_else(Uuid::max),
        }
    }
}

fn matches(pattern: Option<&str>, kind: &str) -> bool {
    pattern.is_none_or(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => kind.starts_with(prefix),
        None => pattern == kind,
    })
}

impl SqlTx<'_> {
    /// Everything received before is indexed, or was committed later than what came after it.
    pub(super) async fn index_end(&mut self) -> StoreResult<Timestamp> {
        Ok(self.object_state().await?.until.minus_ms(OVERLAP_MS))
    }

    /// The numbers of the types that are asked for, of each source; none where there are too many to go through.
    pub(super) async fn kinds(
        &mut self,
        tenant: TenantId,
        source: Option<SourceId>,
        pattern: Option<&str>,
    ) -> StoreResult<Option<Vec<i32>>> {
        let rows = self
            .built(kinds(tenant, source, pattern, KINDS_LOOKED + 1))
            .await?;
        if rows.len() as i64 > KINDS_LOOKED {
            return Ok(None);
        }
        let mut found = Vec::new();
        for row in &rows {
            if matches(pattern, &row.get::<String>(1)?) {
                found.push(row.get(0)?);
            }
        }
        Ok((found.len() <= KINDS_MAX).then_some(found))
    }

    /// The newest of these types, newest first.
    pub(super) async fn kinds_ids(
        &mut self,
        kinds: &[i32],
        span: Span,
        limit: i64,
    ) -> StoreResult<Vec<EventId>> {
        if kinds.is_empty() {
            return Ok(Vec::new());
        }
        self.in_order_of_indexes().await?;
        let mut ids: Vec<EventId> = Vec::new();
        for kinds in kinds.chunks(KINDS_STEP) {
            let built = newest(kinds, span, limit);
            let rows = self.conn().query_built(&built.text, &built.params).await?;
            for row in &rows {
                ids.push(row.get(0)?);
            }
            ids.sort_unstable_by(|a, b| b.cmp(a));
            ids.truncate(usize::try_from(limit).unwrap_or_default());
        }
        self.in_any_order().await?;
        Ok(ids)
    }

    /// The requests of a source that are within this tenant's events, newest first: each page of the index, until there
    /// are enough, and before it what is not indexed yet. None where the index does not lead there.
    pub(super) async fn requests_indexed(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        before: Option<ReceiptId>,
        limit: i64,
    ) -> StoreResult<Option<Vec<Row>>> {
        let Some(kinds) = self.kinds(tenant, Some(source), None).await? else {
            return Ok(None);
        };
        let newest = before.map_or_else(Uuid::max, ReceiptId::uuid);
        let own = self.scope.tenant().is_some();
        let built = |before, after: Option<Uuid>, ids: &[EventId]| match own {
            true => requests_own(tenant, Some(source), before, after, ids, limit),
            false => requests_all(tenant, Some(source), before, after, ids, limit),
        };
        let tail = id_floor(self.index_end().await?);
        let mut rows = Vec::new();
        if newest > tail {
            let built = built(before, Some(tail), &[]);
            rows = self.conn().query_built(&built.text, &built.params).await?;
        }
        let enough = usize::try_from(bounded(limit)).unwrap_or_default();
        let mut span = Span {
            from: Uuid::nil(),
            before: newest.min(tail),
        };
        let mut found = rows.len();
        let begin = Instant::now();
        while found < enough {
            // Each statement has its time, and so have all of them together.
            if begin.elapsed() > LOOK_MAX {
                return Err(StoreError::Timeout);
            }
            let ids = self.kinds_ids(&kinds, span, REQUESTS_STEP).await?;
            let Some(last) = ids.last() else { break };
            span.before = last.uuid();
            let built = built(before, None, &ids);
            let page = self.conn().query_built(&built.text, &built.params).await?;
            found += page.len();
            rows.extend(page);
        }
        Ok(Some(rows))
    }
}

/// The types of a tenant's events, as far as they are indexed: of one source, where it is given, and only those that may match.
pub(crate) fn kinds(
    tenant: TenantId,
    source: Option<SourceId>,
    pattern: Option<&str>,
    limit: i64,
) -> Built {
    let mut built = Built::new(
        "SELECT k.number, k.kind FROM object_kind AS k WHERE k.tenant_id = $1",
        vec![tenant.into()],
    );
    let exact = pattern.filter(|pattern| !pattern.ends_with('*'));
    built
        .bind_some(
            " AND k.source_number = (SELECT n.number FROM source_known AS n WHERE n.source_id = ",
            source,
            ")",
        )
        .bind_some(" AND k.kind = ", exact, "")
        .bind(" LIMIT ", limit, "");
    built
}

/// The newest events of these types, as far as they are indexed.
pub(crate) fn newest(kinds: &[i32], span: Span, limit: i64) -> Built {
    let params = vec![span.from.into(), span.before.into(), limit.into()];
    let mut built = Built::new("SELECT found.event_id FROM (", params);
    for (index, one) in kinds.iter().enumerate() {
        built.push(if index > 0 { " UNION ALL " } else { "" });
        built
            .bind(
                "SELECT one.event_id FROM (SELECT x.event_id FROM object_event AS x WHERE x.kind_number = ",
                *one,
                " AND x.event_id >= $1 AND x.event_id < $2 ORDER BY x.event_id DESC LIMIT $3) AS one",
            );
    }
    built.push(") AS found");
    built
}
