//! What came again under an event's id with other content.

use std::collections::HashMap;

use mainstay_domain::{
    EventId, StoreError, StoreResult, TenantId,
    intake::{
        Appended, Arrival, NewEvent, NewReceipt,
        conflicts::{CONFLICTS_MAX, CONTENT_BYTES_MAX, CONTENTS_MAX, Conflict},
    },
    vault::{Column, Place},
};

use super::{blob_some, queries as events};
use crate::{built::Built, sql::Row, tx::SqlTx, verbs::values};

pub(crate) mod queries {
    //! The statements of conflicts.

    use crate::queries;

    queries! {
        CONFLICT_COUNT: Tenant = "
            SELECT count(*), count(payload_zstd) FROM event_conflict WHERE tenant_id = $1 AND event_id = $2";
        CONFLICT_AGAIN: Tenant = "
            UPDATE event_conflict SET times = times + 1, last_at = $4
            WHERE tenant_id = $1 AND event_id = $2 AND body_hash = $3";
        CONFLICT_INSERT: Tenant = "
            INSERT INTO event_conflict (tenant_id, event_id, body_hash, receipt_id, first_at, last_at, times,
                payload_bytes, payload_zstd, payload)
            VALUES ($1, $2, $3, $4, $5, $5, 1, $6, $7, $8)";
        CONFLICT_LIST: Tenant = "
            SELECT body_hash, receipt_id, first_at, last_at, times, payload_bytes, payload_zstd, payload
            FROM event_conflict WHERE tenant_id = $1 AND event_id = $2 ORDER BY first_at, body_hash";
        /// A row never changes its tenant: those that belonged to nobody go, and their tenant's own come.
        CONFLICT_TAKE: Tenant = "
            DELETE FROM event_conflict WHERE tenant_id = $1 AND event_id = $2
            RETURNING body_hash, receipt_id, first_at, last_at, times, payload_bytes, payload_zstd, payload";
        CONFLICT_GIVE: Tenant = "
            INSERT INTO event_conflict (tenant_id, event_id, body_hash, receipt_id, first_at, last_at, times,
                payload_bytes, payload_zstd, payload)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        CONFLICT_WAITS: Platform = "SELECT w.id FROM event_waiting AS w WHERE w.id = $1";
        CONFLICT_BODY_DROP: Platform = "UPDATE receipt SET body = NULL, body_zstd = NULL WHERE id = $1";
    }
}
use queries as q;

impl SqlTx<'_> {
    /// Keeps what came again with other content. Nothing is done where nothing did.
    pub(super) async fn conflicts_keep(
        &mut self,
        arrivals: &[Arrival],
        appended: &[Vec<Appended>],
    ) -> StoreResult<()> {
        let whole = |appended: &Appended| matches!(appended, Appended::Conflict(_));
        if !appended.iter().flatten().any(whole) {
            return Ok(());
        }
        let mut found: Vec<(EventId, &NewEvent, &Arrival)> = Vec::new();
        for (arrival, appended) in arrivals.iter().zip(appended) {
            for (event, appended) in arrival.events.iter().zip(appended) {
                if let Appended::Conflict(known) = appended {
                    found.push((*known, event, arrival));
                }
            }
        }
        // In one order everywhere, so that two who keep the same wait for each other and never in a circle.
        found.sort_by_key(|(known, event, _)| (*known, event.body_hash));
        for (known, event, arrival) in found {
            self.conflict_keep(known, event, arrival).await?;
        }
        Ok(())
    }

    async fn conflict_keep(
        &mut self,
        known: EventId,
        event: &NewEvent,
        arrival: &Arrival,
    ) -> StoreResult<()> {
        let Some(tenant) = self.conflict_tenant(known).await? else {
            // The event is gone: the request with its body is what there is to keep.
            return Ok(());
        };
        let (hash, receipt) = (event.body_hash.to_vec(), &arrival.receipt);
        let again = values![tenant, known, hash.clone(), receipt.received_at];
        if self.changed(&q::CONFLICT_AGAIN, again).await? {
            return self.conflict_body_drop(arrival).await;
        }
        let read = |row: &Row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?));
        let counts = self
            .first(&q::CONFLICT_COUNT, values![tenant, known], read)
            .await?;
        let (all, kept) = counts.unwrap_or_default();
        if all >= CONFLICTS_MAX {
            return self.conflict_body_drop(arrival).await;
        }
        self.conflict_insert(tenant, known, event, receipt, kept < CONTENTS_MAX)
            .await?;
        match kept < CONTENTS_MAX {
            true => Ok(()),
            false => self.conflict_body_drop(arrival).await,
        }
    }

    async fn conflict_insert(
        &mut self,
        tenant: TenantId,
        known: EventId,
        event: &NewEvent,
        receipt: &NewReceipt,
        room: bool,
    ) -> StoreResult<()> {
        let kept = if room && event.payload_bytes <= CONTENT_BYTES_MAX {
            let own = Place::new(Column::Body, event.id.uuid());
            let payload = self.opened(&own, event.payload.clone()).await?;
            let place = conflict_place(known, &event.body_hash);
            let sealed = self.blob_sealed(place, tenant, payload, receipt.received_at);
            Some(sealed.await?)
        } else {
            None
        };
        let params = values![
            tenant,
            known,
            event.body_hash.to_vec(),
            receipt.id,
            receipt.received_at,
            event.payload_bytes,
            kept.as_ref().map(|payload| payload.zstd),
            kept.as_ref().map(|payload| &payload.bytes[..]),
        ];
        self.execute(&q::CONFLICT_INSERT, params).await.map(drop)
    }

    /// Whose the event is, nil where that is not known yet; none: it is gone.
    async fn conflict_tenant(&mut self, event: EventId) -> StoreResult<Option<TenantId>> {
        if let Some(tenant) = self.tenant_of(&events::EVENT_TENANT, event.uuid()).await? {
            return Ok(Some(tenant));
        }
        let waits = self.rows(&q::CONFLICT_WAITS, values![event]).await?;
        Ok((!waits.is_empty()).then_some(TenantId::NIL))
    }

    /// Its body says nothing new, or more came than is kept: the request itself stays.
    async fn conflict_body_drop(&mut self, arrival: &Arrival) -> StoreResult<()> {
        if arrival.events.len() != 1 {
            return Ok(());
        }
        let params = values![arrival.receipt.id];
        self.execute(&q::CONFLICT_BODY_DROP, params).await.map(drop)
    }

    pub(super) async fn conflicts_of(&mut self, event: EventId) -> StoreResult<Vec<Conflict>> {
        let tenant = self.tenant_of(&events::EVENT_TENANT, event.uuid()).await?;
        let Some(tenant) = tenant else {
            return Ok(Vec::new());
        };
        let mut found = self
            .list(&q::CONFLICT_LIST, values![tenant, event], conflict)
            .await?;
        for one in &mut found {
            let place = conflict_place(event, &one.digest);
            let payload = self.opened_some(&place, one.payload.take()).await?;
            one.payload = payload.filter(|payload| !payload.is_erased());
        }
        Ok(found)
    }

    /// How often each of these came again with other content; those that never did are missing.
    pub(super) async fn conflicts_count(
        &mut self,
        tenant: TenantId,
        events: &[EventId],
    ) -> StoreResult<HashMap<EventId, i64>> {
        if events.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = self.built(conflicts_count(tenant, events)).await?;
        rows.iter()
            .map(|row| Ok((row.get(0)?, row.get(1)?)))
            .collect()
    }

    /// What came again of a waiting event is its tenant's to know from now on.
    pub(super) async fn conflicts_move(
        &mut self,
        event: EventId,
        tenant: TenantId,
    ) -> StoreResult<()> {
        let taken = values![TenantId::NIL, event];
        let rows = self.rows(&q::CONFLICT_TAKE, taken).await?;
        for row in rows {
            let one = conflict(&row)?;
            let place = conflict_place(event, &one.digest);
            let payload = match self.opened_some(&place, one.payload).await? {
                Some(open) => {
                    let sealed = self.blob_sealed(place, tenant, open, one.last_at);
                    Some(sealed.await?)
                }
                None => None,
            };
            let payload = payload.as_ref();
            let params = values![
                tenant,
                event,
                one.digest.to_vec(),
                one.receipt,
                one.first_at,
                one.last_at,
                one.times,
                one.payload_bytes,
                payload.map(|payload| payload.zstd),
                payload.map(|payload| &payload.bytes[..]),
            ];
            self.execute(&q::CONFLICT_GIVE, params).await?;
        }
        Ok(())
    }
}

/// Where such content stands.
pub(crate) fn conflict_place(event: EventId, digest: &[u8]) -> Place {
    let part = digest.first_chunk().copied().unwrap_or_default();
    Place::new(Column::Conflict, event.uuid()).part(i32::from_be_bytes(part))
}

/// How often events came again with other content.
pub(crate) fn conflicts_count(tenant: TenantId, events: &[EventId]) -> Built {
    let mut built = Built::new(
        "SELECT c.event_id, CAST(sum(c.times) AS bigint) FROM event_conflict AS c WHERE c.tenant_id = $1",
        vec![tenant.into()],
    );
    built
        .bind_list(" AND c.event_id IN", events.iter().copied())
        .push(" GROUP BY c.event_id");
    built
}

/// Removes what came again of these events.
pub(crate) fn conflicts_remove(tenant: TenantId, events: &[EventId]) -> Built {
    let mut built = Built::new(
        "DELETE FROM event_conflict WHERE tenant_id = $1",
        vec![tenant.into()],
    );
    built.bind_list(" AND event_id IN", events.iter().copied());
    built
}

fn conflict(row: &Row) -> StoreResult<Conflict> {
    let digest: Vec<u8> = row.get(0)?;
    Ok(Conflict {
        digest: digest
            .try_into()
            .map_err(|_| StoreError::Corrupt("the digest of a conflict is none".into()))?,
        receipt: row.get(1)?,
        first_at: row.get(2)?,
        last_at: row.get(3)?,
        times: row.get(4)?,
        payload_bytes: row.get(5)?,
        payload: blob_some(row, 6)?,
    })
}
