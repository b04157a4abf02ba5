//! Signatures, written once more from the providers' own rules: a proof that signed with Mainstay's code could not see
//! a mistake in it.

use anyhow::Context;
use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::events::{Message, Provider};

/// How far from now the time of a signature that we receive may be, in seconds.
const TOLERANCE_SECS: i64 = 300;

fn mac(key: &[u8], parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    context.sign()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn standard_key(secret: &str) -> anyhow::Result<Vec<u8>> {
    let encoded = secret.strip_prefix("whsec_").unwrap_or(secret);
    BASE64_STANDARD
        .decode(encoded)
        .context("the secret is not base64")
}

/// A fresh secret in the form that this provider gives out, from 64 hexadecimal digits.
pub fn secret(provider: Provider, digits: &str) -> String {
    match provider {
        Provider::Stripe => format!("whsec_{}", &digits[..32]),
        Provider::Github => digits[..40].to_owned(),
        Provider::Whatsapp => digits[..32].to_owned(),
        Provider::Standard => {
            format!("whsec_{}", BASE64_STANDARD.encode(&digits.as_bytes()[..32]))
        }
    }
}

/// All headers of the request: the message's own and the signature's. `at` is in seconds since 1970.
pub fn headers(
    message: &Message,
    secret: &str,
    at: i64,
) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut headers = message.headers.clone();
    headers.push(("content-type", "application/json".to_owned()));
    match message.provider {
        Provider::Stripe => {
            let tag = mac(
                secret.as_bytes(),
                &[format!("{at}.").as_bytes(), &message.body],
            );
            headers.push((
                "stripe-signature",
                format!("t={at},v1={}", hex(tag.as_ref())),
            ));
        }
        Provider::Github | Provider::Whatsapp => {
            let tag = mac(secret.as_bytes(), &[&message.body]);
            headers.push((
                "x-hub-signature-256",
                format!("sha256={}", hex(tag.as_ref())),
            ));
        }
        Provider::Standard => {
            let signature =
                standard_webhooks(&standard_key(secret)?, &message.id, at, &message.body);
            headers.push(("webhook-id", message.id.clone()));
            headers.push(("webhook-timestamp", at.to_string()));
            headers.push(("webhook-signature", signature));
        }
    }
    Ok(headers)
}

fn standard_webhooks(key: &[u8], id: &str, at: i64, body: &[u8]) -> String {
    let tag = mac(key, &[format!("{id}.{at}.").as_bytes(), body]);
    format!("v1,{}", BASE64_STANDARD.encode(tag.as_ref()))
}

/// Whether a request that reached the receiver carries a true Standard Webhooks signature, at `now`.
pub fn standard_webhooks_holds(
    secret: &str,
    id: &str,
    timestamp: &str,
    signatures: &str,
    body: &[u8],
    now: i64,
) -> bool {
    let (Ok(key), Ok(at)) = (standard_key(secret), timestamp.parse::<i64>()) else {
        return false;
    };
    let expected = standard_webhooks(&key, id, at, body);
    (now - at).abs() <= TOLERANCE_SECS && signatures.split(' ').any(|given| given == expected)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(provider: Provider, id: &str, body: &'static str) -> Message {
        Message {
            provider,
            kind: "test",
            id: id.to_owned(),
            headers: Vec::new(),
            body: Bytes::from_static(body.as_bytes()),
            marks: Vec::new(),
        }
    }

    fn signature(message: &Message, secret: &str, at: i64, header: &str) -> String {
        let headers = headers(message, secret, at).expect("the secret can be used");
        let found = headers.into_iter().find(|(name, _)| *name == header);
        found.expect("the header is there").1
    }

    #[test]
    fn standard_webhooks_signs_as_its_specification_shows() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let message = message(
            Provider::Standard,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            r#"{"test": 2432232314}"#,
        );
        let signed = signature(&message, secret, 1_614_265_330, "webhook-signature");
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(standard_webhooks_holds(
            secret,
            &message.id,
            "1614265330",
            &format!("v1,no {signed}"),
            &message.body,
            1_614_265_400
        ));
        assert!(!standard_webhooks_holds(
            secret,
            &message.id,
            "1614265330",
            &signed,
            &message.body,
            1_614_266_000
        ));
    }

    #[test]
    fn github_signs_as_its_documentation_shows() {
        let message = message(Provider::Github, "", "Hello, World!");
        assert_eq!(
            signature(
                &message,
                "It's a Secret to Everybody",
                0,
                "x-hub-signature-256"
            ),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }

    #[test]
    fn stripe_signs_time_and_body() {
        let message = message(
            Provider::Stripe,
            "",
            r#"{"id":"evt_1","object":"event","type":"invoice.paid"}"#,
        );
        assert_eq!(
            signature(
                &message,
                "whsec_test_secret",
                1_700_000_000,
                "stripe-signature"
            ),
            "t=1700000000,v1=dfb4777aaaec4ea29ff455dd4df7fe6b2ef71096ad3a93a158db7e100109ea91"
        );
    }
}
