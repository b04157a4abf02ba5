//! `mainstay move`: growing up from SQLite to PostgreSQL, and the way back.

use clap::{Args, Subcommand};
use mainstay_domain::{Clock as _, StoreError};
use mainstay_store::{
    DataDirectory, PostgresUrl, SetupError, SetupResult,
    moving::{self, How, Mark, Moved, Since},
};
use serde_json::{Value, json};

use super::{
    Context,
    args::Consent,
    failure::{Exit, Failure},
    output::stderr_line,
    progress::Bar,
    table::Fields,
};
use crate::{
    config::{Config, Layer},
    time::{SystemClock, Time},
};

#[derive(Debug, Subcommand)]
pub(crate) enum MoveCommand {
    /// Move everything to the PostgreSQL database that --database names; the server is stopped for it
    SqliteToPostgres(ToPostgresArgs),
    /// Serve the data directory again that was moved; says what PostgreSQL took since
    Back(BackArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ToPostgresArgs {
    /// Copy and verify everything beside the running server, take it back, and say how long it took
    #[arg(long)]
    plan: bool,
    /// Copy and verify what grows beside the running server, wait until it is stopped, and copy what has changed: a short
    /// pause
    #[arg(long, conflicts_with = "plan")]
    live: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BackArgs {
    /// Go back although PostgreSQL cannot be asked what it took since
    #[arg(long)]
    unasked: bool,
    #[command(flatten)]
    consent: Consent,
}

pub(super) async fn run(context: &Context, command: MoveCommand) -> Result<(), Failure> {
    let config = context.config(Layer::default())?;
    match command {
        MoveCommand::SqliteToPostgres(args) => to_postgres(context, &config, &args).await,
        MoveCommand::Back(args) => back(context, &config, args).await,
    }
}

async fn to_postgres(
    context: &Context,
    config: &Config,
    args: &ToPostgresArgs,
) -> Result<(), Failure> {
    let to = target(config)?.ok_or_else(|| {
        Failure::usage("where to is not said")
            .hint("name an empty database with --database postgres://… or MAINSTAY_DATABASE")
    })?;
    let bar = Bar::rows(&context.out, "moving");
    let moved = if args.live {
        live(config, &to, &bar).await
    } else {
        at_once(config, &to, &bar, args.plan).await
    };
    drop(bar);
    let moved = moved.map_err(failed)?;
    shown(context, &moved, args.plan, &to)?;
    context.out.remark(match args.plan {
        true => {
            "nothing of it was kept. Moved with the server stopped, the pause is this time and that of a stop and a start; \
             with --live most of it is done before"
        }
        false => {
            "start the server with this --database, with the same master key and spool; the old data stays where it is, \
             is not served any more, and is yours to remove (docs/growing-up.md)"
        }
    });
    Ok(())
}

async fn at_once(config: &Config, to: &PostgresUrl, bar: &Bar, plan: bool) -> SetupResult<Moved> {
    // Before a directory is made by locking it.
    let mut from = DataDirectory::beside(&config.data)?;
    let how = if plan { How::Rehearse } else { How::Move };
    if how == How::Move {
        from = DataDirectory::lock(&config.data)?;
    }
    let now = SystemClock.now();
    moving::to_postgres(&from, to, how, now, bar.listener()).await
}

async fn live(config: &Config, to: &PostgresUrl, bar: &Bar) -> SetupResult<Moved> {
    let now = || SystemClock.now();
    let stopped = async || {
        bar.aside(|| {
            // Also with --json: nothing goes on before it is done.
            stderr_line(
                "what grows is copied: stop the server now, the rest begins when it has ended",
            );
        });
        let data = config.data.clone();
        let locked = tokio::task::spawn_blocking(move || DataDirectory::lock_when_free(&data));
        locked
            .await
            .map_err(|error| StoreError::Bug(format!("a thread ended early: {error}")))?
    };
    moving::to_postgres_live(&config.data, to, now, bar.listener(), stopped).await
}

/// The target's owner, where there is one of its own.
fn target(config: &Config) -> Result<Option<PostgresUrl>, Failure> {
    let url = config
        .database_migrate
        .as_ref()
        .or(config.database.as_ref());
    Ok(url.map(|url| url.0.parse::<PostgresUrl>()).transpose()?)
}

/// A server that is away is worth another try; the rest is not.
fn failed(error: SetupError) -> Failure {
    match error {
        SetupError::Store(StoreError::Unavailable(why)) => Failure::new(
            Exit::Unreachable,
            "PostgreSQL was lost, and nothing was kept",
        )
        .detail(why)
        .hint("begin again; where it had been moved already, that is found out"),
        other => other.into(),
    }
}

fn shown(context: &Context, moved: &Moved, plan: bool, to: &PostgresUrl) -> Result<(), Failure> {
    let outcome = match (plan, moved.before) {
        (true, _) => "copied, verified and taken back",
        (false, false) => "moved and verified",
        (false, true) => "had been moved already",
    };
    let seconds = moved.took.as_secs_f64();
    let rate = moved.rows() as f64 / seconds.max(0.001);
    let tables: Vec<Value> = moved
        .tables
        .iter()
        .map(|table| {
            json!({
                "table": table.name, "rows": table.rows, "bytes": table.bytes, "sha256": table.sha256,
            })
        })
        .collect();
    let ahead = moved.ahead.map(|ahead| {
        json!({
            "rows": ahead.rows, "seconds": ahead.took.as_secs_f64(), "rows_again": ahead.again,
        })
    });
    let answer = json!({
        "outcome": outcome, "to": to.to_string(), "ahead": ahead, "tables": tables, "rows": moved.rows(), "bytes": moved.bytes(),
        "digest": moved.digest, "seconds": seconds, "rows_per_second": rate.round(),
    });
    context.show(&answer, |out| {
        let mut fields = Fields::default();
        fields
            .add("outcome", outcome)
            .add("to", to.to_string())
            .add("tables", moved.tables.len().to_string())
            .add("rows", moved.rows().to_string())
            .add("size", indicatif::HumanBytes(moved.bytes()).to_string())
            .add("checksum", moved.digest.as_str())
            .add("took", format!("{seconds:.1} s, {rate:.0} rows a second"));
        if let Some(ahead) = moved.ahead {
            let before = ahead.took.as_secs_f64();
            let before = format!(
                "{} rows in {before:.1} s, {} of them again",
                ahead.rows, ahead.again
            );
            fields.add("before the pause", before);
        }
        out.fields(&fields)
    })
}

async fn back(context: &Context, config: &Config, args: BackArgs) -> Result<(), Failure> {
    // Before a directory is made by locking it.
    DataDirectory::beside(&config.data)?;
    let directory = DataDirectory::lock(&config.data)?;
    let Some(mark) = moving::mark(&directory)? else {
        return Err(Failure::new(Exit::NotFound, "nothing was moved")
            .detail(format!("{} is served as it is", config.data.display())));
    };
    let since = match (target(config)?, args.unasked) {
        (_, true) => None,
        (Some(url), false) => Some(moving::since(&url, mark.at).await.map_err(failed)?),
        (None, false) => {
            return Err(Failure::usage("what PostgreSQL took since is not known")
                .detail(format!("the data was moved to {}", mark.to))
                .hint("name it with --database, or go back without asking it with --unasked"));
        }
    };
    args.consent.ask(&question(config, &mark, since.as_ref()))?;
    moving::mark_remove(&directory)?;
    let answer = json!({
        "outcome": "back", "to": mark.to, "moved_at": Time(mark.at), "left_behind": since,
    });
    context.show(&answer, |out| {
        out.line(&format!("{} is served again", config.data.display()))?;
        match &since {
            Some(since) => out.line(&format!("left behind: {}", listed(since))),
            None => Ok(()),
        }
    })?;
    context.out.remark(
        "stop what runs on PostgreSQL first; before another move that database is to be emptied (docs/growing-up.md)",
    );
    Ok(())
}

fn question(config: &Config, mark: &Mark, since: Option<&Since>) -> String {
    let (path, to, at) = (config.data.display(), &mark.to, Time(mark.at));
    let lost = match since {
        None => "whatever it took since is not here".to_owned(),
        Some(since) if since.is_empty() => "it took nothing since".to_owned(),
        Some(since) => format!("what it took since is not here: {}", listed(since)),
    };
    format!(
        "Serve {path} again, as it was when it was moved to {to} at {at}? {lost}; jobs that it has carried out are \
         carried out once more."
    )
}

fn listed(since: &Since) -> String {
    format!(
        "{} events, {} jobs, {} attempts, {} dead letters, {} entries of the audit log",
        since.events, since.jobs, since.attempts, since.dead_letters, since.audit_entries
    )
}
