-- Four roles; the audit log as a chain that nobody can change unseen; changes made by hand are told to it as well.

-- SQLite changes no check of a table that is there.
CREATE TABLE app_user_kept AS SELECT * FROM app_user;
DROP TABLE app_user;
CREATE TABLE app_user (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    email TEXT NOT NULL UNIQUE CHECK (email <> ''),
    role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin', 'owner')),
    password_hash TEXT,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER
) STRICT;
INSERT INTO app_user (id, email, role, password_hash, created_at, last_seen_at)
SELECT id, email, role, password_hash, created_at, last_seen_at FROM app_user_kept;
DROP TABLE app_user_kept;

CREATE TABLE api_key_kept AS SELECT * FROM api_key;
DROP TABLE api_key;
CREATE TABLE api_key (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin', 'owner')),
    tenant_id BLOB REFERENCES tenant (id) ON DELETE CASCADE,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER
) STRICT;
CREATE INDEX api_key_tenant ON api_key (tenant_id);
INSERT INTO api_key (id, name, role, tenant_id, digest, created_at, expires_at, last_used_at)
SELECT id, name, role, tenant_id, digest, created_at, expires_at, last_used_at FROM api_key_kept;
DROP TABLE api_key_kept;

CREATE TABLE audit_kept AS SELECT * FROM audit;
DROP TABLE audit;
CREATE TABLE audit (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT CHECK (detail IS NULL OR json_valid(detail)),
    -- No reference: what was done to a tenant stays true when it is gone, and the chain goes over it.
    tenant_id BLOB CHECK (length(tenant_id) = 16),
    -- What the digest of actor, subject and detail is made with; gone when they were erased.
    salt BLOB DEFAULT (randomblob(16)) CHECK (length(salt) = 16),
    -- The place in the chain, from when on nothing of it can be changed without being found.
    position INTEGER UNIQUE CHECK (position > 0),
    content BLOB CHECK (length(content) = 32),
    hash BLOB CHECK (length(hash) = 32),
    CHECK ((position IS NULL) = (content IS NULL) AND (position IS NULL) = (hash IS NULL))
) STRICT;
INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
SELECT id, at, actor, action, subject, detail, tenant_id FROM audit_kept;
DROP TABLE audit_kept;
CREATE INDEX audit_at ON audit (at, id);
CREATE INDEX audit_tenant ON audit (tenant_id, at, id);
CREATE INDEX audit_actor ON audit (actor, at, id);
CREATE INDEX audit_subject ON audit (subject, at, id);
-- What is in no chain yet.
CREATE INDEX audit_open ON audit (at, id) WHERE position IS NULL;

-- The end of the chain: one row.
CREATE TABLE audit_head (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL CHECK (position >= 0),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    sealed_at INTEGER NOT NULL
) STRICT;
INSERT INTO audit_head (one, position, hash, sealed_at)
VALUES (1, 0, x'0000000000000000000000000000000000000000000000000000000000000000', 0);

-- The server's own connections have triggers switched off: it writes its entries itself. Any other program that changes
-- these tables runs them.
CREATE TRIGGER tenant_insert_by_hand AFTER INSERT ON tenant BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.insert',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'tenant'), NEW.id);
END;

CREATE TRIGGER tenant_update_by_hand AFTER UPDATE ON tenant BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.update',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'tenant', 'columns', json('[' || substr(
        iif(OLD.id IS NOT NEW.id, ',"id"', '') ||
        iif(OLD.name IS NOT NEW.name, ',"name"', '') ||
        iif(OLD.slug IS NOT NEW.slug, ',"slug"', '') ||
        iif(OLD.created_at IS NOT NEW.created_at, ',"created_at"', ''), 2) || ']')), NEW.id);
END;

CREATE TRIGGER tenant_delete_by_hand AFTER DELETE ON tenant BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.delete',
        lower(substr(hex(OLD.id), 1, 8) || '-' || substr(hex(OLD.id), 9, 4) || '-' || substr(hex(OLD.id), 13, 4) || '-' || substr(hex(OLD.id), 17, 4) || '-' || substr(hex(OLD.id), 21, 12)),
        json_object('table', 'tenant'), OLD.id);
END;

CREATE TRIGGER app_user_insert_by_hand AFTER INSERT ON app_user BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.insert',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'app_user'), NULL);
END;

CREATE TRIGGER app_user_update_by_hand AFTER UPDATE ON app_user BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.update',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'app_user', 'columns', json('[' || substr(
        iif(OLD.id IS NOT NEW.id, ',"id"', '') ||
        iif(OLD.email IS NOT NEW.email, ',"email"', '') ||
        iif(OLD.role IS NOT NEW.role, ',"role"', '') ||
        iif(OLD.password_hash IS NOT NEW.password_hash, ',"password_hash"', '') ||
        iif(OLD.created_at IS NOT NEW.created_at, ',"created_at"', '') ||
        iif(OLD.last_seen_at IS NOT NEW.last_seen_at, ',"last_seen_at"', ''), 2) || ']')), NULL);
END;

CREATE TRIGGER app_user_delete_by_hand AFTER DELETE ON app_user BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.delete',
        lower(substr(hex(OLD.id), 1, 8) || '-' || substr(hex(OLD.id), 9, 4) || '-' || substr(hex(OLD.id), 13, 4) || '-' || substr(hex(OLD.id), 17, 4) || '-' || substr(hex(OLD.id), 21, 12)),
        json_object('table', 'app_user'), NULL);
END;

CREATE TRIGGER api_key_insert_by_hand AFTER INSERT ON api_key BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.insert',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'api_key'), NEW.tenant_id);
END;

CREATE TRIGGER api_key_update_by_hand AFTER UPDATE ON api_key BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.update',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'api_key', 'columns', json('[' || substr(
        iif(OLD.id IS NOT NEW.id, ',"id"', '') ||
        iif(OLD.name IS NOT NEW.name, ',"name"', '') ||
        iif(OLD.role IS NOT NEW.role, ',"role"', '') ||
        iif(OLD.tenant_id IS NOT NEW.tenant_id, ',"tenant_id"', '') ||
        iif(OLD.digest IS NOT NEW.digest, ',"digest"', '') ||
        iif(OLD.created_at IS NOT NEW.created_at, ',"created_at"', '') ||
        iif(OLD.expires_at IS NOT NEW.expires_at, ',"expires_at"', '') ||
        iif(OLD.last_used_at IS NOT NEW.last_used_at, ',"last_used_at"', ''), 2) || ']')), NEW.tenant_id);
END;

CREATE TRIGGER api_key_delete_by_hand AFTER DELETE ON api_key BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.delete',
        lower(substr(hex(OLD.id), 1, 8) || '-' || substr(hex(OLD.id), 9, 4) || '-' || substr(hex(OLD.id), 13, 4) || '-' || substr(hex(OLD.id), 17, 4) || '-' || substr(hex(OLD.id), 21, 12)),
        json_object('table', 'api_key'), OLD.tenant_id);
END;

CREATE TRIGGER session_insert_by_hand AFTER INSERT ON session BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.insert',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'session'), NULL);
END;

CREATE TRIGGER session_update_by_hand AFTER UPDATE ON session BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.update',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'session', 'columns', json('[' || substr(
        iif(OLD.id IS NOT NEW.id, ',"id"', '') ||
        iif(OLD.user_id IS NOT NEW.user_id, ',"user_id"', '') ||
        iif(OLD.digest IS NOT NEW.digest, ',"digest"', '') ||
        iif(OLD.link IS NOT NEW.link, ',"link"', '') ||
        iif(OLD.created_at IS NOT NEW.created_at, ',"created_at"', '') ||
        iif(OLD.expires_at IS NOT NEW.expires_at, ',"expires_at"', ''), 2) || ']')), NULL);
END;

CREATE TRIGGER session_delete_by_hand AFTER DELETE ON session BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.delete',
        lower(substr(hex(OLD.id), 1, 8) || '-' || substr(hex(OLD.id), 9, 4) || '-' || substr(hex(OLD.id), 13, 4) || '-' || substr(hex(OLD.id), 17, 4) || '-' || substr(hex(OLD.id), 21, 12)),
        json_object('table', 'session'), NULL);
END;

CREATE TRIGGER source_insert_by_hand AFTER INSERT ON source BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.insert',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'source'), NEW.tenant_id);
END;

CREATE TRIGGER source_update_by_hand AFTER UPDATE ON source BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.update',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'source', 'columns', json('[' || substr(
        iif(OLD.tenant_id IS NOT NEW.tenant_id, ',"tenant_id"', '') ||
        iif(OLD.id IS NOT NEW.id, ',"id"', '') ||
        iif(OLD.number IS NOT NEW.number, ',"number"', '') ||
        iif(OLD.name IS NOT NEW.name, ',"name"', '') ||
        iif(OLD.scheme IS NOT NEW.scheme, ',"scheme"', '') ||
        iif(OLD.settings IS NOT NEW.settings, ',"settings"', '') ||
        iif(OLD.enabled IS NOT NEW.enabled, ',"enabled"', '') ||
        iif(OLD.created_at IS NOT NEW.created_at, ',"created_at"', '') ||
        iif(OLD.updated_at IS NOT NEW.updated_at, ',"updated_at"', ''), 2) || ']')), NEW.tenant_id);
END;

CREATE TRIGGER source_delete_by_hand AFTER DELETE ON source BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.delete',
        lower(substr(hex(OLD.id), 1, 8) || '-' || substr(hex(OLD.id), 9, 4) || '-' || substr(hex(OLD.id), 13, 4) || '-' || substr(hex(OLD.id), 17, 4) || '-' || substr(hex(OLD.id), 21, 12)),
        json_object('table', 'source'), OLD.tenant_id);
END;

CREATE TRIGGER source_secret_insert_by_hand AFTER INSERT ON source_secret BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.insert',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'source_secret'), NEW.tenant_id);
END;

CREATE TRIGGER source_secret_update_by_hand AFTER UPDATE ON source_secret BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.update',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'source_secret', 'columns', json('[' || substr(
        iif(OLD.tenant_id IS NOT NEW.tenant_id, ',"tenant_id"', '') ||
        iif(OLD.source_id IS NOT NEW.source_id, ',"source_id"', '') ||
        iif(OLD.id IS NOT NEW.id, ',"id"', '') ||
        iif(OLD.secret IS NOT NEW.secret, ',"secret"', '') ||
        iif(OLD.created_at IS NOT NEW.created_at, ',"created_at"', '') ||
        iif(OLD.last_used_at IS NOT NEW.last_used_at, ',"last_used_at"', ''), 2) || ']')), NEW.tenant_id);
END;

CREATE TRIGGER source_secret_delete_by_hand AFTER DELETE ON source_secret BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.delete',
        lower(substr(hex(OLD.id), 1, 8) || '-' || substr(hex(OLD.id), 9, 4) || '-' || substr(hex(OLD.id), 13, 4) || '-' || substr(hex(OLD.id), 17, 4) || '-' || substr(hex(OLD.id), 21, 12)),
        json_object('table', 'source_secret'), OLD.tenant_id);
END;

CREATE TRIGGER source_link_insert_by_hand AFTER INSERT ON source_link BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.insert',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'source_link'), NEW.tenant_id);
END;

CREATE TRIGGER source_link_update_by_hand AFTER UPDATE ON source_link BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.update',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'source_link', 'columns', json('[' || substr(
        iif(OLD.id IS NOT NEW.id, ',"id"', '') ||
        iif(OLD.source_id IS NOT NEW.source_id, ',"source_id"', '') ||
        iif(OLD.value IS NOT NEW.value, ',"value"', '') ||
        iif(OLD.tenant_id IS NOT NEW.tenant_id, ',"tenant_id"', '') ||
        iif(OLD.created_at IS NOT NEW.created_at, ',"created_at"', ''), 2) || ']')), NEW.tenant_id);
END;

CREATE TRIGGER source_link_delete_by_hand AFTER DELETE ON source_link BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.delete',
        lower(substr(hex(OLD.id), 1, 8) || '-' || substr(hex(OLD.id), 9, 4) || '-' || substr(hex(OLD.id), 13, 4) || '-' || substr(hex(OLD.id), 17, 4) || '-' || substr(hex(OLD.id), 21, 12)),
        json_object('table', 'source_link'), OLD.tenant_id);
END;

CREATE TRIGGER event_schema_insert_by_hand AFTER INSERT ON event_schema BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.insert',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'event_schema'), NEW.tenant_id);
END;

CREATE TRIGGER event_schema_update_by_hand AFTER UPDATE ON event_schema BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.update',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'event_schema', 'columns', json('[' || substr(
        iif(OLD.tenant_id IS NOT NEW.tenant_id, ',"tenant_id"', '') ||
        iif(OLD.id IS NOT NEW.id, ',"id"', '') ||
        iif(OLD.version IS NOT NEW.version, ',"version"', '') ||
        iif(OLD.source_id IS NOT NEW.source_id, ',"source_id"', '') ||
        iif(OLD.types IS NOT NEW.types, ',"types"', '') ||
        iif(OLD.schema IS NOT NEW.schema, ',"schema"', '') ||
        iif(OLD.created_at IS NOT NEW.created_at, ',"created_at"', ''), 2) || ']')), NEW.tenant_id);
END;

CREATE TRIGGER event_schema_delete_by_hand AFTER DELETE ON event_schema BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.delete',
        lower(substr(hex(OLD.id), 1, 8) || '-' || substr(hex(OLD.id), 9, 4) || '-' || substr(hex(OLD.id), 13, 4) || '-' || substr(hex(OLD.id), 17, 4) || '-' || substr(hex(OLD.id), 21, 12)),
        json_object('table', 'event_schema'), OLD.tenant_id);
END;

CREATE TRIGGER endpoint_insert_by_hand AFTER INSERT ON endpoint BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.insert',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'endpoint'), NEW.tenant_id);
END;

CREATE TRIGGER endpoint_update_by_hand AFTER UPDATE ON endpoint BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.update',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'endpoint', 'columns', json('[' || substr(
        iif(OLD.tenant_id IS NOT NEW.tenant_id, ',"tenant_id"', '') ||
        iif(OLD.id IS NOT NEW.id, ',"id"', '') ||
        iif(OLD.name IS NOT NEW.name, ',"name"', '') ||
        iif(OLD.url IS NOT NEW.url, ',"url"', '') ||
        iif(OLD.queue IS NOT NEW.queue, ',"queue"', '') ||
        iif(OLD.enabled IS NOT NEW.enabled, ',"enabled"', '') ||
        iif(OLD.secrets IS NOT NEW.secrets, ',"secrets"', '') ||
        iif(OLD.settings IS NOT NEW.settings, ',"settings"', '') ||
        iif(OLD.created_at IS NOT NEW.created_at, ',"created_at"', '') ||
        iif(OLD.updated_at IS NOT NEW.updated_at, ',"updated_at"', '') ||
        iif(OLD.headers IS NOT NEW.headers, ',"headers"', ''), 2) || ']')), NEW.tenant_id);
END;

CREATE TRIGGER endpoint_delete_by_hand AFTER DELETE ON endpoint BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.delete',
        lower(substr(hex(OLD.id), 1, 8) || '-' || substr(hex(OLD.id), 9, 4) || '-' || substr(hex(OLD.id), 13, 4) || '-' || substr(hex(OLD.id), 17, 4) || '-' || substr(hex(OLD.id), 21, 12)),
        json_object('table', 'endpoint'), OLD.tenant_id);
END;

CREATE TRIGGER binding_insert_by_hand AFTER INSERT ON binding BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.insert',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'binding'), NEW.tenant_id);
END;

CREATE TRIGGER binding_update_by_hand AFTER UPDATE ON binding BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.update',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'binding', 'columns', json('[' || substr(
        iif(OLD.tenant_id IS NOT NEW.tenant_id, ',"tenant_id"', '') ||
        iif(OLD.id IS NOT NEW.id, ',"id"', '') ||
        iif(OLD.name IS NOT NEW.name, ',"name"', '') ||
        iif(OLD.source_id IS NOT NEW.source_id, ',"source_id"', '') ||
        iif(OLD.type_pattern IS NOT NEW.type_pattern, ',"type_pattern"', '') ||
        iif(OLD.endpoint_id IS NOT NEW.endpoint_id, ',"endpoint_id"', '') ||
        iif(OLD.builtin IS NOT NEW.builtin, ',"builtin"', '') ||
        iif(OLD.enabled IS NOT NEW.enabled, ',"enabled"', '') ||
        iif(OLD.created_at IS NOT NEW.created_at, ',"created_at"', '') ||
        iif(OLD.filter IS NOT NEW.filter, ',"filter"', '') ||
        iif(OLD.ordering IS NOT NEW.ordering, ',"ordering"', ''), 2) || ']')), NEW.tenant_id);
END;

CREATE TRIGGER binding_delete_by_hand AFTER DELETE ON binding BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.delete',
        lower(substr(hex(OLD.id), 1, 8) || '-' || substr(hex(OLD.id), 9, 4) || '-' || substr(hex(OLD.id), 13, 4) || '-' || substr(hex(OLD.id), 17, 4) || '-' || substr(hex(OLD.id), 21, 12)),
        json_object('table', 'binding'), OLD.tenant_id);
END;

CREATE TRIGGER audit_update_by_hand BEFORE UPDATE ON audit BEGIN
    SELECT raise(ABORT, 'the audit log can only be added to');
END;

CREATE TRIGGER audit_delete_by_hand BEFORE DELETE ON audit BEGIN
    SELECT raise(ABORT, 'the audit log can only be added to');
END;

CREATE TRIGGER audit_head_update_by_hand BEFORE UPDATE ON audit_head BEGIN
    SELECT raise(ABORT, 'the audit log can only be added to');
END;

CREATE TRIGGER audit_head_delete_by_hand BEFORE DELETE ON audit_head BEGIN
    SELECT raise(ABORT, 'the audit log can only be added to');
END;
