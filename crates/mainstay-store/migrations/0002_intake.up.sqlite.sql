-- Doors, rules, and what came in.

-- One row: the version of sources, bindings and endpoints, and the last number that a source was given.
CREATE TABLE config_version (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    source_number INTEGER NOT NULL
) STRICT;
INSERT INTO config_version (id, version, source_number) VALUES (1, 1, 0);

CREATE TABLE queue (
    number INTEGER PRIMARY KEY CHECK (number > 0),
    name TEXT NOT NULL UNIQUE CHECK (name <> '')
) STRICT;

CREATE TABLE source (
    tenant_id BLOB NOT NULL REFERENCES tenant (id) ON DELETE RESTRICT,
    id BLOB NOT NULL CHECK (length(id) = 16),
    number INTEGER NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    scheme TEXT NOT NULL CHECK (scheme <> ''),
    settings TEXT NOT NULL CHECK (json_valid(settings)),
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;
CREATE UNIQUE INDEX source_id ON source (id);

CREATE TABLE source_secret (
    tenant_id BLOB NOT NULL,
    source_id BLOB NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    secret TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    PRIMARY KEY (tenant_id, source_id, id),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE UNIQUE INDEX source_secret_id ON source_secret (id);

CREATE TABLE endpoint (
    tenant_id BLOB NOT NULL REFERENCES tenant (id) ON DELETE RESTRICT,
    id BLOB NOT NULL CHECK (length(id) = 16),
    name TEXT NOT NULL CHECK (name <> ''),
    url TEXT NOT NULL CHECK (url <> ''),
    queue INTEGER NOT NULL REFERENCES queue (number) ON DELETE RESTRICT,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    secrets TEXT NOT NULL CHECK (json_valid(secrets)),
    settings TEXT NOT NULL CHECK (json_valid(settings)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
) STRICT;
CREATE UNIQUE INDEX endpoint_id ON endpoint (id);
CREATE INDEX endpoint_queue ON endpoint (queue);

CREATE TABLE binding (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    name TEXT NOT NULL CHECK (name <> ''),
    source_id BLOB NOT NULL,
    type_pattern TEXT NOT NULL CHECK (type_pattern <> ''),
    endpoint_id BLOB,
    builtin TEXT,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE RESTRICT,
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES endpoint (tenant_id, id) ON DELETE RESTRICT,
    CHECK ((endpoint_id IS NULL) <> (builtin IS NULL))
) STRICT;
CREATE INDEX binding_source ON binding (tenant_id, source_id);
CREATE INDEX binding_endpoint ON binding (tenant_id, endpoint_id);

-- Requests as they arrived. They belong to the platform: many could not be verified. No reference to the source:
-- evidence outlives it, and the hot path pays for every reference.
-- Ids are made from `received_at`: their order is its order.
CREATE TABLE receipt (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    source_id BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    verdict INTEGER NOT NULL CHECK (verdict BETWEEN 0 AND 3),
    -- Events that it brought and that are still there; their retention takes it along.
    events INTEGER NOT NULL,
    refusal TEXT,
    secret_id BLOB,
    remote TEXT NOT NULL,
    body_bytes INTEGER NOT NULL,
    -- The event that it brought once more.
    event_id BLOB,
    headers_zstd INTEGER NOT NULL,
    headers BLOB NOT NULL,
    body_zstd INTEGER,
    body BLOB,
    CHECK ((body IS NULL) = (body_zstd IS NULL)),
    CHECK ((refusal IS NOT NULL) = (verdict = 3))
) STRICT;
CREATE INDEX receipt_source ON receipt (source_id, id);
CREATE INDEX receipt_again ON receipt (event_id, id) WHERE event_id IS NOT NULL;
CREATE INDEX receipt_refused ON receipt (id) WHERE verdict = 3;
CREATE INDEX receipt_alone ON receipt (id) WHERE events = 0 AND verdict <> 3;

-- Immutable. No references here either: retention drops receipts, events, jobs and attempts step by step.
CREATE TABLE event (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL,
    source_id BLOB NOT NULL,
    source_number INTEGER NOT NULL,
    -- Where the deduplication record counts its deliveries.
    dedup_key BLOB NOT NULL,
    provider_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    occurred_at INTEGER,
    receipt_id BLOB NOT NULL,
    config_version INTEGER NOT NULL,
    payload_bytes INTEGER NOT NULL,
    payload_zstd INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;
CREATE INDEX event_kind ON event (tenant_id, kind, id);

-- Kept for ever. `main_key` is set where an event has two keys: this is the second, the first counts.
CREATE TABLE dedup (
    source_number INTEGER NOT NULL,
    key BLOB NOT NULL CHECK (length(key) = 16),
    tenant_id BLOB NOT NULL,
    event_id BLOB NOT NULL,
    body_hash BLOB NOT NULL CHECK (length(body_hash) = 8),
    deliveries INTEGER NOT NULL,
    main_key BLOB,
    PRIMARY KEY (source_number, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE replay (
    tenant_id BLOB NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    id BLOB NOT NULL CHECK (length(id) = 16),
    created_at INTEGER NOT NULL,
    by_whom TEXT NOT NULL,
    binding_id BLOB,
    events INTEGER NOT NULL,
    jobs INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;

-- How far retention has looked, tenant by tenant: what it had to leave is not looked at again in every step. One row for
-- events with what belongs to them, one for jobs without an event.
CREATE TABLE retention (
    what TEXT NOT NULL PRIMARY KEY CHECK (what IN ('event', 'job')),
    after_tenant BLOB NOT NULL,
    after_id BLOB NOT NULL
) STRICT;
INSERT INTO retention (what, after_tenant, after_id)
VALUES ('event', x'00000000000000000000000000000000', x'00000000000000000000000000000000'), ('job', x'00000000000000000000000000000000', x'00000000000000000000000000000000');
