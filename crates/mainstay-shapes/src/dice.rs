//! Seeded choices: the same seed plays the same events.

use mainstay_domain::time::{Random, SeededRandom};

/// A source of choices that repeats itself for the same seed.
#[derive(Debug)]
pub struct Dice(SeededRandom);

impl Dice {
    /// The choices of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(SeededRandom::new(seed))
    }

    /// A number in `from..to`; `from` when the range is empty.
    pub fn range(&self, from: u64, to: u64) -> u64 {
        from + self.0.below(to.saturating_sub(from))
    }

    /// True with this probability.
    pub fn chance(&self, share: f64) -> bool {
        self.0.unit() < share
    }

    /// One of these.
    ///
    /// # Panics
    /// When there is nothing to choose from.
    pub fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[self.0.below(from.len() as u64) as usize]
    }

    /// This many characters of a provider's id.
    pub fn id(&self, len: usize) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        (0..len).map(|_| char::from(*self.pick(ALPHABET))).collect()
    }

    /// This many lower-case hexadecimal digits.
    pub fn hex(&self, len: usize) -> String {
        (0..len)
            .map(|_| char::from(*self.pick(b"0123456789abcdef")))
            .collect()
    }

    /// This many decimal digits, the first one not 0.
    pub fn digits(&self, len: usize) -> String {
        (0..len)
            .map(|at| char::from(b'0' + self.range(u64::from(at == 0), 10) as u8))
            .collect()
    }

    /// A UUID of version 4, as GitHub's delivery ids are.
    pub fn uuid(&self) -> String {
        let (a, b, c, d) = (self.hex(8), self.hex(4), self.hex(3), self.hex(3));
        let variant = self.pick(&['8', '9', 'a', 'b']);
        format!("{a}-{b}-4{c}-{variant}{d}-{}", self.hex(12))
    }
}
