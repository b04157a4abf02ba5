//! The API as a program calls it.

use std::time::Duration;

use futures_util::StreamExt;
use mainstay_domain::intake::scheme::{Message, Scheme, Secret, sign};
use reqwest::{Client, Method, RequestBuilder, StatusCode, header::HeaderMap, redirect::Policy};
use serde_json::{Value, json};

use crate::server::Server;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The body.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text))
    }

    /// The body of a success.
    pub(crate) fn ok(&self) -> Value {
        assert!(
            (200..300).contains(&self.status),
            "{} {}",
            self.status,
            self.text
        );
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// The code of a failure, which must be a whole problem.
    pub(crate) fn problem(&self) -> (u16, String) {
        let problem = self.json();
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{}",
            self.text
        );
        assert_eq!(problem["status"], self.status, "{problem}");
        for field in ["type", "title", "detail", "code"] {
            assert!(
                problem[field].as_str().is_some_and(|text| !text.is_empty()),
                "{field}: {problem}"
            );
        }
        assert!(!self.header("x-request-id").is_empty());
        (
            self.status,
            problem["code"].as_str().unwrap_or_default().to_owned(),
        )
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// A caller.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    http: Client,
    base: String,
    token: Option<String>,
}

impl Caller {
    /// Nobody in particular.
    pub(crate) fn nobody(server: &Server) -> Self {
        // The test's binary uses TLS without the server's main function.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .build();
        Self {
            http: http.expect("a client"),
            base: server.address.clone(),
            token: None,
        }
    }

    /// The owner whose key lies in the data directory.
    pub(crate) fn owner(server: &Server) -> Self {
        let file = std::fs::read(server.data().join("api.json")).expect("the server wrote it");
        let local: Value = serde_json::from_slice(&file).expect("it is JSON");
        let token = local["token"]
            .as_str()
            .expect("it holds a token")
            .to_owned();
        Self::nobody(server).with(&token)
    }

    /// The same with this key.
    pub(crate) fn with(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// A new key, made by this caller.
    pub(crate) async fn key(&self, body: Value) -> Self {
        let made = self.post("/v1/keys", &body).await.ok();
        self.with(made["secret"].as_str().expect("its secret is shown"))
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.expect("the server answers");
        let (status, headers) = (response.status(), response.headers().clone());
        Answer {
            status: status.as_u16(),
            headers,
            text: response.text().await.expect("the answer ends"),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(body))
            .await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Sends a signed Standard Webhooks message to a source.
    pub(crate) async fn webhook(
        &self,
        source: &str,
        secret: &str,
        id: &str,
        body: &Value,
    ) -> Answer {
        let text = body.to_string();
        let message = Message {
            id,
            kind: "",
            timestamp_secs: jiff::Timestamp::now().as_second(),
            body: text.as_bytes(),
        };
        let secret = Secret::new(secret.to_owned());
        let headers =
            sign(&Scheme::StandardWebhooks, &secret, &message).expect("the secret is good");
        self.inbound(source, headers, text).await
    }

    /// Sends a request to a source as a provider does.
    pub(crate) async fn inbound(
        &self,
        source: &str,
        headers: Vec<(String, String)>,
        body: String,
    ) -> Answer {
        let mut request = self.http.post(format!("{}/in/{source}", self.base));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        self.send(request.body(body)).await
    }

    /// Asks again with every tick of the stream until what is answered is as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until_answer(path, |answer| wanted(&answer.ok()))
            .await
            .ok()
    }

    /// Asks again with every tick of the stream until the answer is as wanted.
    pub(crate) async fn until_answer(
        &self,
        path: &str,
        wanted: impl Fn(&Answer) -> bool,
    ) -> Answer {
        let stream = self
            .request(Method::GET, "/v1/stream")
            .send()
            .await
            .expect("the stream opens");
        assert_eq!(stream.status(), StatusCode::OK);
        let mut ticks = stream.bytes_stream();
        let asked = async {
            loop {
                let found = self.get(path).await;
                if wanted(&found) {
                    return found;
                }
                ticks
                    .next()
                    .await
                    .expect("the stream goes on")
                    .expect("it can be read");
            }
        };
        let found = tokio::time::timeout(PATIENCE, asked).await;
        match found {
            Ok(found) => found,
            Err(_) => panic!("{path} never was as wanted: {}", self.get(path).await.text),
        }
    }
}

/// The text at a place of an answer.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found
        .unwrap_or_else(|| panic!("no text at {pointer} of {value}"))
        .to_owned()
}

/// An event that waits at a source of its own until it is known whose it is.
async fn a_waiting_event(owner: &Caller, name: &str) -> String {
    let source = format!("{name}-connect");
    let rule = json!({ "tenant": { "find": [{ "pointer": "/account" }] } });
    let new = json!({ "name": source, "scheme": "standard_webhooks", "settings": rule, "tenant_id": null });
    let made = owner.post("/v1/sources", &new).await.ok();
    let body = json!({ "type": "order.made", "account": format!("unknown_{name}") });
    let accepted = owner
        .webhook(
            &source,
            &text(&made, "/secret"),
            &format!("msg_{name}"),
            &body,
        )
        .await
        .ok();
    text(&accepted, "/event_ids/0")
}

/// A tenant with one of everything, a dead letter included.
pub(crate) struct World {
    pub(crate) tenant: String,
    pub(crate) source: String,
    pub(crate) source_name: String,
    pub(crate) source_secret: String,
    pub(crate) secret: String,
    pub(crate) endpoint: String,
    pub(crate) binding: String,
    pub(crate) event: String,
    /// An event of a source with a rule, whose tenant is not known yet.
    pub(crate) waiting: String,
    /// A link of `source` to the tenant.
    pub(crate) link: String,
    /// A schema of `source`.
    pub(crate) schema: String,
    pub(crate) receipt: String,
    pub(crate) job: String,
    /// A parked line, with one dead letter of its own.
    pub(crate) line: String,
    /// A replay that found nothing.
    pub(crate) replay: String,
    /// A schedule that is paused.
    pub(crate) schedule: String,
    /// A saga that waits for a person, twice.
    pub(crate) saga: String,
    /// A run of it that waits.
    pub(crate) saga_run: String,
    pub(crate) key: String,
}

impl World {
    /// Makes it all.
    pub(crate) async fn make(owner: &Caller, name: &str) -> Self {
        let tenant = text(
            &owner
                .post("/v1/tenants", &json!({ "name": name }))
                .await
                .ok(),
            "/id",
        );
        let source_name = format!("{name}-in");
        let new =
            json!({ "name": source_name, "scheme": "standard_webhooks", "tenant_id": tenant });
        let source = owner.post("/v1/sources", &new).await.ok();
        let secret = text(&source, "/secret");
        let new = json!({
            // Nobody listens on this port, and there is no second try.
            "name": "app", "url": "http://127.0.0.1:9/", "tenant_id": tenant,
            "retry": { "strategy": "schedule", "attempts_max": 1, "delays_ms": [0] },
        });
        let endpoint = text(
            &owner.post("/v1/endpoints", &new).await.ok(),
            "/endpoint/id",
        );
        let new = json!({ "source": source_name, "endpoint_id": endpoint, "type_pattern": "*" });
        let binding = text(&owner.post("/v1/bindings", &new).await.ok(), "/id");
        let body = json!({ "type": "order.made", "data": { "of": name } });
        let accepted = owner
            .webhook(&source_name, &secret, &format!("msg_{name}"), &body)
            .await
            .ok();
        let event = text(&accepted, "/event_ids/0");
        let brought = owner.get(&format!("/v1/events/{event}")).await.ok();
        let path = format!("/v1/dead-letters?tenant={tenant}");
        let letters = owner.until(&path, |found| {
            found["items"]
                .as_array()
                .is_some_and(|list| !list.is_empty())
        });
        let job = text(&letters.await, "/items/0/job_id");
        let key = json!({ "name": format!("{name}-key"), "role": "owner", "tenant_id": tenant });
        let key = text(&owner.post("/v1/keys", &key).await.ok(), "/key/id");
        Self {
            tenant,
            source: text(&source, "/source/id"),
            source_name,
            source_secret: text(&source, "/source/secrets/0/id"),
            secret,
            endpoint,
            binding,
            event,
            waiting: String::new(),
            link: String::new(),
            replay: String::new(),
            schedule: String::new(),
            saga: String::new(),
            saga_run: String::new(),
            schema: String::new(),
            receipt: text(&brought, "/receipts/0/id"),
            job,
            line: String::new(),
            key,
        }
    }

    /// The same with an event that waits and a link.
    pub(crate) async fn make_whole(owner: &Caller, name: &str) -> Self {
        let mut world = Self::make(owner, name).await;
        world.waiting = a_waiting_event(owner, name).await;
        let links = format!("/v1/sources/{}/links", world.source);
        let value = format!("acct_{name}");
        let new = json!({ "links": [{ "value": value, "tenant": world.tenant }] });
        owner.post(&links, &new).await.ok();
        world.link = text(&owner.get(&links).await.ok(), "/items/0/id");
        let selection = json!({ "tenant": world.tenant, "type": "no.such" });
        let replay = json!({ "selection": selection, "plan": false });
        let begun = owner.post("/v1/replays", &replay).await;
        assert_eq!(begun.status, 202, "{}", begun.text);
        world.replay = text(&begun.json(), "/id");
        let new = json!({
            "name": format!("{name}-daily"), "cron": "@daily", "kind": "noop", "paused": true,
            "tenant_id": world.tenant,
        });
        world.schedule = text(&owner.post("/v1/schedules", &new).await.ok(), "/id");
        let steps = json!([{ "name": "look", "approval": {} }, { "name": "sign", "approval": {} }]);
        let new =
            json!({ "name": format!("{name}-order"), "steps": steps, "tenant_id": world.tenant });
        world.saga = text(&owner.post("/v1/sagas", &new).await.ok(), "/id");
        let runs = format!("/v1/sagas/{}/runs", world.saga);
        let input = json!({ "input": { "of": name } });
        world.saga_run = text(&owner.post(&runs, &input).await.ok(), "/id");
        let run = format!("/v1/saga-runs/{}", world.saga_run);
        owner.until(&run, |run| run["state"] == "waiting").await;
        let schemas = format!("/v1/sources/{}/schemas", world.source);
        let new = json!({ "types": "order.*", "schema": { "title": value } });
        world.schema = text(&owner.post(&schemas, &new).await.ok(), "/id");
        world.line = world.a_parked_line(owner, name).await;
        world
    }

    /// An event of a key of its own, whose job dies.
    async fn a_parked_line(&self, owner: &Caller, name: &str) -> String {
        let binding = format!("/v1/bindings/{}", self.binding);
        let ordered = json!({ "ordering": { "key": "/data/of" } });
        owner.patch(&binding, &ordered).await.ok();
        let body = json!({ "type": "order.made", "data": { "of": name } });
        let id = format!("msg_{name}_line");
        owner
            .webhook(&self.source_name, &self.secret, &id, &body)
            .await
            .ok();
        let path = format!("/v1/lines?state=parked&tenant={}", self.tenant);
        let lines = owner.until(&path, |found| found.pointer("/items/0").is_some());
        text(&lines.await, "/items/0/id")
    }

    /// The queue of its endpoint.
    pub(crate) fn queue(&self) -> String {
        format!("endpoint:{}", self.endpoint)
    }

    /// Everything that another tenant must never see.
    pub(crate) fn traces(&self) -> Vec<&str> {
        let all = [
            &self.tenant,
            &self.source,
            &self.source_name,
            &self.source_secret,
            &self.endpoint,
            &self.binding,
            &self.event,
            &self.waiting,
            &self.link,
            &self.schema,
            &self.receipt,
            &self.job,
            &self.line,
            &self.replay,
            &self.schedule,
            &self.saga,
            &self.saga_run,
            &self.key,
        ];
        let made = all.into_iter().map(String::as_str);
        made.filter(|trace| !trace.is_empty()).collect()
    }
}

/// Makes a test of one body on each database: it is given a running server.
#[macro_export]
macro_rules! on_both_servers {
    ($name:ident, $settings:expr, |$server:ident| async $body:block) => {
        mod $name {
            use super::*;

            async fn body($server: &mut Server) $body

            #[test]
            fn on_sqlite() {
                mainstay_testkit::run(async {
                    let mut server = Server::sqlite_with($settings);
                    body(&mut server).await;
                });
            }

            #[test]
            fn on_postgres() {
                mainstay_testkit::run(async {
                    let mut server = Server::postgres_with($settings).await;
                    body(&mut server).await;
                });
            }
        }
    };
}
