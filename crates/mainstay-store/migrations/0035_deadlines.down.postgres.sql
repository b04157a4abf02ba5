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
            AND s.kind <> 'expect.observe'
    ) AS status,
    (SELECT n.source_id FROM source_known AS n WHERE n.number = e.source_number) AS source_id,
    e.source_number,
    e.dedup_key,
    e.provider_id,
    e.kind,
    e.received_at,
    e.occurred_at,
    coalesce(e.receipt_id, e.id) AS receipt_id,
    e.payload_bytes
FROM event AS e;
GRANT SELECT ON job_state, event_status TO mainstay_app, mainstay_system;
DROP TYPE job_deadline_row;
ALTER TABLE job DROP COLUMN deadline;
ALTER TABLE binding DROP COLUMN expires_in_secs;
