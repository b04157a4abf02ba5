//! What is spooled of one request, and its form on the disk: version 1, little-endian, lengths before what they measure.

use bytes::Bytes;
use mainstay_domain::{
    EventId, ReceiptId, SecretId, SourceId, Timestamp,
    intake::{Arrival, Blob},
};
use uuid::Uuid;

/// The form that is written. A program that meets another one sets the record aside.
const VERSION: u8 = 1;
const FLAG_HEADERS_ZSTD: u8 = 1;
const FLAG_BODY_ZSTD: u8 = 2;
const FLAG_TRIED: u8 = 4;
const FLAG_UNCONFIRMED: u8 = 8;
const FLAGS: u8 = FLAG_HEADERS_ZSTD | FLAG_BODY_ZSTD | FLAG_TRIED | FLAG_UNCONFIRMED;

/// A verified request: everything that storing it later needs, and no credential of the sender's. Neither is its URL here:
/// only a signature is over it, and a query can hold a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The id that its receipt has for good.
    pub(crate) receipt: ReceiptId,
    /// The door.
    pub(crate) source: SourceId,
    /// The secret that matched.
    pub(crate) secret: Option<SecretId>,
    /// When the last byte arrived.
    pub(crate) received_at: Timestamp,
    /// The address it came from.
    pub(crate) remote: String,
    /// The headers as a receipt keeps them.
    pub(crate) headers: Blob,
    /// The body.
    pub(crate) body: Blob,
    /// The ids that its events were answered with, in their order.
    pub(crate) events: Vec<EventId>,
    /// An append of it was begun, and nobody knows how it ended.
    pub(crate) tried: bool,
    /// It was verified by a snapshot: whether its secret was still the source's is to be seen.
    pub(crate) unconfirmed: bool,
}

impl Record {
    /// What is spooled of a request that was about to be appended.
    pub(crate) fn of(arrival: &Arrival) -> Option<Self> {
        let receipt = &arrival.receipt;
        Some(Self {
            receipt: receipt.id,
            source: receipt.source,
            secret: receipt.secret,
            received_at: receipt.received_at,
            remote: receipt.remote.clone(),
            headers: receipt.headers.clone(),
            body: receipt.body.clone()?,
            events: arrival.events.iter().map(|event| event.id).collect(),
            tried: false,
            unconfirmed: false,
        })
    }

    /// The record as it is written.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut flags = 0;
        for (flag, set) in [
            (FLAG_HEADERS_ZSTD, self.headers.zstd),
            (FLAG_BODY_ZSTD, self.body.zstd),
            (FLAG_TRIED, self.tried),
            (FLAG_UNCONFIRMED, self.unconfirmed),
        ] {
            flags |= if set { flag } else { 0 };
        }
        let room = 128 + self.remote.len() + self.headers.bytes.len() + self.body.bytes.len();
        let mut out = Vec::with_capacity(room + 16 * self.events.len());
        out.extend_from_slice(&[VERSION, flags]);
        out.extend_from_slice(self.receipt.uuid().as_bytes());
        out.extend_from_slice(self.source.uuid().as_bytes());
        let secret = self.secret.unwrap_or(SecretId::NIL);
        out.extend_from_slice(secret.uuid().as_bytes());
        out.extend_from_slice(&self.received_at.micros().to_le_bytes());
        out.extend_from_slice(&(self.events.len() as u32).to_le_bytes());
        for event in &self.events {
            out.extend_from_slice(event.uuid().as_bytes());
        }
        for bytes in [
            self.remote.as_bytes(),
            &self.headers.bytes[..],
            &self.body.bytes[..],
        ] {
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            out.extend_from_slice(bytes);
        }
        out
    }

    /// The record that these bytes are; `None`: they are none of a form that this program knows.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = Rest(bytes);
        let [version, flags] = rest.array()?;
        if version != VERSION || flags & !FLAGS != 0 {
            return None;
        }
        let receipt = ReceiptId::from_uuid(rest.uuid()?);
        let source = SourceId::from_uuid(rest.uuid()?);
        let secret = SecretId::from_uuid(rest.uuid()?);
        let received_at = Timestamp::from_micros(i64::from_le_bytes(rest.array()?));
        let count = u32::from_le_bytes(rest.array()?) as usize;
        // Nothing is reserved for a number that the bytes do not bear out.
        let ids = rest.take(count.checked_mul(16)?)?;
        let events = ids
            .chunks_exact(16)
            .filter_map(|id| Some(EventId::from_uuid(Uuid::from_slice(id).ok()?)))
            .collect();
        let remote = String::from_utf8(rest.counted()?.to_vec()).ok()?;
        let mut blob = |flag| {
            Some(Blob {
                zstd: flags & flag != 0,
                bytes: Bytes::copy_from_slice(rest.counted()?),
            })
        };
        let headers = blob(FLAG_HEADERS_ZSTD)?;
        let body = blob(FLAG_BODY_ZSTD)?;
        rest.0.is_empty().then_some(Self {
            receipt,
            source,
            secret: (secret != SecretId::NIL).then_some(secret),
            received_at,
            remote,
            headers,
            body,
            events,
            tried: flags & FLAG_TRIED != 0,
            unconfirmed: flags & FLAG_UNCONFIRMED != 0,
        })
    }
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn uuid(&mut self) -> Option<Uuid> {
        self.array().map(Uuid::from_bytes)
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let count = u32::from_le_bytes(self.array()?);
        self.take(count as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blobs() -> impl Strategy<Value = Blob> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..200);
        (any::<bool>(), bytes).prop_map(|(zstd, bytes)| Blob {
            zstd,
            bytes: bytes.into(),
        })
    }

    fn records() -> impl Strategy<Value = Record> {
        let ids = (
            any::<u128>(),
            any::<u128>(),
            proptest::option::of(1..u128::MAX),
        );
        let events = proptest::collection::vec(any::<u128>(), 0..5);
        let rest = (any::<i64>(), ".{0,20}", any::<bool>(), any::<bool>());
        (ids, events, blobs(), blobs(), rest).prop_map(
            |(
                (receipt, source, secret),
                events,
                headers,
                body,
                (at, remote, tried, unconfirmed),
            )| Record {
                receipt: ReceiptId::from_uuid(Uuid::from_u128(receipt)),
                source: SourceId::from_uuid(Uuid::from_u128(source)),
                secret: secret.map(|secret| SecretId::from_uuid(Uuid::from_u128(secret))),
                received_at: Timestamp::from_micros(at),
                remote,
                headers,
                body,
                events: events
                    .into_iter()
                    .map(|id| EventId::from_uuid(Uuid::from_u128(id)))
                    .collect(),
                tried,
                unconfirmed,
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(record in records()) {
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
        }

        #[test]
        fn a_part_of_a_record_is_none(record in records(), at in any::<proptest::sample::Index>()) {
            let bytes = record.encode();
            prop_assert_eq!(Record::decode(&bytes[..at.index(bytes.len())]), None);
        }

        #[test]
        fn any_bytes_can_be_looked_at(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(record) = Record::decode(&bytes) {
                prop_assert_eq!(record.encode(), bytes);
            }
        }
    }
}
