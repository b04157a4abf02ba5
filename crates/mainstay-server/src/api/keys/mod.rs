//! API keys: what programs call with. Their secret is shown once.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay_domain::{KeyId, StoreExt, TenantId, Timestamp, access::ApiKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

mod limits;

use limits::KeyLimit;

use super::{
    page::{Page, PageQuery, page_of_all},
    sessions::RoleName,
};
use crate::{
    access::{
        Caller,
        idempotency::{Done, write},
        keys::{digest, random_secret, token},
    },
    http::{
        Problem,
        extract::{Checks, Id, Input, NoInput, Params},
        text::Name,
    },
    state::App,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(key_list, key_create))
        .routes(routes!(limits::key_update, key_delete))
}

/// An API key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub(crate) struct KeyView {
    #[schema(value_type = String)]
    id: KeyId,
    /// For people.
    name: String,
    role: RoleName,
    /// The one tenant that it reaches; null: all.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    created_at: Time,
    /// When it was last used, to the minute.
    last_used_at: Option<Time>,
    /// When it stops working.
    expires_at: Option<Time>,
    /// How many requests it may make, where that differs from what all keys may.
    limits: Vec<KeyLimit>,
}

impl KeyView {
    fn of(key: &ApiKey, now: Timestamp) -> Self {
        let limits = key.limits.iter().filter(|limit| limit.holds(now));
        Self {
            limits: limits.map(KeyLimit::from).collect(),
            id: key.id,
            name: key.name.clone(),
            role: key.role.into(),
            tenant_id: key.tenant,
            created_at: key.created_at.into(),
            last_used_at: key.last_used_at.map(Into::into),
            expires_at: key.expires_at.map(Into::into),
        }
    }
}

/// A key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// For people.
    #[schema(value_type = Name<100>)]
    name: String,
    role: RoleName,
    /// The one tenant that it is to reach.
    #[schema(value_type = Option<String>, pattern = "^ten_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    tenant_id: Option<TenantId>,
    /// When it is to stop working.
    expires_at: Option<Time>,
}

/// A key with its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedKey {
    key: KeyView,
    /// Shown once: `msk_…`. Null in an answer that is repeated: it was shown before.
    secret: Option<String>,
}

/// List keys
#[utoipa::path(get, path = "/v1/keys", tag = "access", params(PageQuery),
    responses((status = 200, body = Page<KeyView>)))]
async fn key_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<KeyView>>, Problem> {
    caller.everywhere()?;
    let now = app.clock.now();
    let all = app
        .store
        .read(caller.scope(), |tx| {
            Box::pin(async move { tx.key_list().await })
        })
        .await?;
    page_of_all(
        all,
        &query,
        |key| key.id.uuid(),
        |key| KeyView::of(&key, now),
    )
    .map(Json)
}

/// Make a key
///
/// The answer carries its secret; nothing shows it again.
#[utoipa::path(post, path = "/v1/keys", tag = "access", request_body = NewKey,
    responses((status = 201, body = CreatedKey)))]
async fn key_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<NewKey>,
) -> Result<Response, Problem> {
    caller.everywhere()?;
    let NewKey {
        name,
        role,
        tenant_id,
        expires_at,
    } = input.value;
    let mut checks = Checks::default();
    checks.text("/name", &name, 100);
    checks.done()?;
    caller.reaches(role.into())?;
    let now = app.clock.now();
    let secret = random_secret(&*app.random);
    let key = ApiKey {
        id: KeyId::new(now, &*app.random),
        name,
        role: role.into(),
        tenant: tenant_id,
        digest: digest(&secret),
        created_at: now,
        expires_at: expires_at.map(|time| time.0),
        last_used_at: None,
        limits: Vec::new(),
    };
    let what = serde_json::json!({ "name": key.name, "role": role });
    let told = caller.audit(&app, "key.create", key.id, Some(what), tenant_id);
    let shown = token(key.id, &secret);
    write(
        &app,
        &caller,
        input.repeatable.hiding(&["/secret"]),
        move |tx| {
            let (key, told, secret) = (key.clone(), told.clone(), shown.clone());
            Box::pin(async move {
                if let Some(tenant) = key.tenant
                    && !tx
                        .tenant_list()
                        .await?
                        .iter()
                        .any(|known| known.id == tenant)
                {
                    return Ok(Err(Problem::not_found("tenant")));
                }
                tx.key_insert(&key).await?;
                tx.audit_insert(&told).await?;
                Done::json(
                    StatusCode::CREATED,
                    &CreatedKey {
                        key: KeyView::of(&key, now),
                        secret: Some(secret),
                    },
                )
                .map(Ok)
            })
        },
    )
    .await
}

/// Remove a key
///
/// It stops working at once on this node, within seconds on others.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "access", params(("id" = String, Path, description = "`key_…`")),
    responses((status = 204, description = "Removed")))]
async fn key_delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<KeyId>,
    input: NoInput,
) -> Result<Response, Problem> {
    caller.everywhere()?;
    let told = caller.audit(&app, "key.delete", id, None, None);
    let reach = caller.clone();
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (told, reach) = (told.clone(), reach.clone());
        Box::pin(async move {
            if let Some(key) = tx.key_get(id).await?
                && let Err(above) = reach.reaches(key.role)
            {
                return Ok(Err(above));
            }
            if !tx.key_delete(id).await? {
                return Ok(Err(Problem::not_found("key")));
            }
            tx.audit_insert(&told).await?;
            Ok(Ok(Done::nothing()))
        })
    })
    .await;
    app.keys.forget(id);
    done
}
