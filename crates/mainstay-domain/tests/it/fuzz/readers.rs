//! What reads what a stranger has written, against slow and simple readers.

use std::{collections::BTreeSet, net::IpAddr, sync::LazyLock};

use mainstay_domain::{
    Cidr, EventId, Timestamp,
    intake::{
        links::VALUE_CHARS_MAX,
        objects::{ID_CHARS_MAX, OBJECTS_MAX, ObjectRules},
        ordering::{Ordering, is_pointer, key_of},
        scheme::{
            JsonPointer, Message, PreparedScheme, Request, Route, Scheme, Secret, TenantRule,
            extract,
        },
    },
    jobs::line::{KEY_BYTES_MAX, OnDead},
};
use mainstay_fuzz::{Script, target};
use serde::de::IgnoredAny;
use serde_json::{Value, json, value::RawValue};

use crate::intake::scheme_vectors::rule;

const WORDS: [&str; 8] = ["a", "b", "id", "account", "0", "1", "c/d", "~"];
const POINTERS: [&str; 10] = [
    "/a", "/account", "/a/b", "/a/0/id", "/id/1", "/a/b/a/b", "/c~1d", "/~0/a", "/", "/a/+1",
];

/// Every member of an object, in order and as often as it stands there.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> serde::de::Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = map.next_entry()? {
                    all.push(member);
                }
                Ok(Members(all))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// What stands at the end of these steps; none where nothing does, or where a step has two answers.
fn find<'a>(raw: &'a RawValue, steps: &[String]) -> Option<&'a RawValue> {
    let [step, rest @ ..] = steps else {
        return Some(raw);
    };
    match raw.get().as_bytes().first()? {
        b'{' => {
            let Members(all) = serde_json::from_str(raw.get()).ok()?;
            let mut own = all.iter().filter(|(name, _)| name == step);
            match (own.next(), own.next()) {
                (Some((_, value)), None) => find(value, rest),
                _ => None,
            }
        }
        b'[' => {
            let all: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
            let at: usize = step.parse().ok()?;
            // An index is written in one way (RFC 6901): no sign, no zeros before it.
            find(all.get(at).filter(|_| at.to_string() == *step)?, rest)
        }
        _ => None,
    }
}

fn steps(pointer: &str) -> Vec<String> {
    pointer[1..]
        .split('/')
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .collect()
}

#[test]
fn tenant_values() {
    fn one(script: &mut Script) {
        let pointer = script.word(&POINTERS);
        let body = script.json(&WORDS);
        let settings = json!({ "find": [{ "pointer": pointer }] });
        let values = TenantRule::from_settings(&settings)
            .expect("a rule")
            .values(&[("a", "b"); 0], body.as_bytes());
        assert_eq!(values.len(), 1);
        let readable = serde_json::from_str::<IgnoredAny>(&body).is_ok();
        let expected = serde_json::from_str::<&RawValue>(&body)
            .ok()
            .filter(|_| readable)
            .and_then(|raw| {
                let found = find(raw, &steps(pointer))?;
                match serde_json::from_str(found.get()) {
                    Ok(Value::String(text)) => Some(text),
                    Ok(Value::Number(_)) if !found.get().contains(['.', 'e', 'E']) => {
                        Some(found.get().to_owned())
                    }
                    _ => None,
                }
            });
        let expected = expected
            .filter(|text| {
                text.chars().count() <= VALUE_CHARS_MAX && !text.chars().any(char::is_control)
            })
            .unwrap_or_default();
        assert_eq!(values, [expected], "{pointer} {body}");
    }
    target!(one);
}

#[test]
fn tenant_values_of_forms_and_noise() {
    fn one(script: &mut Script) {
        static RULE: LazyLock<TenantRule> = LazyLock::new(|| {
            let find =
                json!([{ "pointer": "/To" }, { "header": "X-Tenant" }, { "pointer": "/a/b" }]);
            TenantRule::from_settings(&json!({ "find": find })).expect("a rule")
        });
        let headers = [
            (
                "content-type",
                script.pieces(
                    &[
                        "application/x-www-form-urlencoded",
                        ";",
                        " ",
                        "charset=utf-8",
                        "APPLICATION/JSON",
                    ],
                    4,
                ),
            ),
            ("x-tenant", script.text(40)),
        ];
        let body = match script.flag() {
            true => script
                .pieces(
                    &[
                        "To=",
                        "%2B",
                        "49",
                        "&",
                        "=",
                        "+",
                        "%",
                        "%FF",
                        "To",
                        "{\"a\":{\"b\":\"c\"}}",
                    ],
                    12,
                )
                .into_bytes(),
            false => script.rest().to_vec(),
        };
        let values = RULE.values(&headers, &body);
        assert!((1..=3).contains(&values.len()));
        let each: BTreeSet<&String> = values.iter().collect();
        assert_eq!(each.len(), values.len(), "each once");
        assert!(
            values
                .iter()
                .all(|value| value.chars().count() <= VALUE_CHARS_MAX)
        );
        assert!(
            !values
                .iter()
                .any(|value| value.chars().any(char::is_control))
        );
        assert!(values.len() == 1 || !values.contains(&String::new()));
    }
    target!(one);
}

#[test]
fn pointers() {
    fn one(script: &mut Script) {
        let text = script.pieces(&["/", "a", "~0", "~1", "~2", "0", "*"], 40);
        if let Ok(pointer) = JsonPointer::try_from(text.clone()) {
            assert_eq!(pointer.as_str(), text);
            assert!(text.starts_with('/') && text.len() <= 512);
        }
        if is_pointer(&text) {
            assert!(text.starts_with('/') && !text.contains("~2") && !text.contains('\0'));
        }
    }
    target!(one);
}

#[test]
fn extracted_ids_and_types() {
    fn one(script: &mut Script) {
        static SCHEME: LazyLock<Scheme> = LazyLock::new(|| {
            rule(
                r#"{"header":"X-Sig","id":{"pointer":"/a/id"},"type":{"pointer":"/b/0"},
                    "occurred_at":{"pointer":"/account"}}"#,
            )
        });
        let body = match script.one_in(6) {
            true => script.rest().to_vec(),
            false => script.json(&WORDS).into_bytes(),
        };
        let headers = [("X-Sig", "00")];
        let request = Request {
            headers: &headers,
            body: &body,
            now_secs: 0,
            route: Route::default(),
        };
        let Ok(events) = extract(&SCHEME, &request) else {
            return;
        };
        let text = std::str::from_utf8(&body).expect("what is read is UTF-8");
        let raw: &RawValue = serde_json::from_str(text).expect("what is read is JSON");
        let word = |pointer| {
            let found = find(raw, &steps(pointer))?;
            match serde_json::from_str(found.get()) {
                Ok(Value::String(text)) => Some(text),
                Ok(Value::Number(_)) => Some(found.get().to_owned()),
                _ => None,
            }
        };
        assert_eq!(events.len(), 1);
        match word("/a/id") {
            Some(id) => assert_eq!(events[0].provider_id, id),
            None => assert!(events[0].provider_id.starts_with("sha256:")),
        }
        if events[0].kind != "untyped" {
            assert_eq!(word("/b/0"), Some(events[0].kind.clone()));
        }
    }
    target!(one);
}

#[test]
fn objects() {
    fn one(script: &mut Script) {
        const KINDS: [&str; 5] = [
            "invoice.paid",
            "message.created",
            "push",
            "PAYMENT.CAPTURE.COMPLETED",
            "*",
        ];
        let scheme = script.word(&Scheme::NAMES);
        let own = json!([
            { "name": "every", "pointer": "/a/*/id" },
            { "name": "deep", "pointer": "/*/*/*/a" },
            { "name": "place", "pointer": "/a/1", "types": "invoice.*" },
        ]);
        let own = script.flag().then_some(own);
        let rules = ObjectRules::of(scheme, own.as_ref()).expect("rules");
        let body = match script.one_in(8) {
            true => script
                .pieces(&["a=", "id", "&", "%41", "+", "=", "From"], 20)
                .into_bytes(),
            false => script
                .json(
                    &[
                        &WORDS[..],
                        &["data", "object", "customer", "entry", "sender"],
                    ]
                    .concat(),
                )
                .into_bytes(),
        };
        let found = rules.find(script.word(&KINDS), &body);
        assert!(found.len() <= OBJECTS_MAX);
        let text = String::from_utf8_lossy(&body);
        for object in &found {
            assert!(!object.id.is_empty() && object.id.chars().count() <= ID_CHARS_MAX);
            assert!(!object.id.chars().any(char::is_control));
            // A plain word stands in the body as it is.
            if object.id.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && !text.contains('\\')
                && !text.contains('%')
            {
                assert!(
                    text.contains(&object.id) || object.id.parse::<f64>().is_ok(),
                    "{object:?} {text}"
                );
            }
        }
        let ids: BTreeSet<&String> = found.iter().map(|object| &object.id).collect();
        assert_eq!(ids.len(), found.len(), "each id once");
    }
    target!(one);
}

#[test]
fn ordering_keys() {
    fn one(script: &mut Script) {
        let ordering = Ordering {
            key: script.word(&POINTERS).to_owned(),
            fallback: script.flag().then(|| script.word(&POINTERS).to_owned()),
            on_dead: OnDead::Park,
        };
        let Ok(body) = serde_json::from_str::<Value>(&script.json(&WORDS)) else {
            return;
        };
        let at = |pointer: &String| match body.pointer(pointer) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            Some(Value::Bool(flag)) => Some(flag.to_string()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let text = at(&ordering.key).or_else(|| ordering.fallback.as_ref().and_then(at));
        let order = ordering.of(&body);
        assert_eq!(
            order.as_ref().map(|order| order.key.clone()),
            text.as_deref().map(key_of)
        );
        for long in [text.unwrap_or_default(), script.text(600)] {
            let (key, again) = (key_of(&long), key_of(&key_of(&long)));
            assert!(key.len() <= KEY_BYTES_MAX && !key.chars().any(char::is_control));
            assert_eq!(key, again, "a key is its own key");
        }
    }
    target!(one);
}

#[test]
fn addresses_and_ids() {
    fn one(script: &mut Script) {
        let pieces = [
            "10.", "0", "255", "::", "ffff:", "/", "32", "128", "96", "fe80", ":", ".", "1", " ",
            "%eth0", "2001:db8",
        ];
        let text = script.pieces(&pieces, 10);
        if let Ok(range) = text.parse::<Cidr>() {
            assert_eq!(
                range.to_string().parse::<Cidr>().ok(),
                Some(range),
                "{text}"
            );
            let address = text.split('/').next().unwrap_or_default().trim();
            let address: IpAddr = address
                .parse()
                .expect("what stands before the slash is an address");
            assert!(range.contains(address), "{text}");
        }
        if let Ok(id) = text.parse::<EventId>() {
            assert_eq!(id.to_string().parse::<EventId>().ok(), Some(id));
        }
        let at = Timestamp::from_micros(script.number());
        let _ = (
            at.plus_ms(script.number()),
            at.minus_ms(script.number()),
            at.ms_since(Timestamp::EPOCH),
        );
    }
    target!(one);
}

/// What is signed for a provider by us is let in by us: `mainstay send`, and every endpoint's own signature.
#[test]
fn own_signatures() {
    fn one(script: &mut Script) {
        let schemes = [
            Scheme::Stripe,
            Scheme::StandardWebhooks,
            Scheme::Github,
            Scheme::Shopify,
            Scheme::Slack,
            Scheme::Paddle,
            Scheme::Whop,
            Scheme::Twilio,
        ];
        let scheme = script.pick(&schemes).clone();
        let random = script.array();
        let secret = Secret::new(mainstay_domain::intake::scheme::generate_secret(
            &scheme, &random,
        ));
        let prepared = PreparedScheme::new(scheme.clone(), &[secret]).expect("a secret");
        let body = script.json(&WORDS).into_bytes();
        let url = scheme.url_for("https://api.example/in/x", &body);
        let message = Message {
            id: "msg_1",
            kind: "ping",
            timestamp_secs: 1_700_000_000,
            body: &body,
        };
        let headers = prepared.sign_to(&url, &message);
        let route = Route {
            url: &url,
            ..Route::default()
        };
        let request = Request {
            headers: &headers,
            body: &body,
            now_secs: 1_700_000_300,
            route,
        };
        let verified = prepared.verify(300, &request).map(|one| one.secret_index);
        // A form that is none cannot be signed by Twilio's rule.
        let unsigned =
            matches!(scheme, Scheme::Twilio) && headers.iter().any(|(_, value)| value.is_empty());
        assert_eq!(verified.is_ok(), !unsigned, "{scheme:?} {verified:?}");
    }
    target!(one);
}
