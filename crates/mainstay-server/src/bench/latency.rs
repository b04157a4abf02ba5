//! `mainstay bench latency`: from submitting a job into an idle queue until its handler starts, on one node, or at a node that
//! stands by until it starts at the one that owns the jobs.

use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use mainstay_domain::{Clock, Random};
use tokio::time::sleep;

use super::{Bench, child::peak_rss_mib, line::Line, node::Ground, note};
use crate::time::{SystemClock, SystemRandom};

/// On one node, in milliseconds.
const P99_BAR_MS: f64 = 10.0;
/// Across nodes, in milliseconds.
const P99_ACROSS_BAR_MS: f64 = 50.0;

/// How to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct LatencyArgs {
    /// How many jobs, one after the other
    #[arg(long, default_value_t = 1_000)]
    jobs: usize,
    /// On how many nodes: with two, on PostgreSQL, jobs are submitted at the one that stands by
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    nodes: u8,
}

/// Measures, tells people, and answers with the line.
pub(crate) async fn run(bench: &Bench, args: &LatencyArgs) -> anyhow::Result<Line> {
    let ground = Ground::prepare(bench).await?;
    let across = args.nodes > 1;
    let node = match across {
        true => ground.start_beside(bench).await?,
        false => ground.start().await?,
    };
    ground.running(&node).await?;
    // It owns the jobs; whoever comes second stands by.
    let stands_by = match across {
        true => Some(ground.start().await?),
        false => None,
    };
    let (name, bar_ms) = match across {
        true => ("latency-nodes", P99_ACROSS_BAR_MS),
        false => ("latency", P99_BAR_MS),
    };
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
    if let Some(stands_by) = stands_by {
        stands_by.stop().await;
    }
    node.stop().await;
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    let line = Line {
        bench: name,
        database: bench.database(),
        value: at(0.99),
        unit: "ms",
        reference: None,
        ratio: None,
        p50_ms: Some(at(0.5)),
        p99_ms: Some(at(0.99)),
        peak_rss_mib: Some(peak_rss_mib("self")?),
        bar: Some(bar_ms),
        holds: Some(at(0.99) < bar_ms),
    };
    note(&format!(
        "{name} on {}: from submitting into an idle queue until the handler starts, {} jobs\n\
         p50 {:.2} ms, p99 {:.2} ms (bar {bar_ms} ms), p99.9 {:.2} ms, most {:.2} ms\n{}",
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
