//! What a run does next: a pure rule over its definition, how it stands, and how its job stands.
//!
//! A run waits for one job, or for a person, or for nothing any more. Looked at twice it does nothing the second time;
//! looked at after a crash it decides the same again.

use serde_json::{Value, json};

use super::{
    Action, Certainty, Definition, Does, OUTPUT_BYTES_MAX, Part, RunState, SagaRun, SagaTold,
    StepState, Task,
    definition::{Missing, render},
    told::key,
};
use crate::{
    error::Category,
    id::JobId,
    jobs::{Attempt, Outcome},
    time::Timestamp,
};

/// How long the answer to a look-up is waited for where its step has no time limit.
const LOOKUP_MS: i64 = 86_400_000;

/// How the job stands that a run waits for.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// It has not ended.
    Open {
        /// Whether it may have taken effect already.
        maybe: bool,
    },
    /// It is done.
    Done {
        /// What came of it.
        output: Value,
    },
    /// It is a dead letter.
    Dead {
        /// The stable code of its last failure.
        code: String,
        /// What went wrong, in a sentence.
        error: String,
        /// Whether it may have taken effect all the same.
        maybe: bool,
    },
    /// A person cancelled it, or gave the dead letter up.
    Cancelled {
        /// What they said.
        error: String,
        /// Whether it may have taken effect all the same.
        maybe: bool,
        /// Until then an attempt that was under way may still go on where it was sent; `None`: none was.
        until: Option<Timestamp>,
    },
}

impl Fact {
    /// How a job stands by its attempts. `started`: one more has begun and not ended. `until`: one was under way when a person,
    /// or the run itself, ended the job over it, and may go on until then.
    pub fn of(attempts: &[Attempt], started: bool, until: Option<Timestamp>) -> Self {
        let maybe = started || until.is_some() || attempts.iter().any(may_have_happened);
        let last = attempts.last().filter(|last| last.outcome.ends());
        let Some(last) = last else {
            return Self::Open { maybe };
        };
        let error = last.error.clone().unwrap_or_default();
        match last.outcome {
            Outcome::Succeeded => Self::Done {
                output: last.exchange.as_deref().map_or(Value::Null, output),
            },
            Outcome::Dead => Self::Dead {
                code: last.code.clone().unwrap_or_else(|| "unknown".to_owned()),
                error,
                maybe,
            },
            _ => Self::Cancelled {
                error,
                maybe,
                until,
            },
        }
    }
}

/// Whether an attempt may have taken effect although it did not say so: nobody heard how it went, whoever answered broke down
/// over it, or whoever worked on it fell over something and does not say what. A refusal, and a failure that a worker has
/// a category for, took none.
fn may_have_happened(attempt: &Attempt) -> bool {
    if attempt.by.is_some() {
        return false;
    }
    match attempt.outcome {
        Outcome::Succeeded | Outcome::Lost | Outcome::Unknown => true,
        Outcome::Failed | Outcome::Dead => match (attempt.status, attempt.category) {
            (Some(status), _) => status == 408 || status >= 500,
            (None, Some(Category::Network)) => !NEVER_SENT.contains(&code(attempt)),
            (None, category) => {
                let unsaid = matches!(category, None | Some(Category::Timeout | Category::Unknown));
                unsaid || code(attempt).starts_with("lost")
            }
        },
        Outcome::Cancelled | Outcome::Requeued | Outcome::Discarded => false,
    }
}

/// Codes of requests of which nothing left the process.
const NEVER_SENT: [&str; 3] = ["dns_failed", "connect_failed", "tls_failed"];

fn code(attempt: &Attempt) -> &str {
    attempt.code.as_deref().unwrap_or_default()
}

/// What came of a job: what its worker said, or the endpoint's answer where that is JSON and not too long.
fn output(exchange: &str) -> Value {
    let Ok(exchange) = serde_json::from_str::<Value>(exchange) else {
        return Value::Null;
    };
    if let Some(result) = exchange.get("result") {
        return result.clone();
    }
    let excerpt = exchange
        .pointer("/response/excerpt")
        .and_then(Value::as_str);
    let excerpt = excerpt.filter(|text| text.len() <= OUTPUT_BYTES_MAX);
    excerpt
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

/// A job that a decision makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub action: Action,
    /// What it is told.
    pub told: SagaTold,
    /// Not before: until then what it is about may still be under way.
    pub run_at: Option<Timestamp>,
}

/// What a look changes, all of it in one commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The run as it is to be, under the revision that was read.
    pub run: SagaRun,
    /// The job to make.
    pub made: Option<Made>,
    /// The job to cancel. If it has ended meanwhile, nothing of the decision holds. What becomes of its step is decided by the
    /// next look, which sees what had begun before the cancellation was committed.
    pub cancel: Option<JobId>,
    /// The dead letter to take off the list: what it was to do is not wanted any more. If somebody has run it again meanwhile,
    /// nothing of the decision holds.
    pub discard: Option<JobId>,
}

/// A look at a run.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The saga's name.
    pub saga: &'a str,
    /// The version that the run began with.
    pub definition: &'a Definition,
    /// The run.
    pub run: &'a SagaRun,
    /// How its job stands, if it waits for one.
    pub fact: Option<&'a Fact>,
    /// The time.
    pub now: Timestamp,
}

/// Why a step was not done.
struct Trouble {
    code: String,
    error: String,
}

impl Trouble {
    fn new(code: &str, error: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            error: error.into(),
        }
    }
}

impl Look<'_> {
    /// Decides. `job` makes the id of a job that may be made. `None`: there is nothing to change but that it was looked at.
    pub fn decide(&self, job: impl FnOnce() -> JobId) -> Option<Decision> {
        let mut turn = Turn {
            look: self,
            run: self.run.clone(),
            fact: self.fact.cloned(),
            not_before: None,
            made: None,
            cancel: None,
            discard: None,
        };
        turn.take(job);
        turn.settle_due();
        let same = turn.run == *self.run && turn.made.is_none();
        (!same || turn.cancel.is_some() || turn.discard.is_some()).then_some(Decision {
            run: turn.run,
            made: turn.made,
            cancel: turn.cancel,
            discard: turn.discard,
        })
    }
}

struct Turn<'a> {
    look: &'a Look<'a>,
    run: SagaRun,
    /// Used up by what it decides.
    fact: Option<Fact>,
    /// Until then an attempt of the step that ended may still go on.
    not_before: Option<Timestamp>,
    made: Option<Made>,
    cancel: Option<JobId>,
    discard: Option<JobId>,
}

/// Whether there is more to decide at once.
#[derive(PartialEq, Eq)]
enum Next {
    Again,
    Wait,
}

impl Turn<'_> {
    fn take(&mut self, job: impl FnOnce() -> JobId) {
        let mut job = Some(job);
        let mut id = move || job.take().map_or(JobId::NIL, |make| make());
        loop {
            let next = match self.run.state {
                RunState::Running | RunState::Waiting => self.forward(&mut id),
                RunState::Compensating | RunState::Failed => self.back(&mut id),
                RunState::Done | RunState::Compensated => Next::Wait,
            };
            if next == Next::Wait || self.made.is_some() {
                return;
            }
        }
    }

    /// A run is looked at by itself only when the time of what it waits for runs out.
    fn settle_due(&mut self) {
        let waits = matches!(self.run.state, RunState::Running | RunState::Waiting);
        let steps = self.run.steps.iter();
        let deadline = steps
            .filter(|step| matches!(step.state, StepState::Running | StepState::Unknown))
            .find_map(|step| step.deadline);
        self.run.due_at = deadline.filter(|_| waits);
    }

    fn forward(&mut self, id: &mut impl FnMut() -> JobId) -> Next {
        let open = |state| {
            matches!(
                state,
                StepState::Pending | StepState::Running | StepState::Unknown
            )
        };
        let Some(index) = self.run.steps.iter().position(|step| open(step.state)) else {
            // A wish that came after the last step: then all of it is taken back.
            return match self.run.cancel {
                Some(_) => self.turn_back(),
                None => self.end(RunState::Done),
            };
        };
        let look = self.look;
        let Some(step) = look.definition.steps.get(index) else {
            return Next::Wait;
        };
        match (self.run.steps[index].state, &step.does) {
            (StepState::Pending, _) if self.run.cancel.is_some() => self.turn_back(),
            (StepState::Pending, Does::Approval { deadline_ms }) => {
                self.begin_step(index, *deadline_ms);
                self.run.state = RunState::Waiting;
                Next::Again
            }
            (StepState::Pending, Does::Task(task)) => self.start(index, task, id),
            (StepState::Running, Does::Approval { .. }) => self.approval(index),
            (StepState::Running, Does::Task(task)) => self.running(index, task, id),
            (_, Does::Task(_)) => self.looked_up(index),
            (_, Does::Approval { .. }) => Next::Wait,
        }
    }

    fn begin_step(&mut self, index: usize, timeout_ms: Option<i64>) {
        let now = self.look.now;
        let step = &mut self.run.steps[index];
        step.state = StepState::Running;
        step.started_at = Some(now);
        step.deadline = timeout_ms.map(|ms| now.plus_ms(ms));
    }

    fn start(&mut self, index: usize, task: &Task, id: &mut impl FnMut() -> JobId) -> Next {
        self.begin_step(index, task.timeout_ms);
        if self.run.data.is_none() {
            let trouble = Trouble::new("erased", "what the run carries was erased");
            return self.not_done(index, trouble);
        }
        match self.make(index, Part::Step, &task.action, id) {
            Ok(job) => {
                self.run.steps[index].job = Some(job);
                Next::Wait
            }
            Err(trouble) => self.not_done(index, trouble),
        }
    }

    fn approval(&mut self, index: usize) -> Next {
        let now = self.look.now;
        let step = &self.run.steps[index];
        let verdict = step.verdict.clone();
        let late = step.deadline.is_some_and(|deadline| deadline <= now);
        match verdict {
            Some(verdict) if verdict.approved => {
                let output = json!({ "by": verdict.by, "reason": verdict.reason });
                self.done(index, output);
                Next::Again
            }
            Some(verdict) => {
                let why = verdict
                    .reason
                    .map_or_else(String::new, |why| format!(": {why}"));
                self.not_done(
                    index,
                    Trouble::new("rejected", format!("{} rejected it{why}", verdict.by)),
                )
            }
            None if self.run.cancel.is_some() => {
                let step = &mut self.run.steps[index];
                (step.state, step.finished_at) = (StepState::Skipped, Some(now));
                self.turn_back()
            }
            None if late => self.not_done(
                index,
                Trouble::new("timed_out", "nobody approved it in time"),
            ),
            None => Next::Wait,
        }
    }

    fn running(&mut self, index: usize, task: &Task, id: &mut impl FnMut() -> JobId) -> Next {
        let Some(fact) = self.fact.take() else {
            return Next::Wait;
        };
        let late = self.run.steps[index]
            .deadline
            .is_some_and(|deadline| deadline <= self.look.now);
        let (trouble, maybe) = match fact {
            Fact::Done { output } => {
                self.done(index, output);
                return Next::Again;
            }
            Fact::Open { .. } => {
                if late || self.run.cancel.is_some() {
                    self.cancel = self.run.job;
                }
                return Next::Wait;
            }
            Fact::Dead { code, error, maybe } => {
                self.discard = self.run.job;
                (Trouble { code, error }, maybe)
            }
            Fact::Cancelled {
                error,
                maybe,
                until,
            } => {
                let trouble = match &self.run.cancel {
                    Some(_) => Trouble::new("cancelled", "the run was cancelled"),
                    None if late => Trouble::new("timed_out", "it took longer than it may"),
                    None => Trouble::new("cancelled", format!("its job was cancelled: {error}")),
                };
                self.not_before = until;
                (trouble, maybe)
            }
        };
        self.run.job = None;
        if !maybe {
            return self.not_done(index, trouble);
        }
        let step = &mut self.run.steps[index];
        (step.state, step.uncertain) = (StepState::Unknown, true);
        (step.code, step.error) = (Some(trouble.code), Some(trouble.error));
        step.finished_at = Some(self.look.now);
        let Some(lookup) = &task.lookup else {
            return self.turn_back();
        };
        let from = self.not_before.unwrap_or(self.look.now).max(self.look.now);
        match self.make(index, Part::Lookup, lookup, id) {
            Ok(job) => {
                let step = &mut self.run.steps[index];
                step.lookup = Some(job);
                step.deadline = Some(from.plus_ms(task.timeout_ms.unwrap_or(LOOKUP_MS)));
                Next::Wait
            }
            Err(_) => self.turn_back(),
        }
    }

    /// A step whose outcome is looked up: `{"done": true, "output": …}` or `{"done": false}`.
    fn looked_up(&mut self, index: usize) -> Next {
        let (Some(fact), Some(_)) = (self.fact.take(), self.run.steps[index].lookup) else {
            return Next::Wait;
        };
        let late = self.run.steps[index]
            .deadline
            .is_some_and(|deadline| deadline <= self.look.now);
        let answer = match fact {
            Fact::Open { .. } => {
                // Nobody who could say it: what to do then is known as well. A run that is cancelled waits for the answer too:
                // what was never done needs no undoing.
                if late {
                    self.cancel = self.run.job;
                }
                return Next::Wait;
            }
            Fact::Done { output } => output,
            Fact::Dead { .. } => {
                self.discard = self.run.job;
                Value::Null
            }
            Fact::Cancelled { .. } => Value::Null,
        };
        self.run.job = None;
        match answer.get("done").and_then(Value::as_bool) {
            Some(true) => {
                let step = &mut self.run.steps[index];
                (step.code, step.error) = (None, None);
                self.done(index, answer.get("output").cloned().unwrap_or_default());
                Next::Again
            }
            Some(false) => {
                let step = &mut self.run.steps[index];
                let code = step.code.take().unwrap_or_default();
                let error = step.error.take().unwrap_or_default();
                self.not_done(index, Trouble { code, error })
            }
            // Still nobody knows.
            None => self.turn_back(),
        }
    }

    fn done(&mut self, index: usize, output: Value) {
        let now = self.look.now;
        self.run.job = None;
        self.run.state = RunState::Running;
        let step = &mut self.run.steps[index];
        (step.state, step.finished_at) = (StepState::Done, Some(now));
        step.uncertain = false;
        if let Some(data) = &mut self.run.data {
            data.outputs.insert(step.name.clone(), output);
        }
    }

    fn not_done(&mut self, index: usize, trouble: Trouble) -> Next {
        let now = self.look.now;
        self.run.job = None;
        let step = &mut self.run.steps[index];
        (step.state, step.finished_at) = (StepState::Failed, Some(now));
        step.uncertain = false;
        (step.code, step.error) = (Some(trouble.code), Some(trouble.error));
        self.turn_back()
    }

    fn turn_back(&mut self) -> Next {
        let (now, run) = (self.look.now, &mut self.run);
        run.state = RunState::Compensating;
        run.job = None;
        run.error = match &run.cancel {
            Some(cancel) => Some(match &cancel.reason {
                Some(reason) => format!("{} cancelled it: {reason}", cancel.by),
                None => format!("{} cancelled it", cancel.by),
            }),
            None => run.steps.iter().rev().find_map(|step| {
                let error = step.error.as_ref()?;
                Some(format!("{}: {error}", step.name))
            }),
        };
        let pending = run.steps.iter_mut();
        for step in pending.filter(|step| step.state == StepState::Pending) {
            (step.state, step.finished_at) = (StepState::Skipped, Some(now));
        }
        Next::Again
    }

    /// Undoes the last step that is not undone yet.
    fn back(&mut self, id: &mut impl FnMut() -> JobId) -> Next {
        let undoing = |state| state == StepState::Compensating;
        if let Some(index) = self.run.steps.iter().position(|step| undoing(step.state)) {
            return self.undoing(index);
        }
        let look = self.look;
        for index in (0..self.run.steps.len()).rev() {
            let step = &self.run.steps[index];
            let there = matches!(step.state, StepState::Done | StepState::Unknown);
            let defined = look.definition.steps.get(index);
            let Some(Does::Task(task)) = defined.map(|step| &step.does) else {
                continue;
            };
            let Some(action) = task.compensation.as_ref().filter(|_| there) else {
                continue;
            };
            self.run.state = RunState::Compensating;
            self.run.steps[index].state = StepState::Compensating;
            let job = self.make(index, Part::Compensation, action, id);
            self.run.steps[index].compensation = job.ok();
            return Next::Wait;
        }
        self.end(RunState::Compensated)
    }

    fn undoing(&mut self, index: usize) -> Next {
        match self.fact.take() {
            None => Next::Wait,
            Some(Fact::Open { .. }) => {
                // A person has run the dead letter again.
                self.run.state = RunState::Compensating;
                Next::Wait
            }
            Some(Fact::Done { .. }) => {
                self.run.job = None;
                self.run.state = RunState::Compensating;
                self.run.steps[index].state = StepState::Compensated;
                Next::Again
            }
            Some(Fact::Dead { error, .. }) => {
                self.run.state = RunState::Failed;
                let name = &self.run.steps[index].name;
                self.run.error = Some(format!("{name} could not be undone: {error}"));
                Next::Wait
            }
            Some(Fact::Cancelled { error, .. }) => {
                self.run.job = None;
                self.run.state = RunState::Compensating;
                self.given_up(index, &error);
                Next::Again
            }
        }
    }

    fn given_up(&mut self, index: usize, error: &str) {
        let step = &mut self.run.steps[index];
        step.state = StepState::Failed;
        step.code = Some("not_undone".to_owned());
        step.error = Some(format!("what undoes it was given up: {error}"));
    }

    fn end(&mut self, state: RunState) -> Next {
        self.run.state = state;
        self.run.job = None;
        self.run.finished_at = Some(self.look.now);
        Next::Wait
    }

    /// A job of this step; its id.
    fn make(
        &mut self,
        index: usize,
        part: Part,
        action: &Action,
        id: &mut impl FnMut() -> JobId,
    ) -> Result<JobId, Trouble> {
        let (look, step) = (self.look, &self.run.steps[index]);
        let data = self.run.data.clone().unwrap_or_default();
        let undo = part == Part::Compensation;
        let missing = match part {
            Part::Step => Missing::Fail,
            // What is known of a step that may not have answered.
            Part::Compensation | Part::Lookup => Missing::Null,
        };
        let input = match &action.input {
            None => data.input.clone(),
            Some(template) => match render(template, &data.known(self.run.id), missing) {
                Ok(input) => input,
                // What undoes a step is tried in any case; if it cannot do without, it says so, and a person sees it.
                Err(_) if undo => Value::Null,
                Err(error) => return Err(Trouble::new("input_unusable", error.to_string())),
            },
        };
        let certainty = match step.uncertain {
            true => Certainty::Unknown,
            false => Certainty::Done,
        };
        let told = SagaTold {
            saga_run_id: self.run.id,
            saga: look.saga.to_owned(),
            version: self.run.version,
            step: step.name.clone(),
            part,
            idempotency_key: key(self.run.id, &step.name, part),
            step_key: key(self.run.id, &step.name, Part::Step),
            outcome: undo.then_some(certainty),
            output: data.outputs.get(&step.name).filter(|_| undo).cloned(),
            input,
        };
        let id = id();
        self.run.job = Some(id);
        self.made = Some(Made {
            id,
            action: action.clone(),
            told,
            run_at: self.not_before.filter(|at| *at > look.now),
        });
        Ok(id)
    }
}
