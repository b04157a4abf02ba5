//! `make crash`: the server is killed again and again under intake and delivery, at random moments, and at the end
//! every count must be right, without anybody having repaired anything.
//!
//! - `kill`: `kill -9` of the server.
//! - `power` (SQLite): `kill -9`, and what was not synced is taken from the disk, wholly or in part.
//! - `lie` (SQLite): the same on a disk that only says that it syncs. Events *must* be missing: a harness that does not
//!   see that sees nothing.
//! - `immediate` (PostgreSQL): the database is stopped as by a power cut while the server runs.
//! - `spool` (PostgreSQL): the same with a spool, and `kill -9` of the server while it spools or drains.
//!
//! In all of them one app wants its events in the order of their commits, and one provider's secret is mistyped: after half
//! of the rounds it is mended, and what was refused is verified again while the server dies.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use mainstay_proof::{
    api::Api,
    dice::Dice,
    events::Provider,
    http::Client,
    lossy::{Keep, Lossy},
    mistyped::Mistyped,
    plan::{Mix, plan},
    postgres::{Cluster, Crash},
    process::{Server, Setup, binary, port_free, unix_secs},
    progress::{Line, thousands},
    receiver::{Mood, Receiver},
    sender::{self, Play, Progress, Report},
    verdict::{Kept, Played, Verdict, judge},
};
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

/// How many requests are planned at once: the traffic goes on until it is told to stop.
const CHUNK: usize = 150;
/// How long a round is.
const SHORT_MS: (u64, u64) = (20, 900);
/// How long a round is that must outlast the lease of the server before.
const LONG_MS: (u64, u64) = (6_200, 8_000);
/// The app that wants its events in an order, whose they are, and by what.
const ORDERED: (&str, Provider, &str) = ("ordered", Provider::Standard, "/data/name");
/// How long what was refused may take until it is kept: it is written in the background.
const KEPT_AFTER: Duration = Duration::from_millis(1_500);
/// How many rounds on a lying disk: one would do.
const LIE_ROUNDS: u32 = 3;

/// Kills the server under load and counts.
#[derive(Debug, Parser)]
struct Options {
    /// Which database
    #[arg(long, env = "DATABASE", default_value = "both")]
    database: Which,
    /// How often the server is killed on each database
    #[arg(long, env = "ROUNDS", default_value_t = 200)]
    rounds: u32,
    /// Only this way of crashing
    #[arg(long, env = "MODE")]
    mode: Option<Mode>,
    /// How many requests are begun in a second
    #[arg(long, env = "RATE", default_value_t = 300)]
    rate: u64,
    /// The seed of everything that is made up
    #[arg(long, env = "SEED", default_value_t = 1)]
    seed: u64,
    /// How long the rest may take when the last round is over, in seconds
    #[arg(long, env = "DRAIN_SECS", default_value_t = 300)]
    drain_secs: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Sqlite,
    Postgres,
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Kill,
    Power,
    Lie,
    Immediate,
    Spool,
}

impl Options {
    /// Which campaigns to run: database, mode and rounds.
    fn campaigns(&self) -> Vec<(Which, Mode, u32)> {
        let power = (self.rounds / 4).max(3);
        let all = [
            (Which::Sqlite, Mode::Kill, self.rounds),
            (Which::Sqlite, Mode::Power, power),
            (Which::Sqlite, Mode::Lie, LIE_ROUNDS),
            (Which::Postgres, Mode::Kill, self.rounds),
            (Which::Postgres, Mode::Immediate, (self.rounds / 8).max(3)),
            (Which::Postgres, Mode::Spool, (self.rounds / 8).max(3)),
        ];
        let wanted = |which: Which, mode: Mode| {
            (self.database == Which::Both || self.database == which)
                && self.mode.is_none_or(|only| only == mode)
        };
        all.into_iter()
            .filter(|(which, mode, _)| wanted(*which, *mode))
            .collect()
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let mut line = Line::default();
    let campaigns = options.campaigns();
    ensure!(
        !campaigns.is_empty(),
        "that mode does not exist on that database"
    );
    let mut clean = true;
    for (which, mode, rounds) in campaigns {
        let name = format!("{which:?} {mode:?}").to_lowercase();
        line.say(&format!("{name}: {rounds} rounds, seed {}", options.seed));
        let campaign = Campaign::prepare(&options, which, mode, rounds).await?;
        let begin = Instant::now();
        let (verdict, facts) = campaign
            .run(&mut line)
            .await
            .with_context(|| format!("{name}, seed {}", options.seed))?;
        let as_it_must_be = match mode {
            Mode::Lie => verdict.lost() > 0,
            _ => verdict.clean(),
        };
        clean &= as_it_must_be;
        line.say(&format!("{facts}\n{verdict}"));
        let word = match (mode, as_it_must_be) {
            (Mode::Lie, true) => "caught, as it must be: this disk only said that it synced",
            (Mode::Lie, false) => "NOT CAUGHT: a disk that loses everything was not noticed",
            (_, true) => {
                "clean: nothing acknowledged lost, nothing twice, no job stuck, no repair by hand"
            }
            (_, false) => "NOT CLEAN",
        };
        line.say(&format!(
            "{name}: {word} ({} s)\n",
            begin.elapsed().as_secs()
        ));
    }
    line.say(if clean {
        "crash: clean"
    } else {
        "crash: NOT CLEAN"
    });
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Campaign {
    mode: Mode,
    rounds: u32,
    rate: u64,
    seed: u64,
    drain: Duration,
    dice: Dice,
    setup: Setup,
    cluster: Option<Cluster>,
    receiver: Arc<Receiver>,
    ordered: Arc<Receiver>,
    // Dropped last: everything above lives in it.
    folder: tempfile::TempDir,
}

impl Campaign {
    async fn prepare(
        options: &Options,
        which: Which,
        mode: Mode,
        rounds: u32,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("mainstay-crash-")
            .tempdir()?;
        let cluster = match which {
            Which::Postgres => Some(Cluster::start().await?),
            Which::Sqlite | Which::Both => None,
        };
        let setup = Setup {
            binary: binary()?,
            data: folder.path().join("data"),
            port: port_free()?,
            database: cluster.as_ref().map(|cluster| cluster.url().to_owned()),
            lossy: None,
            spool: (mode == Mode::Spool).then(|| folder.path().join("spool")),
            demo: false,
        };
        // Little on purpose: here the server is what fails.
        let mood = Mood {
            error: 0.01,
            late: 0.002,
            late_ms: 2_500,
            broken: 0.005,
            ..Mood::default()
        };
        Ok(Self {
            mode,
            rounds,
            rate: options.rate,
            seed: options.seed,
            drain: Duration::from_secs(options.drain_secs),
            dice: Dice::new(options.seed),
            setup,
            cluster,
            receiver: Receiver::start(options.seed ^ 1, mood).await?,
            ordered: Receiver::start(options.seed ^ 3, mood).await?,
            folder,
        })
    }

    async fn run(mut self, line: &mut Line) -> anyhow::Result<(Verdict, String)> {
        let secrets = sender::secrets(&Dice::new(self.seed ^ 2));
        let server = self.setup.start().await?;
        let mistyped = self.declare(&secrets).await?;
        let server = self.layer_add(server).await?;

        let traffic = Traffic::start(&self, secrets);
        let wrongly_signed = mistyped.start(self.seed ^ 4);
        let (server, rounds) = self.rounds(server, &traffic, &mistyped, line).await?;
        let (report, played) = traffic.stop().await?;
        mistyped.stop();
        wrongly_signed.await??;
        let begin = Instant::now();
        while self.setup.spool.is_some() && !self.spool_empty().await? {
            ensure!(begin.elapsed() < self.drain, "the spool is not drained");
            sleep(Duration::from_millis(50)).await;
        }
        let mut api = Api::open(&self.setup.data)?;
        let mut genuine = 0;
        if self.mode != Mode::Lie {
            genuine = mistyped.reverify(&mut api).await?;
            mistyped.send_again().await?;
        }
        while api.jobs_not_over().await? > 0
            && begin.elapsed() < self.drain
            && self.mode != Mode::Lie
        {
            sleep(Duration::from_millis(500)).await;
        }
        let kept = Kept::read(&mut api).await?;
        let ledger = self.receiver.ledger();
        let mut verdict = judge(&played, &report, &ledger, &kept);
        verdict.order(&played, ORDERED.1.source(), &self.ordered.ledger(), &kept);
        let sent = mistyped.sent_so_far();
        verdict.mistyped(&sent, genuine, &ledger, &kept);
        server.stop().await?;
        if let Some(cluster) = self.cluster.take() {
            cluster.stop().await?;
        }
        if !verdict.clean() && self.mode != Mode::Lie {
            let kept = self.folder.keep();
            line.say(&format!(
                "  the data and the log stay in {}",
                kept.display()
            ));
        }
        let facts = format!(
            "  {} requests acknowledged ({} sent again), {} deliveries ({} repeated), {} in order, {} refused for a mistyped \
             secret, drained in {} s after the last round\n  {}",
            thousands(report.acknowledged),
            thousands(report.repeated),
            thousands(ledger.requests),
            thousands(ledger.repeats),
            thousands(self.ordered.applied() as u64),
            thousands(sent.refused),
            begin.elapsed().as_secs(),
            rounds
        );
        Ok((verdict, facts))
    }

    async fn declare(
        &self,
        secrets: &std::collections::BTreeMap<String, String>,
    ) -> anyhow::Result<Arc<Mistyped>> {
        let mut api = Api::open(&self.setup.data)?;
        for provider in Provider::ALL {
            api.source_declare(provider, &secrets[provider.source()])
                .await?;
        }
        for (name, receiver) in [("app", &self.receiver), (ORDERED.0, &self.ordered)] {
            let secret = api
                .endpoint_declare(&json!({
                    "name": name, "url": receiver.url(), "connect_timeout_ms": 500, "timeout_ms": 2_000,
                    "max_in_flight": 32,
                    "retry": { "strategy": "schedule", "attempts_max": 50, "delays_ms": [100, 200, 400, 1_000] },
                    "breaker_settings": { "failures_to_open": 100, "pause_ms": 100, "pause_max_ms": 1_000 },
                }))
                .await?;
            receiver.trust(&secret);
        }
        for provider in Provider::ALL {
            api.binding_declare(provider.source(), "app").await?;
        }
        api.ordered_binding_declare(ORDERED.1.source(), ORDERED.0, ORDERED.2)
            .await?;
        api.billing_declare(Provider::Stripe.source()).await?;
        let address = self.setup.address().to_string();
        Mistyped::declare(&mut api, address, &Dice::new(self.seed ^ 5), "app").await
    }

    /// Halfway the mistyped secret is mended; from then on every round begins to verify again what was refused, and is
    /// over before that is.
    async fn quarantine(&self, round: u32, mistyped: &Arc<Mistyped>) -> anyhow::Result<()> {
        let half = self.rounds / 2 + 1;
        // A disk that lies proves nothing about either, and a server that lives longer on one only wrecks its database.
        if round < half || self.mode == Mode::Lie {
            return Ok(());
        }
        let mut api = Api::open(&self.setup.data)?;
        if round == half {
            // However short the rounds before were, some of what it sends now is kept.
            sleep(KEPT_AFTER).await;
            mistyped.stop();
            sleep(KEPT_AFTER).await;
            mistyped.mend(&mut api).await?;
        }
        let mistyped = Arc::clone(mistyped);
        // The server dies under it: how it ends is the last look's to say.
        tokio::spawn(async move { mistyped.reverify(&mut api).await });
        Ok(())
    }

    /// Stops the server cleanly and starts it again over the file layer, where this mode has one.
    async fn layer_add(&mut self, server: Server) -> anyhow::Result<Server> {
        if !matches!(self.mode, Mode::Power | Mode::Lie) {
            return Ok(server);
        }
        server.stop().await?;
        let work = self.setup.data.with_file_name("layer");
        std::fs::create_dir_all(&work)?;
        self.setup.lossy = Some(Lossy::build(
            &work,
            &self.setup.data,
            self.mode == Mode::Lie,
        )?);
        self.setup.start().await
    }

    async fn rounds(
        &mut self,
        mut server: Server,
        traffic: &Traffic,
        mistyped: &Arc<Mistyped>,
        line: &mut Line,
    ) -> anyhow::Result<(Server, Tally)> {
        let mut tally = Tally::default();
        for round in 1..=self.rounds {
            line.show(&format!(
                "  round {round}/{}  through {}  applied {}",
                self.rounds,
                thousands(traffic.done.load(Ordering::Relaxed)),
                thousands(self.receiver.applied() as u64)
            ));
            self.quarantine(round, mistyped).await?;
            sleep(self.pause()).await;
            if self.mode == Mode::Spool {
                server = self.spool_round(server).await?;
                tally.slowest = tally.slowest.max(server.ready_after);
                continue;
            }
            if self.mode == Mode::Immediate {
                tally.slowest = tally.slowest.max(self.database_crash(&mut server).await?);
                continue;
            }
            server.kill().await?;
            if let Some(lossy) = &self.setup.lossy {
                // A disk that lies loses all of it: of a half the server would refuse the file, and nothing be counted.
                let share = if round % 2 == 0 && self.mode != Mode::Lie {
                    Keep::Some(&self.dice, 0.5)
                } else {
                    Keep::Nothing
                };
                let cut = lossy.cut(&share)?;
                tally.unsynced += cut.unsynced;
                tally.torn += cut.sectors_kept;
            }
            if self.dice.chance(0.15) {
                tally.during_start += 1;
                let starting = self.setup.spawn()?;
                sleep(Duration::from_millis(self.dice.range(1, 120))).await;
                starting.kill().await?;
                if let Some(lossy) = &self.setup.lossy {
                    tally.unsynced += lossy.cut(&Keep::Nothing)?.unsynced;
                }
            }
            server = self.setup.start().await?;
            tally.slowest = tally.slowest.max(server.ready_after);
        }
        Ok((server, tally))
    }

    /// How long the server lives this time. On PostgreSQL a successor waits for the lease of the one that was killed: some
    /// rounds have to be long enough for deliveries to be under way again.
    fn pause(&self) -> Duration {
        let long = self.mode == Mode::Kill && self.cluster.is_some() && self.dice.chance(0.3);
        let (from, to) = if long { LONG_MS } else { SHORT_MS };
        Duration::from_millis(self.dice.range(from, to))
    }

    /// Stops PostgreSQL without a word while the server goes on into its spool; now and then it is killed there, or
    /// while it stores what is in it.
    async fn spool_round(&mut self, server: Server) -> anyhow::Result<Server> {
        let cluster = self.cluster.as_mut().context("this mode is PostgreSQL's")?;
        let how = if self.dice.chance(0.5) {
            Crash::Immediate
        } else {
            Crash::Kill
        };
        cluster.crash(how).await?;
        sleep(Duration::from_millis(self.dice.range(50, 1_500))).await;
        let mut server = Some(server);
        if self.dice.chance(0.4)
            && let Some(server) = server.take()
        {
            server.kill().await?;
        }
        cluster.resume().await?;
        if self.dice.chance(0.4)
            && let Some(server) = server.take()
        {
            sleep(Duration::from_millis(self.dice.range(0, 400))).await;
            server.kill().await?;
        }
        match server {
            Some(mut server) => {
                server.alive()?;
                Ok(server)
            }
            None => self.setup.start().await,
        }
    }

    /// Whether everything that was spooled is stored.
    async fn spool_empty(&self) -> anyhow::Result<bool> {
        let mut client = Client::new(self.setup.address().to_string(), Duration::from_secs(10));
        let answer = client.send("GET", "/metrics", &[], Bytes::new()).await?;
        let text = String::from_utf8_lossy(&answer.body);
        for gone in ["lost", "set_aside"] {
            let none = format!("mainstay_spool_records_total{{what=\"{gone}\"}} 0\n");
            ensure!(text.contains(&none), "the spool has {gone} some");
        }
        Ok(text.contains("mainstay_spool_taking 0\n"))
    }

    /// Stops PostgreSQL without a word while the server goes on; how long it took until intake commits again.
    async fn database_crash(&mut self, server: &mut Server) -> anyhow::Result<Duration> {
        let cluster = self.cluster.as_mut().context("this mode is PostgreSQL's")?;
        let how = if self.dice.chance(0.5) {
            Crash::Immediate
        } else {
            Crash::Kill
        };
        cluster.crash(how).await?;
        sleep(Duration::from_millis(self.dice.range(0, 400))).await;
        cluster.resume().await?;
        let begin = Instant::now();
        let mut client = Client::new(self.setup.address().to_string(), Duration::from_secs(2));
        let ready = async {
            loop {
                let answer = client.send("GET", "/readyz", &[], Bytes::new()).await;
                if answer.is_ok_and(|answer| answer.status == 200) {
                    break;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(30), ready)
            .await
            .context("not ready 30 s after PostgreSQL came back")?;
        server.alive()?;
        Ok(begin.elapsed())
    }
}

/// What the rounds did.
#[derive(Default)]
struct Tally {
    slowest: Duration,
    during_start: u32,
    unsynced: usize,
    torn: usize,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "slowest to be ready again: {} ms",
            self.slowest.as_millis()
        )?;
        if self.during_start > 0 {
            write!(f, "; {} more kills while starting", self.during_start)?;
        }
        if self.unsynced > 0 {
            let (unsynced, torn) = (self.unsynced, self.torn);
            write!(
                f,
                "; {unsynced} writes were not synced at the cuts, {torn} of their sectors stayed"
            )?;
        }
        Ok(())
    }
}

/// The providers: they send until they are told to stop, and repeat what was not acknowledged.
struct Traffic {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    task: JoinHandle<anyhow::Result<(Report, Played)>>,
}

impl Traffic {
    fn start(campaign: &Campaign, secrets: std::collections::BTreeMap<String, String>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let how = Arc::new(Play {
            address: campaign.setup.address().to_string(),
            secrets,
            connections: 12,
            rate: campaign.rate,
            give_up: Duration::from_secs(120),
        });
        let task = tokio::spawn(send(
            campaign.seed,
            how,
            Arc::clone(&stop),
            Arc::clone(&done),
        ));
        Self { stop, done, task }
    }

    async fn stop(self) -> anyhow::Result<(Report, Played)> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

async fn send(
    seed: u64,
    how: Arc<Play>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
) -> anyhow::Result<(Report, Played)> {
    let (mut report, mut played) = (Report::default(), Played::default());
    let mut chunk = seed << 32;
    while !stop.load(Ordering::Relaxed) {
        chunk += 1;
        let mix = Mix {
            seed: chunk,
            requests: CHUNK,
            now: unix_secs(),
            duplicates: 0.1,
            forged: 0.01,
        };
        let plan = plan(mix);
        played.add(&plan);
        let part = sender::play(
            Arc::new(plan),
            Arc::clone(&how),
            Arc::new(Progress::default()),
        )
        .await?;
        report.add(part);
        done.store(report.acknowledged, Ordering::Relaxed);
    }
    Ok((report, played))
}
