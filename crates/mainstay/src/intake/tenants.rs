//! Whose an event is, where a rule of its source says so.
//!
//! What was found is remembered with the snapshot of the configuration that it was found under. A link and a tenant
//! count as changes of the configuration, so the append refuses what was found before one, on any node: nothing that is
//! remembered here can be stale when it is committed.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use mainstay_domain::{
    Scope, SourceId, StoreExt, StoreResult, TenantId, intake::scheme::TenantRule,
};

use super::{Door, Inbound, Intake};

/// Values remembered for one source, each of at most 255 characters: the newest, and as many older ones.
const REMEMBERED_MAX: usize = 4_096;

/// A source's rule, with what was found by it.
pub(super) struct Finder {
    rule: TenantRule,
    known: Mutex<Known>,
}

/// Two generations: when the newer one is full it takes the place of the older one.
#[derive(Default)]
struct Known {
    newer: HashMap<String, Option<TenantId>>,
    older: HashMap<String, Option<TenantId>>,
}

impl Known {
    fn get(&self, value: &str) -> Option<Option<TenantId>> {
        let found = self.newer.get(value).or_else(|| self.older.get(value));
        found.copied()
    }

    fn remember(&mut self, value: &str, tenant: Option<TenantId>) {
        if self.newer.len() >= REMEMBERED_MAX {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(value.to_owned(), tenant);
    }
}

impl Finder {
    pub(super) fn new(rule: TenantRule) -> Self {
        Self {
            rule,
            known: Mutex::default(),
        }
    }
}

/// Whose an event is.
pub(super) enum Whose {
    /// This tenant's.
    Known(TenantId),
    /// It is not known yet: the values that it was looked for by.
    Unknown(Vec<String>),
}

impl Intake {
    /// Whose an event with this payload is. Costs nothing where the source has no rule.
    pub(super) async fn whose(
        &self,
        door: &Door,
        inbound: &Inbound,
        payload: &[u8],
    ) -> StoreResult<Whose> {
        let Some(finder) = &door.tenants else {
            return Ok(Whose::Known(door.source.tenant));
        };
        let values = finder.rule.values(&inbound.headers, payload);
        Ok(match self.tenant_of(door, &values).await? {
            Some(tenant) => Whose::Known(tenant),
            None => Whose::Unknown(values),
        })
    }

    /// The tenant that the first of these values leads to which leads to any; without a rule it is the source's own.
    pub(super) async fn tenant_of(
        &self,
        door: &Door,
        values: &[String],
    ) -> StoreResult<Option<TenantId>> {
        let Some(finder) = &door.tenants else {
            return Ok(Some(door.source.tenant));
        };
        for value in values {
            let lock = || finder.known.lock().unwrap_or_else(PoisonError::into_inner);
            let known = lock().get(value);
            let found = match known {
                Some(known) => known,
                None => {
                    let direct = finder.rule.direct;
                    let found = self.tenant_ask(door.source.id, value, direct).await?;
                    lock().remember(value, found);
                    found
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn tenant_ask(
        &self,
        source: SourceId,
        value: &str,
        direct: bool,
    ) -> StoreResult<Option<TenantId>> {
        let value = value.to_owned();
        self.store
            .read(Scope::System("intake"), move |tx| {
                let value = value.clone();
                Box::pin(async move { tx.tenant_find(source, &value, direct).await })
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_the_newest_is_among_it() {
        let mut known = Known::default();
        for number in 0..3 * REMEMBERED_MAX {
            known.remember(&number.to_string(), None);
            assert!(known.newer.len() + known.older.len() <= 2 * REMEMBERED_MAX);
        }
        let last = 3 * REMEMBERED_MAX - 1;
        assert_eq!(known.get(&last.to_string()), Some(None));
        assert_eq!(known.get("0"), None);
    }
}
