//! The way to the disk: what a spool asks of it, so that tests can make it fail.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

/// Makes the files that a spool writes.
pub trait Disk: Send + Sync {
    /// A new, empty file that only its owner may read, whose name outlives a power cut.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>>;
}

/// A file that a spool writes.
pub trait Sink: Send {
    /// Writes all of these bytes at this place.
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Answers when everything that was written outlives a power cut.
    fn sync(&mut self) -> io::Result<()>;
    /// Makes the file as long as this.
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileSystem;

impl Disk for FileSystem {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        if let Some(folder) = path.parent() {
            folder_sync(folder)?;
        }
        Ok(Box::new(file))
    }
}

impl Sink for File {
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

/// Answers when names that were made, changed or removed in a folder outlive a power cut.
pub(in crate::intake) fn folder_sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
