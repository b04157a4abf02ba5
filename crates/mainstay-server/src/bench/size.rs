//! `mainstay bench size`: bytes on disk for a webhook of about 2 KiB, with everything that is kept of it: the body, the
//! request, the record of deduplication, its job, its place in the index of objects.

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use mainstay::{Mainstay, intake::Inbound, jobs::NOOP};
use mainstay_domain::{
    BindingId, Clock, Scope, SourceId, StoreExt,
    intake::{Binding, HandlerRef, Source, payload_digest},
};
use tokio::time::sleep;

use super::{Bench, line::Line, node::Ground, note};
use crate::time::{SystemClock, SystemRandom};

/// In bytes.
const BAR: f64 = 1_200.0;
/// Requests that wait for a commit at once.
const AT_ONCE: usize = 256;
/// What the corpus has on average, about: the bar is for bodies of this size.
const BODY_BYTES: f64 = 2_048.0;
/// How far from it the corpus may be.
const BODY_BYTES_OFF: f64 = 64.0;
const SOURCE: &str = "bench";
/// Bodies of every provider come in by this one, told by headers.
const SETTINGS: &str = r#"{"allow":["127.0.0.1/32"],"event":{"id":{"header":"x-event-id"},"type":{"header":"x-event-type"}}}"#;
/// How long the index may be behind.
const INDEXED_WITHIN: Duration = Duration::from_secs(300);
const STEP: Duration = Duration::from_millis(50);
/// Tables and indexes, at the most.
const PLACES_MAX: usize = 1_000;

/// How to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct SizeArgs {
    /// How many events are taken in
    #[arg(long, default_value_t = 50_000)]
    events: usize,
    /// The folder with the bodies
    #[arg(long, default_value = "bench/corpus")]
    corpus: std::path::PathBuf,
}

/// Measures, tells people, and answers with the line.
pub(crate) async fn run(bench: &Bench, args: &SizeArgs) -> anyhow::Result<Line> {
    ensure!(args.events > 0, "there is something to measure");
    let corpus = corpus(&args.corpus)?;
    let mean = corpus.iter().map(Bytes::len).sum::<usize>() as f64 / corpus.len() as f64;
    ensure!(
        (mean - BODY_BYTES).abs() <= BODY_BYTES_OFF,
        "the corpus has {mean:.0} bytes a body, and the bar is for {BODY_BYTES:.0}"
    );
    let ground = Ground::prepare(bench).await?;
    let source = source_create(&ground).await?;
    let node = ground.start().await?;
    ground.running(&node).await?;
    let filled = Filled {
        url: bench.place.url(),
        ground: &ground,
        node: &node,
        corpus: &corpus,
        events: args.events,
    };
    // What a new database takes by itself, and what it sets aside, is not the events'.
    filled.take("w").await?;
    let before = filled.bytes().await?;
    let places = filled.places().await?;
    filled.take("e").await?;
    let events = filled.bytes().await?;
    let places = grown(&places, &filled.places().await?, args.events);
    bind(&ground, source).await?;
    node.intake.refresh().await?;
    filled.take("j").await?;
    ground.done_reaches(&node, args.events as i64).await?;
    let carried_out = filled.bytes().await?;
    node.stop().await;
    let of = |from: i64, to: i64| (to - from) as f64 / args.events as f64;
    let (event, done) = (of(before, events), of(events, carried_out));
    let line = Line {
        bench: "size",
        database: bench.database(),
        value: event,
        unit: "bytes",
        reference: Some(mean),
        ratio: Some(event / mean),
        p50_ms: None,
        p99_ms: None,
        peak_rss_mib: None,
        bar: Some(BAR),
        holds: Some(event <= BAR),
    };
    note(&format!(
        "size on {}: {} bodies of {mean:.0} bytes, {} events\n\
         an event          {event:.0} bytes: body, request, deduplication, index of objects (bar {BAR:.0})\n\
         with its job done {done:.0} bytes: the job, its start and its attempt as well\n{places}{}",
        bench.database(),
        corpus.len(),
        args.events,
        line.word()
    ));
    Ok(line)
}

/// What an event added to each table and index that it has a byte in, the most first.
fn grown(before: &HashMap<String, i64>, after: &HashMap<String, i64>, events: usize) -> String {
    let of = |name: &str| before.get(name).copied().unwrap_or_default();
    let mut grown: Vec<(f64, &str)> = after
        .iter()
        .map(|(name, bytes)| ((bytes - of(name)) as f64 / events as f64, name.as_str()))
        .filter(|(bytes, _)| *bytes >= 1.0)
        .collect();
    grown.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let line = |(bytes, name): &(f64, &str)| format!("{bytes:>17.0} {name}\n");
    grown.iter().map(line).collect()
}

/// The bodies, in the order of their names.
fn corpus(folder: &Path) -> anyhow::Result<Vec<Bytes>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut paths: Vec<_> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort_unstable();
    let bodies: Vec<Bytes> = paths
        .iter()
        .map(|path| std::fs::read(path).map(Bytes::from))
        .collect::<Result<_, _>>()?;
    ensure!(!bodies.is_empty(), "{} is empty", folder.display());
    Ok(bodies)
}

/// A source that takes the bodies of every provider; what it is signed with makes no difference here.
async fn source_create(ground: &Ground) -> anyhow::Result<SourceId> {
    let now = SystemClock.now();
    let source = Source {
        id: SourceId::new(now, &SystemRandom),
        number: 0,
        tenant: ground.tenant(),
        name: SOURCE.to_owned(),
        scheme: "address".to_owned(),
        settings: SETTINGS.to_owned(),
        enabled: true,
        secrets: Vec::new(),
        created_at: now,
        updated_at: now,
    };
    let row = source.clone();
    ground
        .store
        .transact(Scope::System("bench"), move |tx| {
            let row = row.clone();
            Box::pin(async move { tx.source_insert(&row).await })
        })
        .await?;
    Ok(source.id)
}

/// From now on each event brings a job that does nothing.
async fn bind(ground: &Ground, source: SourceId) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let binding = Binding {
        id: BindingId::new(now, &SystemRandom),
        tenant: ground.tenant(),
        name: "bench".to_owned(),
        source,
        type_pattern: "*".to_owned(),
        filter: None,
        ordering: None,
        expires_in_secs: None,
        handler: HandlerRef::Builtin(NOOP.to_owned()),
        enabled: true,
        created_at: now,
    };
    ground
        .store
        .transact(Scope::System("bench"), move |tx| {
            let binding = binding.clone();
            Box::pin(async move { tx.binding_insert(&binding).await })
        })
        .await?;
    Ok(())
}

struct Filled<'a> {
    url: Option<&'a str>,
    ground: &'a Ground,
    node: &'a Mainstay,
    corpus: &'a [Bytes],
    events: usize,
}

impl Filled<'_> {
    /// Takes in as many events as there are to be, and waits until they are indexed.
    async fn take(&self, run: &str) -> anyhow::Result<()> {
        let before = self.node.objects.status().indexed;
        stream::iter(0..self.events)
            .map(|number| self.accept(run, number))
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        let begin = Instant::now();
        let wanted = before + self.events as i64;
        while self.node.objects.status().indexed < wanted {
            ensure!(
                begin.elapsed() < INDEXED_WITHIN,
                "the events are not indexed after {INDEXED_WITHIN:?}"
            );
            sleep(STEP).await;
        }
        Ok(())
    }

    async fn accept(&self, run: &str, number: usize) -> anyhow::Result<()> {
        let body = self.corpus[number % self.corpus.len()].clone();
        let signature: String = payload_digest(format!("{run}{number}").as_bytes())
            .iter()
            .cycle()
            .take(32)
            .zip(0_u8..)
            .map(|(byte, at)| format!("{:02x}", byte.rotate_left(u32::from(at)) ^ at))
            .collect();
        let headers = [
            ("host", "hooks.example.com".to_owned()),
            (
                "user-agent",
                "Provider-Hookshot/2.1 (+https://provider.example/webhooks)".to_owned(),
            ),
            ("accept", "*/*".to_owned()),
            ("accept-encoding", "gzip, deflate".to_owned()),
            ("content-type", "application/json; charset=utf-8".to_owned()),
            ("content-length", body.len().to_string()),
            ("x-event-id", format!("evt_{run}{number:020}")),
            ("x-event-type", format!("thing.changed.{}", number % 8)),
            ("x-signature", format!("sha256={signature}")),
            ("x-forwarded-for", format!("192.0.2.{}", number % 250)),
            ("x-forwarded-proto", "https".to_owned()),
        ];
        let inbound = Inbound {
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.into_bytes()))
                .into(),
            body,
            remote: "127.0.0.1".to_owned(),
            url: "http://127.0.0.1/in/bench".to_owned(),
            received_at: SystemClock.now(),
        };
        let answer = self.node.intake.accept(SOURCE, inbound).await;
        ensure!(
            answer.status == 200,
            "an event was answered {}",
            answer.status
        );
        Ok(())
    }

    /// What each table and index takes.
    async fn places(&self) -> anyhow::Result<HashMap<String, i64>> {
        let statement = match self.url.is_some() {
            true => {
                "SELECT relname::text AS name, pg_relation_size(oid) AS bytes FROM pg_class
                WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'i')"
            }
            false => {
                "SELECT name, sum(pgsize) AS bytes FROM dbstat WHERE aggregate = TRUE GROUP BY name"
            }
        };
        let found = self
            .ground
            .store
            .query(Scope::System("bench"), statement.to_owned(), PLACES_MAX)
            .await?;
        let read = |row: &Vec<serde_json::Value>| {
            Some((row.first()?.as_str()?.to_owned(), row.get(1)?.as_i64()?))
        };
        let places: Option<HashMap<_, _>> = found.rows.iter().map(read).collect();
        places.context("names and numbers of bytes")
    }

    /// What the database takes on disk, its log left out.
    async fn bytes(&self) -> anyhow::Result<i64> {
        let statement = match self.url.is_some() {
            true => "SELECT pg_database_size(current_database()) AS bytes",
            false => {
                "SELECT c.page_count * s.page_size AS bytes FROM pragma_page_count AS c, pragma_page_size AS s"
            }
        };
        let found = self
            .ground
            .store
            .query(Scope::System("bench"), statement.to_owned(), 1)
            .await?;
        let row = found.rows.first().context("a size")?;
        row.first()
            .and_then(|value| value.as_i64())
            .context("a number of bytes")
    }
}
