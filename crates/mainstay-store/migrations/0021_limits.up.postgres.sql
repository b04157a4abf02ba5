-- What came again with other content, and series of counts for that and for what was told to come again.

-- In the commit of the request that brought it, and removed with its event. Of one whose tenant is not known yet the tenant
-- is nil. A row for each other content; the content itself of the first few.
CREATE TABLE event_conflict (
    tenant_id uuid NOT NULL,
    event_id uuid NOT NULL,
    body_hash bytea NOT NULL CHECK (octet_length(body_hash) = 8),
    receipt_id uuid NOT NULL,
    first_at bigint NOT NULL,
    last_at bigint NOT NULL,
    times bigint NOT NULL CHECK (times > 0),
    payload_bytes bigint NOT NULL,
    payload_zstd boolean,
    payload bytea,
    PRIMARY KEY (tenant_id, event_id, body_hash)
);

ALTER TABLE event_conflict ENABLE ROW LEVEL SECURITY;
ALTER TABLE event_conflict FORCE ROW LEVEL SECURITY;
CREATE POLICY event_conflict_app ON event_conflict TO mainstay_app
    USING (tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid);
CREATE POLICY event_conflict_system ON event_conflict TO mainstay_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON event_conflict TO mainstay_system;
GRANT SELECT ON event_conflict TO mainstay_app;

-- The program knows which series there are.
ALTER TABLE sample DROP CONSTRAINT sample_series_check;
ALTER TABLE sample ADD CONSTRAINT sample_series_check CHECK (series BETWEEN 0 AND 99);
