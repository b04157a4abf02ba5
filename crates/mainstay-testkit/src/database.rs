//! A database per test, with the schema of this program, on either kind.

use std::sync::Arc;

use mainstay_domain::{Store, Timestamp, vault::Vault};
use mainstay_store::{
    DataDirectory, PostgresOptions, PostgresStore, SqliteOptions, SqliteStore,
    migrate::{Migrator, Mode, Place},
};
use tempfile::TempDir;

use crate::postgres::{Cluster, ScratchDatabase};

/// A database of a test's own, open.
pub struct TestDatabase {
    store: Arc<dyn Store>,
    home: Home,
    folder: TempDir,
}

enum Home {
    Sqlite(Arc<DataDirectory>),
    Postgres(Box<ScratchDatabase>),
}

impl TestDatabase {
    /// On SQLite, in a directory of its own.
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let directory = Arc::new(lock(&folder));
        let place = Place::Sqlite(&directory);
        let applied = Migrator::embedded()
            .up(place, Mode::Apply, Timestamp::EPOCH)
            .await;
        applied.expect("the migrations run");
        let options = SqliteOptions::default();
        let store = SqliteStore::open_locked(Arc::clone(&directory), options);
        Self {
            store: Arc::new(store.expect("the store opens")),
            home: Home::Sqlite(directory),
            folder,
        }
    }

    /// On PostgreSQL, in a database of its own.
    pub async fn postgres() -> Self {
        let scratch = Cluster::of_this_run().migrated().await;
        Self {
            store: Arc::new(postgres_open(&scratch).await),
            home: Home::Postgres(Box::new(scratch)),
            folder: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// The open store.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// A second store on the same database, as another node has it. On SQLite there is only one: the same again.
    pub async fn second(&self) -> Arc<dyn Store> {
        match &self.home {
            Home::Sqlite(_) => self.store(),
            Home::Postgres(scratch) => Arc::new(postgres_open(scratch).await),
        }
    }

    /// A store on the same database that seals with these keys, as the next start of a node has it. On SQLite, where there
    /// is only one at a time, the first one is closed; whoever asks twice closes what it got before.
    pub async fn sealed(&self, vault: Arc<Vault>) -> Arc<dyn Store> {
        match &self.home {
            Home::Sqlite(directory) => {
                self.store.close().await;
                let options = SqliteOptions::default();
                let store = SqliteStore::open_locked(Arc::clone(directory), options);
                Arc::new(store.expect("the store opens").with_vault(vault))
            }
            Home::Postgres(scratch) => Arc::new(postgres_open(scratch).await.with_vault(vault)),
        }
    }

    /// Where the data is.
    pub fn place(&self) -> Place<'_> {
        match &self.home {
            Home::Sqlite(directory) => Place::Sqlite(directory),
            Home::Postgres(scratch) => Place::Postgres(scratch.url()),
        }
    }

    /// The database's file; `None` on PostgreSQL.
    pub fn sqlite_file(&self) -> Option<std::path::PathBuf> {
        match &self.home {
            Home::Sqlite(directory) => Some(directory.database()),
            Home::Postgres(_) => None,
        }
    }

    /// The database on the server; `None` on SQLite.
    pub fn scratch(&self) -> Option<&ScratchDatabase> {
        match &self.home {
            Home::Sqlite(_) => None,
            Home::Postgres(scratch) => Some(scratch),
        }
    }

    /// A folder of the test's own, for backups and the like.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Closes the store and removes the database.
    pub async fn finish(self) {
        self.store.close().await;
    }
}

fn lock(folder: &TempDir) -> DataDirectory {
    DataDirectory::lock(&folder.path().join("data")).expect("the directory is free")
}

async fn postgres_open(scratch: &ScratchDatabase) -> PostgresStore {
    let mut options = PostgresOptions::new(scratch.url().clone());
    // Many tests share one cluster.
    (options.pool_app, options.pool_system) = (4, 4);
    PostgresStore::connect(options)
        .await
        .expect("the store connects")
}
