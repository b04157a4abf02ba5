ALTER TABLE attempt_start DROP COLUMN lease_ms;
