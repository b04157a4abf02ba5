//! Who is there, by the database's clock.

use std::time::Duration;

use mainstay_domain::{
    NodeId, Scope, StoreError, StoreExt, TenantId,
    nodes::{Holder, Node},
};
use mainstay_testkit::on_both;
use uuid::Uuid;

use crate::kit::{SYSTEM, run};

const LEASE: &str = "engine";
const LONG: Duration = Duration::from_secs(600);

fn node(number: u8) -> Node {
    Node {
        id: NodeId::from_uuid(Uuid::from_u128(number.into())),
        version: format!("0.{number}.0"),
        address: (number > 1).then(|| format!("http://10.0.0.{number}:8421")),
        public_key: [number; 32],
    }
}

on_both!(
    a_node_is_listed_from_when_it_joins_until_it_leaves_and_who_holds_the_lease_is_known,
    |db| async {
        let store = db.store();
        for number in [1, 2, 1] {
            let node = node(number);
            run!(store, SYSTEM, [node], |tx| tx.node_renew(&node)).expect("it is written");
        }
        let (first, second) = (node(1), node(2));
        let nobody = run!(store, SYSTEM, [], |tx| tx.lease_holder(LEASE));
        assert_eq!(nobody.expect("it answers"), None);
        let taken = store.lease_take(LEASE, second.id, LONG).await;
        assert!(taken.expect("it answers").is_some());
        let listed = run!(store, SYSTEM, [], |tx| tx.node_list(LEASE)).expect("it answers");
        let shown: Vec<_> = listed
            .iter()
            .map(|one| (one.id, one.version.as_str(), one.address.clone(), one.holds))
            .collect();
        assert_eq!(
            shown,
            [
                (first.id, "0.1.0", None, false),
                (second.id, "0.2.0", second.address.clone(), true)
            ]
        );
        for one in &listed {
            assert!(one.seen_at >= one.since);
            assert!((0..60_000).contains(&one.silent_ms), "{one:?}");
        }
        let holder = run!(store, SYSTEM, [], |tx| tx.lease_holder(LEASE)).expect("it answers");
        let expected = Holder {
            id: second.id,
            address: second.address.clone(),
        };
        assert_eq!(holder, Some(expected));
        let (id, gone) = (second.id, NodeId::from_uuid(Uuid::from_u128(9)));
        let key = run!(store, SYSTEM, [], |tx| tx.node_key(id)).expect("it answers");
        assert_eq!(key, Some([2; 32]));
        let none = run!(store, SYSTEM, [], |tx| tx.node_key(gone)).expect("it answers");
        assert_eq!(none, None);

        store
            .lease_release(LEASE, id)
            .await
            .expect("it is given up");
        let nobody = run!(store, SYSTEM, [], |tx| tx.lease_holder(LEASE));
        assert_eq!(nobody.expect("it answers"), None);
        run!(store, SYSTEM, [], |tx| tx.node_remove(id)).expect("it leaves");
        let left = run!(store, SYSTEM, [], |tx| tx.node_list(LEASE)).expect("it answers");
        assert_eq!(left.len(), 1);
    }
);

on_both!(nodes_that_are_long_silent_are_forgotten, |db| async {
    let store = db.store();
    let one = node(1);
    run!(store, SYSTEM, [one], |tx| tx.node_renew(&one)).expect("it is written");
    let forgotten = run!(store, SYSTEM, [], |tx| tx.node_expire(LONG)).expect("it answers");
    assert_eq!(forgotten, 0);
    // Whatever the time is, it is later than when the row was written.
    let seen = |list: Vec<mainstay_domain::nodes::NodeSeen>| list.first().map(|one| one.seen_at);
    let before = run!(store, SYSTEM, [], |tx| tx.node_list(LEASE)).expect("it answers");
    let again = node(1);
    run!(store, SYSTEM, [again], |tx| tx.node_renew(&again)).expect("it is written");
    let after = run!(store, SYSTEM, [], |tx| tx.node_list(LEASE)).expect("it answers");
    assert!(seen(after) >= seen(before));
    let mut forgotten = 0;
    while forgotten == 0 {
        let none = Duration::ZERO;
        forgotten = run!(store, SYSTEM, [], |tx| tx.node_expire(none)).expect("it answers");
    }
    assert_eq!(forgotten, 1);
});

on_both!(a_tenant_sees_no_nodes, |db| async {
    let store = db.store();
    let tenant = Scope::Tenant(TenantId::NIL);
    let listed = run!(store, tenant, [], |tx| tx.node_list(LEASE));
    assert!(matches!(listed, Err(StoreError::OutOfScope)), "{listed:?}");
});
