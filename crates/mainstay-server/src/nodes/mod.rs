//! The internal door between nodes: what a node that does not own the jobs asks the one that does.
//!
//! It is a listener of its own, so that it can be kept where only nodes are. What goes through it are requests of the API,
//! as they came in, which nodes of two versions understand; the ones that are listed in [`way`] and no others. Whoever
//! comes shows a [`ticket`]. It is open where `node.listen` says so; calling at others' doors needs no configuration.

use std::sync::Arc;

use anyhow::Context as _;
use axum::{Router, http::Method, middleware};
use mainstay::nodes::Joining;
use mainstay_domain::{Clock, NodeId, Random};
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;

mod admit;
mod forward;
mod ticket;
mod window;

pub(crate) use forward::forward;
pub(crate) use ticket::Identity;

use crate::{
    api,
    config::NodeConfig,
    http::{Code, Problem, frame},
    state::App,
};

/// How a request goes through the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Somebody looks at something. Where the owner cannot be asked, the node that was asked says what it knows.
    Look,
    /// A worker says something.
    Tell,
    /// A worker asks for jobs, and may wait for them.
    Pull,
}

/// Whether this is what only the owner can answer, and how it goes there.
fn way(method: &Method, path: &str) -> Option<Way> {
    match (method.as_str(), path) {
        ("POST", "/v1/workers/pull") => Some(Way::Pull),
        ("POST", "/v1/workers/heartbeat" | "/v1/workers/report") => Some(Way::Tell),
        (
            "GET",
            "/v1/workers" | "/v1/queues" | "/v1/queues/{name}" | "/v1/jobs/{id}" | "/v1/overview",
        ) => Some(Way::Look),
        _ => None,
    }
}

/// This node's end of the doors.
pub(crate) struct Door {
    identity: Identity,
    calls: forward::Calls,
    guests: admit::Guests,
}

impl Door {
    /// With a key of its own that nobody else has or will have.
    pub(crate) fn new(
        config: &NodeConfig,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> anyhow::Result<Self> {
        let authorities = match &config.ca_file {
            None => Vec::new(),
            Some(path) => std::fs::read(path)
                .map_err(anyhow::Error::from)
                .and_then(|pem| Ok(reqwest::Certificate::from_pem_bundle(&pem)?))
                .with_context(|| format!("node.ca_file: {}", path.display()))?,
        };
        Ok(Self {
            identity: Identity::new(NodeId::new(clock.now(), random), random)?,
            calls: forward::Calls::new(authorities)?,
            guests: admit::Guests::default(),
        })
    }

    /// What it says of itself to the others.
    pub(crate) fn joining(&self, address: Option<String>) -> Joining {
        Joining {
            id: self.identity.id,
            address,
            public_key: self.identity.public_key(),
        }
    }
}

/// The internal door's socket and how the others reach it, where there is one.
pub(crate) async fn listen(config: &NodeConfig) -> anyhow::Result<Option<(TcpListener, String)>> {
    let Some(address) = config.listen else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("node.listen: cannot listen on {address}"))?;
    let reached = match &config.advertise {
        Some(url) => url.clone(),
        None => format!("http://{}", listener.local_addr()?),
    };
    Ok(Some((listener, reached)))
}

/// What answers at the door.
pub(crate) fn router(app: &Arc<App>) -> Router {
    api::unguarded()
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(app),
            admit::admit,
        ))
        .fallback(|| async { Problem::not_found("route") })
        .layer(CatchPanicLayer::custom(frame::panicked))
        .with_state(Arc::clone(app))
}

/// What a worker is told while nobody who could be asked owns the jobs.
pub(crate) fn not_the_owner() -> Problem {
    Problem::new(
        Code::NotTheOwner,
        "another node owns the jobs, or none yet: ask that one, or this one again in a moment",
    )
    .retry_after(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::needs::{self, Kind};

    #[test]
    fn nothing_goes_through_the_door_that_changes_anything_but_what_a_worker_holds() {
        let document: serde_json::Value =
            serde_json::from_str(api::document::text()).expect("the document is JSON");
        let mut through = 0;
        for (path, item) in document["paths"].as_object().expect("there are paths") {
            for method in item.as_object().expect("operations").keys() {
                let method: Method = method.to_uppercase().parse().expect("a method");
                let Some(way) = way(&method, path) else {
                    continue;
                };
                through += 1;
                let need = needs::of(&method, path).expect("it is declared");
                let fits = match way {
                    Way::Look => matches!(need.kind, Kind::Look | Kind::Read(_)),
                    Way::Tell | Way::Pull => need.kind == Kind::Handle,
                };
                assert!(fits && need.role.is_some(), "{method} {path}");
            }
        }
        assert_eq!(through, 8, "each is a route of the API");
    }
}
