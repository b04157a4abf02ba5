//! Waking.

use super::*;

on_both!(a_wake_that_came_first_is_not_lost, |db| async {
    db.port().wake();
    soon(db.port().woken()).await;
});

on_both!(whoever_waits_is_woken, |db| async {
    // PostgreSQL wakes once by itself when it has begun to listen.
    let waiting = async {
        db.port().woken().await;
        db.port().woken().await;
    };
    let waking = async {
        loop {
            db.port().wake();
            tokio::task::yield_now().await;
        }
    };
    soon(async {
        tokio::select! {
            () = waiting => {}
            () = waking => {}
        }
    })
    .await;
});

#[test]
fn a_wake_reaches_another_node() {
    mainstay_testkit::run(async {
        let Ground::Postgres(here, scratch) = Ground::postgres().await else {
            unreachable!("it is PostgreSQL");
        };
        let url: PostgresUrl = scratch.url_as("postgres").parse().expect("a good URL");
        let options = PostgresOptions::new(url);
        let there = PostgresStore::connect_at(options, Migrator::new(TINY)).await;
        let there = there.expect("a second node connects");
        // Both listen from here on.
        soon(here.woken()).await;
        soon(there.woken()).await;
        for _ in 0..3 {
            here.wake();
            soon(there.woken()).await;
        }
        there.close().await;
        here.close().await;
    });
}

#[test]
fn a_node_listens_again_after_its_connection_was_lost() {
    mainstay_testkit::run(async {
        let Ground::Postgres(store, scratch) = Ground::postgres().await else {
            unreachable!("it is PostgreSQL");
        };
        soon(store.woken()).await;
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND query LIKE '%LISTEN mainstay_wake%' AND pid <> pg_backend_pid()";
        let killed = scratch.client().await.query(kill, &[]).await;
        assert_eq!(killed.expect("it can be asked for").len(), 1);
        // Being back is a wake of its own.
        soon(store.woken()).await;
    });
}
