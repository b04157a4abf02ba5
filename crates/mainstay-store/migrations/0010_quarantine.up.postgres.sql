-- A source's refused requests by themselves: each source has a share of the quarantine. No accepted request is in it.
CREATE INDEX receipt_refused_source ON receipt (source_id, id) WHERE verdict = 3;

-- One more series: refused requests that were only counted.
ALTER TABLE sample DROP CONSTRAINT sample_series_check;
ALTER TABLE sample ADD CONSTRAINT sample_series_check CHECK (series BETWEEN 0 AND 8);
