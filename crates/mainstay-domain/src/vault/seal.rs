//! The form of a sealed value: version, what is inside, the data key's number, nonce, cipher text, tag.

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use uuid::Uuid;

use super::key::KeyError;
use crate::{id::TenantId, intake::Blob};

/// The first byte of every sealed value: the version of the form. A zstd frame begins with 0x28, JSON and text with
/// something that can be printed.
pub const SEALED: u8 = 1;
/// Version, form, number.
const HEAD_LEN: usize = 6;
/// What a sealed text begins with: a JSON string.
const TEXT_BEGINS: &str = "\"sealed:1:";
/// What a value is bound to, beside its place.
const DOMAIN: &[u8] = b"mainstay sealed 1\0";

/// Which column a value stands in. Numbers are for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Column {
    /// An event's payload, and the body of a request under the same id: they are the same bytes, stored once.
    Body = 1,
    /// A request's headers, in its own row or in its event's.
    Headers = 2,
    /// A source's secret.
    SourceSecret = 3,
    /// An endpoint's secrets.
    EndpointSecrets = 4,
    /// The values of an endpoint's headers.
    EndpointHeaders = 5,
    /// What was sent in an attempt, and answered.
    Exchange = 6,
    /// A job's own payload.
    JobPayload = 7,
    /// The answer to a write that can be repeated.
    Idempotency = 8,
    /// Other content that came under an event's id; the part is of its digest.
    Conflict = 9,
    /// A node's own snapshot of the sources: a file, and no row.
    Snapshot = 10,
    /// What a saga's run carries.
    SagaRun = 11,
}

/// Where a value stands. One that was moved elsewhere does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The column.
    pub column: Column,
    /// The row.
    pub id: Uuid,
    /// Which of the row's values, where it has several.
    pub part: i32,
    /// Whose row it is, where that is known; otherwise the key says it.
    pub whose: Option<TenantId>,
}

impl Place {
    /// The place of a row.
    pub const fn new(column: Column, id: Uuid) -> Self {
        Self {
            column,
            id,
            part: 0,
            whose: None,
        }
    }

    /// One of several values of a row.
    pub const fn part(self, part: i32) -> Self {
        Self { part, ..self }
    }

    /// In a row of this tenant.
    pub const fn of(self, tenant: TenantId) -> Self {
        Self {
            whose: Some(tenant),
            ..self
        }
    }

    pub(super) fn aad(&self, tenant: TenantId, head: &SealedHead) -> [u8; 61] {
        let mut aad = [0; 61];
        let (domain, rest) = aad.split_at_mut(DOMAIN.len());
        domain.copy_from_slice(DOMAIN);
        rest[0] = self.column as u8;
        rest[1..17].copy_from_slice(self.id.as_bytes());
        rest[17..21].copy_from_slice(&self.part.to_be_bytes());
        rest[21..37].copy_from_slice(tenant.uuid().as_bytes());
        rest[37..43].copy_from_slice(&head.bytes());
        aad
    }
}

/// What a sealed value says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedHead {
    /// Whether what is inside is packed itself: a zstd frame, or sealed once more.
    pub packed: bool,
    /// The data key.
    pub number: i32,
}

impl SealedHead {
    pub(super) fn bytes(&self) -> [u8; HEAD_LEN] {
        let number = self.number.to_be_bytes();
        [
            SEALED,
            u8::from(self.packed),
            number[0],
            number[1],
            number[2],
            number[3],
        ]
    }

    /// The head, and what follows it.
    pub fn read(sealed: &[u8]) -> Result<(Self, &[u8]), KeyError> {
        let (head, rest) = sealed.split_at_checked(HEAD_LEN).ok_or(KeyError::Form)?;
        if head[0] != SEALED || head[1] > 1 {
            return Err(KeyError::Form);
        }
        let number = i32::from_be_bytes([head[2], head[3], head[4], head[5]]);
        Ok((
            Self {
                packed: head[1] == 1,
                number,
            },
            rest,
        ))
    }
}

/// Whether these bytes are sealed. Of a value that need not be packed, only where its own form cannot begin like that.
pub fn is_sealed(blob: &Blob) -> bool {
    blob.zstd && blob.bytes.first() == Some(&SEALED)
}

/// Whether this text is sealed.
pub fn is_sealed_text(text: &str) -> bool {
    text.starts_with(TEXT_BEGINS)
}

/// Sealed bytes as a text.
pub(super) fn text_of(sealed: &[u8]) -> String {
    let mut text = String::with_capacity(TEXT_BEGINS.len() + sealed.len() * 4 / 3 + 3);
    text.push_str(TEXT_BEGINS);
    BASE64_STANDARD_NO_PAD.encode_string(sealed, &mut text);
    text.push('"');
    text
}

/// The sealed bytes of a text.
pub(super) fn bytes_of(text: &str) -> Result<Vec<u8>, KeyError> {
    let inside = text
        .strip_prefix(TEXT_BEGINS)
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or(KeyError::Form)?;
    BASE64_STANDARD_NO_PAD
        .decode(inside)
        .map_err(|_| KeyError::Form)
}
