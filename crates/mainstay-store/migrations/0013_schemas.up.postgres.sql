-- What events are expected to look like, in versions of which the newest is in force; events that look otherwise;
-- what events begin to say; and series of counts for how good the data of a source is.

CREATE TABLE event_schema (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    source_id uuid NOT NULL,
    types text NOT NULL CHECK (types <> ''),
    schema text NOT NULL CHECK (schema::json IS NOT NULL),
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, id, version),
    UNIQUE (tenant_id, source_id, types, version),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE
);

-- In the commit of the event, and removed with it. Of one whose tenant is not known yet the tenant is nil. No reference:
-- what was found by a schema that was removed is still true.
CREATE TABLE event_violation (
    tenant_id uuid NOT NULL,
    event_id uuid NOT NULL,
    schema_id uuid NOT NULL,
    version integer NOT NULL,
    problems text NOT NULL CHECK (problems::json IS NOT NULL),
    PRIMARY KEY (tenant_id, event_id)
);

-- What the events of a type have said so far.
CREATE TABLE event_shape (
    tenant_id uuid NOT NULL,
    source_id uuid NOT NULL,
    event_type text NOT NULL,
    shape text NOT NULL CHECK (shape::json IS NOT NULL),
    first_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, source_id, event_type),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE
);

-- What they began to say that they never said before: each once.
CREATE TABLE source_drift (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    source_id uuid NOT NULL,
    event_type text NOT NULL,
    kind smallint NOT NULL CHECK (kind BETWEEN 0 AND 3),
    path text NOT NULL,
    before text NOT NULL,
    after text NOT NULL,
    event_id uuid NOT NULL,
    found_at bigint NOT NULL,
    acknowledged_at bigint,
    acknowledged_by text,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, source_id, event_type, kind, path, after),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE,
    CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL))
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['event_schema', 'event_violation', 'event_shape', 'source_drift'] LOOP
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

GRANT SELECT, INSERT, UPDATE, DELETE ON event_schema, event_violation, event_shape, source_drift
    TO mainstay_system;
GRANT SELECT, INSERT, DELETE ON event_schema TO mainstay_app;
GRANT SELECT ON event_violation TO mainstay_app;
GRANT SELECT, UPDATE ON source_drift TO mainstay_app;

ALTER TABLE sample DROP CONSTRAINT sample_series_check;
ALTER TABLE sample ADD CONSTRAINT sample_series_check CHECK (series BETWEEN 0 AND 14);
