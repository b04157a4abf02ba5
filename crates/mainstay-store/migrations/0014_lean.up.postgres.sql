-- What a webhook costs, cut: the record that it came is for ever, so it is small; and the first job of an event has the
-- event's id, so that no index has to lead from one to the other.

DROP VIEW event_status;

-- A record belongs to no tenant: it is the platform's, by source. The owner is under the policies too, and has none.
ALTER TABLE dedup NO FORCE ROW LEVEL SECURITY;
DROP POLICY dedup_app ON dedup;
ALTER TABLE dedup
    DROP CONSTRAINT dedup_key_check,
    DROP CONSTRAINT dedup_body_hash_check,
    DROP COLUMN tenant_id,
    ALTER COLUMN key TYPE uuid USING encode(key, 'hex')::uuid,
    ALTER COLUMN main_key TYPE uuid USING encode(main_key, 'hex')::uuid,
    ALTER COLUMN body_hash TYPE bigint USING ('x' || encode(body_hash, 'hex'))::bit(64)::bigint;
ALTER TABLE dedup FORCE ROW LEVEL SECURITY;
-- A tenant sees how often its own events came: the inner SELECT is under the policy of `event`.
CREATE POLICY dedup_app ON dedup FOR SELECT TO mainstay_app USING (EXISTS (
    SELECT 1 FROM event
    WHERE event.tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid AND event.id = dedup.event_id));

ALTER TABLE event NO FORCE ROW LEVEL SECURITY;
ALTER TABLE event ALTER COLUMN dedup_key TYPE uuid USING encode(dedup_key, 'hex')::uuid;
ALTER TABLE event FORCE ROW LEVEL SECURITY;
ALTER TABLE event_waiting ALTER COLUMN dedup_key TYPE uuid USING encode(dedup_key, 'hex')::uuid;

CREATE TYPE dedup_key_row AS (
    source_number integer,
    key uuid,
    event_id uuid,
    body_hash bigint,
    main_key uuid
);
CREATE TYPE event_keyed_row AS (
    tenant_id uuid,
    id uuid,
    source_id uuid,
    source_number integer,
    dedup_key uuid,
    provider_id text,
    kind text,
    received_at bigint,
    occurred_at bigint,
    receipt_id uuid,
    payload_bytes bigint,
    payload_zstd boolean,
    payload bytea,
    secret_id uuid,
    remote text,
    headers_zstd boolean,
    headers bytea
);

DROP INDEX job_event;
CREATE UNIQUE INDEX job_event ON job (tenant_id, event_id, binding_id, replay_id) WHERE event_id <> id;

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
