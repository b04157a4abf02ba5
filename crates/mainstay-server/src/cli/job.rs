//! `mainstay job`: units of work.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Context,
    api::{TENANTS, list, text},
    args::{Body, JsonArg, PageArgs, TimeArg, time_short},
    failure::Failure,
    table::{Cell, Column, Fields, Table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// List jobs
    #[command(visible_alias = "ls")]
    List {
        /// Only in this state
        #[arg(long, value_parser = ["waiting", "scheduled", "running", "retrying", "done", "dead", "cancelled"])]
        state: Option<String>,
        /// Only in this queue
        #[arg(long)]
        queue: Option<String>,
        /// Only of this kind
        #[arg(long)]
        kind: Option<String>,
        /// Only of this tenant
        #[arg(long)]
        tenant: Option<String>,
        /// Only of this event
        #[arg(long)]
        event: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a job with its attempts
    Show {
        /// Its id
        job: String,
    },
    /// Count jobs by queue and state
    Counts,
    /// Run a dead letter again; its tries start from the beginning
    Retry {
        /// Its id
        job: String,
    },
    /// Cancel a job that has not ended
    Cancel {
        /// Its id
        job: String,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
    },
    /// Submit a job
    Submit {
        /// Its kind: what carries it out
        kind: String,
        /// Its payload as JSON, @FILE, or - for standard input
        #[arg(long, value_name = "JSON")]
        payload: Option<JsonArg>,
        /// Its queue (default: the kind's)
        #[arg(long)]
        queue: Option<String>,
        /// Whose it is (default: the first tenant)
        #[arg(long)]
        tenant: Option<String>,
        /// Not before this time
        #[arg(long, value_name = "TIME")]
        run_at: Option<TimeArg>,
        /// Not at or after this time: what has not begun by then is a dead letter
        #[arg(long, value_name = "TIME", conflicts_with = "expires_in_secs")]
        deadline: Option<TimeArg>,
        /// The same, so many seconds from now
        #[arg(long, value_name = "SECS")]
        expires_in_secs: Option<i64>,
        /// Jobs of a queue with the same key run one at a time, in their order
        #[arg(long, value_name = "KEY", conflicts_with = "run_at")]
        ordering_key: Option<String>,
        /// What becomes of the others with its key should it end as a dead letter
        #[arg(long, value_parser = ["park", "continue"], requires = "ordering_key")]
        on_dead: Option<String>,
        /// When it is tried again: a policy as JSON, @FILE, or -
        #[arg(long, value_name = "JSON")]
        retry: Option<JsonArg>,
        /// Submitting twice with the same key makes one job
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
}

pub(super) async fn run(context: &Context, command: JobCommand) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        JobCommand::List {
            state,
            queue,
            kind,
            tenant,
            event,
            page,
        } => {
            let tenant = api.find_id_some(TENANTS, tenant).await?;
            let query = [
                ("state", state),
                ("queue", queue),
                ("kind", kind),
                ("tenant", tenant),
                ("event", event),
            ];
            let found = api
                .list("/v1/jobs", &query, page.cursor, page.limit)
                .await?;
            context.list(&found, table(&found.items), "no jobs")
        }
        JobCommand::Show { job } => {
            let found = api.get(&format!("/v1/jobs/{job}"), &[]).await?;
            context.show(&found, |_| show(context, &found))
        }
        JobCommand::Counts => {
            let counts = api.get("/v1/job-counts", &[]).await?;
            context.show(&counts, |out| {
                out.table(&counts_table(&counts), "no queues")
            })
        }
        JobCommand::Retry { job } => {
            let answer = api
                .post(&format!("/v1/jobs/{job}/retry"), &json!({}))
                .await?;
            ended(context, &answer)
        }
        JobCommand::Cancel { job, reason } => {
            let mut body = Body::default();
            body.set("reason", reason);
            let answer = api
                .post(&format!("/v1/jobs/{job}/cancel"), &body.value())
                .await?;
            ended(context, &answer)
        }
        JobCommand::Submit {
            kind,
            payload,
            queue,
            tenant,
            run_at,
            deadline,
            expires_in_secs,
            ordering_key,
            on_dead,
            retry,
            idempotency_key,
        } => {
            let tenant = api.find_id_some(TENANTS, tenant).await?;
            let payload = payload.map_or_else(|| Ok(json!({})), |payload| payload.read())?;
            let mut body = Body::default();
            body.set("kind", Some(kind))
                .set("queue", queue)
                .set("tenant_id", tenant)
                .set("payload", Some(payload))
                .set("run_at", run_at.map(|at| at.as_str().to_owned()))
                .set("deadline", deadline.map(|at| at.as_str().to_owned()))
                .set("expires_in_secs", expires_in_secs)
                .set("ordering_key", ordering_key)
                .set("on_dead", on_dead)
                .set("retry", retry.map(|retry| retry.read()).transpose()?);
            let made = api
                .post_once("/v1/jobs", &body.value(), idempotency_key.as_deref())
                .await?;
            context.show(&made, |out| {
                out.table(&table(std::slice::from_ref(&made)), "")
            })
        }
    }
}

/// What an order has made of a job.
fn ended(context: &Context, answer: &Value) -> Result<(), Failure> {
    context.show(answer, |out| {
        out.line(&format!(
            "{} is {}",
            text(answer, "/id"),
            text(answer, "/state")
        ))
    })
}

/// Who is before it.
fn waits_behind(job: &Value) -> String {
    match text(job, "/order/waits").as_str() {
        "true" if text(job, "/line/state") == "parked" => {
            format!("{}, a dead letter", text(job, "/line/head_job_id"))
        }
        "true" => text(job, "/line/head_job_id"),
        _ => String::new(),
    }
}

fn show(context: &Context, job: &Value) -> Result<(), Failure> {
    let tries = format!(
        "{} of {}",
        text(job, "/attempts"),
        text(job, "/max_attempts")
    );
    let mut fields = Fields::default();
    fields
        .add("id", text(job, "/id"))
        .add("kind", text(job, "/kind"))
        .add("state", Cell::state(text(job, "/state")))
        .add("queue", text(job, "/queue"))
        .add("tenant", text(job, "/tenant_id"))
        .add("event", text(job, "/event_id"))
        .add("endpoint", text(job, "/endpoint_id"))
        .add("binding", text(job, "/binding_id"))
        .add("replay", text(job, "/replay_id"))
        .add("tries", tries)
        .add("created", time_short(&text(job, "/created_at")))
        .add("not before", time_short(&text(job, "/run_at")))
        .add("not after", time_short(&text(job, "/deadline")))
        .add("next try", time_short(&text(job, "/next_attempt_at")))
        .add("finished", time_short(&text(job, "/finished_at")))
        .add("last error", text(job, "/last_error"))
        .add("ordering key", text(job, "/order/key"))
        .add("waits behind", waits_behind(job))
        .add("line", text(job, "/line/id"));
    context.out.fields(&fields)?;
    context.out.title("Attempts")?;
    context.out.table(
        &attempts_table(list(job, "/attempts_list")),
        "not tried yet",
    )?;
    let excerpts = list(job, "/attempts_list").iter();
    if let Some(excerpt) = excerpts
        .rev()
        .map(|one| text(one, "/response_excerpt"))
        .find(|one| !one.is_empty())
    {
        context.out.title("Last answer")?;
        context.out.line(&super::table::clean(&excerpt))?;
    }
    Ok(())
}

/// The tries of a job, also shown with an event.
pub(super) fn attempts_table(attempts: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Number("TRY"),
        Column::Whole("STARTED"),
        Column::Text("OUTCOME"),
        Column::Number("MS"),
        Column::Number("STATUS"),
        Column::Text("CODE"),
        Column::Text("ERROR"),
        Column::Whole("NEXT TRY"),
    ]);
    for attempt in attempts {
        table.row([
            text(attempt, "/attempt").into(),
            time_short(&text(attempt, "/started_at")).into(),
            Cell::state(text(attempt, "/outcome")),
            text(attempt, "/duration_ms").into(),
            text(attempt, "/status").into(),
            text(attempt, "/code").into(),
            text(attempt, "/error").into(),
            time_short(&text(attempt, "/next_attempt_at")).into(),
        ]);
    }
    table
}

fn counts_table(counts: &Value) -> Table {
    let mut table = Table::new(&[
        Column::Text("QUEUE"),
        Column::Number("WAITING"),
        Column::Number("ACTIVE"),
        Column::Number("RETRYING"),
        Column::Number("COMPLETED"),
        Column::Number("FAILED"),
    ]);
    let queues = counts.get("queues").and_then(Value::as_object);
    for (name, queue) in queues.into_iter().flatten() {
        table.row([
            name.as_str().into(),
            text(queue, "/waiting").into(),
            text(queue, "/active").into(),
            text(queue, "/retrying").into(),
            text(queue, "/completed").into(),
            text(queue, "/failed").into(),
        ]);
    }
    table
}

fn table(jobs: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Whole("ID"),
        Column::Text("KIND"),
        Column::Text("QUEUE"),
        Column::Text("STATE"),
        Column::Number("TRIES"),
        Column::Whole("CREATED"),
        Column::Whole("NEXT TRY"),
        Column::Text("LAST ERROR"),
    ]);
    for job in jobs {
        table.row([
            text(job, "/id").into(),
            text(job, "/kind").into(),
            text(job, "/queue").into(),
            Cell::state(text(job, "/state")),
            text(job, "/attempts").into(),
            time_short(&text(job, "/created_at")).into(),
            time_short(&text(job, "/next_attempt_at")).into(),
            text(job, "/last_error").into(),
        ]);
    }
    table
}
