//! What a saga does, step by step, and how the input of a step is made of what the run knows by then.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    id::EndpointId,
    jobs::{QueueNumber, retry::RetryPolicy},
};

/// Steps of one saga, at the most.
pub const STEPS_MAX: usize = 20;
/// Bytes of a definition as JSON, at the most.
pub const DEFINITION_BYTES_MAX: usize = 64 * 1_024;
/// Bytes of an input that was made of a template, at the most.
pub const INPUT_BYTES_MAX: usize = 256 * 1_024;
/// How long a step may take, or a person may think, in milliseconds: a second to 90 days.
pub const TIMEOUT_MS: std::ops::RangeInclusive<i64> = 1_000..=90 * 86_400_000;
/// The one member of an object that stands for a value of the run.
const POINTER: &str = "$";

/// The steps of a saga, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// One after the other.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in the saga.
    pub name: String,
    /// What it does.
    pub does: Does,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Does {
    /// Something that a job carries out.
    Task(Box<Task>),
    /// It waits for a person, who approves or rejects.
    Approval {
        /// How long, in milliseconds; then it counts as rejected.
        deadline_ms: Option<i64>,
    },
}

/// What a job carries out, how it is undone, and how one finds out whether it was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The step itself.
    pub action: Action,
    /// How long it may take with all its tries, in milliseconds.
    pub timeout_ms: Option<i64>,
    /// What undoes it.
    pub compensation: Option<Action>,
    /// What is asked when nobody knows whether it was done.
    pub lookup: Option<Action>,
}

/// A job to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// The job's kind.
    pub kind: String,
    /// The endpoint that it is pushed to.
    pub endpoint: Option<EndpointId>,
    /// Where it waits.
    pub queue: QueueNumber,
    /// Its input: JSON, in which `{"$": "/pointer"}` stands for a value of the run. `None`: the run's input.
    pub input: Option<Value>,
    /// Its own retry policy; `None`: the endpoint's, else the queue's.
    pub retry: Option<RetryPolicy>,
}

/// What is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DefinitionError {
    /// Where, as a JSON pointer into the definition as it was given.
    pub pointer: String,
    /// What it must be.
    pub message: String,
}

/// Why an input could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The run has no such value.
    #[error("the run has no value at {0}")]
    Missing(String),
    /// It would have become too large.
    #[error("the input would have more than {INPUT_BYTES_MAX} bytes")]
    TooLarge,
}

impl Definition {
    /// Whether it can be carried out: names, bounds, and that inputs are made of what is known by then.
    pub fn check(&self) -> Result<(), DefinitionError> {
        let fail = |pointer: String, message: &str| {
            Err(DefinitionError {
                pointer,
                message: message.to_owned(),
            })
        };
        if self.steps.is_empty() || self.steps.len() > STEPS_MAX {
            return fail("/steps".into(), "must have 1 to 20 steps");
        }
        let mut known: Vec<&str> = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let at = format!("/steps/{index}");
            if known.contains(&step.name.as_str()) {
                return fail(format!("{at}/name"), "is another step's name");
            }
            match &step.does {
                Does::Approval { deadline_ms } => {
                    if deadline_ms.is_some_and(|ms| !TIMEOUT_MS.contains(&ms)) {
                        return fail(
                            format!("{at}/approval/deadline_secs"),
                            "must be 1 s to 90 days",
                        );
                    }
                    known.push(&step.name);
                }
                Does::Task(task) => {
                    if task.timeout_ms.is_some_and(|ms| !TIMEOUT_MS.contains(&ms)) {
                        return fail(format!("{at}/timeout_secs"), "must be 1 s to 90 days");
                    }
                    input_check(&task.action, &known, &at)?;
                    known.push(&step.name);
                    for (part, action) in [
                        ("compensation", &task.compensation),
                        ("lookup", &task.lookup),
                    ] {
                        if let Some(action) = action {
                            input_check(action, &known, &format!("{at}/{part}"))?;
                        }
                    }
                }
            }
        }
        match serde_json::to_vec(self) {
            Ok(text) if text.len() <= DEFINITION_BYTES_MAX => Ok(()),
            _ => fail("/steps".into(), "must have at most 64 KiB"),
        }
    }
}

fn input_check(action: &Action, known: &[&str], at: &str) -> Result<(), DefinitionError> {
    let Some(template) = &action.input else {
        return Ok(());
    };
    let mut wrong = None;
    each_pointer(template, &mut |pointer| {
        if wrong.is_none() && !pointer.is_some_and(|pointer| is_known(pointer, known)) {
            wrong = Some(format!(
                "{}: a reference is a JSON pointer that begins with /input, /run/id, or /steps and the name of an earlier step",
                pointer.unwrap_or("$")
            ));
        }
    });
    match wrong {
        None => Ok(()),
        Some(message) => Err(DefinitionError {
            pointer: format!("{at}/input"),
            message,
        }),
    }
}

fn is_known(pointer: &str, known: &[&str]) -> bool {
    let mut parts = pointer.split('/').skip(1);
    match (parts.next(), parts.next()) {
        (Some("input"), _) => true,
        (Some("run"), Some("id")) => parts.next().is_none(),
        (Some("steps"), Some(step)) => known.contains(&step),
        _ => false,
    }
}

/// Every reference of a template; `None` where what follows `$` is no text.
fn each_pointer<'t>(template: &'t Value, found: &mut impl FnMut(Option<&'t str>)) {
    match template {
        Value::Object(object) => match reference(object) {
            Some(reference) => found(reference.as_str()),
            None => object.values().for_each(|value| each_pointer(value, found)),
        },
        Value::Array(items) => items.iter().for_each(|value| each_pointer(value, found)),
        _ => {}
    }
}

fn reference(object: &Map<String, Value>) -> Option<&Value> {
    match object.len() {
        1 => object.get(POINTER),
        _ => None,
    }
}

/// What becomes of a reference to a value that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// There is no input then.
    Fail,
    /// A null stands in its place: what undoes a step must be tried with what is known.
    Null,
}

/// The input that a template makes of what a run knows.
pub fn render(template: &Value, known: &Value, missing: Missing) -> Result<Value, InputError> {
    let mut left = INPUT_BYTES_MAX;
    filled(template, known, missing, &mut left)
}

fn filled(
    template: &Value,
    known: &Value,
    missing: Missing,
    left: &mut usize,
) -> Result<Value, InputError> {
    match template {
        Value::Object(object) => match reference(object) {
            Some(reference) => {
                let pointer = reference.as_str().unwrap_or_default();
                match (known.pointer(pointer), missing) {
                    (Some(value), _) => {
                        take(value.to_string().len(), left)?;
                        Ok(value.clone())
                    }
                    (None, Missing::Null) => Ok(Value::Null),
                    (None, Missing::Fail) => Err(InputError::Missing(pointer.to_owned())),
                }
            }
            None => {
                let mut made = Map::new();
                for (name, value) in object {
                    take(name.len() + 4, left)?;
                    made.insert(name.clone(), filled(value, known, missing, left)?);
                }
                Ok(Value::Object(made))
            }
        },
        Value::Array(items) => {
            let made: Result<Vec<Value>, InputError> = items
                .iter()
                .map(|item| filled(item, known, missing, left))
                .collect();
            made.map(Value::Array)
        }
        plain => {
            take(plain.to_string().len() + 1, left)?;
            Ok(plain.clone())
        }
    }
}

fn take(bytes: usize, left: &mut usize) -> Result<(), InputError> {
    *left = left.checked_sub(bytes).ok_or(InputError::TooLarge)?;
    Ok(())
}
