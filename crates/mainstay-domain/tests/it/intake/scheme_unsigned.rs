//! Providers that sign nothing: a token in a header, or nothing but their address.

use mainstay_domain::{
    Cidr,
    intake::{
        scheme::{
            Explanation, Message, Outcome, PreparedScheme, Refusal, Request, Route, Scheme, Secret,
            explain, sign,
        },
        settings::SourceSettings,
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

const BODY: &[u8] = br#"{"id":7,"type":"push"}"#;

fn bearer(rule: Value, event: Value) -> Scheme {
    let settings = SourceSettings {
        bearer: Some(rule),
        event: Some(event),
        ..SourceSettings::default()
    };
    Scheme::from_settings("bearer", &settings).expect("a rule")
}

fn address(allow: &[&str]) -> (Scheme, Vec<Cidr>) {
    let settings = SourceSettings {
        event: Some(json!({ "id": { "pointer": "/id" }, "type": { "pointer": "/type" } })),
        allow: allow.iter().map(|text| (*text).to_owned()).collect(),
        ..SourceSettings::default()
    };
    let scheme = Scheme::from_settings("address", &settings).expect("settings");
    (scheme, settings.ranges().expect("ranges"))
}

fn request<'a>(headers: &'a Vec<(&'a str, &'a str)>, remote: Option<&str>) -> Request<'a> {
    Request {
        headers,
        body: BODY,
        now_secs: 0,
        route: Route {
            url: "",
            remote: remote.map(|text| text.parse().expect("an address")),
            ..Route::default()
        },
    }
}

fn judge(scheme: &Scheme, headers: &[(&str, &str)]) -> Result<usize, (&'static str, u16)> {
    let secrets: Vec<Secret> = vec!["new-token".into(), "old-token".into()];
    PreparedScheme::new(scheme.clone(), &secrets)
        .expect("secrets")
        .verify(300, &request(&headers.to_vec(), None))
        .map(|verified| verified.secret_index)
        .map_err(|refusal| (refusal.code(), refusal.http_status()))
}

#[test]
fn either_token_opens_and_the_answer_says_which() {
    let scheme = bearer(json!({}), json!({}));
    let with = |value| judge(&scheme, &[("authorization", value)]);
    assert_eq!(with("Bearer new-token"), Ok(0));
    assert_eq!(with("bearer old-token"), Ok(1));
    assert_eq!(with("Bearer other"), Err(("signature_wrong", 401)));
    assert_eq!(with("Bearer new-toke"), Err(("signature_wrong", 401)));
    assert_eq!(with("Bearer new-token2"), Err(("signature_wrong", 401)));
    for malformed in ["Bearer", "Bearer ", "new-token", "Basic new-token", "é"] {
        assert_eq!(
            with(malformed),
            Err(("signature_malformed", 400)),
            "{malformed}"
        );
    }
    assert_eq!(judge(&scheme, &[]), Err(("signature_missing", 400)));
}

#[test]
fn the_header_and_what_stands_before_the_token_can_be_told() {
    let gitlab = bearer(
        json!({ "header": "X-Gitlab-Token" }),
        json!({ "id": { "header": "Idempotency-Key" }, "type": { "header": "X-Gitlab-Event" } }),
    );
    assert_eq!(gitlab.credential_header(), Some("X-Gitlab-Token"));
    assert_eq!(judge(&gitlab, &[("x-gitlab-token", "old-token")]), Ok(1));
    let message = Message {
        id: "k1",
        kind: "Push Hook",
        timestamp_secs: 0,
        body: BODY,
    };
    let headers = sign(&gitlab, &"new-token".into(), &message).expect("a secret");
    let borrowed: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let prepared = PreparedScheme::new(gitlab, &["new-token".into()]).expect("a secret");
    let request = request(&borrowed, None);
    assert!(prepared.verify(300, &request).is_ok());
    let event = prepared.extract(&request).expect("an event").remove(0);
    assert_eq!(
        (event.provider_id.as_str(), event.kind.as_str()),
        ("k1", "Push Hook")
    );

    let token = bearer(json!({ "prefix": "Token " }), json!({}));
    assert_eq!(
        judge(&token, &[("authorization", "Token new-token")]),
        Ok(0)
    );
}

#[test]
fn a_rule_that_cannot_work_is_refused() {
    for (name, field, value, expected) in [
        (
            "bearer",
            "bearer",
            json!({ "header": "a b" }),
            "bearer.header",
        ),
        (
            "bearer",
            "bearer",
            json!({ "prefix": "é" }),
            "bearer.prefix",
        ),
        ("bearer", "bearer", json!({ "other": 1 }), "bearer"),
        (
            "bearer",
            "event",
            json!({ "id": { "header": "" } }),
            "event.id",
        ),
        (
            "bearer",
            "event",
            json!({ "type": { "fixed": "" } }),
            "event.type",
        ),
        (
            "address",
            "event",
            json!({ "occurred_at": { "header": "a b" } }),
            "event.occurred_at",
        ),
        (
            "address",
            "event",
            json!({ "id": { "pointer": "id" } }),
            "event",
        ),
    ] {
        let settings = json!({ field: value, "allow": ["192.0.2.1"] });
        let settings: SourceSettings = serde_json::from_value(settings).expect("settings");
        let problem = Scheme::from_settings(name, &settings).expect_err(expected);
        assert_eq!(problem.field, expected, "{problem}");
    }
}

#[test]
fn an_address_on_the_list_is_let_in_without_a_secret_and_no_other_is() {
    let (scheme, ranges) = address(&["192.0.2.0/24", "2001:db8::/32"]);
    let prepared = PreparedScheme::new(scheme, &[])
        .expect("no secrets")
        .allowing(ranges);
    for inside in ["192.0.2.1", "::ffff:192.0.2.255", "2001:db8::1"] {
        let headers = Vec::new();
        let request = request(&headers, Some(inside));
        assert!(prepared.verify(300, &request).is_ok(), "{inside}");
        let event = prepared.extract(&request).expect("an event").remove(0);
        assert_eq!(
            (event.provider_id.as_str(), event.kind.as_str()),
            ("7", "push")
        );
    }
    for outside in [Some("192.0.3.1"), Some("2001:db9::1"), None] {
        let headers = Vec::new();
        let verdict = prepared.verify(300, &request(&headers, outside));
        assert_eq!(verdict, Err(Refusal::AddressNotAllowed));
    }
    assert_eq!(Refusal::AddressNotAllowed.http_status(), 403);
}

#[test]
fn without_a_list_the_scheme_address_lets_nobody_in() {
    let (scheme, _) = address(&["192.0.2.1"]);
    let prepared = PreparedScheme::new(scheme.clone(), &[]).expect("no secrets");
    let headers = Vec::new();
    let verdict = prepared.verify(300, &request(&headers, Some("192.0.2.1")));
    assert_eq!(verdict, Err(Refusal::AddressNotAllowed));
    assert!(scheme.check_secret(&"secret".into()).is_err());
}

#[test]
fn a_list_beside_a_scheme_takes_nothing_from_its_signature() {
    let (_, ranges) = address(&["192.0.2.1"]);
    let scheme = bearer(json!({}), json!({}));
    let prepared = PreparedScheme::new(scheme, &["token".into()])
        .expect("a secret")
        .allowing(ranges);
    let judge = |remote, value: &'static str| {
        let headers = vec![("authorization", value)];
        prepared
            .verify(300, &request(&headers, Some(remote)))
            .map_err(|refusal| refusal.code())
    };
    assert!(judge("192.0.2.1", "Bearer token").is_ok());
    assert_eq!(
        judge("192.0.2.1", "Bearer other").err(),
        Some("signature_wrong")
    );
    assert_eq!(
        judge("192.0.2.2", "Bearer token").err(),
        Some("address_not_allowed")
    );
}

#[test]
fn settings_refuse_ranges_that_are_none() {
    for allow in [vec!["here"], vec!["10.0.0.1/8"], vec!["10.0.0.0/8"; 257]] {
        let settings = SourceSettings {
            allow: allow.into_iter().map(str::to_owned).collect(),
            ..SourceSettings::default()
        };
        assert_eq!(settings.check().expect_err("no range").field, "allow");
    }
    for url in [
        "ftp://a",
        "https://",
        "https:///x",
        "https://a/b?c=d",
        "https://a b",
    ] {
        let settings = SourceSettings {
            url: Some(url.to_owned()),
            ..SourceSettings::default()
        };
        assert_eq!(settings.check().expect_err(url).field, "url");
    }
}

#[test]
fn an_address_is_explained() {
    let (scheme, ranges) = address(&["192.0.2.1"]);
    let told = |remote| {
        let headers = Vec::new();
        explain(&scheme, &ranges, &[], 300, &request(&headers, Some(remote)))
    };
    let outcome = |told: &Explanation| {
        let check = told.checks.iter().find(|check| check.name == "address");
        check.map(|check| check.outcome)
    };
    let inside = told("192.0.2.1");
    assert!(inside.accepted, "{inside:?}");
    assert_eq!(
        (outcome(&inside), inside.secret_index),
        (Some(Outcome::Passed), None)
    );
    let outside = told("192.0.2.2");
    assert!(!outside.accepted);
    assert_eq!(
        (outcome(&outside), outside.http_status),
        (Some(Outcome::Failed), Some(403))
    );
}

proptest! {
    #[test]
    fn no_other_token_opens(token in "[ -~]{1,40}") {
        let scheme = bearer(json!({}), json!({}));
        prop_assume!(token.trim() != "new-token" && token.trim() != "old-token");
        let value = format!("Bearer {token}");
        prop_assert!(judge(&scheme, &[("authorization", &value)]).is_err());
    }
}
