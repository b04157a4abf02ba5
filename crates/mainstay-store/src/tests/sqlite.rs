//! What only SQLite promises.

use futures_util::future::join_all;
use mainstay_domain::StoreError;

use super::*;
use crate::{sql::Conn, tx::Dialect};

async fn ground() -> (SqliteStore, TempDir) {
    match Ground::sqlite().await {
        Ground::Sqlite(store, folder) => (store, folder),
        Ground::Postgres(..) => unreachable!("it is SQLite"),
    }
}

#[test]
fn a_closure_that_awaits_something_foreign_is_refused_and_leaves_nothing() {
    mainstay_testkit::run(async {
        let (store, folder) = ground().await;
        let db = Ground::Sqlite(store, folder);
        let refused = db
            .write(SYSTEM, |tx| {
                Box::pin(async move {
                    note_insert(tx, tenant(1), 1, "half").await?;
                    tokio::task::yield_now().await;
                    Ok(())
                })
            })
            .await;
        assert!(matches!(refused, Err(StoreError::Bug(_))));
        assert!(db.texts().await.is_empty());
    });
}

#[test]
fn an_answer_comes_after_the_commit() {
    mainstay_testkit::run(async {
        let (store, folder) = ground().await;
        let db = Ground::Sqlite(store, folder);
        let all = (0..500_i64).map(|number| {
            let db = &db;
            async move {
                let text = format!("{number}");
                let written = text.clone();
                db.write(SYSTEM, move |tx| {
                    let written = written.clone();
                    Box::pin(async move { note_insert(tx, tenant(1), number, &written).await })
                })
                .await
                .expect("commits");
                // Another connection sees only what is committed.
                assert!(db.texts().await.contains(&text));
            }
        });
        join_all(all).await;
    });
}

#[test]
fn a_full_disk_fails_who_meets_it_and_those_before_it_are_kept() {
    mainstay_testkit::run(async {
        let (store, folder) = ground().await;
        let db = Ground::Sqlite(store, folder);
        db.write(SYSTEM, |tx| {
            Box::pin(async move {
                let Dialect::Sqlite(conn) = &tx.conn else {
                    return Err(StoreError::Bug("it is SQLite".into()));
                };
                let limit = conn.raw().execute_batch("PRAGMA max_page_count = 40");
                limit.map_err(crate::sqlite::map_error)
            })
        })
        .await
        .expect("the limit is set");
        let all = (0..100_i64).map(|number| {
            db.write(SYSTEM, move |tx| {
                Box::pin(async move {
                    let text = "x".repeat(if number == 50 { 1_000_000 } else { 10 });
                    note_insert(tx, tenant(1), number, &text).await
                })
            })
        });
        for (number, result) in join_all(all).await.into_iter().enumerate() {
            if number == 50 {
                assert!(matches!(result, Err(StoreError::Full)), "{result:?}");
            } else {
                result.expect("there is room for it");
            }
        }
        assert_eq!(db.texts().await.len(), 99);
    });
}

#[test]
fn a_statement_that_takes_too_long_is_interrupted() {
    mainstay_testkit::run(async {
        let folder = tempfile::tempdir().expect("a directory");
        let options = SqliteOptions {
            statement_timeout: Duration::from_millis(50),
            ..SqliteOptions::default()
        };
        let store = sqlite_open(&folder, options).await;
        let db = Ground::Sqlite(store, folder);
        let read = db.read(SYSTEM, |tx| Box::pin(endless(tx))).await;
        assert!(matches!(read, Err(StoreError::Timeout)), "{read:?}");
        let write = db.write(SYSTEM, |tx| Box::pin(endless(tx))).await;
        assert!(matches!(write, Err(StoreError::Timeout)), "{write:?}");
        db.write(SYSTEM, |tx| {
            Box::pin(note_insert(tx, tenant(1), 1, "after"))
        })
        .await
        .expect("goes on");
    });
}

async fn endless(tx: &mut SqlTx<'_>) -> StoreResult<()> {
    let text =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    tx.conn().query_built(text, &[]).await.map(|_| ())
}

#[test]
fn the_write_ahead_log_stays_bounded_under_load_and_is_emptied_at_the_end() {
    mainstay_testkit::run(async {
        let folder = tempfile::tempdir().expect("a directory");
        let options = SqliteOptions {
            log_pages: 1_600,
            ..SqliteOptions::default()
        };
        let store = sqlite_open(&folder, options).await;
        let db = Ground::Sqlite(store, folder);
        let Ground::Sqlite(store, folder) = &db else {
            unreachable!("it is SQLite");
        };
        let log = folder.path().join("mainstay.db-wal");
        let mut longest = 0;
        // 320 MB; the log has 50 at the most, and what one round adds.
        for round in 0..40_i64 {
            let all = (0..16_i64).map(|number| {
                db.write(SYSTEM, move |tx| {
                    Box::pin(async move {
                        let id = round * 1_000 + number;
                        note_insert(tx, tenant(1), id, &"x".repeat(500_000)).await
                    })
                })
            });
            for result in join_all(all).await {
                result.expect("commits");
            }
            longest = longest.max(std::fs::metadata(&log).map_or(0, |data| data.len()));
        }
        assert!(longest < 64 << 20, "the log grew to {longest} bytes");
        store.close().await;
        assert_eq!(std::fs::metadata(&log).map_or(0, |data| data.len()), 0);
    });
}

#[test]
fn the_settings_that_durability_rests_on_are_in_force() {
    mainstay_testkit::run(async {
        let (store, folder) = ground().await;
        let db = Ground::Sqlite(store, folder);
        for (pragma, value) in [
            ("synchronous", "2"),
            ("journal_mode", "wal"),
            ("foreign_keys", "1"),
            ("auto_vacuum", "2"),
            ("wal_autocheckpoint", "0"),
        ] {
            let found = db
                .write(SYSTEM, move |tx| {
                    Box::pin(async move {
                        let text = format!("PRAGMA {pragma}");
                        let Dialect::Sqlite(conn) = &mut tx.conn else {
                            return Err(StoreError::Bug("it is SQLite".into()));
                        };
                        Ok(conn.query_built(&text, &[]).await?.remove(0).0.remove(0))
                    })
                })
                .await
                .expect("it answers");
            let found = match found {
                Value::Int(number) => number.to_string(),
                Value::Text(text) => text,
                other => format!("{other:?}"),
            };
            assert_eq!(found, value, "{pragma}");
        }
    });
}
