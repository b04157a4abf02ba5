//! Passwords: argon2id, a few at a time, off the threads that serve requests.

use std::sync::{Arc, OnceLock};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use crate::{
    http::{Code, Problem, extract::Checks},
    limits,
};

/// Hashes and verifies.
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    /// What an unknown user's password is compared with, so that the time taken tells nothing.
    nobody: Arc<OnceLock<String>>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(limits::PASSWORDS_AT_ONCE)),
            nobody: Arc::default(),
        }
    }
}

impl Passwords {
    /// The hash to store.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Problem> {
        self.run(move || hash(&password))
            .await?
            .map_err(Problem::internal)
    }

    /// Whether this is the password. Takes the same time whether or not there is anything to compare with.
    pub(crate) async fn verify(
        &self,
        password: String,
        stored: Option<String>,
    ) -> Result<bool, Problem> {
        let nobody = Arc::clone(&self.nobody);
        self.run(move || {
            let known = stored.is_some();
            let stored = stored.unwrap_or_else(|| {
                nobody
                    .get_or_init(|| hash("nobody").unwrap_or_default())
                    .clone()
            });
            let Ok(parsed) = PasswordHash::new(&stored) else {
                return false;
            };
            let same = password.len() <= limits::PASSWORD_MAX
                && Argon2::default()
                    .verify_password(password.as_bytes(), &parsed)
                    .is_ok();
            same && known
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = tokio::time::timeout(
            limits::PASSWORD_WAIT,
            Arc::clone(&self.turns).acquire_owned(),
        )
        .await;
        let Ok(Ok(turn)) = turn else {
            return Err(Problem::new(
                Code::Overloaded,
                "too many people sign in at this moment; try again",
            )
            .retry_after(5));
        };
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(Problem::internal)
    }
}

fn hash(password: &str) -> Result<String, String> {
    let hashed = Argon2::default().hash_password(password.as_bytes());
    hashed
        .map(|hash| hash.to_string())
        .map_err(|error| error.to_string())
}

/// Refuses passwords that are too short to help or too long to hash.
pub(crate) fn check(checks: &mut Checks, pointer: &str, password: &str) {
    let long_enough = password.chars().count() >= limits::PASSWORD_MIN;
    checks.ensure(
        long_enough,
        pointer,
        &format!("must have at least {} characters", limits::PASSWORD_MIN),
    );
    let short_enough = password.len() <= limits::PASSWORD_MAX;
    checks.ensure(
        short_enough,
        pointer,
        &format!("must have at most {} bytes", limits::PASSWORD_MAX),
    );
}

/// An e-mail address as it is stored: lower case, and plausible. Whether it exists is not our affair.
pub(crate) fn email(checks: &mut Checks, pointer: &str, text: &str) -> String {
    let email = text.trim().to_lowercase();
    let plausible = email
        .split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'));
    let clean = !email.chars().any(|c| c.is_whitespace() || c.is_control());
    checks.ensure(
        plausible && clean && email.chars().count() <= EMAIL_MAX,
        pointer,
        "must be an e-mail address",
    );
    email
}

/// How long an address may be.
pub(crate) const EMAIL_MAX: usize = 254;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_recognised_and_another_is_not() {
        let passwords = Passwords::default();
        let stored = passwords
            .hash("correct horse battery".into())
            .await
            .expect("it hashes");
        assert!(stored.starts_with("$argon2id$"));
        let right = passwords
            .verify("correct horse battery".into(), Some(stored.clone()))
            .await;
        assert_eq!(right, Ok(true));
        assert_eq!(
            passwords.verify("correct horse".into(), Some(stored)).await,
            Ok(false)
        );
        assert_eq!(passwords.verify("nobody".into(), None).await, Ok(false));
        assert_eq!(
            passwords
                .verify("x".into(), Some("not a hash".into()))
                .await,
            Ok(false)
        );
    }

    #[test]
    fn an_address_is_lower_case_and_plausible() {
        let mut checks = Checks::default();
        assert_eq!(
            email(&mut checks, "/email", " Anna@Example.COM "),
            "anna@example.com"
        );
        assert!(checks.done().is_ok());
        for wrong in ["", "anna", "@x", "a@", "a b@x", "a@b@c", "a\u{0}@b"] {
            let mut checks = Checks::default();
            email(&mut checks, "/email", wrong);
            assert!(checks.done().is_err(), "{wrong}");
        }
    }
}
