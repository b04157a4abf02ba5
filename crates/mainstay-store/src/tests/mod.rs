//! The ground under the verbs, on both databases: transactions, scopes, limits, leases, waking. Everything here runs
//! on a schema of two tables, so that it says nothing about the real one.

mod backups;
mod leases;
mod migrations;
mod postgres;
mod speed;
mod sqlite;
mod statements;
mod transactions;
mod waking;

use std::{sync::Arc, time::Duration};

use mainstay_domain::{
    Scope, Store, StoreResult, TenantId, Timestamp,
    store::{BoxFuture, Erased},
};
use mainstay_testkit::{Cluster, ScratchDatabase};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    DataDirectory, PostgresOptions, PostgresStore, PostgresUrl, SqliteOptions, SqliteStore,
    migrate::{Migration, Migrator, Mode, Place, Script},
    queries,
    sql::Value,
    tx::{SqlTx, answer, body},
};

queries! {
    NOTE_INSERT: Tenant = "INSERT INTO note (tenant_id, id, text) VALUES ($1, $2, $3)";
    NOTE_TEXTS: System = "SELECT text FROM note ORDER BY text";
}

const FIRST: Migration = Migration {
    version: 1,
    name: "tiny",
    sqlite: Script {
        up: "CREATE TABLE lease (name TEXT PRIMARY KEY, holder BLOB NOT NULL, epoch INTEGER NOT NULL,
                 expires_at INTEGER NOT NULL) STRICT;
             CREATE TABLE note (tenant_id BLOB NOT NULL, id INTEGER NOT NULL, text TEXT NOT NULL,
                 parent INTEGER, PRIMARY KEY (tenant_id, id),
                 FOREIGN KEY (tenant_id, parent) REFERENCES note (tenant_id, id) DEFERRABLE INITIALLY DEFERRED) STRICT;",
        down: "DROP TABLE note; DROP TABLE lease;",
    },
    postgres: Script {
        up: "CREATE TABLE lease (name text PRIMARY KEY, holder uuid NOT NULL, epoch bigint NOT NULL,
                 expires_at bigint NOT NULL);
             CREATE TABLE note (tenant_id uuid NOT NULL, id bigint NOT NULL, text text NOT NULL,
                 parent bigint, PRIMARY KEY (tenant_id, id),
                 FOREIGN KEY (tenant_id, parent) REFERENCES note (tenant_id, id) DEFERRABLE INITIALLY DEFERRED);
             ALTER TABLE note ENABLE ROW LEVEL SECURITY;
             ALTER TABLE note FORCE ROW LEVEL SECURITY;
             CREATE POLICY note_tenant ON note TO mainstay_app
                 USING (tenant_id = current_setting('mainstay.tenant')::uuid);
             CREATE POLICY note_system ON note TO mainstay_system USING (true);
             GRANT SELECT, INSERT, UPDATE, DELETE ON note TO mainstay_app, mainstay_system;
             GRANT SELECT, INSERT, UPDATE, DELETE ON lease TO mainstay_system;",
        down: "DROP TABLE note; DROP TABLE lease;",
    },
};

static TINY: &[Migration] = &[FIRST];

const SYSTEM: Scope = Scope::System("test");

/// An open store on the tiny schema.
enum Ground {
    Sqlite(SqliteStore, TempDir),
    Postgres(PostgresStore, Box<ScratchDatabase>),
}

impl Ground {
    async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let options = SqliteOptions {
            query_timeout: Duration::from_millis(500),
            ..SqliteOptions::default()
        };
        Self::Sqlite(sqlite_open(&folder, options).await, folder)
    }

    async fn postgres() -> Self {
        let scratch = Cluster::of_this_run().scratch().await;
        let url = postgres_migrated(&scratch).await;
        let mut options = PostgresOptions::new(url);
        options.query_timeout = Duration::from_millis(500);
        let store = PostgresStore::connect_at(options, Migrator::new(TINY)).await;
        Self::Postgres(store.expect("the store connects"), Box::new(scratch))
    }

    fn port(&self) -> &dyn Store {
        match self {
            Self::Sqlite(store, _) => store,
            Self::Postgres(store, _) => store,
        }
    }

    async fn write<T, F>(&self, scope: Scope, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'t, 'c> Fn(&'t mut SqlTx<'c>) -> BoxFuture<'t, StoreResult<T>>
            + Send
            + Sync
            + 'static,
    {
        let erased: StoreResult<Erased> = match self {
            Self::Sqlite(store, _) => store.write(scope, body(work)).await,
            Self::Postgres(store, _) => store.write(scope, body(work)).await,
        };
        answer(erased?)
    }

    async fn read<T, F>(&self, scope: Scope, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'t, 'c> Fn(&'t mut SqlTx<'c>) -> BoxFuture<'t, StoreResult<T>>
            + Send
            + Sync
            + 'static,
    {
        let erased: StoreResult<Erased> = match self {
            Self::Sqlite(store, _) => store.read(scope, body(work)).await,
            Self::Postgres(store, _) => store.read(scope, body(work)).await,
        };
        answer(erased?)
    }

    async fn texts(&self) -> Vec<String> {
        let texts = self.read(SYSTEM, |tx| Box::pin(note_texts(tx))).await;
        texts.expect("notes are read")
    }
}

/// A database with nothing in it, closed.
enum Bare {
    Sqlite(
        Box<DataDirectory>,
        #[expect(dead_code, reason = "removed with the test")] TempDir,
    ),
    Postgres(Box<PostgresUrl>, Box<ScratchDatabase>),
}

impl Bare {
    async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let directory = DataDirectory::lock(folder.path()).expect("locked");
        Self::Sqlite(Box::new(directory), folder)
    }

    async fn postgres() -> Self {
        let scratch = Cluster::of_this_run().scratch().await;
        let url = scratch.url_as("postgres").parse().expect("a good URL");
        Self::Postgres(Box::new(url), Box::new(scratch))
    }

    fn place(&self) -> Place<'_> {
        match self {
            Self::Sqlite(directory, _) => Place::Sqlite(directory),
            Self::Postgres(url, _) => Place::Postgres(url),
        }
    }

    /// Runs statements of both dialects, as the owner.
    async fn run(&self, text: &str) {
        match self {
            Self::Sqlite(directory, _) => {
                let connection = crate::sqlite::open_writer(&directory.database(), 1_024);
                let done = connection.expect("opens").execute_batch(text);
                done.expect("the statement runs");
            }
            Self::Postgres(url, _) => {
                let client = crate::postgres::connect_plain(url).await.expect("connects");
                client
                    .batch_execute(text)
                    .await
                    .expect("the statement runs");
            }
        }
    }
}

async fn sqlite_open(folder: &TempDir, options: SqliteOptions) -> SqliteStore {
    let directory = DataDirectory::lock(folder.path()).expect("locked");
    let migrator = Migrator::new(TINY);
    let place = Place::Sqlite(&directory);
    let applied = migrator.up(place, Mode::Apply, Timestamp::EPOCH).await;
    applied.expect("the migration runs");
    SqliteStore::open_at(Arc::new(directory), options, migrator).expect("the store opens")
}

async fn postgres_migrated(scratch: &ScratchDatabase) -> PostgresUrl {
    // The test kit is built on another copy of this crate: the URL travels as text.
    let url: PostgresUrl = scratch.url_as("postgres").parse().expect("a good URL");
    let place = Place::Postgres(&url);
    let applied = Migrator::new(TINY)
        .up(place, Mode::Apply, Timestamp::EPOCH)
        .await;
    applied.expect("the migration runs");
    url
}

fn tenant(number: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(number))
}

async fn note_insert(tx: &mut SqlTx<'_>, tenant: TenantId, id: i64, text: &str) -> StoreResult<()> {
    let params: [Value; 3] = [tenant.uuid().into(), id.into(), text.into()];
    tx.conn().execute(&NOTE_INSERT, &params).await.map(|_| ())
}

async fn note_texts(tx: &mut SqlTx<'_>) -> StoreResult<Vec<String>> {
    let rows = tx.conn().query(&NOTE_TEXTS, &[]).await?;
    rows.iter().map(|row| row.get(0)).collect()
}

/// Fails a test that would otherwise hang.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(Duration::from_secs(20), future).await;
    done.expect("it happens soon")
}

/// Two tests of one body.
macro_rules! on_both {
    ($name:ident, |$db:ident| async $body:block) => {
        $crate::tests::on_both!($name, |$db: Ground| async $body);
    };
    ($name:ident, |$db:ident: $kind:ident| async $body:block) => {
        mod $name {
            use super::*;

            async fn body($db: &$crate::tests::$kind) $body

            #[test]
            fn on_sqlite() {
                mainstay_testkit::run(async {
                    body(&$crate::tests::$kind::sqlite().await).await
                });
            }

            #[test]
            fn on_postgres() {
                mainstay_testkit::run(async {
                    body(&$crate::tests::$kind::postgres().await).await
                });
            }
        }
    };
}
use on_both;
