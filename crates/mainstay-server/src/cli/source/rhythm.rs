//! `mainstay source rhythm`: how many events of each type are expected and came, and when that did not fit.

use serde_json::Value;

use crate::cli::{
    Context,
    api::{Api, SOURCES, list, text},
    args::{PageArgs, time_short},
    failure::Failure,
    table::{Cell, Column, Table},
};

/// What is asked of a rhythm.
pub(super) struct Asked {
    pub(super) event_type: Option<String>,
    pub(super) week: bool,
    pub(super) signals: bool,
    pub(super) open: bool,
    pub(super) page: PageArgs,
}

pub(super) async fn run(
    context: &Context,
    api: &Api,
    source: &str,
    asked: Asked,
) -> Result<(), Failure> {
    let id = api.find_id(SOURCES, source).await?;
    let path = format!("{}/{id}/rhythm", SOURCES.path);
    if asked.signals {
        return signals(context, api, &path, asked).await;
    }
    let window = if asked.week { "week" } else { "day" };
    let query = [
        ("window", Some(window.to_owned())),
        ("event_type", asked.event_type.clone()),
    ];
    let found = api.get(&path, &query).await?;
    let table = match asked.event_type {
        Some(_) => hours(&found),
        None => types(&found),
    };
    context.show(&found, |out| out.table(&table, "nothing has come yet"))
}

fn types(found: &Value) -> Table {
    let mut table = Table::new(&[
        Column::Text("TYPE"),
        Column::Number("CAME"),
        Column::Number("EXPECTED"),
        Column::Whole("LAST EVENT"),
    ]);
    for one in list(found, "/types") {
        let learning = one.get("learning").and_then(Value::as_bool) == Some(true);
        table.row([
            named(one).into(),
            text(one, "/actual").into(),
            expected(one, learning).into(),
            time_short(&text(one, "/last_event_at")).into(),
        ]);
    }
    table
}

fn hours(found: &Value) -> Table {
    let mut table = Table::new(&[
        Column::Whole("HOUR"),
        Column::Number("CAME"),
        Column::Number("EXPECTED"),
        Column::Number("FROM"),
        Column::Number("TO"),
        Column::Number("COUNTED"),
    ]);
    for one in list(found, "/hours") {
        let counted = one.get("counted").and_then(Value::as_f64).unwrap_or(0.0);
        table.row([
            time_short(&text(one, "/at")).into(),
            text(one, "/actual").into(),
            expected(one, true).into(),
            text(one, "/low").into(),
            text(one, "/high").into(),
            format!("{:.0} %", counted * 100.0).into(),
        ]);
    }
    table
}

fn named(one: &Value) -> String {
    match text(one, "/event_type") {
        all if all.is_empty() => "(all)".to_owned(),
        event_type => event_type,
    }
}

fn expected(one: &Value, learning: bool) -> String {
    match one.get("expected").and_then(Value::as_f64) {
        Some(expected) => format!("{expected:.1}"),
        None if learning => "learning".to_owned(),
        None => String::new(),
    }
}

async fn signals(context: &Context, api: &Api, path: &str, asked: Asked) -> Result<(), Failure> {
    let query = [("open", asked.open.then(|| "true".to_owned()))];
    let page = asked.page;
    let found = api
        .list(&format!("{path}/signals"), &query, page.cursor, page.limit)
        .await?;
    let mut table = Table::new(&[
        Column::Whole("OPENED"),
        Column::Whole("ENDED"),
        Column::Text("WHAT"),
        Column::Text("TYPE"),
        Column::Number("EXPECTED"),
        Column::Number("CAME"),
        Column::Whole("ID"),
    ]);
    for one in &found.items {
        table.row([
            time_short(&text(one, "/opened_at")).into(),
            time_short(&text(one, "/ended_at")).into(),
            Cell::state(match text(one, "/kind").as_str() {
                "silence" => "silence",
                _ => "surge",
            }),
            named(one).into(),
            expected(one, false).into(),
            text(one, "/actual").into(),
            text(one, "/id").into(),
        ]);
    }
    context.list(&found, table, "everything came as usual")
}
