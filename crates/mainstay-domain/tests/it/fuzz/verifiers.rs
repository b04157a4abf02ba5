//! Each scheme's verifier against the judge: a request is signed by the provider's rule, or by a stranger, and changed; who
//! is let in, and by which secret, must be the same on both sides.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use aws_lc_rs::{
    encoding::AsDer as _,
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use mainstay_domain::{
    Cidr,
    intake::scheme::{
        BearerRule, EventRule, PROVIDER_ID_BYTES_MAX, PreparedScheme, Request, Route, Scheme,
        Secret, dedup_key, diagnose, explain,
    },
};
use mainstay_fuzz::{Script, target};

use super::judge::{self, Asked, Refused, Verdict, hex, tag, tag_sha256};
use crate::intake::scheme_vectors::rule;

const NOW: i64 = 1_700_000_000;
/// What headers of providers are made of.
const PIECES: [&str; 24] = [
    "t=",
    "v1=",
    "v1,",
    "v1a,",
    "v0=",
    "ts=",
    "h1=",
    "sha256=",
    "sig ",
    "Bearer ",
    "bearer ",
    "1700000000",
    ",",
    ";",
    " ",
    "=",
    "==",
    "0",
    "f",
    "A",
    "1699999700",
    "1700000301",
    "000000000000",
    "SHA256withRSA",
];
const WORDS: [&str; 24] = [
    "id",
    "type",
    "created",
    "entry",
    "changes",
    "field",
    "value",
    "messages",
    "statuses",
    "contacts",
    "messaging",
    "message",
    "mid",
    "status",
    "timestamp",
    "action",
    "event",
    "event_id",
    "event_type",
    "occurred_at",
    "challenge",
    "url_verification",
    "time",
    "payload",
];
const URLS: [&str; 7] = [
    "https://api.example/in/twilio",
    "https://api.example:443/in/twilio?a=b",
    "https://api.example:8443/in/twilio",
    "http://api.example/in/twilio?x",
    "http://api.example:80",
    "http://api.example:443/",
    "",
];

type Headers = Vec<(String, Vec<u8>)>;

/// What is to be signed.
struct Message<'a> {
    id: &'a str,
    time: &'a str,
    url: &'a str,
    body: &'a [u8],
}

/// A scheme, its provider's way to sign and its judge.
struct Setup {
    scheme: Scheme,
    /// What the source knows.
    secrets: Vec<String>,
    /// What the provider signs with, each beside the secret of its place; the last is a stranger's.
    signers: Vec<String>,
    sign: fn(&str, &Message) -> Vec<(&'static str, String)>,
    judge: fn(&Asked, &[String]) -> Verdict,
    /// Headers that the verifier looks at beside those that are signed.
    names: &'static [&'static str],
}

impl Setup {
    /// A scheme whose secrets are text, the same on both sides.
    fn plain(
        scheme: Scheme,
        sign: fn(&str, &Message) -> Vec<(&'static str, String)>,
        judge: fn(&Asked, &[String]) -> Verdict,
    ) -> Self {
        let secrets = vec!["first-secret".to_owned(), "second secret \u{e9}".to_owned()];
        let signers = [secrets.clone(), vec!["stranger".to_owned()]].concat();
        Self {
            scheme,
            secrets,
            signers,
            sign,
            judge,
            names: &[],
        }
    }

    fn prepared(&self) -> PreparedScheme {
        let allow: Vec<Cidr> = ["10.0.0.0/8", "2606::/16"]
            .map(|range| range.parse().expect("a range"))
            .into();
        let prepared =
            PreparedScheme::new(self.scheme.clone(), &self.known()).expect("secrets of the scheme");
        if self.scheme.needs_no_secret() {
            prepared.allowing(allow)
        } else {
            prepared
        }
    }

    fn known(&self) -> Vec<Secret> {
        if self.scheme.needs_no_secret() {
            return Vec::new();
        }
        self.secrets
            .iter()
            .map(|secret| Secret::from(secret.as_str()))
            .collect()
    }
}

fn text(script: &mut Script, of: &[&str]) -> String {
    match script.byte() {
        0..=199 => script.word(of).to_owned(),
        _ => script.pieces(&PIECES, 4),
    }
}

fn body(script: &mut Script) -> Vec<u8> {
    match script.byte() {
        0..=127 => script.json(&WORDS).into_bytes(),
        128..=159 => script
            .pieces(
                &[
                    "payload=",
                    "%7B%22id%22%3A",
                    "%22",
                    "%7d",
                    "MessageSid=SM1",
                    "&",
                    "=",
                    "+",
                    "%zz",
                    "a=1",
                    "CallSid=C",
                ],
                12,
            )
            .into_bytes(),
        160..=191 => script.bytes(60).to_vec(),
        _ => br#"{"id":"evt_1","type":"invoice.paid","created":1700000000}"#.to_vec(),
    }
}

fn remote(script: &mut Script) -> Option<IpAddr> {
    match script.byte() {
        0..=63 => None,
        64..=127 => Some(Ipv4Addr::new(10, script.byte(), script.byte(), script.byte()).into()),
        128..=159 => Some(Ipv6Addr::from_bits(u128::from_be_bytes(script.array())).into()),
        160..=191 => Some(
            Ipv4Addr::new(10, 0, 0, script.byte())
                .to_ipv6_mapped()
                .into(),
        ),
        _ => Some(Ipv4Addr::from_bits(u32::from_be_bytes(script.array())).into()),
    }
}

/// Changes headers: their values, their names, their number.
fn headers_change(script: &mut Script, headers: &mut Headers, names: &[&str]) {
    let at = script.below(headers.len().max(1));
    match script.byte() % 8 {
        0..=3 if at < headers.len() => script.edit(&mut headers[at].1),
        4 if at < headers.len() => drop(headers.remove(at)),
        5 if at < headers.len() => {
            // Of two headers of one name the first counts, wherever the other stands.
            let twin = (
                headers[at].0.to_uppercase(),
                script.pieces(&PIECES, 6).into_bytes(),
            );
            let place = script.below(headers.len() + 1);
            headers.insert(place, twin);
        }
        6 if at < headers.len() => {
            let more = script.pieces(&PIECES, 40);
            let value = &mut headers[at].1;
            if script.flag() {
                value.extend_from_slice(more.as_bytes());
            } else {
                value.splice(0..0, more.into_bytes());
            }
        }
        _ if !names.is_empty() => {
            let name = script.word(names).to_owned();
            headers.push((name, script.pieces(&PIECES, 6).into_bytes()));
        }
        _ => {}
    }
}

/// One request of the script's.
fn run(script: &mut Script, setup: &Setup, prepared: &PreparedScheme) {
    let url = script.word(&URLS);
    let (id, time) = (
        text(script, &["msg_1", "a.b", "é"]),
        text(script, &["1700000000", "1699999700", "1700000301", "5"]),
    );
    let mut body = body(script);
    let url = match script.one_in(4) {
        true => setup.scheme.url_for(url, &body),
        false => url.to_owned(),
    };
    let signer = script.below(setup.signers.len());
    let message = Message {
        id: &id,
        time: &time,
        url: &url,
        body: &body,
    };
    let mut headers: Headers = (setup.sign)(&setup.signers[signer], &message)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into_bytes()))
        .collect();
    let changes = script.below(4);
    for _ in 0..changes {
        match script.byte() {
            0..=79 => script.edit(&mut body),
            _ => headers_change(script, &mut headers, setup.names),
        }
    }
    let tolerance = *script.pick(&[300, 0, 86_400]);
    let now = match script.byte() {
        0..=127 => NOW,
        128..=223 => NOW + i64::from(i16::from_le_bytes(script.array())),
        _ => script.number(),
    };
    let asked = Asked {
        headers: &headers,
        body: &body,
        now,
        tolerance,
        url: &url,
        remote: remote(script),
    };
    let route = Route {
        url: &url,
        remote: asked.remote,
        certificate: Some(&CERTIFICATE),
    };
    let request = Request {
        headers: &headers,
        body: &body,
        now_secs: now,
        route,
    };

    let judged = (setup.judge)(&asked, &setup.secrets).ok();
    let verified = prepared.verify(tolerance, &request);
    assert_eq!(
        verified.as_ref().ok().map(|one| one.secret_index),
        judged,
        "{verified:?}\n{headers:?}"
    );
    let explanation = explain(
        &setup.scheme,
        &allowed(&setup.scheme),
        &setup.known(),
        tolerance,
        &request,
    );
    let extracted = prepared.extract(&request);
    assert_eq!(
        explanation.accepted,
        verified.is_ok() && extracted.is_ok(),
        "{explanation:?}"
    );
    diagnose(prepared, &setup.known(), tolerance, &request, &[prepared]);
    for event in extracted.into_iter().flatten() {
        assert!(!event.provider_id.is_empty() && event.provider_id.len() <= PROVIDER_ID_BYTES_MAX);
        assert!(!event.kind.is_empty() && event.kind.len() <= 256);
        assert!(!event.provider_id.chars().any(char::is_control));
        assert!(!event.kind.chars().any(char::is_control));
        assert_eq!(
            event.dedup_keys.first(),
            Some(&dedup_key(&event.provider_id))
        );
        assert!(event.payload.bytes(&body).len() <= 16 * 1024 * 1024);
    }
}

fn allowed(scheme: &Scheme) -> Vec<Cidr> {
    match scheme.needs_no_secret() {
        true => ["10.0.0.0/8", "2606::/16"]
            .map(|range| range.parse().expect("a range"))
            .into(),
        false => Vec::new(),
    }
}

/// The key that PayPal's certificate stands for.
static PAYPAL: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"));
static CERTIFICATE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let der = PAYPAL.public_key().as_der().expect("a public key");
    der.as_ref().to_vec()
});

/// A target of one scheme.
macro_rules! verifier {
    ($name:ident, $setup:expr) => {
        #[test]
        fn $name() {
            fn one(script: &mut Script) {
                static SETUP: LazyLock<(Setup, PreparedScheme)> = LazyLock::new(|| {
                    let setup: Setup = $setup;
                    let prepared = setup.prepared();
                    (setup, prepared)
                });
                run(script, &SETUP.0, &SETUP.1);
            }
            target!(one);
        }
    };
}

fn list(secret: &str, message: &Message, between: &str) -> String {
    let parts = [message.time.as_bytes(), between.as_bytes(), message.body];
    hex(&tag_sha256(secret.as_bytes(), &parts))
}

fn standard(key: &[u8], message: &Message) -> Vec<(&'static str, String)> {
    let parts = [
        message.id.as_bytes(),
        b".",
        message.time.as_bytes(),
        b".",
        message.body,
    ];
    let signature = match key {
        [b'e', seed @ ..] => {
            let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed");
            format!("v1a,{}", STANDARD.encode(pair.sign(&parts.concat())))
        }
        key => format!("v1,{}", STANDARD.encode(tag_sha256(key, &parts))),
    };
    vec![
        ("webhook-id", message.id.to_owned()),
        ("webhook-timestamp", message.time.to_owned()),
        ("webhook-signature", signature),
    ]
}

verifier!(
    stripe,
    Setup::plain(
        Scheme::Stripe,
        |secret, message| vec![(
            "Stripe-Signature",
            format!("t={},v1={}", message.time, list(secret, message, "."))
        )],
        judge::stripe,
    )
);

verifier!(
    paddle,
    Setup::plain(
        Scheme::Paddle,
        |secret, message| vec![(
            "Paddle-Signature",
            format!("ts={};h1={}", message.time, list(secret, message, ":"))
        )],
        judge::paddle,
    )
);

fn hub(secret: &str, message: &Message) -> Vec<(&'static str, String)> {
    let tag = tag_sha256(secret.as_bytes(), &[message.body]);
    vec![
        ("X-Hub-Signature-256", format!("sha256={}", hex(&tag))),
        ("X-GitHub-Delivery", message.id.to_owned()),
        ("X-GitHub-Event", "push".to_owned()),
    ]
}

verifier!(github, Setup::plain(Scheme::Github, hub, judge::hub));
verifier!(
    meta,
    Setup::plain(Scheme::Meta { verify_token: None }, hub, judge::hub)
);

verifier!(
    shopify,
    Setup::plain(
        Scheme::Shopify,
        |secret, message| {
            let tag = tag_sha256(secret.as_bytes(), &[message.body]);
            vec![
                ("X-Shopify-Hmac-SHA256", STANDARD.encode(tag)),
                ("X-Shopify-Webhook-Id", message.id.to_owned()),
                ("X-Shopify-Topic", "orders/paid".to_owned()),
            ]
        },
        judge::shopify,
    )
);

verifier!(
    slack,
    Setup::plain(
        Scheme::Slack,
        |secret, message| {
            let parts = [b"v0:", message.time.as_bytes(), b":", message.body];
            vec![
                (
                    "X-Slack-Signature",
                    format!("v0={}", hex(&tag_sha256(secret.as_bytes(), &parts))),
                ),
                ("X-Slack-Request-Timestamp", message.time.to_owned()),
            ]
        },
        judge::slack,
    )
);

verifier!(
    whop,
    Setup {
        names: &[
            "X-Whop-Signature",
            "svix-signature",
            "svix-id",
            "svix-timestamp"
        ],
        ..Setup::plain(
            Scheme::Whop,
            |secret, message| match message.id.len() % 2 {
                0 => standard(secret.as_bytes(), message),
                _ => vec![(
                    "X-Whop-Signature",
                    format!("t={},v1={}", message.time, list(secret, message, "."))
                )],
            },
            judge::whop,
        )
    }
);

verifier!(standard_webhooks, {
    let public = |seed: [u8; 32]| {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed");
        format!("whpk_{}", STANDARD.encode(pair.public_key()))
    };
    let private = |seed: u8| format!("e{}", char::from(seed).to_string().repeat(32));
    Setup {
        scheme: Scheme::StandardWebhooks,
        secrets: vec![
            format!("whsec_{}", STANDARD.encode("key one")),
            public([b'a'; 32]),
            public([b'b'; 32]),
        ],
        signers: vec![
            "key one".to_owned(),
            private(b'a'),
            private(b'b'),
            private(b'c'),
            "another".to_owned(),
        ],
        sign: |secret, message| standard(secret.as_bytes(), message),
        judge: judge::standard_webhooks,
        names: &["svix-signature", "svix-id", "svix-timestamp"],
    }
});

verifier!(
    hmac_rule,
    Setup::plain(
        rule(
            r#"{"header":"X-Sig","algorithm":"sha512","encoding":"base64","prefix":"sig ","timestamp_header":"X-Time",
            "signed":"{id}.{timestamp}.{body}","id":{"header":"X-Id"},"type":{"pointer":"/event/type"},
            "occurred_at":{"pointer":"/created"}}"#,
        ),
        |secret, message| {
            let parts = [
                message.id.as_bytes(),
                b".",
                message.time.as_bytes(),
                b".",
                message.body,
            ];
            let tag = tag(hmac::HMAC_SHA512, secret.as_bytes(), &parts);
            vec![
                ("X-Sig", format!("sig {}", STANDARD.encode(tag))),
                ("X-Id", message.id.to_owned()),
                ("X-Time", message.time.to_owned()),
            ]
        },
        judge::ruled,
    )
);

verifier!(
    twilio,
    Setup::plain(
        Scheme::Twilio,
        |secret, message| {
            let rest = judge::twilio_signed(message.url, message.body).unwrap_or_default();
            let parts = [message.url.as_bytes(), &rest];
            let tag = tag(
                hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                secret.as_bytes(),
                &parts,
            );
            vec![("X-Twilio-Signature", STANDARD.encode(tag))]
        },
        judge::twilio,
    )
);

verifier!(
    bearer,
    Setup {
        secrets: vec!["first-token".to_owned(), "second token".to_owned()],
        signers: vec![
            "first-token".to_owned(),
            "second token".to_owned(),
            "stranger".to_owned()
        ],
        ..Setup::plain(
            Scheme::Bearer {
                bearer: BearerRule::default(),
                event: Box::new(EventRule::default())
            },
            |secret, _| vec![("Authorization", format!("Bearer {secret}"))],
            judge::bearer,
        )
    }
);

verifier!(
    address,
    Setup::plain(
        Scheme::Address {
            event: Box::new(EventRule::default())
        },
        |_, _| Vec::new(),
        judge::address,
    )
);

const PAYPAL_ID: &str = "t-1";
const PAYPAL_TIME: &str = "2023-11-14T22:13:20Z";
const PAYPAL_BODY: &[u8] = br#"{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED"}"#;
const PAYPAL_URL: &str = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42";

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    })
}

/// There is one signature of PayPal's, since making one takes long: over this id, time, webhook and body.
static PAYPAL_SIGNATURE: LazyLock<String> = LazyLock::new(|| {
    let signed = format!("{PAYPAL_ID}|{PAYPAL_TIME}|WEBHOOK2|{}", crc32(PAYPAL_BODY));
    let mut signature = vec![0; PAYPAL.public_modulus_len()];
    PAYPAL
        .sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            signed.as_bytes(),
            &mut signature,
        )
        .expect("signed");
    STANDARD.encode(signature)
});

/// Whoever changed anything that is signed has no signature for it.
fn paypal_judge(asked: &Asked, _: &[String]) -> Verdict {
    let given = asked.needed("paypal-transmission-sig")?;
    let bare = PAYPAL_SIGNATURE.trim_end_matches('=');
    let padding = given.strip_prefix(bare).ok_or(Refused)?;
    let host = asked.needed("paypal-cert-url")?.strip_prefix("https://api");
    let path = host.and_then(|rest| {
        let rest = rest.strip_prefix("-m").unwrap_or(rest);
        let rest = rest.strip_prefix(".sandbox").unwrap_or(rest);
        rest.strip_prefix(".paypal.com/v1/notifications/certs/")
    });
    let file = path.is_some_and(|file| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !file.is_empty() && file.len() <= 128 && file.bytes().all(plain)
    });
    let holds = ["", "=", "=="].contains(&padding)
        && padding.len() + bare.len() <= PAYPAL_SIGNATURE.len()
        && asked.needed("paypal-transmission-id")? == PAYPAL_ID
        && asked.needed("paypal-transmission-time")? == PAYPAL_TIME
        && asked
            .needed("paypal-auth-algo")?
            .eq_ignore_ascii_case("SHA256withRSA")
        && file
        && crc32(asked.body) == crc32(PAYPAL_BODY);
    if holds { Ok(1) } else { Err(Refused) }
}

#[test]
fn paypal() {
    fn one(script: &mut Script) {
        static PREPARED: LazyLock<PreparedScheme> = LazyLock::new(|| {
            let secrets = ["WEBHOOK1", "WEBHOOK2"].map(Secret::from);
            PreparedScheme::new(Scheme::Paypal, &secrets).expect("ids of webhooks")
        });
        let mut body = PAYPAL_BODY.to_vec();
        let mut headers: Headers = [
            ("Paypal-Transmission-Id", PAYPAL_ID),
            ("Paypal-Transmission-Time", PAYPAL_TIME),
            ("Paypal-Auth-Algo", "SHA256withRSA"),
            ("Paypal-Cert-Url", PAYPAL_URL),
            ("Paypal-Transmission-Sig", &PAYPAL_SIGNATURE),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
        .collect();
        for _ in 0..script.below(3) {
            match script.byte() {
                0..=79 => script.edit(&mut body),
                _ => headers_change(script, &mut headers, &[]),
            }
        }
        let route = Route {
            certificate: Some(&CERTIFICATE),
            ..Route::default()
        };
        let request = Request {
            headers: &headers,
            body: &body,
            now_secs: script.number(),
            route,
        };
        let asked = Asked {
            headers: &headers,
            body: &body,
            now: 0,
            tolerance: 0,
            url: "",
            remote: None,
        };
        let verified = PREPARED.verify(300, &request);
        assert_eq!(
            verified.as_ref().ok().map(|one| one.secret_index),
            paypal_judge(&asked, &[]).ok(),
            "{verified:?}\n{headers:?}"
        );
        if let Ok(Some(needed)) = PREPARED.certificate_needed(&request) {
            assert!(
                needed.url.starts_with("https://api") && needed.url.contains(".paypal.com/v1/")
            );
        }
    }
    target!(one);
}
