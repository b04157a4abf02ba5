//! The data directory: one process at a time, readable by its owner only.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::setup::{SetupError, SetupResult, file_error};

/// The name of the database's file.
const DATABASE: &str = "mainstay.db";
/// The name of the file that is locked.
const LOCK: &str = "mainstay.lock";

/// A data directory, locked unless it was opened [`DataDirectory::beside`] its owner. The lock goes when this is dropped
/// or released, and with the process.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    lock: Mutex<Option<File>>,
}

impl DataDirectory {
    /// Makes the directory if it is missing and locks it; refused while another process holds it.
    pub fn lock(path: &Path) -> SetupResult<Self> {
        let exists = path.is_dir();
        if !exists {
            let mut builder = DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(path);
            made.map_err(file_error("cannot make the directory", path))?;
        }
        let file = path.join(LOCK);
        let mut lock = private_file(&file).map_err(file_error("cannot open", &file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(SetupError::Locked {
                    path: path.to_owned(),
                    holder: holder(&mut lock),
                });
            }
            Err(TryLockError::Error(source)) => {
                return Err(file_error("cannot lock", &file)(source));
            }
        }
        sign(&mut lock).map_err(file_error("cannot write", &file))?;
        Ok(Self {
            path: path.to_owned(),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// The same, but waits for as long as another process holds it: on a thread that may wait.
    pub fn lock_when_free(path: &Path) -> SetupResult<Self> {
        let file = path.join(LOCK);
        let mut lock = private_file(&file).map_err(file_error("cannot open", &file))?;
        lock.lock().map_err(file_error("cannot lock", &file))?;
        sign(&mut lock).map_err(file_error("cannot write", &file))?;
        Ok(Self {
            path: path.to_owned(),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// A directory that another process may be using, for reading what is in it: a backup, a look.
    pub fn beside(path: &Path) -> SetupResult<Self> {
        let directory = Self {
            path: path.to_owned(),
            lock: Mutex::new(None),
        };
        let file = directory.database();
        file.metadata()
            .map_err(file_error("there is no database yet:", &file))?;
        Ok(directory)
    }

    /// Fails unless this process has locked the directory.
    pub(crate) fn require_lock(&self) -> SetupResult<()> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        match *lock {
            Some(_) => Ok(()),
            None => Err(SetupError::Locked {
                path: self.path.clone(),
                holder: "(not asked)".to_owned(),
            }),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database's file.
    pub fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Makes the database's file, readable by its owner only; SQLite gives the files beside it the same mode.
    pub(crate) fn database_prepare(&self) -> SetupResult<PathBuf> {
        let path = self.database();
        private_file(&path).map_err(file_error("cannot open", &path))?;
        Ok(path)
    }

    /// Gives the lock up.
    pub fn release(&self) {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.take();
    }
}

/// Opens a file for reading and writing, made with mode 0600.
fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).open(path)
}

fn sign(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    lock.write_all(std::process::id().to_string().as_bytes())
}

fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    let read = lock.take(20).read_to_string(&mut text);
    match read {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "(unknown)".to_owned(),
    }
}

/// Removes a database with the files that SQLite keeps beside it.
pub(crate) fn database_remove(path: &Path) -> SetupResult<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let file = PathBuf::from(name);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(file_error("cannot remove", &file)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_in_use_can_be_read_beside_and_not_changed() {
        let scratch = tempfile::tempdir().expect("a directory");
        assert!(
            DataDirectory::beside(scratch.path()).is_err(),
            "nothing is there"
        );
        let owner = DataDirectory::lock(scratch.path()).expect("locked");
        owner.database_prepare().expect("a file");
        let beside = DataDirectory::beside(scratch.path()).expect("readable");
        assert!(beside.require_lock().is_err());
        assert!(owner.require_lock().is_ok());
    }

    #[test]
    fn a_directory_is_locked_once_and_the_error_names_the_holder() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = DataDirectory::lock(dir.path()).expect("the first lock");
        let error = DataDirectory::lock(dir.path()).expect_err("the second is refused");
        assert!(error.to_string().contains(&std::process::id().to_string()));
        first.release();
        DataDirectory::lock(dir.path()).expect("free again");
    }

    #[test]
    fn nobody_else_may_read_the_files() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        let directory = DataDirectory::lock(&data).expect("locked");
        let database = directory.database_prepare().expect("made");
        let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode(&data), 0o700);
        assert_eq!(mode(&database), 0o600);
    }
}
