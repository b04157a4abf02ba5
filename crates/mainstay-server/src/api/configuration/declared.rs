//! What is declared: read into the API's own bodies, with everything that is wrong said at once and where.
//!
//! Values may be secrets that a variable filled in, so no message repeats one.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use mainstay::intake::check_source;
use mainstay_domain::{
    intake::{
        links::{VALUE_CHARS_MAX, is_value},
        schemas::SCHEMAS_MAX,
        settings::SourceSettings,
    },
    jobs::secret::SECRETS_MAX,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};

use super::{Configuration, Form};
use crate::{
    api::{
        bindings::{BindingChange, NewHandler},
        endpoints::EndpointChange,
        schedules::ScheduleChange,
        sources::{Scheme, SourceChange, schemas},
    },
    http::{
        Problem,
        extract::{Checks, pointer},
        text::{Name, Text},
    },
    limits,
};

/// What a source has beside what can be changed of it.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "only described: it is read by hand, for its messages"
)]
struct SourceParts {
    /// Stands in the URL: `/in/{name}`.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    name: String,
    scheme: Scheme,
    /// The slug of its tenant.
    tenant: Option<Text<63>>,
    /// The signing secrets: those that it has already stay, the others of its secrets are removed. Left out: they stay as
    /// they are.
    #[schema(value_type = Option<Vec<String>>, max_items = 5)]
    secrets: Option<Vec<String>>,
    /// The JSON Schemas of its events by their types, each of which is one type, `prefix.*` or `*`. One that differs from
    /// what is in force becomes its next version; those that are not here are removed. Left out: they stay as they are.
    #[schema(value_type = Option<std::collections::BTreeMap<String, serde_json::Value>>)]
    schemas: Option<BTreeMap<String, Value>>,
    /// The slugs of tenants by the provider's values that stand for them; the empty value is for events in which none is
    /// found. Those that are not here are unlinked. Left out: links stay as they are. At most 1,000 in all.
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    links: Option<BTreeMap<String, String>>,
}

/// What an endpoint has beside what can be changed of it.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "only described: it is read by hand, for its messages"
)]
struct EndpointParts {
    /// Unique in the tenant.
    #[schema(value_type = Name<100>)]
    name: String,
    /// `http` or `https`. Private addresses are refused unless an administrator allows them.
    #[schema(max_length = 2048, format = "uri")]
    url: String,
    /// The slug of its tenant.
    tenant: Option<Text<63>>,
    /// What requests are signed with, the newest first: `whsec_…`. Left out: they stay as they are, and a new endpoint
    /// gets one that is not shown.
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 4)]
    secrets: Option<Vec<String>>,
}

/// What a binding has beside what can be changed of it.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "only described: it is read by hand, for its messages"
)]
struct BindingParts {
    /// The name of its source, whose tenant is the binding's.
    #[schema(min_length = 1, max_length = 100)]
    source: String,
    /// Exact types, `prefix.*` or `*`, several separated by commas.
    #[schema(min_length = 1, max_length = 6500)]
    type_pattern: String,
    /// The name of the endpoint; or else there is a handler.
    #[schema(max_length = 100)]
    endpoint: Option<String>,
}

/// What a schedule has beside what can be changed of it.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "only described: it is read by hand, for its messages"
)]
struct ScheduleParts {
    /// Unique in the tenant.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    name: String,
    /// Five fields, six with seconds first, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    #[schema(min_length = 1, max_length = 200)]
    cron: String,
    /// The slug of its tenant.
    tenant: Option<Text<63>>,
    /// Whether it makes no jobs until it is resumed. Left out: it makes them.
    paused: Option<bool>,
}

macro_rules! described {
    ($($name:ident = $parts:ident + $change:ident, $what:literal;)*) => {$(
        #[doc = $what]
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                merged($parts::schema(), $change::schema(), $what)
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                $parts::schemas(schemas);
                $change::schemas(schemas);
            }
        }
    )*};
}

described! {
    DeclaredSource = SourceParts + SourceChange, "A source that is to be: what can be changed of one, and what makes it.";
    DeclaredEndpoint = EndpointParts + EndpointChange, "An endpoint that is to be.";
    DeclaredBinding = BindingParts + BindingChange, "A binding that is to be.";
    DeclaredSchedule = ScheduleParts + ScheduleChange, "A schedule that is to be. Its jobs go to `endpoint` or `kind`.";
}

/// The change, with the parts in it.
fn merged(parts: RefOr<Schema>, change: RefOr<Schema>, what: &str) -> RefOr<Schema> {
    match (parts, change) {
        (RefOr::T(Schema::Object(parts)), RefOr::T(Schema::Object(mut change))) => {
            // The name can be left out of a change and not of a declaration.
            change.properties.extend(parts.properties);
            change.required = parts.required;
            change.description = Some(what.to_owned());
            RefOr::T(Schema::Object(change))
        }
        (_, change) => change,
    }
}

/// Everything that is wanted.
pub(super) struct Wanted {
    pub(super) tenant: Option<String>,
    pub(super) sources: Vec<WantedSource>,
    pub(super) endpoints: Vec<WantedEndpoint>,
    pub(super) bindings: Vec<WantedBinding>,
    pub(super) schedules: Vec<WantedSchedule>,
}

/// A source that is wanted.
pub(super) struct WantedSource {
    /// Where it is declared.
    pub(super) at: String,
    pub(super) name: String,
    pub(super) tenant: Option<String>,
    pub(super) scheme: Scheme,
    pub(super) secrets: Option<Vec<String>>,
    /// By their types.
    pub(super) schemas: Option<Form>,
    /// Slugs by values.
    pub(super) links: Option<BTreeMap<String, String>>,
    pub(super) change: SourceChange,
}

/// An endpoint that is wanted.
pub(super) struct WantedEndpoint {
    /// Where it is declared.
    pub(super) at: String,
    pub(super) name: String,
    pub(super) tenant: Option<String>,
    pub(super) secrets: Option<Vec<String>>,
    pub(super) change: EndpointChange,
}

/// A binding that is wanted.
pub(super) struct WantedBinding {
    /// Where it is declared.
    pub(super) at: String,
    pub(super) source: String,
    pub(super) type_pattern: String,
    pub(super) handler: NewHandler,
    pub(super) change: BindingChange,
}

/// A schedule that is wanted.
pub(super) struct WantedSchedule {
    /// Where it is declared.
    pub(super) at: String,
    pub(super) name: String,
    pub(super) tenant: Option<String>,
    pub(super) paused: bool,
    pub(super) change: ScheduleChange,
}

/// Where things are declared in a request.
const ROOT: &str = "/configuration";

/// Reads a configuration.
pub(super) fn read(configuration: Configuration) -> Result<Wanted, Problem> {
    let Configuration {
        tenant,
        sources,
        endpoints,
        bindings,
        schedules,
    } = configuration;
    let mut checks = Checks::default();
    let count = sources.len() + endpoints.len() + bindings.len() + schedules.len();
    checks.ensure(
        count <= limits::CONFIGURATION_THINGS_MAX,
        ROOT,
        &format!(
            "has {count} things; at most {} are applied at once: make it one for each tenant",
            limits::CONFIGURATION_THINGS_MAX
        ),
    );
    checks.done()?;
    let mut checks = Checks::default();
    let wanted = Wanted {
        tenant,
        sources: items("sources", sources, |item| source(item, &mut checks)),
        endpoints: items("endpoints", endpoints, |item| endpoint(item, &mut checks)),
        bindings: items("bindings", bindings, |item| binding(item, &mut checks)),
        schedules: items("schedules", schedules, |item| schedule(item, &mut checks)),
    };
    twice(
        &mut checks,
        wanted.sources.iter().map(|one| (&one.at, None, &*one.name)),
    );
    let links = wanted.sources.iter().flat_map(|one| &one.links);
    checks.ensure(
        links.map(BTreeMap::len).sum::<usize>() <= limits::CONFIGURATION_LINKS_MAX,
        ROOT,
        &format!(
            "has more than {} links: leave `links` out of the sources that have many, and import those",
            limits::CONFIGURATION_LINKS_MAX
        ),
    );
    let endpoints = wanted.endpoints.iter();
    twice(
        &mut checks,
        endpoints.map(|one| (&one.at, one.tenant.as_deref(), &*one.name)),
    );
    let schedules = wanted.schedules.iter();
    twice(
        &mut checks,
        schedules.map(|one| (&one.at, one.tenant.as_deref(), &*one.name)),
    );
    checks.done().map(|()| wanted)
}

fn twice<'w>(
    checks: &mut Checks,
    named: impl Iterator<Item = (&'w String, Option<&'w str>, &'w str)>,
) {
    let mut seen = BTreeSet::new();
    for (at, tenant, name) in named {
        checks.ensure(
            seen.insert((tenant, name)),
            &format!("{at}/name"),
            "is declared twice",
        );
    }
}

/// One thing as it is declared.
struct Item {
    at: String,
    fields: Form,
}

fn items<T>(group: &str, forms: Vec<Form>, mut read: impl FnMut(Item) -> Option<T>) -> Vec<T> {
    let numbered = forms.into_iter().enumerate();
    numbered
        .filter_map(|(index, fields)| {
            read(Item {
                at: format!("{ROOT}/{group}/{index}"),
                fields,
            })
        })
        .collect()
}

impl Item {
    fn at(&self, field: &str) -> String {
        format!("{}/{field}", self.at)
    }

    /// Takes a text out, if there is one.
    fn text(&mut self, field: &str, checks: &mut Checks) -> Option<String> {
        match self.fields.remove(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                checks.fail(self.at(field), "must be a text");
                None
            }
        }
    }

    fn needed(&mut self, field: &str, checks: &mut Checks) -> Option<String> {
        let missing = self.fields.get(field).is_none_or(Value::is_null);
        checks.ensure(!missing, &self.at(field), "is needed");
        self.text(field, checks)
    }

    /// Takes the secrets out. Their number is bounded, and each is one that was filled in.
    fn secrets(&mut self, most: usize, checks: &mut Checks) -> Option<Vec<String>> {
        let at = self.at("secrets");
        let list = match self.fields.remove("secrets") {
            None | Some(Value::Null) => return None,
            Some(Value::Array(list)) => list,
            Some(_) => {
                checks.fail(at, "must be a list of texts");
                return None;
            }
        };
        checks.ensure(
            list.len() <= most,
            &at,
            &format!("must have at most {most}"),
        );
        let mut secrets: Vec<String> = Vec::new();
        for (index, secret) in list.into_iter().enumerate() {
            let at = format!("{at}/{index}");
            match secret {
                Value::String(secret) if is_placeholder(&secret) => {
                    checks.fail(at, "is a placeholder that was not filled in");
                }
                Value::String(secret) if secrets.contains(&secret) => {
                    checks.fail(at, "is there twice");
                }
                Value::String(secret) => secrets.push(secret),
                _ => checks.fail(at, "must be a text"),
            }
        }
        Some(secrets)
    }

    /// Takes the schemas out, by their types.
    fn schemas(&mut self, checks: &mut Checks) -> Option<Form> {
        let at = self.at("schemas");
        let schemas = match self.fields.remove("schemas") {
            None | Some(Value::Null) => return None,
            Some(Value::Object(schemas)) => schemas,
            Some(_) => {
                checks.fail(at, "must be JSON Schemas by their types");
                return None;
            }
        };
        checks.ensure(
            schemas.len() <= SCHEMAS_MAX,
            &at,
            &format!("must have at most {SCHEMAS_MAX}"),
        );
        for (types, schema) in schemas.iter().take(SCHEMAS_MAX) {
            let at = format!("{at}/{}", escaped(types));
            schemas::check(checks, (&at, types), (&at, schema));
        }
        Some(schemas)
    }

    /// Takes the links out, by their values.
    fn links(&mut self, checks: &mut Checks) -> Option<BTreeMap<String, String>> {
        let at = self.at("links");
        let links = match self.fields.remove("links") {
            None | Some(Value::Null) => return None,
            Some(Value::Object(links)) => links,
            Some(_) => {
                checks.fail(at, "must be slugs of tenants by values");
                return None;
            }
        };
        let mut read = BTreeMap::new();
        for (value, tenant) in links {
            let at = format!("{at}/{}", escaped(&value));
            if !is_value(&value) {
                let detail = format!(
                    "must have at most {VALUE_CHARS_MAX} characters and no control characters"
                );
                checks.fail(at, detail);
                continue;
            }
            match tenant {
                Value::String(tenant) => drop(read.insert(value, tenant)),
                _ => checks.fail(at, "must be a tenant's slug"),
            }
        }
        Some(read)
    }

    /// What is left is the change.
    fn change<T: DeserializeOwned>(self, checks: &mut Checks) -> Option<T> {
        read_value(&self.at, Value::Object(self.fields), checks)
    }
}

/// A name as a step of a JSON pointer.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn read_value<T: DeserializeOwned>(at: &str, value: Value, checks: &mut Checks) -> Option<T> {
    match serde_path_to_error::deserialize(value) {
        Ok(read) => Some(read),
        Err(error) => {
            let detail = without_value(&error.inner().to_string());
            checks.fail(format!("{at}{}", pointer(error.path())), detail);
            None
        }
    }
}

/// serde's sentence without the value that it is about: `invalid type: string "…", expected u64`.
fn without_value(message: &str) -> String {
    for begin in ["invalid type: ", "invalid value: "] {
        let Some(rest) = message.strip_prefix(begin) else {
            continue;
        };
        let Some((value, expected)) = rest.rsplit_once(", expected ") else {
            return "has the wrong type".to_owned();
        };
        let kind = value.split(['"', '`']).next().unwrap_or_default().trim();
        return format!("{begin}{kind}, expected {expected}");
    }
    match message.split_once("unknown variant `") {
        Some((_, rest)) => match rest.rsplit_once("`, expected ") {
            Some((_, expected)) => format!("must be {expected}"),
            None => "is none of what can be here".to_owned(),
        },
        None => message.to_owned(),
    }
}

/// `${NAME}`, which whoever sent the request was to fill in.
fn is_placeholder(secret: &str) -> bool {
    let inner = secret
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|name| {
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

fn source(mut item: Item, checks: &mut Checks) -> Option<WantedSource> {
    let at = item.at.clone();
    let name = item.needed("name", checks);
    let tenant = item.text("tenant", checks);
    let secrets = item.secrets(limits::SOURCE_SECRETS_MAX, checks);
    let schemas = item.schemas(checks);
    let links = item.links(checks);
    let scheme = match item.needed("scheme", checks) {
        Some(scheme) => read_value(&item.at("scheme"), Value::String(scheme), checks),
        None => None,
    };
    let token = item.text("verify_token", checks);
    if token.as_deref().is_some_and(is_placeholder) {
        checks.fail(
            item.at("verify_token"),
            "is a placeholder that was not filled in",
        );
    }
    let mut change: SourceChange = item.change(checks)?;
    let name = name?;
    change.name = Some(name.clone());
    change.verify_token = token;
    if let Err(problem) = change.check() {
        checks.below(&at, problem);
    }
    Some(WantedSource {
        at,
        name,
        tenant,
        scheme: scheme?,
        secrets,
        schemas,
        links,
        change,
    })
}

fn endpoint(mut item: Item, checks: &mut Checks) -> Option<WantedEndpoint> {
    let at = item.at.clone();
    let name = item.needed("name", checks);
    let url = item.needed("url", checks);
    let tenant = item.text("tenant", checks);
    let secrets = item.secrets(SECRETS_MAX, checks);
    if secrets.as_ref().is_some_and(Vec::is_empty) {
        checks.fail(
            item.at("secrets"),
            "must have one at least: every request is signed",
        );
    }
    for (index, secret) in secrets.iter().flatten().enumerate() {
        let signs = secret.starts_with("whsec_");
        let checked = check_source("standard_webhooks", &SourceSettings::default(), &[secret]);
        checks.ensure(
            signs && checked.is_ok(),
            &format!("{}/secrets/{index}", item.at),
            "must be whsec_ and then base64",
        );
    }
    let mut change: EndpointChange = item.change(checks)?;
    let name = name?;
    change.name = Some(name.clone());
    change.url = Some(url?);
    if let Err(problem) = change.check() {
        checks.below(&at, problem);
    }
    Some(WantedEndpoint {
        at,
        name,
        tenant,
        secrets,
        change,
    })
}

fn schedule(mut item: Item, checks: &mut Checks) -> Option<WantedSchedule> {
    let at = item.at.clone();
    let name = item.needed("name", checks);
    let tenant = item.text("tenant", checks);
    let paused = match item.fields.remove("paused") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(paused)) => paused,
        Some(_) => {
            checks.fail(item.at("paused"), "must be true or false");
            false
        }
    };
    let cron = item.fields.get("cron").is_some_and(|cron| !cron.is_null());
    checks.ensure(cron, &item.at("cron"), "is needed");
    let mut change: ScheduleChange = item.change(checks)?;
    checks.ensure(
        change.names_target(),
        &format!("{at}/endpoint"),
        "give one of endpoint and kind",
    );
    let name = name?;
    change.name = Some(name.clone());
    cron.then_some(WantedSchedule {
        at,
        name,
        tenant,
        paused,
        change,
    })
}

fn binding(mut item: Item, checks: &mut Checks) -> Option<WantedBinding> {
    let at = item.at.clone();
    let source = item.needed("source", checks);
    let missing = item.fields.get("type_pattern").is_none_or(Value::is_null);
    checks.ensure(!missing, &item.at("type_pattern"), "is needed");
    let endpoint = item.text("endpoint", checks);
    let change: BindingChange = item.change(checks)?;
    let change = match change.checked() {
        Ok(change) => change,
        Err(problem) => {
            checks.below(&at, problem);
            return None;
        }
    };
    let handler = match (endpoint, change.handler.clone()) {
        (Some(endpoint_id), None) => Some(NewHandler::Endpoint { endpoint_id }),
        (None, handler @ Some(_)) => handler,
        (Some(_), Some(_)) | (None, None) => {
            checks.fail(format!("{at}/endpoint"), "give one of endpoint and handler");
            None
        }
    };
    Some(WantedBinding {
        at,
        source: source?,
        type_pattern: change.type_pattern.clone()?,
        handler: handler?,
        change,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(configuration: Value) -> Vec<(String, String)> {
        let configuration: Configuration =
            serde_json::from_value(configuration).expect("it is a configuration");
        let problem = read(configuration).err().expect("it is refused");
        let errors = problem.body().errors;
        errors
            .into_iter()
            .map(|one| (one.pointer, one.detail))
            .collect()
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_and_where() {
        let found = wrong(json!({
            "sources": [{ "name": "pay" }, { "name": "Hub", "scheme": "github", "colour": 1 }],
            "endpoints": [{ "name": "app", "url": "https://a.example/", "retry": { "strategy": "exponential", "base_ms": "x" } }],
            "bindings": [{ "source": "pay", "type_pattern": "*" }],
        }));
        let places: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert!(
            places.contains(&"/configuration/sources/0/scheme"),
            "{found:?}"
        );
        assert!(
            places.contains(&"/configuration/sources/1/colour"),
            "{found:?}"
        );
        assert!(
            places
                .iter()
                .any(|at| at.starts_with("/configuration/endpoints/0/retry"))
        );
        assert!(
            places.contains(&"/configuration/bindings/0/endpoint"),
            "{found:?}"
        );
    }

    #[test]
    fn no_message_repeats_a_value() {
        let secret = "hunter2-hunter2";
        for configuration in [
            json!({ "sources": [{ "name": "a", "scheme": secret }] }),
            json!({ "sources": [{ "name": "a", "scheme": "stripe", "secrets": secret }] }),
            json!({ "sources": [{ "name": "a", "scheme": "stripe", "secrets": [{ "a": secret }] }] }),
            json!({ "sources": [{ "name": "a", "scheme": "stripe", "settings": secret }] }),
            json!({ "sources": [{ "name": "a", "scheme": "stripe", "enabled": secret }] }),
            json!({ "endpoints": [{ "name": "a", "url": "https://a.example/", "secrets": [secret] }] }),
            json!({ "endpoints": [{ "name": "a", "url": "https://a.example/", "timeout_ms": secret }] }),
        ] {
            let said = format!("{:?}", wrong(configuration));
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn a_placeholder_is_no_secret() {
        let found = wrong(json!({
            "sources": [{ "name": "a", "scheme": "stripe", "secrets": ["${PAY_SECRET}"] }],
        }));
        assert_eq!(found[0].0, "/configuration/sources/0/secrets/0");
    }

    #[test]
    fn a_name_is_declared_once() {
        let endpoint =
            |tenant: &str| json!({ "name": "app", "url": "https://a.example/", "tenant": tenant });
        let configuration: Configuration =
            serde_json::from_value(json!({ "endpoints": [endpoint("a"), endpoint("b")] }))
                .expect("it is a configuration");
        assert!(read(configuration).is_ok());
        let found = wrong(json!({ "endpoints": [endpoint("a"), endpoint("a")] }));
        assert_eq!(found[0].0, "/configuration/endpoints/1/name");
    }
}
