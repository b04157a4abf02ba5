//! Sources: the doors that webhooks come in by. Their secrets are in `secrets`, how they are shown in `view`.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay::intake::check_source;
use mainstay_domain::{
    SecretId, SourceId, StoreExt, TenantId, Timestamp,
    intake::{
        OWN_SOURCE, Source, SourceSecret,
        settings::{SettingProblem, SourceSettings},
    },
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

mod drift;
mod expected;
mod links;
mod reverify;
mod rhythm;
mod rules;
pub(crate) mod schemas;
mod secrets;
mod view;

use super::{
    page::{Page, PageQuery, page_of_all},
    resolve,
};
use crate::{
    access::{
        Caller,
        audit::in_tenant,
        idempotency::{Done, write},
    },
    http::{
        Code, Problem,
        extract::{Checks, Id, Input, NoInput, Params},
    },
    state::App,
    stats::Figures,
};

pub(crate) use links::LinkValue;
pub(crate) use rules::ObjectRule;
use view::SettingsView;
pub(crate) use view::{Scheme, SourceView, hint};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(source_list, source_create))
        .routes(routes!(source_get, source_update, source_delete))
        .routes(routes!(secrets::source_secret_create))
        .routes(routes!(secrets::source_secret_delete))
        .routes(routes!(reverify::source_reverify))
        .routes(routes!(links::source_link_list, links::source_link_create))
        .routes(routes!(links::source_link_delete))
        .routes(routes!(links::source_waiting))
        .routes(routes!(drift::source_drift_list))
        .routes(routes!(drift::source_drift_acknowledge))
        .routes(routes!(rhythm::source_rhythm_get))
        .routes(routes!(rhythm::source_rhythm_signals))
        .routes(routes!(expected::source_expected_list))
        .routes(routes!(expected::source_expected_rules))
        .routes(routes!(expected::source_expected_acknowledge))
        .routes(routes!(
            schemas::source_schema_list,
            schemas::source_schema_create
        ))
        .routes(routes!(
            schemas::source_schema_get,
            schemas::source_schema_delete
        ))
}

/// A source to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSource {
    /// Stands in the URL: `/in/{name}`.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    name: String,
    scheme: Scheme,
    /// Whose events come in here. Left out: the key's tenant, else the default one.
    #[schema(value_type = Option<String>, pattern = "^ten_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    tenant_id: Option<TenantId>,
    /// The signing secret that the provider shows. Left out: made for the schemes where it is ours to choose.
    #[schema(min_length = 1, max_length = 1024, format = Password)]
    secret: Option<String>,
    /// The scheme `meta`: what Meta must send when it asks whether the URL is ours.
    #[schema(min_length = 1, max_length = 256, format = Password)]
    verify_token: Option<String>,
    #[serde(default)]
    settings: SettingsView,
}

/// A source that was added.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedSource {
    source: SourceView,
    /// The secret that was made; null when it was given, or is the provider's to choose. Shown once: null in
    /// an answer that is repeated.
    secret: Option<String>,
}

/// What is to change.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceChange {
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    pub(super) name: Option<String>,
    enabled: Option<bool>,
    /// Replaces all settings.
    settings: Option<SettingsView>,
    #[schema(min_length = 1, max_length = 256, format = Password)]
    pub(super) verify_token: Option<String>,
}

/// List sources
#[utoipa::path(get, path = "/v1/sources", tag = "intake", params(PageQuery),
    responses((status = 200, body = Page<SourceView>)))]
async fn source_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<SourceView>>, Problem> {
    let all = app
        .store
        .read(caller.scope(), |tx| {
            Box::pin(async move { tx.source_list().await })
        })
        .await?;
    let figures = app.stats.figures(&app).await?;
    page_of_all(
        all,
        &query,
        |one| one.id.uuid(),
        |one| SourceView::of(one, &figures),
    )
    .map(Json)
}

fn setting(pointer: &str, problem: &SettingProblem) -> Problem {
    let path = problem.field.replace('.', "/");
    let pointer = match problem.field {
        "secret" | "verify_token" | "scheme" => format!("/{path}"),
        _ => format!("{pointer}/{path}"),
    };
    Problem::field(pointer, problem.problem.clone())
}

fn check_name(checks: &mut Checks, name: &str) {
    checks.slug("/name", name);
    checks.ensure(
        name != OWN_SOURCE,
        "/name",
        "is the name of Mainstay's own source",
    );
}

/// A secret that was given or made just now.
pub(super) fn fresh_secret(id: SecretId, secret: String, now: Timestamp) -> SourceSecret {
    SourceSecret {
        id,
        secret,
        created_at: now,
        last_used_at: None,
    }
}

/// Add a source
#[utoipa::path(post, path = "/v1/sources", tag = "intake", request_body = NewSource,
    responses((status = 201, body = CreatedSource)))]
async fn source_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<NewSource>,
) -> Result<Response, Problem> {
    let NewSource {
        name,
        scheme,
        tenant_id,
        secret,
        verify_token,
        settings,
    } = input.value;
    let mut checks = Checks::default();
    check_name(&mut checks, &name);
    checks.done()?;
    let settings = settings.settings(verify_token);
    let made = if secret.is_none() {
        scheme.secret(&*app.random)
    } else {
        None
    };
    let secrets: Vec<String> = secret.or_else(|| made.clone()).into_iter().collect();
    let texts: Vec<&str> = secrets.iter().map(String::as_str).collect();
    check_source(scheme.as_str(), &settings, &texts)
        .map_err(|problem| setting("/settings", &problem))?;
    let tenant = resolve::tenant_for_new(&app, &caller, tenant_id).await?;
    let now = app.clock.now();
    let source = Source {
        id: SourceId::new(now, &*app.random),
        number: 0,
        tenant,
        name,
        scheme: scheme.as_str().into(),
        settings: serde_json::to_string(&settings).map_err(Problem::internal)?,
        enabled: true,
        secrets: secrets
            .into_iter()
            .map(|secret| fresh_secret(SecretId::new(now, &*app.random), secret, now))
            .collect(),
        created_at: now,
        updated_at: now,
    };
    rule_allowed(&caller, None, &source)?;
    let what = serde_json::json!({ "name": source.name, "scheme": scheme });
    let told = caller.audit(&app, "source.create", source.id, Some(what), Some(tenant));
    let id = source.id;
    let repeatable = input.repeatable.hiding(&["/secret"]);
    let done = write(&app, &caller, repeatable, move |tx| {
        let (source, told, secret) = (source.clone(), told.clone(), made.clone());
        Box::pin(async move {
            tx.source_insert(&source).await?;
            tx.audit_insert(&told).await?;
            let source = SourceView::of(source, &Figures::default());
            Done::json(StatusCode::CREATED, &CreatedSource { source, secret }).map(Ok)
        })
    })
    .await?;
    app.configured("source", id).await;
    Ok(done)
}

/// Show a source
#[utoipa::path(get, path = "/v1/sources/{id}", tag = "intake", params(("id" = String, Path, description = "`src_…`")),
    responses((status = 200, body = SourceView)))]
async fn source_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
) -> Result<Json<SourceView>, Problem> {
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move { tx.source_get(id).await })
        })
        .await?;
    let source = found.ok_or_else(|| Problem::not_found("source"))?;
    Ok(Json(SourceView::of(
        source,
        &app.stats.figures(&app).await?,
    )))
}

/// A rule gives events to other tenants: who is bound to one can neither make it nor take it away.
pub(super) fn rule_allowed(
    caller: &Caller,
    known: Option<&Source>,
    wanted: &Source,
) -> Result<(), Problem> {
    let renamed = |known: &Source| known.name != wanted.name;
    if let Some(known) = known.filter(|known| renamed(known)) {
        rule_removable(caller, known)?;
    }
    if known.and_then(rule) == rule(wanted) {
        return Ok(());
    }
    caller.everywhere()
}

/// Whether the caller may remove a source, or give it another name: another one could take its place without its rule.
pub(super) fn rule_removable(caller: &Caller, source: &Source) -> Result<(), Problem> {
    rule(source).map_or(Ok(()), |_| caller.everywhere())
}

fn rule(source: &Source) -> Option<serde_json::Value> {
    let settings: SourceSettings = serde_json::from_str(&source.settings).unwrap_or_default();
    settings.tenant
}

impl SourceChange {
    /// What can be said without the source.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let mut checks = Checks::default();
        if let Some(name) = &self.name {
            check_name(&mut checks, name);
        }
        checks.done()
    }

    /// The source as it is to be.
    pub(super) fn apply(&self, mut source: Source, now: Timestamp) -> Result<Source, Problem> {
        let known: SourceSettings = serde_json::from_str(&source.settings).unwrap_or_default();
        let token = self.verify_token.clone().or(known.verify_token.clone());
        let settings = match &self.settings {
            Some(settings) => settings.clone().settings(token),
            None => SourceSettings {
                verify_token: token,
                ..known
            },
        };
        if source.scheme == OWN_SOURCE {
            let only_enabled =
                self.name.is_none() && self.settings.is_none() && self.verify_token.is_none();
            if !only_enabled {
                return Err(Problem::new(
                    Code::StateConflict,
                    "of Mainstay's own source only 'enabled' can be changed",
                ));
            }
        } else {
            let secrets: Vec<&str> = source
                .secrets
                .iter()
                .map(|one| one.secret.as_str())
                .collect();
            check_source(&source.scheme, &settings, &secrets)
                .map_err(|problem| setting("/settings", &problem))?;
        }
        source.settings = serde_json::to_string(&settings).map_err(Problem::internal)?;
        source.name = self.name.clone().unwrap_or(source.name);
        source.enabled = self.enabled.unwrap_or(source.enabled);
        source.updated_at = now;
        Ok(source)
    }
}

/// Change a source
#[utoipa::path(patch, path = "/v1/sources/{id}", tag = "intake",
    params(("id" = String, Path, description = "`src_…`")), request_body = SourceChange,
    responses((status = 200, body = SourceView)))]
async fn source_update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    input: Input<SourceChange>,
) -> Result<Response, Problem> {
    input.value.check()?;
    let change = Arc::new(input.value);
    let asking = caller.clone();
    let figures = Arc::new(app.stats.figures(&app).await?);
    let (told, now) = (
        caller.audit(&app, "source.update", id, None, None),
        app.clock.now(),
    );
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (change, figures, told) = (Arc::clone(&change), Arc::clone(&figures), told.clone());
        let asking = asking.clone();
        Box::pin(async move {
            // What is read is what is changed: nobody else is in between.
            tx.config_hold().await?;
            let Some(known) = tx.source_get(id).await? else {
                return Ok(Err(Problem::not_found("source")));
            };
            let changed = change.apply(known.clone(), now).and_then(|source| {
                rule_allowed(&asking, Some(&known), &source)?;
                Ok(source)
            });
            let source = match changed {
                Ok(source) => source,
                Err(problem) => return Ok(Err(problem)),
            };
            tx.source_update(&source).await?;
            tx.audit_insert(&in_tenant(told, source.tenant)).await?;
            Done::json(StatusCode::OK, &SourceView::of(source, &figures)).map(Ok)
        })
    })
    .await?;
    app.configured("source", id).await;
    // Another rule may know whose some of the waiting events are.
    app.mainstay.intake.assign_soon();
    Ok(done)
}

/// Remove a source
///
/// Refused while a binding names it, and while events wait for their tenant. Its events stay.
#[utoipa::path(delete, path = "/v1/sources/{id}", tag = "intake",
    params(("id" = String, Path, description = "`src_…`")), responses((status = 204, description = "Removed")))]
async fn source_delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    input: NoInput,
) -> Result<Response, Problem> {
    let told = caller.audit(&app, "source.delete", id, None, None);
    let asking = caller.clone();
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (told, asking) = (told.clone(), asking.clone());
        Box::pin(async move {
            let Some(source) = tx.source_get(id).await? else {
                return Ok(Err(Problem::not_found("source")));
            };
            if source.scheme == OWN_SOURCE {
                return Ok(Err(Problem::new(
                    Code::StateConflict,
                    "Mainstay's own source stays; it can be disabled",
                )));
            }
            if let Err(problem) = rule_removable(&asking, &source) {
                return Ok(Err(problem));
            }
            if !tx.source_delete(source.tenant, id).await? {
                return Ok(Err(Problem::not_found("source")));
            }
            tx.audit_insert(&in_tenant(told, source.tenant)).await?;
            Ok(Ok(Done::nothing()))
        })
    })
    .await?;
    app.configured("source", id).await;
    Ok(done)
}
