//! Standard Webhooks (and Svix): HMAC-SHA256 over `{id}.{timestamp}.{body}`, written `v1,<base64>`, or ed25519 over
//! the same, written `v1a,<base64>`.
//!
//! The signature header is a list separated by spaces and any entry may match; entries of other versions are
//! skipped, and which versions count is what the secrets say. The key is what the base64 after `whsec_` stands for; after
//! `whpk_` stands a public key of 32 bytes, after `whsk_` the private one, with or without the public one behind it.
//! Whop hands out secrets that begin with `ws_` (not base64: `_`) and uses their text as the key. Source: the
//! specification at standardwebhooks.com, the `standardwebhooks` and `svix` packages.

use std::sync::Arc;

use aws_lc_rs::{hmac, signature::Ed25519KeyPair};
use base64::Engine as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Verified,
    extracted::{self, Extracted, UNTYPED},
    header::{Request, SIGNATURES_MAX, timestamp},
    instant, json,
    key::Key,
    mac::{self, BASE64, Encoding, Mismatch},
    problem,
    refusal::Refusal,
};
use crate::intake::settings::SettingProblem;

const EXPECTED: &str =
    "v1,<base64 of 32 bytes> or v1a,<base64 of 64 bytes>, several separated by spaces";
/// Before an entry that is an HMAC.
pub(super) const V1: &str = "v1,";
/// Before an entry that is an ed25519 signature.
pub(super) const V1A: &str = "v1a,";

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

pub(super) fn key(secret: &str) -> Result<Key, SettingProblem> {
    if secret.starts_with("ws_") {
        return Ok(Key::Hmac(hmac::Key::new(
            hmac::HMAC_SHA256,
            secret.as_bytes(),
        )));
    }
    if let Some(encoded) = secret.strip_prefix("whpk_") {
        return decode(encoded)?
            .try_into()
            .map(Key::Ed25519)
            .map_err(|_| problem("secret", "must have 32 bytes in base64 after whpk_"));
    }
    if let Some(encoded) = secret.strip_prefix("whsk_") {
        return pair(&decode(encoded)?);
    }
    let bytes = decode(secret.strip_prefix("whsec_").unwrap_or(secret))?;
    if bytes.is_empty() {
        return Err(problem("secret", "has nothing after whsec_"));
    }
    Ok(Key::Hmac(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
}

fn decode(encoded: &str) -> Result<Vec<u8>, SettingProblem> {
    BASE64
        .decode(encoded)
        .map_err(|_| problem("secret", "must be whsec_ or whpk_ and then base64"))
}

fn pair(bytes: &[u8]) -> Result<Key, SettingProblem> {
    let pair = match bytes.split_at_checked(32) {
        Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
        Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
        None => Ed25519KeyPair::from_seed_unchecked(bytes),
    };
    pair.map(|pair| Key::Ed25519Pair(Arc::new(pair)))
        .map_err(|_| problem("secret", "is not an ed25519 key after whsk_"))
}

/// A source needs what verifies; whoever has the other half could sign in the provider's name.
pub(super) fn check_source_secret(secret: &str) -> Result<(), SettingProblem> {
    if secret.starts_with("whsk_") {
        return Err(problem(
            "secret",
            "is the provider's private key; what is needed is the public one, which begins with whpk_",
        ));
    }
    Ok(())
}

pub(super) fn verify(keys: &[Key], request: &Request<'_>) -> Result<Verified, Refusal> {
    let signature = Signature::of(request)?;
    let signed_at = timestamp(signature.time, signature.names.timestamp)?;
    let entries = signature.list.split(' ');
    let malformed = || Refusal::SignatureMalformed {
        header: signature.names.signature.into(),
        expected: EXPECTED.into(),
    };
    if entries.clone().count() > SIGNATURES_MAX {
        return Err(malformed());
    }
    let signed = signed(signature.id, signature.time, request.body);
    let symmetric = entries.clone().filter_map(|entry| entry.strip_prefix(V1));
    let matched =
        mac::matching(keys, signed.into_iter(), Encoding::Base64, symmetric).or_else(|first| {
            let asymmetric = entries.filter_map(|entry| entry.strip_prefix(V1A));
            ed25519_matching(keys, &signed, asymmetric).map_err(|second| match (first, second) {
                (Mismatch::Unreadable, Mismatch::Unreadable) => malformed(),
                _ => Refusal::SignatureWrong,
            })
        });
    matched.map(|secret_index| Verified {
        secret_index,
        signed_at: Some(signed_at),
    })
}

/// Which ed25519 key made one of the candidates.
fn ed25519_matching<'a>(
    keys: &[Key],
    signed: &[&[u8]],
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> Result<usize, Mismatch> {
    let mut buffer = [0; mac::TEXT_BYTES_MAX];
    let readable = |text: &str, buffer: &mut [u8; mac::TEXT_BYTES_MAX]| {
        let bytes = Encoding::Base64.decode(text, buffer)?;
        <[u8; 64]>::try_from(bytes).ok()
    };
    if !candidates
        .clone()
        .any(|text| readable(text, &mut buffer).is_some())
    {
        return Err(Mismatch::Unreadable);
    }
    // Copies the body, which the other version does not need to.
    let message = match keys.iter().any(Key::is_ed25519) {
        true => signed.concat(),
        false => return Err(Mismatch::Wrong),
    };
    keys.iter()
        .position(|key| {
            key.is_ed25519()
                && candidates
                    .clone()
                    .filter_map(|text| readable(text, &mut buffer))
                    .any(|signature| key.ed25519_made(&message, &signature))
        })
        .ok_or(Mismatch::Wrong)
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
