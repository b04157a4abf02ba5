//! Sagas, their versions and their runs. A run is read and written whole: its revision is the fence, and what it carries is
//! sealed here where the vault is on.

pub(crate) mod queries;

use async_trait::async_trait;
use mainstay_domain::{
    JobId, SagaId, SagaRunId, StoreError, StoreResult, TenantId, Timestamp,
    jobs::{JobsTx, NewJob},
    sagas::{
        DueRun, RunData, RunState, Saga, SagaFilter, SagaRun, SagaRunFilter, SagaVersion, SagasTx,
    },
    vault::{Column, Place},
};
use queries as q;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    built::Built,
    sql::{Row, Value},
    tx::SqlTx,
    verbs::{bounded, numbered_cell, reference, values},
};

const SAGA: &str = "saga";
const RUN: &str = "run";
/// Jobs that one statement asks about.
const ASKED: usize = 500;

#[async_trait]
impl SagasTx for SqlTx<'_> {
    async fn saga_insert(&mut self, saga: &Saga, first: &SagaVersion) -> StoreResult<()> {
        self.scope.admit(saga.tenant)?;
        let params = values![
            saga.tenant,
            saga.id,
            &*saga.name,
            saga.version,
            saga.created_at,
            saga.updated_at,
        ];
        reference(self.execute(&q::SAGA_INSERT, params).await, SAGA)?;
        self.version_insert(first).await
    }

    async fn saga_version_add(&mut self, version: &SagaVersion) -> StoreResult<()> {
        self.scope.admit(version.tenant)?;
        let params = values![
            version.tenant,
            version.saga,
            version.version,
            version.created_at
        ];
        match self.changed(&q::SAGA_NEWER, params).await? {
            true => self.version_insert(version).await,
            false => Err(StoreError::Conflict { what: SAGA }),
        }
    }

    async fn saga_delete(&mut self, tenant: TenantId, id: SagaId) -> StoreResult<bool> {
        self.scope.admit(tenant)?;
        let deleted = self.changed(&q::SAGA_DELETE, values![tenant, id]).await;
        reference(deleted, SAGA)
    }

    async fn saga_runs_delete(
        &mut self,
        tenant: TenantId,
        saga: SagaId,
        limit: i64,
    ) -> StoreResult<i64> {
        self.scope.admit(tenant)?;
        let params = values![tenant, saga, bounded(limit)];
        Ok(self.execute(&q::SAGA_RUNS_DELETE, params).await? as i64)
    }

    async fn saga_get(&mut self, id: SagaId) -> StoreResult<Option<Saga>> {
        match self.scope.tenant() {
            Some(own) => self.first(&q::SAGA_GET_OWN, values![id, own], saga).await,
            None => self.first(&q::SAGA_GET, values![id], saga).await,
        }
    }

    async fn saga_list(&mut self, filter: &SagaFilter, limit: i64) -> StoreResult<Vec<Saga>> {
        let tenant = match (self.scope.tenant(), filter.tenant) {
            (Some(own), Some(asked)) if own != asked => return Ok(Vec::new()),
            (Some(own), _) => Some(own),
            (None, asked) => asked,
        };
        let built = page(tenant, filter, bounded(limit));
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        rows.iter().map(saga).collect()
    }

    async fn saga_count(&mut self, tenant: TenantId) -> StoreResult<i64> {
        self.scope.admit(tenant)?;
        let read = |row: &Row| row.get(0);
        let count = self.first(&q::SAGA_COUNT, values![tenant], read).await?;
        Ok(count.unwrap_or_default())
    }

    async fn saga_version_get(
        &mut self,
        tenant: TenantId,
        saga: SagaId,
        version: i32,
    ) -> StoreResult<Option<SagaVersion>> {
        self.scope.admit(tenant)?;
        let params = values![tenant, saga, version];
        self.first(&q::VERSION_GET, params, version_row).await
    }

    async fn saga_version_list(
        &mut self,
        tenant: TenantId,
        saga: SagaId,
        limit: i64,
    ) -> StoreResult<Vec<SagaVersion>> {
        self.scope.admit(tenant)?;
        let params = values![tenant, saga, bounded(limit)];
        self.list(&q::VERSION_LIST, params, version_row).await
    }

    async fn saga_open_runs(
        &mut self,
        tenant: TenantId,
        saga: SagaId,
    ) -> StoreResult<Vec<(RunState, i64)>> {
        self.scope.admit(tenant)?;
        self.list(&q::SAGA_OPEN_RUNS, values![tenant, saga], |row| {
            Ok((numbered_cell(row, 0, &RunState::ALL)?, row.get(1)?))
        })
        .await
    }

    async fn saga_run_insert(&mut self, run: &SagaRun) -> StoreResult<()> {
        self.scope.admit(run.tenant)?;
        let data = self.data_sealed(run).await?;
        let params = values![
            run.tenant,
            run.id,
            run.saga,
            run.version,
            run.key.as_deref(),
            run.state as i64,
            text(&run.steps)?,
            data,
            run.job,
            run.due_at,
            run.cancel.as_ref().map(text).transpose()?,
            run.error.as_deref(),
            &*run.by,
            run.created_at,
            run.finished_at,
            run.revision,
        ];
        reference(self.execute(&q::RUN_INSERT, params).await, SAGA).map(|_| ())
    }

    async fn saga_run_of_key(
        &mut self,
        tenant: TenantId,
        saga: SagaId,
        key: &str,
    ) -> StoreResult<Option<SagaRun>> {
        self.scope.admit(tenant)?;
        let read = self
            .first(&q::RUN_OF_KEY, values![tenant, saga, key], run)
            .await?;
        self.run_opened(read).await
    }

    async fn saga_run_get(&mut self, id: SagaRunId) -> StoreResult<Option<SagaRun>> {
        let read = match self.scope.tenant() {
            Some(own) => self.first(&q::RUN_GET_OWN, values![id, own], run).await?,
            None => self.first(&q::RUN_GET, values![id], run).await?,
        };
        self.run_opened(read).await
    }

    async fn saga_run_list(
        &mut self,
        filter: &SagaRunFilter,
        limit: i64,
    ) -> StoreResult<Vec<SagaRun>> {
        let tenant = match (self.scope.tenant(), filter.tenant) {
            (Some(own), Some(asked)) if own != asked => return Ok(Vec::new()),
            (Some(own), _) => Some(own),
            (None, asked) => asked,
        };
        let built = runs_page(tenant, filter, bounded(limit));
        let rows = self.conn().query_built(&built.text, &built.params).await?;
        // What they carry is shown of one alone.
        rows.iter()
            .map(|row| run(row).map(|(run, _)| run))
            .collect()
    }

    async fn saga_run_step(&mut self, run: &SagaRun, jobs: &[NewJob]) -> StoreResult<()> {
        self.scope.admit(run.tenant)?;
        let data = self.data_sealed(run).await?;
        let params = values![
            run.tenant,
            run.id,
            run.state as i64,
            text(&run.steps)?,
            data,
            run.job,
            run.due_at,
            run.cancel.as_ref().map(text).transpose()?,
            run.error.as_deref(),
            run.finished_at,
            run.revision,
        ];
        if !self.changed(&q::RUN_STEP, params).await? {
            return Err(StoreError::Conflict { what: RUN });
        }
        self.job_insert(jobs).await.map(|_| ())
    }

    async fn saga_run_due(
        &mut self,
        now: Timestamp,
        after: DueRun,
        limit: i64,
    ) -> StoreResult<Vec<DueRun>> {
        self.system()?;
        let params = values![now, after.0, after.1, bounded(limit)];
        let due = |row: &Row| Ok((row.get(0)?, row.get(1)?));
        self.list(&q::RUN_DUE, params, due).await
    }

    async fn saga_run_next_at(&mut self) -> StoreResult<Option<Timestamp>> {
        self.system()?;
        self.first(&q::RUN_NEXT_AT, &[], |row| row.get(0)).await
    }

    async fn saga_run_unfinished(
        &mut self,
        after: SagaRunId,
        limit: i64,
    ) -> StoreResult<Vec<SagaRunId>> {
        self.system()?;
        let params = values![after, bounded(limit)];
        self.list(&q::RUN_UNFINISHED, params, |row| row.get(0))
            .await
    }

    async fn saga_run_wake(
        &mut self,
        jobs: &[(TenantId, JobId)],
        now: Timestamp,
    ) -> StoreResult<i64> {
        for (tenant, _) in jobs {
            self.scope.admit(*tenant)?;
        }
        // The system marks those of all tenants at once: this is on the way of outcomes.
        let tenant = self.scope.tenant();
        let jobs: Vec<JobId> = jobs.iter().map(|(_, job)| *job).collect();
        let mut woken = 0;
        for jobs in jobs.chunks(ASKED) {
            let built = wake(tenant, jobs, now);
            let rows = self.conn().query_built(&built.text, &built.params).await?;
            woken += rows.len() as i64;
        }
        Ok(woken)
    }

    async fn saga_run_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64> {
        self.system()?;
        let params = values![until, bounded(limit)];
        Ok(self.execute(&q::RUN_EXPIRE, params).await? as i64)
    }

    async fn saga_run_attention(&mut self) -> StoreResult<(i64, i64)> {
        let read = |row: &Row| Ok((numbered_cell(row, 0, &RunState::ALL)?, row.get::<i64>(1)?));
        let counts = match self.scope.tenant() {
            Some(own) => self.list(&q::RUN_ATTENTION_OWN, values![own], read).await?,
            None => self.list(&q::RUN_ATTENTION, &[], read).await?,
        };
        let of = |state| {
            let found = counts.iter().find(|(of, _)| *of == state);
            found.map_or(0, |(_, count)| *count)
        };
        Ok((of(RunState::Failed), of(RunState::Waiting)))
    }
}

impl SqlTx<'_> {
    async fn version_insert(&mut self, version: &SagaVersion) -> StoreResult<()> {
        let params = values![
            version.tenant,
            version.saga,
            version.version,
            text(&version.definition)?,
            version.created_at,
            &*version.by,
        ];
        reference(self.execute(&q::VERSION_INSERT, params).await, SAGA).map(|_| ())
    }

    async fn data_sealed(&mut self, run: &SagaRun) -> StoreResult<String> {
        let Some(data) = &run.data else {
            // Its key is destroyed: nothing is left to be carried on.
            return Ok("null".to_owned());
        };
        let place = Place::new(Column::SagaRun, run.id.uuid());
        self.sealed_text(place, run.tenant, &text(data)?, run.created_at)
            .await
    }

    async fn run_opened(
        &mut self,
        read: Option<(SagaRun, String)>,
    ) -> StoreResult<Option<SagaRun>> {
        let Some((mut run, data)) = read else {
            return Ok(None);
        };
        let place = Place::new(Column::SagaRun, run.id.uuid()).of(run.tenant);
        run.data = match self.opened_text(place, data).await? {
            Some(data) => parsed::<Option<RunData>>(&data)?,
            None => None,
        };
        Ok(Some(run))
    }
}

fn text(value: &impl Serialize) -> StoreResult<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Bug(error.to_string()))
}

fn parsed<T: DeserializeOwned>(text: &str) -> StoreResult<T> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Corrupt(format!("a saga cannot be read: {error}")))
}

/// One page of sagas.
pub(crate) fn page(tenant: Option<TenantId>, filter: &SagaFilter, limit: i64) -> Built {
    let mut built = match tenant {
        Some(tenant) => Built::new(
            concat!(q::saga_columns!(), " WHERE s.tenant_id = $1"),
            vec![tenant.into()],
        ),
        None => Built::new(concat!(q::saga_columns!(), " WHERE TRUE"), Vec::new()),
    };
    built
        .bind_some(" AND s.name = ", filter.name.as_deref(), "")
        .bind_some(" AND s.id < ", filter.before, "")
        .bind(" ORDER BY s.id DESC LIMIT ", limit, "");
    built
}

/// One page of runs.
pub(crate) fn runs_page(tenant: Option<TenantId>, filter: &SagaRunFilter, limit: i64) -> Built {
    let mut built = match tenant {
        Some(tenant) => Built::new(
            concat!(q::listed_run_columns!(), " WHERE r.tenant_id = $1"),
            vec![tenant.into()],
        ),
        None => Built::new(concat!(q::listed_run_columns!(), " WHERE TRUE"), Vec::new()),
    };
    let state = filter.state.map(|state| Value::Int(state as i64));
    built
        .bind_some(" AND r.saga_id = ", filter.saga, "")
        .bind_some(" AND r.state = ", state, "")
        .bind_some(" AND r.key = ", filter.key.as_deref(), "")
        .bind_some(" AND r.id < ", filter.before, "")
        .bind(" ORDER BY r.id DESC LIMIT ", limit, "");
    built
}

/// Says to the runs that wait for these jobs that there is something to see; of all tenants where none is given.
pub(crate) fn wake(tenant: Option<TenantId>, jobs: &[JobId], now: Timestamp) -> Built {
    let mut built = match tenant {
        Some(tenant) => Built::new(
            "UPDATE saga_run SET due_at = $2, revision = revision + 1 WHERE tenant_id = $1 AND finished_at IS NULL",
            vec![tenant.into(), now.into()],
        ),
        None => Built::new(
            "UPDATE saga_run SET due_at = $1, revision = revision + 1 WHERE finished_at IS NULL",
            vec![now.into()],
        ),
    };
    built.bind_list(" AND job_id IN", jobs.iter().copied());
    built.push(" RETURNING id");
    built
}

fn saga(row: &Row) -> StoreResult<Saga> {
    Ok(Saga {
        tenant: row.get(0)?,
        id: row.get(1)?,
        name: row.get(2)?,
        version: row.get(3)?,
        created_at: row.get(4)?,
        updated_at: row.get(5)?,
    })
}

fn version_row(row: &Row) -> StoreResult<SagaVersion> {
    Ok(SagaVersion {
        tenant: row.get(0)?,
        saga: row.get(1)?,
        version: row.get(2)?,
        definition: parsed(&row.get::<String>(3)?)?,
        created_at: row.get(4)?,
        by: row.get(5)?,
    })
}

/// A run without what it carries, and that as it is written.
fn run(row: &Row) -> StoreResult<(SagaRun, String)> {
    let cancel: Option<String> = row.get(10)?;
    let run = SagaRun {
        tenant: row.get(0)?,
        id: row.get(1)?,
        saga: row.get(2)?,
        version: row.get(3)?,
        key: row.get(4)?,
        state: numbered_cell(row, 5, &RunState::ALL)?,
        steps: parsed(&row.get::<String>(6)?)?,
        data: None,
        job: row.get(8)?,
        due_at: row.get(9)?,
        cancel: cancel.as_deref().map(parsed).transpose()?,
        error: row.get(11)?,
        by: row.get(12)?,
        created_at: row.get(13)?,
        finished_at: row.get(14)?,
        revision: row.get(15)?,
    };
    Ok((run, row.get(7)?))
}
