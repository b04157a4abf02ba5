-- safe drop-table: the history of breakers; what happened to jobs stands in their own
DROP TABLE breaker_change;
-- safe drop-table: nobody holds a breaker any more; each goes by its own rule again
DROP TABLE breaker_rule;
-- safe drop-table: breakers begin closed once, and open again after as many failures
DROP TABLE breaker_state;

-- What the version before does not read, it refuses.
UPDATE endpoint SET settings = json_remove(settings, '$.dependency', '$.breaker.failed_percent', '$.breaker.slow_ms', '$.breaker.slow_percent', '$.breaker.calls_min', '$.breaker.window_ms', '$.breaker.probes', '$.breaker.when_open');
