//! Tenants: the customers of the SaaS.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay_domain::{StoreExt, TenantId, access::Tenant};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::page::{Page, PageQuery, page_of_all};
use crate::{
    access::{
        Caller,
        idempotency::{Done, write},
    },
    http::{
        Problem,
        extract::{Checks, Id, Input, NoInput, Params, SLUG_MAX},
        text::Name,
    },
    state::App,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(tenant_list, tenant_create))
        .routes(routes!(tenant_get, tenant_delete))
}

/// One customer of the SaaS.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
pub(crate) struct TenantView {
    #[schema(value_type = String)]
    id: TenantId,
    /// For people.
    name: String,
    /// For commands and filters.
    slug: String,
    created_at: Time,
}

impl From<Tenant> for TenantView {
    fn from(tenant: Tenant) -> Self {
        Self {
            id: tenant.id,
            name: tenant.name,
            slug: tenant.slug,
            created_at: tenant.created_at.into(),
        }
    }
}

/// A tenant to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenant {
    /// For people.
    #[schema(value_type = Name<100>)]
    name: String,
    /// For commands; made from the name when it is left out.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    slug: Option<String>,
}

/// `Acme Ltd.` as `acme-ltd`.
fn slug_of(name: &str) -> String {
    let spaced: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { ' ' })
        .collect();
    let mut slug = spaced.split_whitespace().collect::<Vec<_>>().join("-");
    slug.truncate(SLUG_MAX);
    slug.trim_end_matches('-').to_owned()
}

/// List tenants
#[utoipa::path(get, path = "/v1/tenants", tag = "access", params(PageQuery),
    responses((status = 200, body = Page<TenantView>)))]
async fn tenant_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<TenantView>>, Problem> {
    let all = app
        .store
        .read(caller.scope(), |tx| {
            Box::pin(async move { tx.tenant_list().await })
        })
        .await?;
    page_of_all(all, &query, |tenant| tenant.id.uuid(), TenantView::from).map(Json)
}

/// Add a tenant
#[utoipa::path(post, path = "/v1/tenants", tag = "access", request_body = NewTenant,
    responses((status = 201, body = TenantView)))]
async fn tenant_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<NewTenant>,
) -> Result<Response, Problem> {
    caller.everywhere()?;
    let NewTenant { name, slug } = input.value;
    let slug = slug.unwrap_or_else(|| slug_of(&name));
    let mut checks = Checks::default();
    checks.text("/name", &name, 100);
    checks.slug("/slug", &slug);
    checks.done()?;
    let now = app.clock.now();
    let tenant = Tenant {
        id: TenantId::new(now, &*app.random),
        name,
        slug,
        created_at: now,
    };
    let told = caller.audit(&app, "tenant.create", tenant.id, None, None);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (tenant, told) = (tenant.clone(), told.clone());
        Box::pin(async move {
            tx.tenant_insert(&tenant).await?;
            tx.audit_insert(&told).await?;
            Done::json(StatusCode::CREATED, &TenantView::from(tenant)).map(Ok)
        })
    })
    .await?;
    // Events may wait for its slug.
    app.mainstay.intake.assign_soon();
    Ok(done)
}

/// Show a tenant
#[utoipa::path(get, path = "/v1/tenants/{id}", tag = "access", params(("id" = String, Path, description = "`ten_…`")),
    responses((status = 200, body = TenantView)))]
async fn tenant_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<TenantId>,
) -> Result<Json<TenantView>, Problem> {
    let all = app
        .store
        .read(caller.scope(), |tx| {
            Box::pin(async move { tx.tenant_list().await })
        })
        .await?;
    let found = all.into_iter().find(|tenant| tenant.id == id);
    found
        .map(|tenant| Json(tenant.into()))
        .ok_or_else(|| Problem::not_found("tenant"))
}

/// Remove a tenant
///
/// Refused while it has sources or endpoints, and while values of sources are linked to it.
#[utoipa::path(delete, path = "/v1/tenants/{id}", tag = "access",
    params(("id" = String, Path, description = "`ten_…`")), responses((status = 204, description = "Removed")))]
async fn tenant_delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<TenantId>,
    input: NoInput,
) -> Result<Response, Problem> {
    caller.everywhere()?;
    let told = caller.audit(&app, "tenant.delete", id, None, None);
    write(&app, &caller, input.repeatable, move |tx| {
        let told = told.clone();
        Box::pin(async move {
            if !tx.tenant_delete(id).await? {
                return Ok(Err(Problem::not_found("tenant")));
            }
            tx.audit_insert(&told).await?;
            Ok(Ok(Done::nothing()))
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_made_from_the_name() {
        assert_eq!(slug_of("Acme Ltd."), "acme-ltd");
        assert_eq!(slug_of("  Ärzte & Co  "), "rzte-co");
        assert_eq!(slug_of("!!!"), "");
    }
}
