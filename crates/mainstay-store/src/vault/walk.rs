//! The walk over everything that can be sealed: step by step, table by table, each in the order of its key.
//!
//! A value that is sealed with the keys of now stays. Any other is opened and sealed with the keys of now of the same
//! tenants. What is written must still be what was read: whoever changed it meanwhile sealed it as well.

use std::sync::Arc;

use mainstay_domain::{
    EventId, StoreError, StoreResult, TenantId, Timestamp,
    intake::Blob,
    vault::{
        Column, DataKey, Known, Place, RowKey, SEALED, SealedHead, Vault, Walked, is_sealed,
        is_sealed_text,
    },
};
use uuid::Uuid;

use super::queries as q;
use crate::{
    intake::{blob, blob_some, conflicts::conflict_place},
    sql::{Row, Sql, Value},
    tx::SqlTx,
    verbs::values,
};

/// What became of one value.
enum Turned {
    /// It is sealed as it should be.
    Stays,
    /// To be written.
    Sealed(Blob),
    /// It cannot be opened.
    Unreadable,
}

impl SqlTx<'_> {
    pub(super) async fn sealed_walk(
        &mut self,
        table: usize,
        after: RowKey,
        at: Timestamp,
        limit: i64,
    ) -> StoreResult<Option<Walked>> {
        let (first, second, third) = (
            Uuid::from_bytes(after.first),
            Uuid::from_bytes(after.second),
            after.third,
        );
        let both = values![first, second, limit];
        let one = values![second, limit];
        let rows = match table {
            0 => self.rows(&q::WALK_SECRET, one).await?,
            1 => self.rows(&q::WALK_ENDPOINT, both).await?,
            2 => self.rows(&q::WALK_EVENT, both).await?,
            3 => self.rows(&q::WALK_WAITING, one).await?,
            4 => self.rows(&q::WALK_RECEIPT, one).await?,
            5 => self.rows(&q::WALK_JOB, both).await?,
            6 => {
                let all = values![first, second, third, limit];
                self.rows(&q::WALK_ATTEMPT, all).await?
            }
            7 => self.rows(&q::WALK_CONFLICT, both).await?,
            8 => self.rows(&q::WALK_RUN, both).await?,
            _ => return Ok(None),
        };
        let mut walked = Walked {
            looked: rows.len() as i64,
            ..Walked::default()
        };
        for row in &rows {
            match table {
                0 => self.walk_secret(row, at, &mut walked).await?,
                1 => self.walk_endpoint(row, at, &mut walked).await?,
                2 => self.walk_event(row, at, &mut walked).await?,
                3 => self.walk_waiting(row, at, &mut walked).await?,
                4 => self.walk_receipt(row, at, &mut walked).await?,
                5 => self.walk_job(row, at, &mut walked).await?,
                6 => self.walk_attempt(row, at, &mut walked).await?,
                7 => self.walk_conflict(row, at, &mut walked).await?,
                _ => self.walk_run(row, at, &mut walked).await?,
            }
        }
        // What is not full was the last of its table.
        if let Some(row) = rows.last().filter(|_| rows.len() as i64 >= limit) {
            walked.last = Some(RowKey {
                first: *row.get::<Option<Uuid>>(0)?.unwrap_or_default().as_bytes(),
                second: *row.get::<Uuid>(1)?.as_bytes(),
                third: row.get(2)?,
            });
        }
        Ok(Some(walked))
    }

    async fn walk_secret(
        &mut self,
        row: &Row,
        at: Timestamp,
        walked: &mut Walked,
    ) -> StoreResult<()> {
        let (tenant, id): (TenantId, Uuid) = (row.get(0)?, row.get(1)?);
        let place = Place::new(Column::SourceSecret, id);
        let keys = values![tenant, id];
        self.text(&q::WALK_SECRET_SET, keys, (row, 3), place, at, walked)
            .await
    }

    async fn walk_endpoint(
        &mut self,
        row: &Row,
        at: Timestamp,
        walked: &mut Walked,
    ) -> StoreResult<()> {
        let (tenant, id): (TenantId, Uuid) = (row.get(0)?, row.get(1)?);
        let keys = values![tenant, id];
        let place = Place::new(Column::EndpointSecrets, id);
        self.text(&q::WALK_ENDPOINT_SECRETS, keys, (row, 3), place, at, walked)
            .await?;
        let place = Place::new(Column::EndpointHeaders, id);
        self.text(&q::WALK_ENDPOINT_HEADERS, keys, (row, 4), place, at, walked)
            .await
    }

    async fn walk_event(
        &mut self,
        row: &Row,
        at: Timestamp,
        walked: &mut Walked,
    ) -> StoreResult<()> {
        let (tenant, id): (TenantId, Uuid) = (row.get(0)?, row.get(1)?);
        let keys = values![tenant, id];
        let place = Place::new(Column::Body, id).of(tenant);
        let payload = Some(blob(row, 3)?);
        self.blob(
            &q::WALK_EVENT_PAYLOAD,
            keys,
            payload,
            (tenant, place),
            at,
            walked,
        )
        .await?;
        let place = Place::new(Column::Headers, row.get(7)?);
        let headers = blob_some(row, 5)?;
        self.blob(
            &q::WALK_EVENT_HEADERS,
            keys,
            headers,
            (tenant, place),
            at,
            walked,
        )
        .await
    }

    async fn walk_waiting(
        &mut self,
        row: &Row,
        at: Timestamp,
        walked: &mut Walked,
    ) -> StoreResult<()> {
        let id: Uuid = row.get(1)?;
        let place = Place::new(Column::Body, id);
        let (keys, nobody) = (values![id], TenantId::NIL);
        let payload = Some(blob(row, 3)?);
        self.blob(
            &q::WALK_WAITING_PAYLOAD,
            keys,
            payload,
            (nobody, place),
            at,
            walked,
        )
        .await
    }

    async fn walk_receipt(
        &mut self,
        row: &Row,
        at: Timestamp,
        walked: &mut Walked,
    ) -> StoreResult<()> {
        let tenant = row.get::<Option<TenantId>>(0)?.unwrap_or(TenantId::NIL);
        let id: Uuid = row.get(1)?;
        let keys = values![id];
        let (headers, body) = (Some(blob(row, 3)?), blob_some(row, 5)?);
        let place = Place::new(Column::Headers, id);
        self.blob(
            &q::WALK_RECEIPT_HEADERS,
            keys,
            headers,
            (tenant, place),
            at,
            walked,
        )
        .await?;
        let place = Place::new(Column::Body, id);
        self.blob(
            &q::WALK_RECEIPT_BODY,
            keys,
            body,
            (tenant, place),
            at,
            walked,
        )
        .await
    }

    async fn walk_job(&mut self, row: &Row, at: Timestamp, walked: &mut Walked) -> StoreResult<()> {
        let (tenant, id): (TenantId, Uuid) = (row.get(0)?, row.get(1)?);
        let Some(bytes) = row.get::<Option<Vec<u8>>>(3)? else {
            return Ok(());
        };
        // What a rule gave to a job of an event is configuration.
        if row.get::<Option<Uuid>>(4)?.is_some() {
            return Ok(());
        }
        let place = Place::new(Column::JobPayload, id).of(tenant);
        let kept = Blob {
            zstd: bytes.first() == Some(&SEALED),
            bytes: bytes.into(),
        };
        match self.turned(place, tenant, &kept, at).await? {
            Turned::Sealed(sealed) => {
                let params = values![tenant, id, &sealed.bytes[..], &kept.bytes[..]];
                let written = self.changed(&q::WALK_JOB_PAYLOAD, params).await?;
                walked.sealed += i64::from(written);
            }
            Turned::Unreadable => walked.unreadable += 1,
            Turned::Stays => {}
        }
        Ok(())
    }

    async fn walk_attempt(
        &mut self,
        row: &Row,
        at: Timestamp,
        walked: &mut Walked,
    ) -> StoreResult<()> {
        let (tenant, job, attempt): (TenantId, Uuid, i32) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let place = Place::new(Column::Exchange, job).part(attempt).of(tenant);
        let keys = values![tenant, job, attempt];
        self.text(&q::WALK_ATTEMPT_EXCHANGE, keys, (row, 3), place, at, walked)
            .await
    }

    async fn walk_conflict(
        &mut self,
        row: &Row,
        at: Timestamp,
        walked: &mut Walked,
    ) -> StoreResult<()> {
        let (tenant, event): (TenantId, EventId) = (row.get(0)?, row.get(1)?);
        let digest: Vec<u8> = row.get(3)?;
        let place = conflict_place(event, &digest).of(tenant);
        let keys = values![tenant, event, digest];
        let payload = blob_some(row, 4)?;
        self.blob(
            &q::WALK_CONFLICT_PAYLOAD,
            keys,
            payload,
            (tenant, place),
            at,
            walked,
        )
        .await
    }

    async fn walk_run(&mut self, row: &Row, at: Timestamp, walked: &mut Walked) -> StoreResult<()> {
        let (tenant, id): (TenantId, Uuid) = (row.get(0)?, row.get(1)?);
        let place = Place::new(Column::SagaRun, id);
        let keys = values![tenant, id];
        self.text(&q::WALK_RUN_DATA, keys, (row, 3), place, at, walked)
            .await
    }

    /// A text; the statement's parameters are the row's key, the text and what was read.
    async fn text(
        &mut self,
        set: &'static Sql,
        keys: &[Value],
        (row, column): (&Row, usize),
        place: Place,
        at: Timestamp,
        walked: &mut Walked,
    ) -> StoreResult<()> {
        let Some(text) = row.get::<Option<String>>(column)? else {
            return Ok(());
        };
        let kept = match is_sealed_text(&text) {
            true => Vault::text_blob(&text)?,
            false => Blob {
                zstd: false,
                bytes: text.clone().into(),
            },
        };
        let tenant: TenantId = row.get(0)?;
        match self.turned(place, tenant, &kept, at).await? {
            Turned::Sealed(sealed) => {
                let mut params = keys.to_vec();
                params.extend([Vault::blob_text(&sealed).into(), text.into()]);
                walked.sealed += i64::from(self.changed(set, &params).await?);
            }
            Turned::Unreadable => walked.unreadable += 1,
            Turned::Stays => {}
        }
        Ok(())
    }

    /// Bytes with their flag; the statement's parameters are the row's key, flag, bytes and the bytes that were read.
    async fn blob(
        &mut self,
        set: &'static Sql,
        keys: &[Value],
        kept: Option<Blob>,
        (tenant, place): (TenantId, Place),
        at: Timestamp,
        walked: &mut Walked,
    ) -> StoreResult<()> {
        let Some(kept) = kept else { return Ok(()) };
        match self.turned(place, tenant, &kept, at).await? {
            Turned::Sealed(sealed) => {
                let mut params = keys.to_vec();
                params.extend_from_slice(values![sealed.zstd, &sealed.bytes[..], &kept.bytes[..]]);
                walked.sealed += i64::from(self.changed(set, &params).await?);
            }
            Turned::Unreadable => walked.unreadable += 1,
            Turned::Stays => {}
        }
        Ok(())
    }

    /// The value sealed with the keys of now: of the tenants that it was sealed for, or where it was not, of this one.
    async fn turned(
        &mut self,
        place: Place,
        tenant: TenantId,
        kept: &Blob,
        at: Timestamp,
    ) -> StoreResult<Turned> {
        let mut owners: Vec<TenantId> = Vec::new();
        let (mut inside, mut stays) = (kept.clone(), true);
        while is_sealed(&inside) {
            let (head, _) = SealedHead::read(&inside.bytes)?;
            let key: Arc<DataKey> = match self.key_numbered(head.number).await? {
                Some(Known::Key(key)) => key,
                Some(Known::Destroyed) | None => return Ok(Turned::Unreadable),
            };
            let now = self.key_of(key.tenant(), at).await?;
            stays &= now.is_none_or(|now| now.number() == key.number());
            owners.push(key.tenant());
            inside = match key.open(&place, &inside.bytes) {
                Ok(inside) => inside,
                Err(error) => {
                    tracing::error!(column = ?place.column, row = %place.id, %error, "a value cannot be opened");
                    return Ok(Turned::Unreadable);
                }
            };
        }
        if owners.is_empty() {
            owners.push(tenant);
        } else if stays {
            return Ok(Turned::Stays);
        }
        // The same seals around it as before, the innermost first.
        for owner in owners.iter().rev() {
            let key = self.key_of(*owner, at).await?;
            let key =
                key.ok_or_else(|| StoreError::Bug("nothing is sealed without a key".into()))?;
            inside = key.seal(&place, &inside)?;
        }
        Ok(Turned::Sealed(inside))
    }
}
