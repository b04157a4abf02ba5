-- What a binding wants of an event beyond its type, a series of counts for what its filter could not decide, and headers
-- that a team adds to the requests to an endpoint.

ALTER TABLE binding ADD COLUMN filter text CHECK (filter <> '');
ALTER TABLE endpoint ADD COLUMN headers text NOT NULL DEFAULT '{}' CHECK (headers::json IS NOT NULL);

ALTER TABLE sample DROP CONSTRAINT sample_series_check;
ALTER TABLE sample ADD CONSTRAINT sample_series_check CHECK (series BETWEEN 0 AND 7);
