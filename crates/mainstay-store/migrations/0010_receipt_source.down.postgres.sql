DROP INDEX receipt_source;
CREATE INDEX receipt_source ON receipt (source_id, id);
