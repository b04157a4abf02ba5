//! How well an endpoint does, in one number: from what is counted anyway, by a rule that can be done by hand.

use super::breaker::BreakerState;

/// What is known of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signs {
    /// The share of attempts that succeeded in the window; none: there were none.
    pub success_rate: Option<f64>,
    /// The 99th percentile of its answers in the window, in milliseconds.
    pub p99_ms: Option<i64>,
    /// Its timeout, in milliseconds.
    pub timeout_ms: u64,
    /// Where its breaker stands.
    pub breaker: BreakerState,
    /// Consecutive failures.
    pub failures: u32,
    /// Consecutive failures that open the breaker.
    pub failures_to_open: u32,
}

/// What a score means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// 80 and more.
    Healthy,
    /// 50 and more.
    Degraded,
    /// Less.
    Failing,
    /// Nothing was sent lately.
    Unknown,
}

/// What costs points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Attempts that failed.
    Failures,
    /// Failures one after the other, until now.
    Streak,
    /// Answers that come close to the timeout.
    Slow,
    /// The breaker is open.
    BreakerOpen,
    /// The breaker is about to try again.
    BreakerHalfOpen,
}

/// How well an endpoint does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What it comes to.
    pub state: HealthState,
    /// From 0 to 100; none: nothing was sent lately.
    pub score: Option<u8>,
    /// What was taken off 100, and why.
    pub lost: Vec<(Cause, u8)>,
}

/// Every percent of failed attempts costs three points, 60 at the most.
const PER_FAILED_PERCENT: f64 = 3.0;
const FAILURES_MAX: f64 = 60.0;
/// A streak costs up to so much, in proportion to what opens the breaker.
const STREAK_MAX: f64 = 15.0;
/// Answers cost up to so much, from half of the timeout to the whole.
const SLOW_MAX: f64 = 15.0;
/// No more than this is left while the breaker is open, and while it is about to try again.
const OPEN_LEAVES: u8 = 20;
const HALF_OPEN_LEAVES: u8 = 40;

impl Health {
    /// By the rule above.
    pub fn of(signs: &Signs) -> Self {
        let quiet = signs.success_rate.is_none()
            && signs.failures == 0
            && signs.breaker == BreakerState::Closed;
        if quiet {
            return Self {
                state: HealthState::Unknown,
                score: None,
                lost: Vec::new(),
            };
        }
        let failed = 1.0 - signs.success_rate.unwrap_or(1.0);
        let streak = f64::from(signs.failures) / f64::from(signs.failures_to_open.max(1));
        let timeout = (signs.timeout_ms.max(1)) as f64;
        let slow = signs
            .p99_ms
            .map_or(0.0, |p99| 2.0 * (p99 as f64 / timeout) - 1.0);
        let points = [
            (
                Cause::Failures,
                (failed * 100.0 * PER_FAILED_PERCENT).min(FAILURES_MAX),
            ),
            (Cause::Streak, streak.clamp(0.0, 1.0) * STREAK_MAX),
            (Cause::Slow, slow.clamp(0.0, 1.0) * SLOW_MAX),
        ];
        let mut lost: Vec<(Cause, u8)> = points
            .into_iter()
            .map(|(cause, points)| (cause, points.round() as u8))
            .filter(|(_, points)| *points > 0)
            .collect();
        let mut score = 100 - lost.iter().map(|(_, points)| points).sum::<u8>();
        let capped = match signs.breaker {
            BreakerState::Closed => None,
            BreakerState::Open => Some((Cause::BreakerOpen, OPEN_LEAVES)),
            BreakerState::HalfOpen => Some((Cause::BreakerHalfOpen, HALF_OPEN_LEAVES)),
        };
        if let Some((cause, leaves)) = capped
            && score > leaves
        {
            lost.push((cause, score - leaves));
            score = leaves;
        }
        let state = match score {
            80.. => HealthState::Healthy,
            50..80 => HealthState::Degraded,
            _ => HealthState::Failing,
        };
        Self {
            state,
            score: Some(score),
            lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Signs = Signs {
        success_rate: Some(1.0),
        p99_ms: Some(100),
        timeout_ms: 15_000,
        breaker: BreakerState::Closed,
        failures: 0,
        failures_to_open: 10,
    };

    #[test]
    fn an_endpoint_that_answers_well_has_a_hundred() {
        let health = Health::of(&WELL);
        assert_eq!(
            (health.state, health.score),
            (HealthState::Healthy, Some(100))
        );
        assert_eq!(health.lost, []);
    }

    #[test]
    fn nothing_sent_is_not_known_rather_than_well() {
        let health = Health::of(&Signs {
            success_rate: None,
            p99_ms: None,
            ..WELL
        });
        assert_eq!((health.state, health.score), (HealthState::Unknown, None));
        let health = Health::of(&Signs {
            success_rate: None,
            failures: 10,
            ..WELL
        });
        assert_eq!(health.score, Some(85), "a streak that began earlier counts");
    }

    #[test]
    fn each_cause_costs_what_the_rule_says() {
        let lost = |signs: Signs| Health::of(&signs).lost;
        assert_eq!(
            lost(Signs {
                success_rate: Some(0.95),
                ..WELL
            }),
            [(Cause::Failures, 15)]
        );
        assert_eq!(
            lost(Signs {
                success_rate: Some(0.0),
                ..WELL
            }),
            [(Cause::Failures, 60)]
        );
        assert_eq!(
            lost(Signs {
                failures: 4,
                ..WELL
            }),
            [(Cause::Streak, 6)]
        );
        assert_eq!(
            lost(Signs {
                p99_ms: Some(7_500),
                ..WELL
            }),
            []
        );
        assert_eq!(
            lost(Signs {
                p99_ms: Some(15_000),
                ..WELL
            }),
            [(Cause::Slow, 15)]
        );
    }

    #[test]
    fn an_open_breaker_leaves_little_and_the_worst_leaves_ten_or_less() {
        let open = Health::of(&Signs {
            breaker: BreakerState::Open,
            ..WELL
        });
        assert_eq!((open.state, open.score), (HealthState::Failing, Some(20)));
        let worst = Signs {
            success_rate: Some(0.0),
            p99_ms: Some(60_000),
            breaker: BreakerState::Open,
            failures: 99,
            ..WELL
        };
        assert_eq!(Health::of(&worst).score, Some(10));
    }
}
