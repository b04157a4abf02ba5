//! What Slack sends under one signature: events, questions whether the URL is ours, and forms.
//!
//! The signature is a rule ([`super::preset`]). An event of the Events API has an `event_id`, which stays the same
//! when Slack sends it again. A form brings a slash command, or in its field `payload` the JSON of an interaction;
//! neither has an id, but a `trigger_id` that no other has, so the digest of the body tells them apart. Source:
//! docs.slack.dev.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    challenge::is_plain,
    extracted::{self, Extracted, Payload, UNTYPED},
    form,
    header::Request,
    json,
    preset::SLACK,
    refusal::Refusal,
};

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    challenge: Option<&'a RawValue>,
}

impl Outer<'_> {
    fn is(&self, kind: &str) -> bool {
        self.kind
            .and_then(json::string)
            .is_some_and(|own| own == kind)
    }
}

/// The events of a request: none when it only asks whether the URL is ours.
pub(super) fn extract(request: &Request<'_>) -> Result<Vec<Extracted>, Refusal> {
    if !request.body.trim_ascii_start().starts_with(b"{") {
        return form_event(request).map(|one| vec![one]);
    }
    let outer: Outer<'_> = json::object(request.body)?;
    if outer.is("url_verification") {
        return match challenge(request) {
            Some(_) => Ok(Vec::new()),
            None => Err(Refusal::body("asks with a challenge that is no plain word")),
        };
    }
    let mut event = SLACK.extract(request)?;
    if !outer.is("event_callback") {
        event.kind = kind(outer.kind);
    }
    Ok(vec![event])
}

/// What Slack's question whether the URL is ours is answered with; none when the request is no such question.
pub(super) fn challenge(request: &Request<'_>) -> Option<String> {
    let outer: Outer<'_> = json::object(request.body).ok()?;
    let word = outer.challenge.and_then(json::string)?;
    (outer.is("url_verification") && is_plain(&word)).then(|| word.into_owned())
}

fn form_event(request: &Request<'_>) -> Result<Extracted, Refusal> {
    let provider_id = extracted::digest_id([request.body].into_iter());
    let whole = |kind| Extracted::whole(provider_id, kind, None);
    let Some(inside) = form::only_field("payload", request.body)? else {
        let fields = form::fields(request.body)?;
        let command = fields.iter().any(|(name, _)| name == "command");
        let kind = if command { "slash_command" } else { UNTYPED };
        return Ok(whole(kind.to_owned()));
    };
    let outer: Outer<'_> = json::object(&inside)?;
    let kind = kind(outer.kind);
    Ok(Extracted {
        payload: Payload::Part(inside),
        ..whole(kind)
    })
}

fn kind(raw: Option<&RawValue>) -> String {
    raw.and_then(json::string)
        .and_then(|text| extracted::kind(&text))
        .unwrap_or_else(|| UNTYPED.to_owned())
}
