DROP TYPE event_request_row;

-- The owner is under the policies too, and has none.
ALTER TABLE event NO FORCE ROW LEVEL SECURITY;
ALTER TABLE receipt NO FORCE ROW LEVEL SECURITY;
INSERT INTO receipt (id, source_id, received_at, verdict, events, secret_id, remote, body_bytes, headers_zstd, headers)
SELECT receipt_id, source_id, received_at, 0, 1, secret_id, remote, payload_bytes, headers_zstd, headers
FROM event WHERE headers IS NOT NULL
ON CONFLICT (id) DO NOTHING;
ALTER TABLE event FORCE ROW LEVEL SECURITY;
ALTER TABLE receipt FORCE ROW LEVEL SECURITY;

ALTER TABLE event DROP COLUMN headers, DROP COLUMN headers_zstd, DROP COLUMN remote, DROP COLUMN secret_id;
