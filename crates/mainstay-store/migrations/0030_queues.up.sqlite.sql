-- What a team says of a queue: whether it runs, and how much of it.

-- A row for each queue of which anything was ever said.
CREATE TABLE queue_rule (
    queue INTEGER PRIMARY KEY REFERENCES queue (number) ON DELETE CASCADE,
    flow INTEGER NOT NULL CHECK (flow BETWEEN 0 AND 2),
    flow_at INTEGER NOT NULL,
    limits TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TRIGGER queue_rule_insert_by_hand AFTER INSERT ON queue_rule BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.insert',
        '', json_object('table', 'queue_rule'), NULL);
END;

CREATE TRIGGER queue_rule_update_by_hand AFTER UPDATE ON queue_rule BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.update',
        '', json_object('table', 'queue_rule', 'columns', json('[' || substr(
        iif(OLD.queue IS DISTINCT FROM NEW.queue, ',"queue"', '') ||
        iif(OLD.flow IS DISTINCT FROM NEW.flow, ',"flow"', '') ||
        iif(OLD.flow_at IS DISTINCT FROM NEW.flow_at, ',"flow_at"', '') ||
        iif(OLD.limits IS DISTINCT FROM NEW.limits, ',"limits"', '') ||
        iif(OLD.updated_at IS DISTINCT FROM NEW.updated_at, ',"updated_at"', ''), 2) || ']')), NULL);
END;

CREATE TRIGGER queue_rule_delete_by_hand AFTER DELETE ON queue_rule BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.delete',
        '', json_object('table', 'queue_rule'), NULL);
END;
