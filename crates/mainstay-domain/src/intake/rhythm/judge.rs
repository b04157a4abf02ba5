//! Whether what comes fits what is expected.

use super::{
    Counted, HOUR_MICROS, HOUR_MS, RhythmKind, Series, WEEK_HOURS, chance, hour_of, hour_start,
};
use crate::time::Timestamp;

/// What is less likely than this is no chance.
const OPEN_BELOW: f64 = 1e-6;
/// What is at least as likely as this is as usual again.
const END_ABOVE: f64 = 0.01;
/// Hours that "so few" looks back over.
const FEW_HOURS: [i64; 2] = [6, 24];
/// More than the rhythm that a surge must bring at the least.
const SURGE_MIN: f64 = 10.0;
/// What is expected within a day by less than this is nothing to wait for.
const NOTHING_TO_WAIT_FOR: f64 = 1.0;
/// Events that the last minutes must be expected to bring, so that they alone say whether it is as usual again.
const RECENT_MIN: f64 = 3.0;

/// A signal that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// What does not fit.
    pub kind: RhythmKind,
    /// When it was found.
    pub opened_at: Timestamp,
}

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Judged {
    /// Something does not fit.
    Opens {
        /// What.
        kind: RhythmKind,
        /// The start of the time that was looked at.
        since: Timestamp,
        /// What was expected in it.
        expected: f64,
        /// What came in it.
        actual: i64,
    },
    /// It fits again.
    Ends(RhythmKind),
}

/// What was expected and what came in a span of time.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    mean: f64,
    weight: f64,
    count: i64,
}

/// Looks at one type as of `now`. `quiet`: a break of ours held events back, so that more than usual is nothing special.
pub fn judge(
    series: &Series,
    counted: &Counted,
    now: Timestamp,
    open: &[Open],
    quiet: bool,
) -> Vec<Judged> {
    let of = |kind: RhythmKind| open.iter().find(|one| one.kind == kind);
    let judge = Judge {
        series,
        counted,
        now,
    };
    let silence = match of(RhythmKind::Silence) {
        Some(open) => judge
            .speaks_again(open.opened_at)
            .then_some(Judged::Ends(RhythmKind::Silence)),
        None => judge.silent(),
    };
    let surge = match of(RhythmKind::Surge) {
        Some(open) => judge
            .calm_again(open.opened_at)
            .then_some(Judged::Ends(RhythmKind::Surge)),
        None => judge.surging().filter(|_| !quiet),
    };
    silence.into_iter().chain(surge).collect()
}

struct Judge<'a> {
    series: &'a Series,
    counted: &'a Counted,
    now: Timestamp,
}

impl Judge<'_> {
    /// The rate of an hour; where the hours beside it are known as well, the lowest of the three: what comes at another
    /// time than usual by less than an hour is not late.
    fn low(&self, hour: i64) -> Option<(f64, f64)> {
        self.beside(hour, f64::min)
    }

    fn high(&self, hour: i64) -> Option<(f64, f64)> {
        self.beside(hour, f64::max)
    }

    fn beside(&self, hour: i64, pick: fn(f64, f64) -> f64) -> Option<(f64, f64)> {
        let own = self.series.expected(hour)?;
        let sides = [hour - 1, hour + 1];
        let rates = sides.iter().filter_map(|hour| self.series.expected(*hour));
        let rate = rates.fold(own.rate, |rate, beside| pick(rate, beside.rate));
        Some((rate, own.weight))
    }

    /// Adds up whole hours, of which the last may be under way.
    fn span(
        &self,
        hours: std::ops::RangeInclusive<i64>,
        rate: impl Fn(i64) -> Option<(f64, f64)>,
    ) -> Span {
        let mut span = Span::default();
        for hour in hours {
            if hour < self.series.judged_from {
                continue;
            }
            let Some((rate, weight)) = rate(hour) else {
                continue;
            };
            let mean = rate * self.counted.share(hour);
            span.mean += mean;
            span.weight += mean * weight;
            span.count += self.series.count(hour);
        }
        span
    }

    /// How counts around this mean are dispersed, with what the mean itself may be off by.
    fn dispersion(&self, span: &Span) -> f64 {
        let known_from = span.weight.max(1e-3);
        self.series.dispersion() + 1.0 / known_from
    }

    fn few(&self, span: &Span) -> bool {
        2.0 * (span.count as f64) < span.mean
            && chance::at_most(span.count, span.mean, self.dispersion(span)) < OPEN_BELOW
    }

    fn silent(&self) -> Option<Judged> {
        let hour = self.series.hour();
        let opens = |since: Timestamp, span: Span| Judged::Opens {
            kind: RhythmKind::Silence,
            since,
            expected: span.mean,
            actual: span.count,
        };
        let nothing = self.since_last();
        if self.few(&nothing) {
            let since = hour_start(self.series.judged_from).max(self.series.last_at);
            return Some(opens(since, nothing));
        }
        let recent = self.span(hour - 1..=hour, |hour| self.low(hour));
        if self.few(&recent) {
            return Some(opens(hour_start(hour - 1), recent));
        }
        FEW_HOURS.iter().find_map(|hours| {
            let first = (hour - hours).max(self.series.judged_from);
            let rate = |hour: i64| {
                let own = self.series.expected(hour)?;
                Some((own.rate, own.weight))
            };
            // An hour earlier or later than usual is not another time: what came then counts.
            let mut span = self.span(first..=hour - 1, rate);
            span.count += self.series.count(first - 1) + self.series.count(hour);
            // The hour under way lets the one before it be an hour late, as far as it has gone.
            let share = self.counted.share(hour).clamp(0.0, 1.0);
            if let Some((last, _)) = rate(hour - 1).filter(|_| hour > first) {
                span.mean -= last * self.counted.share(hour - 1) * (1.0 - share);
            }
            self.few(&span).then(|| opens(hour_start(first), span))
        })
    }

    /// What was expected since the last event, in the last week at the most.
    fn since_last(&self) -> Span {
        let (last_at, hour) = (self.series.last_at, self.series.hour());
        let last = hour_of(last_at);
        let mut span = self.span((last + 1).max(hour - WEEK_HOURS)..=hour, |hour| {
            self.low(hour)
        });
        span.count = 0;
        if last >= self.series.judged_from
            && last > hour - WEEK_HOURS
            && last <= hour
            && let Some((rate, weight)) = self.low(last)
        {
            let end = hour_start(last + 1).min(self.now);
            let of_hour = |micros: i64| micros as f64 / HOUR_MICROS as f64;
            let left = of_hour(end.micros() - last_at.micros()).clamp(0.0, 1.0);
            let gone = of_hour(end.micros() - hour_start(last).micros()).max(1.0 / 60.0);
            // Where a part of the hour was counted, nobody knows whether it was before the last event or after it.
            let mean = rate * left * (self.counted.share(last) / gone).clamp(0.0, 1.0);
            span.mean += mean;
            span.weight += mean * weight;
        }
        span
    }

    fn speaks_again(&self, opened_at: Timestamp) -> bool {
        let hour = self.series.hour();
        let own = |hour: i64| {
            let own = self.series.expected(hour)?;
            Some((own.rate, own.weight))
        };
        if self.span(hour - 24..=hour, own).mean < NOTHING_TO_WAIT_FOR {
            return true;
        }
        if self.series.last_at <= opened_at {
            return false;
        }
        let (ms, count) = self.series.recent(self.now);
        if let Some((rate, weight)) = self.low(hour) {
            let mean = rate * ms as f64 / HOUR_MS as f64;
            let recent = Span {
                mean,
                weight: mean * weight,
                count,
            };
            if mean >= RECENT_MIN {
                return chance::at_most(count, mean, self.dispersion(&recent)) >= END_ABOVE;
            }
        }
        // What came since it was found, against what was expected of that time.
        let from = hour_of(opened_at).max(hour - 1);
        let recent = self.span(from..=hour, |hour| self.low(hour));
        chance::at_most(recent.count, recent.mean, self.dispersion(&recent)) >= END_ABOVE
    }

    fn surging(&self) -> Option<Judged> {
        let hour = self.series.hour();
        [hour, hour - 1]
            .into_iter()
            .find_map(|hour| self.surges_in(hour))
    }

    /// The count of an hour is held against what is expected of the whole of it, however little of it has gone: what
    /// comes early in an hour is no surge.
    fn surges_in(&self, hour: i64) -> Option<Judged> {
        if hour < self.series.judged_from {
            return None;
        }
        let (rate, weight) = self.high(hour)?;
        // Where not all is counted, so much less is expected; an hour under way may still be counted whole.
        let share = match hour == self.series.hour() {
            true => {
                let gone = self.now.micros() - hour_start(hour).micros();
                let gone = (gone as f64 / HOUR_MICROS as f64).clamp(1.0 / 60.0, 1.0);
                (self.counted.share(hour) / gone).clamp(0.0, 1.0)
            }
            false => self.counted.share(hour),
        };
        let mean = rate * share;
        let span = Span {
            mean,
            weight: mean * weight,
            count: self.series.count(hour),
        };
        let count = span.count as f64;
        let much = count > 2.0 * mean
            && count - mean >= SURGE_MIN
            && chance::at_least(span.count, mean, self.dispersion(&span)) < OPEN_BELOW;
        much.then_some(Judged::Opens {
            kind: RhythmKind::Surge,
            since: hour_start(hour),
            expected: mean,
            actual: span.count,
        })
    }

    /// An hour after the one that it was found in has gone by as usual, and so does the one of now.
    fn calm_again(&self, opened_at: Timestamp) -> bool {
        let hour = self.series.hour();
        hour > hour_of(opened_at) + 1 && self.calm(hour - 1) && self.calm(hour)
    }

    fn calm(&self, hour: i64) -> bool {
        let Some((rate, weight)) = self.high(hour) else {
            return true;
        };
        let mean = rate * self.counted.share(hour).max(0.5);
        let span = Span {
            mean,
            weight: mean * weight,
            count: self.series.count(hour),
        };
        chance::at_least(span.count, mean, self.dispersion(&span)) >= END_ABOVE
            || span.count as f64 <= 1.5 * mean
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::{super::HOUR_MS, *};
    use crate::time::{Random, SeededRandom};

    const MINUTE_MS: i64 = 60_000;
    /// A Monday, midnight.
    const FIRST: i64 = 4 * 24 + 2_000 * WEEK_HOURS;

    /// A provider that sends as chance has it around a rate, and whoever counts what it sends.
    struct Simulated {
        random: SeededRandom,
        series: Series,
        counted: Counted,
        now: Timestamp,
        open: Vec<Open>,
        opened: Vec<(RhythmKind, Timestamp)>,
        ended: Vec<(RhythmKind, Timestamp)>,
    }

    impl Simulated {
        fn new(seed: u64) -> Self {
            Self {
                random: SeededRandom::new(seed),
                series: Series::new(FIRST, hour_start(FIRST), FIRST),
                counted: Counted::new(FIRST),
                now: hour_start(FIRST),
                open: Vec::new(),
                opened: Vec::new(),
                ended: Vec::new(),
            }
        }

        fn uniform(&self) -> f64 {
            let mut bytes = [0; 8];
            self.random.fill(&mut bytes);
            (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64
        }

        /// Independent events around this mean.
        fn events(&self, mean: f64) -> i64 {
            // In parts, so that no exponent is lost.
            let parts = (mean / 20.0).ceil().max(1.0);
            let limit = (-mean / parts).exp();
            (0..parts as i64)
                .map(|_| {
                    let (mut count, mut product) = (0, self.uniform());
                    while product > limit {
                        count += 1;
                        product *= self.uniform();
                    }
                    count
                })
                .sum()
        }

        /// Goes on for some time in steps; `rate` is in events an hour, `counts` whether anybody counts.
        fn go_on(&mut self, ms: i64, step_ms: i64, rate: impl Fn(i64) -> f64, counts: bool) {
            let end = self.now.plus_ms(ms);
            while self.now < end {
                let hour = hour_of(self.now);
                self.counted.advance(hour);
                self.series.advance(hour, &self.counted);
                let mean = rate(hour - FIRST) * step_ms as f64 / HOUR_MS as f64;
                let count = self.events(mean);
                if counts {
                    self.counted.add(hour, step_ms);
                    self.series.add(hour, count);
                    self.series.note(self.now, step_ms, count);
                    if count > 0 {
                        // As late as the last of so many is.
                        self.series.last_at = self.now.plus_ms(step_ms * count / (count + 1));
                    }
                }
                self.now = self.now.plus_ms(step_ms);
                let hour = hour_of(self.now);
                self.counted.advance(hour);
                self.series.advance(hour, &self.counted);
                if counts {
                    self.judge(false);
                }
            }
        }

        fn judge(&mut self, quiet: bool) {
            for judged in judge(&self.series, &self.counted, self.now, &self.open, quiet) {
                match judged {
                    Judged::Opens { kind, .. } => {
                        let opened_at = self.now;
                        self.open.push(Open { kind, opened_at });
                        self.opened.push((kind, opened_at));
                    }
                    Judged::Ends(kind) => {
                        self.open.retain(|one| one.kind != kind);
                        self.ended.push((kind, self.now));
                        self.series.judged_from = hour_of(self.now) + 1;
                    }
                }
            }
        }
    }

    const WEEK_MS: i64 = WEEK_HOURS * HOUR_MS;

    /// Busy by day, quiet by night and at the end of the week.
    fn office(rate: f64) -> impl Fn(i64) -> f64 + Copy {
        move |hour| {
            let (day, of_day) = (hour.rem_euclid(WEEK_HOURS) / 24, hour.rem_euclid(24));
            match (day < 5, (8..18).contains(&of_day)) {
                (true, true) => rate,
                (true, false) => rate / 5.0,
                (false, _) => rate / 20.0,
            }
        }
    }

    #[test]
    fn nothing_is_judged_before_the_same_hour_was_seen_in_two_weeks() {
        let mut world = Simulated::new(1);
        world.go_on(2 * WEEK_MS - HOUR_MS, HOUR_MS, |_| 1_000.0, true);
        assert_eq!(world.series.expected(world.series.hour()), None);
        world.go_on(HOUR_MS, MINUTE_MS, |_| 0.0, true);
        assert_eq!(world.opened, []);
        let hour = world.series.hour();
        assert_eq!(world.series.weeks_known(hour, &world.counted), 2);
        let expected = world.series.expected(hour).expect("it is learned");
        assert!((expected.rate - 1_000.0).abs() < 60.0, "{expected:?}");
    }

    #[test]
    fn events_as_usual_open_nothing_in_half_a_year() {
        for (seed, rate) in [(1, 0.2), (2, 3.0), (3, 40.0), (4, 2_000.0)] {
            let mut world = Simulated::new(seed);
            world.go_on(26 * WEEK_MS, HOUR_MS / 4, office(rate), true);
            assert_eq!(world.opened, [], "{rate} an hour");
        }
    }

    #[test]
    fn a_source_that_falls_silent_is_found_the_sooner_the_more_it_brings() {
        for (seed, rate, minutes) in [(1, 3_000.0, 5), (2, 300.0, 30), (3, 60.0, 90)] {
            let mut world = Simulated::new(seed);
            world.go_on(4 * WEEK_MS + 10 * HOUR_MS, HOUR_MS / 4, office(rate), true);
            assert_eq!(world.opened, []);
            let from = world.now;
            world.go_on(4 * HOUR_MS, MINUTE_MS, |_| 0.0, true);
            let [(RhythmKind::Silence, at)] = world.opened[..] else {
                panic!("{rate}: {:?}", world.opened);
            };
            let took = at.ms_since(from) / MINUTE_MS;
            assert!(took <= minutes, "{rate} an hour: {took} minutes");
            // Back again, it is over within a quarter of an hour, and not found once more.
            let back = world.now;
            world.go_on(2 * HOUR_MS, MINUTE_MS, office(rate), true);
            let [(RhythmKind::Silence, ended)] = world.ended[..] else {
                panic!("{rate}: {:?}", world.ended);
            };
            assert!(ended.ms_since(back) <= 20 * MINUTE_MS, "{rate}");
            world.go_on(WEEK_MS, MINUTE_MS * 15, office(rate), true);
            assert_eq!(world.opened.len(), 1, "{rate}: {:?}", world.opened);
        }
    }

    #[test]
    fn what_comes_less_than_once_an_hour_is_missed_after_days_and_not_before() {
        let mut world = Simulated::new(5);
        world.go_on(8 * WEEK_MS, HOUR_MS / 4, |_| 0.5, true);
        assert_eq!(world.opened, []);
        let from = world.now;
        world.go_on(WEEK_MS, HOUR_MS / 4, |_| 0.0, true);
        let [(RhythmKind::Silence, at)] = world.opened[..] else {
            panic!("{:?}", world.opened);
        };
        let hours = at.ms_since(from) / HOUR_MS;
        assert!((24..150).contains(&hours), "{hours} hours");
    }

    #[test]
    fn fewer_than_a_third_are_found_though_some_come() {
        let mut world = Simulated::new(6);
        world.go_on(4 * WEEK_MS + 9 * HOUR_MS, HOUR_MS / 4, office(600.0), true);
        world.go_on(4 * HOUR_MS, MINUTE_MS, office(100.0), true);
        assert!(matches!(world.opened[..], [(RhythmKind::Silence, _)]));
        assert_eq!(world.ended, []);
    }

    #[test]
    fn a_surge_is_found_within_its_hour_and_ends_once_an_hour_is_as_usual() {
        let mut world = Simulated::new(7);
        world.go_on(4 * WEEK_MS + 9 * HOUR_MS, HOUR_MS / 4, office(100.0), true);
        let from = world.now;
        world.go_on(2 * HOUR_MS, MINUTE_MS, office(1_000.0), true);
        let [(RhythmKind::Surge, at)] = world.opened[..] else {
            panic!("{:?}", world.opened);
        };
        assert!(at.ms_since(from) < HOUR_MS);
        assert_eq!(world.ended, []);
        world.go_on(3 * HOUR_MS, MINUTE_MS, office(100.0), true);
        assert!(matches!(world.ended[..], [(RhythmKind::Surge, _)]));
        assert_eq!(world.opened.len(), 1);
    }

    #[test]
    fn a_nightly_batch_may_come_an_hour_early_or_late_and_must_come() {
        let nightly = |hour: i64| if hour.rem_euclid(24) == 3 { 500.0 } else { 0.0 };
        let mut world = Simulated::new(8);
        world.go_on(4 * WEEK_MS, HOUR_MS / 4, nightly, true);
        world.go_on(24 * HOUR_MS, MINUTE_MS, |hour| nightly(hour + 1), true);
        world.go_on(24 * HOUR_MS, MINUTE_MS, |hour| nightly(hour - 1), true);
        assert_eq!(world.opened, []);
        world.go_on(24 * HOUR_MS, MINUTE_MS, |_| 0.0, true);
        assert!(
            matches!(world.opened[..], [(RhythmKind::Silence, _)]),
            "{:?}",
            world.opened
        );
    }

    #[test]
    fn a_break_of_ours_is_no_silence_of_the_providers() {
        let mut world = Simulated::new(9);
        world.go_on(4 * WEEK_MS + 9 * HOUR_MS, HOUR_MS / 4, office(600.0), true);
        world.go_on(30 * HOUR_MS, MINUTE_MS, office(600.0), false);
        world.go_on(WEEK_MS, HOUR_MS / 4, office(600.0), true);
        assert_eq!(world.opened, []);
    }

    #[test]
    fn a_week_of_outage_and_one_of_surge_do_not_change_what_is_expected_much() {
        let mut world = Simulated::new(10);
        world.go_on(4 * WEEK_MS, HOUR_MS, office(200.0), true);
        world.go_on(WEEK_MS, HOUR_MS, |_| 0.0, true);
        world.go_on(WEEK_MS, HOUR_MS, office(200.0), true);
        world.go_on(WEEK_MS, HOUR_MS, office(20_000.0), true);
        let hour = world.series.hour() / WEEK_HOURS * WEEK_HOURS + (FIRST % WEEK_HOURS) + 10;
        world.go_on(
            (hour - world.series.hour()).rem_euclid(24) * HOUR_MS,
            HOUR_MS,
            office(200.0),
            true,
        );
        let expected = world
            .series
            .expected(world.series.hour())
            .expect("it is learned");
        let usual = office(200.0)(world.series.hour() - FIRST);
        assert!(
            expected.rate > usual * 0.6 && expected.rate < usual * 1.7,
            "{expected:?} {usual}"
        );
    }

    #[test]
    fn what_stays_away_for_weeks_is_the_new_rhythm() {
        let mut world = Simulated::new(11);
        world.go_on(4 * WEEK_MS, HOUR_MS / 4, |_| 20.0, true);
        world.go_on(12 * WEEK_MS, HOUR_MS / 4, |_| 0.0, true);
        assert_eq!(world.opened.len(), 1, "{:?}", world.opened);
        assert_eq!(world.ended.len(), 1, "it ends by being learned");
    }

    proptest! {
        // What is about chance is tried with the same chances each time: one look in a million may be wrong.
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(17), ..ProptestConfig::with_cases(24) })]
        #[test]
        fn what_chance_explains_opens_nothing(seed: u64, rate in 0.05_f64..500.0) {
            let mut world = Simulated::new(seed);
            world.go_on(8 * WEEK_MS, HOUR_MS, office(rate), true);
            prop_assert_eq!(&world.opened, &[]);
        }

        #[test]
        fn counting_a_part_makes_nothing_silent(seed: u64, rate in 1.0_f64..500.0, part in 1_i64..60) {
            let mut world = Simulated::new(seed);
            world.go_on(3 * WEEK_MS, HOUR_MS, office(rate), true);
            // Of each minute only so many seconds are looked at.
            for _ in 0..48 * 4 {
                let before = world.now;
                world.go_on(part * 15_000, part * 15_000, office(rate), true);
                let after = before.plus_ms(15 * MINUTE_MS);
                world.now = after.max(world.now);
            }
            prop_assert_eq!(&world.opened, &[]);
        }
    }
}
