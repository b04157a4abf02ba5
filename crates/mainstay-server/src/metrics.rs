//! `/metrics` for Prometheus. Labels come from fixed sets and from names that owners give, never from requests.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};

use axum::{
    extract::{Extension, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use mainstay::{
    intake::{Intake, snapshot::SnapshotStatus, spool::SpoolStatus},
    nodes::SILENT,
    sagas::Ended,
    watch::Durations,
};
use mainstay_domain::{
    Scope, StoreError, StoreExt, Timestamp,
    jobs::{Flow, ParkedCount, QueueNumber, breaker::BreakerState},
    nodes::NodeSeen,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::{
    access::authenticate,
    http::{Problem, proxies::Client},
    limits,
    sizes::Measured,
    state::App,
    stats::Queue,
};

/// What a request asked for that no route has.
const NO_ROUTE: &str = "none";
/// Signals, and sources with missing events, that are read.
const SIGNALS_MAX: i64 = 10_000;
/// What the text is.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Its last line.
const END: &str = "# EOF\n";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IntakeLabels {
    source: String,
    answer: String,
}

/// What came of a call at the owner's door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forwarded {
    /// It was answered.
    Answered,
    /// It was not, or by a node that does not own the jobs.
    Missed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ForwardedLabels {
    outcome: &'static str,
}

/// Counts of this process.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    intake: Family<IntakeLabels, Counter>,
    forwarded: Family<ForwardedLabels, Counter>,
    door_refused: Counter,
    streams: Gauge,
    followers: Gauge,
    uptime: Gauge,
}

/// From half a millisecond to sixteen seconds.
fn buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("mainstay");
        let requests = Family::default();
        let durations = Family::new_with_constructor(buckets as fn() -> Histogram);
        let intake = Family::default();
        let forwarded = Family::default();
        let door_refused = Counter::default();
        let (streams, followers, uptime) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register(
            "http_requests",
            "Requests answered",
            Family::clone(&requests),
        );
        registry.register_with_unit(
            "http_request_duration",
            "From a request's headers to its answer's",
            Unit::Seconds,
            Family::clone(&durations),
        );
        registry.register(
            "intake_requests",
            "Requests to sources, by what they were answered",
            Family::clone(&intake),
        );
        registry.register(
            "door_calls",
            "Calls of this node at the internal door of the one that owns the jobs",
            Family::clone(&forwarded),
        );
        registry.register(
            "door_refused",
            "Requests that were refused at this node's internal door",
            Counter::clone(&door_refused),
        );
        registry.register(
            "streams_open",
            "Open streams of live changes",
            Gauge::clone(&streams),
        );
        registry.register(
            "followers_open",
            "Open streams of events, as `mainstay listen` reads them",
            Gauge::clone(&followers),
        );
        registry.register_with_unit(
            "uptime",
            "How long this process has been serving",
            Unit::Seconds,
            Gauge::clone(&uptime),
        );
        Self {
            registry,
            requests,
            durations,
            intake,
            forwarded,
            door_refused,
            streams,
            followers,
            uptime,
        }
    }
}

impl Metrics {
    /// A call at the owner's door has come to this.
    pub(crate) fn forwarded(&self, outcome: Forwarded) {
        let outcome = match outcome {
            Forwarded::Answered => "answered",
            Forwarded::Missed => "missed",
        };
        self.forwarded
            .get_or_create(&ForwardedLabels { outcome })
            .inc();
    }

    /// Somebody was not let in at this node's door.
    pub(crate) fn door_refused(&self) {
        self.door_refused.inc();
    }
}

/// Methods from the wire are anything; labels are a fixed set.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        _ => "other",
    }
}

impl Metrics {
    /// Counts a request. `route` is the pattern that matched, so that ids are no labels.
    pub(crate) fn request(
        &self,
        method: &Method,
        route: Option<&str>,
        status: StatusCode,
        took: Duration,
    ) {
        let route = route.unwrap_or(NO_ROUTE).to_owned();
        let labels = RequestLabels {
            route: route.clone(),
            method: method_label(method),
            status: status.as_u16(),
        };
        self.requests.get_or_create_owned(&labels).inc();
        self.durations
            .get_or_create_owned(&RouteLabels { route })
            .observe(took.as_secs_f64());
    }

    /// Counts a request to a source. One that there is not is counted without its name, which anybody can make up.
    pub(crate) fn intake(&self, source: &str, status: u16, code: Option<&str>) {
        let known = code != Some("source_unknown");
        let labels = IntakeLabels {
            source: if known {
                source.to_owned()
            } else {
                NO_ROUTE.to_owned()
            },
            answer: code.map_or_else(|| status.to_string(), str::to_owned),
        };
        self.intake.get_or_create_owned(&labels).inc();
    }

    /// Without the line at its end.
    fn text(&self, uptime: Duration) -> Result<String, std::fmt::Error> {
        self.uptime.set(uptime.as_secs() as i64);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        text.truncate(text.strip_suffix(END).map_or(text.len(), str::len));
        Ok(text)
    }
}

/// Counted by the engine, over restarts and all nodes: written as they stand, not kept a second time.
fn queues(text: &mut String, owner: bool, queues: &[Queue]) -> std::fmt::Result {
    type Value = fn(&Queue) -> i64;
    let gauges: [(&str, &str, Value); 5] = [
        ("waiting", "Jobs that could be started", |queue| {
            queue.waiting
        }),
        ("scheduled", "Jobs whose time has not come", |queue| {
            queue.scheduled
        }),
        ("running", "Attempts under way", |queue| queue.running),
        ("retrying", "Jobs to be tried again", |queue| queue.retrying),
        ("dead", "Dead letters", |queue| queue.dead),
    ];
    let counters: [(&str, &str, Value); 4] = [
        ("created", "Jobs made", |queue| queue.tally.created),
        ("done", "Jobs done", |queue| queue.tally.done),
        ("failed", "Attempts that failed and are repeated", |queue| {
            queue.tally.failed
        }),
        ("died", "Jobs that became dead letters", |queue| {
            queue.tally.dead
        }),
    ];
    for (name, help, value) in gauges {
        writeln!(
            text,
            "# HELP mainstay_jobs_{name} {help}.\n# TYPE mainstay_jobs_{name} gauge"
        )?;
        for queue in queues {
            writeln!(
                text,
                "mainstay_jobs_{name}{{queue=\"{}\"}} {}",
                label(&queue.name),
                value(queue)
            )?;
        }
    }
    for (name, help, value) in counters {
        writeln!(
            text,
            "# HELP mainstay_jobs_{name} {help}.\n# TYPE mainstay_jobs_{name} counter"
        )?;
        for queue in queues {
            writeln!(
                text,
                "mainstay_jobs_{name}_total{{queue=\"{}\"}} {}",
                label(&queue.name),
                value(queue)
            )?;
        }
    }
    let states: [(&str, &str, Value); 2] = [
        ("paused", "1 while a queue is paused, or drained", |queue| {
            i64::from(queue.flow != Flow::Running)
        }),
        (
            "tenants_limited",
            "Tenants that a limit of the queue holds back",
            |queue| queue.limited,
        ),
    ];
    for (name, help, value) in states {
        writeln!(
            text,
            "# HELP mainstay_queue_{name} {help}.\n# TYPE mainstay_queue_{name} gauge"
        )?;
        for queue in queues {
            writeln!(
                text,
                "mainstay_queue_{name}{{queue=\"{}\"}} {}",
                label(&queue.name),
                value(queue)
            )?;
        }
    }
    let help = "1 while the breaker of the queue's endpoint lets nothing pass";
    writeln!(
        text,
        "# HELP mainstay_breaker_open {help}.\n# TYPE mainstay_breaker_open gauge"
    )?;
    for queue in queues {
        if let Some(breaker) = &queue.breaker {
            let open = i32::from(breaker.stands() != BreakerState::Closed);
            writeln!(
                text,
                "mainstay_breaker_open{{queue=\"{}\"}} {open}",
                label(&queue.name)
            )?;
        }
    }
    let help = "Where the breaker of what the queue's endpoint depends on stands: 0 closed, 1 half open, 2 open";
    writeln!(
        text,
        "# HELP mainstay_breaker_state {help}.\n# TYPE mainstay_breaker_state gauge"
    )?;
    for queue in queues {
        if let Some(breaker) = &queue.breaker {
            let state = match breaker.stands() {
                BreakerState::Closed => 0,
                BreakerState::HalfOpen => 1,
                BreakerState::Open => 2,
            };
            writeln!(
                text,
                "mainstay_breaker_state{{queue=\"{}\"}} {state}",
                label(&queue.name)
            )?;
        }
    }
    let help = "1 on the node that runs the engine";
    writeln!(
        text,
        "# HELP mainstay_engine_owner {help}.\n# TYPE mainstay_engine_owner gauge"
    )?;
    writeln!(text, "mainstay_engine_owner {}", i32::from(owner))
}

/// Events whose tenant is not known yet: counted in the store, so every node says the same.
fn waiting(text: &mut String, counts: &[(String, i64)]) -> std::fmt::Result {
    const NAME: &str = "mainstay_events_waiting";
    writeln!(
        text,
        "# HELP {NAME} Events that wait until it is known whose they are.\n# TYPE {NAME} gauge"
    )?;
    for (source, count) in counts {
        writeln!(text, "{NAME}{{source=\"{}\"}} {count}", label(source))?;
    }
    Ok(())
}

/// Ordering keys that wait for a person: counted in the store, so every node says the same. Never by key.
fn parked(text: &mut String, count: ParkedCount) -> std::fmt::Result {
    let gauges = [
        (
            "lines_parked",
            "Ordering keys that wait behind a dead letter",
            count.lines,
        ),
        (
            "jobs_parked",
            "Jobs that wait behind the dead letter of their key",
            count.waiting,
        ),
    ];
    for (name, help, value) in gauges {
        writeln!(
            text,
            "# HELP mainstay_{name} {help}.\n# TYPE mainstay_{name} gauge\nmainstay_{name} {value}"
        )?;
    }
    Ok(())
}

/// How long endpoints took to answer, on this node since it started: only the engine's owner pushes to any.
fn deliveries(
    text: &mut String,
    queues: &[Queue],
    durations: &HashMap<QueueNumber, Durations>,
) -> std::fmt::Result {
    const NAME: &str = "mainstay_delivery_duration_seconds";
    writeln!(
        text,
        "# HELP {NAME} From a push's start to the endpoint's answer, or to the timeout.\n# TYPE {NAME} histogram\n\
         # UNIT {NAME} seconds"
    )?;
    for queue in queues {
        let Some(all) = durations.get(&queue.number) else {
            continue;
        };
        let (name, count) = (label(&queue.name), all.histogram.count());
        // Powers of two, where buckets of what is kept begin: 4 ms to 131 s.
        for ms in (2..18).map(|power| 1_i64 << power) {
            let (le, below) = (ms as f64 / 1_000.0, all.histogram.below(ms));
            writeln!(
                text,
                "{NAME}_bucket{{queue=\"{name}\",le=\"{le:?}\"}} {below}"
            )?;
        }
        writeln!(
            text,
            "{NAME}_bucket{{queue=\"{name}\",le=\"+Inf\"}} {count}"
        )?;
        writeln!(
            text,
            "{NAME}_sum{{queue=\"{name}\"}} {:?}",
            all.sum_ms as f64 / 1_000.0
        )?;
        writeln!(text, "{NAME}_count{{queue=\"{name}\"}} {count}")?;
    }
    Ok(())
}

/// What became of spooled requests since this process started: `found` and `accepted` together are what was `stored`,
/// `set_aside` or `lost` and what waits.
fn spooled(text: &mut String, status: &SpoolStatus, now: Timestamp) -> std::fmt::Result {
    const RECORDS: &str = "mainstay_spool_records";
    writeln!(
        text,
        "# HELP {RECORDS} Spooled requests: found and accepted is stored, set aside, lost and waiting.\n\
         # TYPE {RECORDS} counter"
    )?;
    let counts = &status.counts;
    for (what, count) in [
        ("found", counts.found),
        ("accepted", counts.accepted),
        ("stored", counts.stored),
        ("set_aside", counts.set_aside),
        ("lost", counts.lost),
        ("refused", counts.refused),
    ] {
        writeln!(text, "{RECORDS}_total{{what=\"{what}\"}} {count}")?;
    }
    let oldest = status
        .oldest
        .map_or(0, |oldest| now.ms_since(oldest).max(0) / 1_000);
    let gauges = [
        (
            "taking",
            "1 while requests go into the spool",
            u64::from(status.taking),
        ),
        (
            "waiting",
            "Spooled requests that are to be stored",
            status.waiting,
        ),
        (
            "damaged",
            "Stretches of the spool's files that cannot be read, since the start",
            counts.damaged,
        ),
        ("bytes", "What the spool's files take", status.bytes),
        ("max_bytes", "The most that they may take", status.max_bytes),
        (
            "oldest_seconds",
            "How long the oldest request has been waiting",
            oldest as u64,
        ),
    ];
    for (name, help, value) in gauges {
        let name = format!("mainstay_spool_{name}");
        writeln!(
            text,
            "# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}"
        )?;
    }
    match &status.snapshot {
        Some(status) => snapshot(text, status, now),
        None => Ok(()),
    }
}

/// How old the snapshot of the sources is, and whether it is what this process knows them from.
fn snapshot(text: &mut String, status: &SnapshotStatus, now: Timestamp) -> std::fmt::Result {
    const AGE: &str = "mainstay_snapshot_age_seconds";
    const USED: &str = "mainstay_snapshot_used";
    writeln!(
        text,
        "# HELP {USED} 1 while the sources are known from a snapshot, since the database was gone at the start.\n\
         # TYPE {USED} gauge\n{USED} {}",
        u8::from(status.used)
    )?;
    let Some(age) = status.age_secs(now) else {
        return Ok(());
    };
    writeln!(
        text,
        "# HELP {AGE} How long ago the snapshot of the sources was right.\n# TYPE {AGE} gauge\n\
         # UNIT {AGE} seconds\n{AGE} {age}"
    )
}

/// The metrics of a server that has started without its database.
pub(crate) fn without_store(
    own: &Metrics,
    intake: &Intake,
    uptime: Duration,
    now: Timestamp,
) -> Result<String, std::fmt::Error> {
    let mut text = own.text(uptime)?;
    if let Some(status) = intake.spool_status() {
        spooled(&mut text, &status, now)?;
    }
    not_kept(&mut text, &intake.refused_not_kept())?;
    text.push_str(END);
    Ok(text)
}

/// Refused requests that were only counted, on this node since it started.
fn not_kept(text: &mut String, counts: &[(String, i64)]) -> std::fmt::Result {
    const NAME: &str = "mainstay_intake_refused_not_kept";
    writeln!(
        text,
        "# HELP {NAME} Refused requests that were only counted: more came than the quarantine takes.\n\
         # TYPE {NAME} counter"
    )?;
    for (source, count) in counts {
        writeln!(text, "{NAME}_total{{source=\"{}\"}} {count}", label(source))?;
    }
    Ok(())
}

/// Events that came again with other content, on this node since it started.
fn conflicts(text: &mut String, counts: &[(String, i64)]) -> std::fmt::Result {
    const NAME: &str = "mainstay_intake_conflicts";
    writeln!(
        text,
        "# HELP {NAME} Events that came again under their id with other content.\n# TYPE {NAME} counter"
    )?;
    for (source, count) in counts {
        writeln!(text, "{NAME}_total{{source=\"{}\"}} {count}", label(source))?;
    }
    Ok(())
}

/// Events of which no sample was taken to learn from, on this node since it started.
fn unsampled(text: &mut String, count: i64) -> std::fmt::Result {
    const NAME: &str = "mainstay_drift_unsampled";
    writeln!(
        text,
        "# HELP {NAME} New events that were not looked at for what they say that is new.\n# TYPE {NAME} counter"
    )?;
    writeln!(text, "{NAME}_total {count}")
}

/// Events that violated their schema, on this node since it started. The types are the schema's, not the sender's.
fn violations(text: &mut String, counts: &[(String, String, i64)]) -> std::fmt::Result {
    const NAME: &str = "mainstay_schema_violations";
    writeln!(
        text,
        "# HELP {NAME} New events that violate the schema of their type.\n# TYPE {NAME} counter"
    )?;
    for (source, types, count) in counts {
        let (source, types) = (label(source), label(types));
        writeln!(
            text,
            "{NAME}_total{{source=\"{source}\",types=\"{types}\"}} {count}"
        )?;
    }
    Ok(())
}

/// What does not fit the rhythm of sources, and which events are missing, as it stands in the store.
async fn watched(text: &mut String, app: &App) -> Result<(), Problem> {
    let read = app.store.read(Scope::System("metrics"), |tx| {
        Box::pin(async move {
            let signals = tx.rhythm_signals_open(SIGNALS_MAX).await?;
            let missing = tx.expect_missing_counts(SIGNALS_MAX).await?;
            Ok((signals, missing, tx.source_list().await?))
        })
    });
    let asked = tokio::time::timeout(limits::PROBE_TIMEOUT, read).await;
    let (signals, missing, sources) = match asked.unwrap_or(Err(StoreError::Timeout)) {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "metrics are without what is known of rhythms");
            return Ok(());
        }
    };
    let names: HashMap<_, _> = sources.iter().map(|one| (one.id, &*one.name)).collect();
    let mut open: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for signal in &signals {
        if let Some(name) = names.get(&signal.source) {
            *open.entry((name, signal.kind.as_str())).or_default() += 1;
        }
    }
    let missing = missing
        .iter()
        .filter_map(|(source, count)| Some((*names.get(source)?, *count)));
    watched_text(text, &open, missing).map_err(Problem::internal)
}

fn watched_text<'a>(
    text: &mut String,
    open: &BTreeMap<(&str, &str), i64>,
    missing: impl Iterator<Item = (&'a str, i64)>,
) -> std::fmt::Result {
    const SIGNALS: &str = "mainstay_rhythm_signals";
    writeln!(
        text,
        "# HELP {SIGNALS} Types of a source's events, or all together, that fewer or more come of than its rhythm has.\n\
         # TYPE {SIGNALS} gauge"
    )?;
    for ((source, kind), count) in open {
        let source = label(source);
        writeln!(
            text,
            "{SIGNALS}{{source=\"{source}\",kind=\"{kind}\"}} {count}"
        )?;
    }
    const MISSING: &str = "mainstay_expected_events_missing";
    writeln!(
        text,
        "# HELP {MISSING} Expected events that did not come in time and that nobody has acknowledged.\n\
         # TYPE {MISSING} gauge"
    )?;
    for (source, count) in missing {
        writeln!(text, "{MISSING}{{source=\"{}\"}} {count}", label(source))?;
    }
    Ok(())
}

/// How much room the database takes, as every node measures it for itself.
fn sizes(text: &mut String, measured: &Measured) -> std::fmt::Result {
    const NAME: &str = "mainstay_table_bytes";
    writeln!(
        text,
        "# HELP {NAME} What a table takes with its indexes, measured once an hour.\n# TYPE {NAME} gauge\n\
         # UNIT {NAME} bytes"
    )?;
    for (table, bytes) in &measured.tables {
        writeln!(text, "{NAME}{{table=\"{}\"}} {bytes}", label(table))?;
    }
    Ok(())
}

fn label(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// What the database has to say, if it answers: without it the rest is wanted all the more.
async fn stored(text: &mut String, app: &App) -> Result<(), Problem> {
    let counts = app.store.read(Scope::System("metrics"), |tx| {
        Box::pin(async move {
            let (waiting, parked) = (tx.waiting_counts().await?, tx.line_parked().await?);
            Ok((waiting, parked, tx.saga_run_attention().await?))
        })
    });
    let index = app.store.read(Scope::System("metrics"), |tx| {
        Box::pin(async move {
            let until = tx.object_state().await?.until;
            Ok((until, tx.object_behind(until).await?))
        })
    });
    let asked = async {
        let queues = app.stats.queues(app).await?;
        let nodes = match &app.door {
            Some(_) => app.mainstay.nodes.list().await?,
            None => Vec::new(),
        };
        Ok::<_, StoreError>(((queues, nodes), counts.await?, index.await?))
    };
    let asked = tokio::time::timeout(limits::PROBE_TIMEOUT, asked).await;
    let ((all, known), (counts, lines, runs), (until, behind)) =
        match asked.unwrap_or(Err(StoreError::Timeout)) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "metrics are without what the database counts");
                return Ok(());
            }
        };
    queues(text, app.mainstay.engine.snapshot().owner, &all).map_err(Problem::internal)?;
    deliveries(text, &all, &app.mainstay.samples.durations()).map_err(Problem::internal)?;
    nodes(text, &known).map_err(Problem::internal)?;
    waiting(text, &counts).map_err(Problem::internal)?;
    parked(text, lines).map_err(Problem::internal)?;
    sagas(text, runs, app.mainstay.sagas.ended()).map_err(Problem::internal)?;
    let lag_ms = match behind {
        true => app.clock.now().ms_since(until).max(0),
        false => 0,
    };
    indexed(text, lag_ms).map_err(Problem::internal)
}

/// Runs of sagas: those that need a person are counted in the store, so every node says the same; ends by whoever made them.
fn sagas(text: &mut String, (failed, waiting): (i64, i64), ended: Ended) -> std::fmt::Result {
    const OPEN: &str = "mainstay_saga_runs_open";
    writeln!(
        text,
        "# HELP {OPEN} Runs of sagas that need a person: one is waited for, or something could not be undone.\n\
         # TYPE {OPEN} gauge\n{OPEN}{{state=\"failed\"}} {failed}\n{OPEN}{{state=\"waiting\"}} {waiting}"
    )?;
    const ENDED: &str = "mainstay_saga_runs";
    writeln!(
        text,
        "# HELP {ENDED} Runs of sagas that this process carried to where they stand.\n# TYPE {ENDED} counter"
    )?;
    for (state, count) in [
        ("done", ended.done),
        ("compensated", ended.compensated),
        ("failed", ended.failed),
    ] {
        writeln!(text, "{ENDED}_total{{state=\"{state}\"}} {count}")?;
    }
    Ok(())
}

/// The nodes on this database, as every one of them says the same. None are told where there can be only one.
fn nodes(text: &mut String, known: &[NodeSeen]) -> std::fmt::Result {
    if known.is_empty() {
        return Ok(());
    }
    const NAME: &str = "mainstay_nodes";
    let silent_ms = i64::try_from(SILENT.as_millis()).unwrap_or(i64::MAX);
    let silent = known.iter().filter(|node| node.silent_ms >= silent_ms);
    let silent = silent.count();
    writeln!(
        text,
        "# HELP {NAME} Nodes that were heard of in the last hour: alive, or silent for 20 seconds.\n# TYPE {NAME} gauge\n\
         {NAME}{{state=\"alive\"}} {}\n{NAME}{{state=\"silent\"}} {silent}",
        known.len() - silent
    )
}

/// How far the index of objects is behind.
fn indexed(text: &mut String, lag_ms: i64) -> std::fmt::Result {
    const NAME: &str = "mainstay_objects_index_lag_seconds";
    writeln!(
        text,
        "# HELP {NAME} Since when events are not indexed for timelines; 0: all are.\n# TYPE {NAME} gauge\n\
         # UNIT {NAME} seconds"
    )?;
    writeln!(text, "{NAME} {}", lag_ms as f64 / 1_000.0)
}

/// Metrics, as OpenMetrics
///
/// From this machine without a key; from elsewhere with one that is not bound to a tenant.
#[utoipa::path(get, path = "/metrics", tag = "watch", security((), ("key" = []), ("session" = [])), responses(
    (status = 200, body = String, content_type = "application/openmetrics-text"),
    (status = 401, description = "Nobody is signed in, or the key is unknown"),
    (status = 403, description = "The key is bound to one tenant"),
))]
pub(crate) async fn metrics(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if client.proxied || !client.address.is_loopback() {
        authenticate(&app, &headers, Some(client))
            .await?
            .caller
            .everywhere()?;
    }
    app.metrics.streams.set(app.hub.open_count() as i64);
    app.metrics.followers.set(app.hub.following_count() as i64);
    let text = app.metrics.text(app.uptime());
    let mut text = text.map_err(Problem::internal)?;
    stored(&mut text, &app).await?;
    if let Some(status) = app.mainstay.intake.spool_status() {
        spooled(&mut text, &status, app.clock.now()).map_err(Problem::internal)?;
    }
    not_kept(&mut text, &app.mainstay.intake.refused_not_kept()).map_err(Problem::internal)?;
    conflicts(&mut text, &app.mainstay.intake.conflicts()).map_err(Problem::internal)?;
    violations(&mut text, &app.mainstay.intake.schema_violations()).map_err(Problem::internal)?;
    unsampled(&mut text, app.mainstay.intake.drift_unsampled()).map_err(Problem::internal)?;
    if let Some(measured) = app.sizes.known(&app) {
        sizes(&mut text, &measured).map_err(Problem::internal)?;
    }
    watched(&mut text, &app).await?;
    text.push_str(END);
    let kind = HeaderValue::from_static(MEDIA_TYPE);
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

#[cfg(test)]
mod tests {
    use mainstay_domain::watch::bucket;

    use super::*;

    #[test]
    fn durations_are_a_histogram_of_their_queue() {
        let mut durations = Durations::default();
        for ms in [3, 5, 900] {
            durations.histogram.add(bucket(ms), 1);
            durations.sum_ms += ms;
        }
        let queue = Queue {
            number: 7,
            name: "shop".into(),
            ..Queue::default()
        };
        let mut text = String::new();
        deliveries(&mut text, &[queue], &HashMap::from([(7, durations)]))
            .expect("a string takes everything");
        for line in [
            "bucket{queue=\"shop\",le=\"0.004\"} 1\n",
            "bucket{queue=\"shop\",le=\"0.008\"} 2\n",
            "bucket{queue=\"shop\",le=\"1.024\"} 3\n",
            "bucket{queue=\"shop\",le=\"+Inf\"} 3\n",
            "sum{queue=\"shop\"} 0.908\n",
            "count{queue=\"shop\"} 3\n",
        ] {
            let line = format!("mainstay_delivery_duration_seconds_{line}");
            assert!(text.contains(&line), "{line} {text}");
        }
    }

    #[test]
    fn what_was_only_counted_is_a_counter_of_its_source() {
        let mut text = String::new();
        not_kept(&mut text, &[("shop".into(), 3)]).expect("a string takes everything");
        let line = "mainstay_intake_refused_not_kept_total{source=\"shop\"} 3\n";
        assert!(text.ends_with(line), "{text}");
    }

    #[test]
    fn what_was_spooled_is_counted_by_what_became_of_it() {
        let mut status = SpoolStatus::default();
        status.counts.accepted = 5;
        status.counts.stored = 3;
        status.waiting = 2;
        status.oldest = Some(Timestamp::from_secs(100));
        let mut text = String::new();
        spooled(&mut text, &status, Timestamp::from_secs(107)).expect("a string takes everything");
        for line in [
            "records_total{what=\"accepted\"} 5\n",
            "records_total{what=\"stored\"} 3\n",
            "waiting 2\n",
            "oldest_seconds 7\n",
        ] {
            assert!(
                text.contains(&format!("mainstay_spool_{line}")),
                "{line} {text}"
            );
        }
    }

    #[test]
    fn violations_are_a_counter_of_their_source_and_its_schemas() {
        let mut text = String::new();
        violations(&mut text, &[("shop".into(), "a.*".into(), 3)])
            .expect("a string takes everything");
        let line = "mainstay_schema_violations_total{source=\"shop\",types=\"a.*\"} 3\n";
        assert!(text.ends_with(line), "{text}");
    }

    #[test]
    fn queues_are_written_with_their_names_escaped() {
        let mut text = String::new();
        let queue = Queue {
            name: "a\"b".into(),
            waiting: 3,
            ..Queue::default()
        };
        queues(&mut text, true, &[queue]).expect("a string takes everything");
        assert!(
            text.contains("mainstay_jobs_waiting{queue=\"a\\\"b\"} 3\n"),
            "{text}"
        );
        assert!(text.ends_with("mainstay_engine_owner 1\n"));
    }
}
