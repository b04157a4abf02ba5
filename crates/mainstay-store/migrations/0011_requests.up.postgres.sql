-- A request that brought one event and nothing else is kept in the event's row, and its id is the event's: nearly all are
-- like that, and a row with two index entries is a tenth of what a webhook costs. `headers` says whether it is so.
ALTER TABLE event
    ADD COLUMN secret_id uuid,
    ADD COLUMN remote text,
    ADD COLUMN headers_zstd boolean,
    ADD COLUMN headers bytea;
ALTER TABLE event ALTER COLUMN headers SET STORAGE EXTERNAL;

CREATE TYPE event_request_row AS (
    tenant_id uuid,
    id uuid,
    source_id uuid,
    source_number integer,
    dedup_key bytea,
    provider_id text,
    kind text,
    received_at bigint,
    occurred_at bigint,
    receipt_id uuid,
    payload_bytes bigint,
    payload_zstd boolean,
    payload bytea,
    secret_id uuid,
    remote text,
    headers_zstd boolean,
    headers bytea
);
