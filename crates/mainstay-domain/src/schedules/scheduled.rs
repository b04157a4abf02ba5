//! What a job of a schedule is told: which schedule, which tick, and the schedule's own payload. It is the job's payload,
//! and what a push to an endpoint has in its body, under the signature.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Schedule, rule::Rule};
use crate::{id::ScheduleId, time::Timestamp};

/// The payload of a job that a schedule made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scheduled {
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// Its name.
    pub schedule: String,
    /// The tick, RFC 3339 in UTC. "Yesterday" is the day before this one, whenever the job runs.
    pub scheduled_for: String,
    /// The same as the schedule's own clock shows it, with its offset.
    pub local: String,
    /// The schedule's time zone.
    pub zone: String,
    /// Whether a person asked for it.
    pub by_hand: bool,
    /// The schedule's own payload.
    pub payload: Option<Box<RawValue>>,
}

impl Scheduled {
    /// What the job of this tick is told.
    pub fn of(schedule: &Schedule, rule: &Rule, tick: Timestamp, by_hand: bool) -> Self {
        let at = jiff::Timestamp::from_microsecond(tick.micros()).unwrap_or_default();
        Self {
            schedule_id: schedule.id,
            schedule: schedule.name.clone(),
            scheduled_for: at.to_string(),
            local: rule.local(tick),
            zone: schedule.zone.clone(),
            by_hand,
            payload: schedule
                .payload
                .clone()
                .and_then(|text| RawValue::from_string(text).ok()),
        }
    }

    /// Reads a job's payload. `None`: no schedule made it.
    pub fn read(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    /// The tick.
    pub fn tick(&self) -> Option<Timestamp> {
        let at: jiff::Timestamp = self.scheduled_for.parse().ok()?;
        Some(Timestamp::from_micros(at.as_microsecond()))
    }
}
