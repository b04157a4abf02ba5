//! What `mainstay verify` says about a request that does not verify.

use mainstay_domain::intake::{
    scheme::{
        Explanation, Message, Outcome, Request, Route, Scheme, Secret, explain, generate_secret,
        sign,
    },
    settings::SourceSettings,
};

const NOW: i64 = 1_700_000_000;
const BODY: &str =
    "{\n  \"id\": \"evt_1\",\n  \"type\": \"invoice.paid\",\n  \"name\": \"Zo\\u00eb\"\n}";

fn told(
    scheme: &Scheme,
    signing: &str,
    checking: &str,
    sent: &str,
    arrived: &str,
    now_secs: i64,
) -> Explanation {
    let message = Message {
        id: "msg_1",
        kind: "ping",
        timestamp_secs: NOW,
        body: sent.as_bytes(),
    };
    let headers = sign(scheme, &signing.into(), &message).expect("a secret");
    let request = Request {
        headers: &headers,
        body: arrived.as_bytes(),
        now_secs,
        route: Route::default(),
    };
    explain(scheme, &[], &[Secret::from(checking)], 300, &request)
}

fn stripe(arrived: &str, now_secs: i64) -> Explanation {
    told(
        &Scheme::Stripe,
        "whsec_a",
        "whsec_a",
        BODY,
        arrived,
        now_secs,
    )
}

#[test]
fn a_good_request_passes_every_check_and_shows_its_events() {
    let told = stripe(BODY, NOW + 10);
    assert!(told.accepted);
    assert_eq!((told.code, told.clock_difference_secs), (None, Some(10)));
    let names: Vec<&str> = told.checks.iter().map(|check| check.name).collect();
    assert_eq!(
        names,
        ["secrets", "headers", "signature", "timestamp", "body"]
    );
    assert!(
        told.checks
            .iter()
            .all(|check| check.outcome == Outcome::Passed)
    );
    assert_eq!(told.events[0].kind, "invoice.paid");
}

#[test]
fn a_clock_that_is_off_is_told_with_its_difference() {
    let told = stripe(BODY, NOW - 1000);
    assert_eq!(
        (told.code, told.clock_difference_secs),
        (Some("timestamp_in_future"), Some(-1000))
    );
    assert_eq!(told.secret_index, Some(0));
    assert!(told.hints.iter().any(|hint| hint.contains("clock")));
    assert_eq!(stripe(BODY, NOW + 1000).code, Some("timestamp_too_old"));
}

#[test]
fn a_body_that_was_written_anew_is_recognised() {
    let compact = "{\"id\":\"evt_1\",\"type\":\"invoice.paid\",\"name\":\"Zo\\u00eb\"}";
    let plain = "{\"id\":\"evt_1\",\"type\":\"invoice.paid\",\"name\":\"Zoë\"}";
    for (arrived, words) in [
        (compact.to_owned(), "indented by two spaces"),
        (plain.to_owned(), "indented, with escapes"),
        (format!("{BODY}\n"), "without the line break"),
        (BODY.replace('\n', "\r\n"), "LF for CRLF"),
        (format!("\u{feff}{BODY}"), "byte order mark"),
    ] {
        let told = stripe(&arrived, NOW);
        assert_eq!(told.code, Some("signature_wrong"));
        assert!(
            told.hints.iter().any(|hint| hint.contains(words)),
            "{words}: {:?}",
            told.hints
        );
    }
}

#[test]
fn a_secret_read_in_the_wrong_way_is_recognised() {
    let whop = told(
        &Scheme::StandardWebhooks,
        "ws_abc",
        "whsec_d3NfYWJj",
        BODY,
        BODY,
        NOW,
    );
    assert!(whop.accepted, "base64 of the text is the text's key");
    let github = told(&Scheme::Github, "secret", "c2VjcmV0", BODY, BODY, NOW);
    assert!(
        github
            .hints
            .iter()
            .any(|hint| hint.contains("decoded from base64"))
    );
    let github = told(&Scheme::Github, "c2VjcmV0", "secret", BODY, BODY, NOW);
    assert!(
        github
            .hints
            .iter()
            .any(|hint| hint.contains("encoded in base64"))
    );
    let other = told(&Scheme::Github, "one", "two", BODY, BODY, NOW);
    assert!(
        other
            .hints
            .iter()
            .any(|hint| hint.contains("another endpoint"))
    );
}

#[test]
fn a_request_of_another_scheme_is_recognised() {
    let headers = vec![("Stripe-Signature", "t=1,v1=00")];
    let request = Request {
        headers: &headers,
        body: b"{}",
        now_secs: NOW,
        route: Route::default(),
    };
    let told = explain(&Scheme::Github, &[], &["secret".into()], 300, &request);
    assert_eq!(told.code, Some("signature_missing"));
    assert!(told.hints[0].contains("should be stripe"));
    let told = explain(
        &Scheme::StandardWebhooks,
        &[],
        &["not base64!".into()],
        300,
        &request,
    );
    assert_eq!(
        (told.accepted, told.code),
        (false, Some("secret_malformed"))
    );
    let told = explain(&Scheme::Stripe, &[], &[], 300, &request);
    assert_eq!(told.code, Some("secret_missing"));
}

#[test]
fn an_explanation_never_shows_a_secret_or_the_right_signature() {
    let secret = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldY";
    let message = Message {
        id: "m",
        kind: "",
        timestamp_secs: NOW,
        body: b"{}",
    };
    let right = sign(&Scheme::StandardWebhooks, &secret.into(), &message).expect("a secret");
    let mut headers = right.clone();
    headers[2].1 = format!("v1,{}", "A".repeat(43));
    let request = Request {
        headers: &headers,
        body: b"{}",
        now_secs: NOW,
        route: Route::default(),
    };
    let told = explain(
        &Scheme::StandardWebhooks,
        &[],
        &[secret.into()],
        300,
        &request,
    );
    let text = serde_json::to_string(&told).expect("JSON");
    assert!(!text.contains("QUJD") && !text.contains(right[2].1.trim_start_matches("v1,")));
}

#[test]
fn a_generated_secret_is_one_of_its_scheme() {
    for name in Scheme::NAMES {
        if matches!(name, "hmac" | "address") {
            continue;
        }
        let settings = SourceSettings::default();
        let scheme = Scheme::from_settings(name, &settings).expect("a scheme");
        let secret = generate_secret(&scheme, &[7; 32]);
        assert!(scheme.check_secret(&secret.as_str().into()).is_ok());
        assert_ne!(secret, generate_secret(&scheme, &[8; 32]));
    }
}
