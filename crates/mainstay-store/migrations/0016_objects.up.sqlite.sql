-- Which objects (customers, payments, repositories) events are about, by the ids in their payloads. Made in the background
-- from what is committed: nothing on the way of a webhook knows of these tables.

-- How far the index goes: one row. Everything received before `until` was looked at, everything before `settled` is
-- indexed, also what was committed late; transactions from `mark` on had not begun at `mark_at`.
CREATE TABLE object_index (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL,
    until INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    mark_at INTEGER NOT NULL,
    mark INTEGER NOT NULL
) STRICT;
INSERT INTO object_index (id, revision, until, settled, mark_at, mark) VALUES (1, 0, 0, 0, 0, 0);

-- Events whose commit came long after they were received: the indexer passed their time before.
CREATE TABLE object_note (
    tenant_id BLOB NOT NULL,
    event_id BLOB NOT NULL CHECK (length(event_id) = 16),
    PRIMARY KEY (tenant_id, event_id)
) STRICT, WITHOUT ROWID;

-- By which rules the events of a source are indexed, and how far they are looked at once more since those changed.
CREATE TABLE object_source (
    tenant_id BLOB NOT NULL,
    source_id BLOB NOT NULL CHECK (length(source_id) = 16),
    rules TEXT NOT NULL,
    walk TEXT CHECK (json_valid(walk)),
    PRIMARY KEY (tenant_id, source_id),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- One row an event, in the order in which lists of a source's events are read, which `event` itself has no index for.
-- `objects` are its ids with their names: what its retention has to remove, and what it shows.
CREATE TABLE object_event (
    tenant_id BLOB NOT NULL,
    source_id BLOB NOT NULL,
    kind TEXT NOT NULL,
    event_id BLOB NOT NULL CHECK (length(event_id) = 16),
    objects TEXT NOT NULL,
    PRIMARY KEY (tenant_id, source_id, kind, event_id)
) STRICT, WITHOUT ROWID;

-- The ids themselves: each leads to its events in the order of time.
CREATE TABLE object_mention (
    tenant_id BLOB NOT NULL,
    object TEXT NOT NULL,
    event_id BLOB NOT NULL CHECK (length(event_id) = 16),
    PRIMARY KEY (tenant_id, object, event_id)
) STRICT, WITHOUT ROWID;
