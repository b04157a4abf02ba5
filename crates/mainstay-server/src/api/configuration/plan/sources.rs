//! What becomes of a declared source.

use mainstay_domain::{
    LinkId, SchemaId, SecretId, SourceId, TenantId, Timestamp,
    intake::{
        Source, SourceSecret, links::SourceLink, schemas::EventSchema, settings::SourceSettings,
    },
};

use super::{
    super::{
        Action, FieldChange, Form, Kind,
        declared::{WantedSource, escaped},
        form,
    },
    Planner, SourceUpdate, Write, same, secret_field,
};
use crate::{
    api::sources::{
        fresh_secret, hint, rule_allowed,
        schemas::{Next, next},
    },
    http::Problem,
};

impl Planner<'_> {
    pub(super) fn source(&mut self, wanted: &WantedSource, tenant: TenantId) {
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
        let links = self.links(&source, wanted, &mut fields);
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
                let write = Write::SourceInsert(Box::new((source, schemas.added, links.added)));
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
                    links_added: links.added,
                    links_removed: links.removed,
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

    /// What becomes of a source's links, told value by value.
    fn links(
        &mut self,
        source: &Source,
        wanted: &WantedSource,
        fields: &mut Vec<FieldChange>,
    ) -> Links {
        let mut links = Links::default();
        let Some(declared) = &wanted.links else {
            return links;
        };
        let at = format!("{}/links", wanted.at);
        if self.caller.everywhere().is_err() {
            let detail = "is not for a key that is bound to one tenant";
            self.checks.fail(at, detail);
            return links;
        }
        let known = self.known.links_of(source.id);
        for (value, slug) in declared {
            let found = self.known.tenants.iter().find(|one| one.slug == *slug);
            let Some(tenant) = found.map(|one| one.id) else {
                let at = format!("{at}/{}", escaped(value));
                self.checks.fail(at, "there is no tenant of this slug");
                continue;
            };
            let same = |one: &SourceLink| one.value == *value && one.tenant == tenant;
            if !known.iter().any(same) {
                links.added.push(SourceLink {
                    id: LinkId::new(self.now, &*self.app.random),
                    source: source.id,
                    value: value.clone(),
                    tenant,
                    created_at: self.now,
                });
            }
        }
        let slug_of = |one: &SourceLink| (self.known.slug(one.tenant), one.clone());
        let before: Vec<_> = known.iter().map(slug_of).collect();
        let gone = before
            .iter()
            .filter(|(slug, one)| declared.get(&one.value) != Some(slug));
        links.removed = gone.map(|(_, one)| one.clone()).collect();
        let before = before
            .iter()
            .map(|(slug, one)| (one.value.as_str(), slug.clone()));
        let after = declared
            .iter()
            .map(|(value, slug)| (value.as_str(), slug.clone()));
        fields.extend(form::differences(&form::links(before), &form::links(after)));
        links
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
}

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

/// What becomes of a source's links.
#[derive(Default)]
struct Links {
    added: Vec<SourceLink>,
    removed: Vec<SourceLink>,
}

fn hints(secrets: &[SourceSecret]) -> serde_json::Value {
    secrets.iter().map(|one| hint(&one.secret)).collect()
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
