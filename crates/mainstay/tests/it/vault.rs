//! Encryption at rest: nothing that is sealed stands anywhere in the database, all of it is read as it came, keys change
//! under the feet of intake, and what was erased is gone.

use std::sync::Arc;

use mainstay::{
    intake::{
        Beside, decompress,
        spool::{Spool, SpoolOptions},
    },
    vault::{Rotations, SETTLE_MS},
};
use mainstay_domain::{
    Clock, EndpointId, EventId, JobId, LinkId, Scope, Store, StoreError, StoreExt, TenantId,
    intake::{EventFilter, Receipt, Verdict, links::SourceLink},
    jobs::{Endpoint, NewJob, secret::EndpointSecret},
    vault::{DataKeyState, MasterKey, Mode, Phase, Rotation, Vault},
};
use mainstay_testkit::{FailingStore, TestDatabase, on_both};
use serde_json::json;

use crate::world::{SECRET, START, World, insert_tenant};

const SYSTEM: Scope = Scope::System("tests");
/// What must stand nowhere.
const CANARY: &str = "canary-0451-tweets";

fn keys(seeds: &[u8]) -> Arc<Vault> {
    let keys = seeds.iter().map(|seed| MasterKey::new(&[*seed; 32]));
    let keys: Result<Vec<MasterKey>, _> = keys.collect();
    Arc::new(Vault::new(keys.expect("32 bytes are a key")))
}

fn canary_body(id: &str) -> String {
    json!({ "id": id, "object": "event", "type": "invoice.paid", "created": START.secs(), "note": CANARY })
        .to_string()
}

/// How many places of the database, its files and all, a text stands in.
async fn found(db: &TestDatabase, text: &str) -> usize {
    let Some(file) = db.sqlite_file() else {
        let scratch = db.scratch().expect("a database on a server");
        let client = scratch.client().await;
        let tables = "SELECT table_name::text FROM information_schema.tables
            WHERE table_schema = 'mainstay' AND table_type = 'BASE TABLE'";
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut count = 0;
        for table in client.query(tables, &[]).await.expect("it answers") {
            let table: String = table.get(0);
            let looked = format!(
                "SELECT count(*) FROM \"{table}\" AS t WHERE t::text LIKE '%{text}%' OR t::text LIKE '%{hex}%'"
            );
            let row = client.query_one(&looked, &[]).await.expect("it answers");
            count += row.get::<_, i64>(0) as usize;
        }
        return count;
    };
    let mut count = 0;
    for ending in ["", "-wal"] {
        let mut path = file.clone().into_os_string();
        path.push(ending);
        let bytes = std::fs::read(path).unwrap_or_default();
        count += occurrences(&bytes, text);
    }
    count
}

fn occurrences(bytes: &[u8], text: &str) -> usize {
    bytes
        .windows(text.len())
        .filter(|window| *window == text.as_bytes())
        .count()
}

/// How many bodies and sets of headers do not begin as what is sealed does: text that is compressed would not be found.
async fn bare(db: &TestDatabase, world: &World) -> i64 {
    let mut count = 0;
    for (table, column) in [
        ("event", "payload"),
        ("event", "headers"),
        ("event_conflict", "payload"),
        ("receipt", "headers"),
        ("receipt", "body"),
    ] {
        let begin = match db.sqlite_file() {
            Some(_) => format!("hex(substr({column}, 1, 1))"),
            None => format!("encode(substr({column}, 1, 1), 'hex')"),
        };
        let bare =
            format!("SELECT count(*) FROM {table} WHERE {column} IS NOT NULL AND {begin} <> '01'");
        count += world.count(&bare).await;
    }
    count
}

/// The provider's: not those of our own, which tell of a conflict.
async fn events(world: &World) -> Vec<EventId> {
    let provider = EventFilter {
        source: Some(world.source),
        ..EventFilter::default()
    };
    let listed = world.store.read(SYSTEM, move |tx| {
        let provider = provider.clone();
        Box::pin(async move { tx.event_list(&provider, 1_000).await })
    });
    let listed = listed.await.expect("they are listed");
    listed.into_iter().map(|event| event.id).collect()
}

async fn payload(world: &World, event: EventId) -> Result<String, StoreError> {
    let read = world.store.read(SYSTEM, move |tx| {
        Box::pin(async move { tx.event_payload(event).await })
    });
    let kept = read.await?.expect("it is there");
    let bytes = decompress(&kept)?;
    Ok(String::from_utf8(bytes.to_vec()).expect("text"))
}

async fn receipts(world: &World, verdict: Option<Verdict>) -> Vec<Receipt> {
    let listed = world.store.read(SYSTEM, move |tx| {
        Box::pin(async move { tx.receipt_list(None, verdict, None, 1_000).await })
    });
    listed.await.expect("they are listed")
}

/// What can be sealed, in every column: a genuine request, a forged one, a conflict, an endpoint, a job.
async fn fill(world: &World) {
    let mut genuine = world.signed(&canary_body("evt_1"), SECRET);
    genuine.headers.push(("x-note".into(), CANARY.into()));
    assert_eq!(world.accept(genuine).await.status, 200);
    let other = canary_body("evt_1").replace("invoice.paid", "invoice.voided");
    assert_eq!(world.accept(world.signed(&other, SECRET)).await.status, 200);
    let forged = world.signed(&canary_body("evt_forged"), "whsec_of_somebody_else");
    assert_eq!(world.accept(forged).await.status, 401);
    world
        .source("standard_webhooks", &format!("whsec_{CANARY}"))
        .await;
    let (now, tenant) = (world.clock.now(), world.tenant);
    let endpoint = EndpointId::new(now, &*world.random);
    let job = JobId::new(now, &*world.random);
    let made = world.store.transact(SYSTEM, move |tx| {
        Box::pin(async move {
            let queue = tx.queue_ensure("noop").await?;
            tx.endpoint_insert(&Endpoint {
                id: endpoint,
                tenant,
                name: "ours".into(),
                url: "https://ours.example/in".into(),
                queue,
                enabled: true,
                secrets: vec![EndpointSecret::new(CANARY.to_owned())],
                headers: [("x-key".to_owned(), CANARY.to_owned())].into(),
                settings: "{}".into(),
                created_at: now,
                updated_at: now,
            })
            .await?;
            tx.job_insert(&[NewJob {
                id: job,
                tenant,
                queue,
                band: 1,
                kind: "noop".into(),
                event: None,
                binding: None,
                replay: None,
                endpoint: None,
                payload: Some(format!("\"{CANARY}\"").into()),
                run_at: None,
                deadline: None,
                retry: None,
                order: None,
                created_at: now,
            }])
            .await
            .map(drop)
        })
    });
    made.await.expect("they are inserted");
    // What was refused is written behind the answer.
    while receipts(world, Some(Verdict::Refused)).await.is_empty() {
        tokio::task::yield_now().await;
    }
    let read = world.store.read(SYSTEM, move |tx| {
        Box::pin(async move {
            let endpoint = tx.endpoint_get(endpoint).await?.expect("it is there");
            let job = tx.job_get(job).await?.expect("it is there");
            Ok((endpoint, job))
        })
    });
    let (endpoint, job) = read.await.expect("they are read");
    assert_eq!(endpoint.secrets[0].secret, CANARY);
    assert_eq!(endpoint.headers["x-key"], CANARY);
    assert_eq!(job.payload.expect("it has one"), format!("\"{CANARY}\""));
}

on_both!(
    what_is_sealed_stands_nowhere_and_is_read_as_it_came,
    |db| async {
        let store = db.sealed(keys(&[1])).await;
        let world = World::new(Arc::clone(&store)).await;
        fill(&world).await;
        assert_eq!(found(db, CANARY).await, 0, "in the database");
        assert_eq!(found(db, SECRET).await, 0, "the source's secret");
        assert_eq!(bare(db, &world).await, 0, "bodies and headers");
        let events = events(&world).await;
        assert_eq!(
            payload(&world, events[0]).await.expect("it is read"),
            canary_body("evt_1")
        );
        for receipt in receipts(&world, None).await {
            let headers = decompress(&receipt.headers).expect("they are read");
            assert!(serde_json::from_slice::<serde_json::Value>(&headers).is_ok());
        }
        let event = events[0];
        let conflicts = store.read(SYSTEM, move |tx| {
            Box::pin(async move { tx.event_conflicts(event).await })
        });
        let other = conflicts.await.expect("they are read").remove(0).payload;
        let other = decompress(&other.expect("it is kept")).expect("it is read");
        assert!(
            other
                .windows(CANARY.len())
                .any(|part| part == CANARY.as_bytes())
        );
        store.close().await;
    }
);

on_both!(without_a_master_key_everything_stays_as_it_is, |db| async {
    let world = World::new(db.store()).await;
    fill(&world).await;
    // So the test above looks where it would be.
    assert!(found(db, CANARY).await > 2);
    assert!(bare(db, &world).await > 4);
    assert_eq!(world.count("SELECT count(*) FROM data_key").await, 0);
});

on_both!(what_is_spooled_is_sealed_and_stored, |db| async {
    let store = db.sealed(keys(&[1])).await;
    let failing = Arc::new(FailingStore::new(Arc::clone(&store)));
    let mut world = World::new(Arc::clone(&failing) as Arc<dyn Store>).await;
    let folder = db.folder().join("spool");
    let options = SpoolOptions::new(folder.clone(), 1 << 24);
    let spool = Spool::open(options, Arc::clone(&world.random) as _).expect("it opens");
    let beside = Beside {
        spool: Some(Arc::new(spool)),
        ..Beside::default()
    };
    world.intake = world.intake_beside(&world.store, beside).await;
    failing.set_down(true);
    let request = world.signed(&canary_body("evt_1"), SECRET);
    assert_eq!(world.accept(request).await.status, 200);
    for entry in std::fs::read_dir(&folder).expect("the folder is there") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("it is read");
        assert_eq!(occurrences(&bytes, CANARY), 0);
    }
    failing.set_down(false);
    while world.intake.spool_drain().await.is_err() {
        tokio::task::yield_now().await;
    }
    let events = events(&world).await;
    assert_eq!(
        payload(&world, events[0]).await.expect("it is read"),
        canary_body("evt_1")
    );
    store.close().await;
});

async fn begin(world: &World, mode: Mode) {
    let at = world.clock.now();
    let begun = world.store.transact(SYSTEM, move |tx| {
        Box::pin(async move {
            let begun = Rotations::begin(tx, true, mode, "anna", at).await;
            Ok(begun.is_ok())
        })
    });
    assert!(begun.await.expect("it is written"), "it begins");
}

async fn rotation(world: &World) -> Rotation {
    let state = world
        .store
        .read(SYSTEM, |tx| Box::pin(async move { tx.vault_state().await }));
    let state = state.await.expect("it is read");
    state.rotation.expect("there is one")
}

/// Takes steps to the end; time passes where it waits.
async fn finish(world: &World) -> Rotation {
    let rotations = Rotations::new(Arc::clone(&world.store), Arc::clone(&world.clock) as _);
    loop {
        while rotations.step().await.expect("a step is taken").is_some() {}
        let now = rotation(world).await;
        if now.phase == Phase::Done {
            return now;
        }
        world.clock.advance_ms(SETTLE_MS);
    }
}

on_both!(what_was_there_before_is_sealed_by_a_rotation, |db| async {
    let world = World::new(db.store()).await;
    fill(&world).await;
    let store = db.sealed(keys(&[1])).await;
    let world = World {
        store: Arc::clone(&store),
        intake: world.another_intake(&store).await,
        ..world
    };
    // It is read as it is, sealed or not.
    let events = events(&world).await;
    assert_eq!(
        payload(&world, events[0]).await.expect("it is read"),
        canary_body("evt_1")
    );
    begin(&world, Mode::Seal).await;
    let done = finish(&world).await;
    assert_eq!(done.unreadable, 0);
    assert!(done.sealed > 5, "{done:?}");
    if db.scratch().is_some() {
        assert_eq!(found(db, CANARY).await, 0);
    }
    assert_eq!(
        payload(&world, events[0]).await.expect("it is read"),
        canary_body("evt_1")
    );
    begin(&world, Mode::Seal).await;
    assert_eq!(finish(&world).await.sealed, 0, "there was nothing left");
    store.close().await;
});

on_both!(
    data_keys_change_under_intake_and_through_a_crash,
    |db| async {
        let store = db.sealed(keys(&[1])).await;
        let failing = Arc::new(FailingStore::new(Arc::clone(&store)));
        let world = World::new(Arc::clone(&failing) as Arc<dyn Store>).await;
        fill(&world).await;
        let mut bodies = vec!["evt_1".to_owned()];
        begin(&world, Mode::Data).await;
        let rotations = Rotations::new(Arc::clone(&world.store), Arc::clone(&world.clock) as _);
        for number in 0..40 {
            // A webhook, and a step of a node that may die in it.
            let id = format!("evt_during_{number}");
            let request = world.signed(&canary_body(&id), SECRET);
            assert_eq!(world.accept(request).await.status, 200);
            bodies.push(id);
            failing.set_down(number % 3 == 1);
            let stepped = rotations.step().await;
            assert!(stepped.is_ok() || number % 3 == 1);
            failing.set_down(false);
            world.clock.advance_ms(10_000);
        }
        let done = finish(&world).await;
        assert_eq!(done.unreadable, 0, "{done:?}");
        assert!(done.removed > 0, "{done:?}");
        let mut kept = Vec::new();
        for event in events(&world).await {
            kept.push(payload(&world, event).await.expect("it is read"));
        }
        kept.sort();
        let mut came: Vec<String> = bodies.iter().map(|id| canary_body(id)).collect();
        came.sort();
        assert_eq!(kept, came);
        let rows = world.store.read(SYSTEM, |tx| {
            Box::pin(async move { tx.data_key_list(None, 0, 100).await })
        });
        for row in rows.await.expect("they are listed") {
            let of_tenant = row.tenant != TenantId::NIL;
            assert!(
                !of_tenant || row.state() != DataKeyState::Retired,
                "{row:?}"
            );
        }
        assert_eq!(found(db, SECRET).await, 0);
        store.close().await;
    }
);

on_both!(
    a_new_master_key_takes_over_and_the_old_one_can_go,
    |db| async {
        let store = db.sealed(keys(&[1])).await;
        let world = World::new(Arc::clone(&store)).await;
        fill(&world).await;
        store.close().await;
        let store = db.sealed(keys(&[2, 1])).await;
        let world = World {
            store: Arc::clone(&store),
            ..world
        };
        begin(&world, Mode::Master).await;
        let done = finish(&world).await;
        assert!(done.wrapped >= 2 && done.sealed == 0, "{done:?}");
        store.close().await;
        let store = db.sealed(keys(&[2])).await;
        let world = World {
            store: Arc::clone(&store),
            ..world
        };
        let events = events(&world).await;
        assert_eq!(
            payload(&world, events[0]).await.expect("it is read"),
            canary_body("evt_1")
        );
        store.close().await;
        // The old one alone is worth nothing any more.
        let vault = keys(&[1]);
        let store = db.sealed(Arc::clone(&vault)).await;
        let world = World {
            store: Arc::clone(&store),
            ..world
        };
        assert!(payload(&world, events[0]).await.is_err());
        let masters = store.read(SYSTEM, |tx| {
            Box::pin(async move { tx.data_key_masters().await })
        });
        let masters = masters.await.expect("they are listed");
        let missing = vault.missing(masters.iter().map(|one| one.master));
        assert_eq!(missing, keys(&[2]).masters());
        store.close().await;
    }
);

async fn erase(world: &World, tenant: TenantId) {
    let at = world.clock.now();
    let erased = world.store.transact(SYSTEM, move |tx| {
        Box::pin(async move { tx.data_key_destroy(tenant, at).await })
    });
    assert!(erased.await.expect("it is written") > 0);
    world.intake.refresh().await.expect("it looks again");
}

on_both!(what_was_erased_is_gone_and_still_known, |db| async {
    let store = db.sealed(keys(&[1])).await;
    let world = World::new(Arc::clone(&store)).await;
    // Of a platform's source: its secret is not the tenant's.
    let customer = TenantId::new(START, &*world.random);
    insert_tenant(&*store, customer, "globex").await;
    let source = world.source;
    let settings = json!({ "tenant": { "find": [{ "pointer": "/account" }] } }).to_string();
    let ruled = store.transact(SYSTEM, move |tx| {
        let settings = settings.clone();
        Box::pin(async move {
            let mut source = tx.source_get(source).await?.expect("it is there");
            source.settings = settings;
            tx.source_update(&source).await
        })
    });
    assert!(ruled.await.expect("it is written"));
    let body = |id: &str, account: &str| {
        json!({ "id": id, "object": "event", "type": "invoice.paid", "created": START.secs(), "account": account,
            "note": CANARY })
        .to_string()
    };
    // It waits first, and is the tenant's once a link says so.
    let request = world.signed(&body("evt_1", "acct_1"), SECRET);
    assert_eq!(world.accept(request).await.status, 200);
    assert_eq!(world.count("SELECT count(*) FROM event_waiting").await, 1);
    let link = SourceLink {
        id: LinkId::new(START, &*world.random),
        source,
        value: "acct_1".into(),
        tenant: customer,
        created_at: START,
    };
    let linked = store.transact(SYSTEM, move |tx| {
        let link = link.clone();
        Box::pin(async move { tx.link_insert(&[link]).await })
    });
    linked.await.expect("it is linked");
    world.intake.refresh().await.expect("it looks again");
    world
        .intake
        .assign_due(|| true)
        .await
        .expect("it is assigned");
    let request = world.signed(&body("evt_2", "acct_1"), SECRET);
    assert_eq!(world.accept(request).await.status, 200);
    let before = events(&world).await;
    assert_eq!(before.len(), 2);
    for event in &before {
        assert!(
            payload(&world, *event)
                .await
                .expect("it is read")
                .contains(CANARY)
        );
    }
    erase(&world, customer).await;
    for event in &before {
        let gone = payload(&world, *event).await;
        assert!(matches!(gone, Err(StoreError::Erased)), "{gone:?}");
    }
    for receipt in receipts(&world, Some(Verdict::Accepted)).await {
        assert!(
            receipt.headers.is_erased(),
            "the requests of both are gone as well"
        );
    }
    // What came is known for ever, and what comes from now on is read.
    world.clock.advance_ms(1_000);
    let again = world
        .accept(world.signed(&body("evt_2", "acct_1"), SECRET))
        .await;
    assert_eq!(again.status, 200);
    assert_eq!(events(&world).await.len(), 2, "it is a duplicate");
    let request = world.signed(&body("evt_3", "acct_1"), SECRET);
    assert_eq!(world.accept(request).await.status, 200);
    let newest = events(&world).await[0];
    assert!(
        payload(&world, newest)
            .await
            .expect("it is read")
            .contains(CANARY)
    );
    store.close().await;
});
