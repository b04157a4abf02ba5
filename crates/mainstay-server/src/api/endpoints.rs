//! Endpoints: the team's own URLs that jobs are pushed to.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay_domain::{
    EndpointId, Scope, StoreExt, TenantId, Timestamp,
    jobs::{
        Endpoint, QueueNumber,
        breaker::{Breaker, BreakerPolicy},
        headers,
        health::{Health, Signs},
        http_out::OutError,
        secret::EndpointSecret,
        settings::{EndpointSettings, SettingError, Signing},
    },
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    page::{Page, PageQuery, page_of_all},
    resolve,
    retry::Retry,
};
use crate::{
    access::{
        Caller,
        audit::in_tenant,
        idempotency::{Done, write},
    },
    http::{
        Problem,
        extract::{Checks, Id, Input, NoInput, Params},
        text::Name,
    },
    outbound::url_parse,
    state::App,
    stats::Figures,
    time::Time,
};

mod health;
mod secrets;

use health::HealthView;
pub(super) use secrets::signing_secret;
use secrets::{SecretView, secrets_shown};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(endpoint_list, endpoint_create))
        .routes(routes!(endpoint_get, endpoint_update, endpoint_delete))
        .routes(routes!(secrets::endpoint_secret_rotate))
        .routes(routes!(secrets::endpoint_secret_overlap_end))
}

/// How long a URL may be.
const URL_MAX: usize = 2_048;

/// How requests to an endpoint are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Signing)]
pub(crate) enum SigningName {
    /// The provider's payload, signed by us as Standard Webhooks asks.
    StandardWebhooks,
    /// The provider's own body and headers, unchanged.
    Original,
}

impl From<Signing> for SigningName {
    fn from(signing: Signing) -> Self {
        match signing {
            Signing::StandardWebhooks => Self::StandardWebhooks,
            Signing::Original => Self::Original,
        }
    }
}

impl From<SigningName> for Signing {
    fn from(signing: SigningName) -> Self {
        match signing {
            SigningName::StandardWebhooks => Self::StandardWebhooks,
            SigningName::Original => Self::Original,
        }
    }
}

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BreakerState {
    /// Everything passes.
    Closed,
    /// Nothing passes until the probe is due.
    Open,
    /// One probe is under way.
    HalfOpen,
}

/// The circuit breaker of an endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Breaker)]
pub(crate) struct BreakerView {
    state: BreakerState,
    /// Consecutive failures.
    failures: u32,
    opened_at: Option<Time>,
    /// When a probe is due.
    probe_at: Option<Time>,
    last_error: Option<String>,
}

impl From<Breaker> for BreakerView {
    fn from(breaker: Breaker) -> Self {
        use mainstay_domain::jobs::breaker::BreakerState as State;
        Self {
            state: match breaker.state {
                State::Closed => BreakerState::Closed,
                State::Open => BreakerState::Open,
                State::HalfOpen => BreakerState::HalfOpen,
            },
            failures: breaker.failures,
            opened_at: breaker.opened_at.map(Into::into),
            probe_at: breaker.probe_at.map(Into::into),
            last_error: breaker.last_error,
        }
    }
}

/// When an endpoint's breaker opens, and how it closes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BreakerSettings {
    /// Consecutive failures that open it.
    #[schema(minimum = 1, maximum = 10000)]
    failures_to_open: u32,
    /// The first pause before a probe, in milliseconds; it doubles with every probe that fails.
    #[schema(minimum = 10, maximum = 3600000)]
    pause_ms: i64,
    /// No pause is longer than this, in milliseconds.
    #[schema(minimum = 10, maximum = 86400000)]
    pause_max_ms: i64,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        BreakerPolicy::default().into()
    }
}

impl From<BreakerPolicy> for BreakerSettings {
    fn from(policy: BreakerPolicy) -> Self {
        Self {
            failures_to_open: policy.failures_to_open,
            pause_ms: policy.pause_ms,
            pause_max_ms: policy.pause_max_ms,
        }
    }
}

impl From<BreakerSettings> for BreakerPolicy {
    fn from(settings: BreakerSettings) -> Self {
        Self {
            failures_to_open: settings.failures_to_open,
            pause_ms: settings.pause_ms,
            pause_max_ms: settings.pause_max_ms,
        }
    }
}

/// How an endpoint does: its queue now, its counts of the last 24 hours.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndpointStats {
    /// All of the following in one number.
    health: HealthView,
    /// Jobs that could be started.
    waiting: i64,
    /// Requests under way.
    in_flight: i64,
    /// Jobs to be tried again.
    retrying: i64,
    /// Dead letters.
    dead: i64,
    /// Jobs done in 24 hours.
    succeeded: i64,
    /// Attempts that failed in 24 hours.
    failed: i64,
    /// The share of attempts that succeeded in 24 hours; null when there were none.
    success_rate: Option<f64>,
    /// The median time to an answer in 24 hours, whatever the answer was, to about 6 %. Requests that were given up
    /// after the timeout count; those without a connection do not. Null when there were none.
    p50_ms: Option<i64>,
    /// The 99th percentile of the same.
    p99_ms: Option<i64>,
    /// The last minute in which a job was done.
    last_success_at: Option<Time>,
    /// The last minute in which an attempt failed.
    last_failure_at: Option<Time>,
}

/// The team's own URL that jobs are pushed to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Endpoint)]
pub(crate) struct EndpointView {
    #[schema(value_type = String)]
    id: EndpointId,
    name: String,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    url: String,
    /// Whether jobs are pushed. While it is not, they wait.
    enabled: bool,
    signing: SigningName,
    connect_timeout_ms: u64,
    timeout_ms: u64,
    /// How many requests may be under way at once.
    max_in_flight: u32,
    retry: Retry,
    breaker_settings: BreakerSettings,
    breaker: BreakerView,
    /// The names of the headers that are added to each request; their values are not shown.
    header_names: Vec<String>,
    /// What requests are signed with, newest first.
    secrets: Vec<SecretView>,
    stats: EndpointStats,
    created_at: Time,
    updated_at: Time,
}

pub(crate) fn settings_of(endpoint: &Endpoint) -> EndpointSettings {
    serde_json::from_str(&endpoint.settings).unwrap_or_default()
}

impl EndpointView {
    pub(crate) fn of(endpoint: Endpoint, figures: &Figures) -> Self {
        let settings = settings_of(&endpoint);
        let (counted, queue) = (
            figures.of(endpoint.id.uuid()),
            figures.queue(endpoint.queue),
        );
        let breaker = queue.breaker.unwrap_or_default();
        let p99_ms = figures.quantile_ms(endpoint.id, 0.99);
        let health = Health::of(&Signs {
            success_rate: counted.success_rate(),
            p99_ms,
            timeout_ms: settings.timeout_ms,
            breaker: breaker.state,
            failures: breaker.failures,
            failures_to_open: settings.breaker.failures_to_open,
        });
        Self {
            id: endpoint.id,
            secrets: secrets_shown(&endpoint),
            header_names: endpoint.headers.into_keys().collect(),
            name: endpoint.name,
            tenant_id: endpoint.tenant,
            url: endpoint.url,
            enabled: endpoint.enabled,
            signing: settings.signing.into(),
            connect_timeout_ms: settings.connect_timeout_ms,
            timeout_ms: settings.timeout_ms,
            max_in_flight: settings.max_in_flight,
            retry: Retry::from(&settings.retry),
            breaker_settings: settings.breaker.into(),
            breaker: breaker.into(),
            stats: EndpointStats {
                health: health.into(),
                waiting: queue.waiting,
                in_flight: queue.running,
                retrying: queue.retrying,
                dead: queue.dead,
                succeeded: counted.done,
                failed: counted.failed + counted.dead,
                success_rate: counted.success_rate(),
                p50_ms: figures.quantile_ms(endpoint.id, 0.5),
                p99_ms,
                last_success_at: counted.done_at.map(Into::into),
                last_failure_at: counted.failed_at.map(Into::into),
            },
            created_at: endpoint.created_at.into(),
            updated_at: endpoint.updated_at.into(),
        }
    }
}

/// Headers to set or to remove. Its values stand in no log.
#[derive(Clone, Deserialize)]
pub(crate) struct HeaderChanges(BTreeMap<String, Option<String>>);

impl std::fmt::Debug for HeaderChanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// An endpoint to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewEndpoint {
    /// Unique in the tenant.
    #[schema(value_type = Name<100>)]
    name: String,
    /// `http` or `https`. Private addresses are refused unless an administrator allows them.
    #[schema(max_length = 2048, format = "uri")]
    url: String,
    /// Whose it is. Left out: the key's tenant, else the default one.
    #[schema(value_type = Option<String>, pattern = "^ten_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    tenant_id: Option<TenantId>,
    signing: Option<SigningName>,
    #[schema(minimum = 100, maximum = 60000)]
    connect_timeout_ms: Option<u64>,
    #[schema(minimum = 100, maximum = 120000)]
    timeout_ms: Option<u64>,
    #[schema(minimum = 1, maximum = 1000)]
    max_in_flight: Option<u32>,
    retry: Option<Retry>,
    breaker_settings: Option<BreakerSettings>,
    /// Headers to add to each request, 16 at the most. Their values are treated as secrets.
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    headers: Option<HeaderChanges>,
}

/// An endpoint that was added.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedEndpoint {
    endpoint: EndpointView,
    /// What requests are signed with: `whsec_…`. Shown once.
    secret: String,
}

/// What is to change.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndpointChange {
    #[schema(value_type = Option<Name<100>>)]
    pub(super) name: Option<String>,
    #[schema(max_length = 2048, format = "uri")]
    pub(super) url: Option<String>,
    enabled: Option<bool>,
    signing: Option<SigningName>,
    #[schema(minimum = 100, maximum = 60000)]
    connect_timeout_ms: Option<u64>,
    #[schema(minimum = 100, maximum = 120000)]
    timeout_ms: Option<u64>,
    #[schema(minimum = 1, maximum = 1000)]
    max_in_flight: Option<u32>,
    retry: Option<Retry>,
    breaker_settings: Option<BreakerSettings>,
    /// Headers to set, or with null to remove; those that are not named stay.
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    pub(super) headers: Option<HeaderChanges>,
}

impl From<NewEndpoint> for EndpointChange {
    fn from(new: NewEndpoint) -> Self {
        Self {
            name: Some(new.name),
            url: Some(new.url),
            enabled: None,
            signing: new.signing,
            connect_timeout_ms: new.connect_timeout_ms,
            timeout_ms: new.timeout_ms,
            max_in_flight: new.max_in_flight,
            retry: new.retry,
            breaker_settings: new.breaker_settings,
            headers: new.headers,
        }
    }
}

impl EndpointChange {
    /// What can be said without the endpoint.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let mut checks = Checks::default();
        if let Some(name) = &self.name {
            checks.text("/name", name, 100);
        }
        if let Some(url) = &self.url {
            check_url(&mut checks, "/url", url);
        }
        checks.done()?;
        if let Some(retry) = &self.retry {
            retry.policy("/retry")?;
        }
        self.headers(&BTreeMap::new())?;
        self.settings(EndpointSettings::default()).map(drop)
    }

    fn headers(
        &self,
        known: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Problem> {
        let Some(HeaderChanges(changes)) = &self.headers else {
            return Ok(known.clone());
        };
        headers::change(known, changes).map_err(|(name, error)| {
            let name = name.replace('~', "~0").replace('/', "~1");
            Problem::field(format!("/headers/{name}"), error.to_string())
        })
    }

    fn settings(&self, known: EndpointSettings) -> Result<EndpointSettings, Problem> {
        let settings = EndpointSettings {
            signing: self.signing.map_or(known.signing, Into::into),
            connect_timeout_ms: self.connect_timeout_ms.unwrap_or(known.connect_timeout_ms),
            timeout_ms: self.timeout_ms.unwrap_or(known.timeout_ms),
            max_in_flight: self.max_in_flight.unwrap_or(known.max_in_flight),
            retry: match &self.retry {
                Some(retry) => retry.policy("/retry")?,
                None => known.retry,
            },
            breaker: self.breaker_settings.map_or(known.breaker, Into::into),
        };
        settings.check().map_err(|error| outside(&error))?;
        Ok(settings)
    }

    /// The endpoint as it is to be.
    pub(super) fn apply(&self, known: Endpoint, now: Timestamp) -> Result<Endpoint, Problem> {
        let settings = self.settings(settings_of(&known))?;
        Ok(Endpoint {
            headers: self.headers(&known.headers)?,
            name: self.name.clone().unwrap_or(known.name),
            url: self.url.clone().unwrap_or(known.url),
            enabled: self.enabled.unwrap_or(known.enabled),
            settings: serde_json::to_string(&settings).map_err(Problem::internal)?,
            updated_at: now,
            ..known
        })
    }
}

fn outside(error: &SettingError) -> Problem {
    let field = error
        .field
        .replacen("breaker.", "breaker_settings/", 1)
        .replace('.', "/");
    Problem::field(
        format!("/{field}"),
        format!("must be between {} and {}", error.min, error.max),
    )
}

/// What a delivery could never be sent to is refused when it is declared, by the deliveries' own rule. Beyond it, a URL is
/// taken only as it will be used: the rule overlooks white space around a URL and drops a fragment.
fn check_url(checks: &mut Checks, pointer: &str, text: &str) {
    checks.ensure(
        text.chars().count() <= URL_MAX,
        pointer,
        &format!("must have at most {URL_MAX} characters"),
    );
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        checks.fail(pointer, "has white space or control characters in it");
    } else if text.contains('#') {
        checks.fail(pointer, "has a fragment, which no request carries");
    } else {
        match url_parse(text) {
            Ok(_) => {}
            Err(OutError::Url(reason)) => {
                checks.fail(pointer, format!("cannot be pushed to: {reason}"));
            }
            Err(error) => checks.fail(pointer, format!("cannot be pushed to: {error}")),
        }
    }
}

/// The name of an endpoint's own queue.
pub(super) fn queue_name(id: EndpointId) -> String {
    format!("endpoint:{id}")
}

/// An endpoint that says nothing yet: what a first change is made to.
pub(super) fn blank(id: EndpointId, tenant: TenantId, now: Timestamp) -> Endpoint {
    Endpoint {
        id,
        tenant,
        name: String::new(),
        url: String::new(),
        queue: QueueNumber::default(),
        enabled: true,
        secrets: Vec::new(),
        headers: BTreeMap::new(),
        settings: String::new(),
        created_at: now,
        updated_at: now,
    }
}

/// List endpoints
#[utoipa::path(get, path = "/v1/endpoints", tag = "jobs", params(PageQuery),
    responses((status = 200, body = Page<EndpointView>)))]
async fn endpoint_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<EndpointView>>, Problem> {
    let all = app
        .store
        .read(caller.scope(), |tx| {
            Box::pin(async move { tx.endpoint_list().await })
        })
        .await?;
    let figures = app.stats.figures(&app).await?;
    page_of_all(
        all,
        &query,
        |one| one.id.uuid(),
        |one| EndpointView::of(one, &figures),
    )
    .map(Json)
}

/// Add an endpoint
///
/// The answer carries the secret that requests are signed with; nothing shows it again.
#[utoipa::path(post, path = "/v1/endpoints", tag = "jobs", request_body = NewEndpoint,
    responses((status = 201, body = CreatedEndpoint)))]
async fn endpoint_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<NewEndpoint>,
) -> Result<Response, Problem> {
    let asked = input.value.tenant_id;
    let change = EndpointChange::from(input.value);
    change.check()?;
    let tenant = resolve::tenant_for_new(&app, &caller, asked).await?;
    let now = app.clock.now();
    let id = EndpointId::new(now, &*app.random);
    let secret = signing_secret(&*app.random);
    // Queues belong to the platform. One that nobody uses in the end costs a row.
    let name = queue_name(id);
    let queue = app
        .store
        .transact(Scope::System("endpoint queue"), move |tx| {
            let name = name.clone();
            Box::pin(async move { tx.queue_ensure(&name).await })
        })
        .await?;
    let endpoint = Endpoint {
        queue,
        secrets: vec![EndpointSecret::new(secret.clone())],
        ..change.apply(blank(id, tenant, now), now)?
    };
    let what = serde_json::json!({ "name": endpoint.name, "url": endpoint.url });
    let told = caller.audit(&app, "endpoint.create", id, Some(what), Some(tenant));
    let done = write(&app, &caller, input.repeatable.forgotten(), move |tx| {
        let (endpoint, told, secret) = (endpoint.clone(), told.clone(), secret.clone());
        Box::pin(async move {
            tx.endpoint_insert(&endpoint).await?;
            tx.audit_insert(&told).await?;
            let endpoint = EndpointView::of(endpoint, &Figures::default());
            Done::json(StatusCode::CREATED, &CreatedEndpoint { endpoint, secret }).map(Ok)
        })
    })
    .await?;
    app.configured("endpoint", id).await;
    Ok(done)
}

/// Show an endpoint
#[utoipa::path(get, path = "/v1/endpoints/{id}", tag = "jobs", params(("id" = String, Path, description = "`ep_…`")),
    responses((status = 200, body = EndpointView)))]
async fn endpoint_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<EndpointId>,
) -> Result<Json<EndpointView>, Problem> {
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move { tx.endpoint_get(id).await })
        })
        .await?;
    let endpoint = found.ok_or_else(|| Problem::not_found("endpoint"))?;
    Ok(Json(EndpointView::of(
        endpoint,
        &app.stats.figures(&app).await?,
    )))
}

/// Change an endpoint
#[utoipa::path(patch, path = "/v1/endpoints/{id}", tag = "jobs",
    params(("id" = String, Path, description = "`ep_…`")), request_body = EndpointChange,
    responses((status = 200, body = EndpointView)))]
async fn endpoint_update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<EndpointId>,
    input: Input<EndpointChange>,
) -> Result<Response, Problem> {
    input.value.check()?;
    let change = Arc::new(input.value);
    let figures = Arc::new(app.stats.figures(&app).await?);
    let (told, now) = (
        caller.audit(&app, "endpoint.update", id, None, None),
        app.clock.now(),
    );
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (change, figures, told) = (Arc::clone(&change), Arc::clone(&figures), told.clone());
        Box::pin(async move {
            // What is read is what is changed: nobody else is in between.
            tx.config_hold().await?;
            let Some(known) = tx.endpoint_get(id).await? else {
                return Ok(Err(Problem::not_found("endpoint")));
            };
            let endpoint = match change.apply(known, now) {
                Ok(endpoint) => endpoint,
                Err(problem) => return Ok(Err(problem)),
            };
            tx.endpoint_update(&endpoint).await?;
            tx.audit_insert(&in_tenant(told, endpoint.tenant)).await?;
            Done::json(StatusCode::OK, &EndpointView::of(endpoint, &figures)).map(Ok)
        })
    })
    .await?;
    app.configured("endpoint", id).await;
    Ok(done)
}

/// Remove an endpoint
///
/// Refused while a binding names it.
#[utoipa::path(delete, path = "/v1/endpoints/{id}", tag = "jobs",
    params(("id" = String, Path, description = "`ep_…`")), responses((status = 204, description = "Removed")))]
async fn endpoint_delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<EndpointId>,
    input: NoInput,
) -> Result<Response, Problem> {
    let told = caller.audit(&app, "endpoint.delete", id, None, None);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let told = told.clone();
        Box::pin(async move {
            let Some(known) = tx.endpoint_get(id).await? else {
                return Ok(Err(Problem::not_found("endpoint")));
            };
            if !tx.endpoint_delete(known.tenant, id).await? {
                return Ok(Err(Problem::not_found("endpoint")));
            }
            tx.audit_insert(&in_tenant(told, known.tenant)).await?;
            Ok(Ok(Done::nothing()))
        })
    })
    .await?;
    app.configured("endpoint", id).await;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_one_that_can_be_pushed_to() {
        let passes = |text: &str| {
            let mut checks = Checks::default();
            check_url(&mut checks, "/url", text);
            checks.done().is_ok()
        };
        assert!(passes("https://api.example.com/hooks?x=1") && passes("http://127.0.0.1:3000/"));
        for wrong in [
            "",
            "example.com",
            "ftp://a/",
            "https://",
            "https://u:p@a/",
            "https://a/#x",
            "https://a/ b",
            "file:///etc",
        ] {
            assert!(!passes(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_change_out_of_bounds_is_pointed_at() {
        let change = EndpointChange {
            timeout_ms: Some(1),
            ..EndpointChange::default()
        };
        let problem = change.check().expect_err("too short");
        assert_eq!(problem.body().errors[0].pointer, "/timeout_ms");
        let settings = BreakerSettings {
            failures_to_open: 0,
            ..BreakerSettings::default()
        };
        let change = EndpointChange {
            breaker_settings: Some(settings),
            ..EndpointChange::default()
        };
        assert_eq!(
            change.check().expect_err("none").body().errors[0].pointer,
            "/breaker_settings/failures_to_open"
        );
    }

    fn refusal(url: &str) -> Option<String> {
        let mut checks = Checks::default();
        check_url(&mut checks, "/url", url);
        checks
            .done()
            .err()
            .map(|problem| problem.detail().to_owned())
    }

    #[test]
    fn a_url_that_nothing_could_be_sent_to_is_refused_when_it_is_declared() {
        for usable in [
            "https://example.com/hooks?a=b",
            "http://127.0.0.1:9/",
            "http://[::1]:80",
        ] {
            assert_eq!(refusal(usable), None, "{usable}");
        }
        for (wrong, why) in [
            ("", "cannot be pushed to"),
            ("ftp://example.com/", "must begin with http:// or https://"),
            ("https://anna:secret@example.com/", "carries credentials"),
            ("http://example.com:0/", "port 0"),
            ("http://", "cannot be pushed to"),
            (" http://example.com/", "white space"),
            ("http://example.com/#top", "fragment"),
            (
                &format!("http://example.com/{}", "a".repeat(2_048)),
                "at most 2048",
            ),
        ] {
            let refusal = refusal(wrong).unwrap_or_default();
            assert!(refusal.contains(why), "{wrong}: {refusal}");
            assert!(!refusal.contains("secret"), "{refusal}");
        }
    }
}
