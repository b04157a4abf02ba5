//! The quarantine: what is refused is kept in bounds, and no flood of it costs a genuine request anything.

use std::{collections::HashSet, sync::Arc, time::Duration};

use mainstay::intake::{Inbound, quarantine::trim};
use mainstay_domain::{
    ReceiptId, Scope, Store, StoreExt,
    intake::{
        NewReceipt, Receipt, Verdict,
        quarantine::{Amount, Bounds},
    },
};
use mainstay_testkit::{FailingStore, on_both};
use tokio::sync::watch;

use crate::world::{World, stripe_body};

const SYSTEM: Scope = Scope::System("tests");
const PATIENCE: Duration = Duration::from_secs(60);

fn forged(world: &World, number: usize, remote: String) -> Inbound {
    let body = stripe_body(&format!("evt_forged_{number}"), "invoice.paid", 1);
    Inbound {
        remote,
        ..world.signed(&body, "whsec_of_somebody_else")
    }
}

/// Some of what a provider sends whose secret was mistyped here.
async fn mistyped(world: &World, requests: usize) {
    for number in 0..requests {
        let request = forged(world, number, "198.51.100.1".into());
        assert_eq!(world.accept(request).await.status, 401);
    }
}

/// Some that another source refuses.
async fn of_another_source(world: &World, requests: usize) {
    for number in 0..requests {
        let request = forged(world, number, "203.0.113.9".into());
        assert_eq!(world.intake.accept("github", request).await.status, 400);
    }
}

async fn refused(world: &World) -> Vec<Receipt> {
    let listed = world.store.read(SYSTEM, |tx| {
        Box::pin(async move {
            tx.receipt_list(None, Some(Verdict::Refused), None, 100_000)
                .await
        })
    });
    listed.await.expect("they are listed")
}

/// What is kept of so many that were refused, once it is written.
async fn settled(world: &World, all: usize) -> Vec<Receipt> {
    let written = async {
        loop {
            let kept = refused(world).await;
            let not_kept: i64 = world
                .intake
                .refused_not_kept()
                .iter()
                .map(|(_, count)| *count)
                .sum();
            if kept.len() + not_kept as usize == all {
                return kept;
            }
        }
    };
    tokio::time::timeout(PATIENCE, written)
        .await
        .expect("each is kept or counted")
}

fn of_source(kept: &[Receipt], name: &str) -> usize {
    kept.iter().filter(|one| one.source_name == name).count()
}

async fn trimmed(world: &World, source: Amount, all: Amount) -> Vec<Receipt> {
    let bounds = Bounds {
        source,
        all,
        ..Bounds::default()
    };
    let stop = watch::channel(false).1;
    trim(&*world.store, bounds, &stop)
        .await
        .expect("it is brought within its bounds");
    refused(world).await
}

const NO_BYTES_BOUND: i64 = i64::MAX;

on_both!(
    a_flood_of_forgeries_costs_no_genuine_request_and_no_other_source_anything,
    |db| async {
        let world = World::new(db.store()).await;
        world.source("github", "a secret").await;
        of_another_source(&world, 5).await;
        for number in 0..2_000 {
            let remote = format!("192.0.{}.{}", number % 8, number % 250);
            let answer = world.accept(forged(&world, number, remote)).await;
            assert_eq!(answer.status, 401, "{answer:?}");
            if number % 20 == 0 {
                let genuine = world.event(&format!("evt_{number}"), "invoice.paid");
                let answer = world.accept(genuine).await;
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        }
        of_another_source(&world, 5).await;
        assert_eq!(world.count("SELECT count(*) FROM event").await, 100);

        let kept = settled(&world, 2_010).await;
        assert_eq!(of_source(&kept, "github"), 10, "its own rate is untouched");
        let flooded = of_source(&kept, "stripe");
        assert!((100..=500).contains(&flooded), "a burst of it: {flooded}");
        let not_kept = world.intake.refused_not_kept();
        assert_eq!(not_kept, [("stripe".to_owned(), 2_000 - flooded as i64)]);

        let share = Amount {
            rows: 50,
            bytes: NO_BYTES_BOUND,
        };
        let kept = trimmed(&world, share, share).await;
        assert_eq!(kept.len(), 50, "the bound of all sources");
        assert_eq!(of_source(&kept, "github"), 10, "it has less than its part");
        let before: HashSet<_> = kept.iter().map(|one| one.id).collect();
        let after = trimmed(&world, share, share).await;
        assert_eq!(
            after.iter().map(|one| one.id).collect::<HashSet<_>>(),
            before
        );
        assert_eq!(world.count("SELECT count(*) FROM event").await, 100);
    }
);

on_both!(
    a_flood_from_one_address_leaves_what_a_provider_with_a_mistyped_secret_sent,
    |db| async {
        let world = World::new(db.store()).await;
        mistyped(&world, 3).await;
        for number in 0..1_500 {
            let answer = world
                .accept(forged(&world, number, "192.0.2.66".into()))
                .await;
            assert_eq!(answer.status, 401);
        }
        mistyped(&world, 3).await;
        settled(&world, 1_506).await;
        let share = Amount {
            rows: 60,
            bytes: NO_BYTES_BOUND,
        };
        let kept = trimmed(&world, share, Bounds::default().all).await;
        assert_eq!(kept.len(), 60);
        let provider = kept.iter().filter(|one| one.remote == "198.51.100.1");
        assert_eq!(
            provider.count(),
            6,
            "those before the flood and those after"
        );
    }
);

on_both!(what_cannot_be_written_is_counted, |db| async {
    let failing = Arc::new(FailingStore::new(db.store()));
    let world = World::new(Arc::clone(&failing) as Arc<dyn Store>).await;
    failing.set_down(true);
    mistyped(&world, 4).await;
    let counted = async {
        while world.intake.refused_not_kept() != [("stripe".to_owned(), 4)] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, counted)
        .await
        .expect("all are counted");
    failing.set_down(false);
    mistyped(&world, 2).await;
    assert_eq!(settled(&world, 6).await.len(), 2);
});

on_both!(the_quarantine_is_bounded_in_bytes_as_well, |db| async {
    let world = World::new(db.store()).await;
    mistyped(&world, 40).await;
    let kept = settled(&world, 40).await;
    let bytes = world
        .count("SELECT CAST(sum(length(headers) + length(body)) AS bigint) FROM receipt")
        .await;
    let share = Amount {
        rows: 1_000,
        bytes: bytes / 2,
    };
    let left = trimmed(&world, share, Bounds::default().all).await;
    assert!((15..=20).contains(&left.len()), "{}", left.len());
    assert_eq!(left, kept[..left.len()], "the newest");
});

on_both!(more_than_one_look_brings_is_brought_down_too, |db| async {
    let world = World::new(db.store()).await;
    mistyped(&world, 60).await;
    let kept = settled(&world, 60).await;
    let mut many = Vec::new();
    for copy in 0..100_u32 {
        many.extend(kept.iter().map(|one| NewReceipt {
            id: ReceiptId::new(one.received_at, &*world.random),
            source: one.source,
            received_at: one.received_at,
            remote: format!("192.0.2.{copy}"),
            headers: one.headers.clone(),
            body: None,
            body_bytes: one.body_bytes,
            secret: None,
            refusal: one.refusal.clone(),
        }));
    }
    let many: Arc<[_]> = many.into();
    let appended = world.store.transact(SYSTEM, move |tx| {
        let many = Arc::clone(&many);
        Box::pin(async move { tx.receipt_append(&many).await })
    });
    appended.await.expect("they are kept");
    let share = Amount {
        rows: 10,
        bytes: NO_BYTES_BOUND,
    };
    assert_eq!(trimmed(&world, share, share).await.len(), 10);
});
