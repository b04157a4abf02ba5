//! A good handler passes, whoever's webhooks it takes, and every planted bug is found by the rule that is about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use mainstay_domain::intake::{
    scheme::{PreparedScheme, Request, Route, Scheme, Secret, generate_secret},
    settings::SourceSettings,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Ledger, Storm, judge::Report, plan::Mix, play::Pace};
use crate::cli::args::now;

/// What is wrong with a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// It looks at no signature.
    BelievesEverybody,
    /// It believes who sends no signature.
    BelievesTheUnsigned,
    /// It verifies the signature over something else than the body.
    BelievesOtherBodies,
    /// It does not look at the time that was signed.
    BelievesTheOld,
    /// It remembers no ids.
    AppliesTwice,
    /// It looks whether it knows the id, and remembers it later.
    ChecksThenActs,
    /// Its table has a unique key, and nobody catches the error.
    FailsOnDuplicates,
    /// It says yes, and forgets what it has no room for.
    LosesUnderLoad,
    /// It asks for what is to be changed, and there is none yet.
    NeedsTheirOrder,
    /// It knows all types that there are.
    RefusesNewTypes,
    /// It takes what happened days ago for a replay.
    RefusesTheLate,
    /// It remembers the id before it verifies.
    RemembersTheForged,
    /// Once it does not answer.
    Hangs,
}

struct Handler {
    bug: Bug,
    scheme: Scheme,
    secrets: Vec<Secret>,
    seen: Mutex<BTreeSet<String>>,
    subjects: Mutex<BTreeSet<String>>,
    applied: Mutex<BTreeMap<String, u64>>,
    busy: AtomicUsize,
}

impl Handler {
    fn verified(&self, headers: &HeaderMap, body: &Bytes) -> Option<Vec<(String, String)>> {
        let pairs = headers.iter().map(|(name, value)| {
            let text = value.to_str().unwrap_or_default().to_owned();
            (name.as_str().to_owned(), text)
        });
        let mut headers: Vec<(String, String)> = pairs.collect();
        let tolerance = match self.bug {
            Bug::BelievesTheOld => 1_000_000,
            _ => 300,
        };
        let cut = |body: &Bytes| {
            let text = String::from_utf8_lossy(body).replace(r#","forged":true"#, "");
            Bytes::from(text)
        };
        let body = match self.bug {
            Bug::BelievesOtherBodies => cut(body),
            _ => body.clone(),
        };
        let unsigned = !headers.iter().any(|(name, _)| name.contains("signature"));
        let believes = match self.bug {
            Bug::BelievesEverybody => true,
            Bug::BelievesTheUnsigned => unsigned,
            _ => false,
        };
        let prepared = PreparedScheme::new(self.scheme.clone(), &self.secrets)
            .expect("prepared")
            .allowing(vec!["127.0.0.0/8".parse().expect("a range")]);
        headers.retain(|(name, _)| name != "host");
        let request = Request {
            headers: &headers,
            body: &body,
            now_secs: now().as_second(),
            route: Route {
                url: "https://hooks.example.test/in",
                remote: "127.0.0.1".parse().ok(),
                certificate: None,
            },
        };
        if !believes {
            prepared.verify(tolerance, &request).ok()?;
        }
        let events = prepared.extract(&request).ok()?.into_iter();
        Some(
            events
                .map(|event| (event.provider_id.clone(), event.kind.clone()))
                .collect(),
        )
    }

    async fn take(&self, headers: HeaderMap, body: Bytes) -> StatusCode {
        if self.bug == Bug::Hangs && self.busy.fetch_add(1, Ordering::SeqCst) == 5 {
            std::future::pending::<()>().await;
        }
        if self.bug == Bug::RemembersTheForged {
            let payload: Value = serde_json::from_slice(&body).unwrap_or_default();
            let id = payload["id"].as_str().unwrap_or_default().to_owned();
            if !self.seen.lock().expect("a lock").insert(id) {
                return StatusCode::OK;
            }
        }
        let Some(events) = self.verified(&headers, &body) else {
            return StatusCode::UNAUTHORIZED;
        };
        let mut answer = StatusCode::OK;
        let payload: Value = serde_json::from_slice(&body).unwrap_or_default();
        for (id, kind) in events {
            let status = self.apply(id, &kind, &payload).await;
            if status != StatusCode::OK {
                answer = status;
            }
        }
        answer
    }

    async fn apply(&self, id: String, kind: &str, payload: &Value) -> StatusCode {
        match self.bug {
            Bug::RefusesNewTypes if kind.contains("reimagined") => return StatusCode::BAD_REQUEST,
            Bug::RefusesTheLate => {
                let created = payload["created"].as_i64().unwrap_or_default();
                if created < now().as_second() - 3_600 {
                    return StatusCode::BAD_REQUEST;
                }
            }
            Bug::NeedsTheirOrder => {
                let subject = payload["data"]["object"]["id"].to_string();
                let mut subjects = self.subjects.lock().expect("a lock");
                if kind.ends_with("subscription.created") {
                    subjects.insert(subject);
                } else if kind.ends_with("subscription.updated") && !subjects.contains(&subject) {
                    return StatusCode::NOT_FOUND;
                }
            }
            Bug::LosesUnderLoad => {
                let busy = self.busy.fetch_add(1, Ordering::SeqCst);
                for _ in 0..2_000 {
                    tokio::task::yield_now().await;
                }
                self.busy.fetch_sub(1, Ordering::SeqCst);
                if busy > 8 {
                    return StatusCode::OK;
                }
            }
            _ => {}
        }
        let known = match self.bug {
            Bug::AppliesTwice | Bug::RemembersTheForged => false,
            Bug::ChecksThenActs => {
                let known = self.seen.lock().expect("a lock").contains(&id);
                for _ in 0..2_000 {
                    tokio::task::yield_now().await;
                }
                self.seen.lock().expect("a lock").insert(id.clone());
                known
            }
            _ => !self.seen.lock().expect("a lock").insert(id.clone()),
        };
        if known {
            return match self.bug {
                Bug::FailsOnDuplicates => StatusCode::INTERNAL_SERVER_ERROR,
                _ => StatusCode::OK,
            };
        }
        *self.applied.lock().expect("a lock").entry(id).or_default() += 1;
        StatusCode::OK
    }
}

async fn hook(State(handler): State<Arc<Handler>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    handler.take(headers, body).await
}

async fn count(State(handler): State<Arc<Handler>>, Json(asked): Json<Value>) -> Json<Value> {
    let applied = handler.applied.lock().expect("a lock");
    let ids = asked["ids"].as_array().cloned().unwrap_or_default();
    let counts: serde_json::Map<String, Value> = ids
        .iter()
        .filter_map(|id| Some((id.as_str()?.to_owned(), json!(applied.get(id.as_str()?)?))))
        .collect();
    Json(json!({ "applied": counts }))
}

fn scheme(name: &str) -> Scheme {
    let mut settings = SourceSettings::default();
    match name {
        "bearer" | "address" => {
            settings.event =
                Some(json!({ "id": { "pointer": "/id" }, "type": { "pointer": "/type" } }));
            settings.allow = vec!["127.0.0.0/8".into()];
        }
        "hmac" => {
            settings.hmac = Some(json!({
                "header": "x-signature", "id": { "pointer": "/id" }, "type": { "header": "x-type" },
            }));
        }
        _ => {}
    }
    Scheme::from_settings(name, &settings).expect("a scheme")
}

/// Plays at a handler with this bug.
async fn played(name: &str, bug: Bug, asks: bool) -> Report {
    let scheme = scheme(name);
    let secret = Secret::new(generate_secret(&scheme, &[3; 32]));
    let handler = Arc::new(Handler {
        bug,
        secrets: match scheme.needs_no_secret() {
            true => Vec::new(),
            false => vec![secret.clone()],
        },
        scheme: scheme.clone(),
        seen: Mutex::default(),
        subjects: Mutex::default(),
        applied: Mutex::default(),
        busy: AtomicUsize::new(0),
    });
    let routes = Router::new()
        .route("/hook", post(hook))
        .route("/count", post(count))
        .with_state(handler);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let serving = tokio::spawn(axum::serve(listener, routes).into_future());
    let storm = Storm {
        scheme,
        secret,
        to: format!("http://{address}/hook"),
        sent_to: Some("https://hooks.example.test/in".into()),
        headers: Vec::new(),
        mix: Mix {
            seed: 11,
            events: 120,
            now: now().as_second(),
            tolerance_secs: 300,
        },
        pace: Pace {
            rate: None,
            concurrency: 8,
            timeout: Duration::from_secs(if bug == Bug::Hangs { 1 } else { 60 }),
        },
        ledger: asks.then(|| Ledger {
            url: format!("http://{address}/count"),
            headers: Vec::new(),
            settle: Duration::ZERO,
        }),
    };
    let report = storm.play().await.expect("it is played");
    serving.abort();
    report
}

fn with_verdict(report: &Report, word: &str) -> Vec<&'static str> {
    let rules = report.rules.iter();
    let rules = rules.filter(|rule| rule.verdict.word() == word);
    rules.map(|rule| rule.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_handler_passes_whoevers_webhooks_it_takes() {
    for name in Scheme::NAMES {
        // Only PayPal can sign as PayPal does; of Twilio's the URL is signed.
        if name == "paypal" {
            continue;
        }
        let report = played(name, Bug::None, true).await;
        assert!(report.passed(), "{name}: {:#}", report.json());
        let open = with_verdict(&report, "not_judged");
        let expected: &[&str] = match name {
            "bearer" => &["forged_body", "too_old"],
            "address" => &[
                "forged_secret",
                "forged_body",
                "unsigned",
                "too_old",
                "none_forged",
            ],
            "github" | "meta" | "shopify" | "hmac" | "twilio" => &["too_old"],
            _ => &[],
        };
        assert_eq!(open, expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_planted_bug_is_found_by_the_rule_about_it() {
    for (bug, rule) in [
        (Bug::BelievesEverybody, "forged_secret"),
        (Bug::BelievesTheUnsigned, "unsigned"),
        (Bug::BelievesOtherBodies, "forged_body"),
        (Bug::BelievesTheOld, "too_old"),
        (Bug::AppliesTwice, "applied_once"),
        (Bug::ChecksThenActs, "applied_once"),
        (Bug::FailsOnDuplicates, "again"),
        (Bug::LosesUnderLoad, "none_lost"),
        (Bug::NeedsTheirOrder, "reordered"),
        (Bug::RefusesNewTypes, "changed"),
        (Bug::RefusesTheLate, "late"),
        (Bug::RemembersTheForged, "none_lost"),
        (Bug::Hangs, "in_time"),
    ] {
        let report = played("stripe", bug, true).await;
        let failed = with_verdict(&report, "fail");
        assert!(failed.contains(&rule), "{bug:?}: {failed:?}");
        assert!(!report.passed(), "{bug:?}");
        let found = report.rules.iter().find(|one| one.name == rule);
        let evidence = found.map(|one| one.evidence.clone()).unwrap_or_default();
        assert!(
            !evidence.is_empty() && evidence[0].contains("evt_"),
            "{evidence:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_know_is_not_said_to_hold() {
    for bug in [Bug::AppliesTwice, Bug::LosesUnderLoad] {
        let report = played("stripe", bug, false).await;
        let open = with_verdict(&report, "not_judged");
        assert_eq!(
            open,
            ["applied_once", "none_lost", "none_forged"],
            "{bug:?}"
        );
        assert!(
            report.passed(),
            "nothing that could be judged speaks against it"
        );
    }
}
