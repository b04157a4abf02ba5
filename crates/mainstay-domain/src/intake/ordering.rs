//! Which jobs of a binding keep an order: by a key that the event's body holds.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::jobs::{
    JobOrder,
    line::{KEY_BYTES_MAX, OnDead},
};

/// Characters of a pointer.
pub const POINTER_CHARS_MAX: usize = 200;
/// Bytes of a long key that stand before its digest.
const KEPT_BYTES: usize = 100;

/// The ordering of a binding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordering {
    /// Where the key stands in the event's body: a JSON pointer (RFC 6901), e.g. `/data/object/customer`.
    pub key: String,
    /// Where it stands when it does not stand there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// What becomes of a key whose job ends as a dead letter.
    #[serde(default)]
    pub on_dead: OnDead,
}

impl Ordering {
    /// The order that the job of an event with this body keeps; none where the key stands nowhere.
    pub fn of(&self, body: &Value) -> Option<JobOrder> {
        let pointers = [Some(&self.key), self.fallback.as_ref()];
        let mut found = pointers
            .into_iter()
            .flatten()
            .filter_map(|pointer| text_of(body.pointer(pointer)?));
        Some(JobOrder {
            key: key_of(&found.next()?),
            on_dead: self.on_dead,
        })
    }
}

/// Whether this is a JSON pointer to something in a body, and not too long.
pub fn is_pointer(text: &str) -> bool {
    let mut escapes = text.split('~').skip(1);
    text.starts_with('/')
        && text.chars().count() <= POINTER_CHARS_MAX
        && !text.contains('\0')
        && escapes.all(|after| after.starts_with(['0', '1']))
}

/// A text, a number or a flag; nothing else is a key.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// The key as it is kept: itself where it is short and plain, else its beginning and a digest of all of it.
pub fn key_of(text: &str) -> String {
    if text.len() <= KEY_BYTES_MAX && !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    let mut kept = String::with_capacity(KEY_BYTES_MAX);
    for c in text.chars().filter(|c| !c.is_control()) {
        if kept.len() + c.len_utf8() > KEPT_BYTES {
            break;
        }
        kept.push(c);
    }
    kept.push('~');
    for byte in digest(&SHA256, text.as_bytes()).as_ref() {
        // A String takes whatever is written.
        let _ = write!(kept, "{byte:02x}");
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn ordering() -> Ordering {
        Ordering {
            key: "/data/object/customer".into(),
            fallback: Some("/data/object/id".into()),
            on_dead: OnDead::Park,
        }
    }

    fn key(body: &Value) -> Option<String> {
        ordering().of(body).map(|order| order.key)
    }

    #[test]
    fn the_key_stands_where_the_pointer_says_or_else_where_the_fallback_says() {
        let both = json!({"data": {"object": {"customer": "cus_1", "id": "in_1"}}});
        assert_eq!(key(&both).as_deref(), Some("cus_1"));
        let one = json!({"data": {"object": {"customer": null, "id": 17}}});
        assert_eq!(key(&one).as_deref(), Some("17"));
        for none in [
            json!({}),
            json!({"data": {"object": {"id": {}}}}),
            json!([]),
        ] {
            assert_eq!(key(&none), None, "{none}");
        }
    }

    #[test]
    fn pointers_are_checked() {
        for fine in ["/a", "/a/0/b", "/a~1b/~0", "/"] {
            assert!(is_pointer(fine), "{fine}");
        }
        let long = format!("/{}", "x".repeat(POINTER_CHARS_MAX));
        for wrong in ["", "a", "/a~2", "/a~", "/\0", &long] {
            assert!(!is_pointer(wrong), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_bounded_plain_and_its_own(one in "\\PC{0,90}|.{0,300}", other in "\\PC{0,90}|.{0,300}") {
            let (a, b) = (key_of(&one), key_of(&other));
            prop_assert!(a.len() <= KEY_BYTES_MAX);
            prop_assert!(!a.chars().any(char::is_control));
            prop_assert_eq!(a == b, one == other);
        }
    }
}
