//! Bytes in hexadecimal.

use std::fmt::Write;

/// Lower case, two characters a byte.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// As PostgreSQL shows bytes; both databases answer a person in the same way.
pub(crate) fn shown(bytes: &[u8]) -> String {
    format!("\\x{}", encode(bytes))
}
