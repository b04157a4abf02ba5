//! The port on SQLite.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use mainstay_domain::{
    NodeId, Scope, Store, StoreError, StoreResult,
    store::{BoxFuture, Database, Erased, Lease, Table, Work},
    vault::Vault,
};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    directory::DataDirectory,
    member::{Member, Message},
    open::{Deadline, open_writer},
    readers, statement,
    wal::{PAGES_BOUND, Wal, checkpoint},
    writer::Writer,
};
use crate::{
    migrate::Migrator,
    setup::SetupResult,
    tx::{Body, answer, body, port},
};

/// Sizes and limits. The defaults keep the process under 100 MiB.
#[derive(Debug, Clone, Copy)]
pub struct SqliteOptions {
    /// Threads that read.
    pub readers: usize,
    /// KiB of pages that the writer holds in memory.
    pub writer_cache_kib: u32,
    /// KiB of pages that each reader holds in memory.
    pub reader_cache_kib: u32,
    /// How long a transaction's statements may take.
    pub statement_timeout: Duration,
    /// How long a person's own statement may take.
    pub query_timeout: Duration,
    /// Transactions that may wait for the writer; more wait outside.
    pub writes_waiting_max: usize,
    /// Pages of 8 KiB in the write-ahead log from which it is to start over. It is never much longer than four times that,
    /// unless a reader is in the way.
    pub log_pages: u32,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            readers: 4,
            writer_cache_kib: 16 * 1_024,
            reader_cache_kib: 2 * 1_024,
            statement_timeout: Duration::from_secs(30),
            query_timeout: Duration::from_secs(10),
            writes_waiting_max: 4_096,
            log_pages: PAGES_BOUND,
        }
    }
}

/// The store on SQLite. One process at a time.
pub struct SqliteStore {
    writes: mpsc::Sender<Message>,
    reads: mpsc::Sender<Message>,
    woken: Notify,
    path: PathBuf,
    /// People's statements: one at a time.
    statements: Arc<tokio::sync::Mutex<()>>,
    query_timeout: Duration,
    directory: Arc<DataDirectory>,
    vault: Arc<Vault>,
}

impl SqliteStore {
    /// Locks the directory and opens the database in it, which must have been migrated.
    pub fn open(path: &Path, options: SqliteOptions) -> SetupResult<Self> {
        Self::open_locked(Arc::new(DataDirectory::lock(path)?), options)
    }

    /// Opens the database in a directory that this process has locked already.
    pub fn open_locked(directory: Arc<DataDirectory>, options: SqliteOptions) -> SetupResult<Self> {
        Self::open_at(directory, options, Migrator::embedded())
    }

    /// The same, for a database that has these migrations.
    pub(crate) fn open_at(
        directory: Arc<DataDirectory>,
        options: SqliteOptions,
        migrator: Migrator,
    ) -> SetupResult<Self> {
        directory.require_here()?;
        let path = directory.database_prepare()?;
        let mut connection = open_writer(&path, options.writer_cache_kib)?;
        migrator.check_sqlite(&connection)?;
        let deadline = Deadline::watch(&mut connection)?;
        lease_forget(&connection)?;
        let (wal, checkpoints) = Wal::start(&path, &mut connection, options.log_pages)?;
        let (writes, queue) = mpsc::channel(options.writes_waiting_max);
        let readers = readers::start(
            &path,
            options.readers,
            options.reader_cache_kib,
            options.statement_timeout,
        )?;
        let writer = Writer {
            connection,
            deadline,
            queue,
            wal: Arc::clone(&wal),
            statement_timeout: options.statement_timeout,
            stopping: Vec::new(),
        };
        let held = Arc::clone(&directory);
        let reads = readers.queue.clone();
        super::thread("mainstay-writer", move || {
            finish(writer, &wal, checkpoints, readers, &held);
        })?;
        Ok(Self {
            writes,
            reads,
            woken: Notify::new(),
            path,
            statements: Arc::default(),
            query_timeout: options.query_timeout,
            directory,
            vault: Vault::off(),
        })
    }

    /// Seals and opens values with these keys.
    pub fn with_vault(self, vault: Arc<Vault>) -> Self {
        Self { vault, ..self }
    }

    /// The locked data directory, for backups of the running store.
    pub fn directory(&self) -> &Arc<DataDirectory> {
        &self.directory
    }

    /// Runs a body on the writer's thread.
    pub(crate) async fn write(&self, scope: Scope, body: Body) -> StoreResult<Erased> {
        send(&self.writes, scope, body, &self.vault).await
    }

    /// Runs a body on a reader's thread.
    pub(crate) async fn read(&self, scope: Scope, body: Body) -> StoreResult<Erased> {
        send(&self.reads, scope, body, &self.vault).await
    }
}

async fn send(
    queue: &mpsc::Sender<Message>,
    scope: Scope,
    body: Body,
    vault: &Arc<Vault>,
) -> StoreResult<Erased> {
    let (reply, result) = oneshot::channel();
    let member = Member {
        scope,
        body,
        vault: Arc::clone(vault),
        reply,
    };
    let sent = queue.send(Message::Run(member)).await;
    sent.map_err(|_| closed())?;
    result.await.map_err(|_| closed())?
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

/// The lock on the directory says that no other process lives: what an earlier one held is free.
fn lease_forget(connection: &rusqlite::Connection) -> StoreResult<()> {
    connection
        .execute("UPDATE lease SET expires_at = 0", [])
        .map(|_| ())
        .map_err(super::map_error)
}

/// The writer's thread: works to the end, then puts everything away in order.
fn finish(
    writer: Writer,
    wal: &Wal,
    checkpoints: JoinHandle<()>,
    readers: readers::Readers,
    directory: &Arc<DataDirectory>,
) {
    let (connection, stopping) = writer.run();
    wal.close();
    let readers::Readers { queue, threads } = readers;
    for _ in &threads {
        // Fails when that thread is gone already.
        let (done, _) = oneshot::channel();
        let _ = queue.blocking_send(Message::Close(done));
    }
    for thread in threads.into_iter().chain([checkpoints]) {
        if thread.join().is_err() {
            tracing::error!("a thread of the store panicked");
        }
    }
    if let Err(error) = checkpoint(&connection, "TRUNCATE") {
        tracing::warn!(%error, "the write-ahead log could not be emptied at the end");
    }
    drop(connection);
    // Whoever opened the store in a directory that was locked already goes on holding it: only this thread and the
    // store itself have it otherwise.
    if Arc::strong_count(directory) <= 2 {
        directory.release();
    }
    drop(stopping);
}

impl Store for SqliteStore {
    fn database(&self) -> Database {
        Database::Sqlite
    }

    fn transact_erased(&self, scope: Scope, work: Work) -> BoxFuture<'_, StoreResult<Erased>> {
        Box::pin(self.write(scope, port(work)))
    }

    fn read_erased(&self, scope: Scope, work: Work) -> BoxFuture<'_, StoreResult<Erased>> {
        Box::pin(self.read(scope, port(work)))
    }

    fn query(
        &self,
        scope: Scope,
        statement: String,
        rows_max: usize,
    ) -> BoxFuture<'_, StoreResult<Table>> {
        Box::pin(async move {
            // No database can hold a person's own statement to one tenant here.
            if scope.tenant().is_some() {
                return Err(StoreError::OutOfScope);
            }
            let one = Arc::clone(&self.statements).lock_owned().await;
            let (path, limit) = (self.path.clone(), self.query_timeout);
            let (reply, result) = oneshot::channel();
            super::thread("mainstay-statement", move || {
                let _ = reply.send(statement::run(&path, &statement, rows_max, limit));
                drop(one);
            })?;
            result.await.map_err(|_| closed())?
        })
    }

    fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    fn wake(&self) {
        self.woken.notify_one();
    }

    fn woken(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.woken.notified())
    }

    fn lease_take(
        &self,
        name: &'static str,
        holder: NodeId,
        ttl: Duration,
    ) -> BoxFuture<'_, StoreResult<Option<Lease>>> {
        let take = body(move |tx| Box::pin(tx.lease_take(name, holder, ttl)));
        Box::pin(async move { answer(self.write(Scope::System("lease"), take).await?) })
    }

    fn lease_release(&self, name: &'static str, holder: NodeId) -> BoxFuture<'_, StoreResult<()>> {
        let release = body(move |tx| Box::pin(tx.lease_release(name, holder)));
        Box::pin(async move { answer(self.write(Scope::System("lease"), release).await?) })
    }

    fn lease_given_up(&self) -> BoxFuture<'_, ()> {
        // There is no other node.
        Box::pin(std::future::pending())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let (done, stopped) = oneshot::channel();
            if self.writes.send(Message::Close(done)).await.is_ok() {
                // Resolves, with an error, when the thread has let go of it.
                let _ = stopped.await;
            }
        })
    }
}
