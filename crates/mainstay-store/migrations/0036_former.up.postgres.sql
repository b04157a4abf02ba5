-- What is known of webhooks ends with nothing that people do: a source that is made again under its name knows what came
-- before it was removed. And that an expected event came is kept for each time it came, so that it is told whether one of
-- them was in time.

-- The numbers of sources that were removed, by the name that they had last.
CREATE TABLE source_former (
    tenant_id uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    name text NOT NULL CHECK (name <> ''),
    number integer NOT NULL UNIQUE,
    PRIMARY KEY (tenant_id, name)
);
ALTER TABLE source_former ENABLE ROW LEVEL SECURITY;
ALTER TABLE source_former FORCE ROW LEVEL SECURITY;
CREATE POLICY source_former_app ON source_former TO mainstay_app
    USING (tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid);
CREATE POLICY source_former_system ON source_former TO mainstay_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON source_former TO mainstay_app, mainstay_system;
-- A number gets the id of the source that was made again.
GRANT UPDATE (source_id) ON source_known TO mainstay_app, mainstay_system;

-- safe drop-protection: the key that takes its place holds one column more
ALTER TABLE expectation_met DROP CONSTRAINT expectation_met_pkey;
ALTER TABLE expectation_met ADD PRIMARY KEY (tenant_id, source_id, rule, object, met_at);
