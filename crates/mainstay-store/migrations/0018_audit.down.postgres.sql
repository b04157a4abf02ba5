DROP TRIGGER tenant_by_hand ON tenant;
DROP TRIGGER tenant_emptied_by_hand ON tenant;
DROP TRIGGER app_user_by_hand ON app_user;
DROP TRIGGER app_user_emptied_by_hand ON app_user;
DROP TRIGGER api_key_by_hand ON api_key;
DROP TRIGGER api_key_emptied_by_hand ON api_key;
DROP TRIGGER session_by_hand ON session;
DROP TRIGGER session_emptied_by_hand ON session;
DROP TRIGGER source_by_hand ON source;
DROP TRIGGER source_emptied_by_hand ON source;
DROP TRIGGER source_secret_by_hand ON source_secret;
DROP TRIGGER source_secret_emptied_by_hand ON source_secret;
DROP TRIGGER source_link_by_hand ON source_link;
DROP TRIGGER source_link_emptied_by_hand ON source_link;
DROP TRIGGER event_schema_by_hand ON event_schema;
DROP TRIGGER event_schema_emptied_by_hand ON event_schema;
DROP TRIGGER endpoint_by_hand ON endpoint;
DROP TRIGGER endpoint_emptied_by_hand ON endpoint;
DROP TRIGGER binding_by_hand ON binding;
DROP TRIGGER binding_emptied_by_hand ON binding;
DROP TRIGGER audit_append_only ON audit;
DROP TABLE audit_head;
DROP FUNCTION audit_append_only();
DROP FUNCTION audit_by_hand();

-- A way back is run by the owner of the tables, whom row-level security would hide the rows from.
ALTER TABLE tenant NO FORCE ROW LEVEL SECURITY;
ALTER TABLE audit NO FORCE ROW LEVEL SECURITY;
ALTER TABLE api_key NO FORCE ROW LEVEL SECURITY;
DROP INDEX audit_actor, audit_subject, audit_open;
ALTER TABLE audit DROP CONSTRAINT audit_sealed_check;
ALTER TABLE audit DROP COLUMN salt, DROP COLUMN position, DROP COLUMN content, DROP COLUMN hash;
UPDATE audit SET tenant_id = NULL WHERE tenant_id NOT IN (SELECT id FROM tenant);
ALTER TABLE audit
    ADD CONSTRAINT audit_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant (id) ON DELETE SET NULL;

-- Nobody may do more than before.
UPDATE app_user SET role = 'viewer' WHERE role NOT IN ('viewer', 'owner');
UPDATE api_key SET role = 'viewer' WHERE role NOT IN ('viewer', 'owner');
ALTER TABLE app_user DROP CONSTRAINT app_user_role_check;
ALTER TABLE app_user ADD CONSTRAINT app_user_role_check CHECK (role IN ('viewer', 'owner'));
ALTER TABLE api_key DROP CONSTRAINT api_key_role_check;
ALTER TABLE api_key ADD CONSTRAINT api_key_role_check CHECK (role IN ('viewer', 'owner'));
ALTER TABLE tenant FORCE ROW LEVEL SECURITY;
ALTER TABLE audit FORCE ROW LEVEL SECURITY;
ALTER TABLE api_key FORCE ROW LEVEL SECURITY;
