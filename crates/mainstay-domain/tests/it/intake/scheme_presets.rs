//! Shopify, Slack, Paddle and Whop: what they sign, what is read of it, and what is refused.

use mainstay_domain::intake::scheme::{
    Extracted, Message, PreparedScheme, Refusal, Request, Route, Scheme, Secret, UNTYPED, sign,
    verify,
};

const NOW: i64 = 1_700_000_000;
const INVOICE: &str = r#"{"id":"evt_1","object":"event","type":"invoice.paid"}"#;

fn judged(
    scheme: &Scheme,
    secret: &str,
    headers: &[(&str, String)],
    body: &str,
    now_secs: i64,
) -> Result<Vec<Extracted>, Refusal> {
    let headers = headers.to_vec();
    let request = Request {
        headers: &headers,
        body: body.as_bytes(),
        now_secs,
        route: Route::default(),
    };
    let prepared =
        PreparedScheme::new(scheme.clone(), &["other".into(), secret.into()]).expect("secrets");
    prepared.verify(300, &request)?;
    prepared.extract(&request)
}

/// The headers of a body as the provider would sign it now, and others.
fn signed(
    scheme: &Scheme,
    secret: &str,
    body: &str,
    more: &[(&'static str, &str)],
) -> Vec<(&'static str, String)> {
    let message = Message {
        id: "id_1",
        kind: "orders/paid",
        timestamp_secs: NOW,
        body: body.as_bytes(),
    };
    let headers = sign(scheme, &secret.into(), &message).expect("a secret");
    let own = headers
        .into_iter()
        .map(|(name, value)| (&*name.leak(), value))
        .filter(|(name, _)| {
            !more
                .iter()
                .any(|(other, _)| other.eq_ignore_ascii_case(name))
        });
    let own: Vec<(&'static str, String)> = own.collect();
    let more = more
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    own.into_iter().chain(more).collect()
}

fn one(scheme: &Scheme, body: &str, more: &[(&'static str, &str)]) -> Extracted {
    let headers = signed(scheme, "secret", body, more);
    let mut events = judged(scheme, "secret", &headers, body, NOW).expect("accepted");
    assert_eq!(events.len(), 1);
    events.remove(0)
}

#[test]
fn signatures_computed_elsewhere_verify() {
    type Vector = (
        Scheme,
        &'static str,
        &'static [(&'static str, &'static str)],
        &'static str,
    );
    let table: [Vector; 4] = [
        (
            Scheme::Shopify,
            "hush",
            &[
                (
                    "X-Shopify-Hmac-Sha256",
                    "VnKUjZsLuN5iZWjn5EntcBVCF9kMN43LglzCE1/GSeY=",
                ),
                ("X-Shopify-Webhook-Id", "w"),
            ],
            r#"{"id":1}"#,
        ),
        (
            Scheme::Paddle,
            "pdl_ntfset_test",
            &[(
                "Paddle-Signature",
                "ts=1700000000;h1=00008de4258420202a09a680790380a7c438fa01083ac9276f9bc705bf8d0d734;h1=eca8de4258420202a09a680790380a7c438fa01083ac9276f9bc705bf8d0d734",
            )],
            INVOICE,
        ),
        (
            Scheme::Whop,
            "ws_0123456789abcdef",
            &[
                ("webhook-id", "msg_1"),
                ("webhook-timestamp", "1700000000"),
                (
                    "webhook-signature",
                    "v1,jwgVwzAHAOFsglxgNZBRnOMmeYaBb0/sManUF4JOx0Y=",
                ),
            ],
            INVOICE,
        ),
        // The shape before: what Stripe's vector is, under another name and with the secret's text as key alike.
        (
            Scheme::Whop,
            "whsec_test_secret",
            &[(
                "X-Whop-Signature",
                "t=1700000000,v1=dfb4777aaaec4ea29ff455dd4df7fe6b2ef71096ad3a93a158db7e100109ea91",
            )],
            INVOICE,
        ),
    ];
    for (scheme, secret, headers, body) in table {
        let headers: Vec<(&str, String)> = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        let events = judged(&scheme, secret, &headers, body, NOW);
        assert!(events.is_ok(), "{}: {events:?}", scheme.name());
        let other = judged(&scheme, "wrong", &headers, body, NOW);
        assert_eq!(other, Err(Refusal::SignatureWrong), "{}", scheme.name());
    }
}

#[test]
fn slack_s_own_example_verifies() {
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let headers = [
        ("X-Slack-Request-Timestamp", "1531420618".to_owned()),
        (
            "X-Slack-Signature",
            "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503".to_owned(),
        ),
    ];
    let secret = "8f742231b10e8888abcd99yyyzzz85a5";
    let events = judged(&Scheme::Slack, secret, &headers, body, 1_531_420_618).expect("accepted");
    assert_eq!(events[0].kind, "slash_command");
    for (now, code) in [
        (1_531_420_618 + 301, "timestamp_too_old"),
        (1_531_420_618 - 301, "timestamp_in_future"),
    ] {
        let refusal = judged(&Scheme::Slack, secret, &headers, body, now).expect_err("the clock");
        assert_eq!((refusal.code(), refusal.http_status()), (code, 401));
    }
}

#[test]
fn the_parts_of_an_event_are_read_where_each_provider_puts_them() {
    let event = one(
        &Scheme::Shopify,
        r#"{"id":1}"#,
        &[("X-Shopify-Triggered-At", "2023-11-14T22:13:20.5Z")],
    );
    assert_eq!(
        (event.provider_id.as_str(), event.kind.as_str()),
        ("id_1", "orders/paid")
    );
    assert_eq!(event.occurred_at_micros, Some(1_700_000_000_500_000));

    let event = one(
        &Scheme::Slack,
        r#"{"type":"event_callback","event_id":"Ev1","event_time":1700000000,"event":{"type":"app_mention"}}"#,
        &[],
    );
    assert_eq!(
        (event.provider_id.as_str(), event.kind.as_str()),
        ("Ev1", "app_mention")
    );
    assert_eq!(event.occurred_at_micros, Some(1_700_000_000_000_000));

    let event = one(
        &Scheme::Paddle,
        r#"{"event_id":"evt_1","notification_id":"ntf_1","event_type":"transaction.paid","occurred_at":"2023-11-14T22:13:20.123456Z"}"#,
        &[],
    );
    assert_eq!(
        (event.provider_id.as_str(), event.kind.as_str()),
        ("evt_1", "transaction.paid")
    );
    assert_eq!(event.occurred_at_micros, Some(1_700_000_000_123_456));

    let event = one(&Scheme::Whop, r#"{"type":"payment.succeeded"}"#, &[]);
    assert_eq!(
        (event.provider_id.as_str(), event.kind.as_str()),
        ("id_1", "payment.succeeded")
    );
}

#[test]
fn an_old_webhook_of_whop_is_told_by_its_body() {
    let scheme: Scheme = serde_json::from_str(
        r#"{"scheme":"hmac","header":"X-Whop-Signature","signed":"{timestamp}.{body}",
            "parts":{"separator":",","timestamp":"t","signature":"v1"}}"#,
    )
    .expect("the old shape as a rule");
    for (body, kind) in [
        (
            r#"{"action":"payment.succeeded","data":{}}"#,
            "payment.succeeded",
        ),
        (r#"{"type":"refund.created"}"#, "refund.created"),
        (r#"{"data":{}}"#, UNTYPED),
    ] {
        let headers = signed(&scheme, "ws_a", body, &[]);
        let events = judged(&Scheme::Whop, "ws_a", &headers, body, NOW).expect("accepted");
        assert!(events[0].provider_id.starts_with("sha256:"));
        assert_eq!(events[0].kind, kind);
        let refusal = judged(&Scheme::Whop, "ws_a", &headers, body, NOW + 301);
        assert_eq!(
            refusal.map_err(|refusal| refusal.code()).err(),
            Some("timestamp_too_old")
        );
    }
}

#[test]
fn of_shopify_the_same_body_is_another_event_under_another_topic_or_of_another_time() {
    let event = |id, topic, at| {
        one(
            &Scheme::Shopify,
            r#"{"id":1}"#,
            &[
                ("X-Shopify-Webhook-Id", id),
                ("X-Shopify-Topic", topic),
                ("X-Shopify-Triggered-At", at),
            ],
        )
        .dedup_keys
    };
    let first = event("a", "orders/paid", "2023-11-14T22:13:20Z");
    let same = |other: Vec<[u8; 16]>| other.iter().any(|key| first.contains(key));
    assert!(same(event("a", "orders/paid", "2023-11-14T22:13:21Z")));
    assert!(same(event("b", "orders/paid", "2023-11-14T22:13:20Z")));
    assert!(!same(event("b", "orders/updated", "2023-11-14T22:13:20Z")));
    assert!(!same(event("b", "orders/paid", "2023-11-14T22:13:21Z")));
}

#[test]
fn slack_s_question_is_answered_only_when_it_is_signed_and_brings_no_event() {
    let body = r#"{"token":"x","challenge":"3eZbrw1aBm2rZgRNFdxV","type":"url_verification"}"#;
    let headers = signed(&Scheme::Slack, "secret", body, &[]);
    let prepared = PreparedScheme::new(Scheme::Slack, &["secret".into()]).expect("a secret");
    let request = |body: &'static str| Request {
        headers: &headers,
        body: body.as_bytes(),
        now_secs: NOW,
        route: Route::default(),
    };
    assert!(prepared.verify(300, &request(body)).is_ok());
    assert_eq!(prepared.extract(&request(body)), Ok(Vec::new()));
    assert_eq!(
        prepared.challenge(&request(body)).as_deref(),
        Some("3eZbrw1aBm2rZgRNFdxV")
    );
    for other in [
        r#"{"challenge":"<script>","type":"url_verification"}"#,
        r#"{"type":"url_verification"}"#,
    ] {
        assert_eq!(prepared.challenge(&request(other)), None);
        assert!(prepared.extract(&request(other)).is_err());
    }
    for event in [
        r#"{"challenge":"a","type":"event_callback","event_id":"Ev1"}"#,
        "challenge=a&type=url_verification",
        "",
    ] {
        assert_eq!(prepared.challenge(&request(event)), None);
    }
    let forged = [
        ("X-Slack-Signature", format!("v0={}", "0".repeat(64))),
        ("X-Slack-Request-Timestamp", NOW.to_string()),
    ];
    let refusal = judged(&Scheme::Slack, "secret", &forged, body, NOW);
    assert_eq!(refusal, Err(Refusal::SignatureWrong));
}

#[test]
fn slack_s_forms_are_events_too() {
    let interaction = "payload=%7B%22type%22%3A%22block_actions%22%2C%22trigger_id%22%3A%221%22%7D";
    let event = one(&Scheme::Slack, interaction, &[]);
    assert_eq!(event.kind, "block_actions");
    assert_eq!(
        event.payload.bytes(interaction.as_bytes()),
        br#"{"type":"block_actions","trigger_id":"1"}"#
    );
    let other = one(
        &Scheme::Slack,
        &interaction.replace("1%22%7D", "2%22%7D"),
        &[],
    );
    assert_ne!(event.provider_id, other.provider_id);
    let limited = one(
        &Scheme::Slack,
        r#"{"type":"app_rate_limited","minute_rate_limited":1}"#,
        &[],
    );
    assert_eq!(limited.kind, "app_rate_limited");
}

#[test]
fn what_is_missing_or_malformed_is_told_from_what_is_wrong() {
    let judge = |scheme: &Scheme, headers: &[(&str, &str)]| {
        let headers = headers.to_vec();
        let request = Request {
            headers: &headers,
            body: INVOICE.as_bytes(),
            now_secs: NOW,
            route: Route::default(),
        };
        let secrets = [Secret::from("secret")];
        let refusal = verify(scheme, &secrets, 300, &request).expect_err("refused");
        (refusal.code(), refusal.http_status())
    };
    let hex = "0".repeat(64);
    let base64 = format!("{}=", "A".repeat(43));
    for (scheme, headers, refused) in [
        (Scheme::Shopify, vec![], ("signature_missing", 400)),
        (
            Scheme::Shopify,
            vec![("X-Shopify-Hmac-Sha256", hex.as_str())],
            ("signature_malformed", 400),
        ),
        (
            Scheme::Shopify,
            vec![("X-Shopify-Hmac-Sha256", base64.as_str())],
            ("signature_wrong", 401),
        ),
        (
            Scheme::Slack,
            vec![("X-Slack-Signature", "v0=00")],
            ("timestamp_missing", 400),
        ),
        (
            Scheme::Slack,
            vec![
                ("X-Slack-Signature", "v0=00"),
                ("X-Slack-Request-Timestamp", "soon"),
            ],
            ("timestamp_malformed", 400),
        ),
        (
            Scheme::Slack,
            vec![
                ("X-Slack-Signature", "v0=00"),
                ("X-Slack-Request-Timestamp", "1700000000"),
            ],
            ("signature_malformed", 400),
        ),
        (Scheme::Paddle, vec![], ("signature_missing", 400)),
        (
            Scheme::Paddle,
            vec![("Paddle-Signature", "h1=00")],
            ("timestamp_missing", 400),
        ),
        (
            Scheme::Paddle,
            vec![("Paddle-Signature", "ts=1700000000")],
            ("signature_malformed", 400),
        ),
        (Scheme::Whop, vec![], ("signature_missing", 400)),
        (
            Scheme::Whop,
            vec![("X-Whop-Signature", "v1=00")],
            ("timestamp_missing", 400),
        ),
    ] {
        assert_eq!(
            judge(&scheme, &headers),
            refused,
            "{} {headers:?}",
            scheme.name()
        );
    }
}
