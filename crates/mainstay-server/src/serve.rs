//! `mainstay serve`: start-up in order, and an orderly end.
//!
//! Lock the data directory, open the spool, migrate (a backup first when it holds data), open the store, make what the
//! first start makes, start the engine, listen, say where. Where the database cannot be reached and there is a snapshot
//! of the sources beside the spool, webhooks are taken by that until it can be ([`away`]). The end: accept nothing more, let requests finish, end the streams,
//! stop the engine, close the store. A second signal ends the process at once.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::Context as _;
use mainstay::{
    Mainstay, Parts,
    intake::spool::{Spool, SpoolOptions},
};
use mainstay_domain::{Clock, Random, Store, vault::Vault};
use mainstay_store::{
    DataDirectory, PostgresOptions, PostgresStore, PostgresUrl, SqliteOptions, SqliteStore,
    backup::migrate_with_backup, migrate::Place,
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

mod away;
mod first;
mod local;
mod log;
mod sealed;

use crate::{
    access::seal,
    config::Config,
    http::{server::Server, tls},
    limits,
    outbound::{AddressGuard, Outbound, PinnedCertificates, platform_verifier},
    state::App,
    stream,
    time::{SystemClock, SystemRandom},
    web,
};

/// Makes a server verify and commit nothing, to be compared with. Benches only.
const VERIFY_ONLY: &str = "MAINSTAY_BENCH_VERIFY_ONLY";

/// Runs the server until it is told to stop.
pub(crate) async fn serve(config: Config) -> anyhow::Result<()> {
    log::init(&config.log)?;
    let mut signals = Signals::new(config.tls.is_some())?;
    let certificate = config.tls.clone().map(tls::Certificate::load).transpose()?;
    let directory = Arc::new(DataDirectory::lock(&config.data)?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let vault = config.master_keys.load().await?;
    let (outbound, certificates) = outward(&config, &clock)?;
    let start = Start {
        spool: spool(&config, Arc::clone(&random)).await?,
        config: &config,
        directory: &directory,
        clock,
        random,
        vault,
        outbound,
        certificates,
    };
    let mut meanwhile = None;
    let (listener, store, mainstay) = match start.begin().await {
        Ok(begun) => begun,
        Err(error) if away::unreachable(&error) => {
            let front = away::Meanwhile::begin(&start, certificate.as_ref(), error).await?;
            let Some(begun) = front.start(&start, &mut signals).await? else {
                tracing::info!("stopping");
                front.end().await;
                directory.release();
                return Ok(());
            };
            meanwhile = Some(front);
            begun
        }
        Err(error) => return Err(error),
    };
    away::said(&config, start.vault.on());
    let scheme = scheme(certificate.as_ref());
    let address = format!("{scheme}://{}", reachable(listener.local_addr()?));
    let (stop, stopped) = watch::channel(false);
    let app = App::new(&mainstay, &config, address.clone(), stopped.clone());
    let told = tokio::spawn(stream::tell(Arc::clone(&app)));
    let sealing = tokio::spawn(seal::run(Arc::clone(&app)));
    let ways_in = ways_in(
        &app,
        &config.data,
        meanwhile.is_some().then_some(&mut signals),
    );
    let Some((token, link)) = ways_in.await? else {
        tracing::info!("stopping");
        stop.send_replace(true);
        if let Some(front) = meanwhile {
            front.end().await;
        }
        told.await.context("the stream's task failed")?;
        sealing.await.context("the audit log's task failed")?;
        return end(mainstay, &app, &config, &directory).await;
    };
    let database = config.database.as_ref().map_or("sqlite", |_| "postgres");
    local::write(&config.data, &address, &token, database)?;
    let server = Server {
        listener,
        router: web::router(&app, std::env::var_os(VERIFY_ONLY).is_some()),
        tls: certificate.as_ref().map(tls::Certificate::current),
        limits: config.limits,
        trusted: config.trusted_proxies.clone(),
    };
    let renewing = certificate.map(|one| tokio::spawn(one.renew(stopped.clone())));
    let running = tokio::spawn(server.run(stopped));
    if let Some(front) = meanwhile {
        front.end().await;
    }
    log::started(&config, &*store, &app, link.as_deref())?;
    signals.wait().await;
    tracing::info!("stopping");
    // Whoever asks from now on is told to go elsewhere; open streams end.
    stop.send_replace(true);
    running.await.context("the accept loop failed")?;
    told.await.context("the stream's task failed")?;
    sealing.await.context("the audit log's task failed")?;
    if let Some(renewing) = renewing {
        renewing.await.context("the certificate's task failed")?;
    }
    end(mainstay, &app, &config, &directory).await
}

/// The keys that this start makes: the local command line's, and a link where nobody can sign in yet. With `signals`, where
/// the database has only just come back and may be gone again, they are tried until it takes them; `None`: the server was
/// told to stop before.
async fn ways_in(
    app: &App,
    data: &Path,
    signals: Option<&mut Signals>,
) -> anyhow::Result<Option<(String, Option<String>)>> {
    let Some(signals) = signals else {
        return Ok(Some((
            local::key(app, data).await?,
            first::link(app).await?,
        )));
    };
    let key = away::insist(signals.next(), || local::key(app, data));
    let Some(key) = key.await? else {
        return Ok(None);
    };
    let link = away::insist(signals.next(), || async { Ok(first::link(app).await?) });
    Ok(link.await?.map(|link| (key, link)))
}

/// The last of an orderly end, when nobody is answered any more.
async fn end(
    mainstay: Mainstay,
    app: &Arc<App>,
    config: &Config,
    directory: &DataDirectory,
) -> anyhow::Result<()> {
    mainstay.stop().await;
    local::remove(app, &config.data).await;
    seal::last(app).await;
    app.store.close().await;
    directory.release();
    tracing::info!("stopped");
    Ok(())
}

async fn open(
    config: &Config,
    directory: &Arc<DataDirectory>,
    clock: &dyn Clock,
    vault: Arc<Vault>,
) -> anyhow::Result<Arc<dyn Store>> {
    let Some(url) = &config.database else {
        migrate(config, Place::Sqlite(directory), clock).await?;
        let store = SqliteStore::open_locked(Arc::clone(directory), SqliteOptions::default())?;
        return Ok(Arc::new(store.with_vault(vault)));
    };
    let url: PostgresUrl = url.0.parse()?;
    // With an owner's URL of its own, migrations are `mainstay migrate up`'s; the server refuses a schema that is
    // not its own.
    if config.database_migrate.is_none() {
        migrate(config, Place::Postgres(&url), clock).await?;
    }
    Ok(Arc::new(
        PostgresStore::connect(PostgresOptions::new(url))
            .await?
            .with_vault(vault),
    ))
}

async fn migrate(config: &Config, place: Place<'_>, clock: &dyn Clock) -> anyhow::Result<()> {
    let backups = config.data.join(limits::BACKUPS_DIRECTORY);
    let (taken, steps) =
        migrate_with_backup(place, &backups, clock.now(), Arc::new(|_| {})).await?;
    if let Some(taken) = taken {
        tracing::info!(backup = %taken.display(), "a backup was taken before migrating");
    }
    for step in steps {
        tracing::info!(version = step.version, name = step.name, "migrated");
    }
    Ok(())
}

/// What a start is made of.
struct Start<'c> {
    config: &'c Config,
    directory: &'c Arc<DataDirectory>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    vault: Arc<Vault>,
    outbound: Arc<Outbound>,
    certificates: Arc<PinnedCertificates>,
    spool: Option<Arc<Spool>>,
}

impl Start<'_> {
    /// The whole, in its order.
    async fn begin(&self) -> anyhow::Result<(TcpListener, Arc<dyn Store>, Mainstay)> {
        let store = self.open().await?;
        // Before anything is promised on it: a taken port must not leave an engine behind.
        let listener = listen(self.config).await?;
        let mainstay = self.mainstay(&store).await?;
        Ok((listener, store, mainstay))
    }

    /// The store, with what the first start makes in it.
    async fn open(&self) -> anyhow::Result<Arc<dyn Store>> {
        let vault = Arc::clone(&self.vault);
        let store = open(self.config, self.directory, &*self.clock, vault).await?;
        sealed::check(&*store).await?;
        first::make(&*store, &*self.clock, &*self.random)
            .await
            .context("the first start could not be prepared")?;
        Ok(store)
    }

    async fn mainstay(&self, store: &Arc<dyn Store>) -> anyhow::Result<Mainstay> {
        let config = self.config;
        let parts = Parts {
            store: Arc::clone(store),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            http_out: Arc::clone(&self.outbound) as _,
            certificates: Arc::clone(&self.certificates) as _,
            retention: mainstay::clean::Retention {
                events_days: config.retention.events_days,
                refused_days: config.retention.receipts_refused_days,
                samples_days: config.retention.samples_days,
            },
            quarantine: config.quarantine,
            spool: self.spool.clone(),
            failures_per_minute: config.limits.failures_per_minute,
        };
        Mainstay::start(parts)
            .await
            .context("the engine cannot start")
    }
}

async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))
}

fn scheme(certificate: Option<&tls::Certificate>) -> &'static str {
    match certificate {
        Some(_) => "https",
        None => "http",
    }
}

/// The way out, and the certificates that come in by it.
fn outward(
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<(Arc<Outbound>, Arc<PinnedCertificates>)> {
    let guard = AddressGuard::new(config.outbound_allow.clone());
    let outbound = match &config.outbound_ca_file {
        None => Outbound::new(guard, Vec::new())?,
        Some(path) => tls::chain(path)
            .and_then(|authorities| Ok(Outbound::new(guard, authorities)?))
            .with_context(|| format!("outbound.ca_file: {}", path.display()))?,
    };
    let outbound = Arc::new(outbound);
    let verifier = platform_verifier()
        .inspect_err(|error| tracing::warn!(%error, "webhooks that are signed with certificates cannot be verified"))
        .ok();
    let certificates = PinnedCertificates::new(Arc::clone(&outbound), Arc::clone(clock), verifier);
    Ok((outbound, Arc::new(certificates)))
}

/// Opens the spool, where there is one. What is in it is read once.
async fn spool(config: &Config, random: Arc<dyn Random>) -> anyhow::Result<Option<Arc<Spool>>> {
    let Some(spool) = &config.spool else {
        return Ok(None);
    };
    let options = SpoolOptions {
        // SQLite is a part of the process: there is no start without it.
        snapshot: config.database.is_some(),
        ..SpoolOptions::new(spool.dir.clone(), spool.max_bytes)
    };
    let opened = tokio::task::spawn_blocking(move || Spool::open(options, random)).await?;
    Ok(Some(Arc::new(opened?)))
}

/// The address that somebody on this machine reaches the server under.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut reachable = address;
    if address.ip().is_unspecified() {
        reachable.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    reachable
}

/// The signals that end the server, and the one that does not.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Never the end: what a terminal that closes, or a tool that means "read your files again", sends.
    hangup: Signal,
    /// Whether there are files to read again; they are read elsewhere.
    files: bool,
}

impl Signals {
    fn new(files: bool) -> anyhow::Result<Self> {
        Ok(Self {
            files,
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {}
            }
            if !self.files {
                tracing::info!("SIGHUP: without tls.cert there is nothing to read again");
            }
        }
    }

    /// Waits for the first signal. From then on a second one ends the process at once.
    async fn wait(mut self) {
        self.next().await;
        tokio::spawn(async move {
            self.next().await;
            // Nothing acknowledged is lost by it: that is what the store is for.
            std::process::exit(130);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_all_is_reached_on_this_machine() {
        let shown = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(shown("0.0.0.0:8420"), "127.0.0.1:8420");
        assert_eq!(shown("[::]:1"), "[::1]:1");
        assert_eq!(shown("192.0.2.1:1"), "192.0.2.1:1");
    }
}
