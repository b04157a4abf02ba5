//! What a restored database knows of the webhooks that came before.

use std::sync::Arc;

use mainstay_domain::{
    Clock, Store,
    vault::{MasterKey, Vault},
};
use mainstay_store::{
    backup::{OnProgress, backup, restore},
    migrate::Place,
};
use mainstay_testkit::{TestDatabase, on_both};

use crate::{
    expect::{done, node},
    world::World,
};

const TRIED: &str = "SELECT count(*) FROM attempt";
const BOOKED: &str = "SELECT count(*) FROM billing_event";

fn quiet() -> OnProgress {
    Arc::new(|_| {})
}

/// Takes the webhook, which is answered so.
async fn takes(world: &World, id: &str, status: &str) {
    let answer = world.accept(world.event(id, "invoice.paid")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("it is JSON");
    assert_eq!(body["status"], status);
}

/// Everything that is due is done by a node.
async fn worked(world: &World) {
    let node = node(world).await;
    done(world, &node).await;
    node.stop().await;
}

on_both!(
    a_webhook_that_came_before_a_backup_is_a_duplicate_after_it_was_restored_elsewhere,
    |db| async {
        let mut world = World::new(db.store()).await;
        world.bind("money", "invoice.*").await;
        world.intake.refresh().await.expect("it looks again");
        takes(&world, "evt_1", "queued").await;
        worked(&world).await;
        let file = db.folder().join("one.backup");
        let made = backup(db.place(), &file, world.clock.now(), quiet()).await;
        made.expect("it is written");
        // What comes later is not in it.
        takes(&world, "evt_2", "queued").await;

        let elsewhere = match db.place() {
            Place::Sqlite(_) => TestDatabase::sqlite().await,
            Place::Postgres(_) => TestDatabase::postgres().await,
        };
        elsewhere.store().close().await;
        let restored = restore(elsewhere.place(), &file, true, quiet()).await;
        restored.expect("it is restored");
        let keys = vec![MasterKey::new(&[1; 32]).expect("32 bytes are a key")];
        let store: Arc<dyn Store> = elsewhere.sealed(Arc::new(Vault::new(keys))).await;
        world.intake = world.another_intake(&store).await;
        world.store = Arc::clone(&store);
        for _ in 0..2 {
            takes(&world, "evt_1", "duplicate").await;
        }
        takes(&world, "evt_2", "queued").await;
        worked(&world).await;
        let (tried, booked) = (world.count(TRIED).await, world.count(BOOKED).await);
        assert_eq!((tried, booked), (2, 2), "once each");
        store.close().await;
    }
);
