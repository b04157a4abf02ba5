//! Data keys, and how values are sealed and opened inside a transaction.
//!
//! What comes in with webhooks is sealed before it gets here, on the request's own thread. What is small and rare is
//! sealed here: secrets, headers, jobs' payloads. Whatever is read is opened here, but for the bodies of jobs, which
//! whoever carries them out opens.

pub(crate) mod queries;
mod walk;

use std::sync::Arc;

use async_trait::async_trait;
use mainstay_domain::{
    StoreError, StoreResult, TenantId, Timestamp,
    intake::{Arrival, Blob, Receipt},
    vault::{
        Column, DataKey, DataKeyRow, KeySummary, Known, MasterId, Place, Rotation, RowKey, SEALED,
        SealedHead, Vault, VaultState, VaultTx, Walked, is_sealed, is_sealed_text,
    },
};
use queries as q;
use uuid::Uuid;

use crate::{
    sql::Row,
    tx::{Dialect, SqlTx},
    verbs::{bounded, values},
};

/// How often two that make keys at the same time may get in each other's way.
const MAKE_TRIES: usize = 16;

#[async_trait]
impl VaultTx for SqlTx<'_> {
    async fn data_key_ensure(
        &mut self,
        tenant: TenantId,
        at: Timestamp,
    ) -> StoreResult<Option<DataKeyRow>> {
        self.scope.admit(tenant)?;
        self.key_row(tenant, at).await
    }

    async fn blob_open(&mut self, place: &Place, blob: Blob) -> StoreResult<Blob> {
        self.opened(place, blob).await
    }

    async fn data_key_list(
        &mut self,
        tenant: Option<TenantId>,
        after: i32,
        limit: i64,
    ) -> StoreResult<Vec<DataKeyRow>> {
        self.system()?;
        let limit = bounded(limit);
        match tenant {
            Some(tenant) => {
                let params = values![tenant, after, limit];
                self.list(&q::KEY_LIST_OF, params, key).await
            }
            None => self.list(&q::KEY_LIST, values![after, limit], key).await,
        }
    }

    async fn data_key_masters(&mut self) -> StoreResult<Vec<KeySummary>> {
        self.system()?;
        self.list(&q::KEY_MASTERS, &[], |row| {
            Ok(KeySummary {
                master: master(row, 0)?,
                current: row.get(1)?,
                retired: row.get(2)?,
            })
        })
        .await
    }

    async fn data_key_rewrap(&mut self, limit: i64) -> StoreResult<i64> {
        self.system()?;
        let vault = Arc::clone(&self.vault);
        let Some(newest) = vault.masters().first().copied() else {
            return Ok(0);
        };
        let params = values![&newest.0[..], bounded(limit)];
        let rows = self.list(&q::KEY_OF_OTHERS, params, key).await?;
        let mut count = 0;
        for row in rows {
            let Some((wrapped, by)) = vault.rewrap(&row)? else {
                continue;
            };
            let params = values![row.number, wrapped, &by.0[..], &row.master.0[..]];
            count += i64::from(self.changed(&q::KEY_REWRAP, params).await?);
        }
        Ok(count)
    }

    async fn data_key_retire(&mut self, at: Timestamp) -> StoreResult<i64> {
        self.system()?;
        self.keys_changed().await?;
        let retired = self.execute(&q::KEY_RETIRE, values![at]).await?;
        Ok(retired as i64)
    }

    async fn data_key_destroy(&mut self, tenant: TenantId, at: Timestamp) -> StoreResult<i64> {
        self.system()?;
        self.keys_changed().await?;
        self.overwriting(true).await?;
        let blank = vec![0_u8; WRAPPED_LEN];
        self.execute(&q::KEY_BLANK, values![tenant, blank]).await?;
        let destroyed = self.execute(&q::KEY_DESTROY, values![tenant, at]).await?;
        // Answers that are kept for a day are sealed with the key of nobody's data.
        self.execute(&q::IDEMPOTENCY_FORGET, values![tenant])
            .await?;
        self.overwriting(false).await?;
        Ok(destroyed as i64)
    }

    async fn data_key_remove(&mut self, until: Timestamp, at: Timestamp) -> StoreResult<i64> {
        self.system()?;
        self.keys_changed().await?;
        let params = values![until, TenantId::NIL, at];
        Ok(self.execute(&q::KEY_REMOVE, params).await? as i64)
    }

    async fn vault_state(&mut self) -> StoreResult<VaultState> {
        let read = |row: &Row| {
            let rotation = row.get::<Option<String>>(2)?;
            let rotation = rotation.map(|text| serde_json::from_str(&text)).transpose();
            Ok(VaultState {
                changes: row.get(0)?,
                revision: row.get(1)?,
                whole: row.get(3)?,
                rotation: rotation.map_err(|error| {
                    StoreError::Corrupt(format!("a rotation cannot be read: {error}"))
                })?,
            })
        };
        let state = self.first(&q::STATE_GET, &[], read).await?;
        Ok(state.unwrap_or_default())
    }

    async fn vault_whole(&mut self, at_start: bool) -> StoreResult<()> {
        self.system()?;
        let text = match at_start {
            true => &q::STATE_WHOLE_AT_START,
            false => &q::STATE_WHOLE,
        };
        self.execute(text, &[]).await.map(|_| ())
    }

    async fn rotation_save(&mut self, revision: i64, rotation: &Rotation) -> StoreResult<()> {
        self.system()?;
        let text = serde_json::to_string(rotation);
        let text = text.map_err(|error| StoreError::Bug(error.to_string()))?;
        let params = values![revision, text];
        match self.changed(&q::STATE_ROTATE, params).await? {
            true => Ok(()),
            false => Err(StoreError::Conflict { what: "rotation" }),
        }
    }

    async fn vault_walk(
        &mut self,
        table: usize,
        after: Option<RowKey>,
        at: Timestamp,
        limit: i64,
    ) -> StoreResult<Option<Walked>> {
        self.system()?;
        self.overwriting(true).await?;
        let walked = self
            .sealed_walk(table, after.unwrap_or_default(), at, bounded(limit))
            .await;
        self.overwriting(false).await?;
        walked
    }
}

/// Nonce, key and tag.
const WRAPPED_LEN: usize = 12 + 32 + 16;

impl SqlTx<'_> {
    /// What is held elsewhere is not to be used any more: neither to seal, since appends are made with the configuration
    /// of now, nor for long to open.
    async fn keys_changed(&mut self) -> StoreResult<()> {
        self.config_bump().await?;
        self.execute(&q::STATE_CHANGED, &[]).await.map(|_| ())
    }

    /// On SQLite: whether what is replaced is overwritten in its page, too. On PostgreSQL it goes with the next VACUUM.
    async fn overwriting(&mut self, on: bool) -> StoreResult<()> {
        if let Dialect::Sqlite(_) = &self.conn {
            let text = match on {
                true => "PRAGMA secure_delete = ON",
                false => "PRAGMA secure_delete = OFF",
            };
            self.conn().query_built(text, &[]).await?;
        }
        Ok(())
    }

    /// The tenant's row of now, made where there is none.
    async fn key_row(
        &mut self,
        tenant: TenantId,
        at: Timestamp,
    ) -> StoreResult<Option<DataKeyRow>> {
        for _ in 0..MAKE_TRIES {
            let found = self.first(&q::KEY_CURRENT, values![tenant], key).await?;
            if found.is_some() {
                return Ok(found);
            }
            let number = Vault::number()?;
            let Some((wrapped, by)) = self.vault.make(tenant, number)? else {
                return Ok(None);
            };
            let params = values![tenant, number, wrapped, &by.0[..], at];
            self.execute(&q::KEY_INSERT, params).await?;
        }
        Err(StoreError::Bug("a data key could not be made".into()))
    }

    /// The key that this tenant's values are sealed with; `None` while the vault is off. One that is not at hand is not
    /// taken in here: this transaction may have made it, and may come to nothing.
    pub(crate) async fn key_of(
        &mut self,
        tenant: TenantId,
        at: Timestamp,
    ) -> StoreResult<Option<Arc<DataKey>>> {
        if !self.vault.on() {
            return Ok(None);
        }
        if let Some(key) = self.keys.iter().find(|key| key.tenant() == tenant) {
            return Ok(Some(Arc::clone(key)));
        }
        if let Some(key) = self.vault.current(tenant) {
            return Ok(Some(key));
        }
        let Some(row) = self.key_row(tenant, at).await? else {
            return Ok(None);
        };
        match self.vault.unwrapped(&row)? {
            Known::Key(key) => {
                self.keys.push(Arc::clone(&key));
                Ok(Some(key))
            }
            Known::Destroyed => Err(StoreError::Erased),
        }
    }

    /// The data key of this number. `None`: the scope holds none.
    async fn key_numbered(&mut self, number: i32) -> StoreResult<Option<Known>> {
        if let Some(key) = self.keys.iter().find(|key| key.number() == number) {
            return Ok(Some(Known::Key(Arc::clone(key))));
        }
        if let Some(known) = self.vault.known(number) {
            return Ok(Some(known));
        }
        let read = |row: &Row| Ok((row.get::<Option<i64>>(7)?, key(row)?));
        let found = match self.scope.tenant() {
            None => self.first(&q::KEY_FIND, values![number], read).await?,
            Some(own) => {
                let mut found = None;
                for tenant in [own, TenantId::NIL] {
                    if found.is_none() {
                        let params = values![tenant, number];
                        found = self.first(&q::KEY_FIND_OWN, params, read).await?;
                    }
                }
                found
            }
        };
        match found {
            Some((changes, row)) => {
                let (known, _) = self.vault.learn(changes.unwrap_or_default(), &row)?;
                Ok(Some(known))
            }
            None => Ok(None),
        }
    }

    /// A value without the seals around it.
    pub(crate) async fn opened(&mut self, place: &Place, mut blob: Blob) -> StoreResult<Blob> {
        while is_sealed(&blob) {
            let (head, _) = SealedHead::read(&blob.bytes)?;
            blob = match self.key_numbered(head.number).await? {
                Some(Known::Key(key)) => key.open(place, &blob.bytes)?,
                Some(Known::Destroyed) => return Ok(Blob::erased()),
                // Of a request that brought others' events as well.
                None if self.scope.tenant().is_some() => return Ok(Blob::erased()),
                None => {
                    return Err(StoreError::Corrupt(format!(
                        "there is no data key {}",
                        head.number
                    )));
                }
            };
        }
        Ok(blob)
    }

    /// The same where there may be nothing.
    pub(crate) async fn opened_some(
        &mut self,
        place: &Place,
        blob: Option<Blob>,
    ) -> StoreResult<Option<Blob>> {
        match blob {
            Some(blob) => self.opened(place, blob).await.map(Some),
            None => Ok(None),
        }
    }

    /// Bytes, sealed with the tenant's key.
    pub(crate) async fn blob_sealed(
        &mut self,
        place: Place,
        tenant: TenantId,
        blob: Blob,
        at: Timestamp,
    ) -> StoreResult<Blob> {
        match self.key_of(tenant, at).await? {
            Some(key) => Ok(key.seal(&place, &blob)?),
            None => Ok(blob),
        }
    }

    /// A text, sealed with the tenant's key.
    pub(crate) async fn sealed_text(
        &mut self,
        place: Place,
        tenant: TenantId,
        text: &str,
        at: Timestamp,
    ) -> StoreResult<String> {
        match self.key_of(tenant, at).await? {
            Some(key) => Ok(key.seal_text(&place, text)?),
            None => Ok(text.to_owned()),
        }
    }

    /// A text, opened. `None`: its key is destroyed.
    pub(crate) async fn opened_text(
        &mut self,
        place: Place,
        text: String,
    ) -> StoreResult<Option<String>> {
        if !is_sealed_text(&text) {
            return Ok(Some(text));
        }
        let blob = self.opened(&place, Vault::text_blob(&text)?).await?;
        if blob.is_erased() {
            return Ok(None);
        }
        let text = String::from_utf8(blob.bytes.to_vec());
        text.map(Some)
            .map_err(|_| StoreError::Corrupt("a sealed text is none".into()))
    }

    /// Bytes of a column that has no flag, sealed: they begin as nothing else does that stands there.
    pub(crate) async fn opened_bytes(
        &mut self,
        place: Place,
        bytes: bytes::Bytes,
    ) -> StoreResult<Option<bytes::Bytes>> {
        if bytes.first() != Some(&SEALED) {
            return Ok(Some(bytes));
        }
        let blob = self.opened(&place, Blob { zstd: true, bytes }).await?;
        Ok((!blob.is_erased()).then_some(blob.bytes))
    }

    /// Requests with their headers opened.
    pub(crate) async fn receipts_opened(
        &mut self,
        mut receipts: Vec<Receipt>,
    ) -> StoreResult<Vec<Receipt>> {
        for receipt in &mut receipts {
            if is_sealed(&receipt.headers) {
                let place = Place::new(Column::Headers, receipt.id.uuid());
                receipt.headers = self.opened(&place, receipt.headers.clone()).await?;
            }
        }
        Ok(receipts)
    }

    /// Arrivals of our own, which the engine makes in its transactions, sealed. Those of webhooks come here sealed.
    pub(crate) async fn arrivals_sealed(
        &mut self,
        arrivals: &[Arrival],
    ) -> StoreResult<Option<Vec<Arrival>>> {
        let open = |arrival: &Arrival| {
            !is_sealed(&arrival.receipt.headers)
                || arrival
                    .events
                    .iter()
                    .any(|event| !is_sealed(&event.payload))
        };
        if !self.vault.on() || !arrivals.iter().any(open) {
            return Ok(None);
        }
        let mut sealed = arrivals.to_vec();
        for arrival in sealed.iter_mut().filter(|one| open(one)) {
            let at = arrival.receipt.received_at;
            for tenant in arrival.owners() {
                self.key_of(tenant, at).await?;
            }
            let keys = &self.keys;
            let vault = &self.vault;
            arrival.seal(|tenant| {
                let own = keys.iter().find(|key| key.tenant() == tenant);
                own.cloned().or_else(|| vault.current(tenant))
            })?;
        }
        Ok(Some(sealed))
    }

    /// Seals a request once more, with the key of a tenant that one of its events was given to: without that key nobody
    /// reads it any more.
    pub(crate) async fn receipt_layered(
        &mut self,
        receipt: Uuid,
        tenant: TenantId,
        at: Timestamp,
    ) -> StoreResult<()> {
        let Some(key) = self.key_of(tenant, at).await? else {
            return Ok(());
        };
        let read = |row: &Row| {
            let blob = crate::intake::blob(row, 1)?;
            Ok((blob, crate::intake::blob_some(row, 3)?))
        };
        let found = self
            .first(&q::LAYER_RECEIPT, values![receipt], read)
            .await?;
        let Some((headers, body)) = found else {
            return Ok(());
        };
        let sealed = key.seal(&Place::new(Column::Headers, receipt), &headers)?;
        let params = values![receipt, sealed.zstd, &sealed.bytes[..], &headers.bytes[..]];
        self.execute(&q::WALK_RECEIPT_HEADERS, params).await?;
        if let Some(body) = body {
            let sealed = key.seal(&Place::new(Column::Body, receipt), &body)?;
            let params = values![receipt, sealed.zstd, &sealed.bytes[..], &body.bytes[..]];
            self.execute(&q::WALK_RECEIPT_BODY, params).await?;
        }
        Ok(())
    }
}

fn master(row: &Row, column: usize) -> StoreResult<MasterId> {
    let bytes: Vec<u8> = row.get(column)?;
    let bytes = bytes.try_into();
    bytes
        .map(MasterId)
        .map_err(|_| StoreError::Corrupt("the id of a master key has 8 bytes".into()))
}

fn key(row: &Row) -> StoreResult<DataKeyRow> {
    Ok(DataKeyRow {
        number: row.get(0)?,
        tenant: row.get(1)?,
        wrapped: row.get(2)?,
        master: master(row, 3)?,
        created_at: row.get(4)?,
        retired_at: row.get(5)?,
        destroyed_at: row.get(6)?,
    })
}
