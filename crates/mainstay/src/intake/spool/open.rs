//! Opening a spool: what the last process left is looked through, and what it had only half written is cut off.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use mainstay_domain::{Random, Timestamp};
use tokio::sync::Notify;

use super::{
    Kind, Name, Record, Segment, Shared, Spool, SpoolError, SpoolOptions, State, disk::folder_sync,
    frame, writer,
};

/// The file that is locked.
const LOCK: &str = "spool.lock";

impl Spool {
    /// Opens a spool, looks through what is in it, and starts its writer. Blocks: a full one is read once.
    pub fn open(options: SpoolOptions, random: Arc<dyn Random>) -> Result<Self, SpoolError> {
        let folder = options.folder.clone();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SpoolError::File { path, source }
        };
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&folder);
        made.map_err(failed(&folder))?;
        let lock = lock(&folder)?;
        let state = found(&folder).map_err(failed(&folder))?;
        folder_sync(&folder).map_err(failed(&folder))?;
        let shared = Arc::new(Shared {
            options,
            random,
            taking: AtomicBool::new(state.taking),
            state: Mutex::new(state),
            work: Condvar::new(),
            filled: Notify::new(),
            unreachable: AtomicBool::new(false),
            aside: Mutex::new(None),
            snapshot: Mutex::new(None),
        });
        if shared.taking.load(Ordering::Relaxed) {
            shared.filled.notify_one();
        }
        let own = Arc::clone(&shared);
        let writer = thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || {
                // The folder is ours for as long as the writer lives.
                let _lock = lock;
                writer::run(&own);
            })
            .map_err(failed(&folder))?;
        Ok(Self {
            shared,
            draining: tokio::sync::Mutex::new(()),
            writer: Some(writer),
        })
    }
}

fn lock(folder: &Path) -> Result<File, SpoolError> {
    let path = folder.join(LOCK);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let opened = options.open(&path);
    let locked = opened.map(|file| file.try_lock().map(|()| file));
    match locked {
        Ok(Ok(file)) => Ok(file),
        Ok(Err(TryLockError::WouldBlock)) => Err(SpoolError::InUse {
            path: folder.to_owned(),
        }),
        Ok(Err(TryLockError::Error(source))) | Err(source) => {
            Err(SpoolError::File { path, source })
        }
    }
}

/// What the files hold. All of it may be stored already.
fn found(folder: &Path) -> io::Result<State> {
    let mut names: Vec<(Name, Kind)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().to_str().and_then(Name::parse));
    }
    names.sort_unstable_by_key(|(name, _)| *name);
    let newest = names
        .iter()
        .rev()
        .find(|(_, kind)| *kind == Kind::Spool)
        .map(|(name, _)| *name);
    let mut state = State::default();
    for (name, kind) in &names {
        state.number_next = name.number.saturating_add(1);
        let path = folder.join(name.file(*kind));
        if *kind != Kind::Spool {
            state.bytes += fs::metadata(&path)?.len();
            continue;
        }
        let (segment, oldest, damaged) = examined(&path, *name, Some(*name) == newest)?;
        state.counts.damaged += damaged;
        if segment.len == 0 {
            fs::remove_file(&path)?;
            continue;
        }
        state.oldest = state.oldest.or(oldest);
        state.bytes += segment.len;
        state.counts.found += segment.records;
        state.doubt = (name.number, segment.len);
        state.segments.push_back(segment);
    }
    if !state.segments.is_empty() {
        state.taking = true;
        let since = state.oldest.unwrap_or(Timestamp::EPOCH);
        state.began = Some((since, super::SpoolCounts::default()));
        tracing::warn!(
            requests = state.counts.found,
            bytes = state.bytes,
            "the spool holds requests of an earlier run; they are stored first"
        );
    }
    Ok(state)
}

/// Looks through a segment: what it holds, when its first record came, and how often it is damaged. Of the newest one the end may be torn, which is cut off: it was never acknowledged.
fn examined(
    path: &Path,
    name: Name,
    newest: bool,
) -> io::Result<(Segment, Option<Timestamp>, u64)> {
    let bytes = fs::read(path)?;
    let scan = frame::scan(&bytes, name.salt);
    let mut segment = Segment::new(name);
    segment.sealed = true;
    segment.records = scan.records;
    segment.len = bytes.len() as u64;
    let file = path.display();
    let torn = segment.len - scan.end;
    let mut damaged = 0;
    if torn > 0 && newest {
        tracing::warn!(%file, bytes = torn, "the end of the spool was only half written and is cut off");
        let cut = OpenOptions::new().write(true).open(path)?;
        cut.set_len(scan.end)?;
        cut.sync_all()?;
        segment.len = scan.end;
    } else if torn > 0 {
        segment.damaged = true;
        damaged += 1;
        segment.gaps.push(scan.end..segment.len);
        tracing::error!(%file, from = scan.end, to = segment.len, "the end of a file of the spool cannot be read; the file is kept");
    }
    for gap in scan.gaps {
        let (from, to) = (gap.at.start, gap.at.end);
        if gap.synced || !newest {
            segment.damaged = true;
            damaged += 1;
            tracing::error!(%file, from, to, "a part of the spool cannot be read; the rest is stored, the file is kept");
        } else {
            tracing::warn!(%file, from, to, "a part of what was written to the spool last cannot be read");
        }
        segment.gaps.push(gap.at);
    }
    let first = frame::first(&bytes, name.salt, 0);
    let oldest = first.and_then(|frame| Some(Record::decode(frame.payload)?.received_at));
    Ok((segment, oldest, damaged))
}
