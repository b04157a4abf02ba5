-- What a binding wants of an event beyond its type, a series of counts for what its filter could not decide, and headers
-- that a team adds to the requests to an endpoint.

ALTER TABLE binding ADD COLUMN filter TEXT CHECK (filter <> '');
ALTER TABLE endpoint ADD COLUMN headers TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(headers));

CREATE TABLE sample_new (
    series INTEGER NOT NULL CHECK (series BETWEEN 0 AND 7),
    subject BLOB NOT NULL CHECK (length(subject) = 16),
    minute INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (series, subject, minute)
) STRICT, WITHOUT ROWID;
INSERT INTO sample_new SELECT series, subject, minute, count FROM sample;
DROP TABLE sample;
ALTER TABLE sample_new RENAME TO sample;
CREATE INDEX sample_minute ON sample (minute);
