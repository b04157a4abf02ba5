//! A window on an ordered stream of jobs in the store: the lowest of them are in memory, the rest stay where they are.
//!
//! What must stay true: every known, unsettled job of the stream whose key is below [`Window::beyond`] is in memory.
//! Nothing is said about keys at or above it, so leaving a job in the store is always allowed: `beyond` sinks to its
//! key. Known means that discovery has reported it, or that this engine made it (a retry).

use std::collections::BTreeSet;

use mainstay_domain::{JobId, jobs::DueKey};
use uuid::Uuid;

/// A position in a stream, with neighbours.
pub trait Key: Copy + Ord {
    /// The highest key below this one.
    fn before(self) -> Self;
    /// The lowest key above this one.
    fn after(self) -> Self;
}

impl Key for JobId {
    fn before(self) -> Self {
        Self::from_uuid(Uuid::from_u128(self.uuid().as_u128().saturating_sub(1)))
    }

    fn after(self) -> Self {
        Self::from_uuid(Uuid::from_u128(self.uuid().as_u128().saturating_add(1)))
    }
}

impl Key for DueKey {
    /// Two jobs never share a key, and no job has the id of nothing: stepping the job's id is enough.
    fn before(self) -> Self {
        Self {
            job: self.job.before(),
            ..self
        }
    }

    fn after(self) -> Self {
        Self {
            job: self.job.after(),
            ..self
        }
    }
}

/// What became of a job that was offered to a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer<K> {
    /// It waits in memory.
    Kept,
    /// It waits in memory in the place of this one, which is later and was left in the store.
    Swapped(K),
    /// It is left in the store.
    Left,
}

/// The jobs of one stream that wait in memory, and where the rest begins.
#[derive(Debug)]
pub(super) struct Window<K> {
    waiting: BTreeSet<K>,
    beyond: Option<K>,
    refill: Option<Refill<K>>,
}

/// A refill that was asked for and has not been answered. The store reads at a moment of its own choosing: what was
/// left behind since we asked may be missing in the answer.
#[derive(Debug)]
struct Refill<K> {
    left_since: Option<K>,
}

impl<K> Default for Window<K> {
    fn default() -> Self {
        Self {
            waiting: BTreeSet::new(),
            beyond: None,
            refill: None,
        }
    }
}

impl<K: Key> Window<K> {
    /// Offers a known job that is not in memory. `room` says whether one more may be kept.
    pub(super) fn offer(&mut self, key: K, room: bool) -> Offer<K> {
        if self.beyond.is_some_and(|beyond| key >= beyond) {
            self.leave(key);
            return Offer::Left;
        }
        if room {
            self.waiting.insert(key);
            return Offer::Kept;
        }
        match self.waiting.last().copied() {
            Some(last) if key < last => {
                self.waiting.remove(&last);
                self.leave(last);
                self.waiting.insert(key);
                Offer::Swapped(last)
            }
            _ => {
                self.leave(key);
                Offer::Left
            }
        }
    }

    /// Notes that a job of this key, or jobs from it on, are in the store and not in memory.
    pub(super) fn leave(&mut self, key: K) {
        self.beyond = lower(self.beyond, key);
        if let Some(refill) = &mut self.refill {
            refill.left_since = lower(refill.left_since, key);
        }
    }

    /// Where the jobs that are only in the store begin; `None` when there are none.
    pub(super) fn beyond(&self) -> Option<K> {
        self.beyond
    }

    /// Asks for the jobs from `beyond` on. Answers the key to read after.
    pub(super) fn refill_begin(&mut self) -> Option<K> {
        let beyond = self.beyond?;
        self.refill = Some(Refill { left_since: None });
        Some(beyond.before())
    }

    /// The answer to a refill: the last key that was read, if there may be more above it. The jobs read are offered next.
    pub(super) fn refill_end(&mut self, more_after: Option<K>) {
        let Some(refill) = self.refill.take() else {
            return;
        };
        self.beyond = more_after.map(Key::after);
        if let Some(left) = refill.left_since {
            self.leave(left);
        }
    }

    /// A refill that failed.
    pub(super) fn refill_abort(&mut self) {
        self.refill = None;
    }

    /// Whether a refill is under way.
    pub(super) fn refilling(&self) -> bool {
        self.refill.is_some()
    }

    /// How many wait in memory.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The first that waits in memory.
    pub(super) fn first(&self) -> Option<K> {
        self.waiting.first().copied()
    }

    /// Takes the first that waits in memory.
    pub(super) fn pop(&mut self) -> Option<K> {
        self.waiting.pop_first()
    }

    /// Whether any that waits in memory is such.
    pub(super) fn any(&self, such: impl Fn(K) -> bool) -> bool {
        self.waiting.iter().any(|key| such(*key))
    }

    /// Takes this one out of memory.
    pub(super) fn remove(&mut self, key: K) -> bool {
        self.waiting.remove(&key)
    }

    /// Nothing in memory, nothing in the store: such a window need not be kept.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.beyond.is_none() && self.refill.is_none()
    }
}

pub(super) fn lower<K: Ord>(of: Option<K>, key: K) -> Option<K> {
    Some(match of {
        Some(other) if other < key => other,
        _ => key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(number: u128) -> JobId {
        JobId::from_uuid(Uuid::from_u128(number))
    }

    #[test]
    fn a_full_window_keeps_the_lowest_keys() {
        let mut window = Window::default();
        assert_eq!(window.offer(id(5), true), Offer::Kept);
        assert_eq!(window.offer(id(7), true), Offer::Kept);
        assert_eq!(window.offer(id(6), false), Offer::Swapped(id(7)));
        assert_eq!(window.beyond(), Some(id(7)));
        assert_eq!(window.offer(id(9), true), Offer::Left);
        assert_eq!(window.pop(), Some(id(5)));
    }

    #[test]
    fn what_is_left_behind_during_a_refill_is_read_by_the_next_one() {
        let mut window = Window::default();
        window.leave(id(10));
        assert_eq!(window.refill_begin(), Some(id(9)));
        window.leave(id(12));
        window.refill_end(None);
        assert_eq!(window.beyond(), Some(id(12)));
    }

    proptest! {
        /// The store here is the set of all known keys; a refill may be answered from the moment it was asked.
        #[test]
        fn no_known_key_is_ever_out_of_sight(steps in proptest::collection::vec((0..5_u8, 1..60_u128), 1..200)) {
            let mut window: Window<JobId> = Window::default();
            let mut known = BTreeSet::new();
            let mut done = BTreeSet::new();
            let mut asked: Option<(JobId, BTreeSet<JobId>)> = None;
            for (step, number) in steps {
                let room = window.len() < 4;
                match step {
                    0 | 1 => {
                        if known.insert(id(number))
                            && let Offer::Swapped(other) = window.offer(id(number), room)
                        {
                            prop_assert!(known.contains(&other));
                        }
                    }
                    2 => if let Some(key) = window.pop() {
                        done.insert(key);
                    },
                    3 if asked.is_none() => if let Some(after) = window.refill_begin() {
                        asked = Some((after, known.difference(&done).copied().collect()));
                    },
                    4 => if let Some((after, seen)) = asked.take() {
                        let rows: Vec<_> = seen.into_iter().filter(|key| *key > after).take(3).collect();
                        window.refill_end((rows.len() == 3).then(|| rows[2]));
                        for key in rows {
                            let room = window.len() < 4;
                            if !done.contains(&key) && !window.waiting.contains(&key) {
                                window.offer(key, room);
                            }
                        }
                    },
                    _ => {}
                }
                prop_assert!(window.len() <= 4);
                for key in known.difference(&done) {
                    let in_memory = window.waiting.contains(key);
                    prop_assert!(in_memory || window.beyond().is_some_and(|beyond| beyond <= *key));
                }
            }
        }
    }
}
