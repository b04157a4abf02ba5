INSERT INTO receipt (id, source_id, received_at, verdict, events, secret_id, remote, body_bytes, headers_zstd, headers)
SELECT receipt_id, source_id, received_at, 0, 1, secret_id, remote, payload_bytes, headers_zstd, headers
FROM event WHERE headers IS NOT NULL
ON CONFLICT (id) DO NOTHING;
ALTER TABLE event DROP COLUMN headers;
ALTER TABLE event DROP COLUMN headers_zstd;
ALTER TABLE event DROP COLUMN remote;
ALTER TABLE event DROP COLUMN secret_id;
