//! What a verifier sees of a request, and how it reads headers and times.

use std::net::IpAddr;

use super::refusal::Refusal;

/// The longest header value that is read. Real signatures, in rotation, have below 500 bytes.
const HEADER_BYTES_MAX: usize = 4096;
/// The most signatures in one header. Providers send one for each live secret: two, rarely three.
pub(super) const SIGNATURES_MAX: usize = 32;

/// Where headers come from. The server implements it for its own map of headers.
pub trait Headers {
    /// The first value of the header, compared without regard to case.
    fn header(&self, name: &str) -> Option<&[u8]>;
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for [(N, V)] {
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(given, _)| given.as_ref().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_ref())
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for Vec<(N, V)> {
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.as_slice().header(name)
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>, const LEN: usize> Headers for [(N, V); LEN] {
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.as_slice().header(name)
    }
}

/// A request as far as signatures are concerned.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Its headers.
    pub headers: &'a dyn Headers,
    /// The raw body: the bytes that arrived, after no more than transfer decoding.
    pub body: &'a [u8],
    /// Now, in seconds since 1970.
    pub now_secs: i64,
    /// How it came.
    pub route: Route<'a>,
}

/// How a request came: what stands in neither its headers nor its body. Only some schemes ask.
#[derive(Debug, Clone, Copy, Default)]
pub struct Route<'a> {
    /// The URL as the provider was told it, with its query; empty where nobody knows.
    pub url: &'a str,
    /// The client's address.
    pub remote: Option<IpAddr>,
    /// The public key (SubjectPublicKeyInfo in DER) of the certificate that the request names, once it is trusted.
    pub certificate: Option<&'a [u8]>,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("body_bytes", &self.body.len())
            .field("now_secs", &self.now_secs)
            .finish_non_exhaustive()
    }
}

impl<'a> Request<'a> {
    /// A header's text without the white space around it; an empty one counts as missing.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        let Some(value) = self.headers.header(name) else {
            return Ok(None);
        };
        let malformed = |problem| Refusal::HeaderMalformed {
            header: name.to_owned().into(),
            problem,
        };
        if value.len() > HEADER_BYTES_MAX {
            return Err(malformed("is longer than 4096 bytes"));
        }
        let text = std::str::from_utf8(value).map_err(|_| malformed("is not UTF-8"))?;
        let text = text.trim_ascii();
        Ok((!text.is_empty()).then_some(text))
    }
}

/// Whole seconds since 1970: digits alone, few enough that nothing can overflow later.
pub(super) fn timestamp(text: &str, header: &str) -> Result<i64, Refusal> {
    let digits = (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| Refusal::TimestampMalformed {
            header: header.to_owned().into(),
        })
}

/// Refuses a time further from now than the tolerance, either way.
pub(super) fn check_time(
    signed_at: i64,
    now_secs: i64,
    tolerance_secs: i64,
) -> Result<(), Refusal> {
    let age_secs = now_secs.saturating_sub(signed_at);
    let ahead_secs = signed_at.saturating_sub(now_secs);
    if age_secs > tolerance_secs {
        return Err(Refusal::TimestampTooOld {
            age_secs,
            tolerance_secs,
        });
    }
    if ahead_secs > tolerance_secs {
        return Err(Refusal::TimestampInFuture {
            ahead_secs,
            tolerance_secs,
        });
    }
    Ok(())
}

/// A header made of `name=value` fields, such as Stripe's `t=…,v1=…`. Fields of other names are ignored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) text: &'a str,
    pub(super) separator: char,
}

impl<'a> Fields<'a> {
    /// The values of all fields of this name.
    pub(super) fn all<'n>(
        self,
        name: &'n str,
    ) -> impl Iterator<Item = &'a str> + Clone + use<'a, 'n> {
        self.text.split(self.separator).filter_map(move |field| {
            let (given, value) = field.trim_ascii().split_once('=')?;
            (given == name).then_some(value)
        })
    }

    /// The time, which must stand there exactly once: of two, nobody knows which was signed.
    pub(super) fn time(self, name: &str, header: &str) -> Result<&'a str, Refusal> {
        let mut times = self.all(name);
        let missing = || Refusal::TimestampMissing {
            header: header.to_owned().into(),
        };
        let first = times.next().ok_or_else(missing)?;
        if times.next().is_some() {
            return Err(Refusal::TimestampMalformed {
                header: header.to_owned().into(),
            });
        }
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_whole_seconds_in_digits_and_nothing_else() {
        assert_eq!(timestamp("1700000000", "t"), Ok(1_700_000_000));
        assert_eq!(timestamp("999999999999", "t"), Ok(999_999_999_999));
        for wrong in [
            "",
            "-1",
            "+1",
            " 1",
            "1.5",
            "1e9",
            "1700000000000",
            "0x1",
            "١٢",
        ] {
            assert!(timestamp(wrong, "t").is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_tolerance_holds_both_ways_and_is_inclusive() {
        assert!(check_time(700, 1000, 300).is_ok());
        assert!(check_time(1300, 1000, 300).is_ok());
        assert_eq!(
            check_time(699, 1000, 300),
            Err(Refusal::TimestampTooOld {
                age_secs: 301,
                tolerance_secs: 300
            })
        );
        assert_eq!(
            check_time(1301, 1000, 300),
            Err(Refusal::TimestampInFuture {
                ahead_secs: 301,
                tolerance_secs: 300
            })
        );
        assert!(check_time(0, i64::MIN, 300).is_err());
        assert!(check_time(999_999_999_999, i64::MAX, 300).is_err());
    }

    #[test]
    fn a_time_that_stands_twice_is_refused() {
        let fields = Fields {
            text: "t=1,v1=a,t=2",
            separator: ',',
        };
        assert!(matches!(
            fields.time("t", "h"),
            Err(Refusal::TimestampMalformed { .. })
        ));
        let fields = Fields {
            text: "v1=a, v1=b ,v0=c",
            separator: ',',
        };
        assert_eq!(fields.all("v1").collect::<Vec<_>>(), ["a", "b"]);
        assert!(matches!(
            fields.time("t", "h"),
            Err(Refusal::TimestampMissing { .. })
        ));
    }
}
