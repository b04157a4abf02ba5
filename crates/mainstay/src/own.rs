//! Mainstay's own events: what a person must be told, as events of the source `mainstay` that can be bound to any
//! endpoint like a provider's. The engine appends them in the transaction of what they tell.

use std::sync::Arc;

use mainstay_domain::{
    Clock, StoreResult,
    intake::{Arrival, OWN_SOURCE},
    jobs::{DeadLetter, breaker::Told},
    sagas::{RunState, SagaRun, StepState},
};
use serde_json::json;

use crate::{
    intake::Intake,
    jobs::{Announcement, Announcer},
};

/// A job died.
pub const DEAD_LETTER: &str = "dead_letter.created";
/// An endpoint's breaker opened.
pub const ENDPOINT_DOWN: &str = "endpoint.down";
/// An endpoint's breaker closed again.
pub const ENDPOINT_UP: &str = "endpoint.up";

/// A run of a saga could not be taken back.
pub const SAGA_FAILED: &str = "saga.failed";
/// A run of a saga waits for a person.
pub const SAGA_WAITING: &str = "saga.waiting";

/// Turns what the engine announces into own events.
pub(crate) struct Own {
    pub(crate) intake: Arc<Intake>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait::async_trait]
impl Announcer for Own {
    fn config_version(&self) -> Option<i64> {
        Some(self.intake.config_version())
    }

    async fn refresh(&self) -> StoreResult<()> {
        self.intake.refresh().await
    }

    fn announce(&self, what: &Announcement) -> Option<Arrival> {
        match what {
            Announcement::Dead(letter) => self.dead(letter),
            Announcement::Breaker {
                endpoint,
                told,
                at,
                error,
            } => {
                let endpoint = self.intake.endpoint_known(*endpoint)?;
                let kind = match told {
                    Told::Down => ENDPOINT_DOWN,
                    Told::Up => ENDPOINT_UP,
                };
                let payload = json!({
                    "type": kind,
                    "endpoint_id": endpoint.id,
                    "endpoint_name": endpoint.name,
                    "error": error,
                });
                let unique = format!("{kind}:{}:{}", endpoint.id, at.micros());
                self.intake
                    .own_event(kind, &unique, endpoint.tenant, &payload, self.clock.now())
            }
            Announcement::Run { run, saga } => self.run(run, saga),
        }
    }
}

impl Own {
    /// A dead letter is told of only where a binding listens, and never when it was itself the telling: a dead
    /// listener must not make events about itself without end.
    fn dead(&self, letter: &DeadLetter) -> Option<Arrival> {
        if letter.event_kind.as_deref().is_some_and(is_own)
            || !self.intake.own_wanted(DEAD_LETTER, letter.tenant)
        {
            return None;
        }
        let payload = json!({
            "type": DEAD_LETTER,
            "job_id": letter.job,
            "kind": letter.kind,
            "endpoint_id": letter.endpoint,
            "event_id": letter.event,
            "event_type": letter.event_kind,
            "category": letter.category,
            "code": letter.code,
            "error": letter.error,
            "status": letter.status,
        });
        let unique = format!("{DEAD_LETTER}:{}:{}", letter.job, letter.attempt);
        self.intake.own_event(
            DEAD_LETTER,
            &unique,
            letter.tenant,
            &payload,
            self.clock.now(),
        )
    }

    /// Told of only where a binding listens.
    fn run(&self, run: &SagaRun, saga: &str) -> Option<Arrival> {
        let kind = match run.state {
            RunState::Failed => SAGA_FAILED,
            _ => SAGA_WAITING,
        };
        if !self.intake.own_wanted(kind, run.tenant) {
            return None;
        }
        let needs = [StepState::Compensating, StepState::Running];
        let step = run.steps.iter().find(|step| needs.contains(&step.state));
        let payload = json!({
            "type": kind,
            "saga_run_id": run.id,
            "saga_id": run.saga,
            "saga": saga,
            "key": run.key,
            "step": step.map(|step| &step.name),
            "error": run.error,
        });
        let unique = format!("{kind}:{}:{}", run.id, run.revision);
        let now = self.clock.now();
        self.intake
            .own_event(kind, &unique, run.tenant, &payload, now)
    }
}

fn is_own(kind: &str) -> bool {
    [
        DEAD_LETTER,
        ENDPOINT_DOWN,
        ENDPOINT_UP,
        SAGA_FAILED,
        SAGA_WAITING,
    ]
    .contains(&kind)
}

/// The name of the source of own events.
pub const SOURCE: &str = OWN_SOURCE;
