//! Meta's question whether a URL is ours, asked once when a webhook is set up. Source:
//! developers.facebook.com/docs/graph-api/webhooks/getting-started.

use super::{refusal::Refusal, secret::Secret};

/// Answers Meta's question whether the URL is ours (`GET ?hub.mode=subscribe&…`): the challenge to send back, as
/// `text/plain`, when it was asked with our verify token. `query` are the decoded parameters.
pub fn challenge<N: AsRef<str>, V: AsRef<str>>(
    verify_token: Option<&Secret>,
    query: &[(N, V)],
) -> Result<String, Refusal> {
    let refused = |problem| Err(Refusal::ChallengeRefused { problem });
    let value = |name: &str| {
        let (_, value) = query.iter().find(|(given, _)| given.as_ref() == name)?;
        Some(value.as_ref())
    };
    let Some(token) = verify_token else {
        return refused("the source has no verify token");
    };
    if value("hub.mode") != Some("subscribe") {
        return refused("hub.mode is not subscribe");
    }
    if !value("hub.verify_token").is_some_and(|given| token.matches(given)) {
        return refused("hub.verify_token is not the source's verify token");
    }
    match value("hub.challenge").filter(|text| is_plain(text)) {
        Some(challenge) => Ok(challenge.to_owned()),
        None => refused("hub.challenge is missing or is not a plain word"),
    }
}

/// A challenge is sent back to whoever asks, so it must not be able to be anything but a plain word.
pub(super) fn is_plain(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
