//! Power cuts for SQLite: runs the server over `tools/lossy.c` and takes away what it had not synced.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::dice::Dice;

/// Bytes of a record before its path: see `struct record` in `tools/lossy.c`.
const HEADER: usize = 48;
const MAGIC: u32 = 0x3159_534c;
/// A disk writes whole sectors; a page may be torn between them.
const SECTOR: usize = 512;

/// The file layer, built, with its log beside the data directory.
#[derive(Debug, Clone)]
pub struct Lossy {
    library: PathBuf,
    data: PathBuf,
    log: PathBuf,
    lie: bool,
}

/// What a power cut took.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Writes that were not synced.
    pub unsynced: usize,
    /// Of these, sectors that reached the disk all the same.
    pub sectors_kept: usize,
    /// Files that were never synced at all.
    pub files_gone: usize,
}

/// What survives of the writes that were not synced.
#[derive(Debug)]
pub enum Keep<'a> {
    /// Nothing.
    Nothing,
    /// Any sector with this probability: a disk keeps no order.
    Some(&'a Dice, f64),
}

impl Lossy {
    /// Compiles the layer into `work` and prepares the log for `data`. `lie`: syncs are answered and forgotten.
    pub fn build(work: &Path, data: &Path, lie: bool) -> anyhow::Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/lossy.c");
        let library = work.join("liblossy.so");
        let log = work.join("unsynced");
        fs::create_dir_all(&log)?;
        fs::create_dir_all(data)?;
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .arg(&library)
            .arg(&source)
            .args(["-ldl", "-lpthread"])
            .status()
            .context("the file layer needs a C compiler (cc)")?;
        ensure!(compiled.success(), "tools/lossy.c does not compile");
        Ok(Self {
            library,
            data: data.canonicalize()?,
            log: log.canonicalize()?,
            lie,
        })
    }

    /// What makes a process run over the layer.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let mut variables = vec![
            ("LD_PRELOAD", self.library.clone()),
            ("LOSSY_DIR", self.data.clone()),
            ("LOSSY_LOG", self.log.clone()),
        ];
        if self.lie {
            variables.push(("LOSSY_LIE", PathBuf::from("1")));
        }
        variables
    }

    /// Cuts the power: the process must be dead. Leaves the files as a disk would have them, and an empty log.
    pub fn cut(&self, keep: &Keep<'_>) -> anyhow::Result<Cut> {
        let mut cut = Cut::default();
        let mut inodes = BTreeMap::new();
        files_below(&self.data, &mut inodes)?;
        for entry in fs::read_dir(&self.log)? {
            let path = entry?.path();
            let Some(inode) = path
                .file_name()
                .and_then(|name| name.to_str()?.strip_suffix(".log")?.parse().ok())
            else {
                continue;
            };
            let records = records(&fs::read(&path)?);
            if let Some(file) = inodes.get(&inode) {
                file_restore(file, &records, keep, &mut cut)?;
                if !self.log.join(format!("{inode}.kept")).exists()
                    && records.first().is_some_and(is_birth)
                {
                    fs::remove_file(file)?;
                    cut.files_gone += 1;
                }
            }
        }
        for entry in fs::read_dir(&self.log)? {
            fs::remove_file(entry?.path())?;
        }
        for file in inodes
            .values()
            .filter(|file| file.to_string_lossy().ends_with("-shm"))
        {
            fs::remove_file(file)?;
        }
        Ok(cut)
    }
}

/// The first record of a file that is new: nothing before it, and nothing there.
const fn is_birth(record: &Record) -> bool {
    record.number == 0 && record.size_before == 0
}

fn files_below(directory: &Path, found: &mut BTreeMap<u64, PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_dir() {
            files_below(&entry.path(), found)?;
        } else if meta.is_file() {
            found.insert(meta.ino(), entry.path());
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Record {
    kind: u32,
    number: u64,
    offset: u64,
    size_before: u64,
    old: Vec<u8>,
    new: Vec<u8>,
}

const KIND_WRITE: u32 = 1;
const KIND_TRUNCATE: u32 = 2;
const KIND_SYNCED: u32 = 3;

/// Reads the log as far as it is whole: behind a torn record no write had begun.
fn records(mut bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some((record, rest)) = record(bytes) {
        records.push(record);
        bytes = rest;
    }
    records
}

fn record(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let header = bytes.get(..HEADER)?;
    let u32_at = |at: usize| Some(u32::from_ne_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_ne_bytes(header.get(at..at + 8)?.try_into().ok()?));
    if u32_at(0)? != MAGIC {
        return None;
    }
    let (old_len, new_len) = (u32_at(32)? as usize, u32_at(36)? as usize);
    let (path_len, check) = (u32_at(40)? as usize, u32_at(44)?);
    let whole = HEADER + path_len + old_len + new_len;
    let bytes_whole = bytes.get(..whole)?;
    let mut sum = 2_166_136_261_u32;
    for (at, byte) in bytes_whole.iter().enumerate() {
        let byte = if (44..48).contains(&at) { 0 } else { *byte };
        sum = (sum ^ u32::from(byte)).wrapping_mul(16_777_619);
    }
    let body = &bytes_whole[HEADER + path_len..];
    let record = Record {
        kind: u32_at(4)?,
        number: u64_at(8)?,
        offset: u64_at(16)?,
        size_before: u64_at(24)?,
        old: body[..old_len].to_vec(),
        new: body[old_len..].to_vec(),
    };
    (sum == check).then_some((record, &bytes[whole..]))
}

fn file_restore(
    path: &Path,
    records: &[Record],
    keep: &Keep<'_>,
    cut: &mut Cut,
) -> anyhow::Result<()> {
    let durable = records
        .iter()
        .filter(|record| record.kind == KIND_SYNCED)
        .map(|record| record.number)
        .max()
        .unwrap_or(0);
    let open: Vec<&Record> = records
        .iter()
        .filter(|record| {
            matches!(record.kind, KIND_WRITE | KIND_TRUNCATE) && record.number >= durable
        })
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).open(path)?;
    for record in open.iter().rev() {
        file.write_all_at(&record.old, record.offset)?;
        file.set_len(record.size_before)?;
    }
    cut.unsynced += open.len();
    if let Keep::Some(dice, share) = keep {
        for record in open.iter().filter(|record| record.kind == KIND_WRITE) {
            cut.sectors_kept += sectors_keep(&file, record, dice, *share)?;
        }
    }
    file.sync_all()?;
    Ok(())
}

fn sectors_keep(file: &File, record: &Record, dice: &Dice, share: f64) -> anyhow::Result<usize> {
    let mut kept = 0;
    for (at, sector) in record.new.chunks(SECTOR).enumerate() {
        if dice.chance(share) {
            file.write_all_at(sector, record.offset + (at * SECTOR) as u64)?;
            kept += 1;
        }
    }
    Ok(kept)
}
