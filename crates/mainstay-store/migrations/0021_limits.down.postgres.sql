DELETE FROM sample WHERE series > 14;
ALTER TABLE sample DROP CONSTRAINT sample_series_check;
ALTER TABLE sample ADD CONSTRAINT sample_series_check CHECK (series BETWEEN 0 AND 14);
DROP TABLE event_conflict;
