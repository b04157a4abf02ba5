-- Encryption at rest: data keys, wrapped by a master key that is never stored, and the rotation of now.
-- Sealed values stand in the columns that they always stood in.
CREATE TABLE data_key (
    -- What sealed values name it by, for ever.
    number INTEGER NOT NULL PRIMARY KEY CHECK (number > 0),
    -- No reference: nil seals what belongs to nobody, and what is known of a key outlives its tenant.
    tenant_id BLOB NOT NULL CHECK (length(tenant_id) = 16),
    wrapped BLOB,
    master_id BLOB NOT NULL CHECK (length(master_id) = 8),
    created_at INTEGER NOT NULL,
    retired_at INTEGER,
    destroyed_at INTEGER,
    CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
) STRICT;
-- One that seals, of each tenant.
CREATE UNIQUE INDEX data_key_current ON data_key (tenant_id) WHERE retired_at IS NULL AND destroyed_at IS NULL;
CREATE INDEX data_key_tenant ON data_key (tenant_id, number);
CREATE INDEX data_key_master ON data_key (master_id) WHERE destroyed_at IS NULL;

-- One row. `changes` grows when keys are retired or destroyed, `revision` with every step of a rotation.
-- `whole`: everything is sealed.
CREATE TABLE vault_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    changes INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    whole INTEGER NOT NULL DEFAULT 0 CHECK (whole IN (0, 1)),
    rotation TEXT CHECK (rotation IS NULL OR json_valid(rotation))
) STRICT;
INSERT INTO vault_state (id, changes, revision) VALUES (1, 0, 0);
