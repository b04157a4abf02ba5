//! Access: tenants, users, keys, sessions, the audit log, and writes that are safe to repeat.

pub(crate) mod audit;
pub(crate) mod queries;

use async_trait::async_trait;
use mainstay_domain::{
    KeyId, StoreError, StoreResult, TenantId, Timestamp, UserId,
    access::{
        AccessTx, ApiKey, AuditEntry, AuditFilter, Head, IdempotentWrite, RateOverride, Role,
        Sealed, Session, Tenant, Unsealed, User,
    },
    vault::{Column, Place},
};
use uuid::Uuid;

use crate::{
    sql::Row,
    tx::SqlTx,
    verbs::{bounded, reference, unknown, values},
};
use queries as q;

/// How long an idempotent write is remembered.
const IDEMPOTENT_KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

#[async_trait]
impl AccessTx for SqlTx<'_> {
    async fn tenant_insert(&mut self, tenant: &Tenant) -> StoreResult<()> {
        self.system()?;
        let params = values![tenant.id, &*tenant.name, &*tenant.slug, tenant.created_at];
        // A source may go by its slug or id: what is appended from now on was looked for with it.
        self.config_bump().await?;
        self.execute(&q::TENANT_INSERT, params).await?;
        self.waiting_due_tenant(tenant.id, &tenant.slug).await
    }

    async fn tenant_delete(&mut self, id: TenantId) -> StoreResult<bool> {
        self.system()?;
        self.config_bump().await?;
        reference(self.changed(&q::TENANT_DELETE, values![id]).await, "tenant")
    }

    async fn tenant_list(&mut self) -> StoreResult<Vec<Tenant>> {
        let mut tenants = match self.scope.tenant() {
            Some(own) => self.list(&q::TENANT_OWN, values![own], tenant).await?,
            None => self.list(&q::TENANT_LIST, &[], tenant).await?,
        };
        // Here, because databases sort text by rules of their own.
        tenants.sort_by(|a, b| a.slug.cmp(&b.slug));
        Ok(tenants)
    }

    async fn user_insert(&mut self, user: &User) -> StoreResult<()> {
        self.system()?;
        let params = values![
            user.id,
            &*user.email,
            user.role.as_str(),
            user.password_hash.as_deref(),
            user.created_at,
            user.last_seen_at,
        ];
        self.execute(&q::USER_INSERT, params).await.map(|_| ())
    }

    async fn user_update(&mut self, user: &User) -> StoreResult<bool> {
        self.system()?;
        let params = values![user.id, user.role.as_str(), user.password_hash.as_deref()];
        self.changed(&q::USER_UPDATE, params).await
    }

    async fn user_delete(&mut self, id: UserId) -> StoreResult<bool> {
        self.system()?;
        self.changed(&q::USER_DELETE, values![id]).await
    }

    async fn user_list(&mut self) -> StoreResult<Vec<User>> {
        self.system()?;
        let mut users = self.list(&q::USER_LIST, &[], |row| user(row, 0)).await?;
        users.sort_by(|a, b| a.email.cmp(&b.email));
        Ok(users)
    }

    async fn user_owners_hold(&mut self) -> StoreResult<()> {
        self.system()?;
        let owner = values![Role::Owner.as_str()];
        self.execute(&q::USER_OWNERS_HOLD, owner).await.map(|_| ())
    }

    async fn user_by_email(&mut self, email: &str) -> StoreResult<Option<User>> {
        self.system()?;
        self.first(&q::USER_BY_EMAIL, values![email], |row| user(row, 0))
            .await
    }

    async fn key_insert(&mut self, key: &ApiKey) -> StoreResult<()> {
        self.system()?;
        let params = values![
            key.id,
            &*key.name,
            key.role.as_str(),
            key.tenant,
            &key.digest[..],
            key.created_at,
            key.expires_at,
            key.last_used_at,
            limits_text(&key.limits)?,
        ];
        reference(self.execute(&q::KEY_INSERT, params).await, "key").map(|_| ())
    }

    async fn key_delete(&mut self, id: KeyId) -> StoreResult<bool> {
        self.system()?;
        self.changed(&q::KEY_DELETE, values![id]).await
    }

    async fn key_list(&mut self) -> StoreResult<Vec<ApiKey>> {
        self.system()?;
        self.list(&q::KEY_LIST, &[], key).await
    }

    async fn key_get(&mut self, id: KeyId) -> StoreResult<Option<ApiKey>> {
        self.system()?;
        self.first(&q::KEY_GET, values![id], key).await
    }

    async fn key_limit(
        &mut self,
        id: KeyId,
        old: &[RateOverride],
        new: &[RateOverride],
    ) -> StoreResult<bool> {
        self.system()?;
        let params = values![id, limits_text(old)?, limits_text(new)?];
        self.changed(&q::KEY_LIMIT, params).await
    }

    async fn key_touch(&mut self, id: KeyId, at: Timestamp) -> StoreResult<()> {
        self.system()?;
        self.execute(&q::KEY_TOUCH, values![id, at])
            .await
            .map(|_| ())
    }

    async fn session_insert(&mut self, session: &Session) -> StoreResult<()> {
        self.system()?;
        let params = values![
            session.id,
            session.user,
            &session.digest[..],
            session.link,
            session.created_at,
            session.expires_at,
        ];
        reference(self.execute(&q::SESSION_INSERT, params).await, "session").map(|_| ())
    }

    async fn session_get(
        &mut self,
        digest: &[u8; 32],
        now: Timestamp,
    ) -> StoreResult<Option<(Session, User)>> {
        self.system()?;
        let read = |row: &Row| Ok((session(row)?, user(row, 6)?));
        self.first(&q::SESSION_GET, values![&digest[..], false, now], read)
            .await
    }

    async fn session_link_take(
        &mut self,
        digest: &[u8; 32],
        now: Timestamp,
    ) -> StoreResult<Option<Session>> {
        self.system()?;
        let taken = self
            .first(&q::SESSION_LINK_TAKE, values![&digest[..], true], session)
            .await?;
        // One that has expired is gone with it.
        Ok(taken.filter(|link| link.expires_at > now))
    }

    async fn session_delete(&mut self, digest: &[u8; 32]) -> StoreResult<bool> {
        self.system()?;
        self.changed(&q::SESSION_DELETE, values![&digest[..]]).await
    }

    async fn session_end_all(&mut self, user: UserId) -> StoreResult<i64> {
        self.system()?;
        let ended = self.execute(&q::SESSION_END_ALL, values![user]).await?;
        Ok(ended as i64)
    }

    async fn access_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64> {
        self.system()?;
        let limit = bounded(limit);
        let sessions = self
            .execute(&q::SESSION_EXPIRE, values![until, limit])
            .await? as i64;
        let forgotten = until.minus_ms(IDEMPOTENT_KEPT_MS);
        let left = values![forgotten, limit - sessions];
        let writes = self.execute(&q::IDEMPOTENCY_EXPIRE, left).await? as i64;
        Ok(sessions + writes)
    }

    async fn user_touch(&mut self, id: UserId, at: Timestamp) -> StoreResult<()> {
        self.system()?;
        self.execute(&q::USER_TOUCH, values![id, at])
            .await
            .map(|_| ())
    }

    async fn audit_insert(&mut self, entry: &AuditEntry) -> StoreResult<()> {
        let sql = match self.scope.tenant() {
            Some(own) if entry.tenant != Some(own) => return Err(StoreError::OutOfScope),
            Some(_) => &q::AUDIT_INSERT_OWN,
            None => &q::AUDIT_INSERT,
        };
        let params = values![
            entry.id,
            entry.at,
            &*entry.actor,
            &*entry.action,
            &*entry.subject,
            entry.detail.as_deref(),
            entry.tenant,
        ];
        self.execute(sql, params).await.map(|_| ())
    }

    async fn audit_list(
        &mut self,
        filter: &AuditFilter,
        limit: i64,
    ) -> StoreResult<Vec<(AuditEntry, Option<i64>)>> {
        self.audit_page(filter, limit).await
    }

    async fn audit_head(&mut self) -> StoreResult<Head> {
        self.head().await
    }

    async fn audit_unsealed(&mut self, limit: i64) -> StoreResult<Vec<Unsealed>> {
        self.unsealed(limit).await
    }

    async fn audit_seal(
        &mut self,
        from: &Head,
        entries: &[Sealed],
        at: Timestamp,
    ) -> StoreResult<()> {
        self.seal(from, entries, at).await
    }

    async fn audit_chain(&mut self, after: i64, limit: i64) -> StoreResult<Vec<Sealed>> {
        self.chain(after, limit).await
    }

    async fn idempotency_get(
        &mut self,
        caller: &str,
        key: &str,
    ) -> StoreResult<Option<IdempotentWrite>> {
        let found = match self.scope.tenant() {
            Some(own) => {
                let params = values![own, caller, key];
                self.first(&q::IDEMPOTENCY_GET_OWN, params, idempotent)
                    .await?
            }
            None => {
                self.first(&q::IDEMPOTENCY_GET, values![caller, key], idempotent)
                    .await?
            }
        };
        let Some(mut write) = found else {
            return Ok(None);
        };
        if let Some((status, body)) = write.answer.take() {
            let body = self.opened_text(answer_place(caller, key), body).await?;
            write.answer = body.map(|body| (status, body));
        }
        Ok(Some(write))
    }

    async fn idempotency_insert(&mut self, write: &IdempotentWrite) -> StoreResult<()> {
        let (status, body) = write.answer.clone().unzip();
        let body = match body {
            // With the key of nobody's data, which lasts: what is remembered for a day is not sealed again.
            Some(body) => {
                let place = answer_place(&write.caller, &write.key);
                let at = write.created_at;
                Some(self.sealed_text(place, TenantId::NIL, &body, at).await?)
            }
            None => None,
        };
        let params = values![
            &*write.caller,
            &*write.key,
            &write.request[..],
            status,
            body,
            write.created_at,
            self.scope.tenant(),
        ];
        match self.changed(&q::IDEMPOTENCY_INSERT, params).await? {
            true => Ok(()),
            false => Err(StoreError::Conflict {
                what: "idempotency key",
            }),
        }
    }
}

/// Where the answer to a repeatable write stands.
fn answer_place(caller: &str, key: &str) -> Place {
    let both = [caller.as_bytes(), key.as_bytes()].join(&0);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &both);
    let mut id = [0; 16];
    id.copy_from_slice(&digest.as_ref()[..16]);
    Place::new(Column::Idempotency, Uuid::from_bytes(id))
}

fn tenant(row: &Row) -> StoreResult<Tenant> {
    Ok(Tenant {
        id: row.get(0)?,
        name: row.get(1)?,
        slug: row.get(2)?,
        created_at: row.get(3)?,
    })
}

fn role(row: &Row, column: usize) -> StoreResult<Role> {
    Role::from_name(&row.get::<String>(column)?).ok_or_else(|| unknown(column))
}

fn user(row: &Row, first: usize) -> StoreResult<User> {
    Ok(User {
        id: row.get(first)?,
        email: row.get(first + 1)?,
        role: role(row, first + 2)?,
        password_hash: row.get(first + 3)?,
        created_at: row.get(first + 4)?,
        last_seen_at: row.get(first + 5)?,
    })
}

fn bytes<const N: usize>(row: &Row, column: usize) -> StoreResult<[u8; N]> {
    row.get::<Vec<u8>>(column)?
        .try_into()
        .map_err(|_| unknown(column))
}

fn limits_text(limits: &[RateOverride]) -> StoreResult<String> {
    serde_json::to_string(limits).map_err(|error| StoreError::Bug(error.to_string()))
}

fn limits(row: &Row, column: usize) -> StoreResult<Vec<RateOverride>> {
    serde_json::from_str(&row.get::<String>(column)?).map_err(|_| unknown(column))
}

fn key(row: &Row) -> StoreResult<ApiKey> {
    Ok(ApiKey {
        id: row.get(0)?,
        name: row.get(1)?,
        role: role(row, 2)?,
        tenant: row.get(3)?,
        digest: bytes(row, 4)?,
        created_at: row.get(5)?,
        expires_at: row.get(6)?,
        last_used_at: row.get(7)?,
        limits: limits(row, 8)?,
    })
}

fn session(row: &Row) -> StoreResult<Session> {
    Ok(Session {
        id: row.get(0)?,
        user: row.get(1)?,
        digest: bytes(row, 2)?,
        link: row.get(3)?,
        created_at: row.get(4)?,
        expires_at: row.get(5)?,
    })
}

fn idempotent(row: &Row) -> StoreResult<IdempotentWrite> {
    let (status, body) = (row.get::<Option<i32>>(3)?, row.get::<Option<String>>(4)?);
    Ok(IdempotentWrite {
        caller: row.get(0)?,
        key: row.get(1)?,
        request: bytes(row, 2)?,
        answer: status.zip(body),
        created_at: row.get(5)?,
    })
}
