//! What the rule of breakers promises, step by step and by properties.

use proptest::prelude::*;

use super::*;

const POLICY: BreakerPolicy = BreakerPolicy {
    failures_to_open: 3,
    failed_percent: None,
    slow_ms: None,
    slow_percent: 50,
    calls_min: 10,
    window_ms: 10_000,
    pause_ms: 1_000,
    pause_max_ms: 8_000,
    probes: 2,
    when_open: WhenOpen::Wait,
};

const START: Timestamp = Timestamp::EPOCH;

/// A breaker, what it counts, and its time.
struct Bench {
    breaker: Breaker,
    calls: Calls,
    policy: BreakerPolicy,
    now: Timestamp,
}

impl Bench {
    fn new(policy: BreakerPolicy) -> Self {
        Self {
            breaker: Breaker::default(),
            calls: Calls::default(),
            policy,
            now: START,
        }
    }

    fn open(policy: BreakerPolicy) -> Self {
        let mut bench = Self::new(policy);
        for _ in 0..policy.failures_to_open {
            bench.fails(false);
        }
        assert_eq!(bench.breaker.state, BreakerState::Open);
        bench
    }

    fn ends(&mut self, probe: bool, took_ms: i64, error: Option<&str>) -> Option<Turn> {
        let call = Call {
            probe,
            took_ms,
            error,
        };
        let (policy, now) = (self.policy, self.now);
        self.breaker.ended(&policy, &mut self.calls, call, now)
    }

    fn fails(&mut self, probe: bool) -> Option<Why> {
        self.ends(probe, 10, Some("refused")).map(|turn| turn.why)
    }

    fn succeeds(&mut self, probe: bool) -> Option<Why> {
        self.ends(probe, 10, None).map(|turn| turn.why)
    }

    fn allowance(&self) -> Option<u32> {
        self.breaker.allowance(&self.policy, self.now)
    }

    fn force(&mut self, open: bool, until_ms: Option<i64>) -> Option<Turn> {
        let until = until_ms.map(|ms| self.now.plus_ms(ms));
        let forced = Some(Forced { open, until });
        self.breaker.force(forced, &mut self.calls, self.now)
    }
}

#[test]
fn consecutive_failures_open_it_and_a_success_between_does_not() {
    let mut bench = Bench::new(POLICY);
    assert_eq!((bench.fails(false), bench.fails(false)), (None, None));
    assert_eq!(bench.succeeds(false), None);
    assert_eq!((bench.fails(false), bench.fails(false)), (None, None));
    let turn = bench.ends(false, 10, Some("refused")).expect("it opens");
    assert_eq!((turn.why, turn.count), (Why::Failures, 3));
    assert_eq!(turn.told(), Some(Told::Down));
    assert_eq!(bench.allowance(), Some(0));
}

#[test]
fn after_the_pause_probes_pass_and_as_many_successes_close_it() {
    let mut bench = Bench::open(POLICY);
    bench.now = bench.now.plus_ms(999);
    assert_eq!(bench.allowance(), Some(0));
    bench.now = bench.now.plus_ms(1);
    assert_eq!(bench.allowance(), Some(2));
    let begun = bench.breaker.probed().expect("it is half open");
    assert_eq!((begun.to, begun.told()), (BreakerState::HalfOpen, None));
    assert_eq!(bench.breaker.probed(), None);
    assert_eq!(bench.succeeds(true), None);
    assert_eq!(bench.allowance(), Some(2));
    let turn = bench.ends(true, 10, None).expect("it closes");
    assert_eq!((turn.why, turn.count), (Why::ProbesSucceeded, 2));
    assert_eq!(turn.told(), Some(Told::Up));
    assert_eq!(
        (bench.allowance(), &bench.breaker),
        (None, &Breaker::default())
    );
}

#[test]
fn one_failure_opens_it_again_and_every_time_doubles_the_pause_up_to_its_bound() {
    let mut bench = Bench::open(POLICY);
    let mut pauses = Vec::new();
    for _ in 0..5 {
        bench.now = bench
            .breaker
            .probe_at
            .expect("an open breaker has its time");
        bench.breaker.probed();
        bench.succeeds(true);
        assert_eq!(bench.fails(true), Some(Why::ProbeFailed));
        // The others of the same time change nothing any more.
        assert_eq!((bench.fails(true), bench.succeeds(true)), (None, None));
        let probe_at = bench.breaker.probe_at.expect("open again");
        pauses.push(probe_at.ms_since(bench.now));
    }
    assert_eq!(pauses, [2_000, 4_000, 8_000, 8_000, 8_000]);
    assert_eq!(bench.allowance(), Some(0));
}

#[test]
fn what_began_before_it_opened_neither_closes_it_nor_pushes_the_probes_away() {
    let mut bench = Bench::open(POLICY);
    let open = bench.breaker.clone();
    assert_eq!((bench.succeeds(false), bench.fails(false)), (None, None));
    assert_eq!(bench.breaker, open);
    bench.now = bench.now.plus_ms(1_000);
    bench.breaker.probed();
    let half_open = bench.breaker.clone();
    assert_eq!((bench.succeeds(false), bench.fails(false)), (None, None));
    assert_eq!(bench.breaker, half_open);
}

#[test]
fn a_share_of_failures_opens_it_once_there_were_enough_calls_in_the_window() {
    let mut bench = Bench::new(BreakerPolicy {
        failed_percent: Some(50),
        failures_to_open: 1_000,
        ..POLICY
    });
    for at in 0..9 {
        let turn = match at % 2 {
            0 => bench.fails(false),
            _ => bench.succeeds(false),
        };
        assert_eq!(turn, None, "nine calls are too few");
    }
    assert_eq!(
        bench.succeeds(false),
        None,
        "half of ten, and none of them now"
    );
    let turn = bench.ends(false, 10, Some("refused"));
    let turn = turn.expect("six of eleven");
    assert_eq!(
        (turn.why, turn.count, turn.calls),
        (Why::FailedShare, 6, 11)
    );
}

#[test]
fn failures_that_are_older_than_the_window_count_no_more() {
    let mut bench = Bench::new(BreakerPolicy {
        failed_percent: Some(50),
        failures_to_open: 1_000,
        ..POLICY
    });
    for _ in 0..9 {
        assert_eq!(bench.fails(false), None);
    }
    bench.now = bench.now.plus_ms(POLICY.window_ms);
    assert_eq!(bench.fails(false), None, "one call in the window");
}

#[test]
fn slow_calls_open_it_and_a_slow_probe_opens_it_again() {
    let mut bench = Bench::new(BreakerPolicy {
        slow_ms: Some(500),
        ..POLICY
    });
    for _ in 0..5 {
        assert_eq!(bench.ends(false, 500, None), None);
    }
    for _ in 0..4 {
        assert_eq!(bench.ends(false, 501, None), None);
    }
    let turn = bench.ends(false, 900, None).expect("half of ten are slow");
    assert_eq!((turn.why, turn.count, turn.calls), (Why::SlowShare, 5, 10));
    bench.now = bench.now.plus_ms(1_000);
    bench.breaker.probed();
    let turn = bench.ends(true, 501, None).expect("it opens again");
    assert_eq!(turn.why, Why::ProbeSlow);
}

#[test]
fn whoever_holds_it_open_lets_nothing_through_and_nothing_is_learned_meanwhile() {
    let mut bench = Bench::new(POLICY);
    assert_eq!(bench.force(true, Some(5_000)), None);
    assert_eq!(bench.breaker.stands(), BreakerState::Open);
    for _ in 0..5 {
        assert_eq!((bench.allowance(), bench.fails(false)), (Some(0), None));
    }
    bench.now = bench.now.plus_ms(5_000);
    assert_eq!(bench.breaker.next_at(), Some(bench.now));
    let turn = bench.breaker.force(None, &mut bench.calls, bench.now);
    let turn = turn.expect("its time is over");
    assert_eq!(
        (turn.why, turn.to, turn.told()),
        (Why::ForcedOver, BreakerState::Open, None)
    );
    assert_eq!(bench.allowance(), Some(2), "probes are due");
}

#[test]
fn whoever_holds_it_closed_lets_all_through_and_it_is_as_new_afterwards() {
    let mut bench = Bench::open(POLICY);
    assert_eq!(bench.force(false, Some(5_000)), None);
    for _ in 0..5 {
        assert_eq!((bench.allowance(), bench.fails(false)), (None, None));
    }
    // Before its time, by a person: who does it tells of it.
    let told = bench.breaker.force(None, &mut bench.calls, bench.now);
    assert_eq!((told, &bench.breaker), (None, &Breaker::default()));
}

#[test]
fn a_breaker_of_the_version_before_is_read() {
    let kept = r#"{"state":"open","failures":3,"probes_failed":1,"opened_at":1,"probe_at":2,"last_error":"no"}"#;
    let read: Breaker = serde_json::from_str(kept).expect("it is read");
    assert_eq!((read.state, read.successes), (BreakerState::Open, 0));
}

#[test]
fn a_dependency_is_named_so_that_it_is_no_endpoints() {
    for name in ["crm", "mail.eu-1", "0"] {
        assert!(Dependency::may_be_named(name), "{name}");
    }
    let long = "a".repeat(DEPENDENCY_MAX + 1);
    for name in [
        "",
        "-a",
        ".a",
        "CRM",
        "a b",
        "a/b",
        "ep_01",
        "ä",
        long.as_str(),
    ] {
        assert!(!Dependency::may_be_named(name), "{name}");
    }
}

proptest! {
    #[test]
    fn a_breaker_that_is_not_closed_never_lets_more_through_than_its_probes(
        steps in proptest::collection::vec(0..8_u8, 0..80),
        probes in 1..4_u32,
    ) {
        let policy = BreakerPolicy { probes, failed_percent: Some(60), slow_ms: Some(100), ..POLICY };
        let mut bench = Bench::new(policy);
        let mut probing = 0_u32;
        for step in steps {
            let before = bench.breaker.clone();
            let _ = match step {
                0 => bench.ends(false, 10, Some("refused")),
                1 => bench.ends(false, 10, None),
                2 => {
                    bench.now = bench.now.plus_ms(700);
                    None
                }
                3 => bench.force(true, Some(500)),
                4 => bench.force(false, Some(500)),
                5 => bench.breaker.force(None, &mut bench.calls, bench.now),
                _ if probing > 0 => {
                    probing -= 1;
                    bench.ends(true, if step == 6 { 10 } else { 200 }, None)
                }
                _ => None,
            };
            let allowance = bench.allowance();
            prop_assert_eq!(bench.breaker.stands() == BreakerState::Closed, allowance.is_none());
            prop_assert!(allowance.unwrap_or(0) <= probes);
            // From closed it opens only by its own rule, and closes only by successes of probes or a person.
            if before.forced.is_none() && bench.breaker.forced.is_none() && step < 2 {
                prop_assert!(before.state == BreakerState::Closed || bench.breaker == before);
            }
            if allowance.is_some_and(|most| probing < most) {
                probing += 1;
                bench.breaker.probed();
                prop_assert_eq!(bench.breaker.stands(), BreakerState::HalfOpen);
            }
            if allowance.is_none() {
                probing = 0;
            }
        }
    }

    #[test]
    fn the_ring_counts_what_is_in_the_window_and_no_more(
        ages in proptest::collection::vec(0..30_000_i64, 0..50),
    ) {
        let mut ages = ages;
        ages.sort_unstable_by(|one, other| other.cmp(one));
        let end = Timestamp::from_secs(1_000);
        let mut calls = Calls::default();
        for age in &ages {
            calls.add(&POLICY, end.minus_ms(*age), age % 2 == 0, false);
        }
        let counted = calls.counted(&POLICY, end);
        let slot_ms = POLICY.window_ms / 10;
        let surely = ages.iter().filter(|age| **age < POLICY.window_ms - slot_ms).count() as u32;
        let perhaps = ages.iter().filter(|age| **age <= POLICY.window_ms).count() as u32;
        prop_assert!((surely..=perhaps).contains(&counted.calls));
        prop_assert!(counted.failed <= counted.calls);
    }
}
