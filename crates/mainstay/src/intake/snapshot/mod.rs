//! What it takes to verify requests, in a file of the spool's folder: a process that starts while the database is gone
//! takes requests into the spool all the same.
//!
//! The file holds the sources with their secrets, sealed with the key of what belongs to nobody, and that key as a master
//! key wrapped it. So there is one only where encryption at rest is on: secrets never stand on a disk as they are. It is
//! replaced whole ([`write`]), and read only at a start that cannot reach the database ([`away`]).

mod away;
mod write;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use mainstay_domain::{
    SecretId, SourceId, TenantId, Timestamp,
    intake::{Config, OWN_SOURCE, Source, SourceSecret},
    vault::{Column, DataKeyRow, KeyError, Known, MasterId, Place, Vault},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use away::Away;
pub(crate) use write::run;

/// The file's name.
const FILE: &str = "intake.snapshot";
/// Its name while it is written.
const FILE_NEW: &str = "intake.snapshot.new";
/// The form that is written.
const VERSION: u32 = 1;
/// The largest file that is read.
const BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The age beyond which a snapshot is not used: what it says of secrets has had time to change.
pub const AGE_MAX_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// How far in the future one may have been written, by clocks that are set now and then. Beyond it nobody can tell how old
/// it is: it would pass for young for as long.
pub const AHEAD_MAX_MS: i64 = 5 * 60 * 1_000;

/// Why there is no snapshot to start from.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Nothing is sealed, so there is none.
    #[error(
        "without encryption at rest no snapshot of the sources is kept, since their secrets would stand in it as they are"
    )]
    Off,
    /// No process of this node has written one.
    #[error("there is no snapshot of the sources in {0}")]
    Missing(PathBuf),
    /// The file cannot be read or written.
    #[error("the snapshot of the sources {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what was written.
    #[error("the snapshot of the sources is damaged, or of a form that this program does not know")]
    Damaged,
    /// Its key is not to be had, or it is not what the key sealed.
    #[error("the snapshot of the sources cannot be opened: {0}")]
    Key(#[from] KeyError),
    /// Too much may have changed since.
    #[error("the snapshot of the sources is {0} days old, which is too old to let anybody in by")]
    Old(i64),
    /// It was written by another clock, so its age is not known.
    #[error(
        "the snapshot of the sources was written {0} minutes in the future: its age is not known, since this machine's clock is wrong now or was then"
    )]
    Ahead(i64),
}

/// How the snapshot of a spool stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotStatus {
    /// As of when it is; none: there is none yet.
    pub taken_at: Option<Timestamp>,
    /// Whether this process knows its sources from it.
    pub used: bool,
    /// Why it could not be written when that was last tried.
    pub failing: Option<String>,
}

impl SnapshotStatus {
    /// How old it is, in seconds.
    pub fn age_secs(&self, now: Timestamp) -> Option<i64> {
        Some(now.ms_since(self.taken_at?).max(0) / 1_000)
    }
}

/// The sources as they were, and the key to seal with.
pub struct Snapshot {
    /// As of when.
    pub taken_at: Timestamp,
    /// The version of the configuration.
    pub version: i64,
    sources: Vec<Source>,
    key: DataKeyRow,
}

/// The file, below a line with its checksum.
#[derive(Serialize, Deserialize)]
struct Outer {
    version: u32,
    /// In the open for who has no key; what counts is within the seal.
    taken_at: Timestamp,
    key: KeyForm,
    sealed: String,
}

/// The data key of what belongs to nobody, wrapped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeyForm {
    number: i32,
    wrapped: Vec<u8>,
    master: [u8; 8],
    created_at: Timestamp,
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Inner {
    taken_at: Timestamp,
    version: i64,
    sources: Vec<SourceForm>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct SourceForm {
    id: SourceId,
    number: i32,
    tenant: TenantId,
    name: String,
    scheme: String,
    settings: String,
    enabled: bool,
    secrets: Vec<SecretForm>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct SecretForm {
    id: SecretId,
    secret: String,
    created_at: Timestamp,
}

impl From<&Source> for SourceForm {
    fn from(source: &Source) -> Self {
        let secret = |one: &SourceSecret| SecretForm {
            id: one.id,
            secret: one.secret.clone(),
            created_at: one.created_at,
        };
        Self {
            id: source.id,
            number: source.number,
            tenant: source.tenant,
            name: source.name.clone(),
            scheme: source.scheme.clone(),
            settings: source.settings.clone(),
            enabled: source.enabled,
            secrets: source.secrets.iter().map(secret).collect(),
            created_at: source.created_at,
            updated_at: source.updated_at,
        }
    }
}

impl From<SourceForm> for Source {
    fn from(form: SourceForm) -> Self {
        let secret = |one: SecretForm| SourceSecret {
            id: one.id,
            secret: one.secret,
            created_at: one.created_at,
            last_used_at: None,
        };
        Self {
            id: form.id,
            number: form.number,
            tenant: form.tenant,
            name: form.name,
            scheme: form.scheme,
            settings: form.settings,
            enabled: form.enabled,
            secrets: form.secrets.into_iter().map(secret).collect(),
            created_at: form.created_at,
            updated_at: form.updated_at,
        }
    }
}

impl KeyForm {
    /// The form of a key that can still be used.
    fn of(row: &DataKeyRow) -> Option<Self> {
        Some(Self {
            number: row.number,
            wrapped: row.wrapped.clone()?,
            master: row.master.0,
            created_at: row.created_at,
        })
    }

    fn row(self) -> DataKeyRow {
        DataKeyRow {
            number: self.number,
            tenant: TenantId::NIL,
            wrapped: Some(self.wrapped),
            master: MasterId(self.master),
            created_at: self.created_at,
            retired_at: None,
            destroyed_at: None,
        }
    }
}

/// Where the sealed part stands: bound to this use of the key and to no other.
fn place() -> Place {
    Place::new(Column::Snapshot, Uuid::nil())
}

impl Snapshot {
    /// Reads the snapshot of a spool's folder.
    pub fn read(folder: &Path, vault: &Vault, now: Timestamp) -> Result<Self, SnapshotError> {
        if !vault.on() {
            return Err(SnapshotError::Off);
        }
        let outer = outer(folder)?;
        let row = outer.key.row();
        let Known::Key(key) = vault.unwrapped(&row)? else {
            return Err(SnapshotError::Damaged);
        };
        let sealed = Vault::text_blob(&outer.sealed)?;
        let opened = key.open(&place(), &sealed.bytes)?;
        let inner: Inner =
            serde_json::from_slice(&opened.bytes).map_err(|_| SnapshotError::Damaged)?;
        let age = now.ms_since(inner.taken_at);
        if age > AGE_MAX_MS {
            return Err(SnapshotError::Old(age / (24 * 60 * 60 * 1_000)));
        }
        if age < -AHEAD_MAX_MS {
            return Err(SnapshotError::Ahead(-age / (60 * 1_000)));
        }
        Ok(Self {
            taken_at: inner.taken_at,
            version: inner.version,
            sources: inner.sources.into_iter().map(Source::from).collect(),
            key: row,
        })
    }

    /// As of when the snapshot of a folder is, and the master key that it needs. `None`: there is none.
    pub fn look(folder: &Path) -> Result<Option<(Timestamp, MasterId)>, SnapshotError> {
        match outer(folder) {
            Ok(outer) => Ok(Some((outer.taken_at, MasterId(outer.key.master)))),
            Err(SnapshotError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What intake is made from: sources and nothing else. What they lead to is found when the spool is stored.
    fn config(&self) -> Config {
        Config {
            version: self.version,
            sources: self.sources.clone(),
            ..Config::default()
        }
    }
}

/// The sources that requests come in by.
fn forms(config: &Config) -> Vec<SourceForm> {
    let sources = config.sources.iter();
    sources
        .filter(|source| source.scheme != OWN_SOURCE)
        .map(SourceForm::from)
        .collect()
}

fn outer(folder: &Path) -> Result<Outer, SnapshotError> {
    let path = folder.join(FILE);
    let read = fs::metadata(&path).and_then(|found| match found.len() <= BYTES_MAX {
        true => fs::read(&path).map(Some),
        false => Ok(None),
    });
    let bytes = match read {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err(SnapshotError::Damaged),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SnapshotError::Missing(folder.to_owned()));
        }
        Err(source) => return Err(SnapshotError::File { path, source }),
    };
    decoded(&bytes).ok_or(SnapshotError::Damaged)
}

/// The bytes of a file: a checksum, so that damage is told from another key, and what it is over.
fn encoded(outer: &Outer) -> Option<Vec<u8>> {
    let json = serde_json::to_vec(outer).ok()?;
    let mut bytes = format!("{:08x}\n", crc32fast::hash(&json)).into_bytes();
    bytes.extend_from_slice(&json);
    Some(bytes)
}

fn decoded(bytes: &[u8]) -> Option<Outer> {
    let (sum, rest) = bytes.split_at_checked(9)?;
    let (json, sum) = (rest, std::str::from_utf8(sum).ok()?.strip_suffix('\n')?);
    if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(json) {
        return None;
    }
    let outer: Outer = serde_json::from_slice(json).ok()?;
    (outer.version == VERSION).then_some(outer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let outer = Outer {
            version: VERSION,
            taken_at: Timestamp::from_secs(1_900_000_000),
            key: KeyForm {
                number: 7,
                wrapped: vec![1, 2, 3],
                master: [9; 8],
                created_at: Timestamp::EPOCH,
            },
            sealed: "\"sealed:1:AA\"".into(),
        };
        let bytes = encoded(&outer).expect("it is written");
        let read = decoded(&bytes).expect("it is read");
        assert_eq!((read.taken_at, read.key.number), (outer.taken_at, 7));
        for end in 0..bytes.len() {
            assert!(decoded(&bytes[..end]).is_none(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(decoded(&changed).is_none(), "changed at {at}");
        }
    }
}
