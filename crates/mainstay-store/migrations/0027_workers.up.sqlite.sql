-- For how long a worker holds an attempt without a sign of life, in milliseconds: what an owner that takes over grants it
-- once more. Null where no worker has it.
ALTER TABLE attempt_start ADD COLUMN lease_ms INTEGER;
