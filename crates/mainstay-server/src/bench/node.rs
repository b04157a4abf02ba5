//! A node inside this process, with a database of its own, for what cannot be measured through HTTP.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use mainstay::{
    Mainstay, Parts,
    clean::Retention,
    jobs::{NOOP, NOOP_QUEUE},
};
use mainstay_domain::{
    BindingId, Clock, EventId, JobId, Random, ReceiptId, Scope, SourceId, Store, StoreExt,
    TenantId, Timestamp,
    access::Tenant,
    intake::{
        Arrival, Blob, NewEvent, NewReceipt,
        certificates::{CertificateError, Certificates},
        payload_digest,
        quarantine::Bounds,
    },
    jobs::{
        Attempt, NewJob, QueueNumber,
        http_out::{HttpOut, OutAnswer, OutError, OutRequest},
    },
};
use mainstay_store::{
    DataDirectory, PostgresOptions, PostgresStore, PostgresUrl, SqliteOptions, SqliteStore,
    migrate::{Migrator, Mode, Place},
};
use tokio::time::sleep;

use super::{Bench, note};
use crate::time::{SystemClock, SystemRandom};

/// Jobs inserted in one transaction.
const INSERT_AT_ONCE: usize = 1_000;
/// The lane that the jobs wait in.
const BAND: i16 = 1;
/// The most times that are asked for at once.
const TIMES_MAX: usize = 10_000;
const STEP: Duration = Duration::from_millis(1);

/// Says how far a long filling has come.
pub(super) struct Told {
    what: &'static str,
    count: usize,
    last: Instant,
}

impl Told {
    pub(super) fn new(what: &'static str, count: usize) -> Self {
        Self {
            what,
            count,
            last: Instant::now(),
        }
    }

    pub(super) fn at(&mut self, done: usize) {
        if self.last.elapsed() > Duration::from_secs(5) {
            self.last = Instant::now();
            note(&format!("inserted {done} of {} {}", self.count, self.what));
        }
    }
}

/// A database with one tenant, whose jobs do nothing.
pub(super) struct Ground {
    pub(super) store: Arc<dyn Store>,
    tenant: TenantId,
    queue: QueueNumber,
    inserted: AtomicI64,
    folder: tempfile::TempDir,
}

/// Nothing leaves the process in these benches.
struct NoWayOut;

#[async_trait::async_trait]
impl HttpOut for NoWayOut {
    async fn post(&self, request: OutRequest) -> Result<OutAnswer, OutError> {
        Err(OutError::Url(request.url))
    }
}

#[async_trait::async_trait]
impl Certificates for NoWayOut {
    async fn public_key(&self, url: &str, _: &'static str) -> Result<Bytes, CertificateError> {
        Err(CertificateError::Unavailable(url.to_owned()))
    }
}

async fn open(bench: &Bench, folder: &Path) -> anyhow::Result<Arc<dyn Store>> {
    let now = SystemClock.now();
    let Some(url) = bench.place.url() else {
        let directory = Arc::new(DataDirectory::lock(folder)?);
        Migrator::embedded()
            .up(Place::Sqlite(&directory), Mode::Apply, now)
            .await?;
        return Ok(Arc::new(SqliteStore::open_locked(
            directory,
            SqliteOptions::default(),
        )?));
    };
    let url: PostgresUrl = url.parse().context("the URL of the database")?;
    Migrator::embedded()
        .up(Place::Postgres(&url), Mode::Apply, now)
        .await?;
    Ok(Arc::new(
        PostgresStore::connect(PostgresOptions::new(url)).await?,
    ))
}

impl Ground {
    /// A migrated database with a tenant and the queue of jobs that do nothing.
    pub(super) async fn prepare(bench: &Bench) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = open(bench, folder.path()).await?;
        let now = SystemClock.now();
        let tenant = TenantId::new(now, &SystemRandom);
        let row = Tenant {
            id: tenant,
            name: "Bench".into(),
            slug: "bench".into(),
            created_at: now,
        };
        let queue = store
            .transact(Scope::System("bench"), move |tx| {
                let row = row.clone();
                Box::pin(async move {
                    tx.tenant_insert(&row).await?;
                    tx.queue_ensure(NOOP_QUEUE).await
                })
            })
            .await?;
        Ok(Self {
            store,
            tenant,
            queue,
            inserted: AtomicI64::new(0),
            folder,
        })
    }

    /// Its tenant.
    pub(super) const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// A job that does nothing.
    pub(super) fn job(&self, now: Timestamp) -> NewJob {
        NewJob {
            id: JobId::new(now, &SystemRandom),
            tenant: self.tenant,
            queue: self.queue,
            band: BAND,
            kind: NOOP.to_owned(),
            event: None,
            binding: None,
            replay: None,
            endpoint: None,
            payload: None,
            run_at: None,
            deadline: None,
            retry: None,
            order: None,
            created_at: now,
        }
    }

    /// Inserts jobs, in one transaction.
    pub(super) async fn insert(&self, jobs: Vec<NewJob>) -> anyhow::Result<()> {
        let inserted = self
            .store
            .transact(Scope::System("bench"), move |tx| {
                let jobs = jobs.clone();
                Box::pin(async move { tx.job_insert(&jobs).await })
            })
            .await?;
        ensure!(inserted > 0, "no job was inserted");
        self.inserted.fetch_add(inserted, Ordering::Relaxed);
        Ok(())
    }

    /// Inserts this many jobs, many at a time; how many in a second.
    pub(super) async fn fill(&self, count: usize) -> anyhow::Result<f64> {
        let begin = Instant::now();
        let mut told = Told::new("jobs", count);
        for done in (0..count).step_by(INSERT_AT_ONCE) {
            let some = INSERT_AT_ONCE.min(count - done);
            self.insert((0..some).map(|_| self.job(SystemClock.now())).collect())
                .await?;
            told.at(done);
        }
        Ok(count as f64 / begin.elapsed().as_secs_f64())
    }

    /// Appends this many events, each with its receipt and a job, as intake does.
    pub(super) async fn fill_events(&self, count: usize) -> anyhow::Result<()> {
        let version = self
            .store
            .read(Scope::System("bench"), |tx| {
                Box::pin(async move { tx.config_version().await })
            })
            .await?;
        let mut told = Told::new("events", count);
        for done in (0..count).step_by(INSERT_AT_ONCE) {
            let some = INSERT_AT_ONCE.min(count - done);
            let arrivals: Arc<[Arrival]> = (0..some).map(|_| self.arrival()).collect();
            let appended = self.store.transact(Scope::System("bench"), move |tx| {
                let arrivals = Arc::clone(&arrivals);
                Box::pin(async move { tx.event_append(version, &arrivals).await })
            });
            ensure!(appended.await?.len() == some, "every event is appended");
            told.at(done);
        }
        Ok(())
    }

    /// A webhook of a small body, with one event that brings one job.
    fn arrival(&self) -> Arrival {
        let now = SystemClock.now();
        let source = SourceId::new(now, &SystemRandom);
        let id = EventId::new(now, &SystemRandom);
        let body = Bytes::from(format!(r#"{{"id":"{id}","type":"invoice.paid"}}"#));
        let blob = |bytes: &Bytes| Blob {
            zstd: false,
            bytes: bytes.clone(),
        };
        let mut key = [0; 16];
        SystemRandom.fill(&mut key);
        let event = NewEvent {
            id,
            tenant: self.tenant,
            source,
            source_number: 1,
            provider_id: id.to_string(),
            kind: "invoice.paid".to_owned(),
            occurred_at: Some(now),
            dedup_keys: vec![key],
            body_hash: payload_digest(&body),
            payload: blob(&body),
            payload_bytes: body.len() as i64,
            jobs: vec![NewJob {
                event: Some(id),
                binding: Some(BindingId::new(now, &SystemRandom)),
                ..self.job(now)
            }],
            waits_for: Vec::new(),
            check: Default::default(),
        };
        Arrival {
            receipt: NewReceipt {
                id: ReceiptId::from_uuid(id.uuid()),
                source,
                received_at: now,
                remote: "127.0.0.1".to_owned(),
                headers: blob(&Bytes::from_static(b"{}")),
                body: Some(blob(&body)),
                body_bytes: body.len() as i64,
                secret: None,
                refusal: None,
            },
            events: vec![event],
        }
    }

    /// Starts the engine.
    pub(super) async fn start(&self) -> anyhow::Result<Mainstay> {
        self.start_with(Arc::new(NoWayOut)).await
    }

    /// Starts the engine, with this as the way out.
    pub(super) async fn start_with(&self, http_out: Arc<dyn HttpOut>) -> anyhow::Result<Mainstay> {
        let parts = Parts {
            store: Arc::clone(&self.store),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            http_out,
            certificates: Arc::new(NoWayOut),
            retention: Retention::default(),
            quarantine: Bounds::default(),
            spool: None,
            failures_per_minute: mainstay::intake::FAILURES_PER_MINUTE,
        };
        Ok(Mainstay::start(parts).await?)
    }

    /// Gives the database back: its folder, which goes when it is dropped.
    pub(super) async fn close(self) -> tempfile::TempDir {
        self.store.close().await;
        self.folder
    }

    /// How many jobs were inserted so far.
    pub(super) fn inserted(&self) -> i64 {
        self.inserted.load(Ordering::Relaxed)
    }

    /// Waits until the engine runs.
    pub(super) async fn running(&self, node: &Mainstay) -> anyhow::Result<()> {
        let begin = Instant::now();
        while !node.engine.snapshot().running {
            ensure!(
                begin.elapsed() < Duration::from_secs(60),
                "the engine does not start"
            );
            sleep(STEP).await;
        }
        Ok(())
    }

    /// How many jobs that do nothing are done, by the engine's own count.
    pub(super) fn done(&self, node: &Mainstay) -> i64 {
        node.engine
            .snapshot()
            .queue(self.queue)
            .map_or(0, |queue| queue.tally.done)
    }

    /// Waits until the engine has found every job there is, or has done this many.
    pub(super) async fn found(&self, node: &Mainstay, done: i64) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            let snapshot = node.engine.snapshot();
            let tally = snapshot.queue(self.queue).map(|queue| queue.tally);
            if tally.is_some_and(|tally| tally.created >= self.inserted() || tally.done >= done) {
                return Ok(());
            }
            ensure!(
                begin.elapsed() < Duration::from_secs(120),
                "the engine has found {tally:?} of {} jobs",
                self.inserted()
            );
            sleep(STEP).await;
        }
    }

    /// Waits for the first attempt of a job. Asks the store: the engine's picture is renewed only now and then.
    pub(super) async fn attempt(&self, job: JobId) -> anyhow::Result<Attempt> {
        let begin = Instant::now();
        loop {
            let read = self.store.read(Scope::System("bench"), move |tx| {
                Box::pin(async move { tx.job_attempts(job).await })
            });
            if let Some(attempt) = read.await?.0.into_iter().next() {
                return Ok(attempt);
            }
            ensure!(
                begin.elapsed() < Duration::from_secs(60),
                "a job was not carried out for a minute"
            );
            sleep(STEP).await;
        }
    }

    /// Of those that were carried out since then: when each so manieth was done, in microseconds.
    pub(super) async fn done_at_each(
        &self,
        since: Timestamp,
        each: usize,
    ) -> anyhow::Result<Vec<i64>> {
        let statement = format!(
            "SELECT o.finished_at FROM (
                SELECT finished_at, row_number() OVER (ORDER BY finished_at) AS number
                FROM attempt WHERE finished_at >= {}
            ) AS o WHERE o.number % {each} = 0 ORDER BY o.number",
            since.micros()
        );
        let found = self
            .store
            .query(Scope::System("bench"), statement, TIMES_MAX);
        let found = found.await?;
        let times = found.rows.iter().map(|row| row.first()?.as_i64());
        times.collect::<Option<_>>().context("a time for each")
    }

    /// Waits until this many are done.
    pub(super) async fn done_reaches(&self, node: &Mainstay, wanted: i64) -> anyhow::Result<()> {
        let (mut last, mut moved) = (self.done(node), Instant::now());
        loop {
            let done = self.done(node);
            if done >= wanted {
                return Ok(());
            }
            if done != last {
                (last, moved) = (done, Instant::now());
            }
            ensure!(
                moved.elapsed() < Duration::from_secs(60),
                "nothing was done for a minute, at {done} of {wanted}"
            );
            sleep(STEP).await;
        }
    }
}
