//! The statements of watch.

use crate::queries;

queries! {
    SAMPLE_ADD: Platform = "
        INSERT INTO sample (series, subject, minute, count) VALUES ($1, $2, $3, $4)
        ON CONFLICT (series, subject, minute) DO UPDATE SET count = sample.count + excluded.count";
    SAMPLES_LIST: Platform = "
        SELECT series, subject, minute, count FROM sample WHERE minute >= $1 ORDER BY minute, series, subject";
    SAMPLES_EXPIRE: Platform = "
        DELETE FROM sample WHERE (series, subject, minute) IN (
            SELECT old.series, old.subject, old.minute FROM sample AS old WHERE old.minute < $1
            ORDER BY old.minute LIMIT $2)";
    DURATION_ADD: Platform = "
        INSERT INTO duration (endpoint_id, hour, bucket, count) VALUES ($1, $2, $3, $4)
        ON CONFLICT (endpoint_id, hour, bucket) DO UPDATE SET count = duration.count + excluded.count";
    DURATIONS_LIST: Platform = "
        SELECT endpoint_id, bucket, CAST(sum(count) AS bigint) FROM duration WHERE hour >= $1
        GROUP BY endpoint_id, bucket ORDER BY endpoint_id, bucket";
    DURATIONS_EXPIRE: Platform = "
        DELETE FROM duration WHERE (endpoint_id, hour, bucket) IN (
            SELECT old.endpoint_id, old.hour, old.bucket FROM duration AS old WHERE old.hour < $1
            ORDER BY old.hour LIMIT $2)";
    PING: Platform = "SELECT version FROM config_version";
}
