-- What a team says of a queue: whether it runs, and how much of it.

-- A row for each queue of which anything was ever said. Those of a tenant's endpoints are the tenant's.
CREATE TABLE queue_rule (
    queue integer PRIMARY KEY REFERENCES queue (number) ON DELETE CASCADE,
    flow smallint NOT NULL CHECK (flow BETWEEN 0 AND 2),
    flow_at bigint NOT NULL,
    limits text NOT NULL,
    updated_at bigint NOT NULL
);

ALTER TABLE queue_rule ENABLE ROW LEVEL SECURITY;
ALTER TABLE queue_rule FORCE ROW LEVEL SECURITY;
CREATE POLICY queue_rule_app ON queue_rule TO mainstay_app
    USING (EXISTS (SELECT 1 FROM endpoint WHERE endpoint.queue = queue_rule.queue));
CREATE POLICY queue_rule_system ON queue_rule TO mainstay_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON queue_rule TO mainstay_system;
GRANT SELECT, INSERT, UPDATE ON queue_rule TO mainstay_app;

CREATE TRIGGER queue_rule_by_hand AFTER INSERT OR UPDATE OR DELETE ON queue_rule FOR EACH ROW
WHEN (current_setting('mainstay.writer', true) IS DISTINCT FROM 'server')
EXECUTE FUNCTION audit_by_hand();
CREATE TRIGGER queue_rule_emptied_by_hand AFTER TRUNCATE ON queue_rule FOR EACH STATEMENT
WHEN (current_setting('mainstay.writer', true) IS DISTINCT FROM 'server')
EXECUTE FUNCTION audit_by_hand();
