//! A provider's sender: plays a plan over several connections and repeats what was not acknowledged, as providers do.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    events::Provider,
    http::{Answer, Client},
    plan::Item,
    process::unix_secs,
};

/// A provider waits this long for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest pause between two tries. Real providers wait longer; nobody would watch that.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How a plan is played.
#[derive(Debug, Clone)]
pub struct Play {
    /// Host and port of Mainstay.
    pub address: String,
    /// The secret of each source, by the source's name.
    pub secrets: BTreeMap<String, String>,
    /// How many connections.
    pub connections: usize,
    /// How many requests are begun in a second; 0 for as many as possible.
    pub rate: u64,
    /// When a request that is still not acknowledged makes the sender give up.
    pub give_up: Duration,
}

/// What the sender has seen: its own count, kept apart from everybody else's.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Report {
    /// True requests that were acknowledged, duplicates included.
    pub acknowledged: u64,
    /// The marks of the events in them.
    pub marks: Vec<String>,
    /// How often something had to be sent again: no answer, or one that asks for it.
    pub repeated: u64,
    /// How many of the acknowledged requests had been sent before.
    pub duplicates: u64,
    /// Forged requests that were refused.
    pub forged_refused: u64,
    /// Forged requests that were accepted. Must stay 0.
    pub forged_accepted: u64,
    /// Statuses of the answers.
    pub statuses: BTreeMap<u16, u64>,
    /// True requests that were refused or never acknowledged, with the last answer. Must stay empty.
    pub refused: Vec<String>,
}

/// Live counts, to show.
#[derive(Debug, Default)]
pub struct Progress {
    /// Requests of the plan that are through.
    pub done: AtomicU64,
    /// How often something was sent again.
    pub repeated: AtomicU64,
}

impl Progress {
    /// Prints both counts as a line, for the process that watches this one.
    pub fn print(&self) {
        use std::io::Write;
        let done = self.done.load(Ordering::Relaxed);
        let repeated = self.repeated.load(Ordering::Relaxed);
        // Nobody watches when the pipe is closed.
        let _ = writeln!(std::io::stdout(), "{done} {repeated}");
    }
}

/// Plays the whole plan and comes back when every true request was acknowledged (or given up).
pub async fn play(
    plan: Arc<Vec<Item>>,
    how: Arc<Play>,
    progress: Arc<Progress>,
) -> anyhow::Result<Report> {
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..how.connections {
        let (plan, how) = (Arc::clone(&plan), Arc::clone(&how));
        let (next, progress) = (Arc::clone(&next), Arc::clone(&progress));
        workers.spawn(async move {
            let mut worker = Worker::new(&how, progress);
            while let Some(item) = plan.get(next.fetch_add(1, Ordering::Relaxed)) {
                worker.pace(begin).await;
                worker.item_send(item).await?;
            }
            anyhow::Ok(worker.report)
        });
    }
    let mut total = Report::default();
    while let Some(report) = workers.join_next().await {
        total.add(report??);
    }
    Ok(total)
}

struct Worker<'a> {
    how: &'a Play,
    progress: Arc<Progress>,
    client: Client,
    report: Report,
}

impl<'a> Worker<'a> {
    fn new(how: &'a Play, progress: Arc<Progress>) -> Self {
        Self {
            client: Client::new(&how.address, ANSWER_TIMEOUT),
            report: Report::default(),
            how,
            progress,
        }
    }

    /// Waits until the rate allows another request.
    async fn pace(&self, begin: Instant) {
        let done = self.progress.done.load(Ordering::Relaxed);
        let due = match self.how.rate {
            0 => return,
            rate => Duration::from_micros(done * 1_000_000 / rate),
        };
        sleep(due.saturating_sub(begin.elapsed())).await;
    }

    async fn item_send(&mut self, item: &Item) -> anyhow::Result<()> {
        let begin = Instant::now();
        let mut pause = Duration::from_millis(50);
        loop {
            let answer = self.attempt(item).await;
            match answer {
                Ok(answer) if self.settled(item, &answer)? => break,
                _ if begin.elapsed() > self.how.give_up => {
                    let last = answer.map_or_else(
                        |error| error.to_string(),
                        |answer| answer.status.to_string(),
                    );
                    self.report
                        .refused
                        .push(format!("{}: {last}", item.message.kind));
                    break;
                }
                Ok(answer) => pause = pause.max(asked_to_wait(&answer)),
                Err(_) => {}
            }
            self.report.repeated += 1;
            self.progress.repeated.fetch_add(1, Ordering::Relaxed);
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        self.progress.done.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn attempt(&mut self, item: &Item) -> anyhow::Result<Answer> {
        let source = item.message.provider.source();
        let secret = self
            .how
            .secrets
            .get(source)
            .context("a secret for every source")?;
        let (headers, body) = item.signed(secret, unix_secs())?;
        self.client
            .send("POST", &format!("/in/{source}"), &headers, body)
            .await
    }

    /// Counts the answer; false when the request has to be sent again.
    fn settled(&mut self, item: &Item, answer: &Answer) -> anyhow::Result<bool> {
        *self.report.statuses.entry(answer.status).or_default() += 1;
        let again = answer.status >= 500 || answer.status == 429;
        match (item.forgery, answer.status) {
            _ if again => return Ok(false),
            (None, 200..300) => {
                self.report.acknowledged += 1;
                self.report.duplicates += u64::from(item.duplicate);
                self.report.marks.extend(item.message.marks.iter().cloned());
            }
            (None, status) => {
                let text = String::from_utf8_lossy(&answer.body);
                self.report
                    .refused
                    .push(format!("{}: {status} {text}", item.message.kind));
            }
            (Some(_), 200..300) => self.report.forged_accepted += 1,
            (Some(_), 400..500) => self.report.forged_refused += 1,
            (Some(forgery), status) => bail!("a {forgery:?} request was answered with {status}"),
        }
        Ok(true)
    }
}

fn asked_to_wait(answer: &Answer) -> Duration {
    let after = answer.headers.get("retry-after");
    let secs = after
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or(0);
    Duration::from_secs(secs).min(PAUSE_MAX)
}

impl Report {
    /// Adds another sender's counts.
    pub fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.marks.extend(other.marks);
        self.repeated += other.repeated;
        self.duplicates += other.duplicates;
        self.forged_refused += other.forged_refused;
        self.forged_accepted += other.forged_accepted;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.refused.extend(other.refused);
    }
}

/// The secrets of all sources, made from a seed.
pub fn secrets(dice: &crate::dice::Dice) -> BTreeMap<String, String> {
    Provider::ALL
        .into_iter()
        .map(|provider| {
            let secret = crate::sign::secret(provider, &dice.hex(64));
            (provider.source().to_owned(), secret)
        })
        .collect()
}
