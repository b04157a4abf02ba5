DELETE FROM sample WHERE series > 8;
ALTER TABLE sample DROP CONSTRAINT sample_series_check;
ALTER TABLE sample ADD CONSTRAINT sample_series_check CHECK (series BETWEEN 0 AND 8);
DROP TABLE source_drift, event_shape, event_violation, event_schema;
