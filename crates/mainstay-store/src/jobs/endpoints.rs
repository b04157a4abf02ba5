//! Endpoints. Every change counts as one of the configuration.

use mainstay_domain::{
    EndpointId, StoreError, StoreResult, Timestamp,
    jobs::{Endpoint, secret::EndpointSecret},
    vault::{Column, Place},
};
use serde::{Deserialize, Serialize};

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
        let (secrets, headers) = self.endpoint_sealed(endpoint).await?;
        let params = values![
            endpoint.tenant,
            endpoint.id,
            &*endpoint.name,
            &*endpoint.url,
            endpoint.queue,
            endpoint.enabled,
            secrets,
            &*endpoint.settings,
            endpoint.created_at,
            endpoint.updated_at,
            headers,
        ];
        reference(self.execute(&q::ENDPOINT_INSERT, params).await, "endpoint").map(|_| ())
    }

    pub(super) async fn endpoints_update(&mut self, endpoint: &Endpoint) -> StoreResult<bool> {
        self.scope.admit(endpoint.tenant)?;
        self.config_bump().await?;
        let (secrets, headers) = self.endpoint_sealed(endpoint).await?;
        let params = values![
            endpoint.tenant,
            endpoint.id,
            &*endpoint.name,
            &*endpoint.url,
            endpoint.enabled,
            secrets,
            &*endpoint.settings,
            endpoint.updated_at,
            headers,
        ];
        self.changed(&q::ENDPOINT_UPDATE, params).await
    }

    pub(super) async fn endpoints_get(&mut self, id: EndpointId) -> StoreResult<Option<Endpoint>> {
        let Some(tenant) = self.tenant_of(&q::ENDPOINT_TENANT, id.uuid()).await? else {
            return Ok(None);
        };
        let row = self.rows(&q::ENDPOINT_GET, values![tenant, id]).await?;
        match row.first() {
            Some(row) => self.endpoint_read(row).await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) async fn endpoints_list(&mut self) -> StoreResult<Vec<Endpoint>> {
        let rows = match self.scope.tenant() {
            Some(own) => self.rows(&q::ENDPOINT_LIST_OWN, values![own]).await?,
            None => self.rows(&q::ENDPOINT_LIST, &[]).await?,
        };
        let mut endpoints = Vec::with_capacity(rows.len());
        for row in &rows {
            endpoints.push(self.endpoint_read(row).await?);
        }
        endpoints.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        Ok(endpoints)
    }

    /// Its secrets and headers as they are kept.
    async fn endpoint_sealed(&mut self, endpoint: &Endpoint) -> StoreResult<(String, String)> {
        let (id, tenant, at) = (endpoint.id.uuid(), endpoint.tenant, endpoint.updated_at);
        let place = Place::new(Column::EndpointSecrets, id);
        let secrets = secrets_json(endpoint)?;
        let secrets = self.sealed_text(place, tenant, &secrets, at).await?;
        let place = Place::new(Column::EndpointHeaders, id);
        let headers = headers_json(endpoint)?;
        let headers = self.sealed_text(place, tenant, &headers, at).await?;
        Ok((secrets, headers))
    }

    /// Without secrets and headers where their key is destroyed: nothing more can be sent in its name.
    async fn endpoint_read(&mut self, row: &Row) -> StoreResult<Endpoint> {
        let id = row.get::<EndpointId>(0)?.uuid();
        let place = Place::new(Column::EndpointSecrets, id);
        let secrets = self.opened_text(place, row.get(6)?).await?;
        let place = Place::new(Column::EndpointHeaders, id);
        let headers = self.opened_text(place, row.get(10)?).await?;
        endpoint(
            row,
            secrets.as_deref().unwrap_or("[]"),
            headers.as_deref().unwrap_or("{}"),
        )
    }
}

/// A secret as it is kept: its text, or where it ends its text and when, in microseconds.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum KeptSecret {
    Endless(String),
    Ending { secret: String, until: i64 },
}

impl From<&EndpointSecret> for KeptSecret {
    fn from(one: &EndpointSecret) -> Self {
        let secret = one.secret.clone();
        match one.until {
            None => Self::Endless(secret),
            Some(until) => Self::Ending {
                secret,
                until: until.micros(),
            },
        }
    }
}

impl From<KeptSecret> for EndpointSecret {
    fn from(kept: KeptSecret) -> Self {
        match kept {
            KeptSecret::Endless(secret) => Self::new(secret),
            KeptSecret::Ending { secret, until } => Self {
                secret,
                until: Some(Timestamp::from_micros(until)),
            },
        }
    }
}

fn secrets_json(endpoint: &Endpoint) -> StoreResult<String> {
    let kept: Vec<KeptSecret> = endpoint.secrets.iter().map(Into::into).collect();
    let json = serde_json::to_string(&kept);
    json.map_err(|error| StoreError::Bug(error.to_string()))
}

fn headers_json(endpoint: &Endpoint) -> StoreResult<String> {
    let json = serde_json::to_string(&endpoint.headers);
    json.map_err(|error| StoreError::Bug(error.to_string()))
}

fn endpoint(row: &Row, secrets: &str, headers: &str) -> StoreResult<Endpoint> {
    let secrets: Result<Vec<KeptSecret>, _> = serde_json::from_str(secrets);
    Ok(Endpoint {
        id: row.get(0)?,
        tenant: row.get(1)?,
        name: row.get(2)?,
        url: row.get(3)?,
        queue: row.get(4)?,
        enabled: row.get(5)?,
        // The error would show what stands there.
        secrets: secrets
            .map(|kept| kept.into_iter().map(Into::into).collect())
            .map_err(|_| StoreError::Corrupt("an endpoint's secrets cannot be read".into()))?,
        headers: serde_json::from_str(headers)
            .map_err(|_| StoreError::Corrupt("an endpoint's headers cannot be read".into()))?,
        settings: row.get(7)?,
        created_at: row.get(8)?,
        updated_at: row.get(9)?,
    })
}
