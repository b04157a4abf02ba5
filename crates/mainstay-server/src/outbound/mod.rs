//! Requests to addresses that tenants chose: the [`HttpOut`] port over hyper's client.
//!
//! Such an address is hostile until proven otherwise. So: http and https only, no credentials in
//! the URL, every address checked by the [`guard`] after the name was resolved and the socket
//! connected to what was checked, no redirects, no proxy, and a bound on everything that the other
//! side can make long: connecting, the whole call, headers, body, connections that are kept.

mod certificates;
mod connect;
#[cfg(test)]
mod fuzz;
mod guard;
mod resolve;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, Uri,
    body::Incoming,
    header::{CONNECTION, HeaderMap, HeaderName, HeaderValue},
};
use hyper_util::{
    client::legacy::{Client, Error as ClientError},
    rt::{TokioExecutor, TokioTimer},
};
use mainstay_domain::jobs::http_out::{HttpOut, OutAnswer, OutError, OutRequest};
use rustls::{client::danger::ServerCertVerifier, pki_types::CertificateDer};
use rustls_platform_verifier::Verifier;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};
use url::{Host, Url};

pub(crate) use certificates::{PinnedCertificates, public_key};
pub(crate) use connect::literal;
use connect::{BoundedConnect, CONNECT_TIMEOUT, GuardedTcp};
pub(crate) use guard::AddressGuard;
use resolve::{Resolver, SystemResolver};

/// Requests under way at once, over all endpoints; the engine's own limits are lower.
const IN_FLIGHT_MAX: usize = 1_024;
/// Connections that may stay open for the next request. Above it each is closed after its answer.
const KEPT_OPEN_MAX: usize = 256;
/// Idle connections kept for one host.
const IDLE_PER_HOST_MAX: usize = 8;
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a busy HTTP/2 connection is asked whether it is alive, and how long it may take to say so.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(15);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer's headers: lines and bytes that are parsed.
const HEADER_LINES_MAX: usize = 128;
const HEADER_BYTES_MAX: usize = 32 * 1_024;
/// An answer's headers: how many are handed on, and how much of each value.
const HEADERS_KEPT_MAX: usize = 64;
const HEADER_VALUE_KEPT_BYTES: usize = 1_024;
/// How much of a body is read away, beyond what is kept, so that the connection can be used again.
const READ_AWAY_BYTES_MAX: usize = 64 * 1_024;
/// The longest URL.
const URL_BYTES_MAX: usize = 4_096;

/// Sends requests to addresses that tenants chose.
pub(crate) struct Outbound {
    client: Client<BoundedConnect, Full<Bytes>>,
    guard: Arc<AddressGuard>,
    in_flight: Semaphore,
    open: Arc<AtomicUsize>,
}

impl Outbound {
    /// The system's resolver, and the platform's certificate authorities with these besides. Fails when one of these
    /// cannot be one.
    pub(crate) fn new(
        guard: AddressGuard,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, rustls::Error> {
        let tls = tls_config(authorities)?;
        Ok(Self::with(guard, Arc::new(SystemResolver::new()), tls))
    }

    fn with(guard: AddressGuard, resolver: Arc<dyn Resolver>, tls: rustls::ClientConfig) -> Self {
        let guard = Arc::new(guard);
        let open = Arc::new(AtomicUsize::new(0));
        let tcp = GuardedTcp::new(Arc::clone(&guard), resolver, Arc::clone(&open));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .http1_max_headers(HEADER_LINES_MAX)
            .http1_max_buf_size(HEADER_BYTES_MAX)
            .http2_max_header_list_size(HEADER_BYTES_MAX as u32)
            .http2_keep_alive_interval(HTTP2_PING_INTERVAL)
            .http2_keep_alive_timeout(HTTP2_PING_TIMEOUT)
            .build(BoundedConnect::new(tcp, tls));
        Self {
            client,
            guard,
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            open,
        }
    }

    /// Until the answer's headers are there.
    async fn send(
        &self,
        method: Method,
        request: OutRequest,
    ) -> Result<(Response<Incoming>, SemaphorePermit<'_>), OutError> {
        let connect = Duration::from_millis(request.connect_timeout_ms);
        let request = self.request(method, request)?;
        let permit = self
            .in_flight
            .acquire()
            .await
            .map_err(|_| OutError::Connect("shutting down".to_owned()))?;
        let answer = CONNECT_TIMEOUT
            .scope(connect, self.client.request(request))
            .await
            .map_err(client_error)?;
        Ok((answer, permit))
    }

    fn request(
        &self,
        method: Method,
        request: OutRequest,
    ) -> Result<Request<Full<Bytes>>, OutError> {
        let uri = self.uri(&request.url)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let invalid = || OutError::Url(format!("the header {name} cannot be sent"));
            let name = HeaderName::try_from(name).map_err(|_| invalid())?;
            headers.append(name, HeaderValue::try_from(value).map_err(|_| invalid())?);
        }
        if self.open.load(Ordering::Relaxed) >= KEPT_OPEN_MAX {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let mut built = Request::builder()
            .method(method)
            .uri(uri)
            .body(Full::new(request.body))
            .map_err(|error| OutError::Url(error.to_string()))?;
        *built.headers_mut() = headers;
        Ok(built)
    }

    /// The URL as it will be connected to. A literal address is judged here already, so that the
    /// answer does not depend on whether a connection to it is still open.
    fn uri(&self, text: &str) -> Result<Uri, OutError> {
        let url = url_parse(text)?;
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            _ => None,
        };
        if let Some(address) = literal {
            self.guard
                .admit(address)
                .map_err(|kind| OutError::Forbidden(format!("{address} ({kind})")))?;
        }
        Uri::try_from(url.as_str()).map_err(|error| OutError::Url(error.to_string()))
    }
}

#[async_trait]
impl HttpOut for Outbound {
    async fn post(&self, request: OutRequest) -> Result<OutAnswer, OutError> {
        self.call(Method::POST, request).await
    }
}

impl Outbound {
    /// GETs, under the same guard and the same bounds.
    pub(crate) async fn get(&self, request: OutRequest) -> Result<OutAnswer, OutError> {
        self.call(Method::GET, request).await
    }

    async fn call(&self, method: Method, request: OutRequest) -> Result<OutAnswer, OutError> {
        let ms = request.timeout_ms;
        let keep = request.answer_bytes_max;
        let deadline = Instant::now() + Duration::from_millis(ms);
        let (answer, _permit) = tokio::time::timeout_at(deadline, self.send(method, request))
            .await
            .unwrap_or(Err(OutError::Timeout {
                operation: "request",
                ms,
            }))?;
        Ok(read(answer, keep, deadline).await)
    }
}

/// The status decides; the body is only an excerpt. So a body that never ends, comes too slowly
/// or breaks off costs the connection and not the answer.
async fn read(answer: Response<Incoming>, keep: usize, deadline: Instant) -> OutAnswer {
    let (head, mut body) = answer.into_parts();
    let mut excerpt = BytesMut::new();
    let mut read_away = 0;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout_at(deadline, body.frame()).await {
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let kept = data.len().min(keep - excerpt.len());
        excerpt.extend_from_slice(&data[..kept]);
        read_away += data.len() - kept;
        if read_away > READ_AWAY_BYTES_MAX {
            break;
        }
    }
    OutAnswer {
        status: head.status.as_u16(),
        headers: headers_kept(&head.headers),
        excerpt: excerpt.freeze(),
    }
}

/// What a URL must be for anything to be sent to it. Also the rule for storing one.
pub(crate) fn url_parse(text: &str) -> Result<Url, OutError> {
    let refuse = |reason: &str| Err(OutError::Url(reason.to_owned()));
    if text.len() > URL_BYTES_MAX {
        return refuse("it is longer than 4096 bytes");
    }
    let mut url = Url::parse(text).map_err(|error| OutError::Url(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return refuse("it must begin with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("it carries credentials");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return refuse("it names no host");
    }
    if url.port() == Some(0) {
        return refuse("port 0 cannot be connected to");
    }
    url.set_fragment(None);
    Ok(url)
}

fn headers_kept(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .take(HEADERS_KEPT_MAX)
        .map(|(name, value)| {
            let value = value.as_bytes();
            let value = &value[..value.len().min(HEADER_VALUE_KEPT_BYTES)];
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value).into_owned(),
            )
        })
        .collect()
}

/// Sorts what hyper's client reports. What the connector said is somewhere in the chain of causes.
fn client_error(error: ClientError) -> OutError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    let mut deepest = String::new();
    while let Some(error) = cause {
        if let Some(own) = error.downcast_ref::<OutError>() {
            return own.clone();
        }
        deepest = error.to_string();
        cause = error.source();
    }
    if error.is_connect() {
        OutError::Connect(deepest)
    } else {
        OutError::Broken(deepest)
    }
}

/// What verifies chains up to the platform's authorities alone.
pub(crate) fn platform_verifier() -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
    let provider = Arc::clone(rustls::ClientConfig::builder().crypto_provider());
    Ok(Arc::new(Verifier::new(provider)?))
}

/// The platform's authorities and ours. Without any, every https request fails with `tls_failed`, and says so.
fn tls_config(
    authorities: Vec<CertificateDer<'static>>,
) -> Result<rustls::ClientConfig, rustls::Error> {
    let builder = rustls::ClientConfig::builder();
    let wanted = !authorities.is_empty();
    let provider = Arc::clone(builder.crypto_provider());
    match Verifier::new_with_extra_roots(authorities, provider) {
        Ok(verifier) => Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth()),
        Err(error) if wanted => Err(error),
        Err(error) => {
            tracing::warn!(%error, "no certificate authorities found; requests to https endpoints will fail");
            Ok(builder
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth())
        }
    }
}
