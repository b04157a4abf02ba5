//! `mainstay listen`: events of a server, as they come, at a developer's own machine.
//!
//! One task reads the stream and hands events to lanes, each of which sends one after the other; all of them say what
//! became of it to whoever prints. Nothing is held that has no bound: a handler that is slow slows the stream.

mod forward;
mod reader;
mod sse;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Args;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    Context,
    api::{Api, SOURCES, text},
    args::{SecretArg, TimeArg},
    failure::{Exit, Failure},
    table::{Tone, clean},
};
use forward::{Forward, Outcome};
pub(super) use forward::{cause, set as header_set};
use reader::{Event, Reader};

/// What has happened and is not printed yet.
const NOTES: usize = 64;
/// Events that wait in one lane.
const LANE: usize = 4;

#[derive(Debug, Args)]
pub(crate) struct ListenArgs {
    /// Where to send them, such as http://localhost:3000/webhooks (default: nowhere, they are only listed)
    #[arg(long, short = 'f', value_name = "URL")]
    forward: Option<String>,
    /// Only of this source, by name or id; may be given several times
    #[arg(long = "source", value_name = "SOURCE")]
    sources: Vec<String>,
    /// Only of this type; a trailing * matches what begins so; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    kinds: Vec<String>,
    /// Only of this tenant, by id or slug
    #[arg(long)]
    tenant: Option<String>,
    /// First what was received since: a time, or how long ago
    #[arg(long, value_name = "TIME", conflicts_with_all = ["last", "events"])]
    since: Option<TimeArg>,
    /// First the last N of them, at most 1000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000), conflicts_with = "events")]
    last: Option<u32>,
    /// This event and no others; may be given several times
    #[arg(long = "event", value_name = "ID")]
    events: Vec<String>,
    /// End when the past has been sent, instead of waiting for what is new
    #[arg(long)]
    once: bool,
    /// Send what the provider sent, byte for byte, with its own signature
    #[arg(long)]
    original: bool,
    /// The secret to sign with: itself, @FILE, or - for standard input (default: a new one, which is shown)
    #[arg(
        long,
        env = "MAINSTAY_LISTEN_SECRET",
        hide_env_values = true,
        conflicts_with = "original"
    )]
    secret: Option<SecretArg>,
    /// Another header, as 'Name: value'; may be given several times
    #[arg(long = "header", short = 'H', value_name = "HEADER")]
    headers: Vec<String>,
    /// Send again what was not answered with 2xx, up to N times, with a growing pause [without a number: 5]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "5",
        value_parser = clap::value_parser!(u32).range(0..=50))]
    retry: Option<u32>,
    /// How many are sent at the same time; those of one source stay in their order
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    concurrency: u8,
    /// Give up the order of a source's events
    #[arg(long)]
    unordered: bool,
    /// How long an answer may take
    #[arg(long, value_name = "SECS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout_secs: u64,
    /// Send to an address of the public internet too
    #[arg(long)]
    public: bool,
}

/// What is to be printed.
enum Note {
    /// An event was dealt with.
    Event(Box<Event>, Outcome),
    /// The past ends here.
    Now,
    /// The server cannot be reached.
    Lost(String, Duration),
    /// It can again.
    Back,
    /// It was away for so long that it looked back.
    LookedBack(String),
}

/// How many of what.
#[derive(Debug, Default)]
struct Tally {
    good: u64,
    bad: u64,
    listed: u64,
}

pub(super) async fn run(context: &Context, args: ListenArgs) -> Result<(), Failure> {
    let api = context.api()?;
    for source in &args.sources {
        named(&api, source).await?;
    }
    let forward = Forward::of(&args).await?;
    announce(context, &api, &args, forward.as_ref())?;
    let stop = Arc::new(AtomicBool::new(false));
    let (notes, mut heard) = mpsc::channel(NOTES);
    let lanes = lanes(&args, forward.map(Arc::new), &notes, &stop);
    let reader = Reader::new(api, &args, lanes, notes);
    let reading = tokio::spawn(reader.run());
    let mut tally = Tally::default();
    let mut interrupted = false;
    loop {
        tokio::select! {
            note = heard.recv() => match note {
                Some(note) => told(context, &args, note, &mut tally)?,
                None => break,
            },
            pressed = tokio::signal::ctrl_c(), if !interrupted => {
                pressed.map_err(Failure::output)?;
                interrupted = true;
                stop.store(true, Ordering::Relaxed);
                reading.abort();
            }
        }
    }
    summary(context, &args, &tally)?;
    match ended(reading).await {
        Some(failed) => Err(failed),
        None if !interrupted && tally.bad > 0 => Err(Failure::said(Exit::NotClean)),
        None if !args.events.is_empty() && tally.good + tally.bad + tally.listed == 0 => {
            Err(Failure::new(Exit::NotFound, "there is no such event"))
        }
        None => Ok(()),
    }
}

/// Who waits for events of a source that is not there would wait for ever.
async fn named(api: &Api, source: &str) -> Result<(), Failure> {
    if source.starts_with(SOURCES.prefix) {
        return Ok(());
    }
    api.find_id(SOURCES, source).await.map(drop)
}

async fn ended(reading: JoinHandle<Result<(), Failure>>) -> Option<Failure> {
    match reading.await {
        Ok(read) => read.err(),
        Err(stopped) if stopped.is_cancelled() => None,
        Err(_) => Some(Failure::new(Exit::Failed, "the stream could not be read")),
    }
}

/// Tasks that send, each one event after the other; without anywhere to send to, one that only says that they came.
fn lanes(
    args: &ListenArgs,
    forward: Option<Arc<Forward>>,
    notes: &mpsc::Sender<Note>,
    stop: &Arc<AtomicBool>,
) -> Vec<mpsc::Sender<Box<Event>>> {
    let count = forward.as_ref().map_or(1, |_| args.concurrency);
    let lane = |_| {
        let (sender, mut events) = mpsc::channel::<Box<Event>>(LANE);
        let (forward, notes, stop) = (forward.clone(), notes.clone(), Arc::clone(stop));
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let outcome = match &forward {
                    Some(forward) => forward.send(&event, &stop).await,
                    None => Outcome::Listed,
                };
                if notes.send(Note::Event(event, outcome)).await.is_err() {
                    break;
                }
            }
        });
        sender
    };
    (0..count).map(lane).collect()
}

fn announce(
    context: &Context,
    api: &Api,
    args: &ListenArgs,
    forward: Option<&Forward>,
) -> Result<(), Failure> {
    let secret = forward.and_then(Forward::made_secret);
    if context.out.is_json() {
        let begun = json!({ "listening": {
            "server": api.base().as_str(), "forward": args.forward, "original": args.original, "secret": secret,
        } });
        return line(context, &begun.to_string());
    }
    let to = match &args.forward {
        Some(url) => format!("{} → {}", api.base(), clean(url)),
        None => api.base().to_string(),
    };
    line(context, &to)?;
    if let Some(secret) = secret {
        line(context, &format!("signing secret  {secret}"))?;
        line(
            context,
            "                (give your own with MAINSTAY_LISTEN_SECRET to keep it)",
        )?;
    }
    Ok(())
}

/// A line that is seen at once.
fn line(context: &Context, text: &str) -> Result<(), Failure> {
    context.out.line(text)?;
    context.out.flush()
}

fn told(
    context: &Context,
    args: &ListenArgs,
    note: Note,
    tally: &mut Tally,
) -> Result<(), Failure> {
    match note {
        Note::Event(event, outcome) => {
            match &outcome {
                Outcome::Answered { status, .. } if (200..300).contains(status) => tally.good += 1,
                Outcome::Answered { .. } | Outcome::Failed { .. } => tally.bad += 1,
                Outcome::Listed | Outcome::Within => tally.listed += 1,
            }
            match context.out.is_json() {
                true => line(context, &outcome.json(&event.about).to_string()),
                false => shown(context, &event.about, &outcome),
            }
        }
        Note::Now if !args.once => {
            context.out.remark("-- from here on: what is new");
            Ok(())
        }
        Note::Now => Ok(()),
        Note::Lost(why, wait) => {
            let secs = wait.as_secs();
            context.out.remark(&format!(
                "-- the server is lost ({}); trying again in {secs} s",
                clean(&why)
            ));
            Ok(())
        }
        Note::Back => {
            context
                .out
                .remark("-- the server is back; nothing was missed");
            Ok(())
        }
        Note::LookedBack(since) => {
            context.out.remark(&format!(
                "-- away for too long to go on from there: looking at everything since {} again, sending nothing twice",
                clean(&since)
            ));
            Ok(())
        }
    }
}

fn shown(context: &Context, about: &Value, outcome: &Outcome) -> Result<(), Failure> {
    let at = super::args::now().strftime("%H:%M:%S").to_string();
    let (kind, id, source) = (
        clean(&text(about, "/type")),
        text(about, "/id"),
        clean(&text(about, "/source_name")),
    );
    let (tone, said) = outcome.said();
    let said = context.out.painted(tone, &said).into_owned();
    let at = context.out.painted(Tone::Dim, &at).into_owned();
    line(context, &format!("{at}  {said}  {kind}  {id}  {source}"))?;
    if let Some(detail) = outcome.detail() {
        let detail = context.out.painted(Tone::Bad, &clean(&detail)).into_owned();
        line(context, &format!("          {detail}"))?;
    }
    Ok(())
}

fn summary(context: &Context, args: &ListenArgs, tally: &Tally) -> Result<(), Failure> {
    let Tally { good, bad, listed } = tally;
    if context.out.is_json() {
        let sum = json!({ "ended": { "answered_2xx": good, "failed": bad, "not_sent": listed } });
        return line(context, &sum.to_string());
    }
    match args.forward {
        Some(_) => line(
            context,
            &format!("{} sent: {good} answered with 2xx, {bad} not", good + bad),
        ),
        None => line(context, &format!("{listed} events")),
    }
}
