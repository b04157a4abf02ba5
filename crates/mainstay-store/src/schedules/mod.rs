//! Schedules and what became of their ticks. The key of a tick's row is the fence: whoever comes second has lost, and
//! its job is not inserted either.

pub(crate) mod queries;

use std::collections::BTreeSet;

use async_trait::async_trait;
use mainstay_domain::{
    JobId, ScheduleId, StoreError, StoreResult, TenantId, Timestamp,
    jobs::{JobsTx, NewJob},
    schedules::{
        Misfire, Overlap, Policy, Schedule, ScheduleFilter, ScheduleStep, ScheduleTick,
        SchedulesTx, TickOutcome,
    },
};
use queries as q;

use crate::{
    built::Built,
    sql::{Row, Value},
    tx::SqlTx,
    verbs::{bounded, numbered_cell, reference, values},
};

const SCHEDULE: &str = "schedule";
const TICK: &str = "tick";

#[async_trait]
impl SchedulesTx for SqlTx<'_> {
    async fn schedule_insert(&mut self, schedule: &Schedule) -> StoreResult<()> {
        self.scope.admit(schedule.tenant)?;
        self.config_bump().await?;
        let mut params = key(schedule);
        params.extend(columns(schedule));
        params.extend(values![schedule.created_at, schedule.revision].to_vec());
        reference(self.execute(&q::SCHEDULE_INSERT, &params).await, SCHEDULE).map(|_| ())
    }

    async fn schedule_update(&mut self, schedule: &Schedule) -> StoreResult<()> {
        self.scope.admit(schedule.tenant)?;
        self.config_bump().await?;
        let mut params = key(schedule);
        params.extend(columns(schedule));
        params.push(schedule.revision.into());
        let changed = self.changed(&q::SCHEDULE_UPDATE, &params).await;
        match reference(changed, SCHEDULE)? {
            true => Ok(()),
            false => Err(StoreError::Conflict { what: SCHEDULE }),
        }
    }

    async fn schedule_delete(&mut self, tenant: TenantId, id: ScheduleId) -> StoreResult<bool> {
        self.scope.admit(tenant)?;
        self.config_bump().await?;
        self.changed(&q::SCHEDULE_DELETE, values![tenant, id]).await
    }

    async fn schedule_get(&mut self, id: ScheduleId) -> StoreResult<Option<Schedule>> {
        match self.scope.tenant() {
            Some(own) => {
                self.first(&q::SCHEDULE_GET_OWN, values![id, own], schedule)
                    .await
            }
            None => self.first(&q::SCHEDULE_GET, values![id], schedule).await,
        }
    }

    async fn schedule_list(
        &mut self,
        filter: &ScheduleFilter,
        limit: i64,
    ) -> StoreResult<Vec<Schedule>> {
        let tenant = match (self.scope.tenant(), filter.tenant) {
            (Some(own), Some(asked)) if own != asked => return Ok(Vec::new()),
            (Some(own), _) => Some(own),
            (None, asked) => asked,
        };
        let built = page(tenant, filter, bounded(limit));
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        rows.iter().map(schedule).collect()
    }

    async fn schedule_count(&mut self, tenant: TenantId) -> StoreResult<i64> {
        self.scope.admit(tenant)?;
        let read = |row: &Row| row.get(0);
        let count = self
            .first(&q::SCHEDULE_COUNT, values![tenant], read)
            .await?;
        Ok(count.unwrap_or_default())
    }

    async fn schedule_after(
        &mut self,
        after: ScheduleId,
        limit: i64,
    ) -> StoreResult<Vec<Schedule>> {
        self.system()?;
        let params = values![after, bounded(limit)];
        self.list(&q::SCHEDULE_AFTER, params, schedule).await
    }

    async fn schedule_due(&mut self, now: Timestamp, limit: i64) -> StoreResult<Vec<Schedule>> {
        self.system()?;
        let params = values![now, bounded(limit)];
        self.list(&q::SCHEDULE_DUE, params, schedule).await
    }

    async fn schedule_next_at(&mut self) -> StoreResult<Option<Timestamp>> {
        self.system()?;
        self.first(&q::SCHEDULE_NEXT_AT, &[], |row| row.get(0))
            .await
    }

    async fn schedule_step(
        &mut self,
        steps: &[ScheduleStep],
        jobs: &[NewJob],
    ) -> StoreResult<Vec<bool>> {
        self.system()?;
        let (mut taken, mut left) = (Vec::with_capacity(steps.len()), BTreeSet::new());
        for step in steps {
            let schedule = &step.schedule;
            let mut params = key(schedule);
            params.extend(standing(schedule));
            params.push(schedule.revision.into());
            let changed = self.changed(&q::SCHEDULE_STEP, &params).await?;
            taken.push(changed);
            for tick in &step.ticks {
                match changed {
                    true => self.tick_write(tick).await?,
                    false => left.extend(tick.job),
                }
            }
        }
        if left.is_empty() {
            self.job_insert(jobs).await?;
            return Ok(taken);
        }
        let made = |job: &&NewJob| !left.contains(&job.id);
        let jobs: Vec<NewJob> = jobs.iter().filter(made).cloned().collect();
        self.job_insert(&jobs).await?;
        Ok(taken)
    }

    async fn schedule_run(&mut self, tick: &ScheduleTick, job: &NewJob) -> StoreResult<()> {
        self.scope.admit(tick.tenant)?;
        let params = values![tick.tenant, tick.schedule, tick.tick, tick.job];
        if !self.changed(&q::SCHEDULE_RAN, params).await? {
            return Err(StoreError::Conflict { what: SCHEDULE });
        }
        self.tick_write(tick).await?;
        self.job_insert(std::slice::from_ref(job)).await.map(|_| ())
    }

    async fn tick_known(
        &mut self,
        tenant: TenantId,
        schedule: ScheduleId,
        from: Timestamp,
        to: Timestamp,
    ) -> StoreResult<Vec<Timestamp>> {
        self.scope.admit(tenant)?;
        let params = values![tenant, schedule, from, to];
        self.list(&q::TICK_KNOWN, params, |row| row.get(0)).await
    }

    async fn tick_list(
        &mut self,
        tenant: TenantId,
        schedule: ScheduleId,
        before: Option<Timestamp>,
        limit: i64,
    ) -> StoreResult<Vec<ScheduleTick>> {
        self.scope.admit(tenant)?;
        let before = before.unwrap_or(Timestamp::MAX);
        let params = values![tenant, schedule, before, bounded(limit)];
        self.list(&q::TICK_LIST, params, tick).await
    }

    async fn tick_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64> {
        self.system()?;
        let params = values![until, bounded(limit)];
        Ok(self.execute(&q::TICK_EXPIRE, params).await? as i64)
    }
}

impl SqlTx<'_> {
    async fn tick_write(&mut self, tick: &ScheduleTick) -> StoreResult<()> {
        let params = values![
            tick.tenant,
            tick.schedule,
            tick.tick,
            tick.outcome as i64,
            tick.job,
            tick.since,
            tick.count,
            tick.decided_at,
        ];
        match self.changed(&q::TICK_INSERT, params).await? {
            true => Ok(()),
            false => Err(StoreError::Conflict { what: TICK }),
        }
    }
}

fn key(schedule: &Schedule) -> Vec<Value> {
    values![schedule.tenant, schedule.id].to_vec()
}

/// How it stands: what a look at it changes.
fn standing(schedule: &Schedule) -> [Value; 4] {
    [
        schedule.next_tick.into(),
        schedule.next_at.into(),
        schedule.last_tick.into(),
        schedule.last_job.into(),
    ]
}

/// Everything that a person may change, and how it stands.
fn columns(schedule: &Schedule) -> impl Iterator<Item = Value> {
    let policy = schedule.policy;
    let own = [
        schedule.name.as_str().into(),
        schedule.cron.as_str().into(),
        schedule.zone.as_str().into(),
        schedule.kind.as_str().into(),
        schedule.endpoint.into(),
        schedule.queue.into(),
        schedule.payload.clone().into(),
        schedule.retry.clone().into(),
        Value::Int(policy.misfire as i64),
        policy.grace_ms.into(),
        policy.catch_up_max.into(),
        Value::Int(policy.overlap as i64),
        policy.jitter_ms.into(),
        schedule.paused.into(),
        schedule.updated_at.into(),
    ];
    own.into_iter().chain(standing(schedule))
}

/// One page of schedules.
pub(crate) fn page(tenant: Option<TenantId>, filter: &ScheduleFilter, limit: i64) -> Built {
    let mut built = match tenant {
        Some(tenant) => Built::new(
            concat!(q::schedule_columns!(), " WHERE s.tenant_id = $1"),
            vec![tenant.into()],
        ),
        None => Built::new(concat!(q::schedule_columns!(), " WHERE TRUE"), Vec::new()),
    };
    built
        .bind_some(" AND s.name = ", filter.name.as_deref(), "")
        .bind_some(" AND s.id < ", filter.before, "")
        .bind(" ORDER BY s.id DESC LIMIT ", limit, "");
    built
}

fn schedule(row: &Row) -> StoreResult<Schedule> {
    Ok(Schedule {
        tenant: row.get(0)?,
        id: row.get(1)?,
        name: row.get(2)?,
        cron: row.get(3)?,
        zone: row.get(4)?,
        kind: row.get(5)?,
        endpoint: row.get(6)?,
        queue: row.get(7)?,
        payload: row.get(8)?,
        retry: row.get(9)?,
        policy: Policy {
            misfire: numbered_cell(row, 10, &Misfire::ALL)?,
            grace_ms: row.get(11)?,
            catch_up_max: row.get(12)?,
            overlap: numbered_cell(row, 13, &Overlap::ALL)?,
            jitter_ms: row.get(14)?,
        },
        paused: row.get(15)?,
        updated_at: row.get(16)?,
        next_tick: row.get(17)?,
        next_at: row.get(18)?,
        last_tick: row.get(19)?,
        last_job: row.get(20)?,
        created_at: row.get(21)?,
        revision: row.get(22)?,
    })
}

fn tick(row: &Row) -> StoreResult<ScheduleTick> {
    Ok(ScheduleTick {
        tenant: row.get(0)?,
        schedule: row.get(1)?,
        tick: row.get(2)?,
        outcome: numbered_cell(row, 3, &TickOutcome::ALL)?,
        job: row.get::<Option<JobId>>(4)?,
        since: row.get(5)?,
        count: row.get(6)?,
        decided_at: row.get(7)?,
    })
}
