//! Receipts: requests as they arrived, kept apart from tenants' data. A tenant sees those of its own sources.

use mainstay_domain::{
    EventId, ReceiptId, SourceId, StoreResult, TenantId, Timestamp,
    intake::{
        NewReceipt, Receipt, RefusedReceipt, Verdict,
        quarantine::{self, Kept},
    },
    vault::{Column, Place},
};
use uuid::Uuid;

use super::{
    blob, blob_some,
    queries::{
        self as q, receipt_columns, receipt_columns_all, request_columns, request_columns_all,
        request_columns_own,
    },
};
use crate::{
    built::{Built, Newest},
    sql::Row,
    tx::SqlTx,
    verbs::{LOOK_MAX, bounded, id_floor, numbered_cell, values},
};

impl SqlTx<'_> {
    pub(super) async fn receipts_append(&mut self, refused: &[NewReceipt]) -> StoreResult<()> {
        self.system()?;
        for receipt in refused {
            let body = receipt.body.as_ref();
            let params = values![
                receipt.id,
                receipt.source,
                receipt.received_at,
                Verdict::Refused as i64,
                0_i64,
                receipt.refusal.as_deref().unwrap_or("refused"),
                receipt.secret,
                &*receipt.remote,
                receipt.body_bytes,
                None::<Uuid>,
                receipt.headers.zstd,
                &receipt.headers.bytes[..],
                body.map(|body| body.zstd),
                body.map(|body| &body.bytes[..]),
            ];
            self.execute(&q::RECEIPT_INSERT, params).await?;
        }
        Ok(())
    }

    pub(super) async fn receipts_refused(
        &mut self,
        source: SourceId,
        after: Option<ReceiptId>,
        limit: i64,
    ) -> StoreResult<Vec<RefusedReceipt>> {
        self.system()?;
        let params = values![source, after.unwrap_or(ReceiptId::NIL), bounded(limit)];
        let read = |row: &Row| {
            Ok(RefusedReceipt {
                receipt: receipt(row)?,
                body: blob_some(row, 11)?,
            })
        };
        let refused = self.list(&q::RECEIPT_REFUSED, params, read).await?;
        let mut opened = Vec::with_capacity(refused.len());
        for one in refused {
            let id = one.receipt.id.uuid();
            let headers = Place::new(Column::Headers, id);
            let headers = self.opened(&headers, one.receipt.headers.clone()).await?;
            let body = Place::new(Column::Body, id);
            let body = self.opened_some(&body, one.body).await?;
            opened.push(RefusedReceipt {
                body,
                receipt: Receipt {
                    headers,
                    ..one.receipt
                },
            });
        }
        Ok(opened)
    }

    /// One by one in the order of ids, so that two who release the same wait for each other and never in a circle.
    pub(super) async fn receipts_release(
        &mut self,
        refused: &[ReceiptId],
    ) -> StoreResult<Vec<ReceiptId>> {
        self.system()?;
        let mut refused = refused.to_vec();
        refused.sort_unstable();
        let mut released = Vec::with_capacity(refused.len());
        for id in refused {
            if self.changed(&q::RECEIPT_RELEASE, values![id]).await? {
                released.push(id);
            }
        }
        Ok(released)
    }

    /// One by one, by the key.
    pub(super) async fn receipts_known(
        &mut self,
        ids: &[ReceiptId],
    ) -> StoreResult<Vec<ReceiptId>> {
        self.system()?;
        let mut known = Vec::new();
        for id in ids {
            let found: Option<ReceiptId> = self
                .first(&q::RECEIPT_KNOWN, values![*id], |row| row.get(0))
                .await?;
            known.extend(found);
        }
        Ok(known)
    }

    pub(super) async fn receipts_of(
        &mut self,
        id: EventId,
        limit: i64,
    ) -> StoreResult<Vec<Receipt>> {
        let Some(tenant) = self.tenant_of(&q::EVENT_TENANT, id.uuid()).await? else {
            return Ok(Vec::new());
        };
        let mut first = self
            .list(&q::RECEIPT_FIRST, values![tenant, id], receipt)
            .await?;
        first.extend(self.request_get(tenant, id.uuid()).await?);
        // Nothing is said about an event that the scope does not hold, nor about one that is gone.
        if self
            .rows(&q::EVENT_GET, values![tenant, id])
            .await?
            .is_empty()
        {
            return Ok(Vec::new());
        }
        let again = values![tenant, id, bounded(limit)];
        let again = self.list(&q::RECEIPT_AGAIN, again, receipt).await?;
        let mut receipts: Vec<Receipt> = first.into_iter().chain(again).collect();
        // As PostgreSQL's policy has it: a tenant sees the requests of its own sources. One of another's may have
        // brought events of several tenants.
        if self.scope.tenant().is_some() {
            receipts.retain(|receipt| !receipt.source_name.is_empty());
        }
        receipts.sort_by_key(|receipt| receipt.id);
        receipts.truncate(usize::try_from(limit).unwrap_or(0));
        Ok(receipts)
    }

    /// Those in rows of their own and, since what was accepted is nearly always within its event, those.
    pub(super) async fn receipts_list(
        &mut self,
        source: Option<SourceId>,
        verdict: Option<Verdict>,
        before: Option<ReceiptId>,
        limit: i64,
    ) -> StoreResult<Vec<Receipt>> {
        let limit = bounded(limit);
        let mut page = Newest::new(limit);
        match (self.scope.tenant(), source) {
            (None, None) => {
                self.receipts_page(page_all(verdict, before, limit), &mut page)
                    .await?;
            }
            (None, Some(source)) => {
                let built = page_source_all(source, verdict, before, limit);
                self.receipts_page(built, &mut page).await?;
            }
            (Some(own), source) => {
                let sources = match source {
                    Some(source) => vec![source],
                    None => {
                        let own = values![own];
                        self.list(&q::SOURCE_LIST_OWN, own, |row| row.get(0))
                            .await?
                    }
                };
                for source in sources {
                    let built = page_source(own, source, verdict, before, limit);
                    self.receipts_page(built, &mut page).await?;
                }
            }
        }
        if verdict.is_none_or(|verdict| verdict == Verdict::Accepted) {
            // Those of one source may be few among many.
            if source.is_some() {
                self.statement_timeout(LOOK_MAX).await?;
            }
            self.requests_page(source, before, limit, &mut page).await?;
        }
        Ok(page.finish())
    }

    async fn requests_page(
        &mut self,
        source: Option<SourceId>,
        before: Option<ReceiptId>,
        limit: i64,
        page: &mut Newest<Receipt>,
    ) -> StoreResult<()> {
        if let Some(own) = self.scope.tenant() {
            return self.requests_tenant(own, source, before, limit, page).await;
        }
        let newest = before.map_or(Uuid::max(), ReceiptId::uuid);
        for (tenant, newest) in self.heads(&q::EVENT_HEADS, values![newest]).await? {
            if page.wants(newest) {
                self.requests_tenant(tenant, source, before, limit, page)
                    .await?;
            }
        }
        Ok(())
    }

    /// Those within the events of one tenant.
    async fn requests_tenant(
        &mut self,
        tenant: TenantId,
        source: Option<SourceId>,
        before: Option<ReceiptId>,
        limit: i64,
        page: &mut Newest<Receipt>,
    ) -> StoreResult<()> {
        if let Some(source) = source
            && let Some(rows) = self.requests_indexed(tenant, source, before, limit).await?
        {
            for row in &rows {
                let receipt = receipt(row)?;
                page.add([(receipt.id.uuid(), receipt)]);
            }
            return Ok(());
        }
        let built = match self.scope.tenant() {
            Some(_) => requests_own(tenant, source, before, None, &[], limit),
            None => requests_all(tenant, source, before, None, &[], limit),
        };
        self.receipts_page(built, page).await
    }

    pub(super) async fn receipts_get(&mut self, id: ReceiptId) -> StoreResult<Option<Receipt>> {
        let own = self.scope.tenant();
        let found = match own {
            Some(own) => {
                self.first(&q::RECEIPT_GET_OWN, values![own, id], receipt)
                    .await?
            }
            None => self.first(&q::RECEIPT_GET, values![id], receipt).await?,
        };
        if found.is_some() {
            return Ok(found);
        }
        let Some(tenant) = self.tenant_of(&q::EVENT_TENANT, id.uuid()).await? else {
            return Ok(None);
        };
        let request = self.request_get(tenant, id.uuid()).await?;
        // A tenant sees the requests of its own sources.
        Ok(request.filter(|request| own.is_none() || !request.source_name.is_empty()))
    }

    /// The request within this event.
    async fn request_get(&mut self, tenant: TenantId, id: Uuid) -> StoreResult<Option<Receipt>> {
        let text = match self.scope.tenant() {
            Some(_) => &q::REQUEST_GET_OWN,
            None => &q::REQUEST_GET,
        };
        self.first(text, values![tenant, id], receipt).await
    }

    async fn receipts_page(&mut self, built: Built, page: &mut Newest<Receipt>) -> StoreResult<()> {
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        for row in &rows {
            let receipt = receipt(row)?;
            page.add([(receipt.id.uuid(), receipt)]);
        }
        Ok(())
    }

    pub(super) async fn receipts_expire(
        &mut self,
        until: Timestamp,
        limit: i64,
    ) -> StoreResult<i64> {
        self.system()?;
        let params = values![id_floor(until), bounded(limit)];
        Ok(self.execute(&q::RECEIPT_EXPIRE, params).await? as i64)
    }

    pub(super) async fn quarantines_source(
        &mut self,
        after: SourceId,
    ) -> StoreResult<Option<SourceId>> {
        self.system()?;
        self.first(&q::QUARANTINE_SOURCE, values![after], |row| row.get(0))
            .await
    }

    pub(super) async fn quarantines_list(
        &mut self,
        source: SourceId,
        limit: i64,
    ) -> StoreResult<Vec<Kept>> {
        self.system()?;
        let read = |row: &Row| {
            let (remote, refusal): (String, String) = (row.get(1)?, row.get(2)?);
            Ok(Kept {
                id: row.get(0)?,
                kind: quarantine::kind(&remote, &refusal),
                bytes: row.get(3)?,
            })
        };
        self.list(&q::QUARANTINE_LIST, values![source, bounded(limit)], read)
            .await
    }
}

/// One page of all receipts.
pub(crate) fn page_all(verdict: Option<Verdict>, before: Option<ReceiptId>, limit: i64) -> Built {
    let built = Built::new(
        concat!(receipt_columns_all!(), " WHERE r.id < $1"),
        vec![newest(before)],
    );
    narrowed(built, verdict, limit)
}

/// One page of a source's receipts, across tenants.
pub(crate) fn page_source_all(
    source: SourceId,
    verdict: Option<Verdict>,
    before: Option<ReceiptId>,
    limit: i64,
) -> Built {
    let text = concat!(
        receipt_columns_all!(),
        " WHERE r.id < $1 AND r.source_id = $2"
    );
    narrowed(
        Built::new(text, vec![newest(before), source.into()]),
        verdict,
        limit,
    )
}

/// One page of the receipts of a source of this tenant.
pub(crate) fn page_source(
    tenant: TenantId,
    source: SourceId,
    verdict: Option<Verdict>,
    before: Option<ReceiptId>,
    limit: i64,
) -> Built {
    let text = concat!(
        receipt_columns!(),
        " WHERE r.id < $2 AND r.source_id = $3
            AND EXISTS (SELECT 1 FROM source AS o WHERE o.tenant_id = $1 AND o.id = $3)"
    );
    let params = vec![tenant.into(), newest(before), source.into()];
    narrowed(Built::new(text, params), verdict, limit)
}

/// One page of the requests of this tenant's own sources that are within its events: of these, where any are named, and
/// from this id on.
pub(crate) fn requests_own(
    tenant: TenantId,
    source: Option<SourceId>,
    before: Option<ReceiptId>,
    from: Option<Uuid>,
    events: &[EventId],
    limit: i64,
) -> Built {
    let text = concat!(
        request_columns_own!(),
        " AND r.id < $2 AND EXISTS (SELECT 1 FROM source AS o WHERE o.tenant_id = $1 AND o.number = r.source_number)"
    );
    requests(text, tenant, source, before, from, events, limit)
}

/// The same, of whatever source.
pub(crate) fn requests_all(
    tenant: TenantId,
    source: Option<SourceId>,
    before: Option<ReceiptId>,
    from: Option<Uuid>,
    events: &[EventId],
    limit: i64,
) -> Built {
    let text = concat!(request_columns_all!(), " AND r.id < $2");
    requests(text, tenant, source, before, from, events, limit)
}

fn requests(
    text: &'static str,
    tenant: TenantId,
    source: Option<SourceId>,
    before: Option<ReceiptId>,
    from: Option<Uuid>,
    events: &[EventId],
    limit: i64,
) -> Built {
    let mut built = Built::new(text, vec![tenant.into(), newest(before)]);
    built
        .bind_some(
            " AND r.source_number = (SELECT n.number FROM source_known AS n WHERE n.source_id = ",
            source,
            ")",
        )
        .bind_some(" AND r.id >= ", from, "");
    if !events.is_empty() {
        built.bind_list(" AND r.id IN", events.iter().copied());
    }
    built.bind(" ORDER BY r.id DESC LIMIT ", limit, "");
    built
}

fn newest(before: Option<ReceiptId>) -> crate::sql::Value {
    before.map_or(Uuid::max(), ReceiptId::uuid).into()
}

/// The verdict stands in the text, so that the index on refused ones can be used.
fn narrowed(mut built: Built, verdict: Option<Verdict>, limit: i64) -> Built {
    match verdict {
        None => &mut built,
        Some(Verdict::Accepted) => built.push(" AND r.verdict = 0"),
        Some(Verdict::Duplicate) => built.push(" AND r.verdict = 1"),
        Some(Verdict::Conflict) => built.push(" AND r.verdict = 2"),
        Some(Verdict::Refused) => built.push(" AND r.verdict = 3"),
    };
    built.bind(" ORDER BY r.id DESC LIMIT ", limit, "");
    built
}

pub(super) fn receipt(row: &Row) -> StoreResult<Receipt> {
    Ok(Receipt {
        id: row.get(0)?,
        source: row.get(1)?,
        source_name: row.get::<Option<String>>(2)?.unwrap_or_default(),
        received_at: row.get(3)?,
        remote: row.get(4)?,
        headers: blob(row, 5)?,
        verdict: numbered_cell(row, 7, &Verdict::ALL)?,
        refusal: row.get(8)?,
        secret: row.get(9)?,
        body_bytes: row.get(10)?,
    })
}
