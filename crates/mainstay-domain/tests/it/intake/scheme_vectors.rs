//! Published signatures, and everything around a signature that must be refused with the right code.

use mainstay_domain::intake::{
    scheme::{HmacRule, Message, Request, Route, Scheme, Secret, sign, verify},
    settings::SourceSettings,
};

const NOW: i64 = 1_700_000_000;

pub(super) fn with_hmac(rule: &serde_json::Value) -> SourceSettings {
    SourceSettings {
        hmac: Some(rule.clone()),
        ..SourceSettings::default()
    }
}

pub(crate) fn rule(json: &str) -> Scheme {
    let value = serde_json::from_str(json).expect("JSON");
    Scheme::from_settings("hmac", &with_hmac(&value)).expect("a rule")
}

pub(super) fn slack() -> Scheme {
    rule(
        r#"{"header":"X-Slack-Signature","prefix":"v0=","signed":"v0:{timestamp}:{body}",
            "timestamp_header":"X-Slack-Request-Timestamp",
            "id":{"pointer":"/event_id"},"type":{"pointer":"/event/type"}}"#,
    )
}

pub(super) fn paddle() -> Scheme {
    rule(
        r#"{"header":"Paddle-Signature","parts":{"separator":";","timestamp":"ts","signature":"h1"},
            "signed":"{timestamp}:{body}","id":{"pointer":"/event_id"},"type":{"pointer":"/event_type"}}"#,
    )
}

pub(super) fn shopify() -> Scheme {
    rule(
        r#"{"header":"X-Shopify-Hmac-SHA256","encoding":"base64",
            "id":{"header":"X-Shopify-Webhook-Id"},"type":{"header":"X-Shopify-Topic"}}"#,
    )
}

struct Vector {
    name: &'static str,
    scheme: Scheme,
    secret: &'static str,
    headers: &'static [(&'static str, &'static str)],
    now_secs: i64,
    body: &'static str,
}

const INVOICE: &str = r#"{"id":"evt_1","object":"event","type":"invoice.paid"}"#;

/// The first four are published by their providers; the others were computed from the providers' rules with
/// another implementation.
fn vectors() -> Vec<Vector> {
    vec![
        Vector {
            name: "Standard Webhooks",
            scheme: Scheme::StandardWebhooks,
            secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            headers: &[
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("webhook-timestamp", "1614265330"),
                (
                    "webhook-signature",
                    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
                ),
            ],
            now_secs: 1_614_265_330,
            body: r#"{"test": 2432232314}"#,
        },
        Vector {
            name: "Svix",
            scheme: Scheme::StandardWebhooks,
            secret: "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            headers: &[
                ("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("svix-timestamp", "1614265330"),
                (
                    "svix-signature",
                    "v1a,AAAA v1,AAAAM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
                ),
            ],
            now_secs: 1_614_265_330,
            body: r#"{"test": 2432232314}"#,
        },
        Vector {
            name: "GitHub",
            scheme: Scheme::Github,
            secret: "It's a Secret to Everybody",
            headers: &[(
                "X-Hub-Signature-256",
                "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
            )],
            now_secs: NOW,
            body: "Hello, World!",
        },
        Vector {
            name: "Slack",
            scheme: slack(),
            secret: "8f742231b10e8888abcd99yyyzzz85a5",
            headers: &[
                ("X-Slack-Request-Timestamp", "1531420618"),
                (
                    "X-Slack-Signature",
                    "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
                ),
            ],
            now_secs: 1_531_420_618,
            body: "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
        },
        Vector {
            name: "Stripe",
            scheme: Scheme::Stripe,
            secret: "whsec_test_secret",
            headers: &[(
                "Stripe-Signature",
                "t=1700000000,v1=dfb4777aaaec4ea29ff455dd4df7fe6b2ef71096ad3a93a158db7e100109ea91",
            )],
            now_secs: NOW,
            body: INVOICE,
        },
        Vector {
            name: "Stripe, rolling its secret",
            scheme: Scheme::Stripe,
            secret: "whsec_test_secret",
            headers: &[(
                "stripe-signature",
                "t=1700000000,v1=0000777aaaec4ea29ff455dd4df7fe6b2ef71096ad3a93a158db7e100109ea91,v1=dfb4777aaaec4ea29ff455dd4df7fe6b2ef71096ad3a93a158db7e100109ea91,v0=aa",
            )],
            now_secs: NOW + 300,
            body: INVOICE,
        },
        Vector {
            name: "Whop",
            scheme: Scheme::StandardWebhooks,
            secret: "ws_0123456789abcdef",
            headers: &[
                ("webhook-id", "msg_1"),
                ("webhook-timestamp", "1700000000"),
                (
                    "webhook-signature",
                    "v1,jwgVwzAHAOFsglxgNZBRnOMmeYaBb0/sManUF4JOx0Y=",
                ),
            ],
            now_secs: NOW - 300,
            body: INVOICE,
        },
        Vector {
            name: "Paddle",
            scheme: paddle(),
            secret: "pdl_ntfset_test",
            headers: &[(
                "Paddle-Signature",
                "ts=1700000000;h1=eca8de4258420202a09a680790380a7c438fa01083ac9276f9bc705bf8d0d734",
            )],
            now_secs: NOW,
            body: INVOICE,
        },
        Vector {
            name: "Shopify",
            scheme: shopify(),
            secret: "hush",
            headers: &[(
                "X-Shopify-Hmac-SHA256",
                "VnKUjZsLuN5iZWjn5EntcBVCF9kMN43LglzCE1/GSeY=",
            )],
            now_secs: NOW,
            body: r#"{"id":1}"#,
        },
        Vector {
            name: "Meta",
            scheme: Scheme::Meta { verify_token: None },
            secret: "app_secret",
            headers: &[(
                "X-Hub-Signature-256",
                "sha256=cfacf3cb7a2e74e2ad3f8c7fc06098006b7a97deb097ef3552417bd84417e84e",
            )],
            now_secs: NOW,
            body: r#"{"object":"whatsapp_business_account","entry":[{"t":"\u00e9"}]}"#,
        },
    ]
}

fn judge(
    scheme: &Scheme,
    secret: &str,
    headers: &[(&str, &str)],
    now_secs: i64,
    body: &str,
) -> Result<usize, &'static str> {
    let secrets = [Secret::from(secret)];
    let headers = headers.to_vec();
    let request = Request {
        headers: &headers,
        body: body.as_bytes(),
        now_secs,
        route: Route::default(),
    };
    verify(scheme, &secrets, 300, &request)
        .map(|verified| verified.secret_index)
        .map_err(|refusal| refusal.code())
}

#[test]
fn every_published_signature_verifies() {
    for v in vectors() {
        let verdict = judge(&v.scheme, v.secret, v.headers, v.now_secs, v.body);
        assert_eq!(verdict, Ok(0), "{}", v.name);
    }
}

#[test]
fn no_published_signature_verifies_with_another_body_or_secret() {
    for v in vectors() {
        for body in [
            format!("{} ", v.body),
            v.body.replacen('e', "E", 1).replacen('1', "2", 1),
        ] {
            let verdict = judge(&v.scheme, v.secret, v.headers, v.now_secs, &body);
            assert_eq!(verdict, Err("signature_wrong"), "{}", v.name);
        }
        let other = if v.scheme == Scheme::StandardWebhooks {
            "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        } else {
            "another"
        };
        let verdict = judge(&v.scheme, other, v.headers, v.now_secs, v.body);
        assert_eq!(verdict, Err("signature_wrong"), "{}", v.name);
    }
}

#[test]
fn signing_makes_the_published_signatures() {
    for v in vectors() {
        let value = |wanted: &str| {
            let found = v
                .headers
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| *value)
        };
        let message = Message {
            id: value("webhook-id").unwrap_or_default(),
            kind: "",
            timestamp_secs: match v.name {
                "Slack" => 1_531_420_618,
                "Standard Webhooks" => 1_614_265_330,
                _ => NOW,
            },
            body: v.body.as_bytes(),
        };
        if v.name == "Svix" || v.name.contains("rolling") {
            continue;
        }
        for (name, made) in sign(&v.scheme, &v.secret.into(), &message).expect("a secret") {
            if let Some(published) = value(&name) {
                assert_eq!(made, published, "{} {name}", v.name);
            }
        }
    }
}

#[test]
fn a_time_outside_the_tolerance_is_refused_both_ways_by_every_scheme_that_signs_one() {
    for v in vectors() {
        let at = |now_secs| judge(&v.scheme, v.secret, v.headers, now_secs, v.body);
        let timed = !matches!(v.name, "GitHub" | "Shopify" | "Meta");
        let (late, early) = (at(v.now_secs + 900), at(v.now_secs - 900));
        if timed {
            assert_eq!(late, Err("timestamp_too_old"), "{}", v.name);
            assert_eq!(early, Err("timestamp_in_future"), "{}", v.name);
        } else {
            assert_eq!((late, early), (Ok(0), Ok(0)), "{}", v.name);
        }
    }
}

#[test]
fn odd_signature_headers_are_refused_with_a_clear_code() {
    let good = "dfb4777aaaec4ea29ff455dd4df7fe6b2ef71096ad3a93a158db7e100109ea91";
    let many = format!("t=1700000000{}", format!(",v1={good}").repeat(33));
    let endless = format!("t=1700000000,v1={good},{}", "x".repeat(5000));
    for (value, code) in [
        ("", "signature_missing"),
        ("   ", "signature_missing"),
        (&format!("v1={good}"), "timestamp_missing"),
        (
            &format!("t=1700000000,t=1700000000,v1={good}"),
            "timestamp_malformed",
        ),
        (&format!("t=,v1={good}"), "timestamp_malformed"),
        (
            &format!("t=99999999999999999999,v1={good}"),
            "timestamp_malformed",
        ),
        (&format!("t=-5,v1={good}"), "timestamp_malformed"),
        ("t=1700000000", "signature_malformed"),
        ("t=1700000000,v1=", "signature_malformed"),
        ("t=1700000000,v1=zz", "signature_malformed"),
        (&format!("t=1700000000,v0={good}"), "signature_malformed"),
        (
            &format!("t=1700000000,v1={}", &good[2..]),
            "signature_malformed",
        ),
        (&many, "signature_malformed"),
        (&endless, "header_malformed"),
        (&format!("t=1700000001,v1={good}"), "signature_wrong"),
    ] {
        let headers = [("Stripe-Signature", value)];
        let verdict = judge(&Scheme::Stripe, "whsec_test_secret", &headers, NOW, INVOICE);
        assert_eq!(verdict, Err(code), "{value}");
    }
    let none: [(&str, &str); 0] = [];
    let verdict = judge(&Scheme::Stripe, "whsec_test_secret", &none, NOW, INVOICE);
    assert_eq!(verdict, Err("signature_missing"));
    let bytes = vec![("Stripe-Signature", b"t=1,v1=\xff".to_vec())];
    let request = Request {
        headers: &bytes,
        body: b"{}",
        now_secs: NOW,
        route: Route::default(),
    };
    let verdict = verify(&Scheme::Stripe, &["whsec_a".into()], 300, &request);
    assert_eq!(
        verdict.map_err(|refusal| refusal.code()),
        Err("header_malformed")
    );
}

#[test]
fn standard_webhooks_needs_its_three_headers_under_one_prefix() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    let judge = |headers: &[(&str, &str)]| {
        let body = r#"{"test": 2432232314}"#;
        judge(
            &Scheme::StandardWebhooks,
            secret,
            headers,
            1_614_265_330,
            body,
        )
    };
    let time = ("webhook-timestamp", "1614265330");
    let (id, signature) = (("webhook-id", id), ("webhook-signature", signature));
    assert_eq!(judge(&[id, time, signature]), Ok(0));
    assert_eq!(judge(&[time, signature]), Err("provider_id_missing"));
    assert_eq!(judge(&[id, signature]), Err("timestamp_missing"));
    assert_eq!(judge(&[id, time]), Err("signature_missing"));
    assert_eq!(
        judge(&[("svix-id", id.1), time, signature]),
        Err("provider_id_missing")
    );
    let asymmetric = (
        "webhook-signature",
        "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    );
    assert_eq!(judge(&[id, time, asymmetric]), Err("signature_malformed"));
    let bare = (
        "webhook-signature",
        "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    );
    assert_eq!(judge(&[id, time, bare]), Err("signature_malformed"));
}

#[test]
fn any_of_several_secrets_may_match_and_the_answer_says_which() {
    let secrets: Vec<Secret> = ["new", "old", "older"].map(Secret::from).into();
    let message = Message {
        id: "1",
        kind: "ping",
        timestamp_secs: NOW,
        body: b"{}",
    };
    for (index, secret) in secrets.iter().enumerate() {
        let headers = sign(&Scheme::Github, secret, &message).expect("a secret");
        let request = Request {
            headers: &headers,
            body: b"{}",
            now_secs: NOW,
            route: Route::default(),
        };
        let verified = verify(&Scheme::Github, &secrets, 300, &request).expect("verifies");
        assert_eq!(verified.secret_index, index);
    }
    let headers = sign(&Scheme::Github, &secrets[0], &message).expect("a secret");
    let request = Request {
        headers: &headers,
        body: b"{}",
        now_secs: NOW,
        route: Route::default(),
    };
    let refusal = verify(&Scheme::Github, &[], 300, &request).expect_err("no secret");
    assert_eq!(
        (refusal.code(), refusal.http_status()),
        ("secret_missing", 401)
    );
}

#[test]
fn a_rule_that_trusts_what_nobody_signed_is_refused() {
    for (json, field) in [
        (r#"{}"#, "hmac"),
        (r#"{"header":"X","colour":"red"}"#, "hmac"),
        (r#"{"header":"X","signed":"{id}"}"#, "hmac"),
        (r#"{"header":"X Y"}"#, "hmac.header"),
        (r#"{"header":"X","timestamp_header":"T"}"#, "hmac.signed"),
        (
            r#"{"header":"X","signed":"{timestamp}.{body}"}"#,
            "hmac.signed",
        ),
        (
            r#"{"header":"X","signed":"{id}.{body}","id":{"pointer":"/id"}}"#,
            "hmac.signed",
        ),
        (r#"{"header":"X","id":{"pointer":"id"}}"#, "hmac"),
        (r#"{"header":"X","type":{"fixed":""}}"#, "hmac.type"),
        (
            r#"{"header":"X","prefix":"v=","parts":{"separator":",","signature":"v1"}}"#,
            "hmac.parts",
        ),
        (
            r#"{"header":"X","parts":{"separator":"=","signature":"v1"}}"#,
            "hmac.parts",
        ),
    ] {
        let value = serde_json::from_str(json).expect("JSON");
        let problem = Scheme::from_settings("hmac", &with_hmac(&value)).expect_err(json);
        assert_eq!(problem.field, field, "{json}: {problem}");
    }
}

#[test]
fn settings_that_belong_to_another_scheme_are_refused() {
    let value = serde_json::json!({"header": "X"});
    let plain = SourceSettings::default;
    let wrong = [
        ("stripe", with_hmac(&value), "hmac"),
        (
            "stripe",
            SourceSettings {
                verify_token: Some("token".into()),
                ..plain()
            },
            "verify_token",
        ),
        (
            "hmac",
            SourceSettings {
                bearer: Some(value.clone()),
                ..with_hmac(&value)
            },
            "bearer",
        ),
        (
            "stripe",
            SourceSettings {
                event: Some(serde_json::json!({})),
                ..plain()
            },
            "event",
        ),
        (
            "bearer",
            SourceSettings {
                url: Some("https://a.example/in/x".into()),
                ..plain()
            },
            "url",
        ),
        ("hmac", plain(), "hmac"),
        ("address", plain(), "allow"),
        ("mainstay", plain(), "scheme"),
    ];
    for (name, settings, field) in wrong {
        let problem = Scheme::from_settings(name, &settings).expect_err(name);
        assert_eq!(problem.field, field, "{name}");
    }
    for name in Scheme::NAMES {
        let settings = SourceSettings {
            hmac: (name == "hmac").then(|| value.clone()),
            allow: vec!["192.0.2.0/24".into()],
            ..plain()
        };
        let scheme = Scheme::from_settings(name, &settings).expect("a scheme");
        assert_eq!(scheme.name(), name);
    }
}

#[test]
fn a_rule_survives_being_written_and_read() {
    for scheme in [slack(), paddle(), shopify()] {
        let Scheme::Hmac(rule) = &scheme else {
            panic!("a rule");
        };
        let json = serde_json::to_string(rule).expect("JSON");
        let again: HmacRule = serde_json::from_str(&json).expect("the same rule");
        assert_eq!(&again, rule.as_ref());
    }
    let tagged: Scheme =
        serde_json::from_str(r#"{"scheme":"hmac","header":"X"}"#).expect("a scheme");
    assert_eq!(tagged, rule(r#"{"header":"X"}"#));
}

#[test]
fn every_algorithm_encoding_and_key_encoding_verifies_what_it_signs() {
    for algorithm in ["sha1", "sha256", "sha512"] {
        for encoding in ["hex", "base64"] {
            for (key_encoding, secret) in [
                ("utf8", "sécret"),
                ("base64", "c2VjcmV0"),
                ("hex", "C0ffee"),
            ] {
                let scheme = rule(&format!(
                    r#"{{"header":"X-Sig","algorithm":"{algorithm}","encoding":"{encoding}",
                        "key_encoding":"{key_encoding}","prefix":"p=","timestamp_header":"X-Time",
                        "signed":"{{id}}.{{timestamp}}.{{body}}","id":{{"header":"X-Id"}}}}"#
                ));
                let message = Message {
                    id: "7",
                    kind: "",
                    timestamp_secs: NOW,
                    body: b"body",
                };
                let headers = sign(&scheme, &secret.into(), &message).expect("a secret");
                let request = Request {
                    headers: &headers,
                    body: b"body",
                    now_secs: NOW,
                    route: Route::default(),
                };
                assert!(verify(&scheme, &[secret.into()], 0, &request).is_ok());
                assert!(verify(&scheme, &["00ff".into()], 0, &request).is_err());
            }
        }
    }
}

#[test]
fn a_list_of_absurdly_many_signatures_is_refused_even_with_the_right_one_in_it() {
    for (name, separator, noise) in [
        ("Standard Webhooks", " ", "v1,AAAA"),
        ("Stripe", ",", "v1=00"),
        ("Paddle", ";", "h1=00"),
    ] {
        let v = vectors()
            .into_iter()
            .find(|v| v.name == name)
            .expect("a vector");
        let with = |count: usize| {
            let mut headers: Vec<(&str, String)> = v
                .headers
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect();
            let list = &mut headers.last_mut().expect("the signature").1;
            *list += &format!("{separator}{noise}").repeat(count);
            let request = Request {
                headers: &headers,
                body: v.body.as_bytes(),
                now_secs: v.now_secs,
                route: Route::default(),
            };
            verify(&v.scheme, &[v.secret.into()], 300, &request).map_err(|refusal| refusal.code())
        };
        assert!(with(31).is_ok(), "{name}");
        assert_eq!(with(32).map(drop), Err("signature_malformed"), "{name}");
    }
}
