//! Intake: sources, bindings, receipts, events.

pub(crate) mod conflicts;
pub(crate) mod drift;
pub(crate) mod events;
pub(crate) mod expect;
pub(crate) mod expire;
pub(crate) mod follow;
pub(crate) mod kept;
pub(crate) mod links;
pub(crate) mod listed;
pub(crate) mod look;
pub(crate) mod objects;
pub(crate) mod queries;
pub(crate) mod receipts;
pub(crate) mod replays;
pub(crate) mod rhythm;
pub(crate) mod schemas;
mod sources;

use async_trait::async_trait;
use mainstay_domain::{
    BindingId, EventId, ReceiptId, SecretId, SourceId, StoreResult, TenantId, Timestamp,
    intake::{
        Appended, Arrival, Binding, Blob, Config, Event, EventFilter, EventsFound, IntakeTx,
        NewReceipt, Receipt, RefusedReceipt, Source, SourceSecret, Verdict, conflicts::Conflict,
        quarantine::Kept, schemas::SchemasTx,
    },
    jobs::{JobsTx, NewJob},
    vault::{Column, Place},
};
use queries as q;

use crate::{
    sql::Row,
    tx::{Dialect, SqlTx},
    verbs::values,
};

#[async_trait]
impl IntakeTx for SqlTx<'_> {
    async fn config_version(&mut self) -> StoreResult<i64> {
        let version = self
            .first(&q::CONFIG_VERSION, &[], |row| row.get(0))
            .await?;
        Ok(version.unwrap_or_default())
    }

    async fn config_load(&mut self) -> StoreResult<Config> {
        self.system()?;
        Ok(Config {
            // First: what is changed meanwhile is then loaded once more, and never missed.
            version: self.config_version().await?,
            sources: self.source_list().await?,
            bindings: self.binding_list().await?,
            schemas: self.schema_list(None).await?,
            endpoints: self.endpoint_list().await?,
        })
    }

    async fn source_insert(&mut self, source: &Source) -> StoreResult<i32> {
        self.sources_insert(source).await
    }

    async fn source_update(&mut self, source: &Source) -> StoreResult<bool> {
        self.sources_update(source).await
    }

    async fn source_delete(&mut self, tenant: TenantId, id: SourceId) -> StoreResult<bool> {
        self.sources_delete(tenant, id).await
    }

    async fn source_get(&mut self, id: SourceId) -> StoreResult<Option<Source>> {
        self.sources_get(id).await
    }

    async fn source_list(&mut self) -> StoreResult<Vec<Source>> {
        self.sources_list().await
    }

    async fn source_secret_insert(
        &mut self,
        source: SourceId,
        secret: &SourceSecret,
    ) -> StoreResult<()> {
        self.secret_insert(source, secret).await
    }

    async fn source_secret_delete(
        &mut self,
        source: SourceId,
        secret: SecretId,
    ) -> StoreResult<bool> {
        let Some(tenant) = self.tenant_of(&q::SOURCE_TENANT, source.uuid()).await? else {
            return Ok(false);
        };
        self.config_bump().await?;
        self.changed(&q::SECRET_DELETE, values![tenant, source, secret])
            .await
    }

    async fn source_secret_touch(&mut self, used: &[(SecretId, Timestamp)]) -> StoreResult<()> {
        self.system()?;
        let mut sorted = used.to_vec();
        sorted.sort();
        for (secret, at) in sorted {
            self.execute(&q::SECRET_TOUCH, values![secret, at]).await?;
        }
        Ok(())
    }

    async fn binding_insert(&mut self, binding: &Binding) -> StoreResult<()> {
        self.bindings_insert(binding).await
    }

    async fn binding_update(&mut self, binding: &Binding) -> StoreResult<bool> {
        self.bindings_update(binding).await
    }

    async fn binding_delete(&mut self, tenant: TenantId, id: BindingId) -> StoreResult<bool> {
        self.scope.admit(tenant)?;
        self.config_bump().await?;
        self.changed(&q::BINDING_DELETE, values![tenant, id]).await
    }

    async fn binding_list(&mut self) -> StoreResult<Vec<Binding>> {
        self.bindings_list().await
    }

    async fn event_append(
        &mut self,
        config_version: i64,
        arrivals: &[Arrival],
    ) -> StoreResult<Vec<Vec<Appended>>> {
        self.system()?;
        let sealed = self.arrivals_sealed(arrivals).await?;
        let arrivals = sealed.as_deref().unwrap_or(arrivals);
        let (appended, made) = match &mut self.conn {
            Dialect::Sqlite(conn) => conn.event_append(config_version, arrivals)?,
            Dialect::Postgres(conn) => conn.event_append(config_version, arrivals).await?,
        };
        self.conflicts_keep(arrivals, &appended).await?;
        // After everything else, so that whoever waits for a line holds nothing that others take before theirs. What
        // was there before, from the same request once more, has its jobs.
        let events = arrivals.iter().flat_map(|arrival| &arrival.events);
        let new = events.filter(|event| made.contains(&event.id));
        let jobs = new.flat_map(|event| &event.jobs);
        let ordered: Vec<&NewJob> = jobs.filter(|job| job.order.is_some()).collect();
        if !ordered.is_empty() {
            self.lines_join(ordered.into_iter()).await?;
        }
        Ok(appended)
    }

    async fn receipt_append(&mut self, refused: &[NewReceipt]) -> StoreResult<()> {
        self.receipts_append(refused).await
    }

    async fn receipt_refused(
        &mut self,
        source: SourceId,
        after: Option<ReceiptId>,
        limit: i64,
    ) -> StoreResult<Vec<RefusedReceipt>> {
        self.receipts_refused(source, after, limit).await
    }

    async fn receipt_release(&mut self, refused: &[ReceiptId]) -> StoreResult<Vec<ReceiptId>> {
        self.receipts_release(refused).await
    }

    async fn receipt_known(&mut self, ids: &[ReceiptId]) -> StoreResult<Vec<ReceiptId>> {
        self.receipts_known(ids).await
    }

    async fn event_get(&mut self, id: EventId) -> StoreResult<Option<Event>> {
        self.events_get(id).await
    }

    async fn event_conflicts(&mut self, id: EventId) -> StoreResult<Vec<Conflict>> {
        self.conflicts_of(id).await
    }

    async fn event_payload(&mut self, id: EventId) -> StoreResult<Option<Blob>> {
        let Some(tenant) = self.tenant_of(&q::EVENT_TENANT, id.uuid()).await? else {
            return Ok(None);
        };
        let payload = self
            .first(&q::EVENT_PAYLOAD, values![tenant, id], |row| blob(row, 0))
            .await?;
        let place = Place::new(Column::Body, id.uuid()).of(tenant);
        self.opened_some(&place, payload).await
    }

    async fn event_list(&mut self, filter: &EventFilter, limit: i64) -> StoreResult<Vec<Event>> {
        self.events_list(filter, limit).await
    }

    async fn event_look(
        &mut self,
        filter: &EventFilter,
        limit: i64,
        most: i64,
    ) -> StoreResult<EventsFound> {
        self.events_look(filter, limit, most).await
    }

    async fn event_receipts(&mut self, id: EventId, limit: i64) -> StoreResult<Vec<Receipt>> {
        let receipts = self.receipts_of(id, limit).await?;
        self.receipts_opened(receipts).await
    }

    async fn receipt_list(
        &mut self,
        source: Option<SourceId>,
        verdict: Option<Verdict>,
        before: Option<(Timestamp, ReceiptId)>,
        limit: i64,
    ) -> StoreResult<Vec<Receipt>> {
        let receipts = self
            .receipts_list(source, verdict, before.map(|(_, id)| id), limit)
            .await?;
        self.receipts_opened(receipts).await
    }

    async fn receipt_get(&mut self, id: ReceiptId) -> StoreResult<Option<Receipt>> {
        let found = self.receipts_get(id).await?;
        Ok(self
            .receipts_opened(found.into_iter().collect())
            .await?
            .pop())
    }

    async fn receipt_body(&mut self, id: ReceiptId) -> StoreResult<Option<Blob>> {
        let read = |row: &Row| blob_some(row, 0);
        let body = match self.scope.tenant() {
            Some(own) => {
                self.first(&q::RECEIPT_BODY_OWN, values![own, id], read)
                    .await?
            }
            None => self.first(&q::RECEIPT_BODY, values![id], read).await?,
        };
        let place = Place::new(Column::Body, id.uuid());
        self.opened_some(&place, body.flatten()).await
    }

    async fn event_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64> {
        self.events_expire(until, limit).await
    }

    async fn receipt_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64> {
        self.receipts_expire(until, limit).await
    }

    async fn quarantine_source(&mut self, after: SourceId) -> StoreResult<Option<SourceId>> {
        self.quarantines_source(after).await
    }

    async fn quarantine_list(&mut self, source: SourceId, limit: i64) -> StoreResult<Vec<Kept>> {
        self.quarantines_list(source, limit).await
    }

    async fn config_hold(&mut self) -> StoreResult<()> {
        match &self.conn {
            // It has one writer.
            Dialect::Sqlite(_) => Ok(()),
            Dialect::Postgres(conn) => conn.config_lock().await,
        }
    }

    async fn quarantine_drop(&mut self, refused: &[ReceiptId]) -> StoreResult<i64> {
        let gone = self.receipts_release(refused).await?;
        Ok(gone.len() as i64)
    }
}

impl SqlTx<'_> {
    /// Counts a change of the configuration. On PostgreSQL it waits for appends that were matched with the old one
    /// to commit; the next ones find the new version.
    pub(crate) async fn config_bump(&mut self) -> StoreResult<()> {
        if let Dialect::Postgres(conn) = &self.conn {
            conn.config_lock().await?;
        }
        self.execute(&q::CONFIG_BUMP, &[]).await.map(|_| ())
    }
}

/// Bytes and whether they are compressed, from two cells.
pub(crate) fn blob(row: &Row, first: usize) -> StoreResult<Blob> {
    Ok(Blob {
        zstd: row.get(first)?,
        bytes: row.get::<Vec<u8>>(first + 1)?.into(),
    })
}

/// The same where there may be none.
pub(crate) fn blob_some(row: &Row, first: usize) -> StoreResult<Option<Blob>> {
    match row.get::<Option<Vec<u8>>>(first + 1)? {
        Some(_) => blob(row, first).map(Some),
        None => Ok(None),
    }
}
