//! Lines: jobs that have an ordering key run one at a time, in the order in which they were committed.
//!
//! The jobs of one tenant in one queue that share a key are a *line*. Its *head* is the only one of them that the
//! engine knows of; the others wait behind it and are in no index that the engine reads, so that a line costs the
//! same however long it is, and jobs without a key cost nothing. When the head ends, the next gets its turn in the same
//! transaction. When it ends as a dead letter the line is *parked*, unless its jobs say otherwise: nothing of it runs
//! until a person has dealt with the dead letter, while every other key goes on.

use serde::{Deserialize, Serialize};

use super::QueueNumber;
use crate::{
    id::{JobId, LineId, TenantId},
    time::Timestamp,
};

/// Bytes of an ordering key. What is longer stands as the beginning and a digest.
pub const KEY_BYTES_MAX: usize = 200;

/// Jobs that wait for their turn are not due at any time of the clock's: they are made with this as their time.
pub const TURN: Timestamp = Timestamp::MAX;

/// Later than every time that a clock can show, and before [`TURN`]: as far as what waits for its time is read.
pub const LAST: Timestamp = Timestamp::from_micros(i64::MAX - 1);

/// The code of the attempt row that says that a job's turn has come.
pub const TURN_CAME: &str = "turn_came";

/// What becomes of a line whose head ends as a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDead {
    /// It waits until a person has dealt with the dead letter.
    #[default]
    Park,
    /// It goes on with the next.
    Continue,
}

impl OnDead {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Park => "park",
            Self::Continue => "continue",
        }
    }
}

/// The order that a new job keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOrder {
    /// The key: at most [`KEY_BYTES_MAX`] bytes.
    pub key: String,
    /// What becomes of its line should it end as a dead letter.
    pub on_dead: OnDead,
}

/// The order that a job keeps, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPlace {
    /// The key.
    pub key: String,
    /// Its place: lower ones come first. Not dense.
    pub position: i64,
    /// What becomes of its line should it end as a dead letter.
    pub on_dead: OnDead,
    /// Whether it waits for its turn.
    pub waits: bool,
}

/// A line that has a job which has not ended, or which parks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its id.
    pub id: LineId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where its jobs wait.
    pub queue: QueueNumber,
    /// The key that its jobs share.
    pub key: String,
    /// The job that all others wait for.
    pub head: JobId,
    /// How many wait behind it.
    pub waiting: i64,
    /// When the head's turn came.
    pub since: Timestamp,
    /// When the head ended as a dead letter; none: the line moves.
    pub parked_at: Option<Timestamp>,
}

/// Which lines, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LineFilter {
    /// Only this tenant's.
    pub tenant: Option<TenantId>,
    /// Only of this queue.
    pub queue: Option<QueueNumber>,
    /// Only of this key.
    pub key: Option<String>,
    /// Only those that are parked, or only those that are not.
    pub parked: Option<bool>,
    /// Only older than this one, by id: the cursor.
    pub before: Option<LineId>,
}

/// How many lines are parked, and what that holds up. Counted up to [`LINES_COUNTED_MAX`] lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParkedCount {
    /// Lines.
    pub lines: i64,
    /// Jobs that wait behind their heads.
    pub waiting: i64,
}

/// Parked lines that are counted.
pub const LINES_COUNTED_MAX: i64 = 10_000;

/// A job that keeps an order has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineEnd {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub job: JobId,
    /// As a dead letter.
    pub dead: bool,
    /// When; the turn of the next comes then.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_clock_shows_the_time_of_a_turn() {
        assert!(LAST < TURN);
        assert_eq!(TURN, Timestamp::MAX);
    }
}
