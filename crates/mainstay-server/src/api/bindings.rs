//! Bindings: the rules that turn events into jobs.

use std::{collections::HashMap, sync::Arc};

use axum::{Json, extract::State, http::StatusCode, response::Response};
use mainstay::intake::Filter;
use mainstay_domain::{
    BindingId, EndpointId, SourceId, StoreExt, StoreResult, TenantId, Tx,
    intake::{
        Binding, HandlerRef,
        ordering::{Ordering, is_pointer},
    },
    jobs::OnDead,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    jobs::EXPIRES_SECS_MAX,
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
        Problem,
        extract::{Checks, Id, Input, NoInput, Params},
        text::{Name, Text},
    },
    state::App,
    stats::Figures,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(binding_list, binding_create))
        .routes(routes!(binding_get, binding_update, binding_delete))
}

/// Patterns in one binding.
const PATTERNS_MAX: usize = 50;
/// Characters of one pattern.
const PATTERN_MAX: usize = 128;

/// What carries out the jobs of a binding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = HandlerRef)]
pub(crate) enum HandlerView {
    /// A push to the team's own URL.
    Endpoint {
        #[schema(value_type = String)]
        endpoint_id: EndpointId,
        endpoint_name: String,
    },
    /// A built-in handler.
    Builtin {
        /// Its job kind, e.g. `billing.record`.
        name: String,
    },
}

/// What is to carry out the jobs of a binding.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum NewHandler {
    /// A push to the team's own URL.
    Endpoint {
        /// Its id or name.
        #[schema(min_length = 1, max_length = 100)]
        endpoint_id: String,
    },
    /// A built-in handler.
    Builtin {
        /// Its job kind, e.g. `billing.record`.
        #[schema(min_length = 1, max_length = 100)]
        name: String,
    },
}

/// What becomes of a line whose head ends as a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OnDead)]
pub(crate) enum OnDeadName {
    /// It waits until a person has dealt with the dead letter.
    #[default]
    Park,
    /// It goes on with the next.
    Continue,
}

impl From<OnDeadName> for OnDead {
    fn from(name: OnDeadName) -> Self {
        match name {
            OnDeadName::Park => Self::Park,
            OnDeadName::Continue => Self::Continue,
        }
    }
}

impl From<OnDead> for OnDeadName {
    fn from(on_dead: OnDead) -> Self {
        match on_dead {
            OnDead::Park => Self::Park,
            OnDead::Continue => Self::Continue,
        }
    }
}

/// The order that jobs keep: those of one endpoint or queue that share a key run one at a time, in the order of their
/// events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Ordering)]
pub(crate) struct OrderingBody {
    /// Where the key stands in the event's body: a JSON pointer such as `/data/object/customer`. Empty: no order.
    #[schema(max_length = 200)]
    key: String,
    /// Where it stands when it does not stand there. Where it stands in neither place the job keeps no order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    fallback: Option<String>,
    #[serde(default)]
    on_dead: OnDeadName,
}

impl OrderingBody {
    fn check(&self, checks: &mut Checks, pointer: &str) {
        const FORM: &str =
            "must be a JSON pointer of at most 200 characters, such as /data/object/customer";
        let key = self.key.is_empty() || is_pointer(&self.key);
        checks.ensure(key, &format!("{pointer}/key"), FORM);
        if let Some(fallback) = &self.fallback {
            checks.ensure(is_pointer(fallback), &format!("{pointer}/fallback"), FORM);
        }
    }

    /// None where its key is empty.
    fn ordering(self) -> Option<Ordering> {
        (!self.key.is_empty()).then_some(Ordering {
            key: self.key,
            fallback: self.fallback,
            on_dead: self.on_dead.into(),
        })
    }

    fn of(ordering: Ordering) -> Self {
        Self {
            key: ordering.key,
            fallback: ordering.fallback,
            on_dead: ordering.on_dead.into(),
        }
    }
}

/// A rule that turns events into jobs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Binding)]
pub(crate) struct BindingView {
    #[schema(value_type = String)]
    id: BindingId,
    name: String,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    #[schema(value_type = String)]
    source_id: SourceId,
    pub(super) source_name: String,
    /// Exact types, `prefix.*` or `*`, several separated by commas.
    type_pattern: String,
    /// What events of these types must say: an expression; null: they need not say anything.
    filter: Option<String>,
    /// Events of the last 24 hours that the filter could not be evaluated for; they were taken as not matching.
    filter_failed: i64,
    /// The order that its jobs keep; null: they run beside one another.
    ordering: Option<OrderingBody>,
    /// Its jobs expire so many seconds after they are made; null: they do not.
    expires_in_secs: Option<i64>,
    pub(super) handler: HandlerView,
    enabled: bool,
    created_at: Time,
}

/// A binding to add. The source is named by `source_id` or `source`; the handler by `endpoint_id`, `endpoint` or
/// `handler`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBinding {
    /// For people; made from the rule when it is left out.
    #[schema(value_type = Option<Name<100>>)]
    name: Option<String>,
    /// The source's id.
    source_id: Option<Text<100>>,
    /// The source's name or id.
    source: Option<Text<100>>,
    /// Exact types, `prefix.*` or `*`, several separated by commas.
    #[schema(min_length = 1, max_length = 6500)]
    type_pattern: String,
    /// What events of these types must say: an expression over `type`, `source`, `id`, `body` and `headers`, such as
    /// `body.amount > 1000`.
    #[schema(min_length = 1, max_length = 1000)]
    filter: Option<String>,
    /// The order that its jobs keep. Left out: they run beside one another.
    ordering: Option<OrderingBody>,
    /// Its jobs expire so many seconds after they are made: what has not begun by then is a dead letter with the code
    /// `expired`. Left out: they do not.
    #[schema(minimum = 1, maximum = 31_536_000)]
    expires_in_secs: Option<i64>,
    /// The endpoint's id.
    endpoint_id: Option<Text<100>>,
    /// The endpoint's name or id.
    endpoint: Option<Text<100>>,
    handler: Option<NewHandler>,
}

/// What is to change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BindingChange {
    #[schema(value_type = Option<Name<100>>)]
    pub(super) name: Option<String>,
    #[schema(min_length = 1, max_length = 6500)]
    pub(super) type_pattern: Option<String>,
    /// Empty: no filter any more.
    #[schema(max_length = 1000)]
    filter: Option<String>,
    /// With an empty key: no order any more. Of jobs that are made from then on.
    ordering: Option<OrderingBody>,
    /// 0: its jobs expire no more. Of jobs that are made from then on.
    #[schema(minimum = 0, maximum = 31_536_000)]
    expires_in_secs: Option<i64>,
    enabled: Option<bool>,
    pub(super) handler: Option<NewHandler>,
}

impl BindingChange {
    /// The same, its pattern in the form in which it is kept.
    pub(super) fn checked(mut self) -> Result<Self, Problem> {
        let mut checks = Checks::default();
        if let Some(name) = &self.name {
            checks.text("/name", name, 100);
        }
        self.type_pattern = self
            .type_pattern
            .map(|text| pattern(&mut checks, "/type_pattern", &text));
        if let Some(filter) = self.filter.as_deref().filter(|text| !text.is_empty()) {
            check_filter(&mut checks, "/filter", filter);
        }
        if let Some(ordering) = &self.ordering {
            ordering.check(&mut checks, "/ordering");
        }
        check_expires(&mut checks, self.expires_in_secs, 0);
        checks.done().map(|()| self)
    }

    /// The binding as it is to be; the handler was found already.
    pub(super) fn apply(&self, known: Binding, handler: Option<HandlerRef>) -> Binding {
        Binding {
            name: self.name.clone().unwrap_or(known.name),
            type_pattern: self.type_pattern.clone().unwrap_or(known.type_pattern),
            filter: match self.filter.clone() {
                Some(text) => (!text.is_empty()).then_some(text),
                None => known.filter,
            },
            ordering: match self.ordering.clone() {
                Some(body) => body.ordering(),
                None => known.ordering,
            },
            expires_in_secs: match self.expires_in_secs {
                Some(secs) => (secs > 0).then_some(secs),
                None => known.expires_in_secs,
            },
            enabled: self.enabled.unwrap_or(known.enabled),
            handler: handler.unwrap_or(known.handler),
            ..known
        }
    }
}

/// The name of a binding that was given none.
pub(super) fn name_of_rule(source: &str, type_pattern: &str) -> String {
    let rule = format!("{source} {type_pattern}");
    rule.chars().take(100).collect()
}

/// Brings a pattern into the form in which it is kept: `a, b.*` as `a,b.*`.
fn pattern(checks: &mut Checks, pointer: &str, text: &str) -> String {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    checks.ensure(
        parts.len() <= PATTERNS_MAX,
        pointer,
        &format!("has more than {PATTERNS_MAX} patterns"),
    );
    let fine = parts.iter().all(|part| {
        let body = part.strip_suffix('*').unwrap_or(part);
        let clean =
            !body.contains('*') && body.chars().all(|c| !c.is_control() && !c.is_whitespace());
        !part.is_empty() && part.chars().count() <= PATTERN_MAX && clean
    });
    checks.ensure(
        fine,
        pointer,
        "must be exact types, 'prefix.*' or '*', separated by commas",
    );
    parts.join(",")
}

/// Reads a filter, which says where it is wrong.
/// For how long a job may be wanted.
fn check_expires(checks: &mut Checks, secs: Option<i64>, min: i64) {
    let range = min..=EXPIRES_SECS_MAX;
    checks.ensure(
        secs.is_none_or(|secs| range.contains(&secs)),
        "/expires_in_secs",
        &format!("must be between {min} and {EXPIRES_SECS_MAX}"),
    );
}

fn check_filter(checks: &mut Checks, pointer: &str, text: &str) {
    if let Err(problem) = Filter::new(text) {
        checks.fail(pointer, problem.to_string());
    }
}

/// The names and figures that a view shows beside ids.
pub(super) struct Names {
    sources: HashMap<SourceId, String>,
    endpoints: HashMap<EndpointId, String>,
    figures: Arc<Figures>,
}

impl Names {
    async fn load(tx: &mut dyn Tx, figures: Arc<Figures>) -> StoreResult<Self> {
        let sources = tx.source_list().await?;
        let endpoints = tx.endpoint_list().await?;
        Ok(Self::of(
            sources.into_iter().map(|one| (one.id, one.name)),
            endpoints.into_iter().map(|one| (one.id, one.name)),
            figures,
        ))
    }

    /// These names.
    pub(super) fn of(
        sources: impl Iterator<Item = (SourceId, String)>,
        endpoints: impl Iterator<Item = (EndpointId, String)>,
        figures: Arc<Figures>,
    ) -> Self {
        Self {
            sources: sources.collect(),
            endpoints: endpoints.collect(),
            figures,
        }
    }

    /// One more source, which may be yet to be made.
    pub(super) fn source_add(&mut self, id: SourceId, name: String) {
        self.sources.insert(id, name);
    }

    /// One more endpoint.
    pub(super) fn endpoint_add(&mut self, id: EndpointId, name: String) {
        self.endpoints.insert(id, name);
    }

    /// The binding with its names.
    pub(super) fn view(&self, binding: Binding) -> BindingView {
        let name_of = |id: &EndpointId| self.endpoints.get(id).cloned().unwrap_or_default();
        BindingView {
            id: binding.id,
            name: binding.name,
            tenant_id: binding.tenant,
            source_id: binding.source,
            source_name: self
                .sources
                .get(&binding.source)
                .cloned()
                .unwrap_or_default(),
            type_pattern: binding.type_pattern,
            filter_failed: match binding.filter {
                Some(_) => self.figures.of(binding.id.uuid()).filter_failed,
                None => 0,
            },
            filter: binding.filter,
            ordering: binding.ordering.map(OrderingBody::of),
            expires_in_secs: binding.expires_in_secs,
            handler: match binding.handler {
                HandlerRef::Endpoint(id) => HandlerView::Endpoint {
                    endpoint_id: id,
                    endpoint_name: name_of(&id),
                },
                HandlerRef::Builtin(name) => HandlerView::Builtin { name },
            },
            enabled: binding.enabled,
            created_at: binding.created_at.into(),
        }
    }
}

/// List bindings
#[utoipa::path(get, path = "/v1/bindings", tag = "intake", params(PageQuery),
    responses((status = 200, body = Page<BindingView>)))]
async fn binding_list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<BindingView>>, Problem> {
    let (all, names) = all_with_names(&app, &caller).await?;
    page_of_all(all, &query, |one| one.id.uuid(), |one| names.view(one)).map(Json)
}

async fn all_with_names(app: &App, caller: &Caller) -> Result<(Vec<Binding>, Names), Problem> {
    let figures = Arc::new(app.stats.figures(app).await?);
    let found = app
        .store
        .read(caller.scope(), move |tx| {
            let figures = Arc::clone(&figures);
            Box::pin(async move { Ok((tx.binding_list().await?, Names::load(tx, figures).await?)) })
        })
        .await?;
    Ok(found)
}

fn only_one<T>(checks: &mut Checks, pointer: &str, what: &str, given: Vec<T>) -> Option<T> {
    checks.ensure(given.len() == 1, pointer, what);
    given.into_iter().next()
}

/// Add a binding
///
/// Events that come in from now on make jobs by it; older ones can be replayed.
#[utoipa::path(post, path = "/v1/bindings", tag = "intake", request_body = NewBinding,
    responses((status = 201, body = BindingView)))]
async fn binding_create(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<NewBinding>,
) -> Result<Response, Problem> {
    let NewBinding {
        name,
        source_id,
        source,
        type_pattern,
        filter,
        ordering,
        expires_in_secs,
        endpoint_id,
        endpoint,
        handler,
    } = input.value;
    let mut checks = Checks::default();
    if let Some(name) = &name {
        checks.text("/name", name, 100);
    }
    let type_pattern = pattern(&mut checks, "/type_pattern", &type_pattern);
    if let Some(filter) = &filter {
        check_filter(&mut checks, "/filter", filter);
    }
    if let Some(ordering) = &ordering {
        ordering.check(&mut checks, "/ordering");
    }
    check_expires(&mut checks, expires_in_secs, 1);
    let ordering = ordering.and_then(OrderingBody::ordering);
    let sources: Vec<Text<100>> = source_id.into_iter().chain(source).collect();
    let source = only_one(
        &mut checks,
        "/source_id",
        "give source_id or source",
        sources,
    );
    let endpoints = endpoint_id
        .into_iter()
        .chain(endpoint)
        .map(|asked| NewHandler::Endpoint {
            endpoint_id: asked.into(),
        });
    let handlers: Vec<NewHandler> = endpoints.chain(handler).collect();
    let handler = only_one(
        &mut checks,
        "/endpoint_id",
        "give one of endpoint_id, endpoint and handler",
        handlers,
    );
    checks.done()?;
    let (Some(source), Some(handler)) = (source, handler) else {
        return Err(Problem::internal("a check let an incomplete binding pass"));
    };
    let now = app.clock.now();
    let id = BindingId::new(now, &*app.random);
    let told = caller.audit(&app, "binding.create", id, None, None);
    let builtin = Arc::clone(&app.mainstay.builtin);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (name, source, type_pattern) = (name.clone(), source.clone(), type_pattern.clone());
        let (filter, ordering) = (filter.clone(), ordering.clone());
        let (handler, told, builtin) = (handler.clone(), told.clone(), Arc::clone(&builtin));
        Box::pin(async move {
            let Some(source) = resolve::source(tx, &source).await? else {
                return Ok(Err(Problem::not_found("source")));
            };
            let known = |kind: &str| builtin.contains_key(kind);
            let handler = match handler_of(tx, &handler, source.tenant, known).await? {
                Ok(handler) => handler,
                Err(problem) => return Ok(Err(problem)),
            };
            let made = || name_of_rule(&source.name, &type_pattern);
            let binding = Binding {
                id,
                tenant: source.tenant,
                name: name.unwrap_or_else(made),
                source: source.id,
                type_pattern,
                filter,
                ordering,
                expires_in_secs,
                handler,
                enabled: true,
                created_at: now,
            };
            tx.binding_insert(&binding).await?;
            tx.audit_insert(&in_tenant(told, binding.tenant)).await?;
            let names = Names::load(tx, Arc::default()).await?;
            Done::json(StatusCode::CREATED, &names.view(binding)).map(Ok)
        })
    })
    .await?;
    app.configured("binding", id).await;
    Ok(done)
}

/// The handler that is meant, if it exists and is the same tenant's.
async fn handler_of(
    tx: &mut dyn Tx,
    asked: &NewHandler,
    tenant: TenantId,
    builtin: impl Fn(&str) -> bool,
) -> StoreResult<Result<HandlerRef, Problem>> {
    match asked {
        NewHandler::Builtin { name } if builtin(name) => Ok(Ok(HandlerRef::Builtin(name.clone()))),
        NewHandler::Builtin { .. } => Ok(Err(Problem::field(
            "/handler/name",
            "is no built-in handler",
        ))),
        NewHandler::Endpoint { endpoint_id } => {
            let found = resolve::endpoint(tx, endpoint_id, Some(tenant)).await?;
            match found {
                Some(endpoint) if endpoint.tenant == tenant => {
                    Ok(Ok(HandlerRef::Endpoint(endpoint.id)))
                }
                Some(_) | None => Ok(Err(Problem::not_found("endpoint in the source's tenant"))),
            }
        }
    }
}

/// Show a binding
#[utoipa::path(get, path = "/v1/bindings/{id}", tag = "intake",
    params(("id" = String, Path, description = "`bnd_…`")), responses((status = 200, body = BindingView)))]
async fn binding_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<BindingId>,
) -> Result<Json<BindingView>, Problem> {
    let (all, names) = all_with_names(&app, &caller).await?;
    let found = all.into_iter().find(|binding| binding.id == id);
    found
        .map(|binding| Json(names.view(binding)))
        .ok_or_else(|| Problem::not_found("binding"))
}

/// Change a binding
#[utoipa::path(patch, path = "/v1/bindings/{id}", tag = "intake",
    params(("id" = String, Path, description = "`bnd_…`")), request_body = BindingChange,
    responses((status = 200, body = BindingView)))]
async fn binding_update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<BindingId>,
    input: Input<BindingChange>,
) -> Result<Response, Problem> {
    let change = Arc::new(input.value.checked()?);
    let figures = Arc::new(app.stats.figures(&app).await?);
    let told = caller.audit(&app, "binding.update", id, None, None);
    let builtin = Arc::clone(&app.mainstay.builtin);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (change, told, builtin) = (Arc::clone(&change), told.clone(), Arc::clone(&builtin));
        let figures = Arc::clone(&figures);
        Box::pin(async move {
            // What is read is what is changed: nobody else is in between.
            tx.config_hold().await?;
            let found = tx
                .binding_list()
                .await?
                .into_iter()
                .find(|binding| binding.id == id);
            let Some(known) = found else {
                return Ok(Err(Problem::not_found("binding")));
            };
            let handler = match &change.handler {
                None => None,
                Some(asked) => {
                    match handler_of(tx, asked, known.tenant, |kind| builtin.contains_key(kind))
                        .await?
                    {
                        Ok(handler) => Some(handler),
                        Err(problem) => return Ok(Err(problem)),
                    }
                }
            };
            let binding = change.apply(known, handler);
            tx.binding_update(&binding).await?;
            tx.audit_insert(&in_tenant(told, binding.tenant)).await?;
            let names = Names::load(tx, figures).await?;
            Done::json(StatusCode::OK, &names.view(binding)).map(Ok)
        })
    })
    .await?;
    app.configured("binding", id).await;
    Ok(done)
}

/// Remove a binding
///
/// Its jobs go on.
#[utoipa::path(delete, path = "/v1/bindings/{id}", tag = "intake",
    params(("id" = String, Path, description = "`bnd_…`")), responses((status = 204, description = "Removed")))]
async fn binding_delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id<BindingId>,
    input: NoInput,
) -> Result<Response, Problem> {
    let told = caller.audit(&app, "binding.delete", id, None, None);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let told = told.clone();
        Box::pin(async move {
            let found = tx
                .binding_list()
                .await?
                .into_iter()
                .find(|binding| binding.id == id);
            let Some(known) = found else {
                return Ok(Err(Problem::not_found("binding")));
            };
            tx.binding_delete(known.tenant, id).await?;
            tx.audit_insert(&in_tenant(told, known.tenant)).await?;
            Ok(Ok(Done::nothing()))
        })
    })
    .await?;
    app.configured("binding", id).await;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> Option<String> {
        let mut checks = Checks::default();
        let pattern = pattern(&mut checks, "/type_pattern", text);
        checks.done().is_ok().then_some(pattern)
    }

    #[test]
    fn a_pattern_is_exact_by_prefix_or_everything() {
        assert_eq!(kept("*").as_deref(), Some("*"));
        assert_eq!(
            kept("charge.refunded , invoice.*").as_deref(),
            Some("charge.refunded,invoice.*")
        );
        for wrong in [
            "",
            ",",
            "a,,b",
            "a*b",
            "**",
            "a b",
            "a\u{7}",
            &"x".repeat(129),
            &["a"; 51].join(","),
        ] {
            assert_eq!(kept(wrong), None, "{wrong}");
        }
    }
}
