//! Targets over what intake reads and keeps; see `mainstay-fuzz`.

use bytes::Bytes;
use mainstay_domain::intake::{Blob, settings::BODY_LIMIT_BYTES_MAX};
use mainstay_fuzz::{Script, target};
use serde_json::Value;

use super::{
    blob::{compress, decompress, headers_kept},
    filter::{Filter, Filtered, Parts, Subject},
    schema::{Checked, PROBLEMS_MAX, Schema},
};

const WORDS: [&str; 8] = ["a", "b", "id", "amount", "list", "type", "name", "eur"];
/// The language of filters, what it leaves out, and what stands in the events.
const CEL: [&str; 64] = [
    "body",
    "type",
    "source",
    "id",
    "headers",
    ".a",
    ".b",
    ".amount",
    ".list",
    "['a']",
    "[0]",
    "[-1]",
    " == ",
    " != ",
    " < ",
    " <= ",
    " > ",
    " >= ",
    " && ",
    " || ",
    "!",
    "-",
    "(",
    ")",
    "[",
    "]",
    ",",
    " in ",
    " ? ",
    " : ",
    "1",
    "1u",
    "1.5",
    "9223372036854775807",
    "-9223372036854775808",
    "1e999",
    "'eur'",
    "\"x\"",
    "b'x'",
    "r'\\'",
    "true",
    "false",
    "null",
    "size(",
    ".size()",
    ".contains('e')",
    ".startsWith(",
    ".endsWith('r')",
    "int(",
    "double(",
    "string(",
    "has(body.a)",
    ".exists(x, ",
    ".all(x, ",
    "x",
    "x.id",
    ".map(x, x)",
    ".filter(x, ",
    " + ",
    "{'a': 1}",
    "dyn(",
    ".matches('(a*)*b')",
    "duration('1s')",
    "\n",
];

fn said(text: &str, subject: &Subject) -> Option<Filtered> {
    Some(Filter::new(text).ok()?.evaluate(subject))
}

/// A filter is read or refused, and says of every event the same each time and the opposite when it is turned round.
#[test]
fn filters() {
    fn one(script: &mut Script) {
        let text = match script.byte() {
            0..=15 => script.text(200),
            16..=191 => {
                // One comparison, whole or joined to another.
                let field = |script: &mut Script| {
                    let name = script.word(&[
                        "body",
                        "body.a",
                        "body.list",
                        "body.a.b",
                        "type",
                        "headers",
                        "id",
                    ]);
                    format!(
                        "{name}{}",
                        script.word(&["", ".id", "[0]", ".size()", "['amount']", ".list[1]"])
                    )
                };
                let each = script.pieces(&["x", " == ", "1", ".id", "'eur'", " || ", "x.a > 1"], 5);
                let left = match script.byte() {
                    0..=63 => format!("{}.exists(x, {each})", field(script)),
                    64..=127 => format!("{}.all(x, {each})", field(script)),
                    _ => field(script),
                };
                format!(
                    "{left}{}{}",
                    script.word(&CEL[12..22]),
                    script.pieces(&CEL, 3)
                )
            }
            _ => script.pieces(&CEL, 30),
        };
        let headers = serde_json::Map::from_iter([("x-a".to_owned(), Value::from("eur"))]);
        let body = script.json(&WORDS);
        let subject = Subject::new(&Parts {
            kind: "invoice.paid",
            source: "stripe",
            provider_id: "evt_1",
            payload: body.as_bytes(),
            headers: &headers,
        });
        let Some(first) = said(&text, &subject) else {
            return;
        };
        assert_eq!(
            said(&text, &subject).as_ref(),
            Some(&first),
            "the same each time: {text}"
        );
        let turned = match said(&format!("!({text})"), &subject) {
            Some(Filtered::Passed) => Filtered::Held,
            Some(Filtered::Held) => Filtered::Passed,
            // One part or one level more can be one too many.
            Some(Filtered::Failed(_)) | None => return,
        };
        assert_eq!(turned, first, "turned round: {text} of {body}");
        if let Some(joined) = said(&format!("({text}) && true"), &subject) {
            assert_eq!(joined, first, "with true beside it: {text}");
        }
    }
    target!(one, iterations = 1_000);
}

/// Whatever a frame says of itself, as much comes out as a body may have, and what was kept comes back.
#[test]
fn kept_bodies() {
    fn one(script: &mut Script) {
        let body = match script.byte() {
            0..=95 => Bytes::from(script.json(&WORDS)),
            96..=159 => Bytes::from(script.text(40).repeat(script.below(2_000))),
            _ => Bytes::copy_from_slice(script.bytes(600)),
        };
        let kept = compress(&body);
        assert!(kept.bytes.len() <= body.len());
        assert_eq!(decompress(&kept).expect("what was kept can be read"), body);
        let mut bytes = if kept.zstd {
            kept.bytes.to_vec()
        } else {
            script.rest().to_vec()
        };
        for _ in 0..script.below(4) {
            script.edit(&mut bytes);
        }
        if let Ok(read) = decompress(&Blob {
            zstd: true,
            bytes: bytes.into(),
        }) {
            assert!(read.len() <= BODY_LIMIT_BYTES_MAX * 2);
        }
    }
    target!(one);
}

/// The sender's credentials are kept nowhere, whatever stands beside them.
#[test]
fn kept_headers() {
    fn one(script: &mut Script) {
        const NAMES: [&str; 7] = [
            "authorization",
            "cookie",
            "x-api-key",
            "x-token",
            "accept",
            "via",
            "proxy-authorization",
        ];
        let headers: Vec<(String, Vec<u8>)> = (0..script.below(12))
            .map(|_| (script.word(&NAMES).to_owned(), script.bytes(12).to_vec()))
            .collect();
        let kept = headers_kept(&headers, Some("X-Token"));
        for name in [
            "authorization",
            "cookie",
            "x-api-key",
            "x-token",
            "proxy-authorization",
        ] {
            assert!(!kept.contains_key(name));
        }
        for name in ["accept", "via"] {
            let values: Vec<_> = headers
                .iter()
                .filter(|(own, _)| own == name)
                .map(|(_, value)| String::from_utf8_lossy(value))
                .collect();
            let joined = (!values.is_empty()).then(|| values.join(", "));
            assert_eq!(
                kept.get(name).and_then(Value::as_str).map(str::to_owned),
                joined
            );
        }
    }
    target!(one);
}

/// A schema is taken or refused, and what it says of a payload is bounded.
#[test]
fn schemas() {
    fn one(script: &mut Script) {
        const KEYWORDS: [&str; 20] = [
            "type",
            "properties",
            "required",
            "items",
            "enum",
            "const",
            "pattern",
            "minimum",
            "maxLength",
            "anyOf",
            "allOf",
            "not",
            "$ref",
            "$defs",
            "#/$defs/a",
            "object",
            "string",
            "(a*)*b",
            "additionalProperties",
            "format",
        ];
        let text = script.json(&KEYWORDS);
        let Ok(schema) = Schema::parse(&text) else {
            return;
        };
        let payload = script.json(&["type", "properties", "a", "object"]);
        if let Checked::Violates { problems, .. } = schema.check(payload.as_bytes()) {
            assert!(
                (1..=PROBLEMS_MAX).contains(&problems.len()),
                "{text} {payload}"
            );
        }
    }
    target!(one, iterations = 1_000);
}
