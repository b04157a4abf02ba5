//! `mainstay event waiting`: events whose tenant is not known yet.

use clap::Args;
use serde_json::Value;

use super::{
    Context,
    api::{Api, SOURCES, list, text},
    args::{PageArgs, time_short},
    event::{arrived, payload_shown},
    failure::Failure,
    table::{Column, Fields, Table},
};

#[derive(Debug, Args)]
pub(crate) struct WaitingArgs {
    /// Show one, by its id
    #[arg(conflicts_with_all = ["source", "value", "by_value", "cursor", "limit"])]
    event: Option<String>,
    /// Only of this source
    #[arg(long)]
    source: Option<String>,
    /// Only those that wait for this value
    #[arg(long, conflicts_with = "by_value")]
    value: Option<String>,
    /// How many wait for which value of the source
    #[arg(long, requires = "source")]
    by_value: bool,
    #[command(flatten)]
    page: PageArgs,
}

pub(super) async fn run(context: &Context, api: &Api, args: WaitingArgs) -> Result<(), Failure> {
    if let Some(event) = args.event {
        let found = api.get(&format!("/v1/waiting-events/{event}"), &[]).await?;
        return context.show(&found, |_| show(context, &found));
    }
    let source = api.find_id_some(SOURCES, args.source).await?;
    let page = args.page;
    if let (true, Some(source)) = (args.by_value, &source) {
        let path = format!("{}/{source}/waiting", SOURCES.path);
        let found = api.list(&path, &[], page.cursor, page.limit).await?;
        return context.list(&found, values_table(&found.items), "no event waits");
    }
    let query = [("source", source), ("value", args.value)];
    let found = api
        .list("/v1/waiting-events", &query, page.cursor, page.limit)
        .await?;
    context.list(&found, table(&found.items), "no event waits")
}

fn values(event: &Value) -> String {
    let values = list(event, "/values").iter().map(|value| text(value, ""));
    values.collect::<Vec<_>>().join(", ")
}

fn values_table(items: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Number("EVENTS"),
        Column::Text("VALUE"),
        Column::Whole("SINCE"),
        Column::Whole("OLDEST"),
    ]);
    for one in items {
        table.row([
            text(one, "/events").into(),
            text(one, "/value").into(),
            time_short(&text(one, "/oldest_received_at")).into(),
            text(one, "/oldest_event_id").into(),
        ]);
    }
    table
}

fn table(items: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Whole("RECEIVED"),
        Column::Text("SOURCE"),
        Column::Text("TYPE"),
        Column::Text("WAITS FOR"),
        Column::Whole("ID"),
    ]);
    for event in items {
        table.row([
            time_short(&text(event, "/received_at")).into(),
            text(event, "/source_name").into(),
            text(event, "/type").into(),
            values(event).into(),
            text(event, "/id").into(),
        ]);
    }
    table
}

fn show(context: &Context, event: &Value) -> Result<(), Failure> {
    let out = &context.out;
    let mut fields = Fields::default();
    fields
        .add("id", text(event, "/id"))
        .add("type", text(event, "/type"))
        .add("source", text(event, "/source_name"))
        .add("provider id", text(event, "/provider_id"))
        .add("waits for", values(event));
    arrived(out, event, fields)?;
    payload_shown(out, event)
}
