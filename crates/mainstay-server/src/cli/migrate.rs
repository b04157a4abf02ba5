//! `mainstay migrate`: the schema's version. The server migrates up by itself when it starts.

use clap::{Args, Subcommand};
use mainstay_domain::Clock as _;
use mainstay_store::{
    backup::migrate_with_backup,
    migrate::{Migrator, Mode, Status, Step},
};
use serde_json::{Value, json};

use super::{
    Context,
    args::{Consent, time_short},
    failure::Failure,
    migrate_check::{self, CheckArgs},
    place::Opened,
    progress::Bar,
    table::{Cell, Column, Table},
};
use crate::{
    config::Layer,
    limits,
    time::{SystemClock, Time},
};

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(subcommand)]
    command: Option<MigrateCommand>,
    /// Run the migrations, say which, and take everything back
    #[arg(long, global = true)]
    dry_run: bool,
}

#[derive(Debug, Subcommand)]
enum MigrateCommand {
    /// Show what the database has and what it lacks
    Status,
    /// Apply what is missing; a database that holds data is backed up first (the default)
    Up,
    /// Take migrations back
    Down {
        /// The version to go back to; 0 takes everything back, data included
        #[arg(long, value_name = "VERSION")]
        to: u32,
        #[command(flatten)]
        consent: Consent,
    },
    /// Judge migrations before they are run: what loses data, or leaves a foreign key without an index
    Check(CheckArgs),
}

pub(super) async fn run(context: &Context, args: MigrateArgs) -> Result<(), Failure> {
    let config = || context.config(Layer::default());
    let migrator = Migrator::embedded();
    let mode = if args.dry_run {
        Mode::DryRun
    } else {
        Mode::Apply
    };
    match args.command.unwrap_or(MigrateCommand::Up) {
        // It needs no database.
        MigrateCommand::Check(args) => migrate_check::run(context, &args),
        MigrateCommand::Status => {
            let config = config()?;
            let opened = Opened::beside(&config)?;
            let status = migrator.status(opened.place()).await?;
            context.show(&status_json(&status), |out| {
                out.table(&status_table(&status), "there are no migrations")
            })
        }
        MigrateCommand::Up if mode == Mode::DryRun => {
            let config = config()?;
            let opened = Opened::alone(&config)?;
            let steps = migrator.up(opened.place(), mode, SystemClock.now()).await?;
            said(
                context,
                &steps,
                "would be applied",
                "nothing to apply",
                None,
            )
        }
        MigrateCommand::Up => {
            let config = config()?;
            let opened = Opened::alone(&config)?;
            let bar = Bar::start(&context.out, "backing up");
            let directory = config.data.join(limits::BACKUPS_DIRECTORY);
            let now = SystemClock.now();
            let (taken, steps) =
                migrate_with_backup(opened.place(), &directory, now, bar.listener()).await?;
            drop(bar);
            if let Some(taken) = &taken {
                context
                    .out
                    .remark(&format!("backed up to {}", taken.display()));
            }
            let backup = taken.map(|path| path.display().to_string());
            said(context, &steps, "applied", "nothing to apply", backup)
        }
        MigrateCommand::Down { to, consent } => {
            let config = config()?;
            let opened = Opened::alone(&config)?;
            if mode == Mode::Apply {
                consent.ask(&format!(
                    "Go back to version {to}? What later versions store is lost."
                ))?;
            }
            let steps = migrator.down(opened.place(), to, mode).await?;
            let word = match mode {
                Mode::Apply => "taken back",
                Mode::DryRun => "would be taken back",
            };
            said(context, &steps, word, "nothing to take back", None)
        }
    }
}

fn said(
    context: &Context,
    steps: &[Step],
    word: &str,
    none: &str,
    backup: Option<String>,
) -> Result<(), Failure> {
    let listed: Vec<Value> = steps
        .iter()
        .map(|step| json!({ "version": step.version, "name": step.name }))
        .collect();
    let answer = json!({ "outcome": word, "migrations": listed, "backup": backup });
    context.show(&answer, |out| {
        if steps.is_empty() {
            return out.line(none);
        }
        for step in steps {
            out.line(&format!("{:04} {} {word}", step.version, step.name))?;
        }
        Ok(())
    })
}

fn status_json(status: &Status) -> Value {
    let applied: Vec<Value> = status
        .applied
        .iter()
        .map(|one| {
            json!({
                "version": one.version, "name": one.name, "checksum": one.checksum,
                "applied_at": Time(one.applied_at),
            })
        })
        .collect();
    let pending: Vec<Value> = status
        .pending
        .iter()
        .map(|one| json!({ "version": one.version, "name": one.name }))
        .collect();
    json!({ "applied": applied, "pending": pending })
}

fn status_table(status: &Status) -> Table {
    let mut table = Table::new(&[
        Column::Number("VERSION"),
        Column::Text("NAME"),
        Column::Text("STATE"),
        Column::Whole("APPLIED"),
    ]);
    for one in &status.applied {
        table.row([
            one.version.to_string().into(),
            one.name.as_str().into(),
            Cell::state("done"),
            time_short(&Time(one.applied_at).to_string()).into(),
        ]);
    }
    for one in &status.pending {
        table.row([
            one.version.to_string().into(),
            one.name.as_str().into(),
            Cell::state("pending"),
            "".into(),
        ]);
    }
    table
}
