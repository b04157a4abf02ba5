-- What a webhook takes on disk, cut once more. Events do not repeat what another column, or a row elsewhere, says; the index
-- of objects names types by numbers and ids by hashes. `event` is written anew: plan for as long as copying it takes.

-- The sources that there ever were. Events name theirs by number, also when it was removed.
CREATE TABLE source_known (
    number INTEGER PRIMARY KEY,
    source_id BLOB NOT NULL UNIQUE CHECK (length(source_id) = 16)
) STRICT;
INSERT INTO source_known (number, source_id) SELECT number, id FROM source;
INSERT INTO source_known (number, source_id) SELECT DISTINCT source_number, source_id FROM event
WHERE true ON CONFLICT (number) DO NOTHING;

DROP VIEW event_status;
CREATE TABLE event_small (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL,
    source_number INTEGER NOT NULL,
    -- Where the deduplication record counts its deliveries; null: the key that is made of the provider's id.
    dedup_key BLOB,
    provider_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    occurred_at INTEGER,
    -- Null: the event's own id.
    receipt_id BLOB,
    payload_bytes INTEGER NOT NULL,
    payload_zstd INTEGER NOT NULL,
    payload BLOB NOT NULL,
    secret_id BLOB,
    remote TEXT,
    headers_zstd INTEGER,
    headers BLOB,
    PRIMARY KEY (tenant_id, id)
) STRICT;
INSERT INTO event_small SELECT tenant_id, id, source_number, dedup_key, provider_id, kind, received_at, occurred_at,
    nullif(receipt_id, id), payload_bytes, payload_zstd, payload, secret_id, remote, headers_zstd, headers
FROM event;
-- safe drop-table: copied above
DROP TABLE event;
ALTER TABLE event_small RENAME TO event;

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
    (SELECT n.source_id FROM source_known AS n WHERE n.number = e.source_number) AS source_id,
    e.source_number,
    e.dedup_key,
    e.provider_id,
    e.kind,
    e.received_at,
    e.occurred_at,
    coalesce(e.receipt_id, e.id) AS receipt_id,
    e.payload_bytes
FROM event AS e;

-- The types of the events that are indexed, by source: a number stands for each in `object_event`. A row goes with the last
-- event of its type.
CREATE TABLE object_kind (
    tenant_id BLOB NOT NULL,
    source_number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    number INTEGER NOT NULL UNIQUE,
    PRIMARY KEY (tenant_id, source_number, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX object_kind_source ON object_kind (source_number, tenant_id, kind);
INSERT INTO object_kind (tenant_id, source_number, kind, number)
SELECT x.tenant_id, n.number, x.kind, row_number() OVER (ORDER BY x.tenant_id, n.number, x.kind)
FROM (SELECT DISTINCT tenant_id, source_id, kind FROM object_event) AS x
JOIN source_known AS n ON n.source_id = x.source_id;

-- One row an event, in the order of type and time. `objects` are its ids, a line for each with its
-- name before it; null: there are none.
CREATE TABLE object_event_small (
    kind_number INTEGER NOT NULL,
    event_id BLOB NOT NULL CHECK (length(event_id) = 16),
    objects TEXT,
    PRIMARY KEY (kind_number, event_id)
) STRICT, WITHOUT ROWID;
-- Their ids are looked for once more, in the background, since a hash stands for each: until then they have none.
INSERT INTO object_event_small (kind_number, event_id)
SELECT k.number, x.event_id FROM object_event AS x
JOIN source_known AS n ON n.source_id = x.source_id
JOIN object_kind AS k ON k.tenant_id = x.tenant_id AND k.source_number = n.number AND k.kind = x.kind
ORDER BY k.number, x.event_id;
UPDATE object_source SET rules = '', walk = NULL;
-- safe drop-table: copied above
DROP TABLE object_event;
ALTER TABLE object_event_small RENAME TO object_event;

-- A hash of the tenant and an id leads to the events that the id stands in, in the order of time. Who reads looks whether the
-- event has the id: hashes may meet.
-- safe drop-table: the ids are found again in the payloads
DROP TABLE object_mention;
CREATE TABLE object_mention (
    hash INTEGER NOT NULL,
    event_id BLOB NOT NULL CHECK (length(event_id) = 16),
    PRIMARY KEY (hash, event_id)
) STRICT, WITHOUT ROWID;
