//! Re-verify: what was refused for a fault of ours comes in once, and what is forged stays out.

use std::sync::Arc;

use bytes::Bytes;
use mainstay::intake::{
    Inbound,
    reverify::{Request, Reverified},
};
use mainstay_domain::{
    AuditId, Clock, ReceiptId, Scope, SecretId, Store, StoreExt, StoreResult,
    access::AuditEntry,
    intake::{
        Blob, NewReceipt, SourceSecret,
        scheme::{Message, Scheme, sign_to},
    },
};
use mainstay_testkit::{FailingStore, on_both};

use crate::world::{SECRET, START, World, stripe_body};

const SYSTEM: Scope = Scope::System("tests");
/// What the provider signs with; the source does not know it at first.
const RIGHT: &str = "whsec_that_was_forgotten";
const HOUR_MS: i64 = 3_600_000;

/// Keeps requests as the door keeps those that it refuses.
async fn refused(world: &World, reason: &str, requests: Vec<Inbound>) {
    let receipts: Arc<[NewReceipt]> = requests
        .into_iter()
        .map(|inbound| receipt(world, reason, inbound))
        .collect();
    world
        .store
        .transact(SYSTEM, move |tx| {
            let receipts = Arc::clone(&receipts);
            Box::pin(async move { tx.receipt_append(&receipts).await })
        })
        .await
        .expect("refused requests are kept");
}

fn receipt(world: &World, reason: &str, inbound: Inbound) -> NewReceipt {
    let headers: serde_json::Map<_, _> = inbound
        .headers
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8_lossy(&value).into()))
        .collect();
    let plain = |bytes: Bytes| Blob { zstd: false, bytes };
    NewReceipt {
        id: ReceiptId::new(inbound.received_at, &*world.random),
        source: world.source,
        received_at: inbound.received_at,
        remote: inbound.remote,
        headers: plain(serde_json::Value::Object(headers).to_string().into()),
        body_bytes: inbound.body.len() as i64,
        body: Some(plain(inbound.body)),
        secret: None,
        refusal: Some(reason.into()),
    }
}

async fn mend(world: &World) {
    let (source, now) = (world.source, world.clock.now());
    let secret = SourceSecret {
        id: SecretId::new(now, &*world.random),
        secret: RIGHT.into(),
        created_at: now,
        last_used_at: None,
    };
    world
        .store
        .transact(SYSTEM, move |tx| {
            let secret = secret.clone();
            Box::pin(async move { tx.source_secret_insert(source, &secret).await })
        })
        .await
        .expect("a secret is added");
}

fn request(world: &World, plan: bool) -> Request {
    let told = AuditEntry {
        id: AuditId::NIL,
        at: START,
        actor: "user:anna@example.com".into(),
        action: "receipt.release".into(),
        subject: world.source.to_string(),
        detail: None,
        tenant: Some(world.tenant),
    };
    Request {
        source: world.source,
        after: None,
        base_url: "https://hooks.example.test".into(),
        told: (!plan).then_some(told),
    }
}

async fn again(world: &World) -> StoreResult<Reverified> {
    let done = world.intake.reverify(&request(world, false)).await?;
    Ok(done.expect("there is such a source"))
}

async fn plan(world: &World) -> Reverified {
    let done = world.intake.reverify(&request(world, true)).await;
    done.expect("the store answers")
        .expect("there is such a source")
}

/// Distinct events, signed with the secret that the source does not know.
fn many(world: &World, count: usize) -> Vec<Inbound> {
    (0..count)
        .map(|at| {
            let body = stripe_body(&format!("evt_{at}"), "invoice.paid", 1_200);
            world.signed(&body, RIGHT)
        })
        .collect()
}

on_both!(
    what_was_refused_for_a_missing_secret_comes_in_once_it_is_there,
    |db| async {
        let world = World::new(db.store()).await;
        refused(&world, "signature_wrong", many(&world, 3)).await;
        let received = world.clock.now().micros();
        // Long after the tolerance of five minutes.
        world.clock.advance_ms(2 * HOUR_MS);
        world.bind("money", "invoice.*").await;
        let before = plan(&world).await;
        assert_eq!((before.examined, before.genuine), (3, 0));
        assert_eq!(before.still_refused["signature_wrong"], 3);
        mend(&world).await;
        let planned = plan(&world).await;
        assert_eq!((planned.examined, planned.genuine), (3, 3));
        assert_eq!((planned.released, planned.next), (0, None));
        assert_eq!(world.count("SELECT count(*) FROM event").await, 0);
        let done = again(&world).await.expect("the store answers");
        assert_eq!((done.examined, done.genuine, done.released), (3, 3, 3));
        assert!(done.still_refused.is_empty(), "{done:?}");
        assert_eq!(world.count("SELECT count(*) FROM job").await, 3);
        let late = world.count("SELECT count(*) FROM object_note").await;
        assert_eq!(late, 3, "they are noted for the index of objects");
        assert_eq!(
            world.count("SELECT max(received_at) FROM event").await,
            received,
            "when it came is when it came"
        );
        assert_eq!(
            world.count("SELECT min(created_at) FROM job").await,
            world.clock.now().micros(),
            "and what is to be done begins now"
        );
        assert_eq!(
            world
                .count(
                    "SELECT count(*) FROM receipt AS r JOIN event AS e ON e.receipt_id = r.id
                     WHERE r.verdict = 0 AND r.secret_id IS NOT NULL AND r.events = 1"
                )
                .await,
            3
        );
        assert_eq!(
            world
                .count("SELECT count(*) FROM audit WHERE detail LIKE '%signature_wrong%rcp_%'")
                .await,
            1
        );
        let twice = again(&world).await.expect("the store answers");
        assert_eq!(twice, Reverified::default(), "there is nothing left to do");
        assert_eq!(world.count("SELECT sum(deliveries) FROM dedup").await, 3);
    }
);

on_both!(what_is_not_genuine_stays_refused_and_says_why, |db| async {
    let world = World::new(db.store()).await;
    let body = |id| stripe_body(id, "invoice.paid", 1);
    let forged = world.signed(&body("evt_forged"), "whsec_forged");
    let mut unsigned = world.signed(&body("evt_unsigned"), RIGHT);
    unsigned.headers.clear();
    // Old already when it came: that much time later its signature proves nothing.
    let mut late = world.signed(&body("evt_late"), RIGHT);
    late.received_at = START.plus_ms(HOUR_MS);
    refused(&world, "signature_wrong", vec![forged, unsigned, late]).await;
    let genuine = world.signed(&body("evt_large"), RIGHT);
    let mut large = receipt(&world, "signature_wrong", genuine);
    large.body = None;
    world
        .store
        .transact(SYSTEM, move |tx| {
            let large = large.clone();
            Box::pin(async move { tx.receipt_append(&[large]).await })
        })
        .await
        .expect("a refused request is kept");
    mend(&world).await;
    let done = again(&world).await.expect("the store answers");
    assert_eq!((done.examined, done.genuine), (4, 0));
    let reasons: Vec<_> = done.still_refused.into_iter().collect();
    assert_eq!(
        reasons,
        [
            ("body_not_kept", 1),
            ("signature_missing", 1),
            ("signature_wrong", 1),
            ("timestamp_too_old", 1)
        ]
    );
    assert_eq!(world.count("SELECT count(*) FROM event").await, 0);
    assert_eq!(
        world
            .count("SELECT count(*) FROM receipt WHERE verdict = 3")
            .await,
        4
    );
});

on_both!(
    what_has_come_in_since_is_a_duplicate_and_other_content_a_conflict,
    |db| async {
        let world = World::new(db.store()).await;
        world.bind("money", "*").await;
        let known = stripe_body("evt_0", "invoice.paid", 1_200);
        let other = stripe_body("evt_0", "invoice.paid", 9_999);
        refused(
            &world,
            "signature_wrong",
            vec![world.signed(&known, RIGHT), world.signed(&other, RIGHT)],
        )
        .await;
        // The provider sent it again, signed with the secret that the source knows.
        let status = world.accept(world.signed(&known, SECRET)).await.status;
        assert_eq!(status, 200);
        mend(&world).await;
        let done = again(&world).await.expect("the store answers");
        assert_eq!((done.genuine, done.released), (2, 0));
        assert_eq!((done.duplicates, done.conflicts), (1, 1));
        // Beside it there may be one of our own, which tells of the conflict.
        let events = "SELECT count(*) FROM event WHERE kind = 'invoice.paid'";
        assert_eq!(world.count(events).await, 1);
        assert_eq!(world.count("SELECT count(*) FROM job").await, 1);
        assert_eq!(world.count("SELECT max(deliveries) FROM dedup").await, 3);
        assert_eq!(
            world
                .count("SELECT count(*) FROM receipt WHERE verdict = 2 AND body IS NOT NULL")
                .await,
            1,
            "the other content is kept as evidence"
        );
    }
);

on_both!(
    killed_in_the_middle_nothing_is_lost_and_nothing_done_twice,
    |db| async {
        let failing = Arc::new(FailingStore::new(db.store()));
        let world = World::new(Arc::clone(&failing) as Arc<dyn Store>).await;
        world.bind("money", "*").await;
        refused(&world, "signature_wrong", many(&world, 130)).await;
        mend(&world).await;
        // The second step does not happen.
        failing.fail_before(2);
        assert!(again(&world).await.is_err());
        assert_eq!(world.count("SELECT count(*) FROM event").await, 50);
        // The second step happens, and nobody hears of it.
        failing.fail_after(1);
        assert!(again(&world).await.is_err());
        assert_eq!(world.count("SELECT count(*) FROM event").await, 100);
        let done = again(&world).await.expect("the store answers");
        assert_eq!((done.examined, done.released), (30, 30));
        assert_eq!(world.count("SELECT count(*) FROM event").await, 130);
        assert_eq!(world.count("SELECT count(*) FROM job").await, 130);
        assert_eq!(world.count("SELECT sum(deliveries) FROM dedup").await, 130);
        assert_eq!(world.count("SELECT count(*) FROM receipt").await, 130);
    }
);

on_both!(two_who_release_at_once_release_each_once, |db| async {
    let world = World::new(db.store()).await;
    world.bind("money", "*").await;
    refused(&world, "signature_wrong", many(&world, 120)).await;
    mend(&world).await;
    let other = world.another_intake(&db.second().await).await;
    let asked = request(&world, false);
    let (one, two) = tokio::join!(world.intake.reverify(&asked), other.reverify(&asked));
    let done = [one, two].map(|done| done.expect("the store answers").expect("a source"));
    assert_eq!(done.iter().map(|one| one.released).sum::<i64>(), 120);
    assert_eq!(done.iter().map(|one| one.duplicates).sum::<i64>(), 0);
    assert_eq!(world.count("SELECT count(*) FROM job").await, 120);
    assert_eq!(world.count("SELECT sum(deliveries) FROM dedup").await, 120);
});

on_both!(other_sources_and_our_own_are_left_alone, |db| async {
    let world = World::new(db.store()).await;
    let mut foreign = many(&world, 1);
    let mut receipt = receipt(&world, "signature_wrong", foreign.remove(0));
    receipt.source = mainstay_domain::SourceId::NIL;
    world
        .store
        .transact(SYSTEM, move |tx| {
            let receipt = receipt.clone();
            Box::pin(async move { tx.receipt_append(&[receipt]).await })
        })
        .await
        .expect("a refused request is kept");
    mend(&world).await;
    assert_eq!(again(&world).await.expect("it answers").examined, 0);
    let nowhere = Request {
        source: mainstay_domain::SourceId::NIL,
        ..request(&world, false)
    };
    let none = world.intake.reverify(&nowhere).await;
    assert_eq!(none.expect("the store answers"), None);
});

on_both!(
    a_refused_request_is_told_which_rule_it_fails_by,
    |db| async {
        let world = World::new(db.store()).await;
        refused(&world, "signature_wrong", many(&world, 1)).await;
        world.clock.advance_ms(2 * HOUR_MS);
        let cause = async || {
            let source = world.source;
            let page = world
                .store
                .read(SYSTEM, move |tx| {
                    Box::pin(async move { tx.receipt_refused(source, None, 10).await })
                })
                .await
                .expect("the store answers");
            let told = world
                .intake
                .diagnose(&page[0], "https://hooks.example.test")
                .await;
            told.expect("there is such a source").cause
        };
        assert_eq!(cause().await, "wrong_secret");
        mend(&world).await;
        // A change made elsewhere is seen a second later at most.
        world.clock.advance_ms(1_000);
        assert_eq!(
            cause().await,
            "genuine",
            "by the clock of the time when it came"
        );
    }
);

on_both!(
    json_of_twilios_is_verified_again_by_the_digest_that_its_url_had,
    |db| async {
        let mut world = World::new(db.store()).await;
        world.source = world.source("twilio", "12345").await;
        let body = r#"{"specversion":"1.0","type":"com.twilio.a","id":"EZ1"}"#;
        let base = "https://hooks.example.test/in/twilio";
        let url = Scheme::Twilio.url_for(base, body.as_bytes());
        let message = Message {
            id: "",
            kind: "",
            timestamp_secs: 0,
            body: body.as_bytes(),
        };
        let signed = sign_to(&Scheme::Twilio, &"12345".into(), &url, &message);
        let request = Inbound {
            headers: signed
                .expect("a usable secret")
                .into_iter()
                .map(|(name, value)| (name.to_lowercase(), value.into_bytes()))
                .collect(),
            body: Bytes::from_static(body.as_bytes()),
            remote: "203.0.113.7".into(),
            url,
            received_at: world.clock.now(),
        };
        let altered = Inbound {
            body: Bytes::from(body.replace("EZ1", "EZ2")),
            ..request.clone()
        };
        refused(&world, "signature_wrong", vec![request, altered]).await;
        let done = again(&world).await.expect("the store answers");
        assert_eq!((done.examined, done.released), (2, 1));
        assert_eq!(done.still_refused["signature_wrong"], 1);
    }
);
