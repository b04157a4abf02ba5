//! Whether a browser's write was caused by one of our own pages.

use axum::http::{HeaderMap, header};

/// What a request says about the page that caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// One of our own pages.
    Own,
    /// Another site's page.
    Foreign,
    /// Nothing: no browser of today, or a link that a person typed.
    Silent,
}

impl Origin {
    /// Reads `Sec-Fetch-Site`, else `Origin` against the host that the request was sent to.
    pub(crate) fn of(headers: &HeaderMap, public_url: Option<&str>, proxied: bool) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match text("sec-fetch-site") {
            Some("same-origin") => return Self::Own,
            Some("none") | None => {}
            Some(_) => return Self::Foreign,
        }
        let Some(origin) = text("origin") else {
            return Self::Silent;
        };
        let Some((_, authority)) = origin.split_once("://") else {
            return Self::Foreign;
        };
        let public = public_url.is_some_and(|url| url.eq_ignore_ascii_case(origin));
        let forwarded = if proxied {
            text("x-forwarded-host")
        } else {
            None
        };
        let hosts = [text(header::HOST.as_str()), forwarded];
        let same = hosts
            .into_iter()
            .flatten()
            .any(|host| host.eq_ignore_ascii_case(authority));
        if public || same {
            Self::Own
        } else {
            Self::Foreign
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn origin(list: &[(&'static str, &'static str)]) -> Origin {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        Origin::of(&headers, Some("https://hooks.example.com"), false)
    }

    #[test]
    fn a_page_of_ours_is_told_from_any_other() {
        assert_eq!(origin(&[("sec-fetch-site", "same-origin")]), Origin::Own);
        assert_eq!(
            origin(&[
                ("sec-fetch-site", "same-site"),
                ("origin", "https://hooks.example.com")
            ]),
            Origin::Foreign
        );
        assert_eq!(origin(&[("sec-fetch-site", "cross-site")]), Origin::Foreign);
        assert_eq!(
            origin(&[("host", "a:1"), ("origin", "http://a:1")]),
            Origin::Own
        );
        assert_eq!(
            origin(&[("host", "a:1"), ("origin", "http://a:2")]),
            Origin::Foreign
        );
        assert_eq!(
            origin(&[("host", "a:1"), ("origin", "null")]),
            Origin::Foreign
        );
        assert_eq!(
            origin(&[("host", "inner"), ("origin", "https://hooks.example.com")]),
            Origin::Own
        );
        assert_eq!(origin(&[("host", "a")]), Origin::Silent);
    }

    #[test]
    fn a_forwarded_host_counts_only_behind_a_trusted_proxy() {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("inner"));
        headers.insert("x-forwarded-host", HeaderValue::from_static("outer"));
        headers.insert("origin", HeaderValue::from_static("https://outer"));
        assert_eq!(Origin::of(&headers, None, true), Origin::Own);
        assert_eq!(Origin::of(&headers, None, false), Origin::Foreign);
    }
}
