//! Jobs of a queue whose time has come, by tenant: how many are in memory, and where the rest of each tenant's begins.
//!
//! A tenant may have as many in memory as there are places left, and a few in any case (dynamic thresholds: Choudhury and
//! Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", 1998). So whoever may not start for long, for
//! its limit, its rate or a queue that is drained, never takes up the places of the others. What it has more is left in the
//! store and read again, of this tenant alone, when it has room.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_domain::{TenantId, jobs::DueKey};

use super::{
    planted::{Fault, planted},
    queue::Timetable,
    window::{Window, lower},
};

/// How many jobs whose time has come a queue keeps in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    /// Of all tenants, but for what each may have in any case.
    pub(super) all: usize,
    /// Of one tenant in any case.
    pub(super) reserve: usize,
}

/// Due jobs of one tenant from one timetable that are only in the store.
#[derive(Debug, Default)]
struct Left {
    /// Nothing of it waits in memory: it says where they begin, and whether they are being read.
    window: Window<DueKey>,
    /// Where those begin that wait until the queue is drained no more.
    aside: Option<DueKey>,
}

/// The due jobs of a queue.
#[derive(Debug, Default)]
pub(super) struct Due {
    ready: BTreeMap<TenantId, usize>,
    total: usize,
    left: BTreeMap<(TenantId, Timetable), Left>,
    /// Those that may want a refill.
    wanting: BTreeSet<(TenantId, Timetable)>,
}

impl Due {
    /// How many are in memory.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.total
    }

    /// How many a tenant may have in memory now.
    fn most(&self, places: Places) -> usize {
        places
            .all
            .saturating_sub(self.total)
            .max(places.reserve)
            .max(1)
    }

    fn count(&self, tenant: TenantId) -> usize {
        self.ready.get(&tenant).copied().unwrap_or_default()
    }

    /// Whether one more of a tenant is kept in memory: there is room, and nothing before it was left.
    pub(super) fn takes(&self, timetable: Timetable, key: DueKey, places: Places) -> bool {
        let left = self.left.get(&(key.tenant, timetable));
        let behind = left
            .and_then(|left| left.window.beyond())
            .is_some_and(|beyond| key >= beyond);
        !behind && self.count(key.tenant) < self.most(places)
    }

    /// One of a tenant comes into memory.
    pub(super) fn enter(&mut self, tenant: TenantId) {
        *self.ready.entry(tenant).or_default() += 1;
        self.total += 1;
    }

    /// One of a tenant leaves memory.
    pub(super) fn exit(&mut self, tenant: TenantId) {
        if let Some(count) = self.ready.get_mut(&tenant) {
            *count -= 1;
            self.total -= 1;
            if *count == 0 {
                self.ready.remove(&tenant);
            }
        }
        if planted(Fault::LeftForgotten) {
            return;
        }
        for timetable in Timetable::BOTH {
            if self.left.contains_key(&(tenant, timetable)) {
                self.wanting.insert((tenant, timetable));
            }
        }
    }

    /// Due jobs of a tenant are only in the store, from this one on.
    pub(super) fn leave(&mut self, timetable: Timetable, key: DueKey) {
        let place = (key.tenant, timetable);
        self.left.entry(place).or_default().window.leave(key);
        self.wanting.insert(place);
    }

    /// The same, and they wait until the queue is drained no more.
    pub(super) fn leave_aside(&mut self, timetable: Timetable, key: DueKey) {
        let left = self.left.entry((key.tenant, timetable)).or_default();
        left.aside = lower(left.aside, key);
    }

    /// The queue is drained no more, or up to another job.
    pub(super) fn end_aside(&mut self) {
        if planted(Fault::AsideForgotten) {
            return;
        }
        for (place, left) in &mut self.left {
            if let Some(key) = left.aside.take() {
                left.window.leave(key);
                self.wanting.insert(*place);
            }
        }
    }

    /// Those that may want a refill since the last call.
    pub(super) fn take_wanting(&mut self) -> BTreeSet<(TenantId, Timetable)> {
        std::mem::take(&mut self.wanting)
    }

    /// Whether the store has more of a tenant and there is room for it.
    pub(super) fn wants(&self, tenant: TenantId, timetable: Timetable, places: Places) -> bool {
        let left = self.left.get(&(tenant, timetable));
        left.is_some_and(|left| left.window.beyond().is_some() && !left.window.refilling())
            && self.count(tenant) <= self.most(places) / 2
    }

    /// How many of a tenant there is room for.
    pub(super) fn room(&self, tenant: TenantId, places: Places) -> usize {
        let room = self.most(places).saturating_sub(self.count(tenant));
        room.max(1)
    }

    /// What is left of a tenant, if anything is.
    pub(super) fn left(
        &mut self,
        tenant: TenantId,
        timetable: Timetable,
    ) -> Option<&mut Window<DueKey>> {
        let left = self.left.get_mut(&(tenant, timetable))?;
        Some(&mut left.window)
    }

    /// Forgets a tenant of which nothing is left.
    pub(super) fn tidy(&mut self, tenant: TenantId, timetable: Timetable) {
        let place = (tenant, timetable);
        let left = self.left.get(&place);
        if left.is_some_and(|left| left.window.is_idle() && left.aside.is_none()) {
            self.left.remove(&place);
        }
    }

    /// Whether anything is left that may run while the queue is drained.
    pub(super) fn any_left(&self) -> bool {
        let mut left = self.left.values();
        left.any(|left| left.window.beyond().is_some())
    }

    /// Where what is left of each tenant begins.
    pub(super) fn all_left(&self) -> impl Iterator<Item = (TenantId, Timetable, DueKey)> + '_ {
        self.left.iter().filter_map(|((tenant, timetable), left)| {
            let keys = [left.window.beyond(), left.aside];
            let key = keys.into_iter().flatten().min()?;
            Some((*tenant, *timetable, key))
        })
    }

    /// Where what is left of one tenant begins.
    #[cfg(test)]
    pub(super) fn left_from(&self, tenant: TenantId, timetable: Timetable) -> Option<DueKey> {
        let left = self.left.get(&(tenant, timetable))?;
        [left.window.beyond(), left.aside]
            .into_iter()
            .flatten()
            .min()
    }
}

#[cfg(test)]
mod tests {
    use mainstay_domain::{JobId, Timestamp};
    use uuid::Uuid;

    use super::*;

    const PLACES: Places = Places {
        all: 12,
        reserve: 2,
    };

    fn key(tenant: u128, job: u128) -> DueKey {
        DueKey {
            due: Timestamp::from_micros(job as i64),
            tenant: TenantId::from_uuid(Uuid::from_u128(tenant)),
            job: JobId::from_uuid(Uuid::from_u128(job)),
        }
    }

    /// How many of a hundred are kept.
    fn offer(due: &mut Due, tenant: u128) -> usize {
        let mut kept = 0;
        for job in 0..100 {
            let key = key(tenant, job);
            if due.takes(Timetable::Delayed, key, PLACES) {
                due.enter(key.tenant);
                kept += 1;
            } else {
                due.leave(Timetable::Delayed, key);
            }
        }
        kept
    }

    #[test]
    fn whoever_has_much_leaves_room_for_others_and_everybody_has_a_few() {
        let mut due = Due::default();
        let kept: Vec<usize> = (1..8).map(|tenant| offer(&mut due, tenant)).collect();
        assert_eq!(kept, [6, 3, 2, 2, 2, 2, 2]);
    }

    #[test]
    fn what_was_left_is_wanted_when_half_is_gone_and_nothing_overtakes_it() {
        let mut due = Due::default();
        offer(&mut due, 1);
        let tenant = key(1, 0).tenant;
        assert!(due.take_wanting().contains(&(tenant, Timetable::Delayed)));
        assert!(!due.wants(tenant, Timetable::Delayed, PLACES));
        for _ in 0..2 {
            due.exit(tenant);
        }
        assert!(due.wants(tenant, Timetable::Delayed, PLACES));
        assert!(!due.takes(Timetable::Delayed, key(1, 200), PLACES));
        assert_eq!(due.left_from(tenant, Timetable::Delayed), Some(key(1, 6)));
    }
}
