//! Ids: UUID v7 in the store, `prefix_` and 26 characters of base32 wherever a person sees them.
//!
//! Ids are made by us, from an injected clock and injected randomness, and order by the
//! microsecond on one machine. They are never a cursor across nodes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::time::{Random, Timestamp};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 128 bits in groups of five, the first group holding three.
const ENCODED_LEN: usize = 26;

/// What is wrong with a text that should have been an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}_ and 26 characters")]
pub struct IdError {
    prefix: &'static str,
}

/// A UUID v7 whose 12 bits after the version hold the fraction of the millisecond
/// (RFC 9562, section 6.2, method 3), so that ids made one after the other sort that way.
pub fn uuid_v7(at: Timestamp, random: &dyn Random) -> Uuid {
    let micros = at.micros().max(0) as u64;
    let (millis, sub) = (micros / 1_000, micros % 1_000);
    let mut bytes = [0_u8; 16];
    random.fill(&mut bytes[8..]);
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    let fraction = ((sub << 12) / 1_000) as u16;
    bytes[6..8].copy_from_slice(&(0x7000 | fraction).to_be_bytes());
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    Uuid::from_bytes(bytes)
}

fn encode(uuid: Uuid, out: &mut impl fmt::Write) -> fmt::Result {
    let bits = uuid.as_u128();
    for group in (0..ENCODED_LEN).rev() {
        let five = (bits >> (group * 5)) & 31;
        out.write_char(char::from(ALPHABET[five as usize]))?;
    }
    Ok(())
}

fn decode(text: &str) -> Option<Uuid> {
    if text.len() != ENCODED_LEN {
        return None;
    }
    let mut bits = 0_u128;
    for (index, byte) in text.bytes().enumerate() {
        let five = ALPHABET.iter().position(|c| *c == byte)? as u128;
        if index == 0 && five > 7 {
            return None;
        }
        bits = (bits << 5) | five;
    }
    Some(Uuid::from_u128(bits))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// What stands before the underscore.
            pub const PREFIX: &'static str = $prefix;
            /// The id of nothing: sorts before every other, stands where a key may not be null.
            pub const NIL: Self = Self(Uuid::nil());

            /// Sorts after every other.
            pub const MAX: Self = Self(Uuid::max());

            /// A fresh id.
            pub fn new(at: Timestamp, random: &dyn Random) -> Self {
                Self(uuid_v7(at, random))
            }

            /// The id that the store holds.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// What the store holds.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($prefix, "_"))?;
                encode(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(decode)
                    .map(Self)
                    .ok_or(IdError { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A customer of the SaaS.
    TenantId = "ten";
    /// A person who signs in.
    UserId = "usr";
    /// An API key.
    KeyId = "key";
    /// A browser session.
    SessionId = "ses";
    /// A door for inbound webhooks.
    SourceId = "src";
    /// One signing secret of a source.
    SecretId = "sec";
    /// A value of a provider's that stands for a tenant.
    LinkId = "lnk";
    /// The team's own URL that jobs are pushed to.
    EndpointId = "ep";
    /// A rule that turns events into jobs.
    BindingId = "bnd";
    /// A change of a breaker's state.
    BreakerChangeId = "bch";
    /// What events of some types of a source are expected to look like.
    SchemaId = "sch";
    /// Something that a source's events began to say.
    DriftId = "drf";
    /// That a source is silent, or brings too much.
    RhythmSignalId = "rsg";
    /// An event that must be followed by another.
    ExpectationId = "xpc";
    /// One HTTP request as it arrived.
    ReceiptId = "rcp";
    /// An accepted, immutable fact.
    EventId = "evt";
    /// A unit of work.
    JobId = "job";
    /// Jobs that share an ordering key.
    LineId = "lin";
    /// A cron rule that makes jobs.
    ScheduleId = "scd";
    /// A definition of several durable steps.
    SagaId = "sga";
    /// One run of a saga.
    SagaRunId = "run";
    /// One replay: a selection of events given to bindings once more.
    ReplayId = "rpl";
    /// An entry of the audit log.
    AuditId = "aud";
    /// One running process of Mainstay.
    NodeId = "node";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SeededRandom;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_id_survives_being_shown_and_read(bits: u128) {
            let id = EventId::from_uuid(Uuid::from_u128(bits));
            prop_assert_eq!(id.to_string().parse::<EventId>(), Ok(id));
        }

        #[test]
        fn reading_an_id_never_panics(text in ".{0,40}") {
            let _ = text.parse::<JobId>();
        }

        #[test]
        fn ids_sort_by_the_microsecond(a in 0_i64..4_000_000_000_000_000, step in 1_i64..10_000_000) {
            let random = SeededRandom::new(1);
            let first = JobId::new(Timestamp::from_micros(a), &random);
            let second = JobId::new(Timestamp::from_micros(a + step), &random);
            prop_assert!(first < second);
        }
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let id = EventId::NIL.to_string();
        assert!(id.parse::<JobId>().is_err());
    }
}
