//! Where the data is, for the commands that open it themselves.

use mainstay_store::{DataDirectory, PostgresUrl, migrate::Place};

use super::{api::API_FILE, failure::Failure};
use crate::config::Config;

/// What is said where a server on this data directory keeps its data in PostgreSQL, and nobody says where that is.
pub(super) const ELSEWHERE: &str = "the server of this data directory keeps its data in PostgreSQL";
/// What to do then.
pub(super) const SAY_WHERE: &str =
    "give its address, as the server has it: --database postgres://… or MAINSTAY_DATABASE";

/// Whether the server that runs here, or died here, keeps its data in PostgreSQL, and the configuration does not say so: what
/// stands in the directory is then not what it serves.
pub(super) fn is_elsewhere(config: &Config) -> bool {
    let local = std::fs::read(config.data.join(API_FILE)).ok();
    let local = local.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    let database = local.as_ref().and_then(|local| local.get("database"));
    config.database.is_none() && database.is_some_and(|database| database == "postgres")
}

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
            None if is_elsewhere(config) => Err(Failure::usage(ELSEWHERE).hint(SAY_WHERE)),
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
