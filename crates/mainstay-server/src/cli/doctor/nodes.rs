//! Several nodes: whether they reach each other, and run one version.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::{
        Context,
        api::{list, text},
    },
    report::Report,
};

const SUBJECT: &str = "nodes";

/// Asks the server that runs. Says nothing where there is one node.
pub(super) async fn check(report: &mut Report, context: &Context, running: bool) {
    let (true, Ok(api)) = (running, context.api()) else {
        return;
    };
    let Ok(found) = api.get("/v1/nodes", &[]).await else {
        return;
    };
    let alive = |node: &&Value| node["silent"] == false;
    let nodes: Vec<&Value> = list(&found, "/items").iter().filter(alive).collect();
    if nodes.len() < 2 {
        return;
    }
    let versions: BTreeSet<String> = nodes.iter().map(|node| text(node, "/version")).collect();
    let versions: Vec<String> = versions.into_iter().collect();
    let shut = nodes
        .iter()
        .filter(|node| node["address"].is_null())
        .count();
    let said = format!("{} nodes, version {}", nodes.len(), versions.join(" and "));
    match shut {
        0 => report.fine(SUBJECT, said),
        shut => report.doubtful(
            SUBJECT,
            format!("{said}; {shut} without an internal door: while one of these owns the jobs, workers are served by it alone"),
            "set node.listen on every node (docs/nodes.md)",
        ),
    }
}
