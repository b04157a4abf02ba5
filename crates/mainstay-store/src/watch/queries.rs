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
    PING: Platform = "SELECT version FROM config_version";
}
