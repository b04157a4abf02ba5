//! Sagas: several durable steps, each with what undoes it. A run of a saga is a row; each of its steps is carried out by an
//! ordinary job. What comes next is decided by a pure rule ([`decide`]) and takes effect in one commit with the jobs it
//! makes, which holds only while the run's `revision` is the one that was read.
//!
//! What a saga is made of is [`definition`], what a job of it is told is [`told`].

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    error::StoreResult,
    id::{JobId, SagaId, SagaRunId, TenantId},
    jobs::NewJob,
    time::Timestamp,
};

pub mod decide;
pub mod definition;
pub mod told;

pub use decide::{Decision, Fact, Look, Made};
pub use definition::{Action, Definition, Does, Step, Task};
pub use told::{Certainty, Part, SagaTold};

/// Sagas that a tenant may have.
pub const SAGAS_MAX: i64 = 1_000;
/// Versions that a saga may have.
pub const VERSIONS_MAX: i32 = 1_000;
/// Bytes of a run's input, at the most.
pub const RUN_INPUT_BYTES_MAX: usize = 64 * 1_024;
/// Bytes of what came of one step, at the most.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1_024;

/// A named definition in versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saga {
    /// Its id.
    pub id: SagaId,
    /// Whose it is.
    pub tenant: TenantId,
    /// A name, unique in the tenant.
    pub name: String,
    /// The newest version: the one that runs begin with.
    pub version: i32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it got its newest version.
    pub updated_at: Timestamp,
}

/// One version of a saga. It never changes: runs that began with it end with it.
#[derive(Debug, Clone, PartialEq)]
pub struct SagaVersion {
    /// Whose.
    pub tenant: TenantId,
    /// Of which saga.
    pub saga: SagaId,
    /// Which: 1, 2, 3, …
    pub version: i32,
    /// Its steps.
    pub definition: Definition,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom, as the audit log names them.
    pub by: String,
}

/// How a run stands. Numbered in the store by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
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

impl RunState {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Running,
        Self::Waiting,
        Self::Compensating,
        Self::Done,
        Self::Compensated,
        Self::Failed,
    ];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Compensating => "compensating",
            Self::Done => "done",
            Self::Compensated => "compensated",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing comes after it.
    pub const fn ends(self) -> bool {
        matches!(self, Self::Done | Self::Compensated)
    }
}

/// How a step of a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
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

impl StepState {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Unknown => "unknown",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Compensating => "compensating",
            Self::Compensated => "compensated",
            Self::Skipped => "skipped",
        }
    }
}

/// What a person said to a step that waits for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Approved, or rejected.
    pub approved: bool,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step's name.
    pub name: String,
    /// How it stands.
    pub state: StepState,
    /// The job that does it.
    pub job: Option<JobId>,
    /// The job that finds out whether it was done.
    pub lookup: Option<JobId>,
    /// The job that undoes it.
    pub compensation: Option<JobId>,
    /// Whether what undoes it must reckon with nothing having been done.
    #[serde(default)]
    pub uncertain: bool,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// Until when it must have ended.
    pub deadline: Option<Timestamp>,
    /// When it ended, the first time: done, failed, skipped or unknown.
    pub finished_at: Option<Timestamp>,
    /// What a person said.
    pub verdict: Option<Verdict>,
    /// The stable code of its failure.
    pub code: Option<String>,
    /// What went wrong, in a sentence.
    pub error: Option<String>,
}

impl StepRecord {
    /// A step whose turn has not come.
    pub const fn pending(name: String) -> Self {
        Self {
            name,
            state: StepState::Pending,
            job: None,
            lookup: None,
            compensation: None,
            uncertain: false,
            started_at: None,
            deadline: None,
            finished_at: None,
            verdict: None,
            code: None,
            error: None,
        }
    }
}

/// That a person wants a run to be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// What a run carries: tenant data, sealed where the vault is on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunData {
    /// What it was begun with.
    pub input: Value,
    /// What came of its steps, by name.
    pub outputs: Map<String, Value>,
}

impl RunData {
    /// What templates refer to.
    pub fn known(&self, run: SagaRunId) -> Value {
        json!({ "input": self.input, "steps": self.outputs, "run": { "id": run } })
    }
}

/// One run of a saga.
#[derive(Debug, Clone, PartialEq)]
pub struct SagaRun {
    /// Its id.
    pub id: SagaRunId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Of which saga.
    pub saga: SagaId,
    /// Of which version.
    pub version: i32,
    /// What there is one run of in the saga.
    pub key: Option<String>,
    /// How it stands.
    pub state: RunState,
    /// Its steps, in their order.
    pub steps: Vec<StepRecord>,
    /// What it carries; `None`: the key of its tenant is destroyed.
    pub data: Option<RunData>,
    /// The one job that it waits for.
    pub job: Option<JobId>,
    /// When to look at it; `None`: when its job has ended, or a person has said something.
    pub due_at: Option<Timestamp>,
    /// That it is to be taken back.
    pub cancel: Option<Cancel>,
    /// Why it does not go on, or went back, in a sentence.
    pub error: Option<String>,
    /// Who began it, as the audit log names them.
    pub by: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Grows with every change: whoever acts on an older one has lost.
    pub revision: i64,
}

impl SagaRun {
    /// A run that is to begin at once.
    pub fn begin(
        id: SagaRunId,
        version: &SagaVersion,
        input: Value,
        key: Option<String>,
        by: String,
        now: Timestamp,
    ) -> Self {
        let steps = version.definition.steps.iter();
        Self {
            id,
            tenant: version.tenant,
            saga: version.saga,
            version: version.version,
            key,
            state: RunState::Running,
            steps: steps
                .map(|step| StepRecord::pending(step.name.clone()))
                .collect(),
            data: Some(RunData {
                input,
                outputs: Map::new(),
            }),
            job: None,
            due_at: Some(now),
            cancel: None,
            error: None,
            by,
            created_at: now,
            finished_at: None,
            revision: 0,
        }
    }
}

/// Which sagas to list, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SagaFilter {
    /// Only this tenant's. Lists in a tenant's scope are restricted to it anyway.
    pub tenant: Option<TenantId>,
    /// Only of this name.
    pub name: Option<String>,
    /// Only older than this one: the cursor.
    pub before: Option<SagaId>,
}

/// Which runs to list, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SagaRunFilter {
    /// Only this tenant's. Lists in a tenant's scope are restricted to it anyway.
    pub tenant: Option<TenantId>,
    /// Only of this saga.
    pub saga: Option<SagaId>,
    /// Only in this state.
    pub state: Option<RunState>,
    /// Only with this key.
    pub key: Option<String>,
    /// Only older than this one: the cursor.
    pub before: Option<SagaRunId>,
}

/// When a run is to be looked at, and which: in this order they are.
pub type DueRun = (Timestamp, SagaRunId);

/// The store's verbs of sagas.
#[async_trait]
pub trait SagasTx: Send {
    /// Adds a saga with its first version. Conflict when the tenant has one of that name.
    async fn saga_insert(&mut self, saga: &Saga, first: &SagaVersion) -> StoreResult<()>;
    /// Gives a saga its next version. Conflict when that is not one more than the newest.
    async fn saga_version_add(&mut self, version: &SagaVersion) -> StoreResult<()>;
    /// Removes a saga and its versions. Refused as a reference while it has a run.
    async fn saga_delete(&mut self, tenant: TenantId, id: SagaId) -> StoreResult<bool>;
    /// Removes runs of a saga that have ended, at most `limit`. Answers how many.
    async fn saga_runs_delete(
        &mut self,
        tenant: TenantId,
        saga: SagaId,
        limit: i64,
    ) -> StoreResult<i64>;
    /// One saga.
    async fn saga_get(&mut self, id: SagaId) -> StoreResult<Option<Saga>>;
    /// Sagas, newest first.
    async fn saga_list(&mut self, filter: &SagaFilter, limit: i64) -> StoreResult<Vec<Saga>>;
    /// How many sagas a tenant has.
    async fn saga_count(&mut self, tenant: TenantId) -> StoreResult<i64>;
    /// One version of a saga.
    async fn saga_version_get(
        &mut self,
        tenant: TenantId,
        saga: SagaId,
        version: i32,
    ) -> StoreResult<Option<SagaVersion>>;
    /// The versions of a saga, newest first.
    async fn saga_version_list(
        &mut self,
        tenant: TenantId,
        saga: SagaId,
        limit: i64,
    ) -> StoreResult<Vec<SagaVersion>>;
    /// How many runs of a saga there are that have not ended, by state.
    async fn saga_open_runs(
        &mut self,
        tenant: TenantId,
        saga: SagaId,
    ) -> StoreResult<Vec<(RunState, i64)>>;

    /// Adds a run. Conflict when the saga has one with its key.
    async fn saga_run_insert(&mut self, run: &SagaRun) -> StoreResult<()>;
    /// The run of a saga with this key.
    async fn saga_run_of_key(
        &mut self,
        tenant: TenantId,
        saga: SagaId,
        key: &str,
    ) -> StoreResult<Option<SagaRun>>;
    /// One run.
    async fn saga_run_get(&mut self, id: SagaRunId) -> StoreResult<Option<SagaRun>>;
    /// Runs, newest first.
    async fn saga_run_list(
        &mut self,
        filter: &SagaRunFilter,
        limit: i64,
    ) -> StoreResult<Vec<SagaRun>>;
    /// Writes a run as it is to be, under the revision that was read, and inserts these jobs with it. Conflict when it is no
    /// longer the one that was read: then nothing of the transaction may stay.
    async fn saga_run_step(&mut self, run: &SagaRun, jobs: &[NewJob]) -> StoreResult<()>;
    /// Runs to look at by now, the longest due first, after this one. System scope.
    async fn saga_run_due(
        &mut self,
        now: Timestamp,
        after: DueRun,
        limit: i64,
    ) -> StoreResult<Vec<DueRun>>;
    /// When the next run is to be looked at. System scope.
    async fn saga_run_next_at(&mut self) -> StoreResult<Option<Timestamp>>;
    /// Runs after this one that have not ended, by id. System scope.
    async fn saga_run_unfinished(
        &mut self,
        after: SagaRunId,
        limit: i64,
    ) -> StoreResult<Vec<SagaRunId>>;
    /// Says to the runs that wait for one of these jobs that there is something to see. In the transaction of what there is to
    /// see. Answers how many runs that were.
    async fn saga_run_wake(
        &mut self,
        jobs: &[(TenantId, JobId)],
        now: Timestamp,
    ) -> StoreResult<i64>;
    /// Removes runs that ended before `until`, at most `limit`. Answers how many. System scope.
    async fn saga_run_expire(&mut self, until: Timestamp, limit: i64) -> StoreResult<i64>;
    /// How many runs in the scope need a person: those that failed, and those that wait.
    async fn saga_run_attention(&mut self) -> StoreResult<(i64, i64)>;
}
