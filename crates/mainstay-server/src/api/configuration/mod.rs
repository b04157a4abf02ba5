//! The configuration as a whole: sources, endpoints, bindings and schedules as a file declares them, compared with what there is,
//! and changed to it in one transaction.
//!
//! A thing is what its change makes of a fresh one, so a field that the declaration leaves out has its default. Only
//! secrets differ: those that are not named stay. The bodies are those of the groups of routes beside this one, read,
//! checked and applied by their own code; what they learn is known here as well.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use mainstay_domain::{StoreExt, StoreResult, Tx, intake::Source};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

mod carry_out;
mod declared;
mod export;
mod form;
mod plan;

use super::resolve;
use crate::{
    access::{
        Caller,
        idempotency::{Done, write},
    },
    http::{
        Code, Problem,
        extract::{Input, Params},
        text::Text,
    },
    state::App,
};

use declared::{DeclaredBinding, DeclaredEndpoint, DeclaredSchedule, DeclaredSource, Wanted};
use plan::{Known, Plan, Planner};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(configuration_get))
        .routes(routes!(configuration_apply))
}

/// One thing as it is written down.
type Form = Map<String, Value>;

/// Sources, endpoints, bindings and schedules as they are declared.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Configuration {
    /// Whose the things are that name no tenant: its slug. Left out: the key's tenant, else the default one.
    #[serde(default)]
    #[schema(value_type = Option<Text<63>>)]
    tenant: Option<String>,
    /// The sources, each by its name.
    #[serde(default)]
    #[schema(value_type = Vec<DeclaredSource>, max_items = 1000)]
    sources: Vec<Form>,
    /// The endpoints, each by its tenant and name.
    #[serde(default)]
    #[schema(value_type = Vec<DeclaredEndpoint>, max_items = 1000)]
    endpoints: Vec<Form>,
    /// The bindings, each by its source and name; where several share these, by their handlers.
    #[serde(default)]
    #[schema(value_type = Vec<DeclaredBinding>, max_items = 1000)]
    bindings: Vec<Form>,
    /// The schedules, each by its tenant and name.
    #[serde(default)]
    #[schema(value_type = Vec<DeclaredSchedule>, max_items = 1000)]
    schedules: Vec<Form>,
}

/// A configuration to apply.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewConfiguration {
    configuration: Configuration,
    /// Only plan.
    #[serde(default)]
    dry_run: bool,
    /// Remove what is not declared, in the tenants that the declaration names.
    #[serde(default)]
    prune: bool,
    /// The version that the plan was made with: refused when anything was changed since.
    version: Option<i64>,
}

/// What is done to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConfigurationAction)]
pub(crate) enum Action {
    /// It is added.
    Create,
    /// It is changed.
    Update,
    /// It is removed.
    Delete,
}

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConfigurationKind)]
pub(crate) enum Kind {
    /// A source.
    Source,
    /// An endpoint.
    Endpoint,
    /// A binding.
    Binding,
    /// A schedule.
    Schedule,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Endpoint => "endpoint",
            Self::Binding => "binding",
            Self::Schedule => "schedule",
        }
    }
}

/// What becomes of one field.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ConfigurationFieldChange)]
pub(crate) struct FieldChange {
    /// Where it stands in the thing: a JSON pointer.
    field: String,
    /// What there is; null where there is nothing, or nothing that is shown.
    old: Option<Value>,
    /// What there will be.
    new: Option<Value>,
    /// Whether it is a secret: of secrets the last four characters are shown at the most.
    secret: bool,
}

/// A thing that exists.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ConfigurationThing)]
pub(crate) struct ThingView {
    kind: Kind,
    /// The slug of its tenant.
    tenant: String,
    name: String,
    id: String,
}

/// What becomes of one thing.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ConfigurationChange)]
pub(crate) struct ChangeView {
    action: Action,
    kind: Kind,
    /// The slug of its tenant.
    tenant: String,
    name: String,
    /// Null for what is yet to be made.
    id: Option<String>,
    /// Field by field; empty for what is removed.
    fields: Vec<FieldChange>,
}

/// What a configuration changes.
#[derive(Serialize, ToSchema)]
#[schema(as = ConfigurationPlan)]
pub(crate) struct PlanView {
    /// Whether it was done; else only planned.
    applied: bool,
    /// The version of the configuration that the plan was made with.
    version: i64,
    /// In the order in which they are made. Without any, everything is as it is declared.
    changes: Vec<ChangeView>,
    /// How many things are as they are declared.
    unchanged: usize,
    /// What is there and not declared, in the tenants that the declaration names. It is left alone.
    unmanaged: Vec<ThingView>,
}

impl PlanView {
    fn of(plan: &Plan, applied: bool) -> Self {
        let shown = |change: &ChangeView| ChangeView {
            id: change
                .id
                .clone()
                .filter(|_| applied || change.action != Action::Create),
            ..change.clone()
        };
        Self {
            applied,
            version: plan.version,
            changes: plan.steps.iter().map(|step| shown(&step.change)).collect(),
            unchanged: plan.unchanged,
            unmanaged: plan.unmanaged.clone(),
        }
    }
}

/// Change the configuration to what is declared
///
/// All of it in one transaction or nothing. What is there and not declared is left alone, unless `prune` asks to remove
/// it. With `dry_run` it is only said what would change. Applying the same again changes nothing.
#[utoipa::path(post, path = "/v1/configuration/apply", tag = "intake", request_body = NewConfiguration,
    responses((status = 200, body = PlanView)))]
async fn configuration_apply(
    State(app): State<Arc<App>>,
    caller: Caller,
    input: Input<NewConfiguration>,
) -> Result<Response, Problem> {
    let NewConfiguration {
        configuration,
        dry_run,
        prune,
        version,
    } = input.value;
    let asked = Arc::new(Asked {
        wanted: declared::read(configuration)?,
        prune,
        version,
        app: Arc::clone(&app),
        caller: caller.clone(),
    });
    if dry_run {
        let plan = app
            .store
            .read(caller.scope(), move |tx| {
                let asked = Arc::clone(&asked);
                Box::pin(async move { asked.plan(tx).await })
            })
            .await??;
        return Ok(Json(PlanView::of(&plan, false)).into_response());
    }
    // What the run that counted has changed, for those who watch.
    let changed = Arc::new(Mutex::new((Vec::new(), false)));
    let told = Arc::clone(&changed);
    let done = write(&app, &caller, input.repeatable, move |tx| {
        let (asked, told) = (Arc::clone(&asked), Arc::clone(&told));
        Box::pin(async move {
            // What is planned from is what is changed: nobody else is in between.
            tx.config_hold().await?;
            let plan = match asked.plan(tx).await? {
                Ok(plan) => plan,
                Err(problem) => return Ok(Err(problem)),
            };
            for step in &plan.steps {
                carry_out::step(tx, &asked.app, &asked.caller, step).await?;
            }
            *told.lock().unwrap_or_else(PoisonError::into_inner) = (plan.touched(), plan.links());
            Done::json(StatusCode::OK, &PlanView::of(&plan, true)).map(Ok)
        })
    })
    .await?;
    let (changed, linked) =
        std::mem::take(&mut *changed.lock().unwrap_or_else(PoisonError::into_inner));
    app.configured_all(&changed).await;
    app.mainstay.schedules.soon();
    if linked {
        app.mainstay.intake.assign_soon();
    }
    Ok(done)
}

/// What was asked for, with what it takes to plan it in a transaction that may run again.
struct Asked {
    wanted: Wanted,
    prune: bool,
    version: Option<i64>,
    app: Arc<App>,
    caller: Caller,
}

impl Asked {
    async fn plan(&self, tx: &mut dyn Tx) -> StoreResult<Result<Plan, Problem>> {
        let mut known = Known::load(tx).await?;
        if self.version.is_some_and(|version| version != known.version) {
            return Ok(Err(Problem::new(
                Code::StateConflict,
                "the configuration was changed since this plan was made; make it again",
            )));
        }
        // Of whoever is bound to one tenant the plan refuses them; so they are not read.
        if self.caller.everywhere().is_ok() {
            let declared = |source: &Source| {
                let mut wanted = self.wanted.sources.iter();
                wanted.any(|one| one.name == source.name && one.links.is_some())
            };
            if let Err(problem) = known.links_load(tx, declared).await? {
                return Ok(Err(problem));
            }
        }
        Ok(Planner::new(&self.app, &self.caller, &known, self.prune).plan(&self.wanted))
    }
}

/// A secret that is not in the export.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ConfigurationVariable)]
pub(crate) struct Variable {
    /// What a file calls it: `${NAME}`.
    name: String,
    /// Where in `configuration` it belongs: a JSON pointer.
    pointer: String,
    /// What it is of, for people.
    what: String,
}

/// The configuration as it is.
#[derive(Serialize, ToSchema)]
#[schema(as = ConfigurationExport)]
pub(crate) struct Export {
    /// Applied again it changes nothing: secrets, which it does not have, stay as they are.
    configuration: Configuration,
    /// The secrets that there are, and where they belong.
    variables: Vec<Variable>,
}

/// What to export.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportQuery {
    /// A tenant's id or slug. Left out: all that are in reach.
    tenant: Option<Text<100>>,
    /// With the links of sources, which then are exactly these once it is applied. Not for a key that is bound to one
    /// tenant.
    #[serde(default)]
    #[param(default = false)]
    links: bool,
}

/// Show the configuration as a declaration
///
/// Without any secret: the answer says where they belong.
#[utoipa::path(get, path = "/v1/configuration", tag = "intake", params(ExportQuery),
    responses((status = 200, body = Export), (status = 404, description = "There is no such tenant in reach")))]
async fn configuration_get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<ExportQuery>,
) -> Result<Json<Export>, Problem> {
    let links = query.links;
    if links {
        caller.everywhere()?;
    }
    let only = resolve::tenant_filter(&app, &caller, query.tenant.as_deref()).await?;
    let known = app
        .store
        .read(caller.scope(), move |tx| {
            Box::pin(async move {
                let mut known = Known::load(tx).await?;
                let wanted = |one: &Source| links && only.is_none_or(|only| only == one.tenant);
                Ok(known.links_load(tx, wanted).await?.map(|()| known))
            })
        })
        .await??;
    export::export(&known, only, &app.mainstay.builtin).map(Json)
}
