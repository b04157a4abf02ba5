//! Drift: what a source's events began to say that they never said before.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay_domain::{
    DriftId, EventId, SourceId, StoreExt,
    intake::drift::{Drift, DriftKind},
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
        text::DriftIdText,
    },
    state::App,
    time::Time,
};

/// Findings that can be named at once.
const IDS_MAX: usize = 200;

/// What is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DriftKind)]
pub(crate) enum DriftKindName {
    /// A type of events that never came before.
    NewType,
    /// A field that no event of the type had before.
    NewField,
    /// A field that has another JSON type than it ever had before.
    FieldType,
    /// Another version of the provider's API.
    ApiVersion,
}

impl From<DriftKind> for DriftKindName {
    fn from(kind: DriftKind) -> Self {
        match kind {
            DriftKind::NewType => Self::NewType,
            DriftKind::NewField => Self::NewField,
            DriftKind::FieldType => Self::FieldType,
            DriftKind::ApiVersion => Self::ApiVersion,
        }
    }
}

/// Something that a source's events began to say.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Drift)]
pub(crate) struct DriftView {
    #[schema(value_type = String)]
    id: DriftId,
    /// The type of the events.
    event_type: String,
    kind: DriftKindName,
    /// The field: a JSON pointer with `*` for every place of a list; empty where it is about the whole.
    path: String,
    /// What was known before; empty: nothing.
    before: String,
    /// What came.
    after: String,
    /// An event that has it.
    #[schema(value_type = String)]
    event_id: EventId,
    found_at: Time,
    /// When somebody had seen it; null: nobody yet.
    acknowledged_at: Option<Time>,
    /// Who.
    acknowledged_by: Option<String>,
}

impl From<Drift> for DriftView {
    fn from(drift: Drift) -> Self {
        Self {
            id: drift.id,
            event_type: drift.event_type,
            kind: drift.finding.kind.into(),
            path: drift.finding.path,
            before: drift.finding.before,
            after: drift.finding.after,
            event_id: drift.event,
            found_at: drift.found_at.into(),
            acknowledged_at: drift.acknowledged_at.map(Into::into),
            acknowledged_by: drift.acknowledged_by,
        }
    }
}

/// Which findings.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DriftQuery {
    /// Those as well that somebody acknowledged.
    all: bool,
    /// Where the last page ended: its `next_cursor`.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
}

/// List what a source's events began to say, newest first
///
/// New types, new fields, fields of another JSON type, and other versions of the provider's API. The first day, and the
/// first 20 events of a type, are learned from and nothing is found in them.
#[utoipa::path(get, path = "/v1/sources/{id}/drift", tag = "intake",
    params(("id" = String, Path, description = "`src_…`"), DriftQuery),
    responses((status = 200, body = Page<DriftView>)))]
pub(super) async fn source_drift_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    Params(query): Params<DriftQuery>,
) -> Result<Json<Page<DriftView>>, Problem> {
    let limit = limit(query.limit)?;
    let cursor = Cursor::parse(query.cursor.as_deref())?;
    let before = cursor.map(|cursor| DriftId::from_uuid(cursor.id));
    let all = query.all;
    let rows = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                let Some(source) = tx.source_get(id).await? else {
                    return Ok(None);
                };
                let rows = tx.drift_list(source.tenant, id, all, before, limit + 1);
                rows.await.map(Some)
            })
        })
        .await?;
    let rows = rows.ok_or_else(|| Problem::not_found("source"))?;
    let position = |drift: &Drift| Cursor {
        at: drift.found_at,
        id: drift.id.uuid(),
    };
    Ok(Json(page(rows, limit, position, DriftView::from)))
}

/// Which findings were seen.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acknowledgement {
    /// Exactly these. Left out: all that nobody has acknowledged yet.
    #[schema(value_type = Option<Vec<DriftIdText>>, min_items = 1, max_items = 200)]
    ids: Option<Vec<DriftId>>,
}

/// What became of an acknowledgement.
#[derive(Serialize, ToSchema)]
pub(crate) struct Acknowledged {
    /// Findings that nobody had acknowledged before.
    acknowledged: i64,
}

/// Acknowledge what a source's events began to say
#[utoipa::path(post, path = "/v1/sources/{id}/drift/acknowledge", tag = "intake", request_body = Acknowledgement,
    params(("id" = String, Path, description = "`src_…`")), responses((status = 200, body = Acknowledged)))]
pub(super) async fn source_drift_acknowledge(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    input: Input<Acknowledgement>,
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
    let told = caller.audit(&app, "source.drift.acknowledge", id, None, None);
    let by = told.actor.clone();
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (ids, told, by) = (Arc::clone(&ids), told.clone(), by.clone());
        Box::pin(async move {
            let Some(source) = tx.source_get(id).await? else {
                return Ok(Err(Problem::not_found("source")));
            };
            let seen = tx.drift_acknowledge(source.tenant, id, &ids, now, &by);
            let acknowledged = seen.await?;
            tx.audit_insert(&in_tenant(told, source.tenant)).await?;
            Done::json(StatusCode::OK, &Acknowledged { acknowledged }).map(Ok)
        })
    })
    .await?;
    app.mainstay.samples.changed("source", &[id]);
    Ok(done)
}
