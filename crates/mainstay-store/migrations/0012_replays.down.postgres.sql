REVOKE UPDATE ON replay FROM mainstay_app;
DROP INDEX replay_open;
DROP INDEX replay_busy;
DROP INDEX replay_tenant;
-- The owner is under the policies too, and has none.
ALTER TABLE replay NO FORCE ROW LEVEL SECURITY;
DELETE FROM replay WHERE tenant_id IS NULL;
ALTER TABLE replay FORCE ROW LEVEL SECURITY;
ALTER TABLE replay DROP CONSTRAINT replay_pkey;
ALTER TABLE replay
    DROP COLUMN endpoint_id,
    DROP COLUMN own,
    DROP COLUMN request,
    DROP COLUMN state,
    DROP COLUMN reason,
    DROP COLUMN ended_at,
    DROP COLUMN skipped,
    DROP COLUMN done,
    DROP COLUMN dead,
    DROP COLUMN cancelled,
    DROP COLUMN unfinished,
    DROP COLUMN progress,
    DROP COLUMN revision,
    ALTER COLUMN tenant_id SET NOT NULL,
    ADD PRIMARY KEY (tenant_id, id);
