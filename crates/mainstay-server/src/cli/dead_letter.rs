//! `mainstay dead-letter`: jobs that no further try would mend, and what a person decides about them.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    Context,
    api::{Api, ENDPOINTS, TENANTS, list, number, text},
    args::{Body, Consent, PageArgs, TargetArgs, TimeArg, time_short},
    failure::Failure,
    progress::Spinner,
    table::{Column, Fields, Table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetterCommand {
    /// List dead letters, newest first
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Group dead letters by what went wrong
    Groups,
    /// Run dead letters again: shows the plan, then asks
    Retry {
        /// Jobs by id; else the filters select
        jobs: Vec<String>,
        #[command(flatten)]
        filter: FilterArgs,
        /// All of them
        #[arg(long, conflicts_with = "jobs")]
        all: bool,
        /// Show the plan and do nothing
        #[arg(long)]
        plan: bool,
        #[command(flatten)]
        consent: Consent,
    },
    /// Give dead letters up, with a reason for the record: shows the plan, then asks
    Discard {
        /// Jobs by id; else the filters select
        jobs: Vec<String>,
        #[command(flatten)]
        filter: FilterArgs,
        /// All of them
        #[arg(long, conflicts_with = "jobs")]
        all: bool,
        /// Why
        #[arg(long)]
        reason: String,
        /// Show the plan and do nothing
        #[arg(long)]
        plan: bool,
        #[command(flatten)]
        consent: Consent,
    },
    /// Write dead letters out, one JSON object a line
    Export {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        target: TargetArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Only of this kind
    #[arg(long)]
    kind: Option<String>,
    /// Only of this endpoint
    #[arg(long)]
    endpoint: Option<String>,
    /// Only of this category, e.g. timeout
    #[arg(long, value_parser = super::CATEGORIES)]
    category: Option<String>,
    /// Only with this code, e.g. server_error
    #[arg(long)]
    code: Option<String>,
    /// Only of this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Died at or after: a time, or how long ago, e.g. 2h
    #[arg(long, value_name = "TIME")]
    from: Option<TimeArg>,
    /// Died before: a time, or how long ago
    #[arg(long, value_name = "TIME")]
    to: Option<TimeArg>,
}

impl FilterArgs {
    async fn fields(self, api: &Api) -> Result<Vec<(&'static str, Option<String>)>, Failure> {
        let endpoint = api.find_id_some(ENDPOINTS, self.endpoint).await?;
        let tenant = api.find_id_some(TENANTS, self.tenant).await?;
        Ok(vec![
            ("kind", self.kind),
            ("endpoint", endpoint),
            ("category", self.category),
            ("code", self.code),
            ("tenant", tenant),
            ("from", self.from.map(|at| at.as_str().to_owned())),
            ("to", self.to.map(|at| at.as_str().to_owned())),
        ])
    }
}

pub(super) async fn run(context: &Context, command: DeadLetterCommand) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        DeadLetterCommand::List { filter, page } => {
            let query = filter.fields(&api).await?;
            let found = api
                .list("/v1/dead-letters", &query, page.cursor, page.limit)
                .await?;
            context.list(&found, table(&found.items), "no dead letters")
        }
        DeadLetterCommand::Groups => {
            let groups = api.get("/v1/dead-letters/groups", &[]).await?;
            context.show(&groups, |out| {
                out.table(&groups_table(list(&groups, "/items")), "no dead letters")
            })
        }
        DeadLetterCommand::Retry {
            jobs,
            filter,
            all,
            plan,
            consent,
        } => {
            let mut body = Body::default();
            body.set("selection", Some(selection(&api, jobs, filter, all).await?));
            let order = Order {
                path: "/v1/dead-letters/retry",
                question: "Run them again?",
                done: "retried",
                said: "run again",
            };
            order
                .carry_out(context, &api, body.value(), plan, consent)
                .await
        }
        DeadLetterCommand::Discard {
            jobs,
            filter,
            all,
            reason,
            plan,
            consent,
        } => {
            let mut body = Body::default();
            body.set("selection", Some(selection(&api, jobs, filter, all).await?))
                .set("reason", Some(reason));
            let order = Order {
                path: "/v1/dead-letters/discard",
                question: "Discard them? They will not be listed any more.",
                done: "discarded",
                said: "discarded",
            };
            order
                .carry_out(context, &api, body.value(), plan, consent)
                .await
        }
        DeadLetterCommand::Export { filter, target } => {
            export(context, &api, &filter.fields(&api).await?, target).await
        }
    }
}

/// Nothing selected means a mistake and not everything: that is `--all`.
async fn selection(
    api: &Api,
    jobs: Vec<String>,
    filter: FilterArgs,
    all: bool,
) -> Result<Value, Failure> {
    let mut body = Body::default();
    for (field, value) in filter.fields(api).await? {
        body.set(field, value);
    }
    match (jobs.is_empty(), body.is_empty()) {
        (false, false) => Err(Failure::usage("give jobs or filters, not both")),
        (true, true) if !all => Err(Failure::usage("which dead letters?")
            .hint("give the jobs' ids, filters such as --endpoint and --code, or --all")),
        (true, _) => Ok(body.value()),
        (false, true) => {
            body.set("job_ids", Some(jobs));
            Ok(body.value())
        }
    }
}

/// Something done to many letters at once: first a plan, then a question, then the deed.
struct Order {
    path: &'static str,
    question: &'static str,
    /// The field of the answer that counts what was done.
    done: &'static str,
    said: &'static str,
}

impl Order {
    async fn carry_out(
        self,
        context: &Context,
        api: &Api,
        mut body: Value,
        plan_only: bool,
        consent: Consent,
    ) -> Result<(), Failure> {
        body["plan"] = true.into();
        let plan = api.post(self.path, &body).await?;
        if plan_only {
            return context.show(&plan, |out| out.text(&plan_text(&plan)));
        }
        if number(&plan, "/matched") == 0 {
            return context.show(&plan, |out| out.line("no dead letter matches"));
        }
        context.out.remark(plan_text(&plan).trim_end());
        consent.ask(self.question)?;
        body["plan"] = false.into();
        let answer = api.post_once(self.path, &body, None).await?;
        context.show(&answer, |out| {
            let done = number(&answer, &format!("/{}", self.done));
            out.line(&format!("{done} dead letters {}", self.said))?;
            if done < number(&answer, "/matched") {
                out.remark("more match than one call takes; do it again for the rest");
            }
            Ok(())
        })
    }
}

fn plan_text(plan: &Value) -> String {
    let mut fields = Fields::default();
    fields.add("dead letters", number(plan, "/matched").to_string());
    let mut text_all = fields.render(false);
    let mut reasons = Table::new(&[
        Column::Number("COUNT"),
        Column::Text("CATEGORY"),
        Column::Text("CODE"),
    ]);
    for reason in list(plan, "/by_reason") {
        reasons.row([
            text(reason, "/count").into(),
            text(reason, "/category").into(),
            text(reason, "/code").into(),
        ]);
    }
    if !reasons.is_empty() {
        text_all.push_str(&reasons.render(None, false));
    }
    text_all
}

async fn export(
    context: &Context,
    api: &Api,
    query: &[(&str, Option<String>)],
    target: TargetArgs,
) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut answer = api.stream("/v1/dead-letters/export", query).await?;
    let Some(path) = target.output else {
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|error| Failure::broken(&error))?
        {
            context.out.bytes(&chunk)?;
        }
        return Ok(());
    };
    let spinner = Spinner::start(&context.out, "exporting");
    let file = std::fs::File::create_new(&path).map_err(|error| Failure::file(&path, &error))?;
    let mut file = std::io::BufWriter::new(file);
    let mut letters = 0;
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| Failure::broken(&error))?
    {
        letters += chunk.iter().filter(|byte| **byte == b'\n').count();
        file.write_all(&chunk)
            .map_err(|error| Failure::file(&path, &error))?;
        spinner.say(&format!("{letters} dead letters"));
    }
    let file = file
        .into_inner()
        .map_err(|error| Failure::file(&path, error.error()))?;
    file.sync_all()
        .map_err(|error| Failure::file(&path, &error))?;
    drop(spinner);
    context.done(&format!(
        "{letters} dead letters written to {}",
        path.display()
    ))
}

fn groups_table(groups: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Number("COUNT"),
        Column::Text("CATEGORY"),
        Column::Text("CODE"),
        Column::Text("ENDPOINT"),
        Column::Text("KIND"),
        Column::Whole("OLDEST"),
        Column::Whole("NEWEST"),
        Column::Text("ERROR"),
    ]);
    for group in groups {
        table.row([
            text(group, "/count").into(),
            text(group, "/category").into(),
            text(group, "/code").into(),
            text(group, "/endpoint_name").into(),
            text(group, "/kind").into(),
            time_short(&text(group, "/oldest")).into(),
            time_short(&text(group, "/newest")).into(),
            text(group, "/sample_error").into(),
        ]);
    }
    table
}

fn table(letters: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Whole("DIED"),
        Column::Text("KIND"),
        Column::Text("ENDPOINT"),
        Column::Text("EVENT TYPE"),
        Column::Number("TRIES"),
        Column::Text("CODE"),
        Column::Text("ERROR"),
        Column::Whole("JOB"),
    ]);
    for letter in letters {
        table.row([
            time_short(&text(letter, "/died_at")).into(),
            text(letter, "/kind").into(),
            text(letter, "/endpoint_name").into(),
            text(letter, "/event_type").into(),
            text(letter, "/attempts").into(),
            text(letter, "/code").into(),
            text(letter, "/error").into(),
            text(letter, "/job_id").into(),
        ]);
    }
    table
}
