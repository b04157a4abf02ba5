//! The numbers of tally records: dense, each used by exactly one committed transaction, whoever committed it.
//!
//! That is the fence between an old owner and a new one. At most [`IN_FLIGHT_MAX`] numbers are out at a time, so a new
//! owner that takes every unused number up to that many beyond the last one leaves the old one no number to commit
//! under. A number whose transaction certainly did not commit is free and is given out first.

use std::collections::BTreeSet;

/// How many numbers may be out at once.
pub const IN_FLIGHT_MAX: usize = 8;

/// Which numbers are out, free and used.
#[derive(Debug)]
pub(super) struct Sequences {
    next: i64,
    free: BTreeSet<i64>,
    out: BTreeSet<i64>,
}

impl Sequences {
    /// Every number below `next` has been used.
    pub(super) fn new(next: i64) -> Self {
        Self {
            next,
            free: BTreeSet::new(),
            out: BTreeSet::new(),
        }
    }

    /// A number for a transaction; `None` while too many are out.
    pub(super) fn take(&mut self) -> Option<i64> {
        if self.out.len() >= IN_FLIGHT_MAX {
            return None;
        }
        let number = self.free.pop_first().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        self.out.insert(number);
        Some(number)
    }

    /// Its transaction has committed.
    pub(super) fn used(&mut self, number: i64) {
        self.out.remove(&number);
    }

    /// Its transaction has certainly not committed, and never will.
    pub(super) fn give_back(&mut self, number: i64) {
        if self.out.remove(&number) {
            self.free.insert(number);
        }
    }

    /// Whether none is out.
    pub(super) fn is_quiet(&self) -> bool {
        self.out.is_empty()
    }

    /// The highest number such that it and all below it are used.
    pub(super) fn used_to(&self) -> i64 {
        let open = self.out.first().into_iter().chain(self.free.first()).min();
        open.map_or(self.next - 1, |lowest| lowest - 1)
    }

    /// The used numbers above [`Self::used_to`].
    pub(super) fn used_above(&self) -> Vec<i64> {
        (self.used_to() + 1..self.next)
            .filter(|number| !self.out.contains(number) && !self.free.contains(number))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_given_back_is_used_before_a_new_one() {
        let mut sequences = Sequences::new(5);
        assert_eq!(
            (sequences.take(), sequences.take(), sequences.take()),
            (Some(5), Some(6), Some(7))
        );
        sequences.used(6);
        sequences.give_back(5);
        assert_eq!(sequences.used_to(), 4);
        assert_eq!(sequences.used_above(), [6]);
        assert_eq!(sequences.take(), Some(5));
        sequences.used(5);
        sequences.used(7);
        assert_eq!((sequences.used_to(), sequences.is_quiet()), (7, true));
    }

    #[test]
    fn only_so_many_are_out() {
        let mut sequences = Sequences::new(1);
        let taken = std::iter::from_fn(|| sequences.take()).count();
        assert_eq!(taken, IN_FLIGHT_MAX);
    }
}
