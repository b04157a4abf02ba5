-- Jobs are a log: bodies, starts and outcomes are inserted and never updated. The state of a job is derived from its
-- last attempt. No references between these tables: retention drops them step by step.
--
-- The one writer commits in the order of `seq`, so that it is the order of discovery; numbers are never used again.

CREATE TABLE job (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    queue INTEGER NOT NULL,
    band INTEGER NOT NULL CHECK (band >= 0),
    kind TEXT NOT NULL,
    event_id BLOB,
    -- Nil where there is none: a null would make every row unique.
    binding_id BLOB NOT NULL,
    replay_id BLOB NOT NULL,
    endpoint_id BLOB,
    run_at INTEGER,
    created_at INTEGER NOT NULL,
    retry TEXT,
    payload BLOB,
    UNIQUE (tenant_id, id)
) STRICT;
CREATE INDEX job_lane ON job (tenant_id, queue, band, id) WHERE run_at IS NULL;
CREATE INDEX job_delayed ON job (queue, run_at, tenant_id, id) WHERE run_at IS NOT NULL;
-- For retention: those that no event takes along.
CREATE INDEX job_alone ON job (tenant_id, id) WHERE event_id IS NULL;
CREATE UNIQUE INDEX job_event ON job (tenant_id, event_id, binding_id, replay_id) WHERE event_id IS NOT NULL;

CREATE TABLE attempt_start (
    tenant_id BLOB NOT NULL,
    job_id BLOB NOT NULL,
    attempt INTEGER NOT NULL CHECK (attempt > 0),
    queue INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, job_id, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_start_at ON attempt_start (at);

-- The key is the fence: whoever comes second has lost.
CREATE TABLE attempt (
    tenant_id BLOB NOT NULL,
    job_id BLOB NOT NULL,
    attempt INTEGER NOT NULL CHECK (attempt > 0),
    tries INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    outcome INTEGER NOT NULL CHECK (outcome BETWEEN 0 AND 7),
    started_at INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    next_at INTEGER,
    category INTEGER CHECK (category BETWEEN 0 AND 9),
    code TEXT,
    error TEXT,
    status INTEGER,
    exchange TEXT,
    by_whom TEXT,
    PRIMARY KEY (tenant_id, job_id, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_retry ON attempt (queue, next_at, tenant_id, job_id) WHERE next_at IS NOT NULL;

CREATE TABLE dead_letter (
    tenant_id BLOB NOT NULL,
    job_id BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    kind TEXT NOT NULL,
    endpoint_id BLOB,
    event_id BLOB,
    event_kind TEXT,
    died_at INTEGER NOT NULL,
    category INTEGER NOT NULL CHECK (category BETWEEN 0 AND 9),
    code TEXT NOT NULL,
    error TEXT NOT NULL,
    status INTEGER,
    PRIMARY KEY (tenant_id, job_id)
) STRICT;
CREATE INDEX dead_letter_tenant_died ON dead_letter (tenant_id, died_at, job_id);
CREATE INDEX dead_letter_died ON dead_letter (died_at, job_id);
CREATE INDEX dead_letter_event ON dead_letter (tenant_id, event_id) WHERE event_id IS NOT NULL;

-- What a person wished about a job, found by the engine's owner in commit order.
CREATE TABLE signal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id BLOB NOT NULL,
    job_id BLOB NOT NULL,
    queue INTEGER NOT NULL,
    kind INTEGER NOT NULL CHECK (kind IN (0, 1, 2)),
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE tally (
    sequence INTEGER PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE checkpoint (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    sequence INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE breaker (
    queue INTEGER PRIMARY KEY REFERENCES queue (number) ON DELETE CASCADE,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE lease (
    name TEXT NOT NULL PRIMARY KEY,
    holder BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
