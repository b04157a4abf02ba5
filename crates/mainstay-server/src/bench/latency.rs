//! `mainstay bench latency`: from submitting a job into an idle queue until its handler starts.

use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use mainstay_domain::{Clock, Random};
use tokio::time::sleep;

use super::{Bench, child::peak_rss_mib, line::Line, node::Ground, note};
use crate::time::{SystemClock, SystemRandom};

/// In milliseconds.
const P99_BAR_MS: f64 = 10.0;

/// How to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct LatencyArgs {
    /// How many jobs, one after the other
    #[arg(long, default_value_t = 1_000)]
    jobs: usize,
}

/// Measures, tells people, and answers with the line.
pub(crate) async fn run(bench: &Bench, args: &LatencyArgs) -> anyhow::Result<Line> {
    let ground = Ground::prepare(bench).await?;
    let node = ground.start().await?;
    ground.running(&node).await?;
    // Microseconds, up to a minute.
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    for number in 0..args.jobs + 20 {
        // Idle for a moment that is not always the same.
        sleep(Duration::from_micros(3_000 + SystemRandom.below(9_000))).await;
        let submitted = SystemClock.now();
        let job = ground.job(submitted);
        let id = job.id;
        ground.insert(vec![job]).await?;
        ground.store.wake();
        let attempt = ground.attempt(id).await?;
        // The first ones warm caches up.
        if number >= 20 {
            let micros = attempt.started_at.micros() - submitted.micros();
            histogram.record(micros.clamp(1, 60_000_000) as u64)?;
        }
    }
    node.stop().await;
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    let line = Line {
        bench: "latency",
        database: bench.database(),
        value: at(0.99),
        unit: "ms",
        reference: None,
        ratio: None,
        p50_ms: Some(at(0.5)),
        p99_ms: Some(at(0.99)),
        peak_rss_mib: Some(peak_rss_mib("self")?),
        bar: Some(P99_BAR_MS),
        holds: Some(at(0.99) < P99_BAR_MS),
    };
    note(&format!(
        "latency on {}: from submitting into an idle queue until the handler starts, {} jobs\n\
         p50 {:.2} ms, p99 {:.2} ms (bar {P99_BAR_MS} ms), p99.9 {:.2} ms, most {:.2} ms\n{}",
        bench.database(),
        args.jobs,
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        line.word()
    ));
    Ok(line)
}
