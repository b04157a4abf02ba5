//! What is live, told to whoever watches: one tick a second, and what changed. Made once, however many watch.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, StreamExt, stream};
use mainstay::watch::Live;
use mainstay_domain::watch::Series;
use serde::Serialize;
use tokio::sync::{broadcast, watch};
use tokio_stream::wrappers::{BroadcastStream, WatchStream};
use utoipa::ToSchema;

use crate::{
    access::{Caller, Shown},
    api::watch::{Backlog, oldest_waiting_secs},
    http::{Code, Problem},
    limits,
    state::App,
    time::Time,
};

/// Sent when nothing else is: proxies close what is silent.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One message, ready to be sent.
#[derive(Debug, Clone)]
struct Message {
    name: &'static str,
    data: Arc<str>,
}

/// Tells all streams.
pub(crate) struct Hub {
    messages: broadcast::Sender<Message>,
    open: Arc<AtomicUsize>,
    following: Arc<AtomicUsize>,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            messages: broadcast::channel(limits::STREAM_BACKLOG).0,
            open: Arc::default(),
            following: Arc::default(),
        }
    }
}

impl Hub {
    /// How many follow events.
    pub(crate) fn following_count(&self) -> usize {
        self.following.load(Ordering::Relaxed)
    }

    /// Streams that are open.
    pub(crate) fn open_count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Streams of events that somebody follows.
    pub(crate) const fn following(&self) -> &Arc<AtomicUsize> {
        &self.following
    }

    fn send(&self, name: &'static str, data: &impl Serialize) {
        match serde_json::to_string(data) {
            // Nobody may be watching.
            Ok(data) => drop(self.messages.send(Message {
                name,
                data: data.into(),
            })),
            Err(error) => tracing::error!(%error, "a live message cannot be written"),
        }
    }
}

/// What a message is about.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) enum StreamEvent {
    /// A second has passed.
    Tick,
    /// Something changed.
    Change,
}

/// One message of the stream.
#[derive(Serialize, ToSchema)]
pub(crate) struct StreamMessage {
    event: StreamEvent,
    /// JSON: a `Tick` or a `Change`.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// What happened in the last second.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Rates {
    received: i64,
    done: i64,
    failed: i64,
}

/// How things stand, every second.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tick {
    at: Time,
    rates: Rates,
    backlog: Backlog,
    dead_letters: i64,
    oldest_waiting_secs: Option<i64>,
}

/// Things that changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Change)]
pub(crate) struct ChangeView<'a> {
    /// What they are.
    #[schema(value_type = ChangeKind)]
    kind: &'a str,
    /// At most 20 of them.
    ids: &'a [String],
    /// Whether there are more, or it is not known which.
    more: bool,
}

/// What can change.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "the engine names them; here they are described")]
pub(crate) enum ChangeKind {
    Event,
    Job,
    DeadLetter,
    Endpoint,
    Source,
    Binding,
    Schedule,
    Saga,
    SagaRun,
    Queue,
}

fn rates(live: &Live) -> Rates {
    live.counts
        .iter()
        .fold(Rates::default(), |mut rates, (series, count)| {
            match series {
                Series::Received | Series::Duplicates => rates.received += count,
                Series::Done => rates.done += count,
                Series::Failed | Series::Dead => rates.failed += count,
                Series::Refused
                | Series::RefusedNotKept
                | Series::DurationMs
                | Series::FilterFailed
                | Series::SchemaChecked
                | Series::SchemaViolated
                | Series::SchemaIncomplete
                | Series::SchemaUnchecked
                | Series::Dated
                | Series::Fresh
                | Series::RateExceeded
                | Series::TurnedAway
                | Series::Conflicts => {}
            }
            rates
        })
}

/// Turns what the engine tells into messages, until the server stops.
pub(crate) async fn tell(app: Arc<App>) {
    let mut live = app.mainstay.samples.subscribe();
    let mut stop = app.stop.clone();
    loop {
        let heard = tokio::select! {
            heard = live.recv() => heard,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match heard {
            Ok(heard) if app.hub.open_count() > 0 => messages(&app, &heard).await,
            // Behind: the next tick has the state again.
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

async fn messages(app: &App, live: &Live) {
    for change in &live.changes {
        app.hub.send(
            "change",
            &ChangeView {
                kind: change.kind,
                ids: &change.ids,
                more: change.more,
            },
        );
    }
    if let Some(tick) = tick(app, rates(live)).await {
        app.hub.send("tick", &tick);
    }
}

async fn tick(app: &App, rates: Rates) -> Option<Tick> {
    let queues = app.stats.queues(app).await.ok()?;
    let now = app.clock.now();
    Some(Tick {
        at: now.into(),
        rates,
        backlog: Backlog::of(&queues),
        dead_letters: queues.iter().map(|queue| queue.dead).sum(),
        oldest_waiting_secs: oldest_waiting_secs(&queues, now),
    })
}

/// Counts an open stream for as long as it is held.
pub(crate) struct Watching(Arc<AtomicUsize>);

impl Watching {
    /// One more of these, if there is room.
    pub(crate) fn of(open: &Arc<AtomicUsize>, most: usize) -> Result<Self, Problem> {
        let watching = Self(Arc::clone(open));
        if open.fetch_add(1, Ordering::Relaxed) >= most {
            return Err(Problem::new(Code::Overloaded, "too many streams are open").retry_after(10));
        }
        Ok(watching)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Opens a stream. It ends soon after what the caller showed has ended.
pub(crate) fn open(app: &Arc<App>, caller: Caller, shown: Shown) -> Result<Response, Problem> {
    let watching = Watching::of(&app.hub.open, limits::STREAMS_MAX)?;
    let messages = events(app.hub.messages.subscribe(), app.stop.clone());
    // Something at once, so that the other side knows that it is through.
    let first = Arc::clone(app);
    let hello =
        stream::once(async move { tick(&first, Rates::default()).await }).filter_map(
            |tick| async move {
                tick.and_then(|tick| Event::default().event("tick").json_data(tick).ok())
            },
        );
    let held = Held {
        messages: Box::pin(hello.chain(messages)),
        app: Arc::clone(app),
        caller,
        shown,
        looked: Instant::now(),
        _watching: watching,
    };
    let all = stream::unfold(held, Held::next).map(Ok::<_, Infallible>);
    Ok(Sse::new(all)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

/// A stream that somebody holds open.
struct Held<S> {
    messages: Pin<Box<S>>,
    app: Arc<App>,
    caller: Caller,
    shown: Shown,
    /// When it was last looked whether they may.
    looked: Instant,
    _watching: Watching,
}

impl<S: Stream<Item = Event>> Held<S> {
    async fn next(mut self) -> Option<(Event, Self)> {
        let event = self.messages.next().await?;
        if self.looked.elapsed() >= limits::STREAM_LOOK {
            if !self.shown.holds(&self.app, &self.caller).await {
                return None;
            }
            self.looked = Instant::now();
        }
        Some((event, self))
    }
}

/// What is told from now on, until the server is to stop: an open stream never holds it up.
fn events(
    messages: broadcast::Receiver<Message>,
    stop: watch::Receiver<bool>,
) -> impl Stream<Item = Event> {
    let stopped = WatchStream::new(stop)
        .filter(|stop| std::future::ready(*stop))
        .into_future();
    BroadcastStream::new(messages)
        .filter_map(|heard| async move {
            // Who fell behind has missed something: a change of everything makes it load again.
            let message = heard.unwrap_or_else(|_| Message {
                name: "change",
                data: r#"{"kind":"event","ids":[],"more":true}"#.into(),
            });
            Some(Event::default().event(message.name).data(&*message.data))
        })
        .take_until(stopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_ends_when_the_server_stops() {
        let (sender, receiver) = broadcast::channel(4);
        let (stop, stopped) = watch::channel(false);
        let mut events = std::pin::pin!(events(receiver, stopped));
        let message = Message {
            name: "tick",
            data: "{}".into(),
        };
        sender.send(message).expect("somebody listens");
        assert!(events.next().await.is_some());
        stop.send(true).expect("somebody listens");
        assert!(events.next().await.is_none());
    }

    #[test]
    fn a_rate_counts_what_a_person_would() {
        let live = Live {
            counts: vec![
                (Series::Received, 2),
                (Series::Duplicates, 1),
                (Series::Done, 4),
                (Series::Dead, 1),
            ],
            changes: Vec::new(),
        };
        assert_eq!(
            rates(&live),
            Rates {
                received: 3,
                done: 4,
                failed: 1
            }
        );
    }
}
