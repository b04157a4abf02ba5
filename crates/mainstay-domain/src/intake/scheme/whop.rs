//! Whop: Standard Webhooks keyed with the secret's text, and the shape before it, `X-Whop-Signature: t=…,v1=…`.
//!
//! Both shapes are keyed alike and can come to one URL while webhooks are moved from one to the other; what one signs
//! is never what the other does, since each begins with its own parts and a JSON body begins with a brace. Events of
//! the old shape have no id as a rule, and their type is called `action`. Source: the packages `@whop/sdk` and
//! `@whop/api`.

use super::{
    Verified,
    extracted::{Extracted, UNTYPED},
    header::Request,
    key::Key,
    preset::WHOP_LEGACY,
    reading::{KindFrom, Reading},
    refusal::Refusal,
    standard_webhooks,
};

fn is_legacy(request: &Request<'_>) -> bool {
    request.headers.header(&WHOP_LEGACY.header).is_some()
}

pub(super) fn verify(keys: &[Key], request: &Request<'_>) -> Result<Verified, Refusal> {
    if is_legacy(request) {
        WHOP_LEGACY.verify(keys, request)
    } else {
        standard_webhooks::verify(keys, request)
    }
}

pub(super) fn claimed_time(request: &Request<'_>) -> Option<i64> {
    if is_legacy(request) {
        WHOP_LEGACY.claimed_time(request)
    } else {
        standard_webhooks::claimed_time(request)
    }
}

pub(super) fn extract(request: &Request<'_>) -> Result<Extracted, Refusal> {
    if !is_legacy(request) {
        return standard_webhooks::extract(request);
    }
    let mut event = WHOP_LEGACY.extract(request)?;
    if event.kind == UNTYPED
        && let Ok(pointer) = "/type".to_owned().try_into()
    {
        let named = KindFrom::Pointer(pointer);
        let reading = Reading {
            kind: Some(&named),
            ..WHOP_LEGACY.reading()
        };
        event.kind = reading.kind(request)?;
    }
    Ok(event)
}
