-- Jobs that share an ordering key run one at a time, in the order of their commits. What belongs to one key of one
-- queue is a line: its head is an ordinary job; the others wait with a `run_at` that no clock reaches, outside of what
-- the engine reads, and are given their turn by an attempt row when the head has ended.
ALTER TABLE binding ADD COLUMN ordering text CHECK (ordering IS NULL OR ordering::json IS NOT NULL);
ALTER TABLE job
    ADD COLUMN order_key text,
    -- Lower ones come first; grows with the order of commits within a line.
    ADD COLUMN order_position bigint,
    ADD COLUMN order_parks boolean;

CREATE TABLE line (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    queue integer NOT NULL,
    key text NOT NULL CHECK (key <> ''),
    -- The job that all others wait for.
    head_id uuid NOT NULL,
    -- The last position that was given.
    last bigint NOT NULL,
    waiting bigint NOT NULL CHECK (waiting >= 0),
    since bigint NOT NULL,
    -- Since its head is a dead letter.
    parked_at bigint,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, queue, key),
    UNIQUE (tenant_id, head_id)
);
CREATE INDEX line_id ON line (id);
CREATE INDEX line_parked ON line (tenant_id, id) WHERE parked_at IS NOT NULL;

CREATE TABLE line_job (
    tenant_id uuid NOT NULL,
    line_id uuid NOT NULL,
    position bigint NOT NULL,
    job_id uuid NOT NULL,
    band smallint NOT NULL,
    -- The last attempt that is recorded; its turn is the next one.
    attempt integer NOT NULL,
    PRIMARY KEY (tenant_id, line_id, position, job_id),
    UNIQUE (tenant_id, job_id)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['line', 'line_job'] LOOP
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
GRANT SELECT, INSERT, UPDATE, DELETE ON line, line_job TO mainstay_system, mainstay_app;

ALTER TABLE signal DROP CONSTRAINT signal_kind_check;
ALTER TABLE signal ADD CONSTRAINT signal_kind_check CHECK (kind IN (0, 1, 2, 3));

-- As before, and what waits for its turn waits for no time.
DROP VIEW event_status;
DROP VIEW job_state;
CREATE VIEW job_state WITH (security_invoker = true) AS
SELECT
    j.tenant_id,
    j.id,
    CASE
        WHEN a.attempt IS NULL AND s.attempt IS NULL THEN
            CASE
                WHEN j.run_at = 9223372036854775807 THEN 'waiting'
                WHEN j.run_at > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint THEN 'scheduled'
                ELSE 'waiting'
            END
        WHEN a.attempt IS NULL OR s.attempt > a.attempt THEN
            CASE WHEN a.outcome IN (0, 2, 5, 7) THEN
                CASE a.outcome WHEN 0 THEN 'done' WHEN 2 THEN 'dead' ELSE 'cancelled' END
            ELSE 'running' END
        WHEN a.outcome = 0 THEN 'done'
        WHEN a.outcome = 2 THEN 'dead'
        WHEN a.outcome IN (5, 7) THEN 'cancelled'
        -- Unknown: it may still be under way.
        WHEN a.outcome = 4 THEN 'running'
        -- Its turn has come, and it was never tried.
        WHEN a.attempt = 1 AND a.outcome = 6 THEN 'waiting'
        ELSE 'retrying'
    END AS state,
    j.queue,
    q.name AS queue_name,
    j.kind,
    j.event_id,
    j.binding_id,
    j.replay_id,
    j.endpoint_id,
    j.created_at,
    nullif(j.run_at, 9223372036854775807) AS run_at,
    coalesce(a.attempt, 0) AS attempts,
    CASE WHEN a.attempt IS NULL THEN nullif(j.run_at, 9223372036854775807) ELSE a.next_at END AS next_at,
    CASE WHEN a.outcome IN (0, 2, 5, 7) THEN a.finished_at END AS finished_at,
    a.error AS last_error,
    j.retry,
    j.payload,
    j.order_key,
    j.order_position,
    j.order_parks,
    CASE
        WHEN a.attempt IS NULL THEN j.run_at IS NOT NULL AND j.run_at = 9223372036854775807
        ELSE a.outcome = 6 AND a.next_at IS NULL
    END AS order_waits
FROM job AS j
LEFT JOIN queue AS q ON q.number = j.queue
LEFT JOIN LATERAL (
    SELECT last.* FROM attempt AS last WHERE last.tenant_id = j.tenant_id AND last.job_id = j.id
    ORDER BY last.attempt DESC LIMIT 1
) AS a ON true
LEFT JOIN LATERAL (
    SELECT last.attempt FROM attempt_start AS last WHERE last.tenant_id = j.tenant_id AND last.job_id = j.id
    ORDER BY last.attempt DESC LIMIT 1
) AS s ON true;

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

GRANT SELECT ON job_state, event_status TO mainstay_app, mainstay_system;
