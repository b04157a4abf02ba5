//! Intake: a provider's request comes in, is verified on its raw bytes, is committed once and for ever together with
//! its jobs, and only then acknowledged.

use std::{
    sync::{
        Arc, PoisonError, RwLock, Weak,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use mainstay_domain::{
    BindingId, Clock, EndpointId, EventId, JobId, Random, ReceiptId, Scope, SecretId, SourceId,
    Store, StoreError, StoreExt, StoreResult, TenantId, Timestamp,
    intake::{
        Appended, Arrival, NewEvent, NewReceipt, Verdict,
        certificates::{CertificateError, Certificates},
        payload_digest,
        quarantine::Bounds,
        schemas::SchemaCheck,
        scheme::dedup_key,
    },
    jobs::{Endpoint, NewJob},
    watch::Series,
};
use tokio::sync::Notify;

mod abuse;
mod admit;
mod answer;
pub(crate) mod assign;
mod batch;
mod blob;
mod crowd;
mod diagnose;
mod doors;
pub(crate) mod drift;
pub mod expect;
mod filter;
mod filtered;
pub mod follow;
#[cfg(test)]
mod fuzz;
mod noted;
pub mod objects;
pub mod quarantine;
mod refused;
mod refusing;
pub mod replay;
pub mod reverify;
pub mod rhythm;
mod schema;
mod scheme;
pub mod snapshot;
pub mod spool;
mod spooling;
mod tenants;

pub use abuse::FAILURES_PER_MINUTE;
pub use admit::Knock;
pub use answer::Answer;
pub use blob::decompress;
pub use diagnose::{Diagnosed, SOURCES_TRIED_MAX};
pub use doors::{BuiltinQueues, DELIVER};
pub use filter::{FILTER_CHARS_MAX, Filter, FilterError, Filtered, Parts, Subject};
pub use filtered::Kept;
pub use noted::FRESH_MS;
pub use schema::{Checked, PROBLEMS_MAX, SCHEMA_BYTES_MAX, Schema, SchemaError};
pub use scheme::check_source;

use crate::watch::Samples;
use abuse::Failures;
use batch::{BatchError, Batcher};
use blob::{compress, headers_json, headers_kept};
use doors::{Door, Doors, RuleFilter, Wanted};
use noted::Noted;
use refused::Refused;
use refusing::Refusing;
use spool::Spool;
use spooling::{Committed, available};
use tenants::Whose;

/// The band that jobs of events wait in.
pub(crate) const BAND: i16 = 1;

/// What orderings see of a payload; none: it is no JSON.
pub(crate) fn body_of(payload: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(payload).ok()
}
/// How often a request is matched again because the configuration changed under it, before it is answered 503.
const MATCHES_MAX: usize = 5;
/// A configuration that a request found wanting is loaded again at most this often.
const RELOAD_PAUSE: i64 = 1_000;
/// How long the store may take to say whether the configuration changed.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A request as the HTTP server hands it over.
#[derive(Debug, Clone)]
pub struct Inbound {
    /// Names in lower case, with raw values, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The raw body.
    pub body: Bytes,
    /// The client's address.
    pub remote: String,
    /// The URL that it was sent to, as the outside world writes it, with its query.
    pub url: String,
    /// When the last byte arrived.
    pub received_at: Timestamp,
}

impl Inbound {
    /// The first header of this name (lower case), if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(own, _)| own == name)?;
        std::str::from_utf8(value).ok()
    }
}

/// The door that loses nothing.
pub struct Intake {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    doors: RwLock<Arc<Doors>>,
    loaded_at: AtomicI64,
    builtin: BuiltinQueues,
    batcher: Arc<Batcher>,
    failures: Failures,
    refused: Refused,
    refusing: Refusing,
    violations: noted::Violations,
    conflicts: noted::Conflicts,
    drift: drift::Sampler,
    expected: expect::LookedAt,
    samples: Arc<Samples>,
    certificates: Arc<dyn Certificates>,
    spool: Option<Arc<Spool>>,
    /// Whether the sources are known from a snapshot, since there is no database yet.
    away: bool,
    /// Something may be due to be assigned.
    due: Notify,
    /// For what goes on after an answer.
    me: Weak<Self>,
}

/// What intake keeps beside what it commits.
pub struct Beside {
    /// How much is kept of what was refused.
    pub quarantine: Bounds,
    /// Where requests go while the database does not take them; none: they are sent away.
    pub spool: Option<Arc<Spool>>,
    /// How many requests of an address may fail in a minute before it is distrusted; 0: as many as like.
    pub failures_per_minute: u32,
}

impl Default for Beside {
    fn default() -> Self {
        Self {
            quarantine: Bounds::default(),
            spool: None,
            failures_per_minute: FAILURES_PER_MINUTE,
        }
    }
}

/// The ids of a request that is taken in.
struct Ids {
    receipt: ReceiptId,
    /// One for each event that it brings.
    events: Vec<EventId>,
}

/// Why a request cannot be judged.
enum Unjudged {
    /// It is refused.
    Refused(scheme::Refusal),
    /// What it must be judged by is not to be had now.
    Unavailable,
}

impl Intake {
    /// Loads the configuration and starts the committers.
    pub async fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        builtin: BuiltinQueues,
        samples: Arc<Samples>,
        certificates: Arc<dyn Certificates>,
        beside: Beside,
    ) -> StoreResult<Arc<Self>> {
        let doors = load(&*store, &builtin, None).await?;
        let intake = Self::assembled(
            store,
            clock,
            random,
            builtin,
            samples,
            certificates,
            beside,
            doors,
            false,
        );
        // Before the first request: what is refused is sealed as well.
        intake.keys_refresh().await?;
        Ok(intake)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "its parts, put together in one place"
    )]
    fn assembled(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        builtin: BuiltinQueues,
        samples: Arc<Samples>,
        certificates: Arc<dyn Certificates>,
        beside: Beside,
        doors: Doors,
        away: bool,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            batcher: Batcher::start(Arc::clone(&store), beside.spool.is_some()),
            failures: Failures::new(beside.failures_per_minute),
            refused: Refused::start(Arc::clone(&store), Arc::clone(&samples), beside.quarantine),
            refusing: Refusing::default(),
            violations: noted::Violations::default(),
            conflicts: noted::Conflicts::default(),
            drift: drift::Sampler::default(),
            expected: expect::LookedAt::default(),
            loaded_at: AtomicI64::new(clock.now().micros()),
            doors: RwLock::new(Arc::new(doors)),
            store,
            clock,
            random,
            builtin,
            samples,
            certificates,
            spool: beside.spool,
            away,
            due: Notify::new(),
        })
    }

    /// The store.
    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether a commit of webhooks is under way on this node.
    pub(crate) fn committing(&self) -> bool {
        self.batcher.committing()
    }

    /// Takes a request in. Answers 2xx only after what it says is committed.
    pub async fn accept(self: &Arc<Self>, source: &str, inbound: Inbound) -> Answer {
        let mut admitted = false;
        for _ in 0..MATCHES_MAX {
            let Some((doors, door)) = self.door(source).await else {
                return Answer::unknown_source();
            };
            if !door.source.enabled {
                return Answer::disabled();
            }
            let judged = self.judge(&door, &inbound, self.clock.now()).await;
            let accepted = match judged {
                Ok(accepted) => accepted,
                Err(Unjudged::Unavailable) => {
                    self.failed(&inbound);
                    return Answer::certificate_unavailable();
                }
                Err(Unjudged::Refused(refusal)) => {
                    // A secret may have been added on another node a moment ago.
                    if self.reload_if_changed().await {
                        continue;
                    }
                    self.failed(&inbound);
                    return self.refuse(&door, inbound, &refusal);
                }
            };
            if !admitted {
                if let Some(answer) = self.admit(&door, &inbound) {
                    return answer;
                }
                admitted = true;
            }
            let secret = door.secret(&accepted);
            self.samples.secret_used(secret, inbound.received_at);
            let ids = self.ids(&inbound, accepted.events.len());
            if let Some(answer) = self.spool_behind(&door, &inbound, secret, &ids).await {
                return answer;
            }
            let (found, jobs_at) = (accepted.events, inbound.received_at);
            let events = ids.events.clone();
            let whole = Ids { events, ..ids };
            let arrival = self.arrival(&door, &inbound, found, secret, whole, jobs_at);
            let arrival = match self.patiently(arrival).await {
                Ok(arrival) => arrival,
                Err(error) => {
                    let record = self.record(&door, &inbound, secret, &ids);
                    return self.spool_instead(&door, &inbound, record, &error).await;
                }
            };
            let noted = Noted::of(&arrival, self.drift.has_room());
            let spooled = self.spool_record(&arrival);
            let arrival = match self.patiently(self.sealed(arrival)).await {
                Ok(arrival) => arrival,
                Err(error) => {
                    return self.spool_instead(&door, &inbound, spooled, &error).await;
                }
            };
            match self.commit(arrival, spooled, doors.version).await {
                Committed::Appended(appended) => {
                    self.tell_of_refusals();
                    let answer = self.accepted(&door, &noted, &appended);
                    self.drift.offer(&door, noted, &appended);
                    return self.answer(&door, &inbound, answer);
                }
                Committed::ConfigChanged(record) => {
                    if let Err(error) = self.patiently(self.reload()).await {
                        return self.spool_instead(&door, &inbound, record, &error).await;
                    }
                }
                Committed::Failed(record, error) => {
                    return self.spool_instead(&door, &inbound, record, &error).await;
                }
                Committed::Full => return self.overloaded(),
            }
        }
        self.overloaded()
    }

    /// Does everything that [`Self::accept`] does short of committing: the reference of `mainstay bench intake`.
    pub async fn verify_only(&self, source: &str, inbound: &Inbound) -> Answer {
        let Some((_, door)) = self.door(source).await else {
            return Answer::unknown_source();
        };
        match self.judge(&door, inbound, self.clock.now()).await {
            Ok(_) => Answer::verified(),
            Err(Unjudged::Refused(refusal)) => Answer::refused(&refusal),
            Err(Unjudged::Unavailable) => Answer::certificate_unavailable(),
        }
    }

    /// Answers a provider that asks whether the URL is ours (Meta's GET with `hub.challenge`).
    pub async fn challenge(&self, source: &str, query: &[(String, String)]) -> Option<Answer> {
        let (_, door) = self.door(source).await?;
        Some(scheme::challenge(&door, query))
    }

    /// How many refused requests were only counted since this process started, by the source's name.
    pub fn refused_not_kept(&self) -> Vec<(String, i64)> {
        let doors = self.doors();
        let counts = self.refused.not_kept(|id| doors.of_source(id).is_some());
        let named = counts.into_iter().filter_map(|(id, count)| {
            let door = doors.of_source(id)?;
            Some((door.source.name.clone(), count))
        });
        let mut named: Vec<_> = named.collect();
        named.sort();
        named
    }

    /// How many events came again with other content since this process started, by the source's name.
    pub fn conflicts(&self) -> Vec<(String, i64)> {
        self.conflicts.named(&self.doors())
    }

    /// How many events violated their schema since this process started, by the source's name and the schema's types.
    pub fn schema_violations(&self) -> Vec<(String, String, i64)> {
        self.violations.named(&self.doors())
    }

    /// The endpoint of this id, as of the last configuration seen.
    pub async fn endpoint(&self, id: EndpointId) -> Option<Arc<Endpoint>> {
        if let Some(endpoint) = self.doors().endpoint(id) {
            return Some(endpoint);
        }
        self.reload_if_changed().await;
        self.doors().endpoint(id)
    }

    /// Looks at the configuration again if it changed; called after a change on this node.
    pub async fn refresh(&self) -> StoreResult<()> {
        self.reload().await
    }

    /// The version of the configuration that this node knows.
    pub(crate) fn config_version(&self) -> i64 {
        self.doors().version
    }

    /// Whether requests are taken, by the store or by the spool: what `/readyz` asks.
    pub async fn ready(&self) -> StoreResult<()> {
        self.takes().await
    }

    /// Whether the store takes commits.
    async fn ping(&self) -> StoreResult<()> {
        self.store
            .transact(Scope::System("readiness"), |tx| {
                Box::pin(async move { tx.ping().await })
            })
            .await
    }

    fn doors(&self) -> Arc<Doors> {
        Arc::clone(&self.doors.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn door(&self, source: &str) -> Option<(Arc<Doors>, Arc<Door>)> {
        let doors = self.doors();
        if let Some(door) = doors.get(source) {
            return Some((doors, door));
        }
        if !self.reload_if_changed().await {
            return None;
        }
        let doors = self.doors();
        let door = doors.get(source)?;
        Some((doors, door))
    }

    async fn reload(&self) -> StoreResult<()> {
        // First: what is appended with the configuration of then is not sealed with a key that was retired before.
        self.keys_refresh().await?;
        let doors = load(&*self.store, &self.builtin, Some(&self.doors())).await?;
        let mut current = self.doors.write().unwrap_or_else(PoisonError::into_inner);
        if doors.version >= current.version {
            *current = Arc::new(doors);
        }
        Ok(())
    }

    /// Reloads when the store's version is another one; asks at most once a second. True when something changed.
    async fn reload_if_changed(&self) -> bool {
        // What is known has to do while the store cannot be asked, and nobody waits to be told so.
        if self.spool.as_ref().is_some_and(|spool| spool.unreachable()) {
            return false;
        }
        let now = self.clock.now().micros();
        let last = self.loaded_at.load(Ordering::Relaxed);
        if (now - last).abs() < RELOAD_PAUSE * 1_000 {
            return false;
        }
        if self
            .loaded_at
            .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            return false;
        }
        let before = self.doors().version;
        let asked = self.store.read(Scope::System("intake"), |tx| {
            Box::pin(async move { tx.config_version().await })
        });
        let limit = self
            .spool
            .as_ref()
            .map_or(RELOAD_TIMEOUT, |spool| spool.patience());
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok(version)) if version != before => self.reload().await.is_ok(),
            _ => false,
        }
    }

    /// Verifies, with the certificate that the request names where the scheme goes by one.
    async fn judge(
        &self,
        door: &Door,
        inbound: &Inbound,
        now: Timestamp,
    ) -> Result<scheme::Accepted, Unjudged> {
        let certificate = match scheme::certificate_needed(door, inbound, now) {
            Err(refusal) => return Err(Unjudged::Refused(refusal)),
            Ok(None) => None,
            Ok(Some(needed)) => {
                let found = self.certificates.public_key(needed.url, needed.name).await;
                Some(found.map_err(|error| match error {
                    CertificateError::Unavailable(_) => Unjudged::Unavailable,
                    CertificateError::Untrusted(_) => {
                        Unjudged::Refused(scheme::Refusal::CertificateUntrusted)
                    }
                })?)
            }
        };
        scheme::verify(door, inbound, now, certificate.as_deref()).map_err(Unjudged::Refused)
    }

    /// A verified request, matched and ready to be appended; its jobs are made at `jobs_at`.
    async fn arrival(
        &self,
        door: &Door,
        inbound: &Inbound,
        found: Vec<scheme::Found>,
        secret: Option<SecretId>,
        ids: Ids,
        jobs_at: Timestamp,
    ) -> StoreResult<Arrival> {
        let mut events: Vec<NewEvent> = Vec::with_capacity(found.len());
        for (found, id) in found.into_iter().zip(ids.events) {
            let whose = self.whose(door, inbound, &found.payload).await?;
            events.push(self.event(door, inbound, found, whose, id, jobs_at));
        }
        // Where one event is the whole body the store keeps the bytes once, unless it turns out to be a conflict.
        let body = match events.as_slice() {
            [event] if event.payload_bytes == inbound.body.len() as i64 => event.payload.clone(),
            _ => compress(&inbound.body),
        };
        let receipt = NewReceipt {
            id: ids.receipt,
            source: door.source.id,
            received_at: inbound.received_at,
            remote: inbound.remote.clone(),
            headers: headers_json(&inbound.headers, door.credential_header()),
            body: Some(body),
            body_bytes: inbound.body.len() as i64,
            secret,
            refusal: None,
        };
        Ok(Arrival { receipt, events })
    }

    fn event(
        &self,
        door: &Door,
        inbound: &Inbound,
        found: scheme::Found,
        whose: Whose,
        id: EventId,
        jobs_at: Timestamp,
    ) -> NewEvent {
        let check = door.check(&found.kind, &found.payload);
        let (tenant, jobs, waits_for) = match whose {
            Whose::Known(tenant) => {
                let wanted = self.wanted(door, &found.kind, tenant, || {
                    Subject::new(&Parts {
                        kind: &found.kind,
                        source: &door.source.name,
                        provider_id: &found.provider_id,
                        payload: &found.payload,
                        headers: &headers_kept(&inbound.headers, door.credential_header()),
                    })
                });
                let first = (jobs_at == inbound.received_at).then_some(id);
                let jobs = self.jobs(wanted, id, first, tenant, jobs_at, &found.payload);
                (tenant, jobs, Vec::new())
            }
            Whose::Unknown(values) => (TenantId::NIL, Vec::new(), values),
        };
        NewEvent {
            id,
            tenant,
            source: door.source.id,
            source_number: door.source.number,
            provider_id: found.provider_id,
            occurred_at: found.occurred_at,
            dedup_keys: found.dedup_keys,
            body_hash: payload_digest(&found.payload),
            payload_bytes: found.payload.len() as i64,
            payload: compress(&found.payload),
            kind: found.kind,
            jobs,
            waits_for,
            check,
        }
    }

    /// The jobs that the bindings of the door ask for. `subject` is made only where one of them has a filter.
    fn wanted<'a>(
        &self,
        door: &'a Door,
        kind: &'a str,
        tenant: TenantId,
        subject: impl FnOnce() -> Subject,
    ) -> Vec<Wanted<'a>> {
        let mut wanted: Vec<Wanted> = door.wanted(kind, tenant).collect();
        if wanted.iter().any(|one| one.filter.is_some()) {
            let subject = subject();
            wanted.retain(|one| self.passes(one, &subject));
        }
        wanted
    }

    fn passes(&self, wanted: &Wanted, subject: &Subject) -> bool {
        let said = match wanted.filter {
            None => Filtered::Passed,
            Some(RuleFilter::Ready(filter)) => filter.evaluate(subject),
            Some(RuleFilter::Unreadable) => Filtered::Failed(String::new()),
        };
        if let Filtered::Failed(_) = said {
            let binding = wanted.binding.unwrap_or(BindingId::NIL);
            self.samples.count(Series::FilterFailed, binding.uuid(), 1);
        }
        said == Filtered::Passed
    }

    /// `first`: the event, if it comes at the same time; the first of its jobs then has its id (see [`NewJob::id`]).
    fn jobs(
        &self,
        wanted: Vec<Wanted>,
        event: EventId,
        mut first: Option<EventId>,
        tenant: TenantId,
        now: Timestamp,
        payload: &[u8],
    ) -> Vec<NewJob> {
        // Read only where a binding orders by it.
        let ordered = wanted.iter().any(|one| one.ordering.is_some());
        let body = if ordered { body_of(payload) } else { None };
        wanted
            .into_iter()
            .map(|wanted| NewJob {
                id: match first.take() {
                    Some(event) => JobId::from_uuid(event.uuid()),
                    None => JobId::new(now, &*self.random),
                },
                tenant,
                queue: wanted.queue,
                band: BAND,
                kind: wanted.kind.to_owned(),
                event: Some(event),
                binding: wanted.binding,
                replay: None,
                endpoint: wanted.endpoint,
                payload: wanted.payload,
                run_at: None,
                deadline: wanted
                    .expires_in_secs
                    .map(|secs| now.plus_ms(secs.saturating_mul(1_000))),
                retry: None,
                order: wanted
                    .ordering
                    .zip(body.as_ref())
                    .and_then(|(ordering, body)| ordering.of(body)),
                created_at: now,
            })
            .collect()
    }

    /// What a request is answered with: where it only asks whether the URL is ours, that.
    fn answer(&self, door: &Door, inbound: &Inbound, answer: Answer) -> Answer {
        scheme::challenge_answer(door, inbound, self.clock.now()).unwrap_or(answer)
    }

    fn accepted(&self, door: &Door, noted: &[Noted], appended: &[Appended]) -> Answer {
        let (verdict, ids) = self.count_appended(door.source.id, noted, appended);
        Answer::accepted(door.settings.answer.as_ref(), &ids, verdict)
    }

    /// Counts what was committed of one request, and tells who watches.
    fn count_appended(
        &self,
        source: SourceId,
        noted: &[Noted],
        appended: &[Appended],
    ) -> (Verdict, Vec<EventId>) {
        let verdict = Appended::verdict(appended);
        let series = if verdict == Verdict::Accepted {
            Series::Received
        } else {
            Series::Duplicates
        };
        let ids: Vec<EventId> = appended.iter().map(|one| one.id()).collect();
        let new = noted.iter().zip(appended);
        let new = new.filter(|(_, appended)| matches!(appended, Appended::New(_)));
        let of_events = new.flat_map(|(noted, _)| {
            self.violations.count(noted);
            noted.counts(source)
        });
        self.samples
            .count_each(std::iter::once((series, source.uuid())).chain(of_events));
        self.samples.events_changed(&ids);
        if verdict == Verdict::Conflict {
            self.count_conflicts(source, appended);
        }
        (verdict, ids)
    }

    /// Counts what came again with other content, and tells of each event once.
    fn count_conflicts(&self, source: SourceId, appended: &[Appended]) {
        const KIND: &str = "intake.conflict";
        let doors = self.doors();
        for one in appended {
            let Appended::Conflict(event) = one else {
                continue;
            };
            self.samples.count(Series::Conflicts, source.uuid(), 1);
            let Some(door) = doors.of_source(source) else {
                continue;
            };
            if !self.conflicts.count(source, *event) {
                continue;
            }
            let payload = serde_json::json!({
                "type": KIND,
                "event_id": event,
                "source_id": source,
                "source_name": door.source.name,
            });
            self.tell(
                KIND,
                format!("{KIND}:{event}"),
                Some(door.source.tenant),
                payload,
            );
        }
    }

    fn refuse(&self, door: &Door, inbound: Inbound, refusal: &scheme::Refusal) -> Answer {
        self.samples
            .count(Series::Refused, door.source.id.uuid(), 1);
        tracing::debug!(
            source = door.source.name,
            code = refusal.code(),
            "a request was refused"
        );
        let refused = self.refused_sealed(NewReceipt {
            id: ReceiptId::new(inbound.received_at, &*self.random),
            source: door.source.id,
            received_at: inbound.received_at,
            remote: inbound.remote,
            headers: headers_json(&inbound.headers, door.credential_header()),
            body: Some(compress(&inbound.body)),
            body_bytes: inbound.body.len() as i64,
            secret: None,
            refusal: Some(refusal.code().to_owned()),
        });
        self.refused.keep(refused);
        Answer::refused(refusal)
    }

    fn unavailable(&self, door: &Door, error: &StoreError) -> Answer {
        tracing::error!(source = door.source.name, %error, "a verified request could not be committed");
        self.refusing.refused(self.clock.now());
        Answer::unavailable()
    }

    fn overloaded(&self) -> Answer {
        self.refusing.refused(self.clock.now());
        Answer::overloaded()
    }

    /// Providers that were sent away will come again; whoever runs this should know that it happened.
    fn tell_of_refusals(&self) {
        let Some(episode) = self.refusing.committed() else {
            return;
        };
        const KIND: &str = "intake.refused";
        let payload = serde_json::json!({
            "type": KIND,
            "requests": episode.requests,
            "duration_ms": episode.until.ms_since(episode.since),
        });
        let unique = format!("{KIND}:{}", episode.since.micros());
        self.tell(KIND, unique, None, payload);
    }

    /// Appends an event of our own, in the background. It is about this tenant, or else about all of us.
    fn tell(
        &self,
        kind: &'static str,
        unique: String,
        tenant: Option<TenantId>,
        payload: serde_json::Value,
    ) {
        let Some(intake) = self.me.upgrade() else {
            return;
        };
        tokio::spawn(async move {
            if let Err(error) = intake.told_append(kind, &unique, tenant, &payload).await {
                tracing::warn!(?error, %payload, "what happened to intake could not be told as an event");
            }
        });
    }

    async fn told_append(
        &self,
        kind: &str,
        unique: &str,
        tenant: Option<TenantId>,
        payload: &serde_json::Value,
    ) -> Result<(), BatchError> {
        let mut tries = 1..=MATCHES_MAX;
        loop {
            // Before anything is matched: what is learned meanwhile counts as a change.
            let version = self.config_version();
            let Some(own) = self.doors().own().map(|own| own.source.tenant) else {
                return Ok(());
            };
            let tenant = tenant.unwrap_or(own);
            let event = self.own_event(kind, unique, tenant, payload, self.clock.now());
            let Some(arrival) = event else {
                return Ok(());
            };
            let arrival = self.sealed(arrival).await.map_err(BatchError::Store)?;
            match self.batcher.append(arrival, version).await {
                Err(BatchError::Store(StoreError::ConfigChanged)) if tries.next().is_some() => {
                    self.reload().await.map_err(BatchError::Store)?;
                }
                other => return other.map(drop),
            }
        }
    }

    /// An event of our own (a dead letter, an endpoint down and back), ready to be appended with its jobs. The engine appends it in the transaction of what it tells.
    pub(crate) fn own_event(
        &self,
        kind: &str,
        unique: &str,
        tenant: TenantId,
        payload: &serde_json::Value,
        now: Timestamp,
    ) -> Option<Arrival> {
        let door = self.doors().own()?;
        let id = EventId::new(now, &*self.random);
        let bytes = Bytes::from(payload.to_string());
        let wanted = self.wanted(&door, kind, tenant, || {
            Subject::new(&Parts {
                kind,
                source: &door.source.name,
                provider_id: unique,
                payload: &bytes,
                headers: &serde_json::Map::new(),
            })
        });
        let jobs = self.jobs(wanted, id, Some(id), tenant, now, &bytes);
        let event = NewEvent {
            id,
            tenant,
            source: door.source.id,
            source_number: door.source.number,
            provider_id: unique.to_owned(),
            kind: kind.to_owned(),
            occurred_at: Some(now),
            dedup_keys: vec![dedup_key(unique)],
            body_hash: payload_digest(&bytes),
            payload_bytes: bytes.len() as i64,
            payload: compress(&bytes),
            jobs,
            waits_for: Vec::new(),
            check: SchemaCheck::None,
        };
        let receipt = NewReceipt {
            id: ReceiptId::from_uuid(id.uuid()),
            source: door.source.id,
            received_at: now,
            remote: String::new(),
            headers: headers_json(&[], None),
            body: None,
            body_bytes: event.payload_bytes,
            secret: None,
            refusal: None,
        };
        Some(Arrival {
            receipt,
            events: vec![event],
        })
    }

    /// Whether any binding listens to own events of this kind about this tenant.
    pub(crate) fn own_wanted(&self, kind: &str, tenant: TenantId) -> bool {
        self.doors()
            .own()
            .is_some_and(|door| door.wanted(kind, tenant).next().is_some())
    }

    /// The endpoint of this id, if it is known without asking the store.
    pub(crate) fn endpoint_known(&self, id: EndpointId) -> Option<Arc<Endpoint>> {
        self.doors().endpoint(id)
    }
}

async fn load(
    store: &dyn Store,
    builtin: &BuiltinQueues,
    before: Option<&Doors>,
) -> StoreResult<Doors> {
    let config = store
        .read(Scope::System("intake"), |tx| {
            Box::pin(async move { tx.config_load().await })
        })
        .await?;
    Ok(Doors::new(config, builtin, before))
}
