//! How bodies and headers are kept: compressed where that makes them smaller, without the sender's credentials.

use std::cell::RefCell;

use bytes::Bytes;
use mainstay_domain::{
    StoreError, StoreResult,
    intake::{Blob, settings},
};
use zstd::bulk::Compressor;

/// Below this many bytes compression gains nothing.
const COMPRESS_MIN_BYTES: usize = 256;
/// The largest body that a frame may hold: what a source can be told to take, and an event's share of context.
const BODY_BYTES_MAX: u64 = (settings::BODY_LIMIT_BYTES_MAX * 2) as u64;
/// Fast enough for the request's own thread; see `docs/benchmarks.md`.
const COMPRESS_LEVEL: i32 = 1;

/// The bytes as the store keeps them: compressed where that makes them smaller.
pub(crate) fn compress(bytes: &Bytes) -> Blob {
    if bytes.len() >= COMPRESS_MIN_BYTES
        && let Some(packed) = packed(bytes)
        && packed.len() < bytes.len()
    {
        return Blob {
            zstd: true,
            bytes: packed.into(),
        };
    }
    Blob {
        zstd: false,
        bytes: bytes.clone(),
    }
}

/// The frame, made with this thread's context: making a context costs several times what it then does.
fn packed(bytes: &[u8]) -> Option<Vec<u8>> {
    thread_local! {
        static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    }
    COMPRESSOR.with_borrow_mut(|kept| {
        if kept.is_none() {
            *kept = Compressor::new(COMPRESS_LEVEL).ok();
        }
        kept.as_mut()?.compress(bytes).ok()
    })
}

/// The bytes of a blob. Its frame is bounded by the largest body that a source can be told to take.
pub fn decompress(blob: &Blob) -> StoreResult<Bytes> {
    if !blob.zstd {
        return Ok(blob.bytes.clone());
    }
    if let Some(error) = crate::vault::unreadable(blob) {
        return Err(error);
    }
    let corrupt = |why: &dyn std::fmt::Display| {
        StoreError::Corrupt(format!("a compressed body cannot be read: {why}"))
    };
    let size = match zstd::zstd_safe::get_frame_content_size(&blob.bytes) {
        Ok(Some(size)) if size <= BODY_BYTES_MAX => size as usize,
        _ => return Err(corrupt(&"its size is missing or too large")),
    };
    zstd::bulk::decompress(&blob.bytes, size)
        .map(Bytes::from)
        .map_err(|error| corrupt(&error))
}

/// Headers that carry credentials of the sender's; never kept.
const HEADERS_SECRET: [&str; 4] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-api-key",
];

/// The headers without those that carry credentials: some always do, one because of the source's scheme.
pub(super) fn headers_kept(
    headers: &[(String, Vec<u8>)],
    credential: Option<&str>,
) -> serde_json::Map<String, serde_json::Value> {
    let mut kept = serde_json::Map::new();
    for (name, value) in headers {
        let own = credential.is_some_and(|credential| credential.eq_ignore_ascii_case(name));
        if own || HEADERS_SECRET.contains(&name.as_str()) {
            continue;
        }
        let text = String::from_utf8_lossy(value);
        match kept.get_mut(name) {
            Some(serde_json::Value::String(before)) => {
                before.push_str(", ");
                before.push_str(&text);
            }
            _ => drop(kept.insert(name.clone(), text.into_owned().into())),
        }
    }
    kept
}

/// The headers that are kept, as the store keeps them.
pub(super) fn headers_json(headers: &[(String, Vec<u8>)], credential: Option<&str>) -> Blob {
    let kept = headers_kept(headers, credential);
    Blob {
        zstd: false,
        bytes: serde_json::Value::Object(kept).to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_with_credentials_are_not_kept() {
        let headers = ["accept", "authorization", "x-token", "x-api-key"]
            .map(|name| (name.to_owned(), b"1".to_vec()));
        let kept = |credential| headers_json(&headers, credential).bytes;
        assert_eq!(kept(Some("X-Token")), r#"{"accept":"1"}"#);
        assert_eq!(kept(None), r#"{"accept":"1","x-token":"1"}"#);
    }
}
