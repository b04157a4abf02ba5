-- What a webhook takes on disk, cut once more. Events do not repeat what another column, or a row elsewhere, says; the index
-- of objects names types by numbers and ids by hashes. `event` is written anew: plan for as long as copying it takes. Nodes
-- of the version before name columns that are gone: stop them first.

-- The sources that there ever were. Events name theirs by number, also when it was removed.
CREATE TABLE source_known (
    number integer PRIMARY KEY,
    source_id uuid NOT NULL UNIQUE
);
-- The owner is under the policies too, and has none.
-- safe drop-protection: for this transaction; it is forced again below
ALTER TABLE source NO FORCE ROW LEVEL SECURITY;
-- safe drop-protection: for this transaction; it is forced again below
ALTER TABLE event NO FORCE ROW LEVEL SECURITY;
-- safe drop-protection: for this transaction; it is forced again below
ALTER TABLE object_event NO FORCE ROW LEVEL SECURITY;
-- safe drop-protection: for this transaction; it is forced again below
ALTER TABLE object_source NO FORCE ROW LEVEL SECURITY;
INSERT INTO source_known (number, source_id) SELECT number, id FROM source;
INSERT INTO source_known (number, source_id) SELECT DISTINCT source_number, source_id FROM event
ON CONFLICT (number) DO NOTHING;
-- A number and an id: nothing of a tenant's.
GRANT SELECT, INSERT ON source_known TO mainstay_app, mainstay_system;

DROP VIEW event_status;
-- `receipt_id` is null where it is the event's own id, `dedup_key` where it is made of the provider's id.
-- safe drop-column: the number names the source, and nothing reads the version
-- safe change-type: the same ids; no body is larger than an integer
-- safe drop-protection: null says what another column says
ALTER TABLE event
    DROP COLUMN source_id,
    DROP COLUMN config_version,
    ALTER COLUMN receipt_id DROP NOT NULL,
    ALTER COLUMN receipt_id TYPE uuid USING nullif(receipt_id, id),
    ALTER COLUMN dedup_key DROP NOT NULL,
    ALTER COLUMN payload_bytes TYPE integer;

CREATE TYPE event_small_row AS (
    tenant_id uuid,
    id uuid,
    source_number integer,
    dedup_key uuid,
    provider_id text,
    kind text,
    received_at bigint,
    occurred_at bigint,
    receipt_id uuid,
    payload_bytes integer,
    payload_zstd boolean,
    payload bytea,
    secret_id uuid,
    remote text,
    headers_zstd boolean,
    headers bytea
);

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
GRANT SELECT ON event_status TO mainstay_app, mainstay_system;

-- The types of the events that are indexed, by source: a number stands for each in `object_event`. A row goes with the last
-- event of its type.
CREATE TABLE object_kind (
    tenant_id uuid NOT NULL,
    source_number integer NOT NULL,
    kind text NOT NULL,
    number integer NOT NULL UNIQUE,
    PRIMARY KEY (tenant_id, source_number, kind)
);
CREATE INDEX object_kind_source ON object_kind (source_number, tenant_id, kind);
INSERT INTO object_kind (tenant_id, source_number, kind, number)
SELECT x.tenant_id, n.number, x.kind, row_number() OVER (ORDER BY x.tenant_id, n.number, x.kind)
FROM (SELECT DISTINCT tenant_id, source_id, kind FROM object_event) AS x
JOIN source_known AS n ON n.source_id = x.source_id;

-- One row an event, in the order of type and time. `objects` are its ids, a line for each with its
-- name before it; null: there are none.
CREATE TABLE object_event_small (
    kind_number integer NOT NULL,
    event_id uuid NOT NULL,
    objects text
) WITH (toast_tuple_target = 8160);
-- Their ids are looked for once more, in the background, since a hash stands for each: until then they have none.
INSERT INTO object_event_small (kind_number, event_id)
SELECT k.number, x.event_id FROM object_event AS x
JOIN source_known AS n ON n.source_id = x.source_id
JOIN object_kind AS k ON k.tenant_id = x.tenant_id AND k.source_number = n.number AND k.kind = x.kind
ORDER BY k.number, x.event_id;
UPDATE object_source SET rules = '', walk = NULL;
-- safe drop-table: copied above; the ids are found again in the payloads
DROP TABLE object_event, object_mention;
ALTER TABLE object_event_small RENAME TO object_event;
ALTER TABLE object_event ADD PRIMARY KEY (kind_number, event_id);

-- A hash of the tenant and an id leads to the events that the id stands in, in the order of time. Who reads looks whether the
-- event has the id: hashes may meet.
CREATE TABLE object_mention (
    hash bigint NOT NULL,
    event_id uuid NOT NULL,
    PRIMARY KEY (hash, event_id)
);

ALTER TABLE source FORCE ROW LEVEL SECURITY;
ALTER TABLE event FORCE ROW LEVEL SECURITY;
ALTER TABLE object_source FORCE ROW LEVEL SECURITY;
ALTER TABLE object_kind ENABLE ROW LEVEL SECURITY;
ALTER TABLE object_kind FORCE ROW LEVEL SECURITY;
CREATE POLICY object_kind_app ON object_kind TO mainstay_app
    USING (tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid);
CREATE POLICY object_kind_system ON object_kind TO mainstay_system USING (true) WITH CHECK (true);
-- A type is one tenant's. A scalar, here and below, since EXISTS may be planned as one look at all there is.
ALTER TABLE object_event ENABLE ROW LEVEL SECURITY;
ALTER TABLE object_event FORCE ROW LEVEL SECURITY;
CREATE POLICY object_event_app ON object_event FOR SELECT TO mainstay_app USING ((
    SELECT object_kind.number FROM object_kind
    WHERE object_kind.tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid
        AND object_kind.number = object_event.kind_number) IS NOT NULL);
CREATE POLICY object_event_system ON object_event TO mainstay_system USING (true) WITH CHECK (true);
-- A tenant sees what leads to its own events, as with `dedup`.
ALTER TABLE object_mention ENABLE ROW LEVEL SECURITY;
ALTER TABLE object_mention FORCE ROW LEVEL SECURITY;
CREATE POLICY object_mention_app ON object_mention FOR SELECT TO mainstay_app USING ((
    SELECT event.id FROM event
    WHERE event.tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid
        AND event.id = object_mention.event_id) IS NOT NULL);
-- safe drop-protection: made again below, without a plan that reads all of a tenant's events
DROP POLICY dedup_app ON dedup;
CREATE POLICY dedup_app ON dedup FOR SELECT TO mainstay_app USING ((
    SELECT event.id FROM event
    WHERE event.tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid AND event.id = dedup.event_id)
    IS NOT NULL);
CREATE POLICY object_mention_system ON object_mention TO mainstay_system USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON object_kind, object_event, object_mention TO mainstay_system;
GRANT SELECT ON object_kind, object_event, object_mention TO mainstay_app;
