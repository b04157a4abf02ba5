//! Endpoints. Every change counts as one of the configuration.

use mainstay_domain::{EndpointId, StoreError, StoreResult, jobs::Endpoint};

use super::queries as q;
use crate::{
    sql::Row,
    tx::SqlTx,
    verbs::{reference, values},
};

impl SqlTx<'_> {
    pub(super) async fn endpoints_insert(&mut self, endpoint: &Endpoint) -> StoreResult<()> {
        self.scope.admit(endpoint.tenant)?;
        self.config_bump().await?;
        let params = values![
            endpoint.tenant,
            endpoint.id,
            &*endpoint.name,
            &*endpoint.url,
            endpoint.queue,
            endpoint.enabled,
            secrets_json(endpoint)?,
            &*endpoint.settings,
            endpoint.created_at,
            endpoint.updated_at,
        ];
        reference(self.execute(&q::ENDPOINT_INSERT, params).await, "endpoint").map(|_| ())
    }

    pub(super) async fn endpoints_update(&mut self, endpoint: &Endpoint) -> StoreResult<bool> {
        self.scope.admit(endpoint.tenant)?;
        self.config_bump().await?;
        let params = values![
            endpoint.tenant,
            endpoint.id,
            &*endpoint.name,
            &*endpoint.url,
            endpoint.enabled,
            secrets_json(endpoint)?,
            &*endpoint.settings,
            endpoint.updated_at,
        ];
        self.changed(&q::ENDPOINT_UPDATE, params).await
    }

    pub(super) async fn endpoints_get(&mut self, id: EndpointId) -> StoreResult<Option<Endpoint>> {
        let Some(tenant) = self.tenant_of(&q::ENDPOINT_TENANT, id.uuid()).await? else {
            return Ok(None);
        };
        self.first(&q::ENDPOINT_GET, values![tenant, id], endpoint)
            .await
    }

    pub(super) async fn endpoints_list(&mut self) -> StoreResult<Vec<Endpoint>> {
        let mut endpoints = match self.scope.tenant() {
            Some(own) => {
                self.list(&q::ENDPOINT_LIST_OWN, values![own], endpoint)
                    .await?
            }
            None => self.list(&q::ENDPOINT_LIST, &[], endpoint).await?,
        };
        endpoints.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        Ok(endpoints)
    }
}

fn secrets_json(endpoint: &Endpoint) -> StoreResult<String> {
    let json = serde_json::to_string(&endpoint.secrets);
    json.map_err(|error| StoreError::Bug(error.to_string()))
}

fn endpoint(row: &Row) -> StoreResult<Endpoint> {
    let secrets = serde_json::from_str(&row.get::<String>(6)?);
    Ok(Endpoint {
        id: row.get(0)?,
        tenant: row.get(1)?,
        name: row.get(2)?,
        url: row.get(3)?,
        queue: row.get(4)?,
        enabled: row.get(5)?,
        // The error would show what stands there.
        secrets: secrets
            .map_err(|_| StoreError::Corrupt("an endpoint's secrets cannot be read".into()))?,
        settings: row.get(7)?,
        created_at: row.get(8)?,
        updated_at: row.get(9)?,
    })
}
