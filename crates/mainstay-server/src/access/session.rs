//! Browser sessions: a random token in a cookie that scripts cannot read; only its digest is stored.

use axum::http::{HeaderMap, HeaderValue, header};
use mainstay_domain::{Random, SessionId, Timestamp, UserId, access::Session};

use super::keys::{digest, random_secret};
use crate::limits;

/// The prefix makes browsers refuse a cookie that was not set by this very host over TLS.
const SECURE_NAME: &str = "__Host-mainstay";
const PLAIN_NAME: &str = "mainstay_session";
/// What stands before the token of a link to the first owner.
pub(crate) const FIRST: &str = "first-";

const fn name(secure: bool) -> &'static str {
    if secure { SECURE_NAME } else { PLAIN_NAME }
}

/// The token in the request's cookie.
pub(crate) fn from_cookie(headers: &HeaderMap, secure: bool) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(own, _)| *own == name(secure))
        .map(|(_, value)| value.to_owned())
}

/// The cookie of a session that begins.
pub(crate) fn cookie(token: &str, secure: bool) -> HeaderValue {
    header(token, secure, limits::SESSION_MS / 1_000)
}

/// The cookie of a session that ends.
pub(crate) fn cookie_removed(secure: bool) -> HeaderValue {
    header("", secure, 0)
}

fn header(token: &str, secure: bool, age_secs: i64) -> HeaderValue {
    let flag = if secure { "; Secure" } else { "" };
    let text = format!(
        "{}={token}; Path=/; Max-Age={age_secs}; HttpOnly; SameSite=Lax{flag}",
        name(secure)
    );
    // Tokens are of our own making.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// A fresh session of this user: its row and its token.
pub(crate) fn begin(user: UserId, now: Timestamp, random: &dyn Random) -> (Session, String) {
    let token = random_secret(random);
    let session = Session {
        id: SessionId::new(now, random),
        user: Some(user),
        digest: digest(&token),
        link: false,
        created_at: now,
        expires_at: now.plus_ms(limits::SESSION_MS),
    };
    (session, token)
}

/// A sign-in link, good for one use: for a user, or for the first owner, who does not exist yet. Its row and its token,
/// for `/signin/link?token=…`.
pub(crate) fn link(user: Option<UserId>, now: Timestamp, random: &dyn Random) -> (Session, String) {
    let prefix = if user.is_none() { FIRST } else { "" };
    let token = format!("{prefix}{}", random_secret(random));
    let session = Session {
        id: SessionId::new(now, random),
        user,
        digest: digest(&token),
        link: true,
        created_at: now,
        expires_at: now.plus_ms(limits::LINK_MS),
    };
    (session, token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn the_token_is_found_among_other_cookies() {
        let headers = cookies(&["a=1; mainstay_session=tok; b=2"]);
        assert_eq!(from_cookie(&headers, false).as_deref(), Some("tok"));
        assert_eq!(from_cookie(&headers, true), None);
        assert_eq!(
            from_cookie(&cookies(&["a=1", "__Host-mainstay=t2"]), true).as_deref(),
            Some("t2")
        );
    }

    #[test]
    fn a_cookie_over_tls_is_bound_to_the_host() {
        let secure = cookie("t", true);
        let text = secure.to_str().expect("plain text");
        assert!(
            text.starts_with("__Host-mainstay=t; Path=/;") && text.ends_with("; Secure"),
            "{text}"
        );
        assert!(
            text.contains("HttpOnly") && text.contains("SameSite=Lax") && !text.contains("Domain")
        );
    }
}
