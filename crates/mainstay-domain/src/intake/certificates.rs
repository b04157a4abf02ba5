//! The port to certificates that providers sign their webhooks with.

use async_trait::async_trait;
use bytes::Bytes;

/// Why a certificate cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It could not be fetched now; another time it may.
    #[error("the certificate could not be fetched: {0}")]
    Unavailable(String),
    /// It was fetched, and nobody who is trusted vouches for it.
    #[error("the certificate is not to be trusted: {0}")]
    Untrusted(String),
}

/// Fetches certificates and says whether they are to be trusted. Bounded in time and number, and remembers.
#[async_trait]
pub trait Certificates: Send + Sync {
    /// The public key (SubjectPublicKeyInfo in DER) of the certificate at a URL that a scheme has pinned to its
    /// provider's own hosts, once its chain is verified for this name.
    async fn public_key(&self, url: &str, name: &'static str) -> Result<Bytes, CertificateError>;
}
