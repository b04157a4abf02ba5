//! What the tests of the verbs are made with: a tenant with a source and a queue, and values with everything filled in.

use std::sync::Arc;

use bytes::Bytes;
use mainstay_domain::{
    BindingId, Category, EndpointId, EventId, JobId, ReceiptId, Scope, SecretId, SourceId, Store,
    StoreExt, StoreResult, TenantId, Timestamp,
    access::Tenant,
    intake::{
        Appended, Arrival, Binding, Blob, HandlerRef, NewEvent, NewReceipt, Source, SourceSecret,
        schemas::SchemaCheck, scheme,
    },
    jobs::{
        Attempt, AttemptStart, Cursor, DeadLetter, Endpoint, JobRef, NewJob, Outcome, QueueNumber,
        secret::EndpointSecret,
    },
    time::SeededRandom,
};
use mainstay_testkit::TestDatabase;

/// The system's scope of tests.
pub(crate) const SYSTEM: Scope = Scope::System("test");
/// When the tests begin.
pub(crate) const BEGIN: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Runs one verb, or several, in a transaction. What it needs is named first and cloned for each run.
macro_rules! run {
    ($store:expr, $scope:expr, [$($value:ident),*], |$tx:ident| $work:expr) => {{
        $(let $value = $value.clone();)*
        $store
            .transact($scope, move |$tx| {
                $(let $value = $value.clone();)*
                Box::pin(async move {
                    let _ = ($(&$value,)*);
                    $work.await
                })
            })
            .await
    }};
}
pub(crate) use run;

/// A tenant with a source and a queue.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) tenant: TenantId,
    pub(crate) source: Source,
    pub(crate) queue: QueueNumber,
    pub(crate) random: Arc<SeededRandom>,
}

impl World {
    pub(crate) async fn new(db: &TestDatabase) -> Self {
        Self::named(&db.store(), "acme", 1).await
    }

    /// A tenant of this name; what is made for it depends on the seed.
    pub(crate) async fn named(store: &Arc<dyn Store>, name: &str, seed: u64) -> Self {
        let random = Arc::new(SeededRandom::new(seed));
        let tenant = Tenant {
            id: TenantId::new(BEGIN, &*random),
            name: name.to_owned(),
            slug: name.to_owned(),
            created_at: BEGIN,
        };
        let mut source = Source {
            id: SourceId::new(BEGIN, &*random),
            number: 0,
            tenant: tenant.id,
            name: format!("{name}-stripe"),
            scheme: "stripe".into(),
            settings: "{}".into(),
            enabled: true,
            secrets: vec![SourceSecret {
                id: SecretId::new(BEGIN, &*random),
                secret: "whsec_1".into(),
                created_at: BEGIN,
                last_used_at: None,
            }],
            created_at: BEGIN,
            updated_at: BEGIN,
        };
        let queue = format!("{name}-queue");
        let made = run!(store, SYSTEM, [tenant, source, queue], |tx| async {
            tx.tenant_insert(&tenant).await?;
            let number = tx.source_insert(&source).await?;
            Ok((number, tx.queue_ensure(&queue).await?))
        });
        let queue;
        (source.number, queue) = made.expect("a tenant with a source");
        Self {
            store: Arc::clone(store),
            tenant: tenant.id,
            source,
            queue,
            random,
        }
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope::Tenant(self.tenant)
    }

    /// So many milliseconds after the beginning.
    pub(crate) fn at(&self, ms: i64) -> Timestamp {
        BEGIN.plus_ms(ms)
    }

    pub(crate) fn job_id(&self, ms: i64) -> JobId {
        JobId::new(self.at(ms), &*self.random)
    }

    pub(crate) fn job(&self, ms: i64) -> NewJob {
        NewJob {
            id: self.job_id(ms),
            tenant: self.tenant,
            queue: self.queue,
            band: 1,
            kind: "noop".into(),
            event: None,
            binding: None,
            replay: None,
            endpoint: None,
            payload: Some(Bytes::from_static(b"{}")),
            run_at: None,
            deadline: None,
            retry: None,
            order: None,
            created_at: self.at(ms),
        }
    }

    pub(crate) fn job_of(&self, event: EventId, ms: i64) -> NewJob {
        NewJob {
            event: Some(event),
            binding: Some(BindingId::new(self.at(ms), &*self.random)),
            payload: None,
            ..self.job(ms)
        }
    }

    pub(crate) fn receipt(&self, ms: i64) -> NewReceipt {
        NewReceipt {
            id: ReceiptId::new(self.at(ms), &*self.random),
            source: self.source.id,
            received_at: self.at(ms),
            remote: "192.0.2.1".into(),
            headers: blob(b"{\"a\":\"b\"}"),
            body: Some(blob(b"the whole body")),
            body_bytes: 14,
            secret: Some(self.source.secrets[0].id),
            refusal: None,
        }
    }

    /// An event with this provider's id, and one job, which has the event's id as intake makes it.
    pub(crate) fn event(&self, provider_id: &str, ms: i64) -> NewEvent {
        let id = EventId::new(self.at(ms), &*self.random);
        let job = NewJob {
            id: JobId::from_uuid(id.uuid()),
            ..self.job_of(id, ms)
        };
        NewEvent {
            id,
            tenant: self.tenant,
            source: self.source.id,
            source_number: self.source.number,
            provider_id: provider_id.to_owned(),
            kind: "invoice.paid".into(),
            occurred_at: Some(self.at(ms - 5)),
            dedup_keys: vec![scheme::dedup_key(provider_id)],
            body_hash: *b"the body",
            payload: blob(provider_id.as_bytes()),
            payload_bytes: provider_id.len() as i64,
            jobs: vec![job],
            waits_for: Vec::new(),
            check: SchemaCheck::None,
        }
    }

    /// A request that is nothing but its one event, as intake sends nearly all.
    pub(crate) fn arrival_within(&self, provider_id: &str, ms: i64) -> Arrival {
        let event = self.event(provider_id, ms);
        Arrival {
            receipt: NewReceipt {
                id: ReceiptId::from_uuid(event.id.uuid()),
                body: Some(event.payload.clone()),
                body_bytes: event.payload_bytes,
                ..self.receipt(ms)
            },
            events: vec![event],
        }
    }

    /// A request with one event, whose body is more than the payload.
    pub(crate) fn arrival(&self, provider_id: &str, ms: i64) -> Arrival {
        Arrival {
            receipt: self.receipt(ms),
            events: vec![self.event(provider_id, ms)],
        }
    }

    /// Appends with the version of now.
    pub(crate) async fn append(&self, arrivals: Vec<Arrival>) -> Vec<Vec<Appended>> {
        let version = run!(self.store, SYSTEM, [], |tx| tx.config_version());
        let version = version.expect("it answers");
        let appended = self.store.append(version, arrivals.into()).await;
        let appended: StoreResult<Vec<_>> = appended.into_iter().collect();
        appended.expect("they are appended")
    }

    /// The same, as a part of a transaction.
    pub(crate) async fn append_within(&self, arrivals: Vec<Arrival>) -> Vec<Vec<Appended>> {
        let appended = run!(self.store, SYSTEM, [arrivals], |tx| async {
            let version = tx.config_version().await?;
            tx.event_append(version, &arrivals).await
        });
        appended.expect("they are appended")
    }

    pub(crate) async fn insert(&self, jobs: Vec<NewJob>) -> i64 {
        run!(self.store, SYSTEM, [jobs], |tx| tx.job_insert(&jobs)).expect("they are inserted")
    }

    pub(crate) async fn settle(&self, attempts: Vec<Attempt>) {
        run!(self.store, SYSTEM, [attempts], |tx| tx
            .attempt_settle(&attempts, None))
        .expect("they are settled");
    }

    /// Everything that was committed after the cursor, in looks of at most `limit`; and where the last one ended.
    pub(crate) async fn discover(&self, cursor: Cursor, limit: i64) -> (Vec<JobRef>, Cursor) {
        let (mut jobs, mut cursor) = (Vec::new(), cursor);
        loop {
            let found = run!(self.store, SYSTEM, [cursor], |tx| tx
                .job_discover(&cursor, false, limit));
            let found = found.expect("a look");
            assert!(found.jobs.len() as i64 <= limit, "a look is bounded");
            jobs.extend(found.jobs);
            cursor = found.cursor;
            if !found.more {
                return (jobs, cursor);
            }
        }
    }

    pub(crate) fn endpoint(&self, name: &str) -> Endpoint {
        Endpoint {
            id: EndpointId::new(BEGIN, &*self.random),
            tenant: self.tenant,
            name: name.to_owned(),
            url: "https://example.com/hook".into(),
            queue: self.queue,
            enabled: true,
            headers: [("x-api-key".to_owned(), "hidden".to_owned())].into(),
            secrets: vec![
                EndpointSecret::new("whsec_2"),
                EndpointSecret {
                    secret: "whsec_1".into(),
                    until: Some(Timestamp::from_secs(2)),
                },
            ],
            settings: "{}".into(),
            created_at: BEGIN,
            updated_at: BEGIN,
        }
    }

    pub(crate) fn binding(&self, name: &str, handler: HandlerRef) -> Binding {
        Binding {
            id: BindingId::new(BEGIN, &*self.random),
            tenant: self.tenant,
            name: name.to_owned(),
            source: self.source.id,
            type_pattern: "*".into(),
            filter: None,
            ordering: None,
            expires_in_secs: None,
            handler,
            enabled: true,
            created_at: BEGIN,
        }
    }
}

pub(crate) fn blob(bytes: &[u8]) -> Blob {
    Blob {
        zstd: false,
        bytes: Bytes::copy_from_slice(bytes),
    }
}

/// The outcome of an attempt of this job.
pub(crate) fn attempt(job: &NewJob, number: i32, outcome: Outcome) -> Attempt {
    let failed = matches!(outcome, Outcome::Failed | Outcome::Dead);
    Attempt {
        tenant: job.tenant,
        job: job.id,
        attempt: number,
        tries: number,
        queue: job.queue,
        outcome,
        started_at: job.created_at.plus_ms(10),
        finished_at: job.created_at.plus_ms(20),
        next_at: matches!(outcome, Outcome::Failed | Outcome::Requeued)
            .then(|| job.created_at.plus_ms(1_000)),
        category: failed.then_some(Category::Timeout),
        code: failed.then(|| "timeout".to_owned()),
        error: failed.then(|| "no answer".to_owned()),
        status: failed.then_some(504),
        exchange: failed.then(|| "{}".to_owned()),
        by: None,
    }
}

pub(crate) fn start(job: &NewJob, number: i32, at: Timestamp) -> AttemptStart {
    AttemptStart {
        tenant: job.tenant,
        job: job.id,
        queue: job.queue,
        attempt: number,
        tries: number - 1,
        at,
        lease_ms: None,
    }
}

pub(crate) fn letter(job: &NewJob, number: i32, died_at: Timestamp) -> DeadLetter {
    DeadLetter {
        job: job.id,
        tenant: job.tenant,
        attempt: number,
        queue: job.queue,
        kind: job.kind.clone(),
        endpoint: job.endpoint,
        event: job.event,
        event_kind: job.event.map(|_| "invoice.paid".to_owned()),
        died_at,
        category: Category::Timeout,
        code: "timeout".into(),
        error: "no answer".into(),
        status: Some(504),
    }
}

pub(crate) fn ids(jobs: &[JobRef]) -> Vec<JobId> {
    jobs.iter().map(|job| job.job).collect()
}
