-- Encryption at rest: data keys, wrapped by a master key that is never stored, and the rotation of now.
-- Sealed values stand in the columns that they always stood in.
CREATE TABLE data_key (
    -- What sealed values name it by, for ever.
    number integer NOT NULL PRIMARY KEY CHECK (number > 0),
    -- No reference: nil seals what belongs to nobody, and what is known of a key outlives its tenant.
    tenant_id uuid NOT NULL,
    wrapped bytea,
    master_id bytea NOT NULL CHECK (length(master_id) = 8),
    created_at bigint NOT NULL,
    retired_at bigint,
    destroyed_at bigint,
    CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
);
-- One that seals, of each tenant.
CREATE UNIQUE INDEX data_key_current ON data_key (tenant_id) WHERE retired_at IS NULL AND destroyed_at IS NULL;
CREATE INDEX data_key_tenant ON data_key (tenant_id, number);
CREATE INDEX data_key_master ON data_key (master_id) WHERE destroyed_at IS NULL;

ALTER TABLE data_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE data_key FORCE ROW LEVEL SECURITY;
-- A tenant reads its own rows' keys, and those of what belongs to nobody; without the master key they say nothing.
CREATE POLICY data_key_app_read ON data_key FOR SELECT TO mainstay_app
    USING (tenant_id IN (nullif(current_setting('mainstay.tenant', true), '')::uuid,
        '00000000-0000-0000-0000-000000000000'));
CREATE POLICY data_key_app_add ON data_key FOR INSERT TO mainstay_app
    WITH CHECK (tenant_id IN (nullif(current_setting('mainstay.tenant', true), '')::uuid,
        '00000000-0000-0000-0000-000000000000'));
CREATE POLICY data_key_system ON data_key TO mainstay_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON data_key TO mainstay_app;
GRANT SELECT, INSERT, UPDATE ON data_key TO mainstay_system;

-- One row. `changes` grows when keys are retired or destroyed, `revision` with every step of a rotation.
-- `whole`: everything is sealed.
CREATE TABLE vault_state (
    id integer PRIMARY KEY CHECK (id = 1),
    changes bigint NOT NULL,
    revision bigint NOT NULL,
    whole boolean NOT NULL DEFAULT false,
    rotation text CHECK (rotation IS NULL OR rotation::json IS NOT NULL)
);
INSERT INTO vault_state (id, changes, revision) VALUES (1, 0, 0);
GRANT SELECT ON vault_state TO mainstay_app;
GRANT SELECT, UPDATE ON vault_state TO mainstay_system;
