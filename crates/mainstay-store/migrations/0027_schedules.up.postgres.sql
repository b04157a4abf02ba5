-- Schedules: cron rules that make jobs, and what became of each of their ticks.

CREATE TABLE schedule (
    tenant_id uuid NOT NULL REFERENCES tenant (id) ON DELETE RESTRICT,
    id uuid NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    cron text NOT NULL CHECK (cron <> ''),
    zone text NOT NULL CHECK (zone <> ''),
    kind text NOT NULL CHECK (kind <> ''),
    endpoint_id uuid,
    queue integer NOT NULL REFERENCES queue (number) ON DELETE RESTRICT,
    payload text CHECK (payload IS NULL OR payload::json IS NOT NULL),
    retry text CHECK (retry IS NULL OR retry::json IS NOT NULL),
    misfire smallint NOT NULL CHECK (misfire BETWEEN 0 AND 2),
    grace_ms bigint NOT NULL CHECK (grace_ms > 0),
    catch_up_max bigint NOT NULL CHECK (catch_up_max > 0),
    overlap smallint NOT NULL CHECK (overlap BETWEEN 0 AND 2),
    jitter_ms bigint NOT NULL CHECK (jitter_ms >= 0),
    paused boolean NOT NULL,
    -- The first tick that nothing is decided about, and when to look at it; null: there is none, or it is paused.
    next_tick bigint,
    next_at bigint,
    last_tick bigint,
    last_job_id uuid,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    -- Grows with every change: whoever steps from an older one has lost.
    revision bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name),
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES endpoint (tenant_id, id) ON DELETE RESTRICT,
    CHECK ((next_tick IS NULL) = (next_at IS NULL))
);
CREATE UNIQUE INDEX schedule_id ON schedule (id);
CREATE INDEX schedule_endpoint ON schedule (tenant_id, endpoint_id);
CREATE INDEX schedule_queue ON schedule (queue);
-- What leads to those that are due, however many there are.
CREATE INDEX schedule_due ON schedule (next_at, id) WHERE next_at IS NOT NULL;

-- The key is the fence: a tick has one row, and its job is inserted with it.
CREATE TABLE schedule_tick (
    tenant_id uuid NOT NULL,
    schedule_id uuid NOT NULL,
    tick bigint NOT NULL,
    outcome smallint NOT NULL CHECK (outcome BETWEEN 0 AND 3),
    job_id uuid,
    -- Of several that were missed together, the first; `tick` is the last of them.
    since bigint,
    count bigint NOT NULL CHECK (count > 0),
    decided_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, schedule_id, tick),
    FOREIGN KEY (tenant_id, schedule_id) REFERENCES schedule (tenant_id, id) ON DELETE CASCADE
);
-- For retention.
CREATE INDEX schedule_tick_tick ON schedule_tick (tick);

ALTER TABLE schedule ENABLE ROW LEVEL SECURITY;
ALTER TABLE schedule FORCE ROW LEVEL SECURITY;
CREATE POLICY schedule_app ON schedule TO mainstay_app
    USING (tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid);
CREATE POLICY schedule_system ON schedule TO mainstay_system USING (true) WITH CHECK (true);
ALTER TABLE schedule_tick ENABLE ROW LEVEL SECURITY;
ALTER TABLE schedule_tick FORCE ROW LEVEL SECURITY;
CREATE POLICY schedule_tick_app ON schedule_tick TO mainstay_app
    USING (tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid);
CREATE POLICY schedule_tick_system ON schedule_tick TO mainstay_system USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON schedule, schedule_tick TO mainstay_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON schedule TO mainstay_app;
GRANT SELECT, INSERT, DELETE ON schedule_tick TO mainstay_app;

-- What is changed by hand is entered by the table, as with the rest of the configuration.
CREATE TRIGGER schedule_by_hand AFTER INSERT OR UPDATE OR DELETE ON schedule FOR EACH ROW
    WHEN (current_setting('mainstay.writer', true) IS DISTINCT FROM 'server')
    EXECUTE FUNCTION audit_by_hand();
CREATE TRIGGER schedule_emptied_by_hand AFTER TRUNCATE ON schedule FOR EACH STATEMENT
    WHEN (current_setting('mainstay.writer', true) IS DISTINCT FROM 'server')
    EXECUTE FUNCTION audit_by_hand();
