//! `mainstay saga`: several durable steps, each with what undoes it, and their runs.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Context,
    api::{Api, SAGAS, TENANTS, list, text},
    args::{Body, Consent, JsonArg, PageArgs, time_short},
    failure::Failure,
    table::{Cell, Column, Fields, Table},
};

const RUNS: &str = "/v1/saga-runs";

#[derive(Debug, Subcommand)]
pub(crate) enum SagaCommand {
    /// Add a saga with the steps of its first version
    #[command(visible_alias = "add")]
    Create {
        /// Its name: lower-case letters, digits, '-' and '_'
        name: String,
        /// Its steps: a JSON array, @FILE, or - for standard input
        #[arg(long, value_name = "JSON")]
        steps: JsonArg,
        /// Whose it is: a tenant's slug or id
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Give a saga a new version: runs that have begun end with the one that they began with
    #[command(visible_alias = "set")]
    Update {
        /// Its id or name
        saga: String,
        /// Its steps: a JSON array, @FILE, or - for standard input
        #[arg(long, value_name = "JSON")]
        steps: JsonArg,
    },
    /// List sagas, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only of this tenant
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a saga: the steps of its newest version, and its runs that have not ended
    Show {
        /// Its id or name
        saga: String,
    },
    /// Delete a saga with its runs that have ended; refused while one has not
    #[command(visible_aliases = ["remove", "rm"])]
    Delete {
        /// Its id or name
        saga: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Begin a run
    Start {
        /// The saga's id or name
        saga: String,
        /// What it is begun with: JSON, @FILE, or - for standard input
        #[arg(long, value_name = "JSON")]
        input: Option<JsonArg>,
        /// There is one run of the saga with this key
        #[arg(long)]
        key: Option<String>,
    },
    /// List runs, newest first
    Runs {
        /// Only of this saga: its id or name
        #[arg(long)]
        saga: Option<String>,
        /// Only in this state
        #[arg(long, value_parser = ["running", "waiting", "compensating", "done", "compensated", "failed"])]
        state: Option<String>,
        /// Only with this key
        #[arg(long)]
        key: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a run with its steps
    Run {
        /// Its id
        run: String,
    },
    /// Approve a step that waits for a person
    Approve {
        /// The run's id
        run: String,
        /// The step
        step: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Reject a step that waits for a person: what was done is undone
    Reject {
        /// The run's id
        run: String,
        /// The step
        step: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Cancel a run: what was done is undone
    Cancel {
        /// The run's id
        run: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Help a run on that failed: what undoes its step is run again
    Retry {
        /// The run's id
        run: String,
    },
}

pub(super) async fn run(context: &Context, command: SagaCommand) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        SagaCommand::Create {
            name,
            steps,
            tenant,
        } => {
            let mut body = Body::default();
            body.set("name", Some(name))
                .set("steps", Some(steps.read()?))
                .set("tenant_id", api.find_id_some(TENANTS, tenant).await?);
            let made = api.post(SAGAS.path, &body.value()).await?;
            context.show(&made, |out| out.text(&saga_text(&made)))
        }
        SagaCommand::Update { saga, steps } => {
            let path = path(&api, &saga).await?;
            let body = json!({ "steps": steps.read()? });
            let made = api.post(&format!("{path}/versions"), &body).await?;
            context.show(&made, |out| out.text(&saga_text(&made)))
        }
        SagaCommand::List { tenant, page } => {
            let query = [("tenant", tenant)];
            let found = api
                .list(SAGAS.path, &query, page.cursor, page.limit)
                .await?;
            context.list(
                &found,
                sagas(&found.items),
                "no sagas; `mainstay saga create` adds one",
            )
        }
        SagaCommand::Show { saga } => {
            let found = api.get(&path(&api, &saga).await?, &[]).await?;
            context.show(&found, |out| out.text(&saga_text(&found)))
        }
        SagaCommand::Delete { saga, consent } => {
            let found = api.find(SAGAS, &saga).await?;
            let shown = format!("{} ({})", text(&found, "/name"), text(&found, "/id"));
            consent.ask(&format!("Delete the saga {shown}?"))?;
            let path = format!("{}/{}", SAGAS.path, text(&found, "/id"));
            api.delete(&path).await?;
            context.done(&format!("saga {shown} deleted"))
        }
        SagaCommand::Start { saga, input, key } => {
            let path = path(&api, &saga).await?;
            let mut body = Body::default();
            let input = input.map(|input| input.read()).transpose()?;
            body.set("input", input).set("key", key);
            let begun = api
                .post_once(&format!("{path}/runs"), &body.value(), None)
                .await?;
            context.show(&begun, |out| {
                let shown = format!("{} is {}", text(&begun, "/id"), text(&begun, "/state"));
                out.line(&shown)
            })
        }
        SagaCommand::Runs {
            saga,
            state,
            key,
            page,
        } => {
            let query = [
                ("saga", api.find_id_some(SAGAS, saga).await?),
                ("state", state),
                ("key", key),
            ];
            let found = api.list(RUNS, &query, page.cursor, page.limit).await?;
            context.list(&found, runs(&found.items), "no runs")
        }
        SagaCommand::Run { run } => {
            let found = api.get(&format!("{RUNS}/{run}"), &[]).await?;
            context.show(&found, |out| out.text(&run_text(&found)))
        }
        SagaCommand::Approve { run, step, reason } => {
            decide(context, &api, &run, (step, true, reason)).await
        }
        SagaCommand::Reject { run, step, reason } => {
            decide(context, &api, &run, (step, false, reason)).await
        }
        SagaCommand::Cancel { run, reason } => {
            let mut body = Body::default();
            body.set("reason", reason);
            wish(context, &api, &run, "cancel", body.value()).await
        }
        SagaCommand::Retry { run } => wish(context, &api, &run, "retry", json!({})).await,
    }
}

async fn path(api: &Api, saga: &str) -> Result<String, Failure> {
    let id = api.find_id(SAGAS, saga).await?;
    Ok(format!("{}/{id}", SAGAS.path))
}

async fn decide(
    context: &Context,
    api: &Api,
    run: &str,
    (step, approved, reason): (String, bool, Option<String>),
) -> Result<(), Failure> {
    let mut body = Body::default();
    body.set("step", Some(step))
        .set("approved", Some(approved))
        .set("reason", reason);
    wish(context, api, run, "decide", body.value()).await
}

async fn wish(
    context: &Context,
    api: &Api,
    run: &str,
    word: &str,
    body: Value,
) -> Result<(), Failure> {
    let changed = api.post(&format!("{RUNS}/{run}/{word}"), &body).await?;
    context.show(&changed, |out| {
        out.table(&runs(std::slice::from_ref(&changed)), "")
    })
}

fn sagas(items: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Text("NAME"),
        Column::Number("VERSION"),
        Column::Text("SINCE"),
        Column::Whole("ID"),
    ]);
    for saga in items {
        table.row([
            text(saga, "/name").into(),
            text(saga, "/version").into(),
            time_short(&text(saga, "/updated_at")).into(),
            text(saga, "/id").into(),
        ]);
    }
    table
}

fn runs(items: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Text("STATE"),
        Column::Text("STEP"),
        Column::Text("BEGUN"),
        Column::Text("KEY"),
        Column::Text("ERROR"),
        Column::Whole("ID"),
    ]);
    for run in items {
        table.row([
            Cell::state(text(run, "/state")),
            at_work(run).into(),
            time_short(&text(run, "/created_at")).into(),
            text(run, "/key").into(),
            text(run, "/error").into(),
            text(run, "/id").into(),
        ]);
    }
    table
}

/// The step that something happens in.
fn at_work(run: &Value) -> String {
    let steps = list(run, "/steps").iter();
    let mut open = steps.filter(|step| {
        let state = text(step, "/state");
        ["running", "compensating"].contains(&state.as_str())
    });
    open.next()
        .map(|step| text(step, "/name"))
        .unwrap_or_default()
}

/// Where a job goes.
fn target(action: &Value) -> String {
    match (text(action, "/endpoint_id"), text(action, "/endpoint_name")) {
        (id, _) if id.is_empty() => {
            format!("{} in {}", text(action, "/kind"), text(action, "/queue"))
        }
        (id, name) if name.is_empty() => format!("endpoint {id}, which is gone"),
        (_, name) => format!("endpoint {name}"),
    }
}

fn saga_text(saga: &Value) -> String {
    let mut fields = Fields::default();
    fields
        .add("id", text(saga, "/id"))
        .add("name", text(saga, "/name"))
        .add("tenant", text(saga, "/tenant_id"))
        .add("version", text(saga, "/version"))
        .add("since", time_short(&text(saga, "/updated_at")));
    let newest = saga.pointer("/versions/0").unwrap_or(&Value::Null);
    let steps = list(newest, "/steps").iter().map(|step| {
        let name = text(step, "/name");
        match step["action"].is_null() {
            true => format!("{name}: waits for a person"),
            false => {
                let parts = [("compensation", "undone by"), ("lookup", "looked up by")];
                let parts = parts.into_iter().filter(|(part, _)| !step[*part].is_null());
                let parts = parts.map(|(part, word)| format!(", {word} {}", target(&step[part])));
                let parts: String = parts.collect();
                format!("{name}: {}{parts}", target(&step["action"]))
            }
        }
    });
    let open = list(saga, "/open_runs").iter();
    let open = open.map(|one| format!("{} {}", text(one, "/count"), text(one, "/state")));
    let (steps, open) = (section("steps", steps), section("open runs", open));
    format!("{}{steps}{open}", fields.render(false))
}

fn run_text(run: &Value) -> String {
    let mut fields = Fields::default();
    fields
        .add("id", text(run, "/id"))
        .add(
            "saga",
            format!(
                "{}, version {}",
                text(run, "/saga_name"),
                text(run, "/version")
            ),
        )
        .add("key", text(run, "/key"))
        .add("state", text(run, "/state"))
        .add("error", text(run, "/error"))
        .add("begun", time_short(&text(run, "/created_at")))
        .add("by", text(run, "/by"))
        .add("ended", time_short(&text(run, "/finished_at")))
        .add("input", run["input"].to_string());
    let steps = list(run, "/steps").iter().map(|step| {
        let jobs = ["/job_id", "/lookup_job_id", "/compensation_job_id"];
        let jobs = jobs.into_iter().map(|part| text(step, part));
        let jobs = jobs.filter(|job| !job.is_empty());
        let jobs: String = jobs.map(|job| format!("  {job}")).collect();
        let (state, name) = (text(step, "/state"), text(step, "/name"));
        let line = format!("{state}  {name}{jobs}");
        match text(step, "/error") {
            none if none.is_empty() => line,
            error => format!("{line}\n    {error}"),
        }
    });
    format!("{}{}", fields.render(false), section("steps", steps))
}

/// Lines under a title.
fn section(title: &str, lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = lines.map(|line| format!("  {line}\n")).collect();
    match lines.is_empty() {
        true => String::new(),
        false => format!("\n{title}\n{}", lines.concat()),
    }
}
