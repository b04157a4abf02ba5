-- A replay goes on by itself: what is asked of it, how far it is, what became of its jobs. One that is asked for by the
-- platform may be about events of every tenant; then it has none itself.
ALTER TABLE replay DROP CONSTRAINT replay_pkey;
ALTER TABLE replay ADD PRIMARY KEY (id);
ALTER TABLE replay
    ALTER COLUMN tenant_id DROP NOT NULL,
    ADD COLUMN endpoint_id uuid,
    -- Asked for by somebody who sees this tenant alone: its steps see no more.
    ADD COLUMN own boolean NOT NULL DEFAULT false,
    ADD COLUMN request text NOT NULL DEFAULT '{}' CHECK (request::json IS NOT NULL),
    ADD COLUMN state smallint NOT NULL DEFAULT 3 CHECK (state BETWEEN 0 AND 4),
    ADD COLUMN reason text,
    ADD COLUMN ended_at bigint,
    ADD COLUMN skipped bigint NOT NULL DEFAULT 0,
    ADD COLUMN done bigint NOT NULL DEFAULT 0,
    ADD COLUMN dead bigint NOT NULL DEFAULT 0,
    ADD COLUMN cancelled bigint NOT NULL DEFAULT 0,
    ADD COLUMN unfinished bigint NOT NULL DEFAULT 0,
    ADD COLUMN progress text NOT NULL DEFAULT '{}' CHECK (progress::json IS NOT NULL),
    -- Grows with every change: whoever steps from an older one has lost.
    ADD COLUMN revision bigint NOT NULL DEFAULT 0;
CREATE INDEX replay_tenant ON replay (tenant_id, id);
-- Those that there is something to do about: making jobs, or hearing of them.
CREATE INDEX replay_busy ON replay (id) WHERE state = 0 OR unfinished > 0;
-- Those that may still make jobs.
CREATE INDEX replay_open ON replay (tenant_id) WHERE state <= 1;

GRANT UPDATE ON replay TO mainstay_app;
