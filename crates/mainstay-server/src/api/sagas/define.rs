//! The definition of a saga as a person writes it, and as it is shown: endpoints and queues by their names.

use std::collections::HashMap;

use mainstay::{intake::DELIVER, jobs::Handler};
use mainstay_domain::{
    EndpointId, StoreExt, StoreResult, TenantId, Tx,
    jobs::QueueNumber,
    sagas::{Action, Definition, Does, Step, Task},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    access::Caller,
    api::{jobs::is_kind, resolve, retry::Retry},
    http::{Problem, extract::Checks, text::Text},
    state::App,
};

/// What a job of a saga does. Where it goes is named by `endpoint`, or by `queue` and `kind`, or by a built-in `kind` alone.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SagaActionInput)]
pub(crate) struct ActionInput {
    /// Push it to this endpoint, by its id or name.
    endpoint: Option<Text<100>>,
    /// Let it wait here for a worker.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    queue: Option<String>,
    /// What the worker is to do; or a built-in kind.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,99}$")]
    kind: Option<String>,
    /// Its input: JSON in which `{"$": "/input/…"}`, `{"$": "/steps/NAME/…"}` and `{"$": "/run/id"}` stand for what the run
    /// was begun with, what came of an earlier step, and the run. Left out: what the run was begun with.
    #[schema(value_type = Option<Value>)]
    input: Option<Value>,
    /// Left out: the endpoint's, else the queue's.
    retry: Option<Retry>,
}

/// That a person is asked.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalInput {
    /// How long they are waited for; then it counts as rejected. Left out: for ever.
    #[schema(minimum = 1, maximum = 7776000)]
    deadline_secs: Option<i64>,
}

/// One step: what it does, or `approval`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SagaStepInput)]
pub(crate) struct StepInput {
    /// Unique in the saga.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    name: String,
    /// Push it to this endpoint, by its id or name.
    endpoint: Option<Text<100>>,
    /// Let it wait here for a worker.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    queue: Option<String>,
    /// What the worker is to do; or a built-in kind.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,99}$")]
    kind: Option<String>,
    /// Its input: JSON in which `{"$": "/input/…"}`, `{"$": "/steps/NAME/…"}` and `{"$": "/run/id"}` stand for what the run
    /// was begun with, what came of an earlier step, and the run. Left out: what the run was begun with.
    #[schema(value_type = Option<Value>)]
    input: Option<Value>,
    /// Left out: the endpoint's, else the queue's.
    retry: Option<Retry>,
    /// How long it may take with all its tries. Left out: as long as its retries last.
    #[schema(minimum = 1, maximum = 7776000)]
    timeout_secs: Option<i64>,
    /// What undoes it.
    compensation: Option<ActionInput>,
    /// What is asked when nobody knows whether it was done. It answers `{"done": true, "output": …}` or `{"done": false}`.
    lookup: Option<ActionInput>,
    /// It waits for a person, who approves or rejects.
    approval: Option<ApprovalInput>,
}

/// Steps as they were asked for, on their way to a definition.
pub(super) struct Reading<'a> {
    app: &'a App,
    caller: &'a Caller,
    tenant: TenantId,
    checks: Checks,
}

/// The definition that these steps make.
pub(super) async fn definition(
    app: &App,
    caller: &Caller,
    tenant: TenantId,
    steps: Vec<StepInput>,
) -> Result<Definition, Problem> {
    let mut reading = Reading {
        app,
        caller,
        tenant,
        checks: Checks::default(),
    };
    let mut read = Vec::new();
    // What is above the bound is refused below.
    let most = mainstay_domain::sagas::definition::STEPS_MAX + 1;
    for (index, step) in steps.into_iter().take(most).enumerate() {
        if let Some(step) = reading.step(step, &format!("/steps/{index}")).await? {
            read.push(step);
        }
    }
    reading.checks.done()?;
    let definition = Definition { steps: read };
    definition
        .check()
        .map_err(|error| Problem::field(error.pointer, error.message))?;
    Ok(definition)
}

impl Reading<'_> {
    async fn step(&mut self, input: StepInput, at: &str) -> Result<Option<Step>, Problem> {
        self.checks.slug(&format!("{at}/name"), &input.name);
        let action = ActionInput {
            endpoint: input.endpoint,
            queue: input.queue,
            kind: input.kind,
            input: input.input,
            retry: input.retry,
        };
        if let Some(approval) = input.approval {
            let alone = action.says_nothing()
                && input.timeout_secs.is_none()
                && input.compensation.is_none()
                && input.lookup.is_none();
            let place = format!("{at}/approval");
            let told = "stands alone: a person is asked, and nothing else is done";
            self.checks.ensure(alone, &place, told);
            return Ok(Some(Step {
                name: input.name,
                does: Does::Approval {
                    deadline_ms: ms(approval.deadline_secs),
                },
            }));
        }
        let action = self.action(action, at).await?;
        let mut parts = [None, None];
        for (part, (name, given)) in parts.iter_mut().zip([
            ("compensation", input.compensation),
            ("lookup", input.lookup),
        ]) {
            if let Some(given) = given {
                *part = self.action(given, &format!("{at}/{name}")).await?;
            }
        }
        let [compensation, lookup] = parts;
        Ok(action.map(|action| Step {
            name: input.name,
            does: Does::Task(Box::new(Task {
                action,
                timeout_ms: ms(input.timeout_secs),
                compensation,
                lookup,
            })),
        }))
    }

    async fn action(&mut self, input: ActionInput, at: &str) -> Result<Option<Action>, Problem> {
        let retry = match &input.retry {
            None => None,
            Some(retry) => match retry.policy(&format!("{at}/retry")) {
                Ok(policy) => Some(policy),
                Err(problem) => {
                    self.checks.below("", problem);
                    None
                }
            },
        };
        let target = self.target(&input, at).await?;
        Ok(target.map(|(kind, endpoint, queue)| Action {
            kind,
            endpoint,
            queue,
            input: input.input,
            retry,
        }))
    }

    async fn target(
        &mut self,
        input: &ActionInput,
        at: &str,
    ) -> Result<Option<(String, Option<EndpointId>, QueueNumber)>, Problem> {
        match (&input.endpoint, &input.queue, &input.kind) {
            (Some(endpoint), None, None) => self.endpoint(endpoint, at).await,
            (None, Some(queue), Some(kind)) => self.worker(queue, kind, at).await,
            (None, None, Some(kind)) => Ok(self.builtin(kind, at)),
            _ => {
                self.checks.fail(
                    format!("{at}/endpoint"),
                    "give one of: endpoint; queue and kind; a built-in kind",
                );
                Ok(None)
            }
        }
    }

    async fn endpoint(
        &mut self,
        asked: &Text<100>,
        at: &str,
    ) -> Result<Option<(String, Option<EndpointId>, QueueNumber)>, Problem> {
        let (asked, tenant) = (asked.clone(), self.tenant);
        let found = self.app.store.read(self.caller.scope(), move |tx| {
            let asked = asked.clone();
            Box::pin(async move { resolve::endpoint(tx, &asked, Some(tenant)).await })
        });
        match found.await?.filter(|endpoint| endpoint.tenant == tenant) {
            Some(endpoint) => Ok(Some((DELIVER.into(), Some(endpoint.id), endpoint.queue))),
            None => {
                let place = format!("{at}/endpoint");
                self.checks
                    .fail(place, "is no endpoint of the saga's tenant");
                Ok(None)
            }
        }
    }

    async fn worker(
        &mut self,
        queue: &str,
        kind: &str,
        at: &str,
    ) -> Result<Option<(String, Option<EndpointId>, QueueNumber)>, Problem> {
        self.checks.slug(&format!("{at}/queue"), queue);
        let named = is_kind(kind) && !self.app.mainstay.builtin.contains_key(kind);
        self.checks.ensure(
            named,
            &format!("{at}/kind"),
            "must be 1 to 100 lower-case letters, digits, '.', '-' or '_', and no built-in kind",
        );
        let mut slug = Checks::default();
        slug.slug("", queue);
        if slug.done().is_err() {
            return Ok(None);
        }
        let place = format!("{at}/queue");
        let desk = &self.app.workers;
        let number = desk.number(self.app, self.caller, queue, &place).await?;
        let builtin = self.app.mainstay.builtin.values().any(|own| *own == number);
        self.checks.ensure(
            !builtin,
            &format!("{at}/queue"),
            "is a queue of built-in jobs: no worker takes what waits there",
        );
        Ok(Some((kind.to_owned(), None, number)))
    }

    fn builtin(
        &mut self,
        kind: &str,
        at: &str,
    ) -> Option<(String, Option<EndpointId>, QueueNumber)> {
        let place = format!("{at}/kind");
        let queue = self.app.mainstay.builtin.get(kind).copied();
        let Some(queue) = queue else {
            self.checks
                .fail(place, "is no built-in kind: give the queue of its workers");
            return None;
        };
        let handler = self.app.mainstay.handlers.get(kind);
        if handler.is_none_or(|handler| Handler::needs_event(&**handler)) {
            self.checks
                .fail(place, "works on events: a binding makes its jobs");
            return None;
        }
        Some((kind.to_owned(), None, queue))
    }
}

impl ActionInput {
    const fn says_nothing(&self) -> bool {
        self.endpoint.is_none()
            && self.queue.is_none()
            && self.kind.is_none()
            && self.input.is_none()
            && self.retry.is_none()
    }
}

fn ms(secs: Option<i64>) -> Option<i64> {
    secs.map(|secs| secs.saturating_mul(1_000))
}

/// The names behind a definition.
pub(super) struct Names {
    queues: HashMap<QueueNumber, String>,
    endpoints: HashMap<EndpointId, String>,
}

impl Names {
    pub(super) async fn load(tx: &mut dyn Tx) -> StoreResult<Self> {
        let endpoints = tx.endpoint_list().await?;
        Ok(Self {
            queues: tx.queue_list().await?.into_iter().collect(),
            endpoints: endpoints
                .into_iter()
                .map(|one| (one.id, one.name))
                .collect(),
        })
    }
}

/// What a job of a saga does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SagaAction)]
pub(crate) struct ActionView {
    /// What is done: a kind of the team's own, a built-in one, or `endpoint.deliver`.
    kind: String,
    #[schema(value_type = Option<String>)]
    endpoint_id: Option<EndpointId>,
    /// Null also of an endpoint that is gone.
    endpoint_name: Option<String>,
    /// Where it waits.
    queue: String,
    /// Null: what the run was begun with.
    #[schema(value_type = Option<Value>)]
    input: Option<Value>,
    /// Null: the endpoint's, else the queue's.
    retry: Option<Retry>,
}

/// One step of a saga.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SagaStep)]
pub(crate) struct StepView {
    name: String,
    /// What it does; null: it waits for a person.
    action: Option<ActionView>,
    /// How long it may take, or a person may think.
    timeout_secs: Option<i64>,
    /// What undoes it.
    compensation: Option<ActionView>,
    /// What is asked when nobody knows whether it was done.
    lookup: Option<ActionView>,
}

impl Names {
    pub(super) fn steps(&self, definition: &Definition) -> Vec<StepView> {
        definition
            .steps
            .iter()
            .map(|step| self.step(step))
            .collect()
    }

    fn step(&self, step: &Step) -> StepView {
        let secs = |ms: Option<i64>| ms.map(|ms| ms / 1_000);
        let name = step.name.clone();
        match &step.does {
            Does::Approval { deadline_ms } => StepView {
                name,
                action: None,
                timeout_secs: secs(*deadline_ms),
                compensation: None,
                lookup: None,
            },
            Does::Task(task) => StepView {
                name,
                action: Some(self.action(&task.action)),
                timeout_secs: secs(task.timeout_ms),
                compensation: task.compensation.as_ref().map(|one| self.action(one)),
                lookup: task.lookup.as_ref().map(|one| self.action(one)),
            },
        }
    }

    fn action(&self, action: &Action) -> ActionView {
        let endpoint = action.endpoint;
        ActionView {
            kind: action.kind.clone(),
            endpoint_id: endpoint,
            endpoint_name: endpoint.and_then(|id| self.endpoints.get(&id).cloned()),
            queue: self.queues.get(&action.queue).cloned().unwrap_or_default(),
            input: action.input.clone(),
            retry: action.retry.as_ref().map(Into::into),
        }
    }
}
