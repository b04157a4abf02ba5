-- For how long a worker holds an attempt without a sign of life, in milliseconds: what an owner that takes over grants it
-- once more. Null where no worker has it.
ALTER TABLE attempt_start ADD COLUMN lease_ms integer;
-- The type of before stays: a node of the version before still sends it.
CREATE TYPE attempt_start_lease_row AS (
    tenant_id uuid,
    job_id uuid,
    attempt integer,
    queue integer,
    tries integer,
    at bigint,
    lease_ms integer
);
