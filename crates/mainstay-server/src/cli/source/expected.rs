//! `mainstay source expected`: events that did not come after what they must follow.

use serde_json::json;

use crate::cli::{
    Context,
    api::{Api, SOURCES, list, number, text},
    args::{PageArgs, time_short},
    failure::Failure,
    table::{Column, Table},
};

/// What is asked of expected events.
pub(super) struct Asked {
    pub(super) all: bool,
    pub(super) waiting: bool,
    pub(super) rules: bool,
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
    let path = format!("{}/{id}/expected", SOURCES.path);
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
    if asked.rules {
        return rules(context, api, &path).await;
    }
    let state = match (asked.all, asked.waiting) {
        (true, _) => "all",
        (false, true) => "waiting",
        (false, false) => "missing",
    };
    let query = [("state", Some(state.to_owned()))];
    let page = asked.page;
    let found = api.list(&path, &query, page.cursor, page.limit).await?;
    let mut table = Table::new(&[
        Column::Whole("DUE"),
        Column::Text("RULE"),
        Column::Text("OBJECT"),
        Column::Text("EXPECTED"),
        Column::Whole("AFTER EVENT"),
        Column::Whole("ID"),
    ]);
    for one in &found.items {
        table.row([
            time_short(&text(one, "/due_at")).into(),
            text(one, "/rule").into(),
            text(one, "/object").into(),
            text(one, "/expected_type").into(),
            text(one, "/event_id").into(),
            text(one, "/id").into(),
        ]);
    }
    let nothing = match asked.waiting {
        true => "nothing is waited for",
        false => "nothing is missing",
    };
    context.list(&found, table, nothing)
}

async fn rules(context: &Context, api: &Api, path: &str) -> Result<(), Failure> {
    let found = api.get(&format!("{path}/rules"), &[]).await?;
    let mut table = Table::new(&[
        Column::Text("RULE"),
        Column::Number("PENDING"),
        Column::Number("IN TIME"),
        Column::Number("LATE"),
        Column::Number("MISSED"),
        Column::Number("NOT WATCHED"),
    ]);
    for one in list(&found, "/rules") {
        table.row([
            text(one, "/rule").into(),
            text(one, "/pending").into(),
            text(one, "/fulfilled").into(),
            text(one, "/late").into(),
            text(one, "/missed").into(),
            text(one, "/overflowed").into(),
        ]);
    }
    context.show(&found, |out| out.table(&table, "no rule had an event yet"))
}
