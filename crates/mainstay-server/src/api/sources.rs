//! Sources: the doors that webhooks come in by, and their secrets.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use mainstay::intake::check_source;
use mainstay_domain::{
    Random, SecretId, SourceId, StoreExt, StoreResult, TenantId, Timestamp, Tx,
    intake::{
        OWN_SOURCE, Source, SourceSecret,
        settings::{
            AnswerSettings, BODY_LIMIT_BYTES, SettingProblem, SourceSettings, TOLERANCE_SECS,
        },
    },
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    hmac::HmacRule,
    page::{Page, PageQuery, page_of_all},
    resolve,
};
use crate::{
    access::{
        Caller,
        audit::in_tenant,
        idempotency::{Done, Outcome, write},
    },
    http::{
        Code, Problem,
        extract::{Checks, Id, InnerId, Input, NoInput, OptionalInput, Params},
    },
    limits,
    state::App,
    stats::Figures,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(source_list, source_create))
        .routes(routes!(source_get, source_update, source_delete))
        .routes(routes!(source_secret_create))
        .routes(routes!(source_secret_delete))
}

/// How a provider signs its webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scheme {
    /// `Stripe-Signature`.
    Stripe,
    /// Standard Webhooks, and Svix.
    StandardWebhooks,
    /// `X-Hub-Signature-256`, as GitHub sends it.
    Github,
    /// WhatsApp, Messenger, Instagram.
    Meta,
    /// Any HMAC, described by `settings.hmac`.
    Hmac,
}

/// How what comes in by a source is signed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only described: the store has the name")]
pub(crate) enum SourceScheme {
    /// `Stripe-Signature`.
    Stripe,
    /// Standard Webhooks, and Svix.
    StandardWebhooks,
    /// `X-Hub-Signature-256`, as GitHub sends it.
    Github,
    /// WhatsApp, Messenger, Instagram.
    Meta,
    /// Any HMAC, described by `settings.hmac`.
    Hmac,
    /// Our own events, which no request can bring.
    Mainstay,
}

impl Scheme {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::StandardWebhooks => "standard_webhooks",
            Self::Github => "github",
            Self::Meta => "meta",
            Self::Hmac => "hmac",
        }
    }

    /// A fresh secret, where it is ours to choose.
    fn secret(self, random: &dyn Random) -> Option<String> {
        let mut bytes = [0; 32];
        match self {
            Self::StandardWebhooks => {
                random.fill(&mut bytes);
                Some(format!("whsec_{}", STANDARD.encode(bytes)))
            }
            Self::Github => Some(crate::time::random_hex(random, 32)),
            Self::Stripe | Self::Meta | Self::Hmac => None,
        }
    }
}

/// What a source can be told beside its scheme.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = SourceSettings)]
pub(crate) struct SettingsView {
    /// How old, and how far in the future, a signature's time may be, in seconds.
    #[schema(minimum = 1, maximum = 86400)]
    tolerance_secs: i64,
    /// The largest body, in bytes.
    #[schema(minimum = 1, maximum = 16777216)]
    body_limit_bytes: usize,
    /// The rule of the scheme `hmac`: required there, refused elsewhere.
    #[schema(value_type = Option<HmacRule>)]
    hmac: Option<serde_json::Value>,
    /// What an accepted request is answered with, where the provider reads it.
    answer: Option<AnswerView>,
}

impl Default for SettingsView {
    fn default() -> Self {
        Self {
            tolerance_secs: TOLERANCE_SECS,
            body_limit_bytes: BODY_LIMIT_BYTES,
            hmac: None,
            answer: None,
        }
    }
}

/// The answer to an accepted request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SourceAnswer)]
pub(crate) struct AnswerView {
    /// 200 to 299: anything else would make the provider send again.
    #[schema(minimum = 200, maximum = 299)]
    status: u16,
    #[serde(default = "plain_text")]
    #[schema(min_length = 1, max_length = 128, pattern = "^[ -~]+$")]
    content_type: String,
    #[serde(default)]
    #[schema(max_length = 4096)]
    body: String,
}

fn plain_text() -> String {
    "text/plain; charset=utf-8".into()
}

impl SettingsView {
    fn of(settings: SourceSettings) -> Self {
        Self {
            tolerance_secs: settings.tolerance_secs,
            body_limit_bytes: settings.body_limit_bytes,
            hmac: settings.hmac,
            answer: settings.answer.map(|answer| AnswerView {
                status: answer.status,
                content_type: answer.content_type,
                body: answer.body,
            }),
        }
    }

    fn settings(self, verify_token: Option<String>) -> SourceSettings {
        SourceSettings {
            tolerance_secs: self.tolerance_secs,
            body_limit_bytes: self.body_limit_bytes,
            hmac: self.hmac,
            verify_token,
            answer: self.answer.map(|answer| AnswerSettings {
                status: answer.status,
                content_type: answer.content_type,
                body: answer.body,
            }),
        }
    }
}

/// A signing secret, without itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SourceSecret)]
pub(crate) struct SecretView {
    #[schema(value_type = String)]
    id: SecretId,
    /// The last four characters.
    hint: String,
    created_at: Time,
    /// When it last matched, to the minute.
    last_used_at: Option<Time>,
}

/// The last four characters, of a secret that is long enough to lose them.
pub(crate) fn hint(secret: &str) -> String {
    let count = secret.chars().count();
    let shown = if count >= 12 { 4 } else { 0 };
    let tail: String = secret.chars().skip(count - shown).collect();
    format!("…{tail}")
}

/// Counts of the last 24 hours.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SourceStats {
    /// Requests in all.
    received: i64,
    /// Requests that brought something new.
    events: i64,
    /// Requests that brought nothing new.
    duplicates: i64,
    /// Requests that were refused.
    refused: i64,
    /// The last minute in which something new came; null when none did in these 24 hours.
    last_event_at: Option<Time>,
}

/// A named door for inbound webhooks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Source)]
pub(crate) struct SourceView {
    #[schema(value_type = String)]
    id: SourceId,
    name: String,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    #[schema(value_type = SourceScheme)]
    scheme: String,
    /// Whether requests are taken. While it is not, providers are asked to send again later.
    enabled: bool,
    /// Where the provider sends to; empty for our own events, which no request can reach.
    url: String,
    settings: SettingsView,
    /// Newest first. Any of them may match: that is how one is rotated.
    secrets: Vec<SecretView>,
    created_at: Time,
    updated_at: Time,
    stats: SourceStats,
}

impl SourceView {
    pub(crate) fn of(source: Source, figures: &Figures) -> Self {
        let counted = figures.of(source.id.uuid());
        let settings: SourceSettings = serde_json::from_str(&source.settings).unwrap_or_default();
        Self {
            id: source.id,
            url: if source.scheme == OWN_SOURCE {
                String::new()
            } else {
                format!("/in/{}", source.name)
            },
            name: source.name,
            tenant_id: source.tenant,
            scheme: source.scheme,
            enabled: source.enabled,
            settings: SettingsView::of(settings),
            secrets: source
                .secrets
                .iter()
                .map(|secret| SecretView {
                    id: secret.id,
                    hint: hint(&secret.secret),
                    created_at: secret.created_at.into(),
                    last_used_at: secret.last_used_at.map(Into::into),
                })
                .collect(),
            created_at: source.created_at.into(),
            updated_at: source.updated_at.into(),
            stats: SourceStats {
                received: counted.received + counted.duplicates + counted.refused,
                events: counted.received,
                duplicates: counted.duplicates,
                refused: counted.refused,
                last_event_at: counted.received_at.map(Into::into),
            },
        }
    }
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
    /// The secret that was made; null when it was given, or is the provider's to choose. Shown once.
    secret: Option<String>,
}

/// What is to change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceChange {
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    name: Option<String>,
    enabled: Option<bool>,
    /// Replaces all settings.
    settings: Option<SettingsView>,
    #[schema(min_length = 1, max_length = 256, format = Password)]
    verify_token: Option<String>,
}

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
    /// The secret that was made; null when it was given. Shown once.
    secret: Option<String>,
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

fn fresh_secret(id: SecretId, secret: String, now: Timestamp) -> SourceSecret {
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
    checks.slug("/name", &name);
    checks.ensure(
        name != OWN_SOURCE,
        "/name",
        "is the name of Mainstay's own source",
    );
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
    let what = serde_json::json!({ "name": source.name, "scheme": scheme });
    let told = caller.audit(&app, "source.create", source.id, Some(what), Some(tenant));
    let id = source.id;
    // An answer that shows a secret is not remembered.
    let repeatable = if made.is_some() {
        input.repeatable.forgotten()
    } else {
        input.repeatable
    };
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

struct Change {
    name: Option<String>,
    enabled: Option<bool>,
    settings: Option<SettingsView>,
    verify_token: Option<String>,
}

impl Change {
    /// The source as it is to be.
    fn apply(&self, mut source: Source, now: Timestamp) -> Result<Source, Problem> {
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
    let SourceChange {
        name,
        enabled,
        settings,
        verify_token,
    } = input.value;
    let mut checks = Checks::default();
    if let Some(name) = &name {
        checks.slug("/name", name);
        checks.ensure(
            name != OWN_SOURCE,
            "/name",
            "is the name of Mainstay's own source",
        );
    }
    checks.done()?;
    let change = Arc::new(Change {
        name,
        enabled,
        settings,
        verify_token,
    });
    let figures = Arc::new(app.stats.figures(&app).await?);
    let (told, now) = (
        caller.audit(&app, "source.update", id, None, None),
        app.clock.now(),
    );
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (change, figures, told) = (Arc::clone(&change), Arc::clone(&figures), told.clone());
        Box::pin(async move {
            let Some(known) = tx.source_get(id).await? else {
                return Ok(Err(Problem::not_found("source")));
            };
            let source = match change.apply(known, now) {
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
    Ok(done)
}

/// Remove a source
///
/// Refused while a binding names it. Its events stay.
#[utoipa::path(delete, path = "/v1/sources/{id}", tag = "intake",
    params(("id" = String, Path, description = "`src_…`")), responses((status = 204, description = "Removed")))]
async fn source_delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<SourceId>,
    input: NoInput,
) -> Result<Response, Problem> {
    let told = caller.audit(&app, "source.delete", id, None, None);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let told = told.clone();
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

/// Add a secret to a source
///
/// From now on either may match. Remove the old one when the new one is in use.
#[utoipa::path(post, path = "/v1/sources/{id}/secrets", tag = "intake",
    params(("id" = String, Path, description = "`src_…`")), request_body = NewSecret,
    responses((status = 201, body = CreatedSecret)))]
async fn source_secret_create(
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
    let done = write(&app, &caller, input.repeatable.forgotten(), move |tx| {
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
    })
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
    let scheme = [
        Scheme::Stripe,
        Scheme::StandardWebhooks,
        Scheme::Github,
        Scheme::Meta,
        Scheme::Hmac,
    ]
    .into_iter()
    .find(|scheme| scheme.as_str() == source.scheme)
    .ok_or_else(|| Problem::new(Code::StateConflict, "Mainstay's own source has no secrets"))?;
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
async fn source_secret_delete(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_never_gives_much_of_a_secret_away() {
        assert_eq!(hint("whsec_abcdefgh1234"), "…1234");
        assert_eq!(hint("short"), "…");
        assert_eq!(hint(""), "…");
    }
}
