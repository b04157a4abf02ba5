//! `mainstay bench memory`: whether the server's memory stays flat while webhooks keep coming.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use tokio::time::{Instant, sleep_until};

use super::{
    Bench,
    child::{self, Load, rss_mib},
    intake::LOAD_SECRET,
    line::Line,
    note,
};

/// How much more memory the second half may use than the first did.
const GROWTH_BAR: f64 = 1.1;
/// In MiB.
const RSS_BAR_MIB: f64 = 100.0;

/// How to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct MemoryArgs {
    /// How long
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Requests in a second
    #[arg(long, default_value_t = 2_000.0)]
    rate: f64,
}

/// Measures, tells people, and answers with the line.
pub(crate) async fn run(bench: &Bench, args: &MemoryArgs) -> anyhow::Result<Line> {
    let folder = tempfile::tempdir()?;
    let server = child::server(folder.path(), bench.place.url(), false).await?;
    child::sources_declare(folder.path(), LOAD_SECRET).await?;
    let load = Load {
        address: &server.address,
        path: child::BUSY_PATH,
        secret: LOAD_SECRET,
        seconds: args.minutes * 60.0,
        connections: 64,
        body: 2_048,
        rate: Some(args.rate),
        warm_up: None,
        run: "flat",
    };
    let samples = sample(server.pid(), args.minutes);
    let (report, samples) = tokio::join!(load.put(), samples);
    let (report, samples) = (report?, samples?);
    let (first, second) = samples.split_at(samples.len() / 2);
    let peak = |part: &[f64]| part.iter().copied().fold(0.0, f64::max);
    // The very first samples are of a process that is only warming up.
    let (before, after) = (peak(&first[first.len() / 4..]), peak(second));
    let growth = after / before;
    let peak_rss = server.peak_rss_mib()?;
    let line = Line {
        bench: "memory",
        database: bench.database(),
        value: after,
        unit: "MiB",
        reference: Some(before),
        ratio: Some(growth),
        p50_ms: Some(report.p50_ms),
        p99_ms: Some(report.p99_ms),
        peak_rss_mib: Some(peak_rss),
        bar: Some(GROWTH_BAR),
        holds: Some(growth <= GROWTH_BAR && peak_rss < RSS_BAR_MIB && report.refused() == 0),
    };
    note(&format!(
        "memory on {}: {} minutes at {:.0} requests/s, {} requests\n\
         at most {before:.1} MiB in the first half, {after:.1} MiB in the second (bar {GROWTH_BAR} times); \
         peak {peak_rss:.1} MiB (bar {RSS_BAR_MIB} MiB)\n{}",
        bench.database(),
        args.minutes,
        report.per_second,
        report.requests,
        line.word()
    ));
    Ok(line)
}

/// Resident memory at even distances over the time.
async fn sample(process: String, minutes: f64) -> anyhow::Result<Vec<f64>> {
    const SAMPLES: u32 = 120;
    let every = Duration::from_secs_f64(minutes * 60.0) / SAMPLES;
    ensure!(!every.is_zero(), "--minutes is more than nothing");
    let begin = Instant::now();
    let mut samples = Vec::new();
    for number in 1..SAMPLES {
        sleep_until(begin + every * number).await;
        samples.push(rss_mib(&process).context("the server's memory")?);
    }
    Ok(samples)
}
