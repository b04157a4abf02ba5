//! `mainstay source drift`: what a source's events began to say that they never said before.

use serde_json::{Value, json};

use crate::cli::{
    Context,
    api::{Api, SOURCES, number, text},
    args::{PageArgs, time_short},
    failure::Failure,
    table::{Column, Table},
};

/// What is asked of findings.
pub(super) struct Asked {
    pub(super) all: bool,
    pub(super) acknowledge: Option<Vec<String>>,
    pub(super) page: PageArgs,
}

pub(super) async fn run(
    context: &Context,
    api: &Api,
    source: &str,
    asked: Asked,
) -> Result<(), Failure> {
    let id = api.find_id(SOURCES, source).await?;
    let path = format!("{}/{id}/drift", SOURCES.path);
    if let Some(ids) = asked.acknowledge {
        let body = match ids.is_empty() {
            true => json!({}),
            false => json!({ "ids": ids }),
        };
        let done = api.post(&format!("{path}/acknowledge"), &body).await?;
        return context.show(&done, |out| {
            out.line(&format!("{} acknowledged", number(&done, "/acknowledged")))
        });
    }
    let query = [("all", asked.all.then(|| "true".to_owned()))];
    let page = asked.page;
    let found = api.list(&path, &query, page.cursor, page.limit).await?;
    let mut table = Table::new(&[
        Column::Whole("FOUND"),
        Column::Text("TYPE"),
        Column::Text("WHAT"),
        Column::Text("WHERE"),
        Column::Whole("EVENT"),
        Column::Whole("ID"),
    ]);
    for drift in &found.items {
        table.row([
            time_short(&text(drift, "/found_at")).into(),
            text(drift, "/event_type").into(),
            what(drift).into(),
            text(drift, "/path").into(),
            text(drift, "/event_id").into(),
            text(drift, "/id").into(),
        ]);
    }
    context.list(&found, table, "nothing new")
}

fn what(drift: &Value) -> String {
    let (before, after) = (text(drift, "/before"), text(drift, "/after"));
    match text(drift, "/kind").as_str() {
        "new_type" => "a new type".to_owned(),
        "new_field" => format!("a new field: {after}"),
        "field_type" => format!("was {before}, is {after}"),
        _ => format!("API version {before}, now {after}"),
    }
}
