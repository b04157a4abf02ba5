-- What a binding wants of an event beyond its type, and a series of counts for what its filter could not decide.

ALTER TABLE binding ADD COLUMN filter text CHECK (filter <> '');

ALTER TABLE sample DROP CONSTRAINT sample_series_check;
ALTER TABLE sample ADD CONSTRAINT sample_series_check CHECK (series BETWEEN 0 AND 7);
