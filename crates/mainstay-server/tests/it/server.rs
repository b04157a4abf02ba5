//! A running `mainstay serve` and the commands that are run beside it.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use mainstay_testkit::{Cluster, ScratchDatabase};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server on a database of its own. Ended when dropped.
pub(crate) struct Server {
    settings: Settings,
    child: Child,
    pub(crate) address: String,
    /// What it printed when it had started.
    said: String,
    folder: TempDir,
    // Dropped after the server has ended.
    database: Option<Scratch>,
}

/// What a server is told beside where its data is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// Variables.
    pub(crate) env: Vec<(&'static str, String)>,
    /// Flags.
    pub(crate) args: Vec<String>,
}

struct Scratch {
    url: String,
    _database: ScratchDatabase,
}

/// What a command printed and how it ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The JSON that was printed by a command that succeeded.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

impl Server {
    pub(crate) fn sqlite() -> Self {
        Self::sqlite_with(Settings::default())
    }

    /// On SQLite, with settings.
    pub(crate) fn sqlite_with(settings: Settings) -> Self {
        Self::start(tempfile::tempdir().expect("a directory"), None, settings)
    }

    pub(crate) async fn postgres() -> Self {
        Self::postgres_with(Settings::default()).await
    }

    /// On PostgreSQL, with settings.
    pub(crate) async fn postgres_with(settings: Settings) -> Self {
        let database = Cluster::of_this_run().scratch().await;
        let scratch = Scratch {
            url: database.url_as("postgres"),
            _database: database,
        };
        Self::start(
            tempfile::tempdir().expect("a directory"),
            Some(scratch),
            settings,
        )
    }

    fn start(folder: TempDir, database: Option<Scratch>, settings: Settings) -> Self {
        let (child, address, said) = spawn(&folder, database.as_ref(), &settings);
        Self {
            settings,
            said,
            child,
            address,
            folder,
            database,
        }
    }

    /// After a stop, on the same data.
    pub(crate) fn start_again(&mut self) {
        (self.child, self.address, self.said) =
            spawn(&self.folder, self.database.as_ref(), &self.settings);
    }

    /// The one-time link that the server printed.
    pub(crate) fn link(&self) -> &str {
        let word = self.said.split_whitespace();
        word.into_iter()
            .find(|word| word.contains("/signin/link?token="))
            .expect("the server prints a sign-in link")
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_none()
    }

    /// How the server ended, once it does by itself.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.child.wait().expect("the server ends").code()
    }
    pub(crate) fn is_postgres(&self) -> bool {
        self.database.is_some()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A file name of the test's own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command beside the server.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = binary();
        command.args(args).arg("--data").arg(self.data());
        if let Some(scratch) = &self.database {
            command.args(["--database", &scratch.url]);
        }
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().expect("the command runs"))
    }

    /// The same with variables.
    pub(crate) fn run_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = self.command(args);
        command.envs(variables.iter().copied());
        Ran::of(command.output().expect("the command runs"))
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        self.run(&all).json()
    }

    /// Runs the command again and again until its JSON is as wanted.
    pub(crate) fn until(&self, args: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let found = self.json(args);
            if wanted(&found) {
                return found;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{args:?} still answers {found:#}"
            );
        }
    }

    /// Ends the server as a power cut does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("the server ends");
    }

    /// Asks the server to stop; answers its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(asked.expect("kill runs").success());
        self.child.wait().expect("the server ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server and waits until it says where it listens.
fn spawn(
    folder: &TempDir,
    database: Option<&Scratch>,
    settings: &Settings,
) -> (Child, String, String) {
    let mut command = binary();
    command
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--outbound-allow",
            "127.0.0.0/8",
        ])
        .arg("--data")
        .arg(folder.path().join("data"))
        .args(&settings.args)
        .env("MAINSTAY_LOG", "warn")
        // A test does in seconds what a program does in hours.
        .env("MAINSTAY_LIMITS_READS_PER_MINUTE", "60000")
        .env("MAINSTAY_LIMITS_WRITES_PER_MINUTE", "60000")
        .envs(settings.env.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped());
    if let Some(scratch) = database {
        command.args(["--database", &scratch.url]);
    }
    let mut child = command.spawn().expect("the server starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut said = String::new();
    // How to sign in comes last: a page, or a link and how long it works.
    for line in lines.map_while(Result::ok) {
        said += &line;
        said += "\n";
        if line.contains("works once") || line.ends_with("/signin") {
            break;
        }
    }
    let (_, address) = said
        .split_once("listening on ")
        .expect("the server says where it listens");
    let address = address
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned();
    (child, address, said)
}

/// The binary, in an environment without any configuration of ours.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MAINSTAY_") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null());
    command
}

/// A command without a server.
pub(crate) fn alone(args: &[&str]) -> Ran {
    Ran::of(binary().args(args).output().expect("the command runs"))
}

/// A command that reads standard input.
pub(crate) fn alone_with(args: &[&str], input: &[u8]) -> Ran {
    let mut command = binary();
    let command = command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input).expect("it reads");
    drop(stdin);
    Ran::of(child.wait_with_output().expect("the command ends"))
}

/// The text of a path.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}
