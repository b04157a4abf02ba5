//! What PostgreSQL's errors mean to a caller.

use mainstay_domain::StoreError;
use tokio_postgres::{Error, error::DbError};

use crate::thing::thing;

/// An error of PostgreSQL, sorted by what helps.
pub(crate) struct Mapped {
    /// What the caller is told.
    pub(crate) error: StoreError,
    /// The server gave up on this transaction only because of others: run it again.
    pub(crate) again: bool,
    /// The connection must not be used again.
    pub(crate) broken: bool,
}

/// Sorts an error of PostgreSQL. The server's detail may hold a row's values: it is never part of the message.
pub(crate) fn map_error(error: &Error) -> Mapped {
    match error.as_db_error() {
        Some(refused) => map_refused(refused),
        None if error.is_closed() || is_io(error) => Mapped {
            error: StoreError::Unavailable("the connection was lost".into()),
            again: false,
            broken: true,
        },
        None => Mapped {
            error: StoreError::Bug(chain(error)),
            again: false,
            broken: true,
        },
    }
}

fn map_refused(refused: &DbError) -> Mapped {
    let code = refused.code().code();
    let error = match code {
        "23505" => StoreError::Conflict {
            what: thing(refused.table().unwrap_or_default()),
        },
        "23503" => StoreError::Reference {
            what: thing(refused.table().unwrap_or_default()),
        },
        // A statement, a lock or an idle transaction that took too long.
        "57014" | "55P03" | "25P03" => StoreError::Timeout,
        "53100" => StoreError::Full,
        // Row-level security refused the row.
        "42501" if refused.message().contains("row-level security") => StoreError::OutOfScope,
        "XX001" | "XX002" => StoreError::Corrupt(said(refused)),
        _ if passing(code, refused) => StoreError::Unavailable(said(refused)),
        _ => StoreError::Bug(said(refused)),
    };
    Mapped {
        error,
        again: matches!(code, "40001" | "40P01"),
        broken: gone(code, refused),
    }
}

/// Failures that pass: fail-over, shutdown, overload, a transaction that lost against another.
fn passing(code: &str, refused: &DbError) -> bool {
    matches!(code.get(..2), Some("08" | "40" | "53" | "58")) || gone(code, refused)
}

/// Failures after which the connection itself is of no use: the server is a standby now, is going away, or has
/// forgotten a prepared statement.
fn gone(code: &str, refused: &DbError) -> bool {
    matches!(
        code,
        "25006" | "25P03" | "26000" | "57P01" | "57P02" | "57P03" | "57P05"
    ) || code.starts_with("08")
        || (code == "0A000" && refused.message().contains("cached plan"))
}

fn said(refused: &DbError) -> String {
    format!("{} ({})", refused.message(), refused.code().code())
}

fn is_io(error: &Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if inner.is::<std::io::Error>() {
            return true;
        }
        source = inner.source();
    }
    false
}

/// The error with its causes: since 0.7.15 its `Display` leaves them out.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
