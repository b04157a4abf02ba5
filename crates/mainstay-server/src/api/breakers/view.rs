//! Breakers as the API shows them.

use std::collections::{BTreeMap, HashMap};

use mainstay_domain::{
    BreakerChangeId, EndpointId, StoreResult, TenantId, Timestamp, Tx,
    jobs::{
        Endpoint,
        breaker::{
            Breaker, BreakerChange, BreakerPolicy, BreakerRule, BreakerState as State, Dependency,
            Why,
        },
    },
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    api::endpoints::{BreakerSettings, BreakerState, settings_of},
    time::Time,
};

/// A breaker, what stands behind it, and what a person said of it.
pub(super) struct Guarded {
    pub(super) dependency: Dependency,
    breaker: Breaker,
    rule: Option<BreakerRule>,
    policy: BreakerPolicy,
    endpoints: Vec<(EndpointId, String)>,
}

impl Guarded {
    /// All in the scope, by name.
    pub(super) async fn load(tx: &mut dyn Tx) -> StoreResult<Vec<Self>> {
        let mut endpoints = tx.endpoint_list().await?;
        let mut breakers: HashMap<Dependency, Breaker> =
            tx.breaker_list().await?.into_iter().collect();
        let rules = tx.breaker_rules().await?.into_iter();
        let mut rules: HashMap<Dependency, BreakerRule> =
            rules.map(|rule| (rule.dependency.clone(), rule)).collect();
        // The first queue's policy counts, as it does in the engine.
        endpoints.sort_by_key(|endpoint| endpoint.queue);
        let mut all: BTreeMap<Dependency, Self> = BTreeMap::new();
        for endpoint in endpoints {
            let settings = settings_of(&endpoint);
            let dependency = Dependency::of(&endpoint, &settings);
            let Endpoint { id, name, .. } = endpoint;
            let one = all.entry(dependency.clone()).or_insert_with(|| Self {
                breaker: breakers.remove(&dependency).unwrap_or_default(),
                rule: rules.remove(&dependency),
                policy: settings.breaker,
                endpoints: Vec::new(),
                dependency,
            });
            one.endpoints.push((id, name));
        }
        let mut all: Vec<Self> = all.into_values().collect();
        all.sort_by(|one, other| {
            (one.label(), one.first_id()).cmp(&(other.label(), other.first_id()))
        });
        Ok(all)
    }

    /// Whether it is meant by a name, or by an endpoint's id.
    pub(super) fn is_called(&self, name: &str) -> bool {
        let behind = |(id, _): &(EndpointId, String)| id.to_string() == name;
        self.dependency.name == name || self.endpoints.iter().any(behind)
    }

    /// How a person calls it: by its name, or by the endpoint's whose own it is.
    fn label(&self) -> &str {
        match (self.dependency.endpoint(), self.endpoints.first()) {
            (Some(_), Some((_, name))) => name,
            _ => &self.dependency.name,
        }
    }

    /// What it is found again by on the next page.
    pub(super) fn first_id(&self) -> Uuid {
        let first = self.endpoints.first();
        first.map_or(Uuid::nil(), |(id, _)| id.uuid())
    }

    /// What a person said, as long as it holds.
    fn held(&self, now: Timestamp) -> Option<&BreakerRule> {
        self.rule.as_ref().filter(|rule| rule.forced.holds(now))
    }

    /// Whether a person holds it.
    pub(super) fn is_held(&self, now: Timestamp) -> bool {
        self.held(now).is_some()
    }

    /// Where it stands.
    pub(super) fn stands(&self, now: Timestamp) -> State {
        match self.held(now) {
            Some(rule) => rule.forced.state(),
            // The engine has not heard yet that nobody holds it any more.
            None => self.breaker.stands(),
        }
    }

    /// The same, held as a person said.
    pub(super) fn said(self, rule: BreakerRule) -> Self {
        Self {
            rule: Some(rule),
            ..self
        }
    }

    /// The same, held by nobody any more.
    pub(super) fn freed(self, now: Timestamp) -> Self {
        let mut breaker = self.breaker.clone();
        if let Some(rule) = self.held(now) {
            breaker.force(Some(rule.forced), &mut Default::default(), now);
        }
        breaker.force(None, &mut Default::default(), now);
        Self {
            breaker,
            rule: None,
            ..self
        }
    }

    pub(super) fn view(self, now: Timestamp) -> GuardedView {
        let state = self.stands(now);
        let by_itself = self.held(now).is_none();
        GuardedView {
            state: state.into(),
            name: self.label().to_owned(),
            shared: self.dependency.endpoint().is_none(),
            forced: self.held(now).map(Into::into),
            failures: self.breaker.failures,
            successes: self.breaker.successes,
            opened_at: self.breaker.opened_at.map(Into::into),
            probe_at: self.breaker.probe_at.filter(|_| by_itself).map(Into::into),
            last_error: self.breaker.last_error,
            settings: self.policy.into(),
            tenant_id: self.dependency.tenant,
            dependency: self.dependency.name,
            endpoints: self
                .endpoints
                .into_iter()
                .map(|(id, name)| GuardedEndpoint { id, name })
                .collect(),
        }
    }
}

/// An endpoint behind a breaker.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BreakerEndpoint)]
pub(super) struct GuardedEndpoint {
    #[schema(value_type = String)]
    id: EndpointId,
    name: String,
}

/// What a person said of a breaker.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BreakerForced)]
pub(super) struct ForcedView {
    reason: String,
    by: String,
    at: Time,
    /// Until when; null: until somebody says otherwise.
    until: Option<Time>,
}

impl From<&BreakerRule> for ForcedView {
    fn from(rule: &BreakerRule) -> Self {
        Self {
            reason: rule.reason.clone(),
            by: rule.by.clone(),
            at: rule.at.into(),
            until: rule.forced.until.map(Into::into),
        }
    }
}

/// The breaker of one dependency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DependencyBreaker)]
pub(crate) struct GuardedView {
    /// What it stands before: a name, or the id of the endpoint whose own it is.
    dependency: String,
    /// What people call it: the same name, or the endpoint's.
    name: String,
    /// Whether endpoints named the dependency, so that several may share it.
    shared: bool,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    /// The endpoints whose jobs go there, the one first whose settings count.
    endpoints: Vec<GuardedEndpoint>,
    state: BreakerState,
    /// What a person said, as long as it holds.
    forced: Option<ForcedView>,
    /// Consecutive failures.
    failures: u32,
    /// Probes that succeeded since it is half open.
    successes: u32,
    opened_at: Option<Time>,
    /// When probes are due.
    probe_at: Option<Time>,
    last_error: Option<String>,
    settings: BreakerSettings,
}

/// Why a breaker changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = BreakerWhy)]
pub(crate) enum WhyName {
    /// So many failures one after the other.
    Failures,
    /// So many of the last calls failed.
    FailedShare,
    /// So many of the last calls were slow.
    SlowShare,
    /// Its pause is over: probes go through.
    PauseOver,
    /// A probe failed.
    ProbeFailed,
    /// A probe was slow.
    ProbeSlow,
    /// So many probes succeeded.
    ProbesSucceeded,
    /// A person opened it.
    ForcedOpen,
    /// A person closed it.
    ForcedClosed,
    /// A person gave it back to its own rule.
    Automatic,
    /// The time for which a person held it is over.
    ForcedOver,
}

impl From<Why> for WhyName {
    fn from(why: Why) -> Self {
        match why {
            Why::Failures => Self::Failures,
            Why::FailedShare => Self::FailedShare,
            Why::SlowShare => Self::SlowShare,
            Why::PauseOver => Self::PauseOver,
            Why::ProbeFailed => Self::ProbeFailed,
            Why::ProbeSlow => Self::ProbeSlow,
            Why::ProbesSucceeded => Self::ProbesSucceeded,
            Why::ForcedOpen => Self::ForcedOpen,
            Why::ForcedClosed => Self::ForcedClosed,
            Why::Automatic => Self::Automatic,
            Why::ForcedOver => Self::ForcedOver,
        }
    }
}

/// A change of a breaker's state.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BreakerChange)]
pub(crate) struct BreakerChangeView {
    #[schema(value_type = String)]
    id: BreakerChangeId,
    at: Time,
    from: BreakerState,
    to: BreakerState,
    why: WhyName,
    /// What the rule counted: failures, slow calls, successes.
    count: u32,
    /// Of how many calls, where it is a share of them.
    calls: u32,
    /// What the last failure said.
    error: Option<String>,
    /// Who did it, where a person did.
    by: Option<String>,
    reason: Option<String>,
    /// Until when a person holds it.
    until: Option<Time>,
}

impl From<BreakerChange> for BreakerChangeView {
    fn from(change: BreakerChange) -> Self {
        Self {
            id: change.id,
            at: change.at.into(),
            from: change.turn.from.into(),
            to: change.turn.to.into(),
            why: change.turn.why.into(),
            count: change.turn.count,
            calls: change.turn.calls,
            error: change.error,
            by: change.by,
            reason: change.reason,
            until: change.until.map(Into::into),
        }
    }
}
