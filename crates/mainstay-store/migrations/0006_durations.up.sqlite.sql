-- How long endpoints took to answer, counted by the hour in buckets of about a sixteenth of their value.

CREATE TABLE duration (
    endpoint_id BLOB NOT NULL CHECK (length(endpoint_id) = 16),
    hour INTEGER NOT NULL,
    bucket INTEGER NOT NULL CHECK (bucket BETWEEN 0 AND 127),
    count INTEGER NOT NULL,
    PRIMARY KEY (endpoint_id, hour, bucket)
) STRICT, WITHOUT ROWID;
CREATE INDEX duration_hour ON duration (hour);
