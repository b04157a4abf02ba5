DROP TYPE attempt_start_lease_row;
ALTER TABLE attempt_start DROP COLUMN lease_ms;
