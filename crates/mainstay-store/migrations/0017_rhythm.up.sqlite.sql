-- Rhythm: how many events of each type a source brings in each hour, what was too few or too many, and events that must
-- follow others.

-- One row: up to where events are counted, when somebody last looked, since when without a break, and until when what a
-- break held back may still come.
CREATE TABLE rhythm_clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    counted_to INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    resumed_at INTEGER NOT NULL,
    quiet_until INTEGER NOT NULL
) STRICT;

-- For how much of an hour what a source brought was counted.
CREATE TABLE rhythm_counted (
    tenant_id BLOB NOT NULL,
    source_id BLOB NOT NULL,
    hour INTEGER NOT NULL,
    counted_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, source_id, hour),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX rhythm_counted_hour ON rhythm_counted (hour);

-- The types that are counted; the empty one stands for all together.
CREATE TABLE rhythm_type (
    tenant_id BLOB NOT NULL,
    source_id BLOB NOT NULL,
    event_type TEXT NOT NULL,
    first_hour INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, source_id, event_type),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Hours without events have no row.
CREATE TABLE rhythm_hour (
    tenant_id BLOB NOT NULL,
    source_id BLOB NOT NULL,
    event_type TEXT NOT NULL,
    hour INTEGER NOT NULL,
    count INTEGER NOT NULL CHECK (count > 0),
    PRIMARY KEY (tenant_id, source_id, event_type, hour),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX rhythm_hour_hour ON rhythm_hour (hour);

-- Too few, too many.
CREATE TABLE rhythm_signal (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    source_id BLOB NOT NULL,
    event_type TEXT NOT NULL,
    kind INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 1),
    since INTEGER NOT NULL,
    expected_milli INTEGER NOT NULL,
    actual INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    ended_at INTEGER,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX rhythm_signal_source ON rhythm_signal (tenant_id, source_id, id);
CREATE UNIQUE INDEX rhythm_signal_open ON rhythm_signal (tenant_id, source_id, event_type, kind) WHERE ended_at IS NULL;

-- Events that must be followed by another, until it comes. `state`: 0 it may still come, 1 it is missing.
-- The tenant is the event's, which need not be the source's.
CREATE TABLE expectation (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    source_id BLOB NOT NULL,
    rule TEXT NOT NULL,
    object TEXT NOT NULL,
    event_id BLOB NOT NULL CHECK (length(event_id) = 16),
    wanted TEXT NOT NULL,
    began_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 1),
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, source_id, rule, event_id),
    CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL))
) STRICT;
CREATE INDEX expectation_object ON expectation (tenant_id, source_id, rule, object);
CREATE INDEX expectation_due ON expectation (due_at, id) WHERE state = 0;
CREATE INDEX expectation_missing ON expectation (source_id, id) WHERE state = 1;

-- When the event that is waited for last came for an object, as long as it may have come before the other.
CREATE TABLE expectation_met (
    tenant_id BLOB NOT NULL,
    source_id BLOB NOT NULL,
    rule TEXT NOT NULL,
    object TEXT NOT NULL,
    met_at INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, source_id, rule, object)
) STRICT, WITHOUT ROWID;
CREATE INDEX expectation_met_until ON expectation_met (until);

-- What became of a rule's expectations, and how many rows there are, which is bounded.
CREATE TABLE expectation_tally (
    tenant_id BLOB NOT NULL,
    source_id BLOB NOT NULL,
    rule TEXT NOT NULL,
    pending INTEGER NOT NULL,
    marks INTEGER NOT NULL,
    fulfilled INTEGER NOT NULL,
    late INTEGER NOT NULL,
    missed INTEGER NOT NULL,
    overflowed INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, source_id, rule)
) STRICT, WITHOUT ROWID;
CREATE INDEX expectation_tally_source ON expectation_tally (source_id);

-- What rules of expected events make is nothing that an event asked for.
DROP VIEW event_status;
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
