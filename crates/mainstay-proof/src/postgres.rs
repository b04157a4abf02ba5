//! A throw-away PostgreSQL cluster that can be stopped as a power cut stops it. Loopback only, data in a folder of its
//! own, its processes ended by id.

use std::{
    fs,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::process::{port_free, tail};

const UP_WITHIN: Duration = Duration::from_secs(30);

/// The cluster. Its data goes when this goes.
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    url: String,
    postmaster: Option<Child>,
}

/// How a cluster is stopped without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// `pg_ctl stop -m immediate`: every process ends at once, nothing is written out.
    Immediate,
    /// `kill -9` of the postmaster: the others notice and end.
    Kill,
}

impl Cluster {
    /// Makes and starts a cluster with an empty database that belongs to a role which is no superuser.
    pub async fn start() -> anyhow::Result<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new()
            .prefix("mainstay-postgres-")
            .tempdir()?;
        let port = port_free()?;
        let mut cluster = Self {
            url: format!("postgres://mainstay_owner@127.0.0.1:{port}/mainstay"),
            programs,
            folder,
            port,
            postmaster: None,
        };
        if root() {
            let owned = Command::new("chown")
                .arg("postgres")
                .arg(cluster.folder.path())
                .status()
                .await?;
            ensure!(
                owned.success(),
                "the cluster's folder could not be given to the user postgres"
            );
        }
        let data = cluster.data();
        let made = cluster
            .program("initdb")
            .args([
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-instructions",
                "-D",
            ])
            .arg(&data)
            .output()
            .await?;
        ensure!(
            made.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        cluster.resume().await?;
        cluster
            .statement("CREATE ROLE mainstay_owner LOGIN CREATEROLE")
            .await?;
        cluster
            .statement("CREATE DATABASE mainstay OWNER mainstay_owner")
            .await?;
        Ok(cluster)
    }

    /// How Mainstay connects.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Starts the processes again after a crash, and waits until they answer.
    pub async fn resume(&mut self) -> anyhow::Result<()> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())?;
        let port = self.port.to_string();
        let postmaster = self
            .program("postgres")
            .arg("-D")
            .arg(self.data())
            .args(["-h", "127.0.0.1", "-p", &port, "-k", ""])
            .args(["-c", "max_connections=100", "-c", "shared_buffers=128MB"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        self.postmaster = Some(postmaster);
        let begin = Instant::now();
        while !self.answers().await? {
            ensure!(
                begin.elapsed() < UP_WITHIN,
                "PostgreSQL does not come up:\n{}",
                tail(&self.log())
            );
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Stops everything without a word, as a power cut would.
    pub async fn crash(&mut self, how: Crash) -> anyhow::Result<()> {
        let mut postmaster = self.postmaster.take().context("the cluster runs")?;
        match how {
            Crash::Kill => postmaster.kill().await?,
            Crash::Immediate => {
                let data = self.data();
                let stopped = self
                    .program("pg_ctl")
                    .args(["stop", "-m", "immediate", "-D"])
                    .arg(data)
                    .output()
                    .await?;
                ensure!(
                    stopped.status.success(),
                    "pg_ctl: {}",
                    String::from_utf8_lossy(&stopped.stderr)
                );
                postmaster.wait().await?;
            }
        }
        // A new postmaster refuses to start while a backend of the old one is attached to its shared memory.
        let begin = Instant::now();
        while self.port_taken().await && begin.elapsed() < UP_WITHIN {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Stops the cluster for good.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if self.postmaster.is_some() {
            self.crash(Crash::Immediate).await?;
        }
        Ok(())
    }

    async fn port_taken(&self) -> bool {
        tokio::net::TcpStream::connect(("127.0.0.1", self.port))
            .await
            .is_ok()
    }

    async fn answers(&mut self) -> anyhow::Result<bool> {
        if let Some(postmaster) = &mut self.postmaster
            && let Some(status) = postmaster.try_wait()?
        {
            // The shared memory of the killed one was still in use.
            ensure!(
                fs::read_to_string(self.log())?.contains("pre-existing shared memory"),
                "PostgreSQL ended with {status}:\n{}",
                tail(&self.log())
            );
            self.postmaster = None;
            sleep(Duration::from_millis(100)).await;
            Box::pin(self.resume()).await?;
            return Ok(true);
        }
        Ok(self.statement("SELECT 1").await.is_ok())
    }

    async fn statement(&self, statement: &str) -> anyhow::Result<()> {
        let port = self.port.to_string();
        let done = Command::new(self.programs.join("psql"))
            .args([
                "-X",
                "-q",
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-U",
                "postgres",
                "-d",
                "postgres",
                "-c",
                statement,
            ])
            .stdin(Stdio::null())
            .output()
            .await?;
        ensure!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// PostgreSQL refuses to run as root.
    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = if root() {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=postgres", "--regid=postgres", "--init-groups"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path());
        command
    }
}

fn root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Where `initdb` and `postgres` are: of the newest version that Debian has installed, else beside `pg_ctl`.
fn programs() -> anyhow::Result<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = installed
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            programs
                .join("initdb")
                .exists()
                .then_some((version, programs))
        })
        .max();
    if let Some((_, programs)) = newest {
        return Ok(programs);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|folder| folder.join("initdb").exists())
        .context(
            "PostgreSQL is not installed: apt-get install postgresql-15 (or let `make test` do it)",
        )
}
