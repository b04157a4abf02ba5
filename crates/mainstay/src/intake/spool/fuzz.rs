//! Targets over what a spool reads back; see `mainstay-fuzz`.

use mainstay_fuzz::{Script, target};

use super::{Name, Record, frame};

/// Frames that were written, then anything done to the file: what is read is some of what was written, in its order.
#[test]
fn segments() {
    fn one(script: &mut Script) {
        let salt = u64::from_le_bytes(script.array());
        let (mut bytes, mut written) = (Vec::new(), Vec::new());
        for _ in 0..script.below(6) {
            let begin = bytes.len() as u64;
            for _ in 0..=script.below(3) {
                let payload = script.bytes(40).to_vec();
                let at = bytes.len() as u64;
                frame::put(&mut bytes, salt, at, begin, &payload);
                written.push(payload);
            }
        }
        let whole = bytes.len();
        for _ in 0..script.below(4) {
            script.edit(&mut bytes);
        }
        let scan = frame::scan(&bytes, salt);
        let (mut at, mut records) = (0, 0);
        let mut left = written.iter();
        while at < bytes.len() {
            let Some(frame) = frame::first(&bytes[at..], salt, at as u64) else {
                assert!(
                    frame::claimed(&bytes[at..], salt).is_none_or(|len| len >= frame::HEAD as u64)
                );
                match frame::resume(&bytes[at..], salt, at as u64) {
                    Some(skipped) => at += skipped,
                    None => break,
                }
                continue;
            };
            assert!(
                left.any(|payload| payload == frame.payload),
                "nothing is read that was not written"
            );
            records += 1;
            at += frame.len();
        }
        assert_eq!(scan.records, records);
        assert!(
            scan.end as usize <= bytes.len() && scan.gaps.iter().all(|gap| gap.at.end <= scan.end)
        );
        assert!(bytes.len() != whole || records as usize <= written.len());
    }
    target!(one);
}

/// A record is read as what was written or not at all.
#[test]
fn records() {
    fn one(script: &mut Script) {
        let bytes = match script.flag() {
            true => script.rest().to_vec(),
            false => {
                // The form of a record around what the script says.
                let mut bytes = vec![1, script.byte() % 9];
                bytes.extend_from_slice(&script.array::<56>());
                let events = u32::from(script.byte() % 4);
                bytes.extend_from_slice(&events.to_le_bytes());
                for _ in 0..events {
                    bytes.extend_from_slice(&script.array::<16>());
                }
                for _ in 0..3 {
                    let part = script.bytes(30);
                    bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
                    bytes.extend_from_slice(part);
                }
                for _ in 0..script.below(3) {
                    script.edit(&mut bytes);
                }
                bytes
            }
        };
        if let Some(record) = Record::decode(&bytes) {
            assert_eq!(record.encode(), bytes);
        }
    }
    target!(one);
}

/// A file is one of ours exactly when it has a name that we would give.
#[test]
fn names() {
    fn one(script: &mut Script) {
        let file = script.pieces(
            &[
                "0000000000000007",
                "-",
                "ffffffffffffffff",
                ".spool",
                ".aside",
                ".damaged",
                "+",
                "F",
                "0",
            ],
            6,
        );
        if let Some((name, kind)) = Name::parse(&file) {
            assert_eq!(name.file(kind), file);
        }
    }
    target!(one);
}
