//! Following events: what is new, in one order that everybody sees, from a place that holds over broken connections.
//!
//! Commits have no order of their own that could be read afterwards, and an event may be committed long after it was
//! received. But whoever indexes objects finds every event once and says so in commits that come one after the other
//! ([`super::objects::IndexCommit`]). While somebody follows, each of them lists the events that it found first: that is
//! the order here. While nobody does, nothing is written.

use std::cmp::Ordering;

use async_trait::async_trait;

use crate::{EventId, SourceId, StoreResult, TenantId, Timestamp};

/// How far somebody is: everything up to this event of this commit of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The commit.
    pub revision: i64,
    /// The event in it.
    pub event: EventId,
}

impl Place {
    /// After everything that this commit and those before it listed.
    pub const fn after(revision: i64) -> Self {
        Self {
            revision,
            event: EventId::MAX,
        }
    }
}

/// What the list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowSpan {
    /// Everything that was found by a later commit than this is in the list.
    pub from: i64,
    /// The last commit of the index.
    pub revision: i64,
    /// Until when it is kept; none: nobody follows.
    pub until: Option<Timestamp>,
}

impl FollowSpan {
    /// Whether nothing is missing after this place. One beyond the last commit is of another database, or of one that
    /// was restored since.
    pub const fn holds(&self, revision: i64) -> bool {
        self.until.is_some() && self.from <= revision && revision <= self.revision
    }
}

/// An event that is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFound {
    /// Where it stands.
    pub place: Place,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its door.
    pub source: SourceId,
    /// Its type.
    pub kind: String,
}

/// An event of before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastFound {
    /// The event.
    pub event: EventId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its door.
    pub source: SourceId,
    /// Its type.
    pub kind: String,
    /// Whether it was indexed by the commit that was asked about. If not, it is new after it.
    pub before: bool,
}

impl PastFound {
    /// In the order of time, whoever's they are.
    pub fn order(one: &Self, other: &Self) -> Ordering {
        one.event.cmp(&other.event)
    }
}

/// The store's verbs of following.
#[async_trait]
pub trait FollowTx: Send {
    /// What the list holds.
    async fn follow_span(&mut self) -> StoreResult<FollowSpan>;
    /// Has it kept until then at least; begins it where nobody followed. System scope.
    async fn follow_keep(&mut self, until: Timestamp) -> StoreResult<FollowSpan>;
    /// Ends it where it was to be kept until before this time. System scope.
    async fn follow_end(&mut self, now: Timestamp) -> StoreResult<bool>;
    /// Forgets at most `limit` events of this commit and those before it; answers how many. System scope.
    async fn follow_trim(&mut self, revision: i64, limit: i64) -> StoreResult<i64>;
    /// What is new after this place, in the order of places, at most `limit`; of one tenant, or of all in the scope.
    async fn follow_new(
        &mut self,
        tenant: Option<TenantId>,
        after: Place,
        limit: i64,
    ) -> StoreResult<Vec<NewFound>>;
    /// The oldest events after this one, at most `limit`, as of a commit of the index that the list holds; of one tenant,
    /// or of all in the scope.
    async fn follow_past(
        &mut self,
        tenant: Option<TenantId>,
        after: EventId,
        revision: i64,
        limit: i64,
    ) -> StoreResult<Vec<PastFound>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_the_list_begins_after_or_ends_before_does_not_hold() {
        let span = FollowSpan {
            from: 5,
            revision: 9,
            until: Some(Timestamp::EPOCH),
        };
        for (revision, holds) in [(4, false), (5, true), (9, true), (10, false)] {
            assert_eq!(span.holds(revision), holds, "{revision}");
        }
        assert!(
            !FollowSpan {
                until: None,
                ..span
            }
            .holds(7)
        );
    }

    #[test]
    fn everything_of_a_commit_is_before_the_end_of_it() {
        let event = EventId::from_uuid(uuid::Uuid::from_u128(u128::MAX - 1));
        let place = Place { revision: 3, event };
        assert!(place < Place::after(3));
        assert!(
            Place::after(3)
                < Place {
                    revision: 4,
                    event: EventId::NIL
                }
        );
    }
}
