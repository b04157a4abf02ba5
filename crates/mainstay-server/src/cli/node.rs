//! `mainstay node`: the processes that serve this installation.

use clap::Subcommand;
use serde_json::Value;

use super::{
    Context,
    api::text,
    args::{PageArgs, time_short},
    failure::Failure,
    table::{Column, Table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the nodes that were heard of in the last hour
    #[command(visible_alias = "ls")]
    List(PageArgs),
}

pub(super) async fn run(context: &Context, command: NodeCommand) -> Result<(), Failure> {
    let NodeCommand::List(page) = command;
    let api = context.api()?;
    let found = api.list("/v1/nodes", &[], page.cursor, page.limit).await?;
    context.list(&found, table(&found.items), "no nodes")
}

fn table(nodes: &[Value]) -> Table {
    let mut table = Table::new(&[
        Column::Whole("ID"),
        Column::Text("ROLE"),
        Column::Text("VERSION"),
        Column::Text("INTERNAL DOOR"),
        Column::Whole("SINCE"),
        Column::Whole("LAST SEEN"),
    ]);
    for node in nodes {
        let role = match node["silent"] == true {
            true => "silent".to_owned(),
            false => text(node, "/role").replace('_', " "),
        };
        table.row([
            text(node, "/id").into(),
            role.into(),
            text(node, "/version").into(),
            node["address"].as_str().unwrap_or("none").into(),
            time_short(&text(node, "/since")).into(),
            time_short(&text(node, "/last_seen_at")).into(),
        ]);
    }
    table
}
