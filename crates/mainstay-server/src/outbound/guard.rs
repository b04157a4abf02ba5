//! Which addresses a request that a tenant chose may be sent to.
//!
//! The default is "the public internet and nothing else": no address of this machine, of its
//! network, of the cloud's metadata service, and none that carries such an address inside
//! (IPv4-mapped, NAT64, 6to4, Teredo). An administrator opens ranges with `outbound.allow`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mainstay_domain::Cidr;

/// IPv4 ranges that are not the public internet, and what they are (IANA special-purpose registry).
const DENIED_V4: [(Cidr, &str); 17] = [
    (Cidr::v4([0, 0, 0, 0], 8), "this network"),
    (Cidr::v4([10, 0, 0, 0], 8), "private"),
    (Cidr::v4([100, 64, 0, 0], 10), "shared by a carrier"),
    (Cidr::v4([127, 0, 0, 0], 8), "loopback"),
    (Cidr::v4([168, 63, 129, 16], 32), "a cloud's own service"),
    (
        Cidr::v4([169, 254, 0, 0], 16),
        "link-local, where clouds keep credentials",
    ),
    (Cidr::v4([172, 16, 0, 0], 12), "private"),
    (Cidr::v4([192, 0, 0, 0], 24), "reserved for protocols"),
    (Cidr::v4([192, 0, 2, 0], 24), "for documentation"),
    (Cidr::v4([192, 88, 99, 0], 24), "a 6to4 relay"),
    (Cidr::v4([192, 168, 0, 0], 16), "private"),
    (Cidr::v4([198, 18, 0, 0], 15), "for benchmarks"),
    (Cidr::v4([198, 51, 100, 0], 24), "for documentation"),
    (Cidr::v4([203, 0, 113, 0], 24), "for documentation"),
    (Cidr::v4([224, 0, 0, 0], 4), "multicast"),
    (Cidr::v4([240, 0, 0, 0], 4), "reserved"),
    (Cidr::v4([255, 255, 255, 255], 32), "broadcast"),
];

/// The only IPv6 addresses that are given out for the public internet.
const GLOBAL_V6: Cidr = Cidr::v6(0x2000 << 112, 3);

/// What lies inside [`GLOBAL_V6`] and is not the public internet.
const DENIED_V6: [(Cidr, &str); 4] = [
    (Cidr::v6(0x2001 << 112, 23), "reserved for protocols"),
    (Cidr::v6(0x2001_0db8 << 96, 32), "for documentation"),
    (Cidr::v6(0x2002 << 112, 16), "6to4"),
    (Cidr::v6(0x3fff << 112, 20), "for documentation"),
];

/// Names for what lies outside [`GLOBAL_V6`], so that the message helps.
const NAMED_V6: [(Cidr, &str); 7] = [
    (Cidr::v6(0, 128), "this host"),
    (Cidr::v6(1, 128), "loopback"),
    (NAT64, "NAT64"),
    (NAT64_LOCAL, "NAT64"),
    (Cidr::v6(0xfc00 << 112, 7), "private"),
    (Cidr::v6(0xfe80 << 112, 10), "link-local"),
    (Cidr::v6(0xff00 << 112, 8), "multicast"),
];

const NAT64: Cidr = Cidr::v6(0x0064_ff9b << 96, 96);
const NAT64_LOCAL: Cidr = Cidr::v6(0x0064_ff9b_0001 << 80, 48);
const SIX_TO_FOUR: Cidr = Cidr::v6(0x2002 << 112, 16);
const TEREDO: Cidr = Cidr::v6(0x2001 << 112, 32);

/// The rule, with what an administrator has opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct AddressGuard {
    allow: Vec<Cidr>,
}

impl AddressGuard {
    /// A guard that also lets requests go to these ranges.
    pub(crate) const fn new(allow: Vec<Cidr>) -> Self {
        Self { allow }
    }

    /// What an administrator has opened.
    pub(crate) fn allowed(&self) -> &[Cidr] {
        &self.allow
    }

    /// Fails with what the address is, unless requests may go there.
    pub(crate) fn admit(&self, address: IpAddr) -> Result<(), &'static str> {
        let address = address.to_canonical();
        let judged = match address {
            IpAddr::V4(v4) => judge_v4(v4),
            IpAddr::V6(v6) => judge_v6(v6),
        };
        if judged.is_ok() || !self.allow.iter().any(|range| range.contains(address)) {
            return judged;
        }
        // Opening NAT64 opens the way to the public internet through it, not to the machine's own network.
        match address {
            IpAddr::V6(v6) => embedded(v6).map_or(Ok(()), |inner| self.admit(inner.into())),
            IpAddr::V4(_) => Ok(()),
        }
    }
}

fn judge_v4(address: Ipv4Addr) -> Result<(), &'static str> {
    denied(&DENIED_V4, address.into()).map_or(Ok(()), Err)
}

fn judge_v6(address: Ipv6Addr) -> Result<(), &'static str> {
    if GLOBAL_V6.contains(address.into()) {
        return denied(&DENIED_V6, address.into()).map_or(Ok(()), Err);
    }
    Err(denied(&NAMED_V6, address.into()).unwrap_or("reserved"))
}

fn denied(table: &[(Cidr, &'static str)], address: IpAddr) -> Option<&'static str> {
    table
        .iter()
        .find(|(range, _)| range.contains(address))
        .map(|(_, name)| *name)
}

/// The IPv4 address that a packet to this address would end at.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    let low = Ipv4Addr::from_bits(bits as u32);
    let at = IpAddr::V6(address);
    if NAT64.contains(at) || NAT64_LOCAL.contains(at) || (bits >> 32 == 0 && bits > 1) {
        Some(low)
    } else if SIX_TO_FOUR.contains(at) {
        Some(Ipv4Addr::from_bits((bits >> 80) as u32))
    } else if TEREDO.contains(at) {
        Some(Ipv4Addr::from_bits(!low.to_bits()))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn guard(allow: &[&str]) -> AddressGuard {
        AddressGuard::new(
            allow
                .iter()
                .map(|text| text.parse().expect("a range"))
                .collect(),
        )
    }

    /// Every kind of address that has been used to reach what is not public.
    const HOSTILE: [&str; 56] = [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.100.100.200",
        "100.127.255.255",
        "127.0.0.1",
        "127.1.2.3",
        "127.255.255.255",
        "168.63.129.16",
        "169.254.0.1",
        "169.254.169.254",
        "169.254.170.2",
        "169.254.255.255",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "192.168.255.255",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::2",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a00:1",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::1",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ];

    const PUBLIC: [&str; 16] = [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.1",
        "192.167.255.255",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
        "::ffff:8.8.8.8",
    ];

    #[test]
    fn nothing_but_the_public_internet_is_reached_unless_it_was_opened() {
        let guard = AddressGuard::default();
        for address in HOSTILE {
            assert!(
                guard.admit(ip(address)).is_err(),
                "{address} must be denied"
            );
        }
        for address in PUBLIC {
            assert_eq!(guard.admit(ip(address)), Ok(()), "{address}");
        }
    }

    #[test]
    fn an_opened_range_is_open_and_nothing_beside_it() {
        let guard = guard(&["127.0.0.1/32", "10.1.0.0/16", "fd00::/8"]);
        for open in [
            "127.0.0.1",
            "10.1.2.3",
            "::ffff:10.1.2.3",
            "fd00::7",
            "8.8.8.8",
        ] {
            assert_eq!(guard.admit(ip(open)), Ok(()), "{open}");
        }
        for closed in ["127.0.0.2", "10.2.0.0", "fc00::1", "::1", "169.254.169.254"] {
            assert!(guard.admit(ip(closed)).is_err(), "{closed}");
        }
    }

    #[test]
    fn opening_nat64_does_not_open_what_lies_behind_it() {
        let guard = guard(&["64:ff9b::/96", "2002::/16", "2001::/32"]);
        assert_eq!(
            guard.admit(ip("64:ff9b::808:808")),
            Ok(()),
            "8.8.8.8 by NAT64"
        );
        for closed in [
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::1",
            "2001:0:1:1:0:0:80ff:fffe",
        ] {
            assert!(guard.admit(ip(closed)).is_err(), "{closed}");
        }
    }
}
