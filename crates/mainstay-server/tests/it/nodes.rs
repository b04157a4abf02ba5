//! Several nodes on one database: a worker is served by any of them, whatever becomes of the one that owns the jobs; and
//! nobody but a node gets in at the internal door.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair},
};
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mainstay_domain::NodeId;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client::{Answer, Caller, text},
    server::{Server, Settings},
};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// For how long a dead owner's lease lasts.
const LEASE: Duration = Duration::from_secs(6);
/// Longer than nodes' clocks may be apart.
const SKEW_MS: i64 = 120_000;

fn with_a_door() -> Settings {
    Settings {
        env: vec![("MAINSTAY_NODE_LISTEN", "127.0.0.1:0".to_owned())],
        args: Vec::new(),
    }
}

/// Calls of a worker, and of whoever submits for it, at one node.
struct At(Caller);

impl At {
    fn node(server: &Server) -> Self {
        Self(Caller::owner(server))
    }

    async fn submit(&self, n: u32) -> String {
        let job = json!({ "kind": "letter.print", "queue": "letters", "payload": n });
        text(&self.0.post("/v1/jobs", &job).await.ok(), "/id")
    }

    async fn pull_once(&self, worker: &str) -> Answer {
        let asked = json!({ "worker": worker, "queues": ["letters"], "wait_secs": 5 });
        self.0.post("/v1/workers/pull", &asked).await
    }

    /// The next job; asks again where nobody owns the jobs for a moment.
    async fn pull(&self, worker: &str) -> Value {
        let begun = Instant::now();
        loop {
            let answer = self.pull_once(worker).await;
            if let Some(job) = job(&answer) {
                return job;
            }
            assert!(begun.elapsed() < PATIENCE, "no job: {}", answer.text);
        }
    }

    async fn complete(&self, worker: &str, token: &Value) -> Value {
        let outcome = json!({ "token": token, "outcome": "completed" });
        let told = json!({ "worker": worker, "outcomes": [outcome] });
        let begun = Instant::now();
        loop {
            let answer = self.0.post("/v1/workers/report", &told).await;
            if answer.status != 503 {
                return answer.ok();
            }
            assert!(begun.elapsed() < PATIENCE, "{}", answer.text);
        }
    }

    async fn beat(&self, worker: &str, token: &Value) -> String {
        let progress = json!({ "percent": 40, "note": "printing" });
        let beat = json!({ "worker": worker, "beats": [{ "token": token, "progress": progress }] });
        let answer = self.0.post("/v1/workers/heartbeat", &beat).await.ok();
        text(&answer, "/beats/0/state")
    }

    async fn nodes(&self) -> Vec<Value> {
        let listed = self.0.get("/v1/nodes").await.ok();
        listed["items"].as_array().expect("a list").clone()
    }

    /// Waits until this is known of the nodes.
    async fn until_nodes(&self, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let nodes = self.nodes().await;
            if wanted(&nodes) {
                return nodes;
            }
            assert!(begun.elapsed() < PATIENCE, "{nodes:#?}");
        }
    }

    /// Waits until this very node owns the jobs.
    async fn until_owner(&self) {
        self.until_nodes(|nodes| {
            nodes
                .iter()
                .any(|node| node["this"] == true && node["role"] == "owner")
        })
        .await;
        let begun = Instant::now();
        while self.0.get("/v1/workers").await.status != 200 {
            assert!(begun.elapsed() < PATIENCE, "it does not begin");
        }
    }

    async fn state(&self, job: &str) -> Value {
        self.0.get(&format!("/v1/jobs/{job}")).await.ok()
    }
}

/// The job of an answer to a pull; an owner that is missing is no failure.
fn job(answer: &Answer) -> Option<Value> {
    if answer.status == 503 {
        assert!(
            ["not_the_owner", "owner_starting"].contains(&answer.problem().1.as_str()),
            "{}",
            answer.text
        );
        return None;
    }
    answer.ok()["jobs"].get(0).cloned()
}

#[test]
fn a_worker_works_at_any_node_also_when_the_owner_is_killed() {
    mainstay_testkit::run(async {
        let mut first = Server::postgres_with(with_a_door()).await;
        At::node(&first).until_owner().await;
        let (second, third) = (first.beside(with_a_door()), first.beside(with_a_door()));
        let (owner, here, there) = (At::node(&first), At::node(&second), At::node(&third));
        let nodes = here.until_nodes(|nodes| nodes.len() == 3).await;
        let roles: Vec<&Value> = nodes.iter().map(|node| &node["role"]).collect();
        assert_eq!(roles, ["owner", "stand_by", "stand_by"]);
        assert!(nodes.iter().all(|node| node["address"].is_string()));

        // Each step at another node, none of them the owner.
        let id = here.submit(1).await;
        let held = there.pull("press-1").await;
        assert_eq!(held["id"], id);
        assert_eq!(here.beat("press-1", &held["token"]).await, "held");
        for node in [&here, &there, &owner] {
            let shown = node.state(&id).await;
            let attempt = &shown["attempts_list"][0];
            assert_eq!(
                (&attempt["worker"], &attempt["progress"]["percent"]),
                (&json!("press-1"), &json!(40)),
                "{shown:#}"
            );
            let workers = node.0.get("/v1/workers").await.ok();
            assert_eq!(workers["items"][0]["job_ids"], json!([id]));
            let queue = node.0.get("/v1/queues/letters").await.ok();
            assert_eq!(queue["live"], true);
        }
        let told = here.complete("press-1", &held["token"]).await;
        assert_eq!(told["outcomes"][0]["recorded"], true);
        let again = there.complete("press-1", &held["token"]).await;
        assert_eq!(
            again["outcomes"][0]["recorded"], true,
            "it may be told again"
        );

        // With a job in hand and another that waits, the owner is gone.
        here.submit(2).await;
        let held = there.pull("press-1").await;
        let waits = here.submit(3).await;
        first.kill();
        let told = here.complete("press-1", &held["token"]).await;
        assert_eq!(told["outcomes"][0]["recorded"], true);
        let next = here.pull("press-1").await;
        assert_eq!(next["id"], waits);
        let told = there.complete("press-1", &next["token"]).await;
        assert_eq!(told["outcomes"][0]["recorded"], true);
        for id in [held["id"].as_str(), next["id"].as_str()] {
            let shown = there.state(id.expect("an id")).await;
            assert_eq!(
                (&shown["state"], &shown["attempts"]),
                (&json!("done"), &json!(1))
            );
        }
        here.until_nodes(|nodes| nodes.iter().any(|node| node["silent"] == true))
            .await;
    });
}

#[test]
fn an_owner_that_stood_still_hands_nothing_out_when_it_goes_on() {
    mainstay_testkit::run(async {
        let first = Server::postgres_with(with_a_door()).await;
        let paused = At::node(&first);
        paused.until_owner().await;
        let second = first.beside(with_a_door());
        let here = At::node(&second);
        let asked = json!({ "worker": "frozen", "queues": ["letters"], "wait_secs": 30 });
        let caller = paused.0.clone();
        let waiting = tokio::spawn(async move { caller.post("/v1/workers/pull", &asked).await });
        // It waits there from when it is listed.
        let listed = |answer: &Value| {
            answer["items"]
                .as_array()
                .is_some_and(|all| !all.is_empty())
        };
        paused.0.until("/v1/workers", listed).await;

        first.signal("STOP");
        let id = here.submit(1).await;
        let held = here.pull("press-1").await;
        assert_eq!(held["id"], id);
        let waits = here.submit(2).await;
        first.signal("CONT");
        let answer = waiting.await.expect("no panic");
        assert_eq!(job(&answer), None, "{}", answer.text);

        // The one that stood still stands by now, and passes on what it is asked.
        let told = paused.complete("press-1", &held["token"]).await;
        assert_eq!(told["outcomes"][0]["recorded"], true);
        let next = paused.pull("press-1").await;
        assert_eq!(next["id"], waits);
        let told = here.complete("press-1", &next["token"]).await;
        assert_eq!(told["outcomes"][0]["recorded"], true);
    });
}

#[test]
fn a_node_that_leaves_in_good_order_hands_over_at_once_and_its_workers_see_no_gap() {
    mainstay_testkit::run(async {
        let mut first = Server::postgres_with(with_a_door()).await;
        At::node(&first).until_owner().await;
        let second = first.beside(with_a_door());
        let here = At::node(&second);
        here.submit(1).await;
        let held = here.pull("press-1").await;
        let caller = here.0.clone();
        let working = tokio::spawn(async move {
            let (worker, begun) = (At(caller), Instant::now());
            loop {
                let answer = worker.pull_once("press-2").await;
                assert_eq!(answer.status, 200, "{}", answer.text);
                if let Some(job) = job(&answer) {
                    return (worker, job);
                }
                assert!(begun.elapsed() < PATIENCE, "no job");
            }
        });
        let listed = |answer: &Value| answer["items"].as_array().is_some_and(|all| all.len() == 2);
        here.0.until("/v1/workers", listed).await;
        let stopped = tokio::task::spawn_blocking(move || {
            let code = first.stop();
            (first, code, Instant::now())
        });
        let (_first, code, left_at) = stopped.await.expect("no panic");
        assert_eq!(code, Some(0));
        let id = here.submit(2).await;
        let (worker, next) = working.await.expect("every pull is answered");
        assert_eq!(next["id"], id);
        assert!(
            left_at.elapsed() < LEASE,
            "the lease was given up, and nobody waited for its end"
        );
        let told = worker.complete("press-2", &next["token"]).await;
        assert_eq!(told["outcomes"][0]["recorded"], true);
        let told = here.complete("press-1", &held["token"]).await;
        assert_eq!(
            told["outcomes"][0]["recorded"], true,
            "what was in hand stayed there"
        );
        let nodes = here.nodes().await;
        assert_eq!(nodes.len(), 1, "{nodes:#?}");
        assert_eq!(nodes[0]["role"], "owner");
        // Whoever joins stands by.
        let third = second.beside(with_a_door());
        let nodes = At::node(&third).nodes().await;
        let roles: Vec<&Value> = nodes.iter().map(|node| &node["role"]).collect();
        assert_eq!(roles, ["owner", "stand_by"]);
        second.run(&["doctor"]).out.lines().for_each(|line| {
            assert!(!line.contains("internal door"), "{line}");
        });
        let listed = second.run(&["node", "list"]);
        assert_eq!(listed.code, 0, "{}", listed.err);
        assert!(listed.out.contains("stand by"), "{}", listed.out);
    });
}

#[test]
fn where_the_owner_has_no_door_workers_are_told_to_go_elsewhere() {
    mainstay_testkit::run(async {
        let first = Server::postgres().await;
        At::node(&first).until_owner().await;
        let second = first.beside(with_a_door());
        let here = At::node(&second);
        here.until_nodes(|nodes| nodes.len() == 2).await;
        let begun = Instant::now();
        loop {
            // Until it knows who owns the jobs it waits for that.
            let asked = Instant::now();
            let answer = here.pull_once("press-1").await;
            assert_eq!(answer.problem(), (503, "not_the_owner".into()));
            assert_eq!(answer.header("retry-after"), "1");
            if asked.elapsed() < Duration::from_secs(2) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "it is never told at once");
        }
        let queues = here.0.get("/v1/queues").await.ok();
        let stale = |queue: &Value| queue["live"] == false;
        assert!(
            queues["items"]
                .as_array()
                .expect("a list")
                .iter()
                .all(stale)
        );
    });
}

/// A node of the test's own: it stands in the database, and has the key to what it says there.
struct Impostor {
    id: NodeId,
    pair: Ed25519KeyPair,
    address: Option<String>,
}

impl Impostor {
    fn new(number: u128) -> Self {
        Self {
            id: NodeId::from_uuid(Uuid::from_u128(number)),
            pair: Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed"),
            address: None,
        }
    }

    fn row(&self) -> String {
        let key: String = self
            .pair
            .public_key()
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let address = match &self.address {
            Some(address) => format!("'{address}'"),
            None => "NULL".to_owned(),
        };
        format!(
            "INSERT INTO mainstay.node (id, version, address, public_key, since, seen_at)
             VALUES ('{}', '9.9.9', {address}, '\\x{key}', 1, (extract(epoch FROM now()) * 1000000)::bigint)",
            self.id.uuid()
        )
    }

    fn ticket(&self, to: &str, number: u64, change: impl Fn(&mut Value)) -> String {
        let mut ticket = json!({
            "version": 1, "from": self.id, "to": to, "number": number,
            "at_ms": jiff::Timestamp::now().as_millisecond(),
            "method": "GET", "path": "/v1/workers",
            "body": URL_SAFE_NO_PAD.encode(digest(&SHA256, b"")),
            "caller": {
                "who": { "key": { "id": "key_00000000000000000000000001", "name": "work" } },
                "role": "operator", "tenant": null,
            },
        });
        change(&mut ticket);
        let said = ticket.to_string();
        let signature = self.pair.sign(said.as_bytes());
        format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(&said),
            URL_SAFE_NO_PAD.encode(signature.as_ref())
        )
    }
}

#[test]
fn at_the_internal_door_nobody_gets_in_with_a_ticket_that_is_forged_used_or_out_of_time() {
    mainstay_testkit::run(async {
        let server = Server::postgres_with(with_a_door()).await;
        let node = At::node(&server);
        node.until_owner().await;
        let own = node.nodes().await.remove(0);
        let (id, address) = (text(&own, "/id"), text(&own, "/address"));
        let http = reqwest::Client::builder().no_proxy().build();
        let http = http.expect("a client");
        let get = async |path: &str, ticket: Option<String>| {
            let mut request = http.get(format!("{address}{path}"));
            if let Some(ticket) = ticket {
                request = request.header("mainstay-door", ticket);
            }
            let answer = request.send().await.expect("the door answers");
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            (status, headers, answer.text().await.expect("it ends"))
        };
        let refused = |answer: &(u16, HeaderMap, String)| {
            let problem: Value = serde_json::from_str(&answer.2).expect("a problem");
            assert_eq!((answer.0, &problem["code"]), (401, &json!("door_refused")));
            text(&problem, "/detail")
        };
        let workers = "/v1/workers";
        let guest = Impostor::new(77);
        let none = get(workers, None).await;
        assert!(refused(&none).contains("shows no ticket"));
        let nonsense = get(workers, Some("a.b".into())).await;
        assert!(refused(&nonsense).contains("shows no ticket"));
        let stranger = get(workers, Some(guest.ticket(&id, 1, |_| {}))).await;
        assert!(refused(&stranger).contains("no such node"));

        server.execute(&guest.row()).await;
        // A stranger is looked for again after a moment.
        let begun = Instant::now();
        let mut number = 1;
        let ticket = loop {
            let ticket = guest.ticket(&id, number, |_| {});
            let answer = get(workers, Some(ticket.clone())).await;
            if answer.0 == 200 {
                break ticket;
            }
            assert!(refused(&answer).contains("no such node"));
            assert!(begun.elapsed() < PATIENCE, "it is never found");
            number += 1;
        };
        let used = get(workers, Some(ticket.clone())).await;
        assert!(refused(&used).contains("used before"));
        let elsewhere = get("/v1/queues", Some(guest.ticket(&id, 1_000, |_| {}))).await;
        assert!(refused(&elsewhere).contains("another request"));
        let (said, _) = ticket.split_once('.').expect("two parts");
        let forged = format!("{said}.{}", URL_SAFE_NO_PAD.encode([0; 64]));
        assert!(refused(&get(workers, Some(forged)).await).contains("not signed"));
        let other = guest.ticket("node_00000000000000000000000009", 1_001, |_| {});
        assert!(refused(&get(workers, Some(other)).await).contains("another node"));
        for skew_ms in [-SKEW_MS, SKEW_MS] {
            let skewed = guest.ticket(&id, 1_002, |ticket| {
                let at_ms = ticket["at_ms"].as_i64().expect("a time");
                ticket["at_ms"] = json!(at_ms + skew_ms);
            });
            let answer = get(workers, Some(skewed)).await;
            assert!(refused(&answer).contains("too far"));
            assert!(answer.1.contains_key("mainstay-door-time"));
        }
        let with_a_body = guest.ticket(&id, 1_003, |ticket| {
            ticket["method"] = json!("POST");
            ticket["path"] = json!("/v1/workers/pull");
        });
        let answer = http
            .post(format!("{address}/v1/workers/pull"))
            .header("mainstay-door", with_a_body)
            .body("{\"worker\":\"w\",\"queues\":[\"letters\"]}")
            .send()
            .await
            .expect("the door answers");
        assert_eq!(answer.status().as_u16(), 401, "its digest is another's");

        // What is not for nodes is not there, with whatever ticket; and the ticket opens no other door.
        let keys = guest.ticket(&id, 1_004, |ticket| ticket["path"] = json!("/v1/keys"));
        assert_eq!(get("/v1/keys", Some(keys)).await.0, 404);
        let outside = format!("{}{workers}", server.address);
        let outside = http
            .get(outside)
            .header("mainstay-door", guest.ticket(&id, 1_005, |_| {}))
            .send()
            .await
            .expect("the server answers");
        assert_eq!(outside.status().as_u16(), 401);
        // The role of whoever called was checked where the request came in; a tenant's key is still held to its tenant.
        let bound = guest.ticket(&id, 1_006, |ticket| {
            ticket["caller"]["tenant"] = json!("ten_00000000000000000000000001");
        });
        assert_eq!(get(workers, Some(bound)).await.0, 403);
    });
}

/// What an owner of the test's own saw.
type Seen = Arc<Mutex<Vec<Value>>>;

/// An owner whose clock is an hour ahead.
async fn ahead(State(seen): State<Seen>, request: Request) -> Response {
    let ticket = request.headers()["mainstay-door"].to_str().expect("text");
    let (said, _) = ticket.split_once('.').expect("two parts");
    let said = URL_SAFE_NO_PAD.decode(said).expect("base64");
    let ticket: Value = serde_json::from_slice(&said).expect("JSON");
    let now_ms = jiff::Timestamp::now().as_millisecond() + 3_600_000;
    let off_ms = now_ms - ticket["at_ms"].as_i64().expect("a time");
    seen.lock().expect("no panic").push(ticket);
    if off_ms.abs() > 60_000 {
        let time = [("mainstay-door-time", now_ms.to_string())];
        return (StatusCode::UNAUTHORIZED, time, "{}").into_response();
    }
    let body = [("content-type", "application/json")];
    (body, json!({ "items": [] }).to_string()).into_response()
}

#[test]
fn a_node_whose_clock_is_wrong_goes_by_the_owners() {
    mainstay_testkit::run(async {
        let server = Server::postgres_with(with_a_door()).await;
        let node = At::node(&server);
        node.until_owner().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let seen = Seen::default();
        let mut owner = Impostor::new(78);
        owner.address = Some(format!(
            "http://{}",
            listener.local_addr().expect("it is bound")
        ));
        let router = Router::new().fallback(ahead).with_state(Arc::clone(&seen));
        tokio::spawn(async move { axum::serve(listener, router).await });
        // From now on the test owns the jobs.
        let take = format!(
            "{}; UPDATE mainstay.lease SET holder = '{}', expires_at = 9000000000000000 WHERE name = 'engine'",
            owner.row(),
            owner.id.uuid()
        );
        server.execute(&take).await;
        let begun = Instant::now();
        loop {
            let answer = node.0.get("/v1/workers").await;
            if !seen.lock().expect("no panic").is_empty() {
                assert_eq!(answer.ok(), json!({ "items": [] }));
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{}", answer.text);
        }
        node.0.get("/v1/workers").await.ok();
        let seen = seen.lock().expect("no panic").clone();
        assert_eq!(
            seen.len(),
            3,
            "once it was told the time, it goes by that: {seen:#?}"
        );
        assert_eq!(
            (&seen[0]["caller"]["role"], &seen[0]["to"]),
            (&json!("owner"), &json!(owner.id))
        );
        let numbers: Vec<&Value> = seen.iter().map(|ticket| &ticket["number"]).collect();
        assert_eq!(numbers, [1, 2, 3]);
    });
}

#[test]
fn on_sqlite_there_is_one_node_and_no_door() {
    mainstay_testkit::run(async {
        let server = Server::sqlite();
        let node = At::node(&server);
        node.until_owner().await;
        let nodes = node.nodes().await;
        assert_eq!(nodes.len(), 1);
        let shown = (&nodes[0]["this"], &nodes[0]["address"], &nodes[0]["silent"]);
        assert_eq!(shown, (&json!(true), &Value::Null, &json!(false)));
        let rows = json!({ "statement": "SELECT count(*) FROM node" });
        let rows = node.0.post("/v1/sql", &rows).await.ok();
        assert_eq!(rows["rows"][0][0], 0);
        let refused = server.run(&["serve", "--node-listen", "127.0.0.1:0"]);
        assert_eq!(refused.code, 2, "{}", refused.err);
        assert!(refused.err.contains("node.listen"), "{}", refused.err);
    });
}
