//! The statements of links and waiting events. All of them are the platform's: none runs in a tenant's scope.

use crate::queries;

macro_rules! link_columns {
    () => {
        "SELECT l.id, l.source_id, l.value, l.tenant_id, l.created_at FROM source_link AS l"
    };
}
pub(crate) use link_columns;

macro_rules! waiting_columns {
    () => {
        "SELECT w.id, w.source_id, (SELECT s.name FROM source AS s WHERE s.id = w.source_id),
            w.provider_id, w.kind, w.received_at, w.occurred_at, w.receipt_id, w.payload_bytes,
            (SELECT d.deliveries FROM dedup AS d WHERE d.source_number = w.source_number AND d.key = w.dedup_key)
        FROM event_waiting AS w"
    };
}
pub(crate) use waiting_columns;

queries! {
    LINK_FIND: System = "SELECT tenant_id FROM source_link WHERE source_id = $1 AND value = $2";
    TENANT_BY_SLUG: System = "SELECT id FROM tenant WHERE slug = $1";
    TENANT_BY_ID: System = "SELECT id FROM tenant WHERE id = $1";

    LINK_DELETE: System = "DELETE FROM source_link WHERE source_id = $1 AND id = $2";
    LINK_GET: System = concat!(link_columns!(), " WHERE l.source_id = $1 AND l.id = $2");
    /// Counted only as far as it matters.
    LINK_COUNT: System = "
        SELECT count(*) FROM (SELECT 1 FROM source_link AS l WHERE l.source_id = $1 LIMIT $2) AS few";

    /// At whichever source events wait for it.
    WAITING_DUE_INSERT_ANYWHERE: System = "
        INSERT INTO event_waiting_due (source_id, value)
        SELECT DISTINCT v.source_id, v.value FROM source AS s, event_waiting_value AS v
        WHERE v.source_id = s.id AND v.value = $1
        ON CONFLICT (source_id, value) DO NOTHING";
    WAITING_DUE_INSERT_ALL: Platform = "
        INSERT INTO event_waiting_due (source_id, value)
        SELECT DISTINCT v.source_id, v.value FROM event_waiting_value AS v WHERE v.source_id = $1
        ON CONFLICT (source_id, value) DO NOTHING";
    WAITING_DUE: Platform = "
        SELECT source_id, value FROM event_waiting_due WHERE (source_id, value) > ($1, $2)
        ORDER BY source_id, value LIMIT $3";
    WAITING_DUE_DELETE: Platform = "DELETE FROM event_waiting_due WHERE source_id = $1 AND value = $2";

    WAITING_GET: System = concat!(waiting_columns!(), " WHERE w.id = $1");
    WAITING_PAYLOAD: Platform = "SELECT payload_zstd, payload FROM event_waiting WHERE id = $1";
    WAITING_FIRST: System = concat!(super::super::queries::receipt_columns_all!(), "
        WHERE r.id = (SELECT w.receipt_id FROM event_waiting AS w WHERE w.id = $1)");
    WAITING_AGAIN: System = concat!(super::super::queries::receipt_columns_all!(), "
        WHERE r.event_id = $1 ORDER BY r.id LIMIT $2");
    /// The first value after this one. One probe for each value: the largest is not looked for among all of them.
    WAITING_VALUE_NEXT: Platform = "
        SELECT value FROM event_waiting_value WHERE source_id = $1 AND value > $2 ORDER BY value LIMIT 1";
    WAITING_VALUE_COUNT: Platform = "
        SELECT count(*) FROM event_waiting_value WHERE source_id = $1 AND value = $2";
    WAITING_VALUE_OLDEST: Platform = "
        SELECT w.id, w.received_at FROM event_waiting AS w WHERE w.id = (
            SELECT v.event_id FROM event_waiting_value AS v WHERE v.source_id = $1 AND v.value = $2
            ORDER BY v.event_id LIMIT 1)";
    WAITING_COUNTS: System = "
        SELECT s.name, (SELECT count(*) FROM event_waiting AS w WHERE w.source_id = s.id) FROM source AS s";
    WAITING_PAGE: System = concat!(waiting_columns!(), "
        WHERE w.id IN (SELECT v.event_id FROM event_waiting_value AS v
            WHERE v.source_id = $1 AND v.value = $2 AND v.event_id > $3 ORDER BY v.event_id LIMIT $4)
        ORDER BY w.id");

    /// Nothing where somebody else was faster: whoever comes second waits for the first and finds the row there.
    WAITING_ASSIGN: Tenant = "
        INSERT INTO event (tenant_id, id, source_number, dedup_key, provider_id, kind, received_at, occurred_at,
            receipt_id, payload_bytes, payload_zstd, payload)
        SELECT $1, w.id, w.source_number, w.dedup_key, w.provider_id, w.kind, w.received_at, w.occurred_at,
            nullif(w.receipt_id, w.id), w.payload_bytes, w.payload_zstd, w.payload
        FROM event_waiting AS w WHERE w.id = $2
        ON CONFLICT (tenant_id, id) DO NOTHING";
    WAITING_DELETE: Platform = "DELETE FROM event_waiting WHERE id = $1";

    WAITING_EXPIRE: Platform = "
        DELETE FROM event_waiting WHERE id IN (
            SELECT old.id FROM event_waiting AS old WHERE old.id < $1 ORDER BY old.id LIMIT $2)
        RETURNING id, receipt_id";
}
