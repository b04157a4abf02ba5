//! The processes that a bench measures and measures with: the server, the naive handler, the load generator.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::load::{LoadReport, SECRET};

/// How long a process may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The source whose events bring jobs that wait.
const SOURCE: &str = "bench";
/// The source whose events bring jobs that are carried out.
const BUSY_SOURCE: &str = "busy";
/// Where webhooks come in whose jobs wait.
pub(crate) const PATH: &str = "/in/bench";
/// Where webhooks come in whose jobs are carried out.
pub(crate) const BUSY_PATH: &str = "/in/busy";
/// The environment variable that makes a server verify and commit nothing. Benches only.
pub(crate) const VERIFY_ONLY: &str = "MAINSTAY_BENCH_VERIFY_ONLY";

/// A running process; killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Host and port.
    pub(crate) address: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// The most memory that was resident so far, in MiB.
    pub(crate) fn peak_rss_mib(&self) -> anyhow::Result<f64> {
        peak_rss_mib(&self.pid())
    }

    /// Its id.
    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

/// The most memory that the process (an id, or `self`) had resident so far, in MiB.
pub(crate) fn peak_rss_mib(process: &str) -> anyhow::Result<f64> {
    memory_mib(process, "VmHWM:")
}

/// The memory that the process has resident now, in MiB.
pub(crate) fn rss_mib(process: &str) -> anyhow::Result<f64> {
    memory_mib(process, "VmRSS:")
}

fn memory_mib(process: &str, name: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next())
        .with_context(|| format!("the kernel tells {name}"))?
        .parse()?;
    Ok(kib / 1_024.0)
}

fn port_free() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Starts `mainstay serve` on a free port; `verify_only`: it verifies and commits nothing.
pub(crate) async fn server(
    data: &Path,
    database: Option<&str>,
    verify_only: bool,
) -> anyhow::Result<Process> {
    let variables: &[(&str, &OsStr)] = match verify_only {
        true => &[(VERIFY_ONLY, OsStr::new("1"))],
        false => &[],
    };
    server_with(data, database, variables).await
}

/// The same, with these variables.
pub(crate) async fn server_with(
    data: &Path,
    database: Option<&str>,
    variables: &[(&str, &OsStr)],
) -> anyhow::Result<Process> {
    let address = format!("127.0.0.1:{}", port_free()?);
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["serve", "--listen", &address, "--data"])
        .arg(data)
        .env("MAINSTAY_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if let Some(url) = database {
        command.args(["--database", url]);
    }
    command.envs(variables.iter().copied());
    let mut process = Process {
        child: command.spawn().context("the server could not be started")?,
        address,
    };
    let ready = format!("http://{}/readyz", process.address);
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(2))
        .build()?;
    let begin = Instant::now();
    loop {
        if let Some(status) = process.child.try_wait()? {
            bail!("the server ended with {status}");
        }
        if client
            .get(&ready)
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            return Ok(process);
        }
        ensure!(
            begin.elapsed() < READY_WITHIN,
            "the server is not ready after {} s",
            READY_WITHIN.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Declares the two sources that take the load: the events of [`SOURCE`] bring a job each that waits, for an endpoint
/// that is disabled; those of [`BUSY_SOURCE`] bring one that is carried out at once by the handler that does nothing.
pub(crate) async fn sources_declare(data: &Path, secret: &str) -> anyhow::Result<()> {
    let api = Api::open(data)?;
    for source in [SOURCE, BUSY_SOURCE] {
        let body = json!({ "name": source, "scheme": "stripe", "secret": secret });
        api.send(Method::POST, "sources", body).await?;
    }
    let body = json!({ "name": SOURCE, "url": "https://example.com/hook" });
    let made = api.send(Method::POST, "endpoints", body).await?;
    let endpoint = made["endpoint"]["id"]
        .as_str()
        .context("the id of an endpoint")?;
    let path = format!("endpoints/{endpoint}");
    api.send(Method::PATCH, &path, json!({ "enabled": false }))
        .await?;
    let waits = json!({ "source": SOURCE, "type_pattern": "*", "endpoint_id": endpoint });
    api.send(Method::POST, "bindings", waits).await?;
    let runs = json!({ "source": BUSY_SOURCE, "type_pattern": "*",
        "handler": { "kind": "builtin", "name": "noop" } });
    api.send(Method::POST, "bindings", runs).await?;
    Ok(())
}

struct Api {
    client: reqwest::Client,
    base: String,
    token: String,
}

/// What a read-only statement that answers one number says.
pub(crate) async fn number(data: &Path, statement: &str) -> anyhow::Result<i64> {
    let body = json!({ "statement": statement });
    let table = Api::open(data)?.send(Method::POST, "sql", body).await?;
    let number = table["rows"][0][0].as_i64();
    number.with_context(|| format!("a number from {statement}"))
}

impl Api {
    fn open(data: &Path) -> anyhow::Result<Self> {
        let api: Value = serde_json::from_slice(&std::fs::read(data.join("api.json"))?)?;
        let (address, token) = (api["address"].as_str(), api["token"].as_str());
        let (address, token) = address.zip(token).context("address and token of the API")?;
        Ok(Self {
            client: reqwest::Client::new(),
            base: match address.contains("://") {
                true => address.to_owned(),
                false => format!("http://{address}"),
            },
            token: token.to_owned(),
        })
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> anyhow::Result<Value> {
        let request = self
            .client
            .request(method.clone(), format!("{}/v1/{path}", self.base));
        let answer = request.bearer_auth(&self.token).json(&body).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{method} /v1/{path}: {status} {text}");
        Ok(serde_json::from_str(&text)?)
    }
}

/// Starts the handler that teams write today; `None` when it is not installed.
pub(crate) fn naive(
    folder: &Path,
    database: &str,
    secret: &str,
) -> anyhow::Result<Option<Process>> {
    if !folder.join("node_modules").exists() {
        return Ok(None);
    }
    let mut child = Command::new("node")
        .arg("naive.mjs")
        .current_dir(folder)
        .env("DATABASE_URL", database)
        .env("STRIPE_SECRET", secret)
        .env("NODE_ENV", "production")
        .env("PORT", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("node could not be started")?;
    let words = child.stdout.take().context("its words")?;
    let mut process = Process {
        child,
        address: String::new(),
    };
    let first = BufReader::new(words)
        .lines()
        .next()
        .context("the naive handler did not start")??;
    let port = first
        .strip_prefix("listening ")
        .context("the naive handler did not say where it listens")?;
    process.address = format!("127.0.0.1:{port}");
    Ok(Some(process))
}

/// A load as it is put on a server.
#[derive(Debug, Clone)]
pub(crate) struct Load<'a> {
    pub(crate) address: &'a str,
    pub(crate) path: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) seconds: f64,
    pub(crate) connections: usize,
    pub(crate) body: usize,
    pub(crate) rate: Option<f64>,
    /// Which share of the time is not counted; none: as much as usual.
    pub(crate) warm_up: Option<f64>,
    pub(crate) run: &'a str,
}

impl Load<'_> {
    /// Runs the load generator in a process of its own.
    pub(crate) async fn put(&self) -> anyhow::Result<LoadReport> {
        let mut command = tokio::process::Command::new(std::env::current_exe()?);
        command
            .args([
                "bench",
                "load",
                "--address",
                self.address,
                "--path",
                self.path,
                "--run",
                self.run,
            ])
            .args([
                "--seconds",
                &self.seconds.to_string(),
                "--connections",
                &self.connections.to_string(),
            ])
            .args(["--body", &self.body.to_string()])
            .env(SECRET, self.secret)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        if let Some(rate) = self.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        if let Some(share) = self.warm_up {
            command.args(["--warm-up", &share.to_string()]);
        }
        let output = command.output().await?;
        ensure!(
            output.status.success(),
            "the load generator failed against {}",
            self.path
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}
