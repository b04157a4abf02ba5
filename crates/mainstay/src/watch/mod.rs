//! Watch: counts per minute behind the charts, and what is live.
//!
//! Counts are kept in memory and added to the store every second; a crash may cost the charts that second. Nothing
//! that money or completeness depends on is counted here: those numbers come from the rows themselves.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mainstay_domain::{
    EndpointId, EventId, JobId, Scope, SecretId, Store, StoreExt, StoreResult, Timestamp,
    jobs::QueueNumber,
    watch::{DurationCount, Histogram, Sample, Series, bucket},
};
use tokio::sync::broadcast;
use uuid::Uuid;

pub mod overview;

/// Ids named in one change; above it, readers are told that there is more.
const CHANGE_IDS_MAX: usize = 20;
/// Changes and ticks that a slow reader may fall behind before it is told that it missed some.
const LIVE_BACKLOG: usize = 64;
const MINUTE_MICROS: i64 = 60 * 1_000_000;
const HOUR_MICROS: i64 = 60 * MINUTE_MICROS;
/// Queues of endpoints whose durations this process adds up for metrics: a kibibyte each.
const DURATION_QUEUES_MAX: usize = 10_000;

/// The start of the hour, by which durations are kept.
pub fn hour(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.micros().div_euclid(HOUR_MICROS) * HOUR_MICROS)
}

/// How long the endpoint of a queue took to answer since this process started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Durations {
    /// How they are spread.
    pub histogram: Histogram,
    /// All of them together.
    pub sum_ms: i64,
}

/// Something that somebody who watches wants to hear of at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What kind of thing: `event`, `job`, `dead_letter`, `endpoint`, `source`.
    pub kind: &'static str,
    /// Which, as far as they fit.
    pub ids: Vec<String>,
    /// Whether there were more.
    pub more: bool,
}

/// What happened in the last second.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Live {
    /// Counts of the last second, by series.
    pub counts: Vec<(Series, i64)>,
    /// What changed.
    pub changes: Vec<Change>,
}

#[derive(Default)]
struct Pending {
    counts: HashMap<(Series, Uuid), i64>,
    /// By endpoint and bucket.
    durations: HashMap<(EndpointId, usize), i64>,
    secrets: HashMap<SecretId, Timestamp>,
    changes: HashMap<&'static str, (BTreeSet<String>, bool)>,
}

/// Gathers counts and changes; see [`Samples::flush`].
pub struct Samples {
    pending: Mutex<Pending>,
    touched: Mutex<HashMap<SecretId, Timestamp>>,
    durations: Mutex<HashMap<QueueNumber, Durations>>,
    live: broadcast::Sender<Arc<Live>>,
}

impl Default for Samples {
    fn default() -> Self {
        Self {
            pending: Mutex::default(),
            touched: Mutex::default(),
            durations: Mutex::default(),
            live: broadcast::channel(LIVE_BACKLOG).0,
        }
    }
}

impl Samples {
    /// Counts.
    pub fn count(&self, series: Series, subject: Uuid, count: i64) {
        *self.lock().counts.entry((series, subject)).or_default() += count;
    }

    /// Counts one of each.
    pub fn count_each(&self, counted: impl Iterator<Item = (Series, Uuid)>) {
        let mut pending = self.lock();
        for key in counted {
            *pending.counts.entry(key).or_default() += 1;
        }
    }

    /// Notes how long an endpoint took to answer.
    pub fn answered(&self, queue: QueueNumber, endpoint: EndpointId, took_ms: i64) {
        let bucket = bucket(took_ms);
        *self.lock().durations.entry((endpoint, bucket)).or_default() += 1;
        let mut all = self.durations_lock();
        if all.len() < DURATION_QUEUES_MAX || all.contains_key(&queue) {
            let durations = all.entry(queue).or_default();
            durations.histogram.add(bucket, 1);
            durations.sum_ms += took_ms.max(0);
        }
    }

    /// How long endpoints took to answer since this process started, by queue.
    pub fn durations(&self) -> HashMap<QueueNumber, Durations> {
        self.durations_lock().clone()
    }

    /// Notes that a secret matched.
    pub fn secret_used(&self, secret: Option<SecretId>, at: Timestamp) {
        if let Some(secret) = secret {
            later(&mut self.lock().secrets, secret, at);
        }
    }

    /// Notes that events came in or were delivered again.
    pub fn events_changed(&self, ids: &[EventId]) {
        self.changed("event", ids);
    }

    /// Notes that jobs changed.
    pub fn jobs_changed(&self, ids: &[JobId]) {
        self.changed("job", ids);
    }

    /// Notes that things of a kind changed.
    pub fn changed(&self, kind: &'static str, ids: &[impl ToString]) {
        let mut pending = self.lock();
        let (known, more) = pending.changes.entry(kind).or_default();
        let room = CHANGE_IDS_MAX.saturating_sub(known.len());
        *more |= ids.len() > room;
        known.extend(ids.iter().take(room).map(ToString::to_string));
    }

    /// What happens from now on, second by second.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Live>> {
        self.live.subscribe()
    }

    /// Writes down what was gathered and tells those who watch. Called every second; what could not be written is
    /// gathered again.
    pub async fn flush(&self, store: &dyn Store, now: Timestamp) -> StoreResult<()> {
        let pending = std::mem::take(&mut *self.lock());
        self.tell(&pending);
        let minute = Timestamp::from_micros(now.micros().div_euclid(MINUTE_MICROS) * MINUTE_MICROS);
        let mut samples: Vec<Sample> = pending
            .counts
            .iter()
            .map(|((series, subject), count)| Sample {
                series: *series,
                subject: *subject,
                minute,
                count: *count,
            })
            .collect();
        samples.sort_by_key(|sample| (sample.series, sample.subject));
        let durations = pending.durations.iter();
        let durations: Vec<DurationCount> = durations
            .map(|((endpoint, bucket), count)| DurationCount {
                endpoint: *endpoint,
                bucket: *bucket,
                count: *count,
            })
            .collect();
        let used = self.secrets_due(&pending.secrets);
        if samples.is_empty() && durations.is_empty() && used.is_empty() {
            return Ok(());
        }
        let touched = used.clone();
        let written = store
            .transact(Scope::System("samples"), move |tx| {
                let (samples, used) = (samples.clone(), used.clone());
                let durations = durations.clone();
                Box::pin(async move {
                    tx.samples_add(&samples).await?;
                    tx.durations_add(hour(now), &durations).await?;
                    tx.source_secret_touch(&used).await
                })
            })
            .await;
        if written.is_ok() {
            let mut known = self.touched_lock();
            for (secret, at) in touched {
                later(&mut known, secret, at);
            }
        } else {
            let mut again = self.lock();
            for (key, count) in pending.counts {
                *again.counts.entry(key).or_default() += count;
            }
            for (key, count) in pending.durations {
                *again.durations.entry(key).or_default() += count;
            }
            for (secret, at) in pending.secrets {
                later(&mut again.secrets, secret, at);
            }
        }
        written
    }

    fn touched_lock(&self) -> MutexGuard<'_, HashMap<SecretId, Timestamp>> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn durations_lock(&self) -> MutexGuard<'_, HashMap<QueueNumber, Durations>> {
        self.durations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, pending: &Pending) {
        let mut counts: HashMap<Series, i64> = HashMap::new();
        for ((series, _), count) in &pending.counts {
            *counts.entry(*series).or_default() += count;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_unstable();
        let mut changes: Vec<Change> = pending
            .changes
            .iter()
            .map(|(kind, (ids, more))| Change {
                kind,
                ids: ids.iter().cloned().collect(),
                more: *more,
            })
            .collect();
        changes.sort_by_key(|change| change.kind);
        // Nobody may be watching.
        let _ = self.live.send(Arc::new(Live { counts, changes }));
    }

    /// Secrets whose last use has not been written down in the last minute.
    fn secrets_due(&self, used: &HashMap<SecretId, Timestamp>) -> Vec<(SecretId, Timestamp)> {
        let touched = self.touched_lock();
        let mut due: Vec<_> = used
            .iter()
            .map(|(id, at)| (*id, *at))
            .filter(|(id, at)| {
                touched
                    .get(id)
                    .is_none_or(|last| at.micros() - last.micros() >= MINUTE_MICROS)
            })
            .collect();
        due.sort_unstable();
        due
    }
}

/// Notes a use, unless a later one is known: they do not come in the order of time.
fn later(uses: &mut HashMap<SecretId, Timestamp>, secret: SecretId, at: Timestamp) {
    let last = uses.entry(secret).or_insert(at);
    *last = at.max(*last);
}
