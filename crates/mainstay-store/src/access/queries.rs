//! The statements of access.

use crate::queries;

queries! {
    TENANT_INSERT: System = "INSERT INTO tenant (id, name, slug, created_at) VALUES ($1, $2, $3, $4)";
    TENANT_DELETE: System = "DELETE FROM tenant WHERE id = $1";
    TENANT_LIST: System = "SELECT id, name, slug, created_at FROM tenant";
    TENANT_OWN: Tenant = "SELECT id, name, slug, created_at FROM tenant WHERE id = $1";

    USER_INSERT: Platform = "
        INSERT INTO app_user (id, email, role, password_hash, created_at, last_seen_at) VALUES ($1, $2, $3, $4, $5, $6)";
    USER_UPDATE: Platform = "UPDATE app_user SET role = $2, password_hash = $3 WHERE id = $1";
    USER_DELETE: Platform = "DELETE FROM app_user WHERE id = $1";
    USER_LIST: Platform = "SELECT id, email, role, password_hash, created_at, last_seen_at FROM app_user";
    /// Changes nothing, and locks their rows on PostgreSQL. On SQLite there is one writer at a time anyway.
    USER_OWNERS_HOLD: Platform = "UPDATE app_user SET role = role WHERE role = $1";
    USER_BY_EMAIL: Platform = "
        SELECT id, email, role, password_hash, created_at, last_seen_at FROM app_user WHERE email = $1";
    USER_TOUCH: Platform = "
        UPDATE app_user SET last_seen_at = $2 WHERE id = $1 AND (last_seen_at IS NULL OR last_seen_at < $2)";

    KEY_INSERT: System = "
        INSERT INTO api_key (id, name, role, tenant_id, digest, created_at, expires_at, last_used_at, limits)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    KEY_DELETE: System = "DELETE FROM api_key WHERE id = $1";
    KEY_LIST: System = "
        SELECT id, name, role, tenant_id, digest, created_at, expires_at, last_used_at, limits FROM api_key
        ORDER BY created_at DESC, id DESC";
    KEY_GET: System = "
        SELECT id, name, role, tenant_id, digest, created_at, expires_at, last_used_at, limits FROM api_key WHERE id = $1";
    KEY_LIMIT: System = "UPDATE api_key SET limits = $3 WHERE id = $1 AND limits = $2";
    KEY_TOUCH: System = "
        UPDATE api_key SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";

    SESSION_INSERT: Platform = "
        INSERT INTO session (id, user_id, digest, link, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
    SESSION_GET: Platform = "
        SELECT s.id, s.user_id, s.digest, s.link, s.created_at, s.expires_at,
            u.id, u.email, u.role, u.password_hash, u.created_at, u.last_seen_at
        FROM session AS s JOIN app_user AS u ON u.id = s.user_id
        WHERE s.digest = $1 AND s.link = $2 AND s.expires_at > $3";
    SESSION_LINK_TAKE: Platform = "
        DELETE FROM session WHERE digest = $1 AND link = $2
        RETURNING id, user_id, digest, link, created_at, expires_at";
    SESSION_DELETE: Platform = "DELETE FROM session WHERE digest = $1";
    SESSION_END_ALL: Platform = "DELETE FROM session WHERE user_id = $1";
    SESSION_EXPIRE: Platform = "
        DELETE FROM session WHERE id IN (SELECT id FROM session WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

    AUDIT_INSERT: System = "
        INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    AUDIT_INSERT_OWN: Tenant = "
        INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    AUDIT_HEAD: Platform = "SELECT position, hash, sealed_at FROM audit_head WHERE one = 1";
    AUDIT_HEAD_MOVE: Platform = "
        UPDATE audit_head SET position = $1, hash = $2, sealed_at = $3 WHERE one = 1 AND position = $4 AND hash = $5";
    AUDIT_UNSEALED: System = "
        SELECT id, at, actor, action, subject, detail, tenant_id, salt FROM audit
        WHERE position IS NULL ORDER BY at, id LIMIT $1";
    AUDIT_SEAL: System = "
        UPDATE audit SET position = $2, content = $3, hash = $4 WHERE id = $1 AND position IS NULL";
    AUDIT_CHAIN: System = "
        SELECT id, at, actor, action, subject, detail, tenant_id, salt, position, content, hash FROM audit
        WHERE position > $1 ORDER BY position LIMIT $2";

    /// Nothing happens where it is there: an error would end the whole transaction on PostgreSQL.
    IDEMPOTENCY_INSERT: Tenant = "
        INSERT INTO idempotency (caller, key, request, status, body, created_at, tenant_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (caller, key) DO NOTHING";
    IDEMPOTENCY_GET: System = "
        SELECT caller, key, request, status, body, created_at FROM idempotency WHERE caller = $1 AND key = $2";
    IDEMPOTENCY_GET_OWN: Tenant = "
        SELECT caller, key, request, status, body, created_at FROM idempotency
        WHERE tenant_id = $1 AND caller = $2 AND key = $3";
    IDEMPOTENCY_EXPIRE: System = "
        DELETE FROM idempotency WHERE (caller, key) IN (
            SELECT old.caller, old.key FROM idempotency AS old WHERE old.created_at < $1
            ORDER BY old.created_at LIMIT $2)";
}
