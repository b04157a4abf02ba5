//! Twilio: the URL and a form, or the URL with the digest of the body.

use mainstay_domain::intake::scheme::{
    Cause, Extracted, Message, PreparedScheme, Refusal, Request, Route, Scheme, diagnose, explain,
    sign_to,
};
use proptest::prelude::*;

const FORM: &str = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212";
const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
const PUBLISHED: &str = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
const JSON_URL: &str = "https://example.com/hook?bodySHA256=015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862";

fn judge(url: &str, signature: &str, body: &[u8]) -> Result<Vec<Extracted>, Refusal> {
    let headers = [("X-Twilio-Signature", signature)];
    let request = Request {
        headers: &headers,
        body,
        now_secs: 0,
        route: Route {
            url,
            ..Route::default()
        },
    };
    let secrets = ["other".into(), "12345".into()];
    let prepared = PreparedScheme::new(Scheme::Twilio, &secrets).expect("secrets");
    assert_eq!(prepared.verify(300, &request)?.secret_index, 1);
    prepared.extract(&request)
}

fn signature(url: &str, body: &[u8]) -> String {
    let message = Message {
        id: "",
        kind: "",
        timestamp_secs: 0,
        body,
    };
    let mut headers = sign_to(&Scheme::Twilio, &"12345".into(), url, &message).expect("a secret");
    headers.remove(0).1
}

fn event(form: &str) -> Extracted {
    let mut events =
        judge(URL, &signature(URL, form.as_bytes()), form.as_bytes()).expect("accepted");
    assert_eq!(events.len(), 1);
    events.remove(0)
}

#[test]
fn the_published_form_verifies_whatever_the_order_of_its_fields() {
    assert!(judge(URL, PUBLISHED, FORM.as_bytes()).is_ok());
    let mut fields: Vec<&str> = FORM.split('&').collect();
    fields.reverse();
    assert!(judge(URL, PUBLISHED, fields.join("&").as_bytes()).is_ok());
    assert_eq!(signature(URL, FORM.as_bytes()), PUBLISHED);
}

#[test]
fn json_verifies_by_the_digest_in_the_url() {
    let signed = "2e7mH/NA6FwzvUqLZxhsETU/4bw=";
    assert!(judge(JSON_URL, signed, br#"{"a":1}"#).is_ok());
    assert_eq!(
        judge(JSON_URL, signed, br#"{"a":2}"#),
        Err(Refusal::SignatureWrong)
    );
    let url = Scheme::Twilio.url_for("https://example.com/hook", br#"{"a":1}"#);
    assert_eq!(url, JSON_URL);
    assert_eq!(signature(&url, br#"{"a":1}"#), signed);
    assert_eq!(Scheme::Twilio.url_for(URL, FORM.as_bytes()), URL);
}

#[test]
fn json_without_its_digest_in_the_url_is_not_covered_and_not_taken() {
    let url = "https://example.com/hook";
    let of_nothing = signature(url, b"");
    assert_eq!(
        judge(url, &of_nothing, br#"{"a":1}"#),
        Err(Refusal::SignatureWrong)
    );
}

#[test]
fn the_port_that_a_scheme_has_anyway_may_stand_there_or_not() {
    let with = URL.replace("mycompany.com", "mycompany.com:443");
    assert!(judge(&with, PUBLISHED, FORM.as_bytes()).is_ok());
    assert!(judge(URL, &signature(&with, FORM.as_bytes()), FORM.as_bytes()).is_ok());
    let plain = "http://mycompany.com/x";
    let other = "http://mycompany.com:80/x";
    assert!(judge(plain, &signature(other, b"a=1"), b"a=1").is_ok());
    let unusual = "https://mycompany.com:8443/x";
    assert!(
        judge(
            "https://mycompany.com/x",
            &signature(unusual, b"a=1"),
            b"a=1"
        )
        .is_err()
    );
}

#[test]
fn another_url_or_form_is_refused() {
    for url in [
        "https://mycompany.com/myapp.php?foo=1&bar=3",
        "https://mycompany.com/myapp.php",
        "http://mycompany.com/myapp.php?foo=1&bar=2",
        "https://example.com/myapp.php?foo=1&bar=2",
        "",
    ] {
        assert_eq!(
            judge(url, PUBLISHED, FORM.as_bytes()),
            Err(Refusal::SignatureWrong),
            "{url}"
        );
    }
    for form in [
        FORM.replace("1234", "1235"),
        format!("{FORM}&a=b"),
        String::new(),
    ] {
        assert_eq!(
            judge(URL, PUBLISHED, form.as_bytes()),
            Err(Refusal::SignatureWrong),
            "{form}"
        );
    }
    for (signature, code) in [("", "signature_missing"), ("AAAA", "signature_malformed")] {
        let refusal = judge(URL, signature, FORM.as_bytes()).expect_err("refused");
        assert_eq!((refusal.code(), refusal.http_status()), (code, 400));
    }
    let refusal = judge(URL, PUBLISHED, b"a=%zz").expect_err("no form");
    assert_eq!(refusal.http_status(), 400);
}

#[test]
fn a_message_is_one_event_for_each_state_it_is_in() {
    let sent = event("MessageSid=SM1&MessageStatus=sent&SmsSid=SM1&SmsStatus=sent");
    let delivered = event("MessageSid=SM1&MessageStatus=delivered&SmsSid=SM1");
    assert_eq!(
        (sent.provider_id.as_str(), sent.kind.as_str()),
        ("SM1:sent", "message.sent")
    );
    assert_eq!(delivered.provider_id, "SM1:delivered");
    let received = event("MessageSid=SM2&SmsStatus=received&Body=hi");
    assert_eq!(received.kind, "message.received");
    let call = event("CallSid=CA1&CallStatus=in-progress&SequenceNumber=2");
    assert_eq!(
        (call.provider_id.as_str(), call.kind.as_str()),
        ("CA1:in-progress:2", "call.in-progress")
    );
    let first = event("CallSid=CA1&CallStatus=in-progress&Digits=1");
    let second = event("CallSid=CA1&CallStatus=in-progress&Digits=2");
    assert_ne!(first.provider_id, second.provider_id);
    assert_eq!(event("EventType=onMessageAdded&x=1").kind, "onMessageAdded");
}

#[test]
fn a_batch_of_event_streams_is_an_event_each() {
    let body = br#"[{"specversion":"1.0","type":"com.twilio.a","id":"EZ1","time":"2023-11-14T22:13:20Z"},{"type":"com.twilio.b","id":"EZ2"}]"#;
    let url = Scheme::Twilio.url_for("https://example.com/hook", body);
    let events = judge(&url, &signature(&url, body), body).expect("accepted");
    let ids: Vec<&str> = events
        .iter()
        .map(|event| event.provider_id.as_str())
        .collect();
    assert_eq!(ids, ["EZ1", "EZ2"]);
    assert_eq!(events[0].occurred_at_micros, Some(1_700_000_000_000_000));
    assert_eq!(
        events[1].payload.bytes(body),
        br#"{"type":"com.twilio.b","id":"EZ2"}"#
    );
}

#[test]
fn a_url_that_a_proxy_changed_is_recognised() {
    let seen = URL.replace("https://", "http://");
    let headers = [("X-Twilio-Signature", PUBLISHED)];
    let request = Request {
        headers: &headers,
        body: FORM.as_bytes(),
        now_secs: 0,
        route: Route {
            url: &seen,
            ..Route::default()
        },
    };
    let told = explain(&Scheme::Twilio, &[], &["12345".into()], 300, &request);
    assert_eq!(told.code, Some("signature_wrong"));
    assert!(
        told.hints.iter().any(|hint| hint.contains("with https")),
        "{:?}",
        told.hints
    );
}

#[test]
fn a_request_that_was_signed_for_another_spelling_of_the_url_is_told() {
    let body = br#"{"type":"a","id":"EZ1"}"#;
    let theirs = Scheme::Twilio.url_for("https://example.com/hook", body);
    let signed = signature(&theirs, body);
    let headers = [("X-Twilio-Signature", signed.as_str())];
    for (ours, cause) in [
        ("https://example.com/hook", Cause::Genuine),
        ("http://example.com/hook", Cause::UrlDiffers),
        ("https://example.com/hook/", Cause::UrlDiffers),
        ("https://example.org/hook", Cause::WrongSecret),
    ] {
        let url = Scheme::Twilio.url_for(ours, body);
        let request = Request {
            headers: &headers,
            body,
            now_secs: 0,
            route: Route {
                url: &url,
                ..Route::default()
            },
        };
        let secrets = ["12345".into()];
        let prepared = PreparedScheme::new(Scheme::Twilio, &secrets).expect("secrets");
        let told = diagnose(&prepared, &secrets, 300, &request, &[]);
        assert_eq!(told.cause, cause, "{ours}");
    }
}

proptest! {
    #[test]
    fn nothing_makes_a_form_or_a_url_panic(
        url in ".{0,60}", body in prop::collection::vec(any::<u8>(), 0..200), json in "[\\[{][\\[\\]{}\":,a-z0-9]{0,40}",
    ) {
        for body in [body, json.into_bytes()] {
            let url = Scheme::Twilio.url_for(&format!("https://{url}"), &body);
            let signed = signature(&url, &body);
            drop(judge(&url, &signed, &body));
            drop(judge(&url, PUBLISHED, &body));
        }
    }

    #[test]
    fn what_is_signed_verifies_and_no_other_value_does(
        value in "[a-z0-9]{1,20}", at in any::<prop::sample::Index>(),
    ) {
        let form = format!("Body={value}&MessageSid=SM1");
        let signed = signature(URL, form.as_bytes());
        prop_assert!(judge(URL, &signed, form.as_bytes()).is_ok());
        let at = 5 + at.index(value.len());
        let mut changed = form.into_bytes();
        changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
        prop_assert_eq!(judge(URL, &signed, &changed), Err(Refusal::SignatureWrong));
    }
}
