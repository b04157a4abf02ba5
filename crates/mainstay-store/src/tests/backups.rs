//! Backups and restores.

use std::{fs, path::Path};

use super::*;
use crate::{
    SetupError,
    backup::{OnProgress, backup, manifest_path, migrate_with_backup_at, restore_at, verify},
};

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

fn quiet() -> OnProgress {
    Arc::new(|_| {})
}

async fn filled(db: &Bare) {
    let migrator = Migrator::new(TINY);
    let applied = migrator.up(db.place(), Mode::Apply, NOW).await;
    applied.expect("the migration runs");
    let (one, other) = match db {
        Bare::Sqlite(..) => ("x'01'", "x'02'"),
        Bare::Postgres(..) => (
            "'00000000-0000-0000-0000-000000000001'",
            "'00000000-0000-0000-0000-000000000002'",
        ),
    };
    let text = format!(
        "INSERT INTO note (tenant_id, id, text) VALUES ({one}, 1, 'a'), ({one}, 2, 'b'), ({other}, 1, 'c')"
    );
    db.run(&text).await;
}

async fn put(db: &Bare, file: &Path, force: bool) -> Result<crate::backup::Manifest, SetupError> {
    restore_at(Migrator::new(TINY), db.place(), file, force, quiet()).await
}

on_both!(what_was_backed_up_is_restored_whole, |db: Bare| async {
    filled(db).await;
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("one.backup");
    let made = backup(db.place(), &file, NOW, quiet())
        .await
        .expect("it is written");
    assert_eq!(made.counts["note"], 3);
    assert_eq!(made.schema_version, 1);
    assert_eq!(verify(&file).await.expect("it is whole"), made);
    db.run("DELETE FROM note WHERE id = 1").await;
    let refused = put(db, &file, false).await;
    assert!(
        matches!(refused, Err(SetupError::NotEmpty(_))),
        "{refused:?}"
    );
    let restored = put(db, &file, true).await.expect("it is restored");
    assert_eq!(restored, made);
    let again = folder.path().join("two.backup");
    let again = backup(db.place(), &again, NOW, quiet())
        .await
        .expect("it is written");
    assert_eq!(again.counts, made.counts);
});

on_both!(
    a_backup_is_restored_into_a_database_that_was_only_migrated,
    |db: Bare| async {
        filled(db).await;
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("one.backup");
        backup(db.place(), &file, NOW, quiet())
            .await
            .expect("it is written");
        db.run("DELETE FROM note").await;
        put(db, &file, false)
            .await
            .expect("there is nothing to lose");
    }
);

on_both!(
    a_backup_that_was_changed_is_refused_and_nothing_is_touched,
    |db: Bare| async {
        filled(db).await;
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("one.backup");
        backup(db.place(), &file, NOW, quiet())
            .await
            .expect("it is written");
        let whole = fs::read(&file).expect("it is there");
        let middle = whole.len() / 2;
        let damages: [(&str, Vec<u8>); 3] = [
            ("a bit flipped", {
                let mut bytes = whole.clone();
                bytes[middle] ^= 1;
                bytes
            }),
            ("cut short", whole[..middle].to_vec()),
            ("empty", Vec::new()),
        ];
        for (damage, bytes) in damages {
            fs::write(&file, bytes).expect("it can be written");
            let refused = put(db, &file, true).await;
            assert!(
                matches!(refused, Err(SetupError::Backup { .. })),
                "{damage}: {refused:?}"
            );
        }
        fs::write(&file, &whole).expect("it can be written");
        fs::write(manifest_path(&file), "{}").expect("it can be written");
        assert!(matches!(
            put(db, &file, true).await,
            Err(SetupError::Backup { .. })
        ));
        fs::remove_file(manifest_path(&file)).expect("it is there");
        assert!(put(db, &file, true).await.is_err());
        let folder = folder.path().join("two.backup");
        let still = backup(db.place(), &folder, NOW, quiet())
            .await
            .expect("it is written");
        assert_eq!(still.counts["note"], 3);
    }
);

on_both!(
    a_backup_is_readable_by_its_owner_only_and_never_overwritten,
    |db: Bare| async {
        use std::os::unix::fs::PermissionsExt;
        filled(db).await;
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("one.backup");
        backup(db.place(), &file, NOW, quiet())
            .await
            .expect("it is written");
        let mut files = 0;
        for entry in fs::read_dir(folder.path()).expect("listed") {
            let data = entry.expect("listed").metadata().expect("is there");
            assert_eq!(data.permissions().mode() & 0o777, 0o600);
            files += 1;
        }
        // Nothing but the backup and its manifest is left.
        assert_eq!(files, 2);
        let again = backup(db.place(), &file, NOW, quiet()).await;
        assert!(matches!(again, Err(SetupError::Exists(_))));
    }
);

static NEXT: &[Migration] = &[
    FIRST,
    Migration {
        version: 2,
        name: "next",
        sqlite: Script {
            up: "CREATE TABLE next (id INTEGER PRIMARY KEY) STRICT;",
            down: "DROP TABLE next;",
        },
        postgres: Script {
            up: "CREATE TABLE next (id bigint PRIMARY KEY);
                 GRANT SELECT ON next TO mainstay_system;",
            down: "DROP TABLE next;",
        },
    },
];

on_both!(
    a_database_with_data_is_backed_up_before_it_is_migrated,
    |db: Bare| async {
        let folder = tempfile::tempdir().expect("a directory");
        let backups = folder.path().join("backups");
        let go =
            |list| migrate_with_backup_at(Migrator::new(list), db.place(), &backups, NOW, quiet());
        let (taken, steps) = go(TINY).await.expect("an empty database");
        assert_eq!((taken, steps.len()), (None, 1));
        filled(db).await;
        let (taken, steps) = go(NEXT).await.expect("one that holds data");
        assert_eq!(steps.len(), 1);
        let manifest = verify(&taken.expect("a backup was taken"))
            .await
            .expect("it is whole");
        assert_eq!(manifest.counts["note"], 3);
        let (taken, steps) = go(NEXT).await.expect("nothing to do");
        assert_eq!((taken, steps.len()), (None, 0));
    }
);

#[test]
fn a_running_store_is_backed_up_at_one_moment() {
    mainstay_testkit::run(async {
        let Ground::Sqlite(store, folder) = Ground::sqlite().await else {
            unreachable!("it is SQLite");
        };
        let directory = Arc::clone(store.directory());
        let db = Ground::Sqlite(store, folder);
        let elsewhere = tempfile::tempdir().expect("a directory");
        let file = elsewhere.path().join("one.backup");
        let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let writing = async {
            let mut number = 0;
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                // Two rows or none: never one.
                db.write(SYSTEM, move |tx| {
                    Box::pin(async move {
                        let text = "x".repeat(5_000);
                        note_insert(tx, tenant(1), number, &text).await?;
                        note_insert(tx, tenant(2), number, &text).await
                    })
                })
                .await
                .expect("commits");
                number += 1;
            }
        };
        let copying = async {
            let made = backup(Place::Sqlite(&directory), &file, NOW, quiet()).await;
            done.store(true, std::sync::atomic::Ordering::SeqCst);
            made.expect("it is written")
        };
        let ((), manifest) = tokio::join!(writing, copying);
        assert_eq!(manifest.counts["note"] % 2, 0);
    });
}

#[test]
fn an_owner_who_is_held_to_row_level_security_still_gets_every_row() {
    mainstay_testkit::run(async {
        let Bare::Postgres(url, scratch) = Bare::postgres().await else {
            unreachable!("it is PostgreSQL");
        };
        let name = format!("owner_{}", std::process::id());
        let admin = crate::postgres::connect_plain(&url)
            .await
            .expect("connects");
        let make = format!(
            "CREATE ROLE {name} LOGIN CREATEROLE; ALTER DATABASE {} OWNER TO {name}",
            url.database()
        );
        admin.batch_execute(&make).await.expect("the owner is made");
        let own: PostgresUrl = scratch.url_as(&name).parse().expect("a good URL");
        let migrated = Migrator::new(TINY)
            .up(Place::Postgres(&own), Mode::Apply, NOW)
            .await;
        migrated.expect("an owner can migrate");
        let fill = "INSERT INTO note (tenant_id, id, text) VALUES (gen_random_uuid(), 1, 'a'), (gen_random_uuid(), 1, 'b')";
        admin.batch_execute(fill).await.expect("rows");
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("one.backup");
        let made = backup(Place::Postgres(&own), &file, NOW, quiet()).await;
        assert_eq!(made.expect("it is written").counts["note"], 2);
        let place = Place::Postgres(&own);
        let restored = restore_at(Migrator::new(TINY), place, &file, true, quiet()).await;
        assert_eq!(restored.expect("it is restored").counts["note"], 2);
        let forced = "SELECT relforcerowsecurity FROM pg_class WHERE relname = 'note'";
        let forced = admin.query_one(forced, &[]).await.expect("it is there");
        assert!(forced.get::<_, bool>(0));
        let drop = format!(
            "ALTER DATABASE {} OWNER TO postgres; REASSIGN OWNED BY {name} TO postgres; DROP OWNED BY {name}; DROP ROLE {name}",
            url.database()
        );
        admin
            .batch_execute(&drop)
            .await
            .expect("the owner is removed");
    });
}

/// What versions up to migration 24 left: everything in `public`, in a database of their own.
const AS_BEFORE: &str = "DROP SCHEMA public; ALTER SCHEMA mainstay RENAME TO public";
const TEAMS_OWN: &str =
    "CREATE TABLE public.orders (id bigint); INSERT INTO public.orders VALUES (7)";

#[test]
fn a_restore_leaves_the_teams_own_tables_in_the_same_database_alone() {
    mainstay_testkit::run(async {
        let Bare::Postgres(url, _scratch) = Bare::postgres().await else {
            unreachable!("it is PostgreSQL");
        };
        let place = Place::Postgres(&url);
        let migrated = Migrator::new(TINY).up(place, Mode::Apply, NOW).await;
        migrated.expect("it is migrated");
        let admin = crate::postgres::connect_plain(&url).await;
        let admin = admin.expect("connects");
        admin.batch_execute(TEAMS_OWN).await.expect("their table");
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("one.backup");
        let made = backup(place, &file, NOW, quiet()).await;
        let counts = made.expect("it is written").counts;
        assert!(!counts.contains_key("orders"), "{counts:?}");
        let restored = restore_at(Migrator::new(TINY), place, &file, true, quiet()).await;
        assert_eq!(restored.expect("it is restored").counts, counts);
        let kept = admin.query_one("SELECT id FROM public.orders", &[]).await;
        assert_eq!(kept.expect("it is there").get::<_, i64>(0), 7);
    });
}

#[test]
fn what_a_version_before_kept_in_public_is_backed_up_moved_and_restored() {
    mainstay_testkit::run(async {
        let Bare::Postgres(url, _scratch) = Bare::postgres().await else {
            unreachable!("it is PostgreSQL");
        };
        let place = Place::Postgres(&url);
        let migrator = Migrator::new(TINY);
        migrator
            .up(place, Mode::Apply, NOW)
            .await
            .expect("it is migrated");
        let admin = crate::postgres::connect_plain(&url).await;
        let admin = admin.expect("connects");
        let fill = "INSERT INTO note (tenant_id, id, text) VALUES (gen_random_uuid(), 1, 'a')";
        admin.batch_execute(fill).await.expect("a row");
        admin.batch_execute(AS_BEFORE).await.expect("as before");
        let known = migrator.status(place).await.expect("it answers");
        assert!(known.pending.is_empty() && !known.applied.is_empty());
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("before.backup");
        let made = backup(place, &file, NOW, quiet()).await;
        assert_eq!(made.expect("it is written").counts["note"], 1);
        // A runner takes it over, once.
        for _ in 0..2 {
            let steps = migrator.up(place, Mode::Apply, NOW).await;
            assert!(steps.expect("it moves").is_empty());
        }
        let there = admin.query_one("SELECT count(*) FROM mainstay.note", &[]);
        assert_eq!(there.await.expect("it moved").get::<_, i64>(0), 1);
        // And the backup of it comes back, in the new place; nobody else's tables become ours by it.
        let restored = restore_at(Migrator::new(TINY), place, &file, true, quiet()).await;
        assert_eq!(restored.expect("it is restored").counts["note"], 1);
        admin.batch_execute(TEAMS_OWN).await.expect("their table");
        let refused = restore_at(Migrator::new(TINY), place, &file, true, quiet()).await;
        let refused = refused.expect_err("public is somebody's").to_string();
        assert!(refused.contains("holds something else"), "{refused}");
        let kept = admin.query_one("SELECT count(*) FROM mainstay.note", &[]);
        assert_eq!(kept.await.expect("nothing changed").get::<_, i64>(0), 1);
    });
}
