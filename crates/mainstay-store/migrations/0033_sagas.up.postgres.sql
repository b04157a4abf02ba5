-- Sagas: definitions of several durable steps in versions, and their runs. A run is one row: its steps are a list that is
-- read and written whole, under a revision.

CREATE TABLE saga (
    tenant_id uuid NOT NULL REFERENCES tenant (id) ON DELETE RESTRICT,
    id uuid NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    -- The newest: the one that runs begin with.
    version integer NOT NULL CHECK (version > 0),
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
);
CREATE UNIQUE INDEX saga_id ON saga (id);

-- A version never changes: runs that began with it end with it.
CREATE TABLE saga_version (
    tenant_id uuid NOT NULL,
    saga_id uuid NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    definition text NOT NULL CHECK (definition::json IS NOT NULL),
    created_at bigint NOT NULL,
    by_whom text NOT NULL,
    PRIMARY KEY (tenant_id, saga_id, version),
    FOREIGN KEY (tenant_id, saga_id) REFERENCES saga (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE saga_run (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    saga_id uuid NOT NULL,
    version integer NOT NULL,
    key text,
    state smallint NOT NULL CHECK (state BETWEEN 0 AND 5),
    steps text NOT NULL CHECK (steps::json IS NOT NULL),
    -- Input and outputs: sealed where the vault is on.
    data text NOT NULL CHECK (data::json IS NOT NULL),
    -- The one job that it waits for, and when to look at it in any case.
    job_id uuid,
    due_at bigint,
    cancel text CHECK (cancel IS NULL OR cancel::json IS NOT NULL),
    error text,
    by_whom text NOT NULL,
    created_at bigint NOT NULL,
    finished_at bigint,
    -- Grows with every change: whoever steps from an older one has lost.
    revision bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    -- Refused: a saga goes when its runs have.
    FOREIGN KEY (tenant_id, saga_id) REFERENCES saga (tenant_id, id) ON DELETE RESTRICT,
    CHECK ((state IN (3, 4)) = (finished_at IS NOT NULL))
);
CREATE UNIQUE INDEX saga_run_id ON saga_run (id);
CREATE INDEX saga_run_saga ON saga_run (tenant_id, saga_id, id);
CREATE UNIQUE INDEX saga_run_key ON saga_run (tenant_id, saga_id, key) WHERE key IS NOT NULL;
-- What leads from a job that ended to the run that waits for it.
CREATE INDEX saga_run_job ON saga_run (job_id) WHERE job_id IS NOT NULL;
-- What leads to those that are due, and to those that have not ended, however many there are.
CREATE INDEX saga_run_due ON saga_run (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX saga_run_open ON saga_run (id) WHERE finished_at IS NULL;
CREATE INDEX saga_run_state ON saga_run (tenant_id, state, id);
-- For retention.
CREATE INDEX saga_run_finished ON saga_run (finished_at) WHERE finished_at IS NOT NULL;

ALTER TABLE saga ENABLE ROW LEVEL SECURITY;
ALTER TABLE saga FORCE ROW LEVEL SECURITY;
CREATE POLICY saga_app ON saga TO mainstay_app
    USING (tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid);
CREATE POLICY saga_system ON saga TO mainstay_system USING (true) WITH CHECK (true);

ALTER TABLE saga_version ENABLE ROW LEVEL SECURITY;
ALTER TABLE saga_version FORCE ROW LEVEL SECURITY;
CREATE POLICY saga_version_app ON saga_version TO mainstay_app
    USING (tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid);
CREATE POLICY saga_version_system ON saga_version TO mainstay_system USING (true) WITH CHECK (true);

ALTER TABLE saga_run ENABLE ROW LEVEL SECURITY;
ALTER TABLE saga_run FORCE ROW LEVEL SECURITY;
CREATE POLICY saga_run_app ON saga_run TO mainstay_app
    USING (tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid);
CREATE POLICY saga_run_system ON saga_run TO mainstay_system USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON saga, saga_version, saga_run TO mainstay_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON saga, saga_run TO mainstay_app;
GRANT SELECT, INSERT ON saga_version TO mainstay_app;

-- What is changed by hand is entered by the table, as with the rest of the configuration.
CREATE TRIGGER saga_by_hand AFTER INSERT OR UPDATE OR DELETE ON saga FOR EACH ROW
    WHEN (current_setting('mainstay.writer', true) IS DISTINCT FROM 'server')
    EXECUTE FUNCTION audit_by_hand();
CREATE TRIGGER saga_emptied_by_hand AFTER TRUNCATE ON saga FOR EACH STATEMENT
    WHEN (current_setting('mainstay.writer', true) IS DISTINCT FROM 'server')
    EXECUTE FUNCTION audit_by_hand();
CREATE TRIGGER saga_version_by_hand AFTER INSERT OR UPDATE OR DELETE ON saga_version FOR EACH ROW
    WHEN (current_setting('mainstay.writer', true) IS DISTINCT FROM 'server')
    EXECUTE FUNCTION audit_by_hand();
CREATE TRIGGER saga_version_emptied_by_hand AFTER TRUNCATE ON saga_version FOR EACH STATEMENT
    WHEN (current_setting('mainstay.writer', true) IS DISTINCT FROM 'server')
    EXECUTE FUNCTION audit_by_hand();
