//! `mainstay line`: jobs that share an ordering key, and what holds them up.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Context,
    api::{ENDPOINTS, TENANTS, list, text},
    args::{PageArgs, time_short},
    failure::Failure,
    table::{Cell, Column, Fields, Table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum LineCommand {
    /// List lines, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only parked or only moving ones
        #[arg(long, value_parser = ["parked", "moving"])]
        state: Option<String>,
        /// Only of this queue
        #[arg(long)]
        queue: Option<String>,
        /// Only of this endpoint
        #[arg(long)]
        endpoint: Option<String>,
        /// Only of this ordering key
        #[arg(long)]
        key: Option<String>,
        /// Only of this tenant
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a line with the jobs that wait in it
    Show {
        /// Its id
        line: String,
    },
    /// Let a parked line go on; the dead letter that parked it stays one
    Release {
        /// Its id
        line: String,
    },
}

pub(super) async fn run(context: &Context, command: LineCommand) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        LineCommand::List {
            state,
            queue,
            endpoint,
            key,
            tenant,
            page,
        } => {
            let query = [
                ("state", state),
                ("queue", queue),
                ("endpoint", api.find_id_some(ENDPOINTS, endpoint).await?),
                ("key", key),
                ("tenant", api.find_id_some(TENANTS, tenant).await?),
            ];
            let found = api
                .list("/v1/lines", &query, page.cursor, page.limit)
                .await?;
            context.list(&found, table(&found.items), "no lines")
        }
        LineCommand::Show { line } => {
            let found = api.get(&format!("/v1/lines/{line}"), &[]).await?;
            context.show(&found, |_| show(context, &found))
        }
        LineCommand::Release { line } => {
            let released = api
                .post(&format!("/v1/lines/{line}/release"), &json!({}))
                .await?;
            context.show(&released, |out| {
                out.line(&format!(
                    "{} goes on; {} stays a dead letter",
                    text(&released, "/id"),
                    text(&released, "/passed_job_id")
                ))
            })
        }
    }
}

fn table(lines: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Whole("ID"),
        Column::Text("STATE"),
        Column::Text("KEY"),
        Column::Text("QUEUE"),
        Column::Whole("HEAD"),
        Column::Number("WAITING"),
        Column::Whole("SINCE"),
    ]);
    for line in lines {
        let since = match text(line, "/parked_at") {
            none if none.is_empty() => text(line, "/since"),
            parked => parked,
        };
        table.row([
            text(line, "/id").into(),
            Cell::state(text(line, "/state")),
            text(line, "/key").into(),
            text(line, "/queue").into(),
            text(line, "/head_job_id").into(),
            text(line, "/waiting").into(),
            time_short(&since).into(),
        ]);
    }
    table
}

fn show(context: &Context, line: &Value) -> Result<(), Failure> {
    let mut fields = Fields::default();
    fields
        .add("id", text(line, "/id"))
        .add("state", Cell::state(text(line, "/state")))
        .add("key", text(line, "/key"))
        .add("queue", text(line, "/queue"))
        .add("endpoint", text(line, "/endpoint_name"))
        .add("tenant", text(line, "/tenant_id"))
        .add("head", text(line, "/head_job_id"))
        .add("head since", time_short(&text(line, "/since")))
        .add("parked", time_short(&text(line, "/parked_at")))
        .add("waiting", text(line, "/waiting"));
    context.out.fields(&fields)?;
    context.out.title("Waiting, the next first")?;
    let mut table = Table::new(&[Column::Whole("JOB")]);
    for job in list(line, "/waiting_job_ids") {
        table.row([job.as_str().unwrap_or_default().to_owned().into()]);
    }
    context.out.table(&table, "nobody")
}
