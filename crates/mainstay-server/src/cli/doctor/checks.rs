//! The checks themselves. None of them changes anything that matters.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::Duration,
};

use mainstay_domain::Clock as _;
use mainstay_store::{
    DataDirectory, SetupError,
    examine::{self, Grade},
    migrate::Migrator,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::Value;

use super::{
    super::{
        Context,
        api::{API_FILE, Api, text},
        place::{ELSEWHERE, Opened, SAY_WHERE, is_elsewhere},
    },
    report::Report,
};
use crate::{
    config::Config, http::tls::chain as tls_chain, outbound::AddressGuard, time::SystemClock,
};

/// Less room than this is too little for a database that grows.
const ROOM_BYTES_DOUBTFUL: u64 = 1_024 * 1_024 * 1_024;
const ROOM_BYTES_WRONG: u64 = 64 * 1_024 * 1_024;
/// Signatures may be off by five minutes; a clock that is off by some of that eats into it.
const SKEW_MS_DOUBTFUL: i64 = 2_000;
const SKEW_MS_WRONG: i64 = 60_000;
/// How far the index of objects may be behind.
const INDEX_SECS_DOUBTFUL: i64 = 600;
/// How long the server may take to say how it is.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// Where the outbound guard must never let a request go unless it was told to.
const METADATA: [u8; 4] = [169, 254, 169, 254];

/// The directory exists, is ours alone, can be written and has room.
pub(super) fn data_directory(report: &mut Report, config: &Config) {
    let path = &config.data;
    let found = match fs::metadata(path) {
        Ok(found) if found.is_dir() => found,
        Ok(_) => {
            let detail = format!("{} is not a directory", path.display());
            return report.wrong("data directory", detail, "name another with --data");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let detail = format!(
                "{} does not exist yet; `mainstay serve` makes it",
                path.display()
            );
            return report.fine("data directory", detail);
        }
        Err(error) => {
            let detail = format!("{}: {error}", path.display());
            return report.wrong("data directory", detail, "run as the server's user");
        }
    };
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        report.fine("data directory", path.display().to_string());
    } else {
        let detail = format!(
            "{} can be entered by others (mode {mode:03o})",
            path.display()
        );
        report.doubtful(
            "data directory",
            detail,
            &format!("chmod 700 {}", path.display()),
        );
    }
    writable(report, path);
    room(report, path, &found);
}

/// Writes, syncs and removes a file: a directory can look writable and not be (read-only mounts, quotas).
pub(super) fn probe(path: &Path) -> io::Result<()> {
    let probe = path.join(format!("doctor-{}.probe", std::process::id()));
    let written = fs::File::create_new(&probe).and_then(|mut file| {
        file.write_all(b"probe")?;
        file.sync_all()
    });
    let removed = fs::remove_file(&probe);
    written.and(removed)
}

fn writable(report: &mut Report, path: &Path) {
    match probe(path) {
        Ok(()) => report.fine("writing", "a file can be written, synced and removed"),
        Err(error) => report.wrong(
            "writing",
            error.to_string(),
            "run as the server's user; look at the file system's state and quota",
        ),
    }
}

fn room(report: &mut Report, path: &Path, found: &fs::Metadata) {
    let free = match rustix::fs::statvfs(path) {
        Ok(stats) => stats.f_bavail.saturating_mul(stats.f_frsize),
        Err(error) => {
            return report.doubtful("room", error.to_string(), "look at the file system by hand");
        }
    };
    let detail = format!(
        "{} free on device {}",
        indicatif::HumanBytes(free),
        found.dev()
    );
    if free < ROOM_BYTES_WRONG {
        report.wrong("room", detail, "make room: without any, intake answers 503");
    } else if free < ROOM_BYTES_DOUBTFUL {
        report.doubtful(
            "room",
            detail,
            "make room, or shorten retention.events in the configuration",
        );
    } else {
        report.fine("room", detail);
    }
}

/// Whether a server runs on the directory, and how it is. Answers whether one does.
pub(super) async fn server(report: &mut Report, context: &Context, config: &Config) -> bool {
    let locked = match DataDirectory::lock(&config.data) {
        _ if !config.data.exists() => false,
        Ok(_) => false,
        Err(SetupError::Locked { .. }) => true,
        Err(_) => false,
    };
    let file = config.data.join(API_FILE);
    private(report, &file);
    let api = match context.address().and_then(|address| Api::new(&address)) {
        Ok(api) => api,
        Err(_) if locked => {
            report.wrong(
                "server",
                format!(
                    "one runs on the directory, but {} is missing or unreadable",
                    file.display()
                ),
                "run doctor as the server's user, or restart the server",
            );
            return true;
        }
        Err(_) => {
            report.fine("server", "none is running on this directory");
            return false;
        }
    };
    match tokio::time::timeout(HEALTH_TIMEOUT, api.get_whatever("/v1/health")).await {
        Ok(Ok(health)) => {
            healthy(report, &api, &health);
            index(report, &api).await;
        }
        Ok(Err(_)) | Err(_) if !locked => {
            report.fine("server", "none is running on this directory");
            return false;
        }
        Ok(Err(_)) | Err(_) => report.wrong(
            "server",
            format!("it does not answer at {}", api.base()),
            "look at its log; if it hangs, restart it: nothing acknowledged is lost",
        ),
    }
    true
}

/// Whether the index of objects keeps up. Any object's timeline says how far it goes.
async fn index(report: &mut Report, api: &Api) {
    let query = [("object", Some("doctor".to_owned()))];
    let asked = api.get("/v1/timeline", &query);
    let Ok(Ok(found)) = tokio::time::timeout(HEALTH_TIMEOUT, asked).await else {
        return report.doubtful(
            "timeline index",
            "the server does not say how far it goes",
            "look at the server's log",
        );
    };
    let until = text(&found, "/index/until");
    let behind = until
        .parse::<jiff::Timestamp>()
        .map(|until| SystemClock.now().secs() - until.as_second());
    match behind {
        Ok(secs) if text(&found, "/index/complete") != "true" && secs > INDEX_SECS_DOUBTFUL => {
            report.doubtful(
                "timeline index",
                format!("events are indexed until {until}"),
                "after an upgrade it takes its time; otherwise the server's log says why",
            );
        }
        _ => report.fine("timeline index", "every event is indexed, or about to be"),
    }
}

fn private(report: &mut Report, file: &Path) {
    if let Ok(found) = fs::metadata(file)
        && found.permissions().mode() & 0o077 != 0
    {
        report.wrong(
            "api.json",
            "others can read it, and with it the owner's key",
            &format!(
                "chmod 600 {}, then restart the server: it makes a new key",
                file.display()
            ),
        );
    }
}

fn healthy(report: &mut Report, api: &Api, health: &Value) {
    let status = text(health, "/status");
    let detail = format!(
        "{} at {}, version {}",
        status,
        api.base(),
        text(health, "/version")
    );
    let checks = health.get("checks").and_then(Value::as_object);
    let ill: Vec<String> = checks
        .into_iter()
        .flatten()
        .filter(|(_, check)| text(check, "/status") != "healthy")
        .map(|(name, check)| format!("{name} is {}", text(check, "/status")))
        .collect();
    let remedy = format!("{}; its log says more", ill.join(", "));
    match status.as_str() {
        "healthy" => report.fine("server", detail),
        "degraded" => report.doubtful("server", detail, &remedy),
        _ => report.wrong("server", detail, &remedy),
    }
}

/// Reachable, of the right version, whole, durable, and of the same opinion about the time.
pub(super) async fn database(report: &mut Report, config: &Config) {
    if is_elsewhere(config) {
        return report.wrong("database", ELSEWHERE, SAY_WHERE);
    }
    let opened = match Opened::beside(config) {
        Ok(opened) => opened,
        Err(_) if config.database.is_none() => {
            return report.fine("database", "none yet; `mainstay serve` makes one");
        }
        Err(_) => {
            return report.wrong(
                "database",
                "the URL cannot be used",
                "postgres://user:password@host:5432/database",
            );
        }
    };
    let before = SystemClock.now();
    let examined = match examine::examine(opened.place()).await {
        Ok(examined) => examined,
        Err(error) => {
            let remedy = "is it running, and do address, user and password in `database` hold?";
            return report.wrong("database", error.to_string(), remedy);
        }
    };
    let after = SystemClock.now();
    for finding in &examined.findings {
        report.finding(finding);
    }
    if let Some(clock) = examined.clock {
        skew(
            report,
            clock.ms_since(after).max(before.ms_since(clock)).max(0),
        );
    }
    migrations(report, &opened).await;
}

/// How far the database's clock is outside of the time that asking it took.
fn skew(report: &mut Report, ms: i64) {
    let detail = format!("the database's clock and this one differ by {ms} ms");
    let remedy = "let both machines follow the same time servers (chrony, systemd-timesyncd)";
    match ms {
        SKEW_MS_WRONG.. => report.wrong("clock", detail, remedy),
        SKEW_MS_DOUBTFUL.. => report.doubtful("clock", detail, remedy),
        _ => report.fine("clock", "the database's clock and this one agree"),
    }
}

async fn migrations(report: &mut Report, opened: &Opened) {
    match Migrator::embedded().status(opened.place()).await {
        Ok(status) if status.pending.is_empty() => {
            report.fine("schema", format!("version {}", status.applied.len()));
        }
        Ok(status) => report.doubtful(
            "schema",
            format!("{} migrations are missing", status.pending.len()),
            "`mainstay serve` applies them after a backup; so does `mainstay migrate up`",
        ),
        Err(error) => report.wrong(
            "schema",
            error.to_string(),
            "use the program that made this database",
        ),
    }
}

/// The files are there, belong together, and the key is private.
pub(super) fn tls(report: &mut Report, config: &Config) {
    let Some(tls) = &config.tls else {
        let exposed = !config.listen.ip().is_loopback();
        if exposed && config.trusted_proxies.is_empty() {
            report.doubtful(
                "TLS",
                format!(
                    "{} is reachable from outside, without TLS and without a trusted proxy",
                    config.listen
                ),
                "set tls.cert and tls.key, or put a proxy in front and name it in trusted_proxies",
            );
        }
        return;
    };
    match tls_load(&tls.cert, &tls.key) {
        Ok(chain) => report.fine(
            "TLS",
            format!("{chain} certificates, and the key belongs to them"),
        ),
        Err(problem) => report.wrong(
            "TLS",
            problem,
            "tls.cert is a PEM chain, the server's own first; tls.key its key",
        ),
    }
    if let Ok(found) = fs::metadata(&tls.key)
        && found.permissions().mode() & 0o077 != 0
    {
        let remedy = format!("chmod 600 {}", tls.key.display());
        report.doubtful("TLS key", "others can read it", &remedy);
    }
}

fn tls_load(cert: &Path, key: &Path) -> Result<usize, String> {
    let problem = |path: &Path| {
        let path = path.display().to_string();
        move |error: rustls::pki_types::pem::Error| format!("{path}: {error}")
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(problem(cert))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(problem(key))?;
    let length = chain.len();
    rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| error.to_string())?;
    Ok(length)
}

/// The port can be listened on, or it is our own server that does.
pub(super) async fn listen(report: &mut Report, config: &Config, running: bool) {
    match tokio::net::TcpListener::bind(config.listen).await {
        Ok(_) => report.fine("port", format!("{} is free", config.listen)),
        Err(_) if running => {
            report.fine("port", format!("{} is the running server's", config.listen));
        }
        Err(error) => report.wrong(
            "port",
            format!("{} cannot be listened on: {error}", config.listen),
            "end what listens there, or choose another with --listen",
        ),
    }
}

fn authorities(path: &Path) -> Result<usize, String> {
    let chain = tls_chain(path).map_err(|error| format!("{error:#}"))?;
    let mut store = rustls::RootCertStore::empty();
    for authority in &chain {
        store
            .add(authority.clone())
            .map_err(|error| error.to_string())?;
    }
    Ok(chain.len())
}

/// The guard is closed where it must be, and names can be resolved at all.
pub(super) async fn outbound(report: &mut Report, config: &Config) {
    if let Some(path) = &config.outbound_ca_file {
        match authorities(path) {
            Ok(count) => report.fine(
                "outbound authorities",
                format!("{count} besides the system's"),
            ),
            Err(problem) => report.wrong(
                "outbound authorities",
                format!("{}: {problem}", path.display()),
                "outbound.ca_file is a PEM file of certificate authorities",
            ),
        }
    }
    let guard = AddressGuard::new(config.outbound_allow.clone());
    let opened: Vec<String> = guard.allowed().iter().map(ToString::to_string).collect();
    if guard.admit(METADATA.into()).is_ok() {
        report.wrong(
            "outbound guard",
            format!(
                "requests to endpoints may reach the cloud's metadata service ({})",
                opened.join(", ")
            ),
            "make outbound.allow narrower: an endpoint there could read this machine's credentials",
        );
    } else if opened.is_empty() {
        report.fine(
            "outbound guard",
            "requests to endpoints reach public addresses only",
        );
    } else {
        let detail = format!("also open: {}", opened.join(", "));
        report.finding(&examine::Finding {
            subject: "outbound guard",
            grade: Grade::Fine,
            detail,
            remedy: None,
        });
    }
}
