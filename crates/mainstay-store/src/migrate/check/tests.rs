//! What the validator finds, and what it lets pass.

use super::*;
use crate::migrate::Migrator;

/// Migrations of before this validator: applied everywhere, their texts are fixed by their checksums.
const BEFORE: u32 = 22;

fn found(sql: &str, dialect: SqlDialect) -> Vec<(u64, Rule)> {
    let text = MigrationText {
        name: "1",
        sql,
        applied: false,
    };
    let findings = check(&[text], dialect);
    findings.iter().map(|one| (one.line, one.rule)).collect()
}

fn postgres(sql: &str) -> Vec<(u64, Rule)> {
    found(sql, SqlDialect::Postgres)
}

#[test]
fn our_own_migrations_are_safe_or_say_why() {
    for dialect in [SqlDialect::Postgres, SqlDialect::Sqlite] {
        let texts: Vec<MigrationText> = Migrator::embedded()
            .migrations
            .iter()
            .map(|migration| MigrationText {
                name: migration.name,
                sql: match dialect {
                    SqlDialect::Postgres => migration.postgres.up,
                    SqlDialect::Sqlite => migration.sqlite.up,
                },
                applied: migration.version <= BEFORE,
            })
            .collect();
        assert_eq!(check(&texts, dialect), Vec::new(), "{dialect:?}");
    }
}

#[test]
fn what_would_lose_data_is_found_on_its_line() {
    let sql = "
CREATE TABLE made (id bigint PRIMARY KEY);
DROP TABLE orders;
ALTER TABLE orders DROP COLUMN total, ADD COLUMN sum bigint;
TRUNCATE orders;
DELETE FROM orders;
DELETE FROM orders WHERE id = 1;
ALTER TABLE orders ALTER COLUMN total TYPE integer;
ALTER TABLE orders RENAME TO bought;
ALTER TABLE bought RENAME COLUMN total TO sum;
ALTER TABLE bought DROP CONSTRAINT bought_check;
ALTER TABLE bought DISABLE ROW LEVEL SECURITY;
DROP VIEW totals CASCADE;
DROP SCHEMA old;
WITH gone AS (DELETE FROM bought RETURNING id) INSERT INTO made SELECT id FROM gone;
";
    assert_eq!(
        postgres(sql),
        [
            (3, Rule::DropTable),
            (4, Rule::DropColumn),
            (5, Rule::RemoveRows),
            (6, Rule::RemoveRows),
            (8, Rule::ChangeType),
            (9, Rule::Rename),
            (10, Rule::Rename),
            (11, Rule::DropProtection),
            (12, Rule::DropProtection),
            (13, Rule::Cascade),
            (14, Rule::DropTable),
            (15, Rule::RemoveRows),
        ]
    );
}

#[test]
fn what_a_migration_made_itself_it_may_drop() {
    let sql = "
CREATE TABLE kept AS SELECT 1 AS id;
DELETE FROM kept;
DROP TABLE kept;
CREATE TABLE next (id INTEGER PRIMARY KEY) STRICT, WITHOUT ROWID;
ALTER TABLE next RENAME TO orders;
";
    assert_eq!(found(sql, SqlDialect::Sqlite), []);
    assert_eq!(postgres("DROP TABLE kept;"), [(1, Rule::DropTable)]);
}

#[test]
fn a_table_that_may_have_been_there_is_not_this_migration_s_own() {
    let sql = "CREATE TABLE IF NOT EXISTS orders (id bigint);\nDROP TABLE orders;";
    assert_eq!(postgres(sql), [(2, Rule::DropTable)]);
}

#[test]
fn what_protects_rows_and_what_others_depend_on_is_found() {
    let sql = "
DROP TRIGGER audited ON orders;
DROP POLICY own ON orders;
ALTER POLICY own ON orders USING (true);
DROP FUNCTION total CASCADE;
DROP DOMAIN money CASCADE;
DROP EXTENSION citext CASCADE;
ALTER TYPE state RENAME TO status;
ALTER TYPE state ADD VALUE 'paid';
ALTER ROLE app BYPASSRLS;
";
    assert_eq!(
        postgres(sql),
        [
            (2, Rule::DropProtection),
            (3, Rule::DropProtection),
            (4, Rule::DropProtection),
            (5, Rule::Cascade),
            (6, Rule::Cascade),
            (7, Rule::Cascade),
            (8, Rule::Rename),
            (10, Rule::NotUnderstood),
        ]
    );
}

#[test]
fn a_reason_lets_one_rule_be_broken_by_one_statement() {
    let sql = "
-- Orders are called purchases now.
-- safe drop-table, cascade: copied above, and the view is made again below
DROP TABLE orders CASCADE;
DROP TABLE customers;
";
    assert_eq!(postgres(sql), [(5, Rule::DropTable)]);
}

#[test]
fn a_reason_that_says_nothing_or_is_not_needed_is_found() {
    let empty = "-- safe drop-table:\nDROP TABLE orders;";
    assert_eq!(postgres(empty), [(2, Rule::Reason)]);
    let unknown = "-- safe drop-tables: copied\nDROP TABLE orders;";
    assert_eq!(postgres(unknown), [(2, Rule::DropTable), (2, Rule::Reason)]);
    let stale = "-- safe drop-table: copied\nDROP VIEW orders;";
    assert_eq!(postgres(stale), [(2, Rule::Reason)]);
    let no_key = "-- safe foreign-key-without-index: small\nCREATE TABLE a (id bigint);";
    assert_eq!(postgres(no_key), [(2, Rule::Reason)]);
}

#[test]
fn what_cannot_be_read_is_found_and_hides_nothing() {
    let sql = "
DO $$ BEGIN EXECUTE 'DROP TABLE ' || 'orders'; END $$;
FROBNICATE orders;
DROP TABLE orders;
-- safe not-understood: it only names the tables of this file
DO $$ BEGIN NULL; END $$;
CALL tidy();
";
    assert_eq!(
        postgres(sql),
        [
            (2, Rule::NotUnderstood),
            (3, Rule::NotUnderstood),
            (4, Rule::DropTable),
            (7, Rule::NotUnderstood),
        ]
    );
    assert_eq!(postgres("SELECT 'open"), [(1, Rule::NotUnderstood)]);
}

#[test]
fn a_semicolon_in_a_trigger_ends_no_statement() {
    let sql = "
CREATE TRIGGER told AFTER DELETE ON orders BEGIN
    INSERT INTO told (what) VALUES (CASE WHEN old.id > 1 THEN 'many' ELSE 'one' END);
    DELETE FROM told;
END;
DROP TABLE orders;
";
    // The body runs with the trigger, not with the migration.
    let found = found(sql, SqlDialect::Sqlite);
    assert_eq!(found.last(), Some(&(6, Rule::DropTable)), "{found:?}");
    assert!(!found.contains(&(4, Rule::RemoveRows)), "{found:?}");
}

#[test]
fn a_foreign_key_needs_an_index_that_begins_with_it() {
    let key = |index: &str| {
        let sql = format!(
            "CREATE TABLE a (id bigint PRIMARY KEY, b bigint, c bigint, FOREIGN KEY (b, c) REFERENCES other (b, c));\n{index}"
        );
        postgres(&sql)
    };
    let missing = [(1, Rule::ForeignKeyWithoutIndex)];
    assert_eq!(key(""), missing);
    assert_eq!(key("CREATE INDEX i ON a (b);"), missing);
    assert_eq!(key("CREATE INDEX i ON a (id, b, c);"), missing);
    assert_eq!(key("CREATE INDEX i ON a (b, c) WHERE id > 5;"), missing);
    assert_eq!(key("CREATE INDEX i ON a (b, c); DROP INDEX i;"), missing);
    assert_eq!(key("CREATE INDEX i ON a (c, b, id);"), []);
    assert_eq!(key("CREATE INDEX i ON a (b, c) WHERE b IS NOT NULL;"), []);
    assert_eq!(key("ALTER TABLE a ADD CONSTRAINT u UNIQUE (b, c);"), []);
    assert_eq!(
        postgres("CREATE TABLE a (id bigint PRIMARY KEY REFERENCES b (id));"),
        []
    );
    assert_eq!(
        postgres("ALTER TABLE a ADD COLUMN b bigint REFERENCES b (id);"),
        missing
    );
    let said = "-- safe foreign-key-without-index: ten rows, and nothing is deleted\nALTER TABLE a ADD COLUMN b bigint REFERENCES b (id);";
    assert_eq!(postgres(said), []);
}

#[test]
fn an_index_of_an_earlier_migration_counts_and_an_earlier_key_is_not_judged() {
    let text = |sql, applied| MigrationText {
        name: "m",
        sql,
        applied,
    };
    let before = "CREATE TABLE a (b bigint REFERENCES x (id), c bigint); CREATE INDEX i ON a (c); FROBNICATE;";
    let after = "ALTER TABLE a ADD CONSTRAINT k FOREIGN KEY (c) REFERENCES y (id);";
    let both = [text(before, true), text(after, false)];
    assert_eq!(check(&both, SqlDialect::Postgres), []);
}
