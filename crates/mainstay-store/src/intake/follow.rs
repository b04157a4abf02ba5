//! Following events: the list of what is new, kept while somebody follows.
//!
//! Each commit of the indexer holds the one row of `object_index`, so they come one after the other, and whoever sees one
//! sees all before it. Beginning and ending the list hold the same row: no commit is half in it.

use async_trait::async_trait;
use mainstay_domain::{
    EventId, StoreError, StoreResult, TenantId, Timestamp,
    intake::{
        follow::{FollowSpan, FollowTx, NewFound, PastFound, Place},
        objects::Indexed,
    },
};
use uuid::Uuid;

use crate::{
    built::Built,
    sql::Row,
    tx::SqlTx,
    verbs::{bounded, values},
};

pub(crate) mod queries {
    //! The statements of following.

    use crate::{
        intake::{objects::kind_number, queries::source_of},
        queries,
    };

    queries! {
        FOLLOW_SPAN: Platform = "SELECT followed_from, revision, followed_until FROM object_index WHERE id = 1";
        FOLLOW_KEEP: Platform = "
            UPDATE object_index
            SET followed_from = CASE WHEN followed_until = 0 THEN revision ELSE followed_from END,
                followed_until = CASE WHEN followed_until < $1 THEN $1 ELSE followed_until END
            WHERE id = 1 RETURNING followed_from, revision, followed_until";
        FOLLOW_END: Platform = "
            UPDATE object_index SET followed_until = 0 WHERE id = 1 AND followed_until > 0 AND followed_until < $1";
        /// Before anything is forgotten: whoever reads the span later knows that it is gone.
        FOLLOW_FROM: Platform = "
            UPDATE object_index SET followed_from = $1 WHERE id = 1 AND followed_from < $1";
        FOLLOW_TRIM: System = "
            DELETE FROM event_new WHERE (tenant_id, event_id) IN (
                SELECT n.tenant_id, n.event_id FROM event_new AS n WHERE n.revision <= $1
                ORDER BY n.revision, n.event_id LIMIT $2)";

        FOLLOW_NEW: System = "
            SELECT n.revision, n.event_id, n.tenant_id, n.source_id, n.kind FROM event_new AS n
            WHERE (n.revision, n.event_id) > ($1, $2)
            ORDER BY n.revision, n.event_id LIMIT $3";
        FOLLOW_NEW_OWN: Tenant = "
            SELECT n.revision, n.event_id, n.tenant_id, n.source_id, n.kind FROM event_new AS n
            WHERE n.tenant_id = $1 AND (n.revision, n.event_id) > ($2, $3)
            ORDER BY n.revision, n.event_id LIMIT $4";

        /// The first event of each tenant after this one: the mirror of what lists begin with.
        FOLLOW_HEADS: System = "
            SELECT t.id, (SELECT e.id FROM event AS e WHERE e.tenant_id = t.id AND e.id > $1 ORDER BY e.id LIMIT 1)
            FROM tenant AS t";
        /// The looks into both lists are scalars: a plan that joins might read all of them.
        FOLLOW_PAST: Tenant = concat!("
            SELECT e.id, ", source_of!("e"), ", e.kind,
                (SELECT x.event_id FROM object_event AS x WHERE x.event_id = e.id AND x.kind_number = ", kind_number!(), ")
                    IS NOT NULL
                AND (SELECT n.event_id FROM event_new AS n
                    WHERE n.tenant_id = $1 AND n.event_id = e.id AND n.revision > $3) IS NULL
            FROM event AS e WHERE e.tenant_id = $1 AND e.id > $2
            ORDER BY e.id LIMIT $4");
    }
}
use queries as q;

#[async_trait]
impl FollowTx for SqlTx<'_> {
    async fn follow_span(&mut self) -> StoreResult<FollowSpan> {
        let found = self.first(&q::FOLLOW_SPAN, &[], span).await?;
        found.ok_or_else(stateless)
    }

    async fn follow_keep(&mut self, until: Timestamp) -> StoreResult<FollowSpan> {
        self.system()?;
        let found = self.first(&q::FOLLOW_KEEP, values![until], span).await?;
        found.ok_or_else(stateless)
    }

    async fn follow_end(&mut self, now: Timestamp) -> StoreResult<bool> {
        self.system()?;
        self.changed(&q::FOLLOW_END, values![now]).await
    }

    async fn follow_trim(&mut self, revision: i64, limit: i64) -> StoreResult<i64> {
        self.system()?;
        self.execute(&q::FOLLOW_FROM, values![revision]).await?;
        let gone = self
            .execute(&q::FOLLOW_TRIM, values![revision, bounded(limit)])
            .await?;
        Ok(i64::try_from(gone).unwrap_or(i64::MAX))
    }

    async fn follow_new(
        &mut self,
        tenant: Option<TenantId>,
        after: Place,
        limit: i64,
    ) -> StoreResult<Vec<NewFound>> {
        self.in_order_of_indexes().await?;
        let limit = bounded(limit);
        let found = match self.one_of(tenant)? {
            Some(tenant) => {
                let params = values![tenant, after.revision, after.event, limit];
                self.list(&q::FOLLOW_NEW_OWN, params, new_found).await?
            }
            None => {
                let params = values![after.revision, after.event, limit];
                self.list(&q::FOLLOW_NEW, params, new_found).await?
            }
        };
        self.in_any_order().await?;
        Ok(found)
    }

    async fn follow_past(
        &mut self,
        tenant: Option<TenantId>,
        after: EventId,
        revision: i64,
        limit: i64,
    ) -> StoreResult<Vec<PastFound>> {
        self.in_order_of_indexes().await?;
        let most = usize::try_from(bounded(limit)).unwrap_or_default();
        if let Some(tenant) = self.one_of(tenant)? {
            let found = self.past_of(tenant, after, revision, limit).await?;
            self.in_any_order().await?;
            return Ok(found);
        }
        let mut heads = self.heads(&q::FOLLOW_HEADS, values![after.uuid()]).await?;
        heads.sort_by_key(|(_, oldest)| *oldest);
        let mut page: Vec<PastFound> = Vec::new();
        for (tenant, oldest) in heads {
            // No tenant is asked whose oldest event is newer than what is there already.
            let full = page.len() >= most;
            if full && page.last().is_some_and(|last| last.event.uuid() < oldest) {
                break;
            }
            page.extend(self.past_of(tenant, after, revision, limit).await?);
            page.sort_by(PastFound::order);
            page.truncate(most);
        }
        self.in_any_order().await?;
        Ok(page)
    }
}

impl SqlTx<'_> {
    /// The one tenant that is asked for; none: all of them.
    fn one_of(&self, asked: Option<TenantId>) -> StoreResult<Option<TenantId>> {
        if let Some(asked) = asked {
            self.scope.admit(asked)?;
        }
        Ok(asked.or_else(|| self.scope.tenant()))
    }

    async fn past_of(
        &mut self,
        tenant: TenantId,
        after: EventId,
        revision: i64,
        limit: i64,
    ) -> StoreResult<Vec<PastFound>> {
        let params = values![tenant, after, revision, bounded(limit)];
        let read = |row: &Row| {
            Ok(PastFound {
                tenant,
                event: row.get(0)?,
                source: row.get(1)?,
                kind: row.get(2)?,
                before: row.get(3)?,
            })
        };
        self.list(&q::FOLLOW_PAST, params, read).await
    }

    /// Lists events of one tenant that a commit of the index found first.
    pub(super) async fn follow_add(
        &mut self,
        tenant: TenantId,
        revision: i64,
        events: &[&Indexed],
    ) -> StoreResult<()> {
        let built = new_insert(tenant, revision, events);
        self.conn()
            .query_built(&built.text, &built.params)
            .await
            .map(drop)
    }
}

fn stateless() -> StoreError {
    StoreError::Corrupt("the index of objects has no state".into())
}

fn span(row: &Row) -> StoreResult<FollowSpan> {
    let until: Timestamp = row.get(2)?;
    Ok(FollowSpan {
        from: row.get(0)?,
        revision: row.get(1)?,
        until: (until != Timestamp::EPOCH).then_some(until),
    })
}

fn new_found(row: &Row) -> StoreResult<NewFound> {
    Ok(NewFound {
        place: Place {
            revision: row.get(0)?,
            event: EventId::from_uuid(row.get::<Uuid>(1)?),
        },
        tenant: row.get(2)?,
        source: row.get(3)?,
        kind: row.get(4)?,
    })
}

/// Adds events to the list of what is new.
pub(crate) fn new_insert(tenant: TenantId, revision: i64, events: &[&Indexed]) -> Built {
    let rows = events.iter().map(|event| {
        [
            tenant.into(),
            event.id.into(),
            event.source.into(),
            (&*event.kind).into(),
            revision.into(),
        ]
    });
    let mut built = Built::new(
        "INSERT INTO event_new (tenant_id, event_id, source_id, kind, revision) VALUES",
        Vec::new(),
    );
    built
        .bind_rows::<5>(rows)
        .push(" ON CONFLICT (tenant_id, event_id) DO NOTHING");
    built
}
