//! Turns: the end of a job that keeps an order lets the next of its line run.
//!
//! The store moves the line on in the transaction of the end, and answers whose turn has come. Should the answer be
//! lost, the next owner finds the turn among the retries, where the tally record of the same transaction points; and so
//! does this one.

use mainstay_domain::jobs::{Attempt, DueKey, LineEnd, Outcome, QueueNumber};

use super::{
    Machine,
    queue::Timetable,
    words::{Turns, WindowId},
};

impl Machine {
    /// What a line is told of an attempt that is about to be recorded; nothing where its job keeps no order or does not
    /// end.
    pub(super) fn line_end(&self, attempt: &Attempt) -> Option<LineEnd> {
        let ordered = self.held.get(&attempt.job)?.job.ordered;
        (ordered && attempt.outcome.ends()).then_some(LineEnd {
            tenant: attempt.tenant,
            job: attempt.job,
            dead: attempt.outcome == Outcome::Dead,
            at: attempt.finished_at,
        })
    }

    /// Jobs that keep an order have ended, and it is committed.
    pub(super) fn turns_came(
        &mut self,
        ends: &[LineEnd],
        turns: Turns,
        queue_of: impl Fn(&LineEnd) -> Option<QueueNumber>,
    ) {
        match turns {
            Turns::Known(jobs) => {
                for job in jobs {
                    self.admit(job);
                }
            }
            Turns::Unknown => {
                for end in ends {
                    let Some(queue) = queue_of(end) else { continue };
                    let due = end.at;
                    let key = DueKey { due, ..DueKey::MIN };
                    self.queue(queue).timetable(Timetable::Retries).leave(key);
                    self.want(WindowId::Retries(queue));
                }
            }
        }
    }
}
