//! Times and random texts at the edge: RFC 3339 in UTC with microseconds, and nothing else.

use std::{cell::RefCell, fmt};

use mainstay_domain::{Clock, Random, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, SchemaFormat, schema::Schema, schema::Type},
};

/// A time in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) Timestamp);

impl Time {
    /// Reads RFC 3339 with any offset.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parsed: jiff::Timestamp = text.parse().ok()?;
        Some(Self(Timestamp::from_micros(parsed.as_microsecond())))
    }
}

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0.micros()) {
            Ok(time) => write!(f, "{time:.6}"),
            // Beyond the year 9999: nothing that we make; said rather than hidden.
            Err(_) => f.write_str("9999-12-30T22:00:00.000000Z"),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("must be a time such as 2026-01-31T12:00:00Z"))
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl ToSchema for Time {}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
    }
}

/// The system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemRandom;

/// Up to so many bytes are an id or a delay, not a secret: they come out of a buffer, since asking the generator costs
/// about a microsecond however little is asked for, and a webhook makes three ids.
const SMALL: usize = 16;
const BUFFER: usize = 512;

thread_local! {
    /// Random bytes, and how many of them are used up.
    static SMALL_ONES: RefCell<([u8; BUFFER], usize)> = const { RefCell::new(([0; BUFFER], BUFFER)) };
}

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > SMALL {
            return generate(bytes);
        }
        SMALL_ONES.with_borrow_mut(|(buffer, used)| {
            if *used + bytes.len() > BUFFER {
                generate(buffer);
                *used = 0;
            }
            bytes.copy_from_slice(&buffer[*used..*used + bytes.len()]);
            *used += bytes.len();
        });
    }
}

fn generate(bytes: &mut [u8]) {
    // Without randomness there are no secrets and no ids: nothing could go on.
    #[expect(
        clippy::expect_used,
        reason = "no answer would be better than predictable secrets"
    )]
    aws_lc_rs::rand::fill(bytes).expect("the system gives randomness");
}

/// Random bytes as lower-case hexadecimal.
pub(crate) fn random_hex(random: &dyn Random, bytes: usize) -> String {
    use std::fmt::Write as _;
    let mut buffer = vec![0; bytes];
    random.fill(&mut buffer);
    buffer
        .iter()
        .fold(String::with_capacity(bytes * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_random_bytes_never_come_twice() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            let mut bytes = [0; 12];
            SystemRandom.fill(&mut bytes);
            assert!(seen.insert(bytes));
        }
    }

    #[test]
    fn a_time_is_shown_in_utc_with_microseconds() {
        let time = Time(Timestamp::from_micros(1_700_000_000_000_001));
        assert_eq!(time.to_string(), "2023-11-14T22:13:20.000001Z");
        assert_eq!(
            Time(Timestamp::EPOCH).to_string(),
            "1970-01-01T00:00:00.000000Z"
        );
    }

    #[test]
    fn a_time_is_read_with_any_offset() {
        let expected = Time(Timestamp::from_secs(1_700_000_000));
        assert_eq!(Time::parse("2023-11-14T22:13:20Z"), Some(expected));
        assert_eq!(Time::parse("2023-11-14T23:13:20+01:00"), Some(expected));
        assert_eq!(Time::parse("2023-11-14"), None);
        assert_eq!(Time::parse(""), None);
    }
}
