DROP VIEW event_status;

-- Records whose event is gone belong to nobody: they still tell that it came.
CREATE TABLE dedup_before (
    source_number INTEGER NOT NULL,
    key BLOB NOT NULL CHECK (length(key) = 16),
    tenant_id BLOB NOT NULL,
    event_id BLOB NOT NULL,
    body_hash BLOB NOT NULL CHECK (length(body_hash) = 8),
    deliveries INTEGER NOT NULL,
    main_key BLOB,
    PRIMARY KEY (source_number, key)
) STRICT, WITHOUT ROWID;
INSERT INTO dedup_before
SELECT d.source_number, d.key, coalesce(e.tenant_id, zeroblob(16)), d.event_id, d.body_hash, d.deliveries, d.main_key
FROM dedup AS d LEFT JOIN event AS e ON e.id = d.event_id;
DROP TABLE dedup;
ALTER TABLE dedup_before RENAME TO dedup;

DROP INDEX job_event;
CREATE UNIQUE INDEX job_event ON job (tenant_id, event_id, binding_id, replay_id) WHERE event_id IS NOT NULL;

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
        FROM job_state AS s WHERE s.tenant_id = e.tenant_id AND s.event_id = e.id
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
