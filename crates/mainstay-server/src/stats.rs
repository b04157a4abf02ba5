//! Figures of sources, endpoints and queues for pages: counted by the engine and in the series, never by a query over
//! jobs or events. Read once in a moment, however many ask.

use std::{collections::HashMap, sync::Arc};

use mainstay_domain::{
    EndpointId, Scope, StoreExt, StoreResult, Timestamp,
    jobs::{Flow, QueueNumber, QueueTally, pressure::Pressure},
    watch::{Histogram, Sample, Series},
};
use tokio::{sync::Mutex, time::Instant};
use uuid::Uuid;

use mainstay::{
    jobs::{PaceSnapshot, TenantUse},
    watch::hour,
};

use crate::{limits, state::App};

/// How far back the figures of sources and endpoints look.
pub(crate) const WINDOW_MS: i64 = 24 * 60 * 60 * 1_000;

/// What was counted for one source, schema, endpoint or binding in the last 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counted {
    /// Requests that brought something new.
    pub(crate) received: i64,
    /// Requests that brought nothing new.
    pub(crate) duplicates: i64,
    /// Requests that were refused.
    pub(crate) refused: i64,
    /// Those of them that were only counted.
    pub(crate) refused_not_kept: i64,
    /// Jobs done.
    pub(crate) done: i64,
    /// Attempts that failed and are repeated.
    pub(crate) failed: i64,
    /// Jobs that died.
    pub(crate) dead: i64,
    /// Events that a binding's filter could not be evaluated for.
    pub(crate) filter_failed: i64,
    /// New events that were checked against a schema.
    pub(crate) schema_checked: i64,
    /// Those of them that violate it.
    pub(crate) schema_violated: i64,
    /// Those of them that lack something that it requires.
    pub(crate) schema_incomplete: i64,
    /// New events that were too large to be checked.
    pub(crate) schema_unchecked: i64,
    /// New events of which it is known when they happened.
    pub(crate) dated: i64,
    /// Those of them that came soon after.
    pub(crate) fresh: i64,
    /// Genuine requests that were told to come again.
    pub(crate) rate_exceeded: i64,
    /// Requests that were turned away unread.
    pub(crate) turned_away: i64,
    /// Events that came again with other content.
    pub(crate) conflicts: i64,
    /// The last minute in which something new came.
    pub(crate) received_at: Option<Timestamp>,
    /// The first minute in which a refused request was only counted.
    pub(crate) not_kept_since: Option<Timestamp>,
    /// The last minute in which a job was done.
    pub(crate) done_at: Option<Timestamp>,
    /// The last minute in which an attempt failed.
    pub(crate) failed_at: Option<Timestamp>,
}

impl Counted {
    fn add(&mut self, sample: &Sample) {
        let later = |at: &mut Option<Timestamp>| *at = (*at).max(Some(sample.minute));
        match sample.series {
            Series::Received => {
                self.received += sample.count;
                later(&mut self.received_at);
            }
            Series::Duplicates => self.duplicates += sample.count,
            Series::Refused => self.refused += sample.count,
            Series::RefusedNotKept => {
                self.refused_not_kept += sample.count;
                let first = self.not_kept_since.unwrap_or(sample.minute);
                self.not_kept_since = Some(first.min(sample.minute));
            }
            Series::Done => {
                self.done += sample.count;
                later(&mut self.done_at);
            }
            Series::Failed => {
                self.failed += sample.count;
                later(&mut self.failed_at);
            }
            Series::Dead => {
                self.dead += sample.count;
                later(&mut self.failed_at);
            }
            Series::DurationMs => {}
            Series::FilterFailed => self.filter_failed += sample.count,
            Series::SchemaChecked => self.schema_checked += sample.count,
            Series::SchemaViolated => self.schema_violated += sample.count,
            Series::SchemaIncomplete => self.schema_incomplete += sample.count,
            Series::SchemaUnchecked => self.schema_unchecked += sample.count,
            Series::Dated => self.dated += sample.count,
            Series::Fresh => self.fresh += sample.count,
            Series::RateExceeded => self.rate_exceeded += sample.count,
            Series::TurnedAway => self.turned_away += sample.count,
            Series::Conflicts => self.conflicts += sample.count,
        }
    }

    /// The share of attempts that succeeded.
    pub(crate) fn success_rate(&self) -> Option<f64> {
        let all = self.done + self.failed + self.dead;
        (all > 0).then(|| self.done as f64 / all as f64)
    }
}

/// How one queue stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Queue {
    /// Its number.
    pub(crate) number: QueueNumber,
    /// Its name.
    pub(crate) name: String,
    /// Jobs that could be started.
    pub(crate) waiting: i64,
    /// Attempts under way.
    pub(crate) running: i64,
    /// Jobs to be tried again.
    pub(crate) retrying: i64,
    /// Jobs whose time has not come.
    pub(crate) scheduled: i64,
    /// Dead letters.
    pub(crate) dead: i64,
    /// When the oldest waiting job was made.
    pub(crate) oldest_waiting: Option<Timestamp>,
    /// What has been counted since the beginning.
    pub(crate) tally: QueueTally,
    /// Its breaker.
    pub(crate) breaker: Option<mainstay_domain::jobs::breaker::Breaker>,
    /// How fast it fills and empties.
    pub(crate) pace: PaceSnapshot,
    /// How it stands beside its limits on what may wait, if it has any.
    pub(crate) pressure: Option<Pressure>,
    /// Whether its jobs are started.
    pub(crate) flow: Flow,
    /// Tenants that one of its limits holds back.
    pub(crate) limited: i64,
    /// While it is drained: whether nothing is left of what was made before.
    pub(crate) drained: Option<bool>,
    /// Who uses it, and who waits.
    pub(crate) tenants: Vec<TenantUse>,
}

/// Everything, as of one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// What was counted in the last 24 hours.
    pub(crate) day: Arc<Day>,
    /// All queues.
    pub(crate) queues: Vec<Queue>,
}

/// The last 24 hours.
#[derive(Debug, Default)]
pub(crate) struct Day {
    /// By source, endpoint or binding.
    counted: HashMap<Uuid, Counted>,
    /// How long endpoints took to answer.
    durations: HashMap<EndpointId, Histogram>,
}

impl Figures {
    /// What was counted for this source, endpoint or binding.
    pub(crate) fn of(&self, subject: Uuid) -> Counted {
        self.day.counted.get(&subject).copied().unwrap_or_default()
    }

    /// The time that this share of the endpoint's answers did not exceed.
    pub(crate) fn quantile_ms(&self, endpoint: EndpointId, share: f64) -> Option<i64> {
        self.day.durations.get(&endpoint)?.quantile_ms(share)
    }

    /// How this queue stands.
    pub(crate) fn queue(&self, number: QueueNumber) -> Queue {
        self.queues
            .iter()
            .find(|queue| queue.number == number)
            .cloned()
            .unwrap_or_default()
    }
}

/// Figures, and when they were counted.
type CountedAt = (Instant, Arc<Day>);

/// The last figures.
#[derive(Default)]
pub(crate) struct Stats {
    counted: Mutex<Option<CountedAt>>,
    names: Mutex<HashMap<QueueNumber, String>>,
}

impl Stats {
    /// The figures, at most a moment old.
    pub(crate) async fn figures(&self, app: &App) -> StoreResult<Figures> {
        Ok(Figures {
            day: self.day(app).await?,
            queues: self.queues(app).await?,
        })
    }

    /// How all queues stand now.
    pub(crate) async fn queues(&self, app: &App) -> StoreResult<Vec<Queue>> {
        let snapshot = app.mainstay.engine.snapshot();
        // Held over the load on purpose: who comes meanwhile waits for its result instead of asking as well.
        let mut names = self.names.lock().await;
        if snapshot
            .queues
            .iter()
            .any(|queue| !names.contains_key(&queue.queue))
        {
            let list = app
                .store
                .read(Scope::System("queues"), |tx| {
                    Box::pin(async move { tx.queue_list().await })
                })
                .await?;
            *names = list.into_iter().collect();
        }
        let queues = snapshot.queues.iter().map(|queue| Queue {
            number: queue.queue,
            name: names
                .get(&queue.queue)
                .cloned()
                .unwrap_or_else(|| queue.queue.to_string()),
            waiting: queue.waiting,
            running: queue.running,
            retrying: queue.retrying,
            scheduled: queue.scheduled,
            dead: queue.dead,
            oldest_waiting: queue.oldest_waiting,
            tally: queue.tally,
            breaker: queue.breaker.clone(),
            pace: queue.pace,
            pressure: queue.pressure,
            flow: queue.flow,
            limited: queue.limited,
            drained: queue.drained,
            tenants: queue.tenants.clone(),
        });
        Ok(queues.collect())
    }

    async fn day(&self, app: &App) -> StoreResult<Arc<Day>> {
        let mut last = self.counted.lock().await;
        if let Some((at, counted)) = &*last
            && at.elapsed() < limits::STATS_CACHE
        {
            return Ok(Arc::clone(counted));
        }
        let from = app.clock.now().minus_ms(WINDOW_MS);
        let (samples, durations) = app
            .store
            .read(Scope::System("figures"), move |tx| {
                Box::pin(async move {
                    let samples = tx.samples_list(from).await?;
                    Ok((samples, tx.durations_list(hour(from)).await?))
                })
            })
            .await?;
        let mut counted: HashMap<Uuid, Counted> = HashMap::new();
        for sample in &samples {
            counted.entry(sample.subject).or_default().add(sample);
        }
        let day = Arc::new(Day { counted, durations });
        *last = Some((Instant::now(), Arc::clone(&day)));
        Ok(day)
    }
}
