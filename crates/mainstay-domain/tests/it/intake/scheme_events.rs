//! Which events are read out of verified bodies, and which bodies are refused.

use mainstay_domain::intake::scheme::{
    Extracted, Payload, Request, Route, Scheme, UNTYPED, extract,
};

use super::scheme_vectors::{rule, shopify, slack};

fn read(
    scheme: &Scheme,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> Result<Extracted, &'static str> {
    let headers = headers.to_vec();
    let request = Request {
        headers: &headers,
        body: body.as_ref(),
        now_secs: 0,
        route: Route::default(),
    };
    let mut events = extract(scheme, &request).map_err(|refusal| refusal.code())?;
    assert_eq!(events.len(), 1);
    Ok(events.remove(0))
}

#[test]
fn a_snapshot_event_of_stripe_is_read_wherever_its_members_stand() {
    let body = r#" {"data":{"object":{"id":"in_1","type":"no","n":1e999}},"type":"invoice.paid","created":1648320032,"new":[[]],"id":"evt_\u0031"}"#;
    let event = read(&Scheme::Stripe, &[], body).expect("an event");
    assert_eq!(event.provider_id, "evt_1");
    assert_eq!(event.kind, "invoice.paid");
    assert_eq!(event.occurred_at_micros, Some(1_648_320_032_000_000));
    assert_eq!(event.dedup_keys.len(), 1);
    assert_eq!(event.payload, Payload::Body);
}

#[test]
fn a_thin_event_of_stripe_is_read_too() {
    let body = r#"{"id":"evt_test_65R","object":"v2.core.event","type":"v1.billing.meter.error_report_triggered",
        "livemode":false,"created":"2024-09-17T06:20:52.246Z","related_object":{"id":"mtr_1"}}"#;
    let event = read(&Scheme::Stripe, &[], body).expect("an event");
    assert_eq!(event.kind, "v1.billing.meter.error_report_triggered");
    assert_eq!(event.occurred_at_micros, Some(1_726_554_052_246_000));
}

#[test]
fn a_body_that_cannot_be_an_event_of_stripe_is_refused() {
    let deep = format!(r#"{{"id":"e","type":"t","x":{}"#, "[".repeat(100_000));
    let long = format!(r#"{{"id":"{}","type":"t"}}"#, "e".repeat(513));
    for (body, code) in [
        ("", "body_malformed"),
        (" ", "body_malformed"),
        ("null", "body_malformed"),
        (r#"["evt_1","invoice.paid",1]"#, "body_malformed"),
        (r#"{"id":"e","type":"t"} x"#, "body_malformed"),
        (r#"{"id":"e","type":"t""#, "body_malformed"),
        (r#"{"id":"e","id":"f","type":"t"}"#, "body_malformed"),
        (r#"{"id":"e","\u0069d":"f","type":"t"}"#, "body_malformed"),
        (r#"{"id":"e","type":"t","type":"u"}"#, "body_malformed"),
        (r#"{"id":"e"}"#, "body_malformed"),
        (r#"{"id":"e","type":7}"#, "body_malformed"),
        (r#"{"id":"e","type":""}"#, "body_malformed"),
        (r#"{"id":"e","type":"t","created":1e999}"#, "body_malformed"),
        (r#"{"id":"e","type":"t","created":-1}"#, "body_malformed"),
        (
            r#"{"id":"e","type":"t","created":99999999999999999999999}"#,
            "body_malformed",
        ),
        (
            r#"{"id":"e","type":"t","created":"yesterday"}"#,
            "body_malformed",
        ),
        (r#"{"type":"t"}"#, "provider_id_missing"),
        (r#"{"id":null,"type":"t"}"#, "provider_id_missing"),
        (r#"{"id":7,"type":"t"}"#, "provider_id_malformed"),
        (r#"{"id":{"a":1},"type":"t"}"#, "provider_id_malformed"),
        (r#"{"id":"","type":"t"}"#, "provider_id_malformed"),
        (r#"{"id":"a\u0000b","type":"t"}"#, "provider_id_malformed"),
        (r#"{"id":"\ud800","type":"t"}"#, "provider_id_malformed"),
        (&long, "provider_id_malformed"),
        (&deep, "body_malformed"),
    ] {
        let shown = &body[..body.len().min(80)];
        assert_eq!(
            read(&Scheme::Stripe, &[], body).map(drop),
            Err(code),
            "{shown}"
        );
    }
    let invalid = b"{\"id\":\"e\",\"type\":\"t\",\"x\":\"\xff\"}";
    assert_eq!(
        read(&Scheme::Stripe, &[], invalid).map(drop),
        Err("body_malformed")
    );
}

#[test]
fn a_standard_webhook_takes_its_id_from_the_signed_header() {
    let headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", "1"),
        ("webhook-signature", "v1,"),
    ];
    let body = r#"{"type":"user.created","timestamp":"2024-09-17T06:20:52Z","data":{}}"#;
    let event = read(&Scheme::StandardWebhooks, &headers, body).expect("an event");
    assert_eq!(
        (event.provider_id.as_str(), event.kind.as_str()),
        ("msg_1", "user.created")
    );
    assert_eq!(event.occurred_at_micros, Some(1_726_554_052_000_000));
    assert_eq!(event.dedup_keys.len(), 1);
    let untyped =
        read(&Scheme::StandardWebhooks, &headers, r#"{"timestamp":5}"#).expect("an event");
    assert_eq!(
        (untyped.kind.as_str(), untyped.occurred_at_micros),
        (UNTYPED, None)
    );
    for body in ["", "plain", "[1]", r#"{"type":"a","type":"b"}"#] {
        let refused = read(&Scheme::StandardWebhooks, &headers, body).map(drop);
        assert_eq!(refused, Err("body_malformed"));
    }
}

#[test]
fn an_event_of_github_has_a_second_key_since_nobody_signed_its_id() {
    let headers = [
        ("X-GitHub-Delivery", "72d3162e"),
        ("X-GitHub-Event", "pull_request"),
    ];
    let body = r#"{"action":"opened","number":1}"#;
    let event = read(&Scheme::Github, &headers, body).expect("an event");
    assert_eq!(event.kind, "pull_request.opened");
    assert_eq!(event.provider_id, "72d3162e");
    let forged = [("X-GitHub-Delivery", "other"), ("X-GitHub-Event", "push")];
    let forged = read(&Scheme::Github, &forged, body).expect("an event");
    assert_ne!(event.dedup_keys[0], forged.dedup_keys[0]);
    assert_eq!(event.dedup_keys[1], forged.dedup_keys[1]);
    let other = read(
        &Scheme::Github,
        &headers,
        r#"{"action":"opened","number":2}"#,
    )
    .expect("an event");
    assert_ne!(event.dedup_keys[1], other.dedup_keys[1]);
}

#[test]
fn a_github_event_without_an_action_has_its_bare_type() {
    let headers = [("X-GitHub-Delivery", "1"), ("X-GitHub-Event", "push")];
    for body in [
        r#"{"ref":"main"}"#,
        r#"{"action":null}"#,
        r#"{"action":7}"#,
        r#"{"action":"a\nb"}"#,
    ] {
        assert_eq!(
            read(&Scheme::Github, &headers, body)
                .expect("an event")
                .kind,
            "push"
        );
    }
    let body = "{}";
    let refused = |headers: &[(&str, &str)]| read(&Scheme::Github, headers, body).map(drop);
    assert_eq!(refused(&headers[1..]), Err("provider_id_missing"));
    assert_eq!(refused(&headers[..1]), Err("header_missing"));
}

#[test]
fn a_github_event_that_is_sent_as_a_form_is_the_json_inside() {
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("X-GitHub-Delivery", "72d3162e"),
        ("X-GitHub-Event", "issues"),
    ];
    let inside = r#"{"action":"opened","issue":{"title":"1+1=2 & é"}}"#;
    let form = "payload=%7B%22action%22%3A%22opened%22%2C%22issue%22%3A%7B%22title%22%3A%221%2B1%3D2+%26+%C3%A9%22%7D%7D";
    let event = read(&Scheme::Github, &headers, form).expect("an event");
    assert_eq!(event.kind, "issues.opened");
    assert_eq!(event.payload, Payload::Part(inside.into()));
    // The content type can be changed for a webhook while a delivery of it is sent again.
    let json = read(&Scheme::Github, &headers, inside).expect("an event");
    assert_eq!(event.dedup_keys[0], json.dedup_keys[0]);
    // What was signed is the form, so a copy of it under another id is a duplicate.
    let forged = [("X-GitHub-Delivery", "other"), ("X-GitHub-Event", "push")];
    let forged = read(&Scheme::Github, &forged, form).expect("an event");
    assert_eq!(event.dedup_keys[1], forged.dedup_keys[1]);
    for wrong in [
        "payload=",
        "payload=%7B",
        "payload=%7B%7",
        "payload=%5B%5D",
        "payload=%7B%7D&more=1",
        "payload=%FF",
        "other=%7B%7D",
    ] {
        let read = read(&Scheme::Github, &headers, wrong).map(drop);
        assert_eq!(read, Err("body_malformed"), "{wrong}");
    }
}

#[test]
fn a_rule_reads_ids_and_types_from_the_body() {
    let body = r#"{"event_id":"Ev1","event":{"type":"message"}}"#;
    let event = read(&slack(), &[], body).expect("an event");
    assert_eq!(
        (event.provider_id.as_str(), event.kind.as_str()),
        ("Ev1", "message")
    );
    let by_number = rule(r#"{"header":"X","id":{"pointer":"/id"}}"#);
    let event =
        read(&by_number, &[], r#"{"id":123456789012345678901234567890}"#).expect("an event");
    assert_eq!(event.provider_id, "123456789012345678901234567890");
    for (body, code) in [
        (r#"{"id":1.5}"#, "provider_id_malformed"),
        (r#"{"id":1e3}"#, "provider_id_malformed"),
        (r#"{"id":true}"#, "provider_id_malformed"),
        (r#"{"id":["a"]}"#, "provider_id_malformed"),
        (r#"{"id":""}"#, "provider_id_malformed"),
        (r#"{"id":1,"id":2}"#, "body_malformed"),
        ("id=1", "body_malformed"),
        ("", "body_malformed"),
    ] {
        assert_eq!(read(&by_number, &[], body).map(drop), Err(code), "{body}");
    }
}

#[test]
fn a_rule_falls_back_to_the_digest_of_the_body() {
    let by_number = rule(r#"{"header":"X","id":{"pointer":"/id"}}"#);
    let one = read(&by_number, &[], r#"{"a":1}"#).expect("an event");
    let same = read(&by_number, &[], r#"{"a":1}"#).expect("an event");
    let other = read(&by_number, &[], r#"{"a":2}"#).expect("an event");
    assert!(one.provider_id.starts_with("sha256:"));
    assert_eq!(
        (one.kind.as_str(), &one.dedup_keys),
        (UNTYPED, &same.dedup_keys)
    );
    assert_ne!(one.dedup_keys, other.dedup_keys);
    let digest = rule(r#"{"header":"X"}"#);
    assert!(read(&digest, &[], b"\xff\x00 anything").is_ok());
}

#[test]
fn an_id_in_an_unsigned_header_gets_a_second_key_and_a_signed_one_does_not() {
    let headers = [
        ("X-Shopify-Webhook-Id", "b54557e4"),
        ("X-Shopify-Topic", "orders/create"),
        ("X-Shopify-Hmac-SHA256", "x"),
    ];
    let event = read(&shopify(), &headers, r#"{"id":1}"#).expect("an event");
    assert_eq!(
        (event.provider_id.as_str(), event.kind.as_str()),
        ("b54557e4", "orders/create")
    );
    assert_eq!(event.dedup_keys.len(), 2);
    let signed = rule(
        r#"{"header":"X","signed":"{id}.{body}","id":{"header":"X-Id"},"type":{"fixed":"order"}}"#,
    );
    let event = read(&signed, &[("X", "x"), ("X-Id", "1")], "{}").expect("an event");
    assert_eq!((event.dedup_keys.len(), event.kind.as_str()), (1, "order"));
}

#[test]
fn the_second_key_covers_the_signed_time_so_that_equal_bodies_stay_two_events() {
    let timed = rule(
        r#"{"header":"X","signed":"{timestamp}.{body}","timestamp_header":"T","id":{"header":"I"}}"#,
    );
    let key = |id: &str, time: &str| {
        let headers = [("X", "x"), ("T", time), ("I", id)];
        read(&timed, &headers, "{}").expect("an event").dedup_keys[1]
    };
    assert_eq!(
        key("1", "1000"),
        key("2", "1000"),
        "the same signature under another id"
    );
    assert_ne!(key("1", "1000"), key("2", "1001"));
}

#[test]
fn an_empty_body_is_refused_by_every_scheme() {
    let headers = [
        ("X-Id", "1"),
        ("X-GitHub-Delivery", "1"),
        ("X-GitHub-Event", "ping"),
    ];
    for scheme in [
        Scheme::Stripe,
        Scheme::StandardWebhooks,
        Scheme::Github,
        Scheme::Meta { verify_token: None },
        rule(r#"{"header":"X"}"#),
        rule(r#"{"header":"X","id":{"header":"X-Id"}}"#),
    ] {
        let refused = read(&scheme, &headers, "").map(drop);
        assert_eq!(refused, Err("body_malformed"), "{}", scheme.name());
    }
}
