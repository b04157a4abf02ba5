-- Jobs that there is to be one of: which job has which key of a queue.
CREATE TABLE unique_key (
    tenant_id uuid NOT NULL,
    queue integer NOT NULL,
    -- A digest of what the team calls it.
    key text NOT NULL CHECK (key <> ''),
    job_id uuid NOT NULL,
    -- When it was submitted, and the first of those that others have replaced since.
    at bigint NOT NULL,
    first_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, queue, key)
);
-- For retention.
CREATE INDEX unique_key_at ON unique_key (at);

ALTER TABLE unique_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE unique_key FORCE ROW LEVEL SECURITY;
CREATE POLICY unique_key_app ON unique_key TO mainstay_app
    USING (tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid);
CREATE POLICY unique_key_system ON unique_key TO mainstay_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON unique_key TO mainstay_system;
GRANT SELECT, INSERT, UPDATE ON unique_key TO mainstay_app;
