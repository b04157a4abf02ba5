-- A job may have a deadline: it is not begun at or after it. Null for those that have none; taken away when somebody runs
-- the job again, which the application may do, and change nothing else.
ALTER TABLE job ADD COLUMN deadline bigint;
GRANT UPDATE (deadline) ON job TO mainstay_app, mainstay_system;
-- The type of before stays: a node of the version before still sends it.
CREATE TYPE job_deadline_row AS (
    tenant_id uuid,
    id uuid,
    queue integer,
    band smallint,
    kind text,
    event_id uuid,
    binding_id uuid,
    replay_id uuid,
    endpoint_id uuid,
    run_at bigint,
    created_at bigint,
    retry text,
    payload bytea,
    deadline bigint
);
-- The deadline of a binding's jobs: so long after they are made.
ALTER TABLE binding ADD COLUMN expires_in_secs bigint CHECK (expires_in_secs > 0);

-- As before, and with the deadline.
CREATE OR REPLACE VIEW job_state WITH (security_invoker = true) AS
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
    END AS order_waits,
    j.deadline
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
