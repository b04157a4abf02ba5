//! What holds for every body, header and clock.

use mainstay_domain::intake::scheme::{
    Message, PreparedScheme, Request, Route, Scheme, Secret, dedup_key, explain, extract,
    generate_secret, sign, verify,
};
use proptest::prelude::*;

use super::scheme_vectors::{paddle, rule, shopify, slack};

const NOW: i64 = 1_700_000_000;

fn schemes() -> Vec<Scheme> {
    vec![
        Scheme::Stripe,
        Scheme::StandardWebhooks,
        Scheme::Github,
        Scheme::Meta { verify_token: None },
        Scheme::Slack,
        Scheme::Paddle,
        Scheme::Shopify,
        Scheme::Whop,
        slack(),
        paddle(),
        shopify(),
        rule(
            r#"{"header":"X-Sig","algorithm":"sha512","encoding":"base64","timestamp_header":"X-Time",
                 "signed":"{id}.{timestamp}.{body}","id":{"header":"X-Id"}}"#,
        ),
    ]
}

fn any_scheme() -> impl Strategy<Value = Scheme> {
    prop::sample::select(schemes())
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "\\{\"id\":\"[a-z]{1,5}\",\"type\":\"[a-zé😀\\\\]{0,5}\"\\}".prop_map(String::into_bytes),
        "payload=(%7[bBdD]|%22|%[0-9a-g]{0,2}|[a-z+&=:]){0,20}".prop_map(String::into_bytes),
        ".{0,100}".prop_map(String::into_bytes),
    ]
}

/// Header values between noise and nearly right.
fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        "(t=|v1=|v1,|ts=|h1=|sha256=|v0=|[0-9]{1,20}|[0-9a-f]{64}|[A-Za-z0-9+/]{43}=|[,; =.]){0,12}"
            .prop_map(String::into_bytes),
    ]
}

/// JSON-like text that often gets far into a reader.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "(null|true|0|-1|1e999|1.5|99999999999999999999|\"\"|\"x\"|\"\\\\ud800\"|\"messages\"|\"subscribe\")",
        "\"[a-z\\\\n]{0,4}\"",
    ];
    let key = "\"(id|type|created|entry|changes|field|value|messages|statuses|contacts|messaging|message|mid|status|timestamp|action|event|event_id)\"";
    leaf.prop_recursive(8, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec((key, inner), 0..6).prop_map(|all| {
                let all: Vec<_> = all
                    .into_iter()
                    .map(|(key, value)| format!("{key}:{value}"))
                    .collect();
                format!("{{{}}}", all.join(","))
            }),
        ]
    })
}

fn signed(scheme: &Scheme, secret: &Secret, body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let message = Message {
        id: "msg_1",
        kind: "ping",
        timestamp_secs: NOW,
        body,
    };
    sign(scheme, secret, &message)
        .expect("a secret")
        .into_iter()
        .map(|(name, value)| (name, value.into_bytes()))
        .collect()
}

proptest! {
    #[test]
    fn what_is_signed_verifies_within_the_tolerance(
        scheme in any_scheme(), body in any_body(), random in any::<[u8; 32]>(), off in -300_i64..=300,
    ) {
        let secret = Secret::new(generate_secret(&scheme, &random));
        let headers = signed(&scheme, &secret, &body);
        let request = Request { headers: &headers, body: &body, now_secs: NOW + off, route: Route::default() };
        let secrets = [Secret::new(generate_secret(&scheme, &[9; 32])), secret];
        let verified = verify(&scheme, &secrets, 300, &request);
        prop_assert_eq!(verified.map(|verified| verified.secret_index), Ok(1));
    }

    #[test]
    fn no_bit_of_the_body_can_be_flipped(
        scheme in any_scheme(), body in any_body(), at in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        prop_assume!(!body.is_empty());
        let secret = Secret::new(generate_secret(&scheme, &[7; 32]));
        let headers = signed(&scheme, &secret, &body);
        let mut changed = body;
        let at = at.index(changed.len());
        changed[at] ^= 1_u8 << bit;
        let request = Request { headers: &headers, body: &changed, now_secs: NOW, route: Route::default() };
        let refusal = verify(&scheme, &[secret], 300, &request).expect_err("changed");
        prop_assert_eq!(refusal.code(), "signature_wrong");
    }

    #[test]
    fn no_bit_of_a_signed_header_can_be_flipped(
        scheme in any_scheme(), body in any_body(),
        which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let secret = Secret::new(generate_secret(&scheme, &[7; 32]));
        let headers = signed(&scheme, &secret, &body);
        // Ids and types that the scheme does not sign, and the case of hexadecimal digits, may differ.
        let unsigned = [
            "X-GitHub-Delivery", "X-GitHub-Event", "X-Shopify-Webhook-Id", "X-Shopify-Topic",
        ];
        let signed: Vec<usize> = (0..headers.len())
            .filter(|&at| !unsigned.contains(&headers[at].0.as_str()))
            .collect();
        let which = signed[which.index(signed.len())];
        let mut changed = headers.clone();
        let at = at.index(changed[which].1.len());
        changed[which].1[at] ^= 1_u8 << bit;
        let same_digit = changed[which].1.eq_ignore_ascii_case(&headers[which].1);
        let hexadecimal = !matches!(scheme, Scheme::StandardWebhooks | Scheme::Whop) && changed[which].1[at].is_ascii_hexdigit();
        if same_digit && hexadecimal {
            return Ok(());
        }
        let request = Request { headers: &changed, body: &body, now_secs: NOW, route: Route::default() };
        let verdict = verify(&scheme, &[secret], i64::MAX, &request);
        prop_assert!(verdict.is_err(), "{:?}", String::from_utf8_lossy(&changed[which].1));
    }

    #[test]
    fn nothing_makes_verifying_or_explaining_panic(
        scheme in any_scheme(), body in any_body(), now in any::<i64>(), tolerance in any::<i64>(),
        values in prop::collection::vec(any_value(), 3),
    ) {
        let secret = Secret::new(generate_secret(&scheme, &[7; 32]));
        let mut headers = signed(&scheme, &secret, &body);
        for (header, value) in headers.iter_mut().zip(values) {
            header.1 = value;
        }
        let request = Request { headers: &headers, body: &body, now_secs: now, route: Route::default() };
        let prepared = PreparedScheme::new(scheme.clone(), std::slice::from_ref(&secret)).expect("a secret");
        let verdict = prepared.verify(tolerance, &request);
        prop_assert!(verdict.is_err(), "noise verified");
        prop_assert!(!explain(&scheme, &[], &[secret], tolerance, &request).accepted);
    }

    #[test]
    fn nothing_makes_extracting_panic(
        scheme in any_scheme(), noise in any_body(), json in any_json(), values in prop::collection::vec(any_value(), 3),
    ) {
        let secret = Secret::new(generate_secret(&scheme, &[7; 32]));
        let mut headers = signed(&scheme, &secret, b"");
        for body in [noise, json.into_bytes()] {
            for round in 0..2 {
                let request = Request { headers: &headers, body: &body, now_secs: NOW, route: Route::default() };
                if let Ok(events) = extract(&scheme, &request) {
                    for event in events {
                        prop_assert!(!event.provider_id.is_empty() && event.provider_id.len() <= 512);
                        prop_assert!(!event.kind.is_empty());
                        prop_assert!(!event.provider_id.contains('\0') && !event.kind.contains('\0'));
                        prop_assert_eq!(event.dedup_keys[0], dedup_key(&event.provider_id));
                        if matches!(scheme, Scheme::Meta { .. }) {
                            let payload = event.payload.bytes(&body);
                            prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(payload).is_ok());
                        }
                    }
                }
                if round == 0 {
                    headers.iter_mut().zip(values.clone()).for_each(|(header, value)| header.1 = value);
                }
            }
        }
    }

    #[test]
    fn dedup_keys_are_equal_exactly_when_ids_are(left in ".{0,8}", right in ".{0,8}") {
        prop_assert_eq!(dedup_key(&left) == dedup_key(&right), left == right);
        prop_assert_eq!(dedup_key(&left), dedup_key(&left.clone()));
    }
}
