//! The signing secrets of an endpoint: a new one takes the place of the one before, which signs along for a while.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use mainstay_domain::{
    EndpointId, Random, StoreResult, Tx,
    access::AuditEntry,
    jobs::{
        Endpoint,
        secret::{OVERLAP_SECS, OVERLAP_SECS_MAX},
    },
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::sources::hint;
use crate::{
    access::{
        Caller,
        audit::in_tenant,
        idempotency::{Done, write},
    },
    http::{
        Code, Problem,
        extract::{Checks, Id, NoInput, OptionalInput},
    },
    state::App,
    time::Time,
};

/// A signing secret as Standard Webhooks has it.
pub(in crate::api) fn signing_secret(random: &dyn Random) -> String {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    format!("whsec_{}", STANDARD.encode(bytes))
}

/// A secret that requests are signed with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndpointSecretInForce)]
pub(crate) struct SecretView {
    /// Its last characters.
    hint: String,
    /// Until when it signs; null: until another takes its place.
    until: Option<Time>,
}

/// The secrets that have not ended, newest first. What has ended a moment ago may still be shown.
pub(super) fn secrets_shown(endpoint: &Endpoint) -> Vec<SecretView> {
    let shown = endpoint.secrets.iter().map(|one| SecretView {
        hint: hint(&one.secret),
        until: one.until.map(Into::into),
    });
    shown.collect()
}

/// How a new signing secret takes the place of the one before.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SecretRotation {
    /// How long the secrets before it sign along, in seconds: a day unless this says otherwise; 0: not at all.
    #[schema(minimum = 0, maximum = 604800)]
    overlap_secs: Option<u32>,
}

/// A fresh signing secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct EndpointSecret {
    /// `whsec_…`. Shown once: null in an answer that is repeated.
    secret: Option<String>,
    /// Until when the secret before it signs along; null: it does not.
    previous_until: Option<Time>,
}

/// Make a new signing secret for an endpoint
///
/// Requests are signed with it and, until the overlap ends, with those before it, so that a receiver can change over
/// without a gap.
#[utoipa::path(post, path = "/v1/endpoints/{id}/secret", tag = "jobs",
    params(("id" = String, Path, description = "`ep_…`")), request_body = Option<SecretRotation>,
    responses((status = 201, body = EndpointSecret)))]
pub(super) async fn endpoint_secret_rotate(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<EndpointId>,
    input: OptionalInput<SecretRotation>,
) -> Result<Response, Problem> {
    let overlap = input.value.overlap_secs.unwrap_or(OVERLAP_SECS);
    let mut checks = Checks::default();
    checks.ensure(
        overlap <= OVERLAP_SECS_MAX,
        "/overlap_secs",
        &format!("must be between 0 and {OVERLAP_SECS_MAX}"),
    );
    checks.done()?;
    let (secret, now) = (signing_secret(&*app.random), app.clock.now());
    let what = serde_json::json!({ "overlap_secs": overlap });
    let told = caller.audit(&app, "endpoint.secret.rotate", id, Some(what), None);
    let done = write(
        &app,
        &caller,
        input.repeatable.hiding(&["/secret"]),
        move |tx| {
            let (secret, told) = (secret.clone(), told.clone());
            Box::pin(async move {
                // What is read is what is changed: nobody else is in between.
                tx.config_hold().await?;
                let Some(mut known) = tx.endpoint_get(id).await? else {
                    return Ok(Err(Problem::not_found("endpoint")));
                };
                if let Err(problem) = known.secret_rotate(secret.clone(), overlap, now) {
                    return Ok(Err(Problem::new(Code::StateConflict, problem.to_string())));
                }
                known.updated_at = now;
                changed(tx, &known, told).await?;
                let previous = known.secrets.get(1).and_then(|one| one.until);
                let answer = EndpointSecret {
                    secret: Some(secret),
                    previous_until: previous.map(Into::into),
                };
                Done::json(StatusCode::CREATED, &answer).map(Ok)
            })
        },
    )
    .await?;
    app.configured("endpoint", id).await;
    Ok(done)
}

/// End the overlap of an endpoint's secrets
///
/// From now on requests are signed with the newest secret alone.
#[utoipa::path(delete, path = "/v1/endpoints/{id}/secret/previous", tag = "jobs",
    params(("id" = String, Path, description = "`ep_…`")),
    responses((status = 204, description = "Only the newest secret signs")))]
pub(super) async fn endpoint_secret_overlap_end(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<EndpointId>,
    input: NoInput,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let told = caller.audit(&app, "endpoint.secret.overlap_end", id, None, None);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let told = told.clone();
        Box::pin(async move {
            // What is read is what is changed: nobody else is in between.
            tx.config_hold().await?;
            let Some(mut known) = tx.endpoint_get(id).await? else {
                return Ok(Err(Problem::not_found("endpoint")));
            };
            if known.secret_overlap_end(now) {
                known.updated_at = now;
                changed(tx, &known, told).await?;
            }
            Ok(Ok(Done::nothing()))
        })
    })
    .await?;
    app.configured("endpoint", id).await;
    Ok(done)
}

async fn changed(tx: &mut dyn Tx, endpoint: &Endpoint, told: AuditEntry) -> StoreResult<()> {
    tx.endpoint_update(endpoint).await?;
    tx.audit_insert(&in_tenant(told, endpoint.tenant)).await
}
