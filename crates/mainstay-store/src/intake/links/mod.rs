//! Links from a provider's values to tenants, and the events that wait for them.

pub(crate) mod queries;
pub(crate) mod waiting;

use async_trait::async_trait;
use mainstay_domain::{
    EventId, LinkId, SourceId, StoreError, StoreResult, TenantId, Timestamp,
    intake::{
        Blob, Receipt,
        links::{LinkFilter, LinksTx, SourceLink, WaitingEvent, WaitingFilter, WaitingValue},
    },
    jobs::NewJob,
};
use queries::{self as q, link_columns};
use uuid::Uuid;

use super::blob;
use crate::{
    built::Built,
    sql::Row,
    tx::SqlTx,
    verbs::{bounded, reference, values},
};

#[async_trait]
impl LinksTx for SqlTx<'_> {
    async fn tenant_find(
        &mut self,
        source: SourceId,
        value: &str,
        direct: bool,
    ) -> StoreResult<Option<TenantId>> {
        self.system()?;
        let read = |row: &Row| row.get(0);
        let linked = self
            .first(&q::LINK_FIND, values![source, value], read)
            .await?;
        if linked.is_some() || !direct {
            return Ok(linked);
        }
        match value.parse::<TenantId>() {
            Ok(id) => self.first(&q::TENANT_BY_ID, values![id], read).await,
            Err(_) => self.first(&q::TENANT_BY_SLUG, values![value], read).await,
        }
    }

    async fn link_insert(&mut self, links: &[SourceLink]) -> StoreResult<Vec<bool>> {
        self.system()?;
        // First: appends under way have committed what they found without these links, and further ones look again.
        self.config_bump().await?;
        let mut new = vec![false; links.len()];
        // In one order, so that two who add the same wait for each other and never in a circle.
        let mut order: Vec<usize> = (0..links.len()).collect();
        order.sort_by(|a, b| {
            let key = |at: usize| (links[at].source, &links[at].value);
            key(*a).cmp(&key(*b))
        });
        for at in order {
            new[at] = self.link_add(&links[at]).await?;
        }
        Ok(new)
    }

    async fn link_delete(&mut self, source: SourceId, id: LinkId) -> StoreResult<bool> {
        self.system()?;
        self.config_bump().await?;
        self.changed(&q::LINK_DELETE, values![source, id]).await
    }

    async fn link_get(&mut self, source: SourceId, id: LinkId) -> StoreResult<Option<SourceLink>> {
        self.system()?;
        self.first(&q::LINK_GET, values![source, id], link).await
    }

    async fn link_list(&mut self, filter: &LinkFilter, limit: i64) -> StoreResult<Vec<SourceLink>> {
        self.system()?;
        let built = page(filter, bounded(limit));
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        rows.iter().map(link).collect()
    }

    async fn link_count(&mut self, source: SourceId, most: i64) -> StoreResult<i64> {
        self.system()?;
        let count = self
            .first(&q::LINK_COUNT, values![source, most], |row| row.get(0))
            .await?;
        Ok(count.unwrap_or_default())
    }

    async fn waiting_get(&mut self, id: EventId) -> StoreResult<Option<WaitingEvent>> {
        self.waiting_one(id).await
    }

    async fn waiting_payload(&mut self, id: EventId) -> StoreResult<Option<Blob>> {
        self.system()?;
        self.first(&q::WAITING_PAYLOAD, values![id], |row| blob(row, 0))
            .await
    }

    async fn waiting_receipts(&mut self, id: EventId, limit: i64) -> StoreResult<Vec<Receipt>> {
        self.waiting_brought(id, limit).await
    }

    async fn waiting_list(
        &mut self,
        filter: &WaitingFilter,
        limit: i64,
    ) -> StoreResult<Vec<WaitingEvent>> {
        self.waiting_listed(filter, limit).await
    }

    async fn waiting_values(
        &mut self,
        source: SourceId,
        after: Option<&str>,
        limit: i64,
    ) -> StoreResult<Vec<WaitingValue>> {
        self.waiting_by_value(source, after, limit).await
    }

    async fn waiting_counts(&mut self) -> StoreResult<Vec<(String, i64)>> {
        self.system()?;
        let read = |row: &Row| Ok((row.get(0)?, row.get(1)?));
        let mut counts: Vec<(String, i64)> = self.list(&q::WAITING_COUNTS, &[], read).await?;
        counts.retain(|(_, count)| *count > 0);
        counts.sort();
        Ok(counts)
    }

    async fn waiting_due(
        &mut self,
        source: SourceId,
        value: &str,
        limit: i64,
    ) -> StoreResult<Vec<(SourceId, String)>> {
        self.system()?;
        let read = |row: &Row| Ok((row.get(0)?, row.get(1)?));
        let params = values![source, value, bounded(limit)];
        self.list(&q::WAITING_DUE, params, read).await
    }

    async fn waiting_page(
        &mut self,
        source: SourceId,
        value: &str,
        after: EventId,
        limit: i64,
    ) -> StoreResult<Vec<WaitingEvent>> {
        self.system()?;
        let params = values![source, value, after, bounded(limit)];
        let rows = self.rows(&q::WAITING_PAGE, params).await?;
        self.waiting_read(&rows).await
    }

    async fn waiting_assign(
        &mut self,
        config_version: i64,
        events: &[(EventId, TenantId)],
        jobs: &[NewJob],
    ) -> StoreResult<Vec<EventId>> {
        self.waiting_give(config_version, events, jobs).await
    }

    async fn waiting_done(
        &mut self,
        config_version: i64,
        source: SourceId,
        value: &str,
    ) -> StoreResult<()> {
        self.system()?;
        self.config_hold(config_version).await?;
        self.execute(&q::WAITING_DUE_DELETE, values![source, value])
            .await
            .map(|_| ())
    }

    async fn waiting_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64> {
        self.waiting_let_go(until, limit).await
    }
}

impl SqlTx<'_> {
    async fn link_add(&mut self, link: &SourceLink) -> StoreResult<bool> {
        let params = values![
            link.id,
            link.source,
            &*link.value,
            link.tenant,
            link.created_at,
        ];
        let added = reference(self.changed(&q::LINK_INSERT, params).await, "link")?;
        if !added {
            let key = values![link.source, &*link.value];
            let known = self.first(&q::LINK_FIND, key, |row| row.get(0)).await?;
            return match known == Some(link.tenant) {
                true => Ok(false),
                false => Err(StoreError::Conflict { what: "link" }),
            };
        }
        let due = values![link.source, &*link.value];
        self.execute(&q::WAITING_DUE_INSERT, due).await?;
        Ok(true)
    }

    /// Has the events looked at that wait for a tenant's slug or id.
    pub(crate) async fn waiting_due_tenant(
        &mut self,
        tenant: TenantId,
        slug: &str,
    ) -> StoreResult<()> {
        for value in [slug, &tenant.to_string()] {
            self.execute(&q::WAITING_DUE_INSERT_ANYWHERE, values![value])
                .await?;
        }
        Ok(())
    }
}

/// One page of a source's links.
pub(crate) fn page(filter: &LinkFilter, limit: i64) -> Built {
    let mut built = Built::new(
        concat!(link_columns!(), " WHERE l.source_id = $1"),
        vec![filter.source.into()],
    );
    built
        .bind(
            " AND l.id < ",
            filter.before.map_or(Uuid::max(), LinkId::uuid),
            "",
        )
        .bind_some(" AND l.tenant_id = ", filter.tenant, "")
        .bind_some(" AND l.value = ", filter.value.as_deref(), "");
    if let Some(prefix) = &filter.prefix {
        let chars = prefix.chars().count() as i64;
        built
            .bind(" AND substr(l.value, 1, CAST(", chars, " AS INTEGER))")
            .bind(" = ", &**prefix, "");
    }
    built.bind(" ORDER BY l.id DESC LIMIT ", limit, "");
    built
}

fn link(row: &Row) -> StoreResult<SourceLink> {
    Ok(SourceLink {
        id: row.get(0)?,
        source: row.get(1)?,
        value: row.get(2)?,
        tenant: row.get(3)?,
        created_at: row.get(4)?,
    })
}
