-- What events are expected to look like, in versions of which the newest is in force; events that look otherwise;
-- what events begin to say; and series of counts for how good the data of a source is.

CREATE TABLE event_schema (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    version INTEGER NOT NULL CHECK (version > 0),
    source_id BLOB NOT NULL,
    types TEXT NOT NULL CHECK (types <> ''),
    schema TEXT NOT NULL CHECK (json_valid(schema)),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id, version),
    UNIQUE (tenant_id, source_id, types, version),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE
) STRICT;

-- In the commit of the event, and removed with it. Of one whose tenant is not known yet the tenant is nil. No reference:
-- what was found by a schema that was removed is still true.
CREATE TABLE event_violation (
    tenant_id BLOB NOT NULL,
    event_id BLOB NOT NULL CHECK (length(event_id) = 16),
    schema_id BLOB NOT NULL CHECK (length(schema_id) = 16),
    version INTEGER NOT NULL,
    problems TEXT NOT NULL CHECK (json_valid(problems)),
    PRIMARY KEY (tenant_id, event_id)
) STRICT, WITHOUT ROWID;

-- What the events of a type have said so far.
CREATE TABLE event_shape (
    tenant_id BLOB NOT NULL,
    source_id BLOB NOT NULL,
    event_type TEXT NOT NULL,
    shape TEXT NOT NULL CHECK (json_valid(shape)),
    first_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, source_id, event_type),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE
) STRICT;

-- What they began to say that they never said before: each once.
CREATE TABLE source_drift (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL CHECK (length(id) = 16),
    source_id BLOB NOT NULL,
    event_type TEXT NOT NULL,
    kind INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 3),
    path TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    event_id BLOB NOT NULL CHECK (length(event_id) = 16),
    found_at INTEGER NOT NULL,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, source_id, event_type, kind, path, after),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source (tenant_id, id) ON DELETE CASCADE,
    CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL))
) STRICT;

-- SQLite changes no check of a table that is there.
CREATE TABLE sample_kept AS SELECT series, subject, minute, count FROM sample;
DROP TABLE sample;
CREATE TABLE sample (
    series INTEGER NOT NULL CHECK (series BETWEEN 0 AND 14),
    subject BLOB NOT NULL CHECK (length(subject) = 16),
    minute INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (series, subject, minute)
) STRICT, WITHOUT ROWID;
CREATE INDEX sample_minute ON sample (minute);
INSERT INTO sample (series, subject, minute, count) SELECT series, subject, minute, count FROM sample_kept;
DROP TABLE sample_kept;
