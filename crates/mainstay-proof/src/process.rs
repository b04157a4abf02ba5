//! The `mainstay` process under test: started, awaited, killed, started again.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::{http::Client, lossy::Lossy};

/// What everything is sealed under: the figures are those with encryption on. The data is thrown away.
const MASTER_KEY: &str = "bWFpbnN0YXkgZGVtbyBrZXksIG5vdCBhIHNlY3JldC4=";
/// How long a server may take to become ready after a crash before that counts as a failure.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a server may take to stop when it is asked to.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// Seconds since 1970.
pub fn unix_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

/// A port of this machine that was free a moment ago.
pub fn port_free() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The `mainstay` binary: `MAINSTAY_BIN`, else the one beside this program.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("MAINSTAY_BIN") {
        return Ok(path.into());
    }
    let beside = std::env::current_exe()?.with_file_name("mainstay");
    ensure!(
        beside.exists(),
        "{} does not exist: run `make build`, or set MAINSTAY_BIN",
        beside.display()
    );
    Ok(beside)
}

/// How the server is started.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The `mainstay` binary.
    pub binary: PathBuf,
    /// Its data directory, also its working directory's place for configuration and log.
    pub data: PathBuf,
    /// The port, the same after every restart.
    pub port: u16,
    /// `None` for SQLite in the data directory.
    pub database: Option<String>,
    /// The file layer to run over.
    pub lossy: Option<Lossy>,
    /// The folder of its spool.
    pub spool: Option<PathBuf>,
    /// Whether the dashboard says that this is a demo.
    pub demo: bool,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    setup: Setup,
    child: Child,
    /// From the start of the process until `/readyz` said yes.
    pub ready_after: Duration,
}

impl Setup {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Where everything that the server prints goes.
    pub fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    fn command(&self) -> anyhow::Result<Command> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(&self.binary);
        command
            .arg("serve")
            .args(["--listen", &self.address().to_string()])
            .arg("--data")
            .arg(&self.data)
            .env("MAINSTAY_OUTBOUND_ALLOW", "127.0.0.0/8")
            .env("MAINSTAY_LOG", "warn")
            .env("MAINSTAY_MASTER_KEY", MASTER_KEY)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        if let Some(database) = &self.database {
            command.args(["--database", database]);
        }
        if self.demo {
            command.arg("--demo");
        }
        if let Some(spool) = &self.spool {
            command.env("MAINSTAY_INTAKE_SPOOL_DIR", spool);
        }
        if let Some(lossy) = &self.lossy {
            command.envs(lossy.environment());
        }
        Ok(command)
    }

    /// Starts the server without waiting for it.
    pub fn spawn(&self) -> anyhow::Result<Server> {
        std::fs::create_dir_all(&self.data)?;
        let child = self
            .command()?
            .spawn()
            .context("mainstay could not be started")?;
        Ok(Server {
            setup: self.clone(),
            child,
            ready_after: Duration::ZERO,
        })
    }

    /// Starts the server and waits until it is ready.
    pub async fn start(&self) -> anyhow::Result<Server> {
        let begin = Instant::now();
        let mut server = self.spawn()?;
        let mut client = Client::new(self.address().to_string(), Duration::from_secs(2));
        loop {
            server.alive()?;
            let answer = client.send("GET", "/readyz", &[], Bytes::new()).await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                server.ready_after = begin.elapsed();
                return Ok(server);
            }
            ensure!(
                begin.elapsed() < READY_WITHIN,
                "mainstay is not ready after {} s:\n{}",
                READY_WITHIN.as_secs(),
                tail(&self.log())
            );
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Server {
    /// An error when the process has ended by itself.
    pub fn alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!(
                "mainstay ended by itself with {status}:\n{}",
                tail(&self.setup.log())
            ),
        }
    }

    /// `kill -9`: no warning, no clean-up.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.alive()?;
        self.child.kill().await?;
        Ok(())
    }

    /// Asks it to stop (SIGTERM) and waits; anything but exit code 0 in time is an error.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let Some(pid) = self.child.id() else {
            bail!("mainstay has ended already");
        };
        let asked = Command::new("kill").arg(pid.to_string()).status().await?;
        ensure!(asked.success(), "no signal could be sent to {pid}");
        let ended = tokio::time::timeout(STOP_WITHIN, self.child.wait()).await;
        let status =
            ended.with_context(|| format!("no stop within {} s", STOP_WITHIN.as_secs()))??;
        ensure!(status.success(), "mainstay stopped with {status}");
        Ok(())
    }

    /// The process's id.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }
}

/// The end of a log, for an error message.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
