//! Migrations.

use super::*;
use crate::{SetupError, migrate::schema_dump};

const SECOND: Migration = Migration {
    version: 2,
    name: "colour",
    sqlite: Script {
        up: "ALTER TABLE note ADD COLUMN colour TEXT; CREATE INDEX note_colour ON note (tenant_id, colour);",
        down: "DROP INDEX note_colour; ALTER TABLE note DROP COLUMN colour;",
    },
    postgres: Script {
        up: "ALTER TABLE note ADD COLUMN colour text; CREATE INDEX note_colour ON note (tenant_id, colour);",
        down: "DROP INDEX note_colour; ALTER TABLE note DROP COLUMN colour;",
    },
};

const BROKEN: Migration = Migration {
    version: 2,
    name: "broken",
    sqlite: Script {
        up: "CREATE TABLE half (id INTEGER); INSERT INTO nowhere VALUES (1);",
        down: "",
    },
    postgres: Script {
        up: "CREATE TABLE half (id bigint); INSERT INTO nowhere VALUES (1);",
        down: "",
    },
};

const CHANGED: Migration = Migration {
    name: "tiny",
    version: 1,
    sqlite: Script {
        up: "-- another text",
        down: "",
    },
    postgres: Script {
        up: "-- another text",
        down: "",
    },
};

static BOTH: &[Migration] = &[FIRST, SECOND];
static HALF: &[Migration] = &[FIRST, BROKEN];
static OTHER: &[Migration] = &[CHANGED, SECOND];

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

async fn schema(db: &Bare) -> String {
    schema_dump(db.place()).await.expect("it can be read")
}

async fn up(db: &Bare, list: &'static [Migration]) -> Vec<u32> {
    let steps = Migrator::new(list).up(db.place(), Mode::Apply, NOW).await;
    let steps = steps.expect("the migrations run");
    steps.into_iter().map(|step| step.version).collect()
}

on_both!(up_down_up_gives_the_same_schema, |db: Bare| async {
    let migrator = Migrator::new(BOTH);
    assert_eq!(up(db, TINY).await, [1]);
    let first = schema(db).await;
    assert_eq!(up(db, BOTH).await, [2]);
    let both = schema(db).await;
    assert_ne!(first, both);
    let down = migrator.down(db.place(), 1, Mode::Apply).await;
    assert_eq!(down.expect("goes down").len(), 1);
    assert_eq!(schema(db).await, first);
    let down = migrator.down(db.place(), 0, Mode::Apply).await;
    assert_eq!(down.expect("goes down").len(), 1);
    assert!(!schema(db).await.contains("note"));
    assert_eq!(up(db, BOTH).await, [1, 2]);
    assert_eq!(schema(db).await, both);
    assert_eq!(up(db, BOTH).await, [] as [u32; 0]);
});

on_both!(
    a_dry_run_says_what_would_happen_and_changes_nothing,
    |db: Bare| async {
        let migrator = Migrator::new(BOTH);
        let before = schema(db).await;
        let steps = migrator.up(db.place(), Mode::DryRun, NOW).await;
        assert_eq!(steps.expect("it would work").len(), 2);
        assert_eq!(schema(db).await, before);
        up(db, BOTH).await;
        let before = schema(db).await;
        let steps = migrator.down(db.place(), 0, Mode::DryRun).await;
        assert_eq!(steps.expect("it would work").len(), 2);
        assert_eq!(schema(db).await, before);
        assert_eq!(
            migrator
                .status(db.place())
                .await
                .expect("known")
                .applied
                .len(),
            2
        );
    }
);

on_both!(
    the_status_says_what_is_applied_and_what_is_pending,
    |db: Bare| async {
        let migrator = Migrator::new(BOTH);
        let fresh = migrator.status(db.place()).await.expect("known");
        assert!(fresh.applied.is_empty());
        assert_eq!(fresh.pending.len(), 2);
        up(db, TINY).await;
        let status = migrator.status(db.place()).await.expect("known");
        assert_eq!(status.applied[0].name, "tiny");
        assert_eq!(status.applied[0].applied_at, NOW);
        assert_eq!(status.pending[0].name, "colour");
    }
);

on_both!(
    a_migration_that_fails_leaves_nothing_and_says_which,
    |db: Bare| async {
        up(db, TINY).await;
        let before = schema(db).await;
        let failed = Migrator::new(HALF).up(db.place(), Mode::Apply, NOW).await;
        let error = failed.expect_err("it is broken");
        assert!(
            matches!(error, SetupError::Migration { version: 2, .. }),
            "{error}"
        );
        assert_eq!(schema(db).await, before);
    }
);

on_both!(
    a_migration_whose_text_changed_after_it_was_applied_is_refused,
    |db: Bare| async {
        up(db, TINY).await;
        let refused = Migrator::new(OTHER).up(db.place(), Mode::Apply, NOW).await;
        assert!(matches!(
            refused,
            Err(SetupError::Checksum { version: 1, .. })
        ));
    }
);

on_both!(a_database_of_a_newer_program_is_refused, |db: Bare| async {
    up(db, BOTH).await;
    let refused = Migrator::new(TINY).up(db.place(), Mode::Apply, NOW).await;
    assert!(matches!(
        refused,
        Err(SetupError::Newer {
            found: 2,
            wanted: 1
        })
    ));
});

#[test]
fn a_store_opens_only_at_its_own_version() {
    mainstay_testkit::run(async {
        let folder = tempfile::tempdir().expect("a directory");
        let directory = Arc::new(DataDirectory::lock(folder.path()).expect("locked"));
        let open = |list| {
            let directory = Arc::clone(&directory);
            SqliteStore::open_at(directory, SqliteOptions::default(), Migrator::new(list))
        };
        assert!(matches!(
            open(TINY).err(),
            Some(SetupError::Older {
                found: 0,
                wanted: 1
            })
        ));
        let place = Place::Sqlite(&directory);
        let applied = Migrator::new(BOTH).up(place, Mode::Apply, NOW).await;
        applied.expect("the migrations run");
        assert!(matches!(open(TINY).err(), Some(SetupError::Newer { .. })));
        assert!(matches!(
            open(OTHER).err(),
            Some(SetupError::Checksum { .. })
        ));
        open(BOTH).expect("its own version").close().await;
    });
}

on_both!(
    two_runners_at_once_apply_each_migration_once,
    |db: Bare| async {
        let run = || async {
            let migrator = Migrator::new(BOTH);
            match db {
                Bare::Postgres(..) => migrator.up(db.place(), Mode::Apply, NOW).await,
                // A thread of its own for each, since SQLite's part waits without yielding.
                Bare::Sqlite(directory, _) => std::thread::scope(|scope| {
                    let other = scope.spawn(|| {
                        let place = Place::Sqlite(directory);
                        mainstay_testkit::run(migrator.up(place, Mode::Apply, NOW))
                    });
                    let place = Place::Sqlite(directory);
                    let here = scope
                        .spawn(move || mainstay_testkit::run(migrator.up(place, Mode::Apply, NOW)));
                    let mut steps = other.join().expect("ends")?;
                    steps.extend(here.join().expect("ends")?);
                    Ok(steps)
                }),
            }
        };
        let mut steps = match db {
            Bare::Postgres(..) => {
                let (one, other) = tokio::join!(run(), run());
                let mut steps = one.expect("ends well");
                steps.extend(other.expect("ends well"));
                steps
            }
            Bare::Sqlite(..) => run().await.expect("ends well"),
        };
        steps.sort_by_key(|step| step.version);
        let versions: Vec<u32> = steps.iter().map(|step| step.version).collect();
        assert_eq!(versions, [1, 2]);
    }
);

#[test]
fn a_user_who_may_not_make_the_roles_is_told_what_to_do() {
    mainstay_testkit::run(async {
        let Bare::Postgres(url, scratch) = Bare::postgres().await else {
            unreachable!("it is PostgreSQL");
        };
        // In a cluster where the roles are there, the user still has to be given them.
        let name = format!("powerless_{}", std::process::id());
        let admin = crate::postgres::connect_plain(&url)
            .await
            .expect("connects");
        let grant = format!(
            "CREATE ROLE {name} LOGIN; GRANT CREATE ON DATABASE {} TO {name}",
            url.database()
        );
        admin.batch_execute(&grant).await.expect("the user is made");
        let powerless: PostgresUrl = scratch.url_as(&name).parse().expect("a good URL");
        let place = Place::Postgres(&powerless);
        let refused = Migrator::new(TINY).up(place, Mode::Apply, NOW).await;
        let drop = format!("DROP OWNED BY {name}; DROP ROLE {name}");
        admin
            .batch_execute(&drop)
            .await
            .expect("the user is removed");
        let error = refused.expect_err("it may not").to_string();
        assert!(
            error.contains("mainstay_app") && error.contains("administrator"),
            "{error}"
        );
    });
}
