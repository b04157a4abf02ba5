//! Access: tenants, users, keys, sessions, the audit log, and writes that are safe to repeat.

pub mod chain;
mod rate;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    error::StoreResult,
    id::{AuditId, KeyId, SessionId, TenantId, UserId},
    time::Timestamp,
};

pub use chain::{Head, Sealed, Unsealed};
pub use rate::{RateClass, RateOverride};

/// What somebody may do. Each may do everything that the one before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May look at everything in reach.
    Viewer,
    /// Keeps things going: runs jobs again, cancels, discards, pauses, replays, acknowledges.
    Operator,
    /// Sets things up: sources, endpoints, bindings, schemas, secrets, links.
    Admin,
    /// Says who else may do what: users, keys, tenants; takes the audit log out.
    Owner,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Admin, Self::Owner];

    /// The name in the API and the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The role of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// One customer of the SaaS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// For people.
    pub name: String,
    /// For commands: lower case, unique.
    pub slug: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A person who signs in.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The address, lower case, unique.
    pub email: String,
    /// What the person may do.
    pub role: Role,
    /// The argon2 hash of the password; none: signs in by link only.
    pub password_hash: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the person was last here, to the minute.
    pub last_seen_at: Option<Timestamp>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// An API key. Only a digest of its secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// For people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The one tenant that it reaches; none: all.
    pub tenant: Option<TenantId>,
    /// SHA-256 of the secret.
    pub digest: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// How many requests it may make, where that differs from what all keys may.
    pub limits: Vec<RateOverride>,
}

/// A browser session, or a sign-in link that has not been used yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Who; none for a link to the first owner, who does not exist yet.
    pub user: Option<UserId>,
    /// SHA-256 of the token.
    pub digest: [u8; 32],
    /// Whether it is a link, good for one sign-in.
    pub link: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its id.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Who: `user:anna@example.com`, `key:deploy`, `system:…`.
    pub actor: String,
    /// What: area and verb, e.g. `source.create`.
    pub action: String,
    /// To what: an id or a name.
    pub subject: String,
    /// More, as JSON, without secrets.
    pub detail: Option<String>,
    /// In whose data.
    pub tenant: Option<TenantId>,
}

/// Which entries of the audit log are asked for. Whatever is left out matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// By this actor.
    pub actor: Option<String>,
    /// Of this action, or, where it ends in a dot, of every action that begins so.
    pub action: Option<String>,
    /// About this.
    pub subject: Option<String>,
    /// In this tenant's data.
    pub tenant: Option<TenantId>,
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Older than this entry: the next page.
    pub before: Option<(Timestamp, AuditId)>,
}

/// A write that was sent with an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotentWrite {
    /// Who sent it: the key's or the user's id as text; keys of different callers never meet.
    pub caller: String,
    /// What the caller named it.
    pub key: String,
    /// A digest of method, path and body: the same key with another request is refused.
    pub request: [u8; 16],
    /// The answer, once it was applied: status and body.
    pub answer: Option<(i32, String)>,
    /// When it was first sent.
    pub created_at: Timestamp,
}

/// The store's verbs of access.
#[async_trait]
pub trait AccessTx: Send {
    /// Adds a tenant. Conflict when the slug is taken.
    async fn tenant_insert(&mut self, tenant: &Tenant) -> StoreResult<()>;
    /// Removes a tenant; refused as a reference while it has sources or endpoints.
    async fn tenant_delete(&mut self, id: TenantId) -> StoreResult<bool>;
    /// All tenants in the scope, by slug.
    async fn tenant_list(&mut self) -> StoreResult<Vec<Tenant>>;

    /// Adds a user. Conflict when the address is taken. System scope, like everything about users, keys and sessions.
    async fn user_insert(&mut self, user: &User) -> StoreResult<()>;
    /// Changes role and password.
    async fn user_update(&mut self, user: &User) -> StoreResult<bool>;
    /// Removes a user with their sessions.
    async fn user_delete(&mut self, id: UserId) -> StoreResult<bool>;
    /// All users, by address.
    async fn user_list(&mut self) -> StoreResult<Vec<User>>;
    /// Makes whoever else changes an owner wait until this transaction ends, so that no two of them remove the last two.
    async fn user_owners_hold(&mut self) -> StoreResult<()>;
    /// The user of this address.
    async fn user_by_email(&mut self, email: &str) -> StoreResult<Option<User>>;

    /// Adds a key.
    async fn key_insert(&mut self, key: &ApiKey) -> StoreResult<()>;
    /// Removes a key.
    async fn key_delete(&mut self, id: KeyId) -> StoreResult<bool>;
    /// All keys, newest first.
    async fn key_list(&mut self) -> StoreResult<Vec<ApiKey>>;
    /// One key.
    async fn key_get(&mut self, id: KeyId) -> StoreResult<Option<ApiKey>>;
    /// Says how many requests a key may make, if `old` is what was said before. False: it is not, or there is no such key.
    async fn key_limit(
        &mut self,
        id: KeyId,
        old: &[RateOverride],
        new: &[RateOverride],
    ) -> StoreResult<bool>;
    /// Notes that a key was used.
    async fn key_touch(&mut self, id: KeyId, at: Timestamp) -> StoreResult<()>;

    /// Adds a session or a link.
    async fn session_insert(&mut self, session: &Session) -> StoreResult<()>;
    /// The session (not link) with this digest, with its user, unless it has expired at `now`.
    async fn session_get(
        &mut self,
        digest: &[u8; 32],
        now: Timestamp,
    ) -> StoreResult<Option<(Session, User)>>;
    /// Takes the link with this digest, for good: a second call finds nothing.
    async fn session_link_take(
        &mut self,
        digest: &[u8; 32],
        now: Timestamp,
    ) -> StoreResult<Option<Session>>;
    /// Ends a session.
    async fn session_delete(&mut self, digest: &[u8; 32]) -> StoreResult<bool>;
    /// Ends all sessions and links of a user: their password has changed. Answers how many there were.
    async fn session_end_all(&mut self, user: UserId) -> StoreResult<i64>;
    /// Removes sessions, links and idempotent writes that ended before `until`.
    async fn access_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64>;
    /// Notes that a user was here.
    async fn user_touch(&mut self, id: UserId, at: Timestamp) -> StoreResult<()>;

    /// Writes to the audit log, in the transaction of what it tells.
    async fn audit_insert(&mut self, entry: &AuditEntry) -> StoreResult<()>;
    /// The audit log in the scope, newest first, each with its place in the chain once it has one.
    async fn audit_list(
        &mut self,
        filter: &AuditFilter,
        limit: i64,
    ) -> StoreResult<Vec<(AuditEntry, Option<i64>)>>;
    /// The end of the chain. System scope, like everything about the chain.
    async fn audit_head(&mut self) -> StoreResult<Head>;
    /// Entries that are in no chain yet, oldest first.
    async fn audit_unsealed(&mut self, limit: i64) -> StoreResult<Vec<Unsealed>>;
    /// Puts entries at the end of the chain, all of them or none. Conflict when its end is another than `from`:
    /// somebody else was faster.
    async fn audit_seal(
        &mut self,
        from: &Head,
        entries: &[Sealed],
        at: Timestamp,
    ) -> StoreResult<()>;
    /// Entries of the chain behind this place, in its order.
    async fn audit_chain(&mut self, after: i64, limit: i64) -> StoreResult<Vec<Sealed>>;

    /// The idempotent write of this caller and key.
    async fn idempotency_get(
        &mut self,
        caller: &str,
        key: &str,
    ) -> StoreResult<Option<IdempotentWrite>>;
    /// Records an idempotent write with its answer, in the transaction of its effects. Conflict when it is there.
    async fn idempotency_insert(&mut self, write: &IdempotentWrite) -> StoreResult<()>;
}
