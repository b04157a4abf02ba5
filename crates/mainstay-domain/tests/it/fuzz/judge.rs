//! The providers' rules once more, written from their documentation and not from our verifiers: who is let in, and by which
//! secret. A mistake in a verifier shows as soon as the two disagree about any request.

use std::net::IpAddr;

use aws_lc_rs::{
    digest, hmac,
    signature::{ED25519, UnparsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// A request as the judge sees it.
pub(super) struct Asked<'a> {
    pub(super) headers: &'a [(String, Vec<u8>)],
    pub(super) body: &'a [u8],
    pub(super) now: i64,
    pub(super) tolerance: i64,
    pub(super) url: &'a str,
    pub(super) remote: Option<IpAddr>,
}

/// The provider does not vouch for it.
pub(super) struct Refused;

pub(super) type Verdict = Result<usize, Refused>;

impl Asked<'_> {
    /// A header that must be there.
    pub(super) fn needed(&self, name: &str) -> Result<&str, Refused> {
        self.text(name)?.ok_or(Refused)
    }

    /// A header's text; what cannot be read is refused, not taken for missing.
    fn text(&self, name: &str) -> Result<Option<&str>, Refused> {
        let lower = name.to_lowercase();
        for (given, value) in self.headers {
            if given.to_lowercase() == lower {
                if value.len() > 4_096 {
                    return Err(Refused);
                }
                let text = std::str::from_utf8(value).map_err(|_| Refused)?;
                let text = text.trim_matches([' ', '\t', '\n', '\r', '\u{c}']);
                return Ok(Some(text).filter(|text| !text.is_empty()));
            }
        }
        Ok(None)
    }

    fn in_time(&self, time: &str) -> Result<(), Refused> {
        if time.len() > 12 || time.is_empty() || time.bytes().any(|byte| !byte.is_ascii_digit()) {
            return Err(Refused);
        }
        let signed: i128 = time.parse().map_err(|_| Refused)?;
        let apart = (signed - i128::from(self.now)).abs();
        if apart <= i128::from(self.tolerance) {
            Ok(())
        } else {
            Err(Refused)
        }
    }
}

/// The tag of these parts.
pub(super) fn tag(algorithm: hmac::Algorithm, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, key), &parts.concat())
        .as_ref()
        .to_vec()
}

pub(super) fn tag_sha256(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    tag(hmac::HMAC_SHA256, key, parts)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_hex(text: &str, tag: &[u8]) -> bool {
    text.eq_ignore_ascii_case(&hex(tag))
}

/// Padding may be left out; nothing else may differ.
fn is_base64(text: &str, tag: &[u8]) -> bool {
    let whole = STANDARD.encode(tag);
    let bare = whole.trim_end_matches('=');
    text.starts_with(bare)
        && text.len() <= whole.len()
        && text[bare.len()..].bytes().all(|byte| byte == b'=')
}

/// The values of the fields of this name in `a=1,b=2`.
fn fields<'a>(text: &'a str, separator: char, name: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for field in text.split(separator) {
        let field = field.trim_matches([' ', '\t', '\n', '\r', '\u{c}']);
        if let Some(at) = field.find('=')
            && &field[..at] == name
        {
            found.push(&field[at + 1..]);
        }
    }
    found
}

/// One time and up to 32 signatures in one header: Stripe's, Paddle's, Whop's old one.
fn in_fields(
    asked: &Asked,
    secrets: &[String],
    text: &str,
    shape: (char, &str, &str, &str),
) -> Verdict {
    let (separator, time, signature, between) = shape;
    let times = fields(text, separator, time);
    let signatures = fields(text, separator, signature);
    let [time] = times.as_slice() else {
        return Err(Refused);
    };
    if signatures.len() > 32 {
        return Err(Refused);
    }
    asked.in_time(time)?;
    first_of(secrets, |secret| {
        let tag = tag_sha256(
            secret.as_bytes(),
            &[time.as_bytes(), between.as_bytes(), asked.body],
        );
        signatures.iter().any(|given| is_hex(given, &tag))
    })
}

fn first_of(secrets: &[String], made: impl Fn(&String) -> bool) -> Verdict {
    secrets.iter().position(made).ok_or(Refused)
}

pub(super) fn stripe(asked: &Asked, secrets: &[String]) -> Verdict {
    in_fields(
        asked,
        secrets,
        asked.needed("stripe-signature")?,
        (',', "t", "v1", "."),
    )
}

pub(super) fn paddle(asked: &Asked, secrets: &[String]) -> Verdict {
    in_fields(
        asked,
        secrets,
        asked.needed("paddle-signature")?,
        (';', "ts", "h1", ":"),
    )
}

/// GitHub's and Meta's.
pub(super) fn hub(asked: &Asked, secrets: &[String]) -> Verdict {
    let given = asked
        .needed("x-hub-signature-256")?
        .strip_prefix("sha256=")
        .ok_or(Refused)?;
    first_of(secrets, |secret| {
        is_hex(given, &tag_sha256(secret.as_bytes(), &[asked.body]))
    })
}

pub(super) fn shopify(asked: &Asked, secrets: &[String]) -> Verdict {
    let given = asked.needed("x-shopify-hmac-sha256")?;
    first_of(secrets, |secret| {
        is_base64(given, &tag_sha256(secret.as_bytes(), &[asked.body]))
    })
}

pub(super) fn slack(asked: &Asked, secrets: &[String]) -> Verdict {
    let given = asked
        .needed("x-slack-signature")?
        .strip_prefix("v0=")
        .ok_or(Refused)?;
    let time = asked.needed("x-slack-request-timestamp")?;
    asked.in_time(time)?;
    first_of(secrets, |secret| {
        let parts = [b"v0:", time.as_bytes(), b":", asked.body];
        is_hex(given, &tag_sha256(secret.as_bytes(), &parts))
    })
}

/// A rule of a user's own: SHA-512, base64, an id that is signed.
pub(super) fn ruled(asked: &Asked, secrets: &[String]) -> Verdict {
    let given = asked.needed("x-sig")?.strip_prefix("sig ").ok_or(Refused)?;
    let (id, time) = (asked.needed("x-id")?, asked.needed("x-time")?);
    asked.in_time(time)?;
    first_of(secrets, |secret| {
        let parts = [id.as_bytes(), b".", time.as_bytes(), b".", asked.body];
        is_base64(given, &tag(hmac::HMAC_SHA512, secret.as_bytes(), &parts))
    })
}

/// `webhook-*`, or where there is no `webhook-signature`, `svix-*`.
fn standard_parts<'a>(asked: &'a Asked) -> Result<(&'a str, &'a str, Vec<&'a str>), Refused> {
    for prefix in ["webhook", "svix"] {
        if let Some(list) = asked.text(&format!("{prefix}-signature"))? {
            let id = asked.needed(&format!("{prefix}-id"))?;
            let time = asked.needed(&format!("{prefix}-timestamp"))?;
            let entries: Vec<&str> = list.split(' ').collect();
            asked.in_time(time)?;
            return if entries.len() > 32 {
                Err(Refused)
            } else {
                Ok((id, time, entries))
            };
        }
    }
    Err(Refused)
}

fn standard_by(asked: &Asked, keys: &[Option<Vec<u8>>]) -> Verdict {
    let (id, time, entries) = standard_parts(asked)?;
    let parts = [id.as_bytes(), b".", time.as_bytes(), b".", asked.body];
    let made = |key: &Option<Vec<u8>>| {
        key.as_ref().is_some_and(|key| {
            let tag = tag_sha256(key, &parts);
            let given = entries.iter().filter_map(|entry| entry.strip_prefix("v1,"));
            given.into_iter().any(|given| is_base64(given, &tag))
        })
    };
    keys.iter().position(made).ok_or(Refused)
}

/// Secrets are `whsec_` and base64, or `whpk_` and a public key.
pub(super) fn standard_webhooks(asked: &Asked, secrets: &[String]) -> Verdict {
    let symmetric = |secret: &String| STANDARD.decode(secret.strip_prefix("whsec_")?).ok();
    let keys: Vec<Option<Vec<u8>>> = secrets.iter().map(symmetric).collect();
    standard_by(asked, &keys).or_else(|Refused| {
        let (id, time, entries) = standard_parts(asked)?;
        let signed = [id.as_bytes(), b".", time.as_bytes(), b".", asked.body].concat();
        first_of(secrets, |secret| {
            let public = secret
                .strip_prefix("whpk_")
                .and_then(|text| STANDARD.decode(text).ok());
            let given = entries
                .iter()
                .filter_map(|entry| entry.strip_prefix("v1a,"));
            public.is_some_and(|public| {
                let public = UnparsedPublicKey::new(&ED25519, public);
                given.into_iter().any(|given| {
                    let bare = given.trim_end_matches('=');
                    let signature = STANDARD.decode(format!("{bare}==")).unwrap_or_default();
                    is_base64(given, &signature) && public.verify(&signed, &signature).is_ok()
                })
            })
        })
    })
}

/// Both shapes are keyed with the secret's text.
pub(super) fn whop(asked: &Asked, secrets: &[String]) -> Verdict {
    let old = asked
        .headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("x-whop-signature"));
    if old {
        return in_fields(
            asked,
            secrets,
            asked.needed("x-whop-signature")?,
            (',', "t", "v1", "."),
        );
    }
    let keys: Vec<Option<Vec<u8>>> = secrets
        .iter()
        .map(|secret| Some(secret.as_bytes().to_vec()))
        .collect();
    standard_by(asked, &keys)
}

/// The fields of a form in the order of their bytes, each pair once; none: it is no form.
pub(super) fn form(body: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let plain = |text: &[u8]| -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut at = 0;
        while at < text.len() {
            if text[at] == b'%' {
                let digits = std::str::from_utf8(text.get(at + 1..at + 3)?).ok()?;
                if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return None;
                }
                out.push(u8::from_str_radix(digits, 16).ok()?);
                at += 3;
            } else {
                out.push(if text[at] == b'+' { b' ' } else { text[at] });
                at += 1;
            }
        }
        std::str::from_utf8(&out).is_ok().then_some(out)
    };
    let mut pairs = Vec::new();
    for field in body
        .split(|byte| *byte == b'&')
        .filter(|field| !field.is_empty())
    {
        let (name, value) = match field.iter().position(|byte| *byte == b'=') {
            Some(at) => (&field[..at], &field[at + 1..]),
            None => (field, &b""[..]),
        };
        pairs.push((plain(name)?, plain(value)?));
    }
    if pairs.len() > 1_000 {
        return None;
    }
    pairs.sort();
    pairs.dedup();
    Some(pairs)
}

/// What Twilio signs of a request to this URL; none: nothing that it would send.
pub(super) fn twilio_signed(url: &str, body: &[u8]) -> Option<Vec<u8>> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    if let Some(given) = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("bodySHA256="))
    {
        let own = hex(digest::digest(&digest::SHA256, body).as_ref());
        return own.eq_ignore_ascii_case(given).then(Vec::new);
    }
    Some(
        form(body)?
            .into_iter()
            .flat_map(|(name, value)| [name, value])
            .flatten()
            .collect(),
    )
}

pub(super) fn twilio(asked: &Asked, secrets: &[String]) -> Verdict {
    let given = asked.needed("x-twilio-signature")?;
    let rest = twilio_signed(asked.url, asked.body).ok_or(Refused)?;
    // The port that the scheme has anyway may be there or not.
    let usual = [
        ("https://api.example", "https://api.example:443"),
        ("http://api.example", "http://api.example:80"),
    ];
    let mut urls = vec![asked.url.to_owned()];
    for (without, with) in usual {
        if let Some(path) = asked.url.strip_prefix(with) {
            urls.push(format!("{without}{path}"));
        } else if let Some(path) = asked
            .url
            .strip_prefix(without)
            .filter(|path| !path.starts_with(':'))
        {
            urls.push(format!("{with}{path}"));
        }
    }
    urls.iter()
        .find_map(|url| {
            first_of(secrets, |secret| {
                let parts = [url.as_bytes(), &rest];
                is_base64(
                    given,
                    &tag(
                        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                        secret.as_bytes(),
                        &parts,
                    ),
                )
            })
            .ok()
        })
        .ok_or(Refused)
}

pub(super) fn bearer(asked: &Asked, secrets: &[String]) -> Verdict {
    let text = asked.needed("authorization")?;
    let word = text.get(..7).ok_or(Refused)?;
    if !word.eq_ignore_ascii_case("bearer ") {
        return Err(Refused);
    }
    first_of(secrets, |secret| *secret == text[7..])
}

/// The addresses of the list.
pub(super) fn address(asked: &Asked, _: &[String]) -> Verdict {
    match asked.remote.map(|remote| remote.to_canonical()) {
        Some(IpAddr::V4(v4)) if v4.octets()[0] == 10 => Ok(0),
        Some(IpAddr::V6(v6)) if v6.segments()[0] == 0x2606 => Ok(0),
        _ => Err(Refused),
    }
}
