//! The audit log as a chain: each entry's hash goes over the one before it, so that whoever knows the last hash can tell
//! whether anything in front of it was changed, removed, put in or moved.
//!
//! Entries are written in the transactions of what they tell, at the same time and on many nodes; the order of the chain
//! is the order in which they are *sealed*, a moment later. What may have to be erased for a person (actor, subject,
//! detail) is not in the hash itself but in a salted digest that is: without salt and words the chain still holds, and
//! nobody can find out by trying what was erased.

use aws_lc_rs::digest::{Context, SHA256};

use super::AuditEntry;
use crate::time::Timestamp;

/// The action of the entry that says that another one was erased; its subject is the other one's id.
pub const ERASE: &str = "audit.erase";

/// Erased entries that a verification bears in mind until it meets the entries that say so.
const ERASED_MAX: usize = 100_000;

/// SHA-256.
pub type Hash = [u8; 32];

/// The end of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How many entries there are.
    pub position: i64,
    /// The hash of the last one.
    pub hash: Hash,
    /// When it was sealed.
    pub sealed_at: Timestamp,
}

impl Head {
    /// The end of a chain in which nothing is.
    pub const EMPTY: Self = Self {
        position: 0,
        hash: [0; 32],
        sealed_at: Timestamp::EPOCH,
    };
}

/// An entry with the salt of its digest; none once its words were erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsealed {
    /// The entry.
    pub entry: AuditEntry,
    /// Random bytes of its own.
    pub salt: Option<[u8; 16]>,
}

/// An entry in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The entry.
    pub entry: AuditEntry,
    /// Random bytes of its own; none once its words were erased.
    pub salt: Option<[u8; 16]>,
    /// Its place, from 1.
    pub position: i64,
    /// The salted digest of its words.
    pub content: Hash,
    /// What the next entry is chained to.
    pub hash: Hash,
}

/// Hashes parts in such a way that no two lists of parts give the same bytes.
fn digest(what: &str, parts: &[Option<&[u8]>]) -> Hash {
    let mut context = Context::new(&SHA256);
    let mut add = |part: &[u8]| {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    };
    add(what.as_bytes());
    for part in parts {
        match part {
            Some(part) => {
                add(&[1]);
                add(part);
            }
            None => add(&[0]),
        }
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// The salted digest of an entry's words.
fn content(entry: &AuditEntry, salt: &[u8; 16]) -> Hash {
    digest(
        "mainstay audit content 1",
        &[
            Some(salt),
            Some(entry.actor.as_bytes()),
            Some(entry.subject.as_bytes()),
            entry.detail.as_deref().map(str::as_bytes),
        ],
    )
}

/// The hash of an entry at this place behind this hash.
fn link(previous: &Hash, position: i64, entry: &AuditEntry, content: &Hash) -> Hash {
    let tenant = entry.tenant.map(|tenant| *tenant.uuid().as_bytes());
    digest(
        "mainstay audit entry 1",
        &[
            Some(previous),
            Some(&position.to_be_bytes()),
            Some(entry.id.uuid().as_bytes()),
            Some(&entry.at.micros().to_be_bytes()),
            Some(entry.action.as_bytes()),
            tenant.as_ref().map(<[u8; 16]>::as_slice),
            Some(content),
        ],
    )
}

/// Gives entries their places behind the end of a chain. One whose words are gone already cannot be given any.
pub fn seal(head: &Head, entries: Vec<Unsealed>) -> Vec<Sealed> {
    let (mut position, mut previous) = (head.position, head.hash);
    let salted = entries
        .into_iter()
        .filter_map(|one| one.salt.map(|salt| (one.entry, salt)));
    salted
        .map(|(entry, salt)| {
            position += 1;
            let content = content(&entry, &salt);
            previous = link(&previous, position, &entry, &content);
            Sealed {
                entry,
                salt: Some(salt),
                position,
                content,
                hash: previous,
            }
        })
        .collect()
}

/// What is wrong with a chain, and where it begins to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The entry that should be here is not: it was removed, or something was put in or moved.
    #[error(
        "entry {expected} is missing; what stands in its place says that it is entry {found} ({id})"
    )]
    Place {
        /// The place that it should be.
        expected: i64,
        /// The place that it says.
        found: i64,
        /// Its id.
        id: String,
    },
    /// Who did what to what is not what was sealed.
    #[error(
        "entry {position} ({id}) was changed: its actor, subject or detail is not what was sealed"
    )]
    Content {
        /// Its place.
        position: i64,
        /// Its id.
        id: String,
    },
    /// The entry, or its place behind the one before it, is not what was sealed.
    #[error("entry {position} ({id}) was changed, or is not the one that was sealed here")]
    Link {
        /// Its place.
        position: i64,
        /// Its id.
        id: String,
    },
    /// Its words are gone, and no later entry says that they were erased.
    #[error(
        "the words of entry {position} ({id}) are gone, and no later entry says that they were erased"
    )]
    Erased {
        /// Its place.
        position: i64,
        /// Its id.
        id: String,
    },
    /// The chain ends elsewhere than it should.
    #[error(
        "the log ends with entry {found}, and its head says {expected}: entries at its end are missing or not the sealed ones"
    )]
    End {
        /// The place of the end that is known.
        expected: i64,
        /// The place of the last entry.
        found: i64,
    },
    /// An end that was noted elsewhere is not in this chain.
    #[error(
        "entry {position} is not the one that was noted elsewhere: the log was written anew since"
    )]
    Anchor {
        /// The place that was noted.
        position: i64,
    },
}

/// Walks along a chain and stops at the first thing that is wrong with it.
#[derive(Debug, Clone)]
pub struct Verifier {
    position: i64,
    hash: Hash,
    anchor: Option<(i64, Hash)>,
    erased: Vec<(i64, String)>,
}

impl Verifier {
    /// Begins behind an entry whose hash is believed; [`Head::EMPTY`] for the whole chain.
    pub fn behind(head: &Head) -> Self {
        Self {
            position: head.position,
            hash: head.hash,
            anchor: None,
            erased: Vec::new(),
        }
    }

    /// The chain must have this hash at this place: an end that was noted elsewhere.
    pub fn anchored(self, position: i64, hash: Hash) -> Self {
        Self {
            anchor: Some((position, hash)),
            ..self
        }
    }

    /// How far it is.
    pub const fn position(&self) -> i64 {
        self.position
    }

    /// The hash of the entry that it has come to.
    pub const fn hash(&self) -> &Hash {
        &self.hash
    }

    /// The next entry.
    pub fn entry(&mut self, sealed: &Sealed) -> Result<(), Broken> {
        let (position, id) = (self.position + 1, sealed.entry.id.to_string());
        if sealed.position != position {
            let found = sealed.position;
            return Err(Broken::Place {
                expected: position,
                found,
                id,
            });
        }
        let entry = &sealed.entry;
        let whole = match &sealed.salt {
            Some(salt) => content(entry, salt) == sealed.content,
            // Nothing may stand where words were erased.
            None => entry.actor.is_empty() && entry.subject.is_empty() && entry.detail.is_none(),
        };
        if !whole {
            return Err(Broken::Content { position, id });
        }
        if link(&self.hash, position, &sealed.entry, &sealed.content) != sealed.hash {
            return Err(Broken::Link { position, id });
        }
        if self
            .anchor
            .is_some_and(|(at, hash)| at == position && hash != sealed.hash)
        {
            return Err(Broken::Anchor { position });
        }
        if sealed.salt.is_none() {
            if self.erased.len() >= ERASED_MAX {
                return Err(Broken::Erased { position, id });
            }
            self.erased.push((position, id));
        } else if sealed.entry.action == ERASE {
            let told = &sealed.entry.subject;
            self.erased.retain(|(_, erased)| erased != told);
        }
        (self.position, self.hash) = (position, sealed.hash);
        Ok(())
    }

    /// The end. `head` is where the chain is said to end, when that is known.
    pub fn end(self, head: Option<&Head>) -> Result<(), Broken> {
        if let Some((position, id)) = self.erased.into_iter().next() {
            return Err(Broken::Erased { position, id });
        }
        if let Some(head) = head
            && (head.position, head.hash) != (self.position, self.hash)
        {
            return Err(Broken::End {
                expected: head.position,
                found: self.position,
            });
        }
        match self.anchor {
            Some((position, _)) if position > self.position => Err(Broken::End {
                expected: position,
                found: self.position,
            }),
            _ => Ok(()),
        }
    }
}
