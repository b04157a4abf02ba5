//! Jobs that there is to be one of: submissions that share a key of a queue, and what becomes of the later one.

use serde::{Deserialize, Serialize};

use super::JobState;
use crate::{
    id::{JobId, TenantId},
    time::Timestamp,
};

/// The longest window, in milliseconds: 30 days. For so long a key is remembered whatever becomes of its job.
pub const WINDOW_MS_MAX: i64 = 30 * 24 * 60 * 60 * 1_000;

/// Until when a job stands in the way of others with its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UniqueUntil {
    /// Until it has ended.
    #[default]
    Ended,
    /// Until it has been started for the first time: what changes while it runs asks for another run.
    Started,
}

/// What becomes of a submission whose key is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfTaken {
    /// The earlier job stays, and is the answer.
    #[default]
    Keep,
    /// The earlier job is cancelled if it has not been started; this one takes its place. Submitted with a time ahead, it
    /// is put off by each that follows (debounce).
    Replace,
}

/// What a submission says of others with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unique {
    /// What they share: a digest of what the team calls it.
    pub key: String,
    /// Until when an earlier one stands in its way.
    pub until: UniqueUntil,
    /// And in any case for so long after it was submitted, in milliseconds.
    pub for_ms: Option<i64>,
    /// What becomes of this one then.
    pub if_taken: IfTaken,
    /// However often it is replaced, it runs no later than so long after the first one was submitted, in milliseconds.
    pub at_latest_ms: Option<i64>,
}

/// Where a key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UniqueKey<'a> {
    /// Whose.
    pub tenant: TenantId,
    /// Of which queue.
    pub queue: super::QueueNumber,
    /// The key.
    pub key: &'a str,
}

/// Who has a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UniqueHolder {
    /// The job.
    pub job: JobId,
    /// When it was submitted.
    pub at: Timestamp,
    /// When the first one was submitted that others have replaced since, up to this one.
    pub first_at: Timestamp,
}

/// What becomes of a submission whose key somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UniqueVerdict {
    /// It is submitted, and has the key.
    Take,
    /// It is not; this is the job.
    Keep(JobId),
    /// It is submitted in the place of this one, which is cancelled; when it runs.
    Replace {
        /// The earlier one.
        job: JobId,
        /// Not before.
        run_at: Option<Timestamp>,
        /// When the first one was submitted.
        first_at: Timestamp,
    },
}

impl Unique {
    /// Decides. `state` is how the holder's job stands, `None` where it is gone; `run_at` is when this one is to run.
    pub fn verdict(
        &self,
        holder: &UniqueHolder,
        state: Option<JobState>,
        run_at: Option<Timestamp>,
        now: Timestamp,
    ) -> UniqueVerdict {
        let within = self
            .for_ms
            .is_some_and(|window| now < holder.at.plus_ms(window));
        let untouched = matches!(state, Some(JobState::Waiting | JobState::Scheduled));
        let stands = match self.until {
            UniqueUntil::Started => untouched,
            UniqueUntil::Ended => {
                untouched || matches!(state, Some(JobState::Running | JobState::Retrying))
            }
        };
        match self.if_taken {
            _ if !within && !stands => UniqueVerdict::Take,
            IfTaken::Keep => UniqueVerdict::Keep(holder.job),
            IfTaken::Replace if untouched => UniqueVerdict::Replace {
                job: holder.job,
                run_at: self.run_at(run_at, holder.first_at),
                first_at: holder.first_at,
            },
            IfTaken::Replace => UniqueVerdict::Take,
        }
    }

    /// When it runs, if the first one was submitted then.
    pub fn run_at(&self, run_at: Option<Timestamp>, first_at: Timestamp) -> Option<Timestamp> {
        match (run_at, self.at_latest_ms) {
            (Some(at), Some(latest)) => Some(at.min(first_at.plus_ms(latest))),
            (at, _) => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn unique() -> Unique {
        Unique {
            key: "report".into(),
            until: UniqueUntil::Ended,
            for_ms: None,
            if_taken: IfTaken::Keep,
            at_latest_ms: None,
        }
    }

    fn holder() -> UniqueHolder {
        UniqueHolder {
            job: JobId::NIL,
            at: Timestamp::from_secs(990),
            first_at: Timestamp::from_secs(900),
        }
    }

    #[test]
    fn a_key_is_free_once_its_job_has_ended_or_is_gone() {
        for state in JobState::ALL {
            let ended = matches!(state, JobState::Done | JobState::Dead | JobState::Cancelled);
            let verdict = unique().verdict(&holder(), Some(state), None, NOW);
            assert_eq!(verdict == UniqueVerdict::Take, ended, "{state:?}");
        }
        let gone = unique().verdict(&holder(), None, None, NOW);
        assert_eq!(gone, UniqueVerdict::Take);
    }

    #[test]
    fn until_it_is_started_means_that_one_more_may_wait_while_it_runs() {
        let until_started = Unique {
            until: UniqueUntil::Started,
            ..unique()
        };
        for (state, taken) in [
            (JobState::Waiting, true),
            (JobState::Scheduled, true),
            (JobState::Running, false),
            (JobState::Retrying, false),
        ] {
            let verdict = until_started.verdict(&holder(), Some(state), None, NOW);
            assert_eq!(verdict != UniqueVerdict::Take, taken, "{state:?}");
        }
    }

    #[test]
    fn a_window_holds_whatever_became_of_the_job_and_not_a_moment_longer() {
        let once_in_ten_secs = Unique {
            for_ms: Some(10_000),
            ..unique()
        };
        let verdict = |now| once_in_ten_secs.verdict(&holder(), Some(JobState::Done), None, now);
        let last = Timestamp::from_micros(NOW.micros() - 1);
        assert_eq!(verdict(last), UniqueVerdict::Keep(JobId::NIL));
        assert_eq!(verdict(NOW), UniqueVerdict::Take);
    }

    #[test]
    fn what_is_replaced_again_and_again_still_runs_in_time_and_what_runs_is_not_replaced() {
        let replace = Unique {
            if_taken: IfTaken::Replace,
            at_latest_ms: Some(120_000),
            ..unique()
        };
        let wanted = Some(NOW.plus_ms(30_000));
        let verdict = replace.verdict(&holder(), Some(JobState::Scheduled), wanted, NOW);
        let at_latest = Some(Timestamp::from_secs(1_020));
        assert_eq!(
            verdict,
            UniqueVerdict::Replace {
                job: JobId::NIL,
                run_at: at_latest,
                first_at: Timestamp::from_secs(900),
            }
        );
        for state in [JobState::Running, JobState::Retrying] {
            let verdict = replace.verdict(&holder(), Some(state), wanted, NOW);
            assert_eq!(verdict, UniqueVerdict::Take, "{state:?}");
        }
    }
}
