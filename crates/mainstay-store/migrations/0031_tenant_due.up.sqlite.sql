-- What is due of one tenant: read where it has more than its part of a queue's places in memory.

CREATE INDEX job_delayed_tenant ON job (tenant_id, queue, run_at, id) WHERE run_at IS NOT NULL;
CREATE INDEX attempt_retry_tenant ON attempt (tenant_id, queue, next_at, job_id) WHERE next_at IS NOT NULL;
