DROP INDEX attempt_retry_tenant;
DROP INDEX job_delayed_tenant;
