//! Master keys, and data keys as they are in memory.

use std::{fmt, str::FromStr};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    digest::{SHA256, digest},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::seal::{Place, SealedHead};
use crate::{id::TenantId, intake::Blob};

/// Bytes of a master key, and of a data key.
pub const MASTER_KEY_BYTES: usize = 32;
/// What the id of a master key is derived with, so that it says nothing about the key.
const ID_DOMAIN: &[u8] = b"mainstay master key id 1\0";
/// What a wrapped data key is bound to, beside whose it is.
const WRAP_DOMAIN: &[u8] = b"mainstay data key 1\0";
/// Nonce and tag around what is sealed.
const TAG_LEN: usize = 16;

/// Why something sealed cannot be read, or nothing can be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A master key is not 32 bytes in base64.
    #[error("a master key is 32 bytes in base64; `mainstay vault master-key` makes one")]
    Master,
    /// There is no master key of this id.
    #[error("the master key {0} is not among those configured")]
    MasterMissing(MasterId),
    /// A data key is not what the master key wrapped.
    #[error("the data key {0} cannot be unwrapped: it was changed, or moved")]
    Unwrap(i32),
    /// Sealed bytes are not what was sealed in this place.
    #[error("what was sealed by data key {0} was changed, or is not from this place")]
    Open(i32),
    /// The bytes have a form that this program does not know.
    #[error("it was sealed in a form that this program does not know")]
    Form,
    /// The cipher failed; it does so for want of memory or randomness.
    #[error("it could not be sealed")]
    Seal,
}

/// How a master key is known: derived from it, and telling nothing about it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MasterId(pub [u8; 8]);

impl fmt::Display for MasterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MasterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key that wraps data keys. Comes from outside, is never stored and never shown.
pub struct MasterKey {
    id: MasterId,
    cipher: RandomizedNonceKey,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl FromStr for MasterKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = BASE64_STANDARD
            .decode(text.trim())
            .map_err(|_| KeyError::Master)?;
        let bytes: [u8; MASTER_KEY_BYTES] = bytes.try_into().map_err(|_| KeyError::Master)?;
        Self::new(&bytes)
    }
}

impl MasterKey {
    /// The key of these bytes.
    pub fn new(bytes: &[u8; MASTER_KEY_BYTES]) -> Result<Self, KeyError> {
        let hash = digest(&SHA256, &[ID_DOMAIN, bytes].concat());
        let mut id = [0; 8];
        id.copy_from_slice(&hash.as_ref()[..8]);
        Ok(Self {
            id: MasterId(id),
            cipher: cipher(bytes)?,
        })
    }

    /// A fresh one, as text.
    pub fn make() -> Result<String, KeyError> {
        let mut bytes = [0; MASTER_KEY_BYTES];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| KeyError::Seal)?;
        Ok(BASE64_STANDARD.encode(bytes))
    }

    /// How it is known.
    pub const fn id(&self) -> MasterId {
        self.id
    }

    /// A data key's bytes, wrapped for this place.
    pub(super) fn wrap(
        &self,
        tenant: TenantId,
        number: i32,
        key: &[u8; MASTER_KEY_BYTES],
    ) -> Result<Vec<u8>, KeyError> {
        seal(&self.cipher, &wrap_aad(tenant, number), &[], key)
    }

    pub(super) fn unwrap(
        &self,
        tenant: TenantId,
        number: i32,
        wrapped: &[u8],
    ) -> Result<[u8; MASTER_KEY_BYTES], KeyError> {
        let opened = open(&self.cipher, &wrap_aad(tenant, number), wrapped);
        let opened = opened.ok_or(KeyError::Unwrap(number))?;
        opened.try_into().map_err(|_| KeyError::Unwrap(number))
    }
}

fn wrap_aad(tenant: TenantId, number: i32) -> Vec<u8> {
    let mut aad = WRAP_DOMAIN.to_vec();
    aad.extend_from_slice(tenant.uuid().as_bytes());
    aad.extend_from_slice(&number.to_be_bytes());
    aad
}

/// A data key, unwrapped.
pub struct DataKey {
    number: i32,
    tenant: TenantId,
    cipher: RandomizedNonceKey,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl DataKey {
    pub(super) fn new(
        number: i32,
        tenant: TenantId,
        key: &[u8; MASTER_KEY_BYTES],
    ) -> Result<Self, KeyError> {
        Ok(Self {
            number,
            tenant,
            cipher: cipher(key)?,
        })
    }

    /// What sealed values name it by; unique on the installation, for ever.
    pub const fn number(&self) -> i32 {
        self.number
    }

    /// Whose data it seals; nil: what belongs to nobody.
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Seals a value for its place.
    pub fn seal(&self, place: &Place, blob: &Blob) -> Result<Blob, KeyError> {
        let head = SealedHead {
            packed: blob.zstd,
            number: self.number,
        };
        let aad = place.aad(self.tenant, &head);
        let bytes = seal(&self.cipher, &aad, &head.bytes(), &blob.bytes)?;
        Ok(Blob {
            zstd: true,
            bytes: bytes.into(),
        })
    }

    /// The value that was sealed for this place.
    pub fn open(&self, place: &Place, sealed: &[u8]) -> Result<Blob, KeyError> {
        let (head, rest) = SealedHead::read(sealed)?;
        // A row that was moved to another tenant is not read by it.
        let whose = place.whose.unwrap_or(self.tenant);
        let aad = place.aad(whose, &head);
        let opened = open(&self.cipher, &aad, rest).ok_or(KeyError::Open(self.number))?;
        Ok(Blob {
            zstd: head.packed,
            bytes: opened.into(),
        })
    }

    /// Seals a text: in base64, within quotes, so that it is JSON wherever that is asked for.
    pub fn seal_text(&self, place: &Place, text: &str) -> Result<String, KeyError> {
        let blob = Blob {
            zstd: false,
            bytes: bytes::Bytes::copy_from_slice(text.as_bytes()),
        };
        let sealed = self.seal(place, &blob)?;
        Ok(super::seal::text_of(&sealed.bytes))
    }
}

fn cipher(key: &[u8; MASTER_KEY_BYTES]) -> Result<RandomizedNonceKey, KeyError> {
    RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| KeyError::Seal)
}

/// What stands before, the nonce, the cipher's text and its tag, in one buffer.
fn seal(
    cipher: &RandomizedNonceKey,
    aad: &[u8],
    before: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, KeyError> {
    let start = before.len() + NONCE_LEN;
    let mut out = Vec::with_capacity(start + plain.len() + TAG_LEN);
    out.extend_from_slice(before);
    out.extend_from_slice(&[0; NONCE_LEN]);
    out.extend_from_slice(plain);
    let (nonce, tag) = cipher
        .seal_in_place_separate_tag(Aad::from(aad), &mut out[start..])
        .map_err(|_| KeyError::Seal)?;
    out[before.len()..start].copy_from_slice(nonce.as_ref());
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

/// The opposite, from the nonce on.
fn open(cipher: &RandomizedNonceKey, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut buffer = rest.to_vec();
    let length = cipher
        .open_in_place(nonce, Aad::from(aad), &mut buffer)
        .ok()?
        .len();
    buffer.truncate(length);
    Some(buffer)
}
