//! Our own events reach whoever listens.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mainstay::{Mainstay, Parts, clean::Retention, jobs::NOOP, own};
use mainstay_domain::{
    BindingId, Clock, EndpointId, Scope, Store, StoreExt,
    intake::{Binding, EventFilter, HandlerRef, OWN_SOURCE, quarantine::Bounds},
    jobs::{
        Endpoint,
        http_out::{HttpOut, OutAnswer, OutError, OutRequest},
        secret::EndpointSecret,
    },
};
use mainstay_testkit::on_both;
use tokio::sync::Semaphore;

use crate::world::World;

const SYSTEM: Scope = Scope::System("tests");

/// An application that says of everything that it is wrong, once it may answer.
struct Refusing {
    asked: Semaphore,
    may_answer: Semaphore,
}

#[async_trait::async_trait]
impl HttpOut for Refusing {
    async fn post(&self, _: OutRequest) -> Result<OutAnswer, OutError> {
        self.asked.add_permits(1);
        self.may_answer
            .acquire()
            .await
            .expect("it stays open")
            .forget();
        Ok(OutAnswer {
            status: 400,
            headers: Vec::new(),
            excerpt: Bytes::new(),
        })
    }
}

async fn endpoint(world: &World) -> EndpointId {
    let now = world.clock.now();
    let id = EndpointId::new(now, &*world.random);
    let made = world.store.transact(SYSTEM, {
        let tenant = world.tenant;
        move |tx| {
            Box::pin(async move {
                let queue = tx.queue_ensure("endpoint:app").await?;
                tx.endpoint_insert(&Endpoint {
                    id,
                    tenant,
                    name: "app".into(),
                    url: "https://example.com/hook".into(),
                    queue,
                    enabled: true,
                    secrets: vec![EndpointSecret::new(
                        "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0",
                    )],
                    headers: Default::default(),
                    settings: "{}".into(),
                    created_at: now,
                    updated_at: now,
                })
                .await
            })
        }
    });
    made.await.expect("an endpoint is inserted");
    id
}

/// As another node does it: this one is not told.
async fn bind(world: &World, source: &'static str, pattern: &'static str, handler: HandlerRef) {
    let now = world.clock.now();
    let (id, tenant) = (BindingId::new(now, &*world.random), world.tenant);
    let bound = world.store.transact(SYSTEM, move |tx| {
        let handler = handler.clone();
        Box::pin(async move {
            let sources = tx.source_list().await?;
            let found = sources.iter().find(|one| one.name == source);
            tx.binding_insert(&Binding {
                id,
                tenant,
                name: pattern.into(),
                source: found.expect("the source is there").id,
                type_pattern: pattern.into(),
                filter: None,
                ordering: None,
                expires_in_secs: None,
                handler,
                enabled: true,
                created_at: now,
            })
            .await
        })
    });
    bound.await.expect("a binding is inserted");
}

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The jobs of the own events of this type, once there is one.
async fn jobs_of(store: &dyn Store, node: &Mainstay, kind: &str) -> i64 {
    let mut live = node.samples.subscribe();
    loop {
        let filter = EventFilter {
            kind: Some(kind.into()),
            ..EventFilter::default()
        };
        let listed = store.read(SYSTEM, move |tx| {
            let filter = filter.clone();
            Box::pin(async move { tx.event_list(&filter, 10).await })
        });
        let events = listed.await.expect("it answers");
        if let [event] = events.as_slice() {
            return event.jobs.total;
        }
        assert_eq!(events.len(), 0, "there is one");
        // Every second, also when nothing happened.
        live.recv().await.expect("the node runs");
    }
}

on_both!(
    a_binding_that_is_made_while_a_job_dies_gets_the_event,
    |db| async {
        let world = World::new(db.store()).await;
        let app = endpoint(&world).await;
        bind(&world, "stripe", "*", HandlerRef::Endpoint(app)).await;
        let http = Arc::new(Refusing {
            asked: Semaphore::new(0),
            may_answer: Semaphore::new(0),
        });
        let node = Mainstay::start(Parts {
            store: Arc::clone(&world.store),
            clock: Arc::clone(&world.clock) as Arc<dyn Clock>,
            random: Arc::clone(&world.random) as Arc<_>,
            http_out: Arc::clone(&http) as Arc<_>,
            certificates: Arc::clone(&world.certificates) as Arc<_>,
            retention: Retention::default(),
            quarantine: Bounds::default(),
            spool: None,
            failures_per_minute: mainstay::intake::FAILURES_PER_MINUTE,
        })
        .await
        .expect("it starts");
        let accepted = node
            .intake
            .accept("stripe", world.event("evt_1", "invoice.paid"))
            .await;
        assert_eq!(accepted.status, 200, "{accepted:?}");
        http.asked.acquire().await.expect("it stays open").forget();
        bind(
            &world,
            OWN_SOURCE,
            "dead_letter.*",
            HandlerRef::Builtin(NOOP.into()),
        )
        .await;
        http.may_answer.add_permits(1);
        let told = jobs_of(&*world.store, &node, own::DEAD_LETTER);
        let told = tokio::time::timeout(PATIENCE, told).await;
        assert_eq!(told, Ok(1), "the binding got the event");
        node.stop().await;
    }
);
