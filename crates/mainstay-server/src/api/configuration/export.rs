//! What there is as a declaration that changes nothing, and where the secrets belong that it does not have.

use std::collections::HashSet;

use mainstay::intake::BuiltinQueues;
use mainstay_domain::{TenantId, intake::settings::SourceSettings};
use serde_json::Value;

use super::{
    Configuration, Export, Form, Variable, form,
    plan::{Known, of_tenant, too_many},
};
use crate::{
    api::{
        resolve::{DEFAULT_TENANT, tenant_of_new},
        sources::hint,
    },
    http::Problem,
    limits,
};

/// Exports what there is, of one tenant or of all.
pub(super) fn export(
    known: &Known,
    only: Option<TenantId>,
    builtin: &BuiltinQueues,
) -> Result<Export, Problem> {
    let wanted = |tenant: TenantId| only.is_none_or(|only| only == tenant);
    let whole = match tenant_of_new(&known.tenants, only) {
        Some(tenant) => tenant.slug.clone(),
        None if only.is_some() => return Err(Problem::not_found("tenant")),
        None => DEFAULT_TENANT.to_owned(),
    };
    let mut variables = Variables::default();
    let (mut sources, mut endpoints) = (Vec::new(), Vec::new());
    for source in known.sources.iter().filter(|one| wanted(one.tenant)) {
        let at = format!("/sources/{}", sources.len());
        let settings: SourceSettings = serde_json::from_str(&source.settings).unwrap_or_default();
        let what = format!("source {}", source.name);
        for (index, secret) in source.secrets.iter().enumerate() {
            let name = numbered(&format!("SOURCE_{}_SECRET", source.name), index);
            let what = format!("{what}, {}", hint(&secret.secret));
            variables.add(&name, format!("{at}/secrets/{index}"), what);
        }
        if settings.verify_token.is_some() {
            let name = format!("SOURCE_{}_VERIFY_TOKEN", source.name);
            variables.add(&name, format!("{at}/verify_token"), what);
        }
        let tenant = known.slug(source.tenant);
        let mut form = form::source(source, known.schemas_of(source.id));
        if let Some(links) = known.links.get(&source.id) {
            let links = links
                .iter()
                .map(|one| (one.value.as_str(), known.slug(one.tenant)));
            form.extend(form::links(links));
        }
        sources.push(of_tenant(form, &tenant, &whole));
    }
    for endpoint in known.endpoints.iter().filter(|one| wanted(one.tenant)) {
        let at = format!("/endpoints/{}", endpoints.len());
        let tenant = known.slug(endpoint.tenant);
        let place = if tenant == whole {
            String::new()
        } else {
            format!("{tenant}_")
        };
        // One that ends by itself is nobody's to declare.
        let endless = endpoint.secrets.iter().filter(|one| one.until.is_none());
        for index in 0..endless.count() {
            let name = numbered(&format!("ENDPOINT_{place}{}_SECRET", endpoint.name), index);
            let what = format!("endpoint {}", endpoint.name);
            variables.add(&name, format!("{at}/secrets/{index}"), what);
        }
        endpoints.push(of_tenant(form::endpoint(endpoint), &tenant, &whole));
    }
    let names = known.names();
    let mut bindings: Vec<_> = known
        .bindings
        .iter()
        .filter(|one| wanted(one.tenant))
        .map(|one| form::binding(one, &names))
        .collect();
    // As a person looks for them; those of one source and name stay in the order in which they were made.
    bindings.sort_by(|a, b| {
        let key =
            |form: &Form| ["source", "name"].map(|field| form.get(field).map(Value::to_string));
        key(a).cmp(&key(b))
    });
    let names = known.schedule_names();
    let mut schedules: Vec<_> = known
        .schedules
        .iter()
        .filter(|one| wanted(one.tenant))
        .map(|one| {
            let form = form::schedule(one, &names, builtin);
            of_tenant(form, &known.slug(one.tenant), &whole)
        })
        .collect();
    schedules
        .sort_by_key(|form| ["tenant", "name"].map(|field| form.get(field).map(Value::to_string)));
    let count = sources.len() + endpoints.len() + bindings.len() + schedules.len();
    if count > limits::CONFIGURATION_THINGS_MAX {
        return Err(too_many(count, limits::CONFIGURATION_THINGS_MAX));
    }
    Ok(Export {
        configuration: Configuration {
            tenant: Some(whole),
            sources,
            endpoints,
            bindings,
            schedules,
        },
        variables: variables.list,
    })
}

/// The first has no number, so that the usual case of one reads well.
fn numbered(name: &str, index: usize) -> String {
    match index {
        0 => name.to_owned(),
        more => format!("{name}_{}", more + 1),
    }
}

#[derive(Default)]
struct Variables {
    list: Vec<Variable>,
    taken: HashSet<String>,
}

impl Variables {
    /// Adds a variable, under a name that shells take and that no other has.
    fn add(&mut self, name: &str, pointer: String, what: String) {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        };
        let base: String = name.chars().map(plain).collect();
        let mut name = base.clone();
        let mut next = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{base}_X{next}");
            next += 1;
        }
        self.list.push(Variable {
            name,
            pointer,
            what,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_names_that_shells_take_and_each_its_own() {
        let mut variables = Variables::default();
        for name in [
            "SOURCE_a-b_SECRET",
            "SOURCE_a_b_SECRET",
            "ENDPOINT_Größe 1_SECRET",
        ] {
            variables.add(name, String::new(), String::new());
        }
        let names: Vec<&str> = variables.list.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "SOURCE_A_B_SECRET",
                "SOURCE_A_B_SECRET_X2",
                "ENDPOINT_GR__E_1_SECRET"
            ]
        );
    }
}
