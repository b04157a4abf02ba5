DROP VIEW event_status;
DROP VIEW job_state;
