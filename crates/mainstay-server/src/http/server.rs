//! The accept loop. `axum::serve` sets no header timeout and waits for open streams when it should stop; this one has
//! a bound on everything that a client can make us wait for.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use mainstay_domain::Cidr;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::{idle::Idle, proxies, proxies::Peer};
use crate::{config::Limits, limits};

/// Pause after the system refused to give us a connection (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Everything that the loop needs.
pub(crate) struct Server {
    /// The socket.
    pub(crate) listener: TcpListener,
    /// What answers.
    pub(crate) router: Router,
    /// The certificate, when we speak TLS ourselves.
    pub(crate) tls: Option<watch::Receiver<TlsAcceptor>>,
    /// Bounds.
    pub(crate) limits: Limits,
    /// Proxies, which carry many clients' connections.
    pub(crate) trusted: Vec<Cidr>,
}

impl Server {
    /// Serves until `stop` turns true; then accepts nothing more and lets running requests finish, within a bound.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let connections = Arc::new(Semaphore::new(self.limits.connections));
        let addresses = Addresses::default();
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&connections) => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let (stream, peer, permit) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if !is_clients(&error) {
                        tracing::warn!(%error, "no connection could be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    continue;
                }
            };
            let bound = match proxies::is_trusted(peer, &self.trusted) {
                true => usize::MAX,
                false => self.limits.connections_per_address,
            };
            // Dropped without an answer: there is no cheaper way to say no.
            let Some(held) = addresses.hold(network(peer), bound) else {
                continue;
            };
            self.spawn(stream, (permit, held), &graceful);
        }
        drop(self.listener);
        if tokio::time::timeout(limits::SHUTDOWN_GRACE, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("some requests did not finish in time and were cut");
        }
    }

    async fn accept(
        &self,
        connections: &Arc<Semaphore>,
    ) -> io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
        let permit = Arc::clone(connections)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let (stream, peer) = self.listener.accept().await?;
        Ok((stream, peer.ip().to_canonical(), permit))
    }

    fn spawn(
        &self,
        stream: TcpStream,
        held: (OwnedSemaphorePermit, Held),
        graceful: &GracefulShutdown,
    ) {
        let Ok(address) = stream.peer_addr() else {
            return;
        };
        // Answers are small and written at once.
        let _ = stream.set_nodelay(true);
        let peer = Peer {
            address,
            tls: self.tls.is_some(),
        };
        let (router, limits, tls, watcher) = (
            self.router.clone(),
            self.limits,
            // The one of now: it may have been renewed.
            self.tls.as_ref().map(|tls| tls.borrow().clone()),
            graceful.watcher(),
        );
        tokio::spawn(async move {
            let _held = held;
            match tls {
                None => {
                    let protocol = Protocol::Http1;
                    connection(stream, protocol, router, peer, limits, watcher).await;
                }
                Some(tls) => {
                    let shaken =
                        tokio::time::timeout(limits.header_timeout, tls.accept(stream)).await;
                    let Ok(Ok(stream)) = shaken else { return };
                    let protocol = match stream.get_ref().1.alpn_protocol() {
                        Some(b"h2") => Protocol::Http2,
                        _ => Protocol::Http1,
                    };
                    connection(stream, protocol, router, peer, limits, watcher).await;
                }
            }
        });
    }
}

/// Chosen before the first byte is read: guessing it from that byte would wait for it without a bound.
#[derive(Clone, Copy)]
enum Protocol {
    Http1,
    Http2,
}

async fn connection<S>(
    stream: S,
    protocol: Protocol,
    router: Router,
    peer: Peer,
    limits: Limits,
    watcher: hyper_util::server::graceful::Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request)
    });
    let io = TokioIo::new(Idle::new(stream, limits::CONNECTION_IDLE));
    let builder = builder(protocol, limits);
    let served = watcher
        .watch(builder.serve_connection(io, service).into_owned())
        .await;
    if let Err(error) = served {
        // A client that goes away or talks nonsense: its affair, not an operator's.
        tracing::debug!(%error, peer = %peer.address, "a connection ended early");
    }
}

fn builder(protocol: Protocol, limits: Limits) -> Builder<TokioExecutor> {
    let builder = Builder::new(TokioExecutor::new());
    let mut builder = match protocol {
        Protocol::Http1 => builder.http1_only(),
        Protocol::Http2 => builder.http2_only(),
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits::HEADERS_MAX)
        .max_buf_size(limits::HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits::H2_PING)
        .keep_alive_timeout(limits::H2_PING)
        .max_concurrent_streams(limits::H2_STREAMS_MAX)
        .max_header_list_size(limits::HEAD_BYTES_MAX as u32);
    builder
}

/// Errors of `accept` that are about the connection that was to be accepted.
fn is_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

/// What connections are counted by: of IPv6 the network of 64 bits, all of which one client can have.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// Open connections by address. Holds only addresses that have one.
#[derive(Clone, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

struct Held {
    addresses: Addresses,
    address: IpAddr,
}

impl Addresses {
    fn hold(&self, address: IpAddr, bound: usize) -> Option<Held> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= bound {
            return None;
        }
        *count += 1;
        Some(Held {
            addresses: self.clone(),
            address,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut open = self
            .addresses
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_gets_only_its_share_of_connections_and_gets_it_back() {
        let addresses = Addresses::default();
        let address: IpAddr = "203.0.113.9".parse().expect("an address");
        let first = addresses.hold(address, 2);
        let second = addresses.hold(address, 2);
        assert!(first.is_some() && second.is_some());
        assert!(addresses.hold(address, 2).is_none());
        drop(first);
        assert!(addresses.hold(address, 2).is_some());
        drop(second);
        assert!(addresses.0.lock().expect("nobody panicked").is_empty());
    }

    #[test]
    fn whoever_has_a_whole_network_of_ipv6_is_one_address() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("203.0.113.9"), of("203.0.113.10"));
    }
}
