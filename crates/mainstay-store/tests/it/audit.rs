//! The audit log on its real schema: its chain, and what the tables themselves tell it.

use mainstay_domain::{
    AuditId, Scope, StoreError, StoreExt,
    access::{
        AuditEntry, AuditFilter, Head, Role, Sealed, User,
        chain::{Broken, Verifier, seal},
    },
};
use mainstay_store::migrate::Place;
use mainstay_testkit::{TestDatabase, on_both};

use crate::kit::{BEGIN, SYSTEM, World, run};

/// Tables of whose every change by hand the log must hear.
const WATCHED: [&str; 15] = [
    "tenant",
    "app_user",
    "api_key",
    "session",
    "source",
    "source_secret",
    "source_link",
    "event_schema",
    "endpoint",
    "schedule",
    "saga",
    "saga_version",
    "binding",
    "queue_rule",
    "breaker_rule",
];

/// Runs a statement as somebody does who has a shell of the database's own. Answers whether the database let them.
async fn by_hand(db: &TestDatabase, statement: &str) -> Result<(), String> {
    if let Place::Sqlite(directory) = db.place() {
        let connection = rusqlite::Connection::open(directory.database()).expect("opens");
        let done = connection.execute_batch(statement);
        return done.map_err(|error| error.to_string());
    }
    let client = db.scratch().expect("it is PostgreSQL").client().await;
    let done = client.batch_execute(statement).await;
    done.map_err(|error| format!("{:?}", error.as_db_error()))
}

/// The same, by somebody who knows how to keep the tables quiet.
async fn quietly(db: &TestDatabase, statement: &str) {
    if let Place::Sqlite(directory) = db.place() {
        let connection = rusqlite::Connection::open(directory.database()).expect("opens");
        let off = rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
        connection.set_db_config(off, false).expect("it is set");
        return connection.execute_batch(statement).expect("it runs");
    }
    let client = db.scratch().expect("it is PostgreSQL").client().await;
    let statement = format!("SET mainstay.writer = 'server'; {statement}");
    client.batch_execute(&statement).await.expect("it runs");
}

fn entry(world: &World, ms: i64) -> AuditEntry {
    AuditEntry {
        id: AuditId::new(world.at(ms), &*world.random),
        at: world.at(ms),
        actor: "user:anna@example.com".into(),
        action: "source.create".into(),
        subject: format!("src_{ms}"),
        detail: (ms % 2 == 0).then(|| "{\"a\": 1}".to_owned()),
        tenant: (ms % 3 == 0).then_some(world.tenant),
    }
}

async fn write(world: &World, ms: &[i64]) {
    let entries: Vec<AuditEntry> = ms.iter().map(|ms| entry(world, *ms)).collect();
    run!(world.store, SYSTEM, [entries], |tx| async {
        for one in &entries {
            tx.audit_insert(one).await?;
        }
        Ok(())
    })
    .expect("they are written");
}

async fn head(world: &World) -> Head {
    run!(world.store, SYSTEM, [], |tx| tx.audit_head()).expect("it answers")
}

/// Gives what is open its place.
async fn seal_all(world: &World) -> usize {
    let from = head(world).await;
    let open = run!(world.store, SYSTEM, [], |tx| tx.audit_unsealed(100)).expect("it answers");
    let sealed = seal(&from, open);
    let at = BEGIN;
    run!(world.store, SYSTEM, [sealed], |tx| tx
        .audit_seal(&from, &sealed, at))
    .expect("they are sealed");
    sealed.len()
}

async fn chain(world: &World) -> Vec<Sealed> {
    run!(world.store, SYSTEM, [], |tx| tx.audit_chain(0, 1_000)).expect("it answers")
}

async fn verify(world: &World) -> Result<(), Broken> {
    let mut verifier = Verifier::behind(&Head::EMPTY);
    for one in &chain(world).await {
        verifier.entry(one)?;
    }
    verifier.end(Some(&head(world).await))
}

async fn listed(
    world: &World,
    scope: Scope,
    filter: AuditFilter,
) -> Vec<(AuditEntry, Option<i64>)> {
    run!(world.store, scope, [filter], |tx| tx
        .audit_list(&filter, 100))
    .expect("it answers")
}

on_both!(
    entries_get_their_places_once_and_late_ones_go_behind,
    |db| async {
        let world = World::new(db).await;
        write(&world, &[5, 6, 7]).await;
        assert_eq!(head(&world).await, Head::EMPTY);
        assert_eq!(seal_all(&world).await, 3);
        // One that was made before, in a transaction that took longer.
        write(&world, &[1, 9]).await;
        assert_eq!(seal_all(&world).await, 2);
        assert_eq!(seal_all(&world).await, 0);
        let subjects: Vec<String> = chain(&world)
            .await
            .into_iter()
            .map(|one| one.entry.subject)
            .collect();
        assert_eq!(subjects, ["src_5", "src_6", "src_7", "src_1", "src_9"]);
        assert_eq!(verify(&world).await, Ok(()));
        assert_eq!(head(&world).await.position, 5);
        assert_eq!(
            chain(&world).await[0].entry,
            AuditEntry {
                id: chain(&world).await[0].entry.id,
                ..entry(&world, 5)
            }
        );
        let places: Vec<Option<i64>> = listed(&world, SYSTEM, AuditFilter::default())
            .await
            .into_iter()
            .map(|(_, place)| place)
            .collect();
        assert_eq!(places, [Some(5), Some(3), Some(2), Some(1), Some(4)]);
    }
);

on_both!(of_two_who_seal_at_once_one_does, |db| async {
    let world = World::new(db).await;
    write(&world, &[1, 2]).await;
    let from = head(&world).await;
    let open = run!(world.store, SYSTEM, [], |tx| tx.audit_unsealed(100)).expect("it answers");
    let sealed = seal(&from, open);
    let at = BEGIN;
    let [one, other] = [(), ()].map(|()| {
        let (store, sealed) = (std::sync::Arc::clone(&world.store), sealed.clone());
        tokio::spawn(async move {
            run!(store, SYSTEM, [sealed], |tx| tx
                .audit_seal(&from, &sealed, at))
        })
    });
    let ended = [one.await.expect("it ends"), other.await.expect("it ends")];
    assert_eq!(
        ended.iter().filter(|one| one.is_ok()).count(),
        1,
        "{ended:?}"
    );
    let lost = ended.iter().find_map(|one| one.as_ref().err());
    assert!(
        matches!(lost, Some(StoreError::Conflict { what: "audit head" })),
        "{lost:?}"
    );
    assert_eq!(verify(&world).await, Ok(()));
});

on_both!(
    a_log_is_narrowed_by_who_what_when_and_about_what,
    |db| async {
        let world = World::new(db).await;
        write(&world, &[0, 1, 2, 3, 4]).await;
        let other = AuditEntry {
            action: "sources".into(),
            actor: "key:ci".into(),
            ..entry(&world, 6)
        };
        run!(world.store, SYSTEM, [other], |tx| tx.audit_insert(&other)).expect("it is written");
        let count = async |filter: AuditFilter| listed(&world, SYSTEM, filter).await.len();
        let all = AuditFilter::default();
        let by = |actor: &str| AuditFilter {
            actor: Some(actor.into()),
            ..AuditFilter::default()
        };
        let of = |action: &str| AuditFilter {
            action: Some(action.into()),
            ..AuditFilter::default()
        };
        assert_eq!(count(all.clone()).await, 6);
        assert_eq!(count(by("key:ci")).await, 1);
        assert_eq!(count(of("source.create")).await, 5);
        assert_eq!(count(of("source.")).await, 5);
        assert_eq!(count(of("source")).await, 0);
        let about = AuditFilter {
            subject: Some("src_3".into()),
            ..all.clone()
        };
        assert_eq!(count(about).await, 1);
        let during = AuditFilter {
            from: Some(world.at(2)),
            until: Some(world.at(4)),
            ..all.clone()
        };
        assert_eq!(count(during).await, 2);
        let theirs = AuditFilter {
            tenant: Some(world.tenant),
            ..all.clone()
        };
        assert_eq!(count(theirs.clone()).await, 3);
        assert_eq!(listed(&world, world.scope(), all).await.len(), 3);
        assert_eq!(listed(&world, world.scope(), theirs).await.len(), 3);
    }
);

on_both!(
    what_is_changed_by_hand_is_entered_by_the_table,
    |db| async {
        let world = World::new(db).await;
        let mut source = world.source.clone();
        source.enabled = false;
        run!(world.store, world.scope(), [source], |tx| tx
            .source_update(&source))
        .expect("it changes");
        assert_eq!(listed(&world, SYSTEM, AuditFilter::default()).await, []);

        by_hand(
            db,
            "UPDATE source SET settings = '{\"a\":1}', updated_at = updated_at + 1",
        )
        .await
        .expect("it runs");
        by_hand(
            db,
            "INSERT INTO app_user (id, email, role, created_at)
        SELECT id, 'eve@example.com', 'owner', 1 FROM source",
        )
        .await
        .expect("it runs");
        by_hand(db, "UPDATE app_user SET password_hash = 'secret'")
            .await
            .expect("it runs");
        by_hand(db, "DELETE FROM app_user").await.expect("it runs");
        let mut entries = listed(&world, SYSTEM, AuditFilter::default()).await;
        entries.reverse();
        let told: Vec<(&str, serde_json::Value)> = entries
            .iter()
            .map(|(one, _)| {
                let detail = one.detail.as_deref().unwrap_or("null");
                (&*one.action, serde_json::from_str(detail).expect("JSON"))
            })
            .collect();
        assert_eq!(
            told,
            [
                (
                    "sql.update",
                    serde_json::json!({ "table": "source", "columns": ["settings", "updated_at"] })
                ),
                ("sql.insert", serde_json::json!({ "table": "app_user" })),
                (
                    "sql.update",
                    serde_json::json!({ "table": "app_user", "columns": ["password_hash"] })
                ),
                ("sql.delete", serde_json::json!({ "table": "app_user" })),
            ]
        );
        for (one, _) in &entries {
            assert!(one.actor.starts_with("database"), "{one:?}");
            assert_eq!(one.subject, world.source.id.uuid().to_string());
        }
        assert_eq!(entries[0].0.tenant, Some(world.tenant));
        assert_eq!(entries[1].0.tenant, None);
        assert_eq!(seal_all(&world).await, 4);
        assert_eq!(verify(&world).await, Ok(()));
        // SQLite has no such statement.
        if matches!(db.place(), Place::Postgres(_)) {
            by_hand(db, "TRUNCATE event_schema").await.expect("it runs");
            let last = listed(&world, SYSTEM, AuditFilter::default()).await;
            assert_eq!(last[0].0.action, "sql.truncate");
            assert_eq!(
                last[0].0.detail.as_deref(),
                Some(r#"{"table": "event_schema"}"#)
            );
        }
    }
);

on_both!(
    every_table_of_configuration_and_access_is_watched,
    |db| async {
        let found = match db.place() {
            Place::Sqlite(directory) => {
                let connection = rusqlite::Connection::open(directory.database()).expect("opens");
                WATCHED.iter().map(|table| {
                let count = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1";
                connection.query_row(count, [table], |row| row.get::<_, i64>(0)).expect("it answers")
            }).collect::<Vec<_>>()
            }
            Place::Postgres(_) => {
                let client = db.scratch().expect("it is PostgreSQL").client().await;
                let mut found = Vec::new();
                for table in WATCHED {
                    // One for each row, of three kinds of change, and one for all of them at once.
                    let count = "SELECT count(*) + 1 FROM pg_trigger
                    WHERE tgrelid = $1::text::regclass AND NOT tgisinternal";
                    found.push(
                        client
                            .query_one(count, &[&table])
                            .await
                            .expect("it answers")
                            .get(0),
                    );
                }
                found
            }
        };
        assert_eq!(
            found,
            [3; WATCHED.len()],
            "a migration that builds a table anew must make its triggers anew"
        );
    }
);

on_both!(the_log_itself_is_only_added_to, |db| async {
    let world = World::new(db).await;
    write(&world, &[1, 2]).await;
    seal_all(&world).await;
    for statement in [
        "UPDATE audit SET actor = 'user:ben'",
        "DELETE FROM audit",
        "UPDATE audit_head SET position = 0",
        "DELETE FROM audit_head",
    ] {
        let refused = by_hand(db, statement).await.expect_err("it is refused");
        assert!(refused.contains("only be added to"), "{refused}");
    }
    assert_eq!(verify(&world).await, Ok(()));
    quietly(db, "UPDATE audit SET actor = 'user:ben' WHERE position = 2").await;
    assert!(matches!(
        verify(&world).await,
        Err(Broken::Content { position: 2, .. })
    ));
    quietly(db, "DELETE FROM audit WHERE position = 2").await;
    assert_eq!(
        verify(&world).await,
        Err(Broken::End {
            expected: 2,
            found: 1
        })
    );
});

on_both!(a_change_that_is_rolled_back_leaves_no_entry, |db| async {
    let world = World::new(db).await;
    let user = User {
        id: mainstay_domain::UserId::new(BEGIN, &*world.random),
        email: "anna@example.com".into(),
        role: Role::Operator,
        password_hash: None,
        created_at: BEGIN,
        last_seen_at: None,
    };
    let told = entry(&world, 1);
    let undone: Result<(), StoreError> = run!(world.store, SYSTEM, [user, told], |tx| async {
        tx.user_insert(&user).await?;
        tx.audit_insert(&told).await?;
        Err(StoreError::Bug("not now".into()))
    });
    undone.expect_err("it is rolled back");
    assert_eq!(listed(&world, SYSTEM, AuditFilter::default()).await, []);
    assert_eq!(
        run!(world.store, SYSTEM, [], |tx| tx.user_list())
            .expect("it answers")
            .len(),
        0
    );
    // Each of the four roles is one that both databases take.
    for (at, role) in Role::ALL.into_iter().enumerate() {
        let user = User {
            id: mainstay_domain::UserId::new(world.at(at as i64), &*world.random),
            email: format!("{at}@example.com"),
            role,
            ..user.clone()
        };
        run!(world.store, SYSTEM, [user], |tx| tx.user_insert(&user)).expect("it is a role");
    }
    let roles: Vec<Role> = run!(world.store, SYSTEM, [], |tx| tx.user_list())
        .expect("it answers")
        .into_iter()
        .map(|user| user.role)
        .collect();
    assert_eq!(roles, Role::ALL);
});
