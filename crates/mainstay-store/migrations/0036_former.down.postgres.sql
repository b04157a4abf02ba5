REVOKE UPDATE (source_id) ON source_known FROM mainstay_app, mainstay_system;
-- safe drop-table: sources that were removed are made again as new ones
DROP TABLE source_former;

-- The owner is under the policies too, and has none.
-- safe drop-protection: for this transaction; it is forced again below
ALTER TABLE expectation_met NO FORCE ROW LEVEL SECURITY;
-- safe drop-protection: for this transaction; it is forced again below
ALTER TABLE expectation_tally NO FORCE ROW LEVEL SECURITY;
DELETE FROM expectation_met AS m WHERE EXISTS (
    SELECT 1 FROM expectation_met AS later
    WHERE later.tenant_id = m.tenant_id AND later.source_id = m.source_id AND later.rule = m.rule
        AND later.object = m.object AND later.met_at > m.met_at);
UPDATE expectation_tally SET marks = (
    SELECT count(*) FROM expectation_met AS m
    WHERE m.tenant_id = expectation_tally.tenant_id AND m.source_id = expectation_tally.source_id
        AND m.rule = expectation_tally.rule);
-- safe drop-protection: the key that takes its place holds more
ALTER TABLE expectation_met DROP CONSTRAINT expectation_met_pkey;
ALTER TABLE expectation_met ADD PRIMARY KEY (tenant_id, source_id, rule, object);
ALTER TABLE expectation_met FORCE ROW LEVEL SECURITY;
ALTER TABLE expectation_tally FORCE ROW LEVEL SECURITY;
