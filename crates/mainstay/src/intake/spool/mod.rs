//! The spool: with the database gone, verified requests are kept in files of our own, synced before they are answered,
//! and stored in their order when it is back.
//!
//! What waits here is the request, not what was matched with it: it is matched with the bindings of the day when it is
//! stored. While anything waits every new request goes behind it. Requests stand in segments, in frames with checksums; a
//! segment goes when all of it is stored. There is no cursor on the disk: what a new process finds may be stored already,
//! so it is appended under the ids that it was answered with; see [`drain`].
//!
//! One lock guards all of the state, so that a request is either in the spool before it is handed over to the database,
//! or after it, and never beside it.

use std::{
    collections::VecDeque,
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use mainstay_domain::{Random, Timestamp};
use tokio::sync::{Notify, oneshot};

mod disk;
mod drain;
mod frame;
#[cfg(test)]
mod fuzz;
mod name;
mod open;
mod read;
mod record;
#[cfg(test)]
mod tests;
mod writer;

pub(in crate::intake) use disk::folder_sync;
pub use disk::{Disk, FileSystem, Sink};
pub use drain::DrainError;
pub(crate) use drain::run;
pub(crate) use record::Record;

use super::snapshot::SnapshotStatus;
use name::{Kind, Name};
use read::Batch;

/// Requests that may wait to be written: as many as may wait for a commit.
const WAITING_MAX: usize = 8_192;
/// How large a segment grows before the next one is begun.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
/// How long a request waits for its commit before it goes into the spool. Twice this is to be less than a second.
const PATIENCE: Duration = Duration::from_millis(400);

/// Where a spool is and what it may take.
#[derive(Clone)]
pub struct SpoolOptions {
    /// Its folder, on a disk that outlives the process and the machine. Made if it is missing.
    pub folder: PathBuf,
    /// The most that its files take together.
    pub max_bytes: u64,
    /// How large a segment grows before the next one is begun.
    pub segment_bytes: u64,
    /// How long a request waits for its commit before it is spooled.
    pub patience: Duration,
    /// Whether a snapshot of the sources is kept in the folder, for a start without the database. Written only while
    /// encryption at rest is on.
    pub snapshot: bool,
    /// How files are written.
    pub disk: Arc<dyn Disk>,
}

impl SpoolOptions {
    /// The defaults for this folder.
    pub fn new(folder: PathBuf, max_bytes: u64) -> Self {
        Self {
            folder,
            max_bytes,
            segment_bytes: SEGMENT_BYTES,
            patience: PATIENCE,
            snapshot: false,
            disk: Arc::new(FileSystem),
        }
    }
}

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Its folder, or a file in it.
    #[error("the spool {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the spool {path} is in use by another process")]
    InUse {
        /// Its folder.
        path: PathBuf,
    },
}

/// How a spool stands. Every record that was found or accepted is stored, set aside, lost or waiting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpoolStatus {
    /// Whether new requests go into it.
    pub taking: bool,
    /// Why the last write failed; none: it did not.
    pub failing: Option<String>,
    /// What became of its records since this process started.
    pub counts: SpoolCounts,
    /// Records that are to be stored.
    pub waiting: u64,
    /// When the oldest of them came.
    pub oldest: Option<Timestamp>,
    /// What its files take.
    pub bytes: u64,
    /// The most that they may take.
    pub max_bytes: u64,
    /// How the snapshot of the sources stands beside it; none: none is kept.
    pub snapshot: Option<SnapshotStatus>,
}

/// What became of a spool's records since this process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpoolCounts {
    /// In its files when the process started.
    pub found: u64,
    /// Written, synced and acknowledged.
    pub accepted: u64,
    /// In the database.
    pub stored: u64,
    /// Kept in files beside it: they cannot be stored as things are.
    pub set_aside: u64,
    /// Damaged on the disk after they had been written.
    pub lost: u64,
    /// Sent away since it was full, or could not be written.
    pub refused: u64,
    /// Stretches of its files that cannot be read; how many records stood in them is known only of those that were written
    /// or counted since the start, which are `lost`.
    pub damaged: u64,
}

impl SpoolCounts {
    /// Records that are to be stored.
    pub const fn waiting(&self) -> u64 {
        let settled = self.stored + self.set_aside + self.lost;
        (self.found + self.accepted).saturating_sub(settled)
    }
}

/// A time in which requests went into the spool, once it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Episode {
    /// When the first one came.
    pub(crate) since: Timestamp,
    /// When the last one was stored.
    pub(crate) until: Timestamp,
    /// How many were stored.
    pub(crate) stored: u64,
    /// How many were set aside.
    pub(crate) set_aside: u64,
    /// How many were lost to the disk.
    pub(crate) lost: u64,
}

/// What became of a request that was offered to the spool.
pub(crate) enum Offer {
    /// It is to be written: whether it is comes by this.
    Taken {
        /// Resolves once it is synced; an error: it was not.
        written: oneshot::Receiver<bool>,
        /// Whether it is the first one.
        began: bool,
    },
    /// Nothing waits in the spool: the database is to be asked.
    Pass,
    /// There is no room.
    Full,
}

/// Where in the spool: a segment's number, and how far into it.
type Place = (u64, u64);

struct Waiting {
    payload: Vec<u8>,
    received_at: Timestamp,
    written: oneshot::Sender<bool>,
}

#[derive(Debug)]
struct Segment {
    name: Name,
    /// Synced bytes.
    len: u64,
    records: u64,
    drained: u64,
    /// Nothing is written to it any more.
    sealed: bool,
    damaged: bool,
    /// Stretches without a record that are known.
    gaps: Vec<Range<u64>>,
}

#[derive(Default)]
struct State {
    taking: bool,
    stop: bool,
    /// The writer is to close its segment.
    retire: bool,
    queue: VecDeque<Waiting>,
    /// What the queue, and what is being written, will take.
    queued_bytes: u64,
    /// Records that are being written.
    writing: usize,
    /// Oldest first.
    segments: VecDeque<Segment>,
    /// How far the oldest one is drained.
    offset: u64,
    /// What stands before this place may be stored already.
    doubt: Place,
    number_next: u64,
    /// What all files take.
    bytes: u64,
    counts: SpoolCounts,
    oldest: Option<Timestamp>,
    failing: Option<String>,
    /// When the current episode began, and the counts then.
    began: Option<(Timestamp, SpoolCounts)>,
}

struct Shared {
    options: SpoolOptions,
    random: Arc<dyn Random>,
    state: Mutex<State>,
    /// For the writer: there is something to do.
    work: Condvar,
    /// For the drain: something was written.
    filled: Notify,
    /// A copy of the state's, for who asks before every request.
    taking: AtomicBool,
    /// The database did not answer when it was last asked.
    unreachable: AtomicBool,
    aside: Mutex<Option<writer::Open>>,
    snapshot: Mutex<Option<SnapshotStatus>>,
}

/// An open spool, which no other process has.
pub struct Spool {
    shared: Arc<Shared>,
    /// One drains at a time.
    draining: tokio::sync::Mutex<()>,
    writer: Option<thread::JoinHandle<()>>,
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.work.notify_all();
        if let Some(writer) = self.writer.take() {
            // Who comes next must find the folder free. A writer that has panicked has let go of it as well.
            drop(writer.join());
        }
    }
}

impl Spool {
    /// How it stands.
    pub fn status(&self) -> SpoolStatus {
        let state = self.shared.lock();
        SpoolStatus {
            taking: state.taking,
            failing: state.failing.clone(),
            counts: state.counts,
            waiting: state.counts.waiting(),
            oldest: state.oldest,
            bytes: state.bytes,
            max_bytes: self.shared.options.max_bytes,
            snapshot: self.shared.snapshot().clone(),
        }
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        &self.shared.options.folder
    }

    /// Whether a snapshot of the sources is kept in it.
    pub(super) fn snapshots(&self) -> bool {
        self.shared.options.snapshot
    }

    /// Notes that the snapshot was written, or why not.
    pub(super) fn snapshot_note(&self, at: Timestamp, failing: Option<String>) {
        let mut snapshot = self.shared.snapshot();
        let before = snapshot.as_ref().and_then(|known| known.taken_at);
        *snapshot = Some(SnapshotStatus {
            taken_at: match failing {
                None => Some(at),
                Some(_) => before,
            },
            used: false,
            failing,
        });
    }

    /// Notes that the sources are known from the snapshot.
    pub(super) fn snapshot_used(&self, status: SnapshotStatus) {
        *self.shared.snapshot() = Some(status);
    }

    /// From now on requests come here, without the database being asked first: there is none.
    pub(super) fn begin(&self, now: Timestamp) {
        let mut state = self.shared.lock();
        if !state.taking {
            state.taking = true;
            state.began = Some((now, state.counts));
            self.shared.taking.store(true, Ordering::Release);
        }
        self.set_unreachable(true);
    }

    /// Whether new requests go into it, as far as can be said without its lock.
    pub(crate) fn taking(&self) -> bool {
        self.shared.taking.load(Ordering::Acquire)
    }

    /// Whether it would take requests.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.shared.lock();
        let bytes = state.bytes + state.queued_bytes;
        !state.stop && state.failing.is_none() && bytes < self.shared.options.max_bytes
    }

    /// Whether the database did not answer when it was last asked.
    pub(crate) fn unreachable(&self) -> bool {
        self.shared.unreachable.load(Ordering::Relaxed)
    }

    /// Notes whether the database answers.
    fn set_unreachable(&self, unreachable: bool) {
        self.shared
            .unreachable
            .store(unreachable, Ordering::Relaxed);
    }

    /// How long a request waits for its commit before it is spooled.
    pub(crate) fn patience(&self) -> Duration {
        self.shared.options.patience
    }

    /// Takes a request where others wait already, or, when the database did not take it, in any case.
    pub(crate) fn offer(&self, record: &Record, now: Timestamp, failed: bool) -> Offer {
        let payload = record.encode();
        let size = (frame::HEAD + payload.len()) as u64;
        let mut state = self.shared.lock();
        if !state.taking && !failed {
            return Offer::Pass;
        }
        let bytes = state.bytes + state.queued_bytes + size;
        if state.stop || state.queue.len() >= WAITING_MAX || bytes > self.shared.options.max_bytes {
            state.counts.refused += 1;
            return Offer::Full;
        }
        let began = !state.taking;
        if began {
            state.taking = true;
            state.began = Some((now, state.counts));
            self.shared.taking.store(true, Ordering::Release);
            self.set_unreachable(true);
        }
        let (answer, written) = oneshot::channel();
        state.queued_bytes += size;
        state.queue.push_back(Waiting {
            payload,
            received_at: record.received_at,
            written: answer,
        });
        drop(state);
        self.shared.work.notify_all();
        Offer::Taken { written, began }
    }

    /// Resolves when something was written since this last resolved.
    async fn filled(&self) {
        self.shared.filled.notified().await;
    }

    /// From now on requests go to the database again, if nothing is left here: decided under the lock that every offer
    /// takes. Answers how it went.
    async fn hand_over(&self, now: Timestamp) -> Option<Episode> {
        let (finished, episode) = {
            let mut state = self.shared.lock();
            if !state.taking || !state.is_empty() {
                return None;
            }
            state.taking = false;
            state.retire = true;
            state.oldest = None;
            self.shared.taking.store(false, Ordering::Release);
            let finished: Vec<Segment> = std::mem::take(&mut state.segments).into();
            for segment in &finished {
                state.settle(segment);
            }
            state.offset = 0;
            let (since, before) = state.began.take().unwrap_or((now, state.counts));
            let counts = state.counts;
            let episode = Episode {
                since,
                until: now,
                stored: counts.stored - before.stored,
                set_aside: counts.set_aside - before.set_aside,
                lost: counts.lost - before.lost,
            };
            (finished, episode)
        };
        self.shared.work.notify_all();
        self.remove(finished).await;
        Some(episode)
    }

    /// Removes segments that are drained. One that was damaged is kept for who wants to look at it.
    async fn remove(&self, finished: Vec<Segment>) {
        if finished.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let removed = tokio::task::spawn_blocking(move || shared.remove(&finished)).await;
        if let Err(error) = removed {
            tracing::error!(%error, "drained segments of the spool could not be removed");
        }
    }

    /// Keeps records apart that cannot be stored as things are.
    async fn set_aside(&self, payloads: Vec<Vec<u8>>) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.set_aside(&payloads))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Notes what became of a batch.
    fn advance(&self, batch: &Batch, stored: u64, set_aside: u64) {
        let mut state = self.shared.lock();
        state.counts.stored += stored;
        state.counts.set_aside += set_aside;
        state.offset = batch.end.1;
        let mut damaged = 0;
        if let Some(front) = state.segments.front_mut() {
            front.drained += batch.records.len() as u64;
            for gap in batch.gaps.iter().filter(|gap| !front.gaps.contains(gap)) {
                damaged += 1;
                front.damaged = true;
                let file = front.name.file(Kind::Spool);
                tracing::error!(
                    file,
                    from = gap.start,
                    to = gap.end,
                    "a part of the spool cannot be read any more; the file is kept"
                );
            }
        }
        state.counts.damaged += damaged;
        if state.counts.waiting() == 0 {
            state.oldest = None;
        }
    }

    /// Notes that nobody knows what became of a batch.
    fn doubt(&self, batch: &Batch) {
        let mut state = self.shared.lock();
        state.doubt = state.doubt.max(batch.end);
    }
}

impl State {
    /// Whether everything that was accepted is drained, and nothing is on its way.
    fn is_empty(&self) -> bool {
        let drained = match self.segments.len() {
            0 => true,
            1 => self
                .segments
                .front()
                .is_none_or(|one| one.len <= self.offset),
            _ => false,
        };
        self.queue.is_empty() && self.writing == 0 && drained
    }

    /// Notes that all of a segment is drained: what was counted in it and did not come out is lost.
    fn settle(&mut self, segment: &Segment) {
        self.counts.lost += segment.records.saturating_sub(segment.drained);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self) -> MutexGuard<'_, Option<SnapshotStatus>> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: Name, kind: Kind) -> PathBuf {
        self.options.folder.join(name.file(kind))
    }

    /// A name that no file has had since the folder was empty.
    fn name_new(&self) -> Name {
        let mut salt = [0; 8];
        self.random.fill(&mut salt);
        let mut state = self.lock();
        let number = state.number_next;
        state.number_next += 1;
        Name {
            number,
            salt: u64::from_le_bytes(salt),
        }
    }

    fn remove(&self, finished: &[Segment]) {
        for segment in finished {
            let path = self.path(segment.name, Kind::Spool);
            let gone = match segment.damaged {
                true => std::fs::rename(&path, self.path(segment.name, Kind::Damaged)),
                false => std::fs::remove_file(&path),
            };
            match gone {
                Ok(()) if !segment.damaged => {
                    let mut state = self.lock();
                    state.bytes = state.bytes.saturating_sub(segment.len);
                }
                Ok(()) => {}
                // The next start finds it, and that all of it is stored.
                Err(error) => not_removed(&path, &error),
            }
        }
        if let Err(error) = folder_sync(&self.options.folder) {
            not_removed(&self.options.folder, &error);
        }
    }

    fn set_aside(&self, payloads: &[Vec<u8>]) -> io::Result<()> {
        let mut aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = match aside.take() {
            Some(file) => file,
            None => writer::Open::create(self, Kind::Aside)?,
        };
        let written = file.append(payloads.iter().map(|payload| &payload[..]))?;
        self.lock().bytes += written;
        *aside = Some(file);
        Ok(())
    }
}

fn not_removed(path: &Path, error: &io::Error) {
    tracing::warn!(path = %path.display(), %error, "a drained segment of the spool could not be removed");
}
