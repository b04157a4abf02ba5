//! What a secret stands for, set up once for each source.

use std::sync::Arc;

use aws_lc_rs::{
    hmac,
    signature::{self, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};

use super::secret::Secret;

/// A prepared secret.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every key is of the largest kind, and the door reads it for every request"
)]
pub(super) enum Key {
    /// The key of an HMAC.
    Hmac(hmac::Key),
    /// An ed25519 public key: verifies.
    Ed25519([u8; 32]),
    /// An ed25519 key pair: signs, and verifies with its public half.
    Ed25519Pair(Arc<Ed25519KeyPair>),
    /// The text itself, which is compared or signed.
    Text(Secret),
}

impl Key {
    pub(super) const fn hmac(&self) -> Option<&hmac::Key> {
        match self {
            Self::Hmac(key) => Some(key),
            _ => None,
        }
    }

    pub(super) const fn text(&self) -> Option<&Secret> {
        match self {
            Self::Text(secret) => Some(secret),
            _ => None,
        }
    }

    pub(super) const fn is_ed25519(&self) -> bool {
        matches!(self, Self::Ed25519(_) | Self::Ed25519Pair(_))
    }

    /// Whether the signature is one of the message, by an ed25519 key.
    pub(super) fn ed25519_made(&self, message: &[u8], signature: &[u8]) -> bool {
        let public = match self {
            Self::Ed25519(public) => public.as_slice(),
            Self::Ed25519Pair(pair) => pair.public_key().as_ref(),
            _ => return false,
        };
        UnparsedPublicKey::new(&signature::ED25519, public)
            .verify(message, signature)
            .is_ok()
    }
}
