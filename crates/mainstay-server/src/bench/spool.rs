//! `mainstay bench spool`: PostgreSQL is stopped under load as by a power cut and comes back later. Everything is accepted
//! meanwhile, no answer takes a second, and in the end each request that was accepted is in the database, once.

use std::{ffi::OsStr, path::Path, time::Duration};

use anyhow::{Context, ensure};
use clap::Args;
use tokio::time::{Instant, sleep};

use super::{
    Bench,
    child::{self, Load, Process},
    intake::LOAD_SECRET,
    line::Line,
    load::LoadReport,
    note,
};

/// No answer may take longer, in milliseconds.
const ANSWER_BAR_MS: f64 = 1_000.0;
/// How long the load runs before PostgreSQL goes, and after it is back.
const AROUND: Duration = Duration::from_secs(5);
/// How long draining may take beside the time that it was filled in.
const DRAINED_WITHIN: Duration = Duration::from_secs(120);

/// How to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct SpoolArgs {
    /// How long PostgreSQL is gone, in seconds
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Requests in a second
    #[arg(long, default_value_t = 2_000.0)]
    rate: f64,
    /// How many connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Bytes of a body
    #[arg(long, default_value_t = 2_048)]
    body: usize,
}

/// What the database and the spool count in the end.
struct Counted {
    events: i64,
    jobs: i64,
    /// Requests that were delivered more than once, by the count of deduplication.
    again: i64,
    /// Spooled, stored from there, and lost or set aside.
    spooled: u64,
    stored: u64,
    missing: u64,
    bytes_most: u64,
    drained_secs: f64,
}

/// Measures, tells people, and answers with the line.
pub(crate) async fn run(bench: &Bench, args: &SpoolArgs) -> anyhow::Result<Line> {
    let cluster = bench.cluster.as_ref();
    let cluster = cluster.context("a PostgreSQL that can be stopped: --database postgres")?;
    let folder = tempfile::tempdir()?;
    let (data, spool) = (folder.path().join("data"), folder.path().join("spool"));
    std::fs::create_dir_all(&data)?;
    let variables: [(&str, &OsStr); 1] = [("MAINSTAY_INTAKE_SPOOL_DIR", spool.as_os_str())];
    let server = child::server_with(&data, bench.place.url(), &variables).await?;
    child::sources_declare(&data, LOAD_SECRET).await?;
    let outage = Duration::from_secs_f64(args.seconds);
    let load = Load {
        address: &server.address,
        path: child::PATH,
        secret: LOAD_SECRET,
        seconds: (outage + 2 * AROUND).as_secs_f64(),
        connections: args.connections,
        body: args.body,
        rate: Some(args.rate),
        warm_up: Some(0.0),
        run: "gone",
    };
    let happens = async {
        sleep(AROUND).await;
        note("PostgreSQL is stopped");
        cluster.pause().await?;
        sleep(outage).await;
        let bytes = figure(&server, "mainstay_spool_bytes ").await?;
        cluster.resume().await?;
        note("PostgreSQL is back");
        anyhow::Ok((Instant::now(), bytes))
    };
    let (report, happened) = tokio::join!(load.put(), happens);
    let (report, (back, bytes)) = (report?, happened?);
    let within = outage + DRAINED_WITHIN;
    while figure(&server, "mainstay_spool_taking ").await? > 0 {
        ensure!(
            back.elapsed() < within,
            "the spool is not drained {} s after PostgreSQL came back",
            within.as_secs()
        );
        sleep(Duration::from_millis(100)).await;
    }
    let drained_secs = back.elapsed().as_secs_f64();
    let counted = count(&server, &data, bytes, drained_secs).await?;
    let peak_rss = server.peak_rss_mib()?;
    Ok(told(bench, args, &report, &counted, peak_rss))
}

async fn count(
    server: &Process,
    data: &Path,
    bytes_most: u64,
    drained_secs: f64,
) -> anyhow::Result<Counted> {
    let what = async |what: &str| {
        let name = format!("mainstay_spool_records_total{{what=\"{what}\"}} ");
        figure(server, &name).await
    };
    Ok(Counted {
        events: child::number(
            data,
            "SELECT count(*) FROM event WHERE kind = 'invoice.paid'",
        )
        .await?,
        jobs: child::number(data, "SELECT count(*) FROM job").await?,
        again: child::number(data, "SELECT count(*) FROM dedup WHERE deliveries <> 1").await?,
        spooled: what("accepted").await?,
        stored: what("stored").await?,
        missing: what("lost").await? + what("set_aside").await?,
        bytes_most,
        drained_secs,
    })
}

/// A figure of the server's own.
async fn figure(server: &Process, name: &str) -> anyhow::Result<u64> {
    let url = format!("http://{}/metrics", server.address);
    let text = reqwest::get(&url).await?.text().await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(line
        .with_context(|| format!("the metric {name}"))?
        .parse()?)
}

fn told(
    bench: &Bench,
    args: &SpoolArgs,
    report: &LoadReport,
    counted: &Counted,
    peak_rss: f64,
) -> Line {
    let accepted = report.accepted as i64;
    let checks = [
        report.refused() == 0,
        report.max_ms < ANSWER_BAR_MS,
        counted.events == accepted,
        counted.jobs == accepted,
        counted.again == 0,
        counted.spooled > 0,
        counted.stored == counted.spooled,
        counted.missing == 0,
    ];
    let line = Line {
        bench: "spool",
        database: bench.database(),
        value: report.max_ms,
        unit: "ms",
        reference: None,
        ratio: None,
        p50_ms: Some(report.p50_ms),
        p99_ms: Some(report.p99_ms),
        peak_rss_mib: Some(peak_rss),
        bar: Some(ANSWER_BAR_MS),
        holds: Some(checks.iter().all(|holds| *holds)),
    };
    note(&format!(
        "spool: PostgreSQL gone for {} s at {:.0} requests/s\n\
         accepted      {accepted}; {} answers were not 2xx; the slowest took {:.0} ms (bar {ANSWER_BAR_MS} ms), \
         p50 {:.2} ms, p99 {:.2} ms\n\
         spooled       {} of them, {} stored from there, {} lost or set aside; {:.1} MiB at the end of the outage\n\
         drained       {:.1} s after it was back, with the load going on for {} s of them\n\
         stored        {} events with {} jobs; {} delivered more than once\n{}",
        args.seconds,
        args.rate,
        report.refused(),
        report.max_ms,
        report.p50_ms,
        report.p99_ms,
        counted.spooled,
        counted.stored,
        counted.missing,
        counted.bytes_most as f64 / 1_048_576.0,
        counted.drained_secs,
        AROUND.as_secs(),
        counted.events,
        counted.jobs,
        counted.again,
        line.word(),
    ));
    line
}
