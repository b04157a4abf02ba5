//! Following events: first those of before, then what is new, each once, over broken connections too.
//!
//! A follower that wants the past reads it by ids, as of one commit of the index of objects; what that commit and those
//! before it had found. Everything else is new after it, in the list that the index keeps while somebody follows
//! ([`mainstay_domain::intake::follow`]). So nothing is missing and nothing comes twice, however late it is committed.

use std::{
    collections::VecDeque,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use mainstay_domain::{
    Clock, EventId, Scope, SourceId, Store, StoreExt, StoreResult, TenantId, Timestamp,
    intake::{
        Event, EventFilter,
        follow::{FollowSpan, Place},
        type_matches,
    },
};
use uuid::Uuid;

/// How long what is new is listed after the last follower was there: the time to come back in.
const KEEP_MS: i64 = 15 * 60 * 1_000;
/// How far back the list goes while somebody follows.
const LIST_MS: i64 = 60 * 60 * 1_000;
/// How often it is written down where the list was.
const MARK_MS: i64 = 60_000;
/// Events that are looked at in one step.
const STEP: i64 = 200;
/// Events of the list that are forgotten in one commit, and commits of a round.
const TRIM_STEP: i64 = 500;
const TRIM_STEPS: usize = 20;
/// How many events are looked through for the last ones.
const LAST_LOOKED_AT: usize = 20_000;
const SCOPE: Scope = Scope::System("follow");

/// Keeps the list from growing. Held by whoever keeps the index.
#[derive(Default)]
pub(super) struct Tender {
    state: Mutex<Tended>,
}

#[derive(Default)]
struct Tended {
    /// Where the list was, by the time.
    marks: VecDeque<(Timestamp, i64)>,
    /// Up to which commit it is being forgotten: a round forgets a bounded part.
    due: Option<i64>,
    /// Whether everything that nobody follows any more is forgotten.
    empty: bool,
}

impl Tender {
    /// Ends the list when nobody has followed for a while, and forgets what is old. Answers whether somebody follows.
    pub(super) async fn tend(
        &self,
        store: &Arc<dyn Store>,
        span: FollowSpan,
        now: Timestamp,
    ) -> StoreResult<bool> {
        let mut followed = span.until.is_some();
        if span.until.is_some_and(|until| until < now) {
            let ended = store
                .transact(SCOPE, move |tx| {
                    Box::pin(async move { tx.follow_end(now).await })
                })
                .await?;
            followed = !ended;
        }
        let due = self.with(|tended| tended.look(span.revision, followed, now));
        let Some(revision) = due else {
            return Ok(followed);
        };
        for _ in 0..TRIM_STEPS {
            let gone = store
                .transact(SCOPE, move |tx| {
                    Box::pin(async move { tx.follow_trim(revision, TRIM_STEP).await })
                })
                .await?;
            if gone < TRIM_STEP {
                self.with(|tended| tended.forgot(followed));
                break;
            }
        }
        Ok(followed)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Tended) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Tended {
    /// Up to which commit the list is to be forgotten now.
    fn look(&mut self, revision: i64, followed: bool, now: Timestamp) -> Option<i64> {
        if !followed {
            self.marks.clear();
            self.due = (!self.empty).then_some(revision);
            return self.due;
        }
        self.empty = false;
        let last = self.marks.back();
        if last.is_none_or(|(at, _)| now.ms_since(*at) >= MARK_MS) {
            self.marks.push_back((now, revision));
        }
        let is_old = |(at, _): &(Timestamp, i64)| now.ms_since(*at) > LIST_MS;
        while let Some((_, revision)) = self.marks.pop_front_if(|mark| is_old(mark)) {
            self.due = Some(revision);
        }
        self.due
    }

    /// All of it is forgotten that was due.
    const fn forgot(&mut self, followed: bool) {
        self.due = None;
        self.empty = !followed;
    }
}

/// How far a follower is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// In the past, as of this commit of the index, up to this event.
    Past {
        /// The commit.
        revision: i64,
        /// The last event.
        event: EventId,
    },
    /// In what is new.
    New(Place),
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, revision, event) = match self {
            Self::Past { revision, event } => ("p", revision, event),
            Self::New(place) => ("n", &place.revision, &place.event),
        };
        write!(f, "{word}.{revision}.{}", event.uuid().simple())
    }
}

/// The text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of a follower")]
pub struct CursorError;

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut parts = text.splitn(3, '.');
        let (Some(word), Some(revision), Some(event)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(CursorError);
        };
        let revision: i64 = revision.parse().map_err(|_| CursorError)?;
        if revision < 0 {
            return Err(CursorError);
        }
        let event = Uuid::try_parse(event).map_err(|_| CursorError)?;
        let event = EventId::from_uuid(event);
        match word {
            "p" => Ok(Self::Past { revision, event }),
            "n" => Ok(Self::New(Place { revision, event })),
            _ => Err(CursorError),
        }
    }
}

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct FollowFilter {
    /// Only this tenant's.
    pub tenant: Option<TenantId>,
    /// Only these sources'; none named: all.
    pub sources: Vec<SourceId>,
    /// Only types that match one of these patterns, as a binding has them; none given: all.
    pub types: Vec<String>,
}

impl FollowFilter {
    fn passes(&self, source: SourceId, kind: &str) -> bool {
        let of_source = self.sources.is_empty() || self.sources.contains(&source);
        let of_type = self.types.is_empty() || self.types.iter().any(|one| type_matches(one, kind));
        of_source && of_type
    }

    /// As much of it as a list knows.
    fn listed(&self) -> EventFilter {
        EventFilter {
            tenant: self.tenant,
            source: match &self.sources[..] {
                [one] => Some(*one),
                _ => None,
            },
            kind: match &self.types[..] {
                [one] if !one.contains(',') => Some(one.clone()),
                _ => None,
            },
            ..EventFilter::default()
        }
    }
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With what comes.
    Now,
    /// With what was received since.
    From(Timestamp),
    /// With the last so many of them.
    Last(usize),
    /// After this place.
    After(Cursor),
}

/// An event that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Whoever has this one goes on after it.
    pub cursor: Cursor,
    /// Whose it is.
    pub tenant: TenantId,
    /// The event.
    pub event: EventId,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It goes on.
    On {
        /// In their order.
        found: Vec<Found>,
        /// Whether the past ends with them.
        now: bool,
        /// Whether there is more at once.
        more: bool,
    },
    /// What comes next is not listed any more: it was away for too long.
    Lost,
}

/// Somebody who follows.
pub struct Follower {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    scope: Scope,
    filter: FollowFilter,
    cursor: Cursor,
    keep_until: Timestamp,
    /// Until the past has ended: what was received before is a part of it, also where it is not indexed yet.
    past_until: Option<Timestamp>,
}

impl Follower {
    /// Begins to follow. None: the place is not known any more.
    pub async fn begin(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        scope: Scope,
        filter: FollowFilter,
        start: Start,
    ) -> StoreResult<Option<Self>> {
        let mut follower = Self {
            store,
            clock,
            scope,
            filter,
            cursor: Cursor::New(Place::after(0)),
            keep_until: Timestamp::EPOCH,
            past_until: None,
        };
        if matches!(start, Start::From(_) | Start::Last(_)) {
            follower.past_until = Some(follower.clock.now());
        }
        let span = follower.keep().await?;
        let revision = span.revision;
        let past = |event| Cursor::Past { revision, event };
        follower.cursor = match start {
            Start::Now => Cursor::New(Place::after(revision)),
            Start::From(at) => past(before_time(at)),
            Start::Last(count) => match follower.last(count).await? {
                Some(event) => past(before(event)),
                None => Cursor::New(Place::after(revision)),
            },
            Start::After(cursor) => cursor,
        };
        Ok(span.holds(follower.revision()).then_some(follower))
    }

    /// How far it is.
    pub const fn cursor(&self) -> Cursor {
        self.cursor
    }

    const fn revision(&self) -> i64 {
        match self.cursor {
            Cursor::Past { revision, .. } => revision,
            Cursor::New(place) => place.revision,
        }
    }

    async fn keep(&mut self) -> StoreResult<FollowSpan> {
        let until = self.clock.now().plus_ms(KEEP_MS);
        let span = self
            .store
            .transact(SCOPE, move |tx| {
                Box::pin(async move { tx.follow_keep(until).await })
            })
            .await?;
        self.keep_until = until;
        Ok(span)
    }

    /// What comes next. After an error it can be asked again.
    pub async fn step(&mut self) -> StoreResult<Step> {
        if self.keep_until.ms_since(self.clock.now()) < KEEP_MS / 2 {
            self.keep().await?;
        }
        match self.cursor {
            Cursor::Past { revision, event } => self.past(revision, event).await,
            Cursor::New(place) => self.whats_new(place).await,
        }
    }

    async fn past(&mut self, revision: i64, after: EventId) -> StoreResult<Step> {
        let tenant = self.filter.tenant;
        let (span, page) = self
            .store
            .read(self.scope, move |tx| {
                Box::pin(async move {
                    let span = tx.follow_span().await?;
                    let page = tx.follow_past(tenant, after, revision, STEP).await?;
                    Ok((span, page))
                })
            })
            .await?;
        if !span.holds(revision) {
            return Ok(Step::Lost);
        }
        self.cursor = match page.last() {
            Some(last) if page.len() as i64 >= STEP => Cursor::Past {
                revision,
                event: last.event,
            },
            _ => Cursor::New(Place::after(revision)),
        };
        let found = page
            .into_iter()
            .filter(|one| one.before && self.filter.passes(one.source, &one.kind))
            .map(|one| Found {
                cursor: Cursor::Past {
                    revision,
                    event: one.event,
                },
                tenant: one.tenant,
                event: one.event,
            });
        Ok(Step::On {
            found: found.collect(),
            now: false,
            more: true,
        })
    }

    async fn whats_new(&mut self, place: Place) -> StoreResult<Step> {
        let tenant = self.filter.tenant;
        let (span, state, page) = self
            .store
            .read(self.scope, move |tx| {
                Box::pin(async move {
                    let span = tx.follow_span().await?;
                    let state = tx.object_state().await?;
                    let page = tx.follow_new(tenant, place, STEP).await?;
                    Ok((span, state, page))
                })
            })
            .await?;
        if !span.holds(place.revision) {
            return Ok(Step::Lost);
        }
        let more = page.len() as i64 >= STEP;
        let ended = |until: &mut Timestamp| !more && state.until > *until;
        let now = self.past_until.take_if(ended).is_some();
        // Of what others have it sees nothing: up to here there is no more for it.
        let end = Place::after(span.revision);
        self.cursor = Cursor::New(match page.last() {
            Some(last) if more => last.place,
            _ => end.max(place),
        });
        let found = page
            .into_iter()
            .filter(|one| self.filter.passes(one.source, &one.kind))
            .map(|one| Found {
                cursor: Cursor::New(one.place),
                tenant: one.tenant,
                event: one.place.event,
            });
        Ok(Step::On {
            found: found.collect(),
            now,
            more,
        })
    }

    /// The oldest of the last so many events that pass.
    async fn last(&self, count: usize) -> StoreResult<Option<EventId>> {
        let (mut left, mut looked_at) = (count, 0);
        let mut filter = self.filter.listed();
        let mut oldest = None;
        while left > 0 && looked_at < LAST_LOOKED_AT {
            let page = self.listed(filter.clone()).await?;
            looked_at += page.len();
            let passes = |one: &&Event| self.filter.passes(one.source, &one.kind);
            for event in page.iter().filter(passes).take(left) {
                oldest = Some(event.id);
                left -= 1;
            }
            match page.last() {
                Some(last) if page.len() as i64 >= STEP => {
                    filter.before = Some((last.received_at, last.id));
                }
                _ => break,
            }
        }
        Ok(oldest)
    }

    async fn listed(&self, filter: EventFilter) -> StoreResult<Vec<Event>> {
        self.store
            .read(self.scope, move |tx| {
                let filter = filter.clone();
                Box::pin(async move { tx.event_list(&filter, STEP).await })
            })
            .await
    }
}

/// What sorts right before this event.
fn before(event: EventId) -> EventId {
    EventId::from_uuid(Uuid::from_u128(event.uuid().as_u128().saturating_sub(1)))
}

/// What sorts right before everything that was received since.
fn before_time(at: Timestamp) -> EventId {
    let ms = (at.micros() / 1_000).max(0) as u128;
    before(EventId::from_uuid(Uuid::from_u128(ms << 80)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_being_written_and_read() {
        let event = EventId::from_uuid(Uuid::from_u128(7));
        for cursor in [
            Cursor::Past { revision: 3, event },
            Cursor::New(Place { revision: 0, event }),
            Cursor::New(Place::after(9)),
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for wrong in [
            "",
            "n",
            "n.1",
            "n.-1.00",
            "x.1.00000000000000000000000000000000",
        ] {
            assert_eq!(wrong.parse::<Cursor>(), Err(CursorError), "{wrong}");
        }
    }

    #[test]
    fn what_is_due_to_be_forgotten_stays_due_until_it_is() {
        let mut tended = Tended::default();
        let at = |minutes: i64| Timestamp::from_secs(1_800_000_000 + minutes * 60);
        for minute in 0..=60 {
            assert_eq!(tended.look(minute, true, at(minute)), None, "{minute}");
        }
        assert_eq!(tended.look(61, true, at(61)), Some(0));
        assert_eq!(tended.look(62, true, at(61)), Some(0), "not all of it yet");
        tended.forgot(true);
        assert_eq!(tended.look(62, true, at(61)), None);
        assert_eq!(tended.look(90, false, at(62)), Some(90), "nobody follows");
        tended.forgot(false);
        assert_eq!(tended.look(91, false, at(63)), None);
        assert!(tended.marks.is_empty());
    }

    #[test]
    fn a_time_is_before_what_was_received_in_its_millisecond() {
        let at = Timestamp::from_secs(1_800_000_000);
        let random = mainstay_domain::time::SeededRandom::new(1);
        assert!(before_time(at) < EventId::new(at, &random));
        assert!(before_time(at) > EventId::new(at.minus_ms(1), &random));
        assert_eq!(before_time(Timestamp::EPOCH), EventId::NIL);
    }
}
