//! `mainstay timeline`: everything about one customer, payment or repository, found by an id in the payloads.

use clap::Args;
use serde_json::Value;

use super::{
    Context,
    api::{TENANTS, list, number, text},
    args::time_short,
    failure::Failure,
    output::Output,
    table::{Cell, Column, Table, clean},
};

#[derive(Debug, Args)]
pub(crate) struct TimelineArgs {
    /// An id that stands in events: of a customer, a payment, a repository; or an event's own, or the provider's
    object: String,
    /// Only of this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// The oldest event first
    #[arg(long)]
    oldest: bool,
    /// How many events at the most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=50))]
    limit: i64,
    /// Where the last page ended
    #[arg(long)]
    cursor: Option<String>,
}

pub(super) async fn run(context: &Context, args: TimelineArgs) -> Result<(), Failure> {
    let api = context.api()?;
    let tenant = api.find_id_some(TENANTS, args.tenant).await?;
    let query = [
        ("object", Some(args.object)),
        ("tenant", tenant),
        ("order", args.oldest.then(|| "oldest".to_owned())),
        ("limit", Some(args.limit.to_string())),
        ("cursor", args.cursor),
    ];
    let found = api.get("/v1/timeline", &query).await?;
    context.show(&found, |out| show(out, &found))
}

fn show(out: &Output, timeline: &Value) -> Result<(), Failure> {
    let items = list(timeline, "/items");
    if items.is_empty() {
        out.line("no event is about this")?;
    }
    for item in items {
        let title = [
            time_short(&text(item, "/received_at")),
            text(item, "/source_name"),
            text(item, "/type"),
            text(item, "/status"),
            text(item, "/id"),
        ];
        out.title(&clean(&title.join(" · ")))?;
        out.table(&steps_table(list(item, "/steps")), "")?;
    }
    let related = list(timeline, "/related");
    if !related.is_empty() {
        out.title("Beside it")?;
        let mut table = Table::new(&[
            Column::Text("WHAT"),
            Column::Text("ID"),
            Column::Number("EVENTS"),
        ]);
        for one in related {
            table.row([
                text(one, "/name").into(),
                text(one, "/id").into(),
                text(one, "/events").into(),
            ]);
        }
        out.table(&table, "")?;
    }
    if text(timeline, "/index/complete") == "false" {
        let until = time_short(&text(timeline, "/index/until"));
        out.remark(&format!(
            "indexed until {until}: newer events are still to come"
        ));
    }
    for one in list(timeline, "/index/reindexing") {
        out.remark(&format!(
            "events of {} are looked at once more: {} of {}",
            text(one, "/source_id"),
            number(one, "/done"),
            number(one, "/total")
        ));
    }
    let cursor = text(timeline, "/next_cursor");
    if !cursor.is_empty() {
        out.remark(&format!(
            "there is more: raise --limit, or go on with --cursor {cursor}"
        ));
    }
    Ok(())
}

/// What follows from something stands under it.
fn steps_table(steps: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Whole("AT"),
        Column::Text("WHAT"),
        Column::Text("STATE"),
        Column::Text("DETAIL"),
    ]);
    for step in steps {
        let what = text(step, "/what");
        let depth = match what.as_str() {
            "request" | "event" => 0,
            "attempt" | "dead_letter" => 2,
            _ => 1,
        };
        table.row([
            time_short(&text(step, "/at")).into(),
            format!("{}{}", "· ".repeat(depth), what.replace('_', " ")).into(),
            Cell::state(text(step, "/state")),
            text(step, "/text").into(),
        ]);
    }
    table
}
