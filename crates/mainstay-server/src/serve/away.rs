//! The server while its database cannot be reached at the start: where there is a spool with a snapshot of the sources,
//! it takes webhooks and does nothing else, until the database answers.

use std::{net::TcpListener as Socket, path::Path, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use mainstay::{
    Mainstay,
    intake::{
        Intake,
        snapshot::{Away, Snapshot, SnapshotError},
    },
};
use mainstay_domain::{Cidr, Clock, Random, Store, StoreError};
use mainstay_store::SetupError;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::Instant};
use tower_http::catch_panic::CatchPanicLayer;

use super::{Signals, Start, log, scheme};
use crate::{
    config::{Config, Limits},
    http::{Code, Problem, frame, host::Host, proxies::Client, server::Server, tls},
    intake,
    metrics::{self, Metrics},
};

/// How long it takes until the database is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is said that it is still gone.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// When the sender of what cannot be answered should come again.
const RETRY_SECS: u64 = 5;

/// Whether it was for want of a database that a start failed: none that answers, or one that can take nothing.
pub(super) fn unreachable(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let of_setup = cause
            .downcast_ref::<SetupError>()
            .and_then(|one| match one {
                SetupError::Store(error) => Some(error),
                _ => None,
            });
        matches!(
            cause.downcast_ref::<StoreError>().or(of_setup),
            Some(StoreError::Unavailable(_) | StoreError::Timeout | StoreError::Full)
        )
    })
}

/// What answers meanwhile.
struct Front {
    intake: Arc<Intake>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    metrics: Metrics,
    limits: Limits,
    trusted_proxies: Vec<Cidr>,
    url: String,
    address: String,
    secure: bool,
    began: Instant,
}

impl Host for Front {
    fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn random(&self) -> &dyn Random {
        &*self.random
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn trusted_proxies(&self) -> &[Cidr] {
        &self.trusted_proxies
    }

    fn url(&self) -> &str {
        &self.url
    }

    fn secure(&self) -> bool {
        self.secure
    }

    fn away(&self) -> bool {
        true
    }
}

/// A server that takes webhooks without its database.
pub(super) struct Meanwhile {
    /// The same socket once more: whoever connects is answered by the one or the other.
    socket: Socket,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Meanwhile {
    /// Begins to take webhooks, or says why that cannot be. `why`: what the start failed by.
    pub(super) async fn begin(
        start: &Start<'_>,
        certificate: Option<&tls::Certificate>,
        why: anyhow::Error,
    ) -> anyhow::Result<Self> {
        let Some(spool) = start
            .spool
            .clone()
            .filter(|_| start.config.database.is_some())
        else {
            return Err(why);
        };
        let folder = start.config.spool.as_ref().map(|spool| spool.dir.clone());
        let folder = folder.unwrap_or_default();
        let (vault, now) = (Arc::clone(&start.vault), start.clock.now());
        let read = move || Snapshot::read(&folder, &vault, now);
        let snapshot = match tokio::task::spawn_blocking(read).await? {
            Ok(snapshot) => snapshot,
            Err(error) => return Err(without(why, &error)),
        };
        let away = Away {
            spool,
            vault: Arc::clone(&start.vault),
            clock: Arc::clone(&start.clock),
            random: Arc::clone(&start.random),
            certificates: Arc::clone(&start.certificates) as _,
            failures_per_minute: start.config.limits.failures_per_minute,
        };
        let intake = away.start(&snapshot)?;
        tracing::warn!(
            error = format!("{why:#}"),
            snapshot_age_secs = now.ms_since(snapshot.taken_at).max(0) / 1_000,
            config_version = snapshot.version,
            "the database cannot be reached: webhooks are taken into the spool, by a snapshot of the sources, until it answers"
        );
        Self::listen(start.config, certificate, front(start, intake, certificate)).await
    }

    async fn listen(
        config: &Config,
        certificate: Option<&tls::Certificate>,
        front: impl FnOnce(&TcpListener) -> anyhow::Result<Arc<Front>>,
    ) -> anyhow::Result<Self> {
        let listener = super::listen(config).await?;
        let front = front(&listener)?;
        log::meanwhile(&front.address)?;
        let socket = listener.into_std()?;
        let server = Server {
            listener: TcpListener::from_std(socket.try_clone()?)?,
            router: router(&front),
            tls: certificate.map(tls::Certificate::current),
            limits: config.limits,
            trusted: config.trusted_proxies.clone(),
        };
        let (stop, stopped) = watch::channel(false);
        Ok(Self {
            socket,
            stop,
            running: tokio::spawn(server.run(stopped)),
        })
    }

    /// Starts the whole as soon as the database answers. `None`: it was told to stop before.
    pub(super) async fn start(
        &self,
        start: &Start<'_>,
        signals: &mut Signals,
    ) -> anyhow::Result<Option<(TcpListener, Arc<dyn Store>, Mainstay)>> {
        let begun = insist(signals.next(), || async {
            let store = start.open().await?;
            let mainstay = start.mainstay(&store).await?;
            Ok((store, mainstay))
        });
        let Some((store, mainstay)) = begun.await? else {
            return Ok(None);
        };
        tracing::info!("the database answers: what was spooled is stored now");
        let listener = TcpListener::from_std(self.socket.try_clone()?)?;
        Ok(Some((listener, store, mainstay)))
    }

    /// Lets what is under way finish. What was taken by then is in the spool.
    pub(super) async fn end(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.running.await {
            tracing::error!(%error, "the server of the outage failed");
        }
    }
}

/// Tries what needs the database until that takes it, or until `stop`: then it is `None`. What fails for another reason
/// fails.
pub(super) async fn insist<T, W>(
    stop: impl Future<Output = ()>,
    mut work: impl FnMut() -> W,
) -> anyhow::Result<Option<T>>
where
    W: Future<Output = anyhow::Result<T>>,
{
    let mut said = Instant::now();
    let mut stop = std::pin::pin!(stop);
    loop {
        let done = tokio::select! {
            done = work() => done,
            () = &mut stop => return Ok(None),
        };
        let error = match done {
            Ok(done) => return Ok(Some(done)),
            Err(error) if !unreachable(&error) => return Err(error),
            Err(error) => error,
        };
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            tracing::warn!(
                error = format!("{error:#}"),
                "the database still cannot be reached"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = &mut stop => return Ok(None),
        }
    }
}

/// Why there is no start without the database.
fn without(why: anyhow::Error, error: &SnapshotError) -> anyhow::Error {
    // Not as its source: the command line would show that alone.
    anyhow::anyhow!(
        "the database cannot be reached, and this node cannot start without it: {error} (docs/operating.md); {why:#}"
    )
}

fn front(
    start: &Start<'_>,
    intake: Arc<Intake>,
    certificate: Option<&tls::Certificate>,
) -> impl FnOnce(&TcpListener) -> anyhow::Result<Arc<Front>> {
    let config = start.config;
    let (clock, random) = (Arc::clone(&start.clock), Arc::clone(&start.random));
    let scheme = scheme(certificate);
    let (public, limits) = (config.public_url.clone(), config.limits);
    let (trusted_proxies, secure) = (config.trusted_proxies.clone(), config.secure());
    move |listener| {
        let local = super::reachable(listener.local_addr()?);
        let address = format!("{scheme}://{local}");
        Ok(Arc::new(Front {
            intake,
            clock,
            random,
            metrics: Metrics::default(),
            limits,
            trusted_proxies,
            url: public.unwrap_or_else(|| address.clone()),
            address,
            secure,
            began: Instant::now(),
        }))
    }
}

fn router(front: &Arc<Front>) -> Router {
    Router::new()
        .merge(intake::router::<Front>(false))
        .route("/livez", get(crate::health::livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(measured))
        .fallback(gone)
        .layer(CatchPanicLayer::custom(frame::panicked))
        .layer(middleware::from_fn_with_state(
            Arc::clone(front),
            frame::around::<Front>,
        ))
        .with_state(Arc::clone(front))
}

fn problem(detail: &str) -> Response {
    Problem::new(Code::StoreUnavailable, detail)
        .retry_after(RETRY_SECS)
        .into_response()
}

/// Whether webhooks are taken, and by what.
async fn readyz(State(front): State<Arc<Front>>) -> Response {
    let status = front.intake.spool_status();
    let age = status
        .and_then(|status| status.snapshot)
        .and_then(|snapshot| snapshot.age_secs(front.clock.now()));
    match (front.intake.ready().await, age) {
        (Ok(()), Some(age)) => (
            StatusCode::OK,
            format!(
                "ready: without the database, into the spool, by a snapshot of the sources that is {age} s old\n"
            ),
        )
            .into_response(),
        _ => problem("neither the database nor the spool takes anything"),
    }
}

/// What is counted without the database. From this machine alone: who else may ask stands in the database.
async fn measured(
    State(front): State<Arc<Front>>,
    Extension(client): Extension<Client>,
) -> Response {
    if client.proxied || !client.address.is_loopback() {
        return problem("whose the key is cannot be known: the database cannot be reached");
    }
    let text = metrics::without_store(
        &front.metrics,
        &front.intake,
        front.began.elapsed(),
        front.clock.now(),
    );
    match text {
        Ok(text) => {
            let kind = HeaderValue::from_static(metrics::MEDIA_TYPE);
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => Problem::internal(error).into_response(),
    }
}

async fn gone() -> Response {
    problem(
        "the database cannot be reached: this server was started without it and only takes webhooks",
    )
}

/// Whether a spool's folder has a snapshot, for the log at an ordinary start.
pub(super) fn said(config: &Config, on: bool) {
    let Some(spool) = config.spool.as_ref().filter(|_| config.database.is_some()) else {
        return;
    };
    if !on {
        return tracing::warn!(
            "the spool has no snapshot of the sources, since encryption at rest is off: a start while the database is \
             gone fails (docs/operating.md)"
        );
    }
    damaged(&spool.dir);
}

fn damaged(folder: &Path) {
    if let Err(error) = Snapshot::look(folder) {
        tracing::warn!(%error, "it is written anew");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use anyhow::Context as _;

    use super::*;

    fn gone() -> StoreError {
        StoreError::Unavailable("it is gone".into())
    }

    #[tokio::test(start_paused = true)]
    async fn what_needs_the_database_is_tried_until_that_takes_it() {
        let fails = [gone(), StoreError::Timeout, StoreError::Full];
        let left = RefCell::new(fails.to_vec());
        let work = || async {
            match left.borrow_mut().pop() {
                Some(error) => Err(error).context("the first start could not be prepared"),
                None => Ok("done"),
            }
        };
        let done = insist(std::future::pending(), work).await;
        assert_eq!(done.expect("it is no other error"), Some("done"));
        assert!(left.borrow().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_for_another_reason_is_not_tried_again_and_who_is_told_to_stop_stops() {
        let other = || async { anyhow::Result::<()>::Err(StoreError::OutOfScope.into()) };
        assert!(insist(std::future::pending(), other).await.is_err());
        let never = || async { anyhow::Result::<()>::Err(gone().into()) };
        let stop = tokio::time::sleep(10 * PAUSE);
        let stopped = insist(stop, never).await;
        assert_eq!(stopped.expect("it is no other error"), None);
    }
}
