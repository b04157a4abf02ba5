//! Stripe: `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=…]`, HMAC-SHA256 over `{t}.{body}`.
//!
//! The key is the whole secret as text, `whsec_` included. While a secret is rolled both sign, so any `v1` may
//! match; `v0` is for test events of long ago and ignored. Source: the `stripe` package's own verification and
//! docs.stripe.com/webhooks. Unlike the package, a time in the future is refused too.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Verified,
    extracted::{self, Extracted},
    header::{Fields, Request, SIGNATURES_MAX, timestamp},
    instant, json,
    key::Key,
    mac::{self, Encoding, Mismatch},
    refusal::Refusal,
};

pub(super) const HEADER: &str = "Stripe-Signature";
const EXPECTED: &str = "t=<seconds>,v1=<64 hexadecimal digits>";

pub(super) fn verify(keys: &[Key], request: &Request<'_>) -> Result<Verified, Refusal> {
    let fields = fields(request)?;
    let time = fields.time("t", HEADER)?;
    let signed_at = timestamp(time, HEADER)?;
    let signatures = fields.all("v1");
    let malformed = || Refusal::SignatureMalformed {
        header: HEADER.into(),
        expected: EXPECTED.into(),
    };
    if signatures.clone().count() > SIGNATURES_MAX {
        return Err(malformed());
    }
    let signed = signed(time, request.body);
    mac::matching(keys, signed.into_iter(), Encoding::Hex, signatures)
        .map(|secret_index| Verified {
            secret_index,
            signed_at: Some(signed_at),
        })
        .map_err(|mismatch| match mismatch {
            Mismatch::Unreadable => malformed(),
            Mismatch::Wrong => Refusal::SignatureWrong,
        })
}

pub(super) fn claimed_time(request: &Request<'_>) -> Option<i64> {
    let time = fields(request).ok()?.time("t", HEADER).ok()?;
    timestamp(time, HEADER).ok()
}

pub(super) fn signed<'a>(time: &'a str, body: &'a [u8]) -> [&'a [u8]; 3] {
    [time.as_bytes(), b".", body]
}

fn fields<'a>(request: &Request<'a>) -> Result<Fields<'a>, Refusal> {
    let text = request.text(HEADER)?.ok_or(Refusal::SignatureMissing {
        header: HEADER.into(),
    })?;
    Ok(Fields {
        text,
        separator: ',',
    })
}

/// What is read of an event; the object inside, nearly all of the bytes, is skipped.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
}

pub(super) fn extract(request: &Request<'_>) -> Result<Extracted, Refusal> {
    let event: Event<'_> = json::object(request.body)?;
    let provider_id = json::provider_id(event.id, "id")?;
    let kind = event
        .kind
        .and_then(json::string)
        .and_then(|text| extracted::kind(&text))
        .ok_or_else(|| Refusal::body("has no member type that is an event type"))?;
    let occurred_at = event.created.map(created).transpose()?;
    Ok(Extracted::whole(provider_id, kind, occurred_at))
}

/// Seconds in snapshot events, RFC 3339 in thin ones.
fn created(raw: &RawValue) -> Result<i64, Refusal> {
    let micros = match json::string(raw) {
        Some(text) => instant::rfc3339_micros(&text),
        None => timestamp(raw.get(), "created")
            .ok()
            .map(|secs| secs * 1_000_000),
    };
    micros.ok_or_else(|| Refusal::body("has a member created that is not a time"))
}
