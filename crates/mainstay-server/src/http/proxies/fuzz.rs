//! What proxies, and whoever pretends to be one, write; see `mainstay-fuzz`.

use axum::http::HeaderValue;
use mainstay_fuzz::{Script, target};

use super::*;

/// What a stranger writes changes nothing, and behind a proxy the client is the last address that is no proxy's.
#[test]
fn forwarded() {
    fn one(script: &mut Script) {
        let pieces = [
            "10.0.0.1",
            "203.0.113.7",
            "[2001:db8::1]:1234",
            "::ffff:10.0.0.9",
            "unknown",
            ",",
            ", ",
            "\"",
            ":80",
            "8.8.8.8",
        ];
        let trusted: Vec<Cidr> = vec!["10.0.0.0/8".parse().expect("a range")];
        let mut headers = HeaderMap::new();
        for _ in 0..script.below(4) {
            if let Ok(value) = HeaderValue::from_bytes(script.pieces(&pieces, 8).as_bytes()) {
                headers.append("x-forwarded-for", value);
            }
        }
        for (address, tls) in [("198.51.100.1:1", true), ("10.0.0.2:1", false)] {
            let peer = Peer {
                address: address.parse().expect("an address"),
                tls,
            };
            let client = Client::of(peer, &headers, &trusted);
            let direct = peer.address.ip();
            assert_eq!(client.proxied, is_trusted(direct, &trusted));
            assert!(client.proxied || (client.address == direct && client.secure == tls));
            assert_eq!(client.address, client.address.to_canonical());
        }
        // A hop more to the left changes nothing once there is one that is no proxy's.
        let peer = Peer {
            address: "10.0.0.2:1".parse().expect("an address"),
            tls: false,
        };
        let known = Client::of(peer, &headers, &trusted).address;
        if !is_trusted(known, &trusted) {
            let mut more = HeaderMap::new();
            more.append("x-forwarded-for", HeaderValue::from_static("192.0.2.66"));
            more.extend(headers.get_all("x-forwarded-for").iter().map(|value| {
                (
                    axum::http::HeaderName::from_static("x-forwarded-for"),
                    value.clone(),
                )
            }));
            assert_eq!(Client::of(peer, &more, &trusted).address, known);
        }
    }
    target!(one);
}
