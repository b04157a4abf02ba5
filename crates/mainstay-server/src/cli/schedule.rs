//! `mainstay schedule`: cron rules that make jobs.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Context,
    api::{Api, ENDPOINTS, SCHEDULES, TENANTS, list, text},
    args::{Body, Consent, JsonArg, PageArgs, time_short},
    failure::Failure,
    table::{Cell, Column, Fields, Table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Add a schedule: its first job is made at the first tick from now on
    #[command(visible_alias = "add")]
    Create {
        /// Its name: lower-case letters, digits, '-' and '_'
        name: String,
        /// Five fields (minute hour day month weekday), six with seconds first, or @hourly, @daily, @weekly, @monthly
        #[arg(long, value_name = "EXPRESSION")]
        cron: String,
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        terms: TermArgs,
        /// Make no jobs until it is resumed
        #[arg(long)]
        paused: bool,
        /// Whose it is: a tenant's slug or id
        #[arg(long)]
        tenant: Option<String>,
    },
    /// List schedules, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only of this tenant
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a schedule: its next ticks, and what became of the latest
    Show {
        /// Its id or name
        schedule: String,
    },
    /// Change a schedule
    #[command(visible_alias = "set")]
    Update {
        /// Its id or name
        schedule: String,
        /// A new name
        #[arg(long)]
        name: Option<String>,
        /// Another expression
        #[arg(long, value_name = "EXPRESSION")]
        cron: Option<String>,
        #[command(flatten)]
        target: OtherTargetArgs,
        #[command(flatten)]
        terms: TermArgs,
    },
    /// Make no jobs until it is resumed
    Pause {
        /// Its id or name
        schedule: String,
    },
    /// Go on with the first tick from now on
    Resume {
        /// Its id or name
        schedule: String,
    },
    /// Make a job now, whatever its rule says
    Run {
        /// Its id or name
        schedule: String,
    },
    /// Delete a schedule; its jobs go on
    #[command(visible_aliases = ["remove", "rm"])]
    Delete {
        /// Its id or name
        schedule: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Say when an expression comes next, and what clock changes make of it
    Preview {
        /// The expression
        #[arg(value_name = "EXPRESSION")]
        cron: String,
        /// The time zone, e.g. Europe/Berlin
        #[arg(long)]
        zone: Option<String>,
        /// How many ticks
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
        count: Option<u64>,
    },
}

/// What its jobs do: one of the two.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// Push to this endpoint
    #[arg(long, required_unless_present = "kind", conflicts_with = "kind")]
    endpoint: Option<String>,
    /// Run this built-in job kind, e.g. noop; with --queue one of your own
    #[arg(long)]
    kind: Option<String>,
    /// The queue that your workers ask for jobs of that kind
    #[arg(long, requires = "kind")]
    queue: Option<String>,
}

/// What its jobs do from now on.
#[derive(Debug, Args)]
pub(crate) struct OtherTargetArgs {
    /// Push to this endpoint from now on
    #[arg(long, conflicts_with = "kind")]
    endpoint: Option<String>,
    /// Run this built-in job kind from now on; with --queue one of your own
    #[arg(long)]
    kind: Option<String>,
    /// The queue that your workers ask for jobs of that kind
    #[arg(long, requires = "kind")]
    queue: Option<String>,
}

/// How it makes its jobs.
#[derive(Debug, Args)]
pub(crate) struct TermArgs {
    /// The time zone that the expression is read in, e.g. Europe/Berlin (at first: UTC)
    #[arg(long)]
    zone: Option<String>,
    /// What its jobs are told beside their tick: JSON, @FILE, or - for standard input; null for nothing
    #[arg(long, value_name = "JSON")]
    payload: Option<JsonArg>,
    /// What becomes of missed ticks (at first: one)
    #[arg(long, value_parser = ["skip", "one", "all"])]
    misfire: Option<String>,
    /// How late a tick may be and not be missed, in seconds (at first: 60)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    grace_secs: Option<u64>,
    /// How many missed ticks `--misfire all` makes up for (at first: 100)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    catch_up_max: Option<u64>,
    /// What becomes of a tick while the last run goes on (at first: allow)
    #[arg(long, value_parser = ["allow", "skip", "wait"])]
    overlap: Option<String>,
    /// Put each run off by up to so many seconds, always the same for a tick (at first: 0)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=3_600))]
    jitter_secs: Option<u64>,
}

impl TermArgs {
    fn put(self, body: &mut Body) -> Result<(), Failure> {
        let payload = match self.payload {
            Some(payload) => Some(payload.read()?),
            None => None,
        };
        body.set("zone", self.zone)
            .set("payload", payload)
            .set("misfire", self.misfire)
            .set("grace_ms", self.grace_secs.map(|secs| secs * 1_000))
            .set("catch_up_max", self.catch_up_max)
            .set("overlap", self.overlap)
            .set("jitter_ms", self.jitter_secs.map(|secs| secs * 1_000));
        Ok(())
    }
}

pub(super) async fn run(context: &Context, command: ScheduleCommand) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        ScheduleCommand::Create {
            name,
            cron,
            target,
            terms,
            paused,
            tenant,
        } => {
            let mut body = Body::default();
            body.set("name", Some(name))
                .set("cron", Some(cron))
                .set("endpoint", target.endpoint)
                .set("kind", target.kind)
                .set("queue", target.queue)
                .set("paused", Some(paused))
                .set("tenant_id", api.find_id_some(TENANTS, tenant).await?);
            terms.put(&mut body)?;
            let made = api.post(SCHEDULES.path, &body.value()).await?;
            show_one(context, &made)
        }
        ScheduleCommand::List { tenant, page } => {
            let found = api
                .list(
                    SCHEDULES.path,
                    &[("tenant", tenant)],
                    page.cursor,
                    page.limit,
                )
                .await?;
            context.list(
                &found,
                table(&found.items),
                "no schedules; `mainstay schedule create` adds one",
            )
        }
        ScheduleCommand::Show { schedule } => {
            let found = api.get(&path(&api, &schedule).await?, &[]).await?;
            context.show(&found, |out| out.text(&shown(&found)))
        }
        ScheduleCommand::Update {
            schedule,
            name,
            cron,
            target,
            terms,
        } => {
            let mut body = Body::default();
            body.set("name", name)
                .set("cron", cron)
                .set("kind", target.kind)
                .set("queue", target.queue)
                .set(
                    "endpoint",
                    api.find_id_some(ENDPOINTS, target.endpoint).await?,
                );
            terms.put(&mut body)?;
            if body.is_empty() {
                return Err(Failure::usage("nothing to change"));
            }
            let path = path(&api, &schedule).await?;
            let changed = api.patch(&path, &body.value()).await?;
            show_one(context, &changed)
        }
        ScheduleCommand::Pause { schedule } => wish(context, &api, &schedule, "pause").await,
        ScheduleCommand::Resume { schedule } => wish(context, &api, &schedule, "resume").await,
        ScheduleCommand::Run { schedule } => {
            let path = path(&api, &schedule).await?;
            let run = api
                .post_once(&format!("{path}/run"), &json!({}), None)
                .await?;
            context.show(&run, |out| {
                out.line(&format!("{} was made", text(&run, "/job_id")))
            })
        }
        ScheduleCommand::Delete { schedule, consent } => {
            let found = api.find(SCHEDULES, &schedule).await?;
            let shown = format!("{} ({})", text(&found, "/name"), text(&found, "/id"));
            consent.ask(&format!("Delete the schedule {shown}?"))?;
            api.delete(&format!("{}/{}", SCHEDULES.path, text(&found, "/id")))
                .await?;
            context.done(&format!("schedule {shown} deleted"))
        }
        ScheduleCommand::Preview { cron, zone, count } => {
            let mut body = Body::default();
            body.set("cron", Some(cron))
                .set("zone", zone)
                .set("count", count);
            let path = format!("{}/preview", SCHEDULES.path);
            let told = api.post(&path, &body.value()).await?;
            context.show(&told, |out| {
                out.text(&format!(
                    "{}{}",
                    ticks_text(&told, "/ticks"),
                    changes_text(&told)
                ))
            })
        }
    }
}

async fn path(api: &Api, schedule: &str) -> Result<String, Failure> {
    let id = api.find_id(SCHEDULES, schedule).await?;
    Ok(format!("{}/{id}", SCHEDULES.path))
}

async fn wish(context: &Context, api: &Api, schedule: &str, word: &str) -> Result<(), Failure> {
    let path = path(api, schedule).await?;
    let changed = api.post(&format!("{path}/{word}"), &json!({})).await?;
    show_one(context, &changed)
}

fn show_one(context: &Context, schedule: &Value) -> Result<(), Failure> {
    context.show(schedule, |out| {
        out.table(&table(std::slice::from_ref(schedule)), "")
    })
}

/// What its jobs do.
fn target(schedule: &Value) -> String {
    match text(schedule, "/endpoint_name") {
        none if none.is_empty() => text(schedule, "/kind"),
        endpoint => format!("endpoint {endpoint}"),
    }
}

/// When its next job is made.
fn next(schedule: &Value) -> String {
    match (
        text(schedule, "/problem").is_empty(),
        schedule["paused"] == true,
    ) {
        (false, _) => "unusable".into(),
        (true, true) => "paused".into(),
        (true, false) => time_short(&text(schedule, "/next_run_at")),
    }
}

fn table(schedules: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Text("NAME"),
        Column::Text("CRON"),
        Column::Text("ZONE"),
        Column::Text("JOB"),
        Column::Text("NEXT"),
        Column::Text("LAST"),
        Column::Text("STATE"),
        Column::Whole("ID"),
    ]);
    for schedule in schedules {
        table.row([
            text(schedule, "/name").into(),
            text(schedule, "/cron").into(),
            text(schedule, "/zone").into(),
            target(schedule).into(),
            next(schedule).into(),
            time_short(&text(schedule, "/last_run/tick")).into(),
            Cell::state(text(schedule, "/last_run/job_state")),
            text(schedule, "/id").into(),
        ]);
    }
    table
}

fn shown(schedule: &Value) -> String {
    let secs = |pointer: &str| text(schedule, pointer).parse::<u64>().unwrap_or(0) / 1_000;
    let mut fields = Fields::default();
    fields
        .add("id", text(schedule, "/id"))
        .add("name", text(schedule, "/name"))
        .add("tenant", text(schedule, "/tenant_id"))
        .add("cron", text(schedule, "/cron"))
        .add("zone", text(schedule, "/zone"))
        .add("job", target(schedule))
        .add("queue", text(schedule, "/queue"))
        .add(
            "payload",
            match &schedule["payload"] {
                Value::Null => String::new(),
                payload => payload.to_string(),
            },
        )
        .add(
            "missed",
            format!(
                "{}, after {} s of grace",
                text(schedule, "/misfire"),
                secs("/grace_ms")
            ),
        )
        .add("overlap", text(schedule, "/overlap"))
        .add("jitter", format!("{} s", secs("/jitter_ms")))
        .add("next", next(schedule))
        .add("problem", text(schedule, "/problem"));
    format!(
        "{}{}{}{}",
        fields.render(false),
        ticks_text(schedule, "/next_ticks"),
        changes_text(schedule),
        runs_text(schedule)
    )
}

fn ticks_text(told: &Value, pointer: &str) -> String {
    let ticks = list(told, pointer).iter().map(|tick| {
        let note = match text(tick, "/note") {
            none if none.is_empty() => none,
            note => format!("  ({note})"),
        };
        format!("{}{note}", text(tick, "/local"))
    });
    section("next ticks", ticks)
}

fn changes_text(told: &Value) -> String {
    let changes = list(told, "/clock_changes");
    match changes.is_empty() {
        true => String::new(),
        false => section(
            "clock changes",
            changes.iter().map(|change| text(change, "/text")),
        ),
    }
}

fn runs_text(schedule: &Value) -> String {
    let runs = list(schedule, "/runs");
    if runs.is_empty() {
        return "\nno runs yet\n".into();
    }
    let runs = runs.iter().map(|run| {
        let what = match (text(run, "/outcome").as_str(), text(run, "/job_id")) {
            ("missed", _) => format!("missed, {} in all", text(run, "/count")),
            (outcome, job) if job.is_empty() => outcome.to_owned(),
            (outcome, job) => format!("{outcome}  {job}  {}", text(run, "/job_state")),
        };
        format!("{}  {what}", text(run, "/local"))
    });
    section("latest runs", runs)
}

/// Lines under a title.
fn section(title: &str, lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = lines.map(|line| format!("  {line}\n")).collect();
    format!("\n{title}\n{}", lines.concat())
}
