//! Nodes: the processes that serve this installation, and which of them owns the jobs.

use std::sync::Arc;

use axum::{Json, extract::State};
use mainstay::nodes::SILENT;
use mainstay_domain::{NodeId, nodes::NodeSeen};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::page::{Page, PageQuery, page_of_all};
use crate::{
    access::Caller,
    http::{Problem, extract::Params},
    state::App,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(node_list))
}

/// What a node is to the jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeRole {
    /// It carries them out.
    Owner,
    /// It takes over when the owner leaves or dies.
    StandBy,
}

/// A process that serves this installation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Node)]
pub(crate) struct NodeView {
    #[schema(value_type = String)]
    id: NodeId,
    /// The program's version.
    version: String,
    role: NodeRole,
    /// Whether it is the one that answers this.
    this: bool,
    /// Where its internal door is; null: it has none, and what reaches another node cannot be asked here.
    address: Option<String>,
    /// When it joined, by the database's clock.
    since: Time,
    /// When it was last heard of, by the database's clock.
    last_seen_at: Time,
    /// Whether it has not been heard of for 20 seconds: it is gone, or stands still. It is forgotten after an hour.
    silent: bool,
}

impl NodeView {
    fn of(node: NodeSeen, this: NodeId) -> Self {
        Self {
            this: node.id == this,
            id: node.id,
            version: node.version,
            role: match node.holds {
                true => NodeRole::Owner,
                false => NodeRole::StandBy,
            },
            address: node.address,
            since: node.since.into(),
            last_seen_at: node.seen_at.into(),
            silent: u128::try_from(node.silent_ms).is_ok_and(|ms| ms >= SILENT.as_millis()),
        }
    }
}

/// This one, where there can be no other.
fn alone(app: &App) -> NodeSeen {
    let now = app.clock.now();
    let uptime_ms = i64::try_from(app.uptime().as_millis()).unwrap_or(i64::MAX / 2);
    NodeSeen {
        id: app.mainstay.nodes.id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address: None,
        since: now.minus_ms(uptime_ms),
        seen_at: now,
        silent_ms: 0,
        holds: app.mainstay.engine.snapshot().owner,
    }
}

/// List nodes
///
/// Those that were heard of in the last hour, the one that joined first first. On SQLite there is one.
#[utoipa::path(get, path = "/v1/nodes", tag = "watch", params(PageQuery),
    responses((status = 200, body = Page<NodeView>)))]
async fn node_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<NodeView>>, Problem> {
    caller.everywhere()?;
    let nodes = match &app.door {
        Some(_) => app.mainstay.nodes.list().await?,
        None => vec![alone(&app)],
    };
    let this = app.mainstay.nodes.id();
    let view = |node: NodeSeen| NodeView::of(node, this);
    page_of_all(nodes, &query, |node| node.id.uuid(), view).map(Json)
}
