//! Where a bench's database is: a folder that goes away, a throw-away PostgreSQL, or a URL.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

/// The script that makes and removes clusters, found from the repository's root.
const SCRIPT: &str = "tools/postgres";

/// How the cluster is set: as `docs/operating.md` says that one for Mainstay should be. Whoever is measured beside it
/// has the same.
const SETTINGS: &str = "-c shared_buffers=1GB -c max_wal_size=8GB -c min_wal_size=2GB";

/// What `--database` asks for.
#[derive(Debug)]
pub(crate) enum Where {
    /// Embedded SQLite.
    Sqlite,
    /// PostgreSQL at this address.
    Postgres(String),
}

impl Where {
    /// The name in the result.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// The address, for PostgreSQL.
    pub(crate) fn url(&self) -> Option<&str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres(url) => Some(url),
        }
    }
}

/// A throw-away PostgreSQL cluster; gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: PathBuf,
    /// The address of a superuser.
    pub(crate) url: String,
}

impl Cluster {
    /// Starts one with `tools/postgres`, as one that has run for a while, and reached as a server on the same machine
    /// is: through its socket.
    pub(crate) fn start() -> anyhow::Result<Self> {
        ensure!(
            Path::new(SCRIPT).exists(),
            "a throw-away PostgreSQL needs {SCRIPT}: run this from the repository, or give --database postgres://…"
        );
        let folder = std::env::temp_dir().join(format!("mainstay-bench-{}", std::process::id()));
        script("start", &folder)?;
        // From here on it is stopped when anything fails.
        let mut cluster = Self {
            folder,
            url: String::new(),
        };
        script("season", &cluster.folder)?;
        cluster.url = script("socket", &cluster.folder)?;
        Ok(cluster)
    }

    /// Stops it as a power cut would.
    pub(crate) async fn pause(&self) -> anyhow::Result<()> {
        self.script("pause").await
    }

    /// Starts it again under the same address.
    pub(crate) async fn resume(&self) -> anyhow::Result<()> {
        self.script("resume").await
    }

    async fn script(&self, word: &str) -> anyhow::Result<()> {
        let mut command = tokio::process::Command::new(SCRIPT);
        command.arg(word).arg(&self.folder);
        let done = command
            .env("POSTGRES_SETTINGS", SETTINGS)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .await?;
        ensure!(done.success(), "{SCRIPT} {word} failed");
        Ok(())
    }
}

fn script(what: &str, folder: &Path) -> anyhow::Result<String> {
    let done = Command::new(SCRIPT)
        .arg(what)
        .arg(folder)
        .env("POSTGRES_SETTINGS", SETTINGS)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{SCRIPT} could not be run"))?;
    ensure!(done.status.success(), "{SCRIPT} {what} failed");
    Ok(String::from_utf8(done.stdout)?.trim().to_owned())
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the folder is a temporary one.
        let _ = Command::new(SCRIPT).arg("stop").arg(&self.folder).status();
    }
}
