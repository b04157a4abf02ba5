//! What a request through an internal door shows: a ticket, signed by the node that sends it.
//!
//! It says which node asks which, when, for what (method, path, digest of the body), and for whom: who may do what was
//! decided where the request came in. It is good once. Unknown fields are passed over, so that nodes of two versions
//! understand each other.

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mainstay_domain::{
    KeyId, NodeId, Random, TenantId, UserId, access::Role, nodes::PUBLIC_KEY_BYTES,
};
use serde::{Deserialize, Serialize};

use crate::access::{Caller, Who};

/// The header that it stands in.
pub(super) const HEADER: &str = "mainstay-door";
/// The form of tickets; another one is another way to read everything else.
pub(super) const VERSION: u32 = 1;
/// Bytes of a ticket as it is sent.
const TEXT_BYTES_MAX: usize = 8 * 1024;
const SEED_BYTES: usize = 32;

/// What a node shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ticket {
    /// [`VERSION`].
    pub(super) version: u32,
    /// Who sends it: whose key signed it.
    pub(super) from: NodeId,
    /// Whom it is for. A process that starts anew is another.
    pub(super) to: NodeId,
    /// When it was signed, in milliseconds since 1970.
    pub(super) at_ms: i64,
    /// Each ticket of a sender has another.
    pub(super) number: u64,
    /// What is asked for.
    pub(super) method: String,
    /// Path and query.
    pub(super) path: String,
    /// SHA-256 of the body.
    pub(super) body: String,
    /// For whom.
    pub(super) caller: Claim,
}

/// Who called, as the node found that took the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    who: Claimed,
    role: String,
    tenant: Option<TenantId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Claimed {
    User { id: UserId, email: String },
    Key { id: KeyId, name: String },
}

impl From<&Caller> for Claim {
    fn from(caller: &Caller) -> Self {
        Self {
            who: match caller.who.clone() {
                Who::User { id, email } => Claimed::User { id, email },
                Who::Key { id, name } => Claimed::Key { id, name },
            },
            role: caller.role.as_str().to_owned(),
            tenant: caller.tenant,
        }
    }
}

impl Claim {
    /// The caller; `None`: of a role that this version does not know.
    pub(super) fn caller(self) -> Option<Caller> {
        Some(Caller {
            who: match self.who {
                Claimed::User { id, email } => Who::User { id, email },
                Claimed::Key { id, name } => Who::Key { id, name },
            },
            role: Role::from_name(&self.role)?,
            tenant: self.tenant,
        })
    }
}

/// What a ticket says of a body.
pub(super) fn body_digest(body: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, body))
}

/// This process, as the other nodes know it. The private key is made at the start and never leaves the process.
pub(crate) struct Identity {
    pub(super) id: NodeId,
    pair: Ed25519KeyPair,
    public: [u8; PUBLIC_KEY_BYTES],
}

impl Identity {
    /// A new one.
    pub(crate) fn new(id: NodeId, random: &dyn Random) -> anyhow::Result<Self> {
        let mut seed = [0; SEED_BYTES];
        random.fill(&mut seed);
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)?;
        let public = pair.public_key().as_ref().try_into()?;
        Ok(Self { id, pair, public })
    }

    /// What the others verify by what this one signs.
    pub(crate) const fn public_key(&self) -> [u8; PUBLIC_KEY_BYTES] {
        self.public
    }

    /// The ticket as it is sent: its JSON and the signature of just these bytes.
    pub(super) fn sign(&self, ticket: &Ticket) -> Result<String, serde_json::Error> {
        let said = serde_json::to_vec(ticket)?;
        let signature = self.pair.sign(&said);
        let (said, signature) = (
            URL_SAFE_NO_PAD.encode(&said),
            URL_SAFE_NO_PAD.encode(signature.as_ref()),
        );
        Ok(format!("{said}.{signature}"))
    }
}

/// A ticket that somebody shows, not believed yet.
pub(super) struct Shown {
    /// What it says.
    pub(super) ticket: Ticket,
    said: Vec<u8>,
    signature: Vec<u8>,
}

impl Shown {
    /// Reads one.
    pub(super) fn read(text: &str) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (said, signature) = text.split_once('.')?;
        let said = URL_SAFE_NO_PAD.decode(said).ok()?;
        Some(Self {
            ticket: serde_json::from_slice(&said).ok()?,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
            said,
        })
    }

    /// Whether the holder of this key signed it.
    pub(super) fn is_signed_by(&self, key: &[u8; PUBLIC_KEY_BYTES]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, key);
        key.verify(&self.said, &self.signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SystemRandom;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn ticket() -> Ticket {
        let caller = Caller {
            who: Who::Key {
                id: KeyId::NIL,
                name: "fäßchen".into(),
            },
            role: Role::Operator,
            tenant: Some(TenantId::from_uuid(Uuid::from_u128(9))),
        };
        Ticket {
            version: VERSION,
            from: NodeId::from_uuid(Uuid::from_u128(1)),
            to: NodeId::from_uuid(Uuid::from_u128(2)),
            at_ms: 1_900_000_000_000,
            number: 7,
            method: "POST".into(),
            path: "/v1/workers/pull".into(),
            body: body_digest(b"{}"),
            caller: Claim::from(&caller),
        }
    }

    fn identity() -> Identity {
        Identity::new(NodeId::NIL, &SystemRandom).expect("a seed of 32 bytes is a key")
    }

    #[test]
    fn what_a_node_signed_is_read_as_it_was_said_and_by_its_key_alone() {
        let (own, other) = (identity(), identity());
        let text = own.sign(&ticket()).expect("it is JSON");
        let shown = Shown::read(&text).expect("it is a ticket");
        assert_eq!(shown.ticket, ticket());
        assert!(shown.is_signed_by(&own.public_key()));
        assert!(!shown.is_signed_by(&other.public_key()));
        let caller = shown.ticket.caller.caller().expect("a role that is known");
        assert_eq!(
            (caller.actor().as_str(), caller.role),
            ("key:fäßchen", Role::Operator)
        );
    }

    #[test]
    fn a_later_version_may_say_more() {
        let own = identity();
        let mut said = serde_json::to_value(ticket()).expect("JSON");
        said["region"] = "north".into();
        let said = said.to_string();
        let signature = URL_SAFE_NO_PAD.encode(own.pair.sign(said.as_bytes()).as_ref());
        let text = format!("{}.{signature}", URL_SAFE_NO_PAD.encode(&said));
        let shown = Shown::read(&text).expect("it is a ticket");
        assert!(shown.is_signed_by(&own.public_key()));
    }

    #[test]
    fn a_ticket_that_was_changed_anywhere_is_not_signed() {
        let own = identity();
        let text = own.sign(&ticket()).expect("it is JSON");
        let (said, signature) = text.split_once('.').expect("two parts");
        let said = URL_SAFE_NO_PAD.decode(said).expect("base64");
        for at in 0..said.len() {
            let mut changed = said.clone();
            changed[at] ^= 1;
            let text = format!("{}.{signature}", URL_SAFE_NO_PAD.encode(&changed));
            let signed = Shown::read(&text).is_some_and(|one| one.is_signed_by(&own.public_key()));
            assert!(!signed, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn reading_a_ticket_never_panics(text in "\\PC{0,200}") {
            let _ = Shown::read(&text);
        }
    }
}
