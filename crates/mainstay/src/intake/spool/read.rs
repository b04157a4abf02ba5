//! Reading a spool in its order, a batch at a time.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, path::PathBuf, sync::Arc};

use super::{Kind, Name, Place, Record, Segment, Shared, Spool, frame};

/// Records in one batch.
pub(super) const BATCH_RECORDS: usize = 500;
/// About how many bytes are read for one batch.
const BATCH_BYTES: u64 = 2 * 1024 * 1024;

/// The next records that are to be stored.
pub(super) struct Batch {
    /// The records; those of a form that this program does not know as their bytes.
    pub(super) records: Vec<Result<Record, Vec<u8>>>,
    /// Where it ends.
    pub(super) end: Place,
    /// Stretches in it that are no records.
    pub(super) gaps: Vec<Range<u64>>,
    /// Some of it may be stored already.
    pub(super) doubtful: bool,
}

/// Where to read.
struct Reading {
    path: PathBuf,
    name: Name,
    from: u64,
    to: u64,
    doubt: Place,
}

impl Spool {
    /// The next batch; `None`: there is none for now.
    pub(super) async fn next_batch(&self) -> io::Result<Option<Batch>> {
        let (reading, finished) = self.shared.front();
        self.remove(finished).await;
        let Some(reading) = reading else {
            return Ok(None);
        };
        let batch = tokio::task::spawn_blocking(move || reading.batch())
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))?;
        let mut state = self.shared.lock();
        if let Some(Ok(first)) = batch.records.first() {
            state.oldest = Some(first.received_at);
        }
        Ok(Some(batch))
    }
}

impl Shared {
    /// Where the oldest records stand, and the segments before them, of which nothing is left.
    fn front(self: &Arc<Self>) -> (Option<Reading>, Vec<Segment>) {
        let mut state = self.lock();
        let mut finished = Vec::new();
        loop {
            let Some(front) = state.segments.front() else {
                return (None, finished);
            };
            if state.offset < front.len {
                let reading = Reading {
                    path: self.path(front.name, Kind::Spool),
                    name: front.name,
                    from: state.offset,
                    to: front.len,
                    doubt: state.doubt,
                };
                return (Some(reading), finished);
            }
            // The last one goes when the spool is handed over: until then the writer may go on in it.
            if !front.sealed || state.segments.len() == 1 {
                return (None, finished);
            }
            if let Some(front) = state.segments.pop_front() {
                state.settle(&front);
                state.offset = 0;
                finished.push(front);
            }
        }
    }
}

impl Reading {
    fn batch(&self) -> io::Result<Batch> {
        let file = File::open(&self.path)?;
        let left = self.to - self.from;
        let mut bytes = self.read(&file, left.min(BATCH_BYTES))?;
        let whole = bytes.len() as u64 == left;
        if !whole && frame::first(&bytes, self.name.salt, self.from).is_none() {
            // One that is larger, or damage: what comes next may be anywhere.
            let claimed = frame::claimed(&bytes, self.name.salt).unwrap_or(left);
            bytes = self.read(&file, claimed.min(left))?;
            if frame::first(&bytes, self.name.salt, self.from).is_none() {
                bytes = self.read(&file, left)?;
            }
        }
        Ok(self.parsed(&bytes))
    }

    fn read(&self, file: &File, count: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count as usize];
        file.read_exact_at(&mut bytes, self.from)?;
        Ok(bytes)
    }

    /// The records up to the first stretch that is none, or, where it begins with one, those after it.
    fn parsed(&self, bytes: &[u8]) -> Batch {
        let (mut at, mut records, mut gaps) = (0, Vec::new(), Vec::new());
        while at < bytes.len() && records.len() < BATCH_RECORDS {
            let (rest, place) = (&bytes[at..], self.from + at as u64);
            if let Some(frame) = frame::first(rest, self.name.salt, place) {
                let payload = frame.payload;
                records.push(Record::decode(payload).ok_or_else(|| payload.to_vec()));
                at += frame.len();
            } else if records.is_empty() {
                let skipped = frame::resume(rest, self.name.salt, place).unwrap_or(rest.len());
                gaps.push(place..place + skipped as u64);
                at += skipped;
            } else {
                break;
            }
        }
        Batch {
            records,
            end: (self.name.number, self.from + at as u64),
            gaps,
            doubtful: (self.name.number, self.from) < self.doubt,
        }
    }
}
