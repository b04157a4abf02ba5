//! A dry run: what built-in handlers would change for the first of the selected events, as the database is now. Run in a
//! transaction that only reads: whatever a handler does, nothing is changed.

use mainstay_domain::{
    BindingId, Clock, EventId, JobId, Scope, Store, StoreExt, StoreResult, TenantId, Tx,
    intake::Event,
    jobs::{EventBody, JobBody},
};

use super::{
    Request,
    walk::{Goal, Ground, PAGE, Place},
};
use crate::{
    intake::BuiltinQueues,
    jobs::{BuiltinHandlers, Effect, HandlerError},
};

/// Events that a dry run tries.
pub const DRY_MAX: i64 = 100;
/// Events that are read to find them.
const SEEN_MAX: i64 = 2_000;

/// What a dry run found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DryRun {
    /// Events that were tried, oldest first.
    pub events: i64,
    /// Whether there are more of them.
    pub more: bool,
    /// What each job would do.
    pub jobs: Vec<DryJob>,
}

/// What one job would do.
#[derive(Debug, Clone, PartialEq)]
pub struct DryJob {
    /// The event.
    pub event: EventId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its type.
    pub event_kind: String,
    /// The binding; none: the endpoint that was chosen.
    pub binding: Option<BindingId>,
    /// The name of the binding or of the endpoint.
    pub name: String,
    /// The job's kind.
    pub kind: String,
    /// What would come of it.
    pub outcome: DryOutcome,
}

/// What would come of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum DryOutcome {
    /// These rows would be as they say.
    Effects(Vec<Effect>),
    /// The handler would fail: a code and a sentence.
    Failure(String, String),
    /// Nobody can tell: it leaves the process, or its handler does not say.
    Untold,
}

/// Tries the first of the selected events.
pub async fn dry_run(
    store: &dyn Store,
    clock: &dyn Clock,
    builtin: &BuiltinQueues,
    handlers: &BuiltinHandlers,
    scope: Scope,
    request: Request,
) -> StoreResult<DryRun> {
    let request = request.in_scope(store, scope, clock.now()).await?;
    let (builtin, handlers) = (builtin.clone(), handlers.clone());
    store
        .read(scope, move |tx| {
            let (request, builtin, handlers) = (request.clone(), builtin.clone(), handlers.clone());
            Box::pin(async move { dry_run_in(tx, &builtin, &handlers, &request).await })
        })
        .await
}

async fn dry_run_in(
    tx: &mut dyn Tx,
    builtin: &BuiltinQueues,
    handlers: &BuiltinHandlers,
    request: &Request,
) -> StoreResult<DryRun> {
    let ground = Ground::load(tx, builtin, request.target).await?;
    let (terms, mut place) = (&request.terms, Place::default());
    let (mut dry, mut seen) = (DryRun::default(), 0);
    while let Some(page) = place.next(tx, &terms.filter, PAGE).await? {
        // A tenant without events counts as well.
        seen += page.seen.max(1);
        let goals = ground.goals(tx, &page.events, terms.skip_done).await?;
        for (event, goals) in page.events.iter().zip(&goals) {
            if dry.events >= DRY_MAX {
                dry.more = true;
                return Ok(dry);
            }
            dry.events += 1;
            for goal in goals.iter().filter(|goal| !(goal.done && terms.skip_done)) {
                let outcome = outcome(tx, handlers, event, goal).await?;
                dry.jobs.push(DryJob {
                    event: event.id,
                    tenant: event.tenant,
                    event_kind: event.kind.clone(),
                    binding: goal.binding,
                    name: goal.name.to_owned(),
                    kind: goal.kind.to_owned(),
                    outcome,
                });
            }
        }
        place.pass(&page);
        if seen >= SEEN_MAX {
            dry.more = place.more(tx, &terms.filter).await?;
            break;
        }
    }
    Ok(dry)
}

async fn outcome(
    tx: &mut dyn Tx,
    handlers: &BuiltinHandlers,
    event: &Event,
    goal: &Goal<'_>,
) -> StoreResult<DryOutcome> {
    let Some(handler) = handlers.get(goal.kind) else {
        return Ok(DryOutcome::Untold);
    };
    let Some(payload) = tx.event_payload(event.id).await? else {
        return Ok(DryOutcome::Untold);
    };
    let job = JobBody {
        tenant: event.tenant,
        job: JobId::NIL,
        kind: goal.kind.to_owned(),
        event: Some(EventBody {
            id: event.id,
            provider_id: event.provider_id.clone(),
            kind: event.kind.clone(),
            source_name: event.source_name.clone(),
            received_at: event.received_at,
            occurred_at: event.occurred_at,
            payload,
            receipt: event.receipt,
            headers: None,
        }),
        endpoint: None,
        payload: None,
        deadline: None,
        retry: None,
        created_at: event.received_at,
    };
    match handler.effects(tx, &job).await {
        Ok(Some(effects)) => Ok(DryOutcome::Effects(effects)),
        Ok(None) => Ok(DryOutcome::Untold),
        Err(HandlerError::Failure(failure)) => Ok(DryOutcome::Failure(failure.code, failure.error)),
        Err(HandlerError::Store(error)) => Err(error),
    }
}
