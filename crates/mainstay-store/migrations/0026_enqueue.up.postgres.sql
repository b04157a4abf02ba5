-- Jobs submitted in SQL, inside a transaction of the team's own: they are there when it commits, and not when it does not.

-- A UUID v7 of now, as we make them: milliseconds, then the fraction of one, then chance.
CREATE FUNCTION id_new(now_us bigint) RETURNS uuid LANGUAGE sql VOLATILE SET search_path = mainstay, pg_temp
AS $$
    SELECT encode(
        substring(int8send(now_us / 1000) FROM 3)
        || substring(int4send((28672 | (((now_us % 1000) << 12) / 1000))::integer) FROM 3)
        || substring(uuid_send(gen_random_uuid()) FROM 9),
        'hex')::uuid
$$;

-- `job_` and 26 characters of base32, the first of three bits.
CREATE FUNCTION job_shown(id uuid) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = mainstay, pg_temp
AS $$
    SELECT 'job_' || string_agg(
        substr('0123456789abcdefghjkmnpqrstvwxyz', substring(bits FROM 5 * at + 1 FOR 5)::bit(5)::integer + 1, 1), '' ORDER BY at)
    FROM (SELECT B'00' || ('x' || encode(uuid_send(id), 'hex'))::bit(128) AS bits) AS b, generate_series(0, 25) AS at
$$;

-- Runs as the role that sees every tenant, whoever calls it; so nobody may call it who was not allowed to by name.
CREATE FUNCTION enqueue(
    queue text,
    kind text,
    payload jsonb DEFAULT NULL,
    tenant text DEFAULT 'default',
    run_at timestamptz DEFAULT NULL
) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = mainstay, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    now_us bigint := floor(extract(epoch FROM clock_timestamp()) * 1000000);
    new_id uuid := id_new(now_us);
    queue_number integer;
    tenant_number uuid;
BEGIN
    IF coalesce(enqueue.kind, '') !~ '^[a-z0-9][a-z0-9_.-]{0,99}$' THEN
        RAISE EXCEPTION 'the kind of a job has 1 to 100 small letters, digits, dots, dashes and underscores'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF octet_length(enqueue.payload::text) > 262144 THEN
        RAISE EXCEPTION 'the payload of a job has at most 262144 bytes' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT q.number INTO queue_number FROM queue AS q WHERE q.name = enqueue.queue;
    IF queue_number IS NULL THEN
        -- Made here, its row would be locked for as long as the caller's transaction is open.
        RAISE EXCEPTION 'there is no queue %', quote_nullable(enqueue.queue)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Its first job is submitted through the API.';
    END IF;
    SELECT t.id INTO tenant_number FROM tenant AS t WHERE t.slug = enqueue.tenant;
    IF tenant_number IS NULL THEN
        RAISE EXCEPTION 'there is no tenant %', quote_nullable(enqueue.tenant) USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO job (tenant_id, id, queue, band, kind, binding_id, replay_id, run_at, created_at, payload)
    VALUES (
        tenant_number, new_id, queue_number, 1, enqueue.kind, '00000000-0000-0000-0000-000000000000',
        '00000000-0000-0000-0000-000000000000', floor(extract(epoch FROM enqueue.run_at) * 1000000), now_us,
        convert_to(enqueue.payload::text, 'UTF8'));
    RETURN job_shown(new_id);
END
$$;
REVOKE ALL ON FUNCTION enqueue, id_new, job_shown FROM PUBLIC;
GRANT EXECUTE ON FUNCTION id_new, job_shown TO mainstay_app, mainstay_system;
