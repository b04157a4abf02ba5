//! `mainstay replay`: events that are given to bindings, or to an endpoint, once more; and how `mainstay event replay`
//! begins one.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Context,
    api::{Api, BINDINGS, ENDPOINTS, TENANTS, list, number, text},
    args::{Body, Consent, PageArgs, time_short},
    failure::Failure,
    progress::{self, Spinner},
    table::{Cell, Column, Fields, Table},
};

/// How often it is asked how far a replay is.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(crate) enum ReplayCommand {
    /// List replays, newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only in this state
        #[arg(long, value_parser = ["running", "paused", "finishing", "done", "stopped"])]
        state: Option<String>,
        /// Only of this tenant
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a replay: what was asked, how far it is, what became of its jobs
    Show {
        /// Its id
        replay: String,
    },
    /// Make no more jobs until it is resumed; what was made goes on
    Pause {
        /// Its id
        replay: String,
    },
    /// Go on with one that was paused, or that stopped because too many of its jobs failed
    Resume {
        /// Its id
        replay: String,
    },
    /// Make no more jobs, ever; what was made goes on
    Stop {
        /// Its id
        replay: String,
    },
}

/// Where the events of a replay go, and how fast.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Only to this binding, whatever its types and filter (default: every binding that matches)
    #[arg(long, conflicts_with = "endpoint")]
    binding: Option<String>,
    /// To this endpoint instead, without any binding: a sandbox
    #[arg(long)]
    endpoint: Option<String>,
    /// Jobs to make in a second (default: 50)
    #[arg(long, value_name = "JOBS", value_parser = clap::value_parser!(u64).range(1..=500))]
    rate: Option<u64>,
    /// Jobs that may be unfinished at once (default: 200)
    #[arg(long, value_name = "JOBS", value_parser = clap::value_parser!(u64).range(1..=500))]
    unfinished_max: Option<u64>,
    /// Stop when so many of its latest jobs fail at first, in percent; 0: never (default: 50)
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(0..=100))]
    stop_on_failures: Option<u64>,
    /// Leave out what the same binding (or endpoint) has done already
    #[arg(long)]
    skip_done: bool,
    /// Show the plan and do nothing
    #[arg(long)]
    plan: bool,
    /// Show the plan, and what built-in handlers would change for the first 100 events; do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not watch it
    #[arg(long)]
    detach: bool,
}

impl ReplayArgs {
    /// Shows the plan, asks, and begins.
    pub(super) async fn begin(
        self,
        context: &Context,
        api: &Api,
        selection: Value,
        consent: Consent,
    ) -> Result<(), Failure> {
        let (plan_only, dry_run, detach) = (self.plan, self.dry_run, self.detach);
        let mut body = self.body(api, selection).await?;
        body["plan"] = true.into();
        if dry_run {
            body["effects"] = true.into();
            let plan = api.post("/v1/replays", &body).await?;
            return context.show(&plan, |out| {
                out.text(&format!(
                    "{}{}",
                    plan_text(&plan),
                    effects_text(&plan["effects"])
                ))
            });
        }
        let plan = api.post("/v1/replays", &body).await?;
        if plan_only {
            return context.show(&plan, |out| out.text(&plan_text(&plan)));
        }
        if number(&plan, "/jobs") == 0 && plan["at_least"] == false {
            let why = match number(&plan, "/already_done") {
                0 => "nothing to replay: no binding matches",
                _ => "nothing to replay: everything is done already",
            };
            return context.show(&plan, |out| out.line(why));
        }
        context.out.remark(plan_text(&plan).trim_end());
        consent.ask("Replay them?")?;
        body["plan"] = false.into();
        let begun = api.post_once("/v1/replays", &body, None).await?;
        if detach || !progress::wanted(&context.out) {
            return context.show(&begun, |out| out.line(&begun_text(&begun)));
        }
        watch(context, api, begun).await
    }

    async fn body(self, api: &Api, selection: Value) -> Result<Value, Failure> {
        let mut body = Body::default();
        body.set("selection", Some(selection))
            .set("rate_per_second", self.rate)
            .set("unfinished_max", self.unfinished_max)
            .set("stop_on_failures_percent", self.stop_on_failures)
            .set("skip_done", Some(self.skip_done));
        if let Some(binding) = self.binding {
            body.set("binding_id", Some(api.find_id(BINDINGS, &binding).await?));
        }
        if let Some(endpoint) = self.endpoint {
            let id = api.find_id(ENDPOINTS, &endpoint).await?;
            body.set("endpoint_id", Some(id));
        }
        Ok(body.value())
    }
}

/// Shows how far a replay is until it is over, or until somebody has seen enough.
async fn watch(context: &Context, api: &Api, mut replay: Value) -> Result<(), Failure> {
    let path = format!("/v1/replays/{}", text(&replay, "/id"));
    let spinner = Spinner::start(&context.out, "replaying");
    while ["running", "finishing"].contains(&text(&replay, "/state").as_str()) {
        spinner.say(&progress_text(&replay));
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            pressed = tokio::signal::ctrl_c() => {
                drop(spinner);
                pressed.map_err(Failure::output)?;
                return context.out.line(&begun_text(&replay));
            }
        }
        replay = api.get(&path, &[]).await?;
    }
    drop(spinner);
    context.show(&replay, |out| out.text(&shown(&replay)))
}

pub(super) async fn run(context: &Context, command: ReplayCommand) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        ReplayCommand::List {
            state,
            tenant,
            page,
        } => {
            let tenant = match tenant {
                Some(tenant) => Some(api.find_id(TENANTS, &tenant).await?),
                None => None,
            };
            let query = [("state", state), ("tenant", tenant)];
            let found = api
                .list("/v1/replays", &query, page.cursor, page.limit)
                .await?;
            context.list(&found, table(&found.items), "no replays")
        }
        ReplayCommand::Show { replay } => {
            let found = api.get(&format!("/v1/replays/{replay}"), &[]).await?;
            context.show(&found, |out| out.text(&shown(&found)))
        }
        ReplayCommand::Pause { replay } => wish(context, &api, &replay, "pause").await,
        ReplayCommand::Resume { replay } => wish(context, &api, &replay, "resume").await,
        ReplayCommand::Stop { replay } => wish(context, &api, &replay, "stop").await,
    }
}

async fn wish(context: &Context, api: &Api, replay: &str, wish: &str) -> Result<(), Failure> {
    let path = format!("/v1/replays/{replay}/{wish}");
    let changed = api.post_once(&path, &json!({}), None).await?;
    context.show(&changed, |out| {
        out.line(&format!("{replay} is {}", text(&changed, "/state")))
    })
}

fn plan_text(plan: &Value) -> String {
    let least = match plan["at_least"] == true {
        true => "at least ",
        false => "",
    };
    let count = |pointer: &str| format!("{least}{}", number(plan, pointer));
    let goals: Vec<String> = list(plan, "/goals")
        .iter()
        .map(|goal| format!("{} ({})", text(goal, "/name"), number(goal, "/jobs")))
        .collect();
    let mut fields = Fields::default();
    fields
        .add("events", count("/events"))
        .add("jobs to make", count("/jobs"))
        .add("already done", count("/already_done"))
        .add("to", goals.join(", "))
        .add(
            "takes",
            format!(
                "{least}{} seconds, at {} jobs a second",
                number(plan, "/duration_secs"),
                number(plan, "/rate_per_second")
            ),
        );
    fields.render(false)
}

/// A line for each row: `+` it would be added, `-` it would be gone, `~` it would change, `=` it stays as it is.
fn effects_text(dry: &Value) -> String {
    let mut lines = vec![String::new()];
    for job in list(dry, "/jobs") {
        let (event, kind) = (text(job, "/event_id"), text(job, "/type"));
        let (name, handler) = (text(job, "/name"), text(job, "/kind"));
        lines.push(format!("{event} {kind} → {name} ({handler})"));
        if let Some(failure) = job.get("failure").filter(|failure| !failure.is_null()) {
            let (code, error) = (text(failure, "/code"), text(failure, "/error"));
            lines.push(format!("  ! {code}: {error}"));
        } else if job["changes"].is_null() {
            lines.push("  ? nobody can tell what it does".to_owned());
        }
        lines.extend(list(job, "/changes").iter().map(change_text));
    }
    if dry["more"] == true {
        lines.push(format!(
            "… only the first {} events were tried",
            number(dry, "/events")
        ));
    }
    lines.push(String::new());
    let lines: Vec<String> = lines.iter().map(|line| super::table::clean(line)).collect();
    lines.join("\n")
}

fn change_text(change: &Value) -> String {
    let (before, after) = (&change["before"], &change["after"]);
    let what = text(change, "/what");
    match (before.is_null(), after.is_null()) {
        (true, _) => format!("  + {what} {after}"),
        (false, true) => format!("  - {what} {before}"),
        (false, false) if before == after => format!("  = {what}, as it is"),
        (false, false) => format!("  ~ {what} {before} → {after}"),
    }
}

fn progress_text(replay: &Value) -> String {
    let least = match replay["selected_at_least"] == true {
        true => "at least ",
        false => "",
    };
    format!(
        "{} of {least}{} events, {} jobs: {} done, {} dead, {} unfinished",
        number(replay, "/events"),
        number(replay, "/selected"),
        number(replay, "/jobs"),
        number(replay, "/done"),
        number(replay, "/dead"),
        number(replay, "/unfinished"),
    )
}

fn begun_text(replay: &Value) -> String {
    let id = text(replay, "/id");
    match text(replay, "/state").as_str() {
        "running" => format!(
            "{id} goes on by itself ({}); mainstay replay show {id}",
            progress_text(replay)
        ),
        _ => format!(
            "{} jobs for {} events made ({id})",
            number(replay, "/jobs"),
            number(replay, "/events")
        ),
    }
}

fn shown(replay: &Value) -> String {
    let mut fields = Fields::default();
    fields
        .add("id", text(replay, "/id"))
        .add("state", Cell::state(text(replay, "/state")))
        .add("reason", text(replay, "/reason"))
        .add("begun", time_short(&text(replay, "/created_at")))
        .add("by", text(replay, "/by"))
        .add("tenant", text(replay, "/tenant_id"))
        .add("binding", text(replay, "/binding_id"))
        .add("endpoint", text(replay, "/endpoint_id"))
        .add(
            "rate",
            format!("{} jobs a second", number(replay, "/rate_per_second")),
        )
        .add("progress", progress_text(replay))
        .add("left out", text(replay, "/skipped"))
        .add("cancelled", text(replay, "/cancelled"))
        .add("ended", time_short(&text(replay, "/ended_at")));
    fields.render(false)
}

/// A table of replays.
pub(super) fn table(replays: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Whole("BEGUN"),
        Column::Text("STATE"),
        Column::Text("BY"),
        Column::Number("EVENTS"),
        Column::Number("JOBS"),
        Column::Number("DONE"),
        Column::Number("DEAD"),
        Column::Whole("ID"),
    ]);
    for replay in replays {
        table.row([
            time_short(&text(replay, "/created_at")).into(),
            Cell::state(text(replay, "/state")),
            text(replay, "/by").into(),
            text(replay, "/events").into(),
            text(replay, "/jobs").into(),
            text(replay, "/done").into(),
            text(replay, "/dead").into(),
            text(replay, "/id").into(),
        ]);
    }
    table
}
