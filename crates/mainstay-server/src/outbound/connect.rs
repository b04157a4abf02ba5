//! Connections to addresses that the guard let through, and to no others.
//!
//! The name is resolved here, every address it has is checked here, and the socket is connected to
//! exactly those addresses: there is no second look-up that could answer differently.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::{
    Uri,
    rt::{Read, ReadBufCursor, Write},
};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use mainstay_domain::jobs::http_out::OutError;
use rustls::CertificateError;
use tokio::{net::TcpStream, time::Instant};
use tower::Service;

use super::{guard::AddressGuard, resolve::Resolver};

type ConnectFuture<T> = Pin<Box<dyn Future<Output = Result<T, OutError>> + Send>>;
/// What hyper's client wants an error to be.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

tokio::task_local! {
    /// How long the request that is being sent may take to connect. hyper's client hands a connector
    /// the URI and nothing else, and calls it in the task of the request.
    pub(super) static CONNECT_TIMEOUT: Duration;
}

/// For a connection that no request asked for with a bound of its own.
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Resolves, checks and connects.
#[derive(Clone)]
pub(super) struct GuardedTcp {
    guard: Arc<AddressGuard>,
    resolver: Arc<dyn Resolver>,
    open: Arc<AtomicUsize>,
}

impl GuardedTcp {
    /// `open` counts the connections that exist.
    pub(super) fn new(
        guard: Arc<AddressGuard>,
        resolver: Arc<dyn Resolver>,
        open: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            guard,
            resolver,
            open,
        }
    }

    async fn connect(self, uri: Uri) -> Result<CountedTcp, OutError> {
        let host = uri.host().unwrap_or_default().to_owned();
        let port = uri.port_u16().unwrap_or_else(|| port_default(&uri));
        let addresses = self.addresses(&host).await?;
        for address in &addresses {
            self.guard
                .admit(*address)
                .map_err(|kind| OutError::Forbidden(format!("{address} ({kind})")))?;
        }
        let stream = connect_any(&addresses, port).await?;
        stream
            .set_nodelay(true)
            .map_err(|error| OutError::Connect(error.kind().to_string()))?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(CountedTcp {
            stream: TokioIo::new(stream),
            open: self.open,
        })
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, OutError> {
        if let Some(literal) = literal(host) {
            return Ok(vec![literal]);
        }
        let found = self
            .resolver
            .resolve(host)
            .await
            .map_err(|error| OutError::Dns(format!("{host}: {error}")))?;
        if found.is_empty() {
            return Err(OutError::Dns(format!("{host} has no address")));
        }
        Ok(found)
    }
}

/// The address that a host is, when it is one. The URL was normalised before: `0x7f.1`, `017700000001`
/// and `127.0.0.1.` have become `127.0.0.1` here.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

fn port_default(uri: &Uri) -> u16 {
    if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    }
}

/// Tries the addresses in turn; each gets its share of the time that is left, so that a dead one does
/// not use up that of a living one.
async fn connect_any(addresses: &[IpAddr], port: u16) -> Result<TcpStream, OutError> {
    let deadline = Instant::now() + connect_timeout();
    let mut last = None;
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(1);
        match tokio::time::timeout(share, TcpStream::connect(SocketAddr::new(*address, port))).await
        {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Some(OutError::Connect(error.kind().to_string())),
            Err(_) => last = last.or_else(|| Some(timed_out(connect_timeout()))),
        }
    }
    Err(last.unwrap_or_else(|| OutError::Connect("no address".to_owned())))
}

fn connect_timeout() -> Duration {
    CONNECT_TIMEOUT
        .try_with(|timeout| *timeout)
        .unwrap_or(CONNECT_TIMEOUT_DEFAULT)
}

fn timed_out(after: Duration) -> OutError {
    OutError::Timeout {
        operation: "connect",
        ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
    }
}

impl Service<Uri> for GuardedTcp {
    type Response = CountedTcp;
    type Error = OutError;
    type Future = ConnectFuture<CountedTcp>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OutError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // Also when hyper moves the rest of this future to a task of its own.
        Box::pin(CONNECT_TIMEOUT.scope(connect_timeout(), self.clone().connect(uri)))
    }
}

/// A connection that is counted while it lives.
pub(super) struct CountedTcp {
    stream: TokioIo<TcpStream>,
    open: Arc<AtomicUsize>,
}

impl Drop for CountedTcp {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection for CountedTcp {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for CountedTcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for CountedTcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

/// The whole way: name, address, socket, TLS; within the request's bound.
#[derive(Clone)]
pub(super) struct BoundedConnect(HttpsConnector<GuardedTcp>);

impl BoundedConnect {
    pub(super) fn new(tcp: GuardedTcp, tls: rustls::ClientConfig) -> Self {
        Self(
            hyper_rustls::HttpsConnectorBuilder::new()
                .with_tls_config(tls)
                .https_or_http()
                .enable_all_versions()
                .wrap_connector(tcp),
        )
    }
}

impl Service<Uri> for BoundedConnect {
    type Response = MaybeHttpsStream<CountedTcp>;
    type Error = OutError;
    type Future = ConnectFuture<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OutError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let bound = connect_timeout();
        let connecting = self.0.call(uri);
        Box::pin(async move {
            match tokio::time::timeout(bound, connecting).await {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(error)) => Err(connect_error(error)),
                Err(_) => Err(timed_out(bound)),
            }
        })
    }
}

/// Ours comes back as it was; what else the TLS connector reports is about TLS.
fn connect_error(error: BoxError) -> OutError {
    match error.downcast::<OutError>() {
        Ok(own) => *own,
        Err(error) => OutError::Tls(match tls_error(&error) {
            Some(rustls::Error::InvalidCertificate(problem)) => certificate_words(problem),
            _ => error.to_string(),
        }),
    }
}

/// What rustls said, wrapped in one or more errors of I/O.
fn tls_error(error: &BoxError) -> Option<&rustls::Error> {
    let mut wrapped = error.downcast_ref::<io::Error>()?.get_ref()?;
    while let Some(inner) = wrapped.downcast_ref::<io::Error>() {
        wrapped = inner.get_ref()?;
    }
    wrapped.downcast_ref()
}

/// What is usually wrong with a certificate, for people.
fn certificate_words(problem: &CertificateError) -> String {
    let words = match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the endpoint's certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the endpoint's certificate is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the endpoint's certificate is for another host"
        }
        CertificateError::UnknownIssuer => {
            "the endpoint's certificate was not signed by an authority that is trusted here; \
             outbound.ca_file names more of them"
        }
        other => return format!("the endpoint's certificate is invalid: {other}"),
    };
    words.to_owned()
}
