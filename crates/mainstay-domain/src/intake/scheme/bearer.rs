//! A shared token in a header, for providers that sign nothing: `Authorization: Bearer …`, GitLab's `X-Gitlab-Token`.
//!
//! It says who sends and nothing about what: neither the body nor a time is covered.

use serde::{Deserialize, Serialize};

use super::{
    Verified, header::Request, hmac_rule::is_header_name, key::Key, problem, refusal::Refusal,
};
use crate::intake::settings::SettingProblem;

/// Where the token stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BearerRule {
    /// The header.
    pub header: String,
    /// What stands before the token; left out, `Bearer ` in the header `Authorization` and nothing in any other.
    pub prefix: Option<String>,
}

impl Default for BearerRule {
    fn default() -> Self {
        Self {
            header: "Authorization".to_owned(),
            prefix: None,
        }
    }
}

impl BearerRule {
    pub(super) fn check(&self) -> Result<(), SettingProblem> {
        if !is_header_name(&self.header) {
            return Err(problem("bearer.header", "must be a header's name"));
        }
        if self.prefix().len() > 64 || !self.prefix().is_ascii() {
            let words = "must have at most 64 ASCII characters";
            return Err(problem("bearer.prefix", words));
        }
        Ok(())
    }

    pub(super) fn prefix(&self) -> &str {
        let usual = match self.header.eq_ignore_ascii_case("authorization") {
            true => "Bearer ",
            false => "",
        };
        self.prefix.as_deref().unwrap_or(usual)
    }

    pub(super) fn verify(&self, keys: &[Key], request: &Request<'_>) -> Result<Verified, Refusal> {
        let text = request
            .text(&self.header)?
            .ok_or_else(|| Refusal::SignatureMissing {
                header: self.header.clone().into(),
            })?;
        let malformed = || Refusal::SignatureMalformed {
            header: self.header.clone().into(),
            expected: format!("{}<token>", self.prefix()).into(),
        };
        let (before, token) = text
            .split_at_checked(self.prefix().len())
            .ok_or_else(malformed)?;
        // HTTP's names of authentication schemes have no case.
        if !before.eq_ignore_ascii_case(self.prefix()) || token.is_empty() {
            return Err(malformed());
        }
        keys.iter()
            .position(|key| key.text().is_some_and(|own| own.matches(token)))
            .map(|secret_index| Verified {
                secret_index,
                signed_at: None,
            })
            .ok_or(Refusal::SignatureWrong)
    }
}
