-- A request that brought one event and nothing else is kept in the event's row, and its id is the event's: nearly all are
-- like that, and a row with two index entries is a tenth of what a webhook costs. `headers` says whether it is so.
ALTER TABLE event ADD COLUMN secret_id BLOB;
ALTER TABLE event ADD COLUMN remote TEXT;
ALTER TABLE event ADD COLUMN headers_zstd INTEGER;
ALTER TABLE event ADD COLUMN headers BLOB;
