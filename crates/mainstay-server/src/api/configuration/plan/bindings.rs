//! What becomes of declared bindings, and what each of them binds.

use std::collections::BTreeMap;

use mainstay_domain::{
    BindingId, EndpointId, SourceId, TenantId,
    intake::{Binding, HandlerRef, OWN_SOURCE},
};

use super::{
    super::{Action, Kind, declared::WantedBinding, form},
    Planner, Write,
};
use crate::api::bindings::{NewHandler, name_of_rule};

/// Why a binding cannot name what is there.
const PRUNED: &str = "is not declared, so that it would be removed";

impl Planner<'_> {
    /// The bindings: one that is declared is the known one of the same source, name and handler, else the oldest of the
    /// same source and name that is left.
    pub(super) fn bindings(&mut self, wanted: &[WantedBinding]) {
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
                HandlerRef::Endpoint(self.endpoint_named(&wanted.at, tenant, endpoint_id)?)
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

    /// The endpoint of this name or id in the tenant, declared or there.
    pub(super) fn endpoint_named(
        &mut self,
        at: &str,
        tenant: TenantId,
        asked: &str,
    ) -> Option<EndpointId> {
        if let Some(found) = self.endpoints.get(&(tenant, asked.to_owned())) {
            return Some(*found);
        }
        let at = format!("{at}/endpoint");
        let id = asked.parse::<EndpointId>().ok();
        let found = self.known.endpoints.iter().find(|one| {
            one.tenant == tenant && (id == Some(one.id) || id.is_none() && one.name == asked)
        });
        let Some(endpoint) = found else {
            let detail = "is no endpoint of this tenant, neither declared nor there";
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
            ordering: None,
            expires_in_secs: None,
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
