//! `mainstay breaker`: how the dependencies of endpoints stand, how that changed, and holding a breaker open or closed.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Context,
    api::{Api, ENDPOINTS, list, text},
    args::{Body, LaterArg, PageArgs, time_short},
    failure::Failure,
    table::{Cell, Column, Fields, Table},
};

const BREAKERS: &str = "/v1/breakers";
/// Breakers that are looked through at once for a name.
const PAGE: usize = 200;
/// Changes that are shown with a breaker.
const SHOWN: usize = 10;

#[derive(Debug, Subcommand)]
pub(crate) enum BreakerCommand {
    /// List breakers: one for each dependency
    #[command(visible_alias = "ls")]
    List(PageArgs),
    /// Show a breaker, what is behind it, and how it changed last
    Show {
        /// Its dependency's name, or an endpoint's name or id
        breaker: String,
    },
    /// List the changes of a breaker, the last first
    History {
        /// Its dependency's name, or an endpoint's name or id
        breaker: String,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Hold it open: nothing is sent, what comes waits and uses up no attempt
    Open {
        /// Its dependency's name, or an endpoint's name or id
        breaker: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// Until when: a time, or how long from now; else until somebody says otherwise
        #[arg(long, value_name = "TIME")]
        until: Option<LaterArg>,
    },
    /// Hold it closed: everything is sent, whatever the dependency answers
    Close {
        /// Its dependency's name, or an endpoint's name or id
        breaker: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// Until when: a time, or how long from now; a week at the most
        #[arg(long, value_name = "TIME")]
        until: LaterArg,
    },
    /// Give it back to its own rule
    Auto {
        /// Its dependency's name, or an endpoint's name or id
        breaker: String,
    },
}

pub(super) async fn run(context: &Context, command: BreakerCommand) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        BreakerCommand::List(page) => {
            let found = api.list(BREAKERS, &[], page.cursor, page.limit).await?;
            context.list(
                &found,
                table(&found.items),
                "no breakers: there is no endpoint yet",
            )
        }
        BreakerCommand::Show { breaker } => {
            let path = path(&api, &breaker).await?;
            let found = api.get(&path, &[]).await?;
            let history = format!("{path}/history");
            let changes = api.list(&history, &[], None, SHOWN).await?;
            context.show(&found, |_| show(context, &found, &changes.items))
        }
        BreakerCommand::History { breaker, page } => {
            let path = format!("{}/history", path(&api, &breaker).await?);
            let found = api.list(&path, &[], page.cursor, page.limit).await?;
            context.list(&found, history(&found.items), "it has not changed")
        }
        BreakerCommand::Open {
            breaker,
            reason,
            until,
        } => {
            let until = until.as_ref().map(LaterArg::as_str);
            hold(context, &api, &breaker, "open", (reason, until)).await
        }
        BreakerCommand::Close {
            breaker,
            reason,
            until,
        } => {
            let until = Some(until.as_str());
            hold(context, &api, &breaker, "close", (reason, until)).await
        }
        BreakerCommand::Auto { breaker } => {
            let path = path(&api, &breaker).await?;
            let changed = api.post(&format!("{path}/auto"), &json!({})).await?;
            context.show(&changed, |out| {
                out.line(&format!(
                    "{} goes by its own rule again",
                    text(&changed, "/name")
                ))
            })
        }
    }
}

async fn hold(
    context: &Context,
    api: &Api,
    breaker: &str,
    verb: &str,
    (reason, until): (String, Option<&str>),
) -> Result<(), Failure> {
    let mut body = Body::default();
    body.set("reason", Some(reason)).set("until", until);
    let path = format!("{}/{verb}", path(api, breaker).await?);
    let changed = api.post(&path, &body.value()).await?;
    context.show(&changed, |out| {
        let until = match text(&changed, "/forced/until") {
            none if none.is_empty() => "until somebody says otherwise".to_owned(),
            until => format!("until {}", time_short(&until)),
        };
        out.line(&format!(
            "{} is held {} {until}",
            text(&changed, "/name"),
            text(&changed, "/state")
        ))
    })
}

/// Where the breaker of this name is, or of the endpoint that is called so.
async fn path(api: &Api, asked: &str) -> Result<String, Failure> {
    let mut cursor = None;
    loop {
        let page = api.list(BREAKERS, &[], cursor, PAGE).await?;
        let is = |breaker: &&Value| text(breaker, "/dependency") == asked;
        if let Some(found) = page.items.iter().find(is) {
            return Ok(format!("{BREAKERS}/{}", text(found, "/dependency")));
        }
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    let endpoint = api.find_id(ENDPOINTS, asked).await?;
    Ok(format!("{BREAKERS}/{endpoint}"))
}

fn table(breakers: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Text("BREAKER"),
        Column::Text("STATE"),
        Column::Text("HELD"),
        Column::Number("ENDPOINTS"),
        Column::Number("FAILURES"),
        Column::Whole("PROBES AT"),
        Column::Text("LAST ERROR"),
    ]);
    for breaker in breakers {
        let held = if breaker["forced"].is_null() {
            ""
        } else {
            "by hand"
        };
        table.row([
            text(breaker, "/name").into(),
            Cell::state(text(breaker, "/state")),
            held.into(),
            list(breaker, "/endpoints").len().to_string().into(),
            text(breaker, "/failures").into(),
            time_short(&text(breaker, "/probe_at")).into(),
            text(breaker, "/last_error").into(),
        ]);
    }
    table
}

fn show(context: &Context, breaker: &Value, changes: &[Value]) -> Result<(), Failure> {
    let endpoints: Vec<String> = list(breaker, "/endpoints")
        .iter()
        .map(|endpoint| text(endpoint, "/name"))
        .collect();
    let mut fields = Fields::default();
    fields
        .add("breaker", text(breaker, "/name"))
        .add("dependency", text(breaker, "/dependency"))
        .add("state", Cell::state(text(breaker, "/state")))
        .add("held by", text(breaker, "/forced/by"))
        .add("because", text(breaker, "/forced/reason"))
        .add("until", time_short(&text(breaker, "/forced/until")))
        .add("endpoints", endpoints.join(", "))
        .add("failures", text(breaker, "/failures"))
        .add("open since", time_short(&text(breaker, "/opened_at")))
        .add("probes at", time_short(&text(breaker, "/probe_at")))
        .add("last error", text(breaker, "/last_error"))
        .add("settings", breaker["settings"].to_string());
    context.out.fields(&fields)?;
    context.out.title("How it changed last")?;
    context.out.table(&history(changes), "it has not changed")
}

fn history(changes: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Whole("AT"),
        Column::Text("FROM"),
        Column::Text("TO"),
        Column::Text("WHY"),
        Column::Text("BY"),
        Column::Text("SAID"),
    ]);
    for change in changes {
        let said = match text(change, "/reason") {
            none if none.is_empty() => text(change, "/error"),
            reason => reason,
        };
        table.row([
            time_short(&text(change, "/at")).into(),
            text(change, "/from").into(),
            Cell::state(text(change, "/to")),
            why(change).into(),
            text(change, "/by").into(),
            said.into(),
        ]);
    }
    table
}

/// The rule with what it counted: `failed_share 12 of 20`.
fn why(change: &Value) -> String {
    let why = text(change, "/why");
    match (change["count"].as_u64(), change["calls"].as_u64()) {
        (Some(count), Some(calls)) if calls > 0 => format!("{why} {count} of {calls}"),
        (Some(count), _) if count > 0 => format!("{why} {count}"),
        _ => why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_what_was_counted() {
        let said = |count, calls| why(&json!({"why": "rule", "count": count, "calls": calls}));
        assert_eq!(said(12, 20), "rule 12 of 20");
        assert_eq!(said(5, 0), "rule 5");
        assert_eq!(said(0, 0), "rule");
    }
}
