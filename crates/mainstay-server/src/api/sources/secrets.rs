//! The secrets of a source: added beside those that there are, removed one by one. That is how one is rotated.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use mainstay::intake::check_source;
use mainstay_domain::{
    Random, SecretId, SourceId, StoreResult, Tx,
    intake::{Source, settings::SourceSettings},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{fresh_secret, setting, view::Scheme};
use crate::{
    access::{
        Caller,
        audit::in_tenant,
        idempotency::{Done, Outcome, write},
    },
    http::{
        Code, Problem,
        extract::{Id, InnerId, NoInput, OptionalInput},
    },
    limits,
    state::App,
};

/// A secret to add.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NewSecret {
    /// Left out: made, for the schemes where it is ours to choose.
    #[schema(min_length = 1, max_length = 1024, format = Password)]
    secret: Option<String>,
}

/// A secret that was added.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedSecret {
    #[schema(value_type = String)]
    id: SecretId,
    /// The secret that was made; null when it was given, and in an answer that is repeated. Shown once.
    secret: Option<String>,
}

/// Add a secret to a source
///
/// From now on either may match. Remove the old one when the new one is in use.
#[utoipa::path(post, path = "/v1/sources/{id}/secrets", tag = "intake",
    params(("id" = String, Path, description = "`src_…`")), request_body = NewSecret,
    responses((status = 201, body = CreatedSecret)))]
pub(super) async fn source_secret_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    input: OptionalInput<NewSecret>,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let given = input.value.secret;
    let secret_id = SecretId::new(now, &*app.random);
    let random = Arc::clone(&app.random);
    let told = caller.audit(&app, "source.secret.create", id, None, None);
    let done = write(
        &app,
        &caller,
        input.repeatable.hiding(&["/secret"]),
        move |tx| {
            let (given, random, told) = (given.clone(), Arc::clone(&random), told.clone());
            Box::pin(async move {
                let Some(source) = tx.source_get(id).await? else {
                    return Ok(Err(Problem::not_found("source")));
                };
                let (secret, made) = match secret_for(&source, given, &*random) {
                    Ok(secret) => secret,
                    Err(problem) => return Ok(Err(problem)),
                };
                tx.source_secret_insert(id, &fresh_secret(secret_id, secret.clone(), now))
                    .await?;
                tx.audit_insert(&in_tenant(told, source.tenant)).await?;
                let secret = made.then_some(secret);
                Done::json(
                    StatusCode::CREATED,
                    &CreatedSecret {
                        id: secret_id,
                        secret,
                    },
                )
                .map(Ok)
            })
        },
    )
    .await?;
    app.configured("source", id).await;
    Ok(done)
}

/// The secret that is to be added, and whether it was made here.
fn secret_for(
    source: &Source,
    given: Option<String>,
    random: &dyn Random,
) -> Result<(String, bool), Problem> {
    if source.secrets.len() >= limits::SOURCE_SECRETS_MAX {
        let detail = format!(
            "a source has at most {} secrets; remove an old one first",
            limits::SOURCE_SECRETS_MAX
        );
        return Err(Problem::new(Code::StateConflict, detail));
    }
    let scheme = Scheme::named(&source.scheme)
        .filter(|scheme| *scheme != Scheme::Address)
        .ok_or_else(|| {
            let detail = "sources of the schemes address and mainstay have no secrets";
            Problem::new(Code::StateConflict, detail)
        })?;
    let made = given.is_none();
    let secret = given.or_else(|| scheme.secret(random)).ok_or_else(|| {
        Problem::field(
            "/secret",
            "is needed: with this scheme the provider chooses it",
        )
    })?;
    let settings: SourceSettings = serde_json::from_str(&source.settings).unwrap_or_default();
    check_source(&source.scheme, &settings, &[&secret])
        .map_err(|problem| setting("/settings", &problem))?;
    if source.secrets.iter().any(|known| known.secret == secret) {
        return Err(Problem::new(
            Code::AlreadyExists,
            "the source has this secret already",
        ));
    }
    Ok((secret, made))
}

/// Remove a secret of a source
#[utoipa::path(delete, path = "/v1/sources/{id}/secrets/{secret_id}", tag = "intake",
    params(("id" = String, Path, description = "`src_…`"), ("secret_id" = String, Path, description = "`sec_…`")),
    responses((status = 204, description = "Removed")))]
pub(super) async fn source_secret_delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    InnerId(secret): InnerId<SecretId>,
    input: NoInput,
) -> Result<Response, Problem> {
    let what = serde_json::json!({ "secret_id": secret });
    let told = caller.audit(&app, "source.secret.delete", id, Some(what), None);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let told = told.clone();
        Box::pin(async move { secret_remove(tx, id, secret, told).await })
    })
    .await?;
    app.configured("source", id).await;
    Ok(done)
}

async fn secret_remove(
    tx: &mut dyn Tx,
    id: SourceId,
    secret: SecretId,
    told: mainstay_domain::access::AuditEntry,
) -> StoreResult<Outcome> {
    let Some(source) = tx.source_get(id).await? else {
        return Ok(Err(Problem::not_found("source")));
    };
    if !tx.source_secret_delete(id, secret).await? {
        return Ok(Err(Problem::not_found("secret")));
    }
    tx.audit_insert(&in_tenant(told, source.tenant)).await?;
    Ok(Ok(Done::nothing()))
}
