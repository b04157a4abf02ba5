-- Breakers in depth: one for each dependency, what people say of it, and how it changed. The table `breaker`, one for each
-- queue, stays for the version before; breakers begin closed once.

-- Written by the engine with the outcomes of attempts: no reference may refuse those.
CREATE TABLE breaker_state (
    tenant_id BLOB NOT NULL CHECK (length(tenant_id) = 16),
    -- A name, or the id of the endpoint whose own it is.
    dependency TEXT NOT NULL CHECK (dependency <> ''),
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, dependency)
) STRICT;

CREATE TABLE breaker_rule (
    tenant_id BLOB NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    dependency TEXT NOT NULL CHECK (dependency <> ''),
    -- Held open, else closed.
    open INTEGER NOT NULL CHECK (open IN (0, 1)),
    -- Until when; null: until somebody says otherwise.
    until INTEGER,
    reason TEXT NOT NULL CHECK (reason <> ''),
    by_whom TEXT NOT NULL CHECK (by_whom <> ''),
    at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, dependency)
) STRICT;

CREATE TABLE breaker_change (
    tenant_id BLOB NOT NULL CHECK (length(tenant_id) = 16),
    id BLOB NOT NULL CHECK (length(id) = 16),
    dependency TEXT NOT NULL CHECK (dependency <> ''),
    at INTEGER NOT NULL,
    from_state INTEGER NOT NULL CHECK (from_state BETWEEN 0 AND 2),
    to_state INTEGER NOT NULL CHECK (to_state BETWEEN 0 AND 2),
    why TEXT NOT NULL CHECK (why <> ''),
    count INTEGER NOT NULL CHECK (count >= 0),
    calls INTEGER NOT NULL CHECK (calls >= 0),
    error TEXT,
    by_whom TEXT,
    reason TEXT,
    until INTEGER,
    PRIMARY KEY (tenant_id, dependency, id)
) STRICT;
-- For retention.
CREATE INDEX breaker_change_at ON breaker_change (at);

CREATE TRIGGER breaker_rule_insert_by_hand AFTER INSERT ON breaker_rule BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.insert',
        '', json_object('table', 'breaker_rule'), NEW.tenant_id);
END;

CREATE TRIGGER breaker_rule_update_by_hand AFTER UPDATE ON breaker_rule BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.update',
        '', json_object('table', 'breaker_rule', 'columns', json('[' || substr(
        iif(OLD.tenant_id IS DISTINCT FROM NEW.tenant_id, ',"tenant_id"', '') ||
        iif(OLD.dependency IS DISTINCT FROM NEW.dependency, ',"dependency"', '') ||
        iif(OLD.open IS DISTINCT FROM NEW.open, ',"open"', '') ||
        iif(OLD.until IS DISTINCT FROM NEW.until, ',"until"', '') ||
        iif(OLD.reason IS DISTINCT FROM NEW.reason, ',"reason"', '') ||
        iif(OLD.by_whom IS DISTINCT FROM NEW.by_whom, ',"by_whom"', '') ||
        iif(OLD.at IS DISTINCT FROM NEW.at, ',"at"', ''), 2) || ']')), NEW.tenant_id);
END;

CREATE TRIGGER breaker_rule_delete_by_hand AFTER DELETE ON breaker_rule BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.delete',
        '', json_object('table', 'breaker_rule'), OLD.tenant_id);
END;
