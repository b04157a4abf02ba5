//! Where the data is, for the commands that open it themselves.

use mainstay_store::{DataDirectory, PostgresUrl, migrate::Place};

use super::failure::Failure;
use crate::config::Config;

/// A database that this process has opened, not through a server.
pub(super) enum Opened {
    Sqlite(DataDirectory),
    Postgres(Box<PostgresUrl>),
}

impl Opened {
    /// Alone: refused while a server runs on the same data directory. On PostgreSQL others may be connected.
    pub(super) fn alone(config: &Config) -> Result<Self, Failure> {
        Self::open(config, |config| {
            DataDirectory::lock(&config.data).map_err(Failure::from)
        })
    }

    /// Beside a server that may be running: for reading.
    pub(super) fn beside(config: &Config) -> Result<Self, Failure> {
        Self::open(config, |config| Ok(DataDirectory::beside(&config.data)?))
    }

    fn open(
        config: &Config,
        directory: impl FnOnce(&Config) -> Result<DataDirectory, Failure>,
    ) -> Result<Self, Failure> {
        // The owner, where there is one of its own: changing the schema and reading all of it need that.
        match config
            .database_migrate
            .as_ref()
            .or(config.database.as_ref())
        {
            Some(url) => Ok(Self::Postgres(Box::new(url.0.parse::<PostgresUrl>()?))),
            None => directory(config).map(Self::Sqlite),
        }
    }

    pub(super) fn place(&self) -> Place<'_> {
        match self {
            Self::Sqlite(directory) => Place::Sqlite(directory),
            Self::Postgres(url) => Place::Postgres(url),
        }
    }
}
