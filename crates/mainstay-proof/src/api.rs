//! Mainstay's API as the proofs use it: declare, look, count.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{events::Provider, http::Client};

/// A client with the key that the server leaves in its data directory.
#[derive(Debug)]
pub struct Api {
    client: Client,
    token: String,
}

impl Api {
    /// Reads `api.json`. The key changes with every start of the server.
    pub fn open(data: &Path) -> anyhow::Result<Self> {
        let path = data.join("api.json");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{} is not there", path.display()))?;
        let api: Value = serde_json::from_str(&text)?;
        let address = api["address"]
            .as_str()
            .context("api.json names the address")?;
        let address = address.trim_start_matches("http://").trim_end_matches('/');
        let token = api["token"].as_str().context("api.json holds a token")?;
        Ok(Self {
            client: Client::new(address, Duration::from_secs(30)),
            token: token.to_owned(),
        })
    }

    /// GET, with the answer's JSON.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        self.call("GET", path, Bytes::new()).await
    }

    /// POST, with the answer's JSON.
    pub async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call("POST", path, Bytes::from(body.to_string())).await
    }

    async fn call(&mut self, method: &str, path: &str, body: Bytes) -> anyhow::Result<Value> {
        let headers = [
            ("authorization", format!("Bearer {}", self.token)),
            ("content-type", "application/json".to_owned()),
        ];
        let answer = self.client.send(method, path, &headers, body).await?;
        let text = String::from_utf8_lossy(&answer.body);
        if !(200..300).contains(&answer.status) {
            bail!(
                "{method} {path} was answered with {}: {text}",
                answer.status
            );
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text)
            .with_context(|| format!("{method} {path} did not answer with JSON: {text}"))
    }

    /// Every item of a list, page by page.
    pub async fn list(&mut self, path: &str) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let joint = if path.contains('?') { '&' } else { '?' };
            let page = self.get(&format!("{path}{joint}limit=200{cursor}")).await?;
            items.extend(page["items"].as_array().into_iter().flatten().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
        }
    }

    /// The rows of a read-only statement, of which the server gives a thousand at the most.
    pub async fn rows(&mut self, statement: &str) -> anyhow::Result<Vec<Value>> {
        let table = self
            .post("/v1/sql", &json!({ "statement": statement }))
            .await?;
        Ok(table["rows"].as_array().context("rows")?.clone())
    }

    /// The first row of a read-only statement, as numbers.
    pub async fn count(&mut self, statement: &str) -> anyhow::Result<Vec<i64>> {
        let rows = self.rows(statement).await?;
        let row = rows.first().and_then(Value::as_array).context("a row")?;
        row.iter()
            .map(|cell| {
                let number = cell.as_i64().or_else(|| cell.as_str()?.parse().ok());
                number.with_context(|| format!("{cell} is a number"))
            })
            .collect()
    }

    /// Declares the source of a provider.
    pub async fn source_declare(&mut self, provider: Provider, secret: &str) -> anyhow::Result<()> {
        let body =
            json!({ "name": provider.source(), "scheme": provider.scheme(), "secret": secret });
        self.post("/v1/sources", &body).await?;
        Ok(())
    }

    /// Declares an endpoint; answers the secret that its requests are signed with.
    pub async fn endpoint_declare(&mut self, settings: &Value) -> anyhow::Result<String> {
        let made = self.post("/v1/endpoints", settings).await?;
        let secret = made["secret"]
            .as_str()
            .context("an endpoint has a secret")?;
        Ok(secret.to_owned())
    }

    /// Binds everything of a source to an endpoint.
    pub async fn binding_declare(&mut self, source: &str, endpoint: &str) -> anyhow::Result<()> {
        let body = json!({ "source": source, "type_pattern": "*", "endpoint": endpoint });
        self.post("/v1/bindings", &body).await?;
        Ok(())
    }

    /// Binds everything of a source to an endpoint, one at a time for each value that stands there in the payloads.
    pub async fn ordered_binding_declare(
        &mut self,
        source: &str,
        endpoint: &str,
        pointer: &str,
    ) -> anyhow::Result<()> {
        let body = json!({ "source": source, "type_pattern": "*", "endpoint": endpoint, "ordering": { "key": pointer } });
        self.post("/v1/bindings", &body).await?;
        Ok(())
    }

    /// Binds everything of a source to the built-in handler that records billing's events.
    pub async fn billing_declare(&mut self, source: &str) -> anyhow::Result<()> {
        let handler = json!({ "kind": "builtin", "name": "billing.record" });
        let body = json!({ "source": source, "type_pattern": "*", "handler": handler });
        self.post("/v1/bindings", &body).await?;
        Ok(())
    }

    /// How many jobs are not over yet, counted from the rows: the engine's own counters are not what is believed here.
    pub async fn jobs_not_over(&mut self) -> anyhow::Result<u64> {
        let open =
            "SELECT count(*) FROM job_state WHERE state NOT IN ('done', 'dead', 'cancelled')";
        Ok(self.count(open).await?[0] as u64)
    }

    /// How many jobs are not over yet by the engine's counters, to show: waiting, running, to be tried again.
    pub async fn jobs_open(&mut self) -> anyhow::Result<u64> {
        let counts = self.get("/v1/job-counts").await?;
        let queues = counts["queues"].as_object().context("counts of queues")?;
        Ok(queues
            .values()
            .flat_map(|queue| ["waiting", "active", "retrying"].map(|state| queue[state].as_u64()))
            .map(Option::unwrap_or_default)
            .sum())
    }
}
