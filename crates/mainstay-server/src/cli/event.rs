//! `mainstay event`: what came in, and what became of it.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Context,
    api::{Api, SOURCES, TENANTS, list, number, text},
    args::{Body, Consent, PageArgs, TimeArg, time_short},
    failure::Failure,
    job::attempts_table,
    output::Output,
    replay::{self, ReplayArgs},
    table::{Cell, Column, Fields, Table},
    waiting::{self, WaitingArgs},
};

#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    /// List events, newest first
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        filter: FilterArgs,
        /// Only the event with this id, its own or the provider's; where there is none, those that an object of this id
        /// stands in
        #[arg(long, short = 'q', value_name = "ID")]
        search: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show an event: request, verification, jobs, attempts, replays
    Show {
        /// Its id
        event: String,
        /// Print the payload alone, byte for byte as it arrived
        #[arg(long)]
        payload: bool,
    },
    /// Give events to bindings, or to an endpoint, once more: shows the plan, then asks
    ///
    /// On a terminal it then shows how far it is. Ctrl-C leaves it running; `mainstay replay` lists, pauses and stops.
    Replay {
        /// Events by id; else the filters select
        events: Vec<String>,
        #[command(flatten)]
        filter: FilterArgs,
        /// Only the event with this id, its own or the provider's; where there is none, those that an object of this id
        /// stands in
        #[arg(long, short = 'q', value_name = "ID")]
        search: Option<String>,
        #[command(flatten)]
        replay: ReplayArgs,
        #[command(flatten)]
        consent: Consent,
    },
    /// List requests that were refused, newest first; or show one, and which rule it failed by
    Refused {
        /// The id of one, as the list shows it
        #[arg(conflicts_with_all = ["source", "cursor", "limit"])]
        receipt: Option<String>,
        /// Only of this source
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// List events that wait until it is known whose they are; or show one
    Waiting(WaitingArgs),
}

#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Only of this source
    #[arg(long)]
    source: Option<String>,
    /// Only of this type; a trailing * matches what begins so
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only with this status
    #[arg(long, value_parser = ["pending", "processing", "success", "error", "unhandled"])]
    status: Option<String>,
    /// Only of this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Only events that violate the schema of their type
    #[arg(long)]
    violates: bool,
    /// Only events that came again with other content
    #[arg(long)]
    conflicts: bool,
    /// Only events that an object of this id stands in
    #[arg(long, value_name = "ID")]
    object: Option<String>,
    /// Received at or after: a time, or how long ago, e.g. 2h
    #[arg(long, value_name = "TIME")]
    from: Option<TimeArg>,
    /// Received before: a time, or how long ago
    #[arg(long, value_name = "TIME")]
    to: Option<TimeArg>,
}

impl FilterArgs {
    const fn is_empty(&self) -> bool {
        self.source.is_none()
            && self.kind.is_none()
            && self.status.is_none()
            && self.tenant.is_none()
            && !self.violates
            && !self.conflicts
            && self.object.is_none()
            && self.from.is_none()
            && self.to.is_none()
    }

    /// Name and value of each field of a query or a selection.
    async fn fields(self, api: &Api) -> Result<Vec<(&'static str, Option<String>)>, Failure> {
        let source = api.find_id_some(SOURCES, self.source).await?;
        let tenant = api.find_id_some(TENANTS, self.tenant).await?;
        Ok(vec![
            ("source", source),
            ("type", self.kind),
            ("status", self.status),
            ("tenant", tenant),
            ("object", self.object),
            ("from", self.from.map(|at| at.as_str().to_owned())),
            ("to", self.to.map(|at| at.as_str().to_owned())),
        ])
    }
}

pub(super) async fn run(context: &Context, command: EventCommand) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        EventCommand::List {
            filter,
            search,
            page,
        } => {
            let (violates, conflicts) = (filter.violates, filter.conflicts);
            let mut query = filter.fields(&api).await?;
            query.push(("q", search));
            query.push(("violates", violates.then(|| "true".to_owned())));
            query.push(("conflicts", conflicts.then(|| "true".to_owned())));
            let found = api
                .list("/v1/events", &query, page.cursor, page.limit)
                .await?;
            context.list(&found, table(&found.items), "no events")
        }
        EventCommand::Show {
            event,
            payload: true,
        } => payload(context, &api, &event).await,
        EventCommand::Show { event, .. } => {
            let found = api.get(&format!("/v1/events/{event}"), &[]).await?;
            context.show(&found, |_| show(context, &found))
        }
        EventCommand::Replay {
            events,
            filter,
            search,
            replay,
            consent,
        } => {
            let selection = selection(&api, events, filter, search).await?;
            replay.begin(context, &api, selection, consent).await
        }
        EventCommand::Refused {
            receipt: Some(receipt),
            ..
        } => {
            let found = api.get(&format!("/v1/receipts/{receipt}"), &[]).await?;
            context.show(&found, |out| out.text(&refused_text(&found)))
        }
        EventCommand::Waiting(args) => waiting::run(context, &api, args).await,
        EventCommand::Refused { source, page, .. } => {
            let source = api.find_id_some(SOURCES, source).await?;
            let query = [("source", source)];
            let found = api
                .list("/v1/receipts", &query, page.cursor, page.limit)
                .await?;
            context.list(
                &found,
                refused_table(&found.items),
                "no request was refused",
            )
        }
    }
}

async fn payload(context: &Context, api: &Api, event: &str) -> Result<(), Failure> {
    let mut answer = api
        .stream(&format!("/v1/events/{event}/payload"), &[])
        .await?;
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| Failure::broken(&error))?
    {
        context.out.bytes(&chunk)?;
    }
    Ok(())
}

/// Nothing selected means a mistake and not everything.
async fn selection(
    api: &Api,
    events: Vec<String>,
    filter: FilterArgs,
    search: Option<String>,
) -> Result<Value, Failure> {
    let narrowed = !filter.is_empty() || search.is_some();
    if !events.is_empty() {
        if narrowed {
            return Err(Failure::usage("give events or filters, not both"));
        }
        return Ok(json!({ "event_ids": events }));
    }
    if !narrowed {
        return Err(Failure::usage("which events?")
            .hint("give their ids, or filters such as --source, --status error and --from 2h"));
    }
    let mut body = Body::default();
    body.set("q", search);
    body.set("violates", filter.violates.then_some(true));
    body.set("conflicts", filter.conflicts.then_some(true));
    for (field, value) in filter.fields(api).await? {
        body.set(field, value);
    }
    Ok(body.value())
}

fn show(context: &Context, event: &Value) -> Result<(), Failure> {
    let out = &context.out;
    let mut fields = Fields::default();
    fields
        .add("id", text(event, "/id"))
        .add("type", text(event, "/type"))
        .add("status", Cell::state(text(event, "/status")))
        .add("source", text(event, "/source_name"))
        .add("provider id", text(event, "/provider_id"))
        .add("tenant", text(event, "/tenant_id"));
    let problems = list(event, "/violation/problems");
    if !problems.is_empty() {
        fields.add(
            "violates",
            format!("its schema, version {}", text(event, "/violation/version")),
        );
    }
    arrived(out, event, fields)?;
    if !problems.is_empty() {
        out.title(&format!(
            "Violates its schema, version {}",
            text(event, "/violation/version")
        ))?;
        out.table(&problems_table(problems), "")?;
    }
    for conflict in list(event, "/conflicts_list") {
        conflict_shown(out, conflict)?;
    }
    for job in list(event, "/jobs_list") {
        out.title(&format!(
            "Job {} · {} · {}",
            text(job, "/id"),
            text(job, "/kind"),
            text(job, "/state")
        ))?;
        out.table(
            &attempts_table(list(job, "/attempts_list")),
            "not tried yet",
        )?;
    }
    let replays = list(event, "/replays");
    if !replays.is_empty() {
        out.title("Replays")?;
        out.table(&replay::table(replays), "")?;
    }
    payload_shown(out, event)
}

/// What an event is, with how and by which requests it came.
pub(super) fn arrived(out: &Output, event: &Value, mut fields: Fields) -> Result<(), Failure> {
    fields
        .add("received", time_short(&text(event, "/received_at")))
        .add("occurred", time_short(&text(event, "/occurred_at")))
        .add(
            "payload",
            format!("{} bytes", number(event, "/payload_bytes")),
        )
        .add("deliveries", text(event, "/deliveries"));
    out.fields(&fields)?;
    out.title("Requests")?;
    out.table(
        &receipts_table(list(event, "/receipts")),
        "none is kept any more",
    )
}

/// The payload of an event, where it can be shown.
pub(super) fn payload_shown(out: &Output, event: &Value) -> Result<(), Failure> {
    out.title("Payload")?;
    match event.get("payload") {
        Some(payload) if !payload.is_null() => out.line(&format!("{payload:#}")),
        _ => out.line(&super::table::clean(&text(event, "/payload_text"))),
    }
}

fn receipts_table(receipts: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Whole("RECEIVED"),
        Column::Text("VERDICT"),
        Column::Text("FROM"),
        Column::Text("SECRET"),
        Column::Whole("ID"),
    ]);
    for receipt in receipts {
        table.row([
            time_short(&text(receipt, "/received_at")).into(),
            Cell::state(text(receipt, "/verdict")),
            text(receipt, "/remote").into(),
            text(receipt, "/secret_hint").into(),
            text(receipt, "/id").into(),
        ]);
    }
    table
}

fn problems_table(problems: &[Value]) -> Table {
    let mut table = Table::new(&[Column::Text("WHERE"), Column::Text("PROBLEM")]);
    for problem in problems {
        let pointer = match text(problem, "/pointer") {
            top if top.is_empty() => "/".to_owned(),
            pointer => pointer,
        };
        table.row([pointer.into(), text(problem, "/problem").into()]);
    }
    table
}

/// Another content that came under the event's id, and where it differs.
fn conflict_shown(out: &Output, conflict: &Value) -> Result<(), Failure> {
    out.title(&format!(
        "Came with other content, {} times since {}",
        number(conflict, "/times"),
        time_short(&text(conflict, "/first_at"))
    ))?;
    let mut fields = Fields::default();
    fields
        .add("digest", text(conflict, "/digest"))
        .add("event's digest", text(conflict, "/event_digest"))
        .add("request", text(conflict, "/receipt_id"))
        .add("bytes", text(conflict, "/payload_bytes"));
    out.fields(&fields)?;
    let mut table = Table::new(&[
        Column::Text("WHERE"),
        Column::Text("EVENT"),
        Column::Text("LATER"),
    ]);
    for one in list(conflict, "/differences") {
        table.row([
            text(one, "/pointer").into(),
            text(one, "/event").into(),
            text(one, "/later").into(),
        ]);
    }
    out.table(&table, "where they differ cannot be said")
}

fn refused_text(receipt: &Value) -> String {
    let mut fields = Fields::default();
    fields
        .add("id", text(receipt, "/id"))
        .add("source", text(receipt, "/source_name"))
        .add("received", time_short(&text(receipt, "/received_at")))
        .add("from", text(receipt, "/remote"))
        .add("verdict", Cell::state(text(receipt, "/verdict")))
        .add("reason", text(receipt, "/reason"))
        .add("body", format!("{} bytes", number(receipt, "/bytes")));
    if receipt.get("diagnosis").is_some_and(|told| !told.is_null()) {
        fields
            .add("cause", text(receipt, "/diagnosis/cause"))
            .add("why", text(receipt, "/diagnosis/detail"))
            .add(
                "clock",
                match text(receipt, "/diagnosis/clock_difference_secs") {
                    secs if secs.is_empty() => secs,
                    secs => format!("{secs} seconds from when it was signed to when it came"),
                },
            );
    }
    fields.render(false)
}

fn refused_table(receipts: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Whole("RECEIVED"),
        Column::Text("SOURCE"),
        Column::Text("REASON"),
        Column::Text("FROM"),
        Column::Number("BYTES"),
        Column::Whole("ID"),
    ]);
    for receipt in receipts {
        table.row([
            time_short(&text(receipt, "/received_at")).into(),
            text(receipt, "/source_name").into(),
            text(receipt, "/reason").into(),
            text(receipt, "/remote").into(),
            text(receipt, "/bytes").into(),
            text(receipt, "/id").into(),
        ]);
    }
    table
}

fn table(events: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Whole("RECEIVED"),
        Column::Text("SOURCE"),
        Column::Text("TYPE"),
        Column::Text("STATUS"),
        Column::Number("JOBS"),
        Column::Text("PROVIDER ID"),
        Column::Whole("ID"),
    ]);
    for event in events {
        let jobs = format!(
            "{}/{}",
            number(event, "/jobs/done"),
            number(event, "/jobs/total")
        );
        table.row([
            time_short(&text(event, "/received_at")).into(),
            text(event, "/source_name").into(),
            text(event, "/type").into(),
            Cell::state(text(event, "/status")),
            jobs.into(),
            text(event, "/provider_id").into(),
            text(event, "/id").into(),
        ]);
    }
    table
}
