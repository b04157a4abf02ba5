//! Events whose tenant is not known yet: shown, assigned in one commit each with its jobs, and let go when they are old.

use std::collections::HashMap;

use mainstay_domain::{
    EventId, ReceiptId, SourceId, StoreError, StoreResult, TenantId, Timestamp,
    intake::{
        IntakeTx, Receipt,
        links::{WaitingEvent, WaitingFilter, WaitingValue},
        objects::ObjectsTx,
    },
    jobs::{JobsTx, NewJob},
    vault::{Column, Place},
};
use uuid::Uuid;

use super::{
    super::{blob, conflicts::conflicts_remove, receipts::receipt},
    queries::{self as q, waiting_columns},
};
use crate::{
    built::Built,
    sql::Row,
    tx::{Dialect, SqlTx},
    vault::queries::{WAITING_GIVEN, WALK_EVENT_PAYLOAD},
    verbs::{LOOK_MAX, bounded, id_floor, values},
};

/// Events whose values are read by one statement.
const LOOKED_UP: usize = 500;

impl SqlTx<'_> {
    pub(super) async fn waiting_one(&mut self, id: EventId) -> StoreResult<Option<WaitingEvent>> {
        self.system()?;
        let rows = self.rows(&q::WAITING_GET, values![id]).await?;
        Ok(self.waiting_read(&rows).await?.pop())
    }

    pub(super) async fn waiting_brought(
        &mut self,
        id: EventId,
        limit: i64,
    ) -> StoreResult<Vec<Receipt>> {
        self.system()?;
        let mut receipts = self.list(&q::WAITING_FIRST, values![id], receipt).await?;
        // Nothing is said about an event that does not wait.
        if !receipts.is_empty() {
            let again = values![id, bounded(limit)];
            receipts.extend(self.list(&q::WAITING_AGAIN, again, receipt).await?);
        }
        receipts.sort_by_key(|receipt| receipt.id);
        receipts.dedup_by_key(|receipt| receipt.id);
        receipts.truncate(usize::try_from(limit).unwrap_or(0));
        Ok(receipts)
    }

    pub(super) async fn waiting_listed(
        &mut self,
        filter: &WaitingFilter,
        limit: i64,
    ) -> StoreResult<Vec<WaitingEvent>> {
        self.system()?;
        let built = page(filter, bounded(limit));
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        self.waiting_read(&rows).await
    }

    pub(super) async fn waiting_by_value(
        &mut self,
        source: SourceId,
        after: Option<&str>,
        limit: i64,
    ) -> StoreResult<Vec<WaitingValue>> {
        self.system()?;
        self.statement_timeout(LOOK_MAX).await?;
        let limit = usize::try_from(bounded(limit)).unwrap_or(0);
        let mut found = Vec::new();
        // The empty value comes before every other, so nothing comes before it.
        let mut next = match after {
            None => Some(String::new()),
            Some(after) => self.waiting_value_after(source, after).await?,
        };
        while let Some(value) = next.filter(|_| found.len() < limit) {
            let key = values![source, &*value];
            let events = self
                .first(&q::WAITING_VALUE_COUNT, key, |row| row.get(0))
                .await?;
            let oldest = self
                .first(&q::WAITING_VALUE_OLDEST, key, |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .await?;
            next = self.waiting_value_after(source, &value).await?;
            if let (Some(events), Some((oldest, since))) = (events, oldest) {
                found.push(WaitingValue {
                    value,
                    events,
                    oldest,
                    since,
                });
            }
        }
        Ok(found)
    }

    async fn waiting_value_after(
        &mut self,
        source: SourceId,
        value: &str,
    ) -> StoreResult<Option<String>> {
        self.first(&q::WAITING_VALUE_NEXT, values![source, value], |row| {
            row.get(0)
        })
        .await
    }

    /// The events of these rows, with the values that they wait for.
    pub(super) async fn waiting_read(&mut self, rows: &[Row]) -> StoreResult<Vec<WaitingEvent>> {
        let events: StoreResult<Vec<WaitingEvent>> = rows.iter().map(waiting).collect();
        let mut events = events?;
        for events in events.chunks_mut(LOOKED_UP) {
            let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
            let built = values_of(&ids);
            let mut values: HashMap<EventId, Vec<String>> = HashMap::new();
            for row in self.conn().query_built(&built.text, &built.params).await? {
                values.entry(row.get(0)?).or_default().push(row.get(1)?);
            }
            for event in events {
                event.values = values.remove(&event.id).unwrap_or_default();
            }
        }
        Ok(events)
    }

    /// Fails unless this is the version of the configuration, and keeps it so until the end of the transaction.
    pub(super) async fn config_hold(&mut self, config_version: i64) -> StoreResult<()> {
        if let Dialect::Postgres(conn) = &self.conn {
            conn.config_share().await?;
        }
        match self.config_version().await? == config_version {
            true => Ok(()),
            false => Err(StoreError::ConfigChanged),
        }
    }

    pub(super) async fn waiting_give(
        &mut self,
        config_version: i64,
        events: &[(EventId, TenantId)],
        jobs: &[NewJob],
    ) -> StoreResult<Vec<EventId>> {
        self.system()?;
        self.config_hold(config_version).await?;
        let mut given = Vec::with_capacity(events.len());
        for (event, tenant) in events {
            let params = values![*tenant, *event];
            if !self.changed(&q::WAITING_ASSIGN, params).await? {
                continue;
            }
            self.execute(&q::WAITING_DELETE, values![*event]).await?;
            self.waiting_seal(*event, *tenant).await?;
            self.violation_move(*event, *tenant).await?;
            self.conflicts_move(*event, *tenant).await?;
            // It is older than what the indexer looks at.
            self.object_note(&[(*tenant, *event)]).await?;
            given.push(*event);
        }
        let ours: Vec<NewJob> = jobs
            .iter()
            .filter(|job| job.event.is_some_and(|event| given.contains(&event)))
            .cloned()
            .collect();
        self.job_insert(&ours).await?;
        Ok(given)
    }

    /// Seals an event that was nobody's with the key of the tenant that it is given to, and the request that brought it
    /// with that as well.
    async fn waiting_seal(&mut self, event: EventId, tenant: TenantId) -> StoreResult<()> {
        if !self.vault.on() {
            return Ok(());
        }
        let key = values![tenant, event];
        let found = self
            .first(&WAITING_GIVEN, key, |row| {
                Ok((blob(row, 0)?, row.get::<ReceiptId>(2)?, row.get(3)?))
            })
            .await?;
        let Some((payload, receipt, received_at)) = found else {
            return Ok(());
        };
        let place = Place::new(Column::Body, event.uuid());
        let open = self.opened(&place, payload.clone()).await?;
        if let Some(key) = self.key_of(tenant, received_at).await? {
            let sealed = key.seal(&place, &open)?;
            let params = values![
                tenant,
                event,
                sealed.zstd,
                &sealed.bytes[..],
                &payload.bytes[..]
            ];
            self.execute(&WALK_EVENT_PAYLOAD, params).await?;
        }
        self.receipt_layered(receipt.uuid(), tenant, received_at)
            .await
    }

    pub(super) async fn waiting_let_go(
        &mut self,
        until: Timestamp,
        limit: i64,
    ) -> StoreResult<i64> {
        self.system()?;
        let params = values![id_floor(until), bounded(limit)];
        let read = |row: &Row| Ok((row.get::<EventId>(0)?, row.get::<ReceiptId>(1)?));
        let gone = self.list(&q::WAITING_EXPIRE, params, read).await?;
        if !gone.is_empty() {
            let ids: Vec<EventId> = gone.iter().map(|(id, _)| *id).collect();
            self.violations_let_go(&ids).await?;
            self.built(conflicts_remove(TenantId::NIL, &ids)).await?;
            let again = again_remove(&ids);
            self.conn().query_built(&again.text, &again.params).await?;
            let receipts: Vec<ReceiptId> = gone.iter().map(|(_, receipt)| *receipt).collect();
            self.receipts_let_go(&receipts).await?;
        }
        Ok(gone.len() as i64)
    }
}

/// One page of waiting events.
pub(crate) fn page(filter: &WaitingFilter, limit: i64) -> Built {
    let before = filter.before.map_or(Uuid::max(), EventId::uuid);
    let mut built = Built::new(
        concat!(waiting_columns!(), " WHERE w.id < $1"),
        vec![before.into()],
    );
    built.bind_some(" AND w.source_id = ", filter.source, "");
    match (&filter.value, filter.source) {
        // The key of the values leads to them, in their order.
        (Some(value), Some(source)) => built
            .bind(
                " AND w.id IN (SELECT v.event_id FROM event_waiting_value AS v WHERE v.source_id = ",
                source,
                "",
            )
            .bind(" AND v.value = ", &**value, " AND v.event_id < $1")
            .bind(" ORDER BY v.event_id DESC LIMIT ", limit, ")"),
        (Some(value), None) => built.bind(
            " AND EXISTS (SELECT 1 FROM event_waiting_value AS v
                WHERE v.event_id = w.id AND v.value = ",
            &**value,
            ")",
        ),
        (None, _) => &mut built,
    };
    built.bind(" ORDER BY w.id DESC LIMIT ", limit, "");
    built
}

/// The values that these events wait for.
pub(crate) fn values_of(events: &[EventId]) -> Built {
    let mut built = Built::new(
        "SELECT v.event_id, v.value FROM event_waiting_value AS v WHERE v.event_id IN",
        Vec::new(),
    );
    built
        .bind_list("", events.iter().copied())
        .push(" ORDER BY v.event_id, v.place");
    built
}

/// Removes the receipts of the duplicates of these events.
pub(crate) fn again_remove(events: &[EventId]) -> Built {
    let mut built = Built::new("DELETE FROM receipt WHERE event_id IN", Vec::new());
    built.bind_list("", events.iter().copied());
    built
}

fn waiting(row: &Row) -> StoreResult<WaitingEvent> {
    Ok(WaitingEvent {
        id: row.get(0)?,
        source: row.get(1)?,
        source_name: row.get::<Option<String>>(2)?.unwrap_or_default(),
        provider_id: row.get(3)?,
        kind: row.get(4)?,
        received_at: row.get(5)?,
        occurred_at: row.get(6)?,
        receipt: row.get(7)?,
        payload_bytes: row.get(8)?,
        deliveries: row.get::<Option<i64>>(9)?.unwrap_or(1),
        values: Vec::new(),
    })
}
