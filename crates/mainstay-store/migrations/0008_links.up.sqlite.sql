-- Values of a provider's that stand for tenants, and events whose tenant is not known yet. All of it belongs to the
-- platform and is keyed by source: no tenant sees any of it.

CREATE TABLE source_link (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    source_id BLOB NOT NULL REFERENCES source (id) ON DELETE CASCADE,
    value TEXT NOT NULL CHECK (length(value) <= 255),
    tenant_id BLOB NOT NULL REFERENCES tenant (id) ON DELETE RESTRICT,
    created_at INTEGER NOT NULL,
    UNIQUE (source_id, value)
) STRICT;
CREATE INDEX source_link_newest ON source_link (source_id, id);
CREATE INDEX source_link_tenant ON source_link (tenant_id);

-- Under the id that the event will have. What was acknowledged must not lose its door: a source stays while events wait.
CREATE TABLE event_waiting (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    source_id BLOB NOT NULL REFERENCES source (id) ON DELETE RESTRICT,
    source_number INTEGER NOT NULL,
    dedup_key BLOB NOT NULL,
    provider_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    occurred_at INTEGER,
    receipt_id BLOB NOT NULL,
    payload_bytes INTEGER NOT NULL,
    payload_zstd INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX event_waiting_source ON event_waiting (source_id, id);

-- The values that each of them waits for, in the order in which they are looked up.
CREATE TABLE event_waiting_value (
    source_id BLOB NOT NULL,
    value TEXT NOT NULL,
    event_id BLOB NOT NULL REFERENCES event_waiting (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    PRIMARY KEY (source_id, value, event_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_waiting_value_event ON event_waiting_value (event_id, place);

-- Values that may have become known since events began to wait for them: work for whoever assigns.
CREATE TABLE event_waiting_due (
    source_id BLOB NOT NULL REFERENCES source (id) ON DELETE CASCADE,
    value TEXT NOT NULL,
    PRIMARY KEY (source_id, value)
) STRICT, WITHOUT ROWID;
