//! Rules of the house that no compiler knows, checked over the source tree and `cargo metadata`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Folders that hold nothing of ours.
const NOT_OURS: &[&str] = &["target", "node_modules", "dist", ".git", "mainstay-data"];
/// What is read as text of ours.
const TEXT: &[&str] = &[
    "rs", "toml", "sql", "ts", "tsx", "js", "mjs", "css", "html", "c", "sh", "md", "json", "yml",
    "yaml", "service", "",
];

fn root() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder
        .join("../..")
        .canonicalize()
        .expect("the workspace is there")
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("a folder of the repository can be read");
    for entry in entries {
        let entry = entry.expect("its entries can be read");
        let kind = entry.file_type().expect("an entry has a type");
        let name = entry.file_name();
        if NOT_OURS.iter().any(|not| name == *not) {
            continue;
        }
        if kind.is_dir() {
            files_below(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

/// Every file of ours, relative to the root.
fn files() -> Vec<PathBuf> {
    let (root, mut found) = (root(), Vec::new());
    files_below(&root, &mut found);
    let relative = found
        .iter()
        .filter_map(|path| path.strip_prefix(&root).ok());
    let mut relative: Vec<PathBuf> = relative.map(Path::to_path_buf).collect();
    relative.sort();
    relative
}

fn with_extension(extension: &str) -> Vec<PathBuf> {
    let mut found = files();
    found.retain(|path| path.extension().is_some_and(|own| own == extension));
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_default()
}

fn nothing(found: Vec<String>, rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn every_rust_file_says_at_its_head_what_it_is_for() {
    let silent = with_extension("rs").into_iter().filter(|path| {
        let text = read(path);
        let head = text
            .lines()
            .find(|line| !line.starts_with("#!") && !line.trim().is_empty());
        !head.is_some_and(|line| line.starts_with("//! "))
    });
    nothing(
        silent.map(|path| path.display().to_string()).collect(),
        "a file begins with //! and its purpose",
    );
}

/// Lines of our text files that hold one of these, as file:line.
fn lines_with(wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
    let own = Path::new(file!());
    let mut found = Vec::new();
    for path in files() {
        let extension = path.extension().and_then(|own| own.to_str()).unwrap_or("");
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("");
        if !TEXT.contains(&extension) || path == own || name == "LICENSE" {
            continue;
        }
        for (at, line) in read(&path).lines().enumerate() {
            if wanted(line) {
                found.push(format!("{}:{}", path.display(), at + 1));
            }
        }
    }
    found
}

#[test]
fn nothing_is_left_for_later_in_a_comment() {
    let words = ["TODO", "FIXME", "XXX:"];
    let found = lines_with(&|line| words.iter().any(|word| line.contains(word)));
    nothing(found, "what is to be done stands in an issue");
}

#[test]
fn no_file_names_a_place_on_somebody_s_machine() {
    let places = ["/home/", "/Users/", "/root/"];
    let names_one = |line: &str| {
        places.iter().any(|place| {
            line.match_indices(place).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                // A part of a longer path or of an address is not a place on a machine.
                before.is_none_or(|before| !before.is_alphanumeric() && !"}.-_~/>".contains(before))
            })
        })
    };
    nothing(
        lines_with(&names_one),
        "paths are relative to the repository",
    );
}

#[test]
fn npm_locks_name_no_registry() {
    let locks = files()
        .into_iter()
        .filter(|path| path.ends_with("package-lock.json"));
    let resolved = locks.filter(|path| read(path).contains("\"resolved\""));
    let found = resolved.map(|path| path.display().to_string()).collect();
    nothing(
        found,
        "set omit-lockfile-registry-resolved=true in .npmrc and make the lock again",
    );
}

#[test]
fn npm_versions_are_exact() {
    let mut loose = Vec::new();
    for path in files()
        .into_iter()
        .filter(|path| path.ends_with("package.json"))
    {
        let package: Value = serde_json::from_str(&read(&path)).expect("package.json is JSON");
        for kind in ["dependencies", "devDependencies"] {
            for (name, version) in package[kind].as_object().into_iter().flatten() {
                let version = version.as_str().unwrap_or_default();
                if !version.starts_with(|first: char| first.is_ascii_digit()) {
                    loose.push(format!("{}: {name} {version}", path.display()));
                }
            }
        }
    }
    nothing(loose, "versions are exact");
}

#[test]
fn the_license_is_there() {
    assert!(read(Path::new("LICENSE")).contains("Apache License"));
}

#[test]
fn every_migration_goes_up_and_down_on_both_databases() {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in with_extension("sql") {
        let in_migrations = path
            .parent()
            .is_some_and(|folder| folder.ends_with("migrations"));
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if let (true, Some((migration, kind))) = (in_migrations, name.split_once('.')) {
            found
                .entry(migration.to_owned())
                .or_default()
                .insert(kind.to_owned());
        }
    }
    let whole: BTreeSet<String> = [
        "up.sqlite.sql",
        "down.sqlite.sql",
        "up.postgres.sql",
        "down.postgres.sql",
    ]
    .map(str::to_owned)
    .into();
    assert!(!found.is_empty(), "there are migrations");
    let partial = found.into_iter().filter(|(_, kinds)| *kinds != whole);
    nothing(
        partial
            .map(|(name, kinds)| format!("{name}: {kinds:?}"))
            .collect(),
        "a migration has four files",
    );
}

#[test]
fn every_crate_takes_the_workspace_s_lints() {
    let manifests = with_extension("toml")
        .into_iter()
        .filter(|path| path.starts_with("crates") && path.ends_with("Cargo.toml"));
    let without = manifests.filter(|path| !read(path).contains("[lints]\nworkspace = true"));
    nothing(
        without.map(|path| path.display().to_string()).collect(),
        "[lints] workspace = true",
    );
}

/// What a crate depends on, leaving out what only tests or build scripts need, for this platform.
fn tree(name: &str, depth: &str) -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args([
            "tree",
            "--locked",
            "--offline",
            "--edges",
            "normal",
            "--prefix",
            "none",
        ])
        .args(["--package", name, "--depth", depth])
        .current_dir(root())
        .output()
        .expect("cargo can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text.lines().filter_map(|line| line.split(' ').next());
    names.skip(1).map(str::to_owned).collect()
}

fn direct(name: &str) -> BTreeSet<String> {
    tree(name, "1")
}

fn all(name: &str) -> BTreeSet<String> {
    tree(name, "100")
}

const DRIVERS: &[&str] = &[
    "rusqlite",
    "libsqlite3-sys",
    "tokio-postgres",
    "deadpool-postgres",
];
const TRANSPORTS: &[&str] = &["hyper", "axum", "reqwest", "tower-http", "rustls"];

fn none_of(found: &BTreeSet<String>, forbidden: &[&str], rule: &str) {
    let crossed = forbidden.iter().filter(|name| found.contains(**name));
    nothing(crossed.map(|name| (*name).to_owned()).collect(), rule);
}

#[test]
fn dependencies_point_inward() {
    let domain = all("mainstay-domain");
    assert!(domain.contains("serde"), "the tree was read");
    none_of(&domain, DRIVERS, "the domain knows no database");
    none_of(&domain, TRANSPORTS, "the domain knows no transport");
    none_of(
        &domain,
        &["tokio", "mio", "socket2"],
        "the domain does no I/O",
    );
    let engine = all("mainstay");
    none_of(&engine, DRIVERS, "the engine knows no database");
    none_of(&engine, TRANSPORTS, "the engine knows no transport");
    none_of(
        &engine,
        &["mainstay-store", "clap", "toml"],
        "the engine knows neither the store nor the command line",
    );
    none_of(
        &direct("mainstay-server"),
        DRIVERS,
        "the server speaks to the store, not to drivers",
    );
    let store = direct("mainstay-store");
    none_of(
        &store,
        &["mainstay", "axum", "reqwest", "hyper"],
        "the store knows neither the engine nor HTTP",
    );
    let proof = direct("mainstay-proof");
    none_of(
        &proof,
        &["mainstay", "mainstay-store", "mainstay-server"],
        "proofs look from outside",
    );
}

#[test]
fn one_crypto_provider_is_linked() {
    none_of(
        &all("mainstay-server"),
        &["ring", "openssl", "native-tls"],
        "aws-lc-rs is the one crypto provider",
    );
}
