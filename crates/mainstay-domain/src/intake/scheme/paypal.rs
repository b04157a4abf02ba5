//! PayPal: RSA with SHA-256 over `{transmission id}|{time}|{webhook id}|{CRC-32 of the body}`, by a certificate that
//! the request names.
//!
//! The certificate is taken from PayPal's own hosts alone, and only when its chain is good; then nothing is asked of
//! PayPal's API. The source's secret is the webhook's id. The body is covered by no more than a CRC-32, for which
//! anybody can make another body: so what proves the body is, in the end, that a stranger never sees a signature. A
//! transmission counts once, whatever its body. No tolerance is documented for the time, and a transmission that is
//! repeated for days may keep it: it is signed, and not judged. Source: developer.paypal.com/api/rest/webhooks/rest
//! and PayPal's old Java package.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Verified,
    extracted::{self, Extracted},
    header::Request,
    instant, json,
    key::Key,
    mac::BASE64,
    refusal::Refusal,
};

const ID: &str = "PAYPAL-TRANSMISSION-ID";
const TIME: &str = "PAYPAL-TRANSMISSION-TIME";
const SIGNATURE: &str = "PAYPAL-TRANSMISSION-SIG";
const CERTIFICATE: &str = "PAYPAL-CERT-URL";
const ALGORITHM: &str = "PAYPAL-AUTH-ALGO";
/// Where certificates are, and the name that each host's are for.
const HOSTS: [(&str, &str); 4] = [
    ("https://api.paypal.com/", LIVE),
    ("https://api-m.paypal.com/", LIVE),
    ("https://api.sandbox.paypal.com/", SANDBOX),
    ("https://api-m.sandbox.paypal.com/", SANDBOX),
];
const LIVE: &str = "messageverificationcerts.paypal.com";
const SANDBOX: &str = "messageverificationcerts.sandbox.paypal.com";
const PATH: &str = "v1/notifications/certs/";

/// The certificate that a request wants to be judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateNeeded<'a> {
    /// Where it is.
    pub url: &'a str,
    /// The name that it must be for.
    pub name: &'static str,
}

struct Signature<'a> {
    id: &'a str,
    time: &'a str,
    bytes: Vec<u8>,
    certificate: CertificateNeeded<'a>,
}

impl<'a> Signature<'a> {
    fn of(request: &Request<'a>) -> Result<Self, Refusal> {
        let text = request.text(SIGNATURE)?.ok_or(Refusal::SignatureMissing {
            header: SIGNATURE.into(),
        })?;
        let needed = |header: &'static str| {
            request.text(header)?.ok_or(Refusal::HeaderMissing {
                header: header.into(),
            })
        };
        let malformed = |header: &'static str, problem| Refusal::HeaderMalformed {
            header: header.into(),
            problem,
        };
        let id = needed(ID)?;
        let time = request.text(TIME)?.ok_or(Refusal::TimestampMissing {
            header: TIME.into(),
        })?;
        if !needed(ALGORITHM)?.eq_ignore_ascii_case("SHA256withRSA") {
            return Err(malformed(ALGORITHM, "is not SHA256withRSA"));
        }
        let certificate = certificate(needed(CERTIFICATE)?)
            .ok_or(malformed(CERTIFICATE, "is no certificate of PayPal's"))?;
        let bytes = BASE64.decode(text).ok();
        let bytes = bytes.filter(|bytes| (256..=1024).contains(&bytes.len()));
        Ok(Self {
            id,
            time,
            bytes: bytes.ok_or(Refusal::SignatureMalformed {
                header: SIGNATURE.into(),
                expected: "<base64 of an RSA signature>".into(),
            })?,
            certificate,
        })
    }
}

/// Letter by letter instead of by a parser, so that no two readers of URLs can disagree about the host.
fn certificate(url: &str) -> Option<CertificateNeeded<'_>> {
    let (rest, name) = HOSTS
        .iter()
        .find_map(|(host, name)| Some((url.strip_prefix(host)?, *name)))?;
    let file = rest.strip_prefix(PATH)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    ((1..=128).contains(&file.len()) && file.bytes().all(plain))
        .then_some(CertificateNeeded { url, name })
}

pub(super) fn certificate_needed<'a>(
    request: &Request<'a>,
) -> Result<CertificateNeeded<'a>, Refusal> {
    Signature::of(request).map(|signature| signature.certificate)
}

pub(super) fn verify(keys: &[Key], request: &Request<'_>) -> Result<Verified, Refusal> {
    let signature = Signature::of(request)?;
    let certificate = request
        .route
        .certificate
        .ok_or(Refusal::CertificateUnknown)?;
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, certificate);
    let crc = crc32(request.body);
    keys.iter()
        .position(|key| {
            let webhook = key.text().map_or("", |secret| secret.expose());
            let signed = format!("{}|{}|{webhook}|{crc}", signature.id, signature.time);
            public.verify(signed.as_bytes(), &signature.bytes).is_ok()
        })
        .map(|secret_index| Verified {
            secret_index,
            signed_at: None,
        })
        .ok_or(Refusal::SignatureWrong)
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    create_time: Option<&'a RawValue>,
}

pub(super) fn extract(request: &Request<'_>) -> Result<Extracted, Refusal> {
    let transmission = request
        .text(ID)?
        .ok_or(Refusal::HeaderMissing { header: ID.into() })?;
    let event: Event<'_> = json::object(request.body)?;
    let provider_id = json::provider_id(event.id, "id")?;
    let kind = event
        .event_type
        .and_then(json::string)
        .and_then(|text| extracted::kind(&text))
        .ok_or_else(|| Refusal::body("has no member event_type that is an event type"))?;
    let occurred_at = event
        .create_time
        .and_then(json::string)
        .and_then(|text| instant::rfc3339_micros(&text));
    let mut event = Extracted::whole(provider_id, kind, occurred_at);
    let signed = extracted::dedup_key_signed([transmission.as_bytes()].into_iter());
    event.dedup_keys.push(signed);
    Ok(event)
}

/// The CRC-32 of Ethernet and zlib.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let mut value = at as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 {
                    (value >> 1) ^ 0xedb8_8320
                } else {
                    value >> 1
                };
                bit += 1;
            }
            table[at] = value;
            at += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        (crc >> 8) ^ TABLE[usize::from(low ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_zlib_s() {
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let body = br#"{"id":"evt_1","object":"event","type":"invoice.paid"}"#;
        assert_eq!(crc32(body), 3_561_851_229);
    }

    #[test]
    fn certificates_come_from_paypal_and_from_nowhere_else() {
        for (url, name) in [
            (
                "https://api.paypal.com/v1/notifications/certs/CERT-1a_b",
                LIVE,
            ),
            (
                "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1",
                SANDBOX,
            ),
        ] {
            assert_eq!(certificate(url), Some(CertificateNeeded { url, name }));
        }
        for url in [
            "",
            "http://api.paypal.com/v1/notifications/certs/CERT-1",
            "https://api.paypal.com.example.com/v1/notifications/certs/CERT-1",
            "https://api.paypal.com@example.com/v1/notifications/certs/CERT-1",
            "https://api.paypal.com:444/v1/notifications/certs/CERT-1",
            "https://api.paypal.com/v1/notifications/certs/../CERT-1",
            "https://api.paypal.com/v1/notifications/certs/CERT-1?x",
            "https://api.paypal.com/v1/notifications/certs/CERT%2d1",
            "https://api.paypal.com/v1/notifications/certs/",
            "https://api.paypal.com\\.example.com/v1/notifications/certs/CERT-1",
            "https://API.PAYPAL.COM/v1/notifications/certs/CERT-1",
            "https://example.com/v1/notifications/certs/CERT-1",
        ] {
            assert_eq!(certificate(url), None, "{url}");
        }
    }
}
