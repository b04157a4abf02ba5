//! Replays: what is asked, how far each is, and what its steps read.

use std::collections::BTreeMap;

use async_trait::async_trait;
use mainstay_domain::{
    EventId, JobId, ReplayId, StoreError, StoreResult, TenantId, Timestamp,
    intake::{
        Event, EventFilter,
        replay::{
            DoneJob, Replay, ReplayCounts, ReplayFilter, ReplayState, ReplayTarget, ReplayTx,
        },
    },
    jobs::{JobState, JobsTx, NewJob},
};
use uuid::Uuid;

use super::queries as iq;
use crate::{
    built::Built,
    jobs::list::of_jobs,
    queries,
    sql::{Row, Value},
    tx::SqlTx,
    verbs::{bounded, id_floor, numbered_cell, reference, unknown, values},
};

/// Rows asked for by one statement.
const ASKED: usize = 500;

macro_rules! replay_columns {
    () => {
        "SELECT r.id, r.tenant_id, r.created_at, r.by_whom, r.binding_id, r.endpoint_id, r.own, r.request, r.state,
            r.reason, r.ended_at, r.events, r.jobs, r.skipped, r.done, r.dead, r.cancelled, r.unfinished, r.progress,
            r.revision
        FROM replay AS r"
    };
}

macro_rules! replay_change {
    () => {
        "UPDATE replay SET state = $3, reason = $4, ended_at = $5, events = $6, jobs = $7, skipped = $8, done = $9,
            dead = $10, cancelled = $11, unfinished = $12, progress = $13, revision = revision + 1"
    };
}

macro_rules! replay_values {
    () => {
        "INSERT INTO replay (tenant_id, id, created_at, by_whom, binding_id, endpoint_id, own, request, state, reason,
            ended_at, events, jobs, skipped, done, dead, cancelled, unfinished, progress, revision)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)"
    };
}

queries! {
    REPLAY_INSERT: Tenant = replay_values!();
    REPLAY_UPDATE: System = concat!(replay_change!(), " WHERE id = $1 AND revision = $2");
    REPLAY_UPDATE_OWN: Tenant = concat!(replay_change!(), " WHERE id = $1 AND revision = $2 AND tenant_id = $14");
    REPLAY_GET: System = concat!(replay_columns!(), " WHERE r.id = $1");
    REPLAY_GET_OWN: Tenant = concat!(replay_columns!(), " WHERE r.tenant_id = $2 AND r.id = $1");
    REPLAY_BUSY: System = concat!(replay_columns!(), "
        WHERE (r.state = 0 OR r.unfinished > 0) AND r.id > $1 ORDER BY r.id LIMIT $2");
    REPLAY_OPEN: System = "SELECT count(*) FROM replay AS r WHERE r.state <= 1 AND r.tenant_id IS NULL";
    REPLAY_OPEN_OWN: Tenant = "SELECT count(*) FROM replay AS r WHERE r.state <= 1 AND r.tenant_id = $1";
    REPLAYS_OF_EVENT: System = concat!(replay_columns!(), "
        WHERE r.id IN (SELECT j.replay_id FROM job AS j WHERE j.tenant_id = $1 AND j.event_id = $2 AND j.event_id <> j.id)
        ORDER BY r.id DESC");
    REPLAYS_OF_EVENT_OWN: Tenant = concat!(replay_columns!(), "
        WHERE r.tenant_id = $1
            AND r.id IN (SELECT j.replay_id FROM job AS j WHERE j.tenant_id = $1 AND j.event_id = $2 AND j.event_id <> j.id)
        ORDER BY r.id DESC");
    REPLAY_EXPIRE: System = "
        DELETE FROM replay WHERE id IN (
            SELECT r.id FROM replay AS r WHERE r.state >= 3 AND r.unfinished = 0 AND r.id < $1 ORDER BY r.id LIMIT $2)";
    TENANT_AFTER: System = "SELECT t.id FROM tenant AS t WHERE t.id > $1 ORDER BY t.id LIMIT 1";
}

#[async_trait]
impl ReplayTx for SqlTx<'_> {
    async fn replay_insert(&mut self, replay: &Replay, jobs: &[NewJob]) -> StoreResult<()> {
        match replay.tenant {
            Some(tenant) => self.scope.admit(tenant)?,
            None => self.system()?,
        }
        let (binding, endpoint) = match replay.target {
            ReplayTarget::Bindings => (None, None),
            ReplayTarget::Binding(binding) => (Some(binding), None),
            ReplayTarget::Endpoint(endpoint) => (None, Some(endpoint)),
        };
        let mut params: Vec<Value> = values![
            replay.tenant,
            replay.id,
            replay.created_at,
            &*replay.by,
            binding,
            endpoint,
            replay.own,
            &*replay.request,
        ]
        .to_vec();
        params.extend(standing(replay));
        params.push(replay.revision.into());
        reference(self.execute(&REPLAY_INSERT, &params).await, "replay")?;
        self.job_insert(jobs).await.map(|_| ())
    }

    async fn replay_update(&mut self, replay: &Replay, jobs: &[NewJob]) -> StoreResult<()> {
        let mut params: Vec<Value> = values![replay.id, replay.revision].to_vec();
        params.extend(standing(replay));
        let changed = match self.scope.tenant() {
            Some(own) => {
                params.push(own.into());
                self.changed(&REPLAY_UPDATE_OWN, &params).await?
            }
            None => self.changed(&REPLAY_UPDATE, &params).await?,
        };
        if !changed {
            return Err(StoreError::Conflict { what: "replay" });
        }
        self.job_insert(jobs).await.map(|_| ())
    }

    async fn replay_get(&mut self, id: ReplayId) -> StoreResult<Option<Replay>> {
        match self.scope.tenant() {
            Some(own) => self.first(&REPLAY_GET_OWN, values![id, own], replay).await,
            None => self.first(&REPLAY_GET, values![id], replay).await,
        }
    }

    async fn replay_list(&mut self, filter: &ReplayFilter, limit: i64) -> StoreResult<Vec<Replay>> {
        let tenant = match (self.scope.tenant(), filter.tenant) {
            (Some(own), Some(asked)) if own != asked => return Ok(Vec::new()),
            (Some(own), _) => Some(own),
            (None, asked) => asked,
        };
        let built = page(tenant, filter, bounded(limit));
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        rows.iter().map(replay).collect()
    }

    async fn replay_busy(&mut self, after: ReplayId, limit: i64) -> StoreResult<Vec<Replay>> {
        self.system()?;
        self.list(&REPLAY_BUSY, values![after, bounded(limit)], replay)
            .await
    }

    async fn replay_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64> {
        self.system()?;
        let params = values![id_floor(until), bounded(limit)];
        Ok(self.execute(&REPLAY_EXPIRE, params).await? as i64)
    }

    async fn replay_open(&mut self, tenant: Option<TenantId>) -> StoreResult<i64> {
        let read = |row: &Row| row.get(0);
        let count = match tenant {
            Some(tenant) => {
                self.scope.admit(tenant)?;
                self.first(&REPLAY_OPEN_OWN, values![tenant], read).await?
            }
            None => {
                self.system()?;
                self.first(&REPLAY_OPEN, &[], read).await?
            }
        };
        Ok(count.unwrap_or_default())
    }

    async fn event_replays(&mut self, id: EventId) -> StoreResult<Vec<Replay>> {
        let Some(tenant) = self.tenant_of(&iq::EVENT_TENANT, id.uuid()).await? else {
            return Ok(Vec::new());
        };
        let sql = match self.scope.tenant() {
            Some(_) => &REPLAYS_OF_EVENT_OWN,
            // Also those over every tenant: they are the platform's.
            None => &REPLAYS_OF_EVENT,
        };
        self.list(sql, values![tenant, id], replay).await
    }

    async fn tenant_after(&mut self, after: TenantId) -> StoreResult<Option<TenantId>> {
        self.system()?;
        self.first(&TENANT_AFTER, values![after], |row| row.get(0))
            .await
    }

    async fn event_after(
        &mut self,
        tenant: TenantId,
        filter: &EventFilter,
        after: EventId,
        limit: i64,
    ) -> StoreResult<Vec<Event>> {
        self.scope.admit(tenant)?;
        self.events_after(tenant, filter, after, bounded(limit))
            .await
    }

    async fn event_done(
        &mut self,
        tenant: TenantId,
        events: &[EventId],
    ) -> StoreResult<Vec<DoneJob>> {
        self.scope.admit(tenant)?;
        let mut found = Vec::new();
        for events in events.chunks(ASKED) {
            let jobs = self.jobs_of_events(tenant, events).await?;
            let built = done(tenant, &jobs);
            for row in self.conn().query_built(&built.text, &built.params).await? {
                let binding: Uuid = row.get(1)?;
                found.push(DoneJob {
                    event: row.get(0)?,
                    binding: (!binding.is_nil())
                        .then(|| mainstay_domain::BindingId::from_uuid(binding)),
                    endpoint: row.get(2)?,
                });
            }
        }
        Ok(found)
    }

    async fn job_states(
        &mut self,
        jobs: &[(TenantId, JobId)],
    ) -> StoreResult<Vec<(JobId, JobState)>> {
        let mut by_tenant: BTreeMap<TenantId, Vec<JobId>> = BTreeMap::new();
        for (tenant, job) in jobs {
            self.scope.admit(*tenant)?;
            by_tenant.entry(*tenant).or_default().push(*job);
        }
        let mut found = Vec::with_capacity(jobs.len());
        for (tenant, jobs) in by_tenant {
            for jobs in jobs.chunks(ASKED) {
                let built = states(tenant, jobs);
                for row in self.conn().query_built(&built.text, &built.params).await? {
                    let state: String = row.get(1)?;
                    let state = JobState::ALL
                        .into_iter()
                        .find(|known| known.as_str() == state);
                    found.push((row.get(0)?, state.ok_or_else(|| unknown(1))?));
                }
            }
        }
        Ok(found)
    }
}

/// What changes while it goes on.
fn standing(replay: &Replay) -> impl Iterator<Item = Value> {
    let counts = replay.counts;
    [
        Value::Int(replay.state as i64),
        replay.reason.clone().into(),
        replay.ended_at.into(),
        counts.events.into(),
        counts.jobs.into(),
        counts.skipped.into(),
        counts.done.into(),
        counts.dead.into(),
        counts.cancelled.into(),
        counts.unfinished.into(),
        replay.progress.as_str().into(),
    ]
    .into_iter()
}

/// One page of replays.
pub(crate) fn page(tenant: Option<TenantId>, filter: &ReplayFilter, limit: i64) -> Built {
    let mut built = match tenant {
        Some(tenant) => Built::new(
            concat!(replay_columns!(), " WHERE r.tenant_id = $1"),
            vec![tenant.into()],
        ),
        None => Built::new(concat!(replay_columns!(), " WHERE TRUE"), Vec::new()),
    };
    built
        .bind_some(
            " AND r.state = ",
            filter.state.map(|state| Value::Int(state as i64)),
            "",
        )
        .bind_some(" AND r.id < ", filter.before, "")
        .bind(" ORDER BY r.id DESC LIMIT ", limit, "");
    built
}

/// Those of these jobs that are done.
pub(crate) fn done(tenant: TenantId, jobs: &[JobId]) -> Built {
    let mut built = Built::new(
        "SELECT j.event_id, j.binding_id, j.endpoint_id FROM job_state AS j WHERE j.tenant_id = $1 AND j.state = 'done'",
        vec![tenant.into()],
    );
    of_jobs(&mut built, jobs);
    built
}

/// How these jobs stand.
pub(crate) fn states(tenant: TenantId, jobs: &[JobId]) -> Built {
    let mut built = Built::new(
        "SELECT j.id, j.state FROM job_state AS j WHERE j.tenant_id = $1",
        vec![tenant.into()],
    );
    built.bind_list(" AND j.id IN", jobs.iter().copied());
    built
}

fn replay(row: &Row) -> StoreResult<Replay> {
    Ok(Replay {
        id: row.get(0)?,
        tenant: row.get(1)?,
        created_at: row.get(2)?,
        by: row.get(3)?,
        target: match (row.get(4)?, row.get(5)?) {
            (Some(binding), _) => ReplayTarget::Binding(binding),
            (None, Some(endpoint)) => ReplayTarget::Endpoint(endpoint),
            (None, None) => ReplayTarget::Bindings,
        },
        own: row.get(6)?,
        request: row.get(7)?,
        state: numbered_cell(row, 8, &ReplayState::ALL)?,
        reason: row.get(9)?,
        ended_at: row.get(10)?,
        counts: ReplayCounts {
            events: row.get(11)?,
            jobs: row.get(12)?,
            skipped: row.get(13)?,
            done: row.get(14)?,
            dead: row.get(15)?,
            cancelled: row.get(16)?,
            unfinished: row.get(17)?,
        },
        progress: row.get(18)?,
        revision: row.get(19)?,
    })
}
