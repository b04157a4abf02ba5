//! What intake knows of sources, bindings and endpoints: one snapshot, replaced as a whole.
//!
//! Every append checks the snapshot's version in its own transaction, so that no event is ever matched with bindings
//! that were replaced, on any node, without a message between nodes.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use mainstay_domain::{
    BindingId, EndpointId, SchemaId, SecretId, SourceId, TenantId,
    intake::{
        Binding, Config, HandlerRef, OWN_SOURCE, Source,
        ordering::Ordering,
        schemas::{EventSchema, SchemaCheck, Violation},
        scheme::PreparedScheme,
        settings::SourceSettings,
    },
    jobs::{Endpoint, QueueNumber},
};

use super::{
    abuse::Allowance,
    expect::{OBSERVE, Watched},
    filter::Filter,
    schema::{Checked, Schema},
    scheme::{Accepted, prepare},
    tenants::Finder,
};

/// The job kind of a push to an endpoint.
pub const DELIVER: &str = "endpoint.deliver";

/// All doors, as of one version of the configuration.
pub(crate) struct Doors {
    /// The version.
    pub(crate) version: i64,
    by_name: HashMap<String, Arc<Door>>,
    own: Option<Arc<Door>>,
    endpoints: HashMap<EndpointId, Arc<Endpoint>>,
    /// The filters of this version by their text, so that the next one reads only what is new.
    filters: HashMap<String, Arc<Filter>>,
    /// The compiled schemas of this version by id and version, for the same reason. None: one that cannot be used.
    schemas: HashMap<(SchemaId, i32), Option<Arc<Schema>>>,
}

/// One source, ready to verify and to match.
pub(crate) struct Door {
    /// The source.
    pub(crate) source: Source,
    /// Its settings.
    pub(crate) settings: SourceSettings,
    /// Its scheme with keys prepared; `None` for the source of our own events, which no request can reach.
    pub(crate) scheme: Option<PreparedScheme>,
    /// How the tenant of each event is found; none: it is the source's own.
    pub(super) tenants: Option<Finder>,
    rules: Vec<Rule>,
    /// The most exact first.
    schemas: Vec<Expected>,
    /// What its provider may send, and what strangers may try.
    pub(super) allowance: Arc<Allowance>,
    /// What must come after what, as far as this door's events are in it, with the queue of their jobs.
    watched: Option<(Vec<Watched>, QueueNumber)>,
}

/// What events of some types are expected to look like.
struct Expected {
    is: EventSchema,
    schema: Arc<Schema>,
}

/// A binding with the queue that its jobs wait in.
struct Rule {
    binding: Binding,
    kind: String,
    endpoint: Option<EndpointId>,
    queue: QueueNumber,
    filter: Option<RuleFilter>,
}

/// The filter of a binding.
pub(crate) enum RuleFilter {
    /// One that can be evaluated.
    Ready(Arc<Filter>),
    /// One that this program cannot read, since a newer one wrote it: it fails for every event.
    Unreadable,
}

/// A job that a binding asks for.
pub(crate) struct Wanted<'a> {
    /// None where it is no binding's: a rule of expected events asks.
    pub(crate) binding: Option<BindingId>,
    pub(crate) kind: &'a str,
    pub(crate) endpoint: Option<EndpointId>,
    pub(crate) queue: QueueNumber,
    /// What the event must pass first.
    pub(crate) filter: Option<&'a RuleFilter>,
    /// The order that the job keeps with others.
    pub(crate) ordering: Option<&'a Ordering>,
    /// Its deadline: so many seconds after it is made.
    pub(crate) expires_in_secs: Option<i64>,
    /// What the job carries beside the event.
    pub(crate) payload: Option<Bytes>,
}

/// The queues of built-in job kinds.
pub type BuiltinQueues = HashMap<String, QueueNumber>;

impl Doors {
    /// Prepares a loaded configuration. A source whose settings cannot be understood (written by a newer version) is
    /// left out and logged: its requests are answered 404 and redelivered later. `before`: the doors that these replace.
    pub(crate) fn new(config: Config, builtin: &BuiltinQueues, before: Option<&Self>) -> Self {
        let endpoints: HashMap<_, _> = config
            .endpoints
            .into_iter()
            .map(|endpoint| (endpoint.id, Arc::new(endpoint)))
            .collect();
        let mut filters = HashMap::new();
        let mut rules: HashMap<SourceId, Vec<Rule>> = HashMap::new();
        for binding in config
            .bindings
            .into_iter()
            .filter(|binding| binding.enabled)
        {
            let filter = binding
                .filter
                .as_deref()
                .map(|text| rule_filter(text, before, &mut filters));
            if let Some(rule) = Rule::new(binding, &endpoints, builtin, filter) {
                rules.entry(rule.binding.source).or_default().push(rule);
            }
        }
        let mut schemas = HashMap::new();
        let mut expected: HashMap<SourceId, Vec<Expected>> = HashMap::new();
        for is in config.schemas {
            if let Some(schema) = compiled(&is, before, &mut schemas) {
                let of_source = expected.entry(is.source).or_default();
                of_source.push(Expected { is, schema });
            }
        }
        let mut doors = Self {
            version: config.version,
            by_name: HashMap::new(),
            own: None,
            endpoints,
            filters,
            schemas,
        };
        let mut watched = watched(&config.sources);
        for source in config.sources {
            let watched = watched
                .remove(&source.id)
                .zip(builtin.get(OBSERVE).copied());
            let rules = rules.remove(&source.id).unwrap_or_default();
            let expected = expected.remove(&source.id).unwrap_or_default();
            let known = before.and_then(|doors| doors.by_name.get(&source.name));
            let known = known.filter(|door| door.source.id == source.id);
            let allowance = known.map(|door| Arc::clone(&door.allowance));
            let allowance = allowance.unwrap_or_default();
            match Door::new(source, rules, expected, watched, allowance) {
                Ok(door) if door.scheme.is_none() => doors.own = Some(Arc::new(door)),
                Ok(door) => drop(
                    doors
                        .by_name
                        .insert(door.source.name.clone(), Arc::new(door)),
                ),
                Err((name, problem)) => {
                    tracing::error!(source = name, problem, "a source cannot be used");
                }
            }
        }
        doors
    }

    /// The door of this name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Door>> {
        self.by_name.get(name).cloned()
    }

    /// The door of this source.
    pub(crate) fn of_source(&self, id: SourceId) -> Option<Arc<Door>> {
        self.by_name
            .values()
            .find(|door| door.source.id == id)
            .cloned()
    }

    /// All doors that requests can come in by.
    pub(crate) fn all(&self) -> Vec<Arc<Door>> {
        self.by_name.values().cloned().collect()
    }

    /// The other doors of this source's tenant, by name, at most so many. Our own events' is none of them.
    pub(crate) fn beside(&self, source: &Source, limit: usize) -> Vec<Arc<Door>> {
        let mut doors: Vec<Arc<Door>> = self
            .by_name
            .values()
            .filter(|door| door.source.tenant == source.tenant && door.source.id != source.id)
            .cloned()
            .collect();
        doors.sort_by(|one, other| one.source.name.cmp(&other.source.name));
        doors.truncate(limit);
        doors
    }

    /// The source of our own events.
    pub(crate) fn own(&self) -> Option<Arc<Door>> {
        self.own.clone()
    }

    /// The source and types of every schema.
    pub(crate) fn schema_names(&self) -> HashMap<SchemaId, (&str, &str)> {
        let doors = self.by_name.values();
        let expected = doors.flat_map(|door| {
            let source = door.source.name.as_str();
            door.schemas.iter().map(move |one| (source, &one.is))
        });
        expected
            .map(|(source, is)| (is.id, (source, is.types.as_str())))
            .collect()
    }

    /// One endpoint.
    pub(crate) fn endpoint(&self, id: EndpointId) -> Option<Arc<Endpoint>> {
        self.endpoints.get(&id).cloned()
    }
}

/// What the rules of all sources ask of each source's events: what must come may come in by another source of the tenant.
fn watched(sources: &[Source]) -> HashMap<SourceId, Vec<Watched>> {
    let mut watched: HashMap<SourceId, Vec<Watched>> = HashMap::new();
    for source in sources {
        let settings: SourceSettings = serde_json::from_str(&source.settings).unwrap_or_default();
        // Written by a newer program: what it says is not watched by this one.
        for rule in settings.expect_rules().unwrap_or_default() {
            let other = sources.iter().find(|other| match &rule.expect.source {
                Some(name) => other.name == *name && other.tenant == source.tenant,
                None => other.id == source.id,
            });
            let Some(other) = other else {
                tracing::warn!(
                    source = source.name,
                    rule = rule.name,
                    "no source of the tenant has the name that a rule of expected events names"
                );
                continue;
            };
            let (after, then) = Watched::sides(source.id, &rule);
            watched.entry(source.id).or_default().push(after);
            watched.entry(other.id).or_default().push(then);
        }
    }
    watched
}

impl Rule {
    fn new(
        binding: Binding,
        endpoints: &HashMap<EndpointId, Arc<Endpoint>>,
        builtin: &BuiltinQueues,
        filter: Option<RuleFilter>,
    ) -> Option<Self> {
        let (kind, endpoint, queue) = match &binding.handler {
            HandlerRef::Endpoint(id) => (DELIVER.to_owned(), Some(*id), endpoints.get(id)?.queue),
            HandlerRef::Builtin(kind) => (kind.clone(), None, *builtin.get(kind)?),
        };
        Some(Self {
            binding,
            kind,
            endpoint,
            queue,
            filter,
        })
    }
}

fn rule_filter(
    text: &str,
    before: Option<&Doors>,
    filters: &mut HashMap<String, Arc<Filter>>,
) -> RuleFilter {
    let known = filters
        .get(text)
        .or_else(|| before.and_then(|doors| doors.filters.get(text)));
    let filter = match known {
        Some(filter) => Ok(Arc::clone(filter)),
        None => Filter::new(text).map(Arc::new),
    };
    match filter {
        Ok(filter) => {
            filters.insert(text.to_owned(), Arc::clone(&filter));
            RuleFilter::Ready(filter)
        }
        Err(problem) => {
            tracing::error!(%problem, "a binding's filter cannot be used");
            RuleFilter::Unreadable
        }
    }
}

/// A schema, compiled once for all versions of the configuration that have it.
fn compiled(
    is: &EventSchema,
    before: Option<&Doors>,
    schemas: &mut HashMap<(SchemaId, i32), Option<Arc<Schema>>>,
) -> Option<Arc<Schema>> {
    let key = (is.id, is.version);
    let known = before.and_then(|doors| doors.schemas.get(&key));
    let schema = known.cloned().unwrap_or_else(|| {
        Schema::parse(&is.schema).map(Arc::new).map_or_else(
            |problem| {
                // A newer program wrote it: events of its types are not checked by this one.
                tracing::error!(schema = %is.id, %problem, "a schema cannot be used");
                None
            },
            Some,
        )
    });
    schemas.insert(key, schema.clone());
    schema
}

impl Door {
    fn new(
        source: Source,
        rules: Vec<Rule>,
        mut schemas: Vec<Expected>,
        watched: Option<(Vec<Watched>, QueueNumber)>,
        allowance: Arc<Allowance>,
    ) -> Result<Self, (String, String)> {
        schemas.sort_by_key(|one| {
            let prefix = one.is.types.ends_with('*');
            (prefix, std::cmp::Reverse(one.is.types.len()))
        });
        let settings: SourceSettings = serde_json::from_str(&source.settings)
            .map_err(|error| (source.name.clone(), error.to_string()))?;
        let scheme = match source.scheme.as_str() {
            OWN_SOURCE => None,
            _ => Some(
                prepare(&source, &settings).map_err(|problem| (source.name.clone(), problem))?,
            ),
        };
        let rule = settings
            .tenant_rule()
            .map_err(|problem| (source.name.clone(), problem.to_string()))?;
        Ok(Self {
            source,
            settings,
            scheme,
            tenants: rule.map(Finder::new),
            rules,
            schemas,
            allowance,
            watched,
        })
    }

    /// The secret that a verified request was signed with.
    pub(super) fn secret(&self, accepted: &Accepted) -> Option<SecretId> {
        let secret = self.source.secrets.get(accepted.secret_index);
        secret.map(|secret| secret.id)
    }

    /// Whether the source has this secret; where it goes by none, it has what it needs.
    pub(super) fn has_secret(&self, secret: Option<SecretId>) -> bool {
        let own = |id| self.source.secrets.iter().any(|one| one.id == id);
        secret.is_none_or(own)
    }

    /// What the schema of this type says of a payload. Costs nothing where the source has no schema.
    pub(crate) fn check(&self, kind: &str, payload: &[u8]) -> SchemaCheck {
        let Some(expected) = self.schemas.iter().find(|one| one.is.matches(kind)) else {
            return SchemaCheck::None;
        };
        match expected.schema.check(payload) {
            Checked::Fits => SchemaCheck::Fits(expected.is.id),
            Checked::TooLarge => SchemaCheck::TooLarge(expected.is.id),
            Checked::Violates {
                problems,
                incomplete,
            } => SchemaCheck::Violates {
                violation: Box::new(Violation {
                    schema: expected.is.id,
                    version: expected.is.version,
                    problems,
                }),
                incomplete,
            },
        }
    }

    /// The header that carries the source's secret itself.
    pub(crate) fn credential_header(&self) -> Option<&str> {
        self.scheme.as_ref()?.scheme().credential_header()
    }

    /// The jobs that an event of this type and tenant makes, where it passes their filters.
    ///
    /// A binding of our own source hears of its own tenant's affairs, or, when it belongs to the tenant that owns the
    /// source, of everybody's.
    pub(crate) fn wanted<'a>(
        &'a self,
        kind: &'a str,
        tenant: TenantId,
    ) -> impl Iterator<Item = Wanted<'a>> {
        let own = self.scheme.is_none();
        self.rules
            .iter()
            .filter(move |rule| {
                !own || rule.binding.tenant == tenant || rule.binding.tenant == self.source.tenant
            })
            .filter(move |rule| rule.binding.matches(kind))
            .map(|rule| Wanted {
                binding: Some(rule.binding.id),
                kind: &rule.kind,
                endpoint: rule.endpoint,
                queue: rule.queue,
                filter: rule.filter.as_ref(),
                ordering: rule.binding.ordering.as_ref(),
                expires_in_secs: rule.binding.expires_in_secs,
                payload: None,
            })
            .chain(self.observed(kind))
    }

    /// The job that rules of expected events ask for. Costs nothing where there is no rule.
    fn observed(&self, kind: &str) -> Option<Wanted<'_>> {
        let (watched, queue) = self.watched.as_ref()?;
        Some(Wanted {
            binding: None,
            kind: OBSERVE,
            endpoint: None,
            queue: *queue,
            filter: None,
            ordering: None,
            expires_in_secs: None,
            payload: Some(Watched::payload(watched, kind)?),
        })
    }
}
