//! Migrations: numbered, up and down, one file per database, embedded; each runs in one transaction of its own.
//!
//! What was applied is recorded with a checksum of its text: a program that holds another text for the same number
//! refuses to go on. On PostgreSQL an advisory lock, on SQLite an exclusive transaction keeps two runners apart.

pub mod check;
mod postgres;
mod schema;
mod sqlite;

use mainstay_domain::Timestamp;

pub(crate) use postgres::{DEFINERS, SCHEMA_MAKE, roles_make as roles_ensure};
pub use schema::schema_dump;

use crate::{
    hex,
    postgres::PostgresUrl,
    setup::{SetupError, SetupResult},
    sqlite::DataDirectory,
};

/// Where the data is.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// A data directory; locked by this process for everything but looking, and backups.
    Sqlite(&'a DataDirectory),
    /// A database on a server, opened by a user who may change the schema.
    Postgres(&'a PostgresUrl),
}

/// One step of the schema, for both databases.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its number: 1, 2, 3 and so on, without gaps.
    pub version: u32,
    /// Its name.
    pub name: &'static str,
    /// Its text for SQLite.
    pub sqlite: Script,
    /// Its text for PostgreSQL.
    pub postgres: Script,
}

/// The two directions of a migration.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// Makes the change.
    pub up: &'static str,
    /// Takes it back.
    pub down: &'static str,
}

impl Script {
    /// SHA-256 of the text that was or would be applied.
    fn checksum(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.up.as_bytes());
        hex::encode(digest.as_ref())
    }
}

macro_rules! migrations {
    ($($version:literal $file:literal;)*) => {
        &[$(Migration {
            version: $version,
            // Without the number in front.
            name: $file.split_at(5).1,
            sqlite: Script {
                up: include_str!(concat!("../../migrations/", $file, ".up.sqlite.sql")),
                down: include_str!(concat!("../../migrations/", $file, ".down.sqlite.sql")),
            },
            postgres: Script {
                up: include_str!(concat!("../../migrations/", $file, ".up.postgres.sql")),
                down: include_str!(concat!("../../migrations/", $file, ".down.postgres.sql")),
            },
        }),*]
    };
}

/// All migrations of this program. Adding one: four files under `migrations/` and a line here.
static MIGRATIONS: &[Migration] = migrations! {
    1 "0001_access";
    2 "0002_intake";
    3 "0003_jobs";
    4 "0004_billing_watch";
    5 "0005_views";
    6 "0006_durations";
    7 "0007_rows";
    8 "0008_links";
    9 "0009_filters_headers";
    10 "0010_quarantine";
    11 "0011_requests";
    12 "0012_replays";
    13 "0013_schemas";
    14 "0014_lean";
    15 "0015_lines";
    16 "0016_objects";
    17 "0017_rhythm";
    18 "0018_audit";
    19 "0019_kinds";
    20 "0020_vault";
    21 "0021_limits";
    22 "0022_follow";
    23 "0023_small";
    24 "0024_key_limits";
    25 "0025_schema";
    26 "0026_enqueue";
    27 "0027_schedules";
    28 "0028_workers";
    29 "0029_unique";
    30 "0030_queues";
    31 "0031_tenant_due";
    32 "0032_breakers";
    33 "0033_sagas";
    34 "0034_nodes";
    35 "0035_deadlines";
    36 "0036_former";
};

/// What happens to the outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It stays.
    Apply,
    /// Everything runs, in one transaction, which is then rolled back.
    DryRun,
}

/// A migration that was, or would be, run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its number.
    pub version: u32,
    /// Its name.
    pub name: String,
}

/// A migration that the database has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its number.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// SHA-256 of its text, in hexadecimal.
    pub checksum: String,
    /// When.
    pub applied_at: Timestamp,
}

/// What a database has and what it lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// In order.
    pub applied: Vec<Applied>,
    /// In order.
    pub pending: Vec<Step>,
}

/// A list of migrations and the runs that can be made with it.
#[derive(Debug, Clone, Copy)]
pub struct Migrator {
    migrations: &'static [Migration],
}

impl Migrator {
    /// This program's own migrations.
    pub fn embedded() -> Self {
        Self::new(MIGRATIONS)
    }

    /// Another list, for tests.
    pub fn new(migrations: &'static [Migration]) -> Self {
        Self { migrations }
    }

    /// The number of the last migration; 0 when there is none.
    pub fn version(&self) -> u32 {
        self.migrations.last().map_or(0, |last| last.version)
    }

    /// SHA-256 over all texts, in hexadecimal: another one, another schema.
    pub fn fingerprint(&self) -> String {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        context.update(postgres::READABLE.as_bytes());
        for migration in self.migrations {
            for script in [migration.sqlite, migration.postgres] {
                context.update(script.up.as_bytes());
                context.update(script.down.as_bytes());
            }
        }
        hex::encode(context.finish().as_ref())
    }

    /// What the database has and what it lacks. Changes nothing.
    pub async fn status(&self, place: Place<'_>) -> SetupResult<Status> {
        let applied = match place {
            Place::Sqlite(directory) => sqlite::applied(directory)?,
            Place::Postgres(url) => postgres::applied(url).await?,
        };
        let have = applied.len();
        Ok(Status {
            applied,
            pending: self.migrations.iter().skip(have).map(step).collect(),
        })
    }

    /// Applies what is missing. `now` is written beside each.
    pub async fn up(&self, place: Place<'_>, mode: Mode, now: Timestamp) -> SetupResult<Vec<Step>> {
        self.run(place, self.version(), Direction::Up, mode, now)
            .await
    }

    /// Takes back everything above `version`, newest first.
    pub async fn down(&self, place: Place<'_>, version: u32, mode: Mode) -> SetupResult<Vec<Step>> {
        self.run(place, version, Direction::Down, mode, Timestamp::EPOCH)
            .await
    }

    async fn run(
        &self,
        place: Place<'_>,
        version: u32,
        direction: Direction,
        mode: Mode,
        now: Timestamp,
    ) -> SetupResult<Vec<Step>> {
        place.require_alone()?;
        let run = Run {
            migrator: *self,
            version,
            direction,
            mode,
            now,
        };
        match place {
            Place::Sqlite(directory) => sqlite::run(directory, run),
            Place::Postgres(url) => postgres::run(url, run).await,
        }
    }

    /// Fails unless the database has exactly this program's migrations.
    pub(crate) fn check_sqlite(&self, connection: &rusqlite::Connection) -> SetupResult<()> {
        self.check_current(&sqlite::applied_on(connection)?, |migration| {
            migration.sqlite
        })
    }

    /// The same on PostgreSQL.
    pub(crate) async fn check_postgres(&self, client: &tokio_postgres::Client) -> SetupResult<()> {
        self.check_current(&postgres::applied_on(client).await?, |migration| {
            migration.postgres
        })
    }

    fn check_current(
        &self,
        applied: &[Applied],
        script: fn(&Migration) -> Script,
    ) -> SetupResult<()> {
        self.check_known(applied, script)?;
        let found = applied.last().map_or(0, |last| last.version);
        if found < self.version() {
            return Err(SetupError::Older {
                found,
                wanted: self.version(),
            });
        }
        Ok(())
    }

    /// Fails when the database has a migration that this program lacks or holds with another text.
    fn check_known(
        &self,
        applied: &[Applied],
        script: fn(&Migration) -> Script,
    ) -> SetupResult<()> {
        for (index, have) in applied.iter().enumerate() {
            let Some(known) = self.migrations.get(index) else {
                return Err(SetupError::Newer {
                    found: applied.last().map_or(0, |last| last.version),
                    wanted: self.version(),
                });
            };
            if known.version != have.version || script(known).checksum() != have.checksum {
                return Err(SetupError::Checksum {
                    version: have.version,
                    name: have.name.clone(),
                });
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// What a run is to do.
#[derive(Debug, Clone, Copy)]
struct Run {
    migrator: Migrator,
    version: u32,
    direction: Direction,
    mode: Mode,
    now: Timestamp,
}

impl Run {
    /// The next migration to run on a database that has these; `None` when the goal is reached.
    fn next(
        &self,
        applied: &[Applied],
        script: fn(&Migration) -> Script,
    ) -> SetupResult<Option<&'static Migration>> {
        self.migrator.check_known(applied, script)?;
        let have = applied.len();
        let known = self.migrator.migrations;
        Ok(match self.direction {
            Direction::Up => known.get(have).filter(|next| next.version <= self.version),
            Direction::Down => have
                .checked_sub(1)
                .and_then(|last| known.get(last))
                .filter(|last| last.version > self.version),
        })
    }
}

fn step(migration: &Migration) -> Step {
    Step {
        version: migration.version,
        name: migration.name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_file_is_listed_and_numbered_without_gaps() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .expect("the folder is there")
            .map(|file| {
                file.expect("readable")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .filter(|name| name.ends_with(".sql"))
            .collect();
        files.sort();
        let mut listed: Vec<String> = MIGRATIONS
            .iter()
            .flat_map(|one| {
                ["up.sqlite", "down.sqlite", "up.postgres", "down.postgres"]
                    .map(|end| format!("{:04}_{}.{end}.sql", one.version, one.name))
            })
            .collect();
        listed.sort();
        assert_eq!(files, listed);
        for (index, one) in MIGRATIONS.iter().enumerate() {
            assert_eq!(one.version as usize, index + 1);
        }
    }
}
