//! PayPal: a signature that is judged by a certificate's key.

use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::AsDer as _,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use mainstay_domain::intake::scheme::{
    CertificateNeeded, PreparedScheme, Refusal, Request, Route, Scheme, explain,
};
use proptest::prelude::*;

const WEBHOOK: &str = "8PT597110X687430LKGECATA";
const URL: &str = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-1d93a270";
const BODY: &str = r#"{"id":"evt_1","object":"event","type":"invoice.paid"}"#;
/// As the reference computes it for this body.
const BODY_CRC: u32 = 3_561_851_229;
const EVENT: &str = r#"{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED","create_time":"2023-11-14T22:13:20.500Z"}"#;

static PAYPAL: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"));

fn public() -> Vec<u8> {
    let der = PAYPAL.public_key().as_der().expect("a public key");
    der.as_ref().to_vec()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    })
}

fn headers_of(body: &str) -> Vec<(&'static str, String)> {
    let signed = format!(
        "t-1|2023-11-14T22:13:20Z|{WEBHOOK}|{}",
        crc32(body.as_bytes())
    );
    let mut signature = vec![0; PAYPAL.public_modulus_len()];
    PAYPAL
        .sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            signed.as_bytes(),
            &mut signature,
        )
        .expect("signed");
    vec![
        ("Paypal-Transmission-Id", "t-1".into()),
        ("Paypal-Transmission-Time", "2023-11-14T22:13:20Z".into()),
        ("Paypal-Auth-Algo", "SHA256withRSA".into()),
        ("Paypal-Cert-Url", URL.into()),
        ("Paypal-Transmission-Sig", STANDARD.encode(signature)),
    ]
}

fn prepared(secrets: &[&str]) -> PreparedScheme {
    let secrets: Vec<_> = secrets.iter().map(|text| (*text).into()).collect();
    PreparedScheme::new(Scheme::Paypal, &secrets).expect("secrets")
}

fn judge(
    headers: &[(&'static str, String)],
    body: &str,
    certificate: Option<&[u8]>,
) -> Result<usize, Refusal> {
    let headers = headers.to_vec();
    let request = Request {
        headers: &headers,
        body: body.as_bytes(),
        now_secs: 0,
        route: Route {
            certificate,
            ..Route::default()
        },
    };
    prepared(&["another", WEBHOOK])
        .verify(300, &request)
        .map(|verified| verified.secret_index)
}

#[test]
fn what_paypal_s_key_signs_verifies_and_nothing_else_does() {
    assert_eq!(crc32(BODY.as_bytes()), BODY_CRC);
    let (headers, key) = (headers_of(BODY), public());
    assert_eq!(judge(&headers, BODY, Some(&key)), Ok(1));
    let changed = BODY.replace("paid", "void");
    assert_eq!(
        judge(&headers, &changed, Some(&key)),
        Err(Refusal::SignatureWrong)
    );
    for (at, value) in [(0, "t-2"), (1, "2023-11-14T22:13:21Z")] {
        let mut other = headers.clone();
        other[at].1 = value.to_owned();
        assert_eq!(
            judge(&other, BODY, Some(&key)),
            Err(Refusal::SignatureWrong)
        );
    }
    let stranger = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let other = stranger.public_key().as_der().expect("a public key");
    assert_eq!(
        judge(&headers, BODY, Some(other.as_ref())),
        Err(Refusal::SignatureWrong)
    );
    assert_eq!(
        judge(&headers, BODY, Some(b"no key")),
        Err(Refusal::SignatureWrong)
    );
    assert_eq!(
        judge(&headers, BODY, None),
        Err(Refusal::CertificateUnknown)
    );
}

#[test]
fn what_is_missing_or_malformed_is_refused_before_any_certificate_is_asked_for() {
    let needed = |headers: &Vec<(&'static str, String)>, body: &str, secrets: &[&str]| {
        let request = Request {
            headers,
            body: body.as_bytes(),
            now_secs: 0,
            route: Route::default(),
        };
        prepared(secrets)
            .certificate_needed(&request)
            .map(|found| found.map(|found| (found.url == URL, found.name)))
            .map_err(|refusal| (refusal.code(), refusal.http_status()))
    };
    let good = headers_of(EVENT);
    assert_eq!(
        needed(&good, EVENT, &[WEBHOOK]),
        Ok(Some((true, "messageverificationcerts.paypal.com")))
    );
    for (at, value, refused) in [
        (0, "", ("header_missing", 400)),
        (1, "", ("timestamp_missing", 400)),
        (2, "SHA1withRSA", ("header_malformed", 400)),
        (
            3,
            "https://example.com/v1/notifications/certs/CERT-1",
            ("header_malformed", 400),
        ),
        (3, "", ("header_missing", 400)),
        (4, "", ("signature_missing", 400)),
        (4, "AAAA", ("signature_malformed", 400)),
    ] {
        let mut headers = good.clone();
        headers[at].1 = value.to_owned();
        assert_eq!(
            needed(&headers, EVENT, &[WEBHOOK]),
            Err(refused),
            "{at} {value}"
        );
    }
    assert_eq!(
        needed(&good, "{}", &[WEBHOOK]),
        Err(("provider_id_missing", 400))
    );
    assert_eq!(needed(&good, EVENT, &[]), Err(("secret_missing", 401)));
    let stripe = PreparedScheme::new(Scheme::Stripe, &["whsec_a".into()]).expect("a secret");
    let request = Request {
        headers: &good,
        body: b"{}",
        now_secs: 0,
        route: Route::default(),
    };
    assert_eq!(
        stripe.certificate_needed(&request),
        Ok(None::<CertificateNeeded<'_>>)
    );
}

#[test]
fn a_transmission_counts_once_whatever_its_body() {
    let event = |body: &str| {
        let headers = headers_of(body);
        let request = Request {
            headers: &headers,
            body: body.as_bytes(),
            now_secs: 0,
            route: Route::default(),
        };
        prepared(&[WEBHOOK])
            .extract(&request)
            .expect("an event")
            .remove(0)
    };
    let first = event(EVENT);
    assert_eq!(
        (first.provider_id.as_str(), first.kind.as_str()),
        ("WH-1", "PAYMENT.CAPTURE.COMPLETED")
    );
    assert_eq!(first.occurred_at_micros, Some(1_700_000_000_500_000));
    let second = event(&EVENT.replace("WH-1", "WH-2"));
    assert_ne!(first.dedup_keys[0], second.dedup_keys[0]);
    assert_eq!(first.dedup_keys[1], second.dedup_keys[1]);
}

#[test]
fn a_body_that_was_written_anew_is_recognised() {
    let (headers, key) = (headers_of("{\n  \"id\": \"WH-1\"\n}"), public());
    let request = Request {
        headers: &headers,
        body: br#"{"id":"WH-1"}"#,
        now_secs: 0,
        route: Route {
            certificate: Some(&key),
            ..Route::default()
        },
    };
    let told = explain(&Scheme::Paypal, &[], &[WEBHOOK.into()], 300, &request);
    assert_eq!(told.code, Some("signature_wrong"));
    assert!(
        told.hints.iter().any(|hint| hint.contains("indented")),
        "{:?}",
        told.hints
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bit_of_body_or_signature_can_be_flipped(at in any::<prop::sample::Index>(), bit in 0_u8..7, in_body in any::<bool>()) {
        let mut headers = headers_of(BODY);
        let mut body = BODY.as_bytes().to_vec();
        if in_body {
            let at = at.index(body.len());
            body[at] ^= 1_u8 << bit;
        } else {
            let mut bytes = STANDARD.decode(&headers[4].1).expect("base64");
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            headers[4].1 = STANDARD.encode(bytes);
        }
        let body = String::from_utf8(body).expect("ASCII");
        let key = public();
        prop_assert_eq!(judge(&headers, &body, Some(&key)), Err(Refusal::SignatureWrong));
    }
}
