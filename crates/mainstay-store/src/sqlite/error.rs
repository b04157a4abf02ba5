//! What SQLite's errors mean to a caller.

use mainstay_domain::StoreError;
use rusqlite::{Error, ErrorCode, ffi};

use crate::thing::thing;

/// Sorts an error of SQLite by what helps. Values never appear in it: SQLite names columns, not contents.
pub(crate) fn map_error(error: Error) -> StoreError {
    match &error {
        Error::SqliteFailure(failure, message) => map_failure(*failure, message.as_deref()),
        Error::SqlInputError { error, msg, .. } => map_failure(*error, Some(msg)),
        _ => StoreError::Bug(error.to_string()),
    }
}

fn map_failure(failure: ffi::Error, message: Option<&str>) -> StoreError {
    let text = || message.map_or_else(|| failure.to_string(), ToOwned::to_owned);
    match failure.code {
        ErrorCode::DiskFull => StoreError::Full,
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::SystemIoFailure
        | ErrorCode::CannotOpen
        | ErrorCode::OutOfMemory
        | ErrorCode::ReadOnly
        | ErrorCode::PermissionDenied
        | ErrorCode::FileLockingProtocolFailed => StoreError::Unavailable(text()),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt(text()),
        ErrorCode::OperationInterrupted => StoreError::Timeout,
        ErrorCode::ConstraintViolation => map_constraint(failure.extended_code, text()),
        _ => StoreError::Bug(text()),
    }
}

fn map_constraint(extended: i32, message: String) -> StoreError {
    match extended {
        ffi::SQLITE_CONSTRAINT_UNIQUE
        | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        | ffi::SQLITE_CONSTRAINT_ROWID => StoreError::Conflict {
            what: thing(table_of(&message)),
        },
        // SQLite does not say which reference it was. `ON DELETE RESTRICT` is a trigger to it.
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => StoreError::Reference { what: "it" },
        // What a reference with ON DELETE RESTRICT answers.
        ffi::SQLITE_CONSTRAINT_TRIGGER if message.starts_with("FOREIGN KEY") => {
            StoreError::Reference { what: "it" }
        }
        _ => StoreError::Bug(message),
    }
}

/// The table in `UNIQUE constraint failed: source.tenant_id, source.name`.
fn table_of(message: &str) -> &str {
    message
        .rsplit_once(": ")
        .and_then(|(_, columns)| columns.split_once('.'))
        .map_or("", |(table, _)| table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    fn failure(setup: &str, statement: &str) -> StoreError {
        let connection = Connection::open_in_memory().expect("memory opens");
        connection.execute_batch(setup).expect("setup runs");
        let error = connection
            .execute_batch(statement)
            .expect_err("the statement fails");
        map_error(error)
    }

    #[test]
    fn a_taken_key_is_a_conflict_that_names_the_thing() {
        let error = failure(
            "CREATE TABLE source (a INTEGER PRIMARY KEY, b INTEGER UNIQUE); INSERT INTO source VALUES (1, 1)",
            "INSERT INTO source VALUES (2, 1)",
        );
        assert!(matches!(error, StoreError::Conflict { what: "source" }));
    }

    #[test]
    fn a_missing_parent_is_a_reference() {
        let error = failure(
            "PRAGMA foreign_keys = ON; CREATE TABLE p (id INTEGER PRIMARY KEY);
             CREATE TABLE c (p INTEGER REFERENCES p (id))",
            "INSERT INTO c VALUES (7)",
        );
        assert!(matches!(error, StoreError::Reference { .. }));
    }

    #[test]
    fn a_child_that_keeps_its_parent_is_a_reference() {
        let error = failure(
            "PRAGMA foreign_keys = ON; CREATE TABLE p (id INTEGER PRIMARY KEY);
             CREATE TABLE c (p INTEGER REFERENCES p (id) ON DELETE RESTRICT);
             INSERT INTO p VALUES (7); INSERT INTO c VALUES (7)",
            "DELETE FROM p",
        );
        assert!(matches!(error, StoreError::Reference { .. }));
    }

    #[test]
    fn a_database_that_may_not_grow_is_full() {
        let error = failure(
            "CREATE TABLE t (body BLOB); PRAGMA max_page_count = 2",
            "INSERT INTO t VALUES (zeroblob(100000))",
        );
        assert!(matches!(error, StoreError::Full));
    }

    #[test]
    fn a_statement_that_makes_no_sense_is_a_bug() {
        assert!(matches!(
            failure("", "SELECT nothing FROM nowhere"),
            StoreError::Bug(_)
        ));
    }
}
