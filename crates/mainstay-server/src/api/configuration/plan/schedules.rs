//! What becomes of a declared schedule.

use mainstay_domain::{
    EndpointId, ScheduleId, StoreResult, TenantId, Tx,
    jobs::QueueNumber,
    schedules::{SCHEDULES_MAX, Schedule, ScheduleFilter},
};

use super::{
    super::{Action, Kind, declared::WantedSchedule, form},
    PlacedSchedule, Planner, Write,
};
use crate::{
    api::{
        resolve::NO_SUCH_QUEUE,
        schedules::{Target, Waits, fresh, hold_one},
    },
    http::extract::Checks,
};

/// The number of a queue that is yet to be made, with its endpoint or for workers; whoever writes the schedule finds it.
const NEW_QUEUE: QueueNumber = -1;

/// Schedules that are read at once.
const READ_AT_ONCE: i64 = 1_000;

/// All schedules in the caller's reach, of all tenants.
pub(super) async fn all(tx: &mut dyn Tx) -> StoreResult<Vec<Schedule>> {
    let mut all: Vec<Schedule> = Vec::new();
    loop {
        let filter = ScheduleFilter {
            before: all.last().map(|one| one.id),
            ..ScheduleFilter::default()
        };
        let page = tx.schedule_list(&filter, READ_AT_ONCE).await?;
        let more = page.len() as i64 == READ_AT_ONCE;
        all.extend(page);
        if !more {
            return Ok(all);
        }
    }
}

impl Planner<'_> {
    pub(super) fn schedule(&mut self, wanted: &WantedSchedule, tenant: TenantId) {
        let found = self
            .known
            .schedules
            .iter()
            .find(|one| one.tenant == tenant && one.name == wanted.name);
        let id = found.map_or_else(
            || ScheduleId::new(self.now, &*self.app.random),
            |known| known.id,
        );
        let mut checks = Checks::default();
        let change = wanted.change.checked(self.app, &mut checks).declared();
        if let Err(problem) = checks.done() {
            return self.checks.below(&wanted.at, problem);
        }
        let Some(target) = self.target_of(wanted, tenant, &change) else {
            return;
        };
        let blank = fresh(id, tenant, self.now);
        let base = match found {
            // What a declaration leaves out has its default; how it stands stays.
            Some(known) => Schedule {
                payload: None,
                retry: None,
                policy: blank.policy,
                ..known.clone()
            },
            None => Schedule {
                name: wanted.name.clone(),
                ..blank
            },
        };
        let mut schedule = base;
        let mut applied = change.apply(&mut schedule, Some(target), self.now);
        if schedule.paused != wanted.paused {
            applied = applied.and_then(|()| hold_one(&mut schedule, wanted.paused, self.now));
        }
        if let Err(problem) = applied {
            return self.checks.below(&wanted.at, problem);
        }
        let mut names = self.known.schedule_names();
        for ((_, name), id) in &self.endpoints {
            names.endpoint_add(*id, name.clone());
        }
        let workers = match change.kind {
            Some((_, Waits::Worker(queue))) => Some(queue),
            Some((_, Waits::Builtin(_))) | None => None,
        };
        if let Some(queue) = &workers {
            names.queue_add(NEW_QUEUE, queue.clone());
        }
        let builtin = &*self.app.mainstay.builtin;
        let old = found
            .map(|known| form::schedule(known, &names, builtin))
            .unwrap_or_default();
        let fields = form::differences(&old, &form::schedule(&schedule, &names, builtin));
        self.kept.insert(id.to_string());
        let named = (wanted.name.as_str(), id.to_string());
        let write = Box::new(PlacedSchedule { schedule, workers });
        match found {
            Some(_) if fields.is_empty() => self.unchanged += 1,
            Some(_) => {
                let write = Write::ScheduleUpdate(write);
                self.step(Action::Update, Kind::Schedule, tenant, named, fields, write);
            }
            None => {
                let known = self.known.schedules.iter();
                let known = known.filter(|one| one.tenant == tenant).count() as i64;
                let made = self.schedules_made.entry(tenant).or_default();
                *made += 1;
                self.checks.ensure(
                    known + *made <= SCHEDULES_MAX,
                    &wanted.at,
                    &format!("is more than the {SCHEDULES_MAX} schedules that a tenant may have"),
                );
                let write = Write::ScheduleInsert(write);
                self.step(Action::Create, Kind::Schedule, tenant, named, fields, write);
            }
        }
    }

    /// Where the jobs of a declared schedule go.
    fn target_of(
        &mut self,
        wanted: &WantedSchedule,
        tenant: TenantId,
        change: &crate::api::schedules::Checked,
    ) -> Option<Target> {
        if let Some(asked) = &change.endpoint {
            let id: EndpointId = self.endpoint_named(&wanted.at, tenant, asked)?;
            let known = self.known.endpoints.iter().find(|one| one.id == id);
            return Some(Target::Endpoint {
                id,
                queue: known.map_or(NEW_QUEUE, |known| known.queue),
            });
        }
        let (kind, waits) = change.kind.clone()?;
        let queue = match waits {
            Waits::Builtin(queue) => queue,
            Waits::Worker(name) => {
                let known = self.known.queue_number(&name);
                let makes = known.is_some() || self.caller.everywhere().is_ok();
                let at = format!("{}/queue", wanted.at);
                self.checks.ensure(makes, &at, NO_SUCH_QUEUE);
                known.unwrap_or(NEW_QUEUE)
            }
        };
        Some(Target::Kind { kind, queue })
    }
}
