DROP VIEW event_status;
DROP TYPE event_small_row;

-- The owner is under the policies too, and has none.
ALTER TABLE event NO FORCE ROW LEVEL SECURITY;
ALTER TABLE dedup NO FORCE ROW LEVEL SECURITY;
ALTER TABLE object_kind NO FORCE ROW LEVEL SECURITY;
ALTER TABLE object_event NO FORCE ROW LEVEL SECURITY;
ALTER TABLE object_source NO FORCE ROW LEVEL SECURITY;

ALTER TABLE event
    ADD COLUMN source_id uuid,
    ADD COLUMN config_version bigint NOT NULL DEFAULT 0,
    ALTER COLUMN payload_bytes TYPE bigint;
-- The record of its provider's id is the one without a main key.
CREATE TEMPORARY TABLE event_key ON COMMIT DROP AS
SELECT event_id, key FROM dedup WHERE main_key IS NULL;
CREATE INDEX event_key_event ON event_key (event_id);
UPDATE event SET
    source_id = (SELECT n.source_id FROM source_known AS n WHERE n.number = event.source_number),
    receipt_id = coalesce(receipt_id, id),
    dedup_key = coalesce(dedup_key, (SELECT k.key FROM event_key AS k WHERE k.event_id = event.id LIMIT 1),
        '00000000-0000-0000-0000-000000000000');
ALTER TABLE event
    ALTER COLUMN source_id SET NOT NULL,
    ALTER COLUMN config_version DROP DEFAULT,
    ALTER COLUMN receipt_id SET NOT NULL,
    ALTER COLUMN dedup_key SET NOT NULL;

CREATE TABLE object_event_before (
    tenant_id uuid NOT NULL,
    source_id uuid NOT NULL,
    kind text NOT NULL,
    event_id uuid NOT NULL,
    objects text NOT NULL
) WITH (toast_tuple_target = 8160);
INSERT INTO object_event_before (tenant_id, source_id, kind, event_id, objects)
SELECT k.tenant_id, n.source_id, k.kind, x.event_id, '[]' FROM object_event AS x
JOIN object_kind AS k ON k.number = x.kind_number
JOIN source_known AS n ON n.number = k.source_number;
UPDATE object_source SET rules = '', walk = NULL;
DROP TABLE object_event, object_mention, object_kind;
DROP TABLE source_known;
ALTER TABLE object_event_before RENAME TO object_event;
ALTER TABLE object_event ADD PRIMARY KEY (tenant_id, source_id, kind, event_id);
CREATE TABLE object_mention (
    tenant_id uuid NOT NULL,
    object text COLLATE "C" NOT NULL,
    event_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, object, event_id)
);
DROP POLICY dedup_app ON dedup;
CREATE POLICY dedup_app ON dedup FOR SELECT TO mainstay_app USING (EXISTS (
    SELECT 1 FROM event
    WHERE event.tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid AND event.id = dedup.event_id));
ALTER TABLE event FORCE ROW LEVEL SECURITY;
ALTER TABLE dedup FORCE ROW LEVEL SECURITY;
ALTER TABLE object_source FORCE ROW LEVEL SECURITY;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['object_event', 'object_mention'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY %I ON %I TO mainstay_app '
            'USING (tenant_id = nullif(current_setting(''mainstay.tenant'', true), '''')::uuid)',
            name || '_app', name);
        EXECUTE format(
            'CREATE POLICY %I ON %I TO mainstay_system USING (true) WITH CHECK (true)', name || '_system', name);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON object_event, object_mention TO mainstay_system;
GRANT SELECT ON object_event, object_mention TO mainstay_app;

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
