//! What the hot path costs, on both databases: `cargo run --release -p mainstay-store --example hot [EVENTS]`.
//! PostgreSQL needs `MAINSTAY_TEST_POSTGRES` (see `tools/postgres`).

use std::{
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use mainstay_domain::{
    BindingId, EventId, JobId, Random, ReceiptId, Scope, SourceId, Store, StoreExt, StoreResult,
    TenantId, Timestamp,
    access::Tenant,
    intake::{Arrival, Blob, NewEvent, NewReceipt, Source},
    jobs::{Attempt, Cursor, JobRef, Lane, NewJob, Outcome, QueueNumber, TallyRecord},
    time::SeededRandom,
};
use mainstay_testkit::TestDatabase;

const SYSTEM: Scope = Scope::System("bench");
const BATCH: usize = 200;
const SETTLED: usize = 500;
/// 2 KiB of a provider's JSON, compressed.
const PAYLOAD_BYTES: usize = 900;

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::from_micros(since.map_or(0, |since| since.as_micros() as i64))
}

#[derive(Clone)]
struct World {
    store: Arc<dyn Store>,
    tenant: TenantId,
    source: SourceId,
    number: i32,
    queue: QueueNumber,
    version: i64,
}

impl World {
    async fn new(store: Arc<dyn Store>, random: &SeededRandom) -> StoreResult<Self> {
        let tenant = Tenant {
            id: TenantId::new(now(), random),
            name: "a".into(),
            slug: "a".into(),
            created_at: now(),
        };
        let source = Source {
            id: SourceId::new(now(), random),
            number: 0,
            tenant: tenant.id,
            name: "stripe".into(),
            scheme: "stripe".into(),
            settings: "{}".into(),
            enabled: true,
            secrets: Vec::new(),
            created_at: now(),
            updated_at: now(),
        };
        let (id, source_id) = (tenant.id, source.id);
        let made = store.transact(SYSTEM, move |tx| {
            let (tenant, source) = (tenant.clone(), source.clone());
            Box::pin(async move {
                tx.tenant_insert(&tenant).await?;
                let number = tx.source_insert(&source).await?;
                Ok((
                    number,
                    tx.queue_ensure("q").await?,
                    tx.config_version().await?,
                ))
            })
        });
        let (number, queue, version) = made.await?;
        Ok(Self {
            store,
            tenant: id,
            source: source_id,
            number,
            queue,
            version,
        })
    }

    fn job(&self, at: Timestamp, event: Option<EventId>, random: &SeededRandom) -> NewJob {
        NewJob {
            id: JobId::new(at, random),
            tenant: self.tenant,
            queue: self.queue,
            band: 1,
            kind: "endpoint.deliver".into(),
            event,
            binding: event.map(|_| BindingId::from_uuid(uuid::Uuid::from_u128(7))),
            replay: None,
            endpoint: None,
            payload: None,
            run_at: None,
            deadline: None,
            retry: None,
            order: None,
            created_at: at,
        }
    }

    fn arrival(&self, random: &SeededRandom) -> Arrival {
        let at = now();
        let mut bytes = vec![0; PAYLOAD_BYTES + 300 + 16];
        random.fill(&mut bytes);
        let bytes = Bytes::from(bytes);
        let id = EventId::new(at, random);
        let mut key = [0; 16];
        key.copy_from_slice(&bytes[PAYLOAD_BYTES + 300..]);
        let payload = Blob {
            zstd: true,
            bytes: bytes.slice(..PAYLOAD_BYTES),
        };
        Arrival {
            receipt: NewReceipt {
                id: ReceiptId::from_uuid(id.uuid()),
                source: self.source,
                received_at: at,
                remote: "192.0.2.1".into(),
                headers: Blob {
                    zstd: true,
                    bytes: bytes.slice(PAYLOAD_BYTES..PAYLOAD_BYTES + 300),
                },
                body: Some(payload.clone()),
                body_bytes: 2_048,
                secret: None,
                refusal: None,
            },
            events: vec![NewEvent {
                id,
                tenant: self.tenant,
                source: self.source,
                source_number: self.number,
                provider_id: format!("evt_{id}"),
                kind: "invoice.paid".into(),
                occurred_at: Some(at),
                dedup_keys: vec![key],
                body_hash: [1; 8],
                payload,
                payload_bytes: 2_048,
                jobs: vec![self.job(at, Some(id), random)],
                waits_for: Vec::new(),
                check: mainstay_domain::intake::schemas::SchemaCheck::None,
            }],
        }
    }

    async fn append(&self, batches: usize, seed: u64) -> StoreResult<Duration> {
        let random = SeededRandom::new(seed);
        let mut spent = Duration::ZERO;
        for _ in 0..batches {
            let batch: Arc<[Arrival]> = (0..BATCH).map(|_| self.arrival(&random)).collect();
            let version = self.version;
            let begun = Instant::now();
            self.store
                .transact(SYSTEM, move |tx| {
                    let batch = Arc::clone(&batch);
                    Box::pin(async move { tx.event_append(version, &batch).await.map(|_| ()) })
                })
                .await?;
            spent += begun.elapsed();
        }
        Ok(spent)
    }

    async fn discover(&self, limit: i64) -> StoreResult<(Vec<JobRef>, Cursor)> {
        let (mut all, mut cursor) = (Vec::new(), Cursor::default());
        loop {
            let from = cursor.clone();
            let found = self.store.transact(SYSTEM, move |tx| {
                let from = from.clone();
                Box::pin(async move { tx.job_discover(&from, false, limit).await })
            });
            let found = found.await?;
            all.extend(found.jobs);
            cursor = found.cursor;
            if !found.more {
                return Ok((all, cursor));
            }
        }
    }

    async fn refill(&self, seen: &Cursor, limit: i64) -> StoreResult<usize> {
        let lane = Lane {
            queue: self.queue,
            band: 1,
            tenant: self.tenant,
        };
        let (mut after, mut count) = (JobId::NIL, 0);
        loop {
            let seen = seen.clone();
            let jobs = self.store.transact(SYSTEM, move |tx| {
                let seen = seen.clone();
                Box::pin(async move { tx.lane_refill(lane, after, &seen, limit, true).await })
            });
            let jobs = jobs.await?.jobs;
            let Some(last) = jobs.last() else {
                return Ok(count);
            };
            after = last.job;
            count += jobs.len();
        }
    }

    async fn bodies(&self, jobs: &[JobRef]) -> StoreResult<()> {
        for chunk in jobs.chunks(SETTLED) {
            let wanted: Arc<[_]> = chunk.iter().map(|job| (job.tenant, job.job)).collect();
            self.store
                .transact(SYSTEM, move |tx| {
                    let wanted = Arc::clone(&wanted);
                    Box::pin(async move { tx.job_bodies(&wanted, true).await.map(|_| ()) })
                })
                .await?;
        }
        Ok(())
    }

    async fn settle(&self, jobs: &[JobRef]) -> StoreResult<()> {
        for (sequence, chunk) in jobs.chunks(SETTLED).enumerate() {
            let at = now();
            let attempts: Arc<[Attempt]> = chunk
                .iter()
                .map(|job| Attempt {
                    tenant: job.tenant,
                    job: job.job,
                    attempt: 1,
                    tries: 1,
                    queue: job.queue,
                    outcome: Outcome::Succeeded,
                    started_at: at,
                    finished_at: at,
                    next_at: None,
                    category: None,
                    code: None,
                    error: None,
                    status: None,
                    exchange: None,
                    by: None,
                })
                .collect();
            let tally = TallyRecord {
                sequence: sequence as i64 + 1,
                body: "{\"1\":{\"done\":500}}".into(),
            };
            self.store
                .transact(SYSTEM, move |tx| {
                    let (attempts, tally) = (Arc::clone(&attempts), tally.clone());
                    Box::pin(async move { tx.attempt_settle(&attempts, Some(&tally)).await })
                })
                .await?;
        }
        Ok(())
    }

    async fn insert(&self, count: usize, random: &SeededRandom) -> StoreResult<()> {
        for _ in 0..count.div_ceil(1_000) {
            let jobs: Arc<[NewJob]> = (0..1_000).map(|_| self.job(now(), None, random)).collect();
            self.store
                .transact(SYSTEM, move |tx| {
                    let jobs = Arc::clone(&jobs);
                    Box::pin(async move { tx.job_insert(&jobs).await.map(|_| ()) })
                })
                .await?;
        }
        Ok(())
    }
}

/// The server's position in its write-ahead log.
async fn wal(db: &TestDatabase) -> i64 {
    let Some(scratch) = db.scratch() else {
        return 0;
    };
    let client = scratch.client().await;
    let row = client
        .query_one("SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint", &[])
        .await;
    row.map_or(0, |row| row.get(0))
}

struct Meter<'a> {
    db: &'a TestDatabase,
    kind: &'static str,
    wal: i64,
    begun: Instant,
}

impl<'a> Meter<'a> {
    async fn new(db: &'a TestDatabase, kind: &'static str) -> Self {
        Self {
            db,
            kind,
            wal: wal(db).await,
            begun: Instant::now(),
        }
    }

    async fn lap(&mut self, what: &str, count: usize) {
        let spent = self.begun.elapsed();
        let wal = wal(self.db).await;
        let rate = count as f64 / spent.as_secs_f64();
        let bytes = (wal - self.wal) as f64 / count as f64;
        let line = format!(
            "{:<9} {what:<34} {rate:>9.0}/s {bytes:>7.0} bytes of WAL each\n",
            self.kind
        );
        // Nobody reads on: then nobody misses it.
        let _ = std::io::stdout().write_all(line.as_bytes());
        (self.wal, self.begun) = (wal, Instant::now());
    }
}

async fn measure(db: &TestDatabase, kind: &'static str, events: usize) -> StoreResult<()> {
    let random = SeededRandom::new(u64::from(std::process::id()));
    let world = World::new(db.store(), &random).await?;
    let batches = events / BATCH;
    let mut meter = Meter::new(db, kind).await;
    world.append(batches / 2, 1).await?;
    meter
        .lap("events appended, one committer", batches / 2 * BATCH)
        .await;
    let (one, two) = tokio::join!(world.append(batches / 2, 2), world.append(batches / 2, 3));
    one?;
    two?;
    meter
        .lap("events appended, two committers", batches / 2 * BATCH * 2)
        .await;
    let (jobs, cursor) = world.discover(1_000).await?;
    meter.lap("jobs discovered", jobs.len()).await;
    let refilled = world.refill(&cursor, 1_000).await?;
    meter.lap("jobs refilled", refilled).await;
    world.bodies(&jobs).await?;
    meter.lap("bodies of events' jobs loaded", jobs.len()).await;
    world.settle(&jobs).await?;
    meter.lap("outcomes settled", jobs.len()).await;
    world.insert(events, &random).await?;
    meter.lap("jobs inserted", events).await;
    Ok(())
}

fn main() {
    let events = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(60_000);
    mainstay_testkit::run(async {
        let db = TestDatabase::sqlite().await;
        measure(&db, "sqlite", events)
            .await
            .expect("SQLite is measured");
        db.finish().await;
        let db = TestDatabase::postgres().await;
        measure(&db, "postgres", events)
            .await
            .expect("PostgreSQL is measured");
        db.finish().await;
    });
}
