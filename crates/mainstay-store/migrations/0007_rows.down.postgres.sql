DROP TYPE attempt_row, attempt_start_row, job_row, receipt_row, event_row, dedup_row;
