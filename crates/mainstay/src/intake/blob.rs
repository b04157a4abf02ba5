//! How bodies and headers are kept: compressed where that makes them smaller, without the sender's credentials.
//!
//! Frames are made with a dictionary that knows what providers' events and headers look like: a body of two thousand bytes
//! has little of its own to learn from. The dictionary is a part of the program, made from events of our own
//! (`tools/dictionary`): one that was learned from a tenant's bodies would hold pieces of them, outlive them, and have to be
//! kept as long as whatever was stored with it. Its number stands in each frame.

use std::{cell::RefCell, sync::LazyLock};

use bytes::Bytes;
use mainstay_domain::{
    StoreError, StoreResult,
    intake::{Blob, settings},
};
use zstd::{
    bulk::{Compressor, Decompressor},
    dict::{DecoderDictionary, EncoderDictionary},
    zstd_safe::{get_dict_id_from_frame, get_frame_content_size},
};

/// Below this many bytes compression gains nothing.
const COMPRESS_MIN_BYTES: usize = 64;
/// The largest body that a frame may hold: what a source can be told to take, and an event's share of context.
const BODY_BYTES_MAX: u64 = (settings::BODY_LIMIT_BYTES_MAX * 2) as u64;
/// Fast enough for the request's own thread; see `docs/benchmarks.md`. Of a body of 2 KiB, level 3 would spare thirty bytes and
/// take 8,000 instructions more; of headers it spares thirteen and takes 1,500.
const LEVELS: [i32; 2] = [1, 3];
/// Which of [`LEVELS`] is for what.
const BODY: usize = 0;
const HEADERS: usize = 1;

/// The dictionary of now. What was released stays: what was stored with it could not be read without it.
const DICTIONARY: &[u8] = include_bytes!("dictionary/1.zdict");
const DICTIONARY_ID: u32 = 1;
static ENCODERS: LazyLock<[Option<EncoderDictionary<'static>>; 2]> =
    LazyLock::new(|| LEVELS.map(|level| EncoderDictionary::try_copy(DICTIONARY, level).ok()));
static DECODER: LazyLock<Option<DecoderDictionary<'static>>> =
    LazyLock::new(|| DecoderDictionary::try_copy(DICTIONARY).ok());

/// The bytes as the store keeps them: compressed where that makes them smaller.
pub(crate) fn compress(bytes: &Bytes) -> Blob {
    compress_as(BODY, bytes)
}

fn compress_as(what: usize, bytes: &Bytes) -> Blob {
    if bytes.len() >= COMPRESS_MIN_BYTES
        && let Some(packed) = packed(what, bytes)
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
fn packed(what: usize, bytes: &[u8]) -> Option<Vec<u8>> {
    thread_local! {
        static COMPRESSORS: RefCell<[Option<Compressor<'static>>; 2]> =
            const { RefCell::new([None, None]) };
    }
    COMPRESSORS.with_borrow_mut(|kept| {
        let kept = &mut kept[what];
        if kept.is_none() {
            *kept = Compressor::with_prepared_dictionary(ENCODERS[what].as_ref()?).ok();
        }
        kept.as_mut()?.compress(bytes).ok()
    })
}

/// The bytes of a blob. Its frame is bounded by the largest body that a source can be told to take.
pub fn decompress(blob: &Blob) -> StoreResult<Bytes> {
    thread_local! {
        static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    }
    if !blob.zstd {
        return Ok(blob.bytes.clone());
    }
    if let Some(error) = crate::vault::unreadable(blob) {
        return Err(error);
    }
    let corrupt = |why: &dyn std::fmt::Display| {
        StoreError::Corrupt(format!("a compressed body cannot be read: {why}"))
    };
    let size = match get_frame_content_size(&blob.bytes) {
        Ok(Some(size)) if size <= BODY_BYTES_MAX => size as usize,
        _ => return Err(corrupt(&"its size is missing or too large")),
    };
    // A frame of before there were dictionaries names none and is read all the same.
    if let Some(id) = get_dict_id_from_frame(&blob.bytes)
        && id.get() != DICTIONARY_ID
    {
        return Err(corrupt(&format!("this program has no dictionary {id}")));
    }
    DECOMPRESSOR.with_borrow_mut(|kept| {
        if kept.is_none() {
            let decoder = DECODER.as_ref();
            let decoder = decoder.ok_or_else(|| corrupt(&"the dictionary is damaged"))?;
            let made = Decompressor::with_prepared_dictionary(decoder);
            *kept = Some(made.map_err(|error| corrupt(&error))?);
        }
        let bytes = kept.as_mut().map(|kept| kept.decompress(&blob.bytes, size));
        match bytes {
            Some(Ok(bytes)) => Ok(bytes.into()),
            Some(Err(error)) => Err(corrupt(&error)),
            None => Err(corrupt(&"there is no context for it")),
        }
    })
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
    // Text as a value prints it takes twice as long to make.
    let json = serde_json::to_vec(&kept).unwrap_or_else(|_| b"{}".to_vec());
    compress_as(HEADERS, &json.into())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const INVOICE: &str = r#"{"api_version":"2022-11-15","created":1750000000,"data":{"object":{"amount_due":4900,"object":"invoice"}},"livemode":true,"object":"event","type":"invoice.paid"}"#;

    #[test]
    fn headers_with_credentials_are_not_kept() {
        let headers = ["accept", "authorization", "x-token", "x-api-key"]
            .map(|name| (name.to_owned(), b"1".to_vec()));
        let kept = |credential| headers_json(&headers, credential).bytes;
        assert_eq!(kept(Some("X-Token")), r#"{"accept":"1"}"#);
        assert_eq!(kept(None), r#"{"accept":"1","x-token":"1"}"#);
    }

    #[test]
    fn a_small_event_of_a_known_shape_takes_less_than_half_its_bytes() {
        let blob = compress(&Bytes::from_static(INVOICE.as_bytes()));
        assert!(
            blob.zstd && blob.bytes.len() * 2 < INVOICE.len(),
            "{blob:?}"
        );
    }

    #[test]
    fn what_was_stored_before_there_was_a_dictionary_is_read() {
        let frame = zstd::bulk::compress(INVOICE.as_bytes(), 1).expect("it can be compressed");
        let blob = Blob {
            zstd: true,
            bytes: frame.into(),
        };
        assert_eq!(decompress(&blob).expect("it is readable"), INVOICE);
    }

    #[test]
    fn what_was_stored_with_a_later_dictionary_is_refused_by_its_number() {
        // The number stands behind the magic number and the descriptor, in one byte.
        let mut bytes = compress(&Bytes::from_static(INVOICE.as_bytes()))
            .bytes
            .to_vec();
        assert_eq!(u32::from(bytes[5]), DICTIONARY_ID);
        bytes[5] = 9;
        let blob = Blob {
            zstd: true,
            bytes: bytes.into(),
        };
        let error = decompress(&blob).expect_err("there is no such dictionary");
        assert!(error.to_string().contains("no dictionary 9"), "{error}");
    }

    proptest! {
        #[test]
        fn what_was_stored_comes_back(bytes in vec(any::<u8>(), 0..4_096), times in 1_usize..4) {
            let bytes = Bytes::from(bytes.repeat(times));
            prop_assert_eq!(decompress(&compress(&bytes))?, bytes);
        }

        #[test]
        fn what_is_damaged_never_takes_more_room_than_a_body_may(bytes in vec(any::<u8>(), 0..512)) {
            let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd];
            frame.extend(bytes);
            if let Ok(bytes) = decompress(&Blob { zstd: true, bytes: frame.into() }) {
                prop_assert!(bytes.len() as u64 <= BODY_BYTES_MAX);
            }
        }
    }
}
