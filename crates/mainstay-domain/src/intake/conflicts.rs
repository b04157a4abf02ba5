//! Conflicts: an event that came again under its id with other content. The first one counts; what came after is shown.

use serde_json::Value;

use super::Blob;
use crate::{id::ReceiptId, time::Timestamp};

/// Other contents of one event that are told apart. Of further ones the requests are kept, and nothing else.
pub const CONFLICTS_MAX: i64 = 100;
/// Of so many of them the content itself is kept,
pub const CONTENTS_MAX: i64 = 5;
/// where it is no larger than this.
pub const CONTENT_BYTES_MAX: i64 = 256 * 1024;

/// Another content that came under an event's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The digest of the content.
    pub digest: [u8; 8],
    /// The request that brought it first.
    pub receipt: ReceiptId,
    /// When it came first.
    pub first_at: Timestamp,
    /// When it came last.
    pub last_at: Timestamp,
    /// How often it came.
    pub times: i64,
    /// Bytes of the content.
    pub payload_bytes: i64,
    /// The content, where it is kept.
    pub payload: Option<Blob>,
}

/// One place where two contents differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Where: a JSON pointer.
    pub pointer: String,
    /// What stands there in the one; none: nothing does.
    pub one: Option<Value>,
    /// What stands there in the other; none: nothing does.
    pub other: Option<Value>,
}

/// Where two contents differ, the first so many places, and whether there are more.
pub fn differences(one: &Value, other: &Value, max: usize) -> (Vec<Difference>, bool) {
    let mut found = Vec::new();
    compare(one, other, &mut String::new(), max + 1, &mut found);
    let more = found.len() > max;
    found.truncate(max);
    (found, more)
}

/// As deep as JSON could be read.
fn compare(one: &Value, other: &Value, at: &mut String, max: usize, found: &mut Vec<Difference>) {
    if found.len() >= max || one == other {
        return;
    }
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let token = name.replace('~', "~0").replace('/', "~1");
                part(one.get(name), other.get(name), &token, at, max, found);
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            for index in 0..one.len().max(other.len()) {
                let token = index.to_string();
                part(one.get(index), other.get(index), &token, at, max, found);
            }
        }
        _ => found.push(Difference {
            pointer: at.clone(),
            one: Some(one.clone()),
            other: Some(other.clone()),
        }),
    }
}

fn part(
    one: Option<&Value>,
    other: Option<&Value>,
    token: &str,
    at: &mut String,
    max: usize,
    found: &mut Vec<Difference>,
) {
    let length = at.len();
    at.push('/');
    at.push_str(token);
    match (one, other) {
        (Some(one), Some(other)) => compare(one, other, at, max, found),
        (one, other) if found.len() < max => found.push(Difference {
            pointer: at.clone(),
            one: one.cloned(),
            other: other.cloned(),
        }),
        _ => {}
    }
    at.truncate(length);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(one: &Value, other: &Value, max: usize) -> (Vec<String>, bool) {
        let (found, more) = differences(one, other, max);
        (found.into_iter().map(|one| one.pointer).collect(), more)
    }

    #[test]
    fn every_place_that_differs_is_named_once() {
        let one = json!({"id": 1, "items": [1, 2], "a/b": {"c": true}, "gone": null});
        let other = json!({"id": 2, "items": [1, 3, 4], "a/b": {"c": false}, "new": 1});
        let expected = ["/a~1b/c", "/gone", "/id", "/items/1", "/items/2", "/new"];
        let (found, more) = pointers(&one, &other, 10);
        assert_eq!(found, expected);
        assert!(!more);
    }

    #[test]
    fn the_same_differs_nowhere() {
        let one = json!({"a": [1, {"b": "c"}]});
        assert_eq!(pointers(&one, &one.clone(), 10), (Vec::new(), false));
    }

    #[test]
    fn of_many_differences_the_first_are_named_and_it_is_said_that_there_are_more() {
        let one = Value::from((0..1_000).collect::<Vec<_>>());
        let other = Value::from((1..1_001).collect::<Vec<_>>());
        let (found, more) = pointers(&one, &other, 3);
        assert_eq!(found, ["/0", "/1", "/2"]);
        assert!(more);
    }

    #[test]
    fn another_kind_of_value_is_one_difference() {
        let (found, _) = differences(&json!({"a": {"b": 1}}), &json!({"a": [1]}), 10);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].one, Some(json!({"b": 1})));
    }
}
