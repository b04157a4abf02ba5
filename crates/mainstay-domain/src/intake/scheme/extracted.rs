//! What is read out of a verified request, and the keys that tell a duplicate.

use aws_lc_rs::digest;

use super::{mac, refusal::Refusal};

/// The type of an event whose provider gives it none.
pub const UNTYPED: &str = "untyped";
/// The longest provider's id. WhatsApp's have about 60 bytes, composed ones below 200.
pub const PROVIDER_ID_BYTES_MAX: usize = 512;
/// The longest type.
const KIND_BYTES_MAX: usize = 256;

/// One event of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracted {
    /// The provider's own id, or a digest (`sha256:…`) where it gives none. Not empty, no control characters.
    pub provider_id: String,
    /// The provider's type, e.g. `invoice.paid`; [`UNTYPED`] where it gives none.
    pub kind: String,
    /// When the provider says that it happened, in microseconds since 1970.
    pub occurred_at_micros: Option<i64>,
    /// Any of these known for the source makes it a duplicate: first the id's, then, where the id stands outside
    /// the signature, one of what was signed.
    pub dedup_keys: Vec<[u8; 16]>,
    /// What the event's jobs get.
    pub payload: Payload,
}

/// The payload of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// The whole body, as it arrived.
    Body,
    /// What stands inside the body, in the provider's own shape: a part of it, or the field of a form.
    Part(Vec<u8>),
}

impl Payload {
    /// The bytes, given the body that it was read from.
    pub fn bytes<'a>(&'a self, body: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Body => body,
            Self::Part(part) => part,
        }
    }
}

impl Extracted {
    /// An event whose payload is the body and whose id was signed.
    pub(super) fn whole(
        provider_id: String,
        kind: String,
        occurred_at_micros: Option<i64>,
    ) -> Self {
        Self {
            dedup_keys: vec![dedup_key(&provider_id)],
            provider_id,
            kind,
            occurred_at_micros,
            payload: Payload::Body,
        }
    }
}

/// The key that tells a duplicate by the provider's id. Kept for ever in the store: its making must never change.
pub fn dedup_key(provider_id: &str) -> [u8; 16] {
    truncated("mainstay.dedup.id", [provider_id.as_bytes()].into_iter())
}

/// The key that tells a duplicate by what was signed. Kept for ever like the other, and never equal to one.
pub(super) fn dedup_key_signed<'a>(signed: impl Iterator<Item = &'a [u8]>) -> [u8; 16] {
    truncated("mainstay.dedup.signed", signed)
}

/// An id made of content, for events that come without one. Each part's length is hashed too, so that moving a
/// byte from one part to the next makes another id.
pub(super) fn digest_id<'a>(parts: impl Iterator<Item = &'a [u8]>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    format!("sha256:{}", mac::hex(context.finish().as_ref()))
}

fn truncated<'a>(purpose: &str, parts: impl Iterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(purpose.as_bytes());
    context.update(&[0]);
    parts.for_each(|part| context.update(part));
    let mut key = [0; 16];
    key.copy_from_slice(&context.finish().as_ref()[..16]);
    key
}

/// A provider's id as it may be stored, or why not.
pub(super) fn provider_id(text: &str, place: &str) -> Result<String, Refusal> {
    let malformed = |problem| Refusal::ProviderIdMalformed {
        place: place.to_owned().into(),
        problem,
    };
    if text.is_empty() {
        return Err(malformed("is empty"));
    }
    if text.len() > PROVIDER_ID_BYTES_MAX {
        return Err(malformed("is longer than 512 bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err(malformed("has control characters in it"));
    }
    Ok(text.to_owned())
}

/// A type as it may be stored; none when it cannot be one.
pub(super) fn kind(text: &str) -> Option<String> {
    let fine =
        !text.is_empty() && text.len() <= KIND_BYTES_MAX && !text.chars().any(char::is_control);
    fine.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dedup_keys_are_the_same_for_ever() {
        // Golden values: the store holds such keys. If this fails, the code is wrong, not the test.
        assert_eq!(
            mac::hex(&dedup_key("evt_1")),
            "0a6dae622e3fd8228058a5d1942c0c90"
        );
        assert_eq!(
            mac::hex(&dedup_key_signed([b"{}".as_slice()].into_iter())),
            "12628622045f7a90ad932fb8a76390ed"
        );
    }

    #[test]
    fn a_key_of_an_id_never_equals_a_key_of_content() {
        assert_ne!(
            dedup_key("same"),
            dedup_key_signed([b"same".as_slice()].into_iter())
        );
    }

    #[test]
    fn a_byte_moved_between_parts_makes_another_digest() {
        let id = |parts: [&'static [u8]; 2]| digest_id(parts.into_iter());
        assert_ne!(id([b"ab", b"c"]), id([b"a", b"bc"]));
        assert_eq!(id([b"ab", b"c"]), id([b"ab", b"c"]));
    }

    #[test]
    fn an_id_that_cannot_be_stored_is_refused() {
        for wrong in ["", "a\0", "a\n", &"a".repeat(PROVIDER_ID_BYTES_MAX + 1)] {
            assert!(provider_id(wrong, "id").is_err());
        }
        assert!(provider_id(&"é".repeat(256), "id").is_ok());
    }
}
