-- safe drop-protection: made again below, without the column
DROP TRIGGER api_key_update_by_hand;
-- safe drop-column: what was said of single keys is gone, and all keys may make what the configuration says
ALTER TABLE api_key DROP COLUMN limits;
CREATE TRIGGER api_key_update_by_hand AFTER UPDATE ON api_key BEGIN
    INSERT INTO audit (id, at, actor, action, subject, detail, tenant_id)
    VALUES (randomblob(16), CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 'database', 'sql.update',
        lower(substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4) || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21, 12)),
        json_object('table', 'api_key', 'columns', json('[' || substr(
        iif(OLD.id IS NOT NEW.id, ',"id"', '') ||
        iif(OLD.name IS NOT NEW.name, ',"name"', '') ||
        iif(OLD.role IS NOT NEW.role, ',"role"', '') ||
        iif(OLD.tenant_id IS NOT NEW.tenant_id, ',"tenant_id"', '') ||
        iif(OLD.digest IS NOT NEW.digest, ',"digest"', '') ||
        iif(OLD.created_at IS NOT NEW.created_at, ',"created_at"', '') ||
        iif(OLD.expires_at IS NOT NEW.expires_at, ',"expires_at"', '') ||
        iif(OLD.last_used_at IS NOT NEW.last_used_at, ',"last_used_at"', ''), 2) || ']')), NEW.tenant_id);
END;
