//! This node among the others: it says that it is there for as long as it is, and forgets those that are long gone.
//!
//! Who owns the engine stands in its lease; how to reach that node, and by which key to know what a node signs, stands in
//! the nodes' own rows. SQLite has one node, which joins nobody.

use std::{sync::Arc, time::Duration};

use mainstay_domain::{
    NodeId, Scope, Store, StoreExt, StoreResult,
    nodes::{Node, NodeSeen, PUBLIC_KEY_BYTES},
};
use tokio::{sync::watch, time::MissedTickBehavior};

use crate::jobs::ENGINE_LEASE;

/// How often a node says that it is there.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// A node that was not heard of for so long is gone, or stands still.
pub const SILENT: Duration = Duration::from_secs(20);
/// A node that was not heard of for so long is forgotten.
const FORGET: Duration = Duration::from_secs(60 * 60);
/// After so many rounds it is looked for those.
const FORGET_ROUNDS: u32 = 30;

const SYSTEM: Scope = Scope::System("nodes");

/// What a process says of itself when it joins others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joining {
    /// This process.
    pub id: NodeId,
    /// Where its internal door is; none: it has none, and calls at the others' all the same.
    pub address: Option<String>,
    /// What the others verify by what it signs.
    pub public_key: [u8; PUBLIC_KEY_BYTES],
}

/// The nodes of this installation, as this one knows them.
pub struct Nodes {
    store: Arc<dyn Store>,
    id: NodeId,
    own: Option<Node>,
}

impl Nodes {
    pub(crate) fn new(store: Arc<dyn Store>, id: NodeId, joining: Option<Joining>) -> Self {
        let own = joining.map(|joining| Node {
            id: joining.id,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address: joining.address,
            public_key: joining.public_key,
        });
        Self { store, id, own }
    }

    /// This one.
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// All that are known, the one that joined first first. None where there can be only one.
    pub async fn list(&self) -> StoreResult<Vec<NodeSeen>> {
        let read = self.store.read(SYSTEM, |tx| {
            Box::pin(async move { tx.node_list(ENGINE_LEASE).await })
        });
        read.await
    }

    /// The key of a node.
    pub async fn key(&self, id: NodeId) -> StoreResult<Option<[u8; PUBLIC_KEY_BYTES]>> {
        let read = self.store.read(SYSTEM, move |tx| Box::pin(tx.node_key(id)));
        read.await
    }

    /// Says that this node is there.
    pub(crate) async fn renew(&self) -> StoreResult<()> {
        let Some(own) = self.own.clone() else {
            return Ok(());
        };
        let renewed = self.store.transact(SYSTEM, move |tx| {
            let own = own.clone();
            Box::pin(async move { tx.node_renew(&own).await })
        });
        renewed.await
    }

    /// Says that it leaves.
    pub(crate) async fn leave(&self) {
        let Some(id) = self.own.as_ref().map(|own| own.id) else {
            return;
        };
        let left = self
            .store
            .transact(SYSTEM, move |tx| Box::pin(tx.node_remove(id)));
        if let Err(error) = left.await {
            tracing::debug!(%error, "this node could not say that it leaves; it is forgotten in an hour");
        }
    }

    async fn forget(&self) -> StoreResult<i64> {
        let forgotten = self
            .store
            .transact(SYSTEM, |tx| Box::pin(tx.node_expire(FORGET)));
        forgotten.await
    }

    async fn round(&self, number: u32) -> StoreResult<()> {
        self.renew().await?;
        if number.is_multiple_of(FORGET_ROUNDS) {
            let forgotten = self.forget().await?;
            if forgotten > 0 {
                tracing::info!(forgotten, "nodes that are long gone are listed no more");
            }
        }
        Ok(())
    }
}

/// Says that this node is there, until `stop`.
pub(crate) async fn run(nodes: Arc<Nodes>, mut stop: watch::Receiver<bool>) {
    if nodes.own.is_none() {
        return;
    }
    let mut every = tokio::time::interval(RENEW_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0_u32.. {
        tokio::select! {
            _ = every.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        if let Err(error) = nodes.round(number).await {
            tracing::warn!(%error, "this node could not say that it is there; trying again");
        }
    }
}
