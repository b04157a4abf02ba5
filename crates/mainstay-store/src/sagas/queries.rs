//! The statements of sagas.

use crate::queries;

macro_rules! saga_columns {
    () => {
        "SELECT s.tenant_id, s.id, s.name, s.version, s.created_at, s.updated_at FROM saga AS s"
    };
}
pub(crate) use saga_columns;

macro_rules! run_columns {
    () => {
        "SELECT r.tenant_id, r.id, r.saga_id, r.version, r.key, r.state, r.steps, r.data, r.job_id, r.due_at, r.cancel,
            r.error, r.by_whom, r.created_at, r.finished_at, r.revision
        FROM saga_run AS r"
    };
}
/// The same without what they carry, which is a megabyte of some.
macro_rules! listed_run_columns {
    () => {
        "SELECT r.tenant_id, r.id, r.saga_id, r.version, r.key, r.state, r.steps, 'null', r.job_id, r.due_at, r.cancel,
            r.error, r.by_whom, r.created_at, r.finished_at, r.revision
        FROM saga_run AS r"
    };
}
pub(crate) use listed_run_columns;

queries! {
    SAGA_INSERT: Tenant = "
        INSERT INTO saga (tenant_id, id, name, version, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)";
    SAGA_NEWER: Tenant = "
        UPDATE saga SET version = $3, updated_at = $4 WHERE tenant_id = $1 AND id = $2 AND version = $3 - 1";
    SAGA_DELETE: Tenant = "DELETE FROM saga WHERE tenant_id = $1 AND id = $2";
    SAGA_RUNS_DELETE: Tenant = "
        DELETE FROM saga_run WHERE tenant_id = $1 AND id IN (
            SELECT r.id FROM saga_run AS r
            WHERE r.tenant_id = $1 AND r.saga_id = $2 AND r.finished_at IS NOT NULL LIMIT $3)";
    SAGA_GET: System = concat!(saga_columns!(), " WHERE s.id = $1");
    SAGA_GET_OWN: Tenant = concat!(saga_columns!(), " WHERE s.tenant_id = $2 AND s.id = $1");
    SAGA_COUNT: Tenant = "SELECT count(*) FROM saga AS s WHERE s.tenant_id = $1";
    SAGA_OPEN_RUNS: Tenant = "
        SELECT r.state, count(*) FROM saga_run AS r
        WHERE r.tenant_id = $1 AND r.saga_id = $2 AND r.finished_at IS NULL GROUP BY r.state ORDER BY r.state";

    VERSION_INSERT: Tenant = "
        INSERT INTO saga_version (tenant_id, saga_id, version, definition, created_at, by_whom)
        VALUES ($1, $2, $3, $4, $5, $6)";
    VERSION_GET: Tenant = "
        SELECT v.tenant_id, v.saga_id, v.version, v.definition, v.created_at, v.by_whom FROM saga_version AS v
        WHERE v.tenant_id = $1 AND v.saga_id = $2 AND v.version = $3";
    VERSION_LIST: Tenant = "
        SELECT v.tenant_id, v.saga_id, v.version, v.definition, v.created_at, v.by_whom FROM saga_version AS v
        WHERE v.tenant_id = $1 AND v.saga_id = $2 ORDER BY v.version DESC LIMIT $3";

    RUN_INSERT: Tenant = "
        INSERT INTO saga_run (tenant_id, id, saga_id, version, key, state, steps, data, job_id, due_at, cancel, error,
            by_whom, created_at, finished_at, revision)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
    RUN_STEP: Tenant = "
        UPDATE saga_run SET state = $3, steps = $4, data = $5, job_id = $6, due_at = $7, cancel = $8, error = $9,
            finished_at = $10, revision = revision + 1
        WHERE tenant_id = $1 AND id = $2 AND revision = $11";
    RUN_GET: System = concat!(run_columns!(), " WHERE r.id = $1");
    RUN_GET_OWN: Tenant = concat!(run_columns!(), " WHERE r.tenant_id = $2 AND r.id = $1");
    RUN_OF_KEY: Tenant = concat!(run_columns!(), " WHERE r.tenant_id = $1 AND r.saga_id = $2 AND r.key = $3");
    RUN_DUE: System = "
        SELECT r.due_at, r.id FROM saga_run AS r
        WHERE r.due_at IS NOT NULL AND r.due_at <= $1 AND (r.due_at, r.id) > ($2, $3) ORDER BY r.due_at, r.id LIMIT $4";
    RUN_NEXT_AT: System = "
        SELECT r.due_at FROM saga_run AS r WHERE r.due_at IS NOT NULL ORDER BY r.due_at, r.id LIMIT 1";
    RUN_UNFINISHED: System = "
        SELECT r.id FROM saga_run AS r WHERE r.finished_at IS NULL AND r.id > $1 ORDER BY r.id LIMIT $2";
    RUN_EXPIRE: System = "
        DELETE FROM saga_run WHERE (tenant_id, id) IN (
            SELECT r.tenant_id, r.id FROM saga_run AS r
            WHERE r.finished_at IS NOT NULL AND r.finished_at < $1 ORDER BY r.finished_at LIMIT $2)";
    RUN_ATTENTION: System = "
        SELECT r.state, count(*) FROM saga_run AS r
        WHERE r.finished_at IS NULL AND r.state IN (1, 5) GROUP BY r.state";
    RUN_ATTENTION_OWN: Tenant = "
        SELECT r.state, count(*) FROM saga_run AS r
        WHERE r.tenant_id = $1 AND r.finished_at IS NULL AND r.state IN (1, 5) GROUP BY r.state";
}
