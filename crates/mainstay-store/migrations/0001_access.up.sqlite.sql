-- Who there is: tenants, users, keys, sessions; what they did; which writes were sent before.
-- Ids are 16 bytes, times microseconds since 1970, flags 0 or 1, JSON text.

CREATE TABLE tenant (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL CHECK (name <> ''),
    slug TEXT NOT NULL UNIQUE CHECK (slug <> ''),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE app_user (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    email TEXT NOT NULL UNIQUE CHECK (email <> ''),
    role TEXT NOT NULL CHECK (role IN ('viewer', 'owner')),
    password_hash TEXT,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER
) STRICT;

-- A key that is bound to a tenant dies with it.
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

CREATE TABLE session (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id BLOB REFERENCES app_user (id) ON DELETE CASCADE,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    link INTEGER NOT NULL CHECK (link IN (0, 1)),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX session_user ON session (user_id);
CREATE INDEX session_expires ON session (expires_at);

-- What was done outlives the tenant in whose data it was done.
CREATE TABLE audit (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT CHECK (detail IS NULL OR json_valid(detail)),
    tenant_id BLOB REFERENCES tenant (id) ON DELETE SET NULL
) STRICT;
CREATE INDEX audit_at ON audit (at, id);
CREATE INDEX audit_tenant ON audit (tenant_id, at, id);

-- The tenant is the one whose scope the write ran in; none for writes of the system's scope.
CREATE TABLE idempotency (
    caller TEXT NOT NULL,
    key TEXT NOT NULL,
    request BLOB NOT NULL CHECK (length(request) = 16),
    status INTEGER,
    body TEXT,
    created_at INTEGER NOT NULL,
    tenant_id BLOB REFERENCES tenant (id) ON DELETE CASCADE,
    PRIMARY KEY (caller, key),
    CHECK ((status IS NULL) = (body IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_created ON idempotency (created_at);
CREATE INDEX idempotency_tenant ON idempotency (tenant_id);
