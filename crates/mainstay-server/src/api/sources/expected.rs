//! Expected events: what did not come after what it must follow.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay_domain::{
    EventId, ExpectationId, SourceId, StoreExt, TenantId,
    intake::expect::{ExpectState, ExpectTally, Expectation},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    access::{
        Caller,
        audit::in_tenant,
        idempotency::{Done, write},
    },
    api::page::{Cursor, Page, limit, page},
    http::{
        Problem,
        extract::{Id, Input, Params},
        text::ExpectationIdText,
    },
    state::App,
    time::Time,
};

/// Expected events that can be named at once.
const IDS_MAX: usize = 200;

/// How an expected event stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ExpectedState {
    /// It did not come in time, and nobody has acknowledged that.
    #[default]
    Missing,
    /// It did not come in time.
    All,
    /// It may still come in time.
    Waiting,
}

/// An event that must follow another.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExpectedEvent)]
pub(crate) struct ExpectedView {
    #[schema(value_type = String)]
    id: ExpectationId,
    /// The tenant of the event that began it.
    #[schema(value_type = String)]
    tenant_id: TenantId,
    /// The name of the source's rule.
    rule: String,
    /// The key of the object.
    object: String,
    /// The event that began it.
    #[schema(value_type = String)]
    event_id: EventId,
    /// The type that must come.
    expected_type: String,
    /// When the event that began it was received.
    began_at: Time,
    /// Until when the other should have come.
    due_at: Time,
    /// When somebody had seen to it; null: nobody yet.
    acknowledged_at: Option<Time>,
    /// Who.
    acknowledged_by: Option<String>,
}

impl From<Expectation> for ExpectedView {
    fn from(one: Expectation) -> Self {
        Self {
            id: one.id,
            tenant_id: one.tenant,
            rule: one.rule,
            object: one.object,
            event_id: one.event,
            expected_type: one.wanted,
            began_at: one.began_at.into(),
            due_at: one.due_at.into(),
            acknowledged_at: one.acknowledged_at.map(Into::into),
            acknowledged_by: one.acknowledged_by,
        }
    }
}

/// Which expected events.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExpectedQuery {
    /// How they stand.
    #[param(inline)]
    state: ExpectedState,
    /// Where the last page ended: its `next_cursor`.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
}

/// List expected events that did not come, newest first
///
/// By the rules in the source's `settings.expect`. One that comes late is listed no more.
#[utoipa::path(get, path = "/v1/sources/{id}/expected", tag = "intake",
    params(("id" = String, Path, description = "`src_…`"), ExpectedQuery),
    responses((status = 200, body = Page<ExpectedView>)))]
pub(super) async fn source_expected_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    Params(query): Params<ExpectedQuery>,
) -> Result<Json<Page<ExpectedView>>, Problem> {
    let limit = limit(query.limit)?;
    let cursor = Cursor::parse(query.cursor.as_deref())?;
    let before = cursor.map(|cursor| ExpectationId::from_uuid(cursor.id));
    let state = match query.state {
        ExpectedState::Missing => ExpectState::Missing,
        ExpectedState::All => ExpectState::MissingAll,
        ExpectedState::Waiting => ExpectState::Waiting,
    };
    let rows = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                if tx.source_get(id).await?.is_none() {
                    return Ok(None);
                }
                tx.expect_list(id, state, before, limit + 1).await.map(Some)
            })
        })
        .await?;
    let rows = rows.ok_or_else(|| Problem::not_found("source"))?;
    let position = |one: &Expectation| Cursor {
        at: one.began_at,
        id: one.id.uuid(),
    };
    Ok(Json(page(rows, limit, position, ExpectedView::from)))
}

/// What became of the expected events of one rule.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExpectedRule)]
pub(crate) struct ExpectedRuleView {
    /// The rule's name.
    rule: String,
    /// Those that may still come, and those that are missing.
    pending: i64,
    /// Came in time.
    fulfilled: i64,
    /// Came after they were found missing.
    late: i64,
    /// Found missing, all in all.
    missed: i64,
    /// Not watched, since there were more than 20000 of the rule and a tenant at once.
    overflowed: i64,
}

impl From<ExpectTally> for ExpectedRuleView {
    fn from(one: ExpectTally) -> Self {
        Self {
            rule: one.rule,
            pending: one.pending,
            fulfilled: one.fulfilled,
            late: one.late,
            missed: one.missed,
            overflowed: one.overflowed,
        }
    }
}

/// What became of a source's expected events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExpectedRules {
    /// By rule; one of which no event has come yet is left out, one that is removed may still be here.
    rules: Vec<ExpectedRuleView>,
}

/// Show what became of a source's expected events
#[utoipa::path(get, path = "/v1/sources/{id}/expected/rules", tag = "intake",
    params(("id" = String, Path, description = "`src_…`")), responses((status = 200, body = ExpectedRules)))]
pub(super) async fn source_expected_rules(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
) -> Result<Json<ExpectedRules>, Problem> {
    let read = app.store.read(caller.scope(), move |tx| {
        Box::pin(async move {
            if tx.source_get(id).await?.is_none() {
                return Ok(None);
            }
            tx.expect_tallies(id).await.map(Some)
        })
    });
    let tallies = read.await?.ok_or_else(|| Problem::not_found("source"))?;
    let rules = tallies.into_iter().map(Into::into).collect();
    Ok(Json(ExpectedRules { rules }))
}

/// Which missing events were seen to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedAcknowledgement {
    /// Exactly these. Left out: all that nobody has acknowledged yet.
    #[schema(value_type = Option<Vec<ExpectationIdText>>, min_items = 1, max_items = 200)]
    ids: Option<Vec<ExpectationId>>,
}

/// What became of an acknowledgement of missing events.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExpectedAcknowledged {
    /// Missing events that nobody had acknowledged before.
    acknowledged: i64,
}

/// Acknowledge expected events that did not come
#[utoipa::path(post, path = "/v1/sources/{id}/expected/acknowledge", tag = "intake",
    request_body = ExpectedAcknowledgement,
    params(("id" = String, Path, description = "`src_…`")), responses((status = 200, body = ExpectedAcknowledged)))]
pub(super) async fn source_expected_acknowledge(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    input: Input<ExpectedAcknowledgement>,
) -> Result<Response, Problem> {
    let named = input.value.ids;
    if named
        .as_ref()
        .is_some_and(|ids| !(1..=IDS_MAX).contains(&ids.len()))
    {
        let words = format!("must have 1 to {IDS_MAX} items");
        return Err(Problem::field("/ids", words));
    }
    let ids = Arc::new(named.unwrap_or_default());
    let now = app.clock.now();
    let told = caller.audit(&app, "source.expected.acknowledge", id, None, None);
    let by = told.actor.clone();
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (ids, told, by) = (Arc::clone(&ids), told.clone(), by.clone());
        Box::pin(async move {
            let Some(source) = tx.source_get(id).await? else {
                return Ok(Err(Problem::not_found("source")));
            };
            let acknowledged = tx.expect_acknowledge(id, &ids, now, &by).await?;
            tx.audit_insert(&in_tenant(told, source.tenant)).await?;
            Done::json(StatusCode::OK, &ExpectedAcknowledged { acknowledged }).map(Ok)
        })
    })
    .await?;
    app.mainstay.samples.changed("source", &[id]);
    Ok(done)
}
