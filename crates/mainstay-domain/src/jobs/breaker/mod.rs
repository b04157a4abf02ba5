//! The circuit breaker of one dependency: a pure rule over its own few numbers.
//!
//! Failures one after the other open it, or too large a share of failed or slow calls; while it is open nothing is started
//! and no attempt is used up; after a pause it is half open and lets a few probes through at a time; as many successes
//! close it, and one failure opens it again, for longer. A person can hold it open or closed. Kept in the store over
//! restarts, but for the calls behind the shares.

use serde::{Deserialize, Serialize};

use super::{Endpoint, settings::EndpointSettings};
use crate::{
    id::{BreakerChangeId, EndpointId, TenantId},
    time::Timestamp,
};

mod calls;
mod policy;

pub use calls::{Calls, Counted};
pub use policy::{BreakerPolicy, WhenOpen};

/// The longest name of a dependency.
pub const DEPENDENCY_MAX: usize = 64;

/// What a breaker stands before. Each endpoint has one of its own, named by its id: strangers may share a host. Endpoints of one
/// tenant that name the same one share its breaker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dependency {
    /// Whose.
    pub tenant: TenantId,
    /// Its name, or the id of the endpoint whose own it is.
    pub name: String,
}

impl Dependency {
    /// What an endpoint depends on.
    pub fn of(endpoint: &Endpoint, settings: &EndpointSettings) -> Self {
        let own = || endpoint.id.to_string();
        Self {
            tenant: endpoint.tenant,
            name: settings.dependency.clone().unwrap_or_else(own),
        }
    }

    /// Whether a person may name one so: letters in lower case, digits, `-` and `.`, and no endpoint's id.
    pub fn may_be_named(name: &str) -> bool {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        begins && name.len() <= DEPENDENCY_MAX && name.chars().all(fits)
    }

    /// The endpoint whose own it is, if it is one's.
    pub fn endpoint(&self) -> Option<EndpointId> {
        self.name.parse().ok()
    }
}

/// Where a breaker stands. Numbered in the store by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Everything passes.
    #[default]
    Closed,
    /// Nothing passes until probes are due.
    Open,
    /// A few probes at a time pass.
    HalfOpen,
}

impl BreakerState {
    /// All of them, in the order in which the store numbers them.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// How a person holds a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forced {
    /// Open, else closed.
    pub open: bool,
    /// Until when; `None`: until somebody says otherwise.
    pub until: Option<Timestamp>,
}

impl Forced {
    /// Where it holds the breaker.
    pub const fn state(self) -> BreakerState {
        match self.open {
            true => BreakerState::Open,
            false => BreakerState::Closed,
        }
    }

    /// Whether it holds at this time.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

/// What a person said of a breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerRule {
    /// Of which dependency.
    pub dependency: Dependency,
    /// How it is held.
    pub forced: Forced,
    /// Why.
    pub reason: String,
    /// Who said so.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// The circuit breaker of one dependency.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Breaker {
    /// Where it stands by its own rule.
    pub state: BreakerState,
    /// Consecutive failures.
    pub failures: u32,
    /// Probes that succeeded since it is half open.
    pub successes: u32,
    /// How often probes opened it again.
    pub probes_failed: u32,
    /// When it opened.
    pub opened_at: Option<Timestamp>,
    /// When probes are due.
    pub probe_at: Option<Timestamp>,
    /// What the last failure said.
    pub last_error: Option<String>,
    /// How a person holds it.
    pub forced: Option<Forced>,
}

/// Why a breaker changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// So many failures one after the other.
    Failures,
    /// So many of the last calls failed.
    FailedShare,
    /// So many of the last calls were slow.
    SlowShare,
    /// Its pause is over.
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

impl Why {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Failures,
        Self::FailedShare,
        Self::SlowShare,
        Self::PauseOver,
        Self::ProbeFailed,
        Self::ProbeSlow,
        Self::ProbesSucceeded,
        Self::ForcedOpen,
        Self::ForcedClosed,
        Self::Automatic,
        Self::ForcedOver,
    ];

    /// The name in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::FailedShare => "failed_share",
            Self::SlowShare => "slow_share",
            Self::PauseOver => "pause_over",
            Self::ProbeFailed => "probe_failed",
            Self::ProbeSlow => "probe_slow",
            Self::ProbesSucceeded => "probes_succeeded",
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
            Self::Automatic => "automatic",
            Self::ForcedOver => "forced_over",
        }
    }
}

/// A change of a breaker's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Where it stood.
    pub from: BreakerState,
    /// Where it stands.
    pub to: BreakerState,
    /// By which rule.
    pub why: Why,
    /// What the rule counted: failures, slow calls, successes. 0 where it counts nothing.
    pub count: u32,
    /// Of how many calls, where it is a share of them.
    pub calls: u32,
}

impl Turn {
    /// What whoever listens to the dependency is told: that it is down, or back. Nothing in between, nor what a person did.
    pub fn told(&self) -> Option<Told> {
        match (self.from, self.to, self.why) {
            (_, _, Why::ForcedOpen | Why::ForcedClosed | Why::Automatic | Why::ForcedOver) => None,
            (BreakerState::Closed, BreakerState::Open, _) => Some(Told::Down),
            (_, BreakerState::Closed, _) => Some(Told::Up),
            _ => None,
        }
    }
}

/// What is told of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is down: its breaker opened.
    Down,
    /// It is back: its breaker closed.
    Up,
}

/// A change of a breaker's state, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerChange {
    /// Its id.
    pub id: BreakerChangeId,
    /// Of which dependency.
    pub dependency: Dependency,
    /// When.
    pub at: Timestamp,
    /// What changed, and by which rule.
    pub turn: Turn,
    /// What the last failure said.
    pub error: Option<String>,
    /// Who did it, where a person did.
    pub by: Option<String>,
    /// The person's reason.
    pub reason: Option<String>,
    /// Until when a person holds it.
    pub until: Option<Timestamp>,
}

/// A call of the dependency that has ended and says something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// Whether it was a probe.
    pub probe: bool,
    /// How long it took, in milliseconds.
    pub took_ms: i64,
    /// What went wrong, where it failed.
    pub error: Option<&'a str>,
}

impl Breaker {
    /// Where it stands, whoever says so.
    pub fn stands(&self) -> BreakerState {
        self.forced.map_or(self.state, Forced::state)
    }

    /// How many probes may be under way at `now`: `None` for no limit of the breaker's.
    pub fn allowance(&self, policy: &BreakerPolicy, now: Timestamp) -> Option<u32> {
        match self.stands() {
            BreakerState::Closed => None,
            BreakerState::HalfOpen => Some(policy.probes),
            BreakerState::Open if self.forced.is_some() => Some(0),
            BreakerState::Open if self.probe_at.is_some_and(|at| at <= now) => Some(policy.probes),
            BreakerState::Open => Some(0),
        }
    }

    /// When it lets more through by itself, if anything waits.
    pub fn next_at(&self) -> Option<Timestamp> {
        match (self.forced, self.state) {
            (Some(forced), _) => forced.until,
            (None, BreakerState::Open) => self.probe_at,
            (None, BreakerState::Closed | BreakerState::HalfOpen) => None,
        }
    }

    /// An attempt begins while it does not stand closed: a probe.
    pub fn probed(&mut self) -> Option<Turn> {
        (self.state == BreakerState::Open).then(|| {
            self.successes = 0;
            self.turned(BreakerState::HalfOpen, Why::PauseOver, 0, 0)
        })
    }

    /// A call has ended. While it is not closed only probes count: the others began before it opened. While a person holds
    /// it nothing counts.
    pub fn ended(
        &mut self,
        policy: &BreakerPolicy,
        calls: &mut Calls,
        call: Call<'_>,
        now: Timestamp,
    ) -> Option<Turn> {
        if self.forced.is_some() {
            return None;
        }
        let slow = policy.is_slow(call.took_ms);
        match self.state {
            BreakerState::Closed => {
                self.failures = match call.error {
                    Some(_) => self.failures.saturating_add(1),
                    None => 0,
                };
                self.last_error = call.error.map(str::to_owned);
                if policy.counts_calls() {
                    calls.add(policy, now, call.error.is_some(), slow);
                }
                let rule = self.opens(
                    policy,
                    calls.counted(policy, now),
                    call.error.is_some(),
                    slow,
                )?;
                Some(self.opened(policy, now, rule))
            }
            BreakerState::HalfOpen if call.probe => match call.error {
                Some(error) => {
                    self.failures = self.failures.saturating_add(1);
                    self.last_error = Some(error.to_owned());
                    Some(self.reopened(policy, now, Why::ProbeFailed))
                }
                None if slow => Some(self.reopened(policy, now, Why::ProbeSlow)),
                None => {
                    self.successes += 1;
                    let enough = self.successes >= policy.probes.max(1);
                    enough.then(|| self.closed(calls, Why::ProbesSucceeded))
                }
            },
            BreakerState::Open | BreakerState::HalfOpen => None,
        }
    }

    /// The rule by which a call opens it, with what it counted. One that went well opens nothing, whatever the shares.
    fn opens(
        &self,
        policy: &BreakerPolicy,
        counted: Counted,
        failed: bool,
        slow: bool,
    ) -> Option<(Why, u32, u32)> {
        if failed && self.failures >= policy.failures_to_open.max(1) {
            return Some((Why::Failures, self.failures, 0));
        }
        if counted.calls < policy.calls_min {
            return None;
        }
        let reaches = |count: u32, percent: Option<u32>| {
            let count = u64::from(count) * 100;
            percent.is_some_and(|percent| count >= u64::from(percent) * u64::from(counted.calls))
        };
        if failed && reaches(counted.failed, policy.failed_percent) {
            return Some((Why::FailedShare, counted.failed, counted.calls));
        }
        let slow_percent = policy.slow_ms.map(|_| policy.slow_percent);
        (slow && reaches(counted.slow, slow_percent)).then_some((
            Why::SlowShare,
            counted.slow,
            counted.calls,
        ))
    }

    fn opened(
        &mut self,
        policy: &BreakerPolicy,
        now: Timestamp,
        (why, count, calls): (Why, u32, u32),
    ) -> Turn {
        self.opened_at = Some(now);
        self.probe_at = Some(now.plus_ms(policy.pause_ms));
        self.turned(BreakerState::Open, why, count, calls)
    }

    fn reopened(&mut self, policy: &BreakerPolicy, now: Timestamp, why: Why) -> Turn {
        self.probes_failed = self.probes_failed.saturating_add(1);
        self.successes = 0;
        self.probe_at = Some(now.plus_ms(policy.pause_after(self.probes_failed)));
        self.turned(BreakerState::Open, why, 0, 0)
    }

    fn closed(&mut self, calls: &mut Calls, why: Why) -> Turn {
        let turn = Turn {
            from: self.state,
            to: BreakerState::Closed,
            why,
            count: self.successes,
            calls: 0,
        };
        *self = Self::default();
        *calls = Calls::default();
        turn
    }

    fn turned(&mut self, to: BreakerState, why: Why, count: u32, calls: u32) -> Turn {
        let from = std::mem::replace(&mut self.state, to);
        Turn {
            from,
            to,
            why,
            count,
            calls,
        }
    }

    /// A person holds it, or holds it no longer. After it was held open probes are due; after it was held closed
    /// it is as new. Answers the change where nobody has told it: that the time is over.
    pub fn force(
        &mut self,
        forced: Option<Forced>,
        calls: &mut Calls,
        now: Timestamp,
    ) -> Option<Turn> {
        let before = std::mem::replace(&mut self.forced, forced);
        let (Some(before), None) = (before, forced) else {
            return None;
        };
        let to = before.state();
        *calls = Calls::default();
        *self = Self::default();
        if to == BreakerState::Open {
            self.state = to;
            self.opened_at = Some(now);
            self.probe_at = Some(now);
        }
        (!before.holds(now)).then_some(Turn {
            from: before.state(),
            to,
            why: Why::ForcedOver,
            count: 0,
            calls: 0,
        })
    }

    /// The clock was set back: no pause is longer than the longest.
    pub fn clock_set_back(&mut self, policy: &BreakerPolicy, now: Timestamp) {
        let latest = now.plus_ms(policy.pause_max_ms.max(policy.pause_ms));
        self.probe_at = self.probe_at.map(|at| at.min(latest));
    }
}

#[cfg(test)]
mod tests;
