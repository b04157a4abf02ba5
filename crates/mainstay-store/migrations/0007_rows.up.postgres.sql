-- The shapes in which batches of rows are sent, one array of them a statement. They are never changed: nodes of two
-- versions may send at once, so a statement that needs another shape gets another type.

CREATE TYPE dedup_row AS (
    source_number integer,
    key bytea,
    tenant_id uuid,
    event_id uuid,
    body_hash bytea,
    main_key bytea
);
CREATE TYPE event_row AS (
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
    payload bytea
);
CREATE TYPE receipt_row AS (
    id uuid,
    source_id uuid,
    received_at bigint,
    verdict smallint,
    events smallint,
    secret_id uuid,
    remote text,
    body_bytes bigint,
    event_id uuid,
    headers_zstd boolean,
    headers bytea,
    body_zstd boolean,
    body bytea
);
CREATE TYPE job_row AS (
    tenant_id uuid,
    id uuid,
    queue integer,
    band smallint,
    kind text,
    event_id uuid,
    binding_id uuid,
    replay_id uuid,
    endpoint_id uuid,
    run_at bigint,
    created_at bigint,
    retry text,
    payload bytea
);
CREATE TYPE attempt_start_row AS (
    tenant_id uuid,
    job_id uuid,
    attempt integer,
    queue integer,
    tries integer,
    at bigint
);
CREATE TYPE attempt_row AS (
    tenant_id uuid,
    job_id uuid,
    attempt integer,
    tries integer,
    queue integer,
    outcome smallint,
    started_at bigint,
    finished_at bigint,
    next_at bigint,
    category smallint,
    code text,
    error text,
    status integer,
    exchange text,
    by_whom text
);
