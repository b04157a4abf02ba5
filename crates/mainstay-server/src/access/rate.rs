//! How many requests a caller may make: so many of each class in a minute, counted on each node from the caller's first
//! one (RLM-01 to RLM-05).
//!
//! Each answer says how it stands, in the fields of the IETF's draft "RateLimit header fields for HTTP" (RLM-04).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use mainstay_domain::{
    Timestamp,
    access::{RateClass, RateOverride},
};
use tokio::time::Instant;

use super::Known;
use crate::{
    config::RequestLimits,
    http::{Code, Problem},
    limits,
};

/// The policy's name and what it allows.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// How the caller stands.
const STANDING: HeaderName = HeaderName::from_static("ratelimit");

/// Requests by caller and class. Only callers who have proved who they are: nobody else can fill it.
#[derive(Default)]
pub(crate) struct Rate(Mutex<HashMap<(String, Counted), Window>>);

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Counted {
    /// All that a person does.
    Person,
    /// What a key does of one class.
    Key(RateClass),
}

impl Counted {
    /// How the fields of answers name it.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Key(class) => class.as_str(),
        }
    }
}

/// What a request of this class by this caller counts as, and how many of those there may be.
pub(super) fn quota(
    known: &Known,
    class: RateClass,
    limits: &RequestLimits,
    now: Timestamp,
) -> (Counted, u32) {
    let Some(key) = &known.key else {
        return (Counted::Person, limits.all);
    };
    let own = RateOverride::of(&key.limits, class, now);
    (
        Counted::Key(class),
        own.unwrap_or_else(|| limits.of_key(class)),
    )
}

/// The minute that a caller's first request began.
#[derive(Clone, Copy)]
struct Window {
    began: Instant,
    requests: u32,
}

impl Window {
    fn is_over(self, now: Instant) -> bool {
        now.duration_since(self.began) >= limits::RATE_WINDOW
    }
}

/// How a caller stands with this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// What was counted.
    counted: Counted,
    /// Requests in a window.
    quota: u32,
    /// How many of them are left.
    left: u32,
    /// Seconds until the window ends.
    reset_secs: u64,
    /// Whether this request was one too many.
    over: bool,
}

impl Rate {
    /// Counts a request of this caller, who has so many.
    pub(crate) fn count(&self, caller: &str, (counted, quota): (Counted, u32)) -> Standing {
        let now = Instant::now();
        let key = (caller.to_owned(), counted);
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= limits::RATE_CALLERS_MAX && !windows.contains_key(&key) {
            windows.retain(|_, window| !window.is_over(now));
        }
        let fresh = Window {
            began: now,
            requests: 0,
        };
        let mut window = windows.get(&key).copied().unwrap_or(fresh);
        if window.is_over(now) {
            window = fresh;
        }
        let over = window.requests >= quota;
        if !over {
            window.requests += 1;
        }
        // Where there is no room even so, the newest callers go uncounted: memory stays bounded.
        if windows.len() < limits::RATE_CALLERS_MAX || windows.contains_key(&key) {
            windows.insert(key, window);
        }
        let reset = limits::RATE_WINDOW.saturating_sub(now.duration_since(window.began));
        Standing {
            counted,
            quota,
            left: quota.saturating_sub(window.requests),
            reset_secs: (reset.as_secs_f64().ceil() as u64).max(1),
            over,
        }
    }
}

impl Standing {
    /// Refuses what was one too many.
    pub(crate) fn admit(self) -> Result<(), Problem> {
        if !self.over {
            return Ok(());
        }
        Err(Problem::new(
            Code::RateLimited,
            match self.counted {
                Counted::Person => format!(
                    "more than {} requests in a minute; wait {} s",
                    self.quota, self.reset_secs
                ),
                Counted::Key(class) => format!(
                    "more than {} {} with this key in a minute; wait {} s",
                    self.quota,
                    class.noun(),
                    self.reset_secs
                ),
            },
        )
        .retry_after(self.reset_secs))
    }

    /// Says it in the answer.
    pub(crate) fn tell(self, headers: &mut HeaderMap) {
        let (window, name) = (limits::RATE_WINDOW.as_secs(), self.counted.as_str());
        let policy = format!(r#""{name}";q={};w={window}"#, self.quota);
        let standing = format!(r#""{name}";r={};t={}"#, self.left, self.reset_secs);
        for (name, value) in [(POLICY, policy), (STANDING, standing)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READS: Counted = Counted::Key(RateClass::Reads);

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_asks_too_often_waits_until_the_minute_is_over_and_nobody_else_does() {
        let rate = Rate::default();
        for left in [1, 0] {
            let standing = rate.count("key_a", (READS, 2));
            assert_eq!((standing.left, standing.reset_secs), (left, 60));
            assert!(standing.admit().is_ok());
        }
        tokio::time::advance(limits::RATE_WINDOW / 2).await;
        let refused = rate.count("key_a", (READS, 2));
        assert_eq!((refused.left, refused.reset_secs), (0, 30));
        assert_eq!(
            refused.admit().expect_err("one too many").code(),
            Code::RateLimited
        );
        assert!(rate.count("key_b", (READS, 2)).admit().is_ok());
        tokio::time::advance(limits::RATE_WINDOW / 2).await;
        assert_eq!(rate.count("key_a", (READS, 2)).left, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_key_does_of_one_class_takes_no_room_of_another() {
        let rate = Rate::default();
        for class in RateClass::ALL {
            let quota = (Counted::Key(class), 1);
            assert!(rate.count("key_a", quota).admit().is_ok(), "{class:?}");
            assert!(rate.count("key_a", quota).admit().is_err(), "{class:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_however_many_call() {
        let rate = Rate::default();
        for number in 0..limits::RATE_CALLERS_MAX + 100 {
            let standing = rate.count(&number.to_string(), (READS, 1));
            assert!(standing.admit().is_ok());
        }
        assert_eq!(
            rate.0.lock().expect("nobody panicked").len(),
            limits::RATE_CALLERS_MAX
        );
        // Those whose minute is over make room.
        tokio::time::advance(limits::RATE_WINDOW).await;
        rate.count("key_late", (READS, 1));
        assert_eq!(rate.0.lock().expect("nobody panicked").len(), 1);
    }

    #[test]
    fn the_fields_are_those_of_the_draft() {
        let mut headers = HeaderMap::new();
        let standing = Standing {
            counted: READS,
            quota: 100,
            left: 7,
            reset_secs: 12,
            over: false,
        };
        standing.tell(&mut headers);
        assert_eq!(headers["ratelimit-policy"], r#""reads";q=100;w=60"#);
        assert_eq!(headers["ratelimit"], r#""reads";r=7;t=12"#);
    }
}
