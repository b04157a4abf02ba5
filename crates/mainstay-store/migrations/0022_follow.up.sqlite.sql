-- What is new, in one order that everybody sees, for those who follow events. Written by whoever indexes objects, in the
-- same commit, and only while somebody follows: nothing on the way of a webhook knows of it.

-- `followed_until` is 0 while nobody follows. The list is whole after the commit `followed_from`.
ALTER TABLE object_index ADD COLUMN followed_from INTEGER NOT NULL DEFAULT 0;
ALTER TABLE object_index ADD COLUMN followed_until INTEGER NOT NULL DEFAULT 0;

-- `revision` is the commit of the index that the event came with.
CREATE TABLE event_new (
    tenant_id BLOB NOT NULL,
    event_id BLOB NOT NULL CHECK (length(event_id) = 16),
    source_id BLOB NOT NULL,
    kind TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, event_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_new_order ON event_new (revision, event_id);
CREATE INDEX event_new_own ON event_new (tenant_id, revision, event_id);
