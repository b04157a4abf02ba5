//! `mainstay bench intake`: how many webhooks a second are verified, committed and acknowledged, beside the same server
//! that only verifies, and beside the handler that teams write today. Interleaved runs on the same machine.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use mainstay_domain::vault::MasterKey;

use super::{
    Bench,
    child::{self, Load, Process},
    cluster::Cluster,
    line::{Line, Spread},
    load::LoadReport,
    note,
};

/// What durable intake has to reach of what the same server reaches when it only verifies.
const RATIO_BAR: f64 = 0.25;
/// What durable intake has to reach of the naive handler's rate.
const NAIVE_BAR: f64 = 3.0;
/// At half load, in milliseconds.
const P99_BAR_MS: f64 = 25.0;
/// In MiB.
const RSS_BAR_MIB: f64 = 100.0;
/// A secret for loads on this machine only.
pub(super) const LOAD_SECRET: &str = "whsec_bench_0123456789abcdef0123456789abcdef";

/// How to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct IntakeArgs {
    /// How long each run takes, in seconds
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// How many interleaved runs
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// How many connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Bytes of a body
    #[arg(long, default_value_t = 2_048)]
    body: usize,
    /// Seal what is kept, under a master key that is made for it
    #[arg(long)]
    encrypt: bool,
    /// Where the naive handler is, installed with `npm ci`
    #[arg(long, default_value = "bench/peers")]
    peers: PathBuf,
}

struct Measured {
    verify: Vec<f64>,
    durable: Vec<LoadReport>,
    naive: Vec<f64>,
    busy: f64,
    half: LoadReport,
    rss_mib: f64,
}

/// Measures, tells people, and answers with the line.
pub(crate) async fn run(bench: &Bench, args: &IntakeArgs) -> anyhow::Result<Line> {
    let measured = measure(bench, args).await?;
    let rates: Vec<f64> = measured
        .durable
        .iter()
        .map(|report| report.per_second)
        .collect();
    let durable = Spread::of(&rates).context("at least one run")?;
    let verify = Spread::of(&measured.verify).context("at least one run")?;
    let ratio = durable.median / verify.median;
    let naive = Spread::of(&measured.naive);
    let refused: u64 = measured
        .durable
        .iter()
        .chain([&measured.half])
        .map(LoadReport::refused)
        .sum();
    let checks = [
        ratio >= RATIO_BAR,
        naive.is_some_and(|naive| durable.median >= NAIVE_BAR * naive.median),
        measured.half.p99_ms < P99_BAR_MS,
        measured.rss_mib < RSS_BAR_MIB,
        refused == 0,
    ];
    let line = Line {
        bench: "intake",
        database: bench.database(),
        value: durable.median,
        unit: "requests/s",
        reference: Some(verify.median),
        ratio: Some(ratio),
        p50_ms: Some(measured.half.p50_ms),
        p99_ms: Some(measured.half.p99_ms),
        peak_rss_mib: Some(measured.rss_mib),
        bar: Some(RATIO_BAR),
        holds: Some(checks.iter().all(|holds| *holds)),
    };
    let middle = measured.durable.last().context("at least one run")?;
    note(&format!(
        "intake on {}: {} connections, {} bytes, medians of {} interleaved runs\n\
         durable       {durable} requests/s; last run p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms\n\
         carried out   {:.0} requests/s while their jobs are carried out as well\n\
         verify only   {verify} requests/s; durable is {:.0} % of it (bar {:.0} %)\n\
         naive handler {}\n\
         at half load  p50 {:.2} ms, p99 {:.2} ms (bar {P99_BAR_MS} ms), p99.9 {:.2} ms\n\
         memory        {:.1} MiB at most (bar {RSS_BAR_MIB} MiB); {refused} answers were not 2xx\n\
         {}",
        bench.database(),
        args.connections,
        args.body,
        args.runs,
        middle.p50_ms,
        middle.p99_ms,
        middle.p999_ms,
        measured.busy,
        ratio * 100.0,
        RATIO_BAR * 100.0,
        naive.map_or_else(
            || "not measured, so that its bar is not known to hold: it is not installed (npm ci in bench/peers)".to_owned(),
            |naive| format!(
                "{naive} requests/s; durable is {:.1} times that (bar {NAIVE_BAR})",
                durable.median / naive.median
            )
        ),
        measured.half.p50_ms,
        measured.half.p99_ms,
        measured.half.p999_ms,
        measured.rss_mib,
        line.word(),
    ));
    Ok(line)
}

async fn measure(bench: &Bench, args: &IntakeArgs) -> anyhow::Result<Measured> {
    let folder = tempfile::tempdir()?;
    let key = args.encrypt.then(MasterKey::make).transpose()?;
    let url = bench.place.url();
    let durable = started(&folder.path().join("durable"), url, false, key).await?;
    // It commits nothing, so it needs no PostgreSQL: the same router, the same limits, the same verification.
    let verify = started(&folder.path().join("verify"), None, true, None).await?;
    let peer = Peer::start(bench, &args.peers)?;

    let load = Load {
        address: "",
        path: child::PATH,
        secret: LOAD_SECRET,
        seconds: args.seconds,
        connections: args.connections,
        body: args.body,
        rate: None,
        warm_up: None,
        run: "",
    };
    let (mut verified, mut kept, mut naive) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..args.runs {
        let number = format!("r{run}");
        let run = Load {
            run: &number,
            ..load.clone()
        };
        let report = Load {
            address: &verify.address,
            ..run.clone()
        }
        .put()
        .await?;
        note(&format!(
            "run {number}: verify only {:.0} requests/s",
            report.per_second
        ));
        verified.push(report.per_second);
        let report = Load {
            address: &durable.address,
            ..run.clone()
        }
        .put()
        .await?;
        note(&format!(
            "run {number}: durable {:.0} requests/s",
            report.per_second
        ));
        kept.push(report);
        if let Some(peer) = &peer {
            let report = Load {
                address: &peer.process.address,
                path: "/webhooks/stripe",
                ..run
            }
            .put()
            .await?;
            note(&format!(
                "run {number}: naive handler {:.0} requests/s",
                report.per_second
            ));
            naive.push(report.per_second);
        }
    }
    let busy = Load {
        address: &durable.address,
        path: child::BUSY_PATH,
        run: "busy",
        ..load.clone()
    }
    .put()
    .await?;
    let rates: Vec<f64> = kept.iter().map(|report| report.per_second).collect();
    let half = Spread::of(&rates).context("at least one run")?.median / 2.0;
    let half = Load {
        address: &durable.address,
        run: "half",
        rate: Some(half),
        ..load
    }
    .put()
    .await?;
    let rss_mib = durable.peak_rss_mib()?;
    Ok(Measured {
        verify: verified,
        durable: kept,
        naive,
        busy: busy.per_second,
        half,
        rss_mib,
    })
}

async fn started(
    data: &Path,
    database: Option<&str>,
    verify_only: bool,
    master_key: Option<String>,
) -> anyhow::Result<Process> {
    std::fs::create_dir_all(data)?;
    let server = match &master_key {
        Some(key) => {
            let variables = [("MAINSTAY_MASTER_KEY", OsStr::new(key))];
            child::server_with(data, database, &variables).await?
        }
        None => child::server(data, database, verify_only).await?,
    };
    child::sources_declare(data, LOAD_SECRET).await?;
    Ok(server)
}

/// The naive handler with the PostgreSQL that it writes to.
struct Peer {
    process: Process,
    // Dropped after the process.
    _cluster: Option<Cluster>,
}

impl Peer {
    fn start(bench: &Bench, folder: &Path) -> anyhow::Result<Option<Self>> {
        if !folder.join("node_modules").exists() {
            return Ok(None);
        }
        let cluster = match bench.place.url() {
            Some(_) => None,
            None => match Cluster::start() {
                Ok(cluster) => Some(cluster),
                Err(error) => {
                    note(&format!("no PostgreSQL for the naive handler: {error}"));
                    return Ok(None);
                }
            },
        };
        let url = cluster
            .as_ref()
            .map(|cluster| cluster.url.as_str())
            .or(bench.place.url());
        let url = url.context("the naive handler writes to PostgreSQL")?;
        let process = child::naive(folder, url, LOAD_SECRET)?;
        Ok(process.map(|process| Self {
            process,
            _cluster: cluster,
        }))
    }
}
