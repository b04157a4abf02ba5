//! What most tests need: a tenant, a Stripe source, bindings, and a provider that signs.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use mainstay::{
    billing,
    intake::{Answer, Beside, Inbound, Intake, expect},
    watch::Samples,
};
use mainstay_domain::{
    BindingId, Clock, Scope, SecretId, SourceId, Store, StoreExt, StoreResult, TenantId, Timestamp,
    access::Tenant,
    intake::{
        Binding, HandlerRef, OWN_SOURCE, Source, SourceSecret,
        certificates::{CertificateError, Certificates},
        scheme::{Message, Scheme, Secret, sign},
    },
    time::SeededRandom,
};
use mainstay_testkit::TestClock;

pub(crate) const SECRET: &str = "whsec_of_the_tests";
pub(crate) const START: Timestamp = Timestamp::from_secs(1_900_000_000);
const SYSTEM: Scope = Scope::System("tests");

pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) random: Arc<SeededRandom>,
    pub(crate) tenant: TenantId,
    pub(crate) source: SourceId,
    pub(crate) intake: Arc<Intake>,
    pub(crate) certificates: Arc<FakeCertificates>,
    pub(crate) samples: Arc<Samples>,
}

/// Certificates as a test wants them; at first there are none.
pub(crate) struct FakeCertificates {
    pub(crate) answer: Mutex<Result<Bytes, CertificateError>>,
    pub(crate) asked: AtomicUsize,
}

#[async_trait]
impl Certificates for FakeCertificates {
    async fn public_key(&self, _: &str, _: &'static str) -> Result<Bytes, CertificateError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.answer.lock().expect("no panic").clone()
    }
}

impl World {
    /// A tenant with a source `stripe` and nothing bound to it.
    pub(crate) async fn new(store: Arc<dyn Store>) -> Self {
        let clock = Arc::new(TestClock::at(START));
        let random = Arc::new(SeededRandom::new(7));
        let tenant = TenantId::new(START, &*random);
        insert_tenant(&*store, tenant, "acme").await;
        let own = source(
            SourceId::new(START, &*random),
            tenant,
            OWN_SOURCE,
            OWN_SOURCE,
            None,
        );
        insert_source(&*store, own).await;
        let id = SourceId::new(START, &*random);
        let secret = SourceSecret {
            id: SecretId::new(START, &*random),
            secret: SECRET.into(),
            created_at: START,
            last_used_at: None,
        };
        insert_source(
            &*store,
            source(id, tenant, "stripe", "stripe", Some(secret)),
        )
        .await;
        let certificates = Arc::new(FakeCertificates {
            answer: Mutex::new(Err(CertificateError::Unavailable("none".into()))),
            asked: AtomicUsize::new(0),
        });
        let beside = Beside::default();
        let samples = Arc::new(Samples::default());
        let intake = intake(&store, &clock, &random, &certificates, &samples, beside).await;
        let intake = intake.expect("intake starts");
        Self {
            store,
            clock,
            random,
            tenant,
            source: id,
            intake,
            certificates,
            samples,
        }
    }

    /// A source of another scheme, with this secret.
    pub(crate) async fn source(&self, scheme: &str, secret: &str) -> SourceId {
        let now = self.clock.now();
        let secret = SourceSecret {
            id: SecretId::new(now, &*self.random),
            secret: secret.into(),
            created_at: now,
            last_used_at: None,
        };
        let id = SourceId::new(now, &*self.random);
        let source = source(id, self.tenant, scheme, scheme, Some(secret));
        insert_source(&*self.store, source).await;
        self.intake.refresh().await.expect("it looks again");
        id
    }

    /// Binds types of the source to the handler that records billing events.
    pub(crate) async fn bind(&self, name: &str, type_pattern: &str) -> BindingId {
        self.bind_filtered(name, type_pattern, None).await
    }

    /// The same, for events that say what the filter asks.
    pub(crate) async fn bind_filtered(
        &self,
        name: &str,
        type_pattern: &str,
        filter: Option<&str>,
    ) -> BindingId {
        let binding = Binding {
            id: BindingId::new(self.clock.now(), &*self.random),
            tenant: self.tenant,
            name: name.into(),
            source: self.source,
            type_pattern: type_pattern.into(),
            filter: filter.map(ToOwned::to_owned),
            ordering: None,
            expires_in_secs: None,
            handler: HandlerRef::Builtin(billing::RECORD.into()),
            enabled: true,
            created_at: self.clock.now(),
        };
        let id = binding.id;
        self.store
            .transact(SYSTEM, move |tx| {
                let binding = binding.clone();
                Box::pin(async move { tx.binding_insert(&binding).await })
            })
            .await
            .expect("a binding is inserted");
        id
    }

    /// Another node's intake on the same database.
    pub(crate) async fn another_intake(&self, store: &Arc<dyn Store>) -> Arc<Intake> {
        self.intake_beside(store, Beside::default()).await
    }

    /// The same, with what it is to keep beside what it commits.
    pub(crate) async fn intake_beside(
        &self,
        store: &Arc<dyn Store>,
        beside: Beside,
    ) -> Arc<Intake> {
        self.intake_try(store, beside).await.expect("intake starts")
    }

    /// The same, where it may not start.
    pub(crate) async fn intake_try(
        &self,
        store: &Arc<dyn Store>,
        beside: Beside,
    ) -> StoreResult<Arc<Intake>> {
        let (clock, random) = (&self.clock, &self.random);
        let (certificates, samples) = (&self.certificates, &self.samples);
        intake(store, clock, random, certificates, samples, beside).await
    }

    /// A Stripe event, signed now.
    pub(crate) fn event(&self, id: &str, kind: &str) -> Inbound {
        self.signed(&stripe_body(id, kind, 1_200), SECRET)
    }

    /// A body, signed now with this secret.
    pub(crate) fn signed(&self, body: &str, secret: &str) -> Inbound {
        let now = self.clock.now();
        let message = Message {
            id: "",
            kind: "",
            timestamp_secs: now.secs(),
            body: body.as_bytes(),
        };
        let headers =
            sign(&Scheme::Stripe, &Secret::from(secret), &message).expect("a usable secret");
        Inbound {
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.to_lowercase(), value.into_bytes()))
                .collect(),
            body: Bytes::from(body.to_owned()),
            remote: "203.0.113.7".into(),
            url: String::new(),
            received_at: now,
        }
    }

    pub(crate) async fn accept(&self, inbound: Inbound) -> Answer {
        self.intake.accept("stripe", inbound).await
    }

    /// When the source's secret matched last, as far as it is written down.
    pub(crate) async fn last_used(&self) -> Option<Timestamp> {
        let id = self.source;
        let read = self.store.read(SYSTEM, move |tx| {
            Box::pin(async move { tx.source_get(id).await })
        });
        let source = read.await.expect("it is read").expect("it is there");
        source.secrets[0].last_used_at
    }

    /// Waits until the store's rows answer this number: for what goes on after an answer.
    pub(crate) async fn until(&self, statement: &str, wanted: i64) {
        for _ in 0..10_000 {
            if self.count(statement).await == wanted {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{statement} never answered {wanted}");
    }

    /// One number that the store's rows answer.
    pub(crate) async fn count(&self, statement: &str) -> i64 {
        let table = self
            .store
            .query(SYSTEM, statement.into(), 1)
            .await
            .expect("a read-only statement runs");
        table.rows[0][0].as_i64().expect("a number")
    }
}

pub(crate) fn stripe_body(id: &str, kind: &str, amount: i64) -> String {
    serde_json::json!({
        "id": id,
        "object": "event",
        "type": kind,
        "created": START.secs(),
        "data": { "object": { "object": "invoice", "amount_paid": amount, "currency": "eur" } },
    })
    .to_string()
}

fn source(
    id: SourceId,
    tenant: TenantId,
    name: &str,
    scheme: &str,
    secret: Option<SourceSecret>,
) -> Source {
    Source {
        id,
        number: 0,
        tenant,
        name: name.into(),
        scheme: scheme.into(),
        settings: "{}".into(),
        enabled: true,
        secrets: secret.into_iter().collect(),
        created_at: START,
        updated_at: START,
    }
}

pub(crate) async fn insert_tenant(store: &dyn Store, id: TenantId, slug: &str) {
    let tenant = Tenant {
        id,
        name: slug.into(),
        slug: slug.into(),
        created_at: START,
    };
    store
        .transact(SYSTEM, move |tx| {
            let tenant = tenant.clone();
            Box::pin(async move { tx.tenant_insert(&tenant).await })
        })
        .await
        .expect("a tenant is inserted");
}

async fn insert_source(store: &dyn Store, source: Source) {
    store
        .transact(SYSTEM, move |tx| {
            let source = source.clone();
            Box::pin(async move { tx.source_insert(&source).await })
        })
        .await
        .expect("a source is inserted");
}

async fn intake(
    store: &Arc<dyn Store>,
    clock: &Arc<TestClock>,
    random: &Arc<SeededRandom>,
    certificates: &Arc<FakeCertificates>,
    samples: &Arc<Samples>,
    beside: Beside,
) -> StoreResult<Arc<Intake>> {
    let (queue, observed) = store
        .transact(SYSTEM, |tx| {
            Box::pin(async move {
                let queue = tx.queue_ensure(billing::QUEUE).await?;
                Ok((queue, tx.queue_ensure(expect::QUEUE).await?))
            })
        })
        .await?;
    let builtin = HashMap::from([
        (billing::RECORD.to_owned(), queue),
        (expect::OBSERVE.to_owned(), observed),
    ]);
    let (store, clock, random) = (Arc::clone(store), Arc::clone(clock), Arc::clone(random));
    let (samples, certificates) = (Arc::clone(samples), Arc::clone(certificates));
    Intake::start(store, clock, random, builtin, samples, certificates, beside).await
}
