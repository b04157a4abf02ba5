//! Headers that a team adds to the requests to its endpoint: which ones it can, and how many. Their values are treated as
//! secrets, since that is what they mostly are.

use std::collections::BTreeMap;

/// Headers of one endpoint.
pub const HEADERS_MAX: usize = 16;
/// Characters of a name.
pub const NAME_MAX: usize = 64;
/// Characters of a value.
pub const VALUE_MAX: usize = 1_024;

/// Headers that belong to the connection, say how the body is to be read, or are set by us.
const TAKEN: [&str; 18] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-real-ip",
];
/// Beginnings of such.
const TAKEN_PREFIXES: [&str; 5] = ["mainstay-", "proxy-", "sec-", "webhook-", "x-forwarded-"];

/// Headers that belong to one connection or are set by whoever sends.
const HOP: [&str; 14] = [
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// Whether a header of a request is never passed on with it.
pub fn is_hop(name: &str) -> bool {
    HOP.contains(&name)
}

/// What is wrong with a header. Quotes no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The name is none.
    #[error("is no header's name of at most {NAME_MAX} characters")]
    Name,
    /// The name is not for teams to set.
    #[error("is set by Mainstay or belongs to the connection")]
    Taken,
    /// The value is none.
    #[error("needs a value of 1 to {VALUE_MAX} visible ASCII characters, with spaces only inside")]
    Value,
    /// There are too many.
    #[error("would be one header more than {HEADERS_MAX}")]
    TooMany,
}

fn is_token(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c)
}

/// The name in the form in which it is kept, if it can be set.
pub fn name(text: &str) -> Result<String, HeaderError> {
    if text.is_empty() || text.len() > NAME_MAX || !text.bytes().all(is_token) {
        return Err(HeaderError::Name);
    }
    let name = text.to_ascii_lowercase();
    let taken = TAKEN.contains(&name.as_str())
        || TAKEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if taken {
        Err(HeaderError::Taken)
    } else {
        Ok(name)
    }
}

/// Refuses a value that no request could carry, or that would be another when it arrives.
pub fn check_value(value: &str) -> Result<(), HeaderError> {
    let fine = (1..=VALUE_MAX).contains(&value.len())
        && value.bytes().all(|c| c.is_ascii_graphic() || c == b' ')
        && value.trim() == value;
    if fine {
        Ok(())
    } else {
        Err(HeaderError::Value)
    }
}

/// Sets (some value) or removes (none) headers, by the names as they were given. What is not named stays.
pub fn change(
    known: &BTreeMap<String, String>,
    changes: &BTreeMap<String, Option<String>>,
) -> Result<BTreeMap<String, String>, (String, HeaderError)> {
    let mut changed = known.clone();
    for (given, value) in changes {
        let wrong = |error| (given.clone(), error);
        let name = name(given).map_err(wrong)?;
        match value {
            None => drop(changed.remove(&name)),
            Some(value) => {
                check_value(value).map_err(wrong)?;
                changed.insert(name, value.clone());
            }
        }
        if changed.len() > HEADERS_MAX {
            return Err(wrong(HeaderError::TooMany));
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_breaks_a_request_or_is_ours_cannot_be_set() {
        for fine in ["Authorization", "x-api-key", "Cookie", "X-Tenant"] {
            assert_eq!(name(fine), Ok(fine.to_lowercase()));
        }
        for taken in [
            "Host",
            "content-length",
            "Content-Type",
            "Transfer-Encoding",
            "connection",
            "webhook-signature",
            "Mainstay-Attempt",
            "Proxy-Authorization",
            "X-Forwarded-For",
        ] {
            assert_eq!(name(taken), Err(HeaderError::Taken), "{taken}");
        }
        for wrong in ["", "a b", "a:", "é", ":path", "a\r\nb", &"a".repeat(65)] {
            assert_eq!(name(wrong), Err(HeaderError::Name), "{wrong}");
        }
    }

    #[test]
    fn a_value_arrives_as_it_was_given() {
        assert_eq!(check_value("Bearer a b~"), Ok(()));
        for wrong in ["", " a", "a ", "a\r\nx: y", "a\tb", "é", &"a".repeat(1_025)] {
            assert_eq!(check_value(wrong), Err(HeaderError::Value), "{wrong}");
        }
    }

    #[test]
    fn a_change_names_what_it_changes() {
        let given = |pairs: &[(&str, Option<&str>)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.map(ToOwned::to_owned)))
                .collect::<BTreeMap<_, _>>()
        };
        let first = change(
            &BTreeMap::new(),
            &given(&[("X-A", Some("1")), ("x-b", Some("2"))]),
        );
        let first = first.expect("it can be set");
        let second = change(&first, &given(&[("x-a", None), ("X-C", Some("3"))]));
        let names: Vec<_> = second.expect("it can").into_keys().collect();
        assert_eq!(names, ["x-b", "x-c"]);
        let many: Vec<String> = (0..17).map(|at| format!("x-{at}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), Some("1"))).collect();
        let refused = change(&BTreeMap::new(), &given(&many));
        assert_eq!(
            refused.map_err(|(_, error)| error),
            Err(HeaderError::TooMany)
        );
    }
}
