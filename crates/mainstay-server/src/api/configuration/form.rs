//! Things as they are written down, and how two of the same differ.
//!
//! A form is the API's own view of a thing, cut down to what can be set: whatever a body learns to take and its view to
//! show is exported and compared without a word here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use mainstay::intake::BuiltinQueues;
use mainstay_domain::{
    intake::{Binding, Source, schemas::EventSchema},
    jobs::Endpoint,
    schedules::Schedule,
};
use serde::Serialize;
use serde_json::Value;
use utoipa::{
    PartialSchema,
    openapi::{RefOr, schema::Schema},
};

use super::{FieldChange, Form};
use crate::{
    api::{
        bindings::{BindingChange, HandlerView, Names},
        endpoints::{EndpointChange, EndpointView},
        schedules::{self, ScheduleChange},
        sources::{SourceChange, SourceView, schemas},
    },
    stats::Figures,
};

/// The fields that a body takes.
pub(super) fn fields<T: PartialSchema>() -> BTreeSet<String> {
    match T::schema() {
        RefOr::T(Schema::Object(object)) => object.properties.into_keys().collect(),
        RefOr::T(_) | RefOr::Ref(_) => BTreeSet::new(),
    }
}

static SOURCE: LazyLock<BTreeSet<String>> = LazyLock::new(fields::<SourceChange>);
static ENDPOINT: LazyLock<BTreeSet<String>> = LazyLock::new(fields::<EndpointChange>);
static SCHEDULE: LazyLock<BTreeSet<String>> = LazyLock::new(fields::<ScheduleChange>);
static BINDING: LazyLock<BTreeSet<String>> = LazyLock::new(fields::<BindingChange>);

/// A source without its tenant and secrets, with these schemas.
pub(super) fn source<'s>(source: &Source, schemas: impl Iterator<Item = &'s EventSchema>) -> Form {
    let mut form = shown(
        &SOURCE,
        &SourceView::of(source.clone(), &Figures::default()),
    );
    form.insert("scheme".into(), source.scheme.clone().into());
    let schemas: Form = schemas
        .map(|one| (one.types.clone(), schemas::value(&one.schema)))
        .collect();
    if !schemas.is_empty() {
        form.insert("schemas".into(), schemas.into());
    }
    form
}

/// The links of a source, as slugs of tenants by values.
pub(super) fn links<'l>(links: impl Iterator<Item = (&'l str, String)>) -> Form {
    let links = links.map(|(value, slug)| (value.to_owned(), slug.into()));
    Form::from_iter([("links".to_owned(), Value::Object(links.collect()))])
}

/// An endpoint without its tenant and secrets.
pub(super) fn endpoint(endpoint: &Endpoint) -> Form {
    let view = EndpointView::of(endpoint.clone(), &Figures::default());
    shown(&ENDPOINT, &view)
}

/// A binding, with the names of what it binds.
pub(super) fn binding(binding: &Binding, names: &Names) -> Form {
    let view = names.view(binding.clone());
    let mut form = shown(&BINDING, &view);
    form.insert("source".into(), view.source_name.into());
    if let HandlerView::Endpoint { endpoint_name, .. } = view.handler {
        form.remove("handler");
        form.insert("endpoint".into(), endpoint_name.into());
    }
    form
}

/// A schedule without its tenant, with the name of its endpoint.
pub(super) fn schedule(
    schedule: &Schedule,
    names: &schedules::Names,
    builtin: &BuiltinQueues,
) -> Form {
    let view = names.view(schedule.clone());
    let mut form = shown(&SCHEDULE, &view);
    if view.endpoint_name.is_some() || builtin.contains_key(&schedule.kind) {
        // It follows from where its jobs go.
        form.remove("queue");
    }
    if let Some(endpoint) = view.endpoint_name {
        form.remove("kind");
        form.insert("endpoint".into(), endpoint.into());
    }
    if schedule.paused {
        form.insert("paused".into(), true.into());
    }
    form
}

fn shown(fields: &BTreeSet<String>, view: &impl Serialize) -> Form {
    let Ok(Value::Object(view)) = serde_json::to_value(view) else {
        return Form::new();
    };
    let kept = view.into_iter().filter(|(name, _)| fields.contains(name));
    without_nulls(kept.collect())
}

/// What is null is what it would be if it were left out.
fn without_nulls(form: Form) -> Form {
    let kept = form.into_iter().filter(|(_, value)| !value.is_null());
    kept.map(|(name, value)| match value {
        Value::Object(inner) => (name, Value::Object(without_nulls(inner))),
        other => (name, other),
    })
    .collect()
}

/// Field by field, what differs.
pub(super) fn differences(old: &Form, new: &Form) -> Vec<FieldChange> {
    let mut found = Vec::new();
    compare("", old, new, &mut found);
    found
}

fn compare(at: &str, old: &Form, new: &Form, found: &mut Vec<FieldChange>) {
    let mut names: BTreeMap<&String, ()> = BTreeMap::new();
    names.extend(old.keys().chain(new.keys()).map(|name| (name, ())));
    for name in names.into_keys() {
        let field = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        let nothing = Form::new();
        match (old.get(name), new.get(name)) {
            (old, new) if old == new => {}
            (Some(Value::Object(old)), Some(Value::Object(new))) => {
                compare(&field, old, new, found);
            }
            (None, Some(Value::Object(new))) if !new.is_empty() => {
                compare(&field, &nothing, new, found);
            }
            (Some(Value::Object(old)), None) if !old.is_empty() => {
                compare(&field, old, &nothing, found);
            }
            (old, new) => found.push(FieldChange {
                field,
                old: old.cloned(),
                new: new.cloned(),
                secret: false,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form(value: Value) -> Form {
        match value {
            Value::Object(form) => form,
            _ => Form::new(),
        }
    }

    #[test]
    fn fields_are_compared_one_by_one() {
        let old =
            form(json!({ "a": 1, "b": { "c": 1, "d": [1] }, "gone": { "x": 1 }, "same": {} }));
        let new = form(json!({ "a": 1, "b": { "c": 2, "d": [1] }, "new": true, "same": {} }));
        let found: Vec<_> = differences(&old, &new)
            .into_iter()
            .map(|one| (one.field, one.old, one.new))
            .collect();
        let expected = [
            ("/b/c".to_owned(), Some(json!(1)), Some(json!(2))),
            ("/gone/x".to_owned(), Some(json!(1)), None),
            ("/new".to_owned(), None, Some(json!(true))),
        ];
        assert_eq!(found, expected);
        assert_eq!(differences(&old, &old), []);
    }

    #[test]
    fn what_can_be_set_is_what_the_bodies_take() {
        assert!(SOURCE.contains("settings") && !SOURCE.contains("stats"));
        assert!(ENDPOINT.contains("retry") && !ENDPOINT.contains("breaker"));
        assert!(BINDING.contains("type_pattern") && !BINDING.contains("id"));
    }
}
