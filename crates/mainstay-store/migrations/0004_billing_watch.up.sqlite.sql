-- The providers' events of money, and the counts behind the charts.

CREATE TABLE billing_event (
    tenant_id BLOB NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    event_id BLOB NOT NULL CHECK (length(event_id) = 16),
    kind TEXT NOT NULL,
    amount_minor INTEGER,
    currency TEXT CHECK (length(currency) = 3),
    occurred_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, event_id)
) STRICT;
CREATE INDEX billing_event_kind ON billing_event (tenant_id, kind, occurred_at);

CREATE TABLE sample (
    series INTEGER NOT NULL CHECK (series BETWEEN 0 AND 6),
    subject BLOB NOT NULL CHECK (length(subject) = 16),
    minute INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (series, subject, minute)
) STRICT, WITHOUT ROWID;
CREATE INDEX sample_minute ON sample (minute);
