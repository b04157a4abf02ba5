//! Faults that tests put in front of a store.

use std::sync::Arc;

use mainstay_domain::{
    Store, StoreError, StoreExt, StoreResult, TenantId, Timestamp, access::Tenant, store::Scope,
};
use mainstay_testkit::{FailingStore, on_both};
use uuid::Uuid;

const SYSTEM: Scope = Scope::System("test");

async fn tenant_insert(store: &dyn Store, number: u128) -> StoreResult<()> {
    store
        .transact(SYSTEM, move |tx| {
            Box::pin(async move {
                let tenant = Tenant {
                    id: TenantId::from_uuid(Uuid::from_u128(number)),
                    name: format!("Tenant {number}"),
                    slug: format!("tenant-{number}"),
                    created_at: Timestamp::EPOCH,
                };
                tx.tenant_insert(&tenant).await
            })
        })
        .await
}

async fn tenants(store: &dyn Store) -> usize {
    let list = store.read(SYSTEM, |tx| Box::pin(async move { tx.tenant_list().await }));
    list.await.expect("tenants are listed").len()
}

on_both!(
    a_transaction_fails_before_or_after_its_commit_as_told,
    |db| async {
        let store = Arc::new(FailingStore::new(db.store()));
        store.fail_before(1);
        let lost = tenant_insert(&*store, 1).await;
        assert!(matches!(lost, Err(StoreError::Unavailable(_))));
        assert_eq!(tenants(&*store).await, 0);
        store.fail_after(1);
        let unanswered = tenant_insert(&*store, 1).await;
        assert!(matches!(unanswered, Err(StoreError::Unavailable(_))));
        assert_eq!(tenants(&*store).await, 1);
        let again = tenant_insert(&*store, 1).await;
        assert!(
            matches!(again, Err(StoreError::Conflict { what: "tenant" })),
            "{again:?}"
        );
        assert_eq!(store.count(), 3);
        store.set_down(true);
        assert!(tenant_insert(&*store, 2).await.is_err());
        store.set_down(false);
        tenant_insert(&*store, 2).await.expect("it is back");
    }
);

on_both!(
    a_second_node_sees_what_the_first_has_committed,
    |db| async {
        let (here, there) = (db.store(), db.second().await);
        tenant_insert(&*here, 1).await.expect("it commits");
        assert_eq!(tenants(&*there).await, 1);
    }
);
