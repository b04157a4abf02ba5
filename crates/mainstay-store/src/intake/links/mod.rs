//! Links from a provider's values to tenants, and the events that wait for them.

pub(crate) mod queries;
pub(crate) mod waiting;

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use mainstay_domain::{
    EventId, LinkId, SourceId, StoreError, StoreResult, TenantId, Timestamp,
    intake::{
        Blob, Receipt,
        links::{LinkFilter, LinksTx, SourceLink, WaitingEvent, WaitingFilter, WaitingValue},
    },
    jobs::NewJob,
    vault::{Column, Place},
};
use queries::{self as q, link_columns};
use uuid::Uuid;

use super::blob;
use crate::{
    built::Built,
    sql::{Row, Value},
    tx::SqlTx,
    verbs::{bounded, reference, values},
};

/// Links that one statement adds.
const ADDED: usize = 500;

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
        // In one order, so that two who add the same wait for each other and never in a circle.
        let mut order: Vec<&SourceLink> = links.iter().collect();
        order.sort_by_key(|link| (link.source, &link.value));
        let mut new = HashSet::with_capacity(links.len());
        for links in order.chunk_by(|one, next| one.source == next.source) {
            for links in links.chunks(ADDED) {
                new.extend(self.links_add(links).await?);
            }
        }
        Ok(links.iter().map(|link| new.contains(&link.id)).collect())
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
        let payload = self
            .first(&q::WAITING_PAYLOAD, values![id], |row| blob(row, 0))
            .await?;
        self.opened_some(&Place::new(Column::Body, id.uuid()), payload)
            .await
    }

    async fn waiting_receipts(&mut self, id: EventId, limit: i64) -> StoreResult<Vec<Receipt>> {
        let receipts = self.waiting_brought(id, limit).await?;
        self.receipts_opened(receipts).await
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
    /// Adds links of one source. Answers which are new.
    async fn links_add(&mut self, links: &[&SourceLink]) -> StoreResult<HashSet<LinkId>> {
        let built = insert(links);
        let rows = self.conn().query_built(&built.text, &built.params).await;
        let new: StoreResult<HashSet<LinkId>> = reference(rows, "link")?
            .iter()
            .map(|row| row.get(0))
            .collect();
        let new = new?;
        let known: Vec<&SourceLink> = links
            .iter()
            .copied()
            .filter(|link| !new.contains(&link.id))
            .collect();
        if !known.is_empty() {
            self.links_check(&known).await?;
        }
        if !new.is_empty() {
            let built = due_insert(new.iter().copied());
            self.conn().query_built(&built.text, &built.params).await?;
        }
        Ok(new)
    }

    /// Links of one source whose values are linked: to the same tenants, or it is a conflict.
    async fn links_check(&mut self, links: &[&SourceLink]) -> StoreResult<()> {
        let built = tenants_of(links);
        let mut tenants: HashMap<String, TenantId> = HashMap::with_capacity(links.len());
        for row in self.conn().query_built(&built.text, &built.params).await? {
            tenants.insert(row.get(0)?, row.get(1)?);
        }
        let same = |link: &&SourceLink| tenants.get(&link.value) == Some(&link.tenant);
        match links.iter().all(same) {
            true => Ok(()),
            false => Err(StoreError::Conflict { what: "link" }),
        }
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

/// Adds links; answers the ids of those whose values were not linked yet.
pub(crate) fn insert(links: &[&SourceLink]) -> Built {
    let mut built = Built::new(
        "INSERT INTO source_link (id, source_id, value, tenant_id, created_at) VALUES",
        Vec::new(),
    );
    let row = |link: &&SourceLink| -> [Value; 5] {
        [
            link.id.into(),
            link.source.into(),
            (&*link.value).into(),
            link.tenant.into(),
            link.created_at.into(),
        ]
    };
    built
        .bind_rows(links.iter().map(row))
        .push(" ON CONFLICT (source_id, value) DO NOTHING RETURNING id");
    built
}

/// The tenants that these links' values are linked to; all links are of one source.
pub(crate) fn tenants_of(links: &[&SourceLink]) -> Built {
    let source = links.first().map_or(SourceId::NIL, |link| link.source);
    let mut built = Built::new(
        "SELECT value, tenant_id FROM source_link WHERE source_id = $1",
        vec![source.into()],
    );
    built.bind_list(" AND value IN", links.iter().map(|link| &*link.value));
    built
}

/// Has the events looked at that wait for the values of these links.
pub(crate) fn due_insert(links: impl IntoIterator<Item = LinkId>) -> Built {
    let mut built = Built::new(
        "INSERT INTO event_waiting_due (source_id, value)
        SELECT l.source_id, l.value FROM source_link AS l
        WHERE EXISTS (SELECT 1 FROM event_waiting_value AS v WHERE v.source_id = l.source_id AND v.value = l.value)",
        Vec::new(),
    );
    built
        .bind_list(" AND l.id IN", links)
        .push(" ORDER BY l.value ON CONFLICT (source_id, value) DO NOTHING");
    built
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
