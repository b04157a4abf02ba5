//! A signing secret: compared in constant time, never printed.

use serde::Deserialize;

use super::problem;
use crate::intake::settings::SettingProblem;

const SECRET_BYTES_MAX: usize = 1024;

/// A secret as the provider shows it. Neither `Debug` nor any error shows its content.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub const fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The content. Each use of it should be worth a look.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `other` is this secret, without telling by the time taken where they differ.
    pub fn matches(&self, other: &str) -> bool {
        super::mac::same(self.0.as_bytes(), other.as_bytes())
    }

    /// What is wrong with a secret of any scheme.
    pub(super) fn check(&self) -> Result<(), SettingProblem> {
        let text = self.0.as_str();
        let fail = |what: &str| Err(problem("secret", what));
        if text.is_empty() {
            return fail("is empty");
        }
        if text.len() > SECRET_BYTES_MAX {
            return fail("must have at most 1024 bytes");
        }
        if text.trim() != text || text.chars().any(char::is_control) {
            return fail("has white space around it or control characters in it");
        }
        if [
            "sk_live_", "sk_test_", "rk_live_", "rk_test_", "pk_live_", "pk_test_",
        ]
        .iter()
        .any(|prefix| text.starts_with(prefix))
        {
            return fail("is an API key; what is needed is the endpoint's signing secret");
        }
        Ok(())
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self::new(secret.to_owned())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl Eq for Secret {}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0).into_bytes();
        bytes.fill(0);
        // Keeps the compiler from dropping the write as one that nobody reads.
        std::hint::black_box(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints_its_content() {
        let secret = Secret::from("whsec_hidden");
        assert_eq!(
            format!("{secret:?} {:?}", Some(&secret)),
            "Secret(…) Some(Secret(…))"
        );
    }

    #[test]
    fn what_is_usually_pasted_by_mistake_is_refused() {
        for wrong in [
            "",
            " whsec_a",
            "whsec_a\n",
            "sk_live_abc",
            "rk_test_abc",
            "a\0b",
        ] {
            assert!(Secret::from(wrong).check().is_err(), "{wrong:?}");
        }
        assert!(
            Secret::new("a".repeat(SECRET_BYTES_MAX + 1))
                .check()
                .is_err()
        );
        assert!(Secret::from("It's a Secret to Everybody").check().is_ok());
    }
}
