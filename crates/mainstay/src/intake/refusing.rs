//! Intake that had to send providers away is told of as soon as it can commit again: one event of our own, `intake.refused`,
//! with how many requests and for how long.

use std::sync::{Mutex, PoisonError};

use mainstay_domain::Timestamp;

/// A time in which requests were answered 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Episode {
    /// The first refusal.
    pub(crate) since: Timestamp,
    /// The last one.
    pub(crate) until: Timestamp,
    /// How many.
    pub(crate) requests: i64,
}

/// Whether requests are being sent away.
#[derive(Default)]
pub(crate) struct Refusing(Mutex<Option<Episode>>);

impl Refusing {
    /// A request was sent away.
    pub(crate) fn refused(&self, now: Timestamp) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let episode = current.get_or_insert(Episode {
            since: now,
            until: now,
            requests: 0,
        });
        episode.until = now;
        episode.requests += 1;
    }

    /// A request was committed: the episode that this ends, if there was one.
    pub(crate) fn committed(&self) -> Option<Episode> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_is_told_of_once() {
        let refusing = Refusing::default();
        assert_eq!(refusing.committed(), None);
        refusing.refused(Timestamp::from_secs(10));
        refusing.refused(Timestamp::from_secs(20));
        let told = Episode {
            since: Timestamp::from_secs(10),
            until: Timestamp::from_secs(20),
            requests: 2,
        };
        assert_eq!(refusing.committed(), Some(told));
        assert_eq!(refusing.committed(), None);
    }
}
