//! `mainstay bench drain`: how many jobs that do nothing are carried out in a second, with ten thousand waiting and with a
//! million, and (PostgreSQL) with an old snapshot held open, which is what slows other queues down.
//!
//! What is compared is the rate over equally many jobs: of a small backlog all but its first and last tenth, of the
//! large one every such stretch within the fifth that follows once the new engine has found all of it, or has done half
//! of it before. Their medians make the ratio; beside it stands the rate over the whole of that fifth, which also has the
//! pauses of the disk in it.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use clap::Args;
use mainstay_domain::Clock;

use super::{
    Bench,
    child::peak_rss_mib,
    line::{Line, Spread},
    node::Ground,
    note,
};
use crate::time::SystemClock;

/// What the rate with many waiting has to reach of the rate with few.
const RATIO_BAR: f64 = 0.9;

/// How to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct DrainArgs {
    /// A backlog that is small
    #[arg(long, default_value_t = 10_000)]
    few: usize,
    /// A backlog that is large
    #[arg(long, default_value_t = 1_000_000)]
    many: usize,
    /// How often the small backlog is drained
    #[arg(long, default_value_t = 25)]
    runs: usize,
    /// PostgreSQL: hold a snapshot open while the large backlog is made and drained
    #[arg(long)]
    held_snapshot: bool,
}

/// Measures, tells people, and answers with the line.
pub(crate) async fn run(bench: &Bench, args: &DrainArgs) -> anyhow::Result<Line> {
    ensure!(
        !args.held_snapshot || bench.place.url().is_some(),
        "a snapshot can be held open on PostgreSQL: --database postgres"
    );
    ensure!(
        args.few >= 100 && args.many > args.few,
        "--few is at least 100 and --many larger than that"
    );
    let ground = Ground::prepare(bench).await?;
    let mut runs = Vec::new();
    for run in 0..args.runs {
        let drained = drain(&ground, args.few, args.few, args.few).await?;
        let rate = *drained.stretches.first().context("a stretch")?;
        note(&format!(
            "run {run}: {rate:.0} jobs/s with {} waiting",
            args.few
        ));
        runs.push(rate);
    }
    let few = Spread::of(&runs).context("at least one run")?;
    let held = match bench.place.url() {
        Some(url) if args.held_snapshot => Some(Snapshot::hold(url)?),
        _ => None,
    };
    let many = drain(&ground, args.many, args.many / 5, args.few).await?;
    drop(held);
    let stretches = Spread::of(&many.stretches).context("at least one stretch")?;
    let ratio = stretches.median / few.median;
    let line = Line {
        bench: if args.held_snapshot {
            "drain-held-snapshot"
        } else {
            "drain"
        },
        database: bench.database(),
        value: stretches.median,
        unit: "jobs/s",
        reference: Some(few.median),
        ratio: Some(ratio),
        p50_ms: None,
        p99_ms: None,
        peak_rss_mib: Some(peak_rss_mib("self")?),
        bar: Some(RATIO_BAR),
        holds: Some(ratio >= RATIO_BAR),
    };
    note(&format!(
        "{} on {}: jobs that do nothing, every attempt recorded\n\
         {:>9} waiting   {few} jobs/s, median of {} runs\n\
         {:>9} waiting   {stretches} jobs/s, median of {} stretches: {:.0} % of that (bar {:.0} %)\n\
         {:>9}           {:.0} jobs/s over all of them; inserted {:.0} a second{}\n{}",
        line.bench,
        bench.database(),
        args.few,
        args.runs,
        args.many,
        many.stretches.len(),
        ratio * 100.0,
        RATIO_BAR * 100.0,
        "",
        many.rate,
        many.inserted,
        if args.held_snapshot {
            ", with an old snapshot held open"
        } else {
            ""
        },
        line.word()
    ));
    Ok(line)
}

struct Drained {
    /// Jobs a second, stretch by stretch.
    stretches: Vec<f64>,
    /// Over all of them.
    rate: f64,
    inserted: f64,
}

/// Inserts jobs while no engine runs, starts one, lets it do this many, and takes the rates as the attempts tell them, a
/// stretch being eight tenths of `few`: neither the start nor the last incomplete batch belongs to it. Leaves nothing of
/// a small backlog behind.
async fn drain(
    ground: &Ground,
    count: usize,
    wanted: usize,
    few: usize,
) -> anyhow::Result<Drained> {
    // All of them are done: only the large backlog leaves any, and it is the last.
    let done_before = ground.inserted();
    let inserted = ground.fill(count).await?;
    let begin = SystemClock.now();
    let node = ground.start().await?;
    let tenth = few / 10;
    let mut skipped = 0;
    if wanted < count {
        let half = done_before + (count / 2) as i64;
        ground.found(&node, half).await?;
        skipped = usize::try_from(ground.done(&node) - done_before)?;
        ensure!(
            skipped + wanted < count,
            "{skipped} of {count} were done before the measurement began: use a larger --many"
        );
    }
    ground
        .done_reaches(&node, done_before + (skipped + wanted) as i64)
        .await?;
    node.stop().await;
    let times = ground.done_at_each(begin, tenth).await?;
    let times: Vec<i64> = times
        .into_iter()
        .skip(skipped.div_ceil(tenth))
        .take(wanted / tenth)
        .collect();
    let rate = |times: &[i64]| {
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            return 0.0;
        };
        ((times.len() - 1) * tenth) as f64 / ((last - first) as f64 / 1_000_000.0)
    };
    // Nine times bound eight tenths.
    let stretches: Vec<f64> = times.chunks_exact(9).map(rate).collect();
    let all = rate(&times);
    ensure!(
        all.is_finite() && stretches.iter().all(|rate| rate.is_finite()),
        "too fast to be measured: use larger backlogs"
    );
    Ok(Drained {
        stretches,
        rate: all,
        inserted,
    })
}

/// A session that reads once and then does nothing, in a transaction that sees the database as it was.
struct Snapshot(Child);

impl Snapshot {
    fn hold(url: &str) -> anyhow::Result<Self> {
        use std::io::Write;
        let mut session = Command::new("psql")
            .args(["-X", "-q", "-d", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("psql holds the snapshot, and could not be started")?;
        let input = session.stdin.as_mut().context("psql's input")?;
        writeln!(
            input,
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class;"
        )?;
        input.flush()?;
        Ok(Self(session))
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
