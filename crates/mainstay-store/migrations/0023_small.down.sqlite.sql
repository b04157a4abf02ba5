DROP VIEW event_status;

-- The record of its provider's id is the one without a main key.
CREATE TABLE event_key AS SELECT event_id, key FROM dedup WHERE main_key IS NULL;
CREATE INDEX event_key_event ON event_key (event_id);
CREATE TABLE event_before (
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
    secret_id BLOB,
    remote TEXT,
    headers_zstd INTEGER,
    headers BLOB,
    PRIMARY KEY (tenant_id, id)
) STRICT;
INSERT INTO event_before
SELECT e.tenant_id, e.id, (SELECT n.source_id FROM source_known AS n WHERE n.number = e.source_number), e.source_number,
    coalesce(e.dedup_key, (SELECT k.key FROM event_key AS k WHERE k.event_id = e.id LIMIT 1), zeroblob(16)),
    e.provider_id, e.kind, e.received_at, e.occurred_at, coalesce(e.receipt_id, e.id), 0, e.payload_bytes, e.payload_zstd,
    e.payload, e.secret_id, e.remote, e.headers_zstd, e.headers
FROM event AS e;
DROP TABLE event_key;
DROP TABLE event;
ALTER TABLE event_before RENAME TO event;

CREATE TABLE object_event_before (
    tenant_id BLOB NOT NULL,
    source_id BLOB NOT NULL,
    kind TEXT NOT NULL,
    event_id BLOB NOT NULL CHECK (length(event_id) = 16),
    objects TEXT NOT NULL,
    PRIMARY KEY (tenant_id, source_id, kind, event_id)
) STRICT, WITHOUT ROWID;
INSERT INTO object_event_before (tenant_id, source_id, kind, event_id, objects)
SELECT k.tenant_id, n.source_id, k.kind, x.event_id, '[]' FROM object_event AS x
JOIN object_kind AS k ON k.number = x.kind_number
JOIN source_known AS n ON n.number = k.source_number;
UPDATE object_source SET rules = '', walk = NULL;
DROP TABLE object_event;
ALTER TABLE object_event_before RENAME TO object_event;
DROP TABLE object_mention;
CREATE TABLE object_mention (
    tenant_id BLOB NOT NULL,
    object TEXT NOT NULL,
    event_id BLOB NOT NULL CHECK (length(event_id) = 16),
    PRIMARY KEY (tenant_id, object, event_id)
) STRICT, WITHOUT ROWID;
DROP TABLE object_kind;
DROP TABLE source_known;

CREATE VIEW event_status AS
SELECT
    e.tenant_id,
    e.id,
    (
        SELECT CASE
            WHEN count(*) = 0 THEN 'unhandled'
            WHEN sum(CASE WHEN s.state = 'dead' THEN 1 ELSE 0 END) > 0 THEN 'error'
            WHEN sum(CASE WHEN s.state IN ('done', 'cancelled') THEN 0 ELSE 1 END) = 0 THEN 'success'
            WHEN sum(CASE WHEN s.state IN ('waiting', 'scheduled') THEN 0 ELSE 1 END) = 0 THEN 'pending'
            ELSE 'processing'
        END
        FROM job_state AS s WHERE s.tenant_id = e.tenant_id AND (s.id = e.id OR (s.event_id = e.id AND s.event_id <> s.id))
            AND s.kind <> 'expect.observe'
    ) AS status,
    e.source_id,
    e.source_number,
    e.dedup_key,
    e.provider_id,
    e.kind,
    e.received_at,
    e.occurred_at,
    e.receipt_id,
    e.payload_bytes
FROM event AS e;
