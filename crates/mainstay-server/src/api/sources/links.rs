//! Links: which value of a provider's stands for which tenant, and what waits for a link. The platform's alone.

use std::{collections::HashMap, sync::Arc};

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay_domain::{
    EventId, LinkId, SourceId, StoreExt, StoreResult, TenantId, Timestamp, Tx,
    intake::{
        OWN_SOURCE, Source,
        links::{LINKS_MAX, LinkFilter, SourceLink, VALUE_CHARS_MAX, WaitingValue},
    },
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    access::{
        Caller,
        audit::in_tenant,
        idempotency::{Done, write},
    },
    api::{
        page::{Cursor, Page, limit, page},
        resolve,
    },
    http::{
        Code, Problem,
        extract::{Id, InnerId, Input, NoInput, Params},
        text::Text,
    },
    limits,
    state::App,
    time::Time,
};

/// A value of a provider's, such as `acct_1ABC`. The empty one stands for events in which no value is found.
pub(crate) type LinkValue = Text<VALUE_CHARS_MAX>;

/// A value of a provider's that stands for a tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SourceLink)]
pub(crate) struct LinkView {
    #[schema(value_type = String)]
    id: LinkId,
    /// Empty: for events in which no value is found.
    value: String,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    created_at: Time,
}

impl From<SourceLink> for LinkView {
    fn from(link: SourceLink) -> Self {
        Self {
            id: link.id,
            value: link.value,
            tenant_id: link.tenant,
            created_at: link.created_at.into(),
        }
    }
}

/// A value to link.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLink {
    /// As it stands in the provider's requests. Empty: for events in which no value is found.
    #[schema(value_type = String, max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    value: LinkValue,
    /// The tenant's id or slug.
    #[schema(value_type = String, max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    tenant: Text<100>,
}

/// Values to link, all of them or none.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLinks {
    #[schema(min_items = 1, max_items = 1000)]
    links: Vec<NewLink>,
}

/// What became of values to link.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinksMade {
    /// Those that are new. What waited for them is given to its tenants from now on.
    added: i64,
    /// Those that were linked to the same tenant already.
    known: i64,
}

/// Which links.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LinkQuery {
    /// A tenant's id or slug.
    #[param(inline)]
    tenant: Option<Text<100>>,
    /// Only this value.
    #[param(inline)]
    value: Option<LinkValue>,
    /// Values that begin so.
    #[param(inline)]
    q: Option<LinkValue>,
    /// Where the last page ended: its `next_cursor`.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
}

/// List the links of a source, newest first
#[utoipa::path(get, path = "/v1/sources/{id}/links", tag = "intake",
    params(("id" = String, Path, description = "`src_…`"), LinkQuery),
    responses((status = 200, body = Page<LinkView>)))]
pub(super) async fn source_link_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    Params(query): Params<LinkQuery>,
) -> Result<Json<Page<LinkView>>, Problem> {
    caller.everywhere()?;
    let limit = limit(query.limit)?;
    let cursor = Cursor::parse(query.cursor.as_deref())?;
    let filter = LinkFilter {
        source: id,
        tenant: resolve::tenant_filter(&app, &caller, query.tenant.as_deref()).await?,
        value: query.value.map(Into::into),
        prefix: query.q.map(Into::into),
        before: cursor.map(|cursor| LinkId::from_uuid(cursor.id)),
    };
    let rows = app
        .store
        .read(caller.scope(), move |tx| {
            let filter = filter.clone();
            Box::pin(async move {
                match tx.source_get(id).await? {
                    Some(_) => tx.link_list(&filter, limit + 1).await.map(Some),
                    None => Ok(None),
                }
            })
        })
        .await?;
    let rows = rows.ok_or_else(|| Problem::not_found("source"))?;
    let position = |link: &SourceLink| Cursor {
        at: link.created_at,
        id: link.id.uuid(),
    };
    Ok(Json(page(rows, limit, position, LinkView::from)))
}

/// Link values of a source to tenants
///
/// Events that wait for a value are given to its tenant from now on, oldest first, and their jobs run. A value that is
/// linked to another tenant is refused, and nothing is linked: remove that link first.
#[utoipa::path(post, path = "/v1/sources/{id}/links", tag = "intake", request_body = NewLinks,
    params(("id" = String, Path, description = "`src_…`")), responses((status = 200, body = LinksMade)))]
pub(super) async fn source_link_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    input: Input<NewLinks>,
) -> Result<Response, Problem> {
    caller.everywhere()?;
    let asked = input.value.links;
    if !(1..=limits::LINKS_AT_ONCE_MAX).contains(&asked.len()) {
        let words = format!("must have 1 to {} items", limits::LINKS_AT_ONCE_MAX);
        return Err(Problem::field("/links", words));
    }
    let now = app.clock.now();
    let ids: Vec<LinkId> = asked
        .iter()
        .map(|_| LinkId::new(now, &*app.random))
        .collect();
    let what = serde_json::json!({ "links": asked.len() });
    let told = caller.audit(&app, "source.link.create", id, Some(what), None);
    let asked = Arc::new((asked, ids));
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (asked, told) = (Arc::clone(&asked), told.clone());
        Box::pin(async move {
            let Some(source) = tx.source_get(id).await? else {
                return Ok(Err(Problem::not_found("source")));
            };
            let links = match links(tx, &source, &asked.0, &asked.1, now).await? {
                Ok(links) => links,
                Err(problem) => return Ok(Err(problem)),
            };
            let new = tx.link_insert(&links).await?;
            tx.audit_insert(&in_tenant(told, source.tenant)).await?;
            let added = new.iter().filter(|new| **new).count() as i64;
            let made = LinksMade {
                added,
                known: new.len() as i64 - added,
            };
            Done::json(StatusCode::OK, &made).map(Ok)
        })
    })
    .await?;
    app.configured("source", id).await;
    app.mainstay.intake.assign_soon();
    Ok(done)
}

/// The links that were asked for, or what is wrong with them.
async fn links(
    tx: &mut dyn Tx,
    source: &Source,
    asked: &[NewLink],
    ids: &[LinkId],
    now: Timestamp,
) -> StoreResult<Result<Vec<SourceLink>, Problem>> {
    if source.scheme == OWN_SOURCE {
        let detail = "Mainstay's own source has no links: its events are about a tenant already";
        return Ok(Err(Problem::new(Code::StateConflict, detail)));
    }
    let room = LINKS_MAX - asked.len() as i64;
    if tx.link_count(source.id, room + 1).await? > room {
        let detail = format!("a source has at most {LINKS_MAX} links");
        return Ok(Err(Problem::new(Code::StateConflict, detail)));
    }
    let mut tenants: HashMap<String, TenantId> = HashMap::new();
    for tenant in tx.tenant_list().await? {
        tenants.insert(tenant.id.to_string(), tenant.id);
        tenants.insert(tenant.slug, tenant.id);
    }
    let mut links: Vec<SourceLink> = Vec::with_capacity(asked.len());
    for (place, (one, id)) in asked.iter().zip(ids).enumerate() {
        let Some(tenant) = tenants.get(&*one.tenant).copied() else {
            let detail = format!("/links/{place}/tenant is no tenant's id or slug");
            return Ok(Err(Problem::new(Code::NotFound, detail)));
        };
        links.push(SourceLink {
            id: *id,
            source: source.id,
            value: one.value.to_string(),
            tenant,
            created_at: now,
        });
    }
    Ok(Ok(links))
}

/// Remove a link
///
/// Events that it gave to its tenant stay there. What comes from now on waits.
#[utoipa::path(delete, path = "/v1/sources/{id}/links/{link_id}", tag = "intake",
    params(("id" = String, Path, description = "`src_…`"), ("link_id" = String, Path, description = "`lnk_…`")),
    responses((status = 204, description = "Removed")))]
pub(super) async fn source_link_delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    InnerId(link): InnerId<LinkId>,
    input: NoInput,
) -> Result<Response, Problem> {
    caller.everywhere()?;
    let told = caller.audit(&app, "source.link.delete", id, None, None);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let told = told.clone();
        Box::pin(async move {
            let Some(source) = tx.source_get(id).await? else {
                return Ok(Err(Problem::not_found("source")));
            };
            let Some(known) = tx.link_get(id, link).await? else {
                return Ok(Err(Problem::not_found("link")));
            };
            if !tx.link_delete(id, link).await? {
                return Ok(Err(Problem::not_found("link")));
            }
            let mut told = in_tenant(told, source.tenant);
            let what = serde_json::json!({ "value": known.value, "tenant_id": known.tenant });
            told.detail = Some(what.to_string());
            tx.audit_insert(&told).await?;
            Ok(Ok(Done::nothing()))
        })
    })
    .await?;
    app.configured("source", id).await;
    Ok(done)
}

/// How many events wait for a value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WaitingValue)]
pub(crate) struct WaitingValueView {
    /// Empty: no value was found in them.
    value: String,
    events: i64,
    /// The event that has waited longest.
    #[schema(value_type = String)]
    oldest_event_id: EventId,
    /// Since when it has.
    oldest_received_at: Time,
}

impl From<WaitingValue> for WaitingValueView {
    fn from(waiting: WaitingValue) -> Self {
        Self {
            value: waiting.value,
            events: waiting.events,
            oldest_event_id: waiting.oldest,
            oldest_received_at: waiting.since.into(),
        }
    }
}

/// Which of the values.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitingValueQuery {
    /// Where the last page ended: its `next_cursor`.
    #[param(
        min_length = 1,
        max_length = 256,
        pattern = r"^=[^\x00-\x1f\x7f-\x9f]*$"
    )]
    cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
}

/// The values of a source that events wait for, by the order of their bytes
///
/// An event in which several values were found is counted at each of them.
#[utoipa::path(get, path = "/v1/sources/{id}/waiting", tag = "intake",
    params(("id" = String, Path, description = "`src_…`"), WaitingValueQuery),
    responses((status = 200, body = Page<WaitingValueView>)))]
pub(super) async fn source_waiting(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    Params(query): Params<WaitingValueQuery>,
) -> Result<Json<Page<WaitingValueView>>, Problem> {
    caller.everywhere()?;
    let limit = limit(query.limit)?;
    let after = query.cursor.as_deref().map(after).transpose()?;
    let rows = app
        .store
        .read(caller.scope(), move |tx| {
            let after = after.clone();
            Box::pin(async move {
                if tx.source_get(id).await?.is_none() {
                    return Ok(None);
                }
                tx.waiting_values(id, after.as_deref(), limit + 1)
                    .await
                    .map(Some)
            })
        })
        .await?;
    let mut rows = rows.ok_or_else(|| Problem::not_found("source"))?;
    let more = rows.len() as i64 > limit;
    rows.truncate(limit as usize);
    let last = rows.last().filter(|_| more);
    let next_cursor = last.map(|last| format!("{MARK}{}", last.value));
    Ok(Json(Page {
        items: rows.into_iter().map(Into::into).collect(),
        next_cursor,
    }))
}

/// What every cursor over values begins with: the empty value has one too.
const MARK: char = '=';

fn after(cursor: &str) -> Result<String, Problem> {
    let value = cursor
        .strip_prefix(MARK)
        .filter(|value| mainstay_domain::intake::links::is_value(value));
    value
        .map(str::to_owned)
        .ok_or_else(|| Problem::field("?cursor", "is not a next_cursor of this list"))
}
