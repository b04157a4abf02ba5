//! Which tickets of a node were used: each is good once, in whatever order they come, in a few kilobytes for each node.

/// How far behind the newest a ticket may be. What is older counts as used.
const BEHIND: u64 = 16_384;
const WORDS: usize = (BEHIND / 64) as usize;

/// The numbers that were seen.
#[derive(Debug)]
pub(super) struct Window {
    /// The greatest.
    newest: u64,
    /// One bit for each of the last ones, by number.
    seen: Box<[u64; WORDS]>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            newest: 0,
            seen: Box::new([0; WORDS]),
        }
    }
}

impl Window {
    /// Uses a number up; whether it was unused. Numbers begin at 1.
    pub(super) fn take(&mut self, number: u64) -> bool {
        if number == 0 {
            return false;
        }
        if number > self.newest {
            self.forget_until(number);
            self.newest = number;
        } else if self.newest - number >= BEHIND {
            return false;
        }
        let (word, bit) = place(number);
        let unused = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        unused
    }

    /// The places between the newest and this one are others' now.
    fn forget_until(&mut self, number: u64) {
        if number - self.newest >= BEHIND {
            self.seen.fill(0);
            return;
        }
        for passed in self.newest + 1..=number {
            let (word, bit) = place(passed);
            self.seen[word] &= !bit;
        }
    }
}

const fn place(number: u64) -> (usize, u64) {
    let at = number % BEHIND;
    ((at / 64) as usize, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn a_number_is_good_once_and_one_that_is_near_is_always_good(
            steps in prop::collection::vec((0_u64..40_000, any::<bool>()), 1..300),
        ) {
            let (mut window, mut used, mut newest) = (Window::default(), HashSet::new(), 0_u64);
            for (step, forward) in steps {
                let number = if forward { newest + step } else { newest.saturating_sub(step) };
                let near = number > newest || newest - number < BEHIND;
                let good = number > 0 && near && !used.contains(&number);
                prop_assert_eq!(window.take(number), good);
                if good {
                    used.insert(number);
                }
                newest = newest.max(number);
            }
        }
    }

    #[test]
    fn the_last_number_of_all_can_be_used_once() {
        let mut window = Window::default();
        assert!(window.take(u64::MAX));
        assert!(!window.take(u64::MAX));
        assert!(window.take(u64::MAX - 1));
    }
}
