//! Reading JSON that a stranger may have written: only what is needed, borrowed, and never the same key twice.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{extracted, refusal::Refusal};

/// The body as text. `serde_json` does not look at the bytes of strings that it skips, so this does.
pub(super) fn text(body: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(body).map_err(|_| Refusal::body("is not UTF-8"))
}

/// Reads the body as a JSON object of known members; the others are skipped.
pub(super) fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    let text = text(body)?;
    // A derived struct would also take an array of its fields' values in order.
    if !text.trim_start().starts_with('{') {
        return Err(Refusal::body("is not a JSON object"));
    }
    serde_json::from_str(text).map_err(|error| not_json(&error))
}

/// The refusal of a body that is not the JSON it should be. The parser's words can quote the body: cut short.
pub(super) fn not_json(error: &serde_json::Error) -> Refusal {
    let words: String = error.to_string().chars().take(200).collect();
    Refusal::body(format!("is not the JSON it should be: {words}"))
}

/// The text of a JSON string; none for anything else, and for escapes that stand for no character.
pub(super) fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(raw.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// The id that stands at `place`, which must be a string.
pub(super) fn provider_id(raw: Option<&RawValue>, place: &'static str) -> Result<String, Refusal> {
    let Some(raw) = raw else {
        return Err(Refusal::ProviderIdMissing {
            place: place.into(),
        });
    };
    let text = string(raw).ok_or(Refusal::ProviderIdMalformed {
        place: place.into(),
        problem: "is not a string",
    })?;
    extracted::provider_id(&text, place)
}

/// The members of a JSON object, in order, each key once.
#[derive(Debug)]
pub(super) struct Members<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads an object; none when the value is of another type.
    pub(super) fn of(raw: &'a RawValue) -> Result<Option<Self>, Refusal> {
        if !raw.get().starts_with('{') {
            return Ok(None);
        }
        serde_json::from_str(raw.get())
            .map(Some)
            .map_err(|error| not_json(&error))
    }

    /// The value of a member; `null` counts as missing.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        (value.get() != "null").then_some(*value)
    }

    /// The text of a member that is a string.
    pub(super) fn string(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(string)
    }

    /// The elements of a member that is a list; an absent one is empty.
    pub(super) fn list(&self, name: &str) -> Result<Vec<&'a RawValue>, Refusal> {
        let Some(raw) = self.get(name) else {
            return Ok(Vec::new());
        };
        serde_json::from_str(raw.get())
            .map_err(|_| Refusal::body(format!("has a member {name} that is not a list")))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    members.push((key.0, map.next_value()?));
                }
                let mut keys: Vec<&str> = members.iter().map(|(key, _)| key.as_ref()).collect();
                keys.sort_unstable();
                if keys.windows(2).any(|pair| pair[0] == pair[1]) {
                    return Err(A::Error::custom("a key stands twice in one object"));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// A key, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).expect("valid JSON")
    }

    #[test]
    fn a_string_is_read_with_its_escapes_and_nothing_else_is_a_string() {
        assert_eq!(string(raw(r#""plain""#)).as_deref(), Some("plain"));
        assert_eq!(string(raw(r#""\u00e9\n""#)).as_deref(), Some("é\n"));
        for other in ["1", "null", "{}", "[\"a\"]", r#""\ud800""#] {
            assert_eq!(string(raw(other)), None, "{other}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_even_when_escaped_differently() {
        assert!(Members::of(raw(r#"{"a":1,"b":2}"#)).is_ok());
        assert!(Members::of(raw(r#"{"a":1,"\u0061":2}"#)).is_err());
        assert!(Members::of(raw("[]")).expect("no object").is_none());
    }

    #[test]
    fn a_list_in_place_of_an_object_is_refused() {
        #[derive(Debug, Deserialize)]
        struct One {
            #[expect(dead_code, reason = "only parsed")]
            id: u8,
        }
        assert!(object::<One>(b"[1]").is_err());
        assert!(object::<One>(b" {\"id\":1}").is_ok());
        assert!(object::<One>(b"\xef\xbb\xbf{\"id\":1}").is_err());
        assert!(object::<One>(b"{\"x\":\"\xff\",\"id\":1}").is_err());
    }
}
