//! `mainstay bench …`: the bars, measured by anybody, as ratios against a reference taken in the same run.

use std::io::Write;

use anyhow::ensure;
use clap::{Args, Subcommand};

mod child;
mod cluster;
mod drain;
mod fairness;
mod intake;
mod latency;
mod line;
mod load;
mod memory;
mod node;
mod noop;
mod ready;
mod search;
mod size;
mod spool;

use cluster::{Cluster, Where};
use line::Line;

/// Measures what this machine reaches.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// Webhooks verified, committed and acknowledged, in a second
    Intake(intake::IntakeArgs),
    /// Jobs carried out in a second, with few and with many waiting
    Drain(drain::DrainArgs),
    /// How long the jobs of many tenants take beside one that has a million
    Fairness(fairness::FairnessArgs),
    /// From submitting a job into an idle queue until it starts
    Latency(latency::LatencyArgs),
    /// From starting the process until it takes webhooks
    Ready(ready::ReadyArgs),
    /// Memory while webhooks keep coming
    Memory(memory::MemoryArgs),
    /// Everything about an object by its id, and lists over a day, among very many events
    Search(search::SearchArgs),
    /// Bytes on disk for a webhook, with everything that is kept of it
    Size(size::SizeArgs),
    /// Webhooks accepted while PostgreSQL is gone, and stored when it is back
    Spool(spool::SpoolArgs),
    /// The load generator
    #[command(hide = true)]
    Load(load::LoadArgs),
    /// An engine that waits for its word to begin
    #[command(hide = true)]
    Noop,
}

/// What all benches share.
#[derive(Debug)]
pub(crate) struct Bench {
    place: Where,
    // Gone when the bench is over.
    cluster: Option<Cluster>,
}

impl Bench {
    fn prepare(database: &str) -> anyhow::Result<Self> {
        let (place, cluster) = match database {
            "sqlite" => (Where::Sqlite, None),
            "postgres" => {
                note("starting a throw-away PostgreSQL");
                let cluster = Cluster::start()?;
                (Where::Postgres(cluster.url.clone()), Some(cluster))
            }
            url => {
                ensure!(
                    url.starts_with("postgres://") || url.starts_with("postgresql://"),
                    "--database is sqlite, postgres, or a URL that begins with postgres://"
                );
                (Where::Postgres(url.to_owned()), None)
            }
        };
        Ok(Self { place, cluster })
    }

    /// `sqlite` or `postgres`.
    const fn database(&self) -> &'static str {
        self.place.name()
    }
}

/// Runs the bench; whether its bars hold. `database` is `sqlite`, `postgres` (a throw-away cluster) or the URL of an
/// empty PostgreSQL database; with `json` it ends in one line of JSON.
pub(crate) async fn run(args: &BenchArgs, database: &str, json: bool) -> anyhow::Result<bool> {
    if let Which::Load(load) = &args.which {
        let load = load.clone();
        tokio::task::spawn_blocking(move || load::run(&load)).await??;
        return Ok(true);
    }
    let bench = Bench::prepare(database)?;
    if let Which::Noop = &args.which {
        noop::run(&bench).await?;
        return Ok(true);
    }
    let line: Line = match &args.which {
        Which::Intake(args) => intake::run(&bench, args).await?,
        Which::Drain(args) => drain::run(&bench, args).await?,
        Which::Fairness(args) => fairness::run(&bench, args).await?,
        Which::Latency(args) => latency::run(&bench, args).await?,
        Which::Ready(args) => ready::run(&bench, args).await?,
        Which::Memory(args) => memory::run(&bench, args).await?,
        Which::Search(args) => search::run(&bench, args).await?,
        Which::Size(args) => size::run(&bench, args).await?,
        Which::Spool(args) => spool::run(&bench, args).await?,
        Which::Load(_) | Which::Noop => return Ok(true),
    };
    if json {
        say(&line.json());
    }
    Ok(line.holds != Some(false))
}

/// A result, for whoever reads standard output.
fn say(text: &str) {
    // Nobody reads when standard output is closed.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// What people read meanwhile, apart from results.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
