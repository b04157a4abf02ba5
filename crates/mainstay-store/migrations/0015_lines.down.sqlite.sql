DROP VIEW event_status;
DROP VIEW job_state;

CREATE TABLE signal_kept AS SELECT seq, tenant_id, job_id, queue, kind, at FROM signal WHERE kind < 3;
CREATE TABLE signal_last AS SELECT seq FROM sqlite_sequence WHERE name = 'signal';
DROP TABLE signal;
CREATE TABLE signal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id BLOB NOT NULL,
    job_id BLOB NOT NULL,
    queue INTEGER NOT NULL,
    kind INTEGER NOT NULL CHECK (kind IN (0, 1, 2)),
    at INTEGER NOT NULL
) STRICT;
INSERT INTO signal (seq, tenant_id, job_id, queue, kind, at)
SELECT seq, tenant_id, job_id, queue, kind, at FROM signal_kept ORDER BY seq;
DELETE FROM sqlite_sequence WHERE name = 'signal';
INSERT INTO sqlite_sequence (name, seq) SELECT 'signal', seq FROM signal_last;
DROP TABLE signal_kept;
DROP TABLE signal_last;

-- Refused while jobs wait for their turn: nobody would give it to them.
CREATE TABLE line_must_be_empty (id BLOB NOT NULL CHECK (id IS NULL));
INSERT INTO line_must_be_empty SELECT job_id FROM line_job LIMIT 1;
DROP TABLE line_must_be_empty;
DROP TABLE line_job;
DROP TABLE line;
ALTER TABLE job DROP COLUMN order_parks;
ALTER TABLE job DROP COLUMN order_position;
ALTER TABLE job DROP COLUMN order_key;
ALTER TABLE binding DROP COLUMN ordering;

-- The clock of the database tells scheduled from waiting: a view has no other. Nothing is decided by it.
CREATE VIEW job_state AS
SELECT
    j.tenant_id,
    j.id,
    CASE
        WHEN a.attempt IS NULL AND s.attempt IS NULL THEN
            CASE WHEN j.run_at > CAST(unixepoch('subsec') * 1000000 AS INTEGER) THEN 'scheduled' ELSE 'waiting' END
        WHEN a.attempt IS NULL OR s.attempt > a.attempt THEN
            CASE WHEN a.outcome IN (0, 2, 5, 7) THEN
                CASE a.outcome WHEN 0 THEN 'done' WHEN 2 THEN 'dead' ELSE 'cancelled' END
            ELSE 'running' END
        WHEN a.outcome = 0 THEN 'done'
        WHEN a.outcome = 2 THEN 'dead'
        WHEN a.outcome IN (5, 7) THEN 'cancelled'
        -- Unknown: it may still be under way.
        WHEN a.outcome = 4 THEN 'running'
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
    j.run_at,
    coalesce(a.attempt, 0) AS attempts,
    CASE WHEN a.attempt IS NULL THEN j.run_at ELSE a.next_at END AS next_at,
    CASE WHEN a.outcome IN (0, 2, 5, 7) THEN a.finished_at END AS finished_at,
    a.error AS last_error,
    j.retry,
    j.payload
FROM job AS j
LEFT JOIN queue AS q ON q.number = j.queue
LEFT JOIN attempt AS a ON a.tenant_id = j.tenant_id AND a.job_id = j.id AND a.attempt = (
    SELECT max(last.attempt) FROM attempt AS last WHERE last.tenant_id = j.tenant_id AND last.job_id = j.id)
LEFT JOIN attempt_start AS s ON s.tenant_id = j.tenant_id AND s.job_id = j.id AND s.attempt = (
    SELECT max(last.attempt) FROM attempt_start AS last WHERE last.tenant_id = j.tenant_id AND last.job_id = j.id);

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
