//! The quarantine: what is kept of requests that could not be verified, in bounds that one source, one address or one
//! kind of forgery cannot use up for the others.
//!
//! Each source has a share of its own, in rows and in bytes. Within a source a *kind* is an address and the reason of the
//! refusal; a tenth of the share is every kind's. What a kind has beyond its tenth goes first when the source has too much,
//! oldest first, and only then the source's oldest. So a flood of one kind leaves the others alone, and where there is no
//! flood one kind may have the whole share.

use std::net::{IpAddr, Ipv6Addr};

use crate::id::ReceiptId;

mod door;

pub use door::Door;

/// Into how many parts a source's share is divided: each kind has one to itself.
const PARTS: i64 = 10;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Of each source.
    pub source: Amount,
    /// Of all sources together.
    pub all: Amount,
    /// Requests of each source that are kept in a second, on each node.
    pub per_second: i64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            source: Amount {
                rows: 10_000,
                bytes: 64 * 1024 * 1024,
            },
            all: Amount {
                rows: 100_000,
                bytes: 512 * 1024 * 1024,
            },
            per_second: 50,
        }
    }
}

impl Bounds {
    /// What each source may have so that all of them together stay within bounds: those that have little keep it, and the
    /// others come down to the same level.
    pub fn level(&self, taken: &[Amount]) -> Amount {
        let rows = level(taken.iter().map(|one| one.rows), self.all.rows);
        let bytes = level(taken.iter().map(|one| one.bytes), self.all.bytes);
        Amount {
            rows: rows.min(self.source.rows),
            bytes: bytes.min(self.source.bytes),
        }
    }
}

fn level(taken: impl Iterator<Item = i64>, all: i64) -> i64 {
    let mut taken: Vec<i64> = taken.collect();
    taken.sort_unstable();
    let (mut left, mut sources) = (all, taken.len() as i64);
    for one in taken {
        let fair = left / sources;
        if one > fair {
            return fair;
        }
        left -= one;
        sources -= 1;
    }
    i64::MAX
}

/// Refused requests: how many, and what their headers and bodies take as they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// How many.
    pub rows: i64,
    /// How many bytes.
    pub bytes: i64,
}

impl Amount {
    /// Whether all of this fits into `other`.
    pub const fn within(self, other: Self) -> bool {
        self.rows <= other.rows && self.bytes <= other.bytes
    }

    const fn plus_one(self, bytes: i64) -> Self {
        Self {
            rows: self.rows + 1,
            bytes: self.bytes + bytes,
        }
    }

    const fn less_one(self, bytes: i64) -> Self {
        Self {
            rows: self.rows - 1,
            bytes: self.bytes - bytes,
        }
    }

    fn part(self) -> Self {
        Self {
            rows: (self.rows / PARTS).max(1),
            bytes: self.bytes / PARTS,
        }
    }
}

/// A refused request that is kept, as far as the bounds go by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub id: ReceiptId,
    /// What it is one of; see [`kind`].
    pub kind: String,
    /// What its headers and its body take as they are stored.
    pub bytes: i64,
}

/// What a refused request is one of: its address (IPv6: the network of 64 bits, which is one machine's to choose from)
/// and the reason.
pub fn kind(remote: &str, refusal: &str) -> String {
    match remote
        .parse::<IpAddr>()
        .map(|address| address.to_canonical())
    {
        Ok(IpAddr::V6(address)) => {
            let network = Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX));
            format!("{network} {refusal}")
        }
        Ok(address) => format!("{address} {refusal}"),
        Err(_) => format!("{remote} {refusal}"),
    }
}

/// All of these together.
pub fn amount(kept: &[Kept]) -> Amount {
    kept.iter()
        .fold(Amount::default(), |amount, one| amount.plus_one(one.bytes))
}

/// Which of a source's requests, given newest first, have to go so that it has no more than its share; oldest first.
pub fn surplus(newest_first: &[Kept], share: Amount) -> Vec<ReceiptId> {
    let mut total = amount(newest_first);
    if total.within(share) {
        return Vec::new();
    }
    let part = share.part();
    let mut kinds = std::collections::HashMap::<&str, Amount>::new();
    let (mut beyond, mut own) = (Vec::new(), Vec::new());
    for one in newest_first {
        let of_kind = kinds.entry(&one.kind).or_default();
        *of_kind = of_kind.plus_one(one.bytes);
        if of_kind.within(part) {
            own.push(one);
        } else {
            beyond.push(one);
        }
    }
    let mut gone = Vec::new();
    for one in beyond.iter().rev().chain(own.iter().rev()) {
        if total.within(share) {
            break;
        }
        total = total.less_one(one.bytes);
        gone.push(one.id);
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{SeededRandom, Timestamp};

    /// Newest first, as the store lists them.
    fn kept(kinds_oldest_first: &[(&str, i64)]) -> Vec<Kept> {
        let random = SeededRandom::new(1);
        let mut all: Vec<Kept> = (1_i64..)
            .zip(kinds_oldest_first)
            .map(|(second, (kind, bytes))| Kept {
                id: ReceiptId::new(Timestamp::from_secs(second), &random),
                kind: (*kind).into(),
                bytes: *bytes,
            })
            .collect();
        all.reverse();
        all
    }

    /// The places of those that go, from the oldest.
    fn gone(kept: &[Kept], rows: i64, bytes: i64) -> Vec<usize> {
        let place = |id| {
            let newest = kept.iter().position(|one| one.id == id);
            kept.len() - 1 - newest.expect("only what there is goes")
        };
        let surplus = surplus(kept, Amount { rows, bytes });
        surplus.into_iter().map(place).collect()
    }

    #[test]
    fn within_its_share_a_source_keeps_everything() {
        let all = kept(&[("a", 10), ("a", 10), ("a", 10)]);
        assert_eq!(gone(&all, 3, 30), Vec::<usize>::new());
    }

    #[test]
    fn of_one_kind_the_oldest_go_first() {
        let all = kept(&[("a", 10); 5]);
        assert_eq!(gone(&all, 3, 1_000), [0, 1]);
        assert_eq!(gone(&all, 100, 20), [0, 1, 2]);
    }

    #[test]
    fn a_flood_of_one_kind_leaves_older_ones_of_another() {
        let mut kinds = vec![("genuine", 10)];
        kinds.extend([("flood", 10); 30]);
        assert_eq!(gone(&kept(&kinds), 20, 1_000), (1..12).collect::<Vec<_>>());
    }

    #[test]
    fn a_few_large_ones_do_not_push_out_many_small_ones() {
        let mut kinds = vec![("small", 1); 10];
        kinds.extend([("large", 500); 3]);
        assert_eq!(gone(&kept(&kinds), 100, 1_000), [10, 11]);
    }

    #[test]
    fn of_too_many_kinds_the_oldest_go_first() {
        let names: Vec<String> = (0..15).map(|number| number.to_string()).collect();
        let kinds: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
        assert_eq!(gone(&kept(&kinds), 10, 1_000), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn all_together_those_with_much_come_down_to_one_level() {
        let bounds = Bounds {
            all: Amount {
                rows: 100,
                bytes: 1_000_000,
            },
            source: Amount {
                rows: 80,
                bytes: 1_000_000,
            },
            per_second: 1,
        };
        let rows = |taken: &[i64]| {
            let taken: Vec<_> = taken
                .iter()
                .map(|rows| Amount {
                    rows: *rows,
                    bytes: 0,
                })
                .collect();
            bounds.level(&taken).rows
        };
        assert_eq!(rows(&[10, 80]), 80, "they fit");
        assert_eq!(rows(&[10, 80, 80]), 45, "ten are kept, and twice 45");
        assert_eq!(rows(&[50, 50, 50]), 33);
        assert_eq!(rows(&[]), 80);
    }

    #[test]
    fn a_kind_is_an_address_with_a_reason() {
        assert_eq!(kind("192.0.2.1", "x"), kind("::ffff:192.0.2.1", "x"));
        assert_eq!(kind("2001:db8::1", "x"), kind("2001:db8::ffff:2", "x"));
        assert_ne!(kind("2001:db8::1", "x"), kind("2001:db8:0:1::1", "x"));
        assert_ne!(kind("192.0.2.1", "x"), kind("192.0.2.1", "y"));
    }
}
