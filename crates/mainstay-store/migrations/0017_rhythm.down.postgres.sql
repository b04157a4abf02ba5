DROP VIEW event_status;
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

GRANT SELECT ON event_status TO mainstay_app, mainstay_system;

DROP TABLE expectation_tally, expectation_met, expectation, rhythm_signal, rhythm_hour, rhythm_type, rhythm_counted,
    rhythm_clock;
