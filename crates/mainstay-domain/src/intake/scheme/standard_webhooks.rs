//! Standard Webhooks (and Svix): HMAC-SHA256 over `{id}.{timestamp}.{body}`, written `v1,<base64>`.
//!
//! The signature header is a list separated by spaces, any entry may match, and entries of other versions
//! (`v1a`, asymmetric) are skipped. The key is what the base64 after `whsec_` stands for; Whop hands out secrets
//! that begin with `ws_` (not base64: `_`) and uses their text as the key. Source: the specification at
//! standardwebhooks.com, the `standardwebhooks` and `svix` packages.

use aws_lc_rs::hmac;
use base64::Engine as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Verified,
    extracted::{self, Extracted, UNTYPED},
    header::{Request, SIGNATURES_MAX, timestamp},
    instant, json,
    mac::{self, BASE64, Encoding, Mismatch},
    problem,
    refusal::Refusal,
};
use crate::intake::settings::SettingProblem;

const EXPECTED: &str = "v1,<base64 of 32 bytes>, several separated by spaces";

/// The three headers under one prefix; those of two prefixes are never mixed.
struct Names {
    id: &'static str,
    timestamp: &'static str,
    signature: &'static str,
}

const STANDARD: Names = Names {
    id: "webhook-id",
    timestamp: "webhook-timestamp",
    signature: "webhook-signature",
};
const SVIX: Names = Names {
    id: "svix-id",
    timestamp: "svix-timestamp",
    signature: "svix-signature",
};

struct Signature<'a> {
    names: &'static Names,
    id: &'a str,
    time: &'a str,
    list: &'a str,
}

impl<'a> Signature<'a> {
    fn of(request: &Request<'a>) -> Result<Self, Refusal> {
        let (names, list) = match request.text(STANDARD.signature)? {
            Some(list) => (&STANDARD, list),
            None => match request.text(SVIX.signature)? {
                Some(list) => (&SVIX, list),
                None => {
                    return Err(Refusal::SignatureMissing {
                        header: STANDARD.signature.into(),
                    });
                }
            },
        };
        let id = request.text(names.id)?.ok_or(Refusal::ProviderIdMissing {
            place: names.id.into(),
        })?;
        let time = request
            .text(names.timestamp)?
            .ok_or(Refusal::TimestampMissing {
                header: names.timestamp.into(),
            })?;
        Ok(Self {
            names,
            id,
            time,
            list,
        })
    }
}

pub(super) fn key(secret: &str) -> Result<hmac::Key, SettingProblem> {
    if secret.starts_with("ws_") {
        return Ok(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
    }
    if ["whsk_", "whpk_"]
        .iter()
        .any(|prefix| secret.starts_with(prefix))
    {
        return Err(problem(
            "secret",
            "is an asymmetric key; what is needed is a secret that begins with whsec_",
        ));
    }
    let encoded = secret.strip_prefix("whsec_").unwrap_or(secret);
    let bytes = BASE64
        .decode(encoded)
        .map_err(|_| problem("secret", "must be whsec_ and then base64"))?;
    if bytes.is_empty() {
        return Err(problem("secret", "has nothing after whsec_"));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

pub(super) fn verify(keys: &[hmac::Key], request: &Request<'_>) -> Result<Verified, Refusal> {
    let signature = Signature::of(request)?;
    let signed_at = timestamp(signature.time, signature.names.timestamp)?;
    let signatures = signature
        .list
        .split(' ')
        .filter_map(|entry| entry.strip_prefix("v1,"));
    let malformed = || Refusal::SignatureMalformed {
        header: signature.names.signature.into(),
        expected: EXPECTED.into(),
    };
    if signatures.clone().count() > SIGNATURES_MAX {
        return Err(malformed());
    }
    let signed = signed(signature.id, signature.time, request.body);
    mac::matching(keys, signed.into_iter(), Encoding::Base64, signatures)
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
    let signature = Signature::of(request).ok()?;
    timestamp(signature.time, signature.names.timestamp).ok()
}

pub(super) fn signed<'a>(id: &'a str, time: &'a str, body: &'a [u8]) -> [&'a [u8]; 5] {
    [id.as_bytes(), b".", time.as_bytes(), b".", body]
}

/// What the specification recommends for payloads. Neither member is required; a JSON object is.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
}

pub(super) fn extract(request: &Request<'_>) -> Result<Extracted, Refusal> {
    let signature = Signature::of(request)?;
    let provider_id = extracted::provider_id(signature.id, signature.names.id)?;
    let event: Event<'_> = json::object(request.body)?;
    let kind = event
        .kind
        .and_then(json::string)
        .and_then(|text| extracted::kind(&text));
    let occurred_at = event
        .timestamp
        .and_then(json::string)
        .and_then(|text| instant::rfc3339_micros(&text));
    Ok(Extracted::whole(
        provider_id,
        kind.unwrap_or_else(|| UNTYPED.to_owned()),
        occurred_at,
    ))
}
