//! Files that must be on the disk before anybody is told of them, and that only their owner may read.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{Context, SHA256};

use crate::{
    hex,
    setup::{SetupResult, file_error},
};

/// Makes an empty file with mode 0600.
pub(super) fn private_make(path: &Path) -> SetupResult<()> {
    private(path).map(|_| ())
}

fn private(path: &Path) -> SetupResult<File> {
    let mut options = OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(path);
    made.map_err(file_error("cannot make", path))
}

/// Makes a directory, with those above it, that only its owner may enter.
pub(super) fn directory_make(path: &Path) -> SetupResult<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(file_error("cannot make the directory", path))
}

/// The same path with something behind its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    PathBuf::from(name)
}

/// The file's name without its directory.
pub(super) fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The file's size in bytes.
pub(super) fn size(path: &Path) -> SetupResult<u64> {
    let data = fs::metadata(path).map_err(file_error("cannot read", path))?;
    Ok(data.len())
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> SetupResult<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(file_error("cannot remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Writes a file whole: it is there with all of its contents or not at all.
pub(crate) fn write_synced(path: &Path, contents: &[u8]) -> SetupResult<()> {
    let partial = beside(path, ".partial");
    remove(&partial)?;
    let mut file = private(&partial)?;
    file.write_all(contents)
        .map_err(file_error("cannot write", &partial))?;
    rename_synced(&partial, path)
}

/// Puts a finished file in its place, on the disk.
pub(super) fn rename_synced(from: &Path, to: &Path) -> SetupResult<()> {
    let synced = File::open(from).and_then(|file| file.sync_all());
    synced.map_err(file_error("cannot sync", from))?;
    fs::rename(from, to).map_err(file_error("cannot rename", from))?;
    directory_sync(to)
}

/// Removes a file for good, if it is there.
pub(crate) fn remove_synced(path: &Path) -> SetupResult<()> {
    remove(path)?;
    directory_sync(path)
}

/// What was done to the file's name is on the disk.
fn directory_sync(file: &Path) -> SetupResult<()> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(file_error("cannot sync", directory))
}

/// The file's SHA-256 in hexadecimal.
pub(super) async fn sha256(path: PathBuf) -> SetupResult<String> {
    super::blocking(move || {
        let mut file = File::open(&path).map_err(file_error("cannot read", &path))?;
        let mut context = Context::new(&SHA256);
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = file
                .read(&mut buffer)
                .map_err(file_error("cannot read", &path))?;
            if read == 0 {
                return Ok(hex::encode(context.finish().as_ref()));
            }
            context.update(&buffer[..read]);
        }
    })
    .await
}
