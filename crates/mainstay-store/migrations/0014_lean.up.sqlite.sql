-- What a webhook costs, cut: the record that it came is for ever, so it is small; and the first job of an event has the
-- event's id, so that no index has to lead from one to the other.

DROP VIEW event_status;

-- A record belongs to no tenant: it is the platform's, by source.
CREATE TABLE dedup_lean (
    source_number INTEGER NOT NULL,
    key BLOB NOT NULL,
    event_id BLOB NOT NULL,
    body_hash BLOB NOT NULL,
    deliveries INTEGER NOT NULL,
    main_key BLOB,
    PRIMARY KEY (source_number, key)
) STRICT, WITHOUT ROWID;
INSERT INTO dedup_lean SELECT source_number, key, event_id, body_hash, deliveries, main_key FROM dedup;
DROP TABLE dedup;
ALTER TABLE dedup_lean RENAME TO dedup;

DROP INDEX job_event;
CREATE UNIQUE INDEX job_event ON job (tenant_id, event_id, binding_id, replay_id) WHERE event_id <> id;

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
