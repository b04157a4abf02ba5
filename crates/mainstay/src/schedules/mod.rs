//! Schedules: cron rules make jobs. The engine's owner looks when the next tick is due, at most a second later; what
//! it decides is pure ([`mainstay_domain::schedules::due`]) and takes effect in one commit with the jobs. So a crash
//! between any two steps, a second node and a clock that jumps change nothing about one job for one tick: whoever acts on
//! an older revision of the schedule has lost, and a tick that has a row makes no second job.

mod run;

use bytes::Bytes;
use jiff::tz::TimeZone;
use mainstay_domain::{
    JobId, Random, StoreError, StoreResult, Timestamp, Tx,
    intake::Blob,
    jobs::{JobBody, NewJob},
    schedules::{
        Schedule, ScheduleTick, TickOutcome,
        due::due_at,
        rule::{Rule, RuleError},
        scheduled::Scheduled,
    },
    vault::{Column, Place, SEALED},
};

pub use run::Schedules;
pub(crate) use run::run;

use crate::vault::unreadable;

/// The band that the jobs of schedules wait in: that of the API's own.
const BAND: i16 = 1;
/// What jiff calls a zone that it knows nothing of.
const UNKNOWN: &str = "Etc/Unknown";

/// Why a schedule's rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Nobody knows the zone here.
    #[error("is no time zone such as Europe/Berlin or UTC")]
    Zone,
    /// The expression.
    #[error(transparent)]
    Rule(#[from] RuleError),
}

/// The time zone of an IANA name, and the name as it is usually written.
pub fn zone(name: &str) -> Option<(TimeZone, String)> {
    let zone = TimeZone::get(name).ok()?;
    let name = zone.iana_name().filter(|name| *name != UNKNOWN)?.to_owned();
    Some((zone, name))
}

/// A schedule's rule.
pub fn rule(schedule: &Schedule) -> Result<Rule, Unusable> {
    let (zone, _) = zone(&schedule.zone).ok_or(Unusable::Zone)?;
    Ok(Rule::read(&schedule.cron, zone)?)
}

/// Begins with the first tick after now; a paused schedule has none.
pub fn begin(schedule: &mut Schedule, rule: &Rule, now: Timestamp) {
    let next = match schedule.paused {
        true => None,
        false => rule.next(now).map(|next| next.at),
    };
    schedule.next_tick = next;
    schedule.next_at = next.map(|tick| due_at(rule, schedule.policy.jitter_ms, schedule.id, tick));
}

/// A run that a person asks for: whatever runs, and also while the schedule is paused.
pub fn run_now(
    schedule: &Schedule,
    rule: &Rule,
    now: Timestamp,
    random: &dyn Random,
) -> StoreResult<(ScheduleTick, NewJob)> {
    // Not a whole second, which may be a tick's of its own.
    let tick = Timestamp::from_micros(now.micros() | 1);
    let job = job(schedule, rule, tick, true, now, random)?;
    let row = ScheduleTick {
        outcome: TickOutcome::ByHand,
        job: Some(job.id),
        ..row(schedule, tick, now)
    };
    Ok((row, job))
}

/// The row of a tick, still without what became of it.
const fn row(schedule: &Schedule, tick: Timestamp, now: Timestamp) -> ScheduleTick {
    ScheduleTick {
        tenant: schedule.tenant,
        schedule: schedule.id,
        tick,
        outcome: TickOutcome::Run,
        job: None,
        since: None,
        count: 1,
        decided_at: now,
    }
}

/// The job of a tick.
fn job(
    schedule: &Schedule,
    rule: &Rule,
    tick: Timestamp,
    by_hand: bool,
    now: Timestamp,
    random: &dyn Random,
) -> StoreResult<NewJob> {
    let told = serde_json::to_vec(&Scheduled::of(schedule, rule, tick, by_hand));
    let payload = told.map_err(|error| StoreError::Bug(error.to_string()))?;
    Ok(NewJob {
        id: JobId::new(now, random),
        tenant: schedule.tenant,
        queue: schedule.queue,
        band: BAND,
        kind: schedule.kind.clone(),
        event: None,
        binding: None,
        replay: None,
        endpoint: schedule.endpoint,
        payload: Some(Bytes::from(payload)),
        run_at: None,
        deadline: None,
        retry: schedule.retry.clone(),
        order: None,
        created_at: now,
    })
}

/// What a job of a schedule is told, for a built-in handler: its tick, and the schedule's own payload. `None`: no
/// schedule made it.
pub async fn scheduled(tx: &mut dyn Tx, job: &JobBody) -> StoreResult<Option<Scheduled>> {
    let Some(payload) = job.payload.clone() else {
        return Ok(None);
    };
    if payload.first() != Some(&SEALED) {
        return Ok(Scheduled::read(&payload));
    }
    let place = Place::new(Column::JobPayload, job.job.uuid()).of(job.tenant);
    let sealed = Blob {
        zstd: true,
        bytes: payload,
    };
    let opened = tx.blob_open(&place, sealed).await?;
    match unreadable(&opened) {
        Some(error) => Err(error),
        None => Ok(Scheduled::read(&opened.bytes)),
    }
}
