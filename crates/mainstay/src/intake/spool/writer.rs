//! The writer: one thread that writes what waits, syncs once for all of it, and only then lets it be acknowledged.
//!
//! No timer: while one sync is under way the next batch gathers. A batch that cannot be written as a whole is cut off
//! again, and none of it is acknowledged.

use std::{io, sync::Arc};

use super::{Disk, Kind, Name, Segment, Shared, Sink, Waiting, frame};

/// Records written with one sync.
const BATCH_RECORDS: usize = 1_024;
/// About how many bytes are written with one sync.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// A file that is written.
pub(super) struct Open {
    name: Name,
    /// Bytes that are synced.
    len: u64,
    sink: Box<dyn Sink>,
    /// It may not be written to any more.
    spoilt: bool,
}

impl Open {
    pub(super) fn create(shared: &Shared, kind: Kind) -> io::Result<Self> {
        let name = shared.name_new();
        let disk: &Arc<dyn Disk> = &shared.options.disk;
        Ok(Self {
            name,
            len: 0,
            sink: disk.create(&shared.path(name, kind))?,
            spoilt: false,
        })
    }

    /// Writes records and syncs; how many bytes. After an error nothing of them is there.
    pub(super) fn append<'a>(
        &mut self,
        payloads: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<u64> {
        let mut bytes = Vec::new();
        for payload in payloads {
            let at = self.len + bytes.len() as u64;
            frame::put(&mut bytes, self.name.salt, at, self.len, payload);
        }
        let written = self.sink.write(self.len, &bytes);
        let synced = match &written {
            Ok(()) => self.sink.sync(),
            Err(_) => Ok(()),
        };
        // After a sync that failed nobody knows what a later one would say of the same file.
        self.spoilt |= synced.is_err();
        if let Err(error) = written.and(synced) {
            let cut = self.sink.cut(self.len).and_then(|()| self.sink.sync());
            if let Err(problem) = cut {
                tracing::error!(%problem, "what was half written to the spool could not be cut off");
                self.spoilt = true;
            }
            return Err(error);
        }
        self.len += bytes.len() as u64;
        Ok(bytes.len() as u64)
    }
}

/// When the writer ends, however it does, nobody may wait for it.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.stop = true;
        state.queue.clear();
    }
}

/// Writes until the spool is closed.
pub(super) fn run(shared: &Shared) {
    let _ended = Ended(shared);
    let mut open = None;
    while let Some(batch) = next(shared, &mut open) {
        let written = write(shared, &mut open, &batch);
        let ok = written.is_ok();
        settle(shared, &mut open, &batch, written);
        for waiting in batch {
            // Who has gone away will send again and find a duplicate.
            let _ = waiting.written.send(ok);
        }
        shared.filled.notify_one();
    }
}

/// Waits for records; `None`: the spool is closed.
fn next(shared: &Shared, open: &mut Option<Open>) -> Option<Vec<Waiting>> {
    let mut state = shared.lock();
    loop {
        if state.stop {
            return None;
        }
        if std::mem::take(&mut state.retire) {
            *open = None;
        }
        if !state.queue.is_empty() {
            break;
        }
        state = match shared.work.wait(state) {
            Ok(state) => state,
            Err(poisoned) => poisoned.into_inner(),
        };
    }
    let mut bytes = 0;
    let count = state
        .queue
        .iter()
        .take(BATCH_RECORDS)
        .take_while(|waiting| {
            let fits = bytes < BATCH_BYTES;
            bytes += waiting.payload.len();
            fits
        })
        .count();
    let batch: Vec<Waiting> = state.queue.drain(..count).collect();
    state.writing = batch.len();
    Some(batch)
}

fn write(shared: &Shared, open: &mut Option<Open>, batch: &[Waiting]) -> io::Result<u64> {
    let file = match open {
        Some(file) => file,
        None => open.insert(Open::create(shared, Kind::Spool)?),
    };
    file.append(batch.iter().map(|waiting| &waiting.payload[..]))
}

/// Notes how it went, before anybody is told.
fn settle(shared: &Shared, open: &mut Option<Open>, batch: &[Waiting], written: io::Result<u64>) {
    let size: usize = batch
        .iter()
        .map(|waiting| frame::HEAD + waiting.payload.len())
        .sum();
    let full = |file: &Open| file.spoilt || file.len >= shared.options.segment_bytes;
    let sealed = open.as_ref().is_some_and(full);
    let mut state = shared.lock();
    state.writing = 0;
    state.queued_bytes = state.queued_bytes.saturating_sub(size as u64);
    match written {
        Ok(bytes) => {
            state.bytes += bytes;
            state.counts.accepted += batch.len() as u64;
            state.failing = None;
            if state.oldest.is_none() {
                state.oldest = batch.first().map(|first| first.received_at);
            }
            if let Some(file) = open {
                match state.segments.back_mut() {
                    Some(last) if last.name == file.name => {}
                    _ => state.segments.push_back(Segment::new(file.name)),
                }
                if let Some(last) = state.segments.back_mut() {
                    last.len = file.len;
                    last.records += batch.len() as u64;
                }
            }
        }
        Err(error) => {
            tracing::error!(%error, "the spool cannot be written; requests are answered 503");
            state.counts.refused += batch.len() as u64;
            state.failing = Some(error.to_string());
        }
    }
    if sealed && let Some(file) = open.take() {
        if let Some(last) = state.segments.back_mut()
            && last.name == file.name
        {
            last.sealed = true;
        } else {
            drop(state);
            // Nothing in it was ever acknowledged.
            let path = shared.path(file.name, Kind::Spool);
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "an empty file of the spool stays");
            }
        }
    }
}

impl Segment {
    pub(super) const fn new(name: Name) -> Self {
        Self {
            name,
            len: 0,
            records: 0,
            drained: 0,
            sealed: false,
            damaged: false,
            gaps: Vec::new(),
        }
    }
}
