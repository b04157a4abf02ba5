//! The schema as text, for comparing two databases: up, down and up again must give the same.

use super::Place;
use crate::{
    postgres::{connect_plain, map_error as map_postgres},
    setup::SetupResult,
    sqlite::{map_error, open_reader},
};

/// Without what SQLite makes for itself.
const SQLITE: &str = "
    SELECT type || ' ' || name || ' on ' || tbl_name || ': ' || replace(coalesce(sql, ''), char(10), ' ')
    FROM sqlite_schema WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY type, name";

/// Everything that a migration can make: columns, constraints, indexes, policies, views, functions, triggers, and who
/// may do what.
const POSTGRES: &str = "
    WITH own AS (
        SELECT c.oid, c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relacl, c.reloptions
        FROM pg_catalog.pg_class c
        WHERE c.relnamespace = to_regnamespace('mainstay')
    )
    SELECT line FROM (
        SELECT 'relation ' || relname || ' ' || relkind::text || ' rls ' || relrowsecurity || ' ' || relforcerowsecurity
            || ' acl ' || coalesce((SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(relacl) a), '')
            || ' options ' || coalesce(array_to_string(reloptions, ','), '') FROM own
        UNION ALL
        SELECT 'column ' || relname || '.' || attname || ' ' || format_type(atttypid, atttypmod) || ' null ' || (NOT attnotnull)
            || ' storage ' || attstorage::text || ' default ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
        FROM own JOIN pg_catalog.pg_attribute ON attrelid = own.oid AND attnum > 0 AND NOT attisdropped
        LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = own.oid AND d.adnum = attnum
        UNION ALL
        SELECT 'constraint ' || relname || '.' || conname || ' ' || pg_get_constraintdef(con.oid)
        FROM own JOIN pg_catalog.pg_constraint con ON conrelid = own.oid
        UNION ALL
        SELECT 'index ' || pg_get_indexdef(indexrelid) FROM own JOIN pg_catalog.pg_index ON indrelid = own.oid
        UNION ALL
        SELECT 'policy ' || tablename || '.' || policyname || ' ' || permissive || ' ' || roles::text || ' ' || cmd
            || ' using ' || coalesce(qual, '') || ' check ' || coalesce(with_check, '')
        FROM pg_catalog.pg_policies WHERE schemaname = 'mainstay'
        UNION ALL
        SELECT 'view ' || relname || ' ' || pg_get_viewdef(own.oid) FROM own WHERE relkind IN ('v', 'm')
        UNION ALL
        SELECT 'function ' || pg_get_functiondef(p.oid) || ' acl ' || coalesce(p.proacl::text, '')
        FROM pg_catalog.pg_proc p WHERE p.pronamespace = to_regnamespace('mainstay') AND p.prokind IN ('f', 'p')
        UNION ALL
        SELECT 'trigger ' || relname || ' ' || pg_get_triggerdef(t.oid)
        FROM own JOIN pg_catalog.pg_trigger t ON tgrelid = own.oid WHERE NOT tgisinternal
        UNION ALL
        SELECT 'type ' || typname || ' ' || typtype::text FROM pg_catalog.pg_type
        WHERE typnamespace = to_regnamespace('mainstay') AND typtype IN ('d', 'e')
    ) AS lines (line)
    ORDER BY line";

/// The schema of the database, line by line, in an order of its own.
pub async fn schema_dump(place: Place<'_>) -> SetupResult<String> {
    let lines: Vec<String> = match place {
        Place::Sqlite(directory) => {
            let connection = open_reader(&directory.database_prepare()?, 2_048)?;
            let mut statement = connection.prepare(SQLITE).map_err(map_error)?;
            let rows = statement.query_map([], |row| row.get(0));
            rows.and_then(Iterator::collect).map_err(map_error)?
        }
        Place::Postgres(url) => {
            let client = connect_plain(url).await?;
            let rows = client.query(POSTGRES, &[]).await;
            let rows = rows.map_err(|error| map_postgres(&error).error)?;
            rows.into_iter().map(|row| row.get(0)).collect()
        }
    };
    Ok(lines.join("\n"))
}
