//! How a queue stands beside its limits on what may wait is known on every node.

use mainstay_domain::{
    Clock,
    jobs::{Flow, QueueLimits, QueueRules, pressure::Full},
};
use mainstay_testkit::on_both;

use super::works::{EFFECT, Works, until};

on_both!(
    a_node_that_stands_by_knows_what_waits_as_well_as_the_owner,
    |db| async {
        let works = Works::mortal(db.store()).await;
        let rules = QueueRules {
            flow: Flow::Paused,
            limits: QueueLimits {
                max_waiting: Some(5),
                ..QueueLimits::default()
            },
            ..QueueRules::none(works.effect, works.clock.now())
        };
        works
            .write(move |tx| {
                let rules = rules.clone();
                Box::pin(async move { tx.queue_rules_set(&rules).await })
            })
            .await;
        let owner = works.engine();
        until(&owner, "it owns", |seen| seen.owner).await;
        let other = works.engine_on(db.second().await);
        works.insert(&works.jobs(EFFECT, works.effect, 7)).await;
        // A checkpoint is written as time passes.
        let _passing = works.let_time_pass(100);
        for engine in [&owner, &other] {
            let seen = until(engine, "it knows", |seen| {
                let pressure = seen.queue(works.effect).and_then(|queue| queue.pressure);
                pressure.is_some_and(|pressure| pressure.waiting == 7)
            })
            .await;
            let queue = seen.queue(works.effect).expect("it is known");
            let pressure = queue.pressure.expect("it has a limit");
            assert_eq!(
                pressure.full(works.clock.now()),
                Some(Full::Waiting {
                    waiting: 7,
                    most: 5
                })
            );
            let others = seen.queue(works.noop).and_then(|queue| queue.pressure);
            assert_eq!(others, None, "nobody has limited it");
        }
        assert!(!other.snapshot().owner);
        owner.stop().await;
        other.stop().await;
    }
);
