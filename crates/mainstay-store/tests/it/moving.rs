//! A whole installation moves from SQLite to PostgreSQL, or nothing of it.

use std::{fs, sync::Arc};

use mainstay_domain::{
    AuditId, Store, StoreExt, TenantId, Timestamp,
    access::{AuditEntry, Tenant},
    store::Scope,
};
use mainstay_store::{
    DataDirectory, PostgresUrl, SetupError, SqliteOptions, SqliteStore,
    backup::{OnProgress, holds_data},
    migrate::{Migrator, Mode, Place, schema_dump},
    moving::{self, How, Moved},
};
use mainstay_testkit::{Cluster, ScratchDatabase};
use tempfile::TempDir;
use uuid::Uuid;

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);
const TENANT: u128 = 7;

fn quiet() -> OnProgress {
    Arc::new(|_| {})
}

/// An installation on SQLite that has been stopped, and an empty database on a server.
struct Ground {
    to: PostgresUrl,
    scratch: ScratchDatabase,
    folder: TempDir,
}

impl Ground {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let directory = DataDirectory::lock(folder.path()).expect("it is free");
        let place = Place::Sqlite(&directory);
        let applied = Migrator::embedded().up(place, Mode::Apply, NOW).await;
        applied.expect("the migrations run");
        drop(directory);
        let scratch = Cluster::of_this_run().scratch().await;
        let to = scratch.url_as("postgres").parse().expect("a good URL");
        let ground = Self {
            to,
            scratch,
            folder,
        };
        ground.fill().await;
        ground
    }

    /// The stopped installation's directory, for whoever is alone on it.
    fn locked(&self) -> DataDirectory {
        DataDirectory::lock(self.folder.path()).expect("it is free")
    }

    fn open(&self) -> Result<SqliteStore, SetupError> {
        SqliteStore::open(self.folder.path(), SqliteOptions::default())
    }

    /// Starts and stops what serves it.
    async fn serve(&self) -> Result<(), SetupError> {
        Store::close(&self.open()?).await;
        Ok(())
    }

    /// A tenant, and an entry of the audit log.
    async fn fill(&self) {
        let store = self.open().expect("it opens");
        let filled = store
            .transact(Scope::System("test"), |tx| {
                Box::pin(async move {
                    tx.tenant_insert(&tenant(TENANT, "acme", "Ärger & Söhne ✓"))
                        .await?;
                    tx.audit_insert(&AuditEntry {
                        id: AuditId::from_uuid(Uuid::from_u128(9)),
                        at: NOW,
                        actor: "test".into(),
                        action: "tenant.create".into(),
                        subject: "acme".into(),
                        detail: Some("{\"a\":1}".into()),
                        tenant: None,
                    })
                    .await
                })
            })
            .await;
        filled.expect("it commits");
        Store::close(&store).await;
    }

    /// Runs statements on the source, as a program beside ours would.
    fn meddle(&self, text: &str) {
        let connection = rusqlite::Connection::open(self.locked().database()).expect("opens");
        connection.execute_batch(text).expect("it runs");
    }

    async fn go(&self, how: How) -> Result<Moved, SetupError> {
        moving::to_postgres(&self.locked(), &self.to, how, NOW, quiet()).await
    }

    async fn target_holds_data(&self) -> bool {
        let held = holds_data(Place::Postgres(&self.to)).await;
        held.expect("it can be counted")
    }

    async fn one(&self, text: &str) -> String {
        let client = self.scratch.client().await;
        let row = client.query_one(text, &[]).await.expect("it answers");
        row.get(0)
    }
}

fn tenant(id: u128, slug: &str, name: &str) -> Tenant {
    Tenant {
        id: TenantId::from_uuid(Uuid::from_u128(id)),
        name: name.to_owned(),
        slug: slug.to_owned(),
        created_at: NOW,
    }
}

fn rows(moved: &Moved, table: &str) -> u64 {
    let found = moved.tables.iter().find(|found| found.name == table);
    found.expect("it is listed").rows
}

#[test]
fn what_is_moved_is_there_and_is_not_served_from_where_it_was() {
    mainstay_testkit::run(async {
        let ground = Ground::new().await;
        ground.meddle(
            "INSERT INTO signal (seq, tenant_id, job_id, queue, kind, at) VALUES (41, zeroblob(16), zeroblob(16), 1, 0, 5);
             INSERT INTO dedup (source_number, key, event_id, body_hash, deliveries)
             VALUES (1, randomblob(16), randomblob(16), x'80000000000000ff', 2);
             INSERT INTO lease (name, holder, epoch, expires_at) VALUES ('engine', zeroblob(16), 9, 9000000000000000)",
        );
        let rehearsed = ground.go(How::Rehearse).await.expect("it would work");
        assert!(!ground.target_holds_data().await, "it was taken back");
        ground.serve().await.expect("nothing was changed");
        let moved = ground.go(How::Move).await.expect("it works");
        assert_eq!(moved.digest, rehearsed.digest);
        assert_eq!((rows(&moved, "tenant"), rows(&moved, "audit")), (1, 1));
        assert_eq!(
            ground.one("SELECT name FROM tenant").await,
            "Ärger & Söhne ✓"
        );
        let hash = ground.one("SELECT to_hex(body_hash) FROM dedup").await;
        assert_eq!(hash, "80000000000000ff");
        let lease = ground
            .one("SELECT epoch || ' ' || expires_at FROM lease")
            .await;
        assert_eq!(lease, "9 0", "it is nobody's any more");
        let told = ground
            .one("SELECT detail::json ->> 'digest' FROM audit WHERE action = 'installation.move'")
            .await;
        assert_eq!(told, moved.digest);
        let next = "INSERT INTO signal (tenant_id, job_id, queue, kind, at)
            VALUES (gen_random_uuid(), gen_random_uuid(), 1, 0, 6) RETURNING seq::text";
        assert_eq!(ground.one(next).await, "42", "numbers go on");

        let refused = ground.serve().await;
        assert!(
            matches!(refused, Err(SetupError::Moved { .. })),
            "{refused:?}"
        );
        let directory = ground.locked();
        let place = Place::Sqlite(&directory);
        let refused = Migrator::embedded().up(place, Mode::Apply, NOW).await;
        drop(directory);
        assert!(
            matches!(refused, Err(SetupError::Moved { .. })),
            "{refused:?}"
        );
        let refused = ground.go(How::Move).await.map(drop);
        assert!(
            matches!(refused, Err(SetupError::Moved { .. })),
            "{refused:?}"
        );
        let mark = moving::mark(&ground.locked()).expect("it can be read");
        let mark = mark.expect("it is there");
        assert_eq!((mark.at, &mark.digest), (NOW, &moved.digest));
        let since = moving::since(&ground.to, NOW).await.expect("it is counted");
        assert!(since.is_empty(), "{since:?}");
        moving::mark_remove(&ground.locked()).expect("it goes");
        ground.serve().await.expect("it is served again");
    });
}

/// All records of deduplication, as either database has them, in the order of their keys.
fn records_of_source(ground: &Ground) -> Vec<String> {
    let connection = rusqlite::Connection::open(ground.locked().database()).expect("opens");
    let text = "SELECT source_number || ' ' || lower(hex(key)) || ' ' || deliveries || ' ' || lower(hex(body_hash)) FROM dedup ORDER BY source_number, key";
    let mut statement = connection.prepare(text).expect("it is prepared");
    let rows = statement.query_map([], |row| row.get(0)).expect("it runs");
    rows.collect::<Result<_, _>>().expect("text")
}

async fn records_of_target(ground: &Ground) -> Vec<String> {
    let client = ground.scratch.client().await;
    let text =
        "SELECT source_number || ' ' || replace(key::text, '-', '') || ' ' || deliveries || ' '
            || encode(int8send(body_hash), 'hex') FROM dedup ORDER BY source_number, key";
    let rows = client.query(text, &[]).await.expect("it runs");
    rows.iter().map(|row| row.get(0)).collect()
}

const RECORDS: &str =
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
    INSERT INTO dedup (source_number, key, event_id, body_hash, deliveries)
    SELECT i % 7, randomblob(16), randomblob(16), randomblob(8), 1 FROM n";

#[test]
fn what_changes_while_it_is_copied_is_copied_again_and_nothing_else() {
    mainstay_testkit::run(async {
        let changes = [
            // Nothing at all.
            "",
            "UPDATE dedup SET deliveries = 2 WHERE rowid_of_middle",
            // In front, behind, a whole piece less, many more in one place, and rows that come in the middle.
            "INSERT INTO dedup (source_number, key, event_id, body_hash, deliveries)
             VALUES (-1, randomblob(16), randomblob(16), randomblob(8), 5), (9, randomblob(16), randomblob(16), randomblob(8), 6)",
            "DELETE FROM dedup WHERE source_number = 3",
            "DELETE FROM dedup",
            RECORDS,
            "UPDATE tenant SET name = 'renamed'; DELETE FROM dedup WHERE source_number = 6;
             UPDATE dedup SET deliveries = deliveries + 1 WHERE source_number = 0",
        ];
        for change in changes {
            let change = change.replace(
                "rowid_of_middle",
                "key = (SELECT key FROM dedup WHERE source_number = 2 LIMIT 1)",
            );
            let ground = Ground::new().await;
            ground.meddle(RECORDS);
            let (path, seen) = (ground.folder.path(), std::cell::Cell::new(0));
            let moved = moving::to_postgres_live(
                path,
                &ground.to,
                || NOW,
                quiet(),
                async || {
                    ground.meddle(&change);
                    seen.set(records_of_source(&ground).len());
                    DataDirectory::lock_when_free(path)
                },
            )
            .await
            .expect("it works");
            let (sent, found) = (records_of_source(&ground), records_of_target(&ground).await);
            assert!(
                sent == found,
                "{change}: {} and {} rows",
                sent.len(),
                found.len()
            );
            assert_eq!(seen.get(), found.len());
            let ahead = moved.ahead.expect("a part was copied before");
            assert!(ahead.rows >= 6_000, "{ahead:?}");
            match change.as_str() {
                "" | "DELETE FROM dedup" => assert_eq!(ahead.again, 0, "{change}"),
                _ if change.contains("LIMIT 1") => {
                    assert!((1..=256).contains(&ahead.again), "{ahead:?}");
                }
                _ => assert!(ahead.again > 0, "{change}"),
            }
            // The digest is that of the source as it is, and the mark is there.
            let refused = ground.go(How::Move).await.map(drop);
            assert!(
                matches!(refused, Err(SetupError::Moved { .. })),
                "{refused:?}"
            );
            moving::mark_remove(&ground.locked()).expect("it goes");
            let again = ground.go(How::Move).await.expect("it was moved already");
            assert_eq!((again.before, &again.digest), (true, &moved.digest));
        }
    });
}

#[test]
fn a_change_that_does_not_arrive_as_it_was_sent_is_found() {
    mainstay_testkit::run(async {
        let harms = [
            "BEGIN NEW.deliveries := 7; RETURN NEW; END",
            "BEGIN RETURN NULL; END",
        ];
        for harm in harms {
            let ground = Ground::new().await;
            ground.meddle(RECORDS);
            let place = Place::Postgres(&ground.to);
            let applied = Migrator::embedded().up(place, Mode::Apply, NOW).await;
            applied.expect("the migrations run");
            // Only rows that are counted twice are harmed: there is none before the pause.
            let client = ground.scratch.client().await;
            let trigger = format!(
                "CREATE FUNCTION harm() RETURNS trigger LANGUAGE plpgsql AS $$ {harm} $$;
                 CREATE TRIGGER harm BEFORE INSERT ON dedup FOR EACH ROW WHEN (NEW.deliveries = 2) EXECUTE FUNCTION harm()"
            );
            client.batch_execute(&trigger).await.expect("a trigger");
            let path = ground.folder.path();
            let moved = moving::to_postgres_live(
                path,
                &ground.to,
                || NOW,
                quiet(),
                async || {
                    ground.meddle("UPDATE dedup SET deliveries = 2 WHERE source_number = 2");
                    DataDirectory::lock_when_free(path)
                },
            )
            .await;
            match moved {
                Err(SetupError::Differs { table, .. }) => assert_eq!(table, "dedup"),
                other => panic!("{other:?}"),
            }
            drop(client);
            assert!(!ground.target_holds_data().await, "nothing is kept");
            assert_eq!(moving::mark(&ground.locked()).expect("readable"), None);
        }
    });
}

#[test]
fn a_move_that_ended_between_its_commit_and_its_mark_is_finished_by_the_next() {
    mainstay_testkit::run(async {
        let ground = Ground::new().await;
        let moved = ground.go(How::Move).await.expect("it works");
        moving::mark_remove(&ground.locked()).expect("it goes");
        let again = ground.go(How::Move).await.expect("it was moved already");
        assert!(again.before && !moved.before);
        assert_eq!(again.digest, moved.digest);
        moving::mark_remove(&ground.locked()).expect("it goes");
        // Served meanwhile: the target has something else now.
        ground.meddle("UPDATE tenant SET name = 'another'");
        let refused = ground.go(How::Move).await.map(drop);
        assert!(
            matches!(refused, Err(SetupError::Occupied(_))),
            "{refused:?}"
        );
        assert_eq!(moving::mark(&ground.locked()).expect("readable"), None);
    });
}

#[test]
fn a_database_that_holds_something_is_refused_and_nothing_of_it_is_touched() {
    mainstay_testkit::run(async {
        let ground = Ground::new().await;
        let place = Place::Postgres(&ground.to);
        let applied = Migrator::embedded().up(place, Mode::Apply, NOW).await;
        applied.expect("the migrations run");
        let own = "INSERT INTO tenant (id, name, slug, created_at) VALUES (gen_random_uuid(), 'own', 'own', 1)";
        let client = ground.scratch.client().await;
        client.batch_execute(own).await.expect("a row");
        for how in [How::Rehearse, How::Move] {
            let refused = ground.go(how).await.map(drop);
            assert!(
                matches!(refused, Err(SetupError::Occupied(_))),
                "{refused:?}"
            );
        }
        assert_eq!(ground.one("SELECT name FROM tenant").await, "own");
        ground.serve().await.expect("it is served");
    });
}

#[test]
fn what_arrives_otherwise_than_it_was_sent_is_found_and_nothing_is_kept() {
    mainstay_testkit::run(async {
        let ground = Ground::new().await;
        let place = Place::Postgres(&ground.to);
        let applied = Migrator::embedded().up(place, Mode::Apply, NOW).await;
        applied.expect("the migrations run");
        let client = ground.scratch.client().await;
        let harm = "CREATE FUNCTION harm() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$;
            CREATE TRIGGER harm BEFORE INSERT ON tenant FOR EACH ROW EXECUTE FUNCTION harm()";
        client.batch_execute(harm).await.expect("a trigger");
        let refused = ground.go(How::Move).await;
        match refused {
            Err(SetupError::Differs { table, .. }) => assert_eq!(table, "tenant"),
            other => panic!("{other:?}"),
        }
        let lose = "CREATE OR REPLACE FUNCTION harm() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RETURN NULL; END $$";
        client.batch_execute(lose).await.expect("a trigger");
        let refused = ground.go(How::Move).await.map(drop);
        let problem = refused.expect_err("a row is missing").to_string();
        assert!(
            problem.contains("1 rows were sent, 0 are there"),
            "{problem}"
        );
        client
            .batch_execute("DROP FUNCTION harm CASCADE")
            .await
            .expect("it goes");
        assert!(!ground.target_holds_data().await);
        ground.go(How::Move).await.expect("it works");
    });
}

#[test]
fn what_postgres_cannot_store_is_named_and_nothing_is_kept() {
    mainstay_testkit::run(async {
        let ground = Ground::new().await;
        ground.meddle("UPDATE tenant SET name = 'a' || char(0) || 'b'");
        let refused = ground.go(How::Move).await.map(drop);
        let problem = refused.expect_err("it cannot be stored").to_string();
        assert!(
            problem.contains("tenant") && problem.contains("name"),
            "{problem}"
        );
        assert!(!ground.target_holds_data().await);
        ground.serve().await.expect("it is served");
    });
}

#[test]
fn an_owner_who_is_no_superuser_moves_and_every_table_is_under_its_policies_again() {
    mainstay_testkit::run(async {
        let mut ground = Ground::new().await;
        let admin = ground.scratch.client().await;
        let (name, database) = (
            format!("mover_it_{}", std::process::id()),
            ground.to.database().to_owned(),
        );
        let make = format!(
            "CREATE ROLE {name} LOGIN CREATEROLE; ALTER DATABASE {database} OWNER TO {name};
             GRANT pg_read_all_settings TO {name}"
        );
        admin.batch_execute(&make).await.expect("the owner is made");
        ground.to = ground.scratch.url_as(&name).parse().expect("a good URL");
        let place = Place::Postgres(&ground.to);
        let applied = Migrator::embedded().up(place, Mode::Apply, NOW).await;
        applied.expect("an owner can migrate");
        let before = schema_dump(place).await.expect("it can be read");
        let moved = ground.go(How::Move).await;
        let after = schema_dump(place).await.expect("it can be read");
        let drop = format!(
            "ALTER DATABASE {database} OWNER TO postgres; REASSIGN OWNED BY {name} TO postgres;
             DROP OWNED BY {name}; DROP ROLE {name}"
        );
        admin
            .batch_execute(&drop)
            .await
            .expect("the user is removed");
        assert_eq!(rows(&moved.expect("it works"), "tenant"), 1);
        assert!(
            before == after,
            "the schema is another one:\n{before}\n\n{after}"
        );
    });
}

#[test]
fn an_older_source_and_a_directory_in_use_are_refused() {
    mainstay_testkit::run(async {
        let ground = Ground::new().await;
        let beside = DataDirectory::beside(ground.folder.path()).expect("it is there");
        let refused = moving::to_postgres(&beside, &ground.to, How::Move, NOW, quiet()).await;
        assert!(
            matches!(refused, Err(SetupError::Locked { .. })),
            "{refused:?}"
        );
        let rehearsed = moving::to_postgres(&beside, &ground.to, How::Rehearse, NOW, quiet()).await;
        rehearsed.expect("looking is allowed");
        let last = Migrator::embedded().version() - 1;
        let directory = ground.locked();
        let place = Place::Sqlite(&directory);
        let down = Migrator::embedded().down(place, last, Mode::Apply).await;
        down.expect("it goes down");
        drop(directory);
        let refused = ground.go(How::Move).await.map(drop);
        assert!(
            matches!(refused, Err(SetupError::Older { .. })),
            "{refused:?}"
        );
        let mark = ground.folder.path().join("moved.json");
        fs::write(&mark, "{").expect("it is written");
        let refused = ground.serve().await.expect_err("it is not ignored");
        assert!(refused.to_string().contains("moved.json"), "{refused}");
    });
}
