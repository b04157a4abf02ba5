//! Transactions.

use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::join_all;
use mainstay_domain::StoreError;

use super::*;

on_both!(what_was_committed_is_read_again, |db| async {
    db.write(SYSTEM, |tx| Box::pin(note_insert(tx, tenant(1), 1, "kept")))
        .await
        .expect("commits");
    assert_eq!(db.texts().await, ["kept"]);
});

on_both!(a_failed_transaction_leaves_nothing, |db| async {
    let failed = db
        .write::<(), _>(SYSTEM, |tx| {
            Box::pin(async move {
                note_insert(tx, tenant(1), 1, "gone").await?;
                Err(StoreError::ConfigChanged)
            })
        })
        .await;
    assert!(matches!(failed, Err(StoreError::ConfigChanged)));
    assert!(db.texts().await.is_empty());
});

on_both!(one_bad_closure_fails_alone, |db| async {
    let all = (0..200).map(|number| {
        db.write(SYSTEM, move |tx| {
            Box::pin(async move {
                note_insert(tx, tenant(1), number, &format!("{number:03}")).await?;
                match number % 10 {
                    // Its own row a second time.
                    3 => note_insert(tx, tenant(1), number, "again").await,
                    5 => Err(StoreError::ConfigChanged),
                    _ => Ok(()),
                }
            })
        })
    });
    for (number, result) in join_all(all).await.into_iter().enumerate() {
        match number % 10 {
            3 => assert!(matches!(result, Err(StoreError::Conflict { .. }))),
            5 => assert!(matches!(result, Err(StoreError::ConfigChanged))),
            _ => result.expect("its neighbours do not matter"),
        }
    }
    assert_eq!(db.texts().await.len(), 160);
});

on_both!(
    a_closure_that_breaks_its_promise_at_the_commit_fails_alone,
    |db| async {
        // A deferred reference is checked by the commit, which on SQLite many closures share.
        let all = (1..50_i64).map(|number| {
            db.write(SYSTEM, move |tx| {
                Box::pin(async move {
                    note_insert(tx, tenant(1), number, "row").await?;
                    if number == 25 {
                        static ORPHAN: crate::sql::Sql = crate::sql::Sql {
                            name: "ORPHAN",
                            reach: crate::sql::Reach::Tenant,
                            text: "UPDATE note SET parent = -1 WHERE tenant_id = $1 AND id = $2",
                        };
                        let params: [Value; 2] = [tenant(1).uuid().into(), number.into()];
                        tx.conn().execute(&ORPHAN, &params).await?;
                    }
                    Ok(())
                })
            })
        });
        let results = join_all(all).await;
        for (index, result) in results.into_iter().enumerate() {
            assert_eq!(result.is_err(), index == 24, "{index}: {result:?}");
        }
        assert_eq!(db.texts().await.len(), 48);
    }
);

on_both!(a_panic_ends_only_its_own_transaction, |db| async {
    let panicking = db.write::<(), _>(SYSTEM, |_| Box::pin(async { panic!("on purpose") }));
    match db {
        Ground::Sqlite(..) => {
            assert!(matches!(panicking.await, Err(StoreError::Bug(_))));
        }
        // The caller's own task runs it.
        Ground::Postgres(..) => {
            let caught =
                futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(panicking));
            assert!(caught.await.is_err());
        }
    }
    db.write(SYSTEM, |tx| {
        Box::pin(note_insert(tx, tenant(1), 1, "after"))
    })
    .await
    .expect("goes on");
    assert_eq!(db.texts().await, ["after"]);
});

on_both!(
    a_transaction_whose_caller_went_away_is_not_left_open,
    |db| async {
        let started = Arc::new(tokio::sync::Notify::new());
        let (said, asked) = (Arc::clone(&started), Arc::new(AtomicU32::new(0)));
        let write = db.write(SYSTEM, move |tx| {
            let (said, asked) = (Arc::clone(&said), Arc::clone(&asked));
            Box::pin(async move {
                note_insert(tx, tenant(1), 1, "abandoned").await?;
                asked.fetch_add(1, Ordering::SeqCst);
                said.notify_one();
                if let crate::tx::Dialect::Postgres(_) = tx.conn {
                    // On SQLite this would be refused.
                    std::future::pending::<()>().await;
                }
                Ok(())
            })
        });
        tokio::select! {
            _ = write => {}
            () = started.notified() => {}
        }
        // The same key again: a transaction left open would block it until the lock timeout.
        let again = db.write(SYSTEM, |tx| Box::pin(note_insert(tx, tenant(1), 2, "next")));
        soon(again).await.expect("nothing is in the way");
    }
);

on_both!(a_read_sees_one_snapshot_and_cannot_write, |db| async {
    let refused = db
        .read(SYSTEM, |tx| {
            Box::pin(note_insert(tx, tenant(1), 1, "written"))
        })
        .await;
    assert!(refused.is_err());
    assert!(db.texts().await.is_empty());
});

on_both!(values_survive_the_journey, |db| async {
    static ECHO: crate::sql::Sql = crate::sql::Sql {
        name: "ECHO",
        reach: crate::sql::Reach::Platform,
        text: "INSERT INTO lease (name, holder, epoch, expires_at) VALUES ($4, $3, $2, $1)
            RETURNING expires_at, epoch, holder, name, epoch > 5, NULL",
    };
    let row = db
        .write(SYSTEM, |tx| {
            Box::pin(async move {
                let params: [Value; 4] = [
                    7_i64.into(),
                    i64::MAX.into(),
                    Uuid::from_u128(9).into(),
                    "ünï \u{1f980}".into(),
                ];
                Ok(tx.conn().query(&ECHO, &params).await?.remove(0))
            })
        })
        .await
        .expect("runs");
    assert_eq!(row.get::<i64>(0).expect("a number"), 7);
    assert_eq!(row.get::<i64>(1).expect("a number"), i64::MAX);
    assert_eq!(row.get::<Uuid>(2).expect("an id"), Uuid::from_u128(9));
    assert_eq!(row.get::<String>(3).expect("text"), "ünï \u{1f980}");
    assert!(row.get::<bool>(4).expect("a flag"));
    assert_eq!(row.get::<Option<i64>>(5).expect("nothing"), None);
});

on_both!(
    a_built_statement_takes_parameters_of_every_kind,
    |db| async {
        db.write(SYSTEM, |tx| {
            Box::pin(note_insert(tx, tenant(1), 1, "found"))
        })
        .await
        .expect("commits");
        let rows = db
            .read(SYSTEM, |tx| {
                Box::pin(async move {
                    let params: [Value; 4] = [
                        tenant(1).uuid().into(),
                        1_i64.into(),
                        "found".into(),
                        Value::Null,
                    ];
                    let text = "SELECT id FROM note WHERE tenant_id = $1 AND id = $2 AND text = $3
                    AND text = coalesce($4, text) LIMIT 5";
                    tx.conn().query_built(text, &params).await
                })
            })
            .await
            .expect("runs");
        assert_eq!(rows.len(), 1);
    }
);

on_both!(
    a_closed_store_finishes_what_it_accepted_and_takes_no_more,
    |db| async {
        let accepted = (0..20).map(|number| {
            db.write(SYSTEM, move |tx| {
                Box::pin(note_insert(tx, tenant(1), number, "accepted"))
            })
        });
        let (results, ()) = tokio::join!(join_all(accepted), db.port().close());
        for result in results {
            result.expect("was accepted before the close");
        }
        db.port().close().await;
        let late = db.write(SYSTEM, |tx| {
            Box::pin(note_insert(tx, tenant(1), 99, "late"))
        });
        assert!(matches!(late.await, Err(StoreError::Unavailable(_))));
    }
);

on_both!(
    a_person_reads_rows_as_json_and_no_more_than_asked_for,
    |db| async {
        for id in 0..5 {
            db.write(SYSTEM, move |tx| {
                Box::pin(note_insert(tx, tenant(1), id, "row"))
            })
            .await
            .expect("commits");
        }
        let statement = "SELECT id, text, NULL AS gap FROM note ORDER BY id";
        let table = db.port().query(SYSTEM, statement.into(), 3).await;
        let table = table.expect("it reads");
        assert_eq!(table.columns, ["id", "text", "gap"]);
        assert!(table.truncated);
        assert_eq!(table.rows.len(), 3);
        assert_eq!(
            table.rows[1],
            [1.into(), "row".into(), serde_json::Value::Null]
        );
    }
);

on_both!(a_person_cannot_write_nor_leave_the_database, |db| async {
    db.write(SYSTEM, |tx| {
        Box::pin(note_insert(tx, tenant(1), 1, "stays"))
    })
    .await
    .expect("commits");
    let statements = [
        "DELETE FROM note",
        "WITH gone AS (DELETE FROM note RETURNING 1) SELECT * FROM gone",
        "SELECT 1; DELETE FROM note",
        "INSERT INTO note SELECT * FROM note",
        "DROP TABLE note",
        "PRAGMA writable_schema = 1",
        "PRAGMA page_size = 8192",
        "ATTACH '/tmp/elsewhere.db' AS elsewhere",
        "VACUUM INTO '/tmp/elsewhere.db'",
        "COPY note TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
        "DO $$ BEGIN DELETE FROM note; END $$",
        "COMMIT",
        "",
    ];
    for statement in statements {
        let outcome = db.port().query(SYSTEM, statement.into(), 10).await;
        assert!(outcome.is_err(), "{statement}: {outcome:?}");
    }
    let scoped = db
        .port()
        .query(Scope::Tenant(tenant(1)), "SELECT 1".into(), 1);
    assert!(matches!(scoped.await, Err(StoreError::OutOfScope)));
    assert_eq!(db.texts().await, ["stays"]);
});

on_both!(a_person_can_ask_how_much_the_database_takes, |db| async {
    let statement = match db {
        Ground::Sqlite(..) => {
            "SELECT c.page_count * s.page_size AS bytes FROM pragma_page_count AS c, pragma_page_size AS s"
        }
        Ground::Postgres(..) => "SELECT pg_database_size(current_database()) AS bytes",
    };
    let table = db.port().query(SYSTEM, statement.into(), 1).await;
    let table = table.expect("it reads");
    assert!(table.rows[0][0].as_i64() > Some(0), "{table:?}");
});

on_both!(a_person_does_not_wait_for_ever, |db| async {
    let endless = match db {
        Ground::Sqlite(..) => {
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        }
        Ground::Postgres(..) => "SELECT pg_sleep(60)",
    };
    let outcome = soon(db.port().query(SYSTEM, endless.into(), 1)).await;
    assert!(matches!(outcome, Err(StoreError::Timeout)), "{outcome:?}");
});

on_both!(
    one_transaction_can_have_its_own_limit_and_no_other_keeps_it,
    |db| async {
        let endless = match db {
            Ground::Sqlite(..) => {
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000000) SELECT count(*) FROM n"
            }
            Ground::Postgres(..) => "SELECT pg_sleep(600)::text",
        };
        let slow = db
            .write(SYSTEM, move |tx| {
                Box::pin(async move {
                    tx.statement_timeout(Duration::from_millis(50)).await?;
                    tx.conn().query_built(endless, &[]).await
                })
            })
            .await;
        assert!(matches!(slow, Err(StoreError::Timeout)), "{slow:?}");
        // Longer than that limit, shorter than the default.
        let longer = match db {
            Ground::Sqlite(..) => {
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000) SELECT count(*) FROM n"
            }
            Ground::Postgres(..) => "SELECT pg_sleep(0.2)::text",
        };
        db.write(SYSTEM, move |tx| {
            Box::pin(async move { tx.conn().query_built(longer, &[]).await })
        })
        .await
        .expect("the default is longer");
    }
);
