//! The write-ahead log is kept short by a thread of its own, so that no commit pays for a checkpoint.
//!
//! A checkpoint copies pages from the log into the database while commits go on. The log starts over only when all of
//! it has been copied, which a busy writer never lets happen. So above a bound one checkpoint follows the other until
//! little is left, and only then the writer waits: for that rest. A reader with an old snapshot can prevent it; then
//! the writer goes on and the log grows.

use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use mainstay_domain::StoreResult;
use rusqlite::{Connection, hooks::Wal as LogHandle};

use super::{error::map_error, open::open_writer};

/// Pages in the log from which it is to start over: 128 MiB.
pub(super) const PAGES_BOUND: u32 = 16_000;
/// Pages that are left to copy when the writer is asked to wait: 2 MiB.
const PAGES_REST: u32 = 256;
/// The longest that the writer waits. Readers do not make it longer: a checkpoint leaves what they hold back, so it ends
/// when the disk has taken the rest. A disk that takes longer than this is not waited for.
const WAIT: Duration = Duration::from_secs(5);
/// A log that has not grown for so long is copied whole and starts over. Its file stays as it is: commits that write over
/// what there is wait less for the disk than commits that make the file longer.
const IDLE: Duration = Duration::from_secs(2);
/// The checkpoint's own cache; it copies and needs next to none.
const CACHE_KIB: u32 = 256;

/// How long the log may be.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Pages that are worth a checkpoint: 1 MiB of the default. While they go to the disk, commits wait behind them: with
    /// 8 MiB 99 of 100 webhooks were answered within 12 ms at full load, with 1 MiB within 8 to 9, and not fewer in a second.
    checkpoint: u32,
    /// Pages from which it is to start over.
    bound: u32,
    /// Pages at which the writer waits whatever is left: 512 MiB of the default.
    max: u32,
}

impl Limits {
    fn new(bound: u32) -> Self {
        Self {
            checkpoint: (bound / 128).max(1),
            bound,
            max: bound * 4,
        }
    }
}

#[derive(Debug)]
struct State {
    /// Pages in the log after the last commit.
    pages: u32,
    /// A checkpoint runs when the log is longer than this.
    checkpoint_above: u32,
    /// The writer waits when the log is longer than this.
    wait_above: u32,
    /// The writer is waiting.
    waiting: bool,
    /// Whether anything was committed since the last look.
    busy: bool,
    closed: bool,
}

/// How long the log is, and who waits for whom because of it.
#[derive(Debug)]
pub(super) struct Wal {
    limits: Limits,
    state: Mutex<State>,
    /// For the checkpoint thread.
    work: Condvar,
    /// For the writer.
    room: Condvar,
}

impl Wal {
    /// Watches the log through the writer's connection and starts the checkpoint thread.
    pub(super) fn start(
        path: &Path,
        writer: &mut Connection,
        bound: u32,
    ) -> StoreResult<(Arc<Self>, JoinHandle<()>)> {
        let limits = Limits::new(bound);
        let wal = Arc::new(Self {
            limits,
            state: Mutex::new(State {
                pages: 0,
                checkpoint_above: limits.checkpoint,
                wait_above: limits.max,
                waiting: false,
                busy: false,
                closed: false,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
        });
        let watched = Arc::clone(&wal);
        let hook = move |_: &mut LogHandle, pages: i32| {
            watched.committed(u32::try_from(pages).unwrap_or(0));
            Ok(())
        };
        writer.wal_hook(Some(hook)).map_err(map_error)?;
        let connection = open_writer(path, CACHE_KIB)?;
        let own = Arc::clone(&wal);
        let thread = super::thread("mainstay-checkpoint", move || own.run(&connection))?;
        Ok((wal, thread))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn committed(&self, pages: u32) {
        let mut state = self.state();
        let was_empty = state.pages == 0;
        let started_over = pages < state.pages;
        state.pages = pages;
        state.busy = true;
        if started_over {
            state.checkpoint_above = self.limits.checkpoint;
            state.wait_above = self.limits.max;
        }
        if was_empty || pages > state.checkpoint_above {
            self.work.notify_one();
        }
    }

    /// Called by the writer before a transaction: waits while the log is too long and a checkpoint can help.
    pub(super) fn wait_for_room(&self) {
        let mut state = self.state();
        if state.pages <= state.wait_above || state.closed {
            return;
        }
        state.waiting = true;
        self.work.notify_one();
        let (mut state, _) = self
            .room
            .wait_timeout_while(state, WAIT, |state| state.waiting)
            .unwrap_or_else(PoisonError::into_inner);
        if state.waiting {
            state.waiting = false;
            state.wait_above = state.pages + self.limits.bound / 4;
        }
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.work.notify_all();
        self.room.notify_all();
    }

    fn run(&self, connection: &Connection) {
        loop {
            match self.next() {
                Next::Close => return,
                Next::Copy => self.copy(connection),
                Next::StartOver => self.start_over(connection),
            }
        }
    }

    fn next(&self) -> Next {
        let mut state = self.state();
        loop {
            if state.closed {
                return Next::Close;
            }
            if state.waiting || state.pages > state.checkpoint_above {
                return Next::Copy;
            }
            if state.pages == 0 {
                let woken = self.work.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.busy = false;
            let waited = self.work.wait_timeout(state, IDLE);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            if timeout.timed_out() && !state.busy && !state.closed {
                return Next::StartOver;
            }
        }
    }

    fn copy(&self, connection: &Connection) {
        let waited_for = self.state().waiting;
        let outcome = checkpoint(connection, "PASSIVE");
        let mut state = self.state();
        state.checkpoint_above = state.pages + self.limits.checkpoint;
        if waited_for {
            // All of the log is copied and the next commit starts it over, or a reader is in the way: then go on.
            state.wait_above = state.pages + self.limits.bound / 4;
            state.waiting = false;
            self.room.notify_one();
        }
        match outcome {
            Ok(done) if !waited_for && done.left == 0 && state.pages > self.limits.bound => {
                if state.pages.saturating_sub(done.pages) <= PAGES_REST {
                    state.wait_above = self.limits.bound;
                } else {
                    // What came meanwhile is less than what was copied: again at once.
                    state.checkpoint_above = self.limits.bound;
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, pages = state.pages, "the write-ahead log could not be copied");
            }
        }
    }

    fn start_over(&self, connection: &Connection) {
        match checkpoint(connection, "RESTART") {
            // Nothing was committed meanwhile, or else the next commit says how long the log is.
            Ok(done) if done.left == 0 => {
                let mut state = self.state();
                if !state.busy {
                    state.pages = 0;
                }
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the write-ahead log could not start over"),
        }
    }
}

enum Next {
    Close,
    Copy,
    StartOver,
}

/// What a checkpoint came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checkpoint {
    /// Pages in the log when it began.
    pub(super) pages: u32,
    /// Of them, those that it could not copy.
    pub(super) left: u32,
}

/// Runs a checkpoint. Another one under way at the same time leaves it nothing to do: then all of the log is left.
pub(super) fn checkpoint(connection: &Connection, mode: &'static str) -> StoreResult<Checkpoint> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    let row = connection.query_row(&sql, [], |row| {
        Ok((
            row.get::<_, i64>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, i64>(2)?,
        ))
    });
    let (blocked, pages, copied) = row.map_err(map_error)?;
    let pages = u32::try_from(pages).unwrap_or(0);
    let copied = match blocked {
        0 => u32::try_from(copied).unwrap_or(0),
        _ => 0,
    };
    Ok(Checkpoint {
        pages,
        left: pages.saturating_sub(copied).max(u32::from(blocked != 0)),
    })
}
