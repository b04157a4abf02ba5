-- safe not-understood: only where it looks for tables
ALTER FUNCTION audit_append_only() RESET search_path;
-- safe not-understood: only where it looks for tables
ALTER FUNCTION audit_by_hand() RESET search_path;
