//! Whose request it is: the peer's own address, or what a trusted proxy in front of us says.
//!
//! `X-Forwarded-For` is read from the right: each entry was written by the proxy that is named before it. The first
//! one that is no trusted proxy is the client; what stands further left is whatever that client chose to send.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

use mainstay_domain::Cidr;

#[cfg(test)]
mod fuzz;

/// Entries that are looked at; nobody has more proxies.
const HOPS_MAX: usize = 16;

/// The connection that a request came in on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// The other end.
    pub(crate) address: SocketAddr,
    /// Whether the connection is TLS.
    pub(crate) tls: bool,
}

/// Who sent a request, as far as we can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    /// The client's address.
    pub(crate) address: IpAddr,
    /// Whether the client's own connection is TLS.
    pub(crate) secure: bool,
    /// Whether the request came through a trusted proxy.
    pub(crate) proxied: bool,
}

impl Client {
    /// Reads the headers of a request from this peer.
    pub(crate) fn of(peer: Peer, headers: &HeaderMap, trusted: &[Cidr]) -> Self {
        let direct = peer.address.ip().to_canonical();
        if !is_trusted(direct, trusted) {
            return Self {
                address: direct,
                secure: peer.tls,
                proxied: false,
            };
        }
        Self {
            address: forwarded_for(headers, trusted).unwrap_or(direct),
            secure: forwarded_secure(headers).unwrap_or(peer.tls),
            proxied: true,
        }
    }
}

/// Whether this address is one of the proxies that we believe.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[Cidr]) -> bool {
    trusted.iter().any(|range| range.contains(address))
}

fn forwarded_for(headers: &HeaderMap, trusted: &[Cidr]) -> Option<IpAddr> {
    let lines: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|line| line.to_str().ok())
        .collect();
    let hops = lines
        .iter()
        .rev()
        .flat_map(|line| line.rsplit(','))
        .take(HOPS_MAX);
    let mut client = None;
    for hop in hops {
        // What cannot be read was not written by a proxy of ours; what stands left of it is worth nothing.
        let Some(address) = address(hop.trim()) else {
            return client;
        };
        client = Some(address);
        if !is_trusted(address, trusted) {
            return client;
        }
    }
    client
}

/// `192.0.2.1`, `192.0.2.1:1234`, `2001:db8::1`, `[2001:db8::1]:1234`.
fn address(text: &str) -> Option<IpAddr> {
    let parsed = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|one| one.ip()))
        .or_else(|_| text.trim_start_matches('[').trim_end_matches(']').parse());
    parsed.ok().map(|address| address.to_canonical())
}

fn forwarded_secure(headers: &HeaderMap) -> Option<bool> {
    let value = headers.get("x-forwarded-proto")?.to_str().ok()?;
    let last = value.rsplit(',').next()?.trim();
    Some(last.eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn client(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let peer = Peer {
            address: peer.parse().expect("an address"),
            tls: false,
        };
        let trusted: Vec<Cidr> = trusted
            .iter()
            .map(|range| range.parse().expect("a range"))
            .collect();
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(
                "x-forwarded-for",
                HeaderValue::from_str(line).expect("a header"),
            );
        }
        Client::of(peer, &headers, &trusted).address.to_string()
    }

    #[test]
    fn a_stranger_cannot_choose_its_address() {
        assert_eq!(
            client("203.0.113.9:1", &["1.2.3.4"], &["10.0.0.0/8"]),
            "203.0.113.9"
        );
        assert_eq!(client("203.0.113.9:1", &["1.2.3.4"], &[]), "203.0.113.9");
    }

    #[test]
    fn the_client_is_the_last_one_that_is_no_proxy_of_ours() {
        assert_eq!(
            client("10.0.0.1:1", &["198.51.100.7"], &["10.0.0.0/8"]),
            "198.51.100.7"
        );
        assert_eq!(
            client(
                "10.0.0.1:1",
                &["6.6.6.6, 198.51.100.7, 10.0.0.2"],
                &["10.0.0.0/8"]
            ),
            "198.51.100.7"
        );
        assert_eq!(
            client("10.0.0.1:1", &["6.6.6.6", "198.51.100.7"], &["10.0.0.0/8"]),
            "198.51.100.7"
        );
    }

    #[test]
    fn every_way_of_writing_an_address_is_understood() {
        for (text, expected) in [
            ("198.51.100.7:4431", "198.51.100.7"),
            ("[2001:db8::7]:4431", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
        ] {
            assert_eq!(client("10.0.0.1:1", &[text], &["10.0.0.0/8"]), expected);
        }
    }

    #[test]
    fn what_cannot_be_read_ends_the_chain() {
        assert_eq!(
            client("10.0.0.1:1", &["6.6.6.6, unknown"], &["10.0.0.0/8"]),
            "10.0.0.1"
        );
        assert_eq!(
            client(
                "10.0.0.1:1",
                &["6.6.6.6, unknown, 10.0.0.2"],
                &["10.0.0.0/8"]
            ),
            "10.0.0.2"
        );
        assert_eq!(client("10.0.0.1:1", &[""], &["10.0.0.0/8"]), "10.0.0.1");
    }
}
