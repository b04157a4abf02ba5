CREATE TABLE replay_kept AS SELECT * FROM replay WHERE tenant_id IS NOT NULL;
DROP TABLE replay;
CREATE TABLE replay (
    tenant_id BLOB NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    id BLOB NOT NULL CHECK (length(id) = 16),
    created_at INTEGER NOT NULL,
    by_whom TEXT NOT NULL,
    binding_id BLOB,
    events INTEGER NOT NULL,
    jobs INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;
INSERT INTO replay (tenant_id, id, created_at, by_whom, binding_id, events, jobs)
SELECT tenant_id, id, created_at, by_whom, binding_id, events, jobs FROM replay_kept;
DROP TABLE replay_kept;
