//! One transaction that waits for its turn, and how its body is run: polled once, on this thread, to its end.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use mainstay_domain::{Scope, StoreError, StoreResult, store::Erased, vault::Vault};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{conn::SqliteConn, open::Deadline};
use crate::tx::{Body, Dialect, SqlTx};

/// One transaction that waits for its turn.
pub(super) struct Member {
    pub(super) scope: Scope,
    pub(super) body: Body,
    pub(super) vault: Arc<Vault>,
    pub(super) reply: oneshot::Sender<StoreResult<Erased>>,
}

/// What travels to a thread of the store.
pub(super) enum Message {
    Run(Member),
    /// Finish what came before, then stop. The sender is dropped when that is done.
    Close(oneshot::Sender<()>),
}

impl Member {
    /// Runs the body. A panic of it is a defect of the caller's and ends nothing but this transaction.
    pub(super) fn run(
        &self,
        connection: &mut Connection,
        deadline: &Deadline,
    ) -> StoreResult<Erased> {
        let run = AssertUnwindSafe(|| {
            let mut tx = SqlTx {
                scope: self.scope,
                conn: Dialect::Sqlite(SqliteConn::new(connection, deadline)),
                vault: Arc::clone(&self.vault),
                keys: Vec::new(),
            };
            let mut future = (self.body)(&mut tx);
            match future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
            {
                Poll::Ready(result) => result,
                Poll::Pending => Err(StoreError::Bug(
                    "a transaction awaited something other than its own operations".into(),
                )),
            }
        });
        catch_unwind(run)
            .unwrap_or_else(|_| Err(StoreError::Bug("a transaction's body panicked".into())))
    }

    /// Nobody waits for the answer any more.
    pub(super) fn abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Releases the answer.
    pub(super) fn answer(self, result: StoreResult<Erased>) {
        // The caller may be gone; then nobody wants to know.
        let _ = self.reply.send(result);
    }
}

/// The same error once more, for another member of the batch.
pub(super) fn copy(error: &StoreError) -> StoreError {
    match error {
        StoreError::Conflict { what } => StoreError::Conflict { what },
        StoreError::Reference { what } => StoreError::Reference { what },
        StoreError::ConfigChanged => StoreError::ConfigChanged,
        StoreError::OutOfScope => StoreError::OutOfScope,
        StoreError::Unavailable(text) => StoreError::Unavailable(text.clone()),
        StoreError::Timeout => StoreError::Timeout,
        StoreError::Full => StoreError::Full,
        StoreError::Corrupt(text) => StoreError::Corrupt(text.clone()),
        StoreError::Erased => StoreError::Erased,
        StoreError::Bug(text) => StoreError::Bug(text.clone()),
    }
}
