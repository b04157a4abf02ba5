//! The statements of schedules.

use crate::queries;

macro_rules! schedule_columns {
    () => {
        "SELECT s.tenant_id, s.id, s.name, s.cron, s.zone, s.kind, s.endpoint_id, s.queue, s.payload, s.retry,
            s.misfire, s.grace_ms, s.catch_up_max, s.overlap, s.jitter_ms, s.paused, s.updated_at, s.next_tick,
            s.next_at, s.last_tick, s.last_job_id, s.created_at, s.revision
        FROM schedule AS s"
    };
}
pub(crate) use schedule_columns;

queries! {
    SCHEDULE_INSERT: Tenant = "
        INSERT INTO schedule (tenant_id, id, name, cron, zone, kind, endpoint_id, queue, payload, retry, misfire,
            grace_ms, catch_up_max, overlap, jitter_ms, paused, updated_at, next_tick, next_at, last_tick, last_job_id,
            created_at, revision)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)";
    SCHEDULE_UPDATE: Tenant = "
        UPDATE schedule SET name = $3, cron = $4, zone = $5, kind = $6, endpoint_id = $7, queue = $8, payload = $9,
            retry = $10, misfire = $11, grace_ms = $12, catch_up_max = $13, overlap = $14, jitter_ms = $15, paused = $16,
            updated_at = $17, next_tick = $18, next_at = $19, last_tick = $20, last_job_id = $21, revision = revision + 1
        WHERE tenant_id = $1 AND id = $2 AND revision = $22";
    SCHEDULE_STEP: Tenant = "
        UPDATE schedule SET next_tick = $3, next_at = $4, last_tick = $5, last_job_id = $6, revision = revision + 1
        WHERE tenant_id = $1 AND id = $2 AND revision = $7";
    /// Whatever the revision: a person's wish is not refused because a tick came first.
    SCHEDULE_RAN: Tenant = "
        UPDATE schedule SET last_tick = $3, last_job_id = $4, revision = revision + 1 WHERE tenant_id = $1 AND id = $2";
    SCHEDULE_DELETE: Tenant = "DELETE FROM schedule WHERE tenant_id = $1 AND id = $2";
    SCHEDULE_GET: System = concat!(schedule_columns!(), " WHERE s.id = $1");
    SCHEDULE_GET_OWN: Tenant = concat!(schedule_columns!(), " WHERE s.tenant_id = $2 AND s.id = $1");
    SCHEDULE_COUNT: Tenant = "SELECT count(*) FROM schedule AS s WHERE s.tenant_id = $1";
    SCHEDULE_AFTER: System = concat!(schedule_columns!(), " WHERE s.id > $1 ORDER BY s.id LIMIT $2");
    SCHEDULE_DUE: System = concat!(schedule_columns!(), "
        WHERE s.next_at IS NOT NULL AND s.next_at <= $1 ORDER BY s.next_at, s.id LIMIT $2");
    SCHEDULE_NEXT_AT: System = "
        SELECT s.next_at FROM schedule AS s WHERE s.next_at IS NOT NULL ORDER BY s.next_at, s.id LIMIT 1";

    TICK_INSERT: Tenant = "
        INSERT INTO schedule_tick (tenant_id, schedule_id, tick, outcome, job_id, since, count, decided_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (tenant_id, schedule_id, tick) DO NOTHING";
    TICK_KNOWN: Tenant = "
        SELECT t.tick FROM schedule_tick AS t
        WHERE t.tenant_id = $1 AND t.schedule_id = $2 AND t.tick >= $3 AND t.tick <= $4 ORDER BY t.tick";
    TICK_LIST: Tenant = "
        SELECT t.tenant_id, t.schedule_id, t.tick, t.outcome, t.job_id, t.since, t.count, t.decided_at
        FROM schedule_tick AS t
        WHERE t.tenant_id = $1 AND t.schedule_id = $2 AND t.tick < $3 ORDER BY t.tick DESC LIMIT $4";
    TICK_EXPIRE: System = "
        DELETE FROM schedule_tick WHERE (tenant_id, schedule_id, tick) IN (
            SELECT t.tenant_id, t.schedule_id, t.tick FROM schedule_tick AS t
            WHERE t.tick < $1 ORDER BY t.tick LIMIT $2)";
}
