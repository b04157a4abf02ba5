//! The statements of jobs, but for the hot path.

use crate::queries;

macro_rules! endpoint_columns {
    () => {
        "SELECT id, tenant_id, name, url, queue, enabled, secrets, settings, created_at, updated_at, headers
            FROM endpoint"
    };
}

/// What a person said of a breaker.
macro_rules! breaker_rule_columns {
    () => {
        "SELECT tenant_id, dependency, open, until, reason, by_whom, at FROM breaker_rule"
    };
}

/// The columns of a job that is shown.
macro_rules! job_columns {
    () => {
        "SELECT j.id, j.tenant_id, j.queue_name, j.kind, j.event_id, j.binding_id, j.replay_id, j.endpoint_id,
            j.created_at, j.run_at, j.state, j.attempts, j.next_at, j.finished_at, j.last_error, j.payload, j.retry,
            j.order_key, j.order_position, j.order_parks, j.order_waits, j.deadline
        FROM job_state AS j"
    };
}
pub(crate) use job_columns;

/// The columns of a dead letter that is shown.
macro_rules! letter_columns {
    () => {
        "SELECT l.job_id, l.tenant_id, l.attempt, l.queue, l.kind, l.endpoint_id, l.event_id, l.event_kind, l.died_at,
            l.category, l.code, l.error, l.status FROM dead_letter AS l"
    };
}
pub(crate) use letter_columns;

/// Dead letters that failed alike.
macro_rules! letter_groups {
    () => {
        "SELECT l.category, l.code, l.kind, l.endpoint_id, count(*), min(l.died_at), max(l.died_at), min(l.error)
        FROM dead_letter AS l"
    };
}
pub(crate) use letter_groups;

queries! {
    QUEUE_FIND: Platform = "SELECT number FROM queue WHERE name = $1";
    /// Two that add at once meet in the number or in the name; whoever lost looks again.
    QUEUE_INSERT: Platform = "
        INSERT INTO queue (number, name)
        SELECT coalesce(max(q.number), 0) + 1, CAST($1 AS TEXT) FROM queue AS q WHERE TRUE HAVING count(*) < 10000
        ON CONFLICT DO NOTHING";
    QUEUE_COUNT: Platform = "SELECT count(*) FROM queue";
    QUEUE_LIST: Platform = "SELECT number, name FROM queue ORDER BY number";
    QUEUE_RULES: Platform = "SELECT queue, flow, flow_at, limits, updated_at FROM queue_rule ORDER BY queue";
    QUEUE_RULES_GET: Platform = "SELECT queue, flow, flow_at, limits, updated_at FROM queue_rule WHERE queue = $1";
    QUEUE_RULES_SET: Platform = "
        INSERT INTO queue_rule (queue, flow, flow_at, limits, updated_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (queue) DO UPDATE SET flow = excluded.flow, flow_at = excluded.flow_at, limits = excluded.limits,
            updated_at = excluded.updated_at";

    UNIQUE_TAKE: Tenant = "
        INSERT INTO unique_key (tenant_id, queue, key, job_id, at, first_at) VALUES ($1, $2, $3, $4, $5, $5)
        ON CONFLICT (tenant_id, queue, key) DO NOTHING";
    /// An update, so that two that ask at once are answered one after the other.
    UNIQUE_HOLD: Tenant = "
        UPDATE unique_key SET at = at WHERE tenant_id = $1 AND queue = $2 AND key = $3
        RETURNING job_id, at, first_at";
    UNIQUE_GIVE: Tenant = "
        UPDATE unique_key SET job_id = $4, at = $5, first_at = $6 WHERE tenant_id = $1 AND queue = $2 AND key = $3";
    UNIQUE_EXPIRE: System = "
        DELETE FROM unique_key WHERE at < $1 AND (tenant_id, queue, key) IN (
            SELECT u.tenant_id, u.queue, u.key FROM unique_key AS u
            WHERE u.at < $1 AND NOT EXISTS (
                SELECT 1 FROM job AS j WHERE j.tenant_id = u.tenant_id AND j.id = u.job_id
                    AND NOT EXISTS (SELECT 1 FROM attempt AS a WHERE a.tenant_id = j.tenant_id AND a.job_id = j.id
                        AND a.outcome IN (0, 2, 5, 7)))
            ORDER BY u.at LIMIT $2)";

    ENDPOINT_TENANT: System = "SELECT tenant_id FROM endpoint WHERE id = $1";
    ENDPOINT_INSERT: Tenant = "
        INSERT INTO endpoint (tenant_id, id, name, url, queue, enabled, secrets, settings, created_at, updated_at, headers)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    ENDPOINT_UPDATE: Tenant = "
        UPDATE endpoint SET name = $3, url = $4, enabled = $5, secrets = $6, settings = $7, updated_at = $8, headers = $9
        WHERE tenant_id = $1 AND id = $2";
    ENDPOINT_DELETE: Tenant = "DELETE FROM endpoint WHERE tenant_id = $1 AND id = $2";
    ENDPOINT_GET: Tenant = concat!(endpoint_columns!(), " WHERE tenant_id = $1 AND id = $2");
    ENDPOINT_LIST: System = endpoint_columns!();
    ENDPOINT_LIST_OWN: Tenant = concat!(endpoint_columns!(), " WHERE tenant_id = $1");

    /// A probe for each tenant: no index on the id alone, which every insert would pay for.
    JOB_TENANT: System = "
        SELECT t.id FROM tenant AS t
        WHERE (SELECT j.id FROM job AS j WHERE j.tenant_id = t.id AND j.id = $1) IS NOT NULL";
    /// The newest job of each tenant before this one.
    JOB_HEADS: System = "
        SELECT t.id, (SELECT j.id FROM job AS j WHERE j.tenant_id = t.id AND j.id < $1 ORDER BY j.id DESC LIMIT 1)
        FROM tenant AS t";
    JOB_GET: Tenant = concat!(job_columns!(), " WHERE j.tenant_id = $1 AND j.id = $2");
    /// In which line it stands or stood, if any.
    JOB_PLACE: Tenant = "
        SELECT queue, band, order_key, order_position, order_parks FROM job WHERE tenant_id = $1 AND id = $2";
    JOB_ATTEMPTS: Tenant = "
        SELECT tenant_id, job_id, attempt, tries, queue, outcome, started_at, finished_at, next_at, category, code,
            error, status, exchange, by_whom
        FROM attempt WHERE tenant_id = $1 AND job_id = $2 ORDER BY attempt";
    JOB_START_LAST: Tenant = "
        SELECT tenant_id, job_id, queue, attempt, tries, at, lease_ms FROM attempt_start
        WHERE tenant_id = $1 AND job_id = $2 ORDER BY attempt DESC LIMIT 1";
    ATTEMPT_LAST: Tenant = "
        SELECT attempt, outcome FROM attempt WHERE tenant_id = $1 AND job_id = $2 ORDER BY attempt DESC LIMIT 1";
    /// Nothing happens where the number is taken: the caller looks at what took it.
    ATTEMPT_INSERT: Tenant = "
        INSERT INTO attempt (tenant_id, job_id, attempt, tries, queue, outcome, started_at, finished_at, next_at,
            category, code, error, status, exchange, by_whom)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        ON CONFLICT (tenant_id, job_id, attempt) DO NOTHING";
    ATTEMPT_START_AFTER: System = "SELECT s.at FROM attempt_start AS s WHERE s.at >= $1 ORDER BY s.at LIMIT 1 OFFSET $2";
    /// Looked up one by one: no plan ever reads all attempts to join them.
    ATTEMPT_UNFINISHED: System = "
        SELECT s.tenant_id, s.job_id, s.queue, s.attempt, s.tries, s.at, s.lease_ms FROM attempt_start AS s
        WHERE s.at >= $1 AND s.at < $2
            AND (SELECT a.attempt FROM attempt AS a WHERE a.tenant_id = s.tenant_id AND a.job_id = s.job_id
                AND a.attempt >= s.attempt ORDER BY a.attempt LIMIT 1) IS NULL
            AND (SELECT n.attempt FROM attempt_start AS n WHERE n.tenant_id = s.tenant_id AND n.job_id = s.job_id
                AND n.attempt > s.attempt ORDER BY n.attempt LIMIT 1) IS NULL
        ORDER BY s.at, s.tenant_id, s.job_id";
    ATTEMPT_UNFINISHED_ONE: Tenant = "
        SELECT s.tenant_id, s.job_id, s.queue, s.attempt, s.tries, s.at, s.lease_ms FROM attempt_start AS s
        WHERE s.tenant_id = $1 AND s.job_id = $2 AND s.attempt = $3
            AND NOT EXISTS (SELECT 1 FROM attempt AS a WHERE a.tenant_id = $1 AND a.job_id = $2 AND a.attempt >= $3)
            AND NOT EXISTS (SELECT 1 FROM attempt_start AS n WHERE n.tenant_id = $1 AND n.job_id = $2
                AND n.attempt > $3)";
    SIGNAL_INSERT: Tenant = "INSERT INTO signal (tenant_id, job_id, queue, kind, at) VALUES ($1, $2, $3, $4, $5)";
    /// A look at the oldest, so that it costs the same however many there are.
    SIGNAL_EXPIRE: System = "
        DELETE FROM signal WHERE seq IN (
            SELECT o.seq FROM (SELECT s.seq, s.at FROM signal AS s ORDER BY s.seq LIMIT 1000) AS o WHERE o.at < $1)";

    /// Who runs it again wants it whenever it is.
    JOB_DEADLINE_END: Tenant = "
        UPDATE job SET deadline = NULL WHERE tenant_id = $1 AND id = $2 AND deadline IS NOT NULL";

    LETTER_INSERT: Tenant = "
        INSERT INTO dead_letter (tenant_id, job_id, attempt, queue, kind, endpoint_id, event_id, event_kind, died_at,
            category, code, error, status)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    LETTER_END: Tenant = "DELETE FROM dead_letter WHERE tenant_id = $1 AND job_id = $2 AND attempt = $3";

    CHECKPOINT_LOAD: Platform = "SELECT sequence, epoch, at, body FROM checkpoint WHERE id = 1";
    CHECKPOINT_SAVE: Platform = "
        INSERT INTO checkpoint (id, sequence, epoch, at, body) VALUES (1, $1, $2, $3, $4)
        ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, epoch = excluded.epoch, at = excluded.at,
            body = excluded.body
        WHERE checkpoint.epoch <= excluded.epoch";
    TALLY_DROP: Platform = "DELETE FROM tally WHERE sequence <= $1";
    TALLY_SINCE: Platform = "SELECT sequence, body FROM tally WHERE sequence > $1 ORDER BY sequence";

    BREAKERS: System = "SELECT tenant_id, dependency, body FROM breaker_state ORDER BY tenant_id, dependency";
    BREAKERS_OWN: Tenant = "
        SELECT tenant_id, dependency, body FROM breaker_state WHERE tenant_id = $1 ORDER BY dependency";
    BREAKER_SAVE: Tenant = "
        INSERT INTO breaker_state (tenant_id, dependency, body) VALUES ($1, $2, $3)
        ON CONFLICT (tenant_id, dependency) DO UPDATE SET body = excluded.body";
    BREAKER_CLEAR: Tenant = "DELETE FROM breaker_state WHERE tenant_id = $1 AND dependency = $2";
    BREAKER_RULES: System = breaker_rule_columns!();
    BREAKER_RULES_OWN: Tenant = concat!(breaker_rule_columns!(), " WHERE tenant_id = $1");
    BREAKER_RULE_SET: Tenant = "
        INSERT INTO breaker_rule (tenant_id, dependency, open, until, reason, by_whom, at) VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (tenant_id, dependency) DO UPDATE SET open = excluded.open, until = excluded.until,
            reason = excluded.reason, by_whom = excluded.by_whom, at = excluded.at";
    BREAKER_RULE_CLEAR: Tenant = "DELETE FROM breaker_rule WHERE tenant_id = $1 AND dependency = $2";
    BREAKER_CHANGE_INSERT: Tenant = "
        INSERT INTO breaker_change (tenant_id, dependency, id, at, from_state, to_state, why, count, calls, error, by_whom,
            reason, until)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    BREAKER_CHANGE_LIST: Tenant = "
        SELECT tenant_id, dependency, id, at, from_state, to_state, why, count, calls, error, by_whom, reason, until
        FROM breaker_change WHERE tenant_id = $1 AND dependency = $2 AND id < $3 ORDER BY id DESC LIMIT $4";
    BREAKER_CHANGE_EXPIRE: System = "
        DELETE FROM breaker_change WHERE (tenant_id, dependency, id) IN (
            SELECT c.tenant_id, c.dependency, c.id FROM breaker_change AS c WHERE c.at < $1 ORDER BY c.at LIMIT $2)";
}
