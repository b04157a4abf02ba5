//! How fast requests may come into the quarantine. Only what was refused is asked about: nothing here is on the way of a
//! request that proves genuine.

use std::collections::HashMap;

use super::{Bounds, PARTS};
use crate::{id::SourceId, time::Timestamp};

/// Kinds of one source that are told apart; the others share one bucket.
const KINDS_MAX: usize = 1_000;
/// Sources that are remembered.
const SOURCES_MAX: usize = 10_000;
/// Buckets that are full again are looked for at most this often.
const SWEEP_PAUSE_MS: i64 = 1_000;
/// A bucket holds what comes in so many seconds at its rate.
const BURST_SECS: i64 = 10;
/// In so many seconds at its rate of bytes a source fills its share of bytes.
const FILL_SECS: i64 = 60;

/// What flows into a bucket in a second.
#[derive(Debug, Clone, Copy)]
struct Rate {
    rows: f64,
    bytes: f64,
}

impl Rate {
    fn part(self) -> Self {
        Self {
            rows: self.rows / PARTS as f64,
            bytes: self.bytes / PARTS as f64,
        }
    }
}

/// How much may be kept now.
#[derive(Debug, Clone)]
struct Bucket {
    /// How full it is with each, from 0 to `BURST_SECS` at its rate.
    rows_secs: f64,
    bytes_secs: f64,
    at: Timestamp,
}

impl Bucket {
    const FULL: f64 = BURST_SECS as f64;

    const fn full(at: Timestamp) -> Self {
        Self {
            rows_secs: Self::FULL,
            bytes_secs: Self::FULL,
            at,
        }
    }

    fn refill(&mut self, now: Timestamp) {
        let secs = now.ms_since(self.at).max(0) as f64 / 1_000.0;
        self.rows_secs = (self.rows_secs + secs).min(Self::FULL);
        self.bytes_secs = (self.bytes_secs + secs).min(Self::FULL);
        self.at = self.at.max(now);
    }

    fn is_full(&self) -> bool {
        self.lowest() >= Self::FULL
    }

    fn lowest(&self) -> f64 {
        self.rows_secs.min(self.bytes_secs)
    }

    /// Takes one request out, unless there is not enough left for it. A full bucket is enough for any.
    fn take(&mut self, rate: Rate, bytes: i64) -> bool {
        let (rows, bytes) = (1.0 / rate.rows, bytes as f64 / rate.bytes);
        let enough =
            self.rows_secs >= rows.min(Self::FULL) && self.bytes_secs >= bytes.min(Self::FULL);
        if enough {
            self.rows_secs = (self.rows_secs - rows).max(0.0);
            self.bytes_secs = (self.bytes_secs - bytes).max(0.0);
        }
        enough
    }
}

#[derive(Debug)]
struct OfSource {
    all: Bucket,
    kinds: HashMap<String, Bucket>,
    /// Of the kinds that there is no room for.
    others: Bucket,
    swept_at: Timestamp,
}

impl OfSource {
    fn new(now: Timestamp) -> Self {
        Self {
            all: Bucket::full(now),
            kinds: HashMap::new(),
            others: Bucket::full(now),
            swept_at: now,
        }
    }

    fn of_kind(&mut self, kind: &str, now: Timestamp) -> &mut Bucket {
        if self.kinds.len() >= KINDS_MAX && now.ms_since(self.swept_at) >= SWEEP_PAUSE_MS {
            self.swept_at = now;
            self.kinds.retain(|_, bucket| {
                bucket.refill(now);
                !bucket.is_full()
            });
        }
        let room = self.kinds.len() < KINDS_MAX;
        let bucket = if room && !self.kinds.contains_key(kind) {
            self.kinds
                .entry(kind.to_owned())
                .or_insert_with(|| Bucket::full(now))
        } else {
            self.kinds.get_mut(kind).unwrap_or(&mut self.others)
        };
        bucket.refill(now);
        bucket
    }
}

/// Decides which refused requests are kept, by their rate.
///
/// Each source has a bucket, and each kind within it one of a tenth. Beyond its tenth a kind is kept only while the
/// source's bucket is more than half full: alone it has the source's whole rate, and in a flood half of the bucket is
/// left to the others.
#[derive(Debug)]
pub struct Door {
    rate: Rate,
    sources: HashMap<SourceId, OfSource>,
    swept_at: Timestamp,
}

impl Door {
    /// A door that keeps to these bounds.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            rate: Rate {
                rows: bounds.per_second.max(1) as f64,
                bytes: (bounds.source.bytes / FILL_SECS).max(1) as f64,
            },
            sources: HashMap::new(),
            swept_at: Timestamp::EPOCH,
        }
    }

    /// Whether a refused request of this kind, which takes so many bytes, is to be kept.
    pub fn admit(&mut self, source: SourceId, kind: &str, bytes: i64, now: Timestamp) -> bool {
        if !self.sources.contains_key(&source) && !self.room(now) {
            return false;
        }
        let rate = self.rate;
        let of = self
            .sources
            .entry(source)
            .or_insert_with(|| OfSource::new(now));
        of.all.refill(now);
        let plenty = of.all.lowest() > Bucket::FULL / 2.0;
        let own = of.of_kind(kind, now).take(rate.part(), bytes);
        (own || plenty) && of.all.take(rate, bytes)
    }

    /// Whether one more source can be remembered.
    fn room(&mut self, now: Timestamp) -> bool {
        if self.sources.len() >= SOURCES_MAX && now.ms_since(self.swept_at) >= SWEEP_PAUSE_MS {
            self.swept_at = now;
            self.sources.retain(|_, of| {
                of.all.refill(now);
                !of.all.is_full()
            });
        }
        self.sources.len() < SOURCES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::quarantine::Amount;

    const START: Timestamp = Timestamp::from_secs(1_000);

    fn source(number: u128) -> SourceId {
        SourceId::from_uuid(uuid::Uuid::from_u128(number))
    }

    /// A hundred a second, and a hundred kilobytes.
    fn door() -> Door {
        Door::new(Bounds {
            source: Amount {
                rows: 1,
                bytes: FILL_SECS * 100_000,
            },
            per_second: 100,
            ..Bounds::default()
        })
    }

    fn admitted(door: &mut Door, tries: usize, kind: &str, bytes: i64, now: Timestamp) -> usize {
        let admitted = (0..tries).filter(|_| door.admit(source(1), kind, bytes, now));
        admitted.count()
    }

    #[test]
    fn one_kind_alone_has_the_whole_rate_of_its_source() {
        let mut door = door();
        let first = admitted(&mut door, 5_000, "a", 1, START);
        assert!((500..=620).contains(&first), "{first}");
        let later = admitted(&mut door, 5_000, "a", 1, START.plus_ms(1_000));
        assert!((100..=120).contains(&later), "{later}");
    }

    #[test]
    fn a_flood_of_one_kind_leaves_room_for_another() {
        let mut door = door();
        admitted(&mut door, 100_000, "flood", 1, START);
        assert_eq!(admitted(&mut door, 20, "genuine", 1, START), 20);
    }

    #[test]
    fn bytes_count_as_well() {
        let mut door = door();
        let first = admitted(&mut door, 5_000, "a", 10_000, START);
        assert!((50..=62).contains(&first), "{first}");
    }

    #[test]
    fn other_sources_have_rates_of_their_own() {
        let mut door = door();
        for number in 0..2_000 {
            admitted(&mut door, 5, &number.to_string(), 1, START);
        }
        assert!(!door.admit(source(1), "new", 1, START));
        assert!(door.admit(source(2), "new", 1, START));
    }

    #[test]
    fn what_is_remembered_has_a_bound_and_room_comes_back() {
        let mut door = door();
        for number in 0..5_000 {
            door.admit(source(1), &number.to_string(), 1, START);
        }
        assert_eq!(door.sources[&source(1)].kinds.len(), KINDS_MAX);
        door.admit(source(1), "new", 1, START.plus_ms(60_000));
        assert_eq!(door.sources[&source(1)].kinds.len(), 1);
        for number in 0..20_000 {
            door.admit(source(number), "new", 1, START.plus_ms(60_000));
        }
        assert_eq!(door.sources.len(), SOURCES_MAX);
        assert!(door.admit(source(90_000), "new", 1, START.plus_ms(120_000)));
    }

    #[test]
    fn a_request_that_is_larger_than_a_bucket_is_kept_when_it_is_full() {
        let mut door = door();
        assert!(door.admit(source(1), "a", i64::MAX, START));
        assert!(!door.admit(source(1), "a", 1, START));
    }
}
