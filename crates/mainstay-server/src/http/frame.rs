//! What stands around every request: its id, whose it is, its time limit, its count, and headers that protect browsers.

use std::{any::Any, sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::Instrument;

use super::{
    Code, Problem,
    host::Host,
    proxies::{Client, Peer},
};
use crate::time;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How long an id that a proxy gives may be.
const REQUEST_ID_MAX: usize = 64;

/// Scripts, styles and connections from here alone; framed by nobody.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The frame around every request.
pub(crate) async fn around<H: Host>(
    State(app): State<Arc<H>>,
    mut request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let client = client(&*app, &request);
    let id = request_id(&*app, &client, request.headers());
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let span = tracing::info_span!("request", id, %method, path = request.uri().path());
    request.extensions_mut().insert(client);
    let answered = tokio::time::timeout(
        app.limits().request_timeout + app.limits().body_timeout,
        next.run(request).instrument(span.clone()),
    );
    let mut response = match answered.await {
        Ok(response) => response,
        Err(_) => Problem::new(
            Code::RequestTimeout,
            "the request took too long and was given up",
        )
        .into_response(),
    };
    let status = response.status();
    app.metrics()
        .request(&method, route.as_deref(), status, begun.elapsed());
    span.in_scope(|| {
        tracing::debug!(
            status = status.as_u16(),
            ms = begun.elapsed().as_millis() as u64,
            "answered"
        );
    });
    protect(&*app, response.headers_mut());
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn client(app: &impl Host, request: &Request) -> Client {
    match request.extensions().get::<Peer>() {
        Some(peer) => Client::of(*peer, request.headers(), app.trusted_proxies()),
        // Only tests call the router without a connection.
        None => Client {
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            secure: false,
            proxied: false,
        },
    }
}

/// A trusted proxy's id is kept, so that one id runs through all logs.
fn request_id(app: &impl Host, client: &Client, headers: &HeaderMap) -> String {
    let given = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            client.proxied && !id.is_empty() && id.len() <= REQUEST_ID_MAX && id.bytes().all(plain)
        });
    match given {
        Some(id) => id.to_owned(),
        None => time::random_hex(app.random(), 8),
    }
}

fn protect(app: &impl Host, headers: &mut HeaderMap) {
    let mut set = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::REFERRER_POLICY, "same-origin");
    set(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    set(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    set(header::CACHE_CONTROL, "no-store");
    if app.secure() {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}

/// A handler panicked: a defect. Told to the log; the process goes on.
pub(crate) fn panicked(payload: Box<dyn Any + Send + 'static>) -> Response {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&'static str>().copied())
        .unwrap_or("no message");
    Problem::internal(format_args!("a handler panicked: {text}")).into_response()
}
