//! Health: whether the process lives, whether intake can commit, and how the whole is (HLT-01 to HLT-03).

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use mainstay_domain::{Scope, StoreExt};
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use crate::{
    api::watch::oldest_waiting_secs,
    http::{Code, Problem},
    limits,
    state::App,
    time::Time,
};

/// How something is. The order matters: the worst of several is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// All is well.
    Healthy,
    /// It works, worse than it should.
    Degraded,
    /// It does not work.
    Unhealthy,
}

/// How one part is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Check {
    status: Status,
    /// How long the part took to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    latency_ms: Option<u64>,
    /// Jobs that wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    depth: Option<i64>,
    /// How long the oldest job that could be started has been waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    oldest_waiting_secs: Option<i64>,
    /// Whether this node runs the engine; others stand by.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    owner: Option<bool>,
}

impl Check {
    const fn of(status: Status) -> Self {
        Self {
            status,
            latency_ms: None,
            depth: None,
            oldest_waiting_secs: None,
            owner: None,
        }
    }
}

/// How the installation is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// The worst of all checks.
    status: Status,
    /// By part: `database`, `queue`, `engine`.
    checks: BTreeMap<&'static str, Check>,
    version: &'static str,
    uptime_secs: u64,
    timestamp: Time,
}

impl Health {
    /// Whether everything is well.
    pub(crate) const fn is_healthy(&self) -> bool {
        matches!(self.status, Status::Healthy)
    }
}

/// Any unhealthy: unhealthy; else any degraded: degraded (HLT-02).
fn worst(checks: &BTreeMap<&'static str, Check>) -> Status {
    checks
        .values()
        .map(|check| check.status)
        .max()
        .unwrap_or(Status::Healthy)
}

/// Below 100 ms healthy, else degraded; an error is unhealthy (HLT-03).
fn database(latency: Result<Duration, ()>) -> Check {
    match latency {
        Ok(latency) => {
            let ms = latency.as_millis() as u64;
            let status = if ms < limits::DATABASE_HEALTHY_MS {
                Status::Healthy
            } else {
                Status::Degraded
            };
            Check {
                latency_ms: Some(ms),
                ..Check::of(status)
            }
        }
        Err(()) => Check::of(Status::Unhealthy),
    }
}

/// Looks at everything.
pub(crate) async fn check(app: &App) -> Health {
    let now = app.clock.now();
    let mut checks = BTreeMap::from([("database", database(ping(app).await))]);
    let snapshot = app.mainstay.engine.snapshot();
    let engine = match snapshot.owner && !snapshot.running {
        // Taking over: seconds.
        true => Status::Degraded,
        false => Status::Healthy,
    };
    checks.insert(
        "engine",
        Check {
            owner: Some(snapshot.owner),
            ..Check::of(engine)
        },
    );
    checks.insert("queue", queue(app, now).await);
    Health {
        status: worst(&checks),
        checks,
        version: env!("CARGO_PKG_VERSION"),
        uptime_secs: app.uptime().as_secs(),
        timestamp: now.into(),
    }
}

async fn queue(app: &App, now: mainstay_domain::Timestamp) -> Check {
    let Ok(Ok(queues)) = tokio::time::timeout(limits::PROBE_TIMEOUT, app.stats.queues(app)).await
    else {
        return Check::of(Status::Unhealthy);
    };
    let oldest = oldest_waiting_secs(&queues, now);
    let late = oldest.is_some_and(|secs| secs > limits::QUEUE_DEGRADED_SECS);
    Check {
        depth: Some(queues.iter().map(|queue| queue.waiting).sum()),
        oldest_waiting_secs: oldest,
        ..Check::of(if late {
            Status::Degraded
        } else {
            Status::Healthy
        })
    }
}

async fn ping(app: &App) -> Result<Duration, ()> {
    let begun = Instant::now();
    let asked = app.store.read(Scope::System("health"), |tx| {
        Box::pin(async move { tx.ping().await })
    });
    match tokio::time::timeout(limits::PROBE_TIMEOUT, asked).await {
        Ok(Ok(())) => Ok(begun.elapsed()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the database does not answer");
            Err(())
        }
        Err(_) => Err(()),
    }
}

/// The last answer of `/readyz`: asking often costs the database nothing.
#[derive(Default)]
pub(crate) struct Ready(Mutex<Option<(Instant, bool)>>);

impl Ready {
    /// Whether intake can commit.
    pub(crate) async fn ask(&self, app: &App) -> bool {
        let mut last = self.0.lock().await;
        if let Some((at, ready)) = *last
            && at.elapsed() < limits::READY_CACHE
        {
            return ready;
        }
        let asked = tokio::time::timeout(limits::PROBE_TIMEOUT, app.mainstay.intake.ready()).await;
        let ready = matches!(asked, Ok(Ok(())));
        *last = Some((Instant::now(), ready));
        ready
    }
}

/// Whether the process runs
#[utoipa::path(get, path = "/livez", tag = "watch",
    responses((status = 200, description = "It runs: `ok`", body = String, content_type = "text/plain")))]
pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

/// Whether intake can commit, and the server is not about to stop
#[utoipa::path(get, path = "/readyz", tag = "watch", responses(
    (status = 200, description = "It can: `ready`", body = String, content_type = "text/plain"),
    (status = 503, description = "It cannot, or the server is about to stop"),
))]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Response {
    if *app.stop.borrow() {
        return Problem::new(Code::Overloaded, "the server is about to stop").into_response();
    }
    match app.ready.ask(&app).await {
        true => (StatusCode::OK, "ready\n").into_response(),
        false => Problem::new(Code::StoreUnavailable, "intake cannot commit")
            .retry_after(1)
            .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_as_bad_as_its_worst_part() {
        let all = |list: &[Status]| {
            let names = ["a", "b", "c"];
            worst(
                &names
                    .into_iter()
                    .zip(list.iter().map(|status| Check::of(*status)))
                    .collect(),
            )
        };
        assert_eq!(all(&[Status::Healthy, Status::Healthy]), Status::Healthy);
        assert_eq!(all(&[Status::Healthy, Status::Degraded]), Status::Degraded);
        assert_eq!(
            all(&[Status::Unhealthy, Status::Degraded, Status::Healthy]),
            Status::Unhealthy
        );
    }

    #[test]
    fn a_database_is_healthy_below_a_tenth_of_a_second() {
        assert_eq!(
            database(Ok(Duration::from_millis(99))).status,
            Status::Healthy
        );
        assert_eq!(
            database(Ok(Duration::from_millis(100))).status,
            Status::Degraded
        );
        assert_eq!(database(Err(())).status, Status::Unhealthy);
    }
}
