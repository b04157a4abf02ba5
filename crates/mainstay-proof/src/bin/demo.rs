//! `make demo`: Mainstay's main job before the reader's eyes, with every trouble that real life has, and a verdict from
//! independent counts.

use std::{
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::{Parser, Subcommand, builder::FalseyValueParser};
use mainstay_proof::{
    api::Api,
    dice::Dice,
    events::Provider,
    plan::{Item, Mix, plan},
    postgres::Cluster,
    process::{Server, Setup, binary, port_free, unix_secs},
    progress::{Line, bar, thousands},
    receiver::{Mood, Receiver},
    sender::{self, Play, Progress, Report},
    verdict::{Kept, Played, Verdict, judge},
};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{interval, sleep},
};

/// The secrets of the sources, for the sender's process: not on its command line, where everybody reads them.
const SECRETS: &str = "MAINSTAY_DEMO_SECRETS";
/// How long the endpoint is away.
const OUTAGE: Duration = Duration::from_secs(6);
/// How long the server is dead.
const DEAD: Duration = Duration::from_secs(1);
/// How long the rest may take when everything was sent.
const DRAIN_WITHIN: Duration = Duration::from_secs(180);

/// Mainstay's main job, with every trouble that real life has.
#[derive(Debug, Parser)]
struct Options {
    /// sqlite or postgres (a throw-away cluster)
    #[arg(long, env = "DATABASE", default_value = "sqlite")]
    database: String,
    /// End after the verdict
    #[arg(long, env = "ONCE", value_parser = FalseyValueParser::new())]
    once: bool,
    /// A command to run after the verdict, with MAINSTAY_URL and MAINSTAY_SIGNIN_LINK set; then end
    #[arg(long, env = "THEN")]
    then: Option<String>,
    /// How many distinct requests are sent
    #[arg(long, env = "EVENTS", default_value_t = 3_000)]
    events: usize,
    /// How many requests are begun in a second
    #[arg(long, env = "RATE", default_value_t = 100)]
    rate: u64,
    /// The seed of everything that is made up
    #[arg(long, env = "SEED", default_value_t = 20_261_121)]
    seed: u64,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The provider's side, in a process of its own
    #[command(hide = true)]
    Sender {
        #[arg(long)]
        address: String,
        #[arg(long)]
        now: i64,
        #[arg(long)]
        report: PathBuf,
    },
}

impl Options {
    const fn mix(&self, now: i64) -> Mix {
        Mix {
            seed: self.seed,
            requests: self.events,
            now,
            duplicates: 0.12,
            forged: 0.02,
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    if let Some(Part::Sender {
        address,
        now,
        report,
    }) = &options.part
    {
        play(&options, address, *now, report).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut demo = Demo::prepare(options).await?;
    let outcome = tokio::select! {
        outcome = demo.run() => outcome,
        stopped = tokio::signal::ctrl_c() => {
            stopped?;
            demo.line.say("\nstopped");
            Ok(false)
        }
    };
    demo.end().await?;
    Ok(if outcome? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The sender's process: plays the plan, prints how far it is, leaves its report in a file.
async fn play(options: &Options, address: &str, now: i64, report: &Path) -> anyhow::Result<()> {
    let secrets =
        serde_json::from_str(&std::env::var(SECRETS).context("the secrets of the sources")?)?;
    let how = Play {
        address: address.to_owned(),
        secrets,
        connections: 24,
        rate: options.rate,
        give_up: Duration::from_secs(120),
    };
    let plan = Arc::new(plan(options.mix(now)));
    let progress = Arc::new(Progress::default());
    let mut tick = interval(Duration::from_millis(100));
    let playing = sender::play(plan, Arc::new(how), Arc::clone(&progress));
    tokio::pin!(playing);
    let played = loop {
        tokio::select! {
            played = &mut playing => break played?,
            _ = tick.tick() => progress.print(),
        }
    };
    progress.print();
    tokio::fs::write(report, serde_json::to_vec(&played)?).await?;
    Ok(())
}

struct Demo {
    options: Options,
    folder: tempfile::TempDir,
    cluster: Option<Cluster>,
    setup: Setup,
    server: Option<Server>,
    receiver: Arc<Receiver>,
    line: Line,
}

/// What the live line shows.
#[derive(Default)]
struct Seen {
    sent: u64,
    repeated: u64,
    waiting: u64,
    note: &'static str,
}

impl Demo {
    async fn prepare(options: Options) -> anyhow::Result<Self> {
        let mut line = Line::default();
        let folder = tempfile::Builder::new()
            .prefix("mainstay-demo-")
            .tempdir()?;
        let cluster = match options.database.as_str() {
            "sqlite" => None,
            "postgres" => {
                line.say("starting a throw-away PostgreSQL …");
                Some(Cluster::start().await?)
            }
            other => anyhow::bail!("DATABASE is sqlite or postgres, not {other}"),
        };
        let setup = Setup {
            binary: binary()?,
            data: folder.path().join("data"),
            port: port_free()?,
            database: cluster.as_ref().map(|cluster| cluster.url().to_owned()),
            lossy: None,
            spool: None,
            demo: true,
        };
        let flaky = Mood {
            error: 0.04,
            busy: 0.01,
            late: 0.01,
            late_ms: 1_500,
            broken: 0.01,
            poison: true,
        };
        let receiver = Receiver::start(options.seed ^ 1, flaky).await?;
        Ok(Self {
            options,
            folder,
            cluster,
            setup,
            server: None,
            receiver,
            line,
        })
    }

    /// Everything up to the verdict; whether it is clean.
    async fn run(&mut self) -> anyhow::Result<bool> {
        let begin = Instant::now();
        let server = self.setup.start().await?;
        let database = if self.cluster.is_some() {
            "PostgreSQL"
        } else {
            "SQLite"
        };
        self.line.say(&format!(
            "mainstay is ready on {database} after {} ms: http://{}",
            server.ready_after.as_millis(),
            self.setup.address()
        ));
        self.server = Some(server);
        let secrets = sender::secrets(&Dice::new(self.options.seed ^ 2));
        self.declare(&secrets).await?;

        let now = unix_secs();
        let plan = plan(self.options.mix(now));
        let mut played = Played::default();
        played.add(&plan);
        self.announce(&plan, &played);
        let report = self.folder.path().join("sender.json");
        let (mut child, words) = self.sender_start(now, &report, &secrets)?;
        self.follow(words, plan.len() as u64).await?;
        anyhow::ensure!(child.wait().await?.success(), "the sender failed");
        let report: Report = serde_json::from_slice(&tokio::fs::read(&report).await?)?;
        self.drain().await?;

        let mut api = Api::open(&self.setup.data)?;
        let kept = Kept::read(&mut api).await?;
        let ledger = self.receiver.ledger();
        let verdict = judge(&played, &report, &ledger, &kept);
        self.verdict_show(&verdict, &report, &ledger, begin.elapsed());
        let mut clean = verdict.clean();
        match self.options.then.clone() {
            Some(command) => clean &= self.then(&command).await?,
            None if self.options.once => {}
            None => self.stay().await?,
        }
        Ok(clean)
    }

    /// Runs a command against the server as it stands after the verdict; whether it succeeded.
    async fn then(&mut self, command: &str) -> anyhow::Result<bool> {
        let status = Command::new("sh")
            .args(["-c", command])
            .env("MAINSTAY_URL", format!("http://{}", self.setup.address()))
            .env("MAINSTAY_SIGNIN_LINK", self.signin_link().await?)
            .kill_on_drop(true)
            .status()
            .await?;
        Ok(status.success())
    }

    async fn declare(
        &mut self,
        secrets: &std::collections::BTreeMap<String, String>,
    ) -> anyhow::Result<()> {
        let mut api = Api::open(&self.setup.data)?;
        for provider in Provider::ALL {
            api.source_declare(provider, &secrets[provider.source()])
                .await?;
        }
        // A policy for people who watch: days of retrying in seconds.
        let endpoint = json!({
            "name": "app", "url": self.receiver.url(), "connect_timeout_ms": 500, "timeout_ms": 1_000,
            "max_in_flight": 16,
            "retry": { "strategy": "schedule", "attempts_max": 8,
                "delays_ms": [200, 400, 800, 1_500, 3_000] },
            "breaker_settings": { "failures_to_open": 10, "pause_ms": 500, "pause_max_ms": 2_000 },
        });
        let secret = api.endpoint_declare(&endpoint).await?;
        self.receiver.trust(&secret);
        for provider in Provider::ALL {
            api.binding_declare(provider.source(), "app").await?;
        }
        api.billing_declare(Provider::Stripe.source()).await
    }

    fn announce(&mut self, plan: &[Item], played: &Played) {
        let duplicates = plan.iter().filter(|item| item.duplicate).count() as u64;
        let forged = plan.iter().filter(|item| item.forgery.is_some()).count() as u64;
        self.line.say(&format!(
            "sources stripe, github, whatsapp, accounts; endpoint app (flaky on purpose) at {}\n\
             playing {} requests with {} events: {} duplicates, some at the same moment; {} forged; out of order;\n\
             an outage of the endpoint in the middle; one kill -9 of mainstay\n",
            self.receiver.url(),
            thousands(plan.len() as u64),
            thousands(played.truth.len() as u64),
            thousands(duplicates),
            thousands(forged),
        ));
    }

    fn sender_start(
        &self,
        now: i64,
        report: &Path,
        secrets: &std::collections::BTreeMap<String, String>,
    ) -> anyhow::Result<(Child, Lines<BufReader<ChildStdout>>)> {
        let options = &self.options;
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "--events",
                &options.events.to_string(),
                "--rate",
                &options.rate.to_string(),
            ])
            .args(["--seed", &options.seed.to_string()])
            .arg("sender")
            .args([
                "--address",
                &self.setup.address().to_string(),
                "--now",
                &now.to_string(),
                "--report",
            ])
            .arg(report)
            .env(SECRETS, serde_json::to_string(secrets)?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let words = child.stdout.take().context("the sender's words")?;
        Ok((child, BufReader::new(words).lines()))
    }

    /// Watches the sender and makes the troubles when their time has come.
    async fn follow(
        &mut self,
        mut words: Lines<BufReader<ChildStdout>>,
        total: u64,
    ) -> anyhow::Result<()> {
        let (mut outage, mut killed) = (None, None);
        let mut seen = Seen::default();
        let mut looked = Instant::now();
        while let Some(word) = words.next_line().await? {
            let mut numbers = word.split(' ').map(|number| number.parse().unwrap_or(0));
            seen.sent = numbers.next().unwrap_or(0);
            seen.repeated = numbers.next().unwrap_or(0);
            let share = seen.sent as f64 / total as f64;
            if share > 0.3 && outage.is_none() {
                outage = Some(Instant::now());
                self.receiver.open(false);
                self.line.say("  the endpoint goes down");
                seen.note = "endpoint down";
            }
            if outage.is_some_and(|since| since.elapsed() > OUTAGE) && seen.note == "endpoint down"
            {
                self.receiver.open(true);
                self.line.say("  the endpoint is back");
                seen.note = "";
            }
            if share > 0.65 && killed.is_none() {
                killed = Some(self.kill_and_restart().await?);
            }
            if looked.elapsed() > Duration::from_millis(500) {
                looked = Instant::now();
                seen.waiting = self.jobs_open().await.unwrap_or(seen.waiting);
            }
            self.show(&seen, total);
        }
        self.receiver.open(true);
        Ok(())
    }

    async fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        if let Some(server) = self.server.take() {
            server.kill().await?;
        }
        self.line.say("  kill -9: mainstay is dead");
        sleep(DEAD).await;
        let server = self.setup.start().await?;
        self.line.say(&format!(
            "  mainstay is back, ready after {} ms",
            server.ready_after.as_millis()
        ));
        self.server = Some(server);
        Ok(())
    }

    fn show(&mut self, seen: &Seen, total: u64) {
        let applied = self.receiver.applied() as u64;
        self.line.show(&format!(
            "{} sent {}/{}  applied by the app {}  jobs open {}  sent again {}  {}",
            bar(seen.sent, total),
            thousands(seen.sent),
            thousands(total),
            thousands(applied),
            thousands(seen.waiting),
            thousands(seen.repeated),
            seen.note
        ));
    }

    async fn jobs_open(&self) -> anyhow::Result<u64> {
        Api::open(&self.setup.data)?.jobs_open().await
    }

    /// Waits until no job is open any more, or for as long as that is worth.
    async fn drain(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < DRAIN_WITHIN {
            let open = Api::open(&self.setup.data)?.jobs_not_over().await?;
            if open == 0 {
                break;
            }
            let applied = thousands(self.receiver.applied() as u64);
            self.line.show(&format!(
                "all sent; applied by the app {applied}  jobs open {}",
                thousands(open)
            ));
            sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }

    fn verdict_show(
        &mut self,
        verdict: &Verdict,
        report: &Report,
        ledger: &mainstay_proof::receiver::Ledger,
        took: Duration,
    ) {
        let failures: Vec<String> = ledger
            .failures
            .iter()
            .map(|(how, count)| format!("{count} {how}"))
            .collect();
        self.line.say(&format!(
            "\nsender    {} requests acknowledged, {} of them duplicates; {} sent again; {} forged refused\n\
             receiver  {} deliveries: {} events applied, {} known already, failed on purpose: {}\n\nverdict",
            thousands(report.acknowledged),
            thousands(report.duplicates),
            thousands(report.repeated),
            thousands(report.forged_refused),
            thousands(ledger.requests),
            thousands(ledger.applied.len() as u64),
            thousands(ledger.repeats),
            failures.join(", "),
        ));
        let word = if verdict.clean() {
            "clean: lost 0, applied twice 0, forged accepted 0"
        } else {
            "NOT CLEAN"
        };
        self.line
            .say(&format!("{verdict}\n{word} ({} s)", took.as_secs()));
    }

    /// The link that the server printed at its last start.
    async fn signin_link(&self) -> anyhow::Result<String> {
        let log = tokio::fs::read_to_string(self.setup.log()).await?;
        let link = log
            .split_whitespace()
            .rev()
            .find(|word| word.contains("/signin/link"));
        Ok(link.context("mainstay printed no sign-in link")?.to_owned())
    }

    async fn stay(&mut self) -> anyhow::Result<()> {
        let link = self.signin_link().await?;
        self.line.say(&format!(
            "\ndashboard  http://{}\nsign in    {link}\n\nCtrl-C ends the demo and removes its data",
            self.setup.address(),
        ));
        std::future::pending().await
    }

    async fn end(mut self) -> anyhow::Result<()> {
        if let Some(server) = self.server.take() {
            server.stop().await?;
        }
        if let Some(cluster) = self.cluster.take() {
            cluster.stop().await?;
        }
        Ok(())
    }
}
