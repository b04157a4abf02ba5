//! What a person does with dead letters, one by one or in bulk: first the plan, then run again or discard.

use std::sync::Arc;

use mainstay_domain::{
    Clock, JobId, Scope, Store, StoreExt, StoreResult,
    jobs::{Attempt, DeadLetter, DeadLetterFilter, DeadLetterGroup, Outcome},
};

/// Dead letters ended in one transaction; a larger selection goes on in the next.
const STEP: i64 = 100;
/// Dead letters that one call may end.
pub const LETTERS_MAX: i64 = 50_000;

/// What a bulk action would meet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// How many.
    pub matched: i64,
    /// How alike.
    pub groups: Vec<DeadLetterGroup>,
}

/// How many there are, and why they died.
pub async fn plan(store: &dyn Store, scope: Scope, filter: DeadLetterFilter) -> StoreResult<Plan> {
    store
        .read(scope, move |tx| {
            let filter = filter.clone();
            Box::pin(async move {
                let groups = tx.dead_letter_groups(&filter).await?;
                Ok(Plan {
                    matched: groups.iter().map(|group| group.count).sum(),
                    groups,
                })
            })
        })
        .await
}

/// What is to become of dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Run again: the tries start from the beginning.
    Retry,
    /// Given up, for this reason.
    Discard(String),
}

/// Ends dead letters, oldest step last, in steps that do not hold anything up. Answers how many were ended: a letter
/// that somebody else ended meanwhile is not counted.
pub async fn end(
    store: &dyn Store,
    clock: &dyn Clock,
    scope: Scope,
    filter: DeadLetterFilter,
    end: End,
    by: &str,
) -> StoreResult<i64> {
    let mut ended = 0;
    let mut filter = filter;
    loop {
        let (count, last) = step(store, clock, scope, &filter, &end, by).await?;
        ended += count;
        store.wake();
        match last {
            Some(before) if ended < LETTERS_MAX => filter.before = Some(before),
            _ => return Ok(ended),
        }
    }
}

type Last = Option<(mainstay_domain::Timestamp, JobId)>;

async fn step(
    store: &dyn Store,
    clock: &dyn Clock,
    scope: Scope,
    filter: &DeadLetterFilter,
    end: &End,
    by: &str,
) -> StoreResult<(i64, Last)> {
    let now = clock.now();
    let (filter, end, by) = (filter.clone(), end.clone(), Arc::<str>::from(by));
    store
        .transact(scope, move |tx| {
            let (filter, end, by) = (filter.clone(), end.clone(), by.clone());
            Box::pin(async move {
                let letters = tx.dead_letter_list(&filter, STEP).await?;
                let last = if letters.len() as i64 == STEP {
                    letters.last().map(|one| (one.died_at, one.job))
                } else {
                    None
                };
                let attempts: Vec<Attempt> = letters
                    .iter()
                    .map(|letter| attempt(letter, &end, &by, now))
                    .collect();
                Ok((tx.dead_letter_end(&attempts).await?, last))
            })
        })
        .await
}

/// The attempt row that ends a dead letter.
pub fn attempt(
    letter: &DeadLetter,
    end: &End,
    by: &str,
    now: mainstay_domain::Timestamp,
) -> Attempt {
    let (outcome, next_at, error) = match end {
        End::Retry => (Outcome::Requeued, Some(now), None),
        End::Discard(reason) => (Outcome::Discarded, None, Some(reason.clone())),
    };
    Attempt {
        tenant: letter.tenant,
        job: letter.job,
        attempt: letter.attempt + 1,
        tries: 0,
        queue: letter.queue,
        outcome,
        started_at: now,
        finished_at: now,
        next_at,
        category: None,
        code: None,
        error,
        status: None,
        exchange: None,
        by: Some(by.to_owned()),
    }
}
