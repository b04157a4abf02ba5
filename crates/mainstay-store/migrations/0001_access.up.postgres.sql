-- Who there is: tenants, users, keys, sessions; what they did; which writes were sent before.
-- Times are microseconds since 1970, JSON is text.
--
-- Every table with rows of a tenant's has row-level security, forced on its owner too. `mainstay_app` sees the tenant
-- that its transaction was opened for and nothing where none was named; `mainstay_system` sees everything.

CREATE TABLE tenant (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (name <> ''),
    slug text NOT NULL UNIQUE CHECK (slug <> ''),
    created_at bigint NOT NULL
);

CREATE TABLE app_user (
    id uuid PRIMARY KEY,
    email text NOT NULL UNIQUE CHECK (email <> ''),
    role text NOT NULL CHECK (role IN ('viewer', 'owner')),
    password_hash text,
    created_at bigint NOT NULL,
    last_seen_at bigint
);

-- A key that is bound to a tenant dies with it.
CREATE TABLE api_key (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('viewer', 'owner')),
    tenant_id uuid REFERENCES tenant (id) ON DELETE CASCADE,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    created_at bigint NOT NULL,
    expires_at bigint,
    last_used_at bigint
);
CREATE INDEX api_key_tenant ON api_key (tenant_id);

CREATE TABLE session (
    id uuid PRIMARY KEY,
    user_id uuid REFERENCES app_user (id) ON DELETE CASCADE,
    digest bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    link boolean NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX session_user_id ON session (user_id);
CREATE INDEX session_expires ON session (expires_at);

-- What was done outlives the tenant in whose data it was done.
CREATE TABLE audit (
    id uuid PRIMARY KEY,
    at bigint NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail text CHECK (detail IS NULL OR detail::json IS NOT NULL),
    tenant_id uuid REFERENCES tenant (id) ON DELETE SET NULL
);
CREATE INDEX audit_at ON audit (at, id);
CREATE INDEX audit_tenant ON audit (tenant_id, at, id);

-- The tenant is the one whose scope the write ran in; none for writes of the system's scope.
CREATE TABLE idempotency (
    caller text NOT NULL,
    key text NOT NULL,
    request bytea NOT NULL CHECK (octet_length(request) = 16),
    status integer,
    body text,
    created_at bigint NOT NULL,
    tenant_id uuid REFERENCES tenant (id) ON DELETE CASCADE,
    PRIMARY KEY (caller, key),
    CHECK ((status IS NULL) = (body IS NULL))
);
CREATE INDEX idempotency_created ON idempotency (created_at);
CREATE INDEX idempotency_tenant ON idempotency (tenant_id);

-- A setting that no transaction has set is null, one that an earlier transaction had set is empty: both see nothing.
ALTER TABLE tenant ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_app ON tenant TO mainstay_app
    USING (id = nullif(current_setting('mainstay.tenant', true), '')::uuid);
CREATE POLICY tenant_system ON tenant TO mainstay_system USING (true) WITH CHECK (true);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['api_key', 'audit', 'idempotency'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY %I ON %I TO mainstay_app '
            'USING (tenant_id = nullif(current_setting(''mainstay.tenant'', true), '''')::uuid)',
            name || '_app', name);
        EXECUTE format(
            'CREATE POLICY %I ON %I TO mainstay_system USING (true) WITH CHECK (true)', name || '_system', name);
    END LOOP;
END
$$;

GRANT SELECT, INSERT, UPDATE, DELETE ON tenant, app_user, api_key, session, audit, idempotency TO mainstay_system;
GRANT SELECT ON tenant TO mainstay_app;
GRANT SELECT, INSERT ON audit, idempotency TO mainstay_app;
