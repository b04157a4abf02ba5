//! The audit log outside of the database: one entry as JSON, from which its hash can be computed again.
//!
//! A file of the log is lines of JSON: what it begins behind, the entries in the order of the chain, and the end of the
//! chain when it was written. A line is one of ours only if it is written exactly as we write it, so there are no two
//! ways of saying the same, and any other byte is a change.

use mainstay_domain::{
    AuditId, TenantId, Timestamp,
    access::{AuditEntry, Head, Sealed, chain::Hash},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Time;

/// The version of the form.
pub(crate) const FORM: u32 = 1;

/// An entry in its place, with what its hash is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SealedEntry)]
pub(crate) struct Line {
    /// Its place in the chain, from 1.
    pub(crate) position: i64,
    #[schema(value_type = String)]
    pub(crate) id: AuditId,
    pub(crate) at: Time,
    /// Who; empty where it was erased.
    pub(crate) actor: String,
    /// What.
    pub(crate) action: String,
    /// To what; empty where it was erased.
    pub(crate) subject: String,
    /// More, as the text of a JSON value: the hash goes over this very text.
    pub(crate) detail: Option<String>,
    #[schema(value_type = Option<String>)]
    pub(crate) tenant_id: Option<TenantId>,
    /// What the digest of actor, subject and detail is made with, in hexadecimal; null where they were erased.
    pub(crate) salt: Option<String>,
    /// The digest of actor, subject and detail.
    pub(crate) content: String,
    /// The hash over the entry before it and this one.
    pub(crate) hash: String,
}

/// Where a chain ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AuditHead)]
pub(crate) struct HeadView {
    /// How many entries there are in it.
    pub(crate) position: i64,
    /// The hash of the last one, in hexadecimal. Who keeps it elsewhere can prove what stood in front of it.
    pub(crate) hash: String,
    /// When it was sealed; null while there is none.
    pub(crate) sealed_at: Option<Time>,
}

/// The first line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct First {
    pub(crate) mainstay_audit: u32,
    /// The place of the entry before the first one here.
    pub(crate) after: i64,
    /// Its hash.
    pub(crate) previous: String,
}

/// The last line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Last {
    pub(crate) head: HeadView,
}

impl From<&Sealed> for Line {
    fn from(sealed: &Sealed) -> Self {
        let entry = sealed.entry.clone();
        Self {
            position: sealed.position,
            id: entry.id,
            at: entry.at.into(),
            actor: entry.actor,
            action: entry.action,
            subject: entry.subject,
            detail: entry.detail,
            tenant_id: entry.tenant,
            salt: sealed.salt.map(|salt| hex(&salt)),
            content: hex(&sealed.content),
            hash: hex(&sealed.hash),
        }
    }
}

impl Line {
    /// The entry; none where something in it cannot be what we wrote.
    pub(crate) fn sealed(self) -> Option<Sealed> {
        let salt = match &self.salt {
            Some(salt) => Some(unhex(salt)?),
            None => None,
        };
        Some(Sealed {
            salt,
            position: self.position,
            content: unhex(&self.content)?,
            hash: unhex(&self.hash)?,
            entry: AuditEntry {
                id: self.id,
                at: self.at.0,
                actor: self.actor,
                action: self.action,
                subject: self.subject,
                detail: self.detail,
                tenant: self.tenant_id,
            },
        })
    }
}

impl From<&Head> for HeadView {
    fn from(head: &Head) -> Self {
        Self {
            position: head.position,
            hash: hex(&head.hash),
            sealed_at: (head.position > 0).then(|| head.sealed_at.into()),
        }
    }
}

impl HeadView {
    /// The head; none where its hash is none.
    pub(crate) fn head(&self) -> Option<Head> {
        Some(Head {
            position: self.position,
            hash: unhex(&self.hash)?,
            sealed_at: self.sealed_at.map_or(Timestamp::EPOCH, |time| time.0),
        })
    }
}

/// Bytes in hexadecimal, lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let text = String::with_capacity(bytes.len() * 2);
    bytes.iter().fold(text, |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes that stand there; only lower case counts.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let bytes = text.as_bytes();
    if bytes.len() != N * 2 {
        return None;
    }
    let mut out = [0; N];
    for (at, pair) in bytes.chunks_exact(2).enumerate() {
        out[at] = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

/// What a place and a hash of an end that was noted elsewhere look like: `41:9f86…`.
pub(crate) fn anchor(text: &str) -> Option<(i64, Hash)> {
    let (position, hash) = text.split_once(':')?;
    Some((position.parse().ok().filter(|at| *at > 0)?, unhex(hash)?))
}
