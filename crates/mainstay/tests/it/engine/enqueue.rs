//! Jobs submitted inside a transaction of the team's own.

use mainstay_domain::{Clock, JobId, Random, jobs::Outcome};
use mainstay_store::enqueue::{self, Enqueue, EnqueueError, rusqlite};
use mainstay_testkit::{TestDatabase, on_both, run as runtime};

use super::works::{EFFECT, Works, until_done};

const EFFECTS: Enqueue<'static> = Enqueue {
    queue: "effects",
    kind: EFFECT,
    payload: Some("{\"order\":7}"),
    tenant: Some("acme"),
    run_at: None,
};

/// The team's own table, in the same database.
const ORDERS: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY)";

/// Submits a job together with an order, and commits or not.
async fn order(db: &TestDatabase, works: &Works, number: i32, commit: bool) -> JobId {
    let insert = format!("INSERT INTO orders (id) VALUES ({number})");
    if let Some(scratch) = db.scratch() {
        let mut client = scratch.client().await;
        client
            .batch_execute("SET search_path = public")
            .await
            .expect("theirs");
        let transaction = client.transaction().await.expect("it begins");
        transaction.batch_execute(&insert).await.expect("an order");
        let job = enqueue::postgres(&transaction, &EFFECTS).await;
        let ended = match commit {
            true => transaction.commit().await,
            false => transaction.rollback().await,
        };
        ended.expect("it ends");
        return job.expect("it is submitted");
    }
    let file = db.sqlite_file().expect("it is SQLite");
    let mut connection = rusqlite::Connection::open(file).expect("opens");
    let transaction = connection
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .expect("it begins");
    transaction.execute_batch(&insert).expect("an order");
    let (now, random) = (works.clock.now(), &*works.random as &dyn Random);
    let job = enqueue::sqlite(&transaction, &EFFECTS, now, random).expect("it is submitted");
    match commit {
        true => transaction.commit(),
        false => transaction.rollback(),
    }
    .expect("it ends");
    job
}

async fn orders_make(db: &TestDatabase) {
    match (db.scratch(), db.sqlite_file()) {
        (Some(scratch), _) => {
            let make = format!("SET search_path = public; {ORDERS}");
            let client = scratch.client().await;
            client.batch_execute(&make).await.expect("their table");
        }
        (None, Some(file)) => {
            let connection = rusqlite::Connection::open(file).expect("opens");
            connection.execute_batch(ORDERS).expect("their table");
        }
        (None, None) => unreachable!("it is one of the two"),
    }
}

on_both!(
    a_job_is_there_when_the_teams_own_transaction_commits_and_not_when_it_does_not,
    |db| async {
        let works = Works::new(db.store()).await;
        orders_make(db).await;
        let engine = works.engine();
        order(db, &works, 1, false).await;
        let job = order(db, &works, 2, true).await;
        db.store().wake();
        until_done(&engine, works.effect, 1).await;
        assert_eq!(works.effects().await, 1);
        let attempts = works.attempts(job).await;
        assert_eq!(attempts.len(), 1);
        assert_eq!(attempts[0].outcome, Outcome::Succeeded);
        engine.stop().await;
    }
);

/// Ids and transaction numbers are given long before a commit. What goes by them alone would pass the job by.
#[test]
fn a_job_of_a_transaction_that_stays_open_is_found_once_it_commits_whatever_committed_before() {
    runtime(async {
        let db = TestDatabase::postgres().await;
        let works = Works::new(db.store()).await;
        let scratch = db.scratch().expect("it is PostgreSQL");
        let engine = works.engine();
        let mut slow = scratch.client().await;
        let open = slow.transaction().await.expect("it begins");
        let late = enqueue::postgres(&open, &EFFECTS).await.expect("submitted");
        // Before and after it, by their ids and by their transactions.
        let quick = scratch.client().await;
        for done in 1..=60 {
            let job = enqueue::postgres(&quick, &EFFECTS).await;
            job.expect("it is submitted");
            if done % 20 == 0 {
                db.store().wake();
                until_done(&engine, works.effect, done).await;
            }
        }
        assert!(works.attempts(late).await.is_empty(), "not committed yet");
        open.commit().await.expect("it commits");
        db.store().wake();
        until_done(&engine, works.effect, 61).await;
        assert_eq!(works.attempts(late).await.len(), 1);
        assert_eq!(works.effects().await, 61);
        engine.stop().await;
        drop(works);
        db.finish().await;
    });
}

on_both!(
    what_could_never_be_done_is_refused_and_nothing_is_written,
    |db| async {
        let works = Works::new(db.store()).await;
        let long = format!("\"{}\"", "x".repeat(256 * 1024));
        let wrong = [
            (
                "queue",
                Enqueue {
                    queue: "nobodys",
                    ..EFFECTS
                },
            ),
            (
                "tenant",
                Enqueue {
                    tenant: Some("nobody"),
                    ..EFFECTS
                },
            ),
            (
                "kind",
                Enqueue {
                    kind: "Not a kind",
                    ..EFFECTS
                },
            ),
            (
                "payload",
                Enqueue {
                    payload: Some(&long),
                    ..EFFECTS
                },
            ),
            (
                "json",
                Enqueue {
                    payload: Some("{"),
                    ..EFFECTS
                },
            ),
        ];
        for (what, job) in wrong {
            let refused = match db.scratch() {
                Some(scratch) => enqueue::postgres(&scratch.client().await, &job).await,
                None => {
                    let file = db.sqlite_file().expect("it is SQLite");
                    let mut connection = rusqlite::Connection::open(file).expect("opens");
                    let transaction = connection.transaction().expect("it begins");
                    enqueue::sqlite(&transaction, &job, works.clock.now(), &*works.random)
                }
            };
            let refused = refused.expect_err(what);
            let told = match &refused {
                EnqueueError::Postgres(error) => {
                    error.as_db_error().map(|error| error.message().to_owned())
                }
                other => Some(other.to_string()),
            };
            let told = told.expect("it says why").to_lowercase();
            assert!(told.contains(what), "{what}: {told}");
        }
    }
);

/// The function sees every tenant: it is for those who were allowed to call it, by name.
#[test]
fn nobody_submits_in_sql_who_was_not_allowed_to() {
    runtime(async {
        let db = TestDatabase::postgres().await;
        let _works = Works::new(db.store()).await;
        let scratch = db.scratch().expect("it is PostgreSQL");
        let admin = scratch.client().await;
        let name = format!("shop_{}", std::process::id());
        let make = format!("CREATE ROLE {name} LOGIN; GRANT USAGE ON SCHEMA mainstay TO {name}");
        admin.batch_execute(&make).await.expect("the user is made");
        let become_it = format!("SET ROLE {name}");
        let shop = scratch.client().await;
        shop.batch_execute(&become_it).await.expect("it is them");
        let refused = enqueue::postgres(&shop, &EFFECTS).await;
        assert!(refused.is_err(), "it was not allowed to");
        let allow = format!("GRANT EXECUTE ON FUNCTION mainstay.enqueue TO {name}");
        admin.batch_execute(&allow).await.expect("it is allowed");
        let job = enqueue::postgres(&shop, &EFFECTS).await;
        job.expect("it is submitted");
        let jobs = "SELECT count(*) FROM mainstay.job";
        assert!(
            shop.query_one(jobs, &[]).await.is_err(),
            "and may do nothing else"
        );
        drop(shop);
        let gone = format!("DROP OWNED BY {name}; DROP ROLE {name}");
        admin
            .batch_execute(&gone)
            .await
            .expect("the user is removed");
        drop(admin);
        db.finish().await;
    });
}
