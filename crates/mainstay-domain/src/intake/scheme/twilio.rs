//! Twilio: `X-Twilio-Signature`, base64 HMAC-SHA1 over the URL that Twilio was told, keyed with the auth token.
//!
//! Of a form, the names and values follow the URL, sorted, with nothing between them. Of any other body the URL has
//! the digest, in its parameter `bodySHA256`. Neither a time nor an id is signed. The URL may come with or without
//! the port that its scheme has anyway. Source: twilio.com/docs/usage/webhooks/webhooks-security and the `twilio`
//! package.

use aws_lc_rs::digest;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Verified,
    extracted::{self, Extracted, Payload, UNTYPED},
    form,
    header::Request,
    instant, json,
    key::Key,
    mac::{self, Encoding, Mismatch},
    refusal::Refusal,
};

pub(super) const HEADER: &str = "X-Twilio-Signature";
/// The parameter of the URL with the digest of a body that is no form.
const BODY_DIGEST: &str = "bodySHA256";
/// The most events in one body of Event Streams; Twilio's batches are far smaller.
const EVENTS_MAX: usize = 1_000;

pub(super) fn verify(keys: &[Key], request: &Request<'_>) -> Result<Verified, Refusal> {
    let text = request.text(HEADER)?.ok_or(Refusal::SignatureMissing {
        header: HEADER.into(),
    })?;
    let malformed = || Refusal::SignatureMalformed {
        header: HEADER.into(),
        expected: "<base64 of 20 bytes>".into(),
    };
    let url = request.route.url;
    let signed = Signed::of(url, request.body)?;
    let mut wrong = Refusal::SignatureWrong;
    for url in spellings(url) {
        let parts = signed.parts(&url);
        match mac::matching(
            keys,
            parts.iter().copied(),
            Encoding::Base64,
            [text].into_iter(),
        ) {
            Ok(secret_index) => {
                return Ok(Verified {
                    secret_index,
                    signed_at: None,
                });
            }
            Err(Mismatch::Unreadable) => wrong = malformed(),
            Err(Mismatch::Wrong) => {}
        }
    }
    Err(wrong)
}

/// What is signed after the URL: the fields of a form in order, nothing where the URL has the body's digest.
pub(super) struct Signed(Vec<(String, String)>);

impl Signed {
    /// Refuses a body whose digest is another one than the URL's.
    pub(super) fn of(url: &str, body: &[u8]) -> Result<Self, Refusal> {
        if let Some(given) = body_digest(url) {
            let own = mac::hex(digest::digest(&digest::SHA256, body).as_ref());
            let given = given.to_ascii_lowercase();
            return if mac::same(given.as_bytes(), own.as_bytes()) {
                Ok(Self(Vec::new()))
            } else {
                Err(Refusal::SignatureWrong)
            };
        }
        let mut fields = form::fields(body)?;
        fields.sort_unstable();
        // Of a field that stands there twice with the same value, one is signed.
        fields.dedup();
        Ok(Self(fields))
    }

    pub(super) fn parts<'a>(&'a self, url: &'a str) -> Vec<&'a [u8]> {
        let fields = self.0.iter().flat_map(|(name, value)| [name, value]);
        let texts = std::iter::once(url).chain(fields.map(String::as_str));
        texts.map(str::as_bytes).collect()
    }
}

/// The URL that a request with this body is sent to: with the body's digest where the body is no form.
pub(super) fn url_for(url: &str, body: &[u8]) -> String {
    let is_form =
        !body.trim_ascii_start().starts_with(b"{") && !body.trim_ascii_start().starts_with(b"[");
    if is_form || body_digest(url).is_some() {
        return url.to_owned();
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    let digest = mac::hex(digest::digest(&digest::SHA256, body).as_ref());
    format!("{url}{separator}{BODY_DIGEST}={digest}")
}

fn body_digest(url: &str) -> Option<&str> {
    let (_, query) = url.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(name, _)| *name == BODY_DIGEST)
        .map(|(_, digest)| digest)
}

/// The URL as it is, and with the default port taken away or added.
fn spellings(url: &str) -> [String; 2] {
    let other = || {
        let (scheme, rest) = url.split_once("://")?;
        let port = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => return None,
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        match host.strip_suffix(port) {
            Some(host) => Some(format!("{scheme}://{host}{path}")),
            None if has_port => None,
            None => Some(format!("{scheme}://{host}{port}{path}")),
        }
    };
    [url.to_owned(), other().unwrap_or_else(|| url.to_owned())]
}

pub(super) fn extract(request: &Request<'_>) -> Result<Vec<Extracted>, Refusal> {
    match request.body.trim_ascii_start().first() {
        Some(b'[') => {
            let all: Vec<&RawValue> = serde_json::from_str(json::text(request.body)?)
                .map_err(|error| json::not_json(&error))?;
            if all.len() > EVENTS_MAX {
                return Err(Refusal::body("has more than 1000 events"));
            }
            all.into_iter()
                .map(|one| {
                    let body = one.get().as_bytes();
                    let event = cloud_event(body)?;
                    let payload = Payload::Part(body.to_vec());
                    Ok(Extracted { payload, ..event })
                })
                .collect()
        }
        Some(b'{') => cloud_event(request.body).map(|one| vec![one]),
        _ => form_event(request.body).map(|one| vec![one]),
    }
}

/// Of a message the id is what Twilio calls it and how it stands; a form that says less is told by all that it says.
fn form_event(body: &[u8]) -> Result<Extracted, Refusal> {
    let fields = form::fields(body)?;
    let get = |names: &[&str]| {
        let (_, value) = names
            .iter()
            .find_map(|name| fields.iter().find(|(own, _)| own == name))?;
        (!value.is_empty()).then_some(value.as_str())
    };
    let digest = || extracted::digest_id([body].into_iter());
    let status = |names: &[&str]| get(names).unwrap_or("unknown").to_ascii_lowercase();
    let (id, kind) = if let Some(sid) = get(&["MessageSid", "SmsSid"]) {
        let status = status(&["MessageStatus", "SmsStatus"]);
        (format!("{sid}:{status}"), format!("message.{status}"))
    } else if let Some(sid) = get(&["CallSid"]) {
        let status = status(&["CallStatus"]);
        // Without a number, one call can ask the same twice: what was typed in, say.
        let id = get(&["SequenceNumber"]).map(|number| format!("{sid}:{status}:{number}"));
        (id.unwrap_or_else(digest), format!("call.{status}"))
    } else {
        let kind = get(&["EventType"]).unwrap_or(UNTYPED);
        (digest(), kind.to_owned())
    };
    let provider_id = extracted::provider_id(&id, "the form")?;
    let kind = extracted::kind(&kind).unwrap_or_else(|| UNTYPED.to_owned());
    Ok(Extracted::whole(provider_id, kind, None))
}

/// What Event Streams send; other JSON has none of these members.
#[derive(Deserialize)]
struct CloudEvent<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
}

fn cloud_event(body: &[u8]) -> Result<Extracted, Refusal> {
    let event: CloudEvent<'_> = json::object(body)?;
    let provider_id = match event.id.and_then(json::string) {
        Some(id) => extracted::provider_id(&id, "id")?,
        None => extracted::digest_id([body].into_iter()),
    };
    let kind = event
        .kind
        .and_then(json::string)
        .and_then(|text| extracted::kind(&text));
    let occurred_at = event
        .time
        .and_then(json::string)
        .and_then(|text| instant::rfc3339_micros(&text));
    Ok(Extracted::whole(
        provider_id,
        kind.unwrap_or_else(|| UNTYPED.to_owned()),
        occurred_at,
    ))
}
