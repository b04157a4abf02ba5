//! The receiving app: what a team's own webhook handler does, with the troubles that such handlers have.
//!
//! It checks the Standard Webhooks signature, applies every `webhook-id` once, and counts what it applied by the marks
//! in the payloads, so that an event delivered under two ids would show. It fails on purpose: errors, `429` with
//! `Retry-After`, answers that come too late or never *after* the work was done, and payloads that it will never take.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, Response, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::{dice::Dice, events::marks, process::unix_secs, sign};

/// How often the app fails, as shares of all requests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mood {
    /// `500` before anything was done.
    pub error: f64,
    /// `429` with `Retry-After: 1`.
    pub busy: f64,
    /// The work is done, the answer comes after `late_ms`.
    pub late: f64,
    /// How late.
    pub late_ms: u64,
    /// The work is done, the connection breaks instead of an answer.
    pub broken: f64,
    /// Whether some kinds of payload are refused for ever.
    pub poison: bool,
}

/// What the app has seen and done.
#[derive(Debug, Default, Clone)]
pub struct Ledger {
    /// How many requests came.
    pub requests: u64,
    /// How many had a wrong signature.
    pub unsigned: u64,
    /// How many brought a `webhook-id` that was applied already: answered `200` and left alone.
    pub repeats: u64,
    /// How many payloads carried no mark.
    pub unknown: u64,
    /// How often the app failed on purpose, by how.
    pub failures: BTreeMap<&'static str, u64>,
    /// How often each event was applied.
    pub applied: BTreeMap<String, u32>,
    /// The same events in the order in which each was applied for the first time.
    pub sequence: Vec<String>,
    /// The events that it will never take.
    pub poisoned: BTreeSet<String>,
    ids: HashSet<String>,
}

impl Ledger {
    /// How many events were applied more than once.
    pub fn applied_twice(&self) -> usize {
        self.applied.values().filter(|count| **count > 1).count()
    }
}

/// The app.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    mood: Mutex<Mood>,
    secret: Mutex<String>,
    ledger: Mutex<Ledger>,
    dice: Mutex<Dice>,
    open: watch::Sender<bool>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Receiver {
    /// Starts the app on a free port of this machine.
    pub async fn start(seed: u64, mood: Mood) -> anyhow::Result<Arc<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let receiver = Arc::new(Self {
            address: listener.local_addr()?,
            mood: Mutex::new(mood),
            secret: Mutex::default(),
            ledger: Mutex::default(),
            dice: Mutex::new(Dice::new(seed)),
            open: watch::Sender::new(true),
        });
        tokio::spawn(Arc::clone(&receiver).run(listener));
        Ok(receiver)
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}/webhooks", self.address)
    }

    /// The secret that Mainstay signs with.
    pub fn trust(&self, secret: &str) {
        secret.clone_into(&mut lock(&self.secret));
    }

    /// Changes how often it fails.
    pub fn mood_set(&self, mood: Mood) {
        *lock(&self.mood) = mood;
    }

    /// Goes away (connections break, nobody listens) or comes back.
    pub fn open(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// What it has seen so far.
    pub fn ledger(&self) -> Ledger {
        lock(&self.ledger).clone()
    }

    /// How many events it applied so far.
    pub fn applied(&self) -> usize {
        lock(&self.ledger).applied.len()
    }

    async fn run(self: Arc<Self>, first: TcpListener) {
        let mut open = self.open.subscribe();
        let mut listener = Some(first);
        let mut connections = JoinSet::new();
        loop {
            if !*open.borrow_and_update() {
                listener = None;
                connections.shutdown().await;
                if open.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let bound = match listener.take() {
                Some(bound) => bound,
                None => match TcpListener::bind(self.address).await {
                    Ok(bound) => bound,
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            tokio::select! {
                accepted = bound.accept() => if let Ok((stream, _)) = accepted {
                    connections.spawn(Arc::clone(&self).serve(TokioIo::new(stream)));
                },
                changed = open.changed() => if changed.is_err() {
                    return;
                },
                Some(_) = connections.join_next() => {}
            }
            listener = Some(bound);
        }
    }

    async fn serve(self: Arc<Self>, stream: TokioIo<tokio::net::TcpStream>) {
        let service = service_fn(|request| {
            let receiver = Arc::clone(&self);
            async move { receiver.answer(request).await }
        });
        // A connection that ends badly is the sender's to notice.
        let _ = http1::Builder::new()
            .serve_connection(stream, service)
            .await;
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let (parts, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map_err(std::io::Error::other)?
            .to_bytes();
        let act = self.decide(&parts.headers, &body);
        match act {
            Act::Answer(status, text) => Ok(respond(status, text)),
            Act::Busy => {
                let mut response = respond(429, "come back in a second");
                response
                    .headers_mut()
                    .insert("retry-after", hyper::header::HeaderValue::from_static("1"));
                Ok(response)
            }
            Act::Late(ms) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                Ok(respond(200, "done, at last"))
            }
            Act::Break => Err(std::io::Error::other("the connection breaks on purpose")),
        }
    }

    fn decide(&self, headers: &HeaderMap, body: &[u8]) -> Act {
        let header = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let id = header("webhook-id");
        let signed = sign::standard_webhooks_holds(
            &lock(&self.secret),
            id,
            header("webhook-timestamp"),
            header("webhook-signature"),
            body,
            unix_secs(),
        );
        let mood = *lock(&self.mood);
        let roll = lock(&self.dice).range(0, 1_000_000) as f64 / 1_000_000.0;
        let mut ledger = lock(&self.ledger);
        ledger.requests += 1;
        if !signed {
            ledger.unsigned += 1;
            return Act::Answer(401, "the signature is wrong");
        }
        let payload = serde_json::from_slice(body).unwrap_or(Value::Null);
        if mood.poison
            && let Some((status, why)) = poison(&payload)
        {
            ledger.poisoned.extend(marks(&payload));
            return Act::Answer(status, why);
        }
        ledger.handle(id, &payload, mood, roll)
    }
}

impl Ledger {
    fn handle(&mut self, id: &str, payload: &Value, mood: Mood, roll: f64) -> Act {
        if roll < mood.error {
            return self.fail("error", Act::Answer(500, "the app is confused"));
        }
        if roll < mood.error + mood.busy {
            return self.fail("busy", Act::Busy);
        }
        if !self.ids.insert(id.to_owned()) {
            self.repeats += 1;
            return Act::Answer(200, "done before");
        }
        let marks = marks(payload);
        self.unknown += u64::from(marks.is_empty());
        for mark in marks {
            let count = self.applied.entry(mark.clone()).or_default();
            *count += 1;
            if *count == 1 {
                self.sequence.push(mark);
            }
        }
        let rest = roll - mood.error - mood.busy;
        if rest < mood.late {
            self.fail("late", Act::Late(mood.late_ms))
        } else if rest < mood.late + mood.broken {
            self.fail("broken", Act::Break)
        } else {
            Act::Answer(200, "done")
        }
    }

    fn fail(&mut self, how: &'static str, act: Act) -> Act {
        *self.failures.entry(how).or_default() += 1;
        act
    }
}

enum Act {
    Answer(u16, &'static str),
    Busy,
    Late(u64),
    Break,
}

/// What this app will never take, and how it says so.
fn poison(payload: &Value) -> Option<(u16, &'static str)> {
    if payload["type"] == "charge.dispute.created" {
        return Some((422, "disputes are not handled by this app"));
    }
    if payload["action"] == "transferred" && payload.get("issue").is_some() {
        return Some((400, "field issue.repository is missing"));
    }
    (payload["type"] == "session.revoked").then_some((500, "session store: null pointer"))
}

fn respond(status: u16, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() =
        hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    response
}
