//! A queue that has so much to do that it takes no more of what is submitted, for now.

use std::collections::BTreeSet;

use mainstay_domain::{
    StoreResult, Timestamp,
    jobs::{
        QueueNumber,
        pressure::{Full, Pressure},
    },
};

use super::unique::Submission;
use crate::{
    http::{Code, Problem},
    state::App,
};

/// Why these cannot be submitted now, if they cannot: all of them or none. By what the engine has counted, which this node
/// knows as its owner or has read where the owner writes it down.
pub(super) async fn full(app: &App, jobs: &[Submission]) -> StoreResult<Option<Problem>> {
    let snapshot = app.mainstay.engine.snapshot();
    let queues: BTreeSet<QueueNumber> = jobs.iter().map(|one| one.job.queue).collect();
    let now = app.clock.now();
    let found = queues.into_iter().find_map(|number| {
        let pressure = snapshot.queue(number)?.pressure?;
        Some((number, pressure, pressure.full(now)?))
    });
    let Some((number, pressure, full)) = found else {
        return Ok(None);
    };
    let queues = app.stats.queues(app).await?;
    let named = queues.into_iter().find(|queue| queue.number == number);
    let name = named.map_or_else(|| number.to_string(), |queue| queue.name);
    Ok(Some(problem(&name, &pressure, full, now)))
}

fn problem(queue: &str, pressure: &Pressure, full: Full, now: Timestamp) -> Problem {
    let why = match full {
        Full::Waiting { waiting, most } => {
            format!("{waiting} jobs wait in the queue {queue}; its max_waiting is {most}")
        }
        Full::Age { secs, most } => format!(
            "the oldest job of the queue {queue} has waited for {secs} s; its max_age_secs is {most}"
        ),
    };
    let detail = format!("{why}. Nothing was submitted; send it again after Retry-After");
    let secs = pressure.retry_after_secs(full, now);
    Problem::new(Code::QueueFull, detail).retry_after(secs.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use mainstay_domain::jobs::QueueLimits;

    use super::*;

    #[test]
    fn the_answer_says_which_limit_how_deep_and_when_to_come_again() {
        let now = Timestamp::from_secs(1_800_000_000);
        let limits = QueueLimits {
            max_waiting: Some(100),
            ..QueueLimits::default()
        };
        let pressure = Pressure {
            ended: 60,
            over_ms: 60_000,
            ..Pressure::of(&limits, 119, None).expect("a limit")
        };
        let full = pressure.full(now).expect("full");
        let problem = problem("mail", &pressure, full, now);
        for said in ["119", "mail", "max_waiting is 100"] {
            assert!(problem.detail().contains(said), "{}", problem.detail());
        }
        let answer = problem.into_response();
        assert_eq!(answer.status(), 429);
        assert_eq!(answer.headers()["retry-after"], "20");
    }
}
