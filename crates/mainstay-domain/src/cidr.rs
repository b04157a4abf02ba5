//! Ranges of IP addresses: what `outbound.allow`, `trusted_proxies` and a source's `allow` are lists of.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer};

/// A range of addresses, e.g. `10.0.0.0/8` or `fd00::/8`; one address stands for itself.
///
/// IPv4 addresses that are written as IPv6 (`::ffff:10.0.0.1`) count as IPv4, on both sides.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    first: IpAddr,
    prefix: u8,
}

/// Why a text is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// It is neither an address nor a range.
    #[error("'{0}' is not an address or a range such as 10.0.0.0/8")]
    Malformed(String),
    /// It names an address inside a range; the second is the range.
    #[error("'{0}' names an address inside the range; the range itself is {1}")]
    HostBits(String, Cidr),
}

impl Cidr {
    /// The range of IPv4 addresses that share these leading bits.
    pub const fn v4(octets: [u8; 4], prefix: u8) -> Self {
        Self {
            first: IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3])),
            prefix,
        }
    }

    /// The range of IPv6 addresses that share these leading bits.
    pub const fn v6(bits: u128, prefix: u8) -> Self {
        Self {
            first: IpAddr::V6(Ipv6Addr::from_bits(bits)),
            prefix,
        }
    }

    /// Whether the address lies in the range.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix))
                    .unwrap_or(0);
                first.to_bits() == address.to_bits() & mask
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                first.to_bits() == address.to_bits() & mask_v6(self.prefix)
            }
            _ => false,
        }
    }
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let malformed = || CidrError::Malformed(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| malformed())?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix: u8 = match prefix {
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                prefix.parse().map_err(|_| malformed())?
            }
            Some(_) => return Err(malformed()),
            None => bits_max,
        };
        if prefix > bits_max {
            return Err(malformed());
        }
        let range = Self::covering(address, prefix).ok_or_else(malformed)?;
        if range.first != address.to_canonical() {
            return Err(CidrError::HostBits(text.to_owned(), range));
        }
        Ok(range)
    }
}

impl Cidr {
    /// The range of this size that the address lies in; `None` for a range that begins inside the
    /// IPv4 addresses of IPv6 and reaches beyond them, or the other way round.
    fn covering(address: IpAddr, prefix: u8) -> Option<Self> {
        let (address, prefix) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), canonical @ IpAddr::V4(_)) => (canonical, prefix.checked_sub(96)?),
            (_, canonical) => (canonical, prefix),
        };
        Some(match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                Self {
                    first: Ipv4Addr::from_bits(v4.to_bits() & mask).into(),
                    prefix,
                }
            }
            IpAddr::V6(v6) => Self::v6(v6.to_bits() & mask_v6(prefix), prefix),
        })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Cidr {
        text.parse().expect("a range")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_range_holds_its_first_and_last_address_and_no_neighbour() {
        let table = [
            (
                "10.0.0.0/8",
                "10.0.0.0",
                "10.255.255.255",
                "9.255.255.255",
                "11.0.0.0",
            ),
            (
                "192.168.1.0/24",
                "192.168.1.0",
                "192.168.1.255",
                "192.168.0.255",
                "192.168.2.0",
            ),
            (
                "172.16.0.0/12",
                "172.16.0.0",
                "172.31.255.255",
                "172.15.255.255",
                "172.32.0.0",
            ),
            ("fd00::/8", "fd00::", "fdff:ffff::1", "fcff::", "fe00::"),
            (
                "127.0.0.1",
                "127.0.0.1",
                "127.0.0.1",
                "127.0.0.0",
                "127.0.0.2",
            ),
            ("::1", "::1", "::1", "::", "::2"),
        ];
        for (text, first, last, below, above) in table {
            let range = range(text);
            assert!(
                range.contains(ip(first)) && range.contains(ip(last)),
                "{text}"
            );
            assert!(
                !range.contains(ip(below)) && !range.contains(ip(above)),
                "{text}"
            );
        }
    }

    #[test]
    fn the_whole_address_space_can_be_named() {
        assert!(range("0.0.0.0/0").contains(ip("203.0.113.9")));
        assert!(range("::/0").contains(ip("2001:db8::1")));
        assert!(!range("0.0.0.0/0").contains(ip("2001:db8::1")));
        assert!(!range("::/0").contains(ip("203.0.113.9")));
    }

    #[test]
    fn ipv4_written_as_ipv6_is_ipv4() {
        assert!(range("10.0.0.0/8").contains(ip("::ffff:10.1.2.3")));
        assert_eq!(range("::ffff:10.0.0.0/104"), range("10.0.0.0/8"));
        assert!("::ffff:10.0.0.0/64".parse::<Cidr>().is_err());
    }

    #[test]
    fn a_range_that_is_none_is_refused_with_what_it_should_be() {
        for text in [
            "",
            "10",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/+8",
            "a/8",
            "10.0.0.0/-1",
            "010.0.0.0/8",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        let error = "10.1.2.3/8".parse::<Cidr>().expect_err("host bits");
        assert!(error.to_string().contains("10.0.0.0/8"), "{error}");
    }
}
