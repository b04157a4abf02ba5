//! Endpoints as the API shows them, and the settings that it takes as it shows them.

use mainstay_domain::{
    EndpointId, TenantId,
    jobs::{
        Endpoint,
        breaker::{Breaker, BreakerPolicy, BreakerState as State, Dependency, WhenOpen},
        health::{Health, Signs},
        settings::{EndpointSettings, Signing},
    },
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    health::HealthView,
    secrets::{SecretView, secrets_shown},
};
use crate::{api::retry::Retry, stats::Figures, time::Time};

/// How requests to an endpoint are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Signing)]
pub(crate) enum SigningName {
    /// The provider's payload, signed by us as Standard Webhooks asks.
    StandardWebhooks,
    /// The provider's own body and headers, unchanged.
    Original,
}

impl From<Signing> for SigningName {
    fn from(signing: Signing) -> Self {
        match signing {
            Signing::StandardWebhooks => Self::StandardWebhooks,
            Signing::Original => Self::Original,
        }
    }
}

impl From<SigningName> for Signing {
    fn from(signing: SigningName) -> Self {
        match signing {
            SigningName::StandardWebhooks => Self::StandardWebhooks,
            SigningName::Original => Self::Original,
        }
    }
}

/// Where a breaker stands, by its own rule or since a person holds it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BreakerState {
    /// Everything passes.
    Closed,
    /// Nothing passes until probes are due.
    Open,
    /// A few probes at a time pass.
    HalfOpen,
}

/// The circuit breaker of what an endpoint depends on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Breaker)]
pub(crate) struct BreakerView {
    /// What it stands before: the name that the settings say, or the endpoint's own id.
    dependency: String,
    state: BreakerState,
    /// Whether a person holds it there.
    forced: bool,
    /// Consecutive failures.
    failures: u32,
    opened_at: Option<Time>,
    /// When probes are due.
    probe_at: Option<Time>,
    last_error: Option<String>,
}

impl From<State> for BreakerState {
    fn from(state: State) -> Self {
        match state {
            State::Closed => Self::Closed,
            State::Open => Self::Open,
            State::HalfOpen => Self::HalfOpen,
        }
    }
}

impl BreakerView {
    fn of(breaker: Breaker, dependency: Dependency) -> Self {
        Self {
            dependency: dependency.name,
            state: breaker.stands().into(),
            forced: breaker.forced.is_some(),
            failures: breaker.failures,
            opened_at: breaker.opened_at.map(Into::into),
            probe_at: breaker.probe_at.map(Into::into),
            last_error: breaker.last_error,
        }
    }
}

/// When an endpoint's breaker opens, and how it closes again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BreakerSettings {
    /// What it stands before: endpoints of one tenant that name the same share the breaker, and the settings of the one that was
    /// made first. Left out: the endpoint has a breaker of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64, pattern = "^[a-z0-9][a-z0-9.-]*$")]
    pub(super) dependency: Option<String>,
    /// Consecutive failures that open it.
    #[schema(minimum = 1, maximum = 10000)]
    pub(super) failures_to_open: u32,
    /// The share of the calls in the window that opens it when they failed, in percent. Left out: no share does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100)]
    pub(super) failed_percent: Option<u32>,
    /// A call that takes longer is slow, in milliseconds. Left out: none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 120000)]
    pub(super) slow_ms: Option<i64>,
    /// The share of the calls in the window that opens it when they were slow, in percent.
    #[schema(minimum = 1, maximum = 100)]
    pub(super) slow_percent: u32,
    /// No share opens it before there were so many calls in the window.
    #[schema(minimum = 1, maximum = 10000)]
    pub(super) calls_min: u32,
    /// The window of the shares, in milliseconds.
    #[schema(minimum = 1000, maximum = 3600000)]
    pub(super) window_ms: i64,
    /// The first pause before probes, in milliseconds; it doubles each time that one fails.
    #[schema(minimum = 10, maximum = 3600000)]
    pub(super) pause_ms: i64,
    /// No pause is longer than this, in milliseconds.
    #[schema(minimum = 10, maximum = 86400000)]
    pub(super) pause_max_ms: i64,
    /// So many probes may be under way at a time, in the whole cluster, and so many must succeed.
    #[schema(minimum = 1, maximum = 100)]
    pub(super) probes: u32,
    /// What becomes of jobs that could begin while it is open by its own rule.
    pub(super) when_open: WhenOpenName,
}

/// What becomes of jobs while a breaker is open by its own rule. While a person holds it open they wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = WhenOpen)]
pub(crate) enum WhenOpenName {
    /// They wait, and use up no try.
    Wait,
    /// They are dead letters at once, of the code `breaker_open`. Nothing is sent.
    Fail,
}

impl From<WhenOpen> for WhenOpenName {
    fn from(when: WhenOpen) -> Self {
        match when {
            WhenOpen::Wait => Self::Wait,
            WhenOpen::Fail => Self::Fail,
        }
    }
}

impl From<WhenOpenName> for WhenOpen {
    fn from(when: WhenOpenName) -> Self {
        match when {
            WhenOpenName::Wait => Self::Wait,
            WhenOpenName::Fail => Self::Fail,
        }
    }
}

impl Default for BreakerSettings {
    fn default() -> Self {
        BreakerPolicy::default().into()
    }
}

impl From<BreakerPolicy> for BreakerSettings {
    fn from(policy: BreakerPolicy) -> Self {
        Self {
            dependency: None,
            failures_to_open: policy.failures_to_open,
            failed_percent: policy.failed_percent,
            slow_ms: policy.slow_ms,
            slow_percent: policy.slow_percent,
            calls_min: policy.calls_min,
            window_ms: policy.window_ms,
            pause_ms: policy.pause_ms,
            pause_max_ms: policy.pause_max_ms,
            probes: policy.probes,
            when_open: policy.when_open.into(),
        }
    }
}

impl From<&BreakerSettings> for BreakerPolicy {
    fn from(settings: &BreakerSettings) -> Self {
        Self {
            failures_to_open: settings.failures_to_open,
            failed_percent: settings.failed_percent,
            slow_ms: settings.slow_ms,
            slow_percent: settings.slow_percent,
            calls_min: settings.calls_min,
            window_ms: settings.window_ms,
            pause_ms: settings.pause_ms,
            pause_max_ms: settings.pause_max_ms,
            probes: settings.probes,
            when_open: settings.when_open.into(),
        }
    }
}

/// How an endpoint does: its queue now, its counts of the last 24 hours.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndpointStats {
    /// All of the following in one number.
    health: HealthView,
    /// Jobs that could be started.
    waiting: i64,
    /// Requests under way.
    in_flight: i64,
    /// Jobs to be tried again.
    retrying: i64,
    /// Dead letters.
    dead: i64,
    /// Jobs done in 24 hours.
    succeeded: i64,
    /// Attempts that failed in 24 hours.
    failed: i64,
    /// The share of attempts that succeeded in 24 hours; null when there were none.
    success_rate: Option<f64>,
    /// The median time to an answer in 24 hours, whatever the answer was, to about 6 %. Requests that were given up
    /// after the timeout count; those without a connection do not. Null when there were none.
    p50_ms: Option<i64>,
    /// The 99th percentile of the same.
    p99_ms: Option<i64>,
    /// The last minute in which a job was done.
    last_success_at: Option<Time>,
    /// The last minute in which an attempt failed.
    last_failure_at: Option<Time>,
}

/// The team's own URL that jobs are pushed to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Endpoint)]
pub(crate) struct EndpointView {
    #[schema(value_type = String)]
    id: EndpointId,
    name: String,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    url: String,
    /// Whether jobs are pushed. While it is not, they wait.
    enabled: bool,
    signing: SigningName,
    connect_timeout_ms: u64,
    timeout_ms: u64,
    /// How many requests may be under way at once.
    max_in_flight: u32,
    retry: Retry,
    breaker_settings: BreakerSettings,
    breaker: BreakerView,
    /// The names of the headers that are added to each request; their values are not shown.
    header_names: Vec<String>,
    /// What requests are signed with, newest first.
    secrets: Vec<SecretView>,
    stats: EndpointStats,
    created_at: Time,
    updated_at: Time,
}

pub(crate) fn settings_of(endpoint: &Endpoint) -> EndpointSettings {
    serde_json::from_str(&endpoint.settings).unwrap_or_default()
}

impl EndpointView {
    pub(crate) fn of(endpoint: Endpoint, figures: &Figures) -> Self {
        let settings = settings_of(&endpoint);
        let (counted, queue) = (
            figures.of(endpoint.id.uuid()),
            figures.queue(endpoint.queue),
        );
        let breaker = queue.breaker.unwrap_or_default();
        let p99_ms = figures.quantile_ms(endpoint.id, 0.99);
        let dependency = Dependency::of(&endpoint, &settings);
        let health = Health::of(&Signs {
            success_rate: counted.success_rate(),
            p99_ms,
            timeout_ms: settings.timeout_ms,
            breaker: breaker.stands(),
            failures: breaker.failures,
            failures_to_open: settings.breaker.failures_to_open,
        });
        Self {
            id: endpoint.id,
            secrets: secrets_shown(&endpoint),
            header_names: endpoint.headers.into_keys().collect(),
            name: endpoint.name,
            tenant_id: endpoint.tenant,
            url: endpoint.url,
            enabled: endpoint.enabled,
            signing: settings.signing.into(),
            connect_timeout_ms: settings.connect_timeout_ms,
            timeout_ms: settings.timeout_ms,
            max_in_flight: settings.max_in_flight,
            retry: Retry::from(&settings.retry),
            breaker_settings: BreakerSettings {
                dependency: settings.dependency,
                ..settings.breaker.into()
            },
            breaker: BreakerView::of(breaker, dependency),
            stats: EndpointStats {
                health: health.into(),
                waiting: queue.waiting,
                in_flight: queue.running,
                retrying: queue.retrying,
                dead: queue.dead,
                succeeded: counted.done,
                failed: counted.failed + counted.dead,
                success_rate: counted.success_rate(),
                p50_ms: figures.quantile_ms(endpoint.id, 0.5),
                p99_ms,
                last_success_at: counted.done_at.map(Into::into),
                last_failure_at: counted.failed_at.map(Into::into),
            },
            created_at: endpoint.created_at.into(),
            updated_at: endpoint.updated_at.into(),
        }
    }
}
