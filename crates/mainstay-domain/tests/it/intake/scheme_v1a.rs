//! Standard Webhooks with ed25519, beside the HMAC in one header.

use mainstay_domain::intake::scheme::{
    Message, PreparedScheme, Request, Route, Scheme, Secret, sign,
};
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000;
/// The key pair of RFC 8032's third test, and nobody's.
const PRIVATE: &str = "whsk_xaqN9D+fg3vtt0QvMdy3sWbThTUHbwlLhc46LgtEWPc=";
const PUBLIC: &str = "whpk_/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU=";
const SYMMETRIC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_PUBLIC: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

fn headers_of(secrets: &[&str], body: &[u8]) -> Vec<(String, String)> {
    let secrets: Vec<Secret> = secrets.iter().map(|text| (*text).into()).collect();
    let message = Message {
        id: "msg_1",
        kind: "",
        timestamp_secs: NOW,
        body,
    };
    PreparedScheme::new(Scheme::StandardWebhooks, &secrets)
        .expect("keys")
        .sign(&message)
}

fn judge(
    secrets: &[&str],
    headers: &[(String, String)],
    body: &[u8],
    now_secs: i64,
) -> Result<usize, (&'static str, u16)> {
    let secrets: Vec<Secret> = secrets.iter().map(|text| (*text).into()).collect();
    let headers = headers.to_vec();
    let request = Request {
        headers: &headers,
        body,
        now_secs,
        route: Route::default(),
    };
    PreparedScheme::new(Scheme::StandardWebhooks, &secrets)
        .expect("keys")
        .verify(300, &request)
        .map(|verified| verified.secret_index)
        .map_err(|refusal| (refusal.code(), refusal.http_status()))
}

#[test]
fn what_the_private_key_signs_the_public_key_verifies() {
    let headers = headers_of(&[PRIVATE], b"{}");
    assert!(headers[2].1.starts_with("v1a,"));
    assert_eq!(judge(&[PUBLIC], &headers, b"{}", NOW), Ok(0));
    assert_eq!(judge(&[OTHER_PUBLIC, PUBLIC], &headers, b"{}", NOW), Ok(1));
    assert_eq!(
        judge(&[OTHER_PUBLIC], &headers, b"{}", NOW),
        Err(("signature_wrong", 401))
    );
    assert_eq!(
        judge(&[SYMMETRIC], &headers, b"{}", NOW),
        Err(("signature_wrong", 401))
    );
}

#[test]
fn both_versions_stand_in_one_header_and_either_is_enough() {
    let headers = headers_of(&[SYMMETRIC, PRIVATE], b"{}");
    for secret in [SYMMETRIC, PUBLIC] {
        assert_eq!(judge(&[secret], &headers, b"{}", NOW), Ok(0), "{secret}");
    }
    assert_eq!(judge(&[PUBLIC, SYMMETRIC], &headers, b"{}", NOW), Ok(1));
    let svix: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| (name.replace("webhook-", "svix-"), value.clone()))
        .collect();
    assert_eq!(judge(&[PUBLIC], &svix, b"{}", NOW), Ok(0));
}

#[test]
fn an_hmac_made_with_the_public_key_s_text_proves_nothing() {
    // Whoever knows the public key could make it: a verifier that takes any key for any version would let it in.
    let secret = PUBLIC.replace("whpk_", "whsec_");
    let message = Message {
        id: "msg_1",
        kind: "",
        timestamp_secs: NOW,
        body: b"{}",
    };
    let mut headers =
        sign(&Scheme::StandardWebhooks, &secret.as_str().into(), &message).expect("a key");
    assert_eq!(
        judge(&[PUBLIC], &headers, b"{}", NOW),
        Err(("signature_wrong", 401))
    );
    headers[2].1 = headers[2].1.replace("v1,", "v1a,");
    assert_eq!(
        judge(&[PUBLIC], &headers, b"{}", NOW),
        Err(("signature_malformed", 400))
    );
}

#[test]
fn the_time_counts_for_either_version() {
    let headers = headers_of(&[PRIVATE], b"{}");
    assert_eq!(judge(&[PUBLIC], &headers, b"{}", NOW + 300), Ok(0));
    assert_eq!(
        judge(&[PUBLIC], &headers, b"{}", NOW + 301),
        Err(("timestamp_too_old", 401))
    );
    assert_eq!(
        judge(&[PUBLIC], &headers, b"{}", NOW - 301),
        Err(("timestamp_in_future", 401))
    );
}

#[test]
fn a_source_takes_the_public_key_and_never_the_private_one() {
    let scheme = Scheme::StandardWebhooks;
    assert!(scheme.check_secret(&PUBLIC.into()).is_ok());
    for wrong in [PRIVATE, "whpk_AAAA", "whpk_!", "whsk_AAAA"] {
        let problem = scheme.check_secret(&wrong.into()).expect_err(wrong);
        assert_eq!(problem.field, "secret");
        assert!(!problem.to_string().contains("xaqN9"));
    }
    let mismatched = format!("{}{}", PRIVATE.trim_end_matches('='), "A".repeat(43));
    assert!(PreparedScheme::new(scheme, &[mismatched.as_str().into()]).is_err());
}

proptest! {
    #[test]
    fn no_bit_of_an_asymmetrically_signed_request_can_be_flipped(
        body in prop::collection::vec(any::<u8>(), 1..100), part in 0..4_usize,
        at in any::<prop::sample::Index>(), bit in 0_u8..7,
    ) {
        let mut headers = headers_of(&[PRIVATE], &body);
        let mut body = body;
        if part == 3 {
            let at = at.index(body.len());
            body[at] ^= 1_u8 << bit;
        } else {
            let at = at.index(headers[part].1.len());
            let mut bytes = headers[part].1.clone().into_bytes();
            bytes[at] ^= 1_u8 << bit;
            headers[part].1 = String::from_utf8(bytes).expect("ASCII");
        }
        prop_assert!(judge(&[PUBLIC], &headers, &body, NOW).is_err());
    }
}
