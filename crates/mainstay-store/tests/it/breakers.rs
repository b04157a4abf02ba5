//! Breakers: how each stands, what people say of it, and how it changed.

use mainstay_domain::{
    BreakerChangeId, StoreError, StoreExt, TenantId,
    jobs::breaker::{
        Breaker, BreakerChange, BreakerRule, BreakerState, Dependency, Forced, Turn, Why,
    },
};
use mainstay_testkit::on_both;

use crate::kit::{SYSTEM, World, run};

fn crm(tenant: TenantId) -> Dependency {
    Dependency {
        tenant,
        name: "crm".into(),
    }
}

fn change(world: &World, ms: i64, why: Why) -> BreakerChange {
    BreakerChange {
        id: BreakerChangeId::new(world.at(ms), &*world.random),
        dependency: crm(world.tenant),
        at: world.at(ms),
        turn: Turn {
            from: BreakerState::Closed,
            to: BreakerState::Open,
            why,
            count: 5,
            calls: 9,
        },
        error: Some("refused".into()),
        by: Some("user:anna@example.com".into()),
        reason: Some("maintenance".into()),
        until: Some(world.at(ms + 1)),
    }
}

fn rule(world: &World, ms: i64) -> BreakerRule {
    BreakerRule {
        dependency: crm(world.tenant),
        forced: Forced {
            open: ms % 2 == 0,
            until: Some(world.at(ms)),
        },
        reason: "maintenance".into(),
        by: "user:anna@example.com".into(),
        at: world.at(1),
    }
}

on_both!(breakers_are_kept_until_they_are_as_new, |db| async {
    let world = World::new(db).await;
    let (own, open) = (
        crm(world.tenant),
        Breaker {
            failures: 3,
            last_error: Some("refused".into()),
            ..Breaker::default()
        },
    );
    run!(world.store, SYSTEM, [own, open], |tx| tx
        .breaker_save(&own, &open))
    .expect("it is kept");
    let all = run!(world.store, SYSTEM, [], |tx| tx.breaker_list()).expect("it answers");
    assert_eq!(all, [(own.clone(), open)]);
    let seen = run!(world.store, world.scope(), [], |tx| tx.breaker_list());
    assert_eq!(seen.expect("it answers"), all);
    let closed = Breaker::default();
    run!(world.store, SYSTEM, [own, closed], |tx| tx
        .breaker_save(&own, &closed))
    .expect("it is kept");
    let all = run!(world.store, SYSTEM, [], |tx| tx.breaker_list()).expect("it answers");
    assert_eq!(all, []);
});

on_both!(
    what_is_said_of_a_breaker_counts_as_configuration_and_is_the_tenants,
    |db| async {
        let world = World::new(db).await;
        let before = run!(world.store, SYSTEM, [], |tx| tx.config_version()).expect("it answers");
        for ms in [2, 3] {
            let said = rule(&world, ms);
            run!(world.store, world.scope(), [said], |tx| tx
                .breaker_rule_set(&said))
            .expect("it is kept");
        }
        let all = run!(world.store, SYSTEM, [], |tx| tx.breaker_rules()).expect("it answers");
        assert_eq!(all, [rule(&world, 3)]);
        let seen = run!(world.store, world.scope(), [], |tx| tx.breaker_rules());
        assert_eq!(seen.expect("it answers"), all);
        let own = crm(world.tenant);
        for was_said in [true, false] {
            let cleared = run!(world.store, world.scope(), [own], |tx| tx
                .breaker_rule_clear(&own));
            assert_eq!(cleared.expect("it answers"), was_said);
        }
        let after = run!(world.store, SYSTEM, [], |tx| tx.config_version()).expect("it answers");
        assert_eq!(after, before + 4);
        let strangers = BreakerRule {
            dependency: crm(TenantId::MAX),
            ..rule(&world, 2)
        };
        let refused = run!(world.store, world.scope(), [strangers], |tx| tx
            .breaker_rule_set(&strangers));
        assert!(
            matches!(refused, Err(StoreError::OutOfScope)),
            "{refused:?}"
        );
    }
);

on_both!(
    an_endpoint_takes_what_is_said_of_its_own_breaker_with_it,
    |db| async {
        let world = World::new(db).await;
        let endpoint = world.endpoint("app");
        run!(world.store, SYSTEM, [endpoint], |tx| tx
            .endpoint_insert(&endpoint))
        .expect("it is added");
        let own = BreakerRule {
            dependency: Dependency {
                tenant: world.tenant,
                name: endpoint.id.to_string(),
            },
            ..rule(&world, 2)
        };
        let shared = rule(&world, 2);
        for said in [own, shared.clone()] {
            run!(world.store, SYSTEM, [said], |tx| tx.breaker_rule_set(&said)).expect("kept");
        }
        let (tenant, id) = (endpoint.tenant, endpoint.id);
        run!(world.store, SYSTEM, [], |tx| tx.endpoint_delete(tenant, id)).expect("it goes");
        let left = run!(world.store, SYSTEM, [], |tx| tx.breaker_rules()).expect("it answers");
        assert_eq!(left, [shared]);
    }
);

on_both!(
    the_history_of_a_breaker_is_shown_from_its_end_and_forgotten_in_time,
    |db| async {
        let world = World::new(db).await;
        let whys = [Why::Failures, Why::ProbeFailed, Why::ForcedOpen];
        let changes: Vec<BreakerChange> = (1_i64..)
            .zip(whys)
            .map(|(ms, why)| change(&world, ms, why))
            .collect();
        for one in changes.clone() {
            run!(world.store, SYSTEM, [one], |tx| tx
                .breaker_change_insert(&one))
            .expect("it is kept");
        }
        let own = crm(world.tenant);
        let listed = |before, limit| {
            let (store, scope, own) = (world.store.clone(), world.scope(), own.clone());
            async move {
                run!(store, scope, [own], |tx| tx
                    .breaker_change_list(&own, before, limit))
                .expect("it answers")
            }
        };
        let last_first: Vec<BreakerChange> = changes.iter().rev().cloned().collect();
        assert_eq!(listed(BreakerChangeId::MAX, 10).await, last_first);
        assert_eq!(listed(changes[2].id, 1).await, last_first[1..2]);
        let until = world.at(3);
        let gone = run!(world.store, SYSTEM, [], |tx| tx
            .breaker_change_expire(until, 10));
        assert_eq!(gone.expect("it answers"), 2);
        assert_eq!(listed(BreakerChangeId::MAX, 10).await, last_first[..1]);
    }
);
