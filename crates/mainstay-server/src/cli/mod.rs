//! The command line: arguments, dispatch, and what every command shares.
//!
//! A command per file, named by its noun. Commands that look at data go through the API of a running
//! server, like any other client; only those that must work without one open the database themselves.

pub(crate) mod api;
mod args;
mod audit;
mod backup;
mod binding;
mod breaker;
mod configuration;
mod dead_letter;
mod docs;
mod doctor;
mod endpoint;
mod event;
mod failure;
mod groups;
mod job;
mod key;
mod line;
mod listen;
mod migrate;
mod migrate_check;
mod moving;
mod node;
mod output;
mod place;
mod progress;
mod queue;
mod replay;
mod saga;
mod schedule;
mod send;
mod send_body;
mod serve;
mod simulate;
mod source;
mod sql;
mod table;
mod tenant;
mod timeline;
mod user;
mod vault;
mod verify;
mod waiting;
mod worker;

use std::path::PathBuf;

use clap::{Args, FromArgMatches, Parser, Subcommand};
use serde_json::{Value, json};

use crate::{
    bench::{self, BenchArgs},
    config::{Config, Layer},
};
use api::{Address, Api, Page};
use failure::{Exit, Failure};
use output::Output;
use table::Table;

/// The schemes that a source can have.
const SCHEMES: [&str; 13] = mainstay_domain::intake::scheme::Scheme::NAMES;
/// The categories of failures.
const CATEGORIES: [&str; 10] = [
    "network",
    "timeout",
    "rate_limited",
    "validation",
    "auth",
    "conflict",
    "database",
    "provider",
    "bug",
    "unknown",
];

#[derive(Debug, Parser)]
#[command(
    name = "mainstay",
    version,
    about = "Every webhook kept. Every job finished. Every failure seen.",
    subcommand_required = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options for every command")]
pub(crate) struct Global {
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
    /// The configuration file [default: mainstay.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "MAINSTAY_CONFIG")]
    config: Option<PathBuf>,
    /// The data directory [default: ./mainstay-data]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The database: postgres://… [default: SQLite in the data directory; for `bench` sqlite or postgres, both throw-away]
    #[arg(long, global = true, value_name = "URL")]
    database: Option<String>,
    /// The server to talk to [default: the one that runs on the data directory]
    #[arg(long, global = true, value_name = "URL", env = "MAINSTAY_URL")]
    url: Option<String>,
    /// The API key to sign in with [default: the one in the data directory]
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        env = "MAINSTAY_API_KEY",
        hide_env_values = true
    )]
    api_key: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::ServeArgs),
    /// Look at the schema's version, move it up or down
    Migrate(migrate::MigrateArgs),
    /// Write a backup, and verify it
    Backup(backup::BackupArgs),
    /// Restore a backup
    Restore(backup::RestoreArgs),
    /// Grow from SQLite to PostgreSQL, or go back
    #[command(subcommand)]
    Move(moving::MoveCommand),
    /// Look for what is wrong with this installation
    Doctor,
    /// The processes that serve this installation, and which of them owns the jobs
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Customers of the SaaS
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// People who sign in
    #[command(subcommand)]
    User(user::UserCommand),
    /// API keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Encryption at rest: master keys, rotation, erasure
    #[command(subcommand)]
    Vault(vault::VaultCommand),
    /// Who did what, and whether the log of it still is what was written
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Doors that webhooks come in by
    #[command(subcommand)]
    Source(source::SourceCommand),
    /// The team's own URLs that jobs are pushed to
    #[command(subcommand)]
    Endpoint(endpoint::EndpointCommand),
    /// Rules that turn events into jobs
    #[command(subcommand)]
    Binding(binding::BindingCommand),
    /// Cron rules that make jobs
    #[command(subcommand)]
    Schedule(Box<schedule::ScheduleCommand>),
    /// Several durable steps, each with what undoes it, and their runs
    #[command(subcommand)]
    Saga(saga::SagaCommand),
    /// Change sources, endpoints, bindings and schedules to what a file declares
    Apply(configuration::ApplyArgs),
    /// Show what `apply` would change
    Diff(configuration::DiffArgs),
    /// Write sources, endpoints, bindings and schedules as a file that `apply` takes, without their secrets
    Export(configuration::ExportArgs),
    /// What came in, and what became of it
    #[command(subcommand)]
    Event(event::EventCommand),
    /// Events that are given to bindings, or to an endpoint, once more; `event replay` begins one
    #[command(subcommand)]
    Replay(replay::ReplayCommand),
    /// Everything about one customer, payment or repository, by an id that stands in events
    Timeline(timeline::TimelineArgs),
    /// Units of work
    #[command(subcommand)]
    Job(job::JobCommand),
    /// Jobs that no further try would mend
    #[command(subcommand)]
    DeadLetter(dead_letter::DeadLetterCommand),
    /// Named groups of jobs: how they stand, their limits, pause and drain
    #[command(subcommand)]
    Queue(queue::QueueCommand),
    /// What stands before the endpoints' dependencies: how each stands, its history, and holding it
    #[command(subcommand)]
    Breaker(breaker::BreakerCommand),
    /// Jobs that share an ordering key and run one at a time
    #[command(subcommand)]
    Line(line::LineCommand),
    /// Processes that take jobs: who they are, and one that runs a command for each job
    #[command(subcommand)]
    Worker(worker::WorkerCommand),
    /// Sign and send a test webhook
    Send(Box<send::SendArgs>),
    /// Follow a server's events, and send them to your own machine
    Listen(Box<listen::ListenArgs>),
    /// Play a provider's worst day at any handler, and judge how it does
    Simulate(Box<simulate::SimulateArgs>),
    /// Explain why a signature verifies or does not
    Verify(Box<verify::VerifyArgs>),
    /// Run one read-only SQL statement
    Sql(sql::SqlArgs),
    /// Measure what this machine reaches, against a reference in the same run
    Bench(BenchArgs),
    /// Print the API's OpenAPI document
    #[command(hide = true)]
    Openapi,
    /// Print docs/cli.md
    #[command(hide = true)]
    Docs,
}

/// What a command works with.
pub(crate) struct Context {
    out: Output,
    global: Global,
}

impl Context {
    /// The configuration, as the server would read it.
    fn config(&self, flags: Layer) -> Result<Config, Failure> {
        let flags = Layer {
            data: self.global.data.clone(),
            database: self.global.database.clone(),
            ..flags
        };
        Config::load(self.global.config.clone(), flags).map_err(|error| {
            Failure::usage("the configuration cannot be used")
                .detail(error.to_string())
                .hint("docs/configuration.md lists every key")
        })
    }

    /// The API of the server that was named, or that runs on the data directory.
    fn api(&self) -> Result<Api, Failure> {
        Api::new(&self.address()?)
    }

    fn address(&self) -> Result<Address, Failure> {
        let (url, token) = (self.global.url.as_deref(), self.global.api_key.as_deref());
        if let (Some(url), Some(token)) = (url, token) {
            return Ok(Address {
                url: url.to_owned(),
                token: token.to_owned(),
            });
        }
        Address::find(url, token, &self.config(Layer::default())?.data)
    }

    /// A list: the API's JSON, or a table and how to go on.
    fn list(&self, page: &Page, table: Table, none: &str) -> Result<(), Failure> {
        if self.out.json(&page.to_json())? {
            return Ok(());
        }
        self.out.table(&table, none)?;
        if let Some(cursor) = &page.next_cursor {
            self.out.remark(&format!(
                "there is more: raise --limit, or go on with --cursor {cursor}"
            ));
        }
        Ok(())
    }

    /// One thing: the API's JSON, or what `print` makes of it.
    fn show(
        &self,
        value: &Value,
        print: impl FnOnce(&Output) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.out.json(value)? {
            return Ok(());
        }
        print(&self.out)
    }

    /// Something that was done and has nothing to show.
    fn done(&self, said: &str) -> Result<(), Failure> {
        self.show(&json!({ "done": said }), |out| out.line(said))
    }
}

/// Reads the arguments, runs the command and answers the exit code.
pub(crate) fn main() -> u8 {
    if std::env::args_os().len() < 2 {
        return help();
    }
    let matches = groups::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let context = Context {
        out: Output::stdout(cli.global.json),
        global: cli.global,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, "cannot start").detail(error.to_string()));
    let ran = runtime.and_then(|runtime| {
        let ran = runtime.block_on(Box::pin(run(&context, cli.command)));
        // What still waits in a thread, such as a slow name server, is not waited for.
        runtime.shutdown_background();
        ran
    });
    let flushed = context.out.flush();
    match ran.and(flushed) {
        Ok(()) => 0,
        Err(failure) => failure.report(context.out.is_json()),
    }
}

/// Alone, the program says what it can do.
fn help() -> u8 {
    let out = Output::stdout(false);
    let printed = out.text(&groups::command().render_help().to_string());
    match printed.and(out.flush()) {
        Ok(()) => 0,
        Err(failure) => failure.report(false),
    }
}

async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve::run(context, args).await,
        Command::Migrate(args) => migrate::run(context, args).await,
        Command::Backup(args) => backup::backup(context, args).await,
        Command::Restore(args) => backup::restore(context, args).await,
        Command::Move(command) => Box::pin(moving::run(context, command)).await,
        Command::Doctor => doctor::run(context).await,
        Command::Node(command) => node::run(context, command).await,
        Command::Tenant(command) => tenant::run(context, command).await,
        Command::User(command) => user::run(context, command).await,
        Command::Key(command) => key::run(context, command).await,
        Command::Vault(command) => vault::run(context, command).await,
        Command::Audit(command) => audit::run(context, command).await,
        Command::Source(command) => source::run(context, command).await,
        Command::Endpoint(command) => endpoint::run(context, command).await,
        Command::Binding(command) => binding::run(context, command).await,
        Command::Schedule(command) => schedule::run(context, *command).await,
        Command::Saga(command) => saga::run(context, command).await,
        Command::Apply(args) => configuration::apply(context, args).await,
        Command::Diff(args) => configuration::diff(context, args).await,
        Command::Export(args) => configuration::export(context, args).await,
        Command::Event(command) => event::run(context, command).await,
        Command::Replay(command) => replay::run(context, command).await,
        Command::Timeline(args) => timeline::run(context, args).await,
        Command::Job(command) => job::run(context, command).await,
        Command::DeadLetter(command) => dead_letter::run(context, command).await,
        Command::Queue(command) => queue::run(context, command).await,
        Command::Breaker(command) => breaker::run(context, command).await,
        Command::Line(command) => line::run(context, command).await,
        Command::Worker(command) => worker::run(context, command).await,
        Command::Send(args) => send::run(context, *args).await,
        Command::Listen(args) => Box::pin(listen::run(context, *args)).await,
        Command::Simulate(args) => Box::pin(simulate::run(context, *args)).await,
        Command::Verify(args) => verify::run(context, *args),
        Command::Sql(args) => sql::run(context, args).await,
        Command::Bench(args) => measure(context, &args).await,
        Command::Openapi => serve::openapi(context),
        Command::Docs => context.out.text(&docs::markdown()),
    }
}

/// Without a database named, on a throw-away SQLite; `postgres` is a throw-away cluster.
async fn measure(context: &Context, args: &BenchArgs) -> Result<(), Failure> {
    let database = context.global.database.as_deref().unwrap_or("sqlite");
    match bench::run(args, database, context.global.json).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::said(Exit::NotClean)),
        Err(error) => {
            Err(Failure::new(Exit::Failed, "nothing was measured").detail(format!("{error:#}")))
        }
    }
}
