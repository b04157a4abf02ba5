//! The statements of intake.

use crate::queries;

macro_rules! source_columns {
    () => {
        "SELECT id, number, tenant_id, name, scheme, settings, enabled, created_at, updated_at FROM source"
    };
}

macro_rules! secret_columns {
    () => {
        "SELECT source_id, id, secret, created_at, last_used_at FROM source_secret"
    };
}

macro_rules! binding_columns {
    () => {
        "SELECT id, tenant_id, name, source_id, type_pattern, endpoint_id, builtin, enabled, created_at, filter,
            ordering, expires_in_secs FROM binding"
    };
}

/// The source that an event came by, also one that was removed.
macro_rules! source_of {
    ($event:literal) => {
        concat!(
            "(SELECT n.source_id FROM source_known AS n WHERE n.number = ",
            $event,
            ".source_number)"
        )
    };
}
pub(crate) use source_of;

/// The columns of an event that is shown; `$1` is its tenant. Looked up one by one, so that no plan ever reads a
/// whole table to join it. The last two lead to the record that counts its deliveries.
macro_rules! event_columns {
    () => {
        concat!(
            "SELECT e.id, ",
            $crate::intake::queries::source_of!("e"),
            ",
            (SELECT s.name FROM source AS s WHERE s.tenant_id = $1 AND s.number = e.source_number),
            e.provider_id, e.kind, e.received_at, e.occurred_at, coalesce(e.receipt_id, e.id), e.payload_bytes,
            e.source_number, e.dedup_key"
        )
    };
}
pub(crate) use event_columns;

/// The columns of a receipt that is shown; `$1` is the tenant of its source.
macro_rules! receipt_columns {
    () => {
        "SELECT r.id, r.source_id,
            (SELECT s.name FROM source AS s WHERE s.tenant_id = $1 AND s.id = r.source_id),
            r.received_at, r.remote, r.headers_zstd, r.headers, r.verdict, r.refusal, r.secret_id, r.body_bytes
        FROM receipt AS r"
    };
}
pub(crate) use receipt_columns;

/// The same across tenants.
macro_rules! receipt_columns_all {
    () => {
        "SELECT r.id, r.source_id, (SELECT s.name FROM source AS s WHERE s.id = r.source_id),
            r.received_at, r.remote, r.headers_zstd, r.headers, r.verdict, r.refusal, r.secret_id, r.body_bytes
        FROM receipt AS r"
    };
}
pub(crate) use receipt_columns_all;

/// The same columns of a request that is within its event, `$1` being the tenant of both. `0` is [`Verdict::Accepted`].
///
/// [`Verdict::Accepted`]: mainstay_domain::intake::Verdict::Accepted
macro_rules! request_columns {
    ($name:literal) => {
        concat!(
            "SELECT coalesce(r.receipt_id, r.id), ",
            $crate::intake::queries::source_of!("r"),
            ", (SELECT s.name FROM source AS s WHERE ",
            $name,
            " s.number = r.source_number),
            r.received_at, r.remote, r.headers_zstd, r.headers, CAST(0 AS smallint), CAST(NULL AS text), r.secret_id,
            r.payload_bytes
        FROM event AS r WHERE r.tenant_id = $1 AND r.headers IS NOT NULL"
        )
    };
}
macro_rules! request_columns_own {
    () => {
        request_columns!("s.tenant_id = $1 AND")
    };
}
pub(crate) use request_columns_own;
macro_rules! request_columns_all {
    () => {
        request_columns!("")
    };
}
pub(crate) use request_columns;
pub(crate) use request_columns_all;

/// The same, with the body.
macro_rules! receipt_columns_whole {
    () => {
        "SELECT r.id, r.source_id, (SELECT s.name FROM source AS s WHERE s.id = r.source_id),
            r.received_at, r.remote, r.headers_zstd, r.headers, r.verdict, r.refusal, r.secret_id, r.body_bytes,
            r.body_zstd, r.body
        FROM receipt AS r"
    };
}

queries! {
    CONFIG_VERSION: Platform = "SELECT version FROM config_version WHERE id = 1";
    CONFIG_BUMP: Platform = "UPDATE config_version SET version = version + 1 WHERE id = 1";
    SOURCE_NUMBER: Platform = "
        UPDATE config_version SET source_number = source_number + 1 WHERE id = 1 RETURNING source_number";

    SOURCE_TENANT: System = "SELECT tenant_id FROM source WHERE id = $1";
    SOURCE_NAME: System = "SELECT name FROM source WHERE id = $1";
    SOURCE_INSERT: Tenant = "
        INSERT INTO source (tenant_id, id, number, name, scheme, settings, enabled, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    SOURCE_KNOW: Platform = "INSERT INTO source_known (number, source_id) VALUES ($1, $2)";
    /// Of a source that is made again: what came by the former one came by this.
    SOURCE_KNOW_AGAIN: Platform = "UPDATE source_known SET source_id = $2 WHERE number = $1";
    SOURCE_FORMER: Tenant = "DELETE FROM source_former WHERE tenant_id = $1 AND name = $2 RETURNING number";
    /// Where two had the name one after the other, the later one is made again.
    SOURCE_FORMER_KEEP: Tenant = "
        INSERT INTO source_former (tenant_id, name, number)
        SELECT $1, s.name, s.number FROM source AS s WHERE s.tenant_id = $1 AND s.id = $2
        ON CONFLICT (tenant_id, name) DO UPDATE SET number = excluded.number";
    SOURCE_UPDATE: Tenant = "
        UPDATE source SET name = $3, settings = $4, enabled = $5, updated_at = $6 WHERE tenant_id = $1 AND id = $2";
    SOURCE_DELETE: Tenant = "DELETE FROM source WHERE tenant_id = $1 AND id = $2";
    SOURCE_GET: Tenant = concat!(source_columns!(), " WHERE tenant_id = $1 AND id = $2");
    SOURCE_LIST: System = source_columns!();
    SOURCE_LIST_OWN: Tenant = concat!(source_columns!(), " WHERE tenant_id = $1");
    SECRET_LIST: System = secret_columns!();
    SECRET_LIST_OWN: Tenant = concat!(secret_columns!(), " WHERE tenant_id = $1");
    SECRET_INSERT: Tenant = "
        INSERT INTO source_secret (tenant_id, source_id, id, secret, created_at, last_used_at)
        VALUES ($1, $2, $3, $4, $5, $6)";
    SECRET_DELETE: Tenant = "DELETE FROM source_secret WHERE tenant_id = $1 AND source_id = $2 AND id = $3";
    SECRET_TOUCH: System = "
        UPDATE source_secret SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";

    BINDING_INSERT: Tenant = "
        INSERT INTO binding (tenant_id, id, name, source_id, type_pattern, endpoint_id, builtin, enabled, created_at,
            filter, ordering, expires_in_secs)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    BINDING_UPDATE: Tenant = "
        UPDATE binding SET name = $3, type_pattern = $4, endpoint_id = $5, builtin = $6, enabled = $7, filter = $8,
            ordering = $9, expires_in_secs = $10
        WHERE tenant_id = $1 AND id = $2";
    BINDING_DELETE: Tenant = "DELETE FROM binding WHERE tenant_id = $1 AND id = $2";
    BINDING_LIST: System = binding_columns!();
    BINDING_LIST_OWN: Tenant = concat!(binding_columns!(), " WHERE tenant_id = $1");

    /// A probe for each tenant: no index on the id alone, which every insert would pay for.
    EVENT_TENANT: System = "
        SELECT t.id FROM tenant AS t
        WHERE (SELECT e.id FROM event AS e WHERE e.tenant_id = t.id AND e.id = $1) IS NOT NULL";
    /// The newest event of each tenant before this one.
    EVENT_HEADS: System = "
        SELECT t.id, (SELECT e.id FROM event AS e WHERE e.tenant_id = t.id AND e.id < $1 ORDER BY e.id DESC LIMIT 1)
        FROM tenant AS t";
    /// Likewise of those with a dead letter, a violation, other content.
    LETTER_HEADS: System = "
        SELECT t.id, (SELECT l.event_id FROM dead_letter AS l WHERE l.tenant_id = t.id AND l.event_id < $1
            ORDER BY l.event_id DESC LIMIT 1)
        FROM tenant AS t";
    VIOLATION_HEADS: System = "
        SELECT t.id, (SELECT v.event_id FROM event_violation AS v WHERE v.tenant_id = t.id AND v.event_id < $1
            ORDER BY v.event_id DESC LIMIT 1)
        FROM tenant AS t";
    CONFLICT_HEADS: System = "
        SELECT t.id, (SELECT c.event_id FROM event_conflict AS c WHERE c.tenant_id = t.id AND c.event_id < $1
            ORDER BY c.event_id DESC LIMIT 1)
        FROM tenant AS t";
    /// So many events before another.
    EVENT_PLACE: Tenant = "
        SELECT e.id FROM event AS e WHERE e.tenant_id = $1 AND e.id >= $2 AND e.id < $3
        ORDER BY e.id DESC LIMIT 1 OFFSET $4";
    EVENT_GET: Tenant = concat!(event_columns!(), " FROM event AS e WHERE e.tenant_id = $1 AND e.id = $2");
    EVENT_PAYLOAD: Tenant = "SELECT payload_zstd, payload FROM event WHERE tenant_id = $1 AND id = $2";

    RECEIPT_FIRST: Tenant = concat!(receipt_columns!(), "
        WHERE r.id = (SELECT coalesce(e.receipt_id, e.id) FROM event AS e WHERE e.tenant_id = $1 AND e.id = $2)");
    /// Only for an event that has been found in the scope.
    RECEIPT_AGAIN: Tenant = concat!(receipt_columns!(), " WHERE r.event_id = $2 ORDER BY r.id LIMIT $3");
    RECEIPT_KNOWN: Platform = "SELECT id FROM receipt WHERE id = $1";
    RECEIPT_GET: System = concat!(receipt_columns_all!(), " WHERE r.id = $1");
    RECEIPT_GET_OWN: Tenant = concat!(receipt_columns!(), "
        WHERE r.id = $2 AND r.source_id IN (SELECT s.id FROM source AS s WHERE s.tenant_id = $1)");
    /// The request within an event, for a tenant whose source it came by, and for the system.
    REQUEST_GET_OWN: Tenant = concat!(request_columns_own!(), " AND r.id = $2");
    REQUEST_GET: System = concat!(request_columns_all!(), " AND r.id = $2");
    RECEIPT_BODY: Platform = "SELECT body_zstd, body FROM receipt WHERE id = $1";
    RECEIPT_BODY_OWN: Tenant = "
        SELECT r.body_zstd, r.body FROM receipt AS r
        WHERE r.id = $2 AND r.source_id IN (SELECT s.id FROM source AS s WHERE s.tenant_id = $1)";
    /// By the index on a source's refused receipts.
    RECEIPT_REFUSED: System = concat!(receipt_columns_whole!(), "
        WHERE r.verdict = 3 AND r.source_id = $1 AND r.id > $2 ORDER BY r.id LIMIT $3");
    RECEIPT_RELEASE: Platform = "DELETE FROM receipt WHERE id = $1 AND verdict = 3";
    RECEIPT_INSERT: Platform = "
        INSERT INTO receipt (id, source_id, received_at, verdict, events, refusal, secret_id, remote, body_bytes,
            event_id, headers_zstd, headers, body_zstd, body)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

    RETENTION_GET: Platform = "SELECT after_tenant, after_id FROM retention WHERE what = $1";
    RETENTION_SET: Platform = "UPDATE retention SET after_tenant = $2, after_id = $3 WHERE what = $1";
    EXPIRE_EVENT_TENANT: System = "
        SELECT e.tenant_id FROM event AS e WHERE e.tenant_id > $1 ORDER BY e.tenant_id LIMIT 1";
    EXPIRE_EVENTS: Tenant = "
        SELECT id, CASE WHEN headers IS NULL THEN coalesce(receipt_id, id) END FROM event
        WHERE tenant_id = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4";
    EXPIRE_JOB_TENANT: System = "
        SELECT j.tenant_id FROM job AS j WHERE j.event_id IS NULL AND j.tenant_id > $1 ORDER BY j.tenant_id LIMIT 1";
    EXPIRE_JOBS: Tenant = "
        SELECT id FROM job WHERE tenant_id = $1 AND event_id IS NULL AND id > $2 AND id < $3 ORDER BY id LIMIT $4";
    RECEIPT_LET_GO: Platform = "UPDATE receipt SET events = events - $2 WHERE id = $1";
    RECEIPT_GONE: Platform = "DELETE FROM receipt WHERE id = $1 AND events <= 0";
    RECEIPT_EXPIRE_ALONE: Platform = "
        DELETE FROM receipt WHERE id IN (
            SELECT old.id FROM receipt AS old WHERE old.events = 0 AND old.verdict <> 3 AND old.id < $1
            ORDER BY old.id LIMIT $2)";
    RECEIPT_EXPIRE: Platform = "
        DELETE FROM receipt WHERE id IN (
            SELECT old.id FROM receipt AS old WHERE old.verdict = 3 AND old.id < $1 ORDER BY old.id LIMIT $2)";
    QUARANTINE_SOURCE: Platform = "
        SELECT source_id FROM receipt WHERE verdict = 3 AND source_id > $1 ORDER BY source_id LIMIT 1";
    /// Lengths are read without the bytes themselves.
    QUARANTINE_LIST: Platform = "
        SELECT id, remote, refusal, CAST(length(headers) + coalesce(length(body), 0) AS bigint) FROM receipt
        WHERE verdict = 3 AND source_id = $1 ORDER BY id DESC LIMIT $2";
}
