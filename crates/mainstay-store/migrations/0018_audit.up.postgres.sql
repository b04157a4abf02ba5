-- Four roles; the audit log as a chain that nobody can change unseen; changes made by hand are told to it as well.

ALTER TABLE app_user DROP CONSTRAINT app_user_role_check;
ALTER TABLE app_user ADD CONSTRAINT app_user_role_check CHECK (role IN ('viewer', 'operator', 'admin', 'owner'));
ALTER TABLE api_key DROP CONSTRAINT api_key_role_check;
ALTER TABLE api_key ADD CONSTRAINT api_key_role_check CHECK (role IN ('viewer', 'operator', 'admin', 'owner'));

-- No reference: what was done to a tenant stays true when it is gone, and the chain goes over it.
ALTER TABLE audit DROP CONSTRAINT audit_tenant_id_fkey;
ALTER TABLE audit
    -- What the digest of actor, subject and detail is made with; gone when they were erased.
    ADD COLUMN salt bytea DEFAULT uuid_send(gen_random_uuid()) CHECK (octet_length(salt) = 16),
    -- The place in the chain, from when on nothing of it can be changed without being found.
    ADD COLUMN position bigint UNIQUE CHECK (position > 0),
    ADD COLUMN content bytea CHECK (octet_length(content) = 32),
    ADD COLUMN hash bytea CHECK (octet_length(hash) = 32),
    ADD CONSTRAINT audit_sealed_check
        CHECK ((position IS NULL) = (content IS NULL) AND (position IS NULL) = (hash IS NULL));
CREATE INDEX audit_actor ON audit (actor, at, id);
CREATE INDEX audit_subject ON audit (subject, at, id);
-- What is in no chain yet.
CREATE INDEX audit_open ON audit (at, id) WHERE position IS NULL;

-- The end of the chain: one row.
CREATE TABLE audit_head (
    one integer NOT NULL PRIMARY KEY CHECK (one = 1),
    position bigint NOT NULL CHECK (position >= 0),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    sealed_at bigint NOT NULL
);
INSERT INTO audit_head (one, position, hash, sealed_at) VALUES (1, 0, decode(repeat('00', 32), 'hex'), 0);
GRANT SELECT, UPDATE ON audit_head TO mainstay_system;

-- The server says on each of its connections that it writes its entries itself. Whoever changes these tables otherwise
-- is entered by the table: which row, and which columns, never what is in them.
CREATE FUNCTION audit_by_hand() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was jsonb := CASE WHEN TG_OP IN ('UPDATE', 'DELETE') THEN to_jsonb(OLD) END;
    is_now jsonb := CASE WHEN TG_OP IN ('UPDATE', 'INSERT') THEN to_jsonb(NEW) END;
    changed jsonb := coalesce(is_now, was);
    detail jsonb := jsonb_build_object('table', TG_TABLE_NAME);
BEGIN
    IF TG_OP = 'UPDATE' THEN
        detail := detail || jsonb_build_object('columns', coalesce((
            SELECT jsonb_agg(key ORDER BY key) FROM jsonb_object_keys(is_now) AS key
            WHERE is_now -> key IS DISTINCT FROM was -> key), '[]'));
    END IF;
    EXECUTE format(
        'INSERT INTO %I.audit (id, at, actor, action, subject, detail, tenant_id) VALUES ($1, $2, $3, $4, $5, $6, $7)',
        TG_TABLE_SCHEMA)
    USING gen_random_uuid(), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, 'database:' || session_user,
        'sql.' || lower(TG_OP), coalesce(changed ->> 'id', ''), detail::text,
        (CASE WHEN TG_TABLE_NAME = 'tenant' THEN changed ->> 'id' ELSE changed ->> 'tenant_id' END)::uuid;
    RETURN NULL;
END
$$;

CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log can only be added to';
END
$$;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['tenant', 'app_user', 'api_key', 'session', 'source', 'source_secret', 'source_link', 'event_schema', 'endpoint', 'binding'] LOOP
        EXECUTE format(
            'CREATE TRIGGER %I AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW '
            'WHEN (current_setting(''mainstay.writer'', true) IS DISTINCT FROM ''server'') '
            'EXECUTE FUNCTION audit_by_hand()', name || '_by_hand', name);
        EXECUTE format(
            'CREATE TRIGGER %I AFTER TRUNCATE ON %I FOR EACH STATEMENT '
            'WHEN (current_setting(''mainstay.writer'', true) IS DISTINCT FROM ''server'') '
            'EXECUTE FUNCTION audit_by_hand()', name || '_emptied_by_hand', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['audit', 'audit_head'] LOOP
        EXECUTE format(
            'CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT '
            'WHEN (current_setting(''mainstay.writer'', true) IS DISTINCT FROM ''server'') '
            'EXECUTE FUNCTION audit_append_only()', name || '_append_only', name);
    END LOOP;
END
$$;
