-- A source's refused requests by themselves: each source has a share of the quarantine. No accepted request is in it.
CREATE INDEX receipt_refused_source ON receipt (source_id, id) WHERE verdict = 3;

-- One more series: refused requests that were only counted. SQLite changes no check of a table that is there.
CREATE TABLE sample_kept AS SELECT series, subject, minute, count FROM sample;
DROP TABLE sample;
CREATE TABLE sample (
    series INTEGER NOT NULL CHECK (series BETWEEN 0 AND 8),
    subject BLOB NOT NULL CHECK (length(subject) = 16),
    minute INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (series, subject, minute)
) STRICT, WITHOUT ROWID;
CREATE INDEX sample_minute ON sample (minute);
INSERT INTO sample (series, subject, minute, count) SELECT series, subject, minute, count FROM sample_kept;
DROP TABLE sample_kept;
