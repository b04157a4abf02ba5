//! What reaches a node that does not own the jobs, and that only their owner knows, is asked at the owner's internal door.
//!
//! Who called was found out here, and goes along in the ticket. What a worker says waits a little for an owner when there is
//! none for a moment, so that a node that is replaced leaves no gap; then it is answered 503, as it always was. All of it
//! may be repeated. What somebody looks at is answered from here when the owner cannot be asked.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use mainstay_domain::{NodeId, TenantId, nodes::Holder};
use tokio::{sync::watch, time::Instant};

use super::{
    Door, Way,
    admit::{TENANT_HEADER, TIME_HEADER},
    not_the_owner,
    ticket::{Claim, HEADER, Ticket, VERSION, body_digest},
    way,
};
use crate::{
    access::{Caller, reads::InTenant},
    http::{Code, body},
    limits,
    metrics::Forwarded,
    state::App,
};

/// How long what a worker says waits for an owner.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often an owner that has only just begun is asked again meanwhile.
const AGAIN: Duration = Duration::from_millis(100);
/// How long the owner may take to answer.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
const TELL_TIMEOUT: Duration = Duration::from_secs(15);
const PULL_TIMEOUT: Duration = Duration::from_secs(15).saturating_add(limits::POLL_WAIT_MAX);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Idle connections that are kept.
const IDLE_MAX: usize = 64;
/// Bytes of an answer that is read here: a problem.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;
/// That the owner refuses this node is said so often.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What this node needs to call at the others' doors.
pub(super) struct Calls {
    http: reqwest::Client,
    /// The number of the last ticket.
    number: AtomicU64,
    /// What is added to this node's time so that the owner takes it for its own, in milliseconds.
    ahead_ms: AtomicI64,
    said: Mutex<Option<Instant>>,
}

impl Calls {
    /// With these authorities beside the platform's.
    pub(super) fn new(authorities: Vec<reqwest::Certificate>) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .no_gzip()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .tls_certs_merge(authorities)
            .build()?;
        Ok(Self {
            http,
            number: AtomicU64::new(0),
            ahead_ms: AtomicI64::new(0),
            said: Mutex::default(),
        })
    }

    /// Whether it is time to say again what goes wrong.
    fn says(&self) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let says = said.is_none_or(|at| at.elapsed() >= SAY_EVERY);
        if says {
            *said = Some(Instant::now());
        }
        says
    }
}

/// Where a request is to be carried out.
enum Place {
    /// On this node: it owns the jobs, or nobody else can be asked.
    Here,
    /// At that node's door.
    There { id: NodeId, address: String },
    /// Nobody owns the jobs for a moment.
    Nowhere,
}

fn place(app: &App) -> Place {
    let engine = &app.mainstay.engine;
    if *engine.workers().opened().borrow() {
        return Place::Here;
    }
    match &*engine.elsewhere().borrow() {
        None => Place::Nowhere,
        Some(Holder { address: None, .. }) => Place::Here,
        Some(Holder {
            id,
            address: Some(address),
        }) => Place::There {
            id: *id,
            address: address.clone(),
        },
    }
}

/// Passes on what only the owner knows; the rest goes its way here.
pub(crate) async fn forward(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>();
    let way = matched.and_then(|path| way(request.method(), path.as_str()));
    let caller = request.extensions().get::<Caller>().cloned();
    let (Some(door), Some(way), Some(caller)) = (app.door.as_ref(), way, caller) else {
        return next.run(request).await;
    };
    if matches!(place(&app), Place::Here) {
        return next.run(request).await;
    }
    let (parts, sent) = request.into_parts();
    let limit = limits::API_BODY_BYTES;
    let read = body::read(&parts.headers, sent, limit, app.limits.body_timeout);
    let body = match read.await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let asked = Asked {
        app: &app,
        door,
        way,
        caller,
        parts: &parts,
        body: &body,
    };
    match asked.answer().await {
        Some(answer) => answer,
        None => next.run(Request::from_parts(parts, Body::from(body))).await,
    }
}

/// A request that only the owner can answer.
struct Asked<'r> {
    app: &'r App,
    door: &'r Door,
    way: Way,
    caller: Caller,
    parts: &'r Parts,
    body: &'r Bytes,
}

/// What came of a call at the owner's door.
enum Called {
    /// It is answered.
    Answered(Response),
    /// It was not carried out, or nobody knows.
    Missed,
}

impl Asked<'_> {
    /// The owner's answer; `None`: to be carried out here.
    async fn answer(&self) -> Option<Response> {
        let until = Instant::now() + PATIENCE;
        let engine = &self.app.mainstay.engine;
        let (mut elsewhere, mut opened) = (engine.elsewhere(), engine.workers().opened());
        loop {
            elsewhere.mark_unchanged();
            opened.mark_unchanged();
            match place(self.app) {
                Place::Here => return None,
                Place::Nowhere => {}
                Place::There { id, address } => match self.call(id, &address).await {
                    Called::Answered(answer) => return Some(answer),
                    Called::Missed => {}
                },
            }
            if self.way == Way::Look {
                return None;
            }
            if Instant::now() >= until {
                return Some(not_the_owner().into_response());
            }
            tokio::select! {
                _ = elsewhere.changed() => {}
                _ = opened.changed() => {}
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    async fn call(&self, to: NodeId, address: &str) -> Called {
        let gone = gone(self.app.mainstay.engine.elsewhere(), to);
        let called = tokio::select! {
            called = self.call_twice(to, address) => called,
            () = gone => Err(None),
        };
        match called {
            Ok(answer) => {
                self.app.metrics.forwarded(Forwarded::Answered);
                Called::Answered(answer)
            }
            Err(error) => {
                self.app.metrics.forwarded(Forwarded::Missed);
                if let Some(error) = error
                    && self.door.calls.says()
                {
                    tracing::warn!(error, owner = %to, address, "the node that owns the jobs could not be asked");
                }
                Called::Missed
            }
        }
    }

    /// Asks, and once more where it was only this node's time that was wrong. `None`: nothing is wrong, the other does not
    /// own the jobs yet, or no more.
    async fn call_twice(&self, to: NodeId, address: &str) -> Result<Response, Option<String>> {
        let mut response = self.send(to, address).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(there_ms) = number(response.headers())
        {
            let here_ms = self.app.clock.now().micros() / 1_000;
            let ahead_ms = there_ms.saturating_sub(here_ms);
            self.door.calls.ahead_ms.store(ahead_ms, Ordering::Relaxed);
            response = self.send(to, address).await?;
        }
        match response.status() {
            StatusCode::UNAUTHORIZED => Err(Some("it refuses what this node shows".to_owned())),
            StatusCode::SERVICE_UNAVAILABLE => self.refused(response).await,
            _ => Ok(answer(response)),
        }
    }

    async fn send(&self, to: NodeId, address: &str) -> Result<reqwest::Response, Option<String>> {
        let path = self
            .parts
            .uri
            .path_and_query()
            .map_or("/", |path| path.as_str());
        let calls = &self.door.calls;
        let now_ms = self.app.clock.now().micros() / 1_000;
        let ticket = Ticket {
            version: VERSION,
            from: self.door.identity.id,
            to,
            at_ms: now_ms.saturating_add(calls.ahead_ms.load(Ordering::Relaxed)),
            number: calls.number.fetch_add(1, Ordering::Relaxed) + 1,
            method: self.parts.method.as_str().to_owned(),
            path: path.to_owned(),
            body: body_digest(self.body),
            caller: Claim::from(&self.caller),
        };
        let ticket = self.door.identity.sign(&ticket);
        let ticket = ticket.map_err(|error| Some(error.to_string()))?;
        let mut request = calls
            .http
            .request(self.parts.method.clone(), format!("{address}{path}"))
            .header(HEADER, ticket)
            .timeout(match self.way {
                Way::Look => LOOK_TIMEOUT,
                Way::Tell => TELL_TIMEOUT,
                Way::Pull => PULL_TIMEOUT,
            })
            .body(self.body.clone());
        for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
            for value in self.parts.headers.get_all(&name) {
                request = request.header(&name, value);
            }
        }
        let sent = request.send().await;
        sent.map_err(|error| Some(chain(&error.without_url())))
    }

    /// Whether it was for want of an owner that nothing came of it.
    async fn refused(&self, response: reqwest::Response) -> Result<Response, Option<String>> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = axum::body::to_bytes(
            Body::from_stream(response.bytes_stream()),
            PROBLEM_BYTES_MAX,
        );
        let body = body.await.map_err(|error| Some(error.to_string()))?;
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let again = [Code::NotTheOwner, Code::OwnerStarting].map(Code::as_str);
        match problem["code"].as_str() {
            Some(code) if again.contains(&code) => Err(None),
            _ => Ok(passed_on(status, &headers, Body::from(body))),
        }
    }
}

/// Until this node does not own the jobs any more, as far as is known here.
async fn gone(mut elsewhere: watch::Receiver<Option<Holder>>, owner: NodeId) {
    let is_another = |holder: &Option<Holder>| holder.as_ref().is_none_or(|one| one.id != owner);
    if elsewhere.wait_for(is_another).await.is_err() {
        // The engine has stopped: nothing more is heard of owners.
        std::future::pending::<()>().await;
    }
}

fn number(headers: &HeaderMap) -> Option<i64> {
    headers.get(TIME_HEADER)?.to_str().ok()?.parse().ok()
}

fn answer(response: reqwest::Response) -> Response {
    let (status, headers) = (response.status(), response.headers().clone());
    passed_on(status, &headers, Body::from_stream(response.bytes_stream()))
}

/// The owner's answer, as this node's.
fn passed_on(status: StatusCode, from: &HeaderMap, body: Body) -> Response {
    let mut response = (status, body).into_response();
    for name in [
        header::CONTENT_TYPE,
        header::RETRY_AFTER,
        header::CONTENT_LENGTH,
    ] {
        if let Some(value) = from.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    let tenant = from
        .get(TENANT_HEADER)
        .and_then(|value| value.to_str().ok());
    if let Some(tenant) = tenant.and_then(|text| text.parse::<TenantId>().ok()) {
        response.extensions_mut().insert(InTenant(tenant));
    }
    response
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
