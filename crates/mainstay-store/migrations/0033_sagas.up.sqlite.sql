-- Sagas: definitions of several durable steps in versions, and their runs. A run is one row: its steps are a list that is
-- read and written whole, under a revision.

CREATE TABLE saga (
    tenant_id BLOB NOT NULL REFERENCES tenant (id) ON DELETE RESTRICT,
    id BLOB NOT NULL CHECK (length(id) = 16),
    name TEXT NOT NULL CHECK (name <> ''),
    -- The newest: the one that runs begin with.
    version INTEGER NOT NULL CHECK (version > 0),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
) STRICT;
CREATE UNIQUE INDEX saga_id ON saga (id);

-- A version never changes: runs that began with it end with it.
CREATE TABLE saga_version (
    tenant_id BLOB NOT NULL,
    saga_id BLOB NOT NULL CHECK (length(saga_id) = 16),
    version INTEGER NOT NULL CHECK (version > 0),
    definition TEXT NOT NULL CHECK (json_valid(definition)),
    created_at INTEGER NOT NULL,
    by_whom TEXT NOT NULL,
    PRIMARY KEY (tenant_id, saga_id, version),
    FOREIGN KEY (tenant_id, saga_id) REFERENCES saga (tenant_id, id) ON DELETE CASCADE
) STRICT;

CREATE TABLE saga_run (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    saga_id BLOB NOT NULL,
    version INTEGER NOT NULL,
    key TEXT,
    state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 5),
    steps TEXT NOT NULL CHECK (json_valid(steps)),
    -- Input and outputs: sealed where the vault is on.
    data TEXT NOT NULL CHECK (json_valid(data)),
    -- The one job that it waits for, and when to look at it in any case.
    job_id BLOB,
    due_at INTEGER,
    cancel TEXT CHECK (cancel IS NULL OR json_valid(cancel)),
    error TEXT,
    by_whom TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    -- Grows with every change: whoever steps from an older one has lost.
    revision INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    -- Refused: a saga goes when its runs have.
    FOREIGN KEY (tenant_id, saga_id) REFERENCES saga (tenant_id, id) ON DELETE RESTRICT,
    CHECK ((state IN (3, 4)) = (finished_at IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX saga_run_id ON saga_run (id);
CREATE INDEX saga_run_saga ON saga_run (tenant_id, saga_id, id);
CREATE UNIQUE INDEX saga_run_key ON saga_run (tenant_id, saga_id, key) WHERE key IS NOT NULL;
-- What leads from a job that ended to the run that waits for it.
CREATE INDEX saga_run_job ON saga_run (job_id) WHERE job_id IS NOT NULL;
-- What leads to those that are due, and to those that have not ended, however many there are.
CREATE INDEX saga_run_due ON saga_run (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX saga_run_open ON saga_run (id) WHERE finished_at IS NULL;
CREATE INDEX saga_run_state ON saga_run (tenant_id, state, id);
-- For retention.
CREATE INDEX saga_run_finished ON saga_run (finished_at) WHERE finished_at IS NOT NULL;

-- What is changed by hand is entered by the table, as with the rest of the configuration.
CREATE TRIGGER saga_insert_by_hand AFTER INSERT ON saga BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.insert',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'saga'), NEW.tenant_id);
END;

CREATE TRIGGER saga_update_by_hand AFTER UPDATE ON saga BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.update',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'saga', 'columns', json('[' || substr(
        iif(OLD.tenant_id IS DISTINCT FROM NEW.tenant_id, ',"tenant_id"', '') ||
        iif(OLD.id IS DISTINCT FROM NEW.id, ',"id"', '') ||
        iif(OLD.name IS DISTINCT FROM NEW.name, ',"name"', '') ||
        iif(OLD.version IS DISTINCT FROM NEW.version, ',"version"', '') ||
        iif(OLD.created_at IS DISTINCT FROM NEW.created_at, ',"created_at"', '') ||
        iif(OLD.updated_at IS DISTINCT FROM NEW.updated_at, ',"updated_at"', ''), 2) || ']')), NEW.tenant_id);
END;

CREATE TRIGGER saga_delete_by_hand AFTER DELETE ON saga BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.delete',
        lower(substr(hex(OLD.id), 1, 8) || '-' || substr(hex(OLD.id), 9, 4) || '-' || substr(hex(OLD.id), 13, 4) || '-' || substr(hex(OLD.id), 17, 4) || '-' || substr(hex(OLD.id), 21, 12)),
        json_object('table', 'saga'), OLD.tenant_id);
END;

CREATE TRIGGER saga_version_insert_by_hand AFTER INSERT ON saga_version BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.insert',
        lower(substr(hex(NEW.saga_id), 1, 8) || '-' || substr(hex(NEW.saga_id), 9, 4) || '-' || substr(hex(NEW.saga_id), 13, 4) || '-' || substr(hex(NEW.saga_id), 17, 4) || '-' || substr(hex(NEW.saga_id), 21, 12)),
        json_object('table', 'saga_version'), NEW.tenant_id);
END;

CREATE TRIGGER saga_version_update_by_hand AFTER UPDATE ON saga_version BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.update',
        lower(substr(hex(NEW.saga_id), 1, 8) || '-' || substr(hex(NEW.saga_id), 9, 4) || '-' || substr(hex(NEW.saga_id), 13, 4) || '-' || substr(hex(NEW.saga_id), 17, 4) || '-' || substr(hex(NEW.saga_id), 21, 12)),
        json_object('table', 'saga_version', 'columns', json('[' || substr(
        iif(OLD.tenant_id IS DISTINCT FROM NEW.tenant_id, ',"tenant_id"', '') ||
        iif(OLD.saga_id IS DISTINCT FROM NEW.saga_id, ',"saga_id"', '') ||
        iif(OLD.version IS DISTINCT FROM NEW.version, ',"version"', '') ||
        iif(OLD.definition IS DISTINCT FROM NEW.definition, ',"definition"', '') ||
        iif(OLD.created_at IS DISTINCT FROM NEW.created_at, ',"created_at"', '') ||
        iif(OLD.by_whom IS DISTINCT FROM NEW.by_whom, ',"by_whom"', ''), 2) || ']')), NEW.tenant_id);
END;

CREATE TRIGGER saga_version_delete_by_hand AFTER DELETE ON saga_version BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.delete',
        lower(substr(hex(OLD.saga_id), 1, 8) || '-' || substr(hex(OLD.saga_id), 9, 4) || '-' || substr(hex(OLD.saga_id), 13, 4) || '-' || substr(hex(OLD.saga_id), 17, 4) || '-' || substr(hex(OLD.saga_id), 21, 12)),
        json_object('table', 'saga_version'), OLD.tenant_id);
END;
