-- Schedules: cron rules that make jobs, and what became of each of their ticks.

CREATE TABLE schedule (
    tenant_id BLOB NOT NULL REFERENCES tenant (id) ON DELETE RESTRICT,
    id BLOB NOT NULL CHECK (length(id) = 16),
    name TEXT NOT NULL CHECK (name <> ''),
    cron TEXT NOT NULL CHECK (cron <> ''),
    zone TEXT NOT NULL CHECK (zone <> ''),
    kind TEXT NOT NULL CHECK (kind <> ''),
    endpoint_id BLOB,
    queue INTEGER NOT NULL REFERENCES queue (number) ON DELETE RESTRICT,
    payload TEXT CHECK (payload IS NULL OR json_valid(payload)),
    retry TEXT CHECK (retry IS NULL OR json_valid(retry)),
    misfire INTEGER NOT NULL CHECK (misfire BETWEEN 0 AND 2),
    grace_ms INTEGER NOT NULL CHECK (grace_ms > 0),
    catch_up_max INTEGER NOT NULL CHECK (catch_up_max > 0),
    overlap INTEGER NOT NULL CHECK (overlap BETWEEN 0 AND 2),
    jitter_ms INTEGER NOT NULL CHECK (jitter_ms >= 0),
    paused INTEGER NOT NULL CHECK (paused IN (0, 1)),
    -- The first tick that nothing is decided about, and when to look at it; null: there is none, or it is paused.
    next_tick INTEGER,
    next_at INTEGER,
    last_tick INTEGER,
    last_job_id BLOB,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- Grows with every change: whoever steps from an older one has lost.
    revision INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name),
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES endpoint (tenant_id, id) ON DELETE RESTRICT,
    CHECK ((next_tick IS NULL) = (next_at IS NULL))
) STRICT;
CREATE UNIQUE INDEX schedule_id ON schedule (id);
CREATE INDEX schedule_endpoint ON schedule (tenant_id, endpoint_id);
CREATE INDEX schedule_queue ON schedule (queue);
-- What leads to those that are due, however many there are.
CREATE INDEX schedule_due ON schedule (next_at, id) WHERE next_at IS NOT NULL;

-- The key is the fence: a tick has one row, and its job is inserted with it.
CREATE TABLE schedule_tick (
    tenant_id BLOB NOT NULL,
    schedule_id BLOB NOT NULL CHECK (length(schedule_id) = 16),
    tick INTEGER NOT NULL,
    outcome INTEGER NOT NULL CHECK (outcome BETWEEN 0 AND 3),
    job_id BLOB,
    -- Of several that were missed together, the first; `tick` is the last of them.
    since INTEGER,
    count INTEGER NOT NULL CHECK (count > 0),
    decided_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, schedule_id, tick),
    FOREIGN KEY (tenant_id, schedule_id) REFERENCES schedule (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
-- For retention.
CREATE INDEX schedule_tick_tick ON schedule_tick (tick);

-- What is changed by hand is entered by the table, as with the rest of the configuration.
CREATE TRIGGER schedule_insert_by_hand AFTER INSERT ON schedule BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.insert',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'schedule'), NEW.tenant_id);
END;

CREATE TRIGGER schedule_update_by_hand AFTER UPDATE ON schedule BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.update',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'schedule', 'columns', json('[' || substr(
        iif(OLD.tenant_id IS DISTINCT FROM NEW.tenant_id, ',"tenant_id"', '') ||
        iif(OLD.id IS DISTINCT FROM NEW.id, ',"id"', '') ||
        iif(OLD.name IS DISTINCT FROM NEW.name, ',"name"', '') ||
        iif(OLD.cron IS DISTINCT FROM NEW.cron, ',"cron"', '') ||
        iif(OLD.zone IS DISTINCT FROM NEW.zone, ',"zone"', '') ||
        iif(OLD.kind IS DISTINCT FROM NEW.kind, ',"kind"', '') ||
        iif(OLD.endpoint_id IS DISTINCT FROM NEW.endpoint_id, ',"endpoint_id"', '') ||
        iif(OLD.queue IS DISTINCT FROM NEW.queue, ',"queue"', '') ||
        iif(OLD.payload IS DISTINCT FROM NEW.payload, ',"payload"', '') ||
        iif(OLD.retry IS DISTINCT FROM NEW.retry, ',"retry"', '') ||
        iif(OLD.misfire IS DISTINCT FROM NEW.misfire, ',"misfire"', '') ||
        iif(OLD.grace_ms IS DISTINCT FROM NEW.grace_ms, ',"grace_ms"', '') ||
        iif(OLD.catch_up_max IS DISTINCT FROM NEW.catch_up_max, ',"catch_up_max"', '') ||
        iif(OLD.overlap IS DISTINCT FROM NEW.overlap, ',"overlap"', '') ||
        iif(OLD.jitter_ms IS DISTINCT FROM NEW.jitter_ms, ',"jitter_ms"', '') ||
        iif(OLD.paused IS DISTINCT FROM NEW.paused, ',"paused"', '') ||
        iif(OLD.next_tick IS DISTINCT FROM NEW.next_tick, ',"next_tick"', '') ||
        iif(OLD.next_at IS DISTINCT FROM NEW.next_at, ',"next_at"', '') ||
        iif(OLD.last_tick IS DISTINCT FROM NEW.last_tick, ',"last_tick"', '') ||
        iif(OLD.last_job_id IS DISTINCT FROM NEW.last_job_id, ',"last_job_id"', '') ||
        iif(OLD.created_at IS DISTINCT FROM NEW.created_at, ',"created_at"', '') ||
        iif(OLD.updated_at IS DISTINCT FROM NEW.updated_at, ',"updated_at"', '') ||
        iif(OLD.revision IS DISTINCT FROM NEW.revision, ',"revision"', ''), 2) || ']')), NEW.tenant_id);
END;

CREATE TRIGGER schedule_delete_by_hand AFTER DELETE ON schedule BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.delete',
        lower(substr(hex(OLD.id), 1, 8) || '-' || substr(hex(OLD.id), 9, 4) || '-' || substr(hex(OLD.id), 13, 4) || '-' || substr(hex(OLD.id), 17, 4) || '-' || substr(hex(OLD.id), 21, 12)),
        json_object('table', 'schedule'), OLD.tenant_id);
END;
