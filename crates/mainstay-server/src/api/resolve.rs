//! From what a caller writes (an id, a name, a slug) to the thing itself, within the caller's reach.

use mainstay_domain::{
    EndpointId, Scope, SourceId, StoreExt, StoreResult, TenantId, Tx,
    access::Tenant,
    intake::Source,
    jobs::{Endpoint, QueueNumber},
};

use crate::{
    access::Caller,
    http::{Problem, text::Text},
    state::App,
};

/// The slug of the tenant that is there from the first start on.
pub(crate) const DEFAULT_TENANT: &str = "default";

/// The number of a queue of workers, made when it is new. Names are for all tenants, so whoever is bound to one uses those that
/// there are.
pub(crate) async fn queue_for_workers(
    tx: &mut dyn Tx,
    caller: &Caller,
    name: &str,
    at: &str,
) -> StoreResult<Result<QueueNumber, Problem>> {
    if caller.everywhere().is_ok() {
        return tx.queue_ensure(name).await.map(Ok);
    }
    let known = tx.queue_list().await?;
    let found = known.into_iter().find(|(_, known)| known == name);
    Ok(match found {
        Some((number, _)) => Ok(number),
        None => Err(Problem::field(at, NO_SUCH_QUEUE)),
    })
}

/// Why a key that is bound to one tenant cannot use a queue.
pub(crate) const NO_SUCH_QUEUE: &str =
    "is no queue that there is, and a key that is bound to one tenant makes none";

/// The tenant that a list is narrowed to: the parameter (id or slug), checked against the caller's own.
pub(crate) async fn tenant_filter(
    app: &App,
    caller: &Caller,
    asked: Option<&str>,
) -> Result<Option<TenantId>, Problem> {
    let Some(asked) = asked else {
        return caller.admit(None);
    };
    if let Ok(id) = asked.parse() {
        return caller.admit(Some(id));
    }
    let tenants = tenants(app, caller.scope()).await?;
    match tenants.iter().find(|tenant| tenant.slug == asked) {
        Some(tenant) => caller.admit(Some(tenant.id)),
        // Whether the slug is another tenant's or nobody's is not for a bound key to know.
        None => caller.admit(Some(TenantId::NIL)),
    }
}

/// The tenant that something new belongs to: the one that is named, the caller's own, or the default.
pub(crate) async fn tenant_for_new(
    app: &App,
    caller: &Caller,
    asked: Option<TenantId>,
) -> Result<TenantId, Problem> {
    let admitted = caller.admit(asked)?;
    let tenants = tenants(app, caller.scope()).await?;
    match tenant_of_new(&tenants, admitted) {
        Some(tenant) => Ok(tenant.id),
        None if asked.is_some() => Err(Problem::not_found("tenant")),
        None => Err(Problem::field(
            "/tenant_id",
            "is needed: there are several tenants",
        )),
    }
}

/// Whose something new is: the tenant that was named or is the caller's own, the only one, or the default.
pub(crate) fn tenant_of_new(tenants: &[Tenant], admitted: Option<TenantId>) -> Option<&Tenant> {
    match admitted {
        Some(id) => tenants.iter().find(|tenant| tenant.id == id),
        None if tenants.len() == 1 => tenants.first(),
        None => tenants.iter().find(|tenant| tenant.slug == DEFAULT_TENANT),
    }
}

async fn tenants(app: &App, scope: Scope) -> StoreResult<Vec<Tenant>> {
    app.store
        .read(scope, |tx| Box::pin(async move { tx.tenant_list().await }))
        .await
}

/// The source of this id or name.
pub(crate) async fn source(tx: &mut dyn Tx, asked: &str) -> StoreResult<Option<Source>> {
    if let Ok(id) = asked.parse::<SourceId>() {
        return tx.source_get(id).await;
    }
    Ok(tx
        .source_list()
        .await?
        .into_iter()
        .find(|source| source.name == asked))
}

/// The endpoint of this id or name. A name that several tenants use names none.
pub(crate) async fn endpoint(
    tx: &mut dyn Tx,
    asked: &str,
    tenant: Option<TenantId>,
) -> StoreResult<Option<Endpoint>> {
    if let Ok(id) = asked.parse::<EndpointId>() {
        return tx.endpoint_get(id).await;
    }
    let all = tx.endpoint_list().await?;
    let mut named = all.into_iter().filter(|endpoint| {
        endpoint.name == asked && tenant.is_none_or(|tenant| endpoint.tenant == tenant)
    });
    let first = named.next();
    Ok(if named.next().is_some() { None } else { first })
}

/// The id behind a filter on a source; nil, which no source has, where there is none of that name.
pub(crate) async fn source_filter(
    app: &App,
    caller: &Caller,
    asked: Option<Text<100>>,
) -> Result<Option<SourceId>, Problem> {
    let Some(asked) = asked else { return Ok(None) };
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            let asked = asked.clone();
            Box::pin(async move { source(tx, &asked).await })
        })
        .await?;
    Ok(Some(found.map_or(SourceId::NIL, |source| source.id)))
}

/// The id behind a filter on an endpoint; nil where there is none of that name.
pub(crate) async fn endpoint_filter(
    app: &App,
    caller: &Caller,
    asked: Option<Text<100>>,
) -> Result<Option<EndpointId>, Problem> {
    let Some(asked) = asked else { return Ok(None) };
    let tenant = caller.tenant;
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            let asked = asked.clone();
            Box::pin(async move { endpoint(tx, &asked, tenant).await })
        })
        .await?;
    Ok(Some(found.map_or(EndpointId::NIL, |endpoint| endpoint.id)))
}
