//! What a job of a saga's run is told. It is the job's payload: what a worker gets, and what a push to an endpoint has in
//! its body, under the signature.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::SagaRunId;

/// What a job is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// It does the step.
    Step,
    /// It undoes the step.
    Compensation,
    /// It finds out whether the step was done.
    Lookup,
}

impl Part {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Compensation => "compensation",
            Self::Lookup => "lookup",
        }
    }
}

/// How far it is known that a step was done which is to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// It was done.
    Done,
    /// Nobody knows: there may be nothing to undo.
    Unknown,
}

/// The payload of a job that a saga's run made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SagaTold {
    /// The run.
    pub saga_run_id: SagaRunId,
    /// The saga's name.
    pub saga: String,
    /// Its version.
    pub version: i32,
    /// The step.
    pub step: String,
    /// What the job is for.
    pub part: Part,
    /// The same however often the job is tried: of the step, or of what undoes it.
    pub idempotency_key: String,
    /// The key that the step itself was done with.
    pub step_key: String,
    /// How far it is known that the step was done; only of what undoes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Certainty>,
    /// What came of the step; only of what undoes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// The input that the definition makes.
    pub input: Value,
}

impl SagaTold {
    /// Reads a job's payload. `None`: no saga made it.
    pub fn read(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}

/// The key of a step, or of what undoes it: the same for all tries, and no other step's or run's.
pub fn key(run: SagaRunId, step: &str, part: Part) -> String {
    match part {
        Part::Step | Part::Lookup => format!("{run}:{step}"),
        Part::Compensation => format!("{run}:{step}:undo"),
    }
}
