//! The secrets that requests to an endpoint are signed with, and how one takes the place of another.

use super::Endpoint;
use crate::time::Timestamp;

/// Secrets that may be in force at once: each is a signature in every request.
pub const SECRETS_MAX: usize = 4;
/// How long the secret before a new one signs along, unless somebody says otherwise: a day.
pub const OVERLAP_SECS: u32 = 24 * 60 * 60;
/// The longest that it can: a week.
pub const OVERLAP_SECS_MAX: u32 = 7 * 24 * 60 * 60;

/// A secret that requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointSecret {
    /// The secret itself: `whsec_…`.
    pub secret: String,
    /// Until when it signs; none: until another takes its place.
    pub until: Option<Timestamp>,
}

impl EndpointSecret {
    /// One without an end.
    pub fn new(secret: impl Into<String>) -> Self {
        Self {
            secret: secret.into(),
            until: None,
        }
    }

    fn in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl std::fmt::Debug for EndpointSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointSecret")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// Too many secrets are in force to add one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{SECRETS_MAX} secrets are in force; end the overlap first")]
pub struct TooManySecrets;

impl Endpoint {
    /// The secrets that sign now, newest first.
    pub fn secrets_in_force(&self, now: Timestamp) -> impl Iterator<Item = &EndpointSecret> {
        self.secrets.iter().filter(move |one| one.in_force(now))
    }

    /// Puts a secret in front. Those before it sign along until `overlap_secs` from now, or until their own earlier
    /// end; what has ended already is forgotten.
    pub fn secret_rotate(
        &mut self,
        secret: String,
        overlap_secs: u32,
        now: Timestamp,
    ) -> Result<(), TooManySecrets> {
        let end = now.plus_ms(i64::from(overlap_secs) * 1_000);
        let before = self.secrets_in_force(now).map(|one| EndpointSecret {
            until: Some(one.until.map_or(end, |own| own.min(end))),
            ..one.clone()
        });
        // An overlap of nothing ends them at once.
        let before: Vec<_> = before.filter(|one| one.in_force(now)).collect();
        if before.len() >= SECRETS_MAX {
            return Err(TooManySecrets);
        }
        self.secrets = vec![EndpointSecret::new(secret)];
        self.secrets.extend(before);
        Ok(())
    }

    /// Ends the overlap: only the newest secret signs from now on. False: it was the only one.
    pub fn secret_overlap_end(&mut self, now: Timestamp) -> bool {
        let had = self.secrets_in_force(now).count();
        self.secrets.truncate(1);
        had > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{EndpointId, TenantId};

    const HOUR: i64 = 3_600_000;

    fn endpoint() -> Endpoint {
        Endpoint {
            id: EndpointId::NIL,
            tenant: TenantId::NIL,
            name: "app".into(),
            url: "https://example.com/".into(),
            queue: 1,
            enabled: true,
            secrets: vec![EndpointSecret::new("one")],
            headers: Default::default(),
            settings: "{}".into(),
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
        }
    }

    fn signing(endpoint: &Endpoint, at_ms: i64) -> Vec<&str> {
        endpoint
            .secrets_in_force(Timestamp::EPOCH.plus_ms(at_ms))
            .map(|one| one.secret.as_str())
            .collect()
    }

    fn rotate(endpoint: &mut Endpoint, secret: &str, hours: u32, at_ms: i64) {
        let now = Timestamp::EPOCH.plus_ms(at_ms);
        let done = endpoint.secret_rotate(secret.into(), hours * 3_600, now);
        done.expect("there is room");
    }

    #[test]
    fn the_secret_before_signs_along_until_the_overlap_ends() {
        let mut endpoint = endpoint();
        rotate(&mut endpoint, "two", 24, 0);
        assert_eq!(signing(&endpoint, 24 * HOUR - 1), ["two", "one"]);
        assert_eq!(signing(&endpoint, 24 * HOUR), ["two"]);
    }

    #[test]
    fn a_second_rotation_lengthens_nothing_and_may_shorten() {
        let mut endpoint = endpoint();
        rotate(&mut endpoint, "two", 24, 0);
        rotate(&mut endpoint, "three", 48, HOUR);
        assert_eq!(signing(&endpoint, 24 * HOUR - 1), ["three", "two", "one"]);
        assert_eq!(signing(&endpoint, 24 * HOUR), ["three", "two"]);
        rotate(&mut endpoint, "four", 0, 2 * HOUR);
        assert_eq!(signing(&endpoint, 2 * HOUR), ["four"]);
    }

    #[test]
    fn only_so_many_sign_at_once_and_what_has_ended_makes_room() {
        let mut endpoint = endpoint();
        for secret in ["two", "three", "four"] {
            rotate(&mut endpoint, secret, 24, 0);
        }
        let full = endpoint.secret_rotate("five".into(), 3_600, Timestamp::EPOCH);
        assert_eq!(full, Err(TooManySecrets));
        rotate(&mut endpoint, "five", 1, 24 * HOUR);
        assert_eq!(signing(&endpoint, 24 * HOUR), ["five", "four"]);
        assert_eq!(endpoint.secrets.len(), 2);
    }

    #[test]
    fn an_overlap_can_be_ended_early() {
        let mut endpoint = endpoint();
        assert!(!endpoint.secret_overlap_end(Timestamp::EPOCH));
        rotate(&mut endpoint, "two", 24, 0);
        assert!(endpoint.secret_overlap_end(Timestamp::EPOCH));
        assert_eq!(signing(&endpoint, 0), ["two"]);
    }

    #[test]
    fn a_secret_stands_in_no_log() {
        let shown = format!("{:?}", EndpointSecret::new("whsec_x"));
        assert!(!shown.contains("whsec"), "{shown}");
    }
}
