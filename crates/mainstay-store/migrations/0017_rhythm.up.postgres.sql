-- Rhythm: how many events of each type a source brings in each hour, what was too few or too many, and events that must
-- follow others.

-- One row: up to where events are counted, when somebody last looked, since when without a break, and until when what a
-- break held back may still come.
CREATE TABLE rhythm_clock (
    id integer PRIMARY KEY CHECK (id = 1),
    counted_to bigint NOT NULL,
    seen_at bigint NOT NULL,
    resumed_at bigint NOT NULL,
    quiet_until bigint NOT NULL
);

-- For how much of an hour what a source brought was counted.
CREATE TABLE rhythm_counted (
    tenant_id uuid NOT NULL,
    source_id uuid NOT NULL,
    hour bigint NOT NULL,
    counted_ms bigint NOT NULL,
    PRIMARY KEY (tenant_id, source_id, hour),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX rhythm_counted_hour ON rhythm_counted (hour);

-- The types that are counted; the empty one stands for all together.
CREATE TABLE rhythm_type (
    tenant_id uuid NOT NULL,
    source_id uuid NOT NULL,
    event_type text NOT NULL,
    first_hour bigint NOT NULL,
    last_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, source_id, event_type),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE
);

-- Hours without events have no row.
CREATE TABLE rhythm_hour (
    tenant_id uuid NOT NULL,
    source_id uuid NOT NULL,
    event_type text NOT NULL,
    hour bigint NOT NULL,
    count bigint NOT NULL CHECK (count > 0),
    PRIMARY KEY (tenant_id, source_id, event_type, hour),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX rhythm_hour_hour ON rhythm_hour (hour);

-- Too few, too many.
CREATE TABLE rhythm_signal (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    source_id uuid NOT NULL,
    event_type text NOT NULL,
    kind smallint NOT NULL CHECK (kind BETWEEN 0 AND 1),
    since bigint NOT NULL,
    expected_milli bigint NOT NULL,
    actual bigint NOT NULL,
    opened_at bigint NOT NULL,
    ended_at bigint,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX rhythm_signal_source ON rhythm_signal (tenant_id, source_id, id);
CREATE UNIQUE INDEX rhythm_signal_open ON rhythm_signal (tenant_id, source_id, event_type, kind) WHERE ended_at IS NULL;

-- Events that must be followed by another, until it comes. `state`: 0 it may still come, 1 it is missing.
-- The tenant is the event's, which need not be the source's.
CREATE TABLE expectation (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    source_id uuid NOT NULL,
    rule text NOT NULL,
    object text NOT NULL,
    event_id uuid NOT NULL,
    wanted text NOT NULL,
    began_at bigint NOT NULL,
    due_at bigint NOT NULL,
    state smallint NOT NULL CHECK (state BETWEEN 0 AND 1),
    acknowledged_at bigint,
    acknowledged_by text,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, source_id, rule, event_id),
    CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL))
);
CREATE INDEX expectation_object ON expectation (tenant_id, source_id, rule, object);
CREATE INDEX expectation_due ON expectation (due_at, id) WHERE state = 0;
CREATE INDEX expectation_missing ON expectation (source_id, id) WHERE state = 1;

-- When the event that is waited for last came for an object, as long as it may have come before the other.
CREATE TABLE expectation_met (
    tenant_id uuid NOT NULL,
    source_id uuid NOT NULL,
    rule text NOT NULL,
    object text NOT NULL,
    met_at bigint NOT NULL,
    until bigint NOT NULL,
    PRIMARY KEY (tenant_id, source_id, rule, object)
);
CREATE INDEX expectation_met_until ON expectation_met (until);

-- What became of a rule's expectations, and how many rows there are, which is bounded.
CREATE TABLE expectation_tally (
    tenant_id uuid NOT NULL,
    source_id uuid NOT NULL,
    rule text NOT NULL,
    pending bigint NOT NULL,
    marks bigint NOT NULL,
    fulfilled bigint NOT NULL,
    late bigint NOT NULL,
    missed bigint NOT NULL,
    overflowed bigint NOT NULL,
    PRIMARY KEY (tenant_id, source_id, rule)
);
CREATE INDEX expectation_tally_source ON expectation_tally (source_id);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['rhythm_counted', 'rhythm_type', 'rhythm_hour', 'rhythm_signal', 'expectation',
        'expectation_met', 'expectation_tally'] LOOP
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

GRANT SELECT, INSERT, UPDATE, DELETE
    ON rhythm_clock, rhythm_counted, rhythm_type, rhythm_hour, rhythm_signal, expectation, expectation_met,
        expectation_tally
    TO mainstay_system;
GRANT SELECT ON rhythm_counted, rhythm_type, rhythm_hour, rhythm_signal, expectation_tally TO mainstay_app;
GRANT SELECT, UPDATE ON expectation TO mainstay_app;

-- What rules of expected events make is nothing that an event asked for.
DROP VIEW event_status;
CREATE VIEW event_status WITH (security_invoker = true) AS
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

GRANT SELECT ON event_status TO mainstay_app, mainstay_system;
