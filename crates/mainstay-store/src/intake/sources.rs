//! Sources with their secrets, and bindings. Every change counts as one of the configuration.

use std::collections::HashMap;

use mainstay_domain::{
    SourceId, StoreError, StoreResult, TenantId,
    intake::{Binding, HandlerRef, Source, SourceSecret},
    vault::{Column, Place},
};

use super::{links::queries::WAITING_DUE_INSERT_ALL, queries as q};
use crate::{
    sql::Row,
    tx::SqlTx,
    verbs::{reference, unknown, values},
};

impl SqlTx<'_> {
    pub(super) async fn sources_insert(&mut self, source: &Source) -> StoreResult<i32> {
        self.scope.admit(source.tenant)?;
        self.config_bump().await?;
        let former = values![source.tenant, &*source.name];
        let former = self
            .first(&q::SOURCE_FORMER, former, |row| row.get::<i32>(0))
            .await?;
        let number = match former {
            Some(number) => number,
            None => self.source_number().await?,
        };
        let params = values![
            source.tenant,
            source.id,
            number,
            &*source.name,
            &*source.scheme,
            &*source.settings,
            source.enabled,
            source.created_at,
            source.updated_at,
        ];
        reference(self.execute(&q::SOURCE_INSERT, params).await, "source")?;
        let know = match former {
            Some(_) => &q::SOURCE_KNOW_AGAIN,
            None => &q::SOURCE_KNOW,
        };
        self.execute(know, values![number, source.id]).await?;
        for secret in &source.secrets {
            self.secret_add(source.tenant, source.id, secret).await?;
        }
        Ok(number)
    }

    async fn source_number(&mut self) -> StoreResult<i32> {
        let read = |row: &Row| row.get::<i32>(0);
        let number = self.first(&q::SOURCE_NUMBER, &[], read).await?;
        number.ok_or_else(|| unknown(0))
    }

    /// Its number is kept under its name: deduplication goes by the number, and outlives the source.
    pub(super) async fn sources_delete(
        &mut self,
        tenant: TenantId,
        id: SourceId,
    ) -> StoreResult<bool> {
        self.scope.admit(tenant)?;
        self.config_bump().await?;
        self.execute(&q::SOURCE_FORMER_KEEP, values![tenant, id])
            .await?;
        let deleted = self.changed(&q::SOURCE_DELETE, values![tenant, id]).await;
        reference(deleted, "source")
    }

    pub(super) async fn sources_update(&mut self, source: &Source) -> StoreResult<bool> {
        self.scope.admit(source.tenant)?;
        self.config_bump().await?;
        self.waiting_due_settings(source).await?;
        let params = values![
            source.tenant,
            source.id,
            &*source.name,
            &*source.settings,
            source.enabled,
            source.updated_at,
        ];
        self.changed(&q::SOURCE_UPDATE, params).await
    }

    /// Other settings may find the tenants of events that wait. In a tenant's scope there are none: who is bound to one
    /// cannot give a source a rule that finds others, nor take it away.
    async fn waiting_due_settings(&mut self, source: &Source) -> StoreResult<()> {
        if self.scope.tenant().is_some() {
            return Ok(());
        }
        let known = values![source.tenant, source.id];
        let known: Option<String> = self.first(&q::SOURCE_GET, known, |row| row.get(5)).await?;
        if known.is_some_and(|known| known != source.settings) {
            self.execute(&WAITING_DUE_INSERT_ALL, values![source.id])
                .await?;
        }
        Ok(())
    }

    pub(super) async fn sources_get(&mut self, id: SourceId) -> StoreResult<Option<Source>> {
        let Some(tenant) = self.tenant_of(&q::SOURCE_TENANT, id.uuid()).await? else {
            return Ok(None);
        };
        let found = self
            .first(&q::SOURCE_GET, values![tenant, id], source)
            .await?;
        let Some(mut found) = found else {
            return Ok(None);
        };
        let secrets = self
            .list(&q::SECRET_LIST_OWN, values![tenant], secret)
            .await?;
        let secrets = self.secrets_opened(secrets).await?;
        found.secrets = by_source(secrets).remove(&id).unwrap_or_default();
        Ok(Some(found))
    }

    pub(super) async fn sources_list(&mut self) -> StoreResult<Vec<Source>> {
        let (mut sources, secrets) = match self.scope.tenant() {
            Some(own) => (
                self.list(&q::SOURCE_LIST_OWN, values![own], source).await?,
                self.list(&q::SECRET_LIST_OWN, values![own], secret).await?,
            ),
            None => (
                self.list(&q::SOURCE_LIST, &[], source).await?,
                self.list(&q::SECRET_LIST, &[], secret).await?,
            ),
        };
        let mut secrets = by_source(self.secrets_opened(secrets).await?);
        for source in &mut sources {
            source.secrets = secrets.remove(&source.id).unwrap_or_default();
        }
        sources.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(sources)
    }

    pub(super) async fn secret_insert(
        &mut self,
        source: SourceId,
        secret: &SourceSecret,
    ) -> StoreResult<()> {
        let tenant = self.tenant_of(&q::SOURCE_TENANT, source.uuid()).await?;
        let missing = StoreError::Reference { what: "secret" };
        let tenant = tenant.ok_or(missing)?;
        self.config_bump().await?;
        self.secret_add(tenant, source, secret).await
    }

    async fn secret_add(
        &mut self,
        tenant: TenantId,
        source: SourceId,
        secret: &SourceSecret,
    ) -> StoreResult<()> {
        let place = Place::new(Column::SourceSecret, secret.id.uuid());
        let sealed = self
            .sealed_text(place, tenant, &secret.secret, secret.created_at)
            .await?;
        let params = values![
            tenant,
            source,
            secret.id,
            sealed,
            secret.created_at,
            secret.last_used_at,
        ];
        reference(self.execute(&q::SECRET_INSERT, params).await, "secret").map(|_| ())
    }

    /// Without those whose key is destroyed: nothing can be verified with them any more.
    async fn secrets_opened(
        &mut self,
        secrets: Vec<(SourceId, SourceSecret)>,
    ) -> StoreResult<Vec<(SourceId, SourceSecret)>> {
        let mut opened = Vec::with_capacity(secrets.len());
        for (source, mut secret) in secrets {
            let place = Place::new(Column::SourceSecret, secret.id.uuid());
            let text = std::mem::take(&mut secret.secret);
            if let Some(text) = self.opened_text(place, text).await? {
                secret.secret = text;
                opened.push((source, secret));
            }
        }
        Ok(opened)
    }

    pub(super) async fn bindings_insert(&mut self, binding: &Binding) -> StoreResult<()> {
        self.scope.admit(binding.tenant)?;
        self.config_bump().await?;
        let (endpoint, builtin) = handler(&binding.handler);
        let params = values![
            binding.tenant,
            binding.id,
            &*binding.name,
            binding.source,
            &*binding.type_pattern,
            endpoint,
            builtin,
            binding.enabled,
            binding.created_at,
            binding.filter.as_deref(),
            ordering_json(binding)?,
            binding.expires_in_secs,
        ];
        reference(self.execute(&q::BINDING_INSERT, params).await, "binding").map(|_| ())
    }

    pub(super) async fn bindings_update(&mut self, binding: &Binding) -> StoreResult<bool> {
        self.scope.admit(binding.tenant)?;
        self.config_bump().await?;
        let (endpoint, builtin) = handler(&binding.handler);
        let params = values![
            binding.tenant,
            binding.id,
            &*binding.name,
            &*binding.type_pattern,
            endpoint,
            builtin,
            binding.enabled,
            binding.filter.as_deref(),
            ordering_json(binding)?,
            binding.expires_in_secs,
        ];
        reference(self.changed(&q::BINDING_UPDATE, params).await, "binding")
    }

    pub(super) async fn bindings_list(&mut self) -> StoreResult<Vec<Binding>> {
        let mut bindings = match self.scope.tenant() {
            Some(own) => {
                self.list(&q::BINDING_LIST_OWN, values![own], binding)
                    .await?
            }
            None => self.list(&q::BINDING_LIST, &[], binding).await?,
        };
        bindings.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        Ok(bindings)
    }
}

fn by_source(secrets: Vec<(SourceId, SourceSecret)>) -> HashMap<SourceId, Vec<SourceSecret>> {
    let mut groups: HashMap<SourceId, Vec<SourceSecret>> = HashMap::new();
    for (source, secret) in secrets {
        groups.entry(source).or_default().push(secret);
    }
    for group in groups.values_mut() {
        group.sort_by_key(|secret| std::cmp::Reverse((secret.created_at, secret.id)));
    }
    groups
}

fn source(row: &Row) -> StoreResult<Source> {
    Ok(Source {
        id: row.get(0)?,
        number: row.get(1)?,
        tenant: row.get(2)?,
        name: row.get(3)?,
        scheme: row.get(4)?,
        settings: row.get(5)?,
        enabled: row.get(6)?,
        secrets: Vec::new(),
        created_at: row.get(7)?,
        updated_at: row.get(8)?,
    })
}

fn secret(row: &Row) -> StoreResult<(SourceId, SourceSecret)> {
    let secret = SourceSecret {
        id: row.get(1)?,
        secret: row.get(2)?,
        created_at: row.get(3)?,
        last_used_at: row.get(4)?,
    };
    Ok((row.get(0)?, secret))
}

fn handler(handler: &HandlerRef) -> (Option<mainstay_domain::EndpointId>, Option<&str>) {
    match handler {
        HandlerRef::Endpoint(id) => (Some(*id), None),
        HandlerRef::Builtin(kind) => (None, Some(kind)),
    }
}

fn ordering_json(binding: &Binding) -> StoreResult<Option<String>> {
    let text = binding.ordering.as_ref().map(serde_json::to_string);
    text.transpose()
        .map_err(|error| StoreError::Bug(error.to_string()))
}

fn binding(row: &Row) -> StoreResult<Binding> {
    let handler = match (row.get(5)?, row.get(6)?) {
        (Some(endpoint), None) => HandlerRef::Endpoint(endpoint),
        (None, Some(kind)) => HandlerRef::Builtin(kind),
        _ => return Err(unknown(5)),
    };
    Ok(Binding {
        id: row.get(0)?,
        tenant: row.get(1)?,
        name: row.get(2)?,
        source: row.get(3)?,
        type_pattern: row.get(4)?,
        filter: row.get(9)?,
        ordering: row
            .get::<Option<String>>(10)?
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| {
                StoreError::Corrupt(format!("the ordering of a binding cannot be read: {error}"))
            })?,
        expires_in_secs: row.get(11)?,
        handler,
        enabled: row.get(7)?,
        created_at: row.get(8)?,
    })
}
