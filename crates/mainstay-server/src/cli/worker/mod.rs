//! `mainstay worker`: who takes jobs, and a worker that runs a command for each.

mod command;
mod run;

use clap::Subcommand;
use serde_json::Value;

use super::{
    Context,
    api::{Page, list, text},
    args::time_short,
    failure::Failure,
    table::{Column, Table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum WorkerCommand {
    /// List workers that were heard of lately, or have a job in hand
    #[command(visible_alias = "ls")]
    List,
    /// Take jobs and run a command for each, with the payload on its standard input
    Run(Box<run::RunArgs>),
}

pub(super) async fn run(context: &Context, command: WorkerCommand) -> Result<(), Failure> {
    match command {
        WorkerCommand::List => {
            let answer = context.api()?.get("/v1/workers", &[]).await?;
            let found = Page {
                items: list(&answer, "/items").to_vec(),
                next_cursor: None,
            };
            context.list(&found, table(&found.items), "no workers")
        }
        WorkerCommand::Run(args) => run::run(context, *args).await,
    }
}

fn table(workers: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Text("NAME"),
        Column::Text("KEY"),
        Column::Text("QUEUES"),
        Column::Number("IN HAND"),
        Column::Whole("LAST SEEN"),
    ]);
    for worker in workers {
        let queues: Vec<&str> = list(worker, "/queues")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        table.row([
            text(worker, "/name").into(),
            text(worker, "/by").into(),
            queues.join(", ").into(),
            list(worker, "/job_ids").len().to_string().into(),
            time_short(&text(worker, "/last_seen_at")).into(),
        ]);
    }
    table
}
