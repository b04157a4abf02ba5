CREATE TABLE sample_kept AS SELECT series, subject, minute, count FROM sample WHERE series < 15;
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
DROP TABLE event_conflict;
