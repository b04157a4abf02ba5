//! What a type's hours were, and what follows from them for the hours of now.

use std::collections::VecDeque;

use super::{HOUR_MS, HOURS_KEPT, WEEK_HOURS, WEEKS, WEEKS_LEARNED, chance};
use crate::time::Timestamp;

/// Hours whose expectations are kept: of the last two weeks, and the one after now.
const EXPECTED_KEPT: i64 = 2 * WEEK_HOURS;
/// An hour that was counted for less than this is not learned from.
const LEARNED_MS_MIN: i64 = HOUR_MS / 2;
/// What the hours before and after count for, where the hour itself counts for one: it stays in the majority.
const BESIDE: f64 = 0.125;
/// Weeks after which an hour counts for half.
const HALF_LIFE_WEEKS: f64 = 4.0;
/// The dispersion of what is not known well enough yet: half of what is expected, up or down, is nothing special.
const DISPERSION_COLD: f64 = 0.25;
const DISPERSION_MIN: f64 = 0.02;
const DISPERSION_MAX: f64 = 4.0;
/// Hours that are taken together to see how counts are dispersed, the fewest that give enough events.
const BLOCKS: [i64; 3] = [1, 6, 24];
/// Events that a block must be expected to have.
const BLOCK_EVENTS_MIN: f64 = 4.0;
/// Blocks that dispersion is judged by at the least.
const BLOCKS_MIN: usize = 7;
/// The last minutes that are kept one by one, and how long ago they may be.
const RECENT_KEPT: usize = 20;
const RECENT_MS: i64 = 16 * 60 * 1_000;
/// The median of a squared standard normal variable.
const MEDIAN_OF_SQUARES: f64 = 0.454_936;

/// For how many milliseconds of each of a source's hours was counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counted(Hours);

/// What is expected of an hour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Events in the whole hour.
    pub rate: f64,
    /// How many hours it is known from, those of long ago for less.
    pub weight: f64,
}

/// One type's counts by the hour, the newest last.
#[derive(Debug, Clone)]
pub struct Series {
    counts: Hours,
    /// Those of the last hours, and the one after now.
    expected: VecDeque<Option<Expected>>,
    /// The first hour of which it is known.
    pub first_hour: i64,
    /// When the last one was received.
    pub last_at: Timestamp,
    /// The hour before which nothing is judged: what was judged there is over.
    pub judged_from: i64,
    dispersion: f64,
    /// The last minutes: their start, the milliseconds that were counted, the events.
    recent: VecDeque<(Timestamp, i64, i64)>,
}

/// Numbers by the hour: those of the last weeks, and nothing of any other hour.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Hours {
    /// The hour of the last number.
    last: i64,
    numbers: VecDeque<u32>,
}

impl Hours {
    fn get(&self, hour: i64) -> i64 {
        let back = self.last - hour;
        let index = self.numbers.len() as i64 - 1 - back;
        if back < 0 || index < 0 {
            return 0;
        }
        self.numbers
            .get(index as usize)
            .map_or(0, |number| i64::from(*number))
    }

    fn advance(&mut self, hour: i64) {
        if hour - self.last > HOURS_KEPT || self.numbers.is_empty() {
            self.numbers.clear();
            self.numbers.push_back(0);
            self.last = hour;
        }
        while self.last < hour {
            self.numbers.push_back(0);
            self.last += 1;
        }
        while self.numbers.len() as i64 > HOURS_KEPT {
            self.numbers.pop_front();
        }
    }

    fn add(&mut self, hour: i64, number: i64) {
        let back = self.last - hour;
        if !(0..HOURS_KEPT).contains(&back) {
            return;
        }
        while self.numbers.len() as i64 <= back {
            self.numbers.push_front(0);
        }
        let index = self.numbers.len() - 1 - back as usize;
        if let Some(own) = self.numbers.get_mut(index) {
            *own = own.saturating_add(u32::try_from(number).unwrap_or(u32::MAX));
        }
    }
}

impl Counted {
    /// Nothing yet, as of this hour.
    pub fn new(hour: i64) -> Self {
        let mut hours = Hours::default();
        hours.advance(hour);
        Self(hours)
    }

    /// Goes on to this hour.
    pub fn advance(&mut self, hour: i64) {
        self.0.advance(hour);
    }

    /// Adds to an hour, which never has more than an hour.
    pub fn add(&mut self, hour: i64, ms: i64) {
        self.0.add(hour, ms.min(HOUR_MS - self.ms(hour)).max(0));
    }

    /// How many milliseconds of an hour were counted.
    pub fn ms(&self, hour: i64) -> i64 {
        self.0.get(hour)
    }

    /// The same as a share.
    pub fn share(&self, hour: i64) -> f64 {
        self.ms(hour) as f64 / HOUR_MS as f64
    }
}

impl Series {
    /// A type of which nothing is known before this hour.
    pub fn new(first_hour: i64, last_at: Timestamp, hour: i64) -> Self {
        let mut counts = Hours::default();
        counts.advance(hour);
        Self {
            counts,
            expected: VecDeque::new(),
            first_hour,
            last_at,
            judged_from: 0,
            dispersion: DISPERSION_COLD,
            recent: VecDeque::new(),
        }
    }

    /// Notes a span of the last minutes.
    pub fn note(&mut self, from: Timestamp, counted_ms: i64, count: i64) {
        self.recent.push_back((from, counted_ms, count));
        while self.recent.len() > RECENT_KEPT {
            self.recent.pop_front();
        }
    }

    /// For how many milliseconds of the last quarter of an hour was counted, and how many events.
    pub fn recent(&self, now: Timestamp) -> (i64, i64) {
        let recent = self.recent.iter();
        let recent = recent.filter(|(from, ..)| now.ms_since(*from) <= RECENT_MS);
        recent.fold((0, 0), |(ms, count), (_, more, events)| {
            (ms + more, count + events)
        })
    }

    /// Adds events to an hour.
    pub fn add(&mut self, hour: i64, count: i64) {
        self.counts.add(hour, count);
    }

    /// Events that were counted in an hour.
    pub fn count(&self, hour: i64) -> i64 {
        self.counts.get(hour)
    }

    /// The hour of now.
    pub const fn hour(&self) -> i64 {
        self.counts.last
    }

    /// How much more counts vary than those of independent events do.
    pub const fn dispersion(&self) -> f64 {
        self.dispersion
    }

    /// Goes on to this hour, and works out what is expected of it and the next.
    pub fn advance(&mut self, hour: i64, counted: &Counted) {
        let known = self.expected.len() as i64;
        if hour == self.counts.last && known > 0 {
            return;
        }
        let first_unknown = self.counts.last + 2;
        self.counts.advance(hour);
        let from = match known > 0 && first_unknown > hour + 1 - EXPECTED_KEPT {
            true => first_unknown,
            false => {
                self.expected.clear();
                hour + 2 - EXPECTED_KEPT
            }
        };
        for next in from..=hour + 1 {
            self.expected.push_back(self.work_out(next, counted));
        }
        while self.expected.len() as i64 > EXPECTED_KEPT {
            self.expected.pop_front();
        }
        self.dispersion = self.dispersed(counted);
    }

    /// What is expected of an hour of the last two weeks or the next one; none while it is being learned.
    pub fn expected(&self, hour: i64) -> Option<Expected> {
        let back = self.counts.last + 1 - hour;
        let index = self.expected.len() as i64 - 1 - back;
        if back < 0 || index < 0 {
            return None;
        }
        self.expected.get(index as usize).copied().flatten()
    }

    /// What is expected of an hour as far as it was counted, of the one of now and the next as a whole; with the counts
    /// that 98 in 100 such hours lie between.
    pub fn band(&self, hour: i64, counted: &Counted) -> Option<(f64, i64, i64)> {
        let known = self.expected(hour)?;
        let share = match hour < self.hour() {
            true => counted.share(hour),
            false => 1.0,
        };
        let mean = known.rate * share;
        let dispersion = self.dispersion + 1.0 / (mean * known.weight).max(1e-3);
        let quantile = |share: f64| match mean > 0.0 {
            true => chance::quantile(share, mean, dispersion),
            false => 0,
        };
        Some((mean, quantile(0.01), quantile(0.99)))
    }

    /// How many weeks of this hour of the week are known, at most as many as are needed.
    pub fn weeks_known(&self, hour: i64, counted: &Counted) -> i64 {
        let weeks = (1..=WEEKS).filter(|week| {
            let past = hour - week * WEEK_HOURS;
            past >= self.first_hour && counted.ms(past) >= LEARNED_MS_MIN
        });
        (weeks.count() as i64).min(WEEKS_LEARNED)
    }

    /// The mean of the same hour of the last weeks and its neighbours, each cut to what lies around their median, those of
    /// long ago for less.
    fn work_out(&self, hour: i64, counted: &Counted) -> Option<Expected> {
        if self.weeks_known(hour, counted) < WEEKS_LEARNED {
            return None;
        }
        let mut seen: Vec<(f64, f64)> = Vec::with_capacity(3 * WEEKS as usize);
        for week in 1..=WEEKS {
            let age = 0.5_f64.powf((week - 1) as f64 / HALF_LIFE_WEEKS);
            for (beside, weight) in [(-1, BESIDE), (0, 1.0), (1, BESIDE)] {
                let past = hour - week * WEEK_HOURS + beside;
                if past >= self.first_hour && counted.ms(past) >= LEARNED_MS_MIN {
                    let whole = self.count(past) as f64 / counted.share(past);
                    seen.push((whole, weight * age));
                }
            }
        }
        let middle = median(&mut seen)?;
        let (low, high) = (middle / 2.0 - 3.0, middle.mul_add(2.0, 3.0));
        let weight: f64 = seen.iter().map(|(_, weight)| weight).sum();
        let sum = seen
            .iter()
            .map(|(count, weight)| count.clamp(low, high) * weight)
            .sum::<f64>();
        Some(Expected {
            rate: (sum / weight).max(0.0),
            weight,
        })
    }

    /// By how much counts of the last two weeks missed what was expected of them, beyond what independent events do: the
    /// median of the squared misses, so that half of the blocks may be anything.
    fn dispersed(&self, counted: &Counted) -> f64 {
        for hours in BLOCKS {
            let blocks = self.blocks(hours, counted);
            let enough = blocks.iter().filter(|(mean, _)| *mean >= BLOCK_EVENTS_MIN);
            let mut excess: Vec<(f64, f64)> = enough
                .map(|(mean, count)| {
                    let variance = (count - mean).powi(2) / MEDIAN_OF_SQUARES;
                    ((variance - mean) / mean.powi(2), 1.0)
                })
                .collect();
            if excess.len() >= BLOCKS_MIN
                && 2 * excess.len() >= blocks.len()
                && let Some(middle) = median(&mut excess)
            {
                return middle.clamp(DISPERSION_MIN, DISPERSION_MAX);
            }
        }
        DISPERSION_COLD
    }

    /// What was expected and what came, in blocks of so many whole hours.
    fn blocks(&self, hours: i64, counted: &Counted) -> Vec<(f64, f64)> {
        let mut blocks = Vec::new();
        let mut end = self.hour();
        while end - hours >= self.hour() + 1 - EXPECTED_KEPT {
            let mut block = Some((0.0, 0.0));
            for hour in end - hours..end {
                block = match (block, self.expected(hour)) {
                    (Some((mean, count)), Some(known)) => Some((
                        known.rate.mul_add(counted.share(hour), mean),
                        count + self.count(hour) as f64,
                    )),
                    _ => None,
                };
            }
            blocks.extend(block.filter(|(mean, _)| *mean > 0.0));
            end -= hours;
        }
        blocks
    }
}

/// The value that half of the weight lies on either side of.
fn median(weighted: &mut [(f64, f64)]) -> Option<f64> {
    weighted.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let half = weighted.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut below = 0.0;
    weighted.iter().find_map(|(value, weight)| {
        below += weight;
        (below >= half).then_some(*value)
    })
}
