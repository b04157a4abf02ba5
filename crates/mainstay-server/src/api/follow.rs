//! Following events: what comes in, told as it comes, so that a developer's own machine can have it.
//!
//! Payloads are shown, so each event is in the audit log before it is told, as for every other look, and what was asked for
//! when the stream begins. A stream ends after a minute; whoever comes back says where it was, and shows its key again. A
//! key that is withdrawn meanwhile ends it within seconds.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Extension,
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event as Message, KeepAlive, Sse},
    },
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::{StreamExt, future::try_join_all, stream};
use mainstay::intake::{
    decompress,
    follow::{Cursor, FollowFilter, Follower, Found, Start, Step},
};
use mainstay_domain::{
    EventId, ReceiptId, Scope, SourceId, StoreExt, StoreResult, TenantId, Tx, intake::Event,
};
use serde::{Deserialize, Serialize};
use tokio_stream::wrappers::WatchStream;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{events::headers, resolve};
use crate::{
    access::{
        Caller, Shown,
        reads::{InTenant, Look},
    },
    http::{Code, Problem, extract::Params, text::Text},
    limits,
    state::App,
    stream::Watching,
    time::Time,
};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(event_follow))
}

/// Sent when nothing else is: proxies close what is silent.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What is told of a payload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FollowBody {
    /// The event's own: what jobs are made of.
    #[default]
    Payload,
    /// What the provider sent, byte for byte, of which its signature is: of a request with several events the whole.
    Original,
    /// Nothing.
    None,
}

/// What to follow.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FollowQuery {
    /// Names or ids of sources, with commas between them.
    #[param(inline)]
    source: Option<Text<1000>>,
    /// Types as a binding has them: several with commas between them, each exact or with a trailing `*`.
    #[serde(rename = "type")]
    #[param(inline)]
    kind: Option<Text<1000>>,
    /// A tenant's id or slug.
    #[param(inline)]
    tenant: Option<Text<100>>,
    /// First what was received since.
    from: Option<Time>,
    /// First the last so many.
    #[param(minimum = 1, maximum = 1000)]
    last: Option<i64>,
    /// These events and nothing else: their ids, at most 100, with commas between them.
    #[param(inline)]
    ids: Option<Text<3100>>,
    /// Go on after this: the `id` of the last message.
    #[param(inline)]
    cursor: Option<Text<100>>,
    /// What to tell of payloads.
    #[param(inline)]
    body: Option<FollowBody>,
}

/// What a message is about.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) enum FollowEvent {
    /// An event.
    Event,
    /// The past ends here; what follows is new.
    Now,
    /// Nothing for you came up to here. The first message is one.
    At,
}

/// One message of the stream. Its `id` is the cursor to go on with.
#[derive(Serialize, ToSchema)]
pub(crate) struct FollowMessage {
    event: FollowEvent,
    id: String,
    /// JSON: of an event a `FollowedEvent`.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// An event, as it is told to who follows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FollowedEvent {
    #[schema(value_type = String)]
    id: EventId,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    #[schema(value_type = String)]
    source_id: SourceId,
    source_name: String,
    /// The provider's own id.
    provider_id: String,
    /// The provider's type, e.g. `invoice.paid`.
    #[serde(rename = "type")]
    kind: String,
    received_at: Time,
    occurred_at: Option<Time>,
    /// The request that brought it first.
    #[schema(value_type = String)]
    receipt_id: ReceiptId,
    /// The headers of that request, without credentials. Null where no body was asked for, and where the request is not
    /// the caller's to see.
    headers: Option<std::collections::BTreeMap<String, String>>,
    /// The body in base64. Null where none was asked for, and where the request is not the caller's to see.
    body: Option<String>,
}

/// Follow events, as server-sent events
///
/// `event: event` with a `FollowedEvent` as its data for each, first those of before that were asked for, oldest first, then
/// what is new, each once; `event: now` between the two; `event: at` when there was nothing for a while. The `id` of each
/// message is the `cursor` that goes on after it, for a quarter of an hour after the stream broke off. The stream ends after
/// a minute: go on with the cursor. 409 when what comes after it is not known any more: go on with `from`.
#[utoipa::path(get, path = "/v1/events/follow", tag = "intake", params(FollowQuery), responses(
    (status = 200, body = FollowMessage, content_type = "text/event-stream"),
    (status = 409, description = "What comes after the cursor is not known any more"),
))]
async fn event_follow(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    Params(query): Params<FollowQuery>,
) -> Result<Response, Problem> {
    let start = start(&query)?;
    let ids = ids(query.ids.as_deref())?;
    let tenant = resolve::tenant_filter(&app, &caller, query.tenant.as_deref()).await?;
    let filter = FollowFilter {
        tenant,
        sources: sources(&app, &caller, query.source.as_deref()).await?,
        types: query.kind.map(Into::into).into_iter().collect(),
    };
    let watching = Watching::of(app.hub.following(), limits::FOLLOWERS_MAX)?;
    let (store, clock) = (Arc::clone(&app.store), Arc::clone(&app.clock));
    let follower = Follower::begin(store, clock, caller.scope(), filter, start)
        .await?
        .ok_or_else(|| {
            Problem::new(
                Code::StateConflict,
                "what comes after this cursor is not known any more; go on with 'from'",
            )
        })?;
    let telling = Telling {
        scope: caller.scope(),
        caller,
        shown: Shown::of(&headers),
        looked: Instant::now(),
        tenant,
        body: query.body.unwrap_or_default(),
        // Something at once, so that the other side knows that it is through.
        pending: ids.is_none().then_some("at"),
        only: ids.is_some(),
        queue: VecDeque::new(),
        entered: 0,
        named: ids.unwrap_or_default().into(),
        told: follower.cursor(),
        follower,
        spoke: Instant::now(),
        until: Instant::now() + limits::FOLLOW_LIFE,
        app: Arc::clone(&app),
        _watching: watching,
    };
    let stopped = WatchStream::new(app.stop.clone())
        .filter(|stop| std::future::ready(*stop))
        .into_future();
    let messages = stream::unfold(telling, |telling| Box::pin(telling.next()))
        .take_until(stopped)
        .map(Ok::<_, Infallible>);
    let answer = Sse::new(messages).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(match tenant {
        Some(tenant) => (Extension(InTenant(tenant)), answer).into_response(),
        None => answer.into_response(),
    })
}

fn start(query: &FollowQuery) -> Result<Start, Problem> {
    let given = [
        query.from.is_some(),
        query.last.is_some(),
        query.ids.is_some(),
        query.cursor.is_some(),
    ];
    if given.into_iter().filter(|given| *given).count() > 1 {
        return Err(Problem::field(
            "?from",
            "is one of 'from', 'last', 'ids' and 'cursor', and only one can be given",
        ));
    }
    if let Some(cursor) = query.cursor.as_deref() {
        let cursor: Result<Cursor, _> = cursor.parse();
        return cursor
            .map(Start::After)
            .map_err(|error| Problem::field("?cursor", format!("is {error}")));
    }
    match (query.from, query.last) {
        (Some(from), _) => Ok(Start::From(from.0)),
        (_, Some(last @ 1..=1000)) => Ok(Start::Last(last as usize)),
        (_, Some(_)) => Err(Problem::field("?last", "must be from 1 to 1000")),
        (None, None) => Ok(Start::Now),
    }
}

fn ids(asked: Option<&str>) -> Result<Option<Vec<EventId>>, Problem> {
    let Some(asked) = asked else { return Ok(None) };
    let ids: Result<Vec<EventId>, _> = asked.split(',').map(|one| one.trim().parse()).collect();
    match ids {
        Ok(ids) if ids.len() <= limits::FOLLOW_IDS_MAX => Ok(Some(ids)),
        Ok(_) => Err(Problem::field("?ids", "are more than 100")),
        Err(error) => Err(Problem::field("?ids", format!("are {error}"))),
    }
}

/// Of a list, where nothing can be found under a name, there is nothing; but who waits for events would wait for ever.
async fn sources(
    app: &App,
    caller: &Caller,
    asked: Option<&str>,
) -> Result<Vec<SourceId>, Problem> {
    let Some(asked) = asked else {
        return Ok(Vec::new());
    };
    let names: Vec<String> = asked.split(',').map(|one| one.trim().to_owned()).collect();
    let known = app
        .store
        .read(caller.scope(), |tx| {
            Box::pin(async move { tx.source_list().await })
        })
        .await?;
    let found = names.iter().map(|name| {
        let id = name.parse::<SourceId>().ok();
        // A tenant whose events come by a source of the platform knows its id and not the source.
        let source = known
            .iter()
            .find(|source| source.name == *name || Some(source.id) == id);
        let found = source.map(|source| source.id).or(id);
        found.ok_or_else(|| Problem::field("?source", format!("names no source: {name}")))
    });
    found.collect()
}

/// Somebody who is told.
struct Telling {
    app: Arc<App>,
    caller: Caller,
    shown: Shown,
    /// When it was last looked whether the caller may still be told.
    looked: Instant,
    scope: Scope,
    tenant: Option<TenantId>,
    body: FollowBody,
    follower: Follower,
    /// Events that were found and not told yet.
    queue: VecDeque<Found>,
    /// How many of them, from the front, the audit log has.
    entered: usize,
    /// Events that were asked for by their ids.
    named: VecDeque<EventId>,
    /// Whether there is nothing but those.
    only: bool,
    /// A message of no event that is to be told once the queue is empty.
    pending: Option<&'static str>,
    /// The last cursor that was told.
    told: Cursor,
    spoke: Instant,
    until: Instant,
    _watching: Watching,
}

impl Telling {
    /// The next message. None: it ends here.
    async fn next(mut self) -> Option<(Message, Self)> {
        loop {
            if self.looked.elapsed() >= limits::STREAM_LOOK {
                if !self.shown.holds(&self.app, &self.caller).await {
                    return None;
                }
                self.looked = Instant::now();
            }
            match self.message().await {
                Ok(Some(message)) => {
                    self.spoke = Instant::now();
                    return Some((message, self));
                }
                Ok(None) if self.over() => return None,
                Ok(None) => match self.step().await {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(error) => {
                        tracing::warn!(%error, "a stream of events ends: they could not be read");
                        return None;
                    }
                },
                Err(problem) => {
                    tracing::warn!(
                        code = problem.code().as_str(),
                        "a stream of events ends: one could not be told"
                    );
                    return None;
                }
            }
        }
    }

    fn over(&self) -> bool {
        self.only || Instant::now() >= self.until
    }

    /// What can be told without looking further.
    async fn message(&mut self) -> Result<Option<Message>, Problem> {
        while let Some(id) = self.named.pop_front() {
            if let Some(event) = self.read(id).await? {
                self.enter(id, event.tenant_id).await?;
                return Ok(Some(written(None, "event", &event)?));
            }
        }
        while !self.queue.is_empty() {
            if self.entered == 0 {
                self.enter_some().await?;
            }
            let Some(found) = self.queue.pop_front() else {
                break;
            };
            self.entered -= 1;
            if let Some(event) = self.read(found.event).await? {
                self.told = found.cursor;
                return Ok(Some(written(Some(found.cursor), "event", &event)?));
            }
        }
        let Some(name) = self.pending.take() else {
            return Ok(None);
        };
        self.told = self.follower.cursor();
        let nothing = serde_json::Map::new();
        Ok(Some(written(Some(self.told), name, &nothing)?))
    }

    /// Looks further. False: what comes next is not known any more.
    async fn step(&mut self) -> StoreResult<bool> {
        let Step::On { found, now, more } = self.follower.step().await? else {
            return Ok(false);
        };
        self.queue.extend(found);
        if now {
            self.pending = Some("now");
        } else if self.queue.is_empty() {
            if self.spoke.elapsed() >= KEEP_ALIVE && self.told != self.follower.cursor() {
                self.pending = Some("at");
            } else if !more {
                tokio::time::sleep(limits::FOLLOW_POLL).await;
            }
        }
        Ok(true)
    }

    /// Has it entered that the next few are looked at: together, which is one commit.
    async fn enter_some(&mut self) -> Result<(), Problem> {
        let some = self.queue.len().min(limits::FOLLOW_ENTERED_AT_ONCE);
        let entered = self.queue.iter().take(some);
        try_join_all(entered.map(|found| self.enter(found.event, found.tenant))).await?;
        self.entered = some;
        Ok(())
    }

    async fn enter(&self, id: EventId, tenant: TenantId) -> Result<(), Problem> {
        if self.body == FollowBody::None {
            return Ok(());
        }
        let look = Look::at(&self.caller, "event.read", id.to_string());
        self.app.reads.note(&self.app, look, Some(tenant)).await
    }

    /// One event; none where it is gone.
    async fn read(&self, id: EventId) -> Result<Option<FollowedEvent>, Problem> {
        let body = self.body;
        let tenant = self.tenant;
        let read = self.app.store.read(self.scope, move |tx| {
            Box::pin(async move { followed(tx, id, tenant, body).await })
        });
        Ok(read.await?)
    }
}

fn written(
    cursor: Option<Cursor>,
    name: &'static str,
    data: &impl Serialize,
) -> Result<Message, Problem> {
    let message = Message::default().event(name);
    let message = match cursor {
        Some(cursor) => message.id(cursor.to_string()),
        None => message,
    };
    message
        .json_data(data)
        .map_err(|error| Problem::new(Code::Internal, error.to_string()))
}

async fn followed(
    tx: &mut dyn Tx,
    id: EventId,
    tenant: Option<TenantId>,
    body: FollowBody,
) -> StoreResult<Option<FollowedEvent>> {
    let event = tx.event_get(id).await?;
    let Some(event) = event.filter(|event| tenant.is_none_or(|tenant| tenant == event.tenant))
    else {
        return Ok(None);
    };
    let shown = match body {
        FollowBody::None => None,
        FollowBody::Payload | FollowBody::Original => shown(tx, &event, body).await?,
    };
    let (headers, body) = shown.unzip();
    Ok(Some(FollowedEvent {
        id: event.id,
        tenant_id: event.tenant,
        source_id: event.source,
        source_name: event.source_name,
        provider_id: event.provider_id,
        kind: event.kind,
        received_at: event.received_at.into(),
        occurred_at: event.occurred_at.map(Into::into),
        receipt_id: event.receipt,
        headers: headers.flatten(),
        body,
    }))
}

type Headers = std::collections::BTreeMap<String, String>;

/// Headers and body. None where there is no payload, and of an original whose request is not the caller's to see.
async fn shown(
    tx: &mut dyn Tx,
    event: &Event,
    body: FollowBody,
) -> StoreResult<Option<(Option<Headers>, String)>> {
    let Some(payload) = tx.event_payload(event.id).await? else {
        return Ok(None);
    };
    let request = tx.event_receipts(event.id, 1).await?.into_iter().next();
    let known = request.as_ref().map(|request| headers(&request.headers));
    let known = known.transpose()?;
    let bytes = match body {
        FollowBody::Original if known.is_none() => return Ok(None),
        // Kept with the request where it is not the event's own.
        FollowBody::Original => tx.receipt_body(event.receipt).await?.unwrap_or(payload),
        FollowBody::Payload | FollowBody::None => payload,
    };
    Ok(Some((known, BASE64_STANDARD.encode(decompress(&bytes)?))))
}
