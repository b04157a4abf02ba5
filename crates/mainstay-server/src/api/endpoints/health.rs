//! How well an endpoint does, as the API shows it.

use mainstay_domain::jobs::health::{Cause, Health, HealthState};
use serde::Serialize;
use utoipa::ToSchema;

/// What a score means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EndpointHealthState)]
pub(crate) enum StateName {
    /// 80 and more.
    Healthy,
    /// 50 and more.
    Degraded,
    /// Less.
    Failing,
    /// Nothing was sent in 24 hours.
    Unknown,
}

/// What costs points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EndpointHealthCause)]
pub(crate) enum CauseName {
    /// Attempts that failed in 24 hours: three points for each percent of them, 60 at the most.
    Failures,
    /// Failures one after the other until now: up to 15, at as many as open the breaker.
    Streak,
    /// Slow answers: up to 15, from a 99th percentile of half the timeout to one of the whole.
    Slow,
    /// The breaker is open: no more than 20 are left.
    BreakerOpen,
    /// The breaker is about to try again: no more than 40 are left.
    BreakerHalfOpen,
}

/// Points that an endpoint has lost.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndpointHealthLost)]
pub(crate) struct LostView {
    cause: CauseName,
    points: u8,
}

/// How well an endpoint does: 100 less what each cause costs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndpointHealth)]
pub(crate) struct HealthView {
    state: StateName,
    /// From 0 to 100; null: nothing was sent in 24 hours.
    score: Option<u8>,
    /// What was taken off, and why.
    lost: Vec<LostView>,
}

impl From<Health> for HealthView {
    fn from(health: Health) -> Self {
        let lost = health.lost.into_iter().map(|(cause, points)| LostView {
            cause: match cause {
                Cause::Failures => CauseName::Failures,
                Cause::Streak => CauseName::Streak,
                Cause::Slow => CauseName::Slow,
                Cause::BreakerOpen => CauseName::BreakerOpen,
                Cause::BreakerHalfOpen => CauseName::BreakerHalfOpen,
            },
            points,
        });
        Self {
            state: match health.state {
                HealthState::Healthy => StateName::Healthy,
                HealthState::Degraded => StateName::Degraded,
                HealthState::Failing => StateName::Failing,
                HealthState::Unknown => StateName::Unknown,
            },
            score: health.score,
            lost: lost.collect(),
        }
    }
}
