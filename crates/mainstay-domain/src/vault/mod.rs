//! Encryption at rest: what is sealed is unreadable to whoever has the database, its files or a backup of it, and not a
//! master key.
//!
//! Three kinds of keys. A *master key* comes from outside and is never stored. It wraps *data keys*, one or more a tenant,
//! which are kept in the database. A data key seals values, each bound to its place. Destroying a tenant's data keys makes
//! everything that they sealed unreadable for ever. See `docs/encryption.md`.

mod arrival;
mod key;
mod ring;
mod seal;
mod store;

pub use key::{DataKey, KeyError, MASTER_KEY_BYTES, MasterId, MasterKey};
pub use ring::{KEYS_MAX, Known, Vault};
pub use seal::{Column, Place, SEALED, SealedHead, is_sealed, is_sealed_text};
pub use store::{
    DataKeyRow, DataKeyState, KeySummary, Mode, Phase, Rotation, RowKey, VaultState, VaultTx,
    Walked,
};
