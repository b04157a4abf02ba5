//! Rules and their ticks: what a clock shows decides, checked against every minute of the days around clock changes, and
//! no tick is ever run twice or lost, whoever looks when.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{
    ToSpan,
    civil::{DateTime, date},
    tz::TimeZone,
};
use mainstay_domain::{
    ScheduleId, Timestamp,
    schedules::{
        Misfire, Overlap, Policy,
        due::{LOOK_MAX, Question, RUN_MAX, due_at},
        rule::{Effect, Oddity, Rule, RuleError},
    },
};
use proptest::prelude::*;
use uuid::Uuid;

const MINUTE: i64 = 60;
const DAY: i64 = 86_400;

/// Zones with all the clock changes that there are: an hour, half an hour, at midnight, in spring of the south, a whole
/// day, never.
const ZONES: &[&str] = &[
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Dublin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Santiago",
    "America/St_Johns",
    "America/Havana",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Asia/Pyongyang",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "Antarctica/Troll",
];

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect("a zone")
}

fn rule(expression: &str, name: &str) -> Rule {
    Rule::read(expression, zone(name)).expect("an expression")
}

fn at(text: &str) -> Timestamp {
    let at: jiff::Timestamp = text.parse().expect("a time");
    Timestamp::from_micros(at.as_microsecond())
}

fn ticks(rule: &Rule, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let next = |from: &Timestamp| rule.next(*from).map(|tick| tick.at);
    std::iter::successors(next(&after), next)
        .take_while(|tick| *tick <= until)
        .collect()
}

fn shown(rule: &Rule, after: &str, until: &str) -> Vec<String> {
    let found = ticks(rule, at(after), at(until));
    found.into_iter().map(|tick| rule.local(tick)).collect()
}

#[test]
fn a_time_that_does_not_exist_runs_once_at_the_moment_after_the_gap() {
    let rule = rule("30 2 * * *", "Europe/Berlin");
    assert_eq!(
        shown(&rule, "2027-03-27T00:00:00Z", "2027-03-29T12:00:00Z"),
        [
            "2027-03-27T02:30:00+01:00",
            "2027-03-28T03:00:00+02:00",
            "2027-03-29T02:30:00+02:00",
        ]
    );
    let moved = rule.next(at("2027-03-28T00:00:00Z")).expect("there is one");
    let named = date(2027, 3, 28).at(2, 30, 0, 0);
    assert_eq!(moved.oddity, Some(Oddity::Moved { named }));
    // Several times within one gap are one run.
    let many = self::rule("*/5 2,3 * * *", "Europe/Berlin");
    let found = shown(&many, "2027-03-28T00:00:00Z", "2027-03-28T12:00:00Z");
    assert_eq!(found.len(), 12);
    assert_eq!(found[0], "2027-03-28T03:00:00+02:00");
}

#[test]
fn a_time_that_comes_twice_runs_the_first_time() {
    let rule = rule("30 2 * * *", "Europe/Berlin");
    assert_eq!(
        shown(&rule, "2027-10-30T12:00:00Z", "2027-11-01T12:00:00Z"),
        ["2027-10-31T02:30:00+02:00", "2027-11-01T02:30:00+01:00"]
    );
    // Also when somebody looks between the two.
    assert_eq!(
        shown(&rule, "2027-10-31T01:10:00Z", "2027-11-01T12:00:00Z"),
        ["2027-11-01T02:30:00+01:00"]
    );
}

#[test]
fn a_rule_of_every_hour_keeps_its_rhythm_through_clock_changes() {
    let rule = rule("0 */30 * * * *", "Europe/Berlin");
    assert!(rule.follows_clock());
    for (after, until) in [
        ("2027-03-27T22:00:00Z", "2027-03-28T04:00:00Z"),
        ("2027-10-30T22:00:00Z", "2027-10-31T04:00:00Z"),
    ] {
        let found = ticks(&rule, at(after), at(until));
        assert_eq!(found.len(), 12);
        for pair in found.windows(2) {
            assert_eq!(pair[1].ms_since(pair[0]), 30 * 60_000);
        }
    }
    let twice = rule.next(at("2027-10-31T01:00:00Z")).expect("there is one");
    assert_eq!(twice.oddity, Some(Oddity::OneOfTwo));
}

#[test]
fn a_day_that_was_left_out_has_its_run_when_the_next_begins() {
    let rule = rule("0 9 * * *", "Pacific/Apia");
    assert_eq!(
        shown(&rule, "2011-12-29T12:00:00Z", "2011-12-31T12:00:00Z"),
        [
            "2011-12-29T09:00:00-10:00",
            "2011-12-31T00:00:00+14:00",
            "2011-12-31T09:00:00+14:00",
        ]
    );
}

#[test]
fn every_clock_change_that_concerns_a_rule_is_told_and_no_other() {
    let (from, until) = (at("2027-01-01T00:00:00Z"), at("2028-01-01T00:00:00Z"));
    let told = |expression: &str| {
        let found = rule(expression, "Europe/Berlin").changes(from, until, 10);
        found
            .iter()
            .map(|one| (one.effect, one.count, one.to_string()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        told("30 2 * * *"),
        [
            (
                Effect::Moved,
                1,
                "on 2027-03-28 the clock goes from 02:00:00 to 03:00:00: 02:30:00 does not exist and runs at the \
                 first moment after"
                    .to_owned()
            ),
            (
                Effect::FirstOfTwo,
                1,
                "on 2027-10-31 the clock goes from 03:00:00 to 02:00:00: 02:30:00 comes twice and runs the first time"
                    .to_owned()
            ),
        ]
    );
    let effects: Vec<_> = told("*/20 * * * *")
        .into_iter()
        .map(|(effect, count, _)| (effect, count))
        .collect();
    assert_eq!(effects, [(Effect::LeftOut, 3), (Effect::Twice, 3)]);
    assert!(told("0 9 * * 1-5").is_empty());
}

#[test]
fn the_schedules_of_the_requirements_name_their_times() {
    for (expression, expected) in [
        ("0 2 * * *", "2026-11-23T02:00:00+00:00"),
        ("0 */6 * * *", "2026-11-22T18:00:00+00:00"),
        ("0 * * * *", "2026-11-22T13:00:00+00:00"),
        ("0 2 * * 0", "2026-11-29T02:00:00+00:00"),
        ("0 2 1 * *", "2026-12-01T02:00:00+00:00"),
        ("0 3 * * 0", "2026-11-29T03:00:00+00:00"),
        ("0 3 1 * *", "2026-12-01T03:00:00+00:00"),
        ("0 3 1 */3 *", "2027-01-01T03:00:00+00:00"),
        ("@daily", "2026-11-23T00:00:00+00:00"),
        ("@Weekly", "2026-11-29T00:00:00+00:00"),
        ("30 15 10 L * *", "2026-11-30T10:15:30+00:00"),
        ("0 8 * * MON#1", "2026-12-07T08:00:00+00:00"),
    ] {
        let now = at("2026-11-22T12:00:00Z");
        let rule = Rule::new(expression, TimeZone::UTC, now).expect(expression);
        let next = rule.next(now).expect("there is one");
        assert_eq!(rule.local(next.at), expected, "{expression}");
    }
}

#[test]
fn what_is_no_rule_is_refused() {
    let read = |text: &str| Rule::new(text, TimeZone::UTC, at("2026-01-01T00:00:00Z"));
    for wrong in [
        "",
        "@",
        "@often",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "0 0 0 * *",
        "a b c d e",
        "*/0 * * * *",
        "1-99 * * * *",
    ] {
        let refused = read(wrong);
        assert!(
            matches!(refused, Err(RuleError::Expression(_))),
            "{wrong}: {refused:?}"
        );
    }
    assert!(matches!(read("0 0 30 2 *"), Err(RuleError::Never)));
    assert!(matches!(read(&"* ".repeat(101)), Err(RuleError::TooLong)));
}

/// Minutes and hours that a rule names; no hours: every one.
#[derive(Debug, Clone)]
struct Named {
    minutes: BTreeSet<i8>,
    hours: Option<BTreeSet<i8>>,
}

impl Named {
    fn expression(&self) -> String {
        let list = |numbers: &BTreeSet<i8>| {
            let texts: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            texts.join(",")
        };
        let hours = self.hours.as_ref().map_or("*".to_owned(), list);
        format!("{} {hours} * * *", list(&self.minutes))
    }

    fn names(&self, shown: DateTime) -> bool {
        let hour = self
            .hours
            .as_ref()
            .is_none_or(|hours| hours.contains(&shown.hour()));
        hour && self.minutes.contains(&shown.minute()) && shown.second() == 0
    }
}

prop_compose! {
    fn named()(
        minutes in prop::collection::btree_set(0_i8..60, 1..4),
        hours in prop::option::of(prop::collection::btree_set(0_i8..24, 1..5)),
    ) -> Named {
        Named { minutes, hours }
    }
}

/// A moment, near a clock change where the zone has one in these years.
fn near_change(zone: &TimeZone, pick: u32) -> i64 {
    let from = date(1990, 1, 1)
        .at(0, 0, 0, 0)
        .to_zoned(TimeZone::UTC)
        .expect("it exists")
        .timestamp();
    let until = from + (45 * 365 * 24).hours();
    let changes: Vec<i64> = zone
        .following(from)
        .take_while(|change| change.timestamp() < until)
        .map(|change| change.timestamp().as_second())
        .collect();
    match changes.is_empty() {
        true => from.as_second() + i64::from(pick % 10_000) * DAY,
        false => changes[pick as usize % changes.len()],
    }
}

/// The ticks of these days by looking at every minute of them.
fn by_every_minute(named: &Named, zone: &TimeZone, begin: i64, end: i64) -> BTreeSet<i64> {
    let shows = |second: i64| {
        let at = jiff::Timestamp::from_second(second).expect("a time");
        zone.to_datetime(at)
    };
    if named.hours.is_none() {
        let minutes = (begin..=end).step_by(60);
        return minutes
            .filter(|second| named.names(shows(*second)))
            .collect();
    }
    // A margin, so that times are seen whose moment is before or after.
    let (from, to) = (begin - 2 * DAY, end + 2 * DAY);
    let mut first_shown: BTreeMap<DateTime, i64> = BTreeMap::new();
    let mut reached = Vec::new();
    let mut highest: Option<DateTime> = None;
    for second in (from..=to).step_by(60) {
        let now = shows(second);
        first_shown.entry(now).or_insert(second);
        if highest.is_none_or(|highest| now > highest) {
            reached.push((now, second));
            highest = Some(now);
        }
    }
    let mut found = BTreeSet::new();
    let (mut time, last) = (shows(from), shows(to));
    while time < last {
        if named.names(time) {
            // What is never shown comes when the clock first shows something later.
            let later = reached.partition_point(|(shown, _)| *shown < time);
            let second = first_shown
                .get(&time)
                .copied()
                .or(reached.get(later).map(|(_, second)| *second));
            found.extend(second.filter(|second| (begin..=end).contains(second)));
        }
        time = time.checked_add(1.minute()).expect("a time");
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_ticks_around_a_clock_change_are_those_that_a_look_at_every_minute_finds(
        named in named(),
        name in prop::sample::select(ZONES),
        pick: u32,
        back_minutes in 0..(2 * 24 * 60_i64),
    ) {
        let zone = zone(name);
        let change = near_change(&zone, pick);
        let begin = (change - back_minutes * MINUTE).div_euclid(MINUTE) * MINUTE;
        let end = change.div_euclid(MINUTE) * MINUTE + 2 * DAY;
        let rule = Rule::read(&named.expression(), zone.clone()).expect("an expression");
        let found: Vec<i64> = ticks(&rule, Timestamp::from_secs(begin - 1), Timestamp::from_secs(end))
            .into_iter()
            .map(Timestamp::secs)
            .collect();
        let expected: Vec<i64> = by_every_minute(&named, &zone, begin, end).into_iter().collect();
        prop_assert_eq!(found, expected, "{} in {}", named.expression(), name);
    }

    #[test]
    fn whoever_asks_when_is_told_of_the_same_ticks(
        named in named(),
        name in prop::sample::select(ZONES),
        pick: u32,
        asks in prop::collection::vec(0_i64..3 * DAY * 1_000_000, 1..20),
    ) {
        let zone = zone(name);
        let begin = Timestamp::from_secs(near_change(&zone, pick) - DAY);
        let rule = Rule::read(&named.expression(), zone).expect("an expression");
        let all: BTreeSet<Timestamp> = ticks(&rule, begin, begin.plus_ms(10 * DAY * 1_000)).into_iter().collect();
        for ask in asks {
            let after = Timestamp::from_micros(begin.micros() + ask);
            let next = rule.next(after).expect("there is one").at;
            prop_assert!(next > after);
            let expected = all.range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded)).next();
            prop_assert_eq!(Some(&next), expected);
        }
    }

    #[test]
    fn jitter_is_the_same_everywhere_within_its_bound_and_never_mixes_ticks_up(
        bits: u128,
        jitter_ms in 0_i64..3_600_000,
        start in 0_i64..2_000_000_000,
    ) {
        let schedule = ScheduleId::from_uuid(Uuid::from_u128(bits));
        let rule = rule("*/7 * * * *", "Europe/Berlin");
        let mut before = Timestamp::EPOCH;
        for tick in ticks(&rule, Timestamp::from_secs(start), Timestamp::from_secs(start + 7_200)) {
            let due = due_at(&rule, jitter_ms, schedule, tick);
            prop_assert_eq!(due, due_at(&rule, jitter_ms, schedule, tick));
            prop_assert!((0..=jitter_ms).contains(&due.ms_since(tick)));
            prop_assert!(due > before && rule.next(tick).is_some_and(|next| due < next.at));
            before = due;
        }
    }
}

#[test]
fn in_every_zone_each_day_has_its_run_and_no_day_two() {
    let (from, until) = (at("2019-01-01T00:00:00Z"), at("2030-01-01T00:00:00Z"));
    let (mut zones, mut changes) = (0, 0);
    for name in jiff::tz::db().available() {
        let Ok(zone) = TimeZone::get(name.as_str()) else {
            continue;
        };
        zones += 1;
        let rule = Rule::read("20 2 * * *", zone.clone()).expect("an expression");
        let from = jiff::Timestamp::from_microsecond(from.micros()).expect("a time");
        for change in zone.following(from) {
            let second = change.timestamp().as_second();
            if second > until.secs() {
                break;
            }
            changes += 1;
            let begin = Timestamp::from_secs(second - 3 * DAY);
            let found = ticks(&rule, begin, Timestamp::from_secs(second + 3 * DAY));
            // Never two for one time: a tick is at least most of a day after the one before.
            for pair in found.windows(2) {
                let hours = pair[1].ms_since(pair[0]) / 3_600_000;
                assert!((20..=28).contains(&hours), "{name}: {hours} hours");
            }
            assert!((5..=7).contains(&found.len()), "{name}: {found:?}");
        }
    }
    assert!(
        zones > 300 && changes > 1_000,
        "{zones} zones, {changes} changes"
    );
}

/// One schedule as the store would hold it, looked at by anybody.
struct Looked {
    rule: Rule,
    policy: Policy,
    next_tick: Option<Timestamp>,
    rows: BTreeSet<Timestamp>,
    run: Vec<Timestamp>,
    missed: Vec<(Timestamp, Timestamp)>,
}

impl Looked {
    fn new(rule: Rule, policy: Policy, start: Timestamp) -> Self {
        let next_tick = rule.next(start).map(|next| next.at);
        Self {
            rule,
            policy,
            next_tick,
            rows: BTreeSet::new(),
            run: Vec::new(),
            missed: Vec::new(),
        }
    }

    /// Looks until nothing is due. Answers how many looks it took.
    fn look(&mut self, now: Timestamp, busy: bool) -> usize {
        for looks in 1..=100 {
            let Some(next_tick) = self.next_tick.filter(|next| *next <= now) else {
                return looks;
            };
            let known: Vec<Timestamp> = self.rows.iter().copied().collect();
            let decision = Question {
                rule: &self.rule,
                policy: self.policy,
                schedule: ScheduleId::NIL,
                next_tick,
                now,
                busy,
                known: &known,
            }
            .decide();
            assert!(decision.run.len() <= RUN_MAX && decision.overlapped.len() <= RUN_MAX);
            for tick in decision.run.iter().chain(&decision.overlapped) {
                assert!(self.rows.insert(*tick), "a tick has two rows");
            }
            self.run.extend(&decision.run);
            if let Some(missed) = decision.missed {
                assert!(self.rows.insert(missed.last), "a tick has two rows");
                self.missed.push((missed.first, missed.last));
            }
            self.next_tick = decision.next_tick;
            if decision.next_at.is_none_or(|at| at > now) {
                return looks;
            }
        }
        panic!("it never comes to an end");
    }

    /// What a start, or a clock that was put back, does.
    fn begin_again(&mut self, now: Timestamp) {
        if self.next_tick.is_none_or(|next| next > now) {
            self.next_tick = self.rule.next(now).map(|next| next.at);
        }
    }
}

fn policy(misfire: Misfire, overlap: Overlap) -> Policy {
    Policy {
        misfire,
        overlap,
        ..Policy::default()
    }
}

#[test]
fn after_days_of_outage_the_misfire_policy_decides() {
    let start = at("2026-11-01T00:30:00Z");
    let up_again = at("2026-11-04T12:10:00Z");
    let hours = 3 * 24 + 12;
    let outage = |misfire: Misfire, catch_up_max: i64| {
        let policy = Policy {
            catch_up_max,
            ..policy(misfire, Overlap::Allow)
        };
        let mut looked = Looked::new(rule("0 * * * *", "UTC"), policy, start);
        looked.look(up_again, false);
        assert_eq!(looked.next_tick, Some(at("2026-11-04T13:00:00Z")));
        looked
    };
    assert!(outage(Misfire::Skip, 100).run.is_empty());
    assert_eq!(outage(Misfire::One, 100).run, [at("2026-11-04T12:00:00Z")]);
    assert_eq!(outage(Misfire::All, 100).run.len(), hours);
    let bounded = outage(Misfire::All, 5);
    assert_eq!(bounded.run.first(), Some(&at("2026-11-04T08:00:00Z")));
    assert_eq!(bounded.run.last(), Some(&at("2026-11-04T12:00:00Z")));
    assert_eq!(
        bounded.missed,
        [(at("2026-11-01T01:00:00Z"), at("2026-11-04T07:00:00Z"))]
    );
}

#[test]
fn a_tick_that_is_on_time_makes_up_for_those_before_it() {
    let mut looked = Looked::new(
        rule("0 * * * *", "UTC"),
        Policy::default(),
        at("2026-11-01T00:30:00Z"),
    );
    looked.look(at("2026-11-01T05:00:20Z"), false);
    assert_eq!(looked.run, [at("2026-11-01T05:00:00Z")]);
    assert_eq!(
        looked.missed,
        [(at("2026-11-01T01:00:00Z"), at("2026-11-01T04:00:00Z"))]
    );
}

#[test]
fn an_outage_of_a_rule_of_every_second_is_worked_off_in_bounded_looks() {
    for (misfire, runs) in [(Misfire::Skip, 61), (Misfire::One, 61), (Misfire::All, 161)] {
        let mut looked = Looked::new(
            rule("* * * * * *", "UTC"),
            policy(misfire, Overlap::Allow),
            at("2026-11-01T00:00:00Z"),
        );
        let looks = looked.look(at("2026-11-01T06:00:00Z"), false);
        assert_eq!(looked.run.len(), runs, "{misfire:?}");
        let ticks = 6 * 3_600;
        assert!(looks <= ticks / (LOOK_MAX - 1_000) + 3, "{looks} looks");
        assert_eq!(looked.run.last(), Some(&at("2026-11-01T06:00:00Z")));
    }
}

#[test]
fn what_is_late_is_made_up_for_also_where_more_is_on_time_than_one_look_takes_in() {
    let patient = Policy {
        grace_ms: 3_600_000,
        ..policy(Misfire::All, Overlap::Allow)
    };
    let start = at("2026-11-01T00:00:00Z");
    let mut looked = Looked::new(rule("* * * * * *", "UTC"), patient, start);
    // An hour and five seconds: five are late, and more are on time than one look takes in.
    looked.look(start.plus_ms(3_606_000), false);
    assert_eq!(looked.run.len(), 3_606);
    assert!(looked.missed.is_empty());
}

#[test]
fn while_the_last_run_goes_on_the_overlap_policy_decides() {
    let start = at("2026-11-01T00:59:00Z");
    let (one, two, three) = (
        at("2026-11-01T01:00:00Z"),
        at("2026-11-01T02:00:00Z"),
        at("2026-11-01T03:00:00Z"),
    );
    let looked = |overlap: Overlap, misfire: Misfire| {
        let mut looked = Looked::new(rule("0 * * * *", "UTC"), policy(misfire, overlap), start);
        looked.look(one, false);
        looked.look(two, true);
        looked.look(three, true);
        looked
    };
    assert_eq!(looked(Overlap::Allow, Misfire::One).run, [one, two, three]);
    let skipped = looked(Overlap::Skip, Misfire::One);
    assert_eq!((skipped.run.len(), skipped.rows.len()), (1, 3));
    // Of those that waited, the latest.
    let mut waited = looked(Overlap::Wait, Misfire::One);
    assert_eq!(waited.run, [one]);
    waited.look(three.plus_ms(1_200_000), false);
    assert_eq!(waited.run, [one, three]);
    // Or each, one after the other.
    let mut waited = looked(Overlap::Wait, Misfire::All);
    waited.look(three.plus_ms(1_200_000), false);
    assert_eq!(waited.run, [one, two]);
    waited.look(three.plus_ms(1_260_000), false);
    assert_eq!(waited.run, [one, two, three]);
}

prop_compose! {
    fn policies()(
        misfire in prop::sample::select(&Misfire::ALL[..]),
        overlap in prop::sample::select(&Overlap::ALL[..]),
        catch_up_max in 1_i64..200,
        grace_ms in 1_000_i64..600_000,
        jitter_ms in prop_oneof![Just(0_i64), 0_i64..120_000],
    ) -> Policy {
        Policy { misfire, grace_ms, catch_up_max, overlap, jitter_ms }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_tick_runs_twice_and_none_is_lost_whoever_looks_when_and_whatever_the_clock_does(
        policy in policies(),
        expression in prop::sample::select(&["* * * * *", "*/20 * * * *", "0 3 * * *", "*/15 * * * * *"][..]),
        // Milliseconds that go by, whether the last run goes on, whether somebody starts anew.
        steps in prop::collection::vec((-4_000_000_i64..9_000_000, any::<bool>(), any::<bool>()), 1..40),
    ) {
        let start = at("2027-03-27T20:00:00Z");
        let mut looked = Looked::new(rule(expression, "Europe/Berlin"), policy, start);
        let (mut now, mut latest) = (start, start);
        for (ms, busy, anew) in steps {
            now = now.plus_ms(ms).max(start);
            if ms < 0 || anew {
                looked.begin_again(now);
            }
            looked.look(now, busy);
            latest = latest.max(now);
        }
        // Nobody is busy in the end, and whatever waited goes.
        for _ in 0..400 {
            looked.look(latest, false);
        }
        let mut run = looked.run.clone();
        run.sort();
        run.dedup();
        prop_assert_eq!(run.len(), looked.run.len(), "a tick ran twice");
        let pending = looked.next_tick.unwrap_or(Timestamp::MAX);
        for tick in ticks(&looked.rule, start, latest).into_iter().filter(|tick| *tick < pending) {
            let missed = looked.missed.iter().any(|(first, last)| (*first..=*last).contains(&tick));
            prop_assert!(missed || looked.rows.contains(&tick), "{} was lost", looked.rule.local(tick));
        }
    }
}
