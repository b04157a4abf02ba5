//! A store that loses transactions and answers: nothing is done twice, nothing is forgotten.

use std::sync::Arc;

use mainstay_domain::{Store, jobs::settings::EndpointSettings};
use mainstay_testkit::{FailingStore, on_both};

use super::works::{EFFECT, Works, until_done};

/// Transactions of a short life of the engine's; more than enough to meet each kind.
const POSITIONS: u64 = 14;

on_both!(
    an_answer_that_is_lost_at_any_place_costs_nothing,
    |db| async {
        let mut works = Works::new(db.store()).await;
        let failing = Arc::new(FailingStore::new(db.store()));
        works.store = Arc::clone(&failing) as Arc<dyn Store>;
        let _ticking = works.let_time_pass(20);
        let endpoint = works.endpoint(EndpointSettings::default()).await;
        let mut done = 0;
        for position in 1..=POSITIONS {
            failing.fail_after(position);
            done += run(&works, &endpoint, done).await;
        }
        assert_eq!(works.effects().await, done);
        assert_eq!(works.orders.pushes().len() as i64, done);
    }
);

on_both!(
    a_transaction_that_is_lost_at_any_place_is_sent_again,
    |db| async {
        let mut works = Works::new(db.store()).await;
        let failing = Arc::new(FailingStore::new(db.store()));
        works.store = Arc::clone(&failing) as Arc<dyn Store>;
        let _ticking = works.let_time_pass(20);
        let endpoint = works.endpoint(EndpointSettings::default()).await;
        let mut done = 0;
        for position in 1..=POSITIONS {
            failing.fail_before(position);
            done += run(&works, &endpoint, done).await;
        }
        assert_eq!(works.effects().await, done);
        assert_eq!(works.orders.pushes().len() as i64, done);
    }
);

/// An engine's whole life, with some of each kind of job.
async fn run(works: &Works, endpoint: &mainstay_domain::jobs::Endpoint, before: i64) -> i64 {
    let count = 3;
    let jobs = [
        works.jobs(EFFECT, works.effect, count),
        works.pushes(endpoint, count),
    ]
    .concat();
    // The insertion itself is not what is tested.
    while works
        .store
        .transact_erased(super::works::SYSTEM, insert(jobs.clone()))
        .await
        .is_err()
    {}
    let engine = works.engine();
    until_done(&engine, works.effect, before + count as i64).await;
    until_done(&engine, endpoint.queue, before + count as i64).await;
    engine.stop().await;
    count as i64
}

fn insert(jobs: Vec<mainstay_domain::jobs::NewJob>) -> mainstay_domain::store::Work {
    Arc::new(move |tx| {
        let jobs = jobs.clone();
        Box::pin(async move {
            // A first run whose answer was lost has inserted them.
            if tx.job_get(jobs[0].id).await?.is_none() {
                tx.job_insert(&jobs).await?;
            }
            Ok(Box::new(()) as mainstay_domain::store::Erased)
        })
    })
}
