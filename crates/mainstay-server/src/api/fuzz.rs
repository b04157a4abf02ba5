//! Targets over what a caller of the API writes; see `mainstay-fuzz`.

use mainstay_fuzz::{Script, target};

use super::page::Cursor;
use crate::{http::extract::form_pairs, time::Time};

/// A cursor is one that we gave, or none.
#[test]
fn cursors() {
    fn one(script: &mut Script) {
        let text = match script.flag() {
            true => script.text(40),
            false => {
                const LETTERS: &[u8] =
                    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=";
                let count = *script.pick(&[32, 31, 33, 16, 0]);
                (0..count)
                    .map(|_| char::from(*script.pick(LETTERS)))
                    .collect()
            }
        };
        if let Ok(Some(cursor)) = Cursor::parse(Some(&text)) {
            assert_eq!(cursor.encode(), text);
        }
    }
    target!(one);
}

/// A time that was read is shown as the same time.
#[test]
fn times() {
    fn one(script: &mut Script) {
        let pieces = [
            "2024-02-29",
            "T",
            "t",
            " ",
            "23:59:60",
            "12:00:00",
            ".5",
            ".123456789",
            "Z",
            "+01:00",
            "-23:59",
            "[UTC]",
            "-009999",
        ];
        let text = script.pieces(&pieces, 6);
        if let Some(time) = Time::parse(&text) {
            assert_eq!(Time::parse(&time.to_string()), Some(time), "{text}");
        }
    }
    target!(one);
}

/// The pairs of a query string: each is what stands there, and no more than stand there.
#[test]
fn query_pairs() {
    fn one(script: &mut Script) {
        let text = script.pieces(
            &[
                "a", "=", "&", "%41", "%", "+", "%zz", "b[]", "hub.mode", "é", "%C3%A9",
            ],
            20,
        );
        let pairs = form_pairs(&text);
        assert!(pairs.len() <= text.split('&').count());
        for (name, value) in &pairs {
            assert!(name.len() + value.len() <= text.len() * 3, "{text}");
        }
    }
    target!(one);
}
