//! Where the id, the type and the time of an event stand, where a rule says so instead of code.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    extracted::{self, UNTYPED},
    header::Request,
    instant, json,
    pointer::JsonPointer,
    refusal::Refusal,
};

/// Where an event's id stands. In JSON `{"header":"X-Id"}`, `{"pointer":"/id"}` or `"digest"`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdFrom {
    /// In a header.
    Header(String),
    /// In the body: a string or a whole number.
    Pointer(JsonPointer),
    /// Nowhere: the body's digest is the id, and equal bodies are one event.
    #[default]
    Digest,
}

/// Where an event's type stands. In JSON like [`IdFrom`], or `{"fixed":"order.changed"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KindFrom {
    /// In a header.
    Header(String),
    /// In the body.
    Pointer(JsonPointer),
    /// Every event has this one.
    Fixed(String),
}

/// Where it stands when an event happened: RFC 3339, or seconds or milliseconds since 1970. In JSON like [`IdFrom`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFrom {
    /// In a header.
    Header(String),
    /// In the body.
    Pointer(JsonPointer),
}

/// The three places, borrowed from the rule that names them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'r> {
    pub(super) id: &'r IdFrom,
    pub(super) kind: Option<&'r KindFrom>,
    pub(super) occurred_at: Option<&'r TimeFrom>,
}

impl Reading<'_> {
    /// The id; none where the request has none.
    pub(super) fn id(&self, request: &Request<'_>) -> Result<Option<String>, Refusal> {
        match self.id {
            IdFrom::Digest => Ok(None),
            IdFrom::Header(name) => {
                let text = request.text(name)?;
                text.map(|text| extracted::provider_id(text, name))
                    .transpose()
            }
            IdFrom::Pointer(pointer) => {
                let found = pointer.find(json::text(request.body)?)?;
                found.map(|raw| id_in_body(raw, pointer)).transpose()
            }
        }
    }

    /// The type, or [`UNTYPED`].
    pub(super) fn kind(&self, request: &Request<'_>) -> Result<String, Refusal> {
        let kind = match self.kind {
            None => None,
            Some(KindFrom::Fixed(kind)) => Some(kind.clone()),
            Some(KindFrom::Header(name)) => request.text(name)?.and_then(extracted::kind),
            Some(KindFrom::Pointer(pointer)) => pointer
                .find(json::text(request.body)?)?
                .and_then(json::string)
                .and_then(|text| extracted::kind(&text)),
        };
        Ok(kind.unwrap_or_else(|| UNTYPED.to_owned()))
    }

    /// The time; none where nothing stands that is one. It decides nothing, so it refuses nothing.
    pub(super) fn occurred_at(&self, request: &Request<'_>) -> Result<Option<i64>, Refusal> {
        Ok(match self.occurred_at {
            None => None,
            Some(TimeFrom::Header(name)) => request.text(name)?.and_then(micros),
            Some(TimeFrom::Pointer(pointer)) => {
                let found = pointer.find(json::text(request.body)?)?;
                found.and_then(|raw| match json::string(raw) {
                    Some(text) => micros(&text),
                    None => micros(raw.get()),
                })
            }
        })
    }

    /// What headers say of the occasion, for the second key to deduplicate by: the same body under another type, or
    /// of another time, is another event (Shopify's `orders/paid` and `orders/updated` carry the same order).
    pub(super) fn occasion<'a>(&self, request: &Request<'a>) -> Result<Vec<&'a [u8]>, Refusal> {
        let mut names = Vec::new();
        if let Some(KindFrom::Header(name)) = self.kind {
            names.push(name);
        }
        if let Some(TimeFrom::Header(name)) = self.occurred_at {
            names.push(name);
        }
        let mut parts = Vec::new();
        for name in names {
            parts.push(b"\0".as_slice());
            parts.push(request.text(name)?.unwrap_or_default().as_bytes());
        }
        Ok(parts)
    }
}

fn micros(text: &str) -> Option<i64> {
    instant::rfc3339_micros(text).or_else(|| instant::unix_micros(text))
}

/// A string, or a whole number as it is written: a large one would lose digits as a number.
fn id_in_body(raw: &RawValue, pointer: &JsonPointer) -> Result<String, Refusal> {
    let digits = raw.get().strip_prefix('-').unwrap_or(raw.get());
    let whole_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    match json::string(raw) {
        Some(text) => extracted::provider_id(&text, pointer.as_str()),
        None if whole_number => extracted::provider_id(raw.get(), pointer.as_str()),
        None => Err(Refusal::ProviderIdMalformed {
            place: pointer.as_str().to_owned().into(),
            problem: "is neither a string nor a whole number",
        }),
    }
}
