//! Targets over files that somebody may have changed; see `mainstay-fuzz`.

use std::sync::LazyLock;

use mainstay_fuzz::{Script, target};

use super::tests::{file, verified};

/// A file in which anything but the time of its end was changed does not hold.
#[test]
fn exports() {
    fn one(script: &mut Script) {
        static WHOLE: LazyLock<[Vec<u8>; 3]> =
            LazyLock::new(|| [file(3, 0), file(5, 3), file(0, 0)]);
        let whole = script.pick(&*WHOLE);
        let mut lines: Vec<Vec<u8>> = whole
            .split_inclusive(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        for _ in 0..=script.below(3) {
            let (at, other) = (script.below(lines.len()), script.below(lines.len()));
            match script.byte() {
                0..=127 => script.edit(&mut lines[at]),
                128..=159 => lines.swap(at, other),
                160..=191 if lines.len() > 1 => drop(lines.remove(at)),
                192..=223 => {
                    let copy = lines[other].clone();
                    lines.insert(at, copy);
                }
                _ => {
                    let line = script.json(&[
                        "head",
                        "position",
                        "hash",
                        "sealed_at",
                        "mainstay_audit",
                        "after",
                        "previous",
                    ]);
                    lines[at] = [line.as_bytes(), b"\n"].concat();
                }
            }
        }
        let changed = lines.concat();
        let Ok(found) = verified(&changed) else {
            return;
        };
        // What still holds is the same chain, or the whole of an empty one.
        let before = verified(whole).expect("what was exported holds");
        if (found.after, found.head.position, &found.head.hash)
            == (before.after, before.head.position, &before.head.hash)
        {
            let told = |file: &[u8]| {
                String::from_utf8_lossy(file)
                    .split("\"sealed_at\"")
                    .next()
                    .map(str::to_owned)
            };
            let last = |file: &[u8]| {
                file.split_inclusive(|byte| *byte == b'\n')
                    .next_back()
                    .map(told)
            };
            let front = |file: &[u8]| {
                file.len()
                    - file
                        .split_inclusive(|byte| *byte == b'\n')
                        .next_back()
                        .map_or(0, <[u8]>::len)
            };
            assert_eq!(
                changed[..front(&changed)],
                whole[..front(whole)],
                "{}",
                String::from_utf8_lossy(&changed)
            );
            assert_eq!(last(&changed), last(whole));
        } else {
            assert_eq!(
                found.after,
                found.head.position,
                "{}",
                String::from_utf8_lossy(&changed)
            );
        }
    }
    target!(one, bytes = 512);
}
