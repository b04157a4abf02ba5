DROP TRIGGER tenant_insert_by_hand;
DROP TRIGGER tenant_update_by_hand;
DROP TRIGGER tenant_delete_by_hand;
DROP TRIGGER session_insert_by_hand;
DROP TRIGGER session_update_by_hand;
DROP TRIGGER session_delete_by_hand;
DROP TRIGGER source_insert_by_hand;
DROP TRIGGER source_update_by_hand;
DROP TRIGGER source_delete_by_hand;
DROP TRIGGER source_secret_insert_by_hand;
DROP TRIGGER source_secret_update_by_hand;
DROP TRIGGER source_secret_delete_by_hand;
DROP TRIGGER source_link_insert_by_hand;
DROP TRIGGER source_link_update_by_hand;
DROP TRIGGER source_link_delete_by_hand;
DROP TRIGGER event_schema_insert_by_hand;
DROP TRIGGER event_schema_update_by_hand;
DROP TRIGGER event_schema_delete_by_hand;
DROP TRIGGER endpoint_insert_by_hand;
DROP TRIGGER endpoint_update_by_hand;
DROP TRIGGER endpoint_delete_by_hand;
DROP TRIGGER binding_insert_by_hand;
DROP TRIGGER binding_update_by_hand;
DROP TRIGGER binding_delete_by_hand;
DROP TABLE audit_head;

CREATE TABLE audit_kept AS SELECT * FROM audit;
DROP TABLE audit;
CREATE TABLE audit (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT CHECK (detail IS NULL OR json_valid(detail)),
    tenant_id BLOB REFERENCES tenant (id) ON DELETE SET NULL
) STRICT;
INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
SELECT id, at, actor, action, subject, detail, (SELECT tenant.id FROM tenant WHERE tenant.id = audit_kept.tenant_id)
FROM audit_kept;
DROP TABLE audit_kept;
CREATE INDEX audit_at ON audit (at, id);
CREATE INDEX audit_tenant ON audit (tenant_id, at, id);

-- Nobody may do more than before.
-- SQLite changes no check of a table that is there.
CREATE TABLE app_user_kept AS SELECT * FROM app_user;
DROP TABLE app_user;
CREATE TABLE app_user (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    email TEXT NOT NULL UNIQUE CHECK (email <> ''),
    role TEXT NOT NULL CHECK (role IN ('viewer', 'owner')),
    password_hash TEXT,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER
) STRICT;
INSERT INTO app_user (id, email, role, password_hash, created_at, last_seen_at)
SELECT id, email, iif(role = 'owner', role, 'viewer'), password_hash, created_at, last_seen_at FROM app_user_kept;
DROP TABLE app_user_kept;

CREATE TABLE api_key_kept AS SELECT * FROM api_key;
DROP TABLE api_key;
CREATE TABLE api_key (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'owner')),
    tenant_id BLOB REFERENCES tenant (id) ON DELETE CASCADE,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER
) STRICT;
CREATE INDEX api_key_tenant ON api_key (tenant_id);
INSERT INTO api_key (id, name, role, tenant_id, digest, created_at, expires_at, last_used_at)
SELECT id, name, iif(role = 'owner', role, 'viewer'), tenant_id, digest, created_at, expires_at, last_used_at FROM api_key_kept;
DROP TABLE api_key_kept;
