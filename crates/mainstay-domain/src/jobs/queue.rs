//! What a team says of a queue: whether it runs, how much of it at once, how often, and whose share is larger.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{QueueNumber, rate::Rate, settings::SettingError};
use crate::{
    id::{JobId, TenantId},
    time::Timestamp,
};

/// The most that may run of a queue at once.
pub const IN_FLIGHT_MAX: u32 = 10_000;
/// The largest weight of a tenant.
pub const WEIGHT_MAX: u32 = 1_000;
/// The largest bound on how many may wait in a queue.
pub const WAITING_MAX: u32 = 1_000_000_000;
/// The largest bound on how long the oldest may wait, in seconds.
pub const AGE_SECS_MAX: u32 = 30 * 24 * 60 * 60;
/// So many tenants of a queue may have a weight of their own.
pub const WEIGHTS_MAX: usize = 1_000;

/// Whether a queue's jobs are started. Numbered in the store by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// They are.
    #[default]
    Running,
    /// None is; what runs comes to its end.
    Paused,
    /// Those that were made before it was asked for are, to their end; what comes later waits.
    Draining,
}

impl Flow {
    /// All of them, in the order in which the store numbers them.
    pub const ALL: [Self; 3] = [Self::Running, Self::Paused, Self::Draining];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Draining => "draining",
        }
    }
}

/// How much of a queue may run, and who has which share of it. Nothing set: no limit but those of what carries it out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueLimits {
    /// How many may run at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// How often one may begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How many of one tenant may run at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_max_in_flight: Option<u32>,
    /// How often one of a tenant's may begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_rate: Option<Rate>,
    /// As soon as so many wait, who submits a job is told to come again later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_waiting: Option<u32>,
    /// The same as soon as the oldest has waited for longer, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_secs: Option<u32>,
    /// Tenants whose share of the time is not 1.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<TenantId, u32>,
}

impl QueueLimits {
    /// Refuses what could never let anything run.
    pub fn check(&self) -> Result<(), SettingError> {
        let within = |field, value: Option<u32>, max: u32| match value {
            Some(value) if !(1..=max).contains(&value) => Err(SettingError {
                field,
                min: 1,
                max: i64::from(max),
            }),
            _ => Ok(()),
        };
        within("max_in_flight", self.max_in_flight, IN_FLIGHT_MAX)?;
        within(
            "tenant_max_in_flight",
            self.tenant_max_in_flight,
            IN_FLIGHT_MAX,
        )?;
        within("max_waiting", self.max_waiting, WAITING_MAX)?;
        within("max_age_secs", self.max_age_secs, AGE_SECS_MAX)?;
        if let Some(rate) = &self.rate {
            rate.check("rate")?;
        }
        if let Some(rate) = &self.tenant_rate {
            rate.check("tenant_rate")?;
        }
        for weight in self.weights.values() {
            within("weights", Some(*weight), WEIGHT_MAX)?;
        }
        let count = u32::try_from(self.weights.len()).unwrap_or(u32::MAX);
        within("weights", Some(count.max(1)), WEIGHTS_MAX as u32)
    }

    /// Whether there is a limit on what may wait.
    pub const fn bounds_waiting(&self) -> bool {
        self.max_waiting.is_some() || self.max_age_secs.is_some()
    }

    /// The share of a tenant.
    pub fn weight(&self, tenant: TenantId) -> u32 {
        self.weights.get(&tenant).copied().unwrap_or(1)
    }
}

/// What a team has said of one queue. A queue of which nobody has said anything has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRules {
    /// The queue.
    pub queue: QueueNumber,
    /// Whether its jobs are started.
    pub flow: Flow,
    /// When that was last said: what was made until then is drained.
    pub flow_at: Timestamp,
    /// How much may run.
    pub limits: QueueLimits,
    /// When anything of it was last changed.
    pub updated_at: Timestamp,
}

impl QueueRules {
    /// Of a queue of which nobody has said anything.
    pub fn none(queue: QueueNumber, now: Timestamp) -> Self {
        Self {
            queue,
            flow: Flow::Running,
            flow_at: now,
            limits: QueueLimits::default(),
            updated_at: now,
        }
    }

    /// The first job that waits although others run: while the queue is drained, what is made later.
    pub fn held_from(&self) -> Option<JobId> {
        // An id begins with the millisecond in which it was made.
        let first = |millis: i64| JobId::from_uuid(Uuid::from_u128((millis.max(0) as u128) << 80));
        let millis = self.flow_at.micros().div_euclid(1_000);
        (self.flow == Flow::Draining).then(|| first(millis.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SeededRandom;

    #[test]
    fn what_was_made_until_a_queue_is_drained_runs_and_what_is_made_later_waits() {
        let random = SeededRandom::new(1);
        let at = Timestamp::from_micros(1_800_000_000_123_456);
        let mut rules = QueueRules::none(1, at);
        assert_eq!(rules.held_from(), None);
        rules.flow = Flow::Draining;
        let from = rules.held_from().expect("it is drained");
        assert!(JobId::new(at, &random) < from);
        assert!(JobId::new(at.plus_ms(-5_000), &random) < from);
        assert!(JobId::new(at.plus_ms(1), &random) >= from);
    }

    #[test]
    fn limits_that_let_nothing_run_are_refused() {
        let none = QueueLimits::default();
        assert!(none.check().is_ok());
        let field = |limits: QueueLimits| limits.check().expect_err("refused").field;
        let no_places = QueueLimits {
            max_in_flight: Some(0),
            ..none.clone()
        };
        assert_eq!(field(no_places), "max_in_flight");
        let no_rate = QueueLimits {
            tenant_rate: Some(Rate {
                count: 0,
                per_ms: 1_000,
                burst: 1,
            }),
            ..none.clone()
        };
        assert_eq!(field(no_rate), "tenant_rate");
        let no_job = QueueLimits {
            max_waiting: Some(0),
            ..none.clone()
        };
        assert_eq!(field(no_job), "max_waiting");
        let no_share = QueueLimits {
            weights: [(TenantId::NIL, 0)].into(),
            ..none
        };
        assert_eq!(field(no_share), "weights");
    }

    #[test]
    fn what_nobody_set_is_not_written_down() {
        let text = serde_json::to_string(&QueueLimits::default()).expect("JSON");
        assert_eq!(text, "{}");
        let read: QueueLimits =
            serde_json::from_str(r#"{"rate":{"count":5}}"#).expect("a rate with defaults");
        let rate = Rate {
            count: 5,
            per_ms: 1_000,
            burst: 1,
        };
        assert_eq!(read.rate, Some(rate));
    }
}
