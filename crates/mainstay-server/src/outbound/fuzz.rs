//! Targets over the addresses that a tenant may choose; see `mainstay-fuzz`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mainstay_fuzz::{Script, target};

use super::{AddressGuard, connect::literal, url_parse};

/// What the standard library knows of an address that is nobody's business from outside.
fn inside_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_unspecified()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && b & 0xc0 == 64)
        || (a == 198 && b & 0xfe == 18)
}

fn inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => inside_v4(v4),
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            let low = Ipv4Addr::from_bits(v6.to_bits() as u32);
            match v6.to_ipv4_mapped() {
                Some(v4) => inside_v4(v4),
                // Nothing but 2000::/3 is given out; of it these lead elsewhere.
                None => {
                    a & 0xe000 != 0x2000
                        || v6.is_unspecified()
                        || v6.is_loopback()
                        || a == 0x2002
                        || (a == 0x2001 && b < 0x200)
                        || (a == 0x2001 && b == 0xdb8)
                        || (a == 0x64 && b == 0xff9b && inside_v4(low))
                }
            }
        }
    }
}

fn address(script: &mut Script) -> IpAddr {
    match script.byte() {
        0..=95 => Ipv4Addr::from_bits(u32::from_be_bytes(script.array())).into(),
        96..=127 => {
            let first = *script.pick(&[0, 10, 100, 127, 168, 169, 172, 192, 198, 203, 224, 255]);
            Ipv4Addr::new(first, script.byte(), script.byte(), script.byte()).into()
        }
        128..=159 => Ipv4Addr::from_bits(u32::from_be_bytes(script.array()))
            .to_ipv6_mapped()
            .into(),
        160..=207 => {
            let first = *script.pick(&[
                0, 0x64, 0x2001, 0x2002, 0x2606, 0x3fff, 0xfc00, 0xfe80, 0xff02,
            ]);
            let rest: [u8; 14] = script.array();
            let low = rest
                .iter()
                .fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
            Ipv6Addr::from_bits(u128::from(first as u16) << 112 | low).into()
        }
        _ => Ipv6Addr::from_bits(u128::from_be_bytes(script.array())).into(),
    }
}

/// No address of this machine or its network is let through, in whatever way it is written.
#[test]
fn addresses() {
    fn one(script: &mut Script) {
        let address = address(script);
        let closed = AddressGuard::default();
        let said = closed.admit(address);
        assert!(said.is_err() || !inside(address), "{address}");
        if let IpAddr::V4(v4) = address {
            assert_eq!(
                said,
                closed.admit(v4.to_ipv6_mapped().into()),
                "{address} in either form"
            );
        }
        let open = AddressGuard::new(vec!["64:ff9b::/96".parse().expect("a range")]);
        if let IpAddr::V4(v4) = address {
            let by_nat64 = Ipv6Addr::from_bits(0x0064_ff9b << 96 | u128::from(v4.to_bits()));
            assert_eq!(
                open.admit(by_nat64.into()),
                said,
                "{by_nat64}: what is opened is the way, not where it leads"
            );
        } else if !matches!(address, IpAddr::V6(v6) if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0])
        {
            assert_eq!(
                open.admit(address),
                said,
                "{address}: what is opened is no more than was said"
            );
        }
    }
    target!(one);
}

/// However a URL says a host, what is connected to is what was judged.
#[test]
fn urls() {
    fn one(script: &mut Script) {
        let pieces = [
            "http://",
            "https://",
            "//",
            "127.0.0.1",
            "0x7f.1",
            "017700000001",
            "2130706433",
            "[::1]",
            "[::ffff:10.0.0.1]",
            "localhost",
            "a.example",
            ".",
            "@",
            ":",
            ":0",
            ":80",
            "/",
            "\\",
            "?",
            "#",
            "%00",
            "%31",
            "user:pw@",
            "１２７",
            "。",
            "\t",
            " ",
            "[fe80::1%25eth0]",
            "0",
            "xn--",
            "é",
        ];
        let text = match script.one_in(4) {
            true => script.pieces(&pieces, 12),
            false => format!(
                "{}{}",
                script.word(&pieces[..2]),
                script.pieces(&pieces[3..], 8)
            ),
        };
        let Ok(url) = url_parse(&text) else { return };
        assert!(
            matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.password().is_none()
        );
        let uri: hyper::Uri = match url.as_str().try_into() {
            Ok(uri) => uri,
            // Refused before anything is connected.
            Err(_) => return,
        };
        let host = uri.host().unwrap_or_default();
        assert_eq!(
            Some(host),
            url.host_str(),
            "{text}: the client connects to the host that was judged"
        );
        match url.host() {
            Some(url::Host::Ipv4(v4)) => assert_eq!(literal(host), Some(v4.into()), "{text}"),
            Some(url::Host::Ipv6(v6)) => assert_eq!(literal(host), Some(v6.into()), "{text}"),
            _ => assert_eq!(
                literal(host),
                None,
                "{text}: a name that is an address after all"
            ),
        }
    }
    target!(one);
}
