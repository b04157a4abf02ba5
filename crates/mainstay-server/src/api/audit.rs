//! The audit log: its list, the end of its chain, and the chain itself.

use std::sync::Arc;

use axum::{Json, extract::State};
use mainstay_domain::{
    AuditId, StoreExt, TenantId,
    access::{AuditEntry, AuditFilter, Head},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    page::{Cursor, Page, limit, page},
    resolve,
};
use crate::{
    access::{
        Caller,
        export::{HeadView, Line, hex},
    },
    http::{Problem, extract::Params, text::Text},
    limits,
    state::App,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(audit_list))
        .routes(routes!(audit_head))
        .routes(routes!(audit_export))
}

/// Something that somebody did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(crate) struct AuditView {
    #[schema(value_type = String)]
    id: AuditId,
    at: Time,
    /// Who: `user:anna@example.com`, `key:deploy`, `database:…` for what was done by hand.
    actor: String,
    /// What: area and verb.
    action: String,
    /// To what.
    subject: String,
    /// More, without secrets.
    detail: Option<serde_json::Value>,
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// Its place in the chain; null for a moment, until it has one.
    position: Option<i64>,
}

impl From<(AuditEntry, Option<i64>)> for AuditView {
    fn from((entry, position): (AuditEntry, Option<i64>)) -> Self {
        Self {
            id: entry.id,
            at: entry.at.into(),
            actor: entry.actor,
            action: entry.action,
            subject: entry.subject,
            detail: entry
                .detail
                .and_then(|text| serde_json::from_str(&text).ok()),
            tenant_id: entry.tenant,
            position,
        }
    }
}

/// Which entries are asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Who did it, in full: `user:anna@example.com`, `key:deploy`.
    #[param(inline)]
    actor: Option<Text<300>>,
    /// What was done; with a trailing dot everything of an area: `source.`.
    #[param(inline)]
    action: Option<Text<100>>,
    /// To what it was done, in full.
    #[param(inline)]
    subject: Option<Text<300>>,
    /// A tenant's id or slug.
    #[param(inline)]
    tenant: Option<Text<100>>,
    /// At or after.
    from: Option<Time>,
    /// Before.
    to: Option<Time>,
    /// Where the last page ended: its `next_cursor`.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// How many items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
}

/// The audit log, newest first
#[utoipa::path(get, path = "/v1/audit", tag = "access", params(AuditQuery),
    responses((status = 200, body = Page<AuditView>)))]
async fn audit_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<AuditQuery>,
) -> Result<Json<Page<AuditView>>, Problem> {
    let limit = limit(query.limit)?;
    let cursor = Cursor::parse(query.cursor.as_deref())?;
    let filter = AuditFilter {
        tenant: match query.tenant.as_deref() {
            Some(asked) => resolve::tenant_filter(&app, &caller, Some(asked)).await?,
            None => None,
        },
        actor: query.actor.map(Into::into),
        action: query.action.map(Into::into),
        subject: query.subject.map(Into::into),
        from: query.from.map(|time| time.0),
        until: query.to.map(|time| time.0),
        before: cursor.map(|cursor| (cursor.at, AuditId::from_uuid(cursor.id))),
    };
    let rows = app
        .store
        .read(caller.scope(), move |tx| {
            let filter = filter.clone();
            Box::pin(async move { tx.audit_list(&filter, limit + 1).await })
        })
        .await?;
    let position = |(entry, _): &(AuditEntry, Option<i64>)| Cursor {
        at: entry.at,
        id: entry.id.uuid(),
    };
    Ok(Json(page(rows, limit, position, AuditView::from)))
}

/// The end of the audit log's chain
///
/// Kept elsewhere, it proves that nothing in front of it was changed since: see `mainstay audit verify`.
#[utoipa::path(get, path = "/v1/audit/head", tag = "access", responses((status = 200, body = HeadView)))]
async fn audit_head(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<HeadView>, Problem> {
    caller.everywhere()?;
    let head = app
        .store
        .read(caller.scope(), |tx| {
            Box::pin(async move { tx.audit_head().await })
        })
        .await?;
    Ok(Json(HeadView::from(&head)))
}

/// Which part of the chain is asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportQuery {
    /// The place behind which to begin; 0: from the beginning.
    #[param(minimum = 0, default = 0)]
    after: Option<i64>,
    /// How many entries at the most.
    #[param(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<i64>,
}

/// A part of the chain.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditChain {
    /// The hash of the entry that it begins behind, in hexadecimal.
    previous: String,
    /// Entries in the order of the chain.
    items: Vec<Line>,
    /// What to pass as `after` for what follows; null at the end.
    next_after: Option<i64>,
    /// The end of the whole chain.
    head: HeadView,
}

/// A part of the audit log's chain, with what its hashes are made of
///
/// That it was taken out is in the log as well. `mainstay audit export` writes all of it as a file, and
/// `mainstay audit verify` looks whether it holds.
#[utoipa::path(get, path = "/v1/audit/export", tag = "access", params(ExportQuery),
    responses((status = 200, body = AuditChain)))]
async fn audit_export(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<ExportQuery>,
) -> Result<Json<AuditChain>, Problem> {
    caller.everywhere()?;
    let after = query.after.unwrap_or(0);
    let limit = query.limit.unwrap_or(limits::AUDIT_EXPORT_MAX);
    if after < 0 {
        return Err(Problem::field("?after", "must be 0 or more"));
    }
    if !(1..=limits::AUDIT_EXPORT_MAX).contains(&limit) {
        let detail = format!("must be between 1 and {}", limits::AUDIT_EXPORT_MAX);
        return Err(Problem::field("?limit", detail));
    }
    let (head, before, sealed) = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                let head = tx.audit_head().await?;
                let before = match after {
                    0 => None,
                    _ => tx.audit_chain(after - 1, 1).await?.pop(),
                };
                let mut sealed = tx.audit_chain(after, limit).await?;
                // Sealed since the head was read.
                sealed.retain(|one| one.position <= head.position);
                Ok((head, before, sealed))
            })
        })
        .await?;
    let previous = match before {
        _ if after == 0 => Head::EMPTY.hash,
        Some(one) if one.position == after => one.hash,
        _ => {
            return Err(Problem::field(
                "?after",
                "there is no such place in the chain",
            ));
        }
    };
    let last = sealed.last().map_or(after, |last| last.position);
    Ok(Json(AuditChain {
        previous: hex(&previous),
        next_after: (sealed.len() as i64 == limit && last < head.position).then_some(last),
        items: sealed.iter().map(Line::from).collect(),
        head: HeadView::from(&head),
    }))
}
