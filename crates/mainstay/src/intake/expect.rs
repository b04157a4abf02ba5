//! Expected events: what must come after what, for the same object, within a time.
//!
//! A rule makes a job of each event that it is about, in the event's own commit, as a binding does: so no event is passed
//! by, on any node and in whatever order they commit, and a source without a rule pays nothing. The job carries the
//! rule as it was when the event came. It keeps what was begun as a row, and removes it when the other event comes; in
//! which of the two orders the jobs run makes no difference.
//!
//! What is due is looked for once a second by the engine's owner, and found missing in one commit with our own event
//! about it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use mainstay_domain::{
    Category, Clock, ExpectationId, Random, Scope, SourceId, StoreError, StoreExt, StoreResult,
    Timestamp, Tx,
    intake::{
        expect::{
            ExpectBegins, ExpectPart, ExpectRule, Expectation, MARK_SPARE_MS, key_of, type_matches,
        },
        rhythm::RhythmClock,
        scheme::JsonPointer,
    },
    jobs::JobBody,
};
use tokio::sync::watch;

use super::{Intake, MATCHES_MAX, decompress};
use crate::{
    jobs::{Handler, HandlerError},
    vault::payload_place,
};

/// The job kind.
pub const OBSERVE: &str = "expect.observe";
/// The queue that it waits in.
pub const QUEUE: &str = "expect";
/// The type of our own event about what is missing.
pub const MISSING: &str = "source.event_missing";
/// How often it is looked whether something is due.
const PAUSE: Duration = Duration::from_secs(1);
/// What is read at a time.
const STEP: i64 = 100;
/// How often in one look; the next one goes on from there.
const STEPS: usize = 50;
/// How long after its time an event may still be on its way to its job.
const GRACE_MS: i64 = 10_000;
/// How long it is waited for jobs that are behind before an event is found missing all the same.
const BEHIND_MS_MAX: i64 = 10 * 60 * 1_000;
/// How long after a break of ours providers have to send again what they could not, at the most.
const RESUMED_MS: i64 = 15 * 60 * 1_000;
const SCOPE: Scope = Scope::System("expected events");

/// Where the next look goes on, when one has not come to the end.
#[derive(Default)]
pub(super) struct LookedAt(Mutex<Option<(Timestamp, ExpectationId)>>);

impl LookedAt {
    fn take(&self) -> Option<(Timestamp, ExpectationId)> {
        self.lock().take()
    }

    fn put(&self, at: Option<(Timestamp, ExpectationId)>) {
        *self.lock() = at;
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Timestamp, ExpectationId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one rule asks of the events of one source.
pub(super) struct Watched {
    kind: String,
    part: ExpectPart,
}

impl Watched {
    /// The two sides of a rule: what begins it, and what must come.
    pub(super) fn sides(source: SourceId, rule: &ExpectRule) -> (Self, Self) {
        let part = |key: &JsonPointer, begins| ExpectPart {
            source,
            rule: rule.name.clone(),
            key: key.clone(),
            begins,
            before_secs: rule.before_secs,
        };
        let begins = ExpectBegins {
            wanted: rule.expect.kind.clone(),
            within_secs: rule.within_secs,
        };
        let after = Self {
            kind: rule.after.kind.clone(),
            part: part(&rule.after.key, Some(begins)),
        };
        let then = Self {
            kind: rule.expect.kind.clone(),
            part: part(&rule.expect.key, None),
        };
        (after, then)
    }

    /// What the job of an event of this type carries; none: no rule is about it.
    pub(super) fn payload(all: &[Self], kind: &str) -> Option<Bytes> {
        let parts: Vec<&ExpectPart> = all
            .iter()
            .filter(|one| type_matches(&one.kind, kind))
            .map(|one| &one.part)
            .collect();
        if parts.is_empty() {
            return None;
        }
        serde_json::to_vec(&parts).ok().map(Bytes::from)
    }
}

/// Notes what an event begins, and what it fulfils.
pub struct Observe {
    /// Where "now" comes from.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub random: Arc<dyn Random>,
}

#[async_trait]
impl Handler for Observe {
    async fn run(&self, tx: &mut dyn Tx, job: &JobBody) -> Result<(), HandlerError> {
        let (Some(event), Some(parts)) = (&job.event, &job.payload) else {
            return Err(HandlerError::new(
                Category::Validation,
                "event_missing",
                "the job has no event to look at",
            ));
        };
        let parts: Vec<ExpectPart> = serde_json::from_slice(parts).map_err(|error| {
            HandlerError::new(Category::Validation, "rule_unreadable", error.to_string())
        })?;
        let place = payload_place(job, event);
        let payload = tx.blob_open(&place, event.payload.clone()).await?;
        let payload = decompress(&payload)?;
        for part in parts {
            // An event without the object's key is not about an object.
            let Some(object) = key_of(&payload, &part.key) else {
                continue;
            };
            let before_ms = part.before_secs * 1_000;
            let at = event.received_at;
            let Some(begins) = part.begins else {
                let (begun_until, spare) = (at.plus_ms(before_ms), before_ms + MARK_SPARE_MS);
                let of = (job.tenant, part.source);
                tx.expect_meet(
                    of,
                    &part.rule,
                    &object,
                    at,
                    begun_until,
                    self.clock.now().plus_ms(spare),
                )
                .await?;
                continue;
            };
            let expectation = Expectation {
                id: ExpectationId::new(self.clock.now(), &*self.random),
                tenant: job.tenant,
                source: part.source,
                rule: part.rule,
                object,
                event: event.id,
                wanted: begins.wanted,
                began_at: at,
                due_at: at.plus_ms(begins.within_secs * 1_000),
                missing: false,
                acknowledged_at: None,
                acknowledged_by: None,
            };
            tx.expect_begin(&expectation, at.minus_ms(before_ms))
                .await?;
        }
        Ok(())
    }
}

/// Looks for what is due, again and again, while `owner` says that this node is the one to do it. `caught_up` says
/// whether no job of an event waits.
pub(crate) async fn run(
    intake: Arc<Intake>,
    owner: impl Fn() -> bool + Send + Sync,
    caught_up: impl Fn() -> bool + Send + Sync,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        if owner()
            && !*stop.borrow()
            && let Err(error) = intake.expect_look(caught_up()).await
        {
            tracing::warn!(%error, "it could not be looked which events are missing; trying again in a second");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

impl Intake {
    /// Finds missing what is due. Answers how many were. What must wait holds up nothing behind it.
    pub async fn expect_look(self: &Arc<Self>, caught_up: bool) -> StoreResult<usize> {
        let now = self.clock.now();
        let mut found = 0;
        let mut after = self.expected.take();
        for _ in 0..STEPS {
            let (due, clock) = self.expect_due(now.minus_ms(GRACE_MS), after).await?;
            let full = due.len() as i64 == STEP;
            after = due.last().map(|last| (last.due_at, last.id));
            for one in due {
                if !self.expect_wanted(&one) {
                    self.expect_forget(one).await?;
                    continue;
                }
                let behind = !caught_up && now.ms_since(one.due_at) < BEHIND_MS_MAX;
                if behind || clock.is_some_and(|clock| resumed(&clock, &one, now)) {
                    continue;
                }
                found += usize::from(self.expect_missing(one).await?);
            }
            if !full {
                return Ok(found);
            }
        }
        self.expected.put(after);
        Ok(found)
    }

    /// Some that are due, behind one that was looked at, and since when we count without a break.
    async fn expect_due(
        &self,
        until: Timestamp,
        after: Option<(Timestamp, ExpectationId)>,
    ) -> StoreResult<(Vec<Expectation>, Option<RhythmClock>)> {
        let (due, clock) = self
            .store
            .read(SCOPE, move |tx| {
                Box::pin(async move {
                    let due = tx.expect_due(until, after, STEP).await?;
                    let clock = match due.is_empty() {
                        true => None,
                        false => tx.rhythm_clock().await?,
                    };
                    Ok((due, clock))
                })
            })
            .await?;
        if !due.is_empty() {
            // A rule may have been changed on another node.
            self.reload_if_changed().await;
        }
        Ok((due, clock))
    }

    /// Whether its rule is still there.
    fn expect_wanted(&self, one: &Expectation) -> bool {
        let door = self.doors().of_source(one.source);
        let rules = door.and_then(|door| door.settings.expect_rules().ok());
        rules.is_some_and(|rules| rules.iter().any(|rule| rule.name == one.rule))
    }

    async fn expect_forget(&self, one: Expectation) -> StoreResult<()> {
        self.store
            .transact(SCOPE, move |tx| {
                let one = one.clone();
                Box::pin(async move { tx.expect_forget(&one).await.map(drop) })
            })
            .await
    }

    /// In one transaction: it is missing, and our own event says so.
    async fn expect_missing(self: &Arc<Self>, one: Expectation) -> StoreResult<bool> {
        let mut tries = 1..=MATCHES_MAX;
        let one = Arc::new(one);
        loop {
            // Before anything is matched: what is learned meanwhile counts as a change.
            let version = self.config_version();
            let (intake, expectation) = (Arc::clone(self), Arc::clone(&one));
            let written = self.store.transact(SCOPE, move |tx| {
                let (intake, one) = (Arc::clone(&intake), Arc::clone(&expectation));
                Box::pin(async move {
                    if !tx.expect_missing(&one).await? {
                        return Ok(false);
                    }
                    let now = intake.clock.now();
                    let (unique, payload) = (format!("{MISSING}:{}", one.id), intake.told(&one));
                    let arrival = intake.own_event(MISSING, &unique, one.tenant, &payload, now);
                    if let Some(arrival) = arrival {
                        tx.event_append(version, &[arrival]).await?;
                    }
                    Ok(true)
                })
            });
            match written.await {
                Err(StoreError::ConfigChanged) if tries.next().is_some() => self.reload().await?,
                Ok(true) => {
                    self.store.wake();
                    self.samples.changed("source", &[one.source]);
                    return Ok(true);
                }
                other => return other,
            }
        }
    }

    fn told(&self, one: &Expectation) -> serde_json::Value {
        let door = self.doors().of_source(one.source);
        serde_json::json!({
            "type": MISSING,
            "expectation_id": one.id,
            "source_id": one.source,
            "source": door.map(|door| door.source.name.clone()),
            "rule": one.rule,
            "object": one.object,
            "event_id": one.event,
            "expected_type": one.wanted,
            "began_at_secs": one.began_at.secs(),
            "due_at_secs": one.due_at.secs(),
        })
    }
}

/// Whether a break of ours is so little ago that the provider may not have been able to send it.
fn resumed(clock: &RhythmClock, one: &Expectation, now: Timestamp) -> bool {
    let within = one.due_at.ms_since(one.began_at);
    // A break that was over before it began held nothing back.
    one.began_at < clock.resumed_at.plus_ms(RESUMED_MS)
        && now.ms_since(clock.resumed_at) < within.min(RESUMED_MS)
}
