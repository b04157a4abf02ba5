//! JSON pointers (RFC 6901), followed in one pass without building the document.

use serde::{
    Deserialize, Serialize,
    de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{json, refusal::Refusal};

const SEGMENTS_MAX: usize = 16;

/// Where in a JSON body something stands, e.g. `/data/id` or `/items/0/id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JsonPointer {
    text: String,
    segments: Vec<String>,
}

impl JsonPointer {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The steps of the way, decoded.
    pub(super) fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The value that stands there; none when nothing or `null` does. A key that stands twice on the way is
    /// refused: readers would disagree which one counts.
    pub(super) fn find<'a>(&self, body: &'a str) -> Result<Option<&'a RawValue>, Refusal> {
        let mut reader = serde_json::Deserializer::from_str(body);
        let found = Seek(&self.segments)
            .deserialize(&mut reader)
            .and_then(|found| reader.end().map(|()| found))
            .map_err(|error| json::not_json(&error))?;
        Ok(found.filter(|raw| raw.get() != "null"))
    }
}

impl TryFrom<String> for JsonPointer {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("a JSON pointer begins with /");
        };
        let segments: Vec<String> = rest
            .split('/')
            .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
            .collect();
        if segments.len() > SEGMENTS_MAX || text.len() > 512 {
            return Err("a JSON pointer may have at most 16 steps and 512 bytes");
        }
        Ok(Self { text, segments })
    }
}

impl From<JsonPointer> for String {
    fn from(pointer: JsonPointer) -> Self {
        pointer.text
    }
}

struct Seek<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.0 {
            [] => <&RawValue>::deserialize(deserializer).map(Some),
            [step, rest @ ..] => deserializer.deserialize_any(Step { step, rest }),
        }
    }
}

struct Step<'p> {
    step: &'p str,
    rest: &'p [String],
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(here) = map.next_key_seed(Is(self.step))? {
            if !here {
                map.next_value::<IgnoredAny>()?;
            } else if found.is_some() {
                return Err(A::Error::custom("a key stands twice in one object"));
            } else {
                found = Some(map.next_value_seed(Seek(self.rest))?);
            }
        }
        Ok(found.flatten())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let at = index(self.step);
        let mut found = None;
        for index in 0.. {
            if Some(index) == at {
                match seq.next_element_seed(Seek(self.rest))? {
                    Some(value) => found = value,
                    None => break,
                }
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// The place in a list that a step names: digits, and no zeros before them (RFC 6901).
fn index(step: &str) -> Option<usize> {
    let plain = step == "0" || step.starts_with(|first: char| matches!(first, '1'..='9'));
    plain.then(|| step.parse().ok()).flatten()
}

/// Whether a key is this one.
struct Is<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(pointer: &str, body: &str) -> Result<Option<String>, Refusal> {
        let pointer = JsonPointer::try_from(pointer.to_owned()).expect("a pointer");
        let found = pointer.find(body)?;
        Ok(found.map(|raw| raw.get().to_owned()))
    }

    #[test]
    fn a_pointer_finds_what_stands_there() {
        let body = r#"{"a":{"b":[10,{"c/d":"x","~":true}]},"n":null,"":7,"é":1e999}"#;
        for (pointer, found) in [
            ("/a/b/0", Some("10")),
            ("/a/b/1/c~1d", Some("\"x\"")),
            ("/a/b/1/~0", Some("true")),
            ("/", Some("7")),
            ("/é", Some("1e999")),
            ("/n", None),
            ("/n/x", None),
            ("/a/b/2", None),
            ("/a/b/-", None),
            ("/a/b/+0", None),
            ("/a/b/00", None),
            ("/a/b/0/x", None),
            ("/missing", None),
        ] {
            assert_eq!(
                find(pointer, body),
                Ok(found.map(str::to_owned)),
                "{pointer}"
            );
        }
    }

    #[test]
    fn what_is_not_one_json_value_is_refused() {
        for body in [
            "",
            "{",
            "{}x",
            "{\"a\":1,\"a\":2}",
            "{\"a\":1,\"\\u0061\":2}",
            "[1,]",
        ] {
            assert!(find("/a", body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_pointer_must_begin_with_a_slash_and_end_somewhere() {
        for wrong in ["", "a", "a/b", &"/a".repeat(SEGMENTS_MAX + 1)] {
            assert!(JsonPointer::try_from(wrong.to_owned()).is_err());
        }
    }
}
