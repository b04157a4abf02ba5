//! Every route of the OpenAPI document, tried by nobody, by a viewer and across tenants. A new route cannot be
//! forgotten: what this file does not know how to call makes it fail.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    client::{Answer, Caller, World},
    on_both_servers,
    server::{Server, Settings},
};

/// Routes that anybody may call.
const OPEN: [&str; 3] = ["session_create", "health_get", "openapi_get"];
/// Routes that are about the whole installation: a key of one tenant has no business there.
const EVERYWHERE: [&str; 32] = [
    "worker_list",
    "node_list",
    "worker_pull",
    "worker_heartbeat",
    "worker_report",
    "tenant_create",
    "tenant_delete",
    "tenant_erase",
    "vault_get",
    "data_key_list",
    "rotation_create",
    "user_list",
    "user_create",
    "user_update",
    "user_delete",
    "user_link",
    "key_list",
    "key_create",
    "key_delete",
    "key_update",
    "source_link_list",
    "source_link_create",
    "source_link_delete",
    "source_waiting",
    "waiting_list",
    "waiting_get",
    "waiting_payload",
    "stream_get",
    "sql",
    "audit_head",
    "audit_export",
    "storage_get",
];

/// Writes that are refused without encryption at rest: what is kept of answers could not be looked at with it.
const SEALED_ONLY: [&str; 2] = ["tenant_erase", "rotation_create"];

/// One operation of the document.
struct Operation {
    id: String,
    method: Method,
    path: String,
    has_body: bool,
    query: BTreeSet<String>,
    body_fields: BTreeSet<String>,
    /// The least role that may call it; none: anybody.
    role: Option<String>,
    /// Whether it is safe to repeat with an `Idempotency-Key`.
    repeatable: bool,
}

/// From the least to the most.
const ROLES: [&str; 4] = ["viewer", "operator", "admin", "owner"];

fn operations() -> Vec<Operation> {
    let document: Value =
        serde_json::from_str(include_str!("../../../../docs/openapi.json")).expect("it is JSON");
    let mut all = Vec::new();
    let paths = document["paths"].as_object().expect("there are paths");
    // What stands outside of the API knows no callers: intake's signatures and the probes have tests of their own.
    for (path, item) in paths.iter().filter(|(path, _)| path.starts_with("/v1/")) {
        for (method, operation) in item.as_object().expect("operations") {
            all.push(Operation {
                id: operation["operationId"]
                    .as_str()
                    .expect("it has an id")
                    .to_owned(),
                method: method.to_uppercase().parse().expect("a method"),
                path: path.clone(),
                has_body: operation.get("requestBody").is_some(),
                query: query_of(operation),
                body_fields: fields_of(&document, operation),
                role: operation["x-role"].as_str().map(str::to_owned),
                repeatable: operation["parameters"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|one| one["name"] == "Idempotency-Key")),
            });
        }
    }
    assert!(all.len() > 40, "the document is whole");
    all
}

fn query_of(operation: &Value) -> BTreeSet<String> {
    let parameters = operation["parameters"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let named = parameters.iter().filter(|one| one["in"] == "query");
    named
        .filter_map(|one| one["name"].as_str().map(str::to_owned))
        .collect()
}

fn fields_of(document: &Value, operation: &Value) -> BTreeSet<String> {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let Some(reference) = schema["$ref"].as_str() else {
        return BTreeSet::new();
    };
    let schema = document
        .pointer(&reference[1..])
        .expect("the reference leads somewhere");
    let fields = schema["properties"].as_object();
    fields
        .map(|fields| fields.keys().cloned().collect())
        .unwrap_or_default()
}

impl Operation {
    fn is_write(&self) -> bool {
        self.method != Method::GET
    }

    /// The path with the ids of this world.
    fn path_in(&self, world: &World, user: &str) -> String {
        let group = self.path.split('/').nth(2).unwrap_or_default();
        let id = match group {
            "tenants" => &world.tenant,
            "users" => user,
            "keys" => &world.key,
            "sources" => &world.source,
            "endpoints" => &world.endpoint,
            "bindings" => &world.binding,
            "events" => &world.event,
            "waiting-events" => &world.waiting,
            "receipts" => &world.receipt,
            "jobs" => &world.job,
            "lines" => &world.line,
            "replays" => &world.replay,
            "schedules" => &world.schedule,
            "sagas" => &world.saga,
            "saga-runs" => &world.saga_run,
            "queues" => &world.queue(),
            "breakers" => &world.endpoint,
            _ if self.path.contains('{') => panic!("say here which id {} takes", self.path),
            _ => "",
        };
        self.path
            .replace("{id}", id)
            .replace("{name}", id)
            .replace("{secret_id}", &world.source_secret)
            .replace("{link_id}", &world.link)
            .replace("{schema_id}", &world.schema)
            + self.query_needed()
    }

    /// What this operation must be asked with.
    fn query_needed(&self) -> &'static str {
        match self.id.as_str() {
            "event_filter" => "?filter=true",
            "timeline_get" => "?object=cus_1",
            _ => "",
        }
    }

    /// A body that is right, about the things of this world.
    fn body_in(&self, world: &World) -> Option<Value> {
        self.has_body.then(|| match self.id.as_str() {
            "session_create" => json!({ "email": "nobody@example.com", "password": "not a password" }),
            "tenant_create" => json!({ "name": "Another" }),
            "tenant_erase" => json!({ "confirm": "another" }),
            "rotation_create" => json!({ "mode": "master" }),
            "user_create" => json!({ "email": "new@example.com", "role": "viewer" }),
            "user_update" => json!({ "role": "owner" }),
            "key_create" => json!({ "name": "another", "role": "viewer" }),
            "key_update" => json!({ "limits": [] }),
            "source_create" => json!({ "name": "another", "scheme": "github" }),
            "source_update" => json!({ "enabled": false }),
            "source_secret_create" => json!({}),
            "source_reverify" => json!({ "plan": false }),
            "source_drift_acknowledge" => json!({}),
            "source_expected_acknowledge" => json!({}),
            "source_schema_create" => json!({ "types": "a.b", "schema": {} }),
            "source_link_create" => json!({ "links": [{ "value": "acct_2", "tenant": world.tenant }] }),
            "endpoint_create" => json!({ "name": "another", "url": "http://127.0.0.1:9/" }),
            "endpoint_secret_rotate" => json!({}),
            "breaker_open" => json!({ "reason": "a test" }),
            "breaker_close" => json!({ "reason": "a test", "until": crate::breakers::in_an_hour() }),
            "endpoint_update" => json!({ "enabled": false }),
            "binding_create" => json!({
                "source_id": world.source, "endpoint_id": world.endpoint, "type_pattern": "*",
            }),
            "binding_update" => json!({ "enabled": false }),
            "configuration_apply" => json!({ "configuration": {
                "bindings": [{ "source": world.source_name, "endpoint": world.endpoint, "type_pattern": "*" }],
            } }),
            "job_create" => json!({ "kind": "noop", "payload": {} }),
            "job_create_bulk" => json!({ "jobs": [{ "kind": "noop" }, { "kind": "a.kind", "queue": "team" }] }),
            "worker_pull" => json!({ "worker": "w", "queues": ["team"], "wait_secs": 0 }),
            "worker_heartbeat" => json!({ "worker": "w", "beats": [{ "token": "A".repeat(48) }] }),
            "worker_report" => json!({
                "worker": "w", "outcomes": [{ "token": "A".repeat(48), "outcome": "completed" }],
            }),
            "job_cancel" => json!({}),
            "queue_update" => json!({ "max_in_flight": 3 }),
            "replay_create" => json!({ "selection": { "event_ids": [world.event] }, "plan": false }),
            "schedule_create" => json!({ "name": "another", "cron": "@daily", "kind": "noop" }),
            "schedule_update" => json!({ "cron": "@hourly" }),
            "schedule_preview" => json!({ "cron": "@daily" }),
            "saga_create" => json!({ "name": "another", "steps": [{ "name": "a", "kind": "noop" }] }),
            "saga_version_create" => json!({ "steps": [{ "name": "b", "kind": "noop" }] }),
            "saga_run_create" => json!({ "input": { "of": "one" } }),
            "saga_run_decide" => json!({ "step": "look", "approved": true }),
            "saga_run_cancel" => json!({ "reason": "a test" }),
            "dead_letter_retry" => json!({ "selection": { "job_ids": [world.job] }, "plan": false }),
            "dead_letter_discard" => {
                json!({ "selection": { "job_ids": [world.job] }, "reason": "a test", "plan": false })
            }
            "sql" => json!({ "statement": "SELECT 1 AS one" }),
            other => panic!("say here what the body of {other} is"),
        })
    }

    async fn call(&self, caller: &Caller, world: &World, user: &str) -> Answer {
        self.call_with(caller, &self.path_in(world, user), self.body_in(world))
            .await
    }

    async fn call_with(&self, caller: &Caller, path: &str, body: Option<Value>) -> Answer {
        let request = caller.request(self.method.clone(), path);
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        if ["stream_get", "event_follow"].contains(&self.id.as_str()) {
            // It does not end by itself.
            let response = request.send().await.expect("the server answers");
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let text = match status {
                200 => String::new(),
                _ => response.text().await.expect("a problem ends"),
            };
            return Answer {
                status,
                headers,
                text,
            };
        }
        caller.send(request).await
    }
}

async fn a_user(owner: &Caller) -> String {
    let new = json!({ "email": "somebody@example.com", "role": "viewer" });
    crate::client::text(&owner.post("/v1/users", &new).await.ok(), "/id")
}

on_both_servers!(
    nobody_gets_in_without_a_key,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let (world, user) = (World::make_whole(&owner, "a").await, a_user(&owner).await);
        let nobody = Caller::nobody(server);
        let forged = nobody.with(&format!("msk_{}_{}", "0".repeat(26), "A".repeat(43)));
        for operation in operations() {
            if OPEN.contains(&operation.id.as_str()) {
                continue;
            }
            for caller in [&nobody, &forged] {
                let answer = operation.call(caller, &world, &user).await;
                assert_eq!(
                    answer.problem(),
                    (401, "unauthenticated".into()),
                    "{}",
                    operation.id
                );
            }
        }
    }
);

on_both_servers!(
    a_viewer_changes_nothing_and_sees_all,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let (world, user) = (World::make_whole(&owner, "a").await, a_user(&owner).await);
        let viewer = owner.key(json!({ "name": "eyes", "role": "viewer" })).await;
        for operation in operations() {
            if OPEN.contains(&operation.id.as_str()) {
                continue;
            }
            let answer = operation.call(&viewer, &world, &user).await;
            match operation.id.as_str() {
                // Leaving is for everybody; a key has nothing to leave.
                "session_delete" => assert_eq!(answer.status, 204),
                // The whole log, with what its hashes are made of, is taken out by owners.
                "audit_export" => assert_eq!(answer.problem(), (403, "role_forbidden".into())),
                // Reckons, and changes nothing.
                "schedule_preview" => assert_eq!(answer.status, 200, "{}", answer.text),
                _ if operation.is_write() => {
                    assert_eq!(
                        answer.problem(),
                        (403, "role_forbidden".into()),
                        "{}",
                        operation.id
                    );
                }
                _ => assert_eq!(answer.status, 200, "{}: {}", operation.id, answer.text),
            }
        }
    }
);

on_both_servers!(
    each_role_may_call_what_is_declared_and_nothing_else,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let (world, user) = (World::make_whole(&owner, "a").await, a_user(&owner).await);
        let before = picture(&owner, &world).await;
        for (rank, name) in ROLES.into_iter().enumerate() {
            let caller = owner.key(json!({ "name": name, "role": name })).await;
            for operation in operations() {
                let id = operation.id.as_str();
                let Some(least) = &operation.role else {
                    assert!(OPEN.contains(&id), "{id}: nobody said who may call it");
                    continue;
                };
                let least = ROLES.iter().position(|role| role == least);
                let least = least.unwrap_or_else(|| panic!("{id}: there is no such role"));
                if rank < least {
                    // Right in every other way.
                    let answer = operation.call(&caller, &world, &user).await;
                    assert_eq!(
                        answer.problem(),
                        (403, "role_forbidden".into()),
                        "{name} {id}"
                    );
                    continue;
                }
                // Of something that is not there, with a body that says nothing: the role was let through, and nothing
                // happens.
                let path = operation
                    .path
                    .replace("{id}", "job_00000000000000000000000000");
                let body = operation.has_body.then(|| json!({ "no_such": 1 }));
                let answer = operation.call_with(&caller, &path, body).await;
                assert!(
                    ![401, 403].contains(&answer.status) && answer.status < 500,
                    "{name} {id}: {} {}",
                    answer.status,
                    answer.text
                );
            }
        }
        let after = picture(&owner, &world).await;
        assert_eq!(before, after, "nothing of it has changed");
    }
);

on_both_servers!(
    nobody_gets_above_themselves_and_somebody_is_left,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let users = ["one@example.com", "two@example.com"];
        let mut ids = Vec::new();
        for email in users {
            let made = owner
                .post("/v1/users", &json!({ "email": email, "role": "owner" }))
                .await
                .ok();
            ids.push(crate::client::text(&made, "/id"));
        }
        for role in ["viewer", "operator", "admin"] {
            let caller = owner.key(json!({ "name": role, "role": role })).await;
            let own = caller.get("/v1/session").await.ok();
            assert_eq!(own["role"], role);
            for (path, body) in [
                (
                    "/v1/users".to_owned(),
                    json!({ "email": "me@example.com", "role": "owner" }),
                ),
                (
                    "/v1/keys".to_owned(),
                    json!({ "name": "me", "role": "owner" }),
                ),
                (format!("/v1/users/{}/link", ids[0]), json!({})),
            ] {
                let refused = caller.post(&path, &body).await;
                assert_eq!(
                    refused.problem(),
                    (403, "role_forbidden".into()),
                    "{role} {path}"
                );
            }
        }
        let users = owner.get("/v1/users").await.ok();
        let owners: Vec<String> = users["items"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|user| user["role"] == "owner")
            .map(|user| crate::client::text(user, "/id"))
            .collect();
        assert_eq!(owners.len(), 2);
        // Both at once: one of them stays.
        let [one, other] = [0, 1].map(|at| {
            let (owner, path) = (owner.clone(), format!("/v1/users/{}", owners[at]));
            tokio::spawn(async move {
                let request = owner.request(Method::PATCH, &path);
                owner
                    .send(request.json(&json!({ "role": "admin" })))
                    .await
                    .status
            })
        });
        let mut ended = [one.await.expect("it ends"), other.await.expect("it ends")];
        ended.sort_unstable();
        assert_eq!(ended[0], 200);
        assert!(ended[1] >= 400, "{ended:?}");
        let left = owner.get("/v1/users").await.ok();
        let left = left["items"].as_array().expect("a list");
        let left: Vec<&Value> = left.iter().filter(|user| user["role"] == "owner").collect();
        assert_eq!(left.len(), 1);
        let path = format!("/v1/users/{}", crate::client::text(left[0], "/id"));
        let request = owner.request(Method::DELETE, &path);
        assert_eq!(
            owner.send(request).await.problem(),
            (409, "state_conflict".into())
        );
    }
);

/// Things that nothing hangs on, to be taken away.
struct Alone {
    tenant: String,
    user: String,
    source: String,
    endpoint: String,
    saga: String,
}

impl Alone {
    async fn make(owner: &Caller) -> Self {
        let made = async |path: &str, pointer: &str, body: Value| {
            crate::client::text(&owner.post(path, &body).await.ok(), pointer)
        };
        let source = json!({ "name": "alone", "scheme": "github" });
        let endpoint = json!({ "name": "alone", "url": "http://127.0.0.1:9/" });
        let saga = json!({ "name": "alone", "steps": [{ "name": "a", "kind": "noop" }] });
        Self {
            tenant: made("/v1/tenants", "/id", json!({ "name": "Alone" })).await,
            user: a_user(owner).await,
            source: made("/v1/sources", "/source/id", source).await,
            endpoint: made("/v1/endpoints", "/endpoint/id", endpoint).await,
            saga: made("/v1/sagas", "/id", saga).await,
        }
    }
}

/// What each write is called with so that it is done: a path and a body.
fn done_in(operation: &Operation, world: &World, alone: &Alone) -> (String, Option<Value>) {
    let body = match operation.id.as_str() {
        "tenant_create" => Some(json!({ "name": "Once" })),
        // Its slug.
        "tenant_erase" => Some(json!({ "confirm": "a" })),
        "user_create" => Some(json!({ "email": "once@example.com", "role": "viewer" })),
        "user_update" => Some(json!({ "role": "operator" })),
        "source_create" => Some(json!({ "name": "once", "scheme": "standard_webhooks" })),
        "endpoint_create" => Some(json!({ "name": "once", "url": "http://127.0.0.1:9/" })),
        _ => operation.body_in(world),
    };
    let path = match operation.id.as_str() {
        "tenant_delete" => format!("/v1/tenants/{}", alone.tenant),
        "source_delete" => format!("/v1/sources/{}", alone.source),
        "endpoint_delete" => format!("/v1/endpoints/{}", alone.endpoint),
        "saga_delete" => format!("/v1/sagas/{}", alone.saga),
        _ => operation.path_in(world, &alone.user),
    };
    (path, body)
}

/// The order in which the writes of one world can all be done, those that take things away last.
fn order(operation: &Operation) -> usize {
    const LAST: [&str; 22] = [
        "saga_run_decide",
        "saga_run_cancel",
        "replay_pause",
        "replay_resume",
        "replay_stop",
        "job_retry",
        "dead_letter_retry",
        "job_cancel",
        "dead_letter_discard",
        "binding_delete",
        "schedule_delete",
        "endpoint_secret_overlap_end",
        "endpoint_delete",
        "source_schema_delete",
        "source_link_delete",
        "source_secret_delete",
        "source_delete",
        "tenant_delete",
        "user_delete",
        "key_delete",
        // Not while keys are being exchanged.
        "tenant_erase",
        "rotation_create",
    ];
    let at = LAST.iter().position(|id| *id == operation.id);
    at.map_or(0, |at| at + 1)
}

on_both_servers!(
    every_write_is_done_once_however_often_it_is_sent,
    Settings::default(),
    |server| async { each_write_once(server, &SEALED_ONLY).await }
);

on_both_servers!(
    with_encryption_at_rest_every_write_is_done_once_as_well,
    sealed(),
    |server| async {
        each_write_once(server, &[]).await;
        let owner = Caller::owner(server);
        let open = "SELECT count(*) FROM idempotency WHERE body IS NOT NULL AND body NOT LIKE '\"sealed:1:%'";
        let counted = owner.post("/v1/sql", &json!({ "statement": open })).await;
        assert_eq!(counted.ok()["rows"], json!([[0]]), "every answer is sealed");
        let kept = json!({ "statement": "SELECT count(*) > 30 AS many FROM idempotency" });
        let kept = owner.post("/v1/sql", &kept).await.ok();
        assert!(
            [json!([[true]]), json!([[1]])].contains(&kept["rows"]),
            "{kept}"
        );
    }
);

fn sealed() -> Settings {
    let key = "bWFpbnN0YXkgdGVzdCBrZXksIG5vdCBhIHNlY3JldC4=";
    Settings {
        env: vec![("MAINSTAY_MASTER_KEY", key.to_owned())],
        ..Settings::default()
    }
}

/// Sends every write that can be repeated twice, and once more as another one. All of them are done but `impossible`.
async fn each_write_once(server: &Server, impossible: &[&str]) {
    let owner = Caller::owner(server);
    let (world, alone) = (
        World::make_whole(&owner, "a").await,
        Alone::make(&owner).await,
    );
    let mut writes: Vec<Operation> = operations()
        .into_iter()
        .filter(|operation| operation.repeatable)
        .collect();
    writes.sort_by_key(order);
    assert!(writes.len() > 30, "there are writes");
    let mut done = Vec::new();
    for operation in &writes {
        let id = operation.id.as_str();
        let (path, body) = done_in(operation, &world, &alone);
        let send = async |key: &str, body: &Option<Value>| {
            let request = owner
                .request(operation.method.clone(), &path)
                .header("idempotency-key", key);
            owner
                .send(match body {
                    Some(body) => request.json(body),
                    None => request,
                })
                .await
        };
        let first = send(id, &body).await;
        assert!(first.status < 500, "{id}: {}", first.text);
        if first.status >= 400 {
            // Not possible in this state: nothing happened, so there is nothing to remember.
            assert_eq!(send(id, &body).await.status, first.status, "{id}");
            continue;
        }
        done.push(id.to_owned());
        assert_eq!(first.header("idempotency-replayed"), "", "{id}");
        let again = send(id, &body).await;
        assert_eq!(
            (again.status, again.header("idempotency-replayed")),
            (first.status, "true"),
            "{id}: {}",
            again.text
        );
        // What is shown once is not shown again, and everything else is.
        let (mut shown, repeated) = (first.ok(), again.ok());
        for name in ["secret", "url"] {
            let Some(field) = shown.get_mut(name) else {
                continue;
            };
            if field.is_string() && name == "secret" || id == "user_link" {
                assert_eq!(repeated[name], Value::Null, "{id}");
                *field = Value::Null;
            }
        }
        assert_eq!(shown, repeated, "{id}");
        // The same key with any other request, if only by a space.
        let other = match &body {
            Some(body) => owner
                .request(operation.method.clone(), &path)
                .header("content-type", "application/json")
                .body(format!("{body} ")),
            None => owner.request(operation.method.clone(), &format!("{path}?another=1")),
        };
        let other = owner.send(other.header("idempotency-key", id)).await;
        assert_eq!(
            other.problem(),
            (422, "idempotency_key_reused".into()),
            "{id}"
        );
    }
    // The world's replay has come to its end: there is nothing left of it to pause, to go on with or to stop. And its saga's
    // run has not failed.
    let left: Vec<&str> = writes
        .iter()
        .map(|operation| operation.id.as_str())
        .filter(|id| {
            !done.iter().any(|one| one == id)
                && !id.starts_with("replay_")
                && *id != "saga_run_retry"
        })
        .filter(|id| !impossible.contains(id))
        .collect();
    assert!(left.is_empty(), "{left:?} were not done");
    let statement =
        json!({ "statement": "SELECT key || ' ' || coalesce(body, '') FROM idempotency" });
    let kept = owner.post("/v1/sql", &statement).await.ok().to_string();
    for secret in ["msk_", "whsec_", "/signin/link"] {
        assert!(!kept.contains(secret), "a secret was kept: {kept}");
    }
}

on_both_servers!(
    a_key_of_one_tenant_never_reaches_another,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let (own, other) = (
            World::make_whole(&owner, "own").await,
            World::make_whole(&owner, "other").await,
        );
        let user = a_user(&owner).await;
        // A key that is bound to one tenant makes no queues: this one there is.
        let asked = json!({ "worker": "w", "queues": ["team"], "wait_secs": 0 });
        owner.post("/v1/workers/pull", &asked).await.ok();
        let bound = owner
            .key(json!({ "name": "own", "role": "owner", "tenant_id": own.tenant }))
            .await;
        // When a secret last matched is written down a moment later.
        let source = format!("/v1/sources/{}", other.source);
        owner
            .until(&source, |shown| {
                shown
                    .pointer("/secrets/0/last_used_at")
                    .is_some_and(Value::is_string)
            })
            .await;
        let before = picture(&owner, &other).await;
        for operation in operations() {
            if OPEN.contains(&operation.id.as_str()) || operation.id == "session_delete" {
                continue;
            }
            let answer = operation.call(&bound, &other, &user).await;
            judge(&operation, &answer);
            sees_nothing(&operation, &answer, &other);
            names_the_other(&operation, &bound, &own, &other).await;
        }
        let after = picture(&owner, &other).await;
        assert_eq!(before, after, "nothing of the other tenant's has changed");
    }
);

/// What a key of one tenant is answered when it names another tenant's things.
fn judge(operation: &Operation, answer: &Answer) {
    let id = operation.id.as_str();
    if EVERYWHERE.contains(&id) {
        assert_eq!(answer.problem(), (403, "tenant_forbidden".into()), "{id}");
    } else if operation.path.contains('{') || id == "binding_create" {
        assert_eq!(answer.problem(), (404, "not_found".into()), "{id}");
    } else if id == "configuration_apply" {
        // The source that it names is nobody's in reach.
        assert_eq!(answer.problem(), (400, "validation_failed".into()), "{id}");
    } else {
        assert!(
            answer.status < 300,
            "{id}: {} {}",
            answer.status,
            answer.text
        );
    }
}

/// Nothing of the other tenant's stands in an answer.
fn sees_nothing(operation: &Operation, answer: &Answer, other: &World) {
    for trace in other.traces() {
        assert!(
            !answer.text.contains(trace),
            "{} shows {trace}: {}",
            operation.id,
            answer.text
        );
    }
    let count = |pointer: &str| answer.json().pointer(pointer).and_then(Value::as_i64);
    match operation.id.as_str() {
        "replay_create" => assert_eq!((count("/events"), count("/jobs")), (Some(0), Some(0))),
        "dead_letter_retry" => {
            assert_eq!((count("/matched"), count("/retried")), (Some(0), Some(0)));
        }
        "dead_letter_discard" => {
            assert_eq!((count("/matched"), count("/discarded")), (Some(0), Some(0)));
        }
        _ => {}
    }
}

/// The other tenant's id as a parameter or in a body is refused (SEC-06), and its slug tells nothing.
async fn names_the_other(operation: &Operation, bound: &Caller, own: &World, other: &World) {
    if operation.query.contains("tenant") {
        for asked in [other.tenant.as_str(), "other", "nobody-s"] {
            let path = operation.path_in(own, "");
            let sign = if path.contains('?') { '&' } else { '?' };
            let path = format!("{path}{sign}tenant={asked}");
            let answer = operation.call_with(bound, &path, None).await;
            assert_eq!(
                answer.problem(),
                (403, "tenant_forbidden".into()),
                "{} {asked}",
                operation.id
            );
        }
    }
    if operation.body_fields.contains("tenant_id") && !EVERYWHERE.contains(&operation.id.as_str()) {
        let mut body = operation.body_in(own).expect("it has a body");
        body["tenant_id"] = json!(other.tenant);
        let answer = operation
            .call_with(bound, &operation.path, Some(body))
            .await;
        assert_eq!(
            answer.problem(),
            (403, "tenant_forbidden".into()),
            "{}",
            operation.id
        );
    }
    if operation.body_fields.contains("selection") {
        let mut body = operation.body_in(own).expect("it has a body");
        body["selection"] = json!({ "tenant": other.tenant });
        let answer = operation
            .call_with(bound, &operation.path, Some(body))
            .await;
        assert_eq!(
            answer.problem(),
            (403, "tenant_forbidden".into()),
            "{}",
            operation.id
        );
    }
}

/// Everything of a world, as its owner sees it.
async fn picture(owner: &Caller, world: &World) -> Vec<Value> {
    let mut seen = Vec::new();
    for path in [
        format!("/v1/tenants/{}", world.tenant),
        format!("/v1/bindings/{}", world.binding),
        format!("/v1/events/{}", world.event),
        format!("/v1/jobs/{}", world.job),
        format!("/v1/dead-letters?tenant={}", world.tenant),
    ] {
        seen.push(owner.get(&path).await.ok());
    }
    for path in [
        format!("/v1/sources/{}", world.source),
        format!("/v1/endpoints/{}", world.endpoint),
    ] {
        let mut found = owner.get(&path).await.ok();
        // Counts go on by themselves, and when a secret was used is written down later.
        found["stats"] = Value::Null;
        if let Some(secrets) = found["secrets"].as_array_mut() {
            for secret in secrets {
                secret["last_used_at"] = Value::Null;
            }
        }
        found["breaker"] = Value::Null;
        seen.push(found);
    }
    seen
}

on_both_servers!(
    what_is_malformed_is_never_a_defect,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        for operation in operations() {
            let id = operation.id.as_str();
            for wrong in [
                "x",
                "%00",
                "job_",
                "src_00000000000000000000000000",
                "ten_ZZZZZZZZZZZZZZZZZZZZZZZZZZ",
                "%F0%9F%92%A9",
            ] {
                if !operation.path.contains("{id}") {
                    break;
                }
                let path = operation
                    .path
                    .replace("{id}", wrong)
                    .replace("{secret_id}", wrong)
                    .replace("{link_id}", wrong);
                let body = operation.has_body.then(|| json!({}));
                let answer = operation.call_with(&owner, &path, body).await;
                assert!(
                    [400, 404].contains(&answer.status),
                    "{id} {wrong}: {} {}",
                    answer.status,
                    answer.text
                );
                answer.problem();
            }
            // Parameters are looked at before it is known that there is no such source.
            let path = operation
                .path
                .replace("{id}", "src_00000000000000000000000000");
            for name in &operation.query {
                for wrong in ["%00", "", "%FF", "\u{1F4A9}", "99999999999999999999", "-1"] {
                    let path = format!("{path}?{name}={wrong}");
                    let answer = operation.call_with(&owner, &path, None).await;
                    assert!(
                        answer.status < 500,
                        "{id} {name}={wrong}: {} {}",
                        answer.status,
                        answer.text
                    );
                }
            }
            if !operation.query.is_empty() {
                let answer = operation
                    .call_with(&owner, &format!("{path}?no_such=1"), None)
                    .await;
                assert_eq!(answer.problem(), (400, "validation_failed".into()), "{id}");
            }
            if operation.has_body && !operation.path.contains('{') {
                let answer = operation
                    .call_with(&owner, &operation.path, Some(json!({ "no_such": 1 })))
                    .await;
                assert_eq!(answer.problem(), (400, "validation_failed".into()), "{id}");
                let answer = operation
                    .call_with(&owner, &operation.path, Some(json!([1])))
                    .await;
                assert_eq!(answer.status, 400, "{id}");
                let request = owner
                    .request(operation.method.clone(), &operation.path)
                    .body("{}");
                assert_eq!(
                    owner.send(request).await.problem(),
                    (415, "media_type_unsupported".into()),
                    "{id}"
                );
            }
        }
    }
);

on_both_servers!(
    one_of_everything_is_shown,
    Settings::default(),
    |server| async {
        let owner = Caller::owner(server);
        let world = World::make(&owner, "a").await;
        let event = owner.get(&format!("/v1/events/{}", world.event)).await.ok();
        assert_eq!(event["type"], "order.made");
        assert_eq!(event["status"], "error");
        assert_eq!(event["payload"]["data"]["of"], "a");
        assert_eq!(event["receipts"][0]["verdict"], "accepted");
        assert!(
            event["receipts"][0]["secret_hint"]
                .as_str()
                .is_some_and(|hint| hint.starts_with('…'))
        );
        assert_eq!(event["headers"]["webhook-id"], "msg_a");
        let attempt = &event["jobs_list"][0]["attempts_list"][0];
        assert_eq!(
            (attempt["outcome"].as_str(), attempt["attempt"].as_i64()),
            (Some("dead"), Some(1))
        );
        assert_eq!(attempt["code"], "connect_failed");
        let payload = owner
            .get(&format!("/v1/events/{}/payload", world.event))
            .await;
        assert_eq!(
            payload.text,
            json!({ "type": "order.made", "data": { "of": "a" } }).to_string()
        );
        assert_eq!(payload.header("content-disposition"), "attachment");
        let again = owner
            .webhook(
                &world.source_name,
                &world.secret,
                "msg_a",
                &event["payload"],
            )
            .await
            .ok();
        assert_eq!(again["event_ids"][0], world.event.as_str());
        let groups = owner.get("/v1/dead-letters/groups").await.ok();
        assert_eq!(groups["items"][0]["count"], 1);
        let export = owner.get("/v1/dead-letters/export").await;
        assert_eq!(export.text.lines().count(), 1);
        assert!(export.text.contains(&world.job));
        let retried = owner
            .post(&format!("/v1/jobs/{}/retry", world.job), &json!({}))
            .await
            .ok();
        assert_eq!(retried["id"], world.job.as_str());
        let path = format!("/v1/jobs/{}", world.job);
        let job = owner
            .until(&path, |job| job["attempts"].as_i64() == Some(3))
            .await;
        assert_eq!(job["attempts_list"][1]["outcome"], "requeued");
        assert_eq!(job["state"], "dead");
        assert_eq!(job["max_attempts"], 1);
        let name = format!("endpoint:{}", world.endpoint);
        let failed = |counts: &Value| counts["queues"][&name]["failed"] == 1;
        owner.until("/v1/job-counts", failed).await;
        let actions: Vec<String> = owner.get("/v1/audit?limit=200").await.ok()["items"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| entry["action"].as_str().unwrap_or_default().to_owned())
            .collect();
        for action in [
            "tenant.create",
            "source.create",
            "endpoint.create",
            "binding.create",
            "key.create",
            "job.retry",
        ] {
            assert!(
                actions.iter().any(|one| one == action),
                "{action} is not in {actions:?}"
            );
        }
    }
);
