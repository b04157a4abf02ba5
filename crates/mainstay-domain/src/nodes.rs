//! Nodes: the processes that serve one installation, as the database knows them.
//!
//! Each says of itself where others reach it and by which key they know what it signs. Its private key never leaves the
//! process, so nothing in the database, in a backup of it or in a statement of a person's lets anybody speak as a node.

use std::time::Duration;

use async_trait::async_trait;

use crate::{error::StoreResult, id::NodeId, time::Timestamp};

/// Bytes of a node's public key (Ed25519).
pub const PUBLIC_KEY_BYTES: usize = 32;

/// One running process, as it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// This process, and no other before or after it.
    pub id: NodeId,
    /// The program's version.
    pub version: String,
    /// Where other nodes reach its internal door; none: it has none.
    pub address: Option<String>,
    /// What the others verify by what it sends to their doors.
    pub public_key: [u8; PUBLIC_KEY_BYTES],
}

/// A node, as it is listed. Times are the database's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSeen {
    /// Which.
    pub id: NodeId,
    /// The program's version.
    pub version: String,
    /// Where other nodes reach it.
    pub address: Option<String>,
    /// When it joined.
    pub since: Timestamp,
    /// When it was last heard of.
    pub seen_at: Timestamp,
    /// For how long it has not been heard of, in milliseconds.
    pub silent_ms: i64,
    /// Whether it holds the lease that was asked about.
    pub holds: bool,
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Which node.
    pub id: NodeId,
    /// Where other nodes reach it; none: it has no door, or is not known.
    pub address: Option<String>,
}

/// The store's verbs of nodes. All of them in the system scope.
#[async_trait]
pub trait NodesTx: Send {
    /// Says that a node is there: now, by the database's clock.
    async fn node_renew(&mut self, node: &Node) -> StoreResult<()>;
    /// Forgets a node that leaves.
    async fn node_remove(&mut self, id: NodeId) -> StoreResult<()>;
    /// Forgets nodes that have not been heard of for so long; answers how many.
    async fn node_expire(&mut self, silent: Duration) -> StoreResult<i64>;
    /// All nodes that are known, the one that joined first first, and which of them holds this lease.
    async fn node_list(&mut self, lease: &'static str) -> StoreResult<Vec<NodeSeen>>;
    /// The public key of a node.
    async fn node_key(&mut self, id: NodeId) -> StoreResult<Option<[u8; PUBLIC_KEY_BYTES]>>;
    /// Who took this lease last and has not given it up; it may have run out.
    async fn lease_holder(&mut self, lease: &'static str) -> StoreResult<Option<Holder>>;
}
