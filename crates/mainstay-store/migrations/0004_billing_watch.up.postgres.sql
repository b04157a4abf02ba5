-- The providers' events of money, and the counts behind the charts.

CREATE TABLE billing_event (
    tenant_id uuid NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    event_id uuid NOT NULL,
    kind text NOT NULL,
    amount_minor bigint,
    currency text CHECK (length(currency) = 3),
    occurred_at bigint NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, event_id)
);
CREATE INDEX billing_event_kind ON billing_event (tenant_id, kind, occurred_at);

CREATE TABLE sample (
    series smallint NOT NULL CHECK (series BETWEEN 0 AND 6),
    subject uuid NOT NULL,
    minute bigint NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (series, subject, minute)
);
CREATE INDEX sample_minute ON sample (minute);

ALTER TABLE billing_event ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_event FORCE ROW LEVEL SECURITY;
CREATE POLICY billing_event_app ON billing_event TO mainstay_app
    USING (tenant_id = nullif(current_setting('mainstay.tenant', true), '')::uuid);
CREATE POLICY billing_event_system ON billing_event TO mainstay_system USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON billing_event, sample TO mainstay_system;
GRANT SELECT, INSERT ON billing_event TO mainstay_app;
