//! What a team says of its queues.

use mainstay_domain::{
    StoreError, StoreExt, TenantId,
    jobs::{Flow, QueueLimits, QueueRules, rate::Rate},
};
use mainstay_testkit::on_both;

use crate::kit::{SYSTEM, World, run};

fn rules(world: &World, ms: i64) -> QueueRules {
    QueueRules {
        flow: Flow::Draining,
        flow_at: world.at(ms),
        limits: QueueLimits {
            max_in_flight: Some(7),
            tenant_rate: Some(Rate {
                count: 3,
                per_ms: 60_000,
                burst: 2,
            }),
            weights: [(world.tenant, 5)].into(),
            ..QueueLimits::default()
        },
        ..QueueRules::none(world.queue, world.at(ms))
    }
}

on_both!(
    what_is_said_of_a_queue_is_kept_and_counts_as_configuration,
    |db| async {
        let world = World::new(db).await;
        let queue = world.queue;
        let before = run!(world.store, SYSTEM, [], |tx| tx.config_version()).expect("it answers");
        let none = run!(world.store, SYSTEM, [], |tx| tx.queue_rules_get(queue));
        assert_eq!(none.expect("it answers"), None);
        for ms in [1, 2] {
            let said = rules(&world, ms);
            run!(world.store, SYSTEM, [said], |tx| tx.queue_rules_set(&said)).expect("it is kept");
        }
        let kept = run!(world.store, SYSTEM, [], |tx| tx.queue_rules_get(queue));
        assert_eq!(kept.expect("it answers"), Some(rules(&world, 2)));
        let all = run!(world.store, SYSTEM, [], |tx| tx.queue_rules()).expect("it answers");
        assert_eq!(all, [rules(&world, 2)]);
        let after = run!(world.store, SYSTEM, [], |tx| tx.config_version()).expect("it answers");
        assert_eq!(after, before + 2);
    }
);

on_both!(nothing_is_said_of_a_queue_that_there_is_not, |db| async {
    let world = World::new(db).await;
    let nowhere = QueueRules {
        queue: 9_999,
        ..rules(&world, 1)
    };
    let refused = run!(world.store, SYSTEM, [nowhere], |tx| tx
        .queue_rules_set(&nowhere));
    assert!(
        matches!(refused, Err(StoreError::Reference { .. })),
        "{refused:?}"
    );
});

on_both!(
    a_tenant_says_what_it_wants_of_its_endpoints_queues,
    |db| async {
        let world = World::new(db).await;
        let endpoint = world.endpoint("app");
        run!(world.store, world.scope(), [endpoint], |tx| tx
            .endpoint_insert(&endpoint))
        .expect("it is added");
        let own = QueueRules {
            queue: endpoint.queue,
            ..rules(&world, 1)
        };
        run!(world.store, world.scope(), [own], |tx| tx
            .queue_rules_set(&own))
        .expect("it is kept");
        let kept = run!(world.store, world.scope(), [], |tx| tx.queue_rules());
        assert_eq!(kept.expect("it answers"), [own]);
        assert_ne!(world.tenant, TenantId::NIL);
    }
);
