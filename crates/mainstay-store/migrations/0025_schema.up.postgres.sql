-- Everything of ours stands in the schema `mainstay`; whoever runs migrations sees to that before the first of them. What is
-- called from somebody else's connection must find it there.
-- safe not-understood: only where it looks for tables
ALTER FUNCTION audit_by_hand() SET search_path = mainstay, pg_temp;
-- safe not-understood: only where it looks for tables
ALTER FUNCTION audit_append_only() SET search_path = mainstay, pg_temp;
