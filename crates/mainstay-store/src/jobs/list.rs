//! Lists of jobs, and how jobs and attempts are read.

use mainstay_domain::{
    BindingId, Category, EventId, JobId, ReplayId, StoreResult, TenantId,
    jobs::{Attempt, Job, JobFilter, JobPlace, JobState, OnDead, Outcome},
};
use uuid::Uuid;

use super::queries::{self as q, job_columns};
use crate::{
    built::{Built, Newest},
    sql::Row,
    tx::SqlTx,
    verbs::{LOOK_MAX, bounded, numbered_cell, unknown, values},
};

impl SqlTx<'_> {
    pub(super) async fn jobs_list(
        &mut self,
        filter: &JobFilter,
        limit: i64,
    ) -> StoreResult<Vec<Job>> {
        let limit = bounded(limit);
        let one = match (self.scope.tenant(), filter.tenant) {
            (Some(own), Some(asked)) if own != asked => return Ok(Vec::new()),
            (Some(own), _) => Some(own),
            (None, asked) => asked,
        };
        if filter.state.is_some() {
            self.statement_timeout(LOOK_MAX).await?;
        }
        if let Some(tenant) = one {
            return self.jobs_page(tenant, filter, limit).await;
        }
        let before = filter.before.map_or(Uuid::max(), |id| id.uuid());
        let mut newest = Newest::new(limit);
        for (tenant, head) in self.heads(&q::JOB_HEADS, values![before]).await? {
            if newest.wants(head) {
                let jobs = self.jobs_page(tenant, filter, limit).await?;
                newest.add(jobs.into_iter().map(|job| (job.id.uuid(), job)));
            }
        }
        Ok(newest.finish())
    }

    async fn jobs_page(
        &mut self,
        tenant: TenantId,
        filter: &JobFilter,
        limit: i64,
    ) -> StoreResult<Vec<Job>> {
        let jobs = match filter.event {
            Some(event) => Some(self.jobs_of_events(tenant, &[event]).await?),
            None => None,
        };
        let built = page(tenant, filter, jobs.as_deref(), limit);
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        rows.iter().map(job).collect()
    }

    /// The ids that the jobs of these events have. The first that an event brought has its own, so that nothing has to lead
    /// there, and may be gone; an index leads to the others. Not asked for both ways at once: SQLite, which knows nothing of
    /// how many jobs a tenant has, goes through all of them for that.
    pub(crate) async fn jobs_of_events(
        &mut self,
        tenant: TenantId,
        events: &[EventId],
    ) -> StoreResult<Vec<JobId>> {
        let own = events.iter().map(|event| JobId::from_uuid(event.uuid()));
        let mut jobs: Vec<JobId> = own.collect();
        if !events.is_empty() {
            let built = others(tenant, events);
            for row in self.conn().query_built(&built.text, &built.params).await? {
                jobs.push(row.get(0)?);
            }
        }
        Ok(jobs)
    }
}

/// One page of a tenant's jobs; of these, where some are named.
pub(crate) fn page(
    tenant: TenantId,
    filter: &JobFilter,
    jobs: Option<&[JobId]>,
    limit: i64,
) -> Built {
    let mut built = Built::new(
        concat!(job_columns!(), " WHERE j.tenant_id = $1"),
        vec![tenant.into()],
    );
    if filter.state == Some(JobState::Dead) {
        // There are few: this leads there instead of through all jobs.
        built.push(" AND j.id IN (SELECT l.job_id FROM dead_letter AS l WHERE l.tenant_id = $1)");
    }
    if let Some(jobs) = jobs {
        of_jobs(&mut built, jobs);
    }
    built
        .bind_some(" AND j.state = ", filter.state.map(JobState::as_str), "")
        .bind_some(" AND j.queue = ", filter.queue, "")
        .bind_some(" AND j.kind = ", filter.kind.as_deref(), "")
        .bind_some(" AND j.id < ", filter.before, "")
        .bind(" ORDER BY j.id DESC LIMIT ", limit, "");
    built
}

/// The jobs of these events that do not have an event's id.
pub(crate) fn others(tenant: TenantId, events: &[EventId]) -> Built {
    let mut built = Built::new(
        "SELECT j.id FROM job AS j WHERE j.tenant_id = $1",
        vec![tenant.into()],
    );
    built
        .bind_list(" AND j.event_id IN", events.iter().copied())
        .push(" AND j.event_id <> j.id");
    built
}

/// Goes on with the condition that the job `j` is one of these.
pub(crate) fn of_jobs<'b>(built: &'b mut Built, jobs: &[JobId]) -> &'b mut Built {
    built.bind_list(" AND j.id IN", jobs.iter().copied())
}

pub(super) fn job(row: &Row) -> StoreResult<Job> {
    let state: String = row.get(10)?;
    Ok(Job {
        id: row.get(0)?,
        tenant: row.get(1)?,
        queue: row.get::<Option<String>>(2)?.unwrap_or_default(),
        kind: row.get(3)?,
        event: row.get(4)?,
        binding: some(row.get(5)?).map(BindingId::from_uuid),
        replay: some(row.get(6)?).map(ReplayId::from_uuid),
        endpoint: row.get(7)?,
        created_at: row.get(8)?,
        run_at: row.get(9)?,
        state: JobState::ALL
            .into_iter()
            .find(|known| known.as_str() == state)
            .ok_or_else(|| unknown(10))?,
        attempts: row.get(11)?,
        next_at: row.get(12)?,
        finished_at: row.get(13)?,
        last_error: row.get(14)?,
        payload: row.get::<Option<Vec<u8>>>(15)?.map(Into::into),
        retry: row.get(16)?,
        order: match row.get::<Option<String>>(17)? {
            Some(key) => Some(JobPlace {
                key,
                position: row.get(18)?,
                on_dead: on_dead(row.get(19)?),
                waits: row.get(20)?,
            }),
            None => None,
        },
        deadline: row.get(21)?,
    })
}

pub(super) fn on_dead(parks: Option<bool>) -> OnDead {
    match parks {
        Some(false) => OnDead::Continue,
        _ => OnDead::Park,
    }
}

/// The nil id stands where a key may not be null.
fn some(id: Uuid) -> Option<Uuid> {
    (!id.is_nil()).then_some(id)
}

pub(super) fn attempt(row: &Row) -> StoreResult<Attempt> {
    let category = match row.get::<Option<i64>>(9)? {
        Some(_) => Some(row.get::<Category>(9)?),
        None => None,
    };
    Ok(Attempt {
        tenant: row.get(0)?,
        job: row.get(1)?,
        attempt: row.get(2)?,
        tries: row.get(3)?,
        queue: row.get(4)?,
        outcome: numbered_cell(row, 5, &Outcome::ALL)?,
        started_at: row.get(6)?,
        finished_at: row.get(7)?,
        next_at: row.get(8)?,
        category,
        code: row.get(10)?,
        error: row.get(11)?,
        status: row.get(12)?,
        exchange: row.get(13)?,
        by: row.get(14)?,
    })
}
