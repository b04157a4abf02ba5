//! Sagas and their runs as the API shows them.

use mainstay_domain::{
    JobId, SagaId, SagaRunId, TenantId,
    sagas::{
        Cancel, Does, Part, RunState, Saga, SagaRun, SagaVersion, StepRecord, StepState, Verdict,
        told::key,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::define::{Names, StepView};
use crate::time::Time;

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SagaRunState)]
pub(crate) enum RunStateName {
    /// A step is being done.
    Running,
    /// It waits for a person's approval.
    Waiting,
    /// What was done is being undone.
    Compensating,
    /// All steps are done. The end.
    Done,
    /// What was done is undone. The end.
    Compensated,
    /// Something could not be undone: a person is needed.
    Failed,
}

impl From<RunState> for RunStateName {
    fn from(state: RunState) -> Self {
        match state {
            RunState::Running => Self::Running,
            RunState::Waiting => Self::Waiting,
            RunState::Compensating => Self::Compensating,
            RunState::Done => Self::Done,
            RunState::Compensated => Self::Compensated,
            RunState::Failed => Self::Failed,
        }
    }
}

impl From<RunStateName> for RunState {
    fn from(name: RunStateName) -> Self {
        match name {
            RunStateName::Running => Self::Running,
            RunStateName::Waiting => Self::Waiting,
            RunStateName::Compensating => Self::Compensating,
            RunStateName::Done => Self::Done,
            RunStateName::Compensated => Self::Compensated,
            RunStateName::Failed => Self::Failed,
        }
    }
}

/// How a step of a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SagaStepState)]
pub(crate) enum StepStateName {
    /// Its turn has not come.
    Pending,
    /// It is being done, or a person is waited for.
    Running,
    /// It may have been done: its job ended, and nobody knows how the last requests went.
    Unknown,
    /// It is done.
    Done,
    /// It was not done; or what undoes it was given up by a person.
    Failed,
    /// It is being undone.
    Compensating,
    /// It is undone.
    Compensated,
    /// It was not begun.
    Skipped,
}

impl From<StepState> for StepStateName {
    fn from(state: StepState) -> Self {
        match state {
            StepState::Pending => Self::Pending,
            StepState::Running => Self::Running,
            StepState::Unknown => Self::Unknown,
            StepState::Done => Self::Done,
            StepState::Failed => Self::Failed,
            StepState::Compensating => Self::Compensating,
            StepState::Compensated => Self::Compensated,
            StepState::Skipped => Self::Skipped,
        }
    }
}

/// Several durable steps, each with what undoes it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Saga)]
pub(crate) struct SagaView {
    #[schema(value_type = String)]
    id: SagaId,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    name: String,
    /// The newest version: the one that runs begin with.
    version: i32,
    created_at: Time,
    /// When it got its newest version.
    updated_at: Time,
}

impl From<Saga> for SagaView {
    fn from(saga: Saga) -> Self {
        Self {
            id: saga.id,
            tenant_id: saga.tenant,
            name: saga.name,
            version: saga.version,
            created_at: saga.created_at.into(),
            updated_at: saga.updated_at.into(),
        }
    }
}

/// One version of a saga. It never changes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SagaVersion)]
pub(crate) struct VersionView {
    version: i32,
    steps: Vec<StepView>,
    created_at: Time,
    /// Who made it.
    by: String,
}

impl VersionView {
    pub(super) fn of(version: SagaVersion, names: &Names) -> Self {
        Self {
            version: version.version,
            steps: names.steps(&version.definition),
            created_at: version.created_at.into(),
            by: version.by,
        }
    }
}

/// Runs in one state.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenRuns {
    state: RunStateName,
    count: i64,
}

/// A saga with its latest versions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SagaWithVersions {
    #[serde(flatten)]
    saga: SagaView,
    /// Newest first, at most twenty.
    versions: Vec<VersionView>,
    /// Runs that have not ended.
    open_runs: Vec<OpenRuns>,
}

impl SagaWithVersions {
    pub(super) fn of(
        saga: Saga,
        versions: Vec<SagaVersion>,
        open: Vec<(RunState, i64)>,
        names: &Names,
    ) -> Self {
        let open = open.into_iter();
        Self {
            saga: saga.into(),
            versions: versions
                .into_iter()
                .map(|version| VersionView::of(version, names))
                .collect(),
            open_runs: open
                .map(|(state, count)| OpenRuns {
                    state: state.into(),
                    count,
                })
                .collect(),
        }
    }
}

/// What a person said to a step that waits for approval.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SagaVerdict)]
pub(crate) struct VerdictView {
    approved: bool,
    by: String,
    reason: Option<String>,
    at: Time,
}

impl From<Verdict> for VerdictView {
    fn from(verdict: Verdict) -> Self {
        Self {
            approved: verdict.approved,
            by: verdict.by,
            reason: verdict.reason,
            at: verdict.at.into(),
        }
    }
}

/// A step of a run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SagaRunStep)]
pub(crate) struct RunStepView {
    name: String,
    state: StepStateName,
    /// The job that does it.
    #[schema(value_type = Option<String>)]
    job_id: Option<JobId>,
    /// The job that finds out whether it was done.
    #[schema(value_type = Option<String>)]
    lookup_job_id: Option<JobId>,
    /// The job that undoes it.
    #[schema(value_type = Option<String>)]
    compensation_job_id: Option<JobId>,
    /// The key that it is done with, however often it is tried.
    idempotency_key: String,
    /// Whether nobody knows that it was done.
    uncertain: bool,
    started_at: Option<Time>,
    /// Until when it must have ended.
    deadline_at: Option<Time>,
    finished_at: Option<Time>,
    /// What a person said.
    verdict: Option<VerdictView>,
    code: Option<String>,
    error: Option<String>,
}

impl RunStepView {
    fn of(run: SagaRunId, step: StepRecord) -> Self {
        Self {
            idempotency_key: key(run, &step.name, Part::Step),
            name: step.name,
            state: step.state.into(),
            job_id: step.job,
            lookup_job_id: step.lookup,
            compensation_job_id: step.compensation,
            uncertain: step.uncertain,
            started_at: step.started_at.map(Into::into),
            deadline_at: step.deadline.map(Into::into),
            finished_at: step.finished_at.map(Into::into),
            verdict: step.verdict.map(Into::into),
            code: step.code,
            error: step.error,
        }
    }
}

/// That a person takes a run back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SagaCancel)]
pub(crate) struct CancelView {
    by: String,
    reason: Option<String>,
    at: Time,
}

impl From<Cancel> for CancelView {
    fn from(cancel: Cancel) -> Self {
        Self {
            by: cancel.by,
            reason: cancel.reason,
            at: cancel.at.into(),
        }
    }
}

/// One run of a saga.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SagaRun)]
pub(crate) struct RunView {
    #[schema(value_type = String)]
    id: SagaRunId,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    #[schema(value_type = String)]
    saga_id: SagaId,
    /// The version that it began with, and ends with.
    version: i32,
    /// What there is one run of in the saga.
    key: Option<String>,
    state: RunStateName,
    steps: Vec<RunStepView>,
    /// That a person takes it back.
    cancel: Option<CancelView>,
    /// Why it does not go on, or went back.
    error: Option<String>,
    /// Who began it.
    by: String,
    created_at: Time,
    finished_at: Option<Time>,
}

impl From<SagaRun> for RunView {
    fn from(run: SagaRun) -> Self {
        let id = run.id;
        Self {
            id,
            tenant_id: run.tenant,
            saga_id: run.saga,
            version: run.version,
            key: run.key,
            state: run.state.into(),
            steps: run
                .steps
                .into_iter()
                .map(|step| RunStepView::of(id, step))
                .collect(),
            cancel: run.cancel.map(Into::into),
            error: run.error,
            by: run.by,
            created_at: run.created_at.into(),
            finished_at: run.finished_at.map(Into::into),
        }
    }
}

/// What a step of the run's version is, for a picture of the run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SagaShape)]
pub(crate) struct ShapeView {
    name: String,
    /// Whether it waits for a person.
    approval: bool,
    /// Whether something undoes it.
    compensation: bool,
    /// Whether something finds out whether it was done.
    lookup: bool,
}

/// One run of a saga, with what it carries.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SagaRunWithData {
    #[serde(flatten)]
    run: RunView,
    /// The saga's name.
    saga_name: String,
    /// The steps of its version, in their order.
    shape: Vec<ShapeView>,
    /// What it was begun with; null too where its tenant's key is destroyed.
    #[schema(value_type = Option<Value>)]
    input: Value,
    /// What came of its steps, by name.
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    outputs: serde_json::Map<String, Value>,
}

impl SagaRunWithData {
    pub(super) fn of(mut run: SagaRun, saga: Saga, version: &SagaVersion) -> Self {
        let data = run.data.take().unwrap_or_default();
        let shape = version
            .definition
            .steps
            .iter()
            .map(|step| match &step.does {
                Does::Approval { .. } => ShapeView {
                    name: step.name.clone(),
                    approval: true,
                    compensation: false,
                    lookup: false,
                },
                Does::Task(task) => ShapeView {
                    name: step.name.clone(),
                    approval: false,
                    compensation: task.compensation.is_some(),
                    lookup: task.lookup.is_some(),
                },
            });
        Self {
            shape: shape.collect(),
            run: run.into(),
            saga_name: saga.name,
            input: data.input,
            outputs: data.outputs,
        }
    }
}
