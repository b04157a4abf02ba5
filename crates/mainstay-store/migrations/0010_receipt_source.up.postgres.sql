-- Only what was not simply accepted is listed by its source: nearly every request is, and paid for its entry.

DROP INDEX receipt_source;
CREATE INDEX receipt_source ON receipt (source_id, id) WHERE verdict <> 0;
