-- safe drop-table: sources that were removed are made again as new ones
DROP TABLE source_former;

CREATE TABLE expectation_met_last (
    tenant_id BLOB NOT NULL,
    source_id BLOB NOT NULL,
    rule TEXT NOT NULL,
    object TEXT NOT NULL,
    met_at INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, source_id, rule, object)
) STRICT, WITHOUT ROWID;
INSERT INTO expectation_met_last
SELECT tenant_id, source_id, rule, object, max(met_at), max(until) FROM expectation_met
GROUP BY tenant_id, source_id, rule, object;
-- safe drop-table: the last time of each object is copied above
DROP TABLE expectation_met;
ALTER TABLE expectation_met_last RENAME TO expectation_met;
CREATE INDEX expectation_met_until ON expectation_met (until);
UPDATE expectation_tally SET marks = (
    SELECT count(*) FROM expectation_met AS m
    WHERE m.tenant_id = expectation_tally.tenant_id AND m.source_id = expectation_tally.source_id
        AND m.rule = expectation_tally.rule);
