//! What can go wrong while the store is opened, migrated, backed up or restored: all of it is for an operator to read.

use std::path::PathBuf;

use mainstay_domain::StoreError;

/// Why the store could not be opened, migrated, backed up or restored.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Another process uses the data directory.
    #[error(
        "the data directory {path} is in use by process {holder}; stop it, or go through its API"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The other process's id, as far as it is known.
        holder: String,
    },
    /// A file could not be made, read or written.
    #[error("{what} {path}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The database's address cannot be used.
    #[error("the database URL cannot be used: {0}")]
    Url(String),
    /// The server is set up so that it can lose what it has acknowledged, or is otherwise unfit.
    #[error("this PostgreSQL server cannot be used: {0}")]
    Server(String),
    /// The database is older than this program.
    #[error(
        "the database is at version {found}, this program needs {wanted}; run `mainstay migrate up`"
    )]
    Older {
        /// The database's version.
        found: u32,
        /// This program's.
        wanted: u32,
    },
    /// The database was migrated by a newer program.
    #[error(
        "the database is at version {found}, this program knows {wanted}; use the newer program, or go back with it \
         (`mainstay migrate down --to {wanted}`)"
    )]
    Newer {
        /// The database's version.
        found: u32,
        /// This program's.
        wanted: u32,
    },
    /// A migration that was applied is not the one that this program holds.
    #[error("migration {version} ({name}) was applied with other contents than this program holds")]
    Checksum {
        /// Its number.
        version: u32,
        /// Its name.
        name: String,
    },
    /// A migration failed; nothing of it stays.
    #[error("migration {version} ({name}) failed, nothing of it was kept: {source}")]
    Migration {
        /// Its number.
        version: u32,
        /// Its name.
        name: String,
        /// Why.
        source: StoreError,
    },
    /// The roles that the application runs as could not be made.
    #[error(
        "the roles mainstay_app and mainstay_system cannot be set up: {0}; run as a user with CREATEROLE, or let an \
         administrator make them and grant them to this user"
    )]
    Roles(String),
    /// One of PostgreSQL's own programs is missing or failed.
    #[error("{program}: {problem}")]
    Tool {
        /// Its name.
        program: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A backup is not what its manifest says.
    #[error("the backup {path} cannot be trusted: {problem}")]
    Backup {
        /// The backup.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A backup would be written over what is there.
    #[error("{0} exists already; a backup is written to a new file")]
    Exists(String),
    /// A restore would overwrite data.
    #[error("{0} holds data already; restore into an empty one, or use --force")]
    NotEmpty(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A result of setting up.
pub type SetupResult<T> = Result<T, SetupError>;

/// Says which file it was.
pub(crate) fn file_error(
    what: &'static str,
    path: &std::path::Path,
) -> impl FnOnce(std::io::Error) -> SetupError {
    let path = path.to_owned();
    move |source| SetupError::File { what, path, source }
}
