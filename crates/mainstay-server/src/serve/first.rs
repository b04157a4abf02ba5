//! What the first start makes: the default tenant, the source of our own events, and a way to sign in.

use mainstay_domain::{
    Clock, Random, Scope, SourceId, Store, StoreError, StoreExt, StoreResult, TenantId,
    access::Tenant,
    intake::{OWN_SOURCE, Source, settings::SourceSettings},
};

use crate::{access::session, api::resolve::DEFAULT_TENANT, state::App};

/// Makes what is missing. Several nodes may do so at once: whoever comes second finds it made.
pub(super) async fn make(
    store: &dyn Store,
    clock: &dyn Clock,
    random: &dyn Random,
) -> StoreResult<()> {
    let tenant = tenant(store, clock, random).await?;
    own_source(store, clock, random, tenant).await
}

async fn tenant(
    store: &dyn Store,
    clock: &dyn Clock,
    random: &dyn Random,
) -> StoreResult<TenantId> {
    let now = clock.now();
    let fresh = Tenant {
        id: TenantId::new(now, random),
        name: "Default".into(),
        slug: DEFAULT_TENANT.into(),
        created_at: now,
    };
    for _ in 0..2 {
        let all = store
            .read(Scope::System("first start"), |tx| {
                Box::pin(async move { tx.tenant_list().await })
            })
            .await?;
        let default = all
            .iter()
            .find(|tenant| tenant.slug == DEFAULT_TENANT)
            .or(all.first());
        if let Some(tenant) = default {
            return Ok(tenant.id);
        }
        let tenant = fresh.clone();
        let made = store
            .transact(Scope::System("first start"), move |tx| {
                let tenant = tenant.clone();
                Box::pin(async move { tx.tenant_insert(&tenant).await })
            })
            .await;
        match made {
            Ok(()) => return Ok(fresh.id),
            // Another node was faster: its tenant is there now.
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Conflict { what: "tenant" })
}

async fn own_source(
    store: &dyn Store,
    clock: &dyn Clock,
    random: &dyn Random,
    tenant: TenantId,
) -> StoreResult<()> {
    let now = clock.now();
    let source = Source {
        id: SourceId::new(now, random),
        number: 0,
        tenant,
        name: OWN_SOURCE.into(),
        scheme: OWN_SOURCE.into(),
        settings: serde_json::to_string(&SourceSettings::default())
            .map_err(|error| StoreError::Bug(error.to_string()))?,
        enabled: true,
        secrets: Vec::new(),
        created_at: now,
        updated_at: now,
    };
    let made = store
        .transact(Scope::System("first start"), move |tx| {
            let source = source.clone();
            Box::pin(async move {
                if tx
                    .source_list()
                    .await?
                    .iter()
                    .any(|known| known.scheme == OWN_SOURCE)
                {
                    return Ok(());
                }
                tx.source_insert(&source).await.map(drop)
            })
        })
        .await;
    match made {
        Err(StoreError::Conflict { .. }) => Ok(()),
        other => other,
    }
}

/// A one-time sign-in link, new at every start for as long as nobody has a password.
pub(super) async fn link(app: &App) -> StoreResult<Option<String>> {
    let users = app
        .store
        .read(Scope::System("first start"), |tx| {
            Box::pin(async move { tx.user_list().await })
        })
        .await?;
    if users.iter().any(|user| user.password_hash.is_some()) {
        return Ok(None);
    }
    let (link, token) = session::link(None, app.clock.now(), &*app.random);
    app.store
        .transact(Scope::System("sign-in link"), move |tx| {
            let link = link.clone();
            Box::pin(async move { tx.session_insert(&link).await })
        })
        .await?;
    Ok(Some(format!("{}/signin/link?token={token}", app.url())))
}
