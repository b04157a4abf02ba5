//! The stream of events, read over broken connections: nothing is missed and nothing comes twice.

use std::{
    collections::{HashSet, VecDeque, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::Response;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    super::{
        api::{Api, text},
        failure::{Exit, Failure},
    },
    ListenArgs, Note,
    forward::Outcome,
    sse::{Message, Messages},
};

/// The server says something every 15 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// From one try to reach the server to the next: at first, and at the most.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A stream that ends sooner has not ended by itself.
const LIFE_MIN: Duration = Duration::from_secs(5);
/// Events and requests that are remembered, so that none is sent twice.
const REMEMBERED: usize = 20_000;

/// An event, as the server told it.
#[derive(Debug)]
pub(super) struct Event {
    /// Everything but the body.
    pub(super) about: Value,
    /// The body; none where there is none, or it was not asked for.
    pub(super) body: Option<Vec<u8>>,
}

impl Event {
    fn of(data: &str) -> Option<Self> {
        let mut about: Value = serde_json::from_str(data).ok()?;
        let body = match about.as_object_mut()?.remove("body") {
            Some(Value::String(text)) => Some(BASE64_STANDARD.decode(text).ok()?),
            _ => None,
        };
        Some(Self { about, body })
    }
}

/// The last so many of something.
#[derive(Debug, Default)]
struct Remembered {
    order: VecDeque<String>,
    known: HashSet<String>,
}

impl Remembered {
    /// Whether it is new.
    fn add(&mut self, name: String) -> bool {
        if !self.known.insert(name.clone()) {
            return false;
        }
        self.order.push_back(name);
        if self.order.len() > REMEMBERED
            && let Some(old) = self.order.pop_front()
        {
            self.known.remove(&old);
        }
        true
    }
}

/// How a stream ended.
enum End {
    /// There is no more to come.
    Whole,
    /// As streams end after a while.
    Planned,
    /// It broke off.
    Broken(String),
}

/// Reads the stream.
pub(super) struct Reader {
    api: Api,
    /// What is asked for every time.
    asked: Vec<(&'static str, Option<String>)>,
    /// Where to begin, as long as there is no cursor.
    begin: (&'static str, Option<String>),
    cursor: Option<String>,
    /// When the last event was received.
    last_at: Option<String>,
    events: Remembered,
    requests: Remembered,
    lanes: Vec<mpsc::Sender<Box<Event>>>,
    notes: mpsc::Sender<Note>,
    next_lane: usize,
    unordered: bool,
    once: bool,
    original: bool,
    named: bool,
}

impl Reader {
    pub(super) fn new(
        api: Api,
        args: &ListenArgs,
        lanes: Vec<mpsc::Sender<Box<Event>>>,
        notes: mpsc::Sender<Note>,
    ) -> Self {
        let joined = |list: &[String]| (!list.is_empty()).then(|| list.join(","));
        let body = match (&args.forward, args.original) {
            (None, _) => "none",
            (Some(_), true) => "original",
            (Some(_), false) => "payload",
        };
        let since = args.since.as_ref().map(|since| since.as_str().to_owned());
        Self {
            api,
            asked: vec![
                ("source", joined(&args.sources)),
                ("type", joined(&args.kinds)),
                ("tenant", args.tenant.clone()),
                ("body", Some(body.to_owned())),
            ],
            begin: match (since, args.last) {
                (Some(since), _) => ("from", Some(since)),
                (None, Some(last)) => ("last", Some(last.to_string())),
                (None, None) => ("ids", joined(&args.events)),
            },
            cursor: None,
            last_at: None,
            events: Remembered::default(),
            requests: Remembered::default(),
            lanes,
            notes,
            next_lane: 0,
            unordered: args.unordered,
            once: args.once,
            original: args.original && args.forward.is_some(),
            named: !args.events.is_empty(),
        }
    }

    /// Until there is no more to come, or the server says that it never will.
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        let (mut pause, mut lost, mut was_there) = (PAUSE, false, false);
        loop {
            let why = match self.connect().await {
                Ok(response) => {
                    was_there = true;
                    if std::mem::take(&mut lost) {
                        self.note(Note::Back).await?;
                    }
                    let begun = Instant::now();
                    let end = self.read(response).await?;
                    if begun.elapsed() >= LIFE_MIN {
                        pause = PAUSE;
                    }
                    match end {
                        End::Whole => return Ok(()),
                        End::Planned if begun.elapsed() >= LIFE_MIN => continue,
                        End::Planned => "the stream ended at once".to_owned(),
                        End::Broken(why) => why,
                    }
                }
                Err(failure) if self.looks_back(&failure) => {
                    let since = self.last_at.clone().unwrap_or_default();
                    self.note(Note::LookedBack(since)).await?;
                    continue;
                }
                // Somebody who has just begun wants to know.
                Err(failure) if !was_there || failure.is_final() => return Err(failure),
                Err(failure) => failure.told(),
            };
            lost = true;
            self.note(Note::Lost(why, pause)).await?;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Where the cursor is not known any more: from the time of the last event on.
    fn looks_back(&mut self, failure: &Failure) -> bool {
        let gone = failure.is_conflict() && self.cursor.take().is_some();
        if gone && let Some(at) = &self.last_at {
            self.begin = ("from", Some(at.clone()));
        }
        gone
    }

    async fn note(&self, note: Note) -> Result<(), Failure> {
        let told = self.notes.send(note).await;
        told.map_err(|_| Failure::said(Exit::Failed))
    }

    async fn connect(&self) -> Result<Response, Failure> {
        let mut query = self.asked.clone();
        match &self.cursor {
            Some(cursor) => query.push(("cursor", Some(cursor.clone()))),
            None => query.push(self.begin.clone()),
        }
        self.api.follow("/v1/events/follow", &query).await
    }

    async fn read(&mut self, mut response: Response) -> Result<End, Failure> {
        let mut messages = Messages::default();
        loop {
            let chunk = match tokio::time::timeout(SILENCE_MAX, response.chunk()).await {
                Err(_) => return Ok(End::Broken("it says nothing".into())),
                Ok(Err(error)) => return Ok(End::Broken(Failure::broken(&error).told())),
                // These were all.
                Ok(Ok(None)) if self.named => return Ok(End::Whole),
                Ok(Ok(None)) => return Ok(End::Planned),
                Ok(Ok(Some(chunk))) => chunk,
            };
            messages.push(&chunk)?;
            while let Some(message) = messages.next() {
                if self.message(message).await? {
                    return Ok(End::Whole);
                }
            }
        }
    }

    /// Whether there is no more to come.
    async fn message(&mut self, message: Message) -> Result<bool, Failure> {
        let ended = match message.name.as_str() {
            "event" => {
                self.event(&message.data).await?;
                false
            }
            "now" => {
                self.note(Note::Now).await?;
                self.once
            }
            // Nobody asked for the past: there is none.
            "at" => self.once && self.begin.1.is_none(),
            // A newer server may have more to say.
            _ => false,
        };
        if message.id.is_some() {
            self.cursor = message.id;
        }
        Ok(ended)
    }

    async fn event(&mut self, data: &str) -> Result<(), Failure> {
        let Some(event) = Event::of(data) else {
            return Err(Failure::new(
                Exit::Failed,
                "the server told of an event in a form that is not known",
            )
            .hint("is this program as new as the server?"));
        };
        self.last_at = Some(text(&event.about, "/received_at"));
        if !self.events.add(text(&event.about, "/id")) {
            return Ok(());
        }
        let event = Box::new(event);
        // A request with several events is sent once.
        if self.original && !self.requests.add(text(&event.about, "/receipt_id")) {
            return self.note(Note::Event(event, Outcome::Within)).await;
        }
        let lane = self.lane(&event);
        let sent = self.lanes[lane].send(event).await;
        sent.map_err(|_| Failure::said(Exit::Failed))
    }

    fn lane(&mut self, event: &Event) -> usize {
        if self.unordered {
            self.next_lane = (self.next_lane + 1) % self.lanes.len();
            return self.next_lane;
        }
        let mut hasher = DefaultHasher::new();
        text(&event.about, "/source_id").hash(&mut hasher);
        (hasher.finish() % self.lanes.len() as u64) as usize
    }
}
