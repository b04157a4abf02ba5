-- Values of a provider's that stand for tenants, and events whose tenant is not known yet. All of it belongs to the
-- platform and is keyed by source: no tenant sees any of it.

-- Values are compared and ordered by their bytes.
CREATE TABLE source_link (
    id uuid PRIMARY KEY,
    source_id uuid NOT NULL REFERENCES source (id) ON DELETE CASCADE,
    value text COLLATE "C" NOT NULL CHECK (length(value) <= 255),
    tenant_id uuid NOT NULL REFERENCES tenant (id) ON DELETE RESTRICT,
    created_at bigint NOT NULL,
    UNIQUE (source_id, value)
);
CREATE INDEX source_link_newest ON source_link (source_id, id);
CREATE INDEX source_link_tenant ON source_link (tenant_id);

-- Under the id that the event will have. What was acknowledged must not lose its door: a source stays while events wait.
CREATE TABLE event_waiting (
    id uuid PRIMARY KEY,
    source_id uuid NOT NULL REFERENCES source (id) ON DELETE RESTRICT,
    receipt_id uuid NOT NULL,
    received_at bigint NOT NULL,
    occurred_at bigint,
    payload_bytes bigint NOT NULL,
    source_number integer NOT NULL,
    payload_zstd boolean NOT NULL,
    dedup_key bytea NOT NULL,
    provider_id text NOT NULL,
    kind text NOT NULL,
    payload bytea NOT NULL
) WITH (toast_tuple_target = 8160);
ALTER TABLE event_waiting ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE INDEX event_waiting_source ON event_waiting (source_id, id);

-- The values that each of them waits for, in the order in which they are looked up.
CREATE TABLE event_waiting_value (
    source_id uuid NOT NULL,
    value text COLLATE "C" NOT NULL,
    event_id uuid NOT NULL REFERENCES event_waiting (id) ON DELETE CASCADE,
    place smallint NOT NULL,
    PRIMARY KEY (source_id, value, event_id)
);
CREATE INDEX event_waiting_value_event ON event_waiting_value (event_id, place);

-- Values that may have become known since events began to wait for them: work for whoever assigns.
CREATE TABLE event_waiting_due (
    source_id uuid NOT NULL REFERENCES source (id) ON DELETE CASCADE,
    value text COLLATE "C" NOT NULL,
    PRIMARY KEY (source_id, value)
);

ALTER TABLE source_link ENABLE ROW LEVEL SECURITY;
ALTER TABLE source_link FORCE ROW LEVEL SECURITY;
CREATE POLICY source_link_app ON source_link TO mainstay_app
    USING (tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid);
CREATE POLICY source_link_system ON source_link TO mainstay_system USING (true) WITH CHECK (true);

-- Nothing to mainstay_app: which values are linked to whom, and what waits, is for the platform to know.
GRANT SELECT, INSERT, UPDATE, DELETE ON source_link, event_waiting, event_waiting_value, event_waiting_due
    TO mainstay_system;
