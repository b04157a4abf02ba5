//! The snapshot of the sources: what verifies while there is no database, for whom, and what becomes of what it let in.

use std::{path::Path, sync::Arc};

use mainstay::intake::{
    Beside, Intake,
    snapshot::{AGE_MAX_MS, AHEAD_MAX_MS, Away, Snapshot, SnapshotError},
    spool::{Spool, SpoolOptions},
};
use mainstay_domain::{
    Clock, Scope, StoreExt, TenantId,
    intake::{Source, settings::SourceSettings},
    vault::{DataKeyRow, KeyError, MasterKey, Vault},
};
use mainstay_testkit::{TestDatabase, on_both};

use crate::world::{SECRET, START, World};

const OURS: &str = "SELECT count(*) FROM event WHERE kind = 'invoice.paid'";

fn keys(seeds: &[u8]) -> Arc<Vault> {
    let keys = seeds.iter().map(|seed| MasterKey::new(&[*seed; 32]));
    let keys: Result<Vec<MasterKey>, _> = keys.collect();
    Arc::new(Vault::new(keys.expect("32 bytes are a key")))
}

/// A world whose intake has a spool and has written its snapshot.
async fn written(db: &TestDatabase) -> (World, Arc<Spool>) {
    let mut world = World::new(db.sealed(keys(&[1])).await).await;
    let options = SpoolOptions {
        snapshot: true,
        ..SpoolOptions::new(db.folder().join("spool"), 1 << 24)
    };
    let spool = Spool::open(options, Arc::clone(&world.random) as _).expect("it opens");
    let spool = Arc::new(spool);
    world.intake = with_store(&world, &spool).await;
    let written = world.intake.snapshot_write().await;
    written.expect("the snapshot is written");
    (world, spool)
}

async fn with_store(world: &World, spool: &Arc<Spool>) -> Arc<Intake> {
    let beside = Beside {
        spool: Some(Arc::clone(spool)),
        ..Beside::default()
    };
    world.intake_beside(&world.store, beside).await
}

/// What a process that has no database makes of it.
fn away(db: &TestDatabase, world: &World, spool: &Arc<Spool>) -> Arc<Intake> {
    // Another process: it has the master key and nothing in its memory.
    let vault = keys(&[1]);
    let folder = db.folder().join("spool");
    let snapshot = Snapshot::read(&folder, &vault, world.clock.now()).expect("it is read");
    let away = Away {
        spool: Arc::clone(spool),
        vault,
        clock: Arc::clone(&world.clock) as _,
        random: Arc::clone(&world.random) as _,
        certificates: Arc::clone(&world.certificates) as _,
        failures_per_minute: 60,
    };
    away.start(&snapshot).expect("the key is there")
}

async fn drained(world: &World) {
    while world.intake.spool_drain().await.is_err() {
        tokio::task::yield_now().await;
    }
    let status = world.intake.spool_status().expect("there is a spool");
    assert!(!status.taking, "nothing is left: {status:?}");
}

on_both!(
    without_a_database_the_snapshot_verifies_and_the_spool_keeps_what_is_stored_once_later,
    |db| async {
        let (mut world, spool) = written(db).await;
        let gone = away(db, &world, &spool);
        let status = gone.spool_status().expect("there is a spool");
        assert!(status.taking);
        assert!(status.snapshot.is_some_and(|one| one.used));
        assert!(gone.ready().await.is_ok(), "requests are taken");
        for id in ["evt_1", "evt_2", "evt_1"] {
            let answer = gone.accept("stripe", world.event(id, "invoice.paid")).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let forged = world.signed("{\"id\":\"evt_3\"}", "whsec_of_nobody");
        assert_eq!(gone.accept("stripe", forged).await.status, 401);
        assert_eq!(world.count(OURS).await, 0);

        // With the database there are two for a moment, and what comes to either is kept.
        world.intake = with_store(&world, &spool).await;
        drained(&world).await;
        assert_eq!(world.count(OURS).await, 2);
        let late = gone
            .accept("stripe", world.event("evt_late", "invoice.paid"))
            .await;
        assert_eq!(late.status, 200, "{late:?}");
        drained(&world).await;
        assert_eq!(world.count(OURS).await, 3);
        let copies = "SELECT sum(deliveries) FROM dedup";
        assert!(world.count(copies).await >= 4);
    }
);

/// What becomes of a request that a snapshot let in, where the source is another one by the time it is stored.
async fn changed_meanwhile(db: &TestDatabase, change: fn(&mut Source)) -> (World, u64) {
    let (mut world, spool) = written(db).await;
    let gone = away(db, &world, &spool);
    let source = world.source;
    let changed = world.store.transact(Scope::System("tests"), move |tx| {
        Box::pin(async move {
            let mut found = tx.source_get(source).await?.expect("it is there");
            for secret in &found.secrets {
                assert_eq!(secret.secret, SECRET);
            }
            let before = found.secrets.clone();
            change(&mut found);
            for secret in &before {
                if !found.secrets.contains(secret) {
                    tx.source_secret_delete(source, secret.id).await?;
                }
            }
            assert!(tx.source_update(&found).await?);
            Ok(())
        })
    });
    changed.await.expect("the source is changed");
    let answer = gone
        .accept("stripe", world.event("evt_1", "invoice.paid"))
        .await;
    assert_eq!(answer.status, 200, "nobody could know yet");
    world.intake = with_store(&world, &spool).await;
    drained(&world).await;
    let status = world.intake.spool_status().expect("there is a spool");
    (world, status.counts.set_aside)
}

async fn is_set_aside(db: &TestDatabase, change: fn(&mut Source)) {
    let (world, set_aside) = changed_meanwhile(db, change).await;
    assert_eq!((world.count(OURS).await, set_aside), (0, 1));
}

/// A source that takes requests from these addresses alone.
fn allowing(source: &mut Source, range: &str) {
    let settings = SourceSettings {
        allow: vec![range.into()],
        ..SourceSettings::default()
    };
    source.settings = serde_json::to_string(&settings).expect("JSON");
}

on_both!(
    what_a_removed_secret_let_in_is_set_aside_and_not_stored,
    |db| async { is_set_aside(db, |source| source.secrets.clear()).await }
);

on_both!(
    what_was_let_in_for_a_source_that_is_disabled_is_set_aside,
    |db| async { is_set_aside(db, |source| source.enabled = false).await }
);

on_both!(
    what_was_let_in_from_an_address_that_is_not_allowed_any_more_is_set_aside,
    |db| async { is_set_aside(db, |source| allowing(source, "198.51.100.0/24")).await }
);

on_both!(
    what_was_let_in_from_an_address_that_is_allowed_is_stored,
    |db| async {
        let its_network = |source: &mut Source| allowing(source, "203.0.113.0/24");
        let (world, set_aside) = changed_meanwhile(db, its_network).await;
        assert_eq!((world.count(OURS).await, set_aside), (1, 0));
    }
);

on_both!(
    a_key_that_the_store_does_not_have_is_not_sealed_with_once_it_answers,
    |db| async {
        // As it is after a start from a snapshot, where a backup was restored that is older than the key.
        let (vault, number) = (keys(&[1]), 7);
        let made = vault.make(TenantId::NIL, number).expect("a key is made");
        let (wrapped, master) = made.expect("there is a master key");
        let row = DataKeyRow {
            number,
            tenant: TenantId::NIL,
            wrapped: Some(wrapped),
            master,
            created_at: START,
            retired_at: None,
            destroyed_at: None,
        };
        vault.learn(0, &row).expect("it is unwrapped");
        let world = World::new(db.sealed(Arc::clone(&vault)).await).await;
        let now = vault.current(TenantId::NIL).expect("there is one").number();
        assert_ne!(now, number);
        let rows = world.store.read(Scope::System("tests"), |tx| {
            Box::pin(async move { tx.data_key_list(Some(TenantId::NIL), 0, 10).await })
        });
        let rows = rows.await.expect("they are listed");
        assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), [now]);
        // What it sealed is read for as long as it is at hand.
        assert!(vault.known(number).is_some());
    }
);

on_both!(
    what_another_node_erased_is_not_in_the_next_snapshot,
    |db| async {
        let (world, spool) = written(db).await;
        let (erased, at) = (world.tenant, world.clock.now());
        // As the other node does it: nobody tells this one, which has the tenant's key at hand.
        let gone = world.store.transact(Scope::System("tests"), move |tx| {
            Box::pin(async move { tx.data_key_destroy(erased, at).await })
        });
        assert!(gone.await.expect("it is written") > 0);
        let written = world.intake.snapshot_write().await;
        written.expect("the snapshot is written");
        let gone = away(db, &world, &spool);
        let answer = gone
            .accept("stripe", world.event("evt_1", "invoice.paid"))
            .await;
        assert_eq!(answer.status, 401, "its secret is gone: {answer:?}");
    }
);

fn refusal(folder: &Path, vault: &Vault, world: &World, later_ms: i64) -> SnapshotError {
    let now = world.clock.now().plus_ms(later_ms);
    let read = Snapshot::read(folder, vault, now);
    read.err().expect("it is not used")
}

on_both!(
    a_snapshot_is_used_with_its_key_while_it_is_young_and_whole,
    |db| async {
        let (world, _spool) = written(db).await;
        let folder = db.folder().join("spool");
        let own = keys(&[1]);
        assert!(Snapshot::read(&folder, &own, world.clock.now()).is_ok());
        let said = refusal(&folder, &Vault::off(), &world, 0);
        assert!(matches!(said, SnapshotError::Off), "{said}");
        let said = refusal(&folder, &keys(&[2]), &world, 0);
        let master = own.masters()[0];
        assert!(
            matches!(said, SnapshotError::Key(KeyError::MasterMissing(id)) if id == master),
            "{said}"
        );
        let said = refusal(&folder, &own, &world, AGE_MAX_MS + 1);
        assert!(matches!(said, SnapshotError::Old(7)), "{said}");
        let before = world.clock.now().plus_ms(-AHEAD_MAX_MS);
        assert!(Snapshot::read(&folder, &own, before).is_ok());
        let said = refusal(&folder, &own, &world, -AHEAD_MAX_MS - 1);
        assert!(matches!(said, SnapshotError::Ahead(5)), "{said}");
        let said = refusal(db.folder(), &own, &world, 0);
        assert!(matches!(said, SnapshotError::Missing(_)), "{said}");
        let path = folder.join("intake.snapshot");
        let mut bytes = std::fs::read(&path).expect("it is there");
        assert!(
            !bytes
                .windows(SECRET.len())
                .any(|part| part == SECRET.as_bytes())
        );
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).expect("the folder is ours");
        let said = refusal(&folder, &own, &world, 0);
        assert!(matches!(said, SnapshotError::Damaged), "{said}");
    }
);
