//! Which rule a refused request failed by, one cause for each.

use mainstay_domain::intake::scheme::{
    Cause, Diagnosis, Message, PreparedScheme, Request, Route, Scheme, Secret, diagnose, sign,
};

const NOW: i64 = 1_700_000_000;
const BODY: &str = r#"{"id":"evt_1","type":"invoice.paid","created":1,"livemode":true}"#;
const RIGHT: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn prepared(scheme: &Scheme, secret: &str) -> PreparedScheme {
    PreparedScheme::new(scheme.clone(), &[Secret::from(secret)]).expect("a usable secret")
}

fn signed(scheme: &Scheme, secret: &str, body: &str) -> Vec<(String, String)> {
    let message = Message {
        id: "msg_1",
        kind: "ping",
        timestamp_secs: NOW,
        body: body.as_bytes(),
    };
    sign(scheme, &secret.into(), &message).expect("a usable secret")
}

fn told(
    scheme: &Scheme,
    secret: &str,
    headers: &Vec<(String, String)>,
    arrived: &str,
    others: &[&PreparedScheme],
) -> Diagnosis {
    at(NOW, scheme, secret, headers, arrived, others)
}

fn at(
    now_secs: i64,
    scheme: &Scheme,
    secret: &str,
    headers: &Vec<(String, String)>,
    arrived: &str,
    others: &[&PreparedScheme],
) -> Diagnosis {
    let request = Request {
        headers,
        body: arrived.as_bytes(),
        now_secs,
        route: Route::default(),
    };
    let secrets = [Secret::from(secret)];
    diagnose(&prepared(scheme, secret), &secrets, 300, &request, others)
}

#[test]
fn what_is_right_by_now_is_told_so() {
    let headers = signed(&Scheme::Stripe, RIGHT, BODY);
    let told = told(&Scheme::Stripe, RIGHT, &headers, BODY, &[]);
    assert_eq!(told.cause, Cause::Genuine);
}

#[test]
fn a_source_without_secrets_lacks_one() {
    let headers = signed(&Scheme::Stripe, RIGHT, BODY);
    let request = Request {
        headers: &headers,
        body: BODY.as_bytes(),
        now_secs: NOW,
        route: Route::default(),
    };
    let none = PreparedScheme::new(Scheme::Stripe, &[]).expect("a scheme");
    let told = diagnose(&none, &[], 300, &request, &[]);
    assert_eq!(told.cause, Cause::SecretMissing);
}

#[test]
fn a_header_that_is_missing_is_named_and_another_scheme_s_as_well() {
    let bare = told(&Scheme::Stripe, RIGHT, &Vec::new(), BODY, &[]);
    assert_eq!(bare.cause, Cause::HeaderMissing);
    assert!(bare.detail.contains("Stripe-Signature"), "{}", bare.detail);
    let headers = signed(&Scheme::StandardWebhooks, RIGHT, BODY);
    let other = told(&Scheme::Stripe, RIGHT, &headers, BODY, &[]);
    assert_eq!(other.cause, Cause::HeaderMissing);
    assert!(
        other.detail.contains("standard_webhooks"),
        "{}",
        other.detail
    );
}

#[test]
fn a_signature_that_is_none_is_malformed() {
    let headers = vec![("stripe-signature".to_owned(), "t=1700000000,v1=xyz".into())];
    let told = told(&Scheme::Stripe, RIGHT, &headers, BODY, &[]);
    assert_eq!(told.cause, Cause::Malformed);
}

#[test]
fn a_clock_that_is_off_is_told_by_how_much() {
    let headers = signed(&Scheme::Stripe, RIGHT, BODY);
    for difference in [1_000, -1_000] {
        let now = NOW + difference;
        let told = at(now, &Scheme::Stripe, RIGHT, &headers, BODY, &[]);
        assert_eq!(told.cause, Cause::ClockSkew);
        assert_eq!(told.clock_difference_secs, Some(difference));
    }
}

#[test]
fn a_body_that_is_not_the_scheme_s_is_told_apart_from_a_wrong_signature() {
    let headers = signed(&Scheme::Stripe, RIGHT, "[]");
    let told = told(&Scheme::Stripe, RIGHT, &headers, "[]", &[]);
    assert_eq!(told.cause, Cause::BodyMalformed);
}

#[test]
fn the_secret_of_another_source_is_found_whatever_its_scheme() {
    let first = prepared(&Scheme::Github, "first");
    let second = prepared(&Scheme::Stripe, RIGHT);
    let third = prepared(&Scheme::StandardWebhooks, RIGHT);
    let others = [&first, &second, &third];
    let headers = signed(&Scheme::Stripe, RIGHT, BODY);
    let swapped = told(&Scheme::Stripe, "whsec_other", &headers, BODY, &others);
    assert_eq!(
        (swapped.cause, swapped.other),
        (Cause::OtherSource, Some(1))
    );
    // However long ago it was signed.
    let old = at(NOW * 2, &Scheme::Stripe, "a", &headers, BODY, &others);
    assert_eq!((old.cause, old.other), (Cause::OtherSource, Some(1)));
    // The provider was given the URL of this source instead of its own.
    let headers = signed(&Scheme::StandardWebhooks, RIGHT, BODY);
    let astray = told(&Scheme::Stripe, "whsec_other", &headers, BODY, &others);
    assert_eq!((astray.cause, astray.other), (Cause::OtherSource, Some(2)));
    // Signed in this source's way with a secret that stands with a source of another scheme.
    let headers = signed(&Scheme::Github, "first", BODY);
    let meta = Scheme::Meta { verify_token: None };
    let told = told(&meta, "whsec_other", &headers, BODY, &others);
    assert_eq!((told.cause, told.other), (Cause::OtherSource, Some(0)));
}

#[test]
fn an_address_alone_is_no_other_source() {
    let anybody = PreparedScheme::new(
        Scheme::Address {
            event: Box::default(),
        },
        &[],
    )
    .expect("a scheme");
    let headers = signed(&Scheme::Stripe, "whsec_forged", BODY);
    let told = told(&Scheme::Stripe, RIGHT, &headers, BODY, &[&anybody]);
    assert_eq!(told.cause, Cause::WrongSecret);
}

#[test]
fn a_key_that_is_read_the_wrong_way_is_told_in_both_directions() {
    let rule = |encoding: &str| -> Scheme {
        let json = format!(
            r#"{{"scheme":"hmac","header":"x-sig","key_encoding":"{encoding}","id":"digest","type":{{"fixed":"a"}}}}"#
        );
        serde_json::from_str(&json).expect("a rule")
    };
    const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for (theirs, ours, words) in [
        ("base64", "utf8", "decoded from base64"),
        ("utf8", "base64", "used as text"),
    ] {
        let headers = signed(&rule(theirs), KEY, BODY);
        let told = told(&rule(ours), KEY, &headers, BODY, &[]);
        assert_eq!(told.cause, Cause::KeyEncoding, "{ours}");
        assert!(told.detail.contains(words), "{}", told.detail);
        assert!(!told.detail.contains(KEY), "{}", told.detail);
    }
}

#[test]
fn a_body_that_was_changed_on_its_way_is_told() {
    let headers = signed(&Scheme::Stripe, RIGHT, BODY);
    let line_break = format!("{BODY}\n");
    let spaced = BODY.replace(':', ": ").replace(',', ", ");
    for altered in [&line_break, &spaced] {
        let told = told(&Scheme::Stripe, RIGHT, &headers, altered, &[]);
        assert_eq!(told.cause, Cause::BodyAltered, "{altered}");
    }
}

#[test]
fn a_test_mode_event_is_told_from_a_wrong_secret() {
    let test = BODY.replace("true", "false");
    for (body, cause) in [(test.as_str(), Cause::TestMode), (BODY, Cause::WrongSecret)] {
        let headers = signed(&Scheme::Stripe, "whsec_of_the_other_mode", body);
        let told = told(&Scheme::Stripe, RIGHT, &headers, body, &[]);
        assert_eq!(told.cause, cause);
    }
    // Only Stripe has such a mode.
    let headers = signed(&Scheme::Github, "forged", &test);
    let told = told(&Scheme::Github, RIGHT, &headers, &test, &[]);
    assert_eq!(told.cause, Cause::WrongSecret);
}

#[test]
fn a_token_that_is_never_kept_cannot_be_looked_at_again() {
    let scheme: Scheme = serde_json::from_str(r#"{"scheme":"bearer"}"#).expect("a scheme");
    let told = told(&scheme, "a-token-of-some-length", &Vec::new(), BODY, &[]);
    assert_eq!(told.cause, Cause::NotKept);
}
