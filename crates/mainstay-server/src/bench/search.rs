//! `mainstay bench search`: everything about an object by its id, and lists by each indexed filter over any day, in a
//! database that is full.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use mainstay_domain::{
    Category, Clock, EventId, JobId, ReceiptId, Scope, SourceId, StoreExt, StoreResult, Timestamp,
    Tx,
    intake::{
        Arrival, Blob, EventFilter, EventStatus, NewEvent, NewReceipt, Source, Verdict,
        objects::{IndexCommit, Indexed, MentionFilter, ObjectId},
        payload_digest,
        scheme::dedup_key,
    },
    jobs::{Attempt, DeadLetter, NewJob, Outcome},
    store::BoxFuture,
};

use super::{
    Bench,
    line::Line,
    node::{Ground, Told},
    note,
};
use crate::{
    api, limits,
    time::{SystemClock, SystemRandom},
};

/// A search by an id, in milliseconds, 99 of 100.
const SEARCH_BAR_MS: f64 = 100.0;
/// A page of a list over a day.
const LIST_BAR_MS: f64 = 300.0;
/// Events appended, and indexed, in one transaction.
const AT_ONCE: usize = 1_000;
/// The time that the events came in.
const DAYS: i64 = 30;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Every event has a job, which is done; every so manieth died of it, and as many have none.
const DEAD_EACH: usize = 1_000;
/// Events of one customer, about.
const OF_CUSTOMER: u64 = 25;
/// What a list of the API asks for: one more than a page.
const PAGE: i64 = 51;
const KINDS: [&str; 12] = [
    "invoice.created",
    "invoice.paid",
    "invoice.finalized",
    "customer.created",
    "customer.updated",
    "customer.subscription.updated",
    "charge.succeeded",
    "charge.failed",
    "payment_intent.created",
    "payment_intent.succeeded",
    "checkout.session.completed",
    "payout.paid",
];
/// One of a thousand events is of the last, rare one.
const SOURCES: usize = 6;

/// How to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct SearchArgs {
    /// How many events the database holds
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    /// How often each search and each list is measured
    #[arg(long, default_value_t = 200)]
    runs: usize,
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    /// One below this.
    fn below(&mut self, most: u64) -> u64 {
        // xorshift64*: good enough to spread events over customers.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % most.max(1)
    }
}

/// The database, and what it is asked about.
struct Full {
    ground: Ground,
    sources: Vec<Source>,
    events: usize,
    begin: Timestamp,
}

/// Measures, tells people, and answers with the line.
pub(crate) async fn run(bench: &Bench, args: &SearchArgs) -> anyhow::Result<Line> {
    ensure!(
        args.events > 0 && args.runs > 0,
        "there is something to measure"
    );
    let full = Full::prepare(bench, args.events).await?;
    let mut dice = Dice(0x5eed);
    // What is read once is in memory, as it is in a server that runs.
    full.search(&mut dice, args.runs / 10 + 1).await?;
    let search = full.search(&mut dice, args.runs).await?;
    note(&format!(
        "{:<34} p50 {:>8.2} ms   p99 {:>8.2} ms (bar {SEARCH_BAR_MS} ms)",
        "timeline by an id", search.p50, search.p99
    ));
    let mut slowest: f64 = 0.0;
    for list in List::ALL {
        let (took, early) = full.list(&mut dice, list, args.runs).await?;
        let early = match early {
            0 => String::new(),
            some => format!(", {some} of {} to be gone on with", args.runs),
        };
        note(&format!(
            "{:<34} p50 {:>8.2} ms   p99 {:>8.2} ms (bar {LIST_BAR_MS} ms{early})",
            list.name(),
            took.p50,
            took.p99
        ));
        slowest = slowest.max(took.p99);
    }
    let line = Line {
        bench: "search",
        database: bench.database(),
        value: search.p99,
        unit: "ms",
        reference: Some(slowest),
        ratio: None,
        p50_ms: Some(search.p50),
        p99_ms: Some(search.p99),
        peak_rss_mib: None,
        bar: Some(SEARCH_BAR_MS),
        holds: Some(search.p99 < SEARCH_BAR_MS && slowest < LIST_BAR_MS),
    };
    note(&format!(
        "search on {} among {} events: {:.2} ms by an id, {slowest:.2} ms for the slowest list over a day\n{}",
        bench.database(),
        args.events,
        search.p99,
        line.word()
    ));
    Ok(line)
}

/// How the jobs of these events ended, the first being of this number.
fn ended(first: usize, arrivals: &[Arrival]) -> (Vec<Attempt>, Vec<DeadLetter>) {
    let (mut attempts, mut letters) = (Vec::with_capacity(arrivals.len()), Vec::new());
    let events = arrivals.iter().flat_map(|one| &one.events);
    for (place, event) in events.enumerate() {
        let dies = (first + place).is_multiple_of(DEAD_EACH);
        for job in &event.jobs {
            let error = || "no answer".to_owned();
            attempts.push(Attempt {
                tenant: job.tenant,
                job: job.id,
                attempt: 1,
                tries: 1,
                queue: job.queue,
                outcome: if dies {
                    Outcome::Dead
                } else {
                    Outcome::Succeeded
                },
                started_at: job.created_at.plus_ms(1),
                finished_at: job.created_at.plus_ms(2),
                next_at: None,
                category: dies.then_some(Category::Timeout),
                code: dies.then(|| "timeout".to_owned()),
                error: dies.then(error),
                status: None,
                exchange: None,
                by: None,
            });
            if dies {
                letters.push(DeadLetter {
                    job: job.id,
                    tenant: job.tenant,
                    attempt: 1,
                    queue: job.queue,
                    kind: job.kind.clone(),
                    endpoint: None,
                    event: job.event,
                    event_kind: Some(event.kind.clone()),
                    died_at: job.created_at.plus_ms(2),
                    category: Category::Timeout,
                    code: "timeout".to_owned(),
                    error: error(),
                    status: None,
                });
            }
        }
    }
    (attempts, letters)
}

/// Median and 99th percentile, in milliseconds.
struct Took {
    p50: f64,
    p99: f64,
}

impl Took {
    fn of(mut times: Vec<Duration>) -> anyhow::Result<Self> {
        times.sort_unstable();
        let at = |share: usize| {
            let index = (times.len() * share / 100).min(times.len().saturating_sub(1));
            times.get(index).map(|time| time.as_secs_f64() * 1_000.0)
        };
        let (p50, p99) = at(50).zip(at(99)).context("at least one run")?;
        Ok(Self { p50, p99 })
    }
}

/// A list with one of the filters that there is an index for.
#[derive(Clone, Copy)]
enum List {
    All,
    Status(EventStatus),
    SourceStatus(EventStatus),
    RareSourceStatus(EventStatus),
    KindStatus(EventStatus),
    ObjectStatus(EventStatus),
    ObjectKind,
    Source,
    RareSource,
    Kind,
    Prefix,
    SourceKind,
    SourcePrefix,
    RareSourceKind,
    Object,
    Violates,
    ProviderId,
    RequestsRare,
}

impl List {
    const ALL: [Self; 25] = [
        Self::All,
        Self::Source,
        Self::RareSource,
        Self::Kind,
        Self::Prefix,
        Self::SourceKind,
        Self::SourcePrefix,
        Self::RareSourceKind,
        Self::Object,
        Self::ObjectKind,
        Self::Violates,
        Self::Status(EventStatus::Error),
        Self::Status(EventStatus::Success),
        Self::Status(EventStatus::Unhandled),
        // Nothing has these.
        Self::Status(EventStatus::Processing),
        Self::Status(EventStatus::Pending),
        Self::SourceStatus(EventStatus::Error),
        Self::SourceStatus(EventStatus::Pending),
        Self::RareSourceStatus(EventStatus::Error),
        Self::RareSourceStatus(EventStatus::Pending),
        Self::KindStatus(EventStatus::Error),
        Self::KindStatus(EventStatus::Pending),
        Self::ObjectStatus(EventStatus::Error),
        Self::ProviderId,
        Self::RequestsRare,
    ];

    fn name(self) -> String {
        let (what, status) = match self {
            Self::All => ("", None),
            Self::Status(status) => ("", Some(status)),
            Self::Source => (" of a source", None),
            Self::SourceStatus(status) => (" of a source", Some(status)),
            Self::RareSource => (" of a rare source", None),
            Self::RareSourceStatus(status) => (" of a rare source", Some(status)),
            Self::Kind => (" of a type", None),
            Self::KindStatus(status) => (" of a type", Some(status)),
            Self::Prefix => (" of types that begin alike", None),
            Self::SourceKind => (" of a source and a type", None),
            Self::SourcePrefix => (" of a source, types alike", None),
            Self::RareSourceKind => (" of a rare source and a type", None),
            Self::Object => (" of an object", None),
            Self::ObjectStatus(status) => (" of an object", Some(status)),
            Self::ObjectKind => (" of an object and a type", None),
            Self::Violates => (" of violations", None),
            Self::ProviderId => (", the provider's id", None),
            Self::RequestsRare => return "requests of a rare source".to_owned(),
        };
        let status = status.map_or("", EventStatus::as_str);
        let space = if status.is_empty() { "" } else { ", " };
        format!("a day{what}{space}{status}")
    }
}

impl Full {
    async fn prepare(bench: &Bench, events: usize) -> anyhow::Result<Self> {
        let ground = Ground::prepare(bench).await?;
        let begin = SystemClock.now().minus_ms(DAYS * DAY_MS);
        let mut sources = Vec::with_capacity(SOURCES);
        for index in 0..SOURCES {
            let mut source = Source {
                id: SourceId::new(begin, &SystemRandom),
                number: 0,
                tenant: ground.tenant(),
                name: format!("bench-{index}"),
                scheme: "stripe".to_owned(),
                settings: "{}".to_owned(),
                enabled: true,
                secrets: Vec::new(),
                created_at: begin,
                updated_at: begin,
            };
            let row = source.clone();
            source.number = ground
                .store
                .transact(Scope::System("bench"), move |tx| {
                    let row = row.clone();
                    Box::pin(async move { tx.source_insert(&row).await })
                })
                .await?;
            sources.push(source);
        }
        let full = Self {
            ground,
            sources,
            events,
            begin,
        };
        full.fill().await?;
        Ok(full)
    }

    fn at(&self, index: usize) -> Timestamp {
        let step = DAYS * DAY_MS * 1_000 / self.events as i64;
        Timestamp::from_micros(self.begin.micros() + index as i64 * step)
    }

    fn customer(&self, dice: &mut Dice) -> String {
        let customers = self.events as u64 / OF_CUSTOMER + 1;
        format!("cus_{:012x}", dice.below(customers))
    }

    /// Appends the events as intake does, and indexes them as the indexer does.
    async fn fill(&self) -> anyhow::Result<()> {
        let store = &self.ground.store;
        let (version, mut state) = store
            .read(Scope::System("bench"), |tx| {
                Box::pin(async move { Ok((tx.config_version().await?, tx.object_state().await?)) })
            })
            .await?;
        let mut dice = Dice(0xf111);
        let mut told = Told::new("events", self.events);
        for done in (0..self.events).step_by(AT_ONCE) {
            let some = AT_ONCE.min(self.events - done);
            let made = (done..done + some).map(|index| self.event(&mut dice, index));
            let (arrivals, events): (Vec<Arrival>, Vec<Indexed>) = made.unzip();
            state.until = self.at(done + some).plus_ms(1);
            state.settled = state.until;
            let commit = IndexCommit {
                state: state.clone(),
                events,
                noted: Vec::new(),
                source: None,
            };
            let work = Arc::new((arrivals, commit));
            let appended = store.transact(Scope::System("bench"), move |tx| {
                let work = Arc::clone(&work);
                Box::pin(async move {
                    let (arrivals, commit) = &*work;
                    let appended = tx.event_append(version, arrivals).await?;
                    let (attempts, letters) = ended(done, arrivals);
                    tx.attempt_settle(&attempts, None).await?;
                    for letter in &letters {
                        tx.dead_letter_insert(letter).await?;
                    }
                    tx.object_commit(commit).await?;
                    Ok(appended.len())
                })
            });
            ensure!(appended.await? == some, "every event is appended");
            state.revision += 1;
            told.at(done);
        }
        Ok(())
    }

    fn event(&self, dice: &mut Dice, index: usize) -> (Arrival, Indexed) {
        let now = self.at(index);
        let source = match dice.below(1_000) {
            0 => &self.sources[SOURCES - 1],
            other => &self.sources[other as usize % (SOURCES - 1)],
        };
        let kind = KINDS[dice.below(KINDS.len() as u64) as usize];
        let (object, customer) = (format!("obj_{index:012x}"), self.customer(dice));
        let provider_id = format!("evt_{index:012x}");
        let body = Bytes::from(format!(
            r#"{{"id":"{provider_id}","object":"event","type":"{kind}","created":{},"data":{{"object":{{"id":"{object}","customer":"{customer}","amount":4200,"currency":"eur","livemode":true}}}}}}"#,
            now.secs()
        ));
        let blob = |bytes: &Bytes| Blob {
            zstd: false,
            bytes: bytes.clone(),
        };
        let id = EventId::new(now, &SystemRandom);
        let tenant = self.ground.tenant();
        let job = || NewJob {
            id: JobId::from_uuid(id.uuid()),
            event: Some(id),
            ..self.ground.job(now)
        };
        let event = NewEvent {
            id,
            tenant,
            source: source.id,
            source_number: source.number,
            dedup_keys: vec![dedup_key(&provider_id)],
            provider_id,
            kind: kind.to_owned(),
            occurred_at: Some(now),
            body_hash: payload_digest(&body),
            payload: blob(&body),
            payload_bytes: body.len() as i64,
            jobs: (index % DEAD_EACH != 1).then(job).into_iter().collect(),
            waits_for: Vec::new(),
            check: Default::default(),
        };
        let named = |name: &str, id: String| ObjectId {
            name: name.to_owned(),
            id,
        };
        let indexed = Indexed {
            tenant,
            id,
            source: source.id,
            kind: kind.to_owned(),
            objects: vec![named("object", object), named("customer", customer)],
            before: None,
        };
        let arrival = Arrival {
            receipt: NewReceipt {
                id: ReceiptId::from_uuid(id.uuid()),
                source: source.id,
                received_at: now,
                remote: "127.0.0.1".to_owned(),
                headers: blob(&Bytes::from_static(b"{}")),
                body: None,
                body_bytes: event.payload_bytes,
                secret: None,
                refusal: None,
            },
            events: vec![event],
        };
        (arrival, indexed)
    }

    fn scope(&self) -> Scope {
        Scope::Tenant(self.ground.tenant())
    }

    async fn timed<F>(&self, times: &mut Vec<Duration>, work: F) -> anyhow::Result<usize>
    where
        F: for<'t> Fn(&'t mut dyn Tx) -> BoxFuture<'t, StoreResult<usize>> + Send + Sync + 'static,
    {
        let begin = Instant::now();
        let found = self.ground.store.read(self.scope(), work).await?;
        times.push(begin.elapsed());
        Ok(found)
    }

    /// The whole timeline of a customer, as the API answers it.
    async fn search(&self, dice: &mut Dice, runs: usize) -> anyhow::Result<Took> {
        let (mut times, mut found) = (Vec::with_capacity(runs), 0);
        for _ in 0..runs {
            let object = match dice.below(4) {
                0 => format!("obj_{:012x}", dice.below(self.events as u64)),
                _ => self.customer(dice),
            };
            let asked = MentionFilter {
                object,
                ..MentionFilter::default()
            };
            found += self
                .timed(&mut times, move |tx| {
                    let asked = asked.clone();
                    Box::pin(async move { api::timeline::events_told(tx, asked).await })
                })
                .await?;
        }
        ensure!(found >= runs / 2, "searches find what there is");
        Took::of(times)
    }

    /// How long pages took, and how many ended before they were full, to go on where they ended.
    async fn list(
        &self,
        dice: &mut Dice,
        list: List,
        runs: usize,
    ) -> anyhow::Result<(Took, usize)> {
        let (mut times, mut early) = (Vec::with_capacity(runs), 0);
        for _ in 0..runs {
            let from = self
                .begin
                .plus_ms(dice.below((DAYS - 1) as u64 * DAY_MS as u64) as i64);
            let some = Some(self.sources[dice.below(SOURCES as u64 - 1) as usize].id);
            let rare = Some(self.sources[SOURCES - 1].id);
            let kind = Some(KINDS[dice.below(KINDS.len() as u64) as usize].to_owned());
            let alike = Some("customer.*".to_owned());
            let day = EventFilter {
                from: Some(from),
                to: Some(from.plus_ms(DAY_MS)),
                ..EventFilter::default()
            };
            let (source, kind) = match list {
                List::Source | List::SourceStatus(_) => (some, None),
                List::RareSource | List::RareSourceStatus(_) => (rare, None),
                List::Kind | List::KindStatus(_) | List::ObjectKind => (None, kind),
                List::Prefix => (None, alike),
                List::SourceKind => (some, kind),
                List::SourcePrefix => (some, alike),
                List::RareSourceKind => (rare, kind),
                _ => (None, None),
            };
            let object = matches!(
                list,
                List::Object | List::ObjectStatus(_) | List::ObjectKind
            );
            let filter = EventFilter {
                source,
                kind,
                object: object.then(|| self.customer(dice)),
                violates: matches!(list, List::Violates),
                status: match list {
                    List::Status(status)
                    | List::SourceStatus(status)
                    | List::RareSourceStatus(status)
                    | List::KindStatus(status)
                    | List::ObjectStatus(status) => Some(status),
                    _ => None,
                },
                provider_id: matches!(list, List::ProviderId)
                    .then(|| format!("evt_{:012x}", dice.below(self.events as u64))),
                ..day
            };
            if matches!(list, List::RequestsRare) {
                let before = (from, ReceiptId::new(from, &SystemRandom));
                self.timed(&mut times, move |tx| {
                    Box::pin(async move {
                        let accepted = Some(Verdict::Accepted);
                        let found = tx.receipt_list(rare, accepted, Some(before), PAGE).await?;
                        Ok(found.len())
                    })
                })
                .await?;
                continue;
            }
            early += self
                .timed(&mut times, move |tx| {
                    let filter = filter.clone();
                    Box::pin(async move {
                        let most = limits::EVENTS_LOOKED;
                        let found = tx.event_look(&filter, PAGE, most).await?;
                        let full = found.events.len() as i64 >= PAGE;
                        Ok(usize::from(found.looked_to.is_some() && !full))
                    })
                })
                .await?;
        }
        Ok((Took::of(times)?, early))
    }
}
