//! The keys that a process holds: all master keys, and those data keys that it used lately.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::{
    key::{DataKey, KeyError, MASTER_KEY_BYTES, MasterId, MasterKey},
    seal::{Place, SealedHead, bytes_of, is_sealed, text_of},
    store::DataKeyRow,
};
use crate::{id::TenantId, intake::Blob};

/// Data keys that are held in memory; beyond it they are read again.
pub const KEYS_MAX: usize = 10_000;

/// What is known of a data key.
#[derive(Debug, Clone)]
pub enum Known {
    /// It opens what it sealed.
    Key(Arc<DataKey>),
    /// It is gone, and with it everything that it sealed.
    Destroyed,
}

#[derive(Default)]
struct Held {
    by_number: HashMap<i32, Known>,
    /// What is sealed with now.
    current: HashMap<TenantId, Arc<DataKey>>,
    /// How often keys were retired or destroyed when these were read.
    changes: i64,
}

impl Held {
    fn forget(&mut self) {
        self.current.retain(|tenant, _| *tenant == TenantId::NIL);
        self.by_number
            .retain(|_, known| matches!(known, Known::Key(key) if key.tenant() == TenantId::NIL));
    }
}

/// The keys of a process. Without a master key it is off: nothing is sealed.
#[derive(Default)]
pub struct Vault {
    /// The first wraps, all unwrap.
    masters: Vec<MasterKey>,
    held: RwLock<Held>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault")
            .field("masters", &self.masters)
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// With these master keys: the first wraps, all unwrap.
    pub fn new(masters: Vec<MasterKey>) -> Self {
        Self {
            masters,
            held: RwLock::default(),
        }
    }

    /// One that seals nothing.
    pub fn off() -> Arc<Self> {
        Arc::default()
    }

    /// Whether anything is sealed.
    pub fn on(&self) -> bool {
        !self.masters.is_empty()
    }

    /// The ids of the master keys; the first wraps.
    pub fn masters(&self) -> Vec<MasterId> {
        self.masters.iter().map(MasterKey::id).collect()
    }

    /// Which of these are not here.
    pub fn missing(&self, ids: impl IntoIterator<Item = MasterId>) -> Vec<MasterId> {
        let own = self.masters();
        ids.into_iter().filter(|id| !own.contains(id)).collect()
    }

    /// What this tenant's values are sealed with now, if it is at hand.
    pub fn current(&self, tenant: TenantId) -> Option<Arc<DataKey>> {
        self.read().current.get(&tenant).cloned()
    }

    /// The data key of this number, if it is at hand.
    pub fn known(&self, number: i32) -> Option<Known> {
        self.read().by_number.get(&number).cloned()
    }

    /// Takes a key in that was read, or whose making was committed, as of this count of changes. What is known of later
    /// changes is not undone by it; then `false` is answered beside the key.
    pub fn learn(&self, changes: i64, row: &DataKeyRow) -> Result<(Known, bool), KeyError> {
        let known = self.unwrapped(row)?;
        let mut held = self.write();
        if changes < held.changes {
            return Ok((known, false));
        }
        // Few installations have as many tenants, and for those it costs a read now and then.
        if changes > held.changes || held.by_number.len() >= KEYS_MAX {
            held.forget();
            held.changes = changes;
        }
        held.by_number.insert(row.number, known.clone());
        if let (Known::Key(key), None) = (&known, row.retired_at) {
            held.current.insert(row.tenant, Arc::clone(key));
        }
        Ok((known, true))
    }

    /// The key of a row, without taking it in: one that was made in a transaction which is not committed.
    pub fn unwrapped(&self, row: &DataKeyRow) -> Result<Known, KeyError> {
        let (None, Some(wrapped)) = (row.destroyed_at, &row.wrapped) else {
            return Ok(Known::Destroyed);
        };
        let master = self.master(row.master)?;
        let key = master.unwrap(row.tenant, row.number, wrapped)?;
        DataKey::new(row.number, row.tenant, &key)
            .map(Arc::new)
            .map(Known::Key)
    }

    /// A fresh data key for this place, wrapped by the newest master key; `None` while the vault is off.
    pub fn make(
        &self,
        tenant: TenantId,
        number: i32,
    ) -> Result<Option<(Vec<u8>, MasterId)>, KeyError> {
        let Some(master) = self.masters.first() else {
            return Ok(None);
        };
        let mut key = [0; MASTER_KEY_BYTES];
        aws_lc_rs::rand::fill(&mut key).map_err(|_| KeyError::Seal)?;
        let wrapped = master.wrap(tenant, number, &key)?;
        Ok(Some((wrapped, master.id())))
    }

    /// A number that no data key is likely to have.
    pub fn number() -> Result<i32, KeyError> {
        let mut bytes = [0; 4];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| KeyError::Seal)?;
        Ok((i32::from_be_bytes(bytes) & i32::MAX).max(1))
    }

    /// The same key wrapped by the newest master key; `None` where it is already, or gone.
    pub fn rewrap(&self, row: &DataKeyRow) -> Result<Option<(Vec<u8>, MasterId)>, KeyError> {
        let (Some(newest), Some(wrapped)) = (self.masters.first(), &row.wrapped) else {
            return Ok(None);
        };
        if newest.id() == row.master {
            return Ok(None);
        }
        let key = self
            .master(row.master)?
            .unwrap(row.tenant, row.number, wrapped)?;
        let wrapped = newest.wrap(row.tenant, row.number, &key)?;
        Ok(Some((wrapped, newest.id())))
    }

    /// Drops what is held when keys were retired or destroyed since it was read. Those of nobody's data stay until others
    /// are read in their place: they are never destroyed, and the spool seals with them while the database is gone.
    pub fn forget(&self, changes: i64) {
        let mut held = self.write();
        if changes > held.changes {
            held.changes = changes;
            held.forget();
        }
    }

    /// The sealed bytes of a sealed text, as a value to be opened.
    pub fn text_blob(text: &str) -> Result<Blob, KeyError> {
        Ok(Blob {
            zstd: true,
            bytes: bytes_of(text)?.into(),
        })
    }

    /// Sealed bytes as a text.
    pub fn blob_text(sealed: &Blob) -> String {
        text_of(&sealed.bytes)
    }

    /// A value, opened, if the keys for that are at hand.
    pub fn open_now(&self, place: &Place, blob: &Blob) -> Option<Result<Blob, KeyError>> {
        let mut blob = blob.clone();
        while is_sealed(&blob) {
            let opened = SealedHead::read(&blob.bytes).map(|(head, _)| self.known(head.number));
            let opened = match opened {
                Ok(Some(Known::Key(key))) => key.open(place, &blob.bytes),
                Ok(Some(Known::Destroyed)) => return Some(Ok(Blob::erased())),
                Ok(None) => return None,
                Err(error) => Err(error),
            };
            blob = match opened {
                Ok(opened) => opened,
                Err(error) => return Some(Err(error)),
            };
        }
        Some(Ok(blob))
    }

    /// Seals a value with this tenant's key, if that is at hand; `None`: it is not, or the vault is off.
    pub fn seal_now(
        &self,
        tenant: TenantId,
        place: &Place,
        blob: &Blob,
    ) -> Option<Result<Blob, KeyError>> {
        let key = self.current(tenant)?;
        Some(key.seal(place, blob))
    }

    fn master(&self, id: MasterId) -> Result<&MasterKey, KeyError> {
        let found = self.masters.iter().find(|master| master.id() == id);
        found.ok_or(KeyError::MasterMissing(id))
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}
