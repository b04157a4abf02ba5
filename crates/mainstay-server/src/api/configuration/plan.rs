//! What has to be done so that everything is as it is declared. It only compares: nothing is changed here, so that
//! whatever is wrong is found before the first change.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use mainstay_domain::{
    BindingId, EndpointId, SchemaId, SecretId, SourceId, StoreResult, TenantId, Timestamp, Tx,
    access::Tenant,
    intake::{
        Binding, HandlerRef, OWN_SOURCE, Source, SourceSecret, schemas::EventSchema,
        scheme::Secret, settings::SourceSettings,
    },
    jobs::{Endpoint, secret::EndpointSecret},
};

use super::{
    Action, ChangeView, FieldChange, Form, Kind, ThingView,
    declared::{Wanted, WantedBinding, WantedEndpoint, WantedSource},
    form,
};
use crate::{
    access::Caller,
    api::{
        bindings::{Names, NewHandler, name_of_rule},
        endpoints::{blank, settings_of, signing_secret},
        resolve,
        sources::{
            fresh_secret, hint, rule_allowed, rule_removable,
            schemas::{Next, next},
        },
    },
    http::{Code, Problem, extract::Checks},
    state::App,
};

/// What there is, within the caller's reach.
pub(super) struct Known {
    pub(super) version: i64,
    pub(super) tenants: Vec<Tenant>,
    /// Without our own, which is nobody's to declare.
    pub(super) sources: Vec<Source>,
    pub(super) own: Vec<Source>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) bindings: Vec<Binding>,
    /// In force.
    pub(super) schemas: Vec<EventSchema>,
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
            schemas: tx.schema_list(None).await?,
        })
    }

    /// The schemas of a source that are in force.
    pub(super) fn schemas_of(&self, source: SourceId) -> impl Iterator<Item = &EventSchema> {
        self.schemas.iter().filter(move |one| one.source == source)
    }

    pub(super) fn slug(&self, id: TenantId) -> String {
        let found = self.tenants.iter().find(|tenant| tenant.id == id);
        found.map_or_else(|| id.to_string(), |tenant| tenant.slug.clone())
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
    /// Adds a source with its schemas.
    SourceInsert(Box<(Source, Vec<EventSchema>)>),
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
    /// Whether anything but its secrets and schemas changes.
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

    fn source(&mut self, wanted: &WantedSource, tenant: TenantId) {
        let found = self
            .known
            .sources
            .iter()
            .find(|one| one.name == wanted.name);
        let base = match found {
            Some(known) if known.tenant != tenant => {
                let detail = format!(
                    "is not its tenant, which is '{}': a source does not move",
                    self.known.slug(known.tenant)
                );
                return self.checks.fail(format!("{}/tenant", wanted.at), detail);
            }
            Some(known) if known.scheme != wanted.scheme.as_str() => {
                let detail = format!(
                    "cannot be changed: the source has the scheme '{}'; remove it first, or declare another name",
                    known.scheme
                );
                return self.checks.fail(format!("{}/scheme", wanted.at), detail);
            }
            Some(known) => Source {
                enabled: true,
                settings: token_alone(known),
                ..known.clone()
            },
            None => Source {
                id: SourceId::new(self.now, &*self.app.random),
                number: 0,
                tenant,
                name: wanted.name.clone(),
                scheme: wanted.scheme.as_str().into(),
                settings: token_alone_of(None),
                enabled: true,
                secrets: Vec::new(),
                created_at: self.now,
                updated_at: self.now,
            },
        };
        self.sources
            .insert(wanted.name.clone(), (base.id, base.tenant));
        let secrets = self.secrets(&base.secrets, wanted.secrets.as_deref());
        let base = Source {
            secrets: secrets.list,
            ..base
        };
        let source = match wanted.change.apply(base, self.now) {
            Ok(source) => source,
            Err(problem) => return self.source_wrong(&wanted.at, problem),
        };
        if rule_allowed(self.caller, found, &source).is_err() {
            let at = format!("{}/settings/tenant", wanted.at);
            return self
                .checks
                .fail(at, "is not for a key to change that is bound to one tenant");
        }
        let named = (source.name.clone(), source.id.to_string());
        let without = std::iter::empty;
        let mut fields = form::differences(
            &found
                .map(|known| form::source(known, without()))
                .unwrap_or_default(),
            &form::source(&source, without()),
        );
        hidden(&mut fields, found, &source, wanted);
        let itself = !fields.is_empty();
        let schemas = self.schemas(&source, wanted.schemas.as_ref(), &mut fields);
        if !secrets.added.is_empty() || !secrets.removed.is_empty() {
            fields.push(FieldChange {
                field: "/secrets".into(),
                old: found.map(|known| hints(&known.secrets)),
                new: Some(hints(&source.secrets)),
                secret: true,
            });
        }
        let (action, write) = match found {
            None => {
                let write = Write::SourceInsert(Box::new((source, schemas.added)));
                (Action::Create, write)
            }
            Some(_) => (
                Action::Update,
                Write::SourceUpdate(Box::new(SourceUpdate {
                    source,
                    added: secrets.added,
                    removed: secrets.removed,
                    schemas_added: schemas.added,
                    schemas_removed: schemas.removed,
                    itself,
                })),
            ),
        };
        self.kept.insert(named.1.clone());
        if action == Action::Update && fields.is_empty() {
            self.unchanged += 1;
        } else {
            let named = (&*named.0, named.1);
            self.step(action, Kind::Source, tenant, named, fields, write);
        }
    }

    /// What becomes of a source's schemas, told field by field.
    fn schemas(
        &self,
        source: &Source,
        wanted: Option<&Form>,
        fields: &mut Vec<FieldChange>,
    ) -> Schemas {
        let mut schemas = Schemas::default();
        let Some(wanted) = wanted else {
            return schemas;
        };
        let known: Vec<EventSchema> = self.known.schemas_of(source.id).cloned().collect();
        for (types, schema) in wanted {
            let fresh = SchemaId::new(self.now, &*self.app.random);
            let wanted = (types.as_str(), schema);
            if let Next::Version(version) = next(&known, source, fresh, wanted, self.now) {
                schemas.added.push(version);
            }
        }
        let gone = known.iter().filter(|one| !wanted.contains_key(&one.types));
        schemas.removed = gone.map(|one| one.id).collect();
        let before = form::source(source, known.iter());
        let gone = |one: &&EventSchema| !schemas.removed.contains(&one.id);
        let kept = known.iter().filter(gone);
        let after = form::source(source, kept.chain(&schemas.added));
        fields.extend(form::differences(&before, &after));
        schemas
    }

    /// What a source calls its secret stands in a list here.
    fn source_wrong(&mut self, at: &str, problem: Problem) {
        let mut body = problem.body();
        for error in body
            .errors
            .iter_mut()
            .filter(|one| one.pointer == "/secret")
        {
            error.pointer = "/secrets".into();
        }
        let problem = match body.errors.is_empty() {
            true => problem,
            false => Problem::fields(body.errors),
        };
        self.checks.below(at, problem);
    }

    /// The secrets that are to be, of which those that are known stay what they are.
    fn secrets(&self, known: &[SourceSecret], wanted: Option<&[String]>) -> Secrets {
        let Some(wanted) = wanted else {
            return Secrets {
                list: known.to_vec(),
                added: Vec::new(),
                removed: Vec::new(),
            };
        };
        let mut list = Vec::new();
        let mut added = Vec::new();
        for (index, text) in (0..).zip(wanted) {
            let same = known.iter().find(|one| same(&one.secret, text));
            let secret = same.cloned().unwrap_or_else(|| {
                let id = SecretId::new(self.now, &*self.app.random);
                // Newest first is their order everywhere; so it is that of the list.
                let at = Timestamp::from_micros(self.now.micros() - index);
                let secret = fresh_secret(id, text.clone(), at);
                added.push(secret.clone());
                secret
            });
            list.push(secret);
        }
        let removed = known
            .iter()
            .map(|one| one.id)
            .filter(|id| list.iter().all(|kept| kept.id != *id))
            .collect();
        Secrets {
            list,
            added,
            removed,
        }
    }

    fn endpoint(&mut self, wanted: &WantedEndpoint, tenant: TenantId) {
        let key = (tenant, wanted.name.clone());
        if self.endpoints.contains_key(&key) {
            return self
                .checks
                .fail(format!("{}/name", wanted.at), "is declared twice");
        }
        let found = self
            .known
            .endpoints
            .iter()
            .find(|one| one.tenant == tenant && one.name == wanted.name);
        let id = found.map_or_else(
            || EndpointId::new(self.now, &*self.app.random),
            |known| known.id,
        );
        self.endpoints.insert(key, id);
        self.names.endpoint_add(id, wanted.name.clone());
        let fresh = blank(id, tenant, self.now);
        let mut base = match found {
            Some(known) => Endpoint {
                enabled: fresh.enabled,
                settings: fresh.settings,
                ..known.clone()
            },
            None => Endpoint {
                secrets: vec![EndpointSecret::new(signing_secret(&*self.app.random))],
                ..fresh
            },
        };
        let mut rotated = false;
        if let Some(secrets) = &wanted.secrets {
            let before = base.clone();
            base.secrets = (0..)
                .zip(secrets)
                .map(|(place, text)| secret_of(&before, place, text))
                .collect();
            // An overlap ends by itself, whatever is declared.
            let ending = before.secrets.iter().filter(|one| {
                one.until.is_some()
                    && !base
                        .secrets
                        .iter()
                        .any(|kept| same(&kept.secret, &one.secret))
            });
            let ending: Vec<_> = ending.cloned().collect();
            base.secrets.extend(ending);
            rotated = !base
                .secrets_in_force(self.now)
                .eq(before.secrets_in_force(self.now));
            if !rotated {
                base.secrets = before.secrets;
            }
        }
        if wanted.change.headers.is_some() {
            base.headers.clear();
        }
        let endpoint = match wanted.change.apply(base, self.now) {
            Ok(endpoint) => endpoint,
            Err(problem) => return self.checks.below(&wanted.at, problem),
        };
        let mut fields = form::differences(
            &found.map(form::endpoint).unwrap_or_default(),
            &form::endpoint(&endpoint),
        );
        if fields.is_empty() && found.is_some_and(|known| differs_unseen(known, &endpoint)) {
            fields.push(secret_field("/settings"));
        }
        if rotated {
            fields.push(secret_field("/secrets"));
        }
        self.kept.insert(id.to_string());
        let named = (wanted.name.as_str(), id.to_string());
        match found {
            Some(_) if fields.is_empty() => self.unchanged += 1,
            Some(_) => {
                let write = Write::EndpointUpdate(Box::new(endpoint));
                self.step(Action::Update, Kind::Endpoint, tenant, named, fields, write);
            }
            None => {
                let write = Write::EndpointInsert(Box::new(endpoint));
                self.step(Action::Create, Kind::Endpoint, tenant, named, fields, write);
            }
        }
    }

    /// The bindings: one that is declared is the known one of the same source, name and handler, else the oldest of the
    /// same source and name that is left.
    fn bindings(&mut self, wanted: &[WantedBinding]) {
        let mut targets: Vec<Target<'_>> = Vec::new();
        for one in wanted {
            if let Some(target) = self.target(one) {
                self.about.insert(target.tenant);
                targets.push(target);
            }
        }
        let mut left: Vec<&Binding> = self.known.bindings.iter().collect();
        for with_handler in [true, false] {
            for target in targets.iter_mut().filter(|target| target.known.is_none()) {
                let matches = |one: &&Binding| {
                    one.source == target.source
                        && one.name == target.name
                        && (!with_handler || one.handler == target.handler)
                };
                if let Some(at) = left.iter().position(matches) {
                    target.known = Some(left.remove(at));
                }
            }
        }
        let mut seen = BTreeMap::new();
        for target in &targets {
            let key = (target.source, &target.name, format!("{:?}", target.handler));
            let twice = seen.insert(key, ()).is_some();
            if twice && target.known.is_none() {
                self.checks.fail(
                    &target.wanted.at,
                    "is declared twice: the same source, name and handler",
                );
            }
        }
        for target in targets {
            self.binding(target);
        }
    }

    /// What a declared binding binds.
    fn target<'w>(&mut self, wanted: &'w WantedBinding) -> Option<Target<'w>> {
        let (source, tenant) = self.source_named(wanted)?;
        let handler = match &wanted.handler {
            NewHandler::Builtin { name } => {
                let known = self.app.mainstay.builtin.contains_key(name);
                self.checks.ensure(
                    known,
                    &format!("{}/handler/name", wanted.at),
                    "is no built-in handler",
                );
                HandlerRef::Builtin(name.clone())
            }
            NewHandler::Endpoint { endpoint_id } => {
                HandlerRef::Endpoint(self.endpoint_named(wanted, tenant, endpoint_id)?)
            }
        };
        let name = wanted.change.name.clone();
        Some(Target {
            wanted,
            source,
            tenant,
            name: name.unwrap_or_else(|| name_of_rule(&wanted.source, &wanted.type_pattern)),
            handler,
            known: None,
        })
    }

    fn source_named(&mut self, wanted: &WantedBinding) -> Option<(SourceId, TenantId)> {
        if let Some(found) = self.sources.get(&wanted.source) {
            return Some(*found);
        }
        let at = format!("{}/source", wanted.at);
        let mut there = self.known.sources.iter().chain(&self.known.own);
        let Some(source) = there.find(|one| one.name == wanted.source) else {
            self.checks
                .fail(at, "is no source, neither declared nor there");
            return None;
        };
        if self.prune && source.scheme != OWN_SOURCE {
            self.checks.fail(at, PRUNED);
            return None;
        }
        Some((source.id, source.tenant))
    }

    fn endpoint_named(
        &mut self,
        wanted: &WantedBinding,
        tenant: TenantId,
        asked: &str,
    ) -> Option<EndpointId> {
        if let Some(found) = self.endpoints.get(&(tenant, asked.to_owned())) {
            return Some(*found);
        }
        let at = format!("{}/endpoint", wanted.at);
        let id = asked.parse::<EndpointId>().ok();
        let found = self.known.endpoints.iter().find(|one| {
            one.tenant == tenant && (id == Some(one.id) || id.is_none() && one.name == asked)
        });
        let Some(endpoint) = found else {
            let detail = "is no endpoint of the source's tenant, neither declared nor there";
            self.checks.fail(at, detail);
            return None;
        };
        if self.prune && !self.kept.contains(&endpoint.id.to_string()) {
            self.checks.fail(at, PRUNED);
            return None;
        }
        Some(endpoint.id)
    }

    fn binding(&mut self, target: Target<'_>) {
        let known = target.known;
        let id = known.map_or_else(
            || BindingId::new(self.now, &*self.app.random),
            |known| known.id,
        );
        let base = Binding {
            id,
            tenant: target.tenant,
            name: target.name,
            source: target.source,
            type_pattern: String::new(),
            filter: None,
            handler: target.handler.clone(),
            enabled: true,
            created_at: known.map_or(self.now, |known| known.created_at),
        };
        let binding = target.wanted.change.apply(base, Some(target.handler));
        self.names
            .source_add(target.source, target.wanted.source.clone());
        let old = known
            .map(|known| form::binding(known, &self.names))
            .unwrap_or_default();
        let fields = form::differences(&old, &form::binding(&binding, &self.names));
        self.kept.insert(id.to_string());
        let name = binding.name.clone();
        let named = (name.as_str(), id.to_string());
        match known {
            Some(_) if fields.is_empty() => self.unchanged += 1,
            Some(_) => {
                let write = Write::BindingUpdate(Box::new(binding));
                self.step(
                    Action::Update,
                    Kind::Binding,
                    target.tenant,
                    named,
                    fields,
                    write,
                );
            }
            None => {
                let write = Write::BindingInsert(Box::new(binding));
                self.step(
                    Action::Create,
                    Kind::Binding,
                    target.tenant,
                    named,
                    fields,
                    write,
                );
            }
        }
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
        let mut listed = Vec::new();
        for (kind, tenant, name, id, write) in bindings.chain(sources).chain(endpoints) {
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

const PRUNED: &str = "is not declared, so that it would be removed";

/// The secrets of a source as they are to be.
struct Secrets {
    list: Vec<SourceSecret>,
    added: Vec<SourceSecret>,
    removed: Vec<SecretId>,
}

/// What becomes of a source's schemas.
#[derive(Default)]
struct Schemas {
    added: Vec<EventSchema>,
    removed: Vec<SchemaId>,
}

/// A binding that is wanted, with what it binds found.
struct Target<'w> {
    wanted: &'w WantedBinding,
    source: SourceId,
    tenant: TenantId,
    name: String,
    handler: HandlerRef,
    known: Option<&'w Binding>,
}

/// Whether two secrets are one, without telling by the time taken where they differ.
fn same(one: &str, other: &str) -> bool {
    Secret::from(one).matches(other)
}

/// A declared secret: one that is known keeps its end, so that what has ended stays so; the first has none.
fn secret_of(known: &Endpoint, place: usize, text: &str) -> EndpointSecret {
    let found = known
        .secrets
        .iter()
        .fold(None, |found, one| match same(&one.secret, text) {
            true => Some(one),
            false => found,
        });
    match found {
        Some(one) if place > 0 => one.clone(),
        _ => EndpointSecret::new(text),
    }
}

fn hints(secrets: &[SourceSecret]) -> serde_json::Value {
    secrets.iter().map(|one| hint(&one.secret)).collect()
}

fn secret_field(field: &str) -> FieldChange {
    FieldChange {
        field: field.into(),
        old: None,
        new: None,
        secret: true,
    }
}

/// Settings that say nothing but the verify token, which is a secret and stays unless another is named.
fn token_alone(known: &Source) -> String {
    let settings: SourceSettings = serde_json::from_str(&known.settings).unwrap_or_default();
    token_alone_of(settings.verify_token)
}

fn token_alone_of(verify_token: Option<String>) -> String {
    let settings = SourceSettings {
        verify_token,
        ..SourceSettings::default()
    };
    serde_json::to_string(&settings).unwrap_or_default()
}

/// What changes in settings that are not shown.
fn hidden(
    fields: &mut Vec<FieldChange>,
    known: Option<&Source>,
    source: &Source,
    wanted: &WantedSource,
) {
    let settings = |source: &Source| -> SourceSettings {
        serde_json::from_str(&source.settings).unwrap_or_default()
    };
    let token = |source: &Source| settings(source).verify_token.unwrap_or_default();
    let old = known.map(token).unwrap_or_default();
    if wanted.change.verify_token.is_some() && !same(&old, &token(source)) {
        return fields.push(secret_field("/verify_token"));
    }
    let differ = known.is_some_and(|known| settings(known) != settings(source));
    if differ && fields.is_empty() {
        fields.push(secret_field("/settings"));
    }
}

/// Whether an endpoint changes in what its view does not show, beside its secrets.
fn differs_unseen(known: &Endpoint, endpoint: &Endpoint) -> bool {
    let rest = |one: &Endpoint| Endpoint {
        settings: String::new(),
        secrets: Vec::new(),
        updated_at: known.updated_at,
        ..one.clone()
    };
    settings_of(known) != settings_of(endpoint) || rest(known) != rest(endpoint)
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
