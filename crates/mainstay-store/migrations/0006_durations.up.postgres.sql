-- How long endpoints took to answer, counted by the hour in buckets of about a sixteenth of their value.

CREATE TABLE duration (
    endpoint_id uuid NOT NULL,
    hour bigint NOT NULL,
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 127),
    count bigint NOT NULL,
    PRIMARY KEY (endpoint_id, hour, bucket)
);
CREATE INDEX duration_hour ON duration (hour);

GRANT SELECT, INSERT, UPDATE, DELETE ON duration TO mainstay_system;
