-- What is new, in one order that everybody sees, for those who follow events. Written by whoever indexes objects, in the
-- same commit, and only while somebody follows: nothing on the way of a webhook knows of it.

-- `followed_until` is 0 while nobody follows. The list is whole after the commit `followed_from`.
ALTER TABLE object_index
    ADD COLUMN followed_from bigint NOT NULL DEFAULT 0,
    ADD COLUMN followed_until bigint NOT NULL DEFAULT 0;

-- `revision` is the commit of the index that the event came with.
CREATE TABLE event_new (
    tenant_id uuid NOT NULL,
    event_id uuid NOT NULL,
    source_id uuid NOT NULL,
    kind text NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (tenant_id, event_id)
);
CREATE INDEX event_new_order ON event_new (revision, event_id);
CREATE INDEX event_new_own ON event_new (tenant_id, revision, event_id);

ALTER TABLE event_new ENABLE ROW LEVEL SECURITY;
ALTER TABLE event_new FORCE ROW LEVEL SECURITY;
CREATE POLICY event_new_app ON event_new TO mainstay_app
    USING (tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid);
CREATE POLICY event_new_system ON event_new TO mainstay_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON event_new TO mainstay_system;
GRANT SELECT ON event_new TO mainstay_app;
