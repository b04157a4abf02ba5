//! Dead letters: listed, grouped, ended.

use mainstay_domain::{
    StoreError, StoreResult, TenantId,
    jobs::{Attempt, DeadLetter, DeadLetterFilter, DeadLetterGroup, Outcome},
};

use super::{
    lines::Place,
    queries::{self as q, letter_columns, letter_groups},
};
use crate::{
    built::Built,
    sql::Row,
    tx::SqlTx,
    verbs::{bounded, values},
};

impl SqlTx<'_> {
    pub(super) async fn letters_insert(&mut self, letter: &DeadLetter) -> StoreResult<()> {
        let params = values![
            letter.tenant,
            letter.job,
            letter.attempt,
            letter.queue,
            &*letter.kind,
            letter.endpoint,
            letter.event,
            letter.event_kind.as_deref(),
            letter.died_at,
            letter.category,
            &*letter.code,
            &*letter.error,
            letter.status,
        ];
        self.execute(&q::LETTER_INSERT, params).await.map(|_| ())
    }

    pub(super) async fn letters_list(
        &mut self,
        filter: &DeadLetterFilter,
        limit: i64,
    ) -> StoreResult<Vec<DeadLetter>> {
        let Reached::Some(tenant) = self.reached(filter) else {
            return Ok(Vec::new());
        };
        let built = page(tenant, filter, bounded(limit));
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        rows.iter().map(letter).collect()
    }

    pub(super) async fn letters_groups(
        &mut self,
        filter: &DeadLetterFilter,
    ) -> StoreResult<Vec<DeadLetterGroup>> {
        let Reached::Some(tenant) = self.reached(filter) else {
            return Ok(Vec::new());
        };
        let built = groups(tenant, filter);
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        let groups: StoreResult<Vec<DeadLetterGroup>> = rows.iter().map(group).collect();
        let mut groups = groups?;
        groups.sort_by(|a, b| {
            b.count
                .cmp(&a.count)
                .then_with(|| (&a.code, &a.kind, a.endpoint).cmp(&(&b.code, &b.kind, b.endpoint)))
        });
        Ok(groups)
    }

    fn reached(&self, filter: &DeadLetterFilter) -> Reached {
        match (self.scope.tenant(), filter.tenant) {
            (Some(own), Some(asked)) if own != asked => Reached::Nothing,
            (Some(own), _) => Reached::Some(Some(own)),
            (None, asked) => Reached::Some(asked),
        }
    }

    pub(super) async fn letters_end(&mut self, attempts: &[Attempt]) -> StoreResult<i64> {
        let mut sorted: Vec<&Attempt> = attempts.iter().collect();
        // In one order everywhere, first all letters and then the lines: two who do this wait for each other and never in
        // a circle.
        sorted.sort_by_key(|attempt| (attempt.tenant, attempt.job));
        let mut ended = Vec::with_capacity(sorted.len());
        for attempt in sorted {
            self.scope.admit(attempt.tenant)?;
            let letter = values![attempt.tenant, attempt.job, attempt.attempt - 1];
            if self.changed(&q::LETTER_END, letter).await? {
                let place = self.place(attempt.tenant, attempt.job).await?;
                ended.push((attempt, place.filter(Place::is_ordered)));
            }
        }
        ended.sort_by(|(a, at), (b, other)| {
            let line = |place: &Option<Place>| place.as_ref().and_then(Place::line);
            (a.tenant, line(at), a.job).cmp(&(b.tenant, line(other), b.job))
        });
        for (attempt, place) in &ended {
            self.letter_end(attempt, place.as_ref()).await?;
        }
        Ok(ended.len() as i64)
    }

    /// The dead letter is off the list: it runs again, now or when its turn comes, or it has ended for good, and its
    /// line goes on.
    async fn letter_end(&mut self, attempt: &Attempt, ordered: Option<&Place>) -> StoreResult<()> {
        let taken = StoreError::Conflict { what: "attempt" };
        if attempt.outcome != Outcome::Requeued {
            if !self.attempt_write(attempt).await? {
                return Err(taken);
            }
            return match ordered {
                Some(_) => self.line_left(attempt).await,
                None => Ok(()),
            };
        }
        let key = values![attempt.tenant, attempt.job];
        self.execute(&q::JOB_DEADLINE_END, key).await?;
        let waits = match ordered {
            Some(place) => !self.line_return(attempt, place).await?,
            None => false,
        };
        let mut attempt = attempt.clone();
        if waits {
            attempt.next_at = None;
        }
        match self.attempt_write(&attempt).await? {
            true => Ok(()),
            false => Err(taken),
        }
    }
}

/// Which tenants a list goes over: one, all, or none because the scope is another's.
enum Reached {
    Nothing,
    Some(Option<TenantId>),
}

/// One page of dead letters; of all tenants where none is given.
pub(crate) fn page(tenant: Option<TenantId>, filter: &DeadLetterFilter, limit: i64) -> Built {
    let begun = match tenant {
        Some(tenant) => Built::new(
            concat!(letter_columns!(), " WHERE l.tenant_id = $1"),
            vec![tenant.into()],
        ),
        None => Built::new(concat!(letter_columns!(), " WHERE TRUE"), Vec::new()),
    };
    let mut built = narrowed(begun, filter);
    built.bind(" ORDER BY l.died_at DESC, l.job_id DESC LIMIT ", limit, "");
    built
}

/// Dead letters by what they failed of; of all tenants where none is given.
pub(crate) fn groups(tenant: Option<TenantId>, filter: &DeadLetterFilter) -> Built {
    let begun = match tenant {
        Some(tenant) => Built::new(
            concat!(letter_groups!(), " WHERE l.tenant_id = $1"),
            vec![tenant.into()],
        ),
        None => Built::new(concat!(letter_groups!(), " WHERE TRUE"), Vec::new()),
    };
    let mut built = narrowed(begun, filter);
    built.push(" GROUP BY l.category, l.code, l.kind, l.endpoint_id");
    built
}

fn narrowed(mut built: Built, filter: &DeadLetterFilter) -> Built {
    built
        .bind_some(" AND l.kind = ", filter.kind.as_deref(), "")
        .bind_some(" AND l.endpoint_id = ", filter.endpoint, "")
        .bind_some(" AND l.event_id = ", filter.event, "")
        .bind_some(" AND l.category = ", filter.category, "")
        .bind_some(" AND l.code = ", filter.code.as_deref(), "")
        .bind_some(" AND l.died_at >= ", filter.from, "")
        .bind_some(" AND l.died_at < ", filter.to, "");
    if let Some((died_at, job)) = filter.before {
        built
            .bind(" AND (l.died_at, l.job_id) < (", died_at, "")
            .bind(", ", job, ")");
    }
    if !filter.jobs.is_empty() {
        built.bind_list(" AND l.job_id IN", filter.jobs.iter().copied());
    }
    built
}

fn letter(row: &Row) -> StoreResult<DeadLetter> {
    Ok(DeadLetter {
        job: row.get(0)?,
        tenant: row.get(1)?,
        attempt: row.get(2)?,
        queue: row.get(3)?,
        kind: row.get(4)?,
        endpoint: row.get(5)?,
        event: row.get(6)?,
        event_kind: row.get(7)?,
        died_at: row.get(8)?,
        category: row.get(9)?,
        code: row.get(10)?,
        error: row.get(11)?,
        status: row.get(12)?,
    })
}

fn group(row: &Row) -> StoreResult<DeadLetterGroup> {
    Ok(DeadLetterGroup {
        category: row.get(0)?,
        code: row.get(1)?,
        kind: row.get(2)?,
        endpoint: row.get(3)?,
        count: row.get(4)?,
        oldest: row.get(5)?,
        newest: row.get(6)?,
        sample_error: row.get(7)?,
    })
}
