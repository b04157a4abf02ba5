//! Leases.

use mainstay_domain::NodeId;

use super::*;

const LONG: Duration = Duration::from_secs(600);

fn node(number: u128) -> NodeId {
    NodeId::from_uuid(Uuid::from_u128(number))
}

async fn take(db: &Ground, holder: u128, ttl: Duration) -> Option<i64> {
    let taken = db.port().lease_take("shard-0", node(holder), ttl).await;
    taken.expect("the store answers").map(|lease| lease.epoch)
}

on_both!(a_lease_has_one_holder_who_can_renew_it, |db| async {
    let first = take(db, 1, LONG).await.expect("it was free");
    assert_eq!(take(db, 2, LONG).await, None);
    assert_eq!(take(db, 1, LONG).await, Some(first));
    let other = db.port().lease_take("shard-1", node(2), LONG).await;
    assert!(other.expect("the store answers").is_some());
});

on_both!(
    an_expired_lease_changes_hands_and_its_epoch_grows,
    |db| async {
        let first = take(db, 1, Duration::ZERO).await.expect("it was free");
        let second = take(db, 2, LONG).await.expect("it has expired");
        assert_eq!(second, first + 1);
        assert_eq!(take(db, 1, LONG).await, None);
    }
);

on_both!(
    a_lease_given_up_is_free_at_once_but_only_its_holder_can_do_that,
    |db| async {
        let first = take(db, 1, LONG).await.expect("it was free");
        let port = db.port();
        port.lease_release("shard-0", node(2))
            .await
            .expect("says nothing");
        assert_eq!(take(db, 2, LONG).await, None);
        port.lease_release("shard-0", node(1))
            .await
            .expect("gives it up");
        assert_eq!(take(db, 2, LONG).await, Some(first + 1));
    }
);

#[test]
fn on_sqlite_a_new_process_need_not_wait_for_the_lease_of_one_that_died() {
    mainstay_testkit::run(async {
        let db = Ground::sqlite().await;
        take(&db, 1, LONG).await.expect("it was free");
        let Ground::Sqlite(store, folder) = db else {
            unreachable!("it is SQLite");
        };
        store.close().await;
        drop(store);
        let again = sqlite_open(&folder, SqliteOptions::default()).await;
        let db = Ground::Sqlite(again, folder);
        assert_eq!(take(&db, 2, LONG).await, Some(2));
    });
}

#[test]
fn that_a_lease_is_given_up_is_heard_on_other_nodes_at_once() {
    mainstay_testkit::run(async {
        let Ground::Postgres(here, scratch) = Ground::postgres().await else {
            unreachable!("it is PostgreSQL");
        };
        let url: PostgresUrl = scratch.url_as("postgres").parse().expect("a good URL");
        let options = PostgresOptions::new(url);
        let there = PostgresStore::connect_at(options, Migrator::new(TINY)).await;
        let there = there.expect("a second node connects");
        // It listens from here on.
        soon(there.woken()).await;
        for _ in 0..2 {
            let taken = here.lease_take("shard-0", node(1), LONG).await;
            assert!(taken.expect("the store answers").is_some());
            // One that is another's cannot be given up, and nobody hears of it.
            let others = here.lease_release("shard-0", node(2)).await;
            others.expect("the store answers");
            let early = tokio::time::timeout(Duration::from_millis(1), there.lease_given_up());
            assert!(early.await.is_err());
            let own = here.lease_release("shard-0", node(1)).await;
            own.expect("it is given up");
            soon(there.lease_given_up()).await;
        }
        there.close().await;
        here.close().await;
    });
}
