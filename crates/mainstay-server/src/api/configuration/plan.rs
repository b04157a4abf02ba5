//! What has to be done so that everything is as it is declared. It only compares: nothing is changed here, so that
//! whatever is wrong is found before the first change.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use mainstay_domain::{
    BindingId, EndpointId, ScheduleId, SchemaId, SecretId, SourceId, StoreResult, TenantId,
    Timestamp, Tx,
    access::Tenant,
    intake::{
        Binding, OWN_SOURCE, Source, SourceSecret,
        links::{LinkFilter, SourceLink},
        schemas::EventSchema,
        scheme::Secret,
    },
    jobs::{Endpoint, QueueNumber},
    schedules::Schedule,
};

use super::{Action, ChangeView, FieldChange, Form, Kind, ThingView, declared::Wanted};
use crate::{
    access::Caller,
    api::{self, bindings::Names, resolve, sources::rule_removable},
    http::{Code, Problem, extract::Checks},
    limits,
    state::App,
};

mod bindings;
mod endpoints;
mod schedules;
mod sources;

/// What there is, within the caller's reach.
pub(super) struct Known {
    pub(super) version: i64,
    pub(super) tenants: Vec<Tenant>,
    /// Without our own, which is nobody's to declare.
    pub(super) sources: Vec<Source>,
    pub(super) own: Vec<Source>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) bindings: Vec<Binding>,
    pub(super) schedules: Vec<Schedule>,
    /// All queues, by their numbers.
    pub(super) queues: Vec<(QueueNumber, String)>,
    /// In force.
    pub(super) schemas: Vec<EventSchema>,
    /// Of the sources whose links were asked for.
    pub(super) links: HashMap<SourceId, Vec<SourceLink>>,
}

impl Known {
    /// Reads it.
    pub(super) async fn load(tx: &mut dyn Tx) -> StoreResult<Self> {
        let (own, sources) = tx
            .source_list()
            .await?
            .into_iter()
            .partition(|source| source.scheme == OWN_SOURCE);
        let mut bindings = tx.binding_list().await?;
        // In the order in which they were made.
        bindings.sort_by_key(|binding| binding.id);
        Ok(Self {
            version: tx.config_version().await?,
            tenants: tx.tenant_list().await?,
            sources,
            own,
            endpoints: tx.endpoint_list().await?,
            bindings,
            schedules: schedules::all(tx).await?,
            queues: tx.queue_list().await?,
            schemas: tx.schema_list(None).await?,
            links: HashMap::new(),
        })
    }

    /// Reads the links of some sources as well, which is the platform's alone; refused where they are too many.
    pub(super) async fn links_load(
        &mut self,
        tx: &mut dyn Tx,
        wanted: impl Fn(&Source) -> bool,
    ) -> StoreResult<Result<(), Problem>> {
        let mut room = limits::CONFIGURATION_LINKS_MAX;
        for source in self.sources.iter().filter(|source| wanted(source)) {
            let filter = LinkFilter {
                source: source.id,
                tenant: None,
                value: None,
                prefix: None,
                before: None,
            };
            let links = tx.link_list(&filter, room as i64 + 1).await?;
            let Some(left) = room.checked_sub(links.len()) else {
                return Ok(Err(too_many_links(&source.name)));
            };
            room = left;
            self.links.insert(source.id, links);
        }
        Ok(Ok(()))
    }

    /// The links of a source that were read.
    pub(super) fn links_of(&self, source: SourceId) -> &[SourceLink] {
        self.links.get(&source).map_or(&[], Vec::as_slice)
    }

    /// The schemas of a source that are in force.
    pub(super) fn schemas_of(&self, source: SourceId) -> impl Iterator<Item = &EventSchema> {
        self.schemas.iter().filter(move |one| one.source == source)
    }

    pub(super) fn slug(&self, id: TenantId) -> String {
        let found = self.tenants.iter().find(|tenant| tenant.id == id);
        found.map_or_else(|| id.to_string(), |tenant| tenant.slug.clone())
    }

    /// The number of a queue, if there is one of that name.
    pub(super) fn queue_number(&self, name: &str) -> Option<QueueNumber> {
        let found = self.queues.iter().find(|(_, known)| known == name);
        found.map(|(number, _)| *number)
    }

    /// The names that forms of schedules show.
    pub(super) fn schedule_names(&self) -> api::schedules::Names {
        api::schedules::Names::of(
            self.queues.iter().cloned(),
            self.endpoints.iter().map(|one| (one.id, one.name.clone())),
        )
    }

    /// The names that forms of bindings show.
    pub(super) fn names(&self) -> Names {
        let sources = self.sources.iter().chain(&self.own);
        Names::of(
            sources.map(|one| (one.id, one.name.clone())),
            self.endpoints.iter().map(|one| (one.id, one.name.clone())),
            // No figures: they are nobody's to declare.
            Arc::default(),
        )
    }
}

/// One change, as it is shown and as it is made.
pub(super) struct Step {
    pub(super) change: ChangeView,
    pub(super) tenant: TenantId,
    pub(super) subject: String,
    pub(super) write: Write,
}

/// What is written.
pub(super) enum Write {
    /// Adds a source with its schemas and links.
    SourceInsert(Box<(Source, Vec<EventSchema>, Vec<SourceLink>)>),
    /// Changes a source, and which secrets it has.
    SourceUpdate(Box<SourceUpdate>),
    /// Removes a source.
    SourceDelete(SourceId),
    /// Adds an endpoint, with a queue of its own.
    EndpointInsert(Box<Endpoint>),
    /// Changes an endpoint.
    EndpointUpdate(Box<Endpoint>),
    /// Removes an endpoint.
    EndpointDelete(EndpointId),
    /// Adds a binding.
    BindingInsert(Box<Binding>),
    /// Changes a binding.
    BindingUpdate(Box<Binding>),
    /// Removes a binding.
    BindingDelete(BindingId),
    /// Adds a schedule.
    ScheduleInsert(Box<PlacedSchedule>),
    /// Changes a schedule.
    ScheduleUpdate(Box<PlacedSchedule>),
    /// Removes a schedule.
    ScheduleDelete(ScheduleId),
}

/// A schedule, and the queue of workers that its jobs wait in, if they do: it may be yet to be made.
pub(super) struct PlacedSchedule {
    pub(super) schedule: Schedule,
    pub(super) workers: Option<String>,
}

/// How a source changes.
pub(super) struct SourceUpdate {
    pub(super) source: Source,
    pub(super) added: Vec<SourceSecret>,
    pub(super) removed: Vec<SecretId>,
    /// New versions of schemas.
    pub(super) schemas_added: Vec<EventSchema>,
    /// Schemas that go.
    pub(super) schemas_removed: Vec<SchemaId>,
    pub(super) links_added: Vec<SourceLink>,
    pub(super) links_removed: Vec<SourceLink>,
    /// Whether anything but its secrets, schemas and links changes.
    pub(super) itself: bool,
}

/// All changes, in the order in which they are made.
pub(super) struct Plan {
    pub(super) version: i64,
    pub(super) steps: Vec<Step>,
    pub(super) unchanged: usize,
    pub(super) unmanaged: Vec<ThingView>,
}

impl Plan {
    /// Kinds and ids of what changes.
    pub(super) fn touched(&self) -> Vec<(&'static str, String)> {
        let steps = self.steps.iter();
        steps
            .map(|step| (step.change.kind.as_str(), step.subject.clone()))
            .collect()
    }

    /// Whether something that waits may be somebody's now.
    pub(super) fn links(&self) -> bool {
        self.steps.iter().any(|step| match &step.write {
            Write::SourceInsert(made) => !made.2.is_empty(),
            Write::SourceUpdate(update) => !update.links_added.is_empty(),
            _ => false,
        })
    }
}

/// Makes a plan.
pub(super) struct Planner<'p> {
    app: &'p App,
    caller: &'p Caller,
    known: &'p Known,
    prune: bool,
    now: Timestamp,
    checks: Checks,
    /// What is refused for another reason than that the declaration is wrong.
    refused: Option<Problem>,
    steps: Vec<Step>,
    unchanged: usize,
    names: Names,
    /// Sources and endpoints that there will be.
    sources: HashMap<String, (SourceId, TenantId)>,
    endpoints: HashMap<(TenantId, String), EndpointId>,
    /// The tenants that the declaration is about.
    about: BTreeSet<TenantId>,
    /// What is declared and there.
    kept: BTreeSet<String>,
    /// Schedules that each tenant is to have more.
    schedules_made: HashMap<TenantId, i64>,
}

impl<'p> Planner<'p> {
    /// A planner for what there is.
    pub(super) fn new(app: &'p App, caller: &'p Caller, known: &'p Known, prune: bool) -> Self {
        Self {
            app,
            caller,
            known,
            prune,
            now: app.clock.now(),
            checks: Checks::default(),
            refused: None,
            steps: Vec::new(),
            unchanged: 0,
            names: known.names(),
            sources: HashMap::new(),
            endpoints: HashMap::new(),
            about: BTreeSet::new(),
            schedules_made: HashMap::new(),
            kept: BTreeSet::new(),
        }
    }

    /// The plan, or everything that is wrong.
    pub(super) fn plan(mut self, wanted: &Wanted) -> Result<Plan, Problem> {
        let whole = self.tenant("/configuration/tenant", wanted.tenant.as_deref(), None);
        if wanted.tenant.is_some() {
            self.about.extend(whole);
        }
        for source in &wanted.sources {
            if let Some(tenant) = self.tenant_of(&source.at, source.tenant.as_deref(), whole) {
                self.source(source, tenant);
            }
        }
        for endpoint in &wanted.endpoints {
            if let Some(tenant) = self.tenant_of(&endpoint.at, endpoint.tenant.as_deref(), whole) {
                self.endpoint(endpoint, tenant);
            }
        }
        self.bindings(&wanted.bindings);
        for schedule in &wanted.schedules {
            if let Some(tenant) = self.tenant_of(&schedule.at, schedule.tenant.as_deref(), whole) {
                self.schedule(schedule, tenant);
            }
        }
        if let Some(problem) = self.refused {
            return Err(problem);
        }
        let unmanaged = self.others();
        self.checks.done()?;
        Ok(Plan {
            version: self.known.version,
            steps: self.steps,
            unchanged: self.unchanged,
            unmanaged,
        })
    }

    fn tenant_of(
        &mut self,
        at: &str,
        asked: Option<&str>,
        whole: Option<TenantId>,
    ) -> Option<TenantId> {
        let tenant = self.tenant(&format!("{at}/tenant"), asked, whole)?;
        self.about.insert(tenant);
        Some(tenant)
    }

    /// The tenant of this slug; without one the whole file's, the caller's own or the default.
    fn tenant(
        &mut self,
        at: &str,
        asked: Option<&str>,
        whole: Option<TenantId>,
    ) -> Option<TenantId> {
        let tenants = &self.known.tenants;
        let found = match asked {
            Some(slug) => tenants.iter().find(|tenant| tenant.slug == slug),
            None => resolve::tenant_of_new(tenants, whole.or(self.caller.tenant)),
        };
        match found.map(|tenant| self.caller.admit(Some(tenant.id))) {
            Some(Ok(admitted)) => admitted,
            Some(Err(problem)) => {
                self.refused.get_or_insert(problem);
                None
            }
            // Whether the slug is another tenant's or nobody's is not for a bound key to know.
            None if self.caller.tenant.is_some() => {
                if let Err(problem) = self.caller.admit(Some(TenantId::NIL)) {
                    self.refused.get_or_insert(problem);
                }
                None
            }
            None => {
                let detail = match asked {
                    Some(_) => "there is no tenant of this slug",
                    None => "is needed: there are several tenants",
                };
                self.checks.fail(at, detail);
                None
            }
        }
    }

    fn step(
        &mut self,
        action: Action,
        kind: Kind,
        tenant: TenantId,
        named: (&str, String),
        fields: Vec<FieldChange>,
        write: Write,
    ) {
        let (name, id) = named;
        self.steps.push(Step {
            change: ChangeView {
                action,
                kind,
                tenant: self.known.slug(tenant),
                name: name.to_owned(),
                id: Some(id.clone()),
                fields,
            },
            tenant,
            subject: id,
            write,
        });
    }

    /// What is there and not declared, in the tenants that the declaration is about: removed, bindings first, or listed.
    fn others(&mut self) -> Vec<ThingView> {
        let known = self.known;
        let bindings = known.bindings.iter().map(|one| {
            let write = Write::BindingDelete(one.id);
            (
                Kind::Binding,
                one.tenant,
                &one.name,
                one.id.to_string(),
                write,
            )
        });
        let sources = known.sources.iter().map(|one| {
            let write = Write::SourceDelete(one.id);
            (
                Kind::Source,
                one.tenant,
                &one.name,
                one.id.to_string(),
                write,
            )
        });
        let endpoints = known.endpoints.iter().map(|one| {
            let write = Write::EndpointDelete(one.id);
            (
                Kind::Endpoint,
                one.tenant,
                &one.name,
                one.id.to_string(),
                write,
            )
        });
        let schedules = known.schedules.iter().map(|one| {
            let write = Write::ScheduleDelete(one.id);
            (
                Kind::Schedule,
                one.tenant,
                &one.name,
                one.id.to_string(),
                write,
            )
        });
        let mut listed = Vec::new();
        // What refers to an endpoint goes before it.
        let all = schedules.chain(bindings).chain(sources).chain(endpoints);
        for (kind, tenant, name, id, write) in all {
            if !self.about.contains(&tenant) || self.kept.contains(&id) {
                continue;
            }
            if self.prune {
                let source = known.sources.iter().find(|one| one.id.to_string() == id);
                if source.is_some_and(|source| rule_removable(self.caller, source).is_err()) {
                    let detail = format!(
                        "would remove the source '{name}' with its rule, which a key that is bound to one tenant cannot"
                    );
                    self.checks.fail("/prune", detail);
                    continue;
                }
                let named = (name.as_str(), id);
                self.step(Action::Delete, kind, tenant, named, Vec::new(), write);
            } else {
                listed.push(ThingView {
                    kind,
                    tenant: known.slug(tenant),
                    name: name.clone(),
                    id,
                });
            }
        }
        listed
    }
}

/// Whether two secrets are one, without telling by the time taken where they differ.
fn same(one: &str, other: &str) -> bool {
    Secret::from(one).matches(other)
}

fn secret_field(field: &str) -> FieldChange {
    FieldChange {
        field: field.into(),
        old: None,
        new: None,
        secret: true,
    }
}

/// A form with the tenant that it needs to be understood elsewhere.
pub(super) fn of_tenant(mut form: Form, tenant: &str, whole: &str) -> Form {
    if tenant != whole {
        form.insert("tenant".into(), tenant.into());
    }
    form
}

/// Why more cannot be exported at once.
pub(super) fn too_many(count: usize, most: usize) -> Problem {
    Problem::new(
        Code::ValidationFailed,
        format!(
            "there are {count} things, and at most {most} are applied at once: export one tenant at a time with ?tenant="
        ),
    )
}

/// Why a source's links are neither compared nor exported.
fn too_many_links(source: &str) -> Problem {
    Problem::new(
        Code::ValidationFailed,
        format!(
            "there are more than {} links, at the source '{source}' and those before it: leave links out, and keep them by \
             its own routes",
            limits::CONFIGURATION_LINKS_MAX
        ),
    )
}
