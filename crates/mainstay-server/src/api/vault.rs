//! Encryption at rest: which keys there are, rotations, and the erasure of everything that is a tenant's.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay::vault::{RotateError, Rotations};
use mainstay_domain::{
    Scope, StoreExt, TenantId,
    vault::{DataKeyState, MasterId, Mode, Phase, Rotation},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    access::{
        Caller,
        audit::in_tenant,
        idempotency::{Done, write},
    },
    http::{
        Code, Problem,
        extract::{Id, Input, Params},
    },
    state::App,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(vault_get))
        .routes(routes!(data_key_list))
        .routes(routes!(rotation_create))
        .routes(routes!(tenant_erase))
}

/// Data keys in one page.
const KEYS_SHOWN: i64 = 200;

/// A master key, known by an id that is derived from it. The key itself is nowhere.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MasterKey {
    /// 16 hexadecimal digits.
    id: String,
    /// Whether the server has it. The first that it has wraps new data keys.
    configured: bool,
    /// Whether new data keys are wrapped by it.
    wraps: bool,
    /// Data keys under it that seal.
    current: i64,
    /// Data keys under it that only open what they sealed.
    retired: i64,
}

/// What a rotation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RotationMode {
    /// Wraps every data key with the newest master key.
    Master,
    /// The same, and seals what is not sealed yet.
    Seal,
    /// The same, with new data keys: everything is sealed again, and the old keys are removed.
    Data,
}

impl From<RotationMode> for Mode {
    fn from(mode: RotationMode) -> Self {
        match mode {
            RotationMode::Master => Self::Master,
            RotationMode::Seal => Self::Seal,
            RotationMode::Data => Self::Data,
        }
    }
}

/// How far a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RotationPhase {
    /// Data keys are wrapped anew.
    Wrap,
    /// Until nobody seals with the old keys any more.
    Settle,
    /// Values are sealed.
    Seal,
    /// It is over.
    Done,
}

/// A rotation: what was asked for, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rotation)]
pub(crate) struct RotationView {
    mode: RotationMode,
    phase: RotationPhase,
    /// Who asked for it.
    started_by: String,
    started_at: Time,
    ended_at: Option<Time>,
    /// Data keys wrapped anew.
    keys_wrapped: i64,
    /// Rows looked at.
    rows: i64,
    /// Values sealed.
    values_sealed: i64,
    /// Values that cannot be opened, because they were erased or changed; they stay as they are.
    values_unreadable: i64,
    /// Old data keys removed.
    keys_removed: i64,
}

impl From<Rotation> for RotationView {
    fn from(rotation: Rotation) -> Self {
        Self {
            mode: match rotation.mode {
                Mode::Master => RotationMode::Master,
                Mode::Seal => RotationMode::Seal,
                Mode::Data => RotationMode::Data,
            },
            phase: match rotation.phase {
                Phase::Wrap => RotationPhase::Wrap,
                Phase::Settle => RotationPhase::Settle,
                Phase::Seal => RotationPhase::Seal,
                Phase::Done => RotationPhase::Done,
            },
            started_by: rotation.by,
            started_at: rotation.started_at.into(),
            ended_at: rotation.ended_at.map(Into::into),
            keys_wrapped: rotation.wrapped,
            rows: rotation.looked,
            values_sealed: rotation.sealed,
            values_unreadable: rotation.unreadable,
            keys_removed: rotation.removed,
        }
    }
}

/// How encryption at rest stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Vault {
    /// Whether what comes in is sealed.
    on: bool,
    /// Whether everything is sealed: from the beginning, or since a rotation saw to it.
    whole: bool,
    /// Master keys that the server has, or that data keys are wrapped by.
    master_keys: Vec<MasterKey>,
    /// The rotation that is under way, or else the last one.
    rotation: Option<RotationView>,
}

/// Show how encryption at rest stands
#[utoipa::path(get, path = "/v1/vault", tag = "access", responses((status = 200, body = Vault)))]
async fn vault_get(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Vault>, Problem> {
    caller.everywhere()?;
    let (known, state) = app
        .store
        .read(Scope::System("vault"), |tx| {
            Box::pin(async move { Ok((tx.data_key_masters().await?, tx.vault_state().await?)) })
        })
        .await?;
    let own = app.store.vault().masters();
    let mut ids = own.clone();
    ids.extend(known.iter().map(|one| one.master));
    let mut seen: Vec<MasterId> = Vec::with_capacity(ids.len());
    for id in ids {
        if !seen.contains(&id) {
            seen.push(id);
        }
    }
    let master_keys = seen.into_iter().map(|id| {
        let summary = known.iter().find(|one| one.master == id);
        MasterKey {
            id: id.to_string(),
            configured: own.contains(&id),
            wraps: own.first() == Some(&id),
            current: summary.map_or(0, |one| one.current),
            retired: summary.map_or(0, |one| one.retired),
        }
    });
    Ok(Json(Vault {
        on: app.store.vault().on(),
        whole: state.whole,
        master_keys: master_keys.collect(),
        rotation: state.rotation.map(Into::into),
    }))
}

/// How a data key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DataKeyState)]
pub(crate) enum DataKeyStateName {
    /// It seals.
    Current,
    /// It opens what it sealed, and seals nothing more.
    Retired,
    /// It is gone, and with it whatever it sealed.
    Destroyed,
}

/// A data key. What it is, nobody is told.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DataKey {
    /// What sealed values name it by.
    number: i32,
    /// Whose data it seals; none: what belongs to nobody.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    state: DataKeyStateName,
    /// The master key that wraps it.
    master_key_id: String,
    created_at: Time,
    retired_at: Option<Time>,
    destroyed_at: Option<Time>,
}

/// Data keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DataKeys {
    items: Vec<DataKey>,
    /// The `after` of the next page; none: that was all.
    next_after: Option<i32>,
}

/// Which data keys.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DataKeyQuery {
    /// Only those after this number.
    #[param(minimum = 0)]
    after: Option<i32>,
}

/// List data keys, in the order of their numbers
#[utoipa::path(get, path = "/v1/vault/keys", tag = "access", params(DataKeyQuery),
    responses((status = 200, body = DataKeys)))]
async fn data_key_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<DataKeyQuery>,
) -> Result<Json<DataKeys>, Problem> {
    caller.everywhere()?;
    let after = query.after.unwrap_or(0);
    if after < 0 {
        return Err(Problem::field("?after", "must not be negative"));
    }
    let mut rows = app
        .store
        .read(Scope::System("vault"), move |tx| {
            Box::pin(async move { tx.data_key_list(None, after, KEYS_SHOWN + 1).await })
        })
        .await?;
    let more = rows.len() as i64 > KEYS_SHOWN;
    rows.truncate(KEYS_SHOWN as usize);
    let next_after = rows.last().filter(|_| more).map(|row| row.number);
    let items = rows.into_iter().map(|row| DataKey {
        number: row.number,
        tenant_id: (row.tenant != TenantId::NIL).then_some(row.tenant),
        state: match row.state() {
            DataKeyState::Current => DataKeyStateName::Current,
            DataKeyState::Retired => DataKeyStateName::Retired,
            DataKeyState::Destroyed => DataKeyStateName::Destroyed,
        },
        master_key_id: row.master.to_string(),
        created_at: row.created_at.into(),
        retired_at: row.retired_at.map(Into::into),
        destroyed_at: row.destroyed_at.map(Into::into),
    });
    Ok(Json(DataKeys {
        items: items.collect(),
        next_after,
    }))
}

/// A rotation to begin.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRotation {
    mode: RotationMode,
}

/// Begin a rotation
///
/// It goes on in the background, step by step; `GET /v1/vault` says how far it is. One at a time.
#[utoipa::path(post, path = "/v1/vault/rotations", tag = "access", request_body = NewRotation,
    responses((status = 202, body = RotationView)))]
async fn rotation_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<NewRotation>,
) -> Result<Response, Problem> {
    caller.everywhere()?;
    let mode = Mode::from(input.value.mode);
    let detail = serde_json::json!({ "mode": mode.as_str() });
    let told = caller.audit(&app, "vault.rotate", mode.as_str(), Some(detail), None);
    let (on, now) = (app.store.vault().on(), app.clock.now());
    write(&app, &caller, input.repeatable, move |tx| {
        let told = told.clone();
        Box::pin(async move {
            let begun = Rotations::begin(tx, on, mode, &told.actor, now).await;
            let rotation = match begun {
                Ok(rotation) => rotation,
                Err(RotateError::Store(error)) => return Err(error),
                Err(refused) => {
                    return Ok(Err(Problem::new(Code::StateConflict, refused.to_string())));
                }
            };
            tx.audit_insert(&told).await?;
            Done::json(StatusCode::ACCEPTED, &RotationView::from(rotation)).map(Ok)
        })
    })
    .await
}

/// The erasure of a tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Erasure {
    /// The tenant's slug, typed out: what is erased comes back from nowhere.
    #[schema(min_length = 1, max_length = 63)]
    confirm: String,
}

/// What was erased.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Erased {
    #[schema(value_type = String)]
    tenant_id: TenantId,
    /// Data keys destroyed.
    keys_destroyed: i64,
}

/// Erase everything of a tenant's that is sealed
///
/// Its data keys are destroyed: payloads, headers, secrets and exchanges can be read by nobody any more. That events came,
/// when, and what became of them stays known, and so does the audit log. Refused while encryption at rest is off, and
/// while a rotation is under way: what is not sealed would stay.
#[utoipa::path(post, path = "/v1/tenants/{id}/erase", tag = "access", request_body = Erasure,
    params(("id" = String, Path, description = "`ten_…`")), responses((status = 200, body = Erased)))]
async fn tenant_erase(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<TenantId>,
    input: Input<Erasure>,
) -> Result<Response, Problem> {
    caller.everywhere()?;
    let told = caller.audit(&app, "tenant.erase", id, None, None);
    let (on, now) = (app.store.vault().on(), app.clock.now());
    let confirm = input.value.confirm;
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (told, confirm) = (told.clone(), confirm.clone());
        Box::pin(async move {
            let tenants = tx.tenant_list().await?;
            let Some(tenant) = tenants.into_iter().find(|tenant| tenant.id == id) else {
                return Ok(Err(Problem::not_found("tenant")));
            };
            if tenant.slug != confirm {
                let detail = "is not the tenant's slug: nothing was erased";
                return Ok(Err(Problem::field("/confirm", detail)));
            }
            let state = tx.vault_state().await?;
            let under_way = state.rotation.is_some_and(|one| one.phase != Phase::Done);
            if !on || under_way || !state.whole {
                let detail = match (on, under_way) {
                    (false, _) => "encryption at rest is off: there is no key to destroy",
                    (_, true) => "a rotation is under way: erase when it is over",
                    (_, false) => {
                        "what was stored before encryption was on is not sealed yet: begin a rotation with the mode \
                         `seal` first"
                    }
                };
                return Ok(Err(Problem::new(Code::StateConflict, detail)));
            }
            let keys_destroyed = tx.data_key_destroy(id, now).await?;
            tx.audit_insert(&in_tenant(told, id)).await?;
            let erased = Erased {
                tenant_id: id,
                keys_destroyed,
            };
            Done::json(StatusCode::OK, &erased).map(Ok)
        })
    })
    .await?;
    // This node forgets the keys at once, others within seconds.
    app.configured_all(&[("tenant", id)]).await;
    Ok(done)
}
