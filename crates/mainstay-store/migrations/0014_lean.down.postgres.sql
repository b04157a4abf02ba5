DROP VIEW event_status;
DROP TYPE event_keyed_row;
DROP TYPE dedup_key_row;

-- The owner is under the policies too, and has none.
ALTER TABLE dedup NO FORCE ROW LEVEL SECURITY;
ALTER TABLE event NO FORCE ROW LEVEL SECURITY;
ALTER TABLE event_waiting ALTER COLUMN dedup_key TYPE bytea USING uuid_send(dedup_key);
ALTER TABLE event ALTER COLUMN dedup_key TYPE bytea USING uuid_send(dedup_key);

DROP POLICY dedup_app ON dedup;
-- Records whose event is gone belong to nobody: they still tell that it came.
CREATE TABLE dedup_before (
    tenant_id uuid NOT NULL,
    event_id uuid NOT NULL,
    source_number integer NOT NULL,
    deliveries integer NOT NULL,
    key bytea NOT NULL CONSTRAINT dedup_key_check CHECK (octet_length(key) = 16),
    body_hash bytea NOT NULL CONSTRAINT dedup_body_hash_check CHECK (octet_length(body_hash) = 8),
    main_key bytea
);
INSERT INTO dedup_before (tenant_id, event_id, source_number, deliveries, key, body_hash, main_key)
SELECT coalesce(e.tenant_id, '00000000-0000-0000-0000-000000000000'), d.event_id, d.source_number, d.deliveries,
    uuid_send(d.key), int8send(d.body_hash), uuid_send(d.main_key)
FROM dedup AS d LEFT JOIN event AS e ON e.id = d.event_id;
DROP TABLE dedup;
ALTER TABLE dedup_before RENAME TO dedup;
ALTER TABLE dedup ADD PRIMARY KEY (source_number, key);
ALTER TABLE event FORCE ROW LEVEL SECURITY;

ALTER TABLE dedup ENABLE ROW LEVEL SECURITY;
ALTER TABLE dedup FORCE ROW LEVEL SECURITY;
CREATE POLICY dedup_app ON dedup TO mainstay_app
    USING (tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid);
CREATE POLICY dedup_system ON dedup TO mainstay_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON dedup TO mainstay_system;
GRANT SELECT ON dedup TO mainstay_app;

DROP INDEX job_event;
CREATE UNIQUE INDEX job_event ON job (tenant_id, event_id, binding_id, replay_id) WHERE event_id IS NOT NULL;

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

GRANT SELECT ON event_status TO mainstay_app, mainstay_system;
