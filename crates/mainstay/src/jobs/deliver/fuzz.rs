//! What an endpoint answers; see `mainstay-fuzz`.

use bytes::Bytes;
use mainstay_fuzz::{Script, target};

use super::*;

/// No answer of an endpoint's makes a wait that is negative or without end.
#[test]
fn retry_after() {
    fn one(script: &mut Script) {
        let pieces = [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "120",
            "4294967295",
            "-1",
            "9999",
            "Mon",
            ", ",
            " ",
            "Dec",
            "GMT",
            ":59",
            "0",
        ];
        let value = script.pieces(&pieces, 6);
        let now_secs = match script.flag() {
            true => 784_111_777,
            false => script.number() % 253_402_300_800,
        };
        let answer = OutAnswer {
            status: *script.pick(&[200, 301, 400, 401, 404, 410, 429, 500, 503, 599]),
            headers: vec![("Retry-After".to_owned(), value.clone())],
            excerpt: Bytes::copy_from_slice(script.bytes(40)),
        };
        let wait = retry_after_ms(&answer, now_secs);
        if let Some(wait) = wait {
            // The year 9999 is the last that a date can name.
            assert!(
                (0..=253_402_300_800_i64 * 2 * 1_000).contains(&wait),
                "{value}"
            );
        }
        if let Ok(secs) = value.trim().parse::<u32>() {
            assert_eq!(wait, Some(i64::from(secs) * 1_000));
        }
        drop(judge(&answer, &serde_json::json!({}), now_secs));
    }
    target!(one);
}
