-- How many requests a key may make, where that differs from what all keys may: JSON, see `RateOverride`.
ALTER TABLE api_key ADD COLUMN limits TEXT NOT NULL DEFAULT '[]';

-- safe drop-protection: made again below, with the new column
DROP TRIGGER api_key_update_by_hand;
CREATE TRIGGER api_key_update_by_hand AFTER UPDATE ON api_key BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.update',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'api_key', 'columns', json('[' || substr(
        iif(OLD.id IS DISTINCT FROM NEW.id, ',"id"', '') ||
        iif(OLD.name IS DISTINCT FROM NEW.name, ',"name"', '') ||
        iif(OLD.role IS DISTINCT FROM NEW.role, ',"role"', '') ||
        iif(OLD.tenant_id IS DISTINCT FROM NEW.tenant_id, ',"tenant_id"', '') ||
        iif(OLD.digest IS DISTINCT FROM NEW.digest, ',"digest"', '') ||
        iif(OLD.created_at IS DISTINCT FROM NEW.created_at, ',"created_at"', '') ||
        iif(OLD.expires_at IS DISTINCT FROM NEW.expires_at, ',"expires_at"', '') ||
        iif(OLD.last_used_at IS DISTINCT FROM NEW.last_used_at, ',"last_used_at"', '') ||
        iif(OLD.limits IS DISTINCT FROM NEW.limits, ',"limits"', ''), 2) || ']')), NEW.tenant_id);
END;
