//! GitHub: `X-Hub-Signature-256: sha256=<hex>`, HMAC-SHA256 over the body with the secret as text.
//!
//! Nothing but the body is signed: neither a time nor `X-GitHub-Delivery` (the id, which stays the same when a
//! person redelivers) nor `X-GitHub-Event`. So whoever once saw a request could send it again under another id,
//! and a digest of the body is a second key to deduplicate by. Meta signs in the same way. Source:
//! docs.github.com, "Validating webhook deliveries".
//!
//! GitHub's default content type is a form whose field `payload` is the JSON. The signature covers the form as it
//! is sent; the event is the JSON inside, so that whoever handles it need not know how the webhook was set up.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Verified,
    extracted::{self, Extracted, Payload},
    form,
    header::Request,
    json,
    key::Key,
    mac::{self, Encoding, Mismatch},
    refusal::Refusal,
};

pub(super) const HEADER: &str = "X-Hub-Signature-256";
pub(super) const DELIVERY: &str = "X-GitHub-Delivery";
pub(super) const EVENT: &str = "X-GitHub-Event";
pub(super) const PREFIX: &str = "sha256=";
/// The field of the form.
const FIELD: &str = "payload";
const ACTION_BYTES_MAX: usize = 100;

pub(super) fn verify(keys: &[Key], request: &Request<'_>) -> Result<Verified, Refusal> {
    let text = request.text(HEADER)?.ok_or(Refusal::SignatureMissing {
        header: HEADER.into(),
    })?;
    let malformed = || Refusal::SignatureMalformed {
        header: HEADER.into(),
        expected: "sha256=<64 hexadecimal digits>".into(),
    };
    let signature = text.strip_prefix(PREFIX).ok_or_else(malformed)?;
    let signed = [request.body];
    mac::matching(
        keys,
        signed.into_iter(),
        Encoding::Hex,
        [signature].into_iter(),
    )
    .map(|secret_index| Verified {
        secret_index,
        signed_at: None,
    })
    .map_err(|mismatch| match mismatch {
        Mismatch::Unreadable => malformed(),
        Mismatch::Wrong => Refusal::SignatureWrong,
    })
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    action: Option<&'a RawValue>,
}

pub(super) fn extract(request: &Request<'_>) -> Result<Extracted, Refusal> {
    let delivery = request.text(DELIVERY)?.ok_or(Refusal::ProviderIdMissing {
        place: DELIVERY.into(),
    })?;
    let provider_id = extracted::provider_id(delivery, DELIVERY)?;
    let event = request.text(EVENT)?.ok_or(Refusal::HeaderMissing {
        header: EVENT.into(),
    })?;
    let payload = match form::only_field(FIELD, request.body)? {
        Some(inside) => Payload::Part(inside),
        None => Payload::Body,
    };
    let body: Event<'_> = json::object(payload.bytes(request.body))?;
    let kind = kind(event, body.action).ok_or(Refusal::HeaderMalformed {
        header: EVENT.into(),
        problem: "is not an event type",
    })?;
    Ok(Extracted {
        dedup_keys: vec![
            extracted::dedup_key(&provider_id),
            extracted::dedup_key_signed([request.body].into_iter()),
        ],
        provider_id,
        kind,
        occurred_at_micros: None,
        payload,
    })
}

/// `pull_request` and `opened` make `pull_request.opened`. Of `repository_dispatch` the action is free text, so
/// one that cannot be part of a type is left out.
fn kind(event: &str, action: Option<&RawValue>) -> Option<String> {
    let action = action
        .and_then(json::string)
        .filter(|action| !action.is_empty() && action.len() <= ACTION_BYTES_MAX);
    action
        .and_then(|action| extracted::kind(&format!("{event}.{action}")))
        .or_else(|| extracted::kind(event))
}
