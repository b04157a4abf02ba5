//! The schema and its migrations.

use mainstay_domain::Timestamp;
use mainstay_store::{
    backup::holds_data,
    migrate::{Migrator, Mode, Place, schema_dump},
};
use mainstay_testkit::{Cluster, TestDatabase, on_both};

async fn schema(place: Place<'_>) -> String {
    schema_dump(place).await.expect("it can be read")
}

/// Says which lines differ: the whole is too long to read.
fn assert_same(found: &str, wanted: &str, when: &str) {
    let missing = |from: &str, other: &str| -> Vec<String> {
        let lines = from
            .lines()
            .filter(|line| !other.lines().any(|known| known == *line));
        lines.map(ToOwned::to_owned).collect()
    };
    assert_eq!(missing(found, wanted), [] as [&str; 0], "new {when}");
    assert_eq!(missing(wanted, found), [] as [&str; 0], "gone {when}");
}

async fn down(place: Place<'_>, version: u32) {
    let steps = Migrator::embedded().down(place, version, Mode::Apply).await;
    steps.expect("it goes down");
}

async fn up(place: Place<'_>) {
    let steps = Migrator::embedded()
        .up(place, Mode::Apply, Timestamp::EPOCH)
        .await;
    steps.expect("it goes up");
}

on_both!(
    every_migration_can_be_taken_back_and_made_again,
    |db| async {
        db.store().close().await;
        let last = Migrator::embedded().version();
        let whole = schema(db.place()).await;
        for version in (0..last).rev() {
            down(db.place(), version).await;
            up(db.place()).await;
            let found = schema(db.place()).await;
            assert_same(&found, &whole, &format!("after going back to {version}"));
        }
    }
);

on_both!(
    nothing_is_left_when_all_migrations_are_taken_back,
    |db| async {
        db.store().close().await;
        down(db.place(), 0).await;
        let left = schema(db.place()).await;
        let foreign: Vec<&str> = left
            .lines()
            .filter(|line| !line.contains("schema_migration"))
            .collect();
        assert_eq!(foreign, [] as [&str; 0]);
    }
);

on_both!(a_dry_run_of_everything_changes_nothing, |db| async {
    db.store().close().await;
    let whole = schema(db.place()).await;
    let applied = Migrator::embedded().status(db.place()).await;
    let applied = applied.expect("it can be read").applied.len();
    let steps = Migrator::embedded().down(db.place(), 0, Mode::DryRun).await;
    assert_eq!(steps.expect("it would work").len(), applied);
    assert_same(&schema(db.place()).await, &whole, "after a dry run");
});

on_both!(
    a_database_that_was_only_migrated_holds_no_data,
    |db| async {
        assert!(!holds_data(db.place()).await.expect("it can be counted"));
    }
);

#[test]
fn the_application_owns_nothing_and_every_table_of_its_is_under_a_forced_policy() {
    mainstay_testkit::run(async {
        let scratch = Cluster::of_this_run().migrated().await;
        let client = scratch.client().await;
        let owned = "SELECT count(*) FROM pg_class WHERE relowner IN ('mainstay_app'::regrole, 'mainstay_system'::regrole)";
        let owned = client.query_one(owned, &[]).await.expect("it answers");
        assert_eq!(owned.get::<_, i64>(0), 0);
        // Tenant data: whatever names a tenant, the tenants themselves, and what is a tenant's through another row.
        let open = "SELECT relname::text FROM pg_class c
            WHERE relnamespace = 'mainstay'::regnamespace AND relkind IN ('r', 'p')
                AND (relname IN ('tenant', 'receipt', 'dedup', 'object_event', 'object_mention') OR EXISTS (SELECT FROM pg_attribute a
                    WHERE a.attrelid = c.oid AND attname = 'tenant_id' AND NOT attisdropped))
                AND NOT (relrowsecurity AND relforcerowsecurity
                    AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid
                        AND 'mainstay_app'::regrole = ANY (polroles))
                    AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid
                        AND 'mainstay_system'::regrole = ANY (polroles)))";
        let open = client.query(open, &[]).await.expect("it answers");
        let open: Vec<String> = open.iter().map(|row| row.get(0)).collect();
        assert_eq!(open, [] as [&str; 0]);
    });
}

#[test]
fn one_database_per_test_is_its_own() {
    mainstay_testkit::run(async {
        let (one, other) = (
            TestDatabase::postgres().await,
            TestDatabase::postgres().await,
        );
        let name = |db: &TestDatabase| db.scratch().map(|scratch| scratch.url().to_string());
        assert_ne!(name(&one), name(&other));
        one.finish().await;
        other.finish().await;
    });
}

#[test]
fn every_reference_is_indexed_on_postgres() {
    mainstay_testkit::run(async {
        let scratch = Cluster::of_this_run().migrated().await;
        let client = scratch.client().await;
        // An index serves when its first columns are the reference's, in any order.
        let bare = "SELECT conname::text FROM pg_constraint con
            WHERE contype = 'f' AND connamespace = 'mainstay'::regnamespace AND NOT EXISTS (
                SELECT FROM pg_index i WHERE i.indrelid = con.conrelid AND i.indpred IS NULL
                    AND (i.indkey::int2[])[0:cardinality(con.conkey) - 1] @> con.conkey)";
        let bare = client.query(bare, &[]).await.expect("it answers");
        let bare: Vec<String> = bare.iter().map(|row| row.get(0)).collect();
        assert_eq!(bare, [] as [&str; 0]);
    });
}

#[test]
fn every_reference_is_indexed_on_sqlite() {
    mainstay_testkit::run(async {
        let db = TestDatabase::sqlite().await;
        let Place::Sqlite(directory) = db.place() else {
            unreachable!("it is SQLite");
        };
        let connection = rusqlite::Connection::open(directory.database()).expect("opens");
        let bare = "
            WITH reference AS (
                SELECT t.name AS owner, f.id, json_group_array(f.\"from\") AS columns, count(*) AS width
                FROM sqlite_schema t, pragma_foreign_key_list(t.name) f
                WHERE t.type = 'table' GROUP BY t.name, f.id
            )
            SELECT owner || columns FROM reference r WHERE NOT EXISTS (
                SELECT 1 FROM pragma_index_list(r.owner) i WHERE i.partial = 0 AND (
                    SELECT count(*) FROM pragma_index_info(i.name) c
                    WHERE c.seqno < r.width AND c.name IN (SELECT value FROM json_each(r.columns))
                ) = r.width
            )
            -- A whole number that is the key is the row's own place.
            AND NOT EXISTS (SELECT 1 FROM pragma_table_info(r.owner) c
                WHERE c.pk = 1 AND c.type = 'INTEGER' AND r.columns = json_array(c.name))";
        let mut bare = connection.prepare(bare).expect("it is SQL");
        let bare = bare.query_map([], |row| row.get::<_, String>(0));
        let bare: Result<Vec<String>, _> = bare.expect("it runs").collect();
        assert_eq!(bare.expect("it answers"), [] as [&str; 0]);
        db.finish().await;
    });
}
