//! The port to other people's HTTP servers.

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Category;

/// A request that leaves the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutRequest {
    /// Where to. Checked against the address guard when it is resolved, not before.
    pub url: String,
    /// Name and value, in order.
    pub headers: Vec<(String, String)>,
    /// The body of the POST.
    pub body: Bytes,
    /// Bound on connecting, TLS included, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Bound on the whole call, in milliseconds.
    pub timeout_ms: u64,
    /// How many bytes of the answer are kept; the rest is read away up to a bound, or the connection closed.
    pub answer_bytes_max: usize,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Name and value, bounded in number and size.
    pub headers: Vec<(String, String)>,
    /// The beginning of the body.
    pub excerpt: Bytes,
}

/// Why nothing usable came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutError {
    /// The URL cannot be used.
    #[error("the URL cannot be used: {0}")]
    Url(String),
    /// The address guard does not let us connect there (private, loopback, link-local, metadata, …).
    #[error("the address {0} may not be connected to; an administrator can allow it")]
    Forbidden(String),
    /// The name could not be resolved.
    #[error("the name could not be resolved: {0}")]
    Dns(String),
    /// No connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// The connection's TLS failed.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// No answer in time (TMO-01).
    #[error("operation '{operation}' timed out after {ms}ms")]
    Timeout {
        /// What was being done: `connect` or `request`.
        operation: &'static str,
        /// The bound.
        ms: u64,
    },
    /// The connection broke after the request was sent.
    #[error("the connection broke: {0}")]
    Broken(String),
}

impl OutError {
    /// How attempts count it.
    pub const fn category(&self) -> Category {
        match self {
            Self::Url(_) | Self::Forbidden(_) => Category::Validation,
            Self::Dns(_) | Self::Connect(_) | Self::Tls(_) | Self::Broken(_) => Category::Network,
            Self::Timeout { .. } => Category::Timeout,
        }
    }

    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Url(_) => "url_invalid",
            Self::Forbidden(_) => "address_forbidden",
            Self::Dns(_) => "dns_failed",
            Self::Connect(_) => "connect_failed",
            Self::Tls(_) => "tls_failed",
            Self::Timeout { .. } => "timed_out",
            Self::Broken(_) => "connection_broken",
        }
    }
}

/// Sends requests to addresses that tenants chose: hostile until proven otherwise. Follows no redirects.
#[async_trait]
pub trait HttpOut: Send + Sync {
    /// POSTs the request and waits for the answer, within the request's bounds.
    async fn post(&self, request: OutRequest) -> Result<OutAnswer, OutError>;
}
