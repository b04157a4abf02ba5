//! Draining: what was spooled is matched with the configuration of the day and stored, in its order, each request once.
//!
//! A request that may be stored already (the process ended before it knew, or a commit's answer was lost) is known by the
//! ids that it has had since it was answered: where its receipt has a row it is looked for there, and one that is within
//! its event is appended once more, of which nothing comes. So it is stored once and counted once, whatever happened.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use mainstay_domain::{
    EventId, ReceiptId, Scope, SourceId, StoreError, StoreExt, StoreResult, Timestamp,
    intake::{Appended, Arrival, Blob, scheme::PreparedScheme},
    store::VaultExt,
    vault::{Column, Place},
};
use tokio::{sync::watch, time::timeout};

use super::{
    super::{
        Door, Doors, Ids, Inbound, Intake, MATCHES_MAX, available, decompress, noted::Noted,
        reverify::headers_kept, scheme,
    },
    Episode, Record, Spool,
    read::Batch,
};

/// How long it takes until the database is asked again.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the database may take to say that it is there.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a batch may take. What became of it is found out afterwards.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a record may fail by itself before it is set aside.
const STRIKES_MAX: u8 = 3;
/// The event that tells that a spool was used.
const TOLD: &str = "intake.spooled";
/// The shortest time after which retention can have taken a receipt away. An older record that may be stored already gets
/// new ids if its receipt is not there: then its deduplication record, which stays for ever, says what it is.
const RECEIPT_SURE_MS: i64 = 24 * 60 * 60 * 1_000;

/// Why a spool is not drained for now.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// The database does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The spool's own files.
    #[error("the spool cannot be read or written: {0}")]
    Disk(#[from] io::Error),
}

/// One record on its way.
struct Pending<'a> {
    record: &'a Record,
    /// It may be stored already.
    doubtful: bool,
    /// How often it failed by itself.
    strikes: u8,
}

/// What became of a batch.
#[derive(Default)]
struct Settled {
    stored: u64,
    aside: Vec<Vec<u8>>,
}

/// Why a record became no arrival.
enum Unmatched {
    /// As things are it cannot be stored.
    Aside(String),
    /// The database could not be asked.
    Store(StoreError),
}

/// Drains whenever there is something, until it is told to stop.
pub(crate) async fn run(intake: Arc<Intake>, mut stop: watch::Receiver<bool>) {
    let Some(spool) = &intake.spool else { return };
    loop {
        let drained = tokio::select! {
            drained = intake.spool_drain() => drained,
            // What was under way is found out at the next start.
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let next = async {
            match drained {
                Ok(()) => spool.filled().await,
                Err(error) => {
                    tracing::debug!(%error, "the spool is not drained yet");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        tokio::select! {
            () = next => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

impl Intake {
    /// Stores what waits in the spool, as far as the database takes it; when nothing is left, requests go to the database
    /// again. Done in the background; calling it as well does no harm.
    pub async fn spool_drain(self: &Arc<Self>) -> Result<(), DrainError> {
        let Some(spool) = &self.spool else {
            return Ok(());
        };
        let _alone = spool.draining.lock().await;
        while spool.taking() {
            let drained = self.batch_drain(spool).await;
            spool.set_unreachable(matches!(drained, Err(DrainError::Store(_))));
            if !drained? {
                break;
            }
        }
        Ok(())
    }

    /// One batch. False: there was none.
    async fn batch_drain(self: &Arc<Self>, spool: &Spool) -> Result<bool, DrainError> {
        if spool.unreachable() {
            let asked = timeout(PROBE_TIMEOUT, self.ping()).await;
            asked.unwrap_or(Err(StoreError::Timeout))?;
            spool.set_unreachable(false);
        }
        let Some(batch) = spool.next_batch().await? else {
            if let Some(episode) = spool.hand_over(self.clock.now()).await {
                self.spooled(spool, episode);
            }
            return Ok(false);
        };
        let settled = self.batch_settle(spool, &batch).await;
        let settled = settled.inspect_err(|_| spool.doubt(&batch))?;
        spool.advance(&batch, settled.0, settled.1);
        Ok(true)
    }

    /// Stores a batch, or sets aside what cannot be: how many of each.
    async fn batch_settle(&self, spool: &Spool, batch: &Batch) -> Result<(u64, u64), DrainError> {
        let mut settled = Settled::default();
        let mut pending = Vec::with_capacity(batch.records.len());
        for record in &batch.records {
            match record {
                Ok(record) => pending.push(Pending {
                    record,
                    doubtful: batch.doubtful || record.tried,
                    strikes: 0,
                }),
                Err(bytes) => {
                    tracing::error!(
                        "a spooled request is of a form that this program does not know; it is set aside"
                    );
                    settled.aside.push(bytes.clone());
                }
            }
        }
        self.pending_store(pending, &mut settled).await?;
        let aside = settled.aside.len() as u64;
        if aside > 0 {
            spool.set_aside(settled.aside).await?;
        }
        Ok((settled.stored, aside))
    }

    async fn pending_store(
        &self,
        mut pending: Vec<Pending<'_>>,
        settled: &mut Settled,
    ) -> Result<(), DrainError> {
        let mut matches = 1..=MATCHES_MAX;
        while !pending.is_empty() {
            self.known_drop(&mut pending, settled).await?;
            // Once something has failed by itself, nothing fails for its neighbour.
            let together = match pending.iter().any(|one| one.strikes > 0) {
                true => 1,
                false => pending.len().max(1),
            };
            let mut left = Vec::new();
            let mut changed = false;
            for chunk in pending.chunks(together) {
                changed |= self.chunk_store(chunk, &mut left, settled).await?;
            }
            if changed {
                if matches.next().is_none() {
                    return Err(StoreError::ConfigChanged.into());
                }
                self.reload().await?;
            }
            pending = left;
        }
        Ok(())
    }

    /// Leaves out what is stored already.
    async fn known_drop(
        &self,
        pending: &mut Vec<Pending<'_>>,
        settled: &mut Settled,
    ) -> StoreResult<()> {
        let doubtful = pending.iter().filter(|one| one.doubtful);
        let ids: Arc<[ReceiptId]> = doubtful.map(|one| one.record.receipt).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let asked = self.store.read(Scope::System("spool"), move |tx| {
            let ids = Arc::clone(&ids);
            Box::pin(async move { tx.receipt_known(&ids).await })
        });
        let known = timeout(BATCH_TIMEOUT, asked).await;
        let known = known.unwrap_or(Err(StoreError::Timeout))?;
        let stored = pending
            .iter()
            .filter(|one| known.contains(&one.record.receipt));
        let events: Vec<EventId> = stored
            .flat_map(|one| one.record.events.iter().copied())
            .collect();
        self.known_note(events).await?;
        pending.retain(|one| !known.contains(&one.record.receipt));
        settled.stored += known.len() as u64;
        Ok(())
    }

    /// Of what was stored before nobody knows whether it was noted.
    async fn known_note(&self, events: Vec<EventId>) -> StoreResult<()> {
        if events.is_empty() {
            return Ok(());
        }
        let events: Arc<[EventId]> = events.into();
        let noted = self.store.transact(Scope::System("spool"), move |tx| {
            let events = Arc::clone(&events);
            Box::pin(async move {
                for id in events.iter() {
                    if let Some(event) = tx.event_get(*id).await? {
                        tx.object_note(&[(event.tenant, event.id)]).await?;
                    }
                }
                Ok(())
            })
        });
        timeout(BATCH_TIMEOUT, noted)
            .await
            .unwrap_or(Err(StoreError::Timeout))
    }

    /// Appends some records; what is to be tried again goes to `left`. True: the configuration has changed.
    async fn chunk_store<'a>(
        &self,
        chunk: &[Pending<'a>],
        left: &mut Vec<Pending<'a>>,
        settled: &mut Settled,
    ) -> StoreResult<bool> {
        let doors = self.doors();
        let mut memory = HashMap::new();
        let (mut matched, mut arrivals) = (Vec::new(), Vec::new());
        for one in chunk {
            // Webhooks that come meanwhile have their turn.
            tokio::task::yield_now().await;
            let door = memory
                .entry(one.record.source)
                .or_insert_with_key(|source: &SourceId| doors.of_source(*source));
            match self.spooled_arrival(door.as_deref(), one).await {
                Ok(arrival) => {
                    matched.push((one, Noted::of(&arrival, self.drift.has_room())));
                    arrivals.push(self.sealed(arrival).await?);
                }
                Err(Unmatched::Store(error)) => return Err(error),
                Err(Unmatched::Aside(why)) => aside(one.record, &why, settled),
            }
        }
        if arrivals.is_empty() {
            return Ok(false);
        }
        let arrivals: Arc<[Arrival]> = arrivals.into();
        let appended = self.appended(&doors, Arc::clone(&arrivals)).await;
        self.late_note(&arrivals, &appended).await?;
        let (mut changed, mut unavailable) = (false, None);
        for ((one, noted), appended) in matched.into_iter().zip(appended) {
            let mut again = Pending { ..*one };
            match appended {
                Ok(appended) => {
                    settled.stored += 1;
                    // Whoever noted it when it came may have ended since.
                    self.samples
                        .secret_used(one.record.secret, one.record.received_at);
                    self.count_appended(one.record.source, &noted, &appended);
                    if let Some(door) = doors.of_source(one.record.source) {
                        self.drift.offer(&door, noted, &appended);
                    }
                    continue;
                }
                Err(StoreError::ConfigChanged) => changed = true,
                Err(error) if !available(&error) => {
                    unavailable = Some(error);
                    continue;
                }
                Err(error) => {
                    again.strikes += 1;
                    again.doubtful = true;
                    if again.strikes >= STRIKES_MAX {
                        aside(one.record, &error.to_string(), settled);
                        continue;
                    }
                }
            }
            left.push(again);
        }
        match unavailable {
            Some(error) => Err(error),
            None => Ok(changed),
        }
    }

    /// What was spooled is older than what the indexer of objects looks at. Written down before the spool forgets the
    /// requests: whoever is killed in between stores them once more, finds them stored and notes them.
    async fn late_note(
        &self,
        arrivals: &[Arrival],
        appended: &[StoreResult<Vec<Appended>>],
    ) -> StoreResult<()> {
        let stored = arrivals.iter().zip(appended).filter(|(_, one)| one.is_ok());
        let events = stored.flat_map(|(arrival, _)| &arrival.events);
        let late: Vec<_> = events
            .filter(|event| event.waits_for.is_empty())
            .map(|event| (event.tenant, event.id))
            .collect();
        let noted = self.store.transact(Scope::System("spool"), move |tx| {
            let late = late.clone();
            Box::pin(async move { tx.object_note(&late).await })
        });
        timeout(BATCH_TIMEOUT, noted)
            .await
            .unwrap_or(Err(StoreError::Timeout))
    }

    async fn appended(
        &self,
        doors: &Doors,
        arrivals: Arc<[Arrival]>,
    ) -> Vec<StoreResult<Vec<Appended>>> {
        let count = arrivals.len();
        let append = self.store.append(doors.version, arrivals);
        let appended = match timeout(BATCH_TIMEOUT, append).await {
            Ok(appended) => appended,
            Err(_) => (0..count).map(|_| Err(StoreError::Timeout)).collect(),
        };
        if appended.iter().any(Result::is_ok) {
            self.store.wake();
        }
        appended
    }

    /// The request as the door would have appended it, from the reading of its events on: its signature was verified when
    /// it was accepted. Its jobs are made now.
    async fn spooled_arrival(
        &self,
        door: Option<&Door>,
        pending: &Pending<'_>,
    ) -> Result<Arrival, Unmatched> {
        let record = pending.record;
        let unreadable = |error: StoreError| Unmatched::Aside(error.to_string());
        let door = door.ok_or_else(|| Unmatched::Aside("its source is gone".into()))?;
        if record.unconfirmed
            && let Some(why) = unconfirmed(door, record)
        {
            return Err(Unmatched::Aside(why.into()));
        }
        let (headers, body) = self
            .record_opened(record)
            .await
            .map_err(|error| match available(&error) {
                true => unreadable(error),
                false => Unmatched::Store(error),
            })?;
        let inbound = Inbound {
            headers: headers_kept(&headers).map_err(unreadable)?,
            body: decompress(&body).map_err(unreadable)?,
            remote: record.remote.clone(),
            // Signatures are over it, and nothing is read from it.
            url: String::new(),
            received_at: record.received_at,
        };
        let found = scheme::extract(door, &inbound)
            .map_err(|refusal| Unmatched::Aside(refusal.to_string()))?;
        let now = self.clock.now();
        let ids = Ids {
            receipt: record.receipt,
            events: self.spooled_ids(pending, found.len(), now),
        };
        let arrival = self.arrival(door, &inbound, found, record.secret, ids, now);
        let mut arrival = arrival.await.map_err(Unmatched::Store)?;
        arrival.receipt.headers = headers;
        Ok(arrival)
    }

    /// Headers and body of a record.
    async fn record_opened(&self, record: &Record) -> StoreResult<(Blob, Blob)> {
        let id = record.receipt.uuid();
        let headers = Place::new(Column::Headers, id);
        let headers = self.store.opened(headers, &record.headers).await?;
        let body = Place::new(Column::Body, id);
        Ok((headers, self.store.opened(body, &record.body).await?))
    }

    /// The ids that the events were answered with; new ones for those that the source's rules of today find beside them.
    fn spooled_ids(&self, pending: &Pending<'_>, count: usize, now: Timestamp) -> Vec<EventId> {
        let record = pending.record;
        // The deduplication record of a single event names the event's id, for ever.
        let unsure = pending.doubtful
            && record.events.len() != 1
            && now.ms_since(record.received_at) >= RECEIPT_SURE_MS;
        let known = match unsure {
            true => &[],
            false => &record.events[..],
        };
        let fresh = || EventId::new(record.received_at, &*self.random);
        (0..count)
            .map(|at| known.get(at).copied().unwrap_or_else(fresh))
            .collect()
    }

    /// Says how an episode went, to the log and to whoever listens to our own events.
    fn spooled(self: &Arc<Self>, spool: &Spool, episode: Episode) {
        let counts = spool.status().counts;
        let Episode {
            stored,
            set_aside,
            lost,
            ..
        } = episode;
        let duration_ms = episode.until.ms_since(episode.since);
        if set_aside > 0 || lost > 0 || counts.waiting() > 0 {
            tracing::error!(
                stored,
                set_aside,
                lost,
                ?counts,
                "the spool is drained, and not all of what was accepted is stored"
            );
        } else if stored > 0 {
            tracing::info!(
                stored,
                duration_ms,
                ?counts,
                "the spool is drained: everything that was accepted is stored"
            );
        }
        self.tell_of_refusals();
        if stored + set_aside + lost == 0 {
            return;
        }
        let payload = serde_json::json!({
            "type": TOLD,
            "requests": stored,
            "set_aside": set_aside,
            "lost": lost,
            "duration_ms": duration_ms,
        });
        let unique = format!("{TOLD}:{}", episode.since.micros());
        self.tell(TOLD, unique, None, payload);
    }
}

/// Why what was let in by a snapshot would not be let in by the source as it is now.
fn unconfirmed(door: &Door, record: &Record) -> Option<&'static str> {
    let remote = record.remote.parse().ok();
    let allows = |scheme: &PreparedScheme| scheme.allows(remote);
    if !door.has_secret(record.secret) {
        Some("the secret that it was signed with was removed before it was stored")
    } else if !door.source.enabled {
        Some("its source was disabled before it was stored")
    } else if !door.scheme.as_ref().is_none_or(allows) {
        Some("its source takes nothing from the address that it came from")
    } else {
        None
    }
}

fn aside(record: &Record, why: &str, settled: &mut Settled) {
    let (receipt, source) = (record.receipt, record.source);
    tracing::error!(%receipt, %source, why, "a spooled request cannot be stored; it is set aside");
    settled.aside.push(record.encode());
}
