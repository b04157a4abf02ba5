//! Waiting events: acknowledged and kept, but nobody knows yet whose they are. The platform's alone.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use mainstay_domain::{
    EventId, SourceId, StoreExt, StoreResult, TenantId, Tx,
    intake::links::{WaitingEvent, WaitingFilter},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    events::{Arrived, EventReceipt, as_attachment},
    page::{Cursor, Page, limit, page},
    resolve,
    sources::LinkValue,
};
use crate::{
    access::{Caller, reads::InTenant},
    http::{
        Problem,
        extract::{Id, Params},
        text::Text,
    },
    limits,
    state::App,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(waiting_list))
        .routes(routes!(waiting_get))
        .routes(routes!(waiting_payload))
}

/// An event whose tenant is not known yet. It keeps its id when it becomes known.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WaitingEvent)]
pub(crate) struct WaitingView {
    #[schema(value_type = String)]
    id: EventId,
    #[schema(value_type = String)]
    source_id: SourceId,
    source_name: String,
    /// The provider's own id.
    provider_id: String,
    /// The provider's type, e.g. `invoice.paid`.
    #[serde(rename = "type")]
    kind: String,
    received_at: Time,
    /// When the provider says that it happened.
    occurred_at: Option<Time>,
    payload_bytes: i64,
    /// How often the provider delivered it.
    deliveries: i64,
    /// The values that its tenant was looked for by: a link of any of them assigns it. One empty value: none was found.
    values: Vec<String>,
}

impl From<WaitingEvent> for WaitingView {
    fn from(event: WaitingEvent) -> Self {
        Self {
            id: event.id,
            source_id: event.source,
            source_name: event.source_name,
            provider_id: event.provider_id,
            kind: event.kind,
            received_at: event.received_at.into(),
            occurred_at: event.occurred_at.map(Into::into),
            payload_bytes: event.payload_bytes,
            deliveries: event.deliveries,
            values: event.values,
        }
    }
}

/// A waiting event with everything that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WaitingEventDetail {
    #[serde(flatten)]
    event: WaitingView,
    /// The payload, where it is JSON and not too large to show; numbers exactly as they came.
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// The payload, where it is text but no JSON and not too large to show.
    payload_text: Option<String>,
    /// The headers of the request that brought it first, without credentials.
    headers: BTreeMap<String, String>,
    /// The requests that brought it, oldest first.
    receipts: Vec<EventReceipt>,
}

/// Which waiting events.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitingQuery {
    /// A source's name or id.
    #[param(inline)]
    source: Option<Text<100>>,
    /// Only those that wait for this value.
    #[param(inline)]
    value: Option<LinkValue>,
    /// Where the last page ended: its `next_cursor`.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
}

/// List events that wait for their tenant, newest first
#[utoipa::path(get, path = "/v1/waiting-events", tag = "intake", params(WaitingQuery),
    responses((status = 200, body = Page<WaitingView>)))]
async fn waiting_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<WaitingQuery>,
) -> Result<Json<Page<WaitingView>>, Problem> {
    caller.everywhere()?;
    let limit = limit(query.limit)?;
    let cursor = Cursor::parse(query.cursor.as_deref())?;
    let filter = WaitingFilter {
        source: resolve::source_filter(&app, &caller, query.source).await?,
        value: query.value.map(Into::into),
        before: cursor.map(|cursor| EventId::from_uuid(cursor.id)),
    };
    let rows = app
        .store
        .read(caller.scope(), move |tx| {
            let filter = filter.clone();
            Box::pin(async move { tx.waiting_list(&filter, limit + 1).await })
        })
        .await?;
    let position = |event: &WaitingEvent| Cursor {
        at: event.received_at,
        id: event.id.uuid(),
    };
    Ok(Json(page(rows, limit, position, WaitingView::from)))
}

/// Show an event that waits for its tenant
#[utoipa::path(get, path = "/v1/waiting-events/{id}", tag = "intake",
    params(("id" = String, Path, description = "`evt_…`")), responses((status = 200, body = WaitingEventDetail)))]
async fn waiting_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<EventId>,
) -> Result<(Option<Extension<InTenant>>, Json<WaitingEventDetail>), Problem> {
    caller.everywhere()?;
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move { detail(tx, id).await })
        })
        .await?;
    let (tenant, found) = found.ok_or_else(|| Problem::not_found("waiting event"))?;
    Ok((in_tenant(tenant), Json(found)))
}

/// Nobody knows yet whose it is: it is the source's tenant that was looked at, where there is the source.
fn in_tenant(tenant: Option<TenantId>) -> Option<Extension<InTenant>> {
    tenant.map(|tenant| Extension(InTenant(tenant)))
}

/// With the source's tenant.
async fn detail(
    tx: &mut dyn Tx,
    id: EventId,
) -> StoreResult<Option<(Option<TenantId>, WaitingEventDetail)>> {
    let Some(event) = tx.waiting_get(id).await? else {
        return Ok(None);
    };
    let payload = tx.waiting_payload(id).await?;
    let receipts = tx.waiting_receipts(id, limits::EVENT_RECEIPTS_MAX).await?;
    let source = tx.source_get(event.source).await?;
    let arrived = Arrived::of(payload, receipts, source.as_ref())?;
    let detail = WaitingEventDetail {
        event: event.into(),
        payload: arrived.payload,
        payload_text: arrived.payload_text,
        headers: arrived.headers,
        receipts: arrived.receipts,
    };
    Ok(Some((source.map(|source| source.tenant), detail)))
}

/// The payload of a waiting event, byte by byte as it came
#[utoipa::path(get, path = "/v1/waiting-events/{id}/payload", tag = "intake",
    params(("id" = String, Path, description = "`evt_…`")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
async fn waiting_payload(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<EventId>,
) -> Result<Response, Problem> {
    caller.everywhere()?;
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                let Some(event) = tx.waiting_get(id).await? else {
                    return Ok(None);
                };
                let source = tx.source_get(event.source).await?;
                let payload = tx.waiting_payload(id).await?;
                Ok(payload.map(|payload| (source.map(|source| source.tenant), payload)))
            })
        })
        .await?;
    let (tenant, payload) = found.ok_or_else(|| Problem::not_found("waiting event"))?;
    Ok((in_tenant(tenant), as_attachment(&payload)?).into_response())
}
