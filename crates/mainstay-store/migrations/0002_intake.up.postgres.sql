-- Doors, rules, and what came in.

-- One row: the version of sources, bindings and endpoints, and the last number that a source was given.
CREATE TABLE config_version (
    id integer PRIMARY KEY CHECK (id = 1),
    version bigint NOT NULL,
    source_number integer NOT NULL
);
INSERT INTO config_version (id, version, source_number) VALUES (1, 1, 0);

CREATE TABLE queue (
    number integer PRIMARY KEY CHECK (number > 0),
    name text NOT NULL UNIQUE CHECK (name <> '')
);

CREATE TABLE source (
    tenant_id uuid NOT NULL REFERENCES tenant (id) ON DELETE RESTRICT,
    id uuid NOT NULL,
    number integer NOT NULL UNIQUE,
    name text NOT NULL UNIQUE CHECK (name <> ''),
    scheme text NOT NULL CHECK (scheme <> ''),
    settings text NOT NULL CHECK (settings::json IS NOT NULL),
    enabled boolean NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX source_id ON source (id);

CREATE TABLE source_secret (
    tenant_id uuid NOT NULL,
    source_id uuid NOT NULL,
    id uuid NOT NULL,
    secret text NOT NULL,
    created_at bigint NOT NULL,
    last_used_at bigint,
    PRIMARY KEY (tenant_id, source_id, id),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX source_secret_id ON source_secret (id);

CREATE TABLE endpoint (
    tenant_id uuid NOT NULL REFERENCES tenant (id) ON DELETE RESTRICT,
    id uuid NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    url text NOT NULL CHECK (url <> ''),
    queue integer NOT NULL REFERENCES queue (number) ON DELETE RESTRICT,
    enabled boolean NOT NULL,
    secrets text NOT NULL CHECK (secrets::json IS NOT NULL),
    settings text NOT NULL CHECK (settings::json IS NOT NULL),
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
);
CREATE UNIQUE INDEX endpoint_id ON endpoint (id);
CREATE INDEX endpoint_queue ON endpoint (queue);

CREATE TABLE binding (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    source_id uuid NOT NULL,
    type_pattern text NOT NULL CHECK (type_pattern <> ''),
    endpoint_id uuid,
    builtin text,
    enabled boolean NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE RESTRICT,
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES endpoint (tenant_id, id) ON DELETE RESTRICT,
    CHECK ((endpoint_id IS NULL) <> (builtin IS NULL))
);
CREATE INDEX binding_source ON binding (tenant_id, source_id);
CREATE INDEX binding_endpoint ON binding (tenant_id, endpoint_id);

-- Requests as they arrived. They belong to the platform: many could not be verified. No reference to the source:
-- evidence outlives it, and the hot path pays for every reference.
-- Ids are made from `received_at`: their order is its order.
CREATE TABLE receipt (
    id uuid PRIMARY KEY,
    source_id uuid NOT NULL,
    received_at bigint NOT NULL,
    verdict smallint NOT NULL CHECK (verdict BETWEEN 0 AND 3),
    -- Events that it brought and that are still there; their retention takes it along.
    events smallint NOT NULL,
    refusal text,
    secret_id uuid,
    remote text NOT NULL,
    body_bytes bigint NOT NULL,
    -- The event that it brought once more.
    event_id uuid,
    headers_zstd boolean NOT NULL,
    headers bytea NOT NULL,
    body_zstd boolean,
    body bytea,
    CHECK ((body IS NULL) = (body_zstd IS NULL)),
    CHECK ((refusal IS NOT NULL) = (verdict = 3))
) WITH (toast_tuple_target = 8160);
ALTER TABLE receipt ALTER COLUMN headers SET STORAGE EXTERNAL, ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX receipt_source ON receipt (source_id, id);
CREATE INDEX receipt_again ON receipt (event_id, id) WHERE event_id IS NOT NULL;
CREATE INDEX receipt_refused ON receipt (id) WHERE verdict = 3;
CREATE INDEX receipt_alone ON receipt (id) WHERE events = 0 AND verdict <> 3;

-- Immutable. No references here either: retention drops receipts, events, jobs and attempts step by step.
-- Payloads arrive compressed: the server must not try again, nor move what fits into the row out of it.
CREATE TABLE event (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    source_id uuid NOT NULL,
    receipt_id uuid NOT NULL,
    received_at bigint NOT NULL,
    occurred_at bigint,
    config_version bigint NOT NULL,
    payload_bytes bigint NOT NULL,
    source_number integer NOT NULL,
    payload_zstd boolean NOT NULL,
    -- Where the deduplication record counts its deliveries.
    dedup_key bytea NOT NULL,
    provider_id text NOT NULL,
    kind text NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (tenant_id, id)
) WITH (toast_tuple_target = 8160);
ALTER TABLE event ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE INDEX event_kind ON event (tenant_id, kind, id);

-- Kept for ever. `main_key` is set where an event has two keys: this is the second, the first counts.
CREATE TABLE dedup (
    tenant_id uuid NOT NULL,
    event_id uuid NOT NULL,
    source_number integer NOT NULL,
    deliveries integer NOT NULL,
    key bytea NOT NULL CHECK (octet_length(key) = 16),
    body_hash bytea NOT NULL CHECK (octet_length(body_hash) = 8),
    main_key bytea,
    PRIMARY KEY (source_number, key)
);

CREATE TABLE replay (
    tenant_id uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    created_at bigint NOT NULL,
    by_whom text NOT NULL,
    binding_id uuid,
    events bigint NOT NULL,
    jobs bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

-- How far retention has looked, tenant by tenant: what it had to leave is not looked at again in every step. One row for
-- events with what belongs to them, one for jobs without an event.
CREATE TABLE retention (
    what text NOT NULL PRIMARY KEY CHECK (what IN ('event', 'job')),
    after_tenant uuid NOT NULL,
    after_id uuid NOT NULL
);
INSERT INTO retention (what, after_tenant, after_id)
VALUES ('event', '00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000'), ('job', '00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000');

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['source', 'source_secret', 'endpoint', 'binding', 'event', 'dedup', 'replay'] LOOP
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

-- A tenant sees the requests of its own sources: the inner SELECT is under the policy of `source`.
ALTER TABLE receipt ENABLE ROW LEVEL SECURITY;
ALTER TABLE receipt FORCE ROW LEVEL SECURITY;
CREATE POLICY receipt_app ON receipt FOR SELECT TO mainstay_app
    USING (EXISTS (SELECT 1 FROM source WHERE source.id = receipt.source_id));
CREATE POLICY receipt_system ON receipt TO mainstay_system USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE
    ON config_version, queue, source, source_secret, endpoint, binding, receipt, event, dedup, replay, retention
    TO mainstay_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON source, source_secret, endpoint, binding TO mainstay_app;
GRANT SELECT, INSERT ON replay TO mainstay_app;
GRANT SELECT ON receipt, event, dedup TO mainstay_app;
-- Numbers and names of queues, and one counter: nothing of a tenant's.
GRANT SELECT, INSERT ON queue TO mainstay_app;
GRANT SELECT, UPDATE ON config_version TO mainstay_app;
