//! The spool's folder: it is there, can be written, outlives the machine, and has room for what the spool may take.

use std::{fs, path::Path};

use mainstay::intake::snapshot::{AGE_MAX_MS, AHEAD_MAX_MS, Snapshot};
use mainstay_domain::Clock as _;

use super::{checks::probe, report::Report};
use crate::{config::Config, time::SystemClock};

const SUBJECT: &str = "spool";

/// File systems that are gone with the machine or the container, by the kernel's numbers for them.
const PASSING: [(u32, &str); 4] = [
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0x794c_7630, "overlay, which goes with its container"),
    (0x7371_7368, "squashfs"),
];

/// Looks at the folder, where there is a spool.
pub(super) fn check(report: &mut Report, config: &Config) {
    let Some(spool) = &config.spool else { return };
    let path = &spool.dir;
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            let detail = format!("{} is no directory", path.display());
            return report.wrong(SUBJECT, detail, "name another as intake.spool.dir");
        }
        Err(error) => {
            let detail = format!("{}: {error}", path.display());
            let remedy = "make it on a disk that outlives the machine, for the server's user alone";
            return report.wrong(SUBJECT, detail, remedy);
        }
    }
    if let Err(error) = probe(path) {
        let remedy = "run as the server's user; look at the file system's state and quota";
        return report.wrong(SUBJECT, error.to_string(), remedy);
    }
    if let Some(name) = passing(path) {
        return report.wrong(
            SUBJECT,
            format!("{} is on {name}", path.display()),
            "what is acknowledged there can be lost: mount a volume that outlives the machine",
        );
    }
    left_over(report, path);
    if config.database.is_some() {
        snapshot(report, path);
    }
    room(report, path, spool.max_bytes);
}

/// The name of a file system that does not last.
fn passing(path: &Path) -> Option<&'static str> {
    let kind = rustix::fs::statfs(path).ok()?.f_type as u32;
    let known = PASSING.iter().find(|(number, _)| *number == kind);
    known.map(|(_, name)| *name)
}

fn left_over(report: &mut Report, path: &Path) {
    let Ok(entries) = fs::read_dir(path) else {
        return;
    };
    let left = entries.flatten().filter(|entry| {
        let ending = entry.path();
        let ending = ending.extension().and_then(|ending| ending.to_str());
        matches!(ending, Some("aside" | "damaged"))
    });
    match left.count() {
        0 => {}
        count => report.doubtful(
            SUBJECT,
            format!("{count} files hold requests that could not be stored, or damage"),
            "docs/operating.md says what to do with .aside and .damaged",
        ),
    }
}

/// Whether this node could start while the database is gone.
fn snapshot(report: &mut Report, path: &Path) {
    let now = SystemClock.now();
    match Snapshot::look(path) {
        Ok(Some((at, master))) => {
            let age = now.ms_since(at);
            let detail = format!(
                "the snapshot of the sources is {} s old, under the master key {master}; a start without the \
                 database goes by it",
                age.max(0) / 1_000
            );
            let remedy = if age > AGE_MAX_MS {
                "it is too old to be used; a running server writes it anew"
            } else if age < -AHEAD_MAX_MS {
                "it was written in the future, so it is not used: look at the clock; a running server writes it anew"
            } else {
                return report.fine(SUBJECT, detail);
            };
            report.doubtful(SUBJECT, detail, remedy);
        }
        Ok(None) => report.doubtful(
            SUBJECT,
            "there is no snapshot of the sources: a start while the database is gone fails",
            "turn encryption at rest on (docs/encryption.md), and let the server run with the spool",
        ),
        Err(error) => report.doubtful(
            SUBJECT,
            error.to_string(),
            "a running server writes it anew within ten minutes",
        ),
    }
}

fn room(report: &mut Report, path: &Path, max_bytes: u64) {
    let free = match rustix::fs::statvfs(path) {
        Ok(stats) => stats.f_bavail.saturating_mul(stats.f_frsize),
        Err(error) => {
            let remedy = "look at the file system by hand";
            return report.doubtful(SUBJECT, error.to_string(), remedy);
        }
    };
    let detail = format!(
        "{}: {} free, and it may take {}",
        path.display(),
        indicatif::HumanBytes(free),
        indicatif::HumanBytes(max_bytes)
    );
    match free < max_bytes {
        true => report.doubtful(
            SUBJECT,
            detail,
            "make room, or lower intake.spool.max_bytes",
        ),
        false => report.fine(SUBJECT, detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_no_place_for_a_spool() {
        let shm = Path::new("/dev/shm");
        if shm.exists() {
            assert_eq!(passing(shm), Some("tmpfs"));
        }
        assert_eq!(passing(Path::new("/proc")), None);
    }
}
