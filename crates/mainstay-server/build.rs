//! Makes the table of the dashboard's files, compressed, for `src/ui.rs`. Builds nothing itself: `make dashboard` does,
//! and where it has not been run the table is empty.

use std::{
    fmt::Write as _,
    fs,
    hash::{DefaultHasher, Hasher},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

/// Below this many bytes compression gains nothing.
const COMPRESS_MIN_BYTES: usize = 512;

fn main() -> io::Result<()> {
    let dist = Path::new("../../dashboard/dist");
    // Cargo runs this again whenever a watched path is missing; an empty folder that Git ignores keeps it quiet.
    let _ = fs::create_dir_all(dist);
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", dist.display());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let mut files = Vec::new();
    gather(dist, &mut files)?;
    files.sort();
    let mut table = String::from("static ASSETS: &[Asset] = &[\n");
    for (index, file) in files.iter().enumerate() {
        entry(dist, file, &out, index, &mut table)?;
    }
    table.push_str("];\n");
    fs::write(out.join("dashboard.rs"), table)
}

fn gather(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            gather(&path, files)?;
        } else if path.extension().is_none_or(|extension| extension != "map") {
            files.push(path);
        }
    }
    Ok(())
}

fn entry(dist: &Path, file: &Path, out: &Path, index: usize, table: &mut String) -> io::Result<()> {
    let bytes = fs::read(file)?;
    let name = file
        .strip_prefix(dist)
        .map_err(io::Error::other)?
        .to_string_lossy()
        .replace('\\', "/");
    let path = fs::canonicalize(file)?;
    let gzip = match compress(&bytes)? {
        Some(packed) => {
            let to = out.join(format!("{index}.gz"));
            fs::write(&to, packed)?;
            format!("Some(include_bytes!({to:?}))")
        }
        None => "None".into(),
    };
    writeln!(
        table,
        "    Asset {{ path: {name:?}, kind: {kind:?}, etag: {etag:?}, bytes: include_bytes!({path:?}), gzip: {gzip} }},",
        kind = media_type(&name),
        etag = format!("\"{:016x}\"", hash(&bytes)),
    )
    .map_err(io::Error::other)
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

fn compress(bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
    if bytes.len() < COMPRESS_MIN_BYTES {
        return Ok(None);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    let packed = encoder.finish()?;
    Ok((packed.len() < bytes.len()).then_some(packed))
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" | "webmanifest" => "application/json",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
