//! A queue as it is shown, and what can be changed of it.

use std::collections::{BTreeMap, HashMap};

use mainstay::jobs::{PaceSnapshot, TenantUse};
use mainstay_domain::{
    EndpointId, StoreExt, StoreResult, TenantId, Timestamp,
    jobs::{Flow, QueueLimits, QueueNumber, QueueRules, rate::Rate, settings::SettingError},
};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::{
    access::Caller, api::endpoints::BreakerState, http::Problem, state::App, stats::Queue,
    time::Time,
};

/// Whether a queue's jobs are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = QueueFlow)]
pub(crate) enum FlowName {
    /// They are.
    Running,
    /// None is; what runs comes to its end.
    Paused,
    /// Those that were made before it was asked for are; what comes later waits.
    Draining,
}

impl From<Flow> for FlowName {
    fn from(flow: Flow) -> Self {
        match flow {
            Flow::Running => Self::Running,
            Flow::Paused => Self::Paused,
            Flow::Draining => Self::Draining,
        }
    }
}

/// How often jobs may begin.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = QueueRate)]
pub(crate) struct RateView {
    /// So many,
    #[schema(minimum = 1, maximum = 1_000_000)]
    count: u32,
    /// in so many milliseconds.
    #[serde(default = "second")]
    #[schema(minimum = 1, maximum = 86_400_000, default = 1_000)]
    per_ms: i64,
    /// So many may begin at once after a pause; 1: they are spread evenly.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1_000_000, default = 1)]
    burst: u32,
}

const fn second() -> i64 {
    1_000
}

const fn one() -> u32 {
    1
}

impl From<Rate> for RateView {
    fn from(rate: Rate) -> Self {
        Self {
            count: rate.count,
            per_ms: rate.per_ms,
            burst: rate.burst,
        }
    }
}

impl From<RateView> for Rate {
    fn from(rate: RateView) -> Self {
        Self {
            count: rate.count,
            per_ms: rate.per_ms,
            burst: rate.burst,
        }
    }
}

/// How much of a queue may run. Null: no limit of the queue's own.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = QueueLimits)]
pub(crate) struct LimitsView {
    /// How many jobs may run at once.
    max_in_flight: Option<u32>,
    /// How often one may begin.
    rate: Option<RateView>,
    /// How many jobs of one tenant may run at once.
    tenant_max_in_flight: Option<u32>,
    /// How often one of a tenant's may begin.
    tenant_rate: Option<RateView>,
    /// As soon as so many jobs wait, who submits one is told to come again later.
    max_waiting: Option<u32>,
    /// The same as soon as the oldest has waited for longer than so many seconds.
    max_age_secs: Option<u32>,
    /// Tenants whose share of the worker time is not 1.
    #[schema(value_type = BTreeMap<String, u32>)]
    weights: BTreeMap<TenantId, u32>,
}

impl From<QueueLimits> for LimitsView {
    fn from(limits: QueueLimits) -> Self {
        Self {
            max_in_flight: limits.max_in_flight,
            rate: limits.rate.map(Into::into),
            tenant_max_in_flight: limits.tenant_max_in_flight,
            tenant_rate: limits.tenant_rate.map(Into::into),
            max_waiting: limits.max_waiting,
            max_age_secs: limits.max_age_secs,
            weights: limits.weights,
        }
    }
}

/// What a tenant uses of a queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueTenant {
    #[schema(value_type = String)]
    tenant_id: TenantId,
    /// Its jobs under way.
    running: u32,
    /// Worker time that its jobs took in the last five minutes, in milliseconds: of attempts that have ended.
    used_ms: i64,
    /// Its jobs that could be started.
    waiting: i64,
    /// Whether there are more of them than that.
    more: bool,
    /// Whether one of the limits of tenants holds it back.
    limited: bool,
}

impl From<&TenantUse> for QueueTenant {
    fn from(of: &TenantUse) -> Self {
        Self {
            tenant_id: of.tenant,
            running: of.running,
            used_ms: of.used_ms,
            waiting: of.waiting,
            more: of.more,
            limited: of.limited,
        }
    }
}

/// A queue: how it stands, and what was said of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Queue)]
pub(crate) struct QueueView {
    name: String,
    /// The endpoint that its jobs are pushed to.
    #[schema(value_type = Option<String>)]
    endpoint_id: Option<EndpointId>,
    endpoint_name: Option<String>,
    flow: FlowName,
    /// When somebody said so; null: nobody did.
    flow_at: Option<Time>,
    /// While it is drained: whether nothing is left of what was made before.
    drained: Option<bool>,
    limits: LimitsView,
    /// Jobs that could be started.
    waiting: i64,
    /// Jobs under way.
    running: i64,
    /// Jobs to be tried again.
    retrying: i64,
    /// Jobs whose time has not come.
    scheduled: i64,
    /// Dead letters.
    dead: i64,
    /// When the oldest waiting job was made.
    oldest_waiting_at: Option<Time>,
    /// Jobs made in a second, over the last minute.
    in_per_sec: f64,
    /// Jobs that came to an end in a second, over the last minute.
    out_per_sec: f64,
    /// How long what waits and runs would take at that pace, in seconds; null while nothing ends.
    drain_secs: Option<i64>,
    /// Whether submissions are refused now, since more waits than its limits allow.
    full: bool,
    /// The endpoint's breaker.
    breaker: Option<BreakerState>,
    /// Whether paces and tenants are known: by the node that runs the engine.
    live: bool,
    /// Those who use the most of it, and those of whom the most waits.
    tenants: Vec<QueueTenant>,
}

/// What is to change. What is left out stays; null takes a limit away.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct QueueChange {
    /// How many jobs may run at once.
    #[serde(deserialize_with = "named")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 10_000)]
    max_in_flight: Option<Option<u32>>,
    /// How often one may begin.
    #[serde(deserialize_with = "named")]
    #[schema(value_type = Option<RateView>)]
    rate: Option<Option<RateView>>,
    /// How many jobs of one tenant may run at once.
    #[serde(deserialize_with = "named")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 10_000)]
    tenant_max_in_flight: Option<Option<u32>>,
    /// How often one of a tenant's may begin.
    #[serde(deserialize_with = "named")]
    #[schema(value_type = Option<RateView>)]
    tenant_rate: Option<Option<RateView>>,
    /// As soon as so many jobs wait, submissions are refused: 429 with the code `queue_full`.
    #[serde(deserialize_with = "named")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000_000)]
    max_waiting: Option<Option<u32>>,
    /// The same as soon as the oldest has waited for longer than so many seconds.
    #[serde(deserialize_with = "named")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 2_592_000)]
    max_age_secs: Option<Option<u32>>,
    /// Shares of tenants: from 1 to 1000, null for 1. Tenants that are not named keep theirs.
    #[schema(value_type = Option<BTreeMap<String, Option<u32>>>)]
    weights: Option<BTreeMap<TenantId, Option<u32>>>,
}

/// Null is something that was said.
fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl QueueView {
    /// The same, with what was said of it just now.
    pub(super) fn with(self, rules: QueueRules) -> Self {
        Self {
            flow: rules.flow.into(),
            flow_at: Some(rules.flow_at.into()),
            drained: None,
            full: self.full && rules.limits.bounds_waiting(),
            drain_secs: self.drain_secs.filter(|_| rules.flow != Flow::Paused),
            limits: rules.limits.into(),
            ..self
        }
    }
}

impl QueueChange {
    /// The limits as they are to be.
    pub(super) fn apply(&self, known: QueueLimits) -> Result<QueueLimits, Problem> {
        let mut weights = known.weights;
        for (tenant, weight) in self.weights.iter().flatten() {
            match weight.filter(|weight| *weight != 1) {
                Some(weight) => drop(weights.insert(*tenant, weight)),
                None => drop(weights.remove(tenant)),
            }
        }
        let limits = QueueLimits {
            max_in_flight: self.max_in_flight.unwrap_or(known.max_in_flight),
            rate: self.rate.map_or(known.rate, |rate| rate.map(Into::into)),
            tenant_max_in_flight: self
                .tenant_max_in_flight
                .unwrap_or(known.tenant_max_in_flight),
            tenant_rate: self
                .tenant_rate
                .map_or(known.tenant_rate, |rate| rate.map(Into::into)),
            max_waiting: self.max_waiting.unwrap_or(known.max_waiting),
            max_age_secs: self.max_age_secs.unwrap_or(known.max_age_secs),
            weights,
        };
        limits.check().map_err(|error| outside(&error))?;
        Ok(limits)
    }
}

fn outside(error: &SettingError) -> Problem {
    Problem::field(format!("/{}", error.field), error.to_string())
}

/// What stands beside the figures of queues.
pub(super) struct Beside {
    pub(super) rules: HashMap<QueueNumber, QueueRules>,
    endpoints: HashMap<QueueNumber, (EndpointId, String)>,
    live: bool,
    now: Timestamp,
}

impl Beside {
    /// What the caller may see of it.
    pub(super) async fn load(app: &App, caller: &Caller) -> StoreResult<Self> {
        let (rules, endpoints) = app
            .store
            .read(caller.scope(), |tx| {
                Box::pin(async move { Ok((tx.queue_rules().await?, tx.endpoint_list().await?)) })
            })
            .await?;
        let endpoints = endpoints.into_iter();
        Ok(Self {
            rules: rules.into_iter().map(|one| (one.queue, one)).collect(),
            endpoints: endpoints
                .map(|one| (one.queue, (one.id, one.name)))
                .collect(),
            live: app.mainstay.engine.snapshot().owner,
            now: app.clock.now(),
        })
    }

    /// The queue as the caller sees it.
    pub(super) fn view(&self, queue: Queue, caller: &Caller) -> QueueView {
        let rules = self.rules.get(&queue.number);
        let endpoint = self.endpoints.get(&queue.number);
        let own = |one: &&TenantUse| caller.tenant.is_none_or(|own| own == one.tenant);
        let flow = rules.map_or(Flow::Running, |rules| rules.flow);
        let out = per_sec(queue.pace, queue.pace.ended);
        let left = queue.waiting + queue.running;
        let ends = flow != Flow::Paused && out > 0.0;
        QueueView {
            endpoint_id: endpoint.map(|(id, _)| *id),
            endpoint_name: endpoint.map(|(_, name)| name.clone()),
            flow: flow.into(),
            flow_at: rules.map(|rules| rules.flow_at.into()),
            drained: queue.drained,
            limits: rules
                .map(|rules| rules.limits.clone())
                .unwrap_or_default()
                .into(),
            waiting: queue.waiting,
            running: queue.running,
            retrying: queue.retrying,
            scheduled: queue.scheduled,
            dead: queue.dead,
            oldest_waiting_at: queue.oldest_waiting.map(Into::into),
            in_per_sec: per_sec(queue.pace, queue.pace.made),
            out_per_sec: out,
            drain_secs: ends.then(|| (left as f64 / out).ceil() as i64),
            full: queue
                .pressure
                .is_some_and(|pressure| pressure.full(self.now).is_some()),
            breaker: queue
                .breaker
                .as_ref()
                .map(|breaker| breaker.stands().into()),
            live: self.live,
            tenants: queue.tenants.iter().filter(own).map(Into::into).collect(),
            name: queue.name,
        }
    }
}

/// With a tenth of a job at the finest: more would be noise.
fn per_sec(pace: PaceSnapshot, count: i64) -> f64 {
    if pace.over_ms == 0 {
        return 0.0;
    }
    (count as f64 * 10_000.0 / pace.over_ms as f64).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> QueueChange {
        serde_json::from_str(text).expect("a change")
    }

    #[test]
    fn what_is_left_out_stays_and_null_takes_away() {
        let first = change(
            r#"{"max_in_flight":3,"rate":{"count":5},"weights":{"ten_00000000000000000000000001":4}}"#,
        );
        let limits = first.apply(QueueLimits::default()).expect("limits");
        assert_eq!(limits.max_in_flight, Some(3));
        assert_eq!(limits.weights.len(), 1);
        let second = change(r#"{"rate":null,"weights":{"ten_00000000000000000000000001":null}}"#);
        let limits = QueueLimits {
            max_waiting: Some(7),
            ..limits
        };
        let limits = second.apply(limits).expect("limits");
        assert_eq!(limits.max_waiting, Some(7));
        assert_eq!((limits.max_in_flight, limits.rate), (Some(3), None));
        assert!(limits.weights.is_empty());
        assert!(
            change(r#"{"tenant_max_in_flight":0}"#)
                .apply(limits)
                .is_err()
        );
    }
}
