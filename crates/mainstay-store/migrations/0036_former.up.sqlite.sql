-- What is known of webhooks ends with nothing that people do: a source that is made again under its name knows what came
-- before it was removed. And that an expected event came is kept for each time it came, so that it is told whether one of
-- them was in time.

-- The numbers of sources that were removed, by the name that they had last.
CREATE TABLE source_former (
    tenant_id BLOB NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    name TEXT NOT NULL CHECK (name <> ''),
    number INTEGER NOT NULL UNIQUE,
    PRIMARY KEY (tenant_id, name)
) STRICT;

CREATE TABLE expectation_met_each (
    tenant_id BLOB NOT NULL,
    source_id BLOB NOT NULL,
    rule TEXT NOT NULL,
    object TEXT NOT NULL,
    met_at INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, source_id, rule, object, met_at)
) STRICT, WITHOUT ROWID;
INSERT INTO expectation_met_each SELECT tenant_id, source_id, rule, object, met_at, until FROM expectation_met;
-- safe drop-table: copied above
DROP TABLE expectation_met;
ALTER TABLE expectation_met_each RENAME TO expectation_met;
CREATE INDEX expectation_met_until ON expectation_met (until);
