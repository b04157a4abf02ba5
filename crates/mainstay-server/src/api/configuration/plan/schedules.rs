//! What becomes of a declared schedule.

use mainstay_domain::{EndpointId, ScheduleId, TenantId, jobs::QueueNumber, schedules::Schedule};

use super::{
    super::{Action, Kind, declared::WantedSchedule, form},
    Planner, Write,
};
use crate::{
    api::schedules::{Target, fresh, hold_one},
    http::extract::Checks,
};

/// The number of a queue that is yet to be made, with its endpoint; whoever writes the schedule finds it.
const NEW_QUEUE: QueueNumber = -1;

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
        let old = found
            .map(|known| form::schedule(known, &names))
            .unwrap_or_default();
        let fields = form::differences(&old, &form::schedule(&schedule, &names));
        self.kept.insert(id.to_string());
        let named = (wanted.name.as_str(), id.to_string());
        let write = Box::new(schedule);
        match found {
            Some(_) if fields.is_empty() => self.unchanged += 1,
            Some(_) => {
                let write = Write::ScheduleUpdate(write);
                self.step(Action::Update, Kind::Schedule, tenant, named, fields, write);
            }
            None => {
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
        let (kind, queue) = change.kind.clone()?;
        Some(Target::Builtin { kind, queue })
    }
}
