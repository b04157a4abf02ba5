//! Failed sign-ins, counted by address and by user: after a few, each further one has to wait.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    http::{Code, Problem},
    limits,
};

/// Remembers failures. Each key has a bucket that refills with time; what is full again is forgotten.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<HashMap<String, Bucket>>);

#[derive(Clone, Copy)]
struct Bucket {
    failures: f64,
    at: Instant,
}

impl Bucket {
    fn now(self, now: Instant) -> f64 {
        let refilled =
            now.duration_since(self.at).as_secs_f64() / limits::SIGN_IN_REFILL.as_secs_f64();
        (self.failures - refilled).max(0.0)
    }
}

impl Throttle {
    /// Refuses when any of these has failed too often lately.
    pub(crate) fn check(&self, keys: &[&str]) -> Result<(), Problem> {
        let now = Instant::now();
        let buckets = self.lock();
        let worst = keys
            .iter()
            .filter_map(|key| buckets.get(*key))
            .map(|bucket| bucket.now(now))
            .fold(0.0, f64::max);
        let over = worst + 1.0 - f64::from(limits::SIGN_IN_FAILURES);
        if over <= 0.0 {
            return Ok(());
        }
        let wait = limits::SIGN_IN_REFILL
            .mul_f64(over)
            .max(Duration::from_secs(1));
        let secs = wait.as_secs_f64().ceil() as u64;
        Err(Problem::new(
            Code::RateLimited,
            format!("too many sign-ins failed; wait {secs} s"),
        )
        .retry_after(secs))
    }

    /// Counts a failure for each of these.
    pub(crate) fn failed(&self, keys: &[&str]) {
        let now = Instant::now();
        let mut buckets = self.lock();
        if buckets.len() >= limits::SIGN_IN_TRACKED_MAX {
            buckets.retain(|_, bucket| bucket.now(now) > 0.0);
        }
        for key in keys {
            // When even so there is no room, the newest go uncounted: memory stays bounded, hashing stays slow.
            if buckets.len() >= limits::SIGN_IN_TRACKED_MAX && !buckets.contains_key(*key) {
                continue;
            }
            let bucket = buckets.entry((*key).to_owned()).or_insert(Bucket {
                failures: 0.0,
                at: now,
            });
            *bucket = Bucket {
                failures: bucket.now(now) + 1.0,
                at: now,
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_too_many_failures_one_waits_and_then_may_again() {
        let throttle = Throttle::default();
        for _ in 0..limits::SIGN_IN_FAILURES {
            assert!(throttle.check(&["203.0.113.9"]).is_ok());
            throttle.failed(&["203.0.113.9"]);
        }
        let refused = throttle.check(&["203.0.113.9"]).expect_err("too many");
        assert_eq!(refused.code(), Code::RateLimited);
        assert!(throttle.check(&["203.0.113.10"]).is_ok());
        tokio::time::advance(limits::SIGN_IN_REFILL).await;
        assert!(throttle.check(&["203.0.113.9"]).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_whoever_knocks() {
        let throttle = Throttle::default();
        for number in 0..limits::SIGN_IN_TRACKED_MAX + 100 {
            throttle.failed(&[&number.to_string()]);
        }
        assert!(throttle.lock().len() <= limits::SIGN_IN_TRACKED_MAX);
    }
}
