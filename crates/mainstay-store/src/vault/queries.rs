//! The statements of keys and of the walk over sealed values.

use crate::queries;

macro_rules! key_columns {
    () => {
        "SELECT k.number, k.tenant_id, k.wrapped, k.master_id, k.created_at, k.retired_at, k.destroyed_at,
            (SELECT v.changes FROM vault_state AS v WHERE v.id = 1)
        FROM data_key AS k"
    };
}

queries! {
    KEY_CURRENT: Tenant = concat!(key_columns!(), "
        WHERE k.tenant_id = $1 AND k.retired_at IS NULL AND k.destroyed_at IS NULL");
    KEY_FIND: System = concat!(key_columns!(), " WHERE k.number = $1");
    KEY_FIND_OWN: Tenant = concat!(key_columns!(), " WHERE k.tenant_id = $1 AND k.number = $2");
    /// Nothing where the number is taken, or somebody else made this tenant's: then theirs is looked for.
    KEY_INSERT: Tenant = "
        INSERT INTO data_key (tenant_id, number, wrapped, master_id, created_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING";
    KEY_LIST: System = concat!(key_columns!(), " WHERE k.number > $1 ORDER BY k.number LIMIT $2");
    KEY_LIST_OF: Tenant = concat!(key_columns!(), " WHERE k.tenant_id = $1 AND k.number > $2 ORDER BY k.number LIMIT $3");
    KEY_MASTERS: System = "
        SELECT k.master_id, CAST(sum(CASE WHEN k.retired_at IS NULL THEN 1 ELSE 0 END) AS bigint),
            CAST(sum(CASE WHEN k.retired_at IS NULL THEN 0 ELSE 1 END) AS bigint)
        FROM data_key AS k WHERE k.destroyed_at IS NULL GROUP BY k.master_id ORDER BY k.master_id";
    /// Of another master key.
    KEY_OF_OTHERS: System = concat!(key_columns!(), "
        WHERE k.destroyed_at IS NULL AND k.master_id <> $1 ORDER BY k.number LIMIT $2");
    KEY_REWRAP: System = "
        UPDATE data_key SET wrapped = $2, master_id = $3 WHERE number = $1 AND destroyed_at IS NULL AND master_id = $4";
    KEY_RETIRE: System = "UPDATE data_key SET retired_at = $1 WHERE retired_at IS NULL AND destroyed_at IS NULL";
    /// First with as many zeros as it has bytes: what stood there is overwritten where the page is.
    KEY_BLANK: Tenant = "UPDATE data_key SET wrapped = $2 WHERE tenant_id = $1 AND destroyed_at IS NULL";
    KEY_DESTROY: Tenant = "
        UPDATE data_key SET wrapped = NULL, destroyed_at = $2 WHERE tenant_id = $1 AND destroyed_at IS NULL";
    /// Those of nobody's data stay: a spool may have what they sealed.
    KEY_REMOVE: System = "
        UPDATE data_key SET wrapped = NULL, destroyed_at = $3
        WHERE retired_at <= $1 AND destroyed_at IS NULL AND tenant_id <> $2";
    IDEMPOTENCY_FORGET: Tenant = "DELETE FROM idempotency WHERE tenant_id = $1";

    STATE_GET: Platform = "SELECT changes, revision, rotation, whole FROM vault_state WHERE id = 1";
    STATE_WHOLE: Platform = "UPDATE vault_state SET whole = TRUE WHERE id = 1";
    STATE_WHOLE_AT_START: System = "
        UPDATE vault_state SET whole = TRUE WHERE id = 1
            AND NOT EXISTS (SELECT 1 FROM event AS e)
            AND NOT EXISTS (SELECT 1 FROM event_waiting AS w)
            AND NOT EXISTS (SELECT 1 FROM receipt AS r)
            AND NOT EXISTS (SELECT 1 FROM job AS j)
            AND NOT EXISTS (SELECT 1 FROM endpoint AS p)
            AND NOT EXISTS (SELECT 1 FROM source_secret AS s)";
    STATE_CHANGED: Platform = "UPDATE vault_state SET changes = changes + 1 WHERE id = 1";
    STATE_ROTATE: Platform = "
        UPDATE vault_state SET revision = revision + 1, rotation = $2 WHERE id = 1 AND revision = $1";

    WALK_SECRET: System = "
        SELECT tenant_id, id, 0, secret FROM source_secret WHERE id > $1 ORDER BY id LIMIT $2";
    WALK_SECRET_SET: Tenant = "
        UPDATE source_secret SET secret = $3 WHERE tenant_id = $1 AND id = $2 AND secret = $4";
    WALK_ENDPOINT: System = "
        SELECT tenant_id, id, 0, secrets, headers FROM endpoint WHERE (tenant_id, id) > ($1, $2)
        ORDER BY tenant_id, id LIMIT $3";
    WALK_ENDPOINT_SECRETS: Tenant = "
        UPDATE endpoint SET secrets = $3 WHERE tenant_id = $1 AND id = $2 AND secrets = $4";
    WALK_ENDPOINT_HEADERS: Tenant = "
        UPDATE endpoint SET headers = $3 WHERE tenant_id = $1 AND id = $2 AND headers = $4";
    WALK_EVENT: System = "
        SELECT tenant_id, id, 0, payload_zstd, payload, headers_zstd, headers, coalesce(receipt_id, id) FROM event
        WHERE (tenant_id, id) > ($1, $2) ORDER BY tenant_id, id LIMIT $3";
    WALK_EVENT_PAYLOAD: Tenant = "
        UPDATE event SET payload_zstd = $3, payload = $4 WHERE tenant_id = $1 AND id = $2 AND payload = $5";
    WALK_EVENT_HEADERS: Tenant = "
        UPDATE event SET headers_zstd = $3, headers = $4 WHERE tenant_id = $1 AND id = $2 AND headers = $5";
    WALK_WAITING: Platform = "
        SELECT id, id, 0, payload_zstd, payload FROM event_waiting WHERE id > $1 ORDER BY id LIMIT $2";
    WALK_WAITING_PAYLOAD: Platform = "
        UPDATE event_waiting SET payload_zstd = $2, payload = $3 WHERE id = $1 AND payload = $4";
    /// Whose source it came by: what is not sealed yet is sealed with that tenant's key.
    WALK_RECEIPT: System = "
        SELECT (SELECT s.tenant_id FROM source AS s WHERE s.id = r.source_id), r.id, 0, r.headers_zstd, r.headers,
            r.body_zstd, r.body
        FROM receipt AS r WHERE r.id > $1 ORDER BY r.id LIMIT $2";
    WALK_RECEIPT_HEADERS: Platform = "
        UPDATE receipt SET headers_zstd = $2, headers = $3 WHERE id = $1 AND headers = $4";
    WALK_RECEIPT_BODY: Platform = "UPDATE receipt SET body_zstd = $2, body = $3 WHERE id = $1 AND body = $4";
    WALK_JOB: System = "
        SELECT tenant_id, id, 0, payload, event_id FROM job WHERE (tenant_id, id) > ($1, $2)
        ORDER BY tenant_id, id LIMIT $3";
    WALK_JOB_PAYLOAD: Tenant = "
        UPDATE job SET payload = $3 WHERE tenant_id = $1 AND id = $2 AND payload = $4";
    WALK_ATTEMPT: System = "
        SELECT tenant_id, job_id, attempt, exchange FROM attempt WHERE (tenant_id, job_id, attempt) > ($1, $2, $3)
        ORDER BY tenant_id, job_id, attempt LIMIT $4";
    WALK_ATTEMPT_EXCHANGE: Tenant = "
        UPDATE attempt SET exchange = $4 WHERE tenant_id = $1 AND job_id = $2 AND attempt = $3 AND exchange = $5";

    WALK_RUN: System = "
        SELECT tenant_id, id, 0, data FROM saga_run WHERE (tenant_id, id) > ($1, $2) ORDER BY tenant_id, id LIMIT $3";
    /// Whoever acts on what was read before has lost: it would write what was sealed with the old key.
    WALK_RUN_DATA: Tenant = "
        UPDATE saga_run SET data = $3, revision = revision + 1 WHERE tenant_id = $1 AND id = $2 AND data = $4";

    /// All there is of so many events.
    WALK_CONFLICT: System = "
        SELECT c.tenant_id, c.event_id, 0, c.body_hash, c.payload_zstd, c.payload FROM event_conflict AS c
        WHERE (c.tenant_id, c.event_id) IN (
            SELECT DISTINCT n.tenant_id, n.event_id FROM event_conflict AS n WHERE (n.tenant_id, n.event_id) > ($1, $2)
            ORDER BY n.tenant_id, n.event_id LIMIT $3)
        ORDER BY c.tenant_id, c.event_id";
    WALK_CONFLICT_PAYLOAD: Tenant = "
        UPDATE event_conflict SET payload_zstd = $4, payload = $5
        WHERE tenant_id = $1 AND event_id = $2 AND body_hash = $3 AND payload = $6";

    /// An event that was just given to its tenant.
    WAITING_GIVEN: Tenant = "
        SELECT e.payload_zstd, e.payload, coalesce(e.receipt_id, e.id), e.received_at FROM event AS e
        WHERE e.tenant_id = $1 AND e.id = $2";
    /// The request that brought an event which is given to its tenant, where it has a row.
    LAYER_RECEIPT: Platform = "
        SELECT r.id, r.headers_zstd, r.headers, r.body_zstd, r.body FROM receipt AS r WHERE r.id = $1";
}
