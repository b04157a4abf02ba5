//! What can go wrong, sorted by what helps.

use serde::{Deserialize, Serialize};

use crate::vault::KeyError;

/// What kind of failure it was. Retry policies and pages are keyed by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// The other side could not be reached.
    Network,
    /// No answer within the time allowed.
    Timeout,
    /// The other side asked us to slow down.
    RateLimited,
    /// The input is wrong and will stay wrong.
    Validation,
    /// We are not allowed to, or nobody knows us.
    Auth,
    /// Somebody else was there first.
    Conflict,
    /// Our own database failed.
    Database,
    /// The other side failed.
    Provider,
    /// A defect of ours.
    Bug,
    /// None of these could be told.
    Unknown,
}

impl Category {
    /// All of them, in the order in which the store numbers them.
    pub const ALL: [Self; 10] = [
        Self::Network,
        Self::Timeout,
        Self::RateLimited,
        Self::Validation,
        Self::Auth,
        Self::Conflict,
        Self::Database,
        Self::Provider,
        Self::Bug,
        Self::Unknown,
    ];

    /// The name in the API and the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Validation => "validation",
            Self::Auth => "auth",
            Self::Conflict => "conflict",
            Self::Database => "database",
            Self::Provider => "provider",
            Self::Bug => "bug",
            Self::Unknown => "unknown",
        }
    }

    /// The category of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|category| category.as_str() == name)
    }

    /// Whether trying again can help (RTY-07). Input that is wrong stays wrong; a bug stays a bug.
    pub const fn retryable(self) -> bool {
        !matches!(self, Self::Validation | Self::Auth | Self::Bug)
    }
}

/// What the store answers when it cannot do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A unique key was taken, or a fence was lost: somebody else was there first.
    #[error("{what} exists already")]
    Conflict {
        /// The thing whose key is taken, in the words of the blueprint.
        what: &'static str,
    },
    /// Something still refers to it, or what it refers to is gone.
    #[error("{what} is referred to by something that exists, or refers to something that does not")]
    Reference {
        /// The thing.
        what: &'static str,
    },
    /// The caller's picture of sources, bindings and endpoints is older than the store's.
    #[error("the configuration has changed")]
    ConfigChanged,
    /// The scope of the transaction does not include this tenant.
    #[error("outside the scope of the transaction")]
    OutOfScope,
    /// The database cannot be reached, is shutting down or is overloaded. Trying again can help.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The statement took longer than it may.
    #[error("the database took too long")]
    Timeout,
    /// No room on the disk.
    #[error("the database has no room left")]
    Full,
    /// What was read cannot be what was written.
    #[error("the database holds something that cannot be right: {0}")]
    Corrupt(String),
    /// It was sealed with a key that has been destroyed: nobody can read it any more.
    #[error("it was erased: the key that it was sealed with has been destroyed")]
    Erased,
    /// A defect: a statement that the database refused.
    #[error("the database refused a statement: {0}")]
    Bug(String),
}

impl StoreError {
    /// Whether the same transaction can succeed if it is run again.
    pub const fn retryable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_) | Self::Timeout | Self::Full | Self::ConfigChanged
        )
    }

    /// How attempts and metrics count it.
    pub const fn category(&self) -> Category {
        match self {
            Self::Conflict { .. } | Self::Reference { .. } | Self::ConfigChanged => {
                Category::Conflict
            }
            Self::OutOfScope => Category::Auth,
            // No retry brings it back.
            Self::Erased => Category::Validation,
            Self::Timeout => Category::Timeout,
            Self::Bug(_) => Category::Bug,
            Self::Unavailable(_) | Self::Full | Self::Corrupt(_) => Category::Database,
        }
    }
}

/// A result of the store.
pub type StoreResult<T> = Result<T, StoreError>;

impl From<KeyError> for StoreError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Seal => Self::Unavailable(error.to_string()),
            other => Self::Corrupt(other.to_string()),
        }
    }
}
