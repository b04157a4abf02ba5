-- What came again with other content, and series of counts for that and for what was told to come again.

-- In the commit of the request that brought it, and removed with its event. Of one whose tenant is not known yet the tenant
-- is nil. A row for each other content; the content itself of the first few.
CREATE TABLE event_conflict (
    tenant_id BLOB NOT NULL,
    event_id BLOB NOT NULL CHECK (length(event_id) = 16),
    body_hash BLOB NOT NULL CHECK (length(body_hash) = 8),
    receipt_id BLOB NOT NULL CHECK (length(receipt_id) = 16),
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    times INTEGER NOT NULL CHECK (times > 0),
    payload_bytes INTEGER NOT NULL,
    payload_zstd INTEGER,
    payload BLOB,
    PRIMARY KEY (tenant_id, event_id, body_hash)
) STRICT, WITHOUT ROWID;

-- SQLite changes no check of a table that is there. The program knows which series there are.
CREATE TABLE sample_kept AS SELECT series, subject, minute, count FROM sample;
DROP TABLE sample;
CREATE TABLE sample (
    series INTEGER NOT NULL CHECK (series BETWEEN 0 AND 99),
    subject BLOB NOT NULL CHECK (length(subject) = 16),
    minute INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (series, subject, minute)
) STRICT, WITHOUT ROWID;
CREATE INDEX sample_minute ON sample (minute);
INSERT INTO sample (series, subject, minute, count) SELECT series, subject, minute, count FROM sample_kept;
DROP TABLE sample_kept;
