-- Which objects (customers, payments, repositories) events are about, by the ids in their payloads. Made in the background
-- from what is committed: nothing on the way of a webhook knows of these tables.

-- How far the index goes: one row. Everything received before `until` was looked at, everything before `settled` is
-- indexed, also what was committed late; transactions from `mark` on had not begun at `mark_at`.
CREATE TABLE object_index (
    id integer PRIMARY KEY CHECK (id = 1),
    revision bigint NOT NULL,
    until bigint NOT NULL,
    settled bigint NOT NULL,
    mark_at bigint NOT NULL,
    mark bigint NOT NULL
);
INSERT INTO object_index (id, revision, until, settled, mark_at, mark) VALUES (1, 0, 0, 0, 0, 0);

-- Events whose commit came long after they were received: the indexer passed their time before.
CREATE TABLE object_note (
    tenant_id uuid NOT NULL,
    event_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, event_id)
);

-- By which rules the events of a source are indexed, and how far they are looked at once more since those changed.
CREATE TABLE object_source (
    tenant_id uuid NOT NULL,
    source_id uuid NOT NULL,
    rules text NOT NULL,
    walk text CHECK (walk IS NULL OR walk::json IS NOT NULL),
    PRIMARY KEY (tenant_id, source_id),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE
);

-- One row an event, in the order in which lists of a source's events are read, which `event` itself has no index for.
-- `objects` are its ids with their names: what its retention has to remove, and what it shows.
CREATE TABLE object_event (
    tenant_id uuid NOT NULL,
    source_id uuid NOT NULL,
    kind text NOT NULL,
    event_id uuid NOT NULL,
    objects text NOT NULL,
    PRIMARY KEY (tenant_id, source_id, kind, event_id)
) WITH (toast_tuple_target = 8160);

-- The ids themselves: each leads to its events in the order of time.
CREATE TABLE object_mention (
    tenant_id uuid NOT NULL,
    object text COLLATE "C" NOT NULL,
    event_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, object, event_id)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['object_note', 'object_source', 'object_event', 'object_mention'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY %I ON %I TO mainstay_app '
            'USING (tenant_id = nullif(current_setting(''mainstay.tenant'', true), '''')::uuid)',
            name || '_app', name);
        EXECUTE format(
            'CREATE POLICY %I ON %I TO mainstay_system USING (true) WITH CHECK (true)', name || '_system', name);
    END LOOP;
END
$$;

GRANT SELECT, INSERT, UPDATE, DELETE ON object_index, object_note, object_source, object_event, object_mention
    TO mainstay_system;
-- How far the index goes says nothing about a tenant.
GRANT SELECT ON object_index, object_source, object_event, object_mention TO mainstay_app;
