//! Replay: events that are kept are given to bindings once more. First the plan, then the jobs.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use mainstay::intake::replay;
use mainstay_domain::{BindingId, EventId, ReplayId, TenantId, intake::EventFilter};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{events::EventStatusName, resolve};
use crate::{
    access::{
        Caller,
        idempotency::{Done, write},
    },
    http::{
        Problem,
        extract::{Checks, Input},
        text::{EventIdText, Name, Text},
    },
    limits,
    state::App,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(replay_create))
}

/// Which events.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReplaySelection {
    /// Exactly these; of the rest only what they match as well.
    #[schema(value_type = Option<Vec<EventIdText>>, min_items = 1, max_items = 1000)]
    event_ids: Option<Vec<EventId>>,
    /// A source's name or id.
    source: Option<Text<100>>,
    /// A type; with a trailing `*` all that begin so.
    #[serde(rename = "type")]
    #[schema(value_type = Option<Name<200>>)]
    kind: Option<String>,
    status: Option<EventStatusName>,
    /// Received at or after.
    from: Option<Time>,
    /// Received before.
    to: Option<Time>,
    /// A tenant's id or slug.
    tenant: Option<Text<100>>,
}

/// A replay to plan or to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayRequest {
    selection: ReplaySelection,
    /// The one binding that the events go to, whatever its types and filter. Left out: every enabled one of their source
    /// that matches.
    #[schema(value_type = Option<String>, pattern = "^bnd_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    binding_id: Option<BindingId>,
    /// Only say what would happen.
    plan: bool,
}

/// What would happen, or what happened.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct ReplayAnswer {
    /// Events selected.
    events: i64,
    /// Jobs to make, or made.
    jobs: i64,
    /// In a plan: selected events whose jobs are all done already.
    already_done: Option<i64>,
    /// In a plan: the bindings that make the jobs.
    binding_names: Option<Vec<String>>,
    /// In a plan: whether there are more events than one replay may take.
    truncated: Option<bool>,
    /// The first replay that was made.
    #[schema(value_type = Option<String>)]
    replay_id: Option<ReplayId>,
    /// All replays that were made: one for each tenant.
    #[schema(value_type = Option<Vec<String>>)]
    replay_ids: Option<Vec<ReplayId>>,
}

/// Replay events, or plan it
///
/// A replay makes jobs of its own beside those that there were. It takes at most 10,000 events.
#[utoipa::path(post, path = "/v1/replays", tag = "intake", request_body = ReplayRequest, responses(
    (status = 200, description = "The plan", body = ReplayAnswer),
    (status = 202, description = "The jobs are made", body = ReplayAnswer),
))]
async fn replay_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<ReplayRequest>,
) -> Result<Response, Problem> {
    let ReplayRequest {
        selection,
        binding_id,
        plan,
    } = input.value;
    let request = replay::Request {
        filter: filter(&app, &caller, selection).await?,
        binding: binding_id,
        by: caller.actor(),
    };
    if plan {
        let plan = replay::plan(&*app.store, caller.scope(), request).await?;
        return Ok(Json(planned(plan)).into_response());
    }
    let what = serde_json::json!({ "binding_id": binding_id });
    let (now, tenant) = (app.clock.now(), request.filter.tenant);
    let told = caller.audit(&app, "event.replay", "", Some(what), tenant);
    let (random, builtin) = (Arc::clone(&app.random), Arc::clone(&app.mainstay.builtin));
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (request, told) = (request.clone(), told.clone());
        let (random, builtin) = (Arc::clone(&random), Arc::clone(&builtin));
        Box::pin(async move {
            let replays = replay::run_in(tx, now, &*random, &builtin, &request).await?;
            let answer = ReplayAnswer {
                events: replays.iter().map(|replay| replay.events).sum(),
                jobs: replays.iter().map(|replay| replay.jobs).sum(),
                replay_id: replays.first().map(|replay| replay.id),
                replay_ids: Some(replays.iter().map(|replay| replay.id).collect()),
                ..ReplayAnswer::default()
            };
            let subject = answer
                .replay_id
                .map(|id| id.to_string())
                .unwrap_or_default();
            tx.audit_insert(&mainstay_domain::access::AuditEntry { subject, ..told })
                .await?;
            Done::json(StatusCode::ACCEPTED, &answer).map(Ok)
        })
    })
    .await?;
    app.store.wake();
    Ok(done)
}

fn planned(plan: replay::Plan) -> ReplayAnswer {
    ReplayAnswer {
        events: plan.events,
        jobs: plan.jobs,
        already_done: Some(plan.already_done),
        binding_names: Some(plan.bindings),
        truncated: Some(plan.truncated),
        ..ReplayAnswer::default()
    }
}

async fn filter(
    app: &App,
    caller: &Caller,
    selection: ReplaySelection,
) -> Result<EventFilter, Problem> {
    let mut checks = Checks::default();
    // An empty list means none of them, and must not mean all.
    checks.ensure(
        selection
            .event_ids
            .as_ref()
            .is_none_or(|ids| !ids.is_empty()),
        "/selection/event_ids",
        "is empty",
    );
    let ids = selection.event_ids.unwrap_or_default();
    let few = ids.len() <= limits::SELECTION_IDS_MAX;
    checks.ensure(
        few,
        "/selection/event_ids",
        &format!("has more than {} ids", limits::SELECTION_IDS_MAX),
    );
    if let Some(kind) = &selection.kind {
        checks.text("/selection/type", kind, 200);
    }
    let tenant: Option<TenantId> =
        resolve::tenant_filter(app, caller, selection.tenant.as_deref()).await?;
    checks.done()?;
    Ok(EventFilter {
        tenant,
        source: resolve::source_filter(app, caller, selection.source).await?,
        kind: selection.kind,
        status: selection.status.map(Into::into),
        violates: false,
        provider_id: None,
        ids,
        from: selection.from.map(|time| time.0),
        to: selection.to.map(|time| time.0),
        before: None,
    })
}
