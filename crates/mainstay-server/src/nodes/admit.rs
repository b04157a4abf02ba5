//! Who is let in at this node's internal door: another node of this installation, with what it signed for just this
//! request, once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use mainstay_domain::{NodeId, StoreError, Timestamp, nodes::PUBLIC_KEY_BYTES};
use tokio::time::Instant;

use super::{
    Way,
    ticket::{HEADER, Shown, Ticket, VERSION, body_digest},
    way,
    window::Window,
};
use crate::{
    access::{Caller, reads::InTenant},
    http::{Code, Problem, body},
    limits,
    state::App,
};

/// Tells a sender whose clock goes wrong what time it is here.
pub(super) const TIME_HEADER: HeaderName = HeaderName::from_static("mainstay-door-time");
/// In whose data something was read, for the audit log of the node that was asked.
pub(super) const TENANT_HEADER: HeaderName = HeaderName::from_static("mainstay-door-tenant");
/// How far the sender's clock may be from this one, in milliseconds.
const SKEW_MS: i64 = 60_000;
/// Nodes whose tickets are remembered.
const KNOWN_MAX: usize = 256;
/// Who was silent for so long is forgotten when there are too many: what it signed is too old by then.
const FORGET: Duration = Duration::from_millis(2 * SKEW_MS as u64 + 1_000);
/// The least time between two questions to the database about nodes that are not there.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Why somebody is not let in.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// There is no ticket, or none that can be read.
    Malformed,
    /// It is for another node, or for this one before it started anew.
    NotForMe,
    /// It was signed too long ago, or will be.
    Skewed,
    /// No node of this id is there.
    Unknown,
    /// That node did not sign it.
    Forged,
    /// It is for another request.
    Other,
    /// It was used before.
    Used,
    /// It cannot be told now.
    Problem(Problem),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Problem(error.into())
    }
}

impl Refusal {
    const fn detail(&self) -> &'static str {
        match self {
            Self::Malformed => {
                "this door is for other nodes of this installation, and the request shows no ticket of one"
            }
            Self::NotForMe => {
                "the ticket is for another node, or for this one before it was started anew"
            }
            Self::Skewed => "the ticket's time is too far from this node's",
            Self::Unknown => "no such node is known here",
            Self::Forged => "the ticket is not signed by the node that it names",
            Self::Other => "the ticket is for another request",
            Self::Used => "the ticket was used before",
            Self::Problem(_) => "",
        }
    }

    fn response(self, now: Timestamp) -> Response {
        let detail = self.detail();
        match self {
            Self::Problem(problem) => problem.into_response(),
            refusal => {
                tracing::debug!(
                    reason = detail,
                    "a request was refused at the internal door"
                );
                let mut response = Problem::new(Code::DoorRefused, detail).into_response();
                if refusal == Self::Skewed {
                    let now = HeaderValue::from(now.micros() / 1_000);
                    response.headers_mut().insert(TIME_HEADER, now);
                }
                response
            }
        }
    }
}

/// A node that was here before.
struct Known {
    key: [u8; PUBLIC_KEY_BYTES],
    used: Window,
    seen: Instant,
}

/// The nodes that were here before, and which of their tickets are used.
#[derive(Default)]
pub(super) struct Guests {
    known: Mutex<HashMap<NodeId, Known>>,
    /// When somebody who is not there was looked for. Held while the database is asked: one question at a time.
    missed: tokio::sync::Mutex<Option<Instant>>,
}

impl Guests {
    fn known(&self) -> MutexGuard<'_, HashMap<NodeId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, id: NodeId) -> Option<[u8; PUBLIC_KEY_BYTES]> {
        self.known().get(&id).map(|known| known.key)
    }

    /// The key of a node; the database is asked where it is new here.
    async fn find(&self, app: &App, id: NodeId) -> Result<[u8; PUBLIC_KEY_BYTES], Refusal> {
        if let Some(key) = self.key(id) {
            return Ok(key);
        }
        let mut missed = self.missed.lock().await;
        if let Some(key) = self.key(id) {
            return Ok(key);
        }
        if missed.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
            return Err(Refusal::Unknown);
        }
        let Some(key) = app.mainstay.nodes.key(id).await? else {
            *missed = Some(Instant::now());
            return Err(Refusal::Unknown);
        };
        Ok(key)
    }

    /// Uses a ticket of a node's up: false if it was used. The node is known from then on.
    fn take(&self, ticket: &Ticket, key: [u8; PUBLIC_KEY_BYTES]) -> bool {
        let mut known = self.known();
        if known.len() >= KNOWN_MAX && !known.contains_key(&ticket.from) {
            known.retain(|_, one| one.seen.elapsed() < FORGET);
            if known.len() >= KNOWN_MAX {
                return false;
            }
        }
        let one = known.entry(ticket.from).or_insert_with(|| Known {
            key,
            used: Window::default(),
            seen: Instant::now(),
        });
        one.seen = Instant::now();
        one.used.take(ticket.number)
    }
}

/// What the ticket says beside its signature, where it can be told without the body.
fn fits(ticket: &Ticket, own: NodeId, now: Timestamp, parts: &Parts) -> Result<(), Refusal> {
    if ticket.version != VERSION {
        return Err(Refusal::Malformed);
    }
    if ticket.to != own {
        return Err(Refusal::NotForMe);
    }
    if ticket.at_ms.abs_diff(now.micros() / 1_000) > SKEW_MS.unsigned_abs() {
        return Err(Refusal::Skewed);
    }
    let path = parts.uri.path_and_query().map(|path| path.as_str());
    match ticket.method == parts.method.as_str() && Some(ticket.path.as_str()) == path {
        true => Ok(()),
        false => Err(Refusal::Other),
    }
}

/// Whom the request is for, and its body. In this order: what costs nothing, one look at the signature, and only then is the
/// body read.
async fn check(app: &App, parts: &Parts, sent: Body) -> Result<(Caller, bytes::Bytes), Refusal> {
    let door = app.door.as_ref().ok_or(Refusal::Malformed)?;
    let text = parts
        .headers
        .get(HEADER)
        .and_then(|value| value.to_str().ok());
    let shown = text.and_then(Shown::read).ok_or(Refusal::Malformed)?;
    fits(&shown.ticket, door.identity.id, app.clock.now(), parts)?;
    let key = door.guests.find(app, shown.ticket.from).await?;
    if !shown.is_signed_by(&key) {
        return Err(Refusal::Forged);
    }
    let limit = limits::API_BODY_BYTES;
    let body = body::read(&parts.headers, sent, limit, app.limits.body_timeout)
        .await
        .map_err(Refusal::Problem)?;
    if body_digest(&body) != shown.ticket.body {
        return Err(Refusal::Other);
    }
    if !door.guests.take(&shown.ticket, key) {
        return Err(Refusal::Used);
    }
    let caller = shown.ticket.caller.caller().ok_or(Refusal::Malformed)?;
    Ok((caller, body))
}

/// Lets a request of another node's in, or not.
pub(super) async fn admit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>();
    let Some(way) = matched.and_then(|path| way(request.method(), path.as_str())) else {
        return Problem::not_found("route").into_response();
    };
    let (mut parts, sent) = request.into_parts();
    let (caller, body) = match check(&app, &parts, sent).await {
        Ok(admitted) => admitted,
        Err(refusal) => {
            app.metrics.door_refused();
            return refusal.response(app.clock.now());
        }
    };
    if way == Way::Pull && *app.stop.borrow() {
        // It would be answered at once, with nothing, and come again at once until another node owns the jobs.
        return super::not_the_owner().into_response();
    }
    parts.extensions.insert(caller);
    let answered = next.run(Request::from_parts(parts, Body::from(body)));
    let timeout = app.limits.request_timeout + app.limits.body_timeout;
    let Ok(mut response) = tokio::time::timeout(timeout, answered).await else {
        let detail = "the request took too long and was given up";
        return Problem::new(Code::RequestTimeout, detail).into_response();
    };
    let tenant = response.extensions().get::<InTenant>().copied();
    if let Some(InTenant(tenant)) = tenant
        && let Ok(tenant) = HeaderValue::from_str(&tenant.to_string())
    {
        response.headers_mut().insert(TENANT_HEADER, tenant);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::Who,
        nodes::ticket::{Claim, Identity},
        time::SystemRandom,
    };
    use mainstay_domain::{KeyId, access::Role};
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);

    fn node(number: u128) -> NodeId {
        NodeId::from_uuid(Uuid::from_u128(number))
    }

    fn ticket() -> Ticket {
        let caller = Caller {
            who: Who::Key {
                id: KeyId::NIL,
                name: "work".into(),
            },
            role: Role::Operator,
            tenant: None,
        };
        Ticket {
            version: VERSION,
            from: node(1),
            to: node(2),
            at_ms: NOW.micros() / 1_000,
            number: 1,
            method: "POST".into(),
            path: "/v1/workers/pull?a=b".into(),
            body: body_digest(b""),
            caller: Claim::from(&caller),
        }
    }

    fn parts() -> Parts {
        let request = Request::post("/v1/workers/pull?a=b").body(Body::empty());
        request.expect("a request").into_parts().0
    }

    #[test]
    fn a_ticket_is_for_one_node_one_request_and_a_short_time() {
        let fits = |change: fn(&mut Ticket)| {
            let mut ticket = ticket();
            change(&mut ticket);
            fits(&ticket, node(2), NOW, &parts())
        };
        assert_eq!(fits(|_| {}), Ok(()));
        assert_eq!(fits(|one| one.at_ms += SKEW_MS), Ok(()));
        assert_eq!(fits(|one| one.at_ms += SKEW_MS + 1), Err(Refusal::Skewed));
        assert_eq!(fits(|one| one.at_ms -= SKEW_MS + 1), Err(Refusal::Skewed));
        assert_eq!(fits(|one| one.at_ms = i64::MIN), Err(Refusal::Skewed));
        assert_eq!(fits(|one| one.to = node(3)), Err(Refusal::NotForMe));
        assert_eq!(fits(|one| one.version = 2), Err(Refusal::Malformed));
        assert_eq!(fits(|one| one.method = "GET".into()), Err(Refusal::Other));
        let path = |one: &mut Ticket| one.path = "/v1/workers/pull".into();
        assert_eq!(fits(path), Err(Refusal::Other));
    }

    #[test]
    fn a_ticket_is_used_once_and_so_many_nodes_are_remembered() {
        let guests = Guests::default();
        let key = Identity::new(node(1), &SystemRandom)
            .expect("a key")
            .public_key();
        assert!(guests.take(&ticket(), key));
        assert!(!guests.take(&ticket(), key));
        assert_eq!(guests.key(node(1)), Some(key));
        for number in 2..=KNOWN_MAX as u128 {
            let of_another = Ticket {
                from: node(number),
                ..ticket()
            };
            assert!(guests.take(&of_another, key));
        }
        let one_too_many = Ticket {
            from: node(9_999),
            ..ticket()
        };
        assert!(!guests.take(&one_too_many, key));
        assert!(!guests.take(&ticket(), key), "nobody was forgotten for it");
    }
}
