//! Meta: one request, several events, and the question whether the URL is ours.

use mainstay_domain::intake::scheme::{
    Extracted, Refusal, Request, Route, Scheme, Secret, challenge, extract,
};
use serde_json::{Value, json};

fn read(body: &Value) -> Result<Vec<Extracted>, Refusal> {
    read_text(&body.to_string())
}

fn read_text(body: &str) -> Result<Vec<Extracted>, Refusal> {
    let headers: Vec<(&str, &str)> = Vec::new();
    let request = Request {
        headers: &headers,
        body: body.as_bytes(),
        now_secs: 0,
        route: Route::default(),
    };
    extract(&Scheme::Meta { verify_token: None }, &request)
}

fn payload(event: &Extracted) -> Value {
    serde_json::from_slice(event.payload.bytes(b"")).expect("JSON")
}

fn named(events: &[Extracted]) -> Vec<(&str, &str)> {
    events
        .iter()
        .map(|event| (event.provider_id.as_str(), event.kind.as_str()))
        .collect()
}

fn change(value: Value) -> Value {
    json!({"object": "whatsapp_business_account",
           "entry": [{"id": "waba", "changes": [{"field": "messages", "value": value}]}]})
}

fn message(id: &str, from: &str) -> Value {
    json!({"from": from, "id": id, "timestamp": "1504902988", "type": "text", "text": {"body": "é"}})
}

fn contact(id: &str) -> Value {
    json!({"profile": {"name": format!("name of {id}")}, "wa_id": id})
}

fn batch() -> Value {
    let metadata = json!({"display_phone_number": "1650", "phone_number_id": "123"});
    change(json!({
        "messaging_product": "whatsapp",
        "metadata": metadata,
        "contacts": [contact("a"), contact("b")],
        "messages": [message("wamid.1", "a"), message("wamid.2", "b")],
        "statuses": [{"id": "wamid.0", "status": "delivered", "timestamp": "1504902989", "recipient_id": "c"}],
    }))
}

#[test]
fn each_message_and_status_is_an_event_of_its_own() {
    let events = read(&batch()).expect("events");
    assert_eq!(
        named(&events),
        [
            ("wamid.1", "messages.text"),
            ("wamid.2", "messages.text"),
            ("wamid.0:delivered", "statuses.delivered"),
        ]
    );
    assert_eq!(events[0].occurred_at_micros, Some(1_504_902_988_000_000));
    assert!(events.iter().all(|event| event.dedup_keys.len() == 1));
}

#[test]
fn a_payload_keeps_the_context_and_one_item_in_metas_own_shape() {
    let events = read(&batch()).expect("events");
    assert_eq!(
        payload(&events[1]),
        change(json!({
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "1650", "phone_number_id": "123"},
            "contacts": [contact("b")],
            "messages": [message("wamid.2", "b")],
        }))
    );
    let status = payload(&events[2]);
    assert_eq!(
        status["entry"][0]["changes"][0]["value"]["statuses"][0]["id"],
        "wamid.0"
    );
    assert!(
        status["entry"][0]["changes"][0]["value"]
            .get("messages")
            .is_none()
    );
}

#[test]
fn an_event_is_the_same_however_meta_batches_it() {
    let together = read(&batch()).expect("events");
    let mut alone = batch();
    let value = &mut alone["entry"][0]["changes"][0]["value"];
    value["messages"] = json!([message("wamid.2", "b")]);
    value["contacts"] = json!([contact("b")]);
    value["statuses"] = json!([]);
    alone["entry"][0]["time"] = json!(1_700_000_000);
    assert_eq!(read(&alone).expect("events"), together[1..2]);
}

#[test]
fn escapes_in_an_item_stay_as_meta_wrote_them() {
    let body = r#"{"object":"whatsapp_business_account","entry":[{"changes":[{"value":{"messages":[{"id":"w","type":"text","text":{"body":"\u00e9 \ud83d"}}]},"field":"messages"}]}]}"#;
    let events = read_text(body).expect("events");
    assert_eq!(events[0].payload.bytes(b""), br#"{"object":"whatsapp_business_account","entry":[{"changes":[{"field":"messages","value":{"messages":[{"id":"w","type":"text","text":{"body":"\u00e9 \ud83d"}}]}}]}]}"#);
}

#[test]
fn each_member_of_a_group_has_a_status_of_its_own() {
    let status = |who: &str| json!({"id": "w", "status": "read", "recipient_participant_id": who});
    let events = read(&change(json!({"statuses": [status("1"), status("2")]}))).expect("events");
    assert_eq!(
        named(&events),
        [("w:read:1", "statuses.read"), ("w:read:2", "statuses.read")]
    );
}

#[test]
fn any_other_change_is_one_event_by_its_content_and_time() {
    let body = |time: i64, event: &str| {
        json!({"object": "whatsapp_business_account", "entry": [{"id": "waba", "time": time,
            "changes": [{"field": "account_update", "value": {"event": event}}]}]})
    };
    let one = read(&body(1, "BAN")).expect("events");
    assert_eq!(one[0].kind, "field.account_update");
    assert!(one[0].provider_id.starts_with("sha256:"));
    assert_eq!(payload(&one[0]), body(1, "BAN"));
    let id = |time, event| {
        read(&body(time, event)).expect("events")[0]
            .provider_id
            .clone()
    };
    assert_eq!(one[0].provider_id, id(1, "BAN"));
    assert_ne!(
        one[0].provider_id,
        id(2, "BAN"),
        "the same change truly happened twice"
    );
    assert_ne!(one[0].provider_id, id(1, "UNBAN"));
    let errors = read(&change(json!({"errors": [{"code": 130_429}]}))).expect("events");
    assert_eq!(errors[0].kind, "field.messages");
}

#[test]
fn messenger_items_are_told_apart_by_what_they_are_about() {
    let sender = json!({"id": "u"});
    let body = json!({"object": "page", "entry": [{"id": "p", "time": 1_458_692_752_478_i64,
        "messaging": [
            {"sender": sender, "timestamp": 1_458_692_752_478_i64, "message": {"mid": "m_1", "text": "hi"}},
            {"sender": sender, "timestamp": 1, "message": {"mid": "m_2", "is_echo": true}},
            {"sender": sender, "timestamp": 1, "read": {"watermark": 1}},
        ],
        "standby": [{"sender": sender, "message": {"mid": "m_1"}}]}]});
    let events = read(&body).expect("events");
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "messaging.message",
            "messaging.echo",
            "messaging.read",
            "standby.message"
        ]
    );
    assert_eq!(events[0].provider_id, "m_1");
    assert_eq!(events[0].occurred_at_micros, Some(1_458_692_752_478_000));
    assert_ne!(events[3].provider_id, "m_1");
    let first = payload(&events[0]);
    assert_eq!(
        first["entry"][0]["messaging"].as_array().map(Vec::len),
        Some(1)
    );
    assert!(first["entry"][0].get("standby").is_none());
}

#[test]
fn an_entry_of_an_unknown_shape_is_still_an_event() {
    let body = json!({"object": "user", "entry": [{"id": "1", "changed_fields": ["photos"]}]});
    let events = read(&body).expect("events");
    assert_eq!(events[0].kind, "entry");
    assert_eq!(payload(&events[0]), body);
}

#[test]
fn an_empty_batch_brings_no_event() {
    assert_eq!(
        read(&json!({"object": "page", "entry": []})),
        Ok(Vec::new())
    );
}

#[test]
fn what_is_not_metas_shape_is_refused() {
    let many: Vec<Value> = (0..1001).map(|n| message(&format!("w{n}"), "a")).collect();
    let wide: Vec<Value> = (0..900).map(|n| message(&format!("w{n}"), "a")).collect();
    for body in [
        json!({}),
        json!([]),
        json!({"entry": null}),
        json!({"entry": {}}),
        json!({"entry": [1]}),
        json!({"entry": [{"changes": {}}]}),
        json!({"entry": [{"changes": [1]}]}),
        change(json!({"messages": {}})),
        change(json!({"messages": [1]})),
        change(json!({"messages": [{"id": 7}]})),
        change(json!({"statuses": [{"id": ""}]})),
        change(json!({"messages": many})),
        change(json!({"messages": wide, "errors": "x".repeat(100_000)})),
    ] {
        let shown: String = body.to_string().chars().take(80).collect();
        assert!(read(&body).is_err(), "{shown}");
    }
    assert!(read_text(r#"{"entry":[],"entry":[]}"#).is_err());
    assert!(read_text(r#"{"entry":[{"id":"1","id":"2"}]}"#).is_err());
}

#[test]
fn the_challenge_is_answered_only_to_who_knows_the_token() {
    let token = Secret::from("token");
    let ask = |token: Option<&Secret>, mode: &str, given: &str, word: &str| {
        let query = [
            ("hub.mode", mode),
            ("hub.verify_token", given),
            ("hub.challenge", word),
        ];
        challenge(token, &query).map_err(|refusal| refusal.http_status())
    };
    assert_eq!(
        ask(Some(&token), "subscribe", "token", "1158201444"),
        Ok("1158201444".to_owned())
    );
    assert_eq!(ask(Some(&token), "subscribe", "tokem", "1"), Err(403));
    assert_eq!(ask(Some(&token), "subscribe", "", "1"), Err(403));
    assert_eq!(ask(Some(&token), "unsubscribe", "token", "1"), Err(403));
    assert_eq!(
        ask(Some(&token), "subscribe", "token", "<script>"),
        Err(403)
    );
    assert_eq!(ask(Some(&token), "subscribe", "token", ""), Err(403));
    assert_eq!(ask(None, "subscribe", "", "1"), Err(403));
}
