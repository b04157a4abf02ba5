-- A replay goes on by itself: what is asked of it, how far it is, what became of its jobs. One that is asked for by the
-- platform may be about events of every tenant; then it has none itself.
CREATE TABLE replay_kept AS SELECT * FROM replay;
DROP TABLE replay;
CREATE TABLE replay (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB REFERENCES tenant (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    by_whom TEXT NOT NULL,
    binding_id BLOB,
    endpoint_id BLOB,
    -- Asked for by somebody who sees this tenant alone: its steps see no more.
    own INTEGER NOT NULL CHECK (own IN (0, 1)),
    request TEXT NOT NULL CHECK (json_valid(request)),
    state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 4),
    reason TEXT,
    ended_at INTEGER,
    events INTEGER NOT NULL,
    jobs INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    done INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    unfinished INTEGER NOT NULL,
    progress TEXT NOT NULL CHECK (json_valid(progress)),
    -- Grows with every change: whoever steps from an older one has lost.
    revision INTEGER NOT NULL
) STRICT;
INSERT INTO replay (id, tenant_id, created_at, by_whom, binding_id, endpoint_id, own, request, state, reason, ended_at,
    events, jobs, skipped, done, dead, cancelled, unfinished, progress, revision)
SELECT id, tenant_id, created_at, by_whom, binding_id, NULL, 0, '{}', 3, NULL, NULL,
    events, jobs, 0, 0, 0, 0, 0, '{}', 0 FROM replay_kept;
DROP TABLE replay_kept;
CREATE INDEX replay_tenant ON replay (tenant_id, id);
-- Those that there is something to do about: making jobs, or hearing of them.
CREATE INDEX replay_busy ON replay (id) WHERE state = 0 OR unfinished > 0;
-- Those that may still make jobs.
CREATE INDEX replay_open ON replay (tenant_id) WHERE state <= 1;
