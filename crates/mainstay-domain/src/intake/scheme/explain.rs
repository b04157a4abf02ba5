//! Why a request verifies or does not, in words: `mainstay verify`.
//!
//! Beyond the verdict it tries what usually went wrong: the secret decoded when it should not be (or the other
//! way round), the body changed on its way by a framework, the wrong scheme, a clock. It never shows a secret or
//! the signature that would have been right.

use aws_lc_rs::hmac;
use base64::Engine as _;
use serde::Serialize;

use crate::cidr::Cidr;

use super::{
    PreparedScheme, Refusal, Request, Route, Scheme, Secret, Verified, header,
    key::Key,
    mac::{self, BASE64},
    reformat::{Space, Strings, reformat},
};

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is as it should be.
    Passed,
    /// This is why the request is refused.
    Failed,
    /// Not looked at, because an earlier one failed or the scheme has none.
    Skipped,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `secrets`, `address` (where the source has a list), `headers`, `signature`, `timestamp` or `body`, in this order.
    pub name: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// What was found, in a sentence.
    pub detail: String,
}

/// An event that the request brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The provider's id.
    pub provider_id: String,
    /// The type.
    pub kind: String,
}

/// Everything that can be said about a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The scheme's name.
    pub scheme: &'static str,
    /// Whether the door would accept it.
    pub accepted: bool,
    /// The code of the first refusal.
    pub code: Option<&'static str>,
    /// The status that the door would answer a refusal with.
    pub http_status: Option<u16>,
    /// Which secret matched, by position.
    pub secret_index: Option<usize>,
    /// Our clock less the signed (or claimed) time, in seconds: positive when it was signed in the past.
    pub clock_difference_secs: Option<i64>,
    /// All checks, in order.
    pub checks: Vec<Check>,
    /// What would have matched, or is worth a look.
    pub hints: Vec<String>,
    /// The events, when every check passed.
    pub events: Vec<Explained>,
}

impl Explanation {
    fn check(&mut self, name: &'static str, outcome: Outcome, detail: impl Into<String>) {
        self.checks.push(Check {
            name,
            outcome,
            detail: detail.into(),
        });
    }

    fn refuse(&mut self, name: &'static str, refusal: &Refusal) {
        self.check(name, Outcome::Failed, refusal.to_string());
        self.code = self.code.or(Some(refusal.code()));
        self.http_status = self.http_status.or(Some(refusal.http_status()));
    }
}

/// Verifies and says what it saw. Slower than [`PreparedScheme::verify`]: for people, not for the door.
pub fn explain(
    scheme: &Scheme,
    allow: &[Cidr],
    secrets: &[Secret],
    tolerance_secs: i64,
    request: &Request<'_>,
) -> Explanation {
    let mut told = Explanation {
        scheme: scheme.name(),
        accepted: false,
        code: None,
        http_status: None,
        secret_index: None,
        clock_difference_secs: None,
        checks: Vec::new(),
        hints: Vec::new(),
        events: Vec::new(),
    };
    let Some(prepared) = prepare(scheme, secrets, &mut told) else {
        return told;
    };
    if !allow.is_empty() || scheme.needs_no_secret() {
        match prepared
            .clone()
            .allowing(allow.to_vec())
            .check_address(request)
        {
            Ok(()) => told.check("address", Outcome::Passed, "it is on the source's list"),
            Err(refusal) => told.refuse("address", &refusal),
        }
    }
    if scheme.needs_no_secret() {
        // There is no more to it than the address.
        let verified = Verified {
            secret_index: 0,
            signed_at: None,
        };
        matched(&prepared, verified, tolerance_secs, request, &mut told);
        told.secret_index = None;
        told.accepted = told.code.is_none();
        return told;
    }
    let claimed = prepared.claimed_time(request);
    told.clock_difference_secs = claimed.map(|claimed| request.now_secs.saturating_sub(claimed));
    match prepared.verify(i64::MAX, request) {
        Ok(verified) => matched(&prepared, verified, tolerance_secs, request, &mut told),
        Err(refusal @ Refusal::SignatureWrong) => {
            told.check("headers", Outcome::Passed, "all there and well formed");
            told.refuse("signature", &refusal);
            told.hints = mismatch_hints(&prepared, secrets, request);
        }
        Err(refusal) => {
            told.refuse("headers", &refusal);
            told.hints.extend(other_scheme(scheme, request));
        }
    }
    for name in ["headers", "signature", "timestamp", "body"] {
        if !told.checks.iter().any(|check| check.name == name) {
            told.check(
                name,
                Outcome::Skipped,
                "not looked at, since an earlier check failed",
            );
        }
    }
    if told.clock_difference_secs.is_some_and(|secs| secs < 0) {
        let hint =
            "the signed time is later than this machine's clock: compare the clock with another";
        told.hints.push(hint.to_owned());
    }
    told.accepted = told.code.is_none();
    told
}

fn prepare(scheme: &Scheme, secrets: &[Secret], told: &mut Explanation) -> Option<PreparedScheme> {
    match PreparedScheme::new(scheme.clone(), secrets) {
        Ok(prepared) if scheme.needs_no_secret() => {
            told.check("secrets", Outcome::Skipped, "the scheme has none");
            Some(prepared)
        }
        Ok(prepared) if !secrets.is_empty() => {
            let detail = format!("{} to try", secrets.len());
            told.check("secrets", Outcome::Passed, detail);
            Some(prepared)
        }
        Ok(_) => {
            told.refuse("secrets", &Refusal::SecretMissing);
            None
        }
        Err(problem) => {
            told.check("secrets", Outcome::Failed, format!("{problem}"));
            told.code = Some("secret_malformed");
            None
        }
    }
}

/// The signature is right: what is left are its time and the body.
fn matched(
    prepared: &PreparedScheme,
    verified: Verified,
    tolerance_secs: i64,
    request: &Request<'_>,
    told: &mut Explanation,
) {
    told.secret_index = Some(verified.secret_index);
    told.check("headers", Outcome::Passed, "all there and well formed");
    if prepared.scheme.needs_no_secret() {
        told.check("signature", Outcome::Skipped, "the scheme has none");
    } else {
        let detail = format!("made with secret number {}", verified.secret_index + 1);
        told.check("signature", Outcome::Passed, detail);
    }
    match verified.signed_at {
        None => told.check("timestamp", Outcome::Skipped, "the scheme signs no time"),
        Some(at) => match header::check_time(at, request.now_secs, tolerance_secs) {
            Ok(()) => {
                let off = request.now_secs.saturating_sub(at);
                let detail = format!("{off} seconds old; {tolerance_secs} either way are allowed");
                told.check("timestamp", Outcome::Passed, detail);
            }
            Err(refusal) => told.refuse("timestamp", &refusal),
        },
    }
    match prepared.extract(request) {
        Ok(events) => {
            let detail = match prepared.challenge(request) {
                Some(_) => "asks whether the URL is ours; answered with its challenge".to_owned(),
                None => format!("{} bytes, {} event(s)", request.body.len(), events.len()),
            };
            told.check("body", Outcome::Passed, detail);
            told.events = events
                .into_iter()
                .map(|event| Explained {
                    provider_id: event.provider_id,
                    kind: event.kind,
                })
                .collect();
        }
        Err(refusal) => told.refuse("body", &refusal),
    }
}

/// Which other secret or other body would have matched.
fn mismatch_hints(
    prepared: &PreparedScheme,
    secrets: &[Secret],
    request: &Request<'_>,
) -> Vec<String> {
    let mut hints = Vec::new();
    let Some(algorithm) = prepared.scheme.algorithm() else {
        hints.extend(body_hints(prepared, request));
        if hints.is_empty() {
            hints.push("it is the secret of another endpoint or environment".to_owned());
        }
        return hints;
    };
    for (index, secret) in secrets.iter().enumerate() {
        for (words, bytes) in other_keys(secret.expose()) {
            let other = PreparedScheme {
                keys: vec![Key::Hmac(hmac::Key::new(algorithm, &bytes))],
                ..prepared.clone()
            };
            if other.verify(i64::MAX, request).is_ok() {
                let number = index + 1;
                hints.push(format!(
                    "secret number {number} would match if it were {words}"
                ));
            }
        }
    }
    hints.extend(body_hints(prepared, request));
    if let Some(words) = other_url(prepared, request) {
        hints.push(format!(
            "the URL would match {words}: the one that Twilio has is signed"
        ));
    }
    if hints.is_empty() {
        hints.push(
            "neither another reading of the secrets nor a usual change of the body matches: \
             this is the secret of another endpoint or environment, or the body was changed"
                .to_owned(),
        );
    }
    hints
}

/// Which usual change of the body would make it match.
fn body_hints(prepared: &PreparedScheme, request: &Request<'_>) -> Vec<String> {
    let matches = |body: &[u8]| {
        let changed = Request { body, ..*request };
        body != request.body && prepared.verify(i64::MAX, &changed).is_ok()
    };
    other_bodies(request.body)
        .into_iter()
        .filter(|(_, body)| matches(body))
        .map(|(words, _)| format!("the body would match {words}: verify the bytes as they arrive"))
        .collect()
}

/// How the URL must be for the signature to match, where the scheme signs it.
pub(super) fn other_url(prepared: &PreparedScheme, request: &Request<'_>) -> Option<&'static str> {
    if !matches!(prepared.scheme, Scheme::Twilio) {
        return None;
    }
    let matches = |url: &str| {
        let route = Route {
            url,
            ..request.route
        };
        let changed = Request { route, ..*request };
        prepared.verify(i64::MAX, &changed).is_ok()
    };
    let mut urls = other_urls(request.route.url).into_iter();
    urls.find(|(_, url)| matches(url)).map(|(words, _)| words)
}

/// The URL as it is when Twilio, or a proxy, has another one than we think.
fn other_urls(url: &str) -> Vec<(&'static str, String)> {
    let mut urls = Vec::new();
    if let Some(rest) = url.strip_prefix("http://") {
        urls.push(("with https", format!("https://{rest}")));
    }
    if let Some(rest) = url.strip_prefix("https://") {
        urls.push(("with http", format!("http://{rest}")));
    }
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    urls.push(("without its query", path.to_owned()));
    let other = path
        .strip_suffix('/')
        .map_or_else(|| format!("{path}/"), str::to_owned);
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("?{query}")
    };
    urls.push(("with or without a slash at its end", other + &query));
    urls.retain(|(_, other)| other != url);
    urls
}

/// Other bytes that a secret's text could stand for.
pub(super) fn other_keys(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let stripped = text.strip_prefix("whsec_").unwrap_or(text);
    let mut keys = vec![
        ("used as text, prefix included", text.as_bytes().to_vec()),
        (
            "used as text without its prefix",
            stripped.as_bytes().to_vec(),
        ),
        ("followed by a line break", format!("{text}\n").into_bytes()),
        ("encoded in base64", BASE64.encode(text).into_bytes()),
    ];
    if let Ok(bytes) = BASE64.decode(stripped) {
        keys.push(("decoded from base64", bytes));
    }
    let mut bytes = vec![0; stripped.len() / 2];
    if mac::unhex(stripped.as_bytes(), &mut bytes).is_some() {
        keys.push(("decoded from hexadecimal", bytes));
    }
    keys.retain(|(_, bytes)| !bytes.is_empty());
    keys
}

/// The body as frameworks, proxies and editors change it.
pub(super) fn other_bodies(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let end = body.trim_ascii_end();
    let mut bodies = vec![
        ("without the line break or space at its end", end.to_vec()),
        ("with a line break at its end", [body, b"\n"].concat()),
    ];
    let Ok(text) = std::str::from_utf8(body) else {
        return bodies;
    };
    let mut add = |words, changed: Option<String>| {
        bodies.extend(changed.map(|text| (words, text.into_bytes())));
    };
    let unix = text.replace("\r\n", "\n");
    add("with LF for CRLF", Some(unix.clone()));
    add("with CRLF for LF", Some(unix.replace('\n', "\r\n")));
    let without_mark = text.strip_prefix('\u{feff}');
    add(
        "without its byte order mark",
        without_mark.map(str::to_owned),
    );
    for (space, words) in [
        (
            Space::Compact,
            [
                "written compactly",
                "written compactly, without escapes",
                "written compactly, with escapes",
            ],
        ),
        (
            Space::Indented,
            [
                "indented by two spaces",
                "indented, without escapes",
                "indented, with escapes",
            ],
        ),
    ] {
        for (strings, words) in [Strings::Kept, Strings::Plain, Strings::Ascii]
            .into_iter()
            .zip(words)
        {
            add(words, reformat(text, space, strings));
        }
    }
    let slashes = reformat(text, Space::Compact, Strings::Ascii);
    add(
        "written as PHP does, slashes escaped",
        slashes.map(|text| text.replace('/', "\\/")),
    );
    bodies
}

/// Signature headers of other schemes, for when a source has the wrong one.
pub(super) fn other_scheme(scheme: &Scheme, request: &Request<'_>) -> Option<String> {
    let known = [
        ("Stripe-Signature", "stripe"),
        ("webhook-signature", "standard_webhooks"),
        ("svix-signature", "standard_webhooks"),
        ("X-GitHub-Event", "github"),
        ("X-Hub-Signature-256", "meta"),
        (
            "X-Hub-Signature",
            "github or meta, but with the old SHA-1 signature alone",
        ),
        ("X-Slack-Signature", "slack"),
        ("X-Shopify-Hmac-SHA256", "shopify"),
        ("Paddle-Signature", "paddle"),
        ("X-Whop-Signature", "whop"),
        ("X-Twilio-Signature", "twilio"),
        ("PAYPAL-TRANSMISSION-SIG", "paypal"),
    ];
    let (header, name) = known
        .iter()
        .find(|(header, _)| request.headers.header(header).is_some())?;
    (*name != scheme.name())
        .then(|| format!("the header {header} says that the scheme should be {name}"))
}
