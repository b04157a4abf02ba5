//! Comparing signatures: each key makes one tag, each candidate is decoded on the stack, nothing is allocated.

use aws_lc_rs::{constant_time, hmac};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::key::Key;

/// Base64 as providers write it; padding may be left out, as some do.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The longest text of a signature: 64 bytes in hex.
pub(super) const TEXT_BYTES_MAX: usize = 128;

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Hexadecimal, either case.
    Hex,
    /// Base64.
    Base64,
}

impl Encoding {
    pub(super) fn encode(self, tag: &[u8]) -> String {
        match self {
            Self::Hex => hex(tag),
            Self::Base64 => BASE64.encode(tag),
        }
    }

    pub(super) fn decode<'o>(
        self,
        text: &str,
        out: &'o mut [u8; TEXT_BYTES_MAX],
    ) -> Option<&'o [u8]> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let length = match self {
            Self::Hex => unhex(text.as_bytes(), out)?,
            Self::Base64 => BASE64.decode_slice(text, out).ok()?,
        };
        out.get(..length)
    }
}

/// Why no key matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// No candidate can be a signature: wrong length or wrong alphabet.
    Unreadable,
    /// Candidates are well formed and wrong.
    Wrong,
}

/// Which key made one of the candidate signatures of the parts joined together.
pub(super) fn matching<'a>(
    keys: &[Key],
    signed: impl Iterator<Item = &'a [u8]> + Clone,
    encoding: Encoding,
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> Result<usize, Mismatch> {
    let mut buffer = [0; TEXT_BYTES_MAX];
    // Without a key of this kind, whatever can be a signature is a wrong one.
    let length = keys
        .iter()
        .find_map(Key::hmac)
        .map(|key| key.algorithm().tag_len());
    let readable = candidates.clone().any(|text| {
        encoding
            .decode(text, &mut buffer)
            .is_some_and(|bytes| length.is_none_or(|length| bytes.len() == length))
    });
    if !readable {
        return Err(Mismatch::Unreadable);
    }
    keys.iter()
        .position(|key| {
            let Some(key) = key.hmac() else {
                return false;
            };
            let tag = tag(key, signed.clone());
            candidates.clone().any(|text| {
                encoding
                    .decode(text, &mut buffer)
                    .is_some_and(|bytes| same(bytes, tag.as_ref()))
            })
        })
        .ok_or(Mismatch::Wrong)
}

/// The tag of the parts joined together.
pub(super) fn tag<'a>(key: &hmac::Key, signed: impl Iterator<Item = &'a [u8]>) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    signed.for_each(|part| context.update(part));
    context.sign()
}

/// Whether two slices are equal, in a time that tells no more than their lengths.
pub(super) fn same(left: &[u8], right: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(left, right).is_ok()
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// Decodes hexadecimal of either case; none when it is not, or does not fit.
pub(super) fn unhex(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let length = text.len() / 2;
    if !text.len().is_multiple_of(2) || length > out.len() {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_reads_what_it_writes_and_nothing_odd() {
        let mut out = [0; 4];
        assert_eq!(hex(&[0, 0xab, 0xff]), "00abff");
        assert_eq!(unhex(b"00ABff", &mut out), Some(3));
        assert_eq!(out, [0, 0xab, 0xff, 0]);
        for wrong in ["0", "0g", "+1", "0011223344"] {
            assert_eq!(unhex(wrong.as_bytes(), &mut out), None, "{wrong}");
        }
    }

    #[test]
    fn a_tag_cut_short_never_matches() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let whole = hex(tag(&key, [b"body".as_slice()].into_iter()).as_ref());
        let keys = [Key::Hmac(key)];
        let judge = |text: &str| {
            matching(
                &keys,
                [b"body".as_slice()].into_iter(),
                Encoding::Hex,
                [text].into_iter(),
            )
        };
        assert_eq!(judge(&whole), Ok(0));
        assert_eq!(judge(&whole[..62]), Err(Mismatch::Unreadable));
        assert_eq!(judge(""), Err(Mismatch::Unreadable));
        assert_eq!(judge(&"0".repeat(64)), Err(Mismatch::Wrong));
        assert_eq!(judge(&"0".repeat(4000)), Err(Mismatch::Unreadable));
    }
}
