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
use mainstay::intake::spool::SpoolStatus;
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
    /// Jobs that wait; for the spool, requests.
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
    /// Why it is not healthy, where that is not plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<&'static str>,
}

impl Check {
    const fn of(status: Status) -> Self {
        Self {
            status,
            latency_ms: None,
            depth: None,
            oldest_waiting_secs: None,
            owner: None,
            reason: None,
        }
    }
}

/// How the installation is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// The worst of all checks.
    status: Status,
    /// By part: `database`, `queue`, `engine`, and `spool` where there is one.
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
    let owned = snapshot.owner || app.door.is_none() || another_owns(app).await;
    checks.insert("engine", engine(snapshot.owner, snapshot.running, owned));
    checks.insert("queue", queue(app, now).await);
    if let Some(status) = app.mainstay.intake.spool_status() {
        checks.insert("spool", spool(&status, now));
    }
    Health {
        status: worst(&checks),
        checks,
        version: env!("CARGO_PKG_VERSION"),
        uptime_secs: app.uptime().as_secs(),
        timestamp: now.into(),
    }
}

/// Taking over takes seconds; where no node can, nobody runs the jobs although intake goes on.
fn engine(owner: bool, running: bool, owned: bool) -> Check {
    let reason = match (owner, owned) {
        (true, _) if !running => Some("this node is taking over the jobs"),
        (false, false) => Some("no node owns the jobs: they wait until one does"),
        _ => None,
    };
    let status = reason.map_or(Status::Healthy, |_| Status::Degraded);
    Check {
        owner: Some(owner),
        reason,
        ..Check::of(status)
    }
}

/// Whether a node holds the lease of the engine. Where nobody can say, `database` tells it.
async fn another_owns(app: &App) -> bool {
    let asked = tokio::time::timeout(limits::PROBE_TIMEOUT, app.mainstay.nodes.list()).await;
    let nodes = asked.ok().and_then(Result::ok);
    nodes.is_none_or(|nodes| nodes.iter().any(|node| node.holds))
}

/// Healthy while it is empty and could be written. What was set aside or lost has to be looked at, and a new start forgets.
fn spool(status: &SpoolStatus, now: mainstay_domain::Timestamp) -> Check {
    let reason = if status.failing.is_some() {
        Some("the spool cannot be written: without the database requests are answered 503")
    } else if status.taking && status.bytes >= status.max_bytes {
        Some("the spool is full: requests are answered 503")
    } else if status.taking {
        Some("requests go into the spool until the database has stored what waits there")
    } else if status.counts.set_aside + status.counts.lost + status.counts.damaged > 0 {
        Some("not all that was spooled could be stored; see the log")
    } else if status
        .snapshot
        .as_ref()
        .is_some_and(|one| one.failing.is_some())
    {
        Some(
            "the snapshot of the sources cannot be written: a start without the database would go by an old one",
        )
    } else {
        None
    };
    let status_of = match reason {
        Some(_) => Status::Degraded,
        None => Status::Healthy,
    };
    Check {
        depth: Some(status.waiting as i64),
        oldest_waiting_secs: status.oldest.map(|oldest| now.ms_since(oldest) / 1_000),
        reason,
        ..Check::of(status_of)
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
    fn jobs_that_nobody_runs_make_a_node_degraded_that_stands_by_too() {
        let [owner, running, owned] = [true; 3];
        for (check, healthy) in [
            (engine(owner, running, owned), true),
            (engine(owner, false, owned), false),
            (engine(false, false, owned), true),
            (engine(false, false, false), false),
        ] {
            assert_eq!(check.status == Status::Healthy, healthy, "{check:?}");
            assert_eq!(check.reason.is_none(), healthy, "{check:?}");
        }
    }

    #[test]
    fn a_spool_that_is_used_or_cannot_be_is_degraded_and_says_why() {
        let now = mainstay_domain::Timestamp::from_secs(1_900_000_000);
        let idle = SpoolStatus {
            max_bytes: 100,
            ..SpoolStatus::default()
        };
        assert_eq!(spool(&idle, now).status, Status::Healthy);
        let used = SpoolStatus {
            taking: true,
            waiting: 3,
            oldest: Some(now.minus_ms(4_000)),
            ..idle.clone()
        };
        let failing = SpoolStatus {
            failing: Some("no room".into()),
            ..idle
        };
        let full = SpoolStatus {
            bytes: 100,
            ..used.clone()
        };
        for (status, word) in [(&used, "until"), (&failing, "cannot"), (&full, "full")] {
            let check = spool(status, now);
            assert_eq!(check.status, Status::Degraded);
            assert!(
                check.reason.is_some_and(|reason| reason.contains(word)),
                "{word}"
            );
        }
        let check = spool(&used, now);
        assert_eq!((check.depth, check.oldest_waiting_secs), (Some(3), Some(4)));
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
