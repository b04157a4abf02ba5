//! Bodies of built-in jobs that were read along with a refill: of a backlog few rows are looked for a second time.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use mainstay_domain::{JobId, TenantId, Timestamp, jobs::JobBody};

/// How many are kept in each of two generations. They are small (`lane_refill`).
const KEPT_MAX: usize = 4_096;
/// For how long one is as good as its row, in milliseconds: no longer than an attempt that has begun.
const GOOD_MS: i64 = 1_000;

/// Bodies until they are taken, or are too old.
#[derive(Debug, Default)]
pub(super) struct ReadAlong(Mutex<[Generation; 2]>);

#[derive(Debug)]
struct Generation {
    since: Timestamp,
    bodies: HashMap<JobId, JobBody>,
}

impl Default for Generation {
    fn default() -> Self {
        Self {
            since: Timestamp::EPOCH,
            bodies: HashMap::new(),
        }
    }
}

impl Generation {
    fn is_good(&self, now: Timestamp) -> bool {
        (0..=GOOD_MS).contains(&now.ms_since(self.since))
    }
}

impl ReadAlong {
    /// Keeps what was read at this time.
    pub(super) fn keep(&self, bodies: Vec<JobBody>, now: Timestamp) {
        if bodies.is_empty() {
            return;
        }
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [young, old] = &mut *generations;
        if !young.is_good(now) || young.bodies.len() + bodies.len() > KEPT_MAX {
            *old = std::mem::take(young);
            young.since = now;
        }
        young
            .bodies
            .extend(bodies.into_iter().map(|body| (body.job, body)));
    }

    /// Takes the bodies of these jobs; the others are to be read.
    pub(super) fn take(
        &self,
        keys: &[(TenantId, JobId)],
        now: Timestamp,
    ) -> (Vec<JobBody>, Vec<(TenantId, JobId)>) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for generation in &mut *generations {
            if !generation.is_good(now) {
                *generation = Generation::default();
            }
        }
        let (mut bodies, mut others) = (Vec::with_capacity(keys.len()), Vec::new());
        for key in keys {
            let mut places = generations.iter_mut();
            match places.find_map(|place| place.bodies.remove(&key.1)) {
                Some(body) => bodies.push(body),
                None => others.push(*key),
            }
        }
        (bodies, others)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn body(number: u128) -> JobBody {
        JobBody {
            tenant: TenantId::NIL,
            job: JobId::from_uuid(Uuid::from_u128(number)),
            kind: "noop".into(),
            event: None,
            endpoint: None,
            payload: None,
            retry: None,
            deadline: None,
            created_at: Timestamp::EPOCH,
        }
    }

    fn key(number: u128) -> (TenantId, JobId) {
        (TenantId::NIL, body(number).job)
    }

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    #[test]
    fn a_body_is_taken_once_and_only_while_it_is_good() {
        let kept = ReadAlong::default();
        kept.keep(vec![body(1), body(2)], NOW);
        let later = NOW.plus_ms(GOOD_MS);
        assert_eq!(
            kept.take(&[key(1), key(3)], later),
            (vec![body(1)], vec![key(3)])
        );
        assert_eq!(kept.take(&[key(1)], later), (vec![], vec![key(1)]));
        let too_late = later.plus_ms(1);
        assert_eq!(kept.take(&[key(2)], too_late), (vec![], vec![key(2)]));
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_good_again() {
        let kept = ReadAlong::default();
        kept.keep(vec![body(1)], NOW);
        let before = NOW.plus_ms(-1);
        assert_eq!(kept.take(&[key(1)], before), (vec![], vec![key(1)]));
        assert_eq!(kept.take(&[key(1)], NOW), (vec![], vec![key(1)]));
    }

    #[test]
    fn however_many_are_read_few_are_kept_and_the_last_of_them() {
        let kept = ReadAlong::default();
        for first in (0..20_u128).map(|read| read * 1_000) {
            kept.keep((first..first + 1_000).map(body).collect(), NOW);
        }
        let keys: Vec<_> = (0..20_000).map(key).collect();
        let (bodies, others) = kept.take(&keys, NOW);
        assert!(bodies.len() <= 2 * KEPT_MAX, "{}", bodies.len());
        assert!(bodies.len() >= KEPT_MAX, "{}", bodies.len());
        assert_eq!(bodies.last(), Some(&body(19_999)));
        assert_eq!(others.len() + bodies.len(), keys.len());
    }
}
