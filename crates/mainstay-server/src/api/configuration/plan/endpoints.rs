//! What becomes of a declared endpoint.

use mainstay_domain::{
    EndpointId, TenantId,
    jobs::{Endpoint, secret::EndpointSecret},
};

use super::{
    super::{Action, Kind, declared::WantedEndpoint, form},
    Planner, Write, same, secret_field,
};
use crate::api::endpoints::{blank, settings_of, signing_secret};

impl Planner<'_> {
    pub(super) fn endpoint(&mut self, wanted: &WantedEndpoint, tenant: TenantId) {
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
