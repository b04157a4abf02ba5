-- Breakers in depth: one for each dependency, what people say of it, and how it changed. The table `breaker`, one for each
-- queue, stays for nodes of the version before; breakers begin closed once.

-- Written by the engine with the outcomes of attempts: no reference may refuse those.
CREATE TABLE breaker_state (
    tenant_id uuid NOT NULL,
    -- A name, or the id of the endpoint whose own it is.
    dependency text NOT NULL CHECK (dependency <> ''),
    body text NOT NULL,
    PRIMARY KEY (tenant_id, dependency)
);

CREATE TABLE breaker_rule (
    tenant_id uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    dependency text NOT NULL CHECK (dependency <> ''),
    -- Held open, else closed.
    open boolean NOT NULL,
    -- Until when; null: until somebody says otherwise.
    until bigint,
    reason text NOT NULL CHECK (reason <> ''),
    by_whom text NOT NULL CHECK (by_whom <> ''),
    at bigint NOT NULL,
    PRIMARY KEY (tenant_id, dependency)
);

CREATE TABLE breaker_change (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    dependency text NOT NULL CHECK (dependency <> ''),
    at bigint NOT NULL,
    from_state smallint NOT NULL CHECK (from_state BETWEEN 0 AND 2),
    to_state smallint NOT NULL CHECK (to_state BETWEEN 0 AND 2),
    why text NOT NULL CHECK (why <> ''),
    count bigint NOT NULL CHECK (count >= 0),
    calls bigint NOT NULL CHECK (calls >= 0),
    error text,
    by_whom text,
    reason text,
    until bigint,
    PRIMARY KEY (tenant_id, dependency, id)
);
-- For retention.
CREATE INDEX breaker_change_at ON breaker_change (at);

ALTER TABLE breaker_state ENABLE ROW LEVEL SECURITY;
ALTER TABLE breaker_state FORCE ROW LEVEL SECURITY;
CREATE POLICY breaker_state_app ON breaker_state TO mainstay_app
    USING (tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid);
CREATE POLICY breaker_state_system ON breaker_state TO mainstay_system USING (true) WITH CHECK (true);
ALTER TABLE breaker_rule ENABLE ROW LEVEL SECURITY;
ALTER TABLE breaker_rule FORCE ROW LEVEL SECURITY;
CREATE POLICY breaker_rule_app ON breaker_rule TO mainstay_app
    USING (tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid);
CREATE POLICY breaker_rule_system ON breaker_rule TO mainstay_system USING (true) WITH CHECK (true);
ALTER TABLE breaker_change ENABLE ROW LEVEL SECURITY;
ALTER TABLE breaker_change FORCE ROW LEVEL SECURITY;
CREATE POLICY breaker_change_app ON breaker_change TO mainstay_app
    USING (tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid);
CREATE POLICY breaker_change_system ON breaker_change TO mainstay_system USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON breaker_state, breaker_rule, breaker_change TO mainstay_system;
GRANT SELECT ON breaker_state TO mainstay_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON breaker_rule TO mainstay_app;
GRANT SELECT, INSERT ON breaker_change TO mainstay_app;

-- What is changed by hand is entered by the table, as with the rest of the configuration.
CREATE TRIGGER breaker_rule_by_hand AFTER INSERT OR UPDATE OR DELETE ON breaker_rule FOR EACH ROW
    WHEN (current_setting('mainstay.writer', true) IS DISTINCT FROM 'server')
    EXECUTE FUNCTION audit_by_hand();
CREATE TRIGGER breaker_rule_emptied_by_hand AFTER TRUNCATE ON breaker_rule FOR EACH STATEMENT
    WHEN (current_setting('mainstay.writer', true) IS DISTINCT FROM 'server')
    EXECUTE FUNCTION audit_by_hand();
