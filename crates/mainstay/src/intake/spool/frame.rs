//! Records in a segment: each in a frame that is whole or is none.
//!
//! A frame is a mark, the record's length, where the batch that it was written with begins, a checksum, the record. The
//! mark is the segment's own, made of its salt, and the checksum is over the salt and the frame's place as well: bytes that
//! look like a frame, in a body that somebody sent or in a block that a file held before, are none.

use std::ops::Range;

/// Mark, length, batch, checksum.
pub(super) const HEAD: usize = 20;

/// What the frames of a segment begin with: never zeros, which is what a hole in a file reads as.
const fn mark(salt: u64) -> [u8; 4] {
    (salt as u32 | 0x8000_0001).to_le_bytes()
}

/// Appends a frame to what is to be written at `at` of the segment.
pub(super) fn put(out: &mut Vec<u8>, salt: u64, at: u64, batch: u64, payload: &[u8]) {
    let head = Head {
        len: payload.len() as u32,
        batch,
    };
    out.extend_from_slice(&mark(salt));
    out.extend_from_slice(&head.len.to_le_bytes());
    out.extend_from_slice(&batch.to_le_bytes());
    out.extend_from_slice(&head.checksum(salt, at, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

struct Head {
    len: u32,
    batch: u64,
}

impl Head {
    fn checksum(&self, salt: u64, at: u64, payload: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for number in [salt, at, u64::from(self.len), self.batch] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(payload);
        hasher.finalize()
    }
}

/// A frame that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// The record.
    pub(super) payload: &'a [u8],
    /// Where its batch begins in the segment.
    pub(super) batch: u64,
}

impl Frame<'_> {
    /// Bytes that it takes.
    pub(super) const fn len(&self) -> usize {
        HEAD + self.payload.len()
    }
}

fn word<const N: usize>(bytes: &[u8], from: usize) -> Option<[u8; N]> {
    bytes.get(from..from + N)?.try_into().ok()
}

/// The frame that these bytes begin with, if it is whole. `at`: where they stand in the segment.
pub(super) fn first(bytes: &[u8], salt: u64, at: u64) -> Option<Frame<'_>> {
    if word(bytes, 0)? != mark(salt) {
        return None;
    }
    let head = Head {
        len: u32::from_le_bytes(word(bytes, 4)?),
        batch: u64::from_le_bytes(word(bytes, 8)?),
    };
    let checksum = u32::from_le_bytes(word(bytes, 16)?);
    let payload = bytes.get(HEAD..)?.get(..head.len as usize)?;
    (head.checksum(salt, at, payload) == checksum).then_some(Frame {
        payload,
        batch: head.batch,
    })
}

/// How many bytes the frame that these begin with says that it takes: as many are to be read to look at it.
pub(super) fn claimed(bytes: &[u8], salt: u64) -> Option<u64> {
    if word(bytes, 0)? != mark(salt) {
        return None;
    }
    let len = u32::from_le_bytes(word(bytes, 4)?);
    Some(HEAD as u64 + u64::from(len))
}

/// Where the next whole frame begins after the first of these bytes, as an index.
pub(super) fn resume(bytes: &[u8], salt: u64, at: u64) -> Option<usize> {
    let mark = mark(salt);
    (1..bytes.len())
        .filter(|from| bytes[*from..].starts_with(&mark))
        .find(|from| first(&bytes[*from..], salt, at + *from as u64).is_some())
}

/// A stretch of a segment that is no frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    /// Where.
    pub(super) at: Range<u64>,
    /// A batch that was written after it is there: what is missing here had been synced.
    pub(super) synced: bool,
}

/// What a whole segment holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Scan {
    /// Whole records.
    pub(super) records: u64,
    /// What stands between them.
    pub(super) gaps: Vec<Gap>,
    /// Where the last whole one ends. What follows is torn: nothing that was acknowledged comes after it.
    pub(super) end: u64,
}

/// Looks through a whole segment.
pub(super) fn scan(bytes: &[u8], salt: u64) -> Scan {
    let mut scan = Scan::default();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some(frame) = first(rest, salt, at as u64) {
            at += frame.len();
            scan.records += 1;
            scan.end = at as u64;
            for gap in &mut scan.gaps {
                gap.synced |= frame.batch > gap.at.start;
            }
            continue;
        }
        let Some(skipped) = resume(rest, salt, at as u64) else {
            break;
        };
        scan.gaps.push(Gap {
            at: at as u64..(at + skipped) as u64,
            synced: false,
        });
        at += skipped;
    }
    scan
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SALT: u64 = 77;

    /// A segment of batches of records.
    fn segment(batches: &[Vec<Vec<u8>>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for batch in batches {
            let begin = bytes.len() as u64;
            for payload in batch {
                let at = bytes.len() as u64;
                put(&mut bytes, SALT, at, begin, payload);
            }
        }
        bytes
    }

    fn payloads(bytes: &[u8]) -> Vec<Vec<u8>> {
        let (mut at, mut found) = (0, Vec::new());
        while at < bytes.len() {
            match first(&bytes[at..], SALT, at as u64) {
                Some(frame) => {
                    found.push(frame.payload.to_vec());
                    at += frame.len();
                }
                None => match resume(&bytes[at..], SALT, at as u64) {
                    Some(skipped) => at += skipped,
                    None => break,
                },
            }
        }
        found
    }

    fn three() -> Vec<Vec<Vec<u8>>> {
        vec![
            vec![b"one".to_vec(), b"two".to_vec()],
            vec![b"three".to_vec()],
        ]
    }

    #[test]
    fn a_tail_torn_at_any_byte_leaves_the_records_before_it_and_is_no_damage() {
        let whole = segment(&three());
        let mut ends = vec![0];
        while let Some(frame) = first(
            &whole[ends[ends.len() - 1]..],
            SALT,
            ends[ends.len() - 1] as u64,
        ) {
            ends.push(ends[ends.len() - 1] + frame.len());
        }
        assert_eq!(ends.len(), 4);
        for cut in 0..=whole.len() {
            let scan = scan(&whole[..cut], SALT);
            let records = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!(scan.records, records as u64, "{cut}");
            assert_eq!(scan.end, ends[records] as u64, "{cut}");
            assert!(scan.gaps.is_empty(), "{cut}");
        }
    }

    #[test]
    fn a_byte_flipped_anywhere_costs_the_record_that_it_is_in_and_no_other() {
        let whole = segment(&three());
        let all = payloads(&whole);
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            let left = payloads(&flipped);
            assert_eq!(left.len(), 2, "{at}");
            assert!(left.iter().all(|payload| all.contains(payload)), "{at}");
            let scan = scan(&flipped, SALT);
            // Of what was written last nobody can say whether it had been synced; everything before it was.
            let first_batch = (at as u64) < 2 * (HEAD as u64 + 3);
            let damage = scan.gaps.iter().any(|gap| gap.synced);
            assert_eq!(damage, first_batch, "{at} {scan:?}");
        }
    }

    #[test]
    fn a_record_within_a_record_is_none() {
        let mut inner = Vec::new();
        put(&mut inner, SALT, 0, 0, b"made up");
        let mut whole = segment(&[vec![inner], vec![b"after".to_vec()]]);
        whole[0] ^= 1;
        assert_eq!(payloads(&whole), [b"after".to_vec()]);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_scanned_and_what_is_found_has_its_checksum(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
            payload in proptest::collection::vec(any::<u8>(), 0..40),
            place in any::<proptest::sample::Index>(),
        ) {
            let before = scan(&bytes, SALT);
            prop_assert_eq!(before.records, 0, "chance makes no checksum");
            let at = place.index(bytes.len() + 1);
            let mut frame = Vec::new();
            put(&mut frame, SALT, at as u64, 0, &payload);
            bytes.splice(at..at, frame);
            prop_assert_eq!(payloads(&bytes), vec![payload]);
        }

        #[test]
        fn a_segment_with_anything_overwritten_gives_only_what_was_written(
            batches in proptest::collection::vec(proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..30), 1..4), 1..4),
            junk in proptest::collection::vec(any::<u8>(), 1..60),
            place in any::<proptest::sample::Index>(),
        ) {
            let mut bytes = segment(&batches);
            let all = payloads(&bytes);
            prop_assert_eq!(&all, &batches.concat());
            let at = place.index(bytes.len());
            let to = (at + junk.len()).min(bytes.len());
            bytes[at..to].copy_from_slice(&junk[..to - at]);
            let left = payloads(&bytes);
            let mut original = all.iter();
            prop_assert!(left.iter().all(|one| original.any(|other| other == one)), "in their order");
        }
    }
}
