//! A start while PostgreSQL is gone: webhooks are taken by a snapshot of the sources, and nothing that was acknowledged is
//! lost or stored twice.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use mainstay_domain::intake::scheme::{Message, Scheme, Secret, sign};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::binary;

const SECRET: &str = "whsec_of_a_source_that_outlives_its_database";
const PATIENCE: Duration = Duration::from_secs(90);

/// A PostgreSQL of this test's own, which can be stopped as a power cut stops it.
struct Cluster {
    folder: TempDir,
    url: String,
}

impl Cluster {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // Where tests run as root, the processes of PostgreSQL are another user's.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("the folder is ours");
        let mut cluster = Self {
            folder,
            url: String::new(),
        };
        cluster.url = cluster.tool("start").trim().to_owned();
        cluster
    }

    fn tool(&self, verb: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/postgres");
        let ran = Command::new(script)
            .arg(verb)
            .arg(self.folder.path().join("postgres"))
            .output()
            .expect("the tool runs");
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.tool("stop");
    }
}

/// A node that can be killed and started again on its port.
struct Node {
    folder: TempDir,
    port: u16,
    master_key: Option<String>,
    child: Option<Child>,
    http: Client,
}

impl Node {
    fn new(master_key: Option<String>) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            port: free.local_addr().expect("bound").port(),
            master_key,
            child: None,
            http: Client::builder().no_proxy().build().expect("a client"),
        }
    }

    fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    fn command(&self, cluster: &Cluster, args: &[&str]) -> Command {
        let mut command = binary();
        command
            .args(args)
            .arg("--data")
            .arg(self.folder.path().join("data"))
            .args(["--database", &cluster.url])
            .env("MAINSTAY_LOG", "warn")
            .env("MAINSTAY_INTAKE_SPOOL_DIR", self.spool());
        if let Some(key) = &self.master_key {
            command.env("MAINSTAY_MASTER_KEY", key);
        }
        command
    }

    /// Starts it and waits until it listens; answers what it said then.
    fn start(&mut self, cluster: &Cluster) -> String {
        let listen = format!("127.0.0.1:{}", self.port);
        let mut command = self.command(cluster, &["serve", "--listen", &listen]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        self.child = Some(child);
        let mut lines = out.lines().map_while(Result::ok);
        let said = lines.find(|line| line.contains("listening on"));
        // What it prints later must find somebody who reads.
        std::thread::spawn(move || lines.for_each(drop));
        said.expect("it says where it listens")
    }

    fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is killed");
        child.wait().expect("it ends");
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.http.get(self.url(path)).send().await;
        let answer = answer.expect("it answers");
        let status = answer.status().as_u16();
        (status, answer.text().await.expect("the answer ends"))
    }

    async fn until_ready(&self, wanted: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        loop {
            if let Ok(answer) = self.http.get(self.url("/readyz")).send().await
                && answer.status().is_success()
                && wanted(&answer.text().await.unwrap_or_default())
            {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "it is not ready as wanted");
        }
    }

    async fn owner(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Value {
        let file = std::fs::read(self.folder.path().join("data/api.json")).expect("it is there");
        let local: Value = serde_json::from_slice(&file).expect("JSON");
        let request = self.http.request(method, self.url(path));
        let request = request.bearer_auth(local["token"].as_str().expect("a token"));
        let request = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(body.to_string()),
            None => request,
        };
        let answer = request.send().await.expect("it answers");
        let status = answer.status();
        let text = answer.text().await.expect("the answer ends");
        assert!(status.is_success(), "{status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn send(&self, source: &str, id: &str, secret: &str) -> Response {
        let body = json!({ "id": id, "object": "event", "type": "invoice.paid" }).to_string();
        let message = Message {
            id,
            kind: "invoice.paid",
            timestamp_secs: jiff::Timestamp::now().as_second(),
            body: body.as_bytes(),
        };
        let headers = sign(&Scheme::Stripe, &Secret::from(secret), &message).expect("signed");
        let mut request = self.http.post(self.url(&format!("/in/{source}")));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(body).send().await.expect("it answers")
    }

    /// The events that the source brought, and how many deliveries they are.
    async fn stored(&self) -> Vec<(String, i64)> {
        let found = self
            .owner(
                reqwest::Method::GET,
                "/v1/events?source=pay&limit=200",
                None,
            )
            .await;
        let items = found["items"].as_array().cloned().unwrap_or_default();
        let mut stored: Vec<_> = items
            .iter()
            .map(|one| {
                let id = one["provider_id"].as_str().unwrap_or_default().to_owned();
                (id, one["deliveries"].as_i64().unwrap_or_default())
            })
            .collect();
        stored.sort();
        stored
    }

    async fn until_snapshot(&self, wanted: impl Fn(&[u8]) -> bool) {
        let begun = Instant::now();
        loop {
            let read = std::fs::read(self.spool().join("intake.snapshot"));
            if read.is_ok_and(|bytes| wanted(&bytes)) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "the snapshot is not as wanted");
            tokio::task::yield_now().await;
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        std::fs::read(self.spool().join("intake.snapshot")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn master_key() -> String {
    let made = binary()
        .args(["vault", "master-key"])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    let key = said.split_whitespace().find(|word| word.len() == 44);
    key.expect("a key").to_owned()
}

#[test]
fn killed_and_started_while_postgres_is_gone_it_takes_webhooks_and_stores_each_once() {
    mainstay_testkit::run(async {
        let cluster = Cluster::start();
        let mut node = Node::new(Some(master_key()));
        node.start(&cluster);
        node.until_ready(|_| true).await;
        // A snapshot that has the source follows one that has it not.
        node.until_snapshot(|bytes| !bytes.is_empty()).await;
        let before = node.snapshot();
        let source = json!({ "name": "pay", "scheme": "stripe", "secret": SECRET });
        node.owner(reqwest::Method::POST, "/v1/sources", Some(source))
            .await;
        node.until_snapshot(|bytes| bytes != before).await;
        let kept = node.snapshot();
        let shown = |text: &str| kept.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!shown(SECRET) && !shown("stripe"), "it is sealed");
        let path = node.spool().join("intake.snapshot");
        let mode = std::fs::metadata(&path).expect("it is there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert_eq!(node.send("pay", "evt_before", SECRET).await.status(), 200);

        // In the middle of the outage the process is killed, twice.
        cluster.tool("pause");
        assert_eq!(node.send("pay", "evt_during", SECRET).await.status(), 200);
        for round in 0..2 {
            node.kill();
            let said = node.start(&cluster);
            assert!(said.contains("into the spool"), "{said}");
            node.until_ready(|said| said.contains("snapshot of the sources"))
                .await;
            let id = format!("evt_away_{round}");
            for _ in 0..2 {
                assert_eq!(node.send("pay", &id, SECRET).await.status(), 200);
            }
            let forged = node.send("pay", "evt_forged", "whsec_of_nobody").await;
            assert_eq!(forged.status(), 401);
            // It may have been made on another node since.
            let unknown = node.send("other", "evt_x", SECRET).await;
            assert_eq!(unknown.status(), 503);
            assert!(unknown.headers().contains_key("retry-after"));
            assert_eq!(node.get("/in/other?hub.mode=subscribe").await.0, 503);
            assert_eq!(node.get("/in/pay?hub.mode=subscribe").await.0, 405);
            let (status, metrics) = node.get("/metrics").await;
            assert_eq!(status, 200);
            for line in [
                "mainstay_snapshot_used 1\n",
                "mainstay_snapshot_age_seconds ",
                "mainstay_spool_taking 1\n",
            ] {
                assert!(metrics.contains(line), "{line}: {metrics}");
            }
            assert_eq!(node.get("/livez").await.0, 200);
            let (status, problem) = node.get("/v1/events").await;
            assert_eq!(status, 503);
            assert!(problem.contains("store_unavailable"), "{problem}");
        }
        // What is there is stored, and the same process is a whole server again.
        cluster.tool("resume");
        node.until_ready(|said| !said.contains("snapshot")).await;
        let begun = Instant::now();
        let expected = [
            ("evt_away_0".to_owned(), 2),
            ("evt_away_1".to_owned(), 2),
            ("evt_before".to_owned(), 1),
            ("evt_during".to_owned(), 1),
        ];
        while node.stored().await != expected {
            assert!(begun.elapsed() < PATIENCE, "{:?}", node.stored().await);
        }
        let settled = |text: &str| {
            let lines = ["mainstay_spool_waiting 0\n", "mainstay_snapshot_used 0\n"];
            lines.iter().all(|line| text.contains(line))
        };
        while !settled(&node.get("/metrics").await.1) {
            assert!(begun.elapsed() < PATIENCE);
        }
        assert_eq!(node.send("pay", "evt_after", SECRET).await.status(), 200);
        assert_eq!(node.stored().await.len(), 5);
        let looked = node.command(&cluster, &["doctor", "--json"]).output();
        let looked = looked.expect("it runs");
        let looked = String::from_utf8_lossy(&looked.stdout).into_owned();
        assert!(
            looked.contains("the snapshot of the sources is"),
            "{looked}"
        );
    });
}

#[test]
fn without_a_snapshot_the_server_says_why_it_cannot_start_without_postgres() {
    mainstay_testkit::run(async {
        let cluster = Cluster::start();
        // Encryption is off: secrets are not written beside the spool.
        let mut open = Node::new(None);
        open.start(&cluster);
        open.until_ready(|_| true).await;
        open.kill();
        assert!(!open.spool().join("intake.snapshot").exists());
        let mut sealed = Node::new(Some(master_key()));
        cluster.tool("pause");
        let refused = |node: &Node| {
            let ran = node
                .command(&cluster, &["serve", "--listen", "127.0.0.1:0"])
                .output()
                .expect("it runs");
            assert!(!ran.status.success());
            String::from_utf8_lossy(&ran.stderr).into_owned()
        };
        let said = refused(&open);
        assert!(said.contains("without encryption at rest"), "{said}");
        let said = refused(&sealed);
        assert!(said.contains("there is no snapshot"), "{said}");
        // One that was written under another master key names it.
        cluster.tool("resume");
        let begun = Instant::now();
        let mut other = Node::new(Some(master_key()));
        // The database of the first node is not sealed yet: the key is this node's to bring.
        other.start(&cluster);
        other.until_ready(|_| true).await;
        other.until_snapshot(|bytes| !bytes.is_empty()).await;
        other.kill();
        assert!(begun.elapsed() < PATIENCE);
        cluster.tool("pause");
        sealed.folder = std::mem::replace(&mut other.folder, tempfile::tempdir().expect("one"));
        let said = refused(&sealed);
        assert!(said.contains("is not among those configured"), "{said}");
        cluster.tool("resume");
    });
}
