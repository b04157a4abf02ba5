-- Jobs that there is to be one of: which job has which key of a queue.
CREATE TABLE unique_key (
    tenant_id BLOB NOT NULL,
    queue INTEGER NOT NULL,
    -- A digest of what the team calls it.
    key TEXT NOT NULL CHECK (key <> ''),
    job_id BLOB NOT NULL CHECK (length(job_id) = 16),
    -- When it was submitted, and the first of those that others have replaced since.
    at INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, queue, key)
) STRICT;
-- For retention.
CREATE INDEX unique_key_at ON unique_key (at);
