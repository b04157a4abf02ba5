-- Jobs are a log: bodies, starts and outcomes are inserted and never updated. The state of a job is derived from its
-- last attempt. No references between these tables: retention drops them step by step.
--
-- Transactions commit in another order than they begin: discovery looks at the rows whose transaction became visible
-- between two snapshots, which is what `xid` is for.

CREATE TABLE job (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    created_at bigint NOT NULL,
    run_at bigint,
    event_id uuid,
    -- Nil where there is none: a null would make every row unique.
    binding_id uuid NOT NULL,
    replay_id uuid NOT NULL,
    endpoint_id uuid,
    queue integer NOT NULL,
    band smallint NOT NULL CHECK (band >= 0),
    kind text NOT NULL,
    retry text,
    payload bytea,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX job_lane ON job (tenant_id, queue, band, id) WHERE run_at IS NULL;
CREATE INDEX job_delayed ON job (queue, run_at, tenant_id, id) WHERE run_at IS NOT NULL;
-- For retention: those that no event takes along.
CREATE INDEX job_alone ON job (tenant_id, id) WHERE event_id IS NULL;
CREATE UNIQUE INDEX job_event ON job (tenant_id, event_id, binding_id, replay_id) WHERE event_id IS NOT NULL;
-- With the id, so that a window larger than one look can be gone on with where the last look ended.
CREATE INDEX job_commit ON job (xid, id);

CREATE TABLE attempt_start (
    tenant_id uuid NOT NULL,
    job_id uuid NOT NULL,
    at bigint NOT NULL,
    attempt integer NOT NULL CHECK (attempt > 0),
    queue integer NOT NULL,
    tries integer NOT NULL,
    PRIMARY KEY (tenant_id, job_id, attempt)
);
CREATE INDEX attempt_start_at ON attempt_start (at);

-- The key is the fence: whoever comes second has lost.
CREATE TABLE attempt (
    tenant_id uuid NOT NULL,
    job_id uuid NOT NULL,
    started_at bigint NOT NULL,
    finished_at bigint NOT NULL,
    next_at bigint,
    attempt integer NOT NULL CHECK (attempt > 0),
    tries integer NOT NULL,
    queue integer NOT NULL,
    status integer,
    outcome smallint NOT NULL CHECK (outcome BETWEEN 0 AND 7),
    category smallint CHECK (category BETWEEN 0 AND 9),
    code text,
    error text,
    exchange text,
    by_whom text,
    PRIMARY KEY (tenant_id, job_id, attempt)
);
CREATE INDEX attempt_retry ON attempt (queue, next_at, tenant_id, job_id) WHERE next_at IS NOT NULL;

CREATE TABLE dead_letter (
    tenant_id uuid NOT NULL,
    job_id uuid NOT NULL,
    attempt integer NOT NULL,
    queue integer NOT NULL,
    kind text NOT NULL,
    endpoint_id uuid,
    event_id uuid,
    event_kind text,
    died_at bigint NOT NULL,
    category smallint NOT NULL CHECK (category BETWEEN 0 AND 9),
    code text NOT NULL,
    error text NOT NULL,
    status integer,
    PRIMARY KEY (tenant_id, job_id)
);
CREATE INDEX dead_letter_tenant_died ON dead_letter (tenant_id, died_at, job_id);
CREATE INDEX dead_letter_died ON dead_letter (died_at, job_id);
CREATE INDEX dead_letter_event ON dead_letter (tenant_id, event_id) WHERE event_id IS NOT NULL;

-- What a person wished about a job, found by the engine's owner in commit order.
CREATE TABLE signal (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    tenant_id uuid NOT NULL,
    job_id uuid NOT NULL,
    queue integer NOT NULL,
    kind smallint NOT NULL CHECK (kind IN (0, 1, 2)),
    at bigint NOT NULL
);
CREATE INDEX signal_commit ON signal (xid, seq);

CREATE TABLE tally (
    sequence bigint PRIMARY KEY,
    body text NOT NULL
);

CREATE TABLE checkpoint (
    id integer PRIMARY KEY CHECK (id = 1),
    sequence bigint NOT NULL,
    epoch bigint NOT NULL,
    at bigint NOT NULL,
    body text NOT NULL
);

CREATE TABLE breaker (
    queue integer PRIMARY KEY REFERENCES queue (number) ON DELETE CASCADE,
    body text NOT NULL
);

CREATE TABLE lease (
    name text PRIMARY KEY,
    holder uuid NOT NULL,
    epoch bigint NOT NULL,
    expires_at bigint NOT NULL
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['job', 'attempt_start', 'attempt', 'dead_letter', 'signal'] LOOP
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
    ON job, attempt_start, attempt, dead_letter, signal, tally, checkpoint, breaker, lease TO mainstay_system;
GRANT SELECT, INSERT ON job, attempt, signal TO mainstay_app;
GRANT SELECT ON attempt_start TO mainstay_app;
GRANT SELECT, DELETE ON dead_letter TO mainstay_app;
