//! Rhythm: counts what each source brings, minute by minute, and says when it is silent or brings too much.
//!
//! Off the hot path. The engine's owner counts the events of each minute that is over, from the events themselves, by the
//! index of their ids; where a minute has more than it may look at, it counts a part of it and knows so. What was counted
//! and how far counting is are one commit. A minute that nobody looked at, since no node or no database was there, is not
//! counted and nothing is expected of it: a break of ours is no silence of the provider's.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use mainstay_domain::{
    RhythmSignalId, Scope, SourceId, StoreError, StoreExt, StoreResult, TenantId, Timestamp,
    intake::rhythm::{
        ALL_TYPES, Counted, HOURS_KEPT, Judged, Open, RhythmClock, RhythmKind, RhythmSignal,
        SERIES_MAX, Series as Rhythm, SourceCounted, TYPE_CHARS_MAX, TYPES_MAX, TypeCount, hour_of,
        judge,
    },
    watch::Series,
};
use tokio::sync::watch;

use super::{Door, Intake, MATCHES_MAX};

/// How often it is looked whether a minute is over.
const PAUSE: Duration = Duration::from_secs(5);
const MINUTE_MS: i64 = 60_000;
/// So long after a minute its events are committed, but for those that came by the spool.
const SETTLE_MS: i64 = 15_000;
/// Whoever was not looked at for longer was away.
const BREAK_MS: i64 = 4 * MINUTE_MS;
/// What a break held back may come for as long as it was, but not longer than this.
const QUIET_MS_MAX: i64 = 24 * 3_600_000;
/// A clock that is set back by less is waited for.
const BACK_MS_MAX: i64 = 3_600_000;
/// Events of one minute that are counted; where more came, a part of the minute is.
const EVENTS_MAX: i64 = 30_000;
/// Sources and types of one look.
const TYPES_READ_MAX: i64 = 5_000;
/// Tenants whose events are counted by one statement.
const TENANTS_STEP: usize = 500;
/// Signals that can be open.
const OPEN_MAX: i64 = 10_000;
/// Signals of one source that are looked at for when the last one of each type ended.
const ENDED_MAX: i64 = 1_000;
const SCOPE: Scope = Scope::System("rhythm");

/// What is known of one source.
struct Known {
    counted: Counted,
    types: BTreeMap<String, Rhythm>,
}

/// Counts, and judges.
pub struct Rhythms {
    intake: Arc<Intake>,
    /// As of `clock`.
    sources: HashMap<SourceId, Known>,
    clock: Option<RhythmClock>,
}

/// Counts and judges, again and again, while `owner` says that this node is the one to do it.
pub(crate) async fn run(
    mut rhythms: Rhythms,
    owner: impl Fn() -> bool + Send + Sync,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        if owner() && !*stop.borrow() {
            if let Err(error) = rhythms.look().await {
                tracing::warn!(%error, "what sources bring could not be counted; trying again in seconds");
            }
        } else {
            rhythms.forget();
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// A signal that opens or ends.
#[derive(Clone)]
enum Change {
    Opens(RhythmSignal),
    Ends(RhythmSignal),
}

impl Rhythms {
    /// Knows nothing yet.
    pub fn new(intake: Arc<Intake>) -> Self {
        Self {
            intake,
            sources: HashMap::new(),
            clock: None,
        }
    }

    /// Somebody else counts: what is known here is of before.
    fn forget(&mut self) {
        self.sources.clear();
        self.clock = None;
    }

    /// Counts the minutes that are over, and judges. Does nothing when none is.
    pub async fn look(&mut self) -> StoreResult<()> {
        // A source may have been added, changed or removed on another node.
        self.intake.reload_if_changed().await;
        let now = self.intake.clock.now();
        let read = self
            .intake
            .store
            .read(SCOPE, |tx| Box::pin(async move { tx.rhythm_clock().await }));
        let clock = read.await?;
        if clock != self.clock {
            self.forget();
        }
        let Some(mut clock) = clock else {
            return self.begin(None, now, 0).await;
        };
        let away = now.ms_since(clock.seen_at);
        if !(-BACK_MS_MAX..=BREAK_MS).contains(&away) {
            return self.begin(Some(clock), now, away.max(0)).await;
        }
        let until = minute(now.minus_ms(SETTLE_MS));
        let mut done = false;
        while clock.counted_to < until {
            let Some(next) = self.count_minute(clock, now).await? else {
                self.forget();
                return Ok(());
            };
            clock = next;
            self.clock = Some(clock);
            done = true;
        }
        match done {
            true => self.judge_all(clock).await,
            false => Ok(()),
        }
    }

    /// Counting begins with this minute: what was before is not known.
    async fn begin(
        &mut self,
        known: Option<RhythmClock>,
        now: Timestamp,
        away: i64,
    ) -> StoreResult<()> {
        self.forget();
        let quiet = now.plus_ms(away.min(QUIET_MS_MAX));
        let clock = RhythmClock {
            counted_to: minute(now),
            seen_at: now,
            resumed_at: now,
            quiet_until: known.map_or(now, |known| quiet.max(known.quiet_until)),
        };
        self.intake
            .store
            .transact(SCOPE, move |tx| {
                Box::pin(async move { tx.rhythm_clock_put(known, clock).await.map(drop) })
            })
            .await
    }

    /// Counts the next minute. None: somebody else did.
    async fn count_minute(
        &mut self,
        clock: RhythmClock,
        now: Timestamp,
    ) -> StoreResult<Option<RhythmClock>> {
        let doors = self.intake.doors().all();
        self.load(&doors, clock).await?;
        let from = clock.counted_to;
        let next = RhythmClock {
            counted_to: from.plus_ms(MINUTE_MS),
            seen_at: now,
            ..clock
        };
        let (part_from, part_ms) = self.part(from).await?;
        let counts = self.counts(&doors, part_from, part_ms).await?;
        let counted = self.sorted(&doors, counts, hour_of(from), part_ms);
        let written = Arc::new(counted);
        let work = Arc::clone(&written);
        let put = self.intake.store.transact(SCOPE, move |tx| {
            let counted = Arc::clone(&work);
            Box::pin(async move {
                if !tx.rhythm_clock_put(Some(clock), next).await? {
                    return Ok(false);
                }
                for one in counted.iter() {
                    tx.rhythm_add(one).await?;
                }
                Ok(true)
            })
        });
        if !put.await? {
            return Ok(None);
        }
        for one in written.iter() {
            self.note(one, from);
        }
        Ok(Some(next))
    }

    /// The part of a minute that is counted: all of it, unless too much came.
    async fn part(&self, from: Timestamp) -> StoreResult<(Timestamp, i64)> {
        let to = from.plus_ms(MINUTE_MS);
        let samples = self.intake.store.read(SCOPE, move |tx| {
            Box::pin(async move { tx.samples_list(from).await })
        });
        let samples = samples.await?;
        let of_minute = samples
            .iter()
            .filter(|one| one.series == Series::Received && one.minute < to);
        let events: i64 = of_minute.map(|one| one.count).sum();
        if events <= EVENTS_MAX {
            return Ok((from, MINUTE_MS));
        }
        let ms = (MINUTE_MS * EVENTS_MAX / events).max(1);
        // Another place in each minute, so that what comes at the same second each time is neither missed nor preferred.
        let place = (from.secs() / 60).wrapping_mul(7_919).rem_euclid(1_000);
        Ok((from.plus_ms((MINUTE_MS - ms) * place / 1_000), ms))
    }

    async fn counts(
        &self,
        doors: &[Arc<Door>],
        from: Timestamp,
        ms: i64,
    ) -> StoreResult<Vec<TypeCount>> {
        let to = from.plus_ms(ms);
        let mut tenants: Vec<TenantId> = doors.iter().map(|door| door.source.tenant).collect();
        let linked = doors.iter().any(|door| door.tenants.is_some());
        let mut counts = Vec::new();
        if linked {
            counts = self.read_waiting(from, to).await?;
            tenants = self.read_tenants().await?;
        }
        tenants.sort();
        tenants.dedup();
        for tenants in tenants.chunks(TENANTS_STEP) {
            let tenants: Arc<[TenantId]> = tenants.into();
            let read = self.intake.store.read(SCOPE, move |tx| {
                let tenants = Arc::clone(&tenants);
                Box::pin(async move { tx.rhythm_count(&tenants, from, to, TYPES_READ_MAX).await })
            });
            counts.extend(read.await?);
        }
        Ok(counts)
    }

    async fn read_waiting(&self, from: Timestamp, to: Timestamp) -> StoreResult<Vec<TypeCount>> {
        self.intake
            .store
            .read(SCOPE, move |tx| {
                Box::pin(async move { tx.rhythm_count_waiting(from, to, TYPES_READ_MAX).await })
            })
            .await
    }

    async fn read_tenants(&self) -> StoreResult<Vec<TenantId>> {
        let mut all = Vec::new();
        loop {
            let after = all.last().copied().unwrap_or(TenantId::NIL);
            let page = self.intake.store.read(SCOPE, move |tx| {
                Box::pin(async move { tx.rhythm_tenants(after, TYPES_READ_MAX).await })
            });
            let page = page.await?;
            let full = page.len() as i64 == TYPES_READ_MAX;
            all.extend(page);
            if !full {
                return Ok(all);
            }
        }
    }

    /// By source, with all types together, and new types as far as there is room for them. A source that never brought
    /// anything is left out.
    fn sorted(
        &self,
        doors: &[Arc<Door>],
        counts: Vec<TypeCount>,
        hour: i64,
        counted_ms: i64,
    ) -> Vec<SourceCounted> {
        let mut room =
            SERIES_MAX.saturating_sub(self.sources.values().map(|known| known.types.len()).sum());
        let mut by_source: HashMap<SourceId, Vec<TypeCount>> = HashMap::new();
        for one in counts {
            by_source.entry(one.source).or_default().push(one);
        }
        let enabled = doors.iter().filter(|door| door.source.enabled);
        enabled
            .filter_map(|door| {
                let source = door.source.id;
                let mut found = merged(by_source.remove(&source).unwrap_or_default());
                let known = self.sources.get(&source)?;
                let mut own = known.types.len();
                let all = found.iter().map(|one| one.count).sum();
                let last_at = found.iter().map(|one| one.last_at).max();
                found.retain(|one| {
                    if known.types.contains_key(&one.event_type) {
                        return true;
                    }
                    let fits = own <= TYPES_MAX
                        && room > 0
                        && !one.event_type.is_empty()
                        && !one.event_type.chars().any(char::is_control)
                        && one.event_type.chars().count() <= TYPE_CHARS_MAX;
                    if fits {
                        own += 1;
                        room -= 1;
                    }
                    fits
                });
                found.extend(last_at.map(|last_at| TypeCount {
                    source,
                    event_type: ALL_TYPES.to_owned(),
                    count: all,
                    last_at,
                }));
                if known.types.is_empty() && found.is_empty() {
                    return None;
                }
                Some(SourceCounted {
                    tenant: door.source.tenant,
                    source,
                    hour,
                    counted_ms,
                    types: found,
                })
            })
            .collect()
    }

    /// Remembers what was written down.
    fn note(&mut self, one: &SourceCounted, from: Timestamp) {
        let Some(known) = self.sources.get_mut(&one.source) else {
            return;
        };
        let Known { counted, types } = known;
        counted.advance(one.hour);
        counted.add(one.hour, one.counted_ms);
        for found in &one.types {
            types
                .entry(found.event_type.clone())
                .or_insert_with(|| Rhythm::new(one.hour, found.last_at, one.hour));
        }
        for (event_type, rhythm) in types {
            let found = one.types.iter().find(|one| one.event_type == *event_type);
            rhythm.advance(one.hour, counted);
            if let Some(found) = found {
                rhythm.add(one.hour, found.count);
                rhythm.last_at = found.last_at;
            }
            let count = found.map_or(0, |found| found.count);
            rhythm.note(from, one.counted_ms, count);
        }
    }

    /// Reads what is known of sources that nothing is known of here, and forgets those that are gone or disabled.
    async fn load(&mut self, doors: &[Arc<Door>], clock: RhythmClock) -> StoreResult<()> {
        let enabled = |id: &SourceId| {
            let mut doors = doors.iter().filter(|door| door.source.enabled);
            doors.any(|door| door.source.id == *id)
        };
        self.sources.retain(|id, _| enabled(id));
        for door in doors.iter().filter(|door| door.source.enabled) {
            if self.sources.contains_key(&door.source.id) {
                continue;
            }
            let (tenant, source) = (door.source.tenant, door.source.id);
            let hour = hour_of(clock.counted_to);
            let read = self.intake.store.read(SCOPE, move |tx| {
                Box::pin(async move { read_source(tx, tenant, source, hour).await })
            });
            let (counted, types) = read.await?;
            self.sources.insert(source, Known { counted, types });
        }
        Ok(())
    }

    async fn judge_all(&mut self, clock: RhythmClock) -> StoreResult<()> {
        let open = self.intake.store.read(SCOPE, |tx| {
            Box::pin(async move { tx.rhythm_signals_open(OPEN_MAX).await })
        });
        let mut open: HashMap<SourceId, Vec<RhythmSignal>> =
            open.await?.into_iter().fold(HashMap::new(), |mut by, one| {
                by.entry(one.source).or_default().push(one);
                by
            });
        let at = clock.counted_to;
        for door in self.intake.doors().all() {
            let open = open.remove(&door.source.id).unwrap_or_default();
            let changes = match self.sources.get_mut(&door.source.id) {
                Some(known) => known.changes(&self.intake, &door, &open, clock),
                // It takes no requests any more.
                None => open.into_iter().map(|one| ended(one, at)).collect(),
            };
            for change in changes {
                self.intake.rhythm_change(&door, change).await?;
            }
            // Requests that come meanwhile have their turn.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// A source's counts as they are written down.
async fn read_source(
    tx: &mut dyn mainstay_domain::Tx,
    tenant: TenantId,
    source: SourceId,
    hour: i64,
) -> StoreResult<(Counted, BTreeMap<String, Rhythm>)> {
    let from = hour - HOURS_KEPT;
    let mut counted = Counted::new(hour);
    for (hour, ms) in tx.rhythm_counted(tenant, source, from).await? {
        counted.add(hour, ms);
    }
    let mut types: BTreeMap<String, Rhythm> = BTreeMap::new();
    for one in tx.rhythm_types(tenant, source).await? {
        let rhythm = Rhythm::new(one.first_hour, one.last_at, hour);
        types.insert(one.event_type, rhythm);
    }
    for one in tx.rhythm_hours(tenant, source, from).await? {
        if let Some(rhythm) = types.get_mut(&one.event_type) {
            rhythm.add(one.hour, one.count);
        }
    }
    let signals = tx
        .rhythm_signal_list(tenant, source, false, None, ENDED_MAX)
        .await?;
    for one in signals {
        let Some(ended_at) = one.ended_at else {
            continue;
        };
        for (event_type, rhythm) in &mut types {
            if one.event_type == *event_type || one.silences_all() {
                rhythm.judged_from = rhythm.judged_from.max(hour_of(ended_at) + 1);
            }
        }
    }
    for rhythm in types.values_mut() {
        rhythm.advance(hour, &counted);
    }
    Ok((counted, types))
}

/// What is known of a source, as of an hour, for whoever wants to see it.
pub async fn rhythm_of(
    tx: &mut dyn mainstay_domain::Tx,
    tenant: TenantId,
    source: SourceId,
    hour: i64,
) -> StoreResult<(Counted, BTreeMap<String, Rhythm>)> {
    read_source(tx, tenant, source, hour).await
}

/// The same types of several tenants together.
fn merged(counts: Vec<TypeCount>) -> Vec<TypeCount> {
    let mut by_type: BTreeMap<String, TypeCount> = BTreeMap::new();
    for one in counts {
        match by_type.get_mut(&one.event_type) {
            Some(known) => {
                known.count += one.count;
                known.last_at = known.last_at.max(one.last_at);
            }
            None => drop(by_type.insert(one.event_type.clone(), one)),
        }
    }
    let mut merged: Vec<TypeCount> = by_type.into_values().collect();
    merged.sort_by_key(|one| std::cmp::Reverse(one.count));
    merged
}

fn minute(at: Timestamp) -> Timestamp {
    let micros = MINUTE_MS * 1_000;
    Timestamp::from_micros(at.micros().div_euclid(micros) * micros)
}

fn ended(signal: RhythmSignal, at: Timestamp) -> Change {
    Change::Ends(RhythmSignal {
        ended_at: Some(at),
        ..signal
    })
}

impl Known {
    /// What opens and ends. A source that is silent as a whole says nothing of each type; where a type surges, the whole
    /// need not.
    fn changes(
        &mut self,
        intake: &Intake,
        door: &Door,
        open: &[RhythmSignal],
        clock: RhythmClock,
    ) -> Vec<Change> {
        let at = clock.counted_to;
        let (hour, quiet) = (hour_of(at), at < clock.quiet_until);
        self.counted.advance(hour);
        let mut changes = Vec::new();
        // Of a type that is forgotten nothing is known.
        let gone = open
            .iter()
            .filter(|one| !self.types.contains_key(&one.event_type));
        changes.extend(gone.map(|one| ended(one.clone(), at)));
        let mut silent = open.iter().any(RhythmSignal::silences_all);
        let mut surging = open.iter().any(|one| one.kind == RhythmKind::Surge);
        let mut speaks = false;
        // All types together sort first.
        let mut of_all = None;
        for (event_type, rhythm) in &mut self.types {
            rhythm.advance(hour, &self.counted);
            let own = |one: &&RhythmSignal| one.event_type == *event_type;
            let own: Vec<Open> = open
                .iter()
                .filter(own)
                .map(|one| Open {
                    kind: one.kind,
                    opened_at: one.opened_at,
                })
                .collect();
            for judged in judge(rhythm, &self.counted, at, &own, quiet) {
                let all = event_type == ALL_TYPES;
                match judged {
                    Judged::Ends(kind) => {
                        rhythm.judged_from = hour + 1;
                        let is =
                            |one: &&RhythmSignal| one.event_type == *event_type && one.kind == kind;
                        let known = open.iter().find(is).cloned();
                        changes.extend(known.map(|one| ended(one, at)));
                        speaks |= all && kind == RhythmKind::Silence;
                    }
                    Judged::Opens {
                        kind,
                        since,
                        expected,
                        actual,
                    } => {
                        let signal = Change::Opens(RhythmSignal {
                            id: RhythmSignalId::new(at, &*intake.random),
                            tenant: door.source.tenant,
                            source: door.source.id,
                            event_type: event_type.clone(),
                            kind,
                            since,
                            expected_milli: (expected * 1_000.0).round() as i64,
                            actual,
                            opened_at: at,
                            ended_at: None,
                        });
                        match (kind, all) {
                            (RhythmKind::Silence, true) => {
                                silent = true;
                                changes.push(signal);
                            }
                            (RhythmKind::Silence, false) if silent || speaks => {}
                            (RhythmKind::Surge, true) => of_all = Some(signal),
                            (RhythmKind::Silence | RhythmKind::Surge, false) => {
                                surging |= kind == RhythmKind::Surge;
                                changes.push(signal);
                            }
                        }
                    }
                }
            }
        }
        changes.extend(of_all.filter(|_| !surging));
        if speaks {
            for rhythm in self.types.values_mut() {
                rhythm.judged_from = rhythm.judged_from.max(hour + 1);
            }
        }
        changes
    }
}

impl Intake {
    /// How many of our own events tell of it: one for each signal that opens, one for each that ends.
    async fn rhythm_change(self: &Arc<Self>, door: &Arc<Door>, change: Change) -> StoreResult<()> {
        let mut tries = 1..=MATCHES_MAX;
        loop {
            // Before anything is matched: what is learned meanwhile counts as a change.
            let version = self.config_version();
            let (intake, door, work) = (Arc::clone(self), Arc::clone(door), change.clone());
            let source = door.source.id;
            let written = self.store.transact(SCOPE, move |tx| {
                let (intake, door, change) = (Arc::clone(&intake), Arc::clone(&door), work.clone());
                Box::pin(async move { write(tx, &intake, version, &door, &change).await })
            });
            match written.await {
                Err(StoreError::ConfigChanged) if tries.next().is_some() => self.reload().await?,
                // The source is gone.
                Err(StoreError::Reference { .. }) => return Ok(()),
                Ok(()) => {
                    self.store.wake();
                    self.samples.changed("source", &[source]);
                    return Ok(());
                }
                other => return other,
            }
        }
    }
}

async fn write(
    tx: &mut dyn mainstay_domain::Tx,
    intake: &Intake,
    config_version: i64,
    door: &Door,
    change: &Change,
) -> StoreResult<()> {
    let (signal, state, at) = match change {
        Change::Opens(signal) => (signal, "opened", signal.opened_at),
        Change::Ends(signal) => (signal, "ended", signal.ended_at.unwrap_or(signal.opened_at)),
    };
    let written = match change {
        Change::Opens(signal) => tx.rhythm_signal_insert(signal).await?,
        Change::Ends(signal) => tx.rhythm_signal_end(signal.tenant, signal.id, at).await?,
    };
    if !written {
        return Ok(());
    }
    let kind = format!("source.{}_{state}", signal.kind.as_str());
    let payload = serde_json::json!({
        "type": kind,
        "signal_id": signal.id,
        "source_id": signal.source,
        "source": door.source.name,
        "event_type": (signal.event_type != ALL_TYPES).then_some(&signal.event_type),
        "since_secs": signal.since.secs(),
        "expected": signal.expected_milli as f64 / 1_000.0,
        "actual": signal.actual,
        "opened_at_secs": signal.opened_at.secs(),
        "ended_at_secs": signal.ended_at.map(Timestamp::secs),
    });
    let (unique, now) = (format!("{kind}:{}", signal.id), intake.clock.now());
    if let Some(arrival) = intake.own_event(&kind, &unique, signal.tenant, &payload, now) {
        tx.event_append(config_version, &[arrival]).await?;
    }
    Ok(())
}
