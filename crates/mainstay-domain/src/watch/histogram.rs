//! How durations are spread, in a bounded number of counts.

/// Buckets of a [`Histogram`].
pub const BUCKETS: usize = 128;
/// Buckets for each doubling: a bucket is at most an eighth of its values wide, so its middle is off by a sixteenth.
const STEPS_LOG2: u32 = 3;
const STEPS: u64 = 1 << STEPS_LOG2;

/// The bucket of a duration: one each up to 15 ms, then eight for each doubling, up to four minutes; longer ones are in
/// the last. Rows in the store are numbered by it: it must never change.
pub fn bucket(ms: i64) -> usize {
    let ms = u64::try_from(ms).unwrap_or(0);
    if ms < STEPS {
        return ms as usize;
    }
    let shift = ms.ilog2() - STEPS_LOG2;
    let step = (ms >> shift) - STEPS;
    let index = u64::from(shift + 1) * STEPS + step;
    (index as usize).min(BUCKETS - 1)
}

/// The first duration of a bucket, in milliseconds.
pub const fn bucket_start_ms(bucket: usize) -> i64 {
    let (octave, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    let start = match octave {
        0 => step,
        _ => (STEPS + step) << (octave - 1),
    };
    start as i64
}

/// Durations, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: Box<[i64; BUCKETS]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
        }
    }
}

impl Histogram {
    /// Counts in a bucket; one beyond the last counts in the last.
    pub fn add(&mut self, bucket: usize, count: i64) {
        self.counts[bucket.min(BUCKETS - 1)] += count;
    }

    /// How many were counted.
    pub fn count(&self) -> i64 {
        self.counts.iter().sum()
    }

    /// How many took less than this. Exact where a bucket begins there.
    pub fn below(&self, ms: i64) -> i64 {
        self.counts[..bucket(ms)].iter().sum()
    }

    /// The duration that this share (0 to 1) did not exceed, to a sixteenth; `None` when nothing was counted.
    pub fn quantile_ms(&self, share: f64) -> Option<i64> {
        let all = self.count();
        let rank = ((all as f64 * share).ceil() as i64).clamp(1, all.max(1));
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        let (first, next) = (bucket_start_ms(bucket), bucket_start_ms(bucket + 1));
        Some((first + next - 1) / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_in_the_bucket_that_begins_before_it() {
        for ms in 0..262_144 {
            let at = bucket(ms);
            assert!(
                bucket_start_ms(at) <= ms && ms < bucket_start_ms(at + 1),
                "{ms}"
            );
        }
        assert_eq!(
            (bucket(-1), bucket(262_144), bucket(i64::MAX)),
            (0, 127, 127)
        );
        // Golden values: the store holds such numbers.
        assert_eq!(
            [7, 8, 15, 16, 17, 18, 1_000, 15_000].map(bucket),
            [7, 8, 15, 16, 16, 17, 63, 94]
        );
    }

    #[test]
    fn quantiles_are_right_to_a_sixteenth() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_ms(0.5), None);
        for ms in 1..=10_000 {
            histogram.add(bucket(ms), 1);
        }
        for (share, exact) in [(0.001, 10), (0.5, 5_000), (0.99, 9_900), (1.0, 10_000)] {
            let found = histogram.quantile_ms(share).expect("something was counted");
            assert!((found - exact).abs() * 16 <= exact, "{share}: {found}");
        }
        assert_eq!((histogram.count(), histogram.below(512)), (10_000, 511));
    }
}
