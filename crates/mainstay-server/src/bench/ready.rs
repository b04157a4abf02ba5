//! `mainstay bench ready`: from starting the process until intake commits, on an empty database and on a full one.

use std::time::Instant;

use anyhow::Context;
use clap::Args;

use super::{
    Bench, child,
    line::{Line, Spread},
    node::Ground,
    note,
};

/// On an empty database, in milliseconds.
const EMPTY_BAR_MS: f64 = 1_000.0;
/// On a full one.
const FULL_BAR_MS: f64 = 3_000.0;

/// How to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReadyArgs {
    /// How many events a full database holds, each with a job that is not done
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    /// How often each start is measured
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// Measures, tells people, and answers with the line.
pub(crate) async fn run(bench: &Bench, args: &ReadyArgs) -> anyhow::Result<Line> {
    let mut empty = Vec::new();
    if bench.place.url().is_none() {
        for _ in 0..args.runs {
            let folder = tempfile::tempdir()?;
            empty.push(ready_ms(bench, folder.path()).await?);
        }
    } else {
        // The first start finds nothing at all and makes the schema.
        let folder = tempfile::tempdir()?;
        empty.push(ready_ms(bench, folder.path()).await?);
    }
    let empty = Spread::of(&empty).context("at least one run")?;
    note(&format!("empty: ready after {empty} ms"));
    let ground = Ground::prepare(bench).await?;
    ground.fill_events(args.events).await?;
    let folder = ground.close().await;
    let mut full = Vec::new();
    for _ in 0..args.runs {
        full.push(ready_ms(bench, folder.path()).await?);
    }
    let full = Spread::of(&full).context("at least one run")?;
    let holds = empty.median < EMPTY_BAR_MS && full.median < FULL_BAR_MS;
    let line = Line {
        bench: "ready",
        database: bench.database(),
        value: full.median,
        unit: "ms",
        reference: Some(empty.median),
        ratio: Some(full.median / empty.median),
        p50_ms: None,
        p99_ms: None,
        peak_rss_mib: None,
        bar: Some(FULL_BAR_MS),
        holds: Some(holds),
    };
    note(&format!(
        "ready on {}: from starting the process until intake commits\n\
         empty database  {empty} ms (bar {EMPTY_BAR_MS} ms)\n\
         {:>9} events, as many jobs open  {full} ms (bar {FULL_BAR_MS} ms)\n{}",
        bench.database(),
        args.events,
        line.word()
    ));
    Ok(line)
}

async fn ready_ms(bench: &Bench, data: &std::path::Path) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let server = child::server(data, bench.place.url(), false).await?;
    let took = begin.elapsed().as_secs_f64() * 1_000.0;
    drop(server);
    Ok(took)
}
